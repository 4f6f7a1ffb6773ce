import { isMismatched, nvidiaGpus, type GpuHost, type NvidiaDriver } from './gpu-host.ts';
import { CLOCK_EVENT_BITS, nvidiaReading, type Limits, type NvidiaReading } from './nvidia-reading.ts';
import { smiLayoutOf } from './smi-layout.ts';

/**
 * What drives the fake NVML library of tools/fake-nvml, as JSON; its own type there is wider. A figure that is left out is
 * one that the board does not have.
 */
export interface FakeNvmlHost {
  readonly driverVersion?: string;
  readonly nvmlVersion?: string;
  readonly cudaDriverVersion?: number;
  /** What nvmlInit_v2 answers. */
  readonly init: number;
  /** No call comes back for as long as it is there. */
  readonly hang?: { readonly functions: 'all' };
  readonly refuseStructVersions?: readonly string[];
  readonly events: readonly FakeNvmlEvent[];
  readonly boards: readonly FakeNvmlBoard[];
  readonly smiLayout: 'r470' | 'r535' | 'r580';
}

export interface FakeNvmlEvent {
  readonly id: number;
  readonly board: string;
  readonly xid: number;
}

export interface FakeNvmlBoard {
  readonly uuid: string;
  readonly pciBusId: string;
  readonly name: string;
  readonly serial?: string;
  readonly minorNumber: number;
  readonly vbios?: string;
  readonly architecture: number;
  readonly computeCapability?: string;
  readonly virtualizationMode: number;
  readonly lost: boolean;
  readonly utilization: Readonly<Record<'gpu' | 'memory' | 'encoder' | 'decoder' | 'jpeg' | 'ofa', number>>;
  readonly memory: {
    readonly totalBytes: number;
    readonly usedBytes: number;
    readonly reservedBytes: number;
  };
  readonly bar1: { readonly totalBytes: number; readonly usedBytes: number };
  readonly temperatures: FakeNvmlTemperatures;
  readonly power: FakeNvmlPower;
  readonly energyMillijoules: number;
  readonly clocks: FakeNvmlClocks;
  readonly maxClocks: FakeNvmlClocks;
  readonly performanceState: number;
  readonly clockEventReasons: number;
  readonly clockEventCounters: Readonly<
    Record<'swPowerCap' | 'syncBoost' | 'swThermal' | 'hwThermal' | 'hwPowerBrake', number>
  >;
  readonly fans: readonly { readonly percent?: number; readonly rpm?: number }[];
  readonly pcie: FakeNvmlPcie;
  readonly ecc?: FakeNvmlEcc;
  readonly remappedRows?: FakeNvmlRows;
  readonly nvlinks: readonly FakeNvmlLink[];
  readonly recoveryAction: number;
  readonly processes: readonly FakeNvmlProcess[];
  readonly mig?: { readonly enabled: boolean };
  readonly fabric?: { readonly state: number; readonly status: number; readonly cliqueId: number };
  readonly samples: Readonly<Record<'power' | 'gpu' | 'memory', 'live'>>;
}

export interface FakeNvmlTemperatures {
  readonly core: number;
  readonly memory?: number;
  readonly margin?: number;
  readonly thresholds?: FakeNvmlThresholds;
  readonly thresholdOffsets?: FakeNvmlThresholds;
}

export interface FakeNvmlThresholds {
  readonly shutdown: number;
  readonly slowdown: number;
  readonly gpuMaximum: number;
  readonly memoryMaximum?: number;
}

export interface FakeNvmlPower {
  readonly usageMilliwatts: number;
  readonly averageMilliwatts?: number;
  readonly instantMilliwatts: number;
  readonly enforcedLimitMilliwatts: number;
  readonly requestedLimitMilliwatts: number;
  readonly defaultLimitMilliwatts: number;
  readonly minimumLimitMilliwatts: number;
  readonly maximumLimitMilliwatts: number;
}

export interface FakeNvmlClocks {
  readonly graphics: number;
  readonly sm: number;
  readonly memory: number;
  readonly video: number;
}

export interface FakeNvmlPcie {
  readonly generation: number;
  readonly maximumGeneration: number;
  readonly width: number;
  readonly maximumWidth: number;
  readonly replays: number;
  readonly replayRollovers: number;
  readonly transmitKilobytesPerSecond: number;
  readonly receiveKilobytesPerSecond: number;
}

interface FakeNvmlCounts {
  readonly dram: number;
  readonly sram: number;
}

export interface FakeNvmlEcc {
  readonly enabled: boolean;
  readonly corrected: { readonly volatile: FakeNvmlCounts; readonly aggregate: FakeNvmlCounts };
  readonly uncorrected: { readonly volatile: FakeNvmlCounts; readonly aggregate: FakeNvmlCounts };
}

export interface FakeNvmlRows {
  readonly corrected: number;
  readonly uncorrected: number;
  readonly pending: boolean;
  readonly failure: boolean;
}

export interface FakeNvmlLink {
  readonly active: boolean;
  readonly transmitKibibytes: number;
  readonly receiveKibibytes: number;
  readonly speedMegabytesPerSecond?: number;
  readonly errors: Readonly<Record<'replay' | 'recovery' | 'crcFlit' | 'crcData' | 'eccData', number>>;
}

export interface FakeNvmlProcess {
  readonly pid: number;
  readonly type: 'compute';
  readonly name: string;
  readonly memoryBytes: number;
  readonly smUtilization: number;
}

/** nvmlReturn_t */
const SUCCESS = 0;
const DRIVER_NOT_LOADED = 9;
const DRIVER_MISMATCH = 18;

/** Errors that NVML tells nobody of, by NVIDIA's own word (NVIDIA/DCGM#162, #235): the kernel log alone has them. */
const XIDS_WITHOUT_EVENT: ReadonlySet<number> = new Set([62, 79, 119, 120]);
/** Room for the errors of one GPU in the numbers of events. */
const EVENTS_PER_GPU = 1_000_000;

/** The JSON of tools/fake-nvml for the NVIDIA GPUs of a host. */
export function fakeNvmlHost(host: GpuHost): FakeNvmlHost {
  const { nvidiaDriver: driver } = host;
  if (driver === undefined) return { init: DRIVER_NOT_LOADED, events: [], boards: [], smiLayout: 'r580' };
  const layout = smiLayoutOf(driver.version);
  const gpus = nvidiaGpus(host);
  return {
    ...versionsOf(driver),
    init: isMismatched(driver) ? DRIVER_MISMATCH : SUCCESS,
    ...(host.nvidiaDriverHangs === true ? { hang: { functions: 'all' } } : {}),
    // Before R510 there was no function that tells what is reserved apart.
    ...(layout === 'r470' ? { refuseStructVersions: ['nvmlDeviceGetMemoryInfo_v2'] } : {}),
    events: gpus.flatMap((gpu, index) =>
      gpu.xids.flatMap(({ xid }, order) =>
        XIDS_WITHOUT_EVENT.has(xid) ? [] : [{ id: 1 + index * EVENTS_PER_GPU + order, board: gpu.uuid, xid }],
      ),
    ),
    boards: gpus.map((gpu, index) => board(nvidiaReading(gpu, index))),
    smiLayout: layout === 'r570' ? 'r580' : layout,
  };
}

function versionsOf({ version, cudaVersion }: NvidiaDriver): Partial<FakeNvmlHost> {
  const [major = '0', minor = '0'] = cudaVersion.split('.');
  return {
    driverVersion: version,
    nvmlVersion: `${major}.${version}`,
    cudaDriverVersion: Number(major) * 1000 + Number(minor) * 10,
  };
}

function board(gpu: NvidiaReading): FakeNvmlBoard {
  const { memory, bar1, milliwatts, clockEventMicroseconds: events } = gpu;
  return {
    uuid: gpu.uuid,
    pciBusId: gpu.address,
    name: gpu.name,
    ...(gpu.serial === undefined ? {} : { serial: gpu.serial }),
    minorNumber: gpu.index,
    ...(gpu.vbios === undefined ? {} : { vbios: gpu.vbios }),
    architecture: gpu.architecture.number,
    ...(gpu.computeCapability === undefined ? {} : { computeCapability: gpu.computeCapability }),
    virtualizationMode: 0,
    lost: gpu.lost,
    utilization: { ...gpu.percent, encoder: 0, decoder: 0, jpeg: 0, ofa: 0 },
    memory: { totalBytes: memory.total, usedBytes: memory.used, reservedBytes: memory.reserved },
    bar1: { totalBytes: bar1.total, usedBytes: bar1.used },
    temperatures: temperatures(gpu),
    power: {
      usageMilliwatts: milliwatts.draw,
      ...(milliwatts.average === undefined ? {} : { averageMilliwatts: milliwatts.average }),
      instantMilliwatts: milliwatts.draw,
      enforcedLimitMilliwatts: milliwatts.limit,
      requestedLimitMilliwatts: milliwatts.limit,
      defaultLimitMilliwatts: milliwatts.default,
      minimumLimitMilliwatts: milliwatts.minimum,
      maximumLimitMilliwatts: milliwatts.maximum,
    },
    energyMillijoules: gpu.millijoules,
    clocks: gpu.megahertz,
    maxClocks: gpu.maximumMegahertz,
    performanceState: gpu.performanceState,
    clockEventReasons: [...gpu.clockEvents].reduce((bits, event) => bits | CLOCK_EVENT_BITS[event], 0),
    clockEventCounters: {
      swPowerCap: events.sw_power_cap * 1000,
      syncBoost: 0,
      swThermal: events.sw_thermal_slowdown * 1000,
      hwThermal: events.hw_thermal_slowdown * 1000,
      hwPowerBrake: events.hw_power_brake * 1000,
    },
    fans: gpu.fans.map(({ percent, rpm }) => ({
      ...(percent === undefined ? {} : { percent }),
      ...(rpm === undefined ? {} : { rpm }),
    })),
    pcie: { ...gpu.pcie, maximumWidth: gpu.pcie.width, replayRollovers: 0 },
    ...(gpu.ecc === undefined ? {} : { ecc: ecc(gpu.ecc) }),
    ...(gpu.remappedRows === undefined ? {} : { remappedRows: rows(gpu.remappedRows) }),
    nvlinks: gpu.nvlinks.map((link) => nvlink(link, gpu.nvlinkMegabytesPerSecond)),
    recoveryAction: gpu.recoveryAction,
    processes: gpu.processes.map(({ pid, name, memoryBytes, smPercent }) => ({
      pid,
      type: 'compute',
      name,
      memoryBytes,
      smUtilization: smPercent,
    })),
    ...(gpu.mig === undefined ? {} : { mig: { enabled: gpu.mig } }),
    ...(gpu.fabric ? { fabric: { state: 3, status: 0, cliqueId: 0 } } : {}),
    samples: { power: 'live', gpu: 'live', memory: 'live' },
  };
}

function temperatures({ celsius }: NvidiaReading): FakeNvmlTemperatures {
  const { core, memory, margin, limits } = celsius;
  return {
    core,
    ...(memory === undefined ? {} : { memory }),
    ...(margin === undefined ? {} : { margin }),
    ...(limits.kind === 'absolute'
      ? { thresholds: thresholds(limits) }
      : {
          thresholdOffsets: {
            ...thresholds(limits),
            ...(memory === undefined ? {} : { memoryMaximum: 0 }),
          },
        }),
  };
}

function thresholds({ shutdown, slowdown, gpuMaximum }: Limits): FakeNvmlThresholds {
  return { shutdown, slowdown, gpuMaximum };
}

/** All errors here are of the memory, and none is from before the world's start. */
function ecc({ corrected, uncorrected }: NonNullable<NvidiaReading['ecc']>): FakeNvmlEcc {
  const both = (dram: number): FakeNvmlEcc['corrected'] => ({
    volatile: { dram, sram: 0 },
    aggregate: { dram, sram: 0 },
  });
  return { enabled: true, corrected: both(corrected), uncorrected: both(uncorrected) };
}

function rows(found: NonNullable<NvidiaReading['remappedRows']>): FakeNvmlRows {
  const { corrected, uncorrected, pending } = found;
  return { corrected, uncorrected, pending, failure: false };
}

function nvlink(
  { sentKibibytes, receivedKibibytes }: NvidiaReading['nvlinks'][number],
  speed: number | undefined,
): FakeNvmlLink {
  return {
    active: true,
    transmitKibibytes: sentKibibytes,
    receiveKibibytes: receivedKibibytes,
    ...(speed === undefined ? {} : { speedMegabytesPerSecond: speed }),
    errors: { replay: 0, recovery: 0, crcFlit: 0, crcData: 0, eccData: 0 },
  };
}
