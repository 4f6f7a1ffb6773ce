import type { Board, Precision } from './board.ts';

/** What ran on a GPU, handed over when it has run. */
export interface GpuWork {
  /** When it began and ended, in seconds of the world. Work of several engines may overlap. */
  readonly fromSeconds: number;
  readonly toSeconds: number;
  /** 0 for a copy, which runs no kernel and so does not count as utilization. */
  readonly flops: number;
  readonly precision: Precision;
  /** Process that it ran for; work of nobody in particular counts for all processes alike. */
  readonly pid?: number;
  /** Read from and written to the GPU's own memory. */
  readonly memoryBytes: number;
  readonly pcieReceivedBytes?: number;
  readonly pcieSentBytes?: number;
  /** Sent to each of the other GPUs, together. */
  readonly nvlinkBytes?: number;
}

/**
 * How fast a GPU is at its clocks of now (of an idle GPU: at those that it wakes to, within milliseconds). Where work of
 * several engines overlapped of late, each gets its part of the time.
 */
export interface GpuSpeed {
  /** Peak of that format at the clocks of now. */
  flopsPerSecond(precision: Precision): number;
  readonly memoryBytesPerSecond: number;
}

/** Why clocks are below their highest: the reasons of NVML. */
export type ClockEvent =
  | 'gpu_idle'
  | 'sw_power_cap'
  | 'sw_thermal_slowdown'
  | 'hw_slowdown'
  | 'hw_thermal_slowdown'
  | 'hw_power_brake';

export interface GpuProcessState {
  readonly pid: number;
  readonly program: string;
  /** Whole command line, as /proc has it. */
  readonly command: readonly string[];
  readonly memoryBytes: number;
  readonly smUtilizationRatio: number;
}

/** All that can be known of a GPU at an instant: what the surfaces print, and what `sim_gpu_*` says. */
export interface GpuState {
  readonly index: number;
  readonly uuid: string;
  readonly serial: string;
  readonly pciBusId: string;
  readonly board: Board;
  /** Undefined while it answers; else the XID with which it was lost. */
  readonly lostByXid: number | undefined;
  /** Of the last sampling period (one sixth of a second to one second on real boards). */
  readonly utilizationRatio: number;
  readonly memoryUtilizationRatio: number;
  readonly memoryUsedBytes: number;
  readonly memoryReservedBytes: number;
  readonly smClockHertz: number;
  readonly memoryClockHertz: number;
  readonly powerWatts: number;
  readonly powerLimitWatts: number;
  readonly energyJoules: number;
  readonly coreCelsius: number;
  readonly memoryCelsius: number | undefined;
  readonly fanRatio: number | undefined;
  readonly fanRpm: number | undefined;
  readonly clockEvents: readonly ClockEvent[];
  /** Seconds since the world's start during which each was active. */
  readonly clockEventSeconds: Readonly<Record<ClockEvent, number>>;
  readonly pcieReceivedBytesPerSecond: number;
  readonly pcieSentBytesPerSecond: number;
  readonly pcieReplays: number;
  readonly nvlinkSentBytes: number;
  readonly nvlinkReceivedBytes: number;
  readonly eccCorrected: number;
  readonly eccUncorrected: number;
  /** Rows that ECC took out of use. */
  readonly remappedRows: {
    readonly correctable: number;
    readonly uncorrectable: number;
    readonly pending: boolean;
  };
  readonly xids: readonly { readonly xid: number; readonly seconds: number }[];
  readonly processes: readonly GpuProcessState[];
}

/** Faults that incidents switch on and off; each is undefined or false while all is well. */
export interface GpuFaults {
  fanStopped: boolean;
  /** The room (or its cooling) is warmer by so much. */
  ambientRiseCelsius: number;
  /** The power supply pulls the brake: clocks halve. */
  powerBrake: boolean;
  /** Corrected ECC errors per second. */
  correctedErrorsPerSecond: number;
}
