import type { Board } from '../../gpu/board.ts';
import type { GpuProcessState, GpuState } from '../../gpu/gpu.ts';
import type { GpuHost, NvidiaDriver } from './gpu-host.ts';

/** What the tests of the surfaces share: boards and states as literals, so that what is printed can be read from them. */

const MEBIBYTE = 1024 ** 2;
const GIBIBYTE = 1024 ** 3;
const UNSOURCED = { sources: [], estimated: {} };

export const H100: Board = {
  key: 'h100-sxm',
  name: 'NVIDIA H100 80GB HBM3',
  vendor: 'nvidia',
  architecture: 'Hopper',
  computeCapability: '9.0',
  memoryBytes: 81_559 * MEBIBYTE,
  unifiedMemory: false,
  memoryBytesPerSecond: 3.35e12,
  peakFlopsPerSecond: { fp16: 989e12 },
  powerLimitWatts: { default: 700, min: 200, max: 700 },
  idleWatts: 70,
  clocksHertz: { smIdle: 345e6, smBase: 1590e6, smMax: 1980e6, memoryIdle: 2619e6, memoryMax: 2619e6 },
  thermal: {
    slowdownCelsius: 87,
    hardwareSlowdownCelsius: 89,
    shutdownCelsius: 95,
    celsiusPerWatt: 0.06,
    joulesPerCelsius: 400,
    memoryOffsetCelsius: 10,
  },
  pcie: { generation: 5, width: 16 },
  nvlink: { links: 18, bytesPerSecondPerLink: 26.562e9 },
  ecc: true,
  mig: true,
  ...UNSOURCED,
};

export const A100: Board = {
  ...H100,
  key: 'a100-sxm-40gb',
  name: 'NVIDIA A100-SXM4-40GB',
  architecture: 'Ampere',
  computeCapability: '8.0',
  memoryBytes: 40_960 * MEBIBYTE,
  powerLimitWatts: { default: 400, min: 100, max: 400 },
  clocksHertz: { smIdle: 210e6, smBase: 1095e6, smMax: 1410e6, memoryIdle: 1215e6, memoryMax: 1215e6 },
  thermal: { ...H100.thermal, slowdownCelsius: 85, hardwareSlowdownCelsius: 89, shutdownCelsius: 92 },
  pcie: { generation: 4, width: 16 },
  nvlink: { links: 12, bytesPerSecondPerLink: 25e9 },
};

export const RTX_4090: Board = {
  key: 'rtx-4090',
  name: 'NVIDIA GeForce RTX 4090',
  vendor: 'nvidia',
  architecture: 'Ada Lovelace',
  computeCapability: '8.9',
  memoryBytes: 24_564 * MEBIBYTE,
  unifiedMemory: false,
  memoryBytesPerSecond: 1.008e12,
  peakFlopsPerSecond: { fp16: 165e12 },
  powerLimitWatts: { default: 450, min: 150, max: 600 },
  idleWatts: 25,
  clocksHertz: { smIdle: 210e6, smBase: 2235e6, smMax: 3120e6, memoryIdle: 405e6, memoryMax: 10_501e6 },
  thermal: {
    slowdownCelsius: 83,
    hardwareSlowdownCelsius: 85,
    shutdownCelsius: 90,
    celsiusPerWatt: 0.1,
    joulesPerCelsius: 300,
  },
  fan: { fans: 2, maxRpm: 3200, stopsBelowCelsius: 50 },
  pcie: { generation: 4, width: 16 },
  ecc: false,
  mig: false,
  ...UNSOURCED,
};

const { nvlink: _, ...H100_WITHOUT_NVLINK } = H100;
export const L4: Board = {
  ...H100_WITHOUT_NVLINK,
  key: 'l4',
  name: 'NVIDIA L4',
  architecture: 'Ada Lovelace',
  computeCapability: '8.9',
  memoryBytes: 23_034 * MEBIBYTE,
  powerLimitWatts: { default: 72, min: 40, max: 72 },
  clocksHertz: { smIdle: 210e6, smBase: 795e6, smMax: 2040e6, memoryIdle: 405e6, memoryMax: 6251e6 },
  thermal: {
    slowdownCelsius: 85,
    hardwareSlowdownCelsius: 88,
    shutdownCelsius: 91,
    celsiusPerWatt: 0.5,
    joulesPerCelsius: 120,
  },
  pcie: { generation: 4, width: 16 },
  mig: false,
};

/** As old as the capture of R470: its errors would be counted by the place, if it had ECC. */
export const GTX_1070_TI: Board = {
  ...RTX_4090,
  key: 'gtx-1070-ti',
  name: 'NVIDIA GeForce GTX 1070 Ti',
  architecture: 'Pascal',
  computeCapability: '6.1',
  memoryBytes: 8116 * MEBIBYTE,
};

export const MI300X: Board = {
  key: 'mi300x',
  name: 'AMD Instinct MI300X',
  vendor: 'amd',
  architecture: 'CDNA 3',
  memoryBytes: 192 * GIBIBYTE,
  unifiedMemory: false,
  memoryBytesPerSecond: 5.3e12,
  peakFlopsPerSecond: { fp16: 1307e12 },
  powerLimitWatts: { default: 750, min: 0, max: 750 },
  idleWatts: 140,
  clocksHertz: { smIdle: 132e6, smBase: 1500e6, smMax: 2100e6, memoryIdle: 900e6, memoryMax: 1300e6 },
  thermal: {
    slowdownCelsius: 95,
    hardwareSlowdownCelsius: 100,
    shutdownCelsius: 105,
    celsiusPerWatt: 0.06,
    joulesPerCelsius: 500,
    memoryOffsetCelsius: 5,
  },
  pcie: { generation: 5, width: 16 },
  ecc: true,
  mig: false,
  ...UNSOURCED,
};

export const STRIX_HALO: Board = {
  key: 'strix-halo',
  name: 'AMD Radeon 8060S Graphics',
  vendor: 'amd',
  architecture: 'RDNA 3.5',
  memoryBytes: 96 * GIBIBYTE,
  unifiedMemory: true,
  memoryBytesPerSecond: 256e9,
  peakFlopsPerSecond: { fp16: 59e12 },
  powerLimitWatts: { default: 120, min: 45, max: 120 },
  idleWatts: 10,
  clocksHertz: { smIdle: 600e6, smBase: 1295e6, smMax: 2900e6, memoryIdle: 400e6, memoryMax: 1000e6 },
  thermal: {
    slowdownCelsius: 95,
    hardwareSlowdownCelsius: 98,
    shutdownCelsius: 100,
    celsiusPerWatt: 0.4,
    joulesPerCelsius: 100,
  },
  pcie: { generation: 4, width: 16 },
  ecc: false,
  mig: false,
  ...UNSOURCED,
};

/** By the names under which tests tell of them. */
export const BOARDS = { H100, A100, RTX_4090, L4, MI300X, STRIX_HALO } as const;

/** An engine on a GPU. */
function engineProcess(pid: number, memoryBytes: number, smUtilizationRatio: number): GpuProcessState {
  return {
    pid,
    program: 'python3',
    command: [
      '/usr/bin/python3',
      '-m',
      'vllm.entrypoints.openai.api_server',
      '--model',
      'Qwen/Qwen3-8B',
      '--port',
      '8000',
    ],
    memoryBytes,
    smUtilizationRatio,
  };
}

/** A GPU with nothing to do. @param index also the number of its bus, beginning with 0x10 */
export function idleGpu(board: Board, index = 0, changes: Partial<GpuState> = {}): GpuState {
  return {
    index,
    uuid: uuidOf(board, index),
    serial: `165000000000${index}`,
    pciBusId: `0000:${(0x1a + index).toString(16)}:00.0`,
    board,
    lostByXid: undefined,
    utilizationRatio: 0,
    memoryUtilizationRatio: 0,
    memoryUsedBytes: 0,
    memoryReservedBytes: 480 * MEBIBYTE + 12_345,
    smClockHertz: board.clocksHertz.smIdle,
    memoryClockHertz: board.clocksHertz.memoryIdle,
    powerWatts: board.idleWatts + 0.126,
    powerLimitWatts: board.powerLimitWatts.default,
    energyJoules: 1234.5678,
    coreCelsius: 31.4,
    memoryCelsius: board.thermal.memoryOffsetCelsius === undefined ? undefined : 36.6,
    fanRatio: board.fan === undefined ? undefined : 0,
    fanRpm: board.fan === undefined ? undefined : 0,
    clockEvents: ['gpu_idle'],
    clockEventSeconds: {
      gpu_idle: 120.5,
      sw_power_cap: 0,
      sw_thermal_slowdown: 0,
      hw_slowdown: 0,
      hw_thermal_slowdown: 0,
      hw_power_brake: 0,
    },
    pcieReceivedBytesPerSecond: 0,
    pcieSentBytesPerSecond: 0,
    pcieReplays: 0,
    nvlinkSentBytes: 0,
    nvlinkReceivedBytes: 0,
    eccCorrected: 0,
    eccUncorrected: 0,
    remappedRows: { correctable: 0, uncorrectable: 0, pending: false },
    xids: [],
    processes: [],
    ...changes,
  };
}

/** A GPU under load, with one engine on it, held back by its power. */
export function busyGpu(board: Board, index = 0, changes: Partial<GpuState> = {}): GpuState {
  const memoryBytes = Math.round(board.memoryBytes * 0.85) + 4321;
  const engine = engineProcess(41_000 + index, memoryBytes - 200 * MEBIBYTE, 0.855);
  return idleGpu(board, index, {
    utilizationRatio: 0.874,
    memoryUtilizationRatio: 0.416,
    memoryUsedBytes: memoryBytes,
    smClockHertz: board.clocksHertz.smBase + 165.4e6,
    memoryClockHertz: board.clocksHertz.memoryMax,
    powerWatts: board.powerLimitWatts.default - 0.4567,
    energyJoules: 987_654.3219,
    coreCelsius: 66.6,
    memoryCelsius: board.thermal.memoryOffsetCelsius === undefined ? undefined : 76.5,
    fanRatio: board.fan === undefined ? undefined : 0.562,
    fanRpm: board.fan === undefined ? undefined : 1798.4,
    clockEvents: ['sw_power_cap'],
    clockEventSeconds: {
      gpu_idle: 3.25,
      sw_power_cap: 1801.123_456_7,
      sw_thermal_slowdown: 0,
      hw_slowdown: 0,
      hw_thermal_slowdown: 0,
      hw_power_brake: 0,
    },
    pcieReceivedBytesPerSecond: 578_432,
    pcieSentBytesPerSecond: 12_502_600,
    pcieReplays: 3,
    nvlinkSentBytes: board.nvlink === undefined ? 0 : 9e12,
    nvlinkReceivedBytes: board.nvlink === undefined ? 0 : 8e12,
    processes: [engine],
    ...changes,
  });
}

export const DRIVERS = {
  r470: { version: '470.82.00', cudaVersion: '11.4' },
  r535: { version: '535.86.05', cudaVersion: '12.2' },
  r570: { version: '570.148.08', cudaVersion: '12.8' },
  r580: { version: '580.105.08', cudaVersion: '13.0' },
} as const satisfies Record<string, NvidiaDriver>;

/** 2026-08-21T08:54:01.250Z is an hour and a quarter of a second after its start. */
const START_UNIX_SECONDS = Date.UTC(2026, 7, 21, 7, 54, 1) / 1000;

export function nvidiaHost(gpus: readonly GpuState[], nvidiaDriver: NvidiaDriver = DRIVERS.r580): GpuHost {
  return { gpus, nvidiaDriver, startUnixSeconds: START_UNIX_SECONDS, nowSeconds: 3600.25 };
}

export function amdHost(gpus: readonly GpuState[]): GpuHost {
  return { gpus, amdgpuVersion: '6.12.12', startUnixSeconds: START_UNIX_SECONDS, nowSeconds: 3600.25 };
}

function uuidOf({ vendor, unifiedMemory, key }: Board, index: number): string {
  const number = String(index).padStart(4, '0');
  if (vendor === 'nvidia')
    return `GPU-${key.length.toString(16).padStart(8, '0')}-${number}-4000-8000-000000000000`;
  // Processors have no id of their own: their address stands for it.
  return unifiedMemory ? `0000:${(0x1a + index).toString(16)}:00.0` : `a1b2c3d4e5f6${number}`;
}
