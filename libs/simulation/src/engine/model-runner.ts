import type { GpuWork } from '../gpu/gpu.ts';
import type { Random } from '../random.ts';
import type { Scheduler } from '../scheduler.ts';
import { DEFAULT_HOST, type EngineConfig } from './engine-config.ts';
import { ENGINE_KINDS } from './engine-kinds.ts';
import type { EngineGpu } from './engine-gpu.ts';
import type { EngineStatistics } from './engine-statistics.ts';
import type { EngineFaults, EngineKind, FinishReason } from './engine.ts';
import type { KvMemory } from './kv-cache.ts';
import type { Model } from './model.ts';
import type { Placement } from './placement.ts';
import { knownTokens, type Sequence } from './sequence.ts';
import { stepCost, type Machine, type StepCost, type StepLoad } from './step-time.ts';

export interface RunnerParts {
  readonly kind: EngineKind;
  readonly config: EngineConfig;
  readonly model: Model;
  /** Of the process that it is, by which the GPUs' time is divided. */
  readonly pid: number;
  readonly memory: KvMemory;
  /** Tokens of one sequence at most. */
  readonly contextTokens: number;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly faults: EngineFaults;
  readonly statistics: EngineStatistics;
  /** Runners of this engine, itself included, that share the GPUs at this moment. */
  readonly sharers: () => number;
  /** A sequence is done and out of the runner. */
  readonly onEnd: (sequence: Sequence, reason: FinishReason) => void;
  /** Nothing runs and nothing waits any more. */
  readonly onEmpty: () => void;
  readonly onGpuLost: () => void;
}

/**
 * One model in memory with its batch, stepped as vLLM's V1 scheduler does it (vllm/v1/core/sched/scheduler.py): in each step
 * first what runs gets its tokens, in order of arrival, then what waits is let in while the token budget, the sequences and
 * the blocks last; a prompt longer than what is left of the budget goes on in the next step. When blocks run out, the
 * sequence that came last gives its own back and starts over. Nothing is planned while there is nothing to do.
 */
export class ModelRunner {
  readonly waiting: Sequence[] = [];
  readonly running: Sequence[] = [];
  /** Who is in the step: the first `load.sequences` of it; what is behind is of an earlier one. */
  private readonly batch: Sequence[] = [];
  private readonly load: StepLoad = {
    sequences: 0,
    tokens: 0,
    attendedPairs: 0,
    contextTokens: 0,
    draftTokens: 0,
  };
  private machine: Machine;
  private ready = false;
  /** Takes back the next step's begin or this one's end. */
  private forgetPlan: (() => void) | undefined;
  private stepping = false;
  /** A step has run on the GPU while the engine hung: its tokens come out later. */
  private stalled = false;
  private applying = false;
  private stopped = false;
  private readonly parts: RunnerParts;

  constructor(parts: RunnerParts, placement: Placement) {
    this.parts = parts;
    this.machine = this.machineOn(placement);
  }

  get busy(): boolean {
    return this.stepping;
  }

  get empty(): boolean {
    return this.running.length === 0 && this.waiting.length === 0;
  }

  get isReady(): boolean {
    return this.ready;
  }

  /** The weights are in: what waits may start. */
  open(): void {
    this.ready = true;
    this.wake();
  }

  /** The layers are elsewhere from the next step on. */
  place(placement: Placement): void {
    this.machine = this.machineOn(placement);
  }

  enqueue(sequence: Sequence): void {
    this.waiting.push(sequence);
    this.wake();
  }

  /** Takes a sequence out, whether it runs or waits. @returns false when it is not here */
  remove(sequence: Sequence): boolean {
    for (const list of [this.running, this.waiting]) {
      const place = list.indexOf(sequence);
      if (place < 0) continue;
      list.splice(place, 1);
      this.giveBack(sequence);
      this.wake();
      return true;
    }
    return false;
  }

  /** The engine no longer hangs, or there is more room. */
  resume(): void {
    if (this.stalled) {
      this.stalled = false;
      this.apply();
    } else {
      this.wake();
    }
  }

  /** Ends the runner; what is in it is the caller's to tell. */
  stop(): void {
    this.stopped = true;
    this.stepping = false;
    this.forgetPlan?.();
    this.forgetPlan = undefined;
  }

  private machineOn(placement: Placement): Machine {
    const { split, efficiency } = ENGINE_KINDS[this.parts.kind];
    const { model, config } = this.parts;
    return {
      model,
      gpus: placement.gpus,
      split,
      gpuLayers: placement.gpuLayers,
      host: config.host ?? DEFAULT_HOST,
      efficiency,
    };
  }

  /** Through the scheduler, so that requests of the same instant share a batch. */
  private wake(): void {
    if (!this.ready || this.applying || this.stalled || this.stopped || this.forgetPlan !== undefined) return;
    if (this.parts.faults.hung) return;
    this.forgetPlan = this.parts.scheduler.at(this.parts.scheduler.now, () => {
      this.forgetPlan = undefined;
      this.step();
    });
  }

  private step(): void {
    const { scheduler, faults } = this.parts;
    if (faults.hung) return;
    if (hasLost(this.machine.gpus)) return this.parts.onGpuLost();
    this.fillBatch();
    if (this.load.sequences === 0) {
      if (this.empty) this.parts.onEmpty();
      return;
    }
    const cost = stepCost(this.machine, this.load);
    this.stepping = true;
    const from = scheduler.now;
    const seconds = cost.seconds * faults.slowdown * this.parts.sharers();
    this.forgetPlan = scheduler.at(from + seconds, () => {
      this.forgetPlan = undefined;
      this.stepping = false;
      this.finishStep(from, seconds, cost);
    });
  }

  private finishStep(from: number, seconds: number, cost: StepCost): void {
    if (hasLost(this.machine.gpus)) return this.parts.onGpuLost();
    this.reportWork(from, seconds, cost);
    if (this.parts.faults.hung) this.stalled = true;
    else this.apply();
  }

  /** The host's part of a step comes first; GPUs that share the layers work one after the other. */
  private reportWork(from: number, seconds: number, cost: StepCost): void {
    const { gpus, split } = this.machine;
    const gpuSeconds = (cost.gpuSeconds * seconds) / cost.seconds;
    const last = this.workUntil(from + seconds, from, gpuSeconds, cost);
    for (let index = 0; index < gpus.length; index += 1) {
      const turnsAfter = split === 'layers' ? gpus.length - 1 - index : 0;
      const work =
        turnsAfter === 0
          ? last
          : this.workUntil(from + seconds - turnsAfter * gpuSeconds, from, gpuSeconds, cost);
      gpus[index]?.work(work);
    }
  }

  private workUntil(toSeconds: number, from: number, gpuSeconds: number, cost: StepCost): GpuWork {
    return {
      fromSeconds: Math.max(toSeconds - gpuSeconds, from),
      toSeconds,
      flops: cost.flops,
      precision: this.machine.model.precision,
      pid: this.parts.pid,
      memoryBytes: cost.memoryBytes,
      nvlinkBytes: cost.nvlinkBytes,
      pcieReceivedBytes: cost.pcieBytes,
      pcieSentBytes: cost.pcieBytes,
    };
  }

  private fillBatch(): void {
    const { load, running } = this;
    const { statistics, config } = this.parts;
    load.sequences = load.tokens = load.attendedPairs = load.contextTokens = load.draftTokens = 0;
    const preemptions = statistics.preemptions;
    let budget = config.tokensPerStep;
    for (let place = 0; place < running.length && budget > 0; place += 1) {
      const sequence = running[place];
      if (sequence === undefined) break;
      const tokens = Math.min(this.wantedTokens(sequence), budget);
      if (!this.secure(sequence, sequence.computedTokens + tokens)) break;
      this.schedule(sequence, tokens);
      budget -= tokens;
    }
    if (statistics.preemptions === preemptions) this.admitWaiting(budget);
  }

  /** What is not computed yet, and the drafts to verify with it once the sequence speaks. */
  private wantedTokens(sequence: Sequence): number {
    const missing = knownTokens(sequence) - sequence.computedTokens;
    const { speculative } = this.parts.config;
    if (speculative === undefined || missing > 1 || sequence.generatedTokens === 0) return missing;
    const drafts = Math.min(speculative.draftTokens, sequence.answerTokens - sequence.generatedTokens - 1);
    this.load.draftTokens = Math.max(this.load.draftTokens, drafts);
    return missing + drafts;
  }

  /** Room for so many tokens, taken from those that came later if it must be. */
  private secure(sequence: Sequence, tokens: number): boolean {
    while (sequence.lease?.grow(tokens) === false) {
      const victim = this.running.pop();
      if (victim === undefined) return false;
      this.giveBack(victim);
      this.parts.statistics.preemptions += 1;
      this.waiting.unshift(victim);
      if (victim === sequence) return false;
    }
    return true;
  }

  private schedule(sequence: Sequence, tokens: number): void {
    const { load } = this;
    const before = Math.min(sequence.computedTokens, this.parts.contextTokens);
    sequence.stepTokens = tokens;
    this.batch[load.sequences] = sequence;
    load.sequences += 1;
    load.tokens += tokens;
    load.attendedPairs += tokens * before + (tokens * (tokens + 1)) / 2;
    load.contextTokens += before;
  }

  /** First come, first served; only one whose LoRA has no place lets others pass. */
  private admitWaiting(budget: number): void {
    if (this.waiting.length === 0) return;
    const { config } = this.parts;
    const loras = config.loras === undefined ? undefined : this.runningLoras();
    let left = budget;
    let place = 0;
    while (place < this.waiting.length && this.running.length < config.maxSequences && left > 0) {
      const sequence = this.waiting[place];
      if (sequence === undefined) break;
      const { lora } = sequence.request;
      if (
        loras !== undefined &&
        lora !== undefined &&
        !loras.has(lora) &&
        loras.size >= (config.loras?.max ?? 0)
      ) {
        place += 1;
        continue;
      }
      const tokens = this.admit(sequence, left);
      if (tokens === 0) break;
      if (place === 0) this.waiting.shift();
      else this.waiting.splice(place, 1);
      this.running.push(sequence);
      if (lora !== undefined) loras?.add(lora);
      this.schedule(sequence, tokens);
      left -= tokens;
    }
  }

  private runningLoras(): Set<string> {
    return new Set(this.running.flatMap(({ request: { lora } }) => (lora === undefined ? [] : [lora])));
  }

  /** @returns how many tokens of it are in the coming step; 0 when there is no room */
  private admit(sequence: Sequence, budget: number): number {
    const { memory, statistics, scheduler, config } = this.parts;
    const known = knownTokens(sequence);
    const lease = memory.admit({
      tokens: known,
      chunkTokens: budget,
      reservedTokens: this.reservedTokens(sequence),
      prefix: sequence.request.prefix,
    });
    if (lease === undefined) return 0;
    sequence.lease = lease;
    sequence.computedTokens = lease.cachedTokens;
    if (sequence.scheduledSeconds === undefined) {
      sequence.scheduledSeconds = scheduler.now;
      if (config.prefixCaching) {
        statistics.queriedTokens += sequence.promptTokens;
        statistics.hitTokens += lease.cachedTokens;
      }
    }
    const tokens = Math.min(known - lease.cachedTokens, budget);
    lease.grow(lease.cachedTokens + tokens);
    return tokens;
  }

  private reservedTokens({ promptTokens, request }: Sequence): number {
    const { memory, preempts } = ENGINE_KINDS[this.parts.kind];
    if (memory === 'slots' || preempts) return 0;
    const answer = request.kind === 'embedding' ? 0 : request.maxTokens;
    return Math.min(promptTokens + answer, this.parts.contextTokens);
  }

  /** What the step yields. Listeners may submit, cancel or crash while they are told. */
  private apply(): void {
    const { scheduler, statistics } = this.parts;
    statistics.step(this.load.tokens);
    this.applying = true;
    for (let place = 0; place < this.load.sequences; place += 1) {
      const sequence = this.batch[place];
      if (sequence?.ended === false) this.advance(sequence, scheduler.now);
      if (this.stopped) return;
    }
    this.applying = false;
    this.step();
  }

  private advance(sequence: Sequence, now: number): void {
    const { statistics } = this.parts;
    const known = knownTokens(sequence);
    const reached = sequence.computedTokens + sequence.stepTokens;
    if (sequence.computedTokens < sequence.promptTokens) {
      sequence.lease?.computed(Math.min(reached, sequence.promptTokens));
    }
    sequence.computedTokens = Math.min(reached, known);
    if (reached < known) return;
    const first = sequence.promptedSeconds === undefined;
    if (first) {
      sequence.promptedSeconds = now;
      statistics.prompted(sequence, now);
    }
    const sinceLast = first ? undefined : now - sequence.lastTokenSeconds;
    sequence.lastTokenSeconds = now;
    if (sequence.answerTokens === 0) return this.end(sequence, 'stop');
    const accepted = this.acceptedDrafts(reached - known);
    sequence.computedTokens += accepted;
    sequence.generatedTokens += 1 + accepted;
    statistics.generated(1 + accepted, sinceLast);
    sequence.listener?.onTokens?.(1 + accepted, now);
    if (!sequence.ended && sequence.generatedTokens >= sequence.answerTokens)
      this.end(sequence, sequence.finish);
  }

  private acceptedDrafts(drafts: number): number {
    const { speculative } = this.parts.config;
    if (drafts === 0 || speculative === undefined) return 0;
    let accepted = 0;
    while (accepted < drafts && this.parts.random.next() < speculative.acceptanceRatio) accepted += 1;
    this.parts.statistics.draftTokens += drafts;
    this.parts.statistics.acceptedTokens += accepted;
    return accepted;
  }

  private end(sequence: Sequence, reason: FinishReason): void {
    this.remove(sequence);
    this.parts.onEnd(sequence, reason);
  }

  private giveBack(sequence: Sequence): void {
    sequence.lease?.release();
    sequence.lease = undefined;
    sequence.computedTokens = 0;
  }
}

function hasLost(gpus: readonly EngineGpu[]): boolean {
  for (const gpu of gpus) if (gpu.isLost()) return true;
  return false;
}
