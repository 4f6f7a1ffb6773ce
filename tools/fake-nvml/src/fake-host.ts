/**
 * What the fake NVML library and the fake nvidia-smi tell of: a host with its driver and boards, as one JSON file.
 *
 * A field that is left out is a reading that this board does not have: the library answers NOT_SUPPORTED (3) and
 * nvidia-smi prints `N/A`. Unified memory (GB10, Jetson) is `memory` left out.
 */
export interface FakeHost {
  readonly driverVersion?: string | undefined;
  readonly nvmlVersion?: string | undefined;
  /** As NVML writes it: 12080 is CUDA 12.8. */
  readonly cudaDriverVersion?: number | undefined;
  /** What nvmlInit_v2 answers: 18 driver mismatch, 9 driver not loaded, 4 no permission, 999 unknown. 0 when left out. */
  readonly init?: number | undefined;
  /** Functions that answer 25 for their struct's newer version; the fabric call still takes its version 2. */
  readonly refuseStructVersions?: readonly string[] | undefined;
  /** What a function answers instead, on every board. */
  readonly returns?: FakeReturns | undefined;
  readonly hang?: FakeHang | undefined;
  /** Functions in which the process dies of a segmentation fault. */
  readonly crash?: readonly string[] | undefined;
  /** How long a function takes, in milliseconds (the real nvmlDeviceGetPcieThroughput: 20). */
  readonly delays?: Readonly<Record<string, number>> | undefined;
  readonly events?: readonly FakeEvent[] | undefined;
  readonly boards: readonly FakeBoard[];
  /** How nvidia-smi lays out its XML; `r580` when left out. */
  readonly smiLayout?: SmiLayout | undefined;
  /** How nvidia-smi behaves apart from what it has to tell. */
  readonly smi?: FakeSmiBehavior | undefined;
}

/** A whole number; as decimal text where it is above 2^53: `'18446744073709551615'`. */
export type Whole = number | string;

/** Function name to return code. */
export type FakeReturns = Readonly<Record<string, number>>;

/** Calls that do not come back: until the JSON no longer says so, or for a time. */
export interface FakeHang {
  readonly functions: readonly string[] | 'all';
  /** Left out: until the JSON no longer says so. */
  readonly seconds?: number | undefined;
}

/** An error of a board. Delivered once to each event set that the board is registered with. */
export interface FakeEvent {
  readonly id: number;
  /** UUID of the board. */
  readonly board: string;
  readonly xid: number;
  readonly gpuInstanceId?: number | undefined;
  readonly computeInstanceId?: number | undefined;
}

export interface FakeBoard {
  readonly uuid: string;
  /** As NVML writes it: `00000000:53:00.0`. */
  readonly pciBusId: string;
  readonly name?: string | undefined;
  readonly serial?: string | undefined;
  readonly minorNumber?: number | undefined;
  readonly vbios?: string | undefined;
  /** nvmlDeviceArchitecture_t: 2 Kepler, 3 Maxwell, 4 Pascal, 5 Volta, 6 Turing, 7 Ampere, 8 Ada, 9 Hopper, 10 Blackwell. */
  readonly architecture?: number | undefined;
  /** `9.0` */
  readonly computeCapability?: string | undefined;
  /** nvmlGpuVirtualizationMode_t: 0 none, 1 pass-through, 2 vGPU, 3 host vGPU, 4 host vSGA. */
  readonly virtualizationMode?: number | undefined;
  /** Fallen off the bus: every call answers 15, the handle too. */
  readonly lost?: boolean | undefined;
  /** Every call but those for its identity answers 16. */
  readonly resetRequired?: boolean | undefined;
  readonly returns?: FakeReturns | undefined;
  readonly hang?: FakeHang | undefined;

  readonly utilization?: FakeUtilization | undefined;
  readonly memory?: FakeMemory | undefined;
  readonly bar1?: { readonly totalBytes: Whole; readonly usedBytes: Whole } | undefined;
  readonly temperatures?: FakeTemperatures | undefined;
  readonly power?: FakePower | undefined;
  /** Since the driver was loaded. */
  readonly energyMillijoules?: Whole | undefined;
  readonly clocks?: FakeClocks | undefined;
  readonly maxClocks?: FakeClocks | undefined;
  /** 0 to 15; 32 is unknown. */
  readonly performanceState?: number | undefined;
  /** Bits: 0x1 idle, 0x4 sw power cap, 0x8 hw slowdown, 0x20 sw thermal, 0x40 hw thermal, 0x80 power brake … */
  readonly clockEventReasons?: Whole | undefined;
  readonly clockEventCounters?: FakeClockEventCounters | undefined;
  readonly fans?: readonly FakeFan[] | undefined;
  readonly pcie?: FakePcie | undefined;
  readonly ecc?: FakeEcc | undefined;
  readonly retiredPages?: FakeRetiredPages | undefined;
  readonly remappedRows?: FakeRemappedRows | undefined;
  readonly nvlinks?: readonly FakeNvlink[] | undefined;
  /** Field 230: 0 none, 1 reset, 2 reboot, 3 drain P2P, 4 drain and reset, 5 recover IMEX domain. */
  readonly recoveryAction?: number | undefined;
  readonly processes?: readonly FakeProcess[] | undefined;
  readonly mig?: FakeMig | undefined;
  /** GPM metric id to value, as NVML gives it: percent, or MiB/s. */
  readonly gpm?: FakeGpm | undefined;
  readonly fabric?: FakeFabric | undefined;
  readonly samples?: FakeSamples | undefined;
  /** Answers to nvmlDeviceGetFieldValues over those above: `"<field id>"` or, for one scope, `"<field id>:<scope id>"`. */
  readonly fields?: Readonly<Record<string, Whole | FakeField>> | undefined;
}

export interface FakeField {
  readonly value?: Whole | undefined;
  /** nvmlValueType_t; 3 (u64) when left out. */
  readonly type?: number | undefined;
  /** The field's own return code. */
  readonly code?: number | undefined;
}

/** Percent. */
export interface FakeUtilization {
  readonly gpu?: number | undefined;
  readonly memory?: number | undefined;
  readonly encoder?: number | undefined;
  readonly decoder?: number | undefined;
  readonly jpeg?: number | undefined;
  readonly ofa?: number | undefined;
}

export interface FakeMemory {
  readonly totalBytes: Whole;
  /** Without what is reserved. */
  readonly usedBytes: Whole;
  readonly reservedBytes?: Whole | undefined;
}

/** Degrees Celsius. */
export interface FakeTemperatures {
  readonly core?: number | undefined;
  readonly memory?: number | undefined;
  /** How far the core is below where it is slowed down. */
  readonly margin?: number | undefined;
  /** Where it is shut down, slowed down, and the most that memory and core work at. */
  readonly thresholds?: FakeThresholds | undefined;
  /** The same as offsets from the limit, may be negative (fields 193 to 196). */
  readonly thresholdOffsets?: FakeThresholds | undefined;
}

export interface FakeThresholds {
  readonly shutdown?: number | undefined;
  readonly slowdown?: number | undefined;
  readonly memoryMaximum?: number | undefined;
  readonly gpuMaximum?: number | undefined;
  readonly acousticMinimum?: number | undefined;
  readonly acousticCurrent?: number | undefined;
  readonly acousticMaximum?: number | undefined;
}

/** Milliwatts. */
export interface FakePower {
  /** nvmlDeviceGetPowerUsage. */
  readonly usageMilliwatts?: number | undefined;
  readonly averageMilliwatts?: number | undefined;
  readonly instantMilliwatts?: number | undefined;
  readonly moduleAverageMilliwatts?: number | undefined;
  readonly moduleInstantMilliwatts?: number | undefined;
  readonly memoryAverageMilliwatts?: number | undefined;
  readonly memoryInstantMilliwatts?: number | undefined;
  readonly enforcedLimitMilliwatts?: number | undefined;
  readonly requestedLimitMilliwatts?: number | undefined;
  readonly defaultLimitMilliwatts?: number | undefined;
  readonly minimumLimitMilliwatts?: number | undefined;
  readonly maximumLimitMilliwatts?: number | undefined;
}

/** Megahertz. */
export interface FakeClocks {
  readonly graphics?: number | undefined;
  readonly sm?: number | undefined;
  readonly memory?: number | undefined;
  readonly video?: number | undefined;
}

/** Nanoseconds since the driver was loaded. */
export interface FakeClockEventCounters {
  readonly swPowerCap?: Whole | undefined;
  readonly syncBoost?: Whole | undefined;
  readonly swThermal?: Whole | undefined;
  readonly hwThermal?: Whole | undefined;
  readonly hwPowerBrake?: Whole | undefined;
}

export interface FakeFan {
  /** What is intended; may be above 100. */
  readonly percent?: number | undefined;
  readonly rpm?: number | undefined;
}

export interface FakePcie {
  readonly generation?: number | undefined;
  readonly maximumGeneration?: number | undefined;
  readonly width?: number | undefined;
  readonly maximumWidth?: number | undefined;
  readonly replays?: number | undefined;
  readonly replayRollovers?: number | undefined;
  /** Fields 197 and 198. */
  readonly transmitBytes?: Whole | undefined;
  readonly receiveBytes?: Whole | undefined;
  /** nvmlDeviceGetPcieThroughput, KB/s. */
  readonly transmitKilobytesPerSecond?: number | undefined;
  readonly receiveKilobytesPerSecond?: number | undefined;
}

export interface FakeEcc {
  /** While it is not, the counters are not supported. */
  readonly enabled: boolean;
  /** As `enabled` when left out. */
  readonly pending?: boolean | undefined;
  readonly corrected?: FakeEccLifetimes | undefined;
  readonly uncorrected?: FakeEccLifetimes | undefined;
}

export interface FakeEccLifetimes {
  readonly volatile?: FakeEccLocations | undefined;
  readonly aggregate?: FakeEccLocations | undefined;
}

/** The total that NVML also gives is their sum. */
export interface FakeEccLocations {
  readonly l1?: Whole | undefined;
  readonly l2?: Whole | undefined;
  readonly dram?: Whole | undefined;
  readonly registerFile?: Whole | undefined;
  readonly textureMemory?: Whole | undefined;
  readonly textureShared?: Whole | undefined;
  readonly cbu?: Whole | undefined;
  readonly sram?: Whole | undefined;
}

export interface FakeRetiredPages {
  readonly multipleSingleBit?: number | undefined;
  readonly doubleBit?: number | undefined;
  readonly pending?: boolean | undefined;
}

export interface FakeRemappedRows {
  readonly corrected: number;
  readonly uncorrected: number;
  readonly pending: boolean;
  readonly failure: boolean;
}

export interface FakeNvlink {
  readonly active: boolean;
  /** Fields 138 and 139, KiB of data. */
  readonly transmitKibibytes?: Whole | undefined;
  readonly receiveKibibytes?: Whole | undefined;
  /** Fields 202 and 204, NVLink 5. */
  readonly transmitBytes?: Whole | undefined;
  readonly receiveBytes?: Whole | undefined;
  /** Fields 90 and 164. */
  readonly speedMegabytesPerSecond?: number | undefined;
  readonly errors?: FakeNvlinkErrors | undefined;
}

/** nvmlNvLinkErrorCounter_t. */
export interface FakeNvlinkErrors {
  readonly replay?: Whole | undefined;
  readonly recovery?: Whole | undefined;
  readonly crcFlit?: Whole | undefined;
  readonly crcData?: Whole | undefined;
  readonly eccData?: Whole | undefined;
}

export interface FakeProcess {
  readonly pid: number;
  readonly type: 'compute' | 'graphics' | 'compute+graphics' | 'mps';
  readonly name?: string | undefined;
  /** Left out: not told (2^64-1 in NVML, `N/A` in nvidia-smi), as under Windows' WDDM. */
  readonly memoryBytes?: Whole | undefined;
  /** Percent; a process without it has no sample. */
  readonly smUtilization?: number | undefined;
  readonly memoryUtilization?: number | undefined;
  readonly encoderUtilization?: number | undefined;
  readonly decoderUtilization?: number | undefined;
  readonly gpuInstanceId?: number | undefined;
  readonly computeInstanceId?: number | undefined;
}

export interface FakeMig {
  readonly enabled: boolean;
  readonly pending?: boolean | undefined;
  /** Most devices that there can be; 7 when left out. */
  readonly maximumDevices?: number | undefined;
  readonly devices?: readonly FakeMigDevice[] | undefined;
}

export interface FakeMigDevice {
  /** `MIG-…` */
  readonly uuid: string;
  /** `NVIDIA H100 80GB HBM3 MIG 1g.10gb` */
  readonly name: string;
  /** Place among the devices, may leave holes; its place in the list when left out. */
  readonly index?: number | undefined;
  readonly gpuInstanceId: number;
  readonly computeInstanceId: number;
  readonly memory: FakeMemory;
  readonly multiprocessors?: number | undefined;
  readonly gpuInstanceSlices?: number | undefined;
  readonly computeInstanceSlices?: number | undefined;
  readonly gpm?: FakeGpm | undefined;
  /** Over those of its board. */
  readonly returns?: FakeReturns | undefined;
}

/** GPM metric id to value: percent 0 to 100, or MiB/s. */
export type FakeGpm = Readonly<Record<string, number>>;

/** nvmlGpuFabricInfoV_t. */
export interface FakeFabric {
  /** 0 not supported, 1 not started, 2 in progress, 3 completed. */
  readonly state: number;
  readonly status?: number | undefined;
  readonly cliqueId?: number | undefined;
  readonly healthMask?: Whole | undefined;
  /** Version 3: 0 not supported, 1 healthy, 2 unhealthy, 3 limited capacity. */
  readonly healthSummary?: number | undefined;
}

/** `live`: one sample of now with the board's present value. */
export type FakeSampleList = 'live' | readonly FakeSample[];

/** Age in milliseconds before the JSON file was written, and the value (percent, or milliwatts). */
export type FakeSample = readonly [ageMilliseconds: number, value: number];

export interface FakeSamples {
  readonly power?: FakeSampleList | undefined;
  readonly gpu?: FakeSampleList | undefined;
  readonly memory?: FakeSampleList | undefined;
  readonly encoder?: FakeSampleList | undefined;
  readonly decoder?: FakeSampleList | undefined;
  readonly jpeg?: FakeSampleList | undefined;
  readonly ofa?: FakeSampleList | undefined;
}

/** Three generations of nvidia-smi's XML, by the driver branch that shows them. */
export const SMI_LAYOUTS = ['r470', 'r535', 'r580'] as const;
export type SmiLayout = (typeof SMI_LAYOUTS)[number];

export interface FakeSmiBehavior {
  /** Written to stderr before anything else. */
  readonly stderr?: string | undefined;
  /** Exit code with the output as it is. */
  readonly exitCode?: number | undefined;
  readonly delaySeconds?: number | undefined;
  /** Does not end by itself, and takes no notice of SIGTERM. */
  readonly hang?: boolean | undefined;
  /** A lost board ends the run with a message and code 15, instead of cells that read `GPU is lost`. */
  readonly lostEndsRun?: boolean | undefined;
  /** The XML is filled up with comments until it is at least so long. */
  readonly padBytes?: number | undefined;
}
