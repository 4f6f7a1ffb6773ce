import type {
  BackendFailureReason,
  BackendName,
  GpuProcess,
  GpuReading,
  SampleKind,
  UnsupportedReading,
} from './reading.ts';

/** To whom a process belongs; what is not certain is not there, and is exported as `unknown`. */
export interface ProcessOwner {
  /** Engine by the command line of the process or of one of its ancestors. */
  readonly engine?: string;
  /** Model as served, by the same command line. */
  readonly model?: string;
  /** Container id, 12 characters as Docker shows it. */
  readonly container?: string;
  /** Port on which the process, or the ancestor that is the engine, listens. */
  readonly port?: number;
  /** Name of the process's own program or script, without its arguments: they may hold a key. */
  readonly program?: string;
}

export interface OwnedProcess extends GpuProcess {
  readonly owner: ProcessOwner;
}

/** Statistics of the quick samples in one window. */
export interface WindowStatistics {
  readonly max: number;
  readonly avg: number;
  readonly p95: number;
  readonly samples: number;
}

/** One GPU as it is known now. */
export interface WatchedGpu {
  readonly backend: BackendName;
  /** The last reading; its condition and points are those of now: a stale one has no points. */
  readonly reading: GpuReading;
  /** Since the reading was taken. */
  readonly ageSeconds: number;
  readonly processes: readonly OwnedProcess[] | undefined;
  /** Over the window asked for; a kind without a sample is not there. */
  readonly windows: Readonly<Partial<Record<SampleKind, WindowStatistics>>>;
  /** Power integrated by us, where the GPU has no meter of its own. */
  readonly integratedJoules: number | undefined;
  /** Errors since the exporter started, by XID; the fatal ones are there with 0. Undefined where nothing tells them. */
  readonly xids: ReadonlyMap<number, XidCount> | undefined;
}

export interface XidCount {
  readonly count: number;
  /** Of the last one, also from before the start where the kernel log still has it. */
  readonly lastUnixSeconds?: number;
}

export interface BackendFailure {
  readonly reason: BackendFailureReason;
  readonly message: string;
  readonly sinceUnixSeconds: number;
}

/** One backend as it stands now. */
export interface BackendState {
  readonly backend: BackendName;
  readonly driverVersion: string | undefined;
  readonly libraryVersion: string | undefined;
  /** Of the last good reading; undefined until there was one. */
  readonly ageSeconds: number | undefined;
  readonly lastSuccessUnixSeconds: number | undefined;
  readonly readingSeconds: number | undefined;
  readonly failure: BackendFailure | undefined;
  /** Reader processes started anew after one failed. */
  readonly restarts: number;
  /** Reader processes that nothing could end: stuck in the driver. */
  readonly abandoned: number;
  readonly unsupported: readonly UnsupportedReading[];
  /** Values dropped as nonsense since the start, by native field. */
  readonly unparsed: ReadonlyMap<string, number>;
}

/** All that is known of this host's GPUs now. */
export interface GpuSnapshot {
  readonly gpus: readonly WatchedGpu[];
  readonly backends: readonly BackendState[];
  /** Why there is no backend, in a sentence, when there is none. */
  readonly nothing: string | undefined;
}
