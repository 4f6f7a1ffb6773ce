import type { BackendFailureReason, BackendName, BackendReading, GpuSample, XidEvent } from '../reading.ts';

/** What a gpu-reader is to do. */
export interface ReaderOrders {
  readonly backend: BackendName;
  /** Process id of the parent: the reader ends with it. */
  readonly parent: number;
  readonly intervalSeconds: number;
  /** Quick samples per second; 0 for none. */
  readonly sampleHertz: number;
  /** After which a reading that still goes on is told to end, where it can be. */
  readonly deadlineSeconds: number;
  readonly nvmlLibrary: string | undefined;
  readonly nvidiaSmi: string | undefined;
  readonly sysfsRoot: string;
  readonly procRoot: string;
  /** GPUs not to be touched for so long; undefined until a reader was stuck. */
  readonly leftOut: readonly LeftOutGpu[] | undefined;
}

/** A GPU at which a reader was stuck. */
export interface LeftOutGpu {
  readonly pciBusId: string;
  /** From the start of the reader on. */
  readonly seconds: number;
}

/** From the parent to its gpu-reader. */
export type ReaderOrder =
  { readonly type: 'start'; readonly orders: ReaderOrders } | { readonly type: 'stop' };

/** From a gpu-reader to its parent, as JSON. */
export type ReaderMessage =
  /** Nothing new, but not stuck. */
  | { readonly type: 'alive' }
  | {
      readonly type: 'reading';
      readonly reading: BackendReading;
      readonly unixSeconds: number;
      readonly seconds: number;
    }
  | { readonly type: 'failure'; readonly reason: BackendFailureReason; readonly message: string }
  | { readonly type: 'samples'; readonly samples: readonly GpuSample[] }
  | { readonly type: 'events'; readonly events: readonly XidEvent[] };
