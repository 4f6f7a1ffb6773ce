import type { Labels } from '@llm-monitor/metrics-core';

import type { ClockEventReason, GpuMetricName } from '../../gpu-metrics.ts';
import type { GpuPoints } from '../../gpu-points.ts';
import { isUnifiedMemoryDevice, readMemInfo } from '../../unified-memory.ts';
import type { DeviceCalls } from './device-calls.ts';
import { fieldName, fieldQuery, FIELDS, type FieldQuery, type FieldValues } from './field-values.ts';
import type { NvmlFunction } from './nvml-library.ts';
import { milli, u64At, unlessZero } from './quantities.ts';
import { INSUFFICIENT_SIZE, isLasting, SUCCESS } from './return-codes.ts';

/** nvmlClockType_t */
export const CLOCK_DOMAINS = { graphics: 0, sm: 1, memory: 2, video: 3 } as const;

/** All that is read of a device as a whole by its fields, in one call. */
export const DEVICE_FIELDS: readonly FieldQuery[] = [
  fieldQuery(FIELDS.memoryTemperature),
  fieldQuery(FIELDS.powerAverage),
  fieldQuery(FIELDS.powerInstant),
  fieldQuery(FIELDS.powerInstant, 1),
  fieldQuery(FIELDS.powerAverage, 1),
  fieldQuery(FIELDS.powerViolationNanoseconds),
  fieldQuery(FIELDS.syncBoostNanoseconds),
  fieldQuery(FIELDS.swThermalNanoseconds),
  fieldQuery(FIELDS.hwThermalNanoseconds),
  fieldQuery(FIELDS.powerBrakeNanoseconds),
  fieldQuery(FIELDS.pcieTransmitBytes),
  fieldQuery(FIELDS.pcieReceiveBytes),
  fieldQuery(FIELDS.recoveryAction),
];

/** What one device is read with. */
export interface DeviceParts {
  readonly calls: DeviceCalls;
  readonly points: GpuPoints;
  readonly fields: FieldValues;
}

/**
 * Load of the engines. Not asked of a GPU that is split: NVML has no utilization of one (nvml.h, "On MIG-enabled GPUs
 * ... not currently supported"), and drivers were seen to say 0 for it.
 * @returns the utilization ratio
 */
export function putUtilization({ calls, points }: DeviceParts): number | undefined {
  const rates = calls.struct('nvmlDeviceGetUtilizationRates', { bytes: 8 });
  const ratio = rates === undefined ? undefined : rates.readUInt32LE(0) / 100;
  points.put('gpu_utilization_ratio', ratio, 'nvmlDeviceGetUtilizationRates');
  const memoryRatio = rates === undefined ? undefined : rates.readUInt32LE(4) / 100;
  points.put('gpu_memory_utilization_ratio', memoryRatio, 'nvmlDeviceGetUtilizationRates');
  for (const [metric, name] of ENGINES) {
    const percent = calls.uints(name, 2)?.[0];
    points.put(metric, percent === undefined ? undefined : percent / 100, name);
  }
  return ratio;
}

/** Each gives its share in percent, and the length of its sampling period. */
const ENGINES: readonly (readonly [GpuMetricName, NvmlFunction])[] = [
  ['gpu_encoder_utilization_ratio', 'nvmlDeviceGetEncoderUtilization'],
  ['gpu_decoder_utilization_ratio', 'nvmlDeviceGetDecoderUtilization'],
  ['gpu_jpeg_utilization_ratio', 'nvmlDeviceGetJpgUtilization'],
  ['gpu_ofa_utilization_ratio', 'nvmlDeviceGetOfaUtilization'],
];

/** In bytes. */
export interface MemoryInfo {
  readonly total: number;
  readonly free: number;
  readonly used: number;
  /** Undefined from drivers before R510, whose `used` includes it. */
  readonly reserved: number | undefined;
  readonly field: NvmlFunction;
}

/** Memory of a device or of a MIG device; a memory of no bytes is one that is not told. */
export function readMemory(calls: DeviceCalls): MemoryInfo | undefined {
  const memory = askMemory(calls);
  return memory?.total === 0 ? undefined : memory;
}

function askMemory(calls: DeviceCalls): MemoryInfo | undefined {
  const v2 = calls.struct('nvmlDeviceGetMemoryInfo_v2', { bytes: 40, version: 0x02000028 });
  if (v2 !== undefined) {
    const [total, reserved, free, used] = [u64At(v2, 8), u64At(v2, 16), u64At(v2, 24), u64At(v2, 32)];
    return { total, reserved, free, used, field: 'nvmlDeviceGetMemoryInfo_v2' };
  }
  const v1 = calls.struct('nvmlDeviceGetMemoryInfo', { bytes: 24 });
  if (v1 === undefined) return undefined;
  calls.excuse('nvmlDeviceGetMemoryInfo_v2');
  const [total, free, used] = [u64At(v1, 0), u64At(v1, 8), u64At(v1, 16)];
  return { total, free, used, reserved: undefined, field: 'nvmlDeviceGetMemoryInfo' };
}

/** Memory; that of the host for a GPU that has none and is known to use it. @param name of the device */
export function putMemory({ calls, points }: DeviceParts, name: string | undefined, procRoot: string): void {
  const memory = readMemory(calls);
  if (memory !== undefined) {
    points.put('gpu_memory_size_bytes', memory.total, memory.field);
    points.put('gpu_memory_used_bytes', memory.used, memory.field);
    points.put('gpu_memory_free_bytes', memory.free, memory.field);
    points.put('gpu_memory_reserved_bytes', memory.reserved, memory.field);
  } else if (isUnifiedMemoryDevice(name)) {
    const host = readMemInfo(procRoot);
    points.put('gpu_memory_unified', 1, 'meminfo');
    points.put('gpu_memory_size_bytes', host?.totalBytes, 'meminfo');
    points.put('gpu_memory_free_bytes', host?.availableBytes, 'meminfo');
    const used = host === undefined ? undefined : host.totalBytes - host.availableBytes;
    points.put('gpu_memory_used_bytes', used, 'meminfo');
  }
  const bar1 = calls.struct('nvmlDeviceGetBAR1MemoryInfo', { bytes: 24 });
  points.put('gpu_bar1_size_bytes', bar1 && u64At(bar1, 0), 'nvmlDeviceGetBAR1MemoryInfo');
  points.put('gpu_bar1_used_bytes', bar1 && u64At(bar1, 16), 'nvmlDeviceGetBAR1MemoryInfo');
}

export function putTemperatures({ calls, points, fields }: DeviceParts): void {
  const core = calls.struct('nvmlDeviceGetTemperatureV', { bytes: 12, version: 0x0100000c });
  if (core !== undefined) {
    const celsius = core.readInt32LE(8);
    points.put('gpu_temperature_celsius', celsius, 'nvmlDeviceGetTemperatureV', { sensor: 'core' });
  } else {
    const celsius = calls.uint('nvmlDeviceGetTemperature', 0);
    if (celsius !== undefined) calls.excuse('nvmlDeviceGetTemperatureV');
    points.put('gpu_temperature_celsius', celsius, 'nvmlDeviceGetTemperature', { sensor: 'core' });
  }
  // A memory at 0 degrees is one without a sensor.
  const memory = unlessZero(fields(FIELDS.memoryTemperature));
  points.put('gpu_temperature_celsius', memory, fieldName(FIELDS.memoryTemperature), { sensor: 'memory' });
  const margin = calls.struct('nvmlDeviceGetMarginTemperature', { bytes: 8, version: 0x01000008 });
  points.put('gpu_temperature_headroom_celsius', margin?.readInt32LE(4), 'nvmlDeviceGetMarginTemperature');
}

export function putPower({ calls, points, fields }: DeviceParts): void {
  const usage = unlessZero(calls.uint('nvmlDeviceGetPowerUsage'));
  const instant = unlessZero(fields(FIELDS.powerInstant));
  const average = unlessZero(fields(FIELDS.powerAverage));
  points.put(
    'gpu_power_watts',
    milli(instant ?? usage),
    instant === undefined ? 'nvmlDeviceGetPowerUsage' : fieldName(FIELDS.powerInstant),
  );
  points.put('gpu_power_average_watts', milli(average), fieldName(FIELDS.powerAverage));
  // A board that is no part of a module answers for itself again.
  const module = unlessZero(fields(FIELDS.powerInstant, 1) ?? fields(FIELDS.powerAverage, 1));
  const alone = module === instant || module === average || module === usage;
  points.put('gpu_module_power_watts', alone ? undefined : milli(module), fieldName(FIELDS.powerInstant));

  const enforced = calls.uint('nvmlDeviceGetEnforcedPowerLimit');
  putLimit(points, 'enforced', enforced, 'nvmlDeviceGetEnforcedPowerLimit');
  const requested = calls.uint('nvmlDeviceGetPowerManagementLimit');
  putLimit(points, 'requested', requested, 'nvmlDeviceGetPowerManagementLimit');
  const millijoules = calls.ulonglong('nvmlDeviceGetTotalEnergyConsumption');
  points.put('gpu_energy_joules_total', milli(millijoules), 'nvmlDeviceGetTotalEnergyConsumption');
}

function putLimit(
  points: GpuPoints,
  kind: string,
  milliwatts: number | undefined,
  field: NvmlFunction,
): void {
  points.put('gpu_power_limit_watts', milli(unlessZero(milliwatts)), field, { kind });
}

/** nvml.h, nvmlClocksEventReason*; bits beyond these are `other`. */
const CLOCK_EVENT_BITS = {
  gpu_idle: 0x1,
  applications_clocks: 0x2,
  sw_power_cap: 0x4,
  hw_slowdown: 0x8,
  sync_boost: 0x10,
  sw_thermal: 0x20,
  hw_thermal: 0x40,
  hw_power_brake: 0x80,
  display_clocks: 0x100,
} as const satisfies Record<Exclude<ClockEventReason, 'other'>, number>;
const KNOWN_CLOCK_EVENT_BITS = 0x1ffn;

const CLOCK_EVENT_TIMES: readonly (readonly [ClockEventReason, number])[] = [
  ['sw_power_cap', FIELDS.powerViolationNanoseconds],
  ['sync_boost', FIELDS.syncBoostNanoseconds],
  ['sw_thermal', FIELDS.swThermalNanoseconds],
  ['hw_thermal', FIELDS.hwThermalNanoseconds],
  ['hw_power_brake', FIELDS.powerBrakeNanoseconds],
];

/** nvmlPstates_t, NVML_PSTATE_UNKNOWN */
const UNKNOWN_PERFORMANCE_STATE = 32;

export function putClocks({ calls, points, fields }: DeviceParts): void {
  for (const [domain, type] of Object.entries(CLOCK_DOMAINS)) {
    const megahertz = calls.uint('nvmlDeviceGetClockInfo', type);
    const hertz = megahertz === undefined ? undefined : megahertz * 1e6;
    points.put('gpu_clock_hertz', hertz, 'nvmlDeviceGetClockInfo', { domain });
  }
  const state = calls.uint('nvmlDeviceGetPerformanceState');
  const known = state === UNKNOWN_PERFORMANCE_STATE ? undefined : state;
  points.put('gpu_performance_state', known, 'nvmlDeviceGetPerformanceState');
  putClockEvents(calls, points);
  for (const [reason, id] of CLOCK_EVENT_TIMES) {
    const nanoseconds = fields(id);
    const seconds = nanoseconds === undefined ? undefined : nanoseconds / 1e9;
    points.put('gpu_clock_event_seconds_total', seconds, fieldName(id), { reason });
  }
}

function putClockEvents(calls: DeviceCalls, points: GpuPoints): void {
  const name = 'nvmlDeviceGetCurrentClocksEventReasons';
  let bits = calls.bits(name);
  if (bits === undefined) {
    // Its name before R535; the bits are the same.
    bits = calls.bits('nvmlDeviceGetCurrentClocksThrottleReasons');
    if (bits === undefined) return;
    calls.excuse(name);
  }
  for (const [reason, bit] of Object.entries(CLOCK_EVENT_BITS)) {
    points.put('gpu_clock_event_active', (bits & BigInt(bit)) === 0n ? 0 : 1, name, { reason });
  }
  const other = (bits & ~KNOWN_CLOCK_EVENT_BITS) === 0n ? 0 : 1;
  points.put('gpu_clock_event_active', other, name, { reason: 'other' });
}

/** No board has more. */
const MAX_FANS = 16;

export function putFans({ calls, points }: DeviceParts): void {
  const fans = Math.min(calls.uint('nvmlDeviceGetNumFans') ?? 0, MAX_FANS);
  for (let fan = 0; fan < fans; fan++) {
    const labels = { fan: String(fan) };
    const percent = calls.uint('nvmlDeviceGetFanSpeed_v2', fan);
    const ratio = percent === undefined ? undefined : percent / 100;
    points.put('gpu_fan_speed_ratio', ratio, 'nvmlDeviceGetFanSpeed_v2', labels);
    const layout = { bytes: 12, version: 0x0100000c };
    const speed = calls.struct('nvmlDeviceGetFanSpeedRPM', layout, labels.fan, (struct) =>
      struct.writeUInt32LE(fan, 4),
    );
    points.put('gpu_fan_speed_rpm', speed?.readUInt32LE(8), 'nvmlDeviceGetFanSpeedRPM', labels);
  }
}

/**
 * Fields 197 and 198 are passed on as they are, though "value can be wrapped" (nvml.h): at 32 bits a wide link wraps
 * many times between two readings, so that no count of wraps would be certain. rate() takes a wrap for a reset.
 */
export function putPcie({ calls, points, fields }: DeviceParts): void {
  const generation = unlessZero(calls.uint('nvmlDeviceGetCurrPcieLinkGeneration'));
  points.put('gpu_pcie_link_generation', generation, 'nvmlDeviceGetCurrPcieLinkGeneration');
  const width = unlessZero(calls.uint('nvmlDeviceGetCurrPcieLinkWidth'));
  points.put('gpu_pcie_link_width', width, 'nvmlDeviceGetCurrPcieLinkWidth');
  putField({ points, fields }, 'gpu_pcie_transmit_bytes_total', FIELDS.pcieTransmitBytes);
  putField({ points, fields }, 'gpu_pcie_receive_bytes_total', FIELDS.pcieReceiveBytes);
}

/** What the driver asks for. */
export function putRecoveryAction({ points, fields }: DeviceParts): void {
  putField({ points, fields }, 'gpu_recovery_action', FIELDS.recoveryAction);
}

export function putReplays({ calls, points }: DeviceParts): void {
  const replays = calls.uint('nvmlDeviceGetPcieReplayCounter');
  points.put('gpu_pcie_replay_total', replays, 'nvmlDeviceGetPcieReplayCounter');
}

/** In bytes per second. */
export interface PcieThroughput {
  readonly transmit: number | undefined;
  readonly receive: number | undefined;
}

/** Takes 40 ms: NVML counts for 20 ms in each direction. */
export function measurePcieThroughput(calls: DeviceCalls): PcieThroughput {
  const bytesPerSecond = (counter: number): number | undefined => {
    const kilobytes = calls.uint('nvmlDeviceGetPcieThroughput', counter);
    return kilobytes === undefined ? undefined : kilobytes * 1000;
  };
  return { transmit: bytesPerSecond(0), receive: bytesPerSecond(1) };
}

/** nvmlMemoryErrorType_t, nvmlEccCounterType_t, nvmlMemoryLocation_t; locations in nvidia-smi's words. */
const ECC_TYPES = { corrected: 0, uncorrected: 1 } as const;
const ECC_LIFETIMES = { volatile: 0, aggregate: 1 } as const;
const ECC_LOCATIONS = {
  l1_cache: 0,
  l2_cache: 1,
  dram: 2,
  register_file: 3,
  texture_memory: 4,
  texture_shm: 5,
  cbu: 6,
  sram: 7,
} as const;

export function putEcc({ calls, points }: DeviceParts): void {
  const enabled = calls.uints('nvmlDeviceGetEccMode', 2)?.[0];
  points.put('gpu_ecc_enabled', enabled, 'nvmlDeviceGetEccMode');
  // Counters of memory that is not watched would be zeros that mean nothing.
  if (enabled === 0) return;
  for (const [lifetime, counter] of Object.entries(ECC_LIFETIMES)) {
    for (const [type, error] of Object.entries(ECC_TYPES)) {
      for (const [location, place] of Object.entries(ECC_LOCATIONS)) {
        const errors = calls.ulonglong('nvmlDeviceGetMemoryErrorCounter', error, counter, place);
        const labels = { type, location, lifetime };
        points.put('gpu_ecc_errors_total', errors, 'nvmlDeviceGetMemoryErrorCounter', labels);
      }
    }
  }
}

/** nvmlPageRetirementCause_t */
const RETIREMENT_CAUSES = { multiple_single_bit: 0, double_bit: 1 } as const;

/** Bad memory: pages taken out of use (before Ampere), rows replaced (since), and what the driver wants done. */
export function putBadMemory({ calls, points }: DeviceParts): void {
  for (const [cause, code] of Object.entries(RETIREMENT_CAUSES)) {
    const pages = countRetiredPages(calls, code);
    points.put('gpu_retired_pages', pages, 'nvmlDeviceGetRetiredPages', { cause });
  }
  const waiting = calls.uint('nvmlDeviceGetRetiredPagesPendingStatus');
  points.put('gpu_retired_pages_pending', waiting, 'nvmlDeviceGetRetiredPagesPendingStatus');

  const name = 'nvmlDeviceGetRemappedRows';
  const rows = calls.uints(name, 4);
  points.put('gpu_remapped_rows', rows?.[0], name, { type: 'corrected' });
  points.put('gpu_remapped_rows', rows?.[1], name, { type: 'uncorrected' });
  points.put('gpu_remapped_rows_pending', rows?.[2], name);
  points.put('gpu_remapped_rows_failure', rows?.[3], name);
}

/** Without room for the addresses: no pages are a success, some are INSUFFICIENT_SIZE with their count. */
function countRetiredPages(calls: DeviceCalls, cause: number): number | undefined {
  const count = Buffer.alloc(4);
  const code = calls.call('nvmlDeviceGetRetiredPages', String(cause), cause, count, null);
  return code === SUCCESS || code === INSUFFICIENT_SIZE ? count.readUInt32LE(0) : undefined;
}

const FABRIC_V3 = { bytes: 40, version: 0x03000028 };
const FABRIC_V2 = { bytes: 36, version: 0x02000024 };

/** NVLink fabric; version 3 of its struct has a verdict, version 2 only a mask. */
export function putFabric({ calls, points }: DeviceParts): void {
  const name = 'nvmlDeviceGetGpuFabricInfoV';
  const v3 = calls.struct(name, FABRIC_V3, 'v3');
  const v2 =
    v3 === undefined && isRefused(calls, `${name}(v3)`) ? calls.struct(name, FABRIC_V2, 'v2') : undefined;
  const info = v3 ?? v2;
  if (info === undefined) return;
  // 0: not supported.
  const state = unlessZero(info.readUInt8(28));
  points.put('gpu_fabric_state', state, name);
  if (state === undefined) return;
  const healthy = v3 === undefined ? healthByMask(info.readUInt32LE(32)) : healthBySummary(v3.readUInt8(36));
  points.put('gpu_fabric_healthy', healthy, name);
}

function isRefused(calls: DeviceCalls, reading: string): boolean {
  const code = calls.rememberedFailure(reading);
  return code !== undefined && isLasting(code);
}

/** nvml.h, NVML_GPU_FABRIC_HEALTH_SUMMARY_*: 1 healthy, 2 unhealthy, 3 limited capacity; 0 does not say. */
function healthBySummary(summary: number): number | undefined {
  return summary === 0 ? undefined : Number(summary === 1);
}

/**
 * nvml.h, NVML_GPU_FABRIC_HEALTH_MASK_*: degraded bandwidth, route recovery, route unhealthy and access timeout, two bits
 * each (0 does not say, 1 yes, 2 no); then four bits of which 1 is a correct configuration and what is above a fault.
 */
function healthByMask(mask: number): number | undefined {
  const troubles = [0, 2, 4, 6].map((shift) => (mask >>> shift) & 0x3);
  const configuration = (mask >>> 8) & 0xf;
  if (troubles.includes(1) || configuration > 1) return 0;
  return troubles.includes(2) || configuration === 1 ? 1 : undefined;
}

/** Puts a field that has the metric's unit already. */
function putField(
  { points, fields }: Pick<DeviceParts, 'points' | 'fields'>,
  metric: GpuMetricName,
  id: number,
  labels?: Labels,
): void {
  points.put(metric, fields(id), fieldName(id), labels);
}
