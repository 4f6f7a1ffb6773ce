import type { GpuFacts, GpuPoint, UnparsedValue, UnsupportedReading } from '../../reading.ts';
import { GpuPoints } from '../../gpu-points.ts';
import type { DeviceCalls } from './device-calls.ts';
import { fieldQuery, FIELDS, readFields } from './field-values.ts';
import { milli, unlessZero } from './quantities.ts';
import { CLOCK_DOMAINS } from './read-device.ts';
import { SUCCESS } from './return-codes.ts';

/** What of a device does not change while it runs, or seldom by somebody's hand. */
export interface DeviceStatics {
  readonly uuid: string | undefined;
  readonly facts: GpuFacts;
  readonly points: readonly GpuPoint[];
  readonly unparsed: readonly UnparsedValue[];
  readonly unsupported: readonly UnsupportedReading[];
  /** NVLinks that the board has, up or down. */
  readonly nvlinks: number;
}

/** What the whole session knows. */
export interface SessionFacts {
  readonly driverVersion: string | undefined;
  readonly cudaVersion: string | undefined;
}

/** nvmlDeviceArchitecture_t in nvidia-smi's words. */
const ARCHITECTURES: Readonly<Record<number, string>> = {
  2: 'Kepler',
  3: 'Maxwell',
  4: 'Pascal',
  5: 'Volta',
  6: 'Turing',
  7: 'Ampere',
  8: 'Ada Lovelace',
  9: 'Hopper',
  10: 'Blackwell',
  13: 'Rubin',
};

/** Absolute limits; boards with a T.Limit (Ada and later) have none of them (nvmlTemperatureThresholds_t). */
const THRESHOLDS = { shutdown: 0, slowdown: 1, memory_max: 2, gpu_max: 3 } as const;
/** nvml.h: NVML_NVLINK_MAX_LINKS, rounded up. */
const MAX_NVLINKS = 36;

/** Reads identity, limits and maxima. @throws GpuDown, SessionLost */
export function readStatics(calls: DeviceCalls, session: SessionFacts): DeviceStatics {
  calls.begin();
  const points = new GpuPoints();
  putMaximumClocks(calls, points);
  putThresholds(calls, points);
  putPowerLimits(calls, points);
  const generation = calls.uint('nvmlDeviceGetMaxPcieLinkGeneration');
  points.put('gpu_pcie_link_generation_max', unlessZero(generation), 'nvmlDeviceGetMaxPcieLinkGeneration');
  const width = calls.uint('nvmlDeviceGetMaxPcieLinkWidth');
  points.put('gpu_pcie_link_width_max', unlessZero(width), 'nvmlDeviceGetMaxPcieLinkWidth');
  return {
    uuid: calls.text('nvmlDeviceGetUUID', 96),
    facts: readFacts(calls, session),
    points: points.points,
    unparsed: points.unparsed,
    nvlinks: countNvlinks(calls),
    unsupported: calls.unsupported(),
  };
}

/** nvmlPciInfo_t in the form of sysfs; the busId text in it has eight digits of domain. */
function readPciBusId(calls: DeviceCalls): string | undefined {
  const info = calls.struct('nvmlDeviceGetPciInfo_v3', { bytes: 68 });
  if (info === undefined) return undefined;
  const hex = (at: number, digits: number): string =>
    info.readUInt32LE(at).toString(16).padStart(digits, '0');
  return `${hex(16, 4)}:${hex(20, 2)}:${hex(24, 2)}.0`;
}

function readFacts(calls: DeviceCalls, { driverVersion, cudaVersion }: SessionFacts): GpuFacts {
  const architecture = calls.uint('nvmlDeviceGetArchitecture');
  const compute = calls.uints('nvmlDeviceGetCudaComputeCapability', 2);
  const facts = {
    name: calls.text('nvmlDeviceGetName', 96),
    driverVersion,
    cudaVersion,
    pciBusId: readPciBusId(calls),
    serial: calls.text('nvmlDeviceGetSerial', 30),
    architecture: architecture === undefined ? undefined : ARCHITECTURES[architecture],
    vbiosVersion: calls.text('nvmlDeviceGetVbiosVersion', 32),
    computeCapability: compute?.join('.'),
  };
  const known = Object.entries(facts).filter((fact): fact is [string, string] => fact[1] !== undefined);
  return { vendor: 'nvidia', ...Object.fromEntries(known) };
}

function putMaximumClocks(calls: DeviceCalls, points: GpuPoints): void {
  for (const [domain, type] of Object.entries(CLOCK_DOMAINS)) {
    const megahertz = unlessZero(calls.uint('nvmlDeviceGetMaxClockInfo', type));
    const hertz = megahertz === undefined ? undefined : megahertz * 1e6;
    points.put('gpu_clock_max_hertz', hertz, 'nvmlDeviceGetMaxClockInfo', { domain });
  }
}

function putThresholds(calls: DeviceCalls, points: GpuPoints): void {
  for (const [kind, type] of Object.entries(THRESHOLDS)) {
    const celsius = unlessZero(calls.uint('nvmlDeviceGetTemperatureThreshold', type));
    points.put('gpu_temperature_threshold_celsius', celsius, 'nvmlDeviceGetTemperatureThreshold', { kind });
  }
}

function putPowerLimits(calls: DeviceCalls, points: GpuPoints): void {
  const put = (kind: string, milliwatts: number | undefined, field: string): void =>
    points.put('gpu_power_limit_watts', milli(milliwatts), field, { kind });
  const standard = calls.uint('nvmlDeviceGetPowerManagementDefaultLimit');
  put('default', standard, 'nvmlDeviceGetPowerManagementDefaultLimit');
  const constraints = calls.uints('nvmlDeviceGetPowerManagementLimitConstraints', 2);
  put('min', constraints?.[0], 'nvmlDeviceGetPowerManagementLimitConstraints');
  put('max', unlessZero(constraints?.[1]), 'nvmlDeviceGetPowerManagementLimitConstraints');
}

/** By field 91; a driver that does not have it is asked link by link. */
function countNvlinks(calls: DeviceCalls): number {
  const told = readFields(calls, [fieldQuery(FIELDS.nvlinkCount)])(FIELDS.nvlinkCount);
  if (told !== undefined) return Math.min(told, MAX_NVLINKS);
  const out = Buffer.alloc(4);
  let links = 0;
  while (links < MAX_NVLINKS && calls.call('nvmlDeviceGetNvLinkState', String(links), links, out) === SUCCESS)
    links++;
  return links;
}
