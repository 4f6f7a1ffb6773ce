import { GpuPoints } from '../../gpu-points.ts';
import type {
  GpuCondition,
  GpuPoint,
  GpuProcess,
  GpuReading,
  UnparsedValue,
  UnsupportedReading,
} from '../../reading.ts';
import { DeviceCalls } from './device-calls.ts';
import { putProcessCounts, readProcesses, readProcessUtilization } from './device-processes.ts';
import { DeviceSamples } from './device-samples.ts';
import { readStatics, type DeviceStatics, type SessionFacts } from './device-statics.ts';
import { FIELDS, readFields, type FieldQuery } from './field-values.ts';
import { Gpm } from './gpm.ts';
import { findMigDevices, putMigDevice, readMigMode, type MigDevice } from './mig.ts';
import type { NvmlFunction, NvmlLibrary } from './nvml-library.ts';
import { nvlinkFields, putNvlinks, type NvlinkSources } from './nvlink.ts';
import {
  DEVICE_FIELDS,
  measurePcieThroughput,
  putBadMemory,
  putClocks,
  putEcc,
  putFabric,
  putFans,
  putMemory,
  putPcie,
  putPower,
  putTemperatures,
  putRecoveryAction,
  putReplays,
  putUtilization,
  type PcieThroughput,
} from './read-device.ts';
import { NO_PERMISSION, UNKNOWN_ERROR } from './return-codes.ts';

/** Identity, limits and maxima are read anew after so long. */
const STATICS_SECONDS = 60;
/**
 * Links and error counters are read anew after so long: with 18 NVLinks they are four fifths of what a board tells, and
 * a scrape comes three times as seldom.
 */
const SELDOM_SECONDS = 5;
/** A measurement of the PCIe throughput blocks for 40 ms, and is worth that so often. */
const THROUGHPUT_SECONDS = 15;

/** What a device is read in. */
export interface DeviceSurroundings {
  readonly library: NvmlLibrary;
  readonly session: SessionFacts;
  readonly procRoot: string;
  /** Monotonic. */
  readonly now: () => number;
  readonly unixNow: () => number;
  readonly processName: (pid: number) => string | undefined;
}

export interface DeviceReading {
  readonly gpu: GpuReading;
  /** No process and no load. */
  readonly isIdle: boolean;
  readonly unparsed: readonly UnparsedValue[];
  readonly unsupported: readonly UnsupportedReading[];
}

/** A GPU for as long as its handle is good. */
export class NvmlDevice {
  readonly index: string;
  readonly calls: DeviceCalls;
  readonly samples: DeviceSamples;
  /** Of events and samples, which are asked for between the readings. */
  readonly callsBetween: DeviceCalls;
  /** Split by MIG when it was last read. */
  isSplit = false;
  private readonly surroundings: DeviceSurroundings;
  private readonly callsForStatics: DeviceCalls;
  private readonly callsForSeldom: DeviceCalls;
  private readonly gpm: Gpm;
  private statics: DeviceStatics;
  private staticsSeconds: number;
  private linkQueries: readonly FieldQuery[];
  private readonly nvlinkSources: NvlinkSources = new Map();
  private seldomPoints: readonly GpuPoint[] = [];
  private seldomSeconds = -Infinity;
  private hasPcieCounters = true;
  private throughput: PcieThroughput | undefined;
  private throughputSeconds = -Infinity;

  /** @throws GpuDown, SessionLost */
  constructor(surroundings: DeviceSurroundings, handle: bigint, position: number) {
    const { library, session, now } = surroundings;
    this.surroundings = surroundings;
    this.calls = new DeviceCalls(library, handle, now);
    this.callsBetween = new DeviceCalls(library, handle, now);
    this.callsForStatics = new DeviceCalls(library, handle, now);
    this.callsForSeldom = new DeviceCalls(library, handle, now);
    this.gpm = new Gpm(library, this.calls);
    this.statics = readStatics(this.callsForStatics, session);
    this.staticsSeconds = now();
    this.linkQueries = nvlinkFields(this.statics.nvlinks);
    this.index = String(this.calls.uint('nvmlDeviceGetIndex') ?? position);
    this.samples = new DeviceSamples(this.callsBetween, this.uuid);
  }

  get pciBusId(): string | undefined {
    return this.statics.facts.pciBusId;
  }

  get uuid(): string {
    return this.statics.uuid ?? this.pciBusId ?? `nvidia-${this.index}`;
  }

  /** When the throughput is to be measured, in monotonic seconds; undefined where counters say more. */
  get throughputDueSeconds(): number | undefined {
    return this.hasPcieCounters ? undefined : this.throughputSeconds + THROUGHPUT_SECONDS;
  }

  /**
   * Reads all that the device has.
   * @param measuresThroughput of PCIe, which blocks for 40 ms
   * @throws GpuDown, SessionLost
   */
  read(measuresThroughput: boolean): DeviceReading {
    const { calls, surroundings } = this;
    const { now, procRoot } = surroundings;
    calls.begin();
    this.refreshStatics();
    const { facts } = this.statics;
    const points = new GpuPoints();
    const fields = readFields(calls, DEVICE_FIELDS);
    const parts = { calls, points, fields };

    const mode = readMigMode(calls);
    points.put('gpu_mig_enabled', mode, 'nvmlDeviceGetMigMode');
    this.isSplit = mode === 1;
    const utilization = this.isSplit ? undefined : putUtilization(parts);
    putMemory(parts, facts.name, procRoot);
    putTemperatures(parts);
    putPower(parts);
    putClocks(parts);
    putFans(parts);
    putPcie(parts);
    putRecoveryAction(parts);
    this.hasPcieCounters =
      fields(FIELDS.pcieTransmitBytes) !== undefined || fields(FIELDS.pcieReceiveBytes) !== undefined;
    if (measuresThroughput) {
      this.throughput = measurePcieThroughput(calls);
      this.throughputSeconds = now();
    }
    this.putThroughput(points);
    const instances = this.isSplit ? findMigDevices(surroundings.library, calls, now) : [];
    for (const instance of instances) putMigDevice(points, instance);
    if (this.isSplit) this.gpm.putInstances(points, [...new Set(instances.map((mig) => mig.gpuInstance))]);
    else this.gpm.putDevice(points);
    const processes = this.readProcesses(points, instances, utilization);

    const condition = this.condition(fields(FIELDS.recoveryAction));
    const seldomUnparsed = this.readSeldom();
    return {
      gpu: {
        ...this.identity(condition),
        ...(condition === 'up' ? { points: points.points, seldomPoints: this.seldomPoints } : {}),
        ...(condition === 'up' && processes !== undefined ? { processes } : {}),
      },
      isIdle: condition === 'up' && processes?.length === 0 && (utilization ?? 0) === 0,
      unparsed: [...points.unparsed, ...seldomUnparsed, ...this.samples.takeUnparsed()],
      unsupported: [
        ...this.statics.unsupported,
        ...calls.unsupported(),
        ...this.callsForSeldom.unsupported(),
        ...this.callsBetween.unsupported(),
      ],
    };
  }

  /** The device without figures. */
  identity(condition: GpuCondition): GpuReading {
    return { gpu: this.index, uuid: this.uuid, condition, facts: this.statics.facts, points: [] };
  }

  /** Gives back what is held for it; touches no hardware. */
  close(): void {
    this.gpm.close();
  }

  /** @returns what of it was not understood, if it was read now */
  private readSeldom(): readonly UnparsedValue[] {
    const now = this.surroundings.now();
    if (now - this.seldomSeconds < SELDOM_SECONDS) return [];
    const calls = this.callsForSeldom;
    calls.begin();
    const points = new GpuPoints();
    const parts = { calls, points, fields: readFields(calls, this.linkQueries) };
    putReplays(parts);
    putNvlinks(parts, this.statics.nvlinks, this.nvlinkSources);
    putEcc(parts);
    putBadMemory(parts);
    putFabric(parts);
    this.seldomPoints = [...this.statics.points, ...points.points];
    this.seldomSeconds = now;
    return [...this.statics.unparsed, ...points.unparsed];
  }

  private refreshStatics(): void {
    const now = this.surroundings.now();
    if (now - this.staticsSeconds < STATICS_SECONDS) return;
    const before = this.statics;
    const read = readStatics(this.callsForStatics, this.surroundings.session);
    // A name that fails now is still what it was.
    this.statics = { ...read, uuid: read.uuid ?? before.uuid, facts: { ...before.facts, ...read.facts } };
    this.staticsSeconds = now;
    this.linkQueries = nvlinkFields(this.statics.nvlinks);
  }

  /** Between two measurements the last one stands: it is a sample of 20 ms either way. */
  private putThroughput(points: GpuPoints): void {
    if (this.hasPcieCounters) return;
    for (const direction of ['transmit', 'receive'] as const) {
      points.put(
        'gpu_pcie_throughput_bytes_per_second',
        this.throughput?.[direction],
        'nvmlDeviceGetPcieThroughput',
        { direction },
      );
    }
  }

  private readProcesses(
    points: GpuPoints,
    instances: readonly MigDevice[],
    utilization: number | undefined,
  ): GpuProcess[] | undefined {
    const listed = readProcesses(this.calls, points) ?? processesOf(instances, points);
    if (listed === undefined) return undefined;
    putProcessCounts(points, listed);
    const { library, unixNow, processName } = this.surroundings;
    const shares = this.isSplit ? undefined : readProcessUtilization(library, this.calls, points, unixNow());
    // A GPU that works while no process has a sample: then their absence says nothing of each.
    const isTold = shares !== undefined && (shares.size > 0 || utilization === 0);
    return listed.map((process) => {
      const name = processName(process.pid);
      const share = shares?.get(process.pid) ?? (isTold ? 0 : undefined);
      return {
        ...process,
        ...(name === undefined ? {} : { name }),
        ...(share === undefined ? {} : { smUtilizationRatio: share }),
      };
    });
  }

  /** A GPU that answers is up, also where it has nothing to say (the oldest boards); not so where it fails at its core. */
  private condition(recoveryAction: number | undefined): GpuCondition {
    if (CORE_FUNCTIONS.some((name) => this.calls.hasAnswered(name))) return 'up';
    const failures = CORE_FUNCTIONS.map((name) => this.calls.failureOf(name));
    if (recoveryAction !== undefined && recoveryAction > 0) return 'reset_required';
    if (failures.includes(UNKNOWN_ERROR)) return 'unknown_error';
    return failures.includes(NO_PERMISSION) ? 'no_permission' : 'up';
  }
}

/** Of which any GPU that works has one at least, but for the oldest boards. */
const CORE_FUNCTIONS: readonly NvmlFunction[] = [
  'nvmlDeviceGetUtilizationRates',
  'nvmlDeviceGetMemoryInfo_v2',
  'nvmlDeviceGetMemoryInfo',
  'nvmlDeviceGetTemperatureV',
  'nvmlDeviceGetTemperature',
  'nvmlDeviceGetPowerUsage',
  'nvmlDeviceGetClockInfo',
  'nvmlDeviceGetPerformanceState',
];

/** Those of the MIG devices, where the whole GPU's need a privilege that is not given. */
function processesOf(instances: readonly MigDevice[], points: GpuPoints): GpuProcess[] | undefined {
  const lists = instances.map(({ calls, gpuInstance, computeInstance }) =>
    readProcesses(calls, points)?.map((process) => ({
      ...process,
      gpuInstanceId: String(gpuInstance),
      computeInstanceId: String(computeInstance),
    })),
  );
  const told = lists.filter((list) => list !== undefined);
  return told.length === 0 ? undefined : told.flat();
}
