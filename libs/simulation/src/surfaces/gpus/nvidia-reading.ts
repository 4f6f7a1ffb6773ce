import type { Board } from '../../gpu/board.ts';
import type { ClockEvent, GpuState } from '../../gpu/gpu.ts';
import { nvmlAddress } from './gpu-host.ts';
import { pciIdsOf, type PciIds } from './pci-ids.ts';

const MEBIBYTE = 1024 ** 2;

/** nvml.h, nvmlClocksEventReason* */
export const CLOCK_EVENT_BITS = {
  gpu_idle: 0x1,
  sw_power_cap: 0x4,
  hw_slowdown: 0x8,
  sw_thermal_slowdown: 0x20,
  hw_thermal_slowdown: 0x40,
  hw_power_brake: 0x80,
} as const satisfies Record<ClockEvent, number>;

/**
 * What NVIDIA's driver says of a GPU, in its own units and whole numbers, and without what such a board does not have.
 * NVML and nvidia-smi both print this, so that they cannot differ.
 */
export interface NvidiaReading {
  /** By PCI address. */
  readonly index: number;
  readonly uuid: string;
  readonly name: string;
  /** As NVML writes it. */
  readonly address: string;
  readonly pciIds: PciIds;
  readonly lost: boolean;
  /** Undefined on GeForce. */
  readonly serial: string | undefined;
  readonly brand: 'GeForce' | 'NVIDIA';
  readonly architecture: Architecture;
  readonly computeCapability: string | undefined;
  readonly vbios: string | undefined;
  readonly percent: { readonly gpu: number; readonly memory: number };
  readonly memory: MemoryBytes;
  readonly bar1: { readonly total: number; readonly used: number; readonly free: number };
  readonly celsius: Celsius;
  readonly milliwatts: Milliwatts;
  readonly millijoules: number;
  readonly megahertz: Megahertz;
  readonly maximumMegahertz: Megahertz;
  readonly performanceState: number;
  readonly clockEvents: ReadonlySet<ClockEvent>;
  /** Since the driver was loaded. */
  readonly clockEventMicroseconds: Readonly<Record<ClockEvent, number>>;
  readonly fans: readonly { readonly percent: number | undefined; readonly rpm: number | undefined }[];
  readonly pcie: Pcie;
  /** Of the memory; undefined where the board has no ECC. */
  readonly ecc: { readonly corrected: number; readonly uncorrected: number } | undefined;
  readonly remappedRows: RemappedRows | undefined;
  /** `Disabled`, for nothing here splits a GPU; undefined on boards that cannot be split. */
  readonly mig: boolean | undefined;
  readonly nvlinks: readonly { readonly sentKibibytes: number; readonly receivedKibibytes: number }[];
  /** Of each link. */
  readonly nvlinkMegabytesPerSecond: number | undefined;
  /** The links lead to switches that make one fabric of all GPUs. */
  readonly fabric: boolean;
  /** nvmlDeviceGpuRecoveryAction_t: 0 none, 4 drain and reset. */
  readonly recoveryAction: number;
  readonly processes: readonly NvidiaProcess[];
}

export interface Architecture {
  /** As nvidia-smi names it. */
  readonly name: string;
  /** nvmlDeviceArchitecture_t */
  readonly number: number;
}

/** `used` is without what is reserved. */
export interface MemoryBytes {
  readonly total: number;
  readonly reserved: number;
  readonly used: number;
  readonly free: number;
}

export interface Celsius {
  readonly core: number;
  readonly memory: number | undefined;
  /** Absolute ones up to Ampere, from Ada and Hopper on offsets from the limit; never both. */
  readonly limits: Limits;
  /** How far the core is below its limit; where the limits are offsets. */
  readonly margin: number | undefined;
}

export interface Limits {
  readonly kind: 'absolute' | 'offset';
  readonly shutdown: number;
  readonly slowdown: number;
  readonly gpuMaximum: number;
}

export interface Milliwatts {
  readonly draw: number;
  /** Undefined on GA100, whose one figure is that of the moment. */
  readonly average: number | undefined;
  readonly limit: number;
  readonly default: number;
  readonly minimum: number;
  readonly maximum: number;
}

export interface Megahertz {
  readonly graphics: number;
  readonly sm: number;
  readonly memory: number;
  readonly video: number;
}

export interface Pcie {
  readonly generation: number;
  readonly maximumGeneration: number;
  readonly width: number;
  readonly replays: number;
  /** Thousands of bytes per second. */
  readonly transmitKilobytesPerSecond: number;
  readonly receiveKilobytesPerSecond: number;
}

export interface RemappedRows {
  readonly corrected: number;
  readonly uncorrected: number;
  readonly pending: boolean;
  /** Undefined where no capture tells how many there are. */
  readonly banks: number | undefined;
}

export interface NvidiaProcess {
  readonly pid: number;
  readonly name: string;
  readonly memoryBytes: number;
  readonly smPercent: number;
}

/** Lowest compute capability of each architecture, the newest first. */
const ARCHITECTURES: readonly (readonly [from: number, architecture: Architecture])[] = [
  [10, { name: 'Blackwell', number: 10 }],
  [9, { name: 'Hopper', number: 9 }],
  [8.9, { name: 'Ada Lovelace', number: 8 }],
  [8, { name: 'Ampere', number: 7 }],
  [7.5, { name: 'Turing', number: 6 }],
  [7, { name: 'Volta', number: 5 }],
  [6, { name: 'Pascal', number: 4 }],
  [5, { name: 'Maxwell', number: 3 }],
  [0, { name: 'Kepler', number: 2 }],
];
const AMPERE = 7;
const ADA = 8;
const HOPPER = 9;

/** Versions and memory banks as captures of such chips show them, by compute capability. */
const CHIPS: Readonly<Record<string, { readonly vbios: string; readonly banks?: number }>> = {
  '9.0': { vbios: '96.00.99.00.01', banks: 2560 },
  '8.9': { vbios: '95.02.18.80.5F', banks: 192 },
  '8.6': { vbios: '94.02.71.40.72' },
  '8.0': { vbios: '92.00.45.00.03', banks: 640 },
};

/** The video engines run at 0.77 to 0.78 of the clock of the multiprocessors on Ada and Hopper, 0.92 before (captures). */
const VIDEO_CLOCK_SHARE = { new: 0.78, old: 0.92 };
/** Clocks of engines are multiples of this (captures). */
const CLOCK_STEP_MEGAHERTZ = 15;

/** @param index of the GPU by PCI address, among NVIDIA's */
export function nvidiaReading(gpu: GpuState, index: number): NvidiaReading {
  const { board } = gpu;
  const architecture = architectureOf(board);
  const chip = CHIPS[board.computeCapability ?? ''];
  const isGeForce = /\bGeForce\b/.test(board.name);
  const performanceState = performanceStateOf(gpu, isGeForce);
  const hasRemapper = board.ecc && architecture.number >= AMPERE;
  return {
    index,
    uuid: gpu.uuid,
    name: board.name,
    address: nvmlAddress(gpu.pciBusId),
    pciIds: pciIdsOf(board),
    lost: gpu.lostByXid !== undefined,
    serial: isGeForce ? undefined : gpu.serial,
    brand: isGeForce ? 'GeForce' : 'NVIDIA',
    architecture,
    computeCapability: board.computeCapability,
    vbios: chip?.vbios,
    percent: {
      gpu: Math.round(gpu.utilizationRatio * 100),
      memory: Math.round(gpu.memoryUtilizationRatio * 100),
    },
    memory: memoryOf(gpu),
    bar1: bar1Of(board),
    celsius: celsiusOf(gpu, architecture),
    milliwatts: milliwattsOf(gpu),
    millijoules: Math.round(gpu.energyJoules * 1000),
    megahertz: megahertzOf(gpu.smClockHertz, gpu.memoryClockHertz, architecture),
    maximumMegahertz: megahertzOf(board.clocksHertz.smMax, board.clocksHertz.memoryMax, architecture),
    performanceState,
    clockEvents: new Set(gpu.clockEvents),
    clockEventMicroseconds: {
      gpu_idle: microseconds(gpu, 'gpu_idle'),
      sw_power_cap: microseconds(gpu, 'sw_power_cap'),
      sw_thermal_slowdown: microseconds(gpu, 'sw_thermal_slowdown'),
      hw_slowdown: microseconds(gpu, 'hw_slowdown'),
      hw_thermal_slowdown: microseconds(gpu, 'hw_thermal_slowdown'),
      hw_power_brake: microseconds(gpu, 'hw_power_brake'),
    },
    fans: fansOf(gpu),
    pcie: pcieOf(gpu, performanceState),
    ecc: board.ecc ? { corrected: gpu.eccCorrected, uncorrected: gpu.eccUncorrected } : undefined,
    remappedRows: hasRemapper
      ? {
          corrected: gpu.remappedRows.correctable,
          uncorrected: gpu.remappedRows.uncorrectable,
          pending: gpu.remappedRows.pending,
          banks: chip?.banks,
        }
      : undefined,
    mig: board.mig ? false : undefined,
    nvlinks: nvlinksOf(gpu),
    nvlinkMegabytesPerSecond:
      board.nvlink === undefined ? undefined : Math.round(board.nvlink.bytesPerSecondPerLink / 1e6),
    fabric: board.nvlink !== undefined && architecture.number >= HOPPER,
    // Rows are replaced at the next reset (nvml.h, nvmlDeviceGetRemappedRows).
    recoveryAction: hasRemapper && gpu.remappedRows.pending ? 4 : 0,
    processes: gpu.processes.map(({ pid, program, command, memoryBytes, smUtilizationRatio }) => ({
      pid,
      name: command[0] ?? program,
      memoryBytes,
      smPercent: Math.round(smUtilizationRatio * 100),
    })),
  };
}

function architectureOf({ computeCapability, architecture }: Board): Architecture {
  const capability = Number(computeCapability);
  const known = ARCHITECTURES.find(([from]) => capability >= from)?.[1];
  return known ?? { name: architecture, number: 0 };
}

function memoryOf({ board, memoryUsedBytes, memoryReservedBytes }: GpuState): MemoryBytes {
  return {
    total: board.memoryBytes,
    reserved: memoryReservedBytes,
    used: memoryUsedBytes,
    free: Math.max(0, board.memoryBytes - memoryUsedBytes - memoryReservedBytes),
  };
}

/** As large as the memory, to the next power of two; a MiB of it is the driver's (captures of resizable BARs). */
function bar1Of({ memoryBytes }: Board): NvidiaReading['bar1'] {
  const total = 2 ** Math.ceil(Math.log2(memoryBytes));
  return { total, used: MEBIBYTE, free: total - MEBIBYTE };
}

function celsiusOf({ board, coreCelsius, memoryCelsius }: GpuState, { number }: Architecture): Celsius {
  const { slowdownCelsius, hardwareSlowdownCelsius, shutdownCelsius } = board.thermal;
  const core = Math.round(coreCelsius);
  const memory = memoryCelsius === undefined ? undefined : Math.round(memoryCelsius);
  if (number < ADA) {
    const limits = {
      kind: 'absolute',
      shutdown: shutdownCelsius,
      slowdown: hardwareSlowdownCelsius,
      gpuMaximum: slowdownCelsius,
    } as const;
    return { core, memory, limits, margin: undefined };
  }
  const limits = {
    kind: 'offset',
    shutdown: slowdownCelsius - shutdownCelsius,
    slowdown: slowdownCelsius - hardwareSlowdownCelsius,
    gpuMaximum: 0,
  } as const;
  return { core, memory, limits, margin: slowdownCelsius - core };
}

function milliwattsOf({ board, powerWatts, powerLimitWatts }: GpuState): Milliwatts {
  const draw = Math.round(powerWatts * 1000);
  return {
    draw,
    average: board.computeCapability === '8.0' ? undefined : draw,
    limit: Math.round(powerLimitWatts * 1000),
    default: Math.round(board.powerLimitWatts.default * 1000),
    minimum: Math.round(board.powerLimitWatts.min * 1000),
    maximum: Math.round(board.powerLimitWatts.max * 1000),
  };
}

function megahertzOf(smHertz: number, memoryHertz: number, { number }: Architecture): Megahertz {
  const sm = Math.round(smHertz / 1e6);
  const share = number >= ADA ? VIDEO_CLOCK_SHARE.new : VIDEO_CLOCK_SHARE.old;
  const video = Math.round((sm * share) / CLOCK_STEP_MEGAHERTZ) * CLOCK_STEP_MEGAHERTZ;
  return { graphics: sm, sm, memory: Math.round(memoryHertz / 1e6), video };
}

/** P8 at rest where the memory can slow down; at work P2 for CUDA on GeForce, else P0 (captures). */
function performanceStateOf({ board, memoryClockHertz }: GpuState, isGeForce: boolean): number {
  if (memoryClockHertz < board.clocksHertz.memoryMax / 2) return 8;
  return isGeForce ? 2 : 0;
}

function microseconds({ clockEventSeconds }: GpuState, event: ClockEvent): number {
  return Math.floor(clockEventSeconds[event] * 1e6);
}

function fansOf({ board, fanRatio, fanRpm }: GpuState): NvidiaReading['fans'] {
  const fan = {
    percent: fanRatio === undefined ? undefined : Math.round(fanRatio * 100),
    rpm: fanRpm === undefined ? undefined : Math.round(fanRpm),
  };
  return Array.from({ length: board.fan?.fans ?? 0 }, () => fan);
}

/** The link slows down with the board, by design. */
function pcieOf(gpu: GpuState, performanceState: number): Pcie {
  const { generation, width } = gpu.board.pcie;
  return {
    generation: performanceState === 8 ? 1 : generation,
    maximumGeneration: generation,
    width,
    replays: gpu.pcieReplays,
    transmitKilobytesPerSecond: Math.round(gpu.pcieSentBytesPerSecond / 1000),
    receiveKilobytesPerSecond: Math.round(gpu.pcieReceivedBytesPerSecond / 1000),
  };
}

/** Traffic goes over all links alike. */
function nvlinksOf({ board, nvlinkSentBytes, nvlinkReceivedBytes }: GpuState): NvidiaReading['nvlinks'] {
  const links = board.nvlink?.links ?? 0;
  const link = {
    sentKibibytes: Math.floor(nvlinkSentBytes / links / 1024),
    receivedKibibytes: Math.floor(nvlinkReceivedBytes / links / 1024),
  };
  return Array.from({ length: links }, () => link);
}
