import type { Random } from '../random.ts';
import type { Scheduler } from '../scheduler.ts';
import { DEFAULT_DISK_BYTES_PER_SECOND, type EngineConfig } from './engine-config.ts';
import type { EngineGpu } from './engine-gpu.ts';
import { ENGINE_KINDS, type EngineKindTraits } from './engine-kinds.ts';
import type { EngineStatistics } from './engine-statistics.ts';
import type { EngineFaults, EngineKind, FinishReason } from './engine.ts';
import type { KvMemory } from './kv-cache.ts';
import { contextTokens, createKvMemory, slotsBytes } from './memory-plan.ts';
import { ModelRunner } from './model-runner.ts';
import type { Model } from './model.ts';
import { weightBytes } from './models.ts';
import { allocateEach, ON_HOST, placeLayers, placeMost, type Holder, type Placement } from './placement.ts';
import type { Sequence } from './sequence.ts';
import { loadWeights } from './weight-loading.ts';

/** How far apart the first pids of two engines must be. */
export const PIDS_PER_ENGINE = 1000;

/** A model in memory, or on its way there. */
export interface Residence {
  readonly model: Model;
  readonly holder: Holder;
  readonly runner: ModelRunner;
  readonly memory: KvMemory;
  placement: Placement;
  /** When a request last came or ended. */
  usedSeconds: number;
  breakOffLoading: () => void;
  forgetUnload: (() => void) | undefined;
}

interface ResidentParts {
  readonly kind: EngineKind;
  readonly config: EngineConfig;
  readonly gpus: readonly EngineGpu[];
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly pid: number;
  readonly faults: EngineFaults;
  /** Of the engine's process of now. */
  readonly statistics: () => EngineStatistics;
  readonly onEnd: (sequence: Sequence, reason: FinishReason) => void;
  readonly onEmpty: (residence: Residence) => void;
  readonly onGpuLost: (residence: Residence) => void;
}

/** The models that an engine has in memory, and how they come and go. */
export class ResidentModels {
  private readonly parts: ResidentParts;
  private readonly traits: EngineKindTraits;
  private readonly residences = new Map<string, Residence>();
  private processes = 0;
  private enginePid: number;

  constructor(parts: ResidentParts) {
    this.parts = parts;
    this.traits = ENGINE_KINDS[parts.kind];
    this.enginePid = parts.pid;
  }

  /** Of the engine's own process. */
  get pid(): number {
    return this.enginePid;
  }

  all(): Residence[] {
    return [...this.residences.values()];
  }

  find(model: Model): Residence | undefined {
    return this.residences.get(model.name);
  }

  waitingCount(): number {
    let waiting = 0;
    for (const { runner } of this.residences.values()) waiting += runner.waiting.length;
    return waiting;
  }

  /** The engine's process is a new one. */
  renewProcess(): void {
    this.enginePid = this.freePid();
  }

  /** All of the engine's models at once, in its own process. @returns false when the GPUs have no room for one of them */
  takeUpAll(): boolean {
    for (const model of this.parts.config.models) {
      const holder = this.holder(this.enginePid, model);
      const placement = this.parts.faults.cpuFallback ? ON_HOST : this.findPlace(model, holder);
      if (placement === undefined) return false;
      this.add(model, holder, placement);
    }
    return true;
  }

  /**
   * As Ollama's scheduler (server/sched.go): beside the others if it fits whole, else idle models make room, the least
   * recently used first; while one that is busy is in the way, it waits; alone it is put on the GPUs as far as it fits.
   * @returns undefined while it has to wait
   */
  load(model: Model): Residence | undefined {
    const holder = this.holder(this.freePid(), model);
    let placement = this.placeWhole(model, holder);
    while (placement === undefined && this.residences.size > 0) {
      const idle = this.leastRecentlyUsed();
      if (idle === undefined) return undefined;
      this.unload(idle);
      placement = this.placeWhole(model, holder);
    }
    const residence = this.add(model, holder, placement ?? this.findPlace(model, holder) ?? ON_HOST);
    const { gpus, gpuLayers } = residence.placement;
    const bytesEach = (weightBytes(model) * gpuLayers) / model.layers / Math.max(gpus.length, 1);
    residence.breakOffLoading = loadWeights(
      this.parts.scheduler,
      gpus,
      bytesEach,
      this.readSeconds([model]),
      () => residence.runner.open(),
    );
    return residence;
  }

  unload(residence: Residence): void {
    residence.runner.stop();
    residence.breakOffLoading();
    residence.forgetUnload?.();
    for (const gpu of residence.placement.gpus) gpu.release(residence.holder.pid);
    this.residences.delete(residence.model.name);
  }

  /** A request for it has come: it stays. */
  use(residence: Residence): void {
    residence.usedSeconds = this.parts.scheduler.now;
    residence.forgetUnload?.();
    residence.forgetUnload = undefined;
  }

  /** Nobody uses it any more: it stays for the keep-alive time. */
  rest(residence: Residence): void {
    this.use(residence);
    const { scheduler, config } = this.parts;
    if (config.keepAliveSeconds === undefined) return;
    residence.forgetUnload = scheduler.at(scheduler.now + config.keepAliveSeconds, () =>
      this.unload(residence),
    );
  }

  faultsChanged(): void {
    for (const residence of this.residences.values()) {
      residence.memory.hold(this.parts.faults.kvHeldRatio);
      this.moveLayers(residence);
    }
  }

  /** How long it takes to read the weights of these from the disk. */
  readSeconds(models: readonly Model[]): number {
    const bytes = models.reduce((sum, model) => sum + weightBytes(model), 0);
    return bytes / (this.parts.config.diskBytesPerSecond ?? DEFAULT_DISK_BYTES_PER_SECOND);
  }

  /** To the processor when the GPUs cannot be used any more, and back. */
  private moveLayers(residence: Residence): void {
    const { cpuFallback } = this.parts.faults;
    if ((residence.placement === ON_HOST) === cpuFallback) return;
    for (const gpu of residence.placement.gpus) gpu.release(residence.holder.pid);
    const place = cpuFallback ? undefined : this.findPlace(residence.model, residence.holder);
    residence.placement = place ?? ON_HOST;
    residence.runner.place(residence.placement);
  }

  private holder(pid: number, model: Model): Holder {
    return { pid, ...(this.parts.config.process ?? this.traits.process(model.name)) };
  }

  /** @returns undefined, with nothing taken, when the GPUs have no room */
  private findPlace(model: Model, holder: Holder): Placement | undefined {
    const { config, kind } = this.parts;
    if (this.traits.memory === 'blocks') return this.placeShare(model, holder);
    const layers = Math.min(config.offloadedLayers ?? model.layers, model.layers);
    // llama.cpp ends when it cannot have the layers that it was told to offload.
    const must = config.offloadedLayers !== undefined && !this.traits.loadsOnDemand;
    const place = must ? placeLayers : placeMost;
    const bytes = slotsBytes(kind, config, model);
    return place(this.gpuGroups(), holder, model, layers, bytes, this.traits.overheadBytes);
  }

  /** Engines with blocks take their share of every GPU at once, whatever they will need of it. */
  private placeShare(model: Model, holder: Holder): Placement | undefined {
    const { gpus, config } = this.parts;
    const share = ({ board }: EngineGpu): number => Math.floor(board.memoryBytes * config.gpuMemoryRatio);
    if (!allocateEach(gpus, holder, share)) return undefined;
    return { gpus, gpuLayers: model.layers, gpuBytes: gpus.reduce((sum, gpu) => sum + share(gpu), 0) };
  }

  private placeWhole(model: Model, holder: Holder): Placement | undefined {
    const { config, kind, faults } = this.parts;
    if (faults.cpuFallback) return ON_HOST;
    const layers = Math.min(config.offloadedLayers ?? model.layers, model.layers);
    const bytes = slotsBytes(kind, config, model);
    return placeLayers(this.gpuGroups(), holder, model, layers, bytes, this.traits.overheadBytes);
  }

  /** llama.cpp spreads a model over all GPUs; Ollama takes one if one has room. A lost GPU is not seen at a start. */
  private gpuGroups(): readonly (readonly EngineGpu[])[] {
    const gpus = this.parts.gpus.filter((gpu) => !gpu.isLost());
    return this.traits.loadsOnDemand && gpus.length > 1 ? [...gpus.map((gpu) => [gpu]), gpus] : [gpus];
  }

  private add(model: Model, holder: Holder, placement: Placement): Residence {
    const { kind, config, gpus, scheduler, random, faults, onEnd, onEmpty, onGpuLost } = this.parts;
    const memory = createKvMemory(kind, config, gpus, model);
    memory.hold(faults.kvHeldRatio);
    const runner = new ModelRunner(
      {
        kind,
        config,
        model,
        pid: holder.pid,
        memory,
        contextTokens: contextTokens(kind, config, model, memory),
        scheduler,
        random,
        faults,
        statistics: this.parts.statistics(),
        sharers: () => this.busyRunners(),
        onEnd,
        onEmpty: () => onEmpty(residence),
        onGpuLost: () => onGpuLost(residence),
      },
      placement,
    );
    const residence: Residence = {
      model,
      holder,
      runner,
      memory,
      placement,
      usedSeconds: scheduler.now,
      breakOffLoading: () => {},
      forgetUnload: undefined,
    };
    this.residences.set(model.name, residence);
    return residence;
  }

  private busyRunners(): number {
    if (this.residences.size <= 1) return 1;
    let busy = 0;
    for (const { runner } of this.residences.values()) busy += runner.busy ? 1 : 0;
    return Math.max(busy, 1);
  }

  private leastRecentlyUsed(): Residence | undefined {
    let oldest: Residence | undefined;
    for (const residence of this.residences.values()) {
      if (!residence.runner.isReady || !residence.runner.empty) continue;
      if (oldest === undefined || residence.usedSeconds < oldest.usedSeconds) oldest = residence;
    }
    return oldest;
  }

  /** The next pid that no process of this engine has. */
  private freePid(): number {
    const taken = new Set([...this.residences.values()].map(({ holder }) => holder.pid));
    if (this.processes > 0) taken.add(this.enginePid);
    for (;;) {
      const pid = this.parts.pid + (this.processes % PIDS_PER_ENGINE);
      this.processes += 1;
      if (!taken.has(pid)) return pid;
    }
  }
}
