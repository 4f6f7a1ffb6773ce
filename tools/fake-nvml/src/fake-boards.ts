import type { FakeBoard, FakeHost, FakeMigDevice, FakeNvlink } from './fake-host.ts';

const GIBIBYTE = 1024 ** 3;
const MEBIBYTE = 1024 ** 2;

/** A host of ready boards with a current driver (R580). */
export function hostOf(boards: readonly FakeBoard[]): FakeHost {
  return { driverVersion: '580.105.08', nvmlVersion: '13.580.105.08', cudaDriverVersion: 13000, boards };
}

/** Up to sixteen H100 under load, each with one engine on it. */
export function h100Host(count: number): FakeHost {
  return hostOf(Array.from({ length: count }, (_, index) => h100(index)));
}

/** H100 SXM: NVLink, ECC, row remapping, GPM, fabric, no fans, no absolute temperature thresholds. */
export function h100(index = 0): FakeBoard {
  return {
    uuid: uuidOf('GPU', 0x100 + index),
    pciBusId: addressOf(0x10 + index),
    name: 'NVIDIA H100 80GB HBM3',
    serial: String(1650000000001 + index),
    minorNumber: index,
    vbios: '96.00.99.00.01',
    architecture: 9,
    computeCapability: '9.0',
    virtualizationMode: 0,
    utilization: { gpu: 87, memory: 42, encoder: 0, decoder: 0, jpeg: 0, ofa: 0 },
    memory: { totalBytes: 81559 * MEBIBYTE, reservedBytes: 480 * MEBIBYTE, usedBytes: 71680 * MEBIBYTE },
    bar1: { totalBytes: 128 * GIBIBYTE, usedBytes: 13 * MEBIBYTE },
    temperatures: {
      core: 61,
      memory: 72,
      margin: 26,
      thresholdOffsets: { shutdown: -8, slowdown: -2, memoryMaximum: 0, gpuMaximum: 0 },
    },
    power: {
      usageMilliwatts: 612_340,
      averageMilliwatts: 612_340,
      instantMilliwatts: 640_110,
      memoryAverageMilliwatts: 92_980,
      enforcedLimitMilliwatts: 700_000,
      requestedLimitMilliwatts: 700_000,
      defaultLimitMilliwatts: 700_000,
      minimumLimitMilliwatts: 200_000,
      maximumLimitMilliwatts: 700_000,
    },
    energyMillijoules: 1_234_567_890_123 + index,
    clocks: { graphics: 1755, sm: 1755, memory: 2619, video: 1545 },
    maxClocks: { graphics: 1980, sm: 1980, memory: 2619, video: 1545 },
    performanceState: 0,
    clockEventReasons: 0x4,
    clockEventCounters: {
      swPowerCap: 7_015_662_857_000,
      syncBoost: 0,
      swThermal: 1_500_000_000,
      hwThermal: 0,
      hwPowerBrake: 0,
    },
    fans: [],
    pcie: {
      generation: 5,
      maximumGeneration: 5,
      width: 16,
      maximumWidth: 16,
      replays: 150,
      replayRollovers: 0,
      transmitBytes: 9_876_543_210,
      receiveBytes: 8_765_432_109,
      transmitKilobytesPerSecond: 502,
      receiveKilobytesPerSecond: 578,
    },
    ecc: {
      enabled: true,
      corrected: { volatile: { dram: 2, sram: 0 }, aggregate: { dram: 7, sram: 1 } },
      uncorrected: { volatile: { dram: 0, sram: 0 }, aggregate: { dram: 1, sram: 0 } },
    },
    remappedRows: { corrected: 1, uncorrected: 0, pending: false, failure: false },
    nvlinks: Array.from({ length: 18 }, (_, link) => h100Link(link)),
    recoveryAction: 0,
    processes: [
      {
        pid: 41_000 + index,
        type: 'compute',
        name: '/usr/bin/python3',
        memoryBytes: 71_000 * MEBIBYTE,
        smUtilization: 86,
        memoryUtilization: 40,
      },
    ],
    mig: { enabled: false },
    gpm: { 1: 87, 2: 71.5, 3: 33.25, 5: 48, 7: 47.5, 10: 62.75, 11: 0, 12: 3, 13: 5 },
    fabric: { state: 3, status: 0, cliqueId: 0, healthMask: 0, healthSummary: 1 },
    samples: { power: 'live', gpu: 'live', memory: 'live', encoder: 'live', decoder: 'live' },
  };
}

function h100Link(link: number): FakeNvlink {
  return {
    active: true,
    transmitKibibytes: 1_000_000 + link,
    receiveKibibytes: 2_000_000 + link,
    speedMegabytesPerSecond: 26_562,
    errors: { replay: 0, recovery: 0, crcFlit: 0, crcData: 0, eccData: 0 },
  };
}

/**
 * H100 with MIG on and three devices of it, the second place empty. As a real one it tells no utilization, and each
 * device's activity only by GPM.
 */
export function h100Mig(index = 0): FakeBoard {
  const device = (
    place: number,
    gpuInstanceId: number,
    slices: number,
    gibibytes: number,
  ): FakeMigDevice => ({
    uuid: uuidOf('MIG', 0x1000 + index * 16 + place),
    name: `NVIDIA H100 80GB HBM3 MIG ${slices}g.${gibibytes}gb`,
    index: place,
    gpuInstanceId,
    computeInstanceId: 0,
    memory: { totalBytes: gibibytes * GIBIBYTE, usedBytes: (gibibytes - 2) * GIBIBYTE },
    multiprocessors: 16 * slices,
    gpuInstanceSlices: slices,
    computeInstanceSlices: slices,
    gpm: { 1: 50 + slices, 2: 40 + slices, 3: 20, 5: 30, 10: 25 },
  });
  return {
    ...h100(index),
    utilization: undefined,
    samples: { power: 'live' },
    gpm: undefined,
    mig: { enabled: true, devices: [device(0, 1, 3, 40), device(2, 5, 2, 20), device(3, 9, 1, 10)] },
    processes: [
      {
        pid: 42_001,
        type: 'compute',
        name: '/usr/bin/vllm',
        memoryBytes: 37 * GIBIBYTE,
        gpuInstanceId: 1,
        computeInstanceId: 0,
      },
      {
        pid: 42_009,
        type: 'compute',
        name: '/usr/bin/tritonserver',
        memoryBytes: 7 * GIBIBYTE,
        gpuInstanceId: 9,
        computeInstanceId: 0,
      },
    ],
  };
}

/** GeForce RTX 4090: two fans, both kinds of processes, no serial number, no ECC counters, no NVLink, no GPM. */
export function rtx4090(index = 0): FakeBoard {
  return {
    uuid: uuidOf('GPU', 0x4090 + index),
    pciBusId: addressOf(0x01 + index),
    name: 'NVIDIA GeForce RTX 4090',
    minorNumber: index,
    vbios: '95.02.3C.00.8B',
    architecture: 8,
    computeCapability: '8.9',
    virtualizationMode: 0,
    utilization: { gpu: 31, memory: 12, encoder: 0, decoder: 4, jpeg: 0, ofa: 0 },
    memory: { totalBytes: 24_564 * MEBIBYTE, reservedBytes: 345 * MEBIBYTE, usedBytes: 18_000 * MEBIBYTE },
    bar1: { totalBytes: 32 * GIBIBYTE, usedBytes: 27 * MEBIBYTE },
    temperatures: {
      core: 54,
      margin: 30,
      thresholdOffsets: { shutdown: -7, slowdown: -2, gpuMaximum: 0 },
    },
    power: {
      usageMilliwatts: 210_550,
      averageMilliwatts: 210_550,
      instantMilliwatts: 214_900,
      enforcedLimitMilliwatts: 450_000,
      requestedLimitMilliwatts: 450_000,
      defaultLimitMilliwatts: 450_000,
      minimumLimitMilliwatts: 150_000,
      maximumLimitMilliwatts: 600_000,
    },
    energyMillijoules: 98_765_432,
    clocks: { graphics: 2520, sm: 2520, memory: 10_501, video: 1965 },
    maxClocks: { graphics: 3120, sm: 3120, memory: 10_501, video: 2415 },
    performanceState: 2,
    clockEventReasons: 0,
    clockEventCounters: { swPowerCap: 0, syncBoost: 0, swThermal: 0, hwThermal: 0, hwPowerBrake: 0 },
    fans: [
      { percent: 30, rpm: 1102 },
      { percent: 32, rpm: 1150 },
    ],
    pcie: {
      generation: 4,
      maximumGeneration: 4,
      width: 16,
      maximumWidth: 16,
      replays: 0,
      replayRollovers: 0,
      transmitKilobytesPerSecond: 1200,
      receiveKilobytesPerSecond: 3400,
    },
    recoveryAction: 0,
    processes: [
      {
        pid: 51_001,
        type: 'compute',
        name: '/usr/local/bin/llama-server',
        memoryBytes: 17_800 * MEBIBYTE,
        smUtilization: 31,
      },
      { pid: 1201, type: 'graphics', name: '/usr/lib/xorg/Xorg', memoryBytes: 120 * MEBIBYTE },
    ],
    samples: { power: 'live', gpu: 'live', memory: 'live', encoder: 'live', decoder: 'live' },
  };
}

/** GeForce GT 730: memory, temperature, fan, and next to nothing else. */
export function gt730(index = 0): FakeBoard {
  return {
    uuid: uuidOf('GPU', 0x730 + index),
    pciBusId: addressOf(0x21 + index),
    name: 'GeForce GT 730',
    minorNumber: index,
    vbios: '80.28.78.00.42',
    architecture: 2,
    computeCapability: '3.5',
    memory: { totalBytes: 2001 * MEBIBYTE, usedBytes: 312 * MEBIBYTE },
    temperatures: { core: 44, thresholds: { shutdown: 103, slowdown: 98 } },
    performanceState: 8,
    fans: [{ percent: 40 }],
  };
}

/** GB10 (DGX Spark): its memory is the host's, so that the driver tells none. */
export function gb10(index = 0): FakeBoard {
  return {
    uuid: uuidOf('GPU', 0x6b10 + index),
    pciBusId: `0000000F:${(index + 1).toString(16).padStart(2, '0').toUpperCase()}:00.0`,
    name: 'NVIDIA GB10',
    minorNumber: index,
    vbios: '9A.0B.1C.00.00',
    architecture: 10,
    computeCapability: '12.1',
    utilization: { gpu: 95, memory: 0, encoder: 0, decoder: 0, jpeg: 0, ofa: 0 },
    temperatures: { core: 66 },
    power: { usageMilliwatts: 61_200, averageMilliwatts: 61_200, instantMilliwatts: 63_000 },
    clocks: { graphics: 2411, sm: 2411, video: 2398 },
    maxClocks: { graphics: 3003, sm: 3003, video: 3003 },
    performanceState: 0,
    clockEventReasons: 0,
    processes: [
      {
        pid: 61_001,
        type: 'compute',
        name: '/usr/bin/python3',
        memoryBytes: 90 * GIBIBYTE,
        smUtilization: 95,
      },
    ],
    samples: { power: 'live', gpu: 'live' },
  };
}

function uuidOf(kind: 'GPU' | 'MIG', number: number): string {
  return `${kind}-${number.toString(16).padStart(8, '0')}-0000-4000-8000-000000000000`;
}

function addressOf(bus: number): string {
  return `00000000:${bus.toString(16).padStart(2, '0').toUpperCase()}:00.0`;
}
