import type { Labels } from '@llm-monitor/metrics-core';

import type { GpuMetricName } from './gpu-metrics.ts';

/** Who makes GPUs that are read, by the label `vendor`. */
export const GPU_VENDORS = {
  nvidia: { title: 'NVIDIA', pciVendorId: '0x10de', computePlatform: 'CUDA' },
  amd: { title: 'AMD', pciVendorId: '0x1002', computePlatform: 'ROCm' },
} as const satisfies Record<string, GpuVendorFacts>;
export type GpuVendor = keyof typeof GPU_VENDORS;

interface GpuVendorFacts {
  readonly title: string;
  /** As sysfs writes it. */
  readonly pciVendorId: string;
  /** What `cudaVersion` is the version of. */
  readonly computePlatform: string;
}

/** What reads GPUs, one of a vendor's ways to them, and whose. */
export const BACKEND_VENDORS = {
  nvml: 'nvidia',
  'nvidia-smi': 'nvidia',
  amdgpu: 'amd',
} as const satisfies Record<string, GpuVendor>;
export type BackendName = keyof typeof BACKEND_VENDORS;
export const BACKENDS = Object.keys(BACKEND_VENDORS) as BackendName[];

/** Why a GPU that is known gives no readings. */
export const DOWN_REASONS = [
  'lost',
  'reset_required',
  'unknown_error',
  'no_permission',
  'vanished',
  'driver_unreachable',
  'hung',
] as const;
export type DownReason = (typeof DOWN_REASONS)[number];

/** `suspended`: asleep by the kernel's own word, and left alone. */
export type GpuCondition = 'up' | 'suspended' | DownReason;

/** One figure of a GPU under its canonical name; labels beyond `gpu` and `uuid` as the metric declares them. */
export interface GpuPoint {
  readonly metric: GpuMetricName;
  readonly value: number;
  readonly labels?: Labels;
}

/** What a GPU is: the labels of `gpu_info`. A fact that is not known is not there. */
export interface GpuFacts {
  readonly vendor: GpuVendor;
  readonly name?: string;
  readonly driverVersion?: string;
  /** CUDA version that the driver supports, or the version of the vendor's `computePlatform`. */
  readonly cudaVersion?: string;
  /** As sysfs writes it: four digits of domain, lower case, `0000:8f:00.0`. */
  readonly pciBusId?: string;
  readonly serial?: string;
  readonly architecture?: string;
  readonly vbiosVersion?: string;
  readonly computeCapability?: string;
  readonly numaNode?: string;
}

/** A process that holds memory on a GPU, as the driver names it; PIDs are those of the host. */
export interface GpuProcess {
  readonly pid: number;
  readonly type: 'compute' | 'graphics' | 'compute+graphics' | 'mps';
  readonly name?: string;
  /** Absent where the driver does not tell (Windows' WDDM). */
  readonly memoryBytes?: number;
  /** Share of the streaming multiprocessors' time, 0 to 1. */
  readonly smUtilizationRatio?: number;
  /** Of a MIG device. */
  readonly gpuInstanceId?: string;
  readonly computeInstanceId?: string;
}

/** One GPU at one moment. */
export interface GpuReading {
  /** The label `gpu`: the driver's own index. */
  readonly gpu: string;
  /**
   * The label `uuid`: the driver's identity of the board (NVIDIA's UUID, AMD's unique_id), else the PCI address, else the
   * vendor and the index, `nvidia-0`. Unique on a host.
   */
  readonly uuid: string;
  readonly condition: GpuCondition;
  readonly facts: GpuFacts;
  /** Empty unless the condition is `up`. */
  readonly points: readonly GpuPoint[];
  /**
   * Points that change seldom and are read seldom: the same array until they are read again. The gpu-reader sends an
   * array once and `true` from then on; past the parent's `KnownGpus` they are among the points.
   */
  readonly seldomPoints?: readonly GpuPoint[] | true;
  /** Undefined where the driver does not tell its processes; empty where there are none. */
  readonly processes?: readonly GpuProcess[];
}

/** A value that is there and makes no sense: dropped, counted, and told. */
export interface UnparsedValue {
  /** The native name: an XML path, an NVML function, a file. */
  readonly field: string;
  readonly value: string;
}

/** A reading that this driver or GPU does not have, for `check`. */
export interface UnsupportedReading {
  /** The native name: an NVML function, a file. */
  readonly field: string;
  readonly why: 'missing_symbol' | 'not_supported' | 'no_permission' | 'struct_version' | 'failed';
}

/** All GPUs of one backend at one moment. */
export interface BackendReading {
  readonly backend: BackendName;
  readonly driverVersion?: string;
  /** Of NVML or of nvidia-smi itself. */
  readonly libraryVersion?: string;
  readonly gpus: readonly GpuReading[];
  readonly unparsed: readonly UnparsedValue[];
  readonly unsupported: readonly UnsupportedReading[];
}

/** One of the quick samples that are taken between readings. */
export interface GpuSample {
  readonly uuid: string;
  readonly kind: SampleKind;
  readonly unixSeconds: number;
  /** A ratio, or watts. */
  readonly value: number;
}
export const SAMPLE_KINDS = ['utilization', 'power'] as const;
export type SampleKind = (typeof SAMPLE_KINDS)[number];

/** An error that the driver told of by itself. */
export interface XidEvent {
  /** As in `GpuFacts`. */
  readonly pciBusId: string;
  readonly xid: number;
  readonly unixSeconds: number;
}

/** Why a backend as a whole gives nothing. */
export const BACKEND_FAILURES = [
  'library_missing',
  'program_missing',
  'driver_not_loaded',
  'driver_mismatch',
  'init_unknown_error',
  'no_permission',
  'no_gpus',
  'session_lost',
  'timeout',
  'hung',
  'crashed',
  'unreadable_output',
  'internal',
] as const;
export type BackendFailureReason = (typeof BACKEND_FAILURES)[number];

/** A backend that gave nothing. The message says what, where, and what to try. */
export class BackendError extends Error {
  override readonly name = 'BackendError';
  readonly reason: BackendFailureReason;
  constructor(reason: BackendFailureReason, message: string, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause });
    this.reason = reason;
  }
}

/** Tells of a GPU, before it is touched, whether it sleeps. */
export interface PciGpu {
  /** As in `GpuFacts`. */
  readonly pciBusId: string;
  readonly vendor: GpuVendor;
  /** The kernel has put it to sleep (`power/runtime_status` suspended, or `power_state` D3): touching would wake it. */
  readonly suspended: boolean;
  /**
   * The kernel may put it to sleep once nobody has touched it for a while (`power/control` is `auto`, and its
   * `runtime_status` is known): each reading holds that off. Absent where nobody looked.
   */
  readonly powerManaged?: boolean;
}

/**
 * By what one GPU whose calls are stuck costs only itself. Who reads one GPU after the other says which, so that when its
 * process is ended for its silence, the next one can leave that GPU alone for a while.
 */
export interface GpuTouches {
  /** Told the PCI address before the calls for a GPU, and undefined after the last of them. Takes about a microsecond. */
  readonly touching: (pciBusId: string | undefined) => void;
  /** Whether the GPU is not to be touched now: it is `hung`. */
  readonly isLeftOut: (pciBusId: string) => boolean;
  /** Whether a reader before this one was stuck: then a GPU is better asked for by its address than by its place. */
  readonly afterHang: boolean;
}

/**
 * One way to the GPUs. Runs in a process of its own (the gpu-reader), because a call that is stuck in a driver can be
 * ended by nobody: a backend may block.
 */
export interface GpuBackend {
  readonly name: BackendName;
  /**
   * Reads all GPUs. A GPU that fails costs its own points only.
   * @param pci what the kernel knows of the GPUs on the bus, looked up just now; a suspended one is not touched
   * @throws BackendError
   */
  read(pci: readonly PciGpu[], signal: AbortSignal): Promise<BackendReading>;
  /** Utilization and power since the last call; called up to ten times a second, between readings. Never throws. */
  sample?(): readonly GpuSample[];
  /** Errors that the driver told of since the last call. Never throws. */
  events?(): readonly XidEvent[];
  /** Gives back what it holds of the driver. Never throws. */
  close(): void;
}
