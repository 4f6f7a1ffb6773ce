import { systemClock, type Clock, type CollectorMetrics } from '@llm-monitor/metrics-core';

import type { GpuMetricName } from '../gpu-metrics.ts';
import { passedThroughGpus, pciGpus } from '../pci/pci-gpus.ts';
import { ProcessOwners } from '../processes/process-owners.ts';
import type { BackendName, BackendReading, GpuReading, GpuSample } from '../reading.ts';
import type { GpuSnapshot, OwnedProcess, WatchedGpu } from '../snapshot.ts';
import { chooseBackends, findNvidiaSmi, hasNvidiaDriver } from './choose-backends.ts';
import { EnergyBook } from './energy-book.ts';
import { Faults } from './faults.ts';
import { KernelLog } from './kernel-log.ts';
import type { KnownGpu } from './known-gpus.ts';
import { defaultReaderTiming, type ReaderCommand, type ReaderTiming } from './reader-process.ts';
import { SampleWindows } from './sample-windows.ts';
import { WatchedBackend } from './watched-backend.ts';
import { XidBook } from './xid-book.ts';

export interface GpuWatchSettings {
  readonly backend: 'auto' | BackendName;
  readonly intervalSeconds: number;
  /** Of a backend that starts a program each time. */
  readonly nvidiaSmiIntervalSeconds: number;
  /** Quick samples per second between readings; 0 for none. */
  readonly sampleHertz: number;
  /** Silence after which the driver counts as hung. */
  readonly deadlineSeconds: number;
  /** Readings older than this are dropped. */
  readonly staleAfterSeconds: number;
  readonly nvmlLibrary: string | undefined;
  readonly nvidiaSmi: string | undefined;
  readonly sysfsRoot: string;
  readonly procRoot: string;
  /** Path of the kernel log; undefined to leave it alone. */
  readonly kernelLogFile: string | undefined;
  /** Where integrated energy is kept across restarts; undefined for in memory only. */
  readonly stateFile: string | undefined;
  /** Whether the owners of processes are looked up. */
  readonly processes: boolean;
}

/** The part of a logger that is used. */
export interface WatchLog {
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
}

export interface GpuWatchParts {
  readonly settings: GpuWatchSettings;
  readonly readerCommand: ReaderCommand;
  /** Each reading is reported under the name of its backend. */
  readonly collectors: CollectorMetrics;
  readonly log: WatchLog;
  /** `PATH`, for nvidia-smi. */
  readonly searchPath: string | undefined;
  /** `LD_LIBRARY_PATH`, for NVML. */
  readonly libraryPath?: string | undefined;
  readonly clock?: Clock;
  readonly timing?: Partial<ReaderTiming & LibraryTiming>;
}

/** Of trying NVML again where nvidia-smi stands in for it. */
export interface LibraryTiming {
  /** Pause before the first try, doubled each time up to the longest. */
  readonly firstLibraryPauseSeconds: number;
  readonly longestLibraryPauseSeconds: number;
}

/** The GPUs of this host, watched from the outside of their drivers. */
export interface GpuWatch {
  /** Resolves when each backend gave a reading or a reason why not, or there is none. */
  readonly firstReading: Promise<void>;
  /** What is known now, with windows over what came since this client's last call. Never waits. */
  scrape(client: string): GpuSnapshot;
  /** What is known now, with windows over the last seconds; moves nobody's window. Never waits. */
  peek(windowSeconds: number): GpuSnapshot;
  /** Why the kernel log is not followed, and the like: what `check` tells beside the snapshot. */
  remarks(): readonly string[];
  /** Calls back after each reading and failure, until called. */
  onChange(listener: () => void): () => void;
  /** Ends the readers and keeps what is to be kept, in less than 2 s also while a driver hangs. */
  stop(): Promise<void>;
}

/** Between two looks for GPUs that were not there before. */
const LOOK_SECONDS = 30;
const HOUSEKEEPING_SECONDS = 1;
const LIBRARY_TIMING: LibraryTiming = { firstLibraryPauseSeconds: 60, longestLibraryPauseSeconds: 3600 };
/** A reading stands in for quick samples where there was none for so long. */
const SAMPLE_GAP_SECONDS = 2;

/** Watches this host's GPUs until stopped. */
export function startGpuWatch(parts: GpuWatchParts): GpuWatch {
  return new Watch(parts);
}

class Watch implements GpuWatch {
  readonly firstReading: Promise<void>;
  private readonly parts: GpuWatchParts;
  private readonly clock: Clock;
  private readonly backends = new Map<BackendName, WatchedBackend>();
  private readonly windows: SampleWindows;
  private readonly energy: EnergyBook;
  private readonly xids: XidBook;
  private readonly kernelLog: KernelLog | undefined;
  private readonly owners: ProcessOwners | undefined;
  private readonly listeners = new Set<() => void>();
  private readonly faults: Faults;
  /** Backends that are being ended. */
  private readonly ending = new Set<Promise<void>>();
  private nothing: string | undefined;
  private withoutLibrary = false;
  /** NVML on trial, while nvidia-smi still stands in for it. */
  private candidate: WatchedBackend | undefined;
  private libraryPauseSeconds: number;
  private cancelTrial: (() => void) | undefined;
  private looking: Promise<void> | undefined;
  private looksAgain = false;
  private cancelLook: () => void = () => undefined;
  private cancelHousekeeping: () => void = () => undefined;
  private stopped = false;

  constructor(parts: GpuWatchParts) {
    const { settings, clock = systemClock, log } = parts;
    this.parts = parts;
    this.clock = clock;
    this.faults = new Faults(log);
    this.libraryPauseSeconds = this.libraryTiming.firstLibraryPauseSeconds;
    this.windows = new SampleWindows({ now: () => clock.monotonicSeconds() });
    this.energy = new EnergyBook({
      ...(settings.stateFile === undefined ? {} : { file: settings.stateFile }),
      tell: (message) => log.warn({ stateFile: settings.stateFile }, message),
    });
    this.xids = new XidBook();
    this.kernelLog =
      settings.kernelLogFile === undefined
        ? undefined
        : new KernelLog({ file: settings.kernelLogFile, procRoot: settings.procRoot });
    this.owners = settings.processes ? new ProcessOwners({ procRoot: settings.procRoot }) : undefined;
    this.firstReading = this.begin().catch((error: unknown) => this.faults.tell('the first reading', error));
  }

  scrape(client: string): GpuSnapshot {
    this.windows.advance(client);
    return this.snapshot((uuid) => this.windows.statistics(client, uuid));
  }

  peek(windowSeconds: number): GpuSnapshot {
    return this.snapshot((uuid) => this.windows.recent(uuid, windowSeconds));
  }

  remarks(): readonly string[] {
    const passedThrough = passedThroughGpus(this.parts.settings.sysfsRoot).map(
      ({ pciBusId, driver }) =>
        `GPU ${pciBusId} is left alone and not counted: ${driver} holds it for a virtual machine`,
    );
    return [this.kernelLog?.unavailable, this.owners?.hint, ...passedThrough].flatMap(
      (remark) => remark ?? [],
    );
  }

  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.cancelLook();
    this.cancelTrial?.();
    this.cancelHousekeeping();
    this.kernelLog?.close();
    const backends = [...this.backends.values(), ...(this.candidate === undefined ? [] : [this.candidate])];
    await Promise.all([...backends.map((backend) => backend.stop()), ...this.ending, this.energy.close()]);
  }

  private get libraryTiming(): LibraryTiming {
    return { ...LIBRARY_TIMING, ...this.parts.timing };
  }

  private async begin(): Promise<void> {
    const loaded = this.energy.load().catch((error: unknown) => this.faults.tell('the energy file', error));
    await Promise.all([loaded, this.look()]);
    this.keepHouse();
    await Promise.all([...this.backends.values()].map(({ first }) => first));
  }

  /**
   * Which backends this host calls for, now and again: a GPU can be plugged in, a driver be installed. One look at a time:
   * asked for during one, another follows it.
   */
  private look(): Promise<void> {
    this.cancelLook();
    this.looksAgain = this.looking !== undefined;
    this.looking ??= this.lookUntilSettled().finally(() => {
      this.looking = undefined;
    });
    return this.looking;
  }

  private async lookUntilSettled(): Promise<void> {
    do {
      this.looksAgain = false;
      try {
        await this.lookOnce();
      } catch (error) {
        this.faults.tell('the look for GPUs', error);
      }
    } while (this.looksAgain);
    if (!this.stopped) this.cancelLook = this.clock.after(LOOK_SECONDS * 1000, () => void this.look());
  }

  private async lookOnce(): Promise<void> {
    const { settings, searchPath, libraryPath } = this.parts;
    const [pci, nvidiaDriver, nvidiaSmi] = await Promise.all([
      pciGpus(settings.sysfsRoot),
      hasNvidiaDriver(settings.nvmlLibrary, libraryPath),
      findNvidiaSmi(settings.nvidiaSmi, searchPath),
    ]);
    if (this.stopped) return;
    const choice = chooseBackends(settings.backend, { pci, nvidiaDriver, nvidiaSmi }, this.withoutLibrary);
    if (choice.nothing !== undefined && this.backends.size === 0 && this.nothing === undefined) {
      this.parts.log.info({ reason: choice.nothing }, 'no GPU to read');
    }
    this.nothing = choice.nothing;
    for (const name of choice.backends) if (!this.backends.has(name)) this.add(name);
    if (this.withoutLibrary && choice.backends.includes('nvidia-smi')) {
      this.remove('nvml');
      this.planTrial();
    }
  }

  private add(name: BackendName): void {
    const backend = this.create(name);
    this.backends.set(name, backend);
    backend.start();
  }

  private create(name: BackendName): WatchedBackend {
    const { settings, readerCommand, collectors, log, timing } = this.parts;
    // What fails on trial is what failed before, and nobody waits for it.
    const unlessOnTrial =
      <Told extends unknown[]>(tell: (...told: Told) => void) =>
      (...told: Told): void => {
        if (this.candidate !== backend) tell(...told);
      };
    const backend: WatchedBackend = new WatchedBackend({
      name,
      settings,
      readerCommand,
      collectors: {
        succeeded: unlessOnTrial((...told) => collectors.succeeded(...told)),
        failed: unlessOnTrial((...told) => collectors.failed(...told)),
        forget: unlessOnTrial((...told) => collectors.forget(...told)),
      },
      log: {
        info: unlessOnTrial((...told) => log.info(...told)),
        warn: unlessOnTrial((...told) => log.warn(...told)),
        error: unlessOnTrial((...told) => log.error(...told)),
      },
      timing: { ...defaultReaderTiming, deadlineSeconds: settings.deadlineSeconds, ...timing },
      clock: this.clock,
      onReading: (reading, unixSeconds) => {
        if (name === 'nvml') this.hasLibrary(backend);
        this.take(backend, reading, unixSeconds);
      },
      onSamples: (samples) => this.takeSamples(backend, samples),
      onEvents: (events) => this.xids.addDriverEvents(events),
      onFailure: (reason) => {
        if (this.candidate === backend) return this.endTrial(backend);
        if (name === 'nvml' && reason === 'library_missing' && !this.withoutLibrary) this.fallBack();
        this.changed();
      },
    });
    return backend;
  }

  private remove(name: BackendName): void {
    const backend = this.backends.get(name);
    this.backends.delete(name);
    if (backend !== undefined) this.end(backend);
  }

  private end(backend: WatchedBackend): void {
    const ended = backend
      .stop()
      .catch((error: unknown) => this.faults.tell('the end of a reader', error))
      .finally(() => this.ending.delete(ended));
    this.ending.add(ended);
  }

  /** Without NVML's library nvidia-smi may still do, where it brings its own. */
  private fallBack(): void {
    this.withoutLibrary = true;
    if (this.parts.settings.backend === 'auto') void this.look();
  }

  /** NVML may be installed, or mounted, while nvidia-smi stands in for it: it is tried now and again, and seldom. */
  private planTrial(): void {
    if (this.candidate !== undefined || this.stopped) return;
    this.cancelTrial ??= this.clock.after(this.libraryPauseSeconds * 1000, () => {
      this.cancelTrial = undefined;
      if (this.stopped || !this.withoutLibrary || this.backends.has('nvml')) return;
      this.candidate = this.create('nvml');
      this.candidate.start();
    });
  }

  private endTrial(candidate: WatchedBackend): void {
    const { longestLibraryPauseSeconds } = this.libraryTiming;
    this.end(candidate);
    this.candidate = undefined;
    this.libraryPauseSeconds = Math.min(this.libraryPauseSeconds * 2, longestLibraryPauseSeconds);
    this.planTrial();
  }

  /** With its first reading NVML takes the place of what stood in for it, so that no GPU is missing in between. */
  private hasLibrary(nvml: WatchedBackend): void {
    this.withoutLibrary = false;
    this.libraryPauseSeconds = this.libraryTiming.firstLibraryPauseSeconds;
    if (this.candidate !== nvml) return;
    this.candidate = undefined;
    this.backends.set(nvml.name, nvml);
    this.remove('nvidia-smi');
    this.parts.log.info({}, 'NVML can be loaded now: it is read in place of nvidia-smi');
  }

  private take(backend: WatchedBackend, { gpus }: BackendReading, unixSeconds: number): void {
    for (const reading of gpus) {
      if (reading.condition === 'up') this.standIn(backend, reading, unixSeconds);
    }
    this.changed();
    this.lookUpOwners(backend, gpus).catch((error: unknown) =>
      this.faults.tell('the owners of processes', error),
    );
  }

  /** Where nothing quick comes from a GPU, its readings are the samples. */
  private standIn(backend: WatchedBackend, reading: GpuReading, unixSeconds: number): void {
    const { uuid } = reading;
    const samples: GpuSample[] = [];
    for (const [kind, metric] of SAMPLED) {
      const value = valueOf(reading, metric);
      if (
        value === undefined ||
        Math.abs(unixSeconds - backend.sampledUnixSeconds(uuid, kind)) < SAMPLE_GAP_SECONDS
      )
        continue;
      samples.push({ uuid, kind, unixSeconds, value });
    }
    this.addSamples(backend, samples);
  }

  private takeSamples(backend: WatchedBackend, samples: readonly GpuSample[]): void {
    for (const { uuid, kind, unixSeconds } of samples) backend.noteSample(uuid, kind, unixSeconds);
    this.addSamples(backend, samples);
  }

  private addSamples(backend: WatchedBackend, samples: readonly GpuSample[]): void {
    this.windows.add(samples);
    for (const { kind, uuid, unixSeconds, value } of samples) {
      if (kind === 'power' && !backend.hasMeter(uuid)) this.energy.add(uuid, unixSeconds, value);
    }
  }

  private async lookUpOwners(backend: WatchedBackend, gpus: readonly GpuReading[]): Promise<void> {
    if (this.owners === undefined) return;
    const pids = gpus.flatMap(({ processes = [] }) => processes.map(({ pid }) => pid));
    const owners = await this.owners.ownersOf(pids);
    backend.owners = owners;
    this.changed();
  }

  private keepHouse(): void {
    if (this.stopped) return;
    this.xids.listenTo({
      kernelLog: this.kernelLog !== undefined && this.kernelLog.unavailable === undefined,
      driver: this.backends.get('nvml')?.tellsEvents() === true,
    });
    this.windows.forgetOld();
    this.kernelLog
      ?.poll()
      .then((events) => this.xids.addKernelEvents(events))
      .catch((error: unknown) => this.faults.tell('the kernel log', error));
    this.energy.save().catch((error: unknown) => this.faults.tell('the energy file', error));
    this.cancelHousekeeping = this.clock.after(HOUSEKEEPING_SECONDS * 1000, () => this.keepHouse());
  }

  private changed(): void {
    for (const listener of this.listeners) this.faults.guard('a listener to changes', listener);
  }

  private snapshot(windowsOf: (uuid: string) => WatchedGpu['windows']): GpuSnapshot {
    const backends = [...this.backends.values()];
    return {
      gpus: backends.flatMap((backend) =>
        backend.gpus().map((known) => this.watched(backend, known, windowsOf)),
      ),
      backends: backends.map((backend) => backend.state()),
      nothing: backends.length === 0 ? this.nothing : undefined,
    };
  }

  private watched(
    backend: WatchedBackend,
    { reading, seenSeconds }: KnownGpu,
    windowsOf: (uuid: string) => WatchedGpu['windows'],
  ): WatchedGpu {
    const { uuid, facts, processes, condition } = reading;
    return {
      backend: backend.name,
      reading,
      ageSeconds: this.clock.monotonicSeconds() - seenSeconds,
      processes: processes?.map((process): OwnedProcess => ({
        ...process,
        owner: backend.owners.get(process.pid) ?? {},
      })),
      windows: condition === 'up' ? windowsOf(uuid) : {},
      integratedJoules: backend.hasMeter(uuid) ? undefined : this.energy.exported(uuid),
      xids: facts.vendor === 'nvidia' ? this.xids.of(facts.pciBusId) : undefined,
    };
  }
}

const SAMPLED = [
  ['utilization', 'gpu_utilization_ratio'],
  ['power', 'gpu_power_watts'],
] as const;

function valueOf(reading: GpuReading, metric: GpuMetricName): number | undefined {
  return reading.points.find((point) => point.metric === metric)?.value;
}
