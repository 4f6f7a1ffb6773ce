import type { Random } from '../random.ts';
import type { Scheduler } from '../scheduler.ts';
import type { EngineConfig } from './engine-config.ts';
import { createEngineFaults } from './engine-faults.ts';
import type { EngineGpu } from './engine-gpu.ts';
import { ENGINE_KINDS, type EngineKindTraits, type Refusal } from './engine-kinds.ts';
import { engineState } from './engine-state.ts';
import { EngineStatistics } from './engine-statistics.ts';
import type {
  Admission,
  EngineFaults,
  EngineKind,
  EngineRequest,
  EngineState,
  FinishReason,
  RequestListener,
} from './engine.ts';
import { contextTokens, createKvMemory } from './memory-plan.ts';
import type { Model } from './model.ts';
import { weightBytes } from './models.ts';
import { ResidentModels, type Residence } from './resident-models.ts';
import { createSequence, type Sequence } from './sequence.ts';
import { loadWeights } from './weight-loading.ts';

export interface EngineParts {
  readonly name: string;
  readonly kind: EngineKind;
  readonly version: string;
  readonly config: EngineConfig;
  readonly gpus: readonly EngineGpu[];
  readonly scheduler: Scheduler;
  readonly random: Random;
  /** Of its first process; those that follow (restarts, Ollama's runners) are among the `PIDS_PER_ENGINE` after it. */
  readonly pid: number;
}

/**
 * An LLM engine: what is refused at its door, who is inside, and what it counts. Its models are `ResidentModels`, each with a
 * `ModelRunner` that steps the batch. `kind` picks the limits and habits of the real engine (`ENGINE_KINDS`).
 */
export class SimulatedEngine {
  readonly faults: EngineFaults;
  private readonly parts: EngineParts;
  private readonly traits: EngineKindTraits;
  private readonly resident: ResidentModels;
  private condition: 'loading' | 'serving' | 'down' = 'down';
  private statistics: EngineStatistics;
  private startedSeconds = 0;
  private readonly sequences = new Map<string, Sequence>();
  /** Ollama: what waits for its model to be in memory. One that has to wait holds up all that come after it. */
  private readonly pending: Sequence[] = [];
  /** Whose clients went away while the engine hung. */
  private readonly departed = new Map<Sequence, FinishReason>();
  private breakOffStart = (): void => {};

  /** @throws ModelTooLarge when its models cannot fit on its GPUs whatever else is there */
  constructor(parts: EngineParts) {
    const { kind, config, gpus } = parts;
    this.parts = parts;
    this.traits = ENGINE_KINDS[kind];
    this.statistics = new EngineStatistics(config.histogramBounds);
    this.faults = createEngineFaults(() => this.faultsChanged());
    this.resident = new ResidentModels({
      ...parts,
      faults: this.faults,
      statistics: () => this.statistics,
      onEnd: (sequence, reason) => this.end(sequence, reason),
      onEmpty: (residence) => this.emptied(residence),
      onGpuLost: (residence) => this.lostGpu(residence),
    });
    for (const model of config.models) createKvMemory(kind, config, gpus, model);
  }

  /** @param loadSeconds until it serves; what its models and disk take when undefined */
  start(loadSeconds?: number): void {
    if (this.condition !== 'down') return;
    const { scheduler, config, gpus } = this.parts;
    this.condition = 'loading';
    this.startedSeconds = scheduler.now;
    this.statistics = new EngineStatistics(config.histogramBounds);
    this.resident.renewProcess();
    const models = this.traits.loadsOnDemand ? [] : config.models;
    if (models.length > 0 && !this.resident.takeUpAll()) return this.crash();
    const readSeconds = this.resident.readSeconds(models);
    const seconds = loadSeconds ?? readSeconds + this.traits.startSeconds;
    const bytes = models.reduce((sum, model) => sum + weightBytes(model), 0) / Math.max(gpus.length, 1);
    const users = this.resident.all().flatMap(({ placement }) => placement.gpus);
    this.breakOffStart = loadWeights(scheduler, users, bytes, Math.min(readSeconds, seconds), () => {
      this.breakOffStart = scheduler.at(this.startedSeconds + seconds, () => this.serve());
    });
  }

  /** Its process is gone: whoever was in it gets an error, and the GPUs' memory is free. */
  crash(): void {
    if (this.condition === 'down') return;
    this.condition = 'down';
    this.breakOffStart();
    for (const residence of this.resident.all()) this.resident.unload(residence);
    this.pending.length = 0;
    this.departed.clear();
    this.fail([...this.sequences.values()]);
  }

  restart(loadSeconds?: number): void {
    this.crash();
    this.start(loadSeconds);
  }

  /**
   * A request at the engine's door. While the engine is down nobody answers there: the admission says 503, but callers that
   * speak HTTP look at `state().condition` first and refuse the connection. Nothing of it is counted then.
   */
  submit(request: EngineRequest, listener: RequestListener = {}): Admission {
    if (this.condition === 'down' || (this.condition === 'loading' && !this.traits.listensWhileLoading)) {
      return { accepted: false, ...this.traits.loading };
    }
    this.statistics.submitted += 1;
    const model = this.modelOf(request);
    const refusal = this.refusal(request, model);
    if (refusal === undefined && model !== undefined) {
      this.take(request, model, listener);
      return { accepted: true };
    }
    this.statistics.rejected += 1;
    return { accepted: false, ...(refusal ?? this.traits.unknownModel(request.model)) };
  }

  /** The client goes away. Unknown and ended requests are no error. */
  cancel(requestId: string): void {
    const sequence = this.sequences.get(requestId);
    if (sequence !== undefined) this.leave(sequence, 'abort');
  }

  /** The truth of now. Looking changes nothing and wakes nothing. */
  state(): EngineState {
    const { name, kind, version, config, scheduler } = this.parts;
    return engineState({
      name,
      kind,
      version,
      config,
      condition: this.condition === 'serving' && this.faults.hung ? 'hung' : this.condition,
      startedSeconds: this.startedSeconds,
      pid: this.resident.pid,
      statistics: this.statistics,
      residences: this.resident.all(),
      pending: this.pending,
      now: scheduler.now,
    });
  }

  /** @returns the laws of conservation that do not hold now; none, if all is well. Cheap enough for every step. */
  audit(): readonly string[] {
    const { statistics, faults } = this;
    const { requests } = statistics;
    const ended = requests.stop + requests.length + requests.abort + requests.error;
    const broken: string[] = [];
    const check = (law: string, holds: boolean): void => {
      if (!holds) broken.push(law);
    };
    let inside = this.pending.length;
    for (const { model, runner, memory } of this.resident.all()) {
      const { usedBlocks, cachedBlocks, capacityBlocks } = memory.usage();
      const running = runner.running.length;
      inside += running + runner.waiting.length;
      check(`${model.name}: 0 <= KV used, cached`, usedBlocks >= 0 && cachedBlocks >= 0);
      check(`${model.name}: KV used + cached <= capacity`, usedBlocks + cachedBlocks <= capacityBlocks);
      check(
        `${model.name}: no KV without sequences`,
        running > 0 || faults.kvHeldRatio > 0 || usedBlocks === 0,
      );
      check(`${model.name}: running <= most`, running <= this.parts.config.maxSequences);
    }
    check('every request is in one place', this.sequences.size === inside);
    check(
      'submitted = ended + inside + rejected',
      statistics.submitted === ended + inside + statistics.rejected,
    );
    check('prefix hits <= queries', statistics.hitTokens <= statistics.queriedTokens);
    check('accepted <= drafts', statistics.acceptedTokens <= statistics.draftTokens);
    return broken;
  }

  private serve(): void {
    if (!this.traits.loadsOnDemand && this.parts.gpus.some((gpu) => gpu.isLost())) return this.crash();
    this.condition = 'serving';
    for (const { runner } of this.resident.all()) runner.open();
  }

  private refusal(request: EngineRequest, model: Model | undefined): Refusal | undefined {
    const { traits } = this;
    const { config } = this.parts;
    if (this.condition === 'loading') return traits.loading;
    if (model === undefined) return traits.unknownModel(request.model);
    if (request.lora !== undefined && config.loras?.names.includes(request.lora) !== true) {
      return traits.unknownModel(request.lora);
    }
    if (this.sequences.has(request.id)) return { status: 400, message: `request id ${request.id} is in use` };
    const answer = request.kind === 'embedding' ? 0 : request.maxTokens;
    const room = traits.contextCheck === 'prompt' ? Math.min(answer, 1) : answer;
    const context = this.contextOf(model);
    if (traits.longPrompt === 'refused' && request.promptTokens + room > context) {
      return traits.contextTooLong(request.promptTokens, answer, context);
    }
    const waiting = this.pending.length + this.resident.waitingCount();
    return waiting >= (config.maxWaiting ?? Infinity) ? traits.queueFull : undefined;
  }

  private modelOf(request: EngineRequest): Model | undefined {
    const { models } = this.parts.config;
    return this.traits.checksModelName ? models.find(({ name }) => name === request.model) : models[0];
  }

  private contextOf(model: Model): number {
    return contextTokens(this.parts.kind, this.parts.config, model, this.resident.find(model)?.memory);
  }

  private take(request: EngineRequest, model: Model, listener: RequestListener): void {
    const context = this.contextOf(model);
    const cut = this.traits.longPrompt === 'cut';
    const promptTokens = Math.max(cut ? Math.min(request.promptTokens, context) : request.promptTokens, 1);
    const answerEnd = cut ? Infinity : context;
    const sequence = createSequence(request, listener, this.parts.scheduler.now, promptTokens, answerEnd);
    this.sequences.set(request.id, sequence);
    this.planDeadline(sequence);
    if (this.traits.loadsOnDemand) {
      this.pending.push(sequence);
      this.admitPending();
    } else {
      this.resident.find(model)?.runner.enqueue(sequence);
    }
  }

  /** The client's patience or the engine's own limit, whichever is over first. */
  private planDeadline(sequence: Sequence): void {
    const patience = sequence.request.patienceSeconds ?? Infinity;
    const limit = this.parts.config.deadlineSeconds ?? Infinity;
    const seconds = Math.min(patience, limit);
    if (seconds === Infinity) return;
    const reason = patience <= limit ? 'abort' : 'error';
    sequence.forgetDeadline = this.parts.scheduler.at(sequence.arrivedSeconds + seconds, () =>
      this.leave(sequence, reason),
    );
  }

  /** While the engine hangs, the client is gone but its request stays inside. */
  private leave(sequence: Sequence, reason: FinishReason): void {
    if (sequence.ended || this.departed.has(sequence)) return;
    if (!this.faults.hung) return this.drop(sequence, reason);
    this.departed.set(sequence, reason);
    this.dismiss(sequence, reason);
  }

  private drop(sequence: Sequence, reason: FinishReason): void {
    const place = this.pending.indexOf(sequence);
    if (place >= 0) this.pending.splice(place, 1);
    const model = this.modelOf(sequence.request);
    if (model !== undefined) this.resident.find(model)?.runner.remove(sequence);
    this.end(sequence, reason);
  }

  private end(sequence: Sequence, reason: FinishReason): void {
    this.settle(sequence, reason);
    this.dismiss(sequence, reason);
  }

  /** All at once: nobody is told before the books are in order. */
  private fail(sequences: readonly Sequence[]): void {
    for (const sequence of sequences) this.settle(sequence, 'error');
    for (const sequence of sequences) this.dismiss(sequence, 'error');
  }

  private settle(sequence: Sequence, reason: FinishReason): void {
    sequence.ended = true;
    this.sequences.delete(sequence.request.id);
    this.departed.delete(sequence);
    this.statistics.ended(sequence, reason, this.parts.scheduler.now);
  }

  private dismiss(sequence: Sequence, reason: FinishReason): void {
    sequence.forgetDeadline?.();
    sequence.forgetDeadline = undefined;
    const { listener } = sequence;
    sequence.listener = undefined;
    listener?.onEnd?.(reason, this.parts.scheduler.now);
  }

  private faultsChanged(): void {
    this.resident.faultsChanged();
    if (this.faults.hung) return;
    for (const [sequence, reason] of [...this.departed]) {
      if (!sequence.ended) this.drop(sequence, reason);
    }
    for (const { runner } of this.resident.all()) runner.resume();
    this.admitPending();
  }

  /** A CUDA error ends the process that met it: the engine, or with Ollama the model's runner. */
  private lostGpu(residence: Residence): void {
    if (!this.traits.loadsOnDemand) return this.crash();
    const lost = [...residence.runner.running, ...residence.runner.waiting];
    this.resident.unload(residence);
    this.fail(lost);
    this.admitPending();
  }

  private emptied(residence: Residence): void {
    if (!this.traits.loadsOnDemand) return;
    this.resident.rest(residence);
    this.admitPending();
  }

  private admitPending(): void {
    if (this.faults.hung || this.condition !== 'serving') return;
    for (let sequence = this.pending[0]; sequence !== undefined; sequence = this.pending[0]) {
      const model = this.modelOf(sequence.request);
      const residence = model && (this.resident.find(model) ?? this.resident.load(model));
      if (residence === undefined) return;
      this.pending.shift();
      this.resident.use(residence);
      residence.runner.enqueue(sequence);
    }
  }
}
