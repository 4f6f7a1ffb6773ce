import type { Labels } from '@llm-monitor/metrics-core';

import type { GpuMetricName } from '../../gpu-metrics.ts';
import { GpuPoints } from '../../gpu-points.ts';
import { findEntries, findText, type DeviceFiles } from '../../pci/device-files.ts';
import { isSuspended } from '../../pci/pci-gpus.ts';
import type { GpuCondition, GpuPoint, UnparsedValue, UnsupportedReading } from '../../reading.ts';
import { CardFiles, whyUnsupported } from './card-files.ts';
import type { Card } from './find-cards.ts';
import { readGpuMetricsTable, THROTTLE_REASONS, type GpuMetricsTable } from './gpu-metrics-table.ts';

/** What the files of an awake card say at one moment. */
export interface CardReading {
  readonly condition: GpuCondition;
  /** Part of a processor: most of its memory is the host's (GTT). */
  readonly apu: boolean;
  readonly points: readonly GpuPoint[];
  readonly unparsed: readonly UnparsedValue[];
  readonly unsupported: readonly UnsupportedReading[];
  readonly quick: SampleFiles;
}

/** Files of the two figures that are worth a quick look between readings; undefined where a card does not have one. */
export interface SampleFiles {
  readonly busy: string | undefined;
  readonly power: string | undefined;
}

interface Figure {
  readonly file: string;
  readonly metric: GpuMetricName;
  /** The file's units in one of the metric's. */
  readonly per?: number;
  readonly labels?: Labels;
}

/** Whole numbers in the device's own folder. `pcie_bw` is not among them: the driver takes a second to answer it. */
const DEVICE_FIGURES: readonly Figure[] = [
  { file: 'gpu_busy_percent', metric: 'gpu_utilization_ratio', per: 100 },
  { file: 'mem_busy_percent', metric: 'gpu_memory_utilization_ratio', per: 100 },
  { file: 'vcn_busy_percent', metric: 'gpu_decoder_utilization_ratio', per: 100 },
  { file: 'mem_info_vram_total', metric: 'gpu_memory_size_bytes' },
  { file: 'mem_info_vram_used', metric: 'gpu_memory_used_bytes' },
  { file: 'mem_info_gtt_total', metric: 'gpu_memory_gtt_size_bytes' },
  { file: 'mem_info_gtt_used', metric: 'gpu_memory_gtt_used_bytes' },
  { file: 'mem_info_vis_vram_total', metric: 'gpu_bar1_size_bytes' },
  { file: 'mem_info_vis_vram_used', metric: 'gpu_bar1_used_bytes' },
  { file: 'pcie_replay_count', metric: 'gpu_pcie_replay_total' },
];

/** Asks the hardware, as the sensors of hwmon do; the sizes of memory the driver knows by itself. */
const BUSY_FILE = 'gpu_busy_percent';
/** What the card draws now is before its average. */
const POWER_FILES = ['power1_input', 'power1_average'];
const GONE = ['EIO', 'ENODEV'];

/** What the driver calls its temperature sensors. */
const SENSORS: Readonly<Record<string, 'core' | 'junction' | 'memory'>> = {
  edge: 'core',
  junction: 'junction',
  mem: 'memory',
};

const POWER_LIMITS: readonly { readonly file: string; readonly kind: string }[] = [
  { file: 'power1_cap', kind: 'enforced' },
  { file: 'power1_cap_default', kind: 'default' },
  { file: 'power1_cap_min', kind: 'min' },
  { file: 'power1_cap_max', kind: 'max' },
];

const CLOCKS: Readonly<Record<string, 'graphics' | 'memory'>> = { sclk: 'graphics', mclk: 'memory' };

const LEVELS: readonly { readonly file: string; readonly domain: string }[] = [
  { file: 'pp_dpm_sclk', domain: 'graphics' },
  { file: 'pp_dpm_mclk', domain: 'memory' },
];

/** By the rate per lane in GT/s, of the PCI Express specifications. */
const PCIE_GENERATIONS: Readonly<Record<string, number>> = {
  '2.5': 1,
  '5.0': 2,
  '8.0': 3,
  '16.0': 4,
  '32.0': 5,
  '64.0': 6,
};

/**
 * Reads all figures of a card that is awake. The folder of hwmon is looked up by its parent, for its number changes.
 *
 * Zeros that mean "unknown" are no figures (device-metrics-exporter#281, #353: 0 W and 0 C on consumer cards and APUs):
 * a temperature of exactly 0 C is that of a sensor that is not there (a RX 5500 XT says so of its memory for as long as it
 * lives, so that nothing is told of it), and a GPU that is awake draws power: 0 W counts as not understood.
 */
export function readCard(files: DeviceFiles, card: Card): CardReading {
  const points = new GpuPoints();
  const device = new CardFiles(files, card.device, '', points);
  const sensors = hwmonFolder(files, card.device);
  const hwmon = new CardFiles(files, sensors, 'hwmon/', points);

  for (const { file, metric, per = 1, labels } of DEVICE_FIGURES) {
    const value = device.integer(file);
    points.put(metric, value === undefined ? undefined : value / per, file, labels);
  }
  putTemperatures(points, hwmon);
  putPower(points, hwmon);
  putClocks(points, device, hwmon);
  putFan(points, hwmon);
  putPcie(points, device);
  putErrors(points, device);
  putPartition(points, device);
  const content = device.content('gpu_metrics');
  const table = content === undefined ? undefined : readGpuMetricsTable(content);
  if (table !== undefined) putFromTable(points, table);

  const condition = conditionOf(files, card, device, hwmon);
  return {
    condition,
    // The north bridge's voltage is one that only processors with graphics have.
    apu: table?.apu ?? hwmon.text('in1_label') === 'vddnb',
    points: condition === 'up' ? points.points : [],
    unparsed: condition === 'up' ? points.unparsed : [],
    unsupported: [...device.unsupported(), ...hwmon.unsupported()],
    quick: {
      busy: device.answered.has(BUSY_FILE) ? `${card.device}/${BUSY_FILE}` : undefined,
      power: POWER_FILES.filter((name) => hwmon.answered.has(name)).map((name) => `${sensors}/${name}`)[0],
    },
  };
}

/** The quick figures now; undefined where they cannot be had, or make no sense. */
export function sampleCard(
  files: DeviceFiles,
  { busy, power }: SampleFiles,
): { readonly utilizationRatio: number | undefined; readonly powerWatts: number | undefined } {
  const busyPercent = busy === undefined ? undefined : wholeNumber(files, busy);
  const microwatts = power === undefined ? undefined : wholeNumber(files, power);
  return {
    utilizationRatio: busyPercent !== undefined && busyPercent <= 100 ? busyPercent / 100 : undefined,
    powerWatts:
      microwatts !== undefined && microwatts > 0 && microwatts <= 5e9 ? microwatts / 1e6 : undefined,
  };
}

function wholeNumber(files: DeviceFiles, file: string): number | undefined {
  const text = findText(files, file) ?? '';
  return /^\d+$/.test(text) ? Number(text) : undefined;
}

/** The driver registers one hwmon per card; a name settles it where there are more. */
function hwmonFolder(files: DeviceFiles, device: string): string {
  const folder = `${device}/hwmon`;
  const candidates = findEntries(files, folder)
    .filter((name) => /^hwmon\d+$/.test(name))
    .map((name) => `${folder}/${name}`);
  if (candidates.length < 2) return candidates[0] ?? `${folder}/hwmon0`;
  const named = candidates.find((each) => /^(amdgpu|radeon)$/.test(findText(files, `${each}/name`) ?? ''));
  return named ?? `${folder}/hwmon0`;
}

function putTemperatures(points: GpuPoints, hwmon: CardFiles): void {
  const headrooms: { readonly celsius: number; readonly field: string }[] = [];
  const inputs = hwmon.entries('.').flatMap((name) => /^temp\d+(?=_input$)/.exec(name)?.[0] ?? []);
  for (const input of inputs.sort()) {
    // The radeon driver has one sensor and gives it no name.
    const sensor = SENSORS[hwmon.text(`${input}_label`) ?? (inputs.length === 1 ? 'edge' : '')];
    if (sensor === undefined) continue;
    const millidegrees = hwmon.integer(`${input}_input`);
    const field = hwmon.field(`${input}_input`);
    if (millidegrees === 0) continue;
    if (millidegrees !== undefined) {
      points.put('gpu_temperature_celsius', millidegrees / 1000, field, { sensor });
    }
    for (const [suffix, kind] of [
      ['crit', 'critical'],
      ['emergency', 'emergency'],
    ] as const) {
      const limit = hwmon.integer(`${input}_${suffix}`);
      if (limit === undefined || limit <= 0) continue;
      points.put('gpu_temperature_threshold_celsius', limit / 1000, hwmon.field(`${input}_${suffix}`), {
        kind: sensor === 'core' ? kind : `${sensor}_${kind}`,
      });
      if (kind === 'critical' && millidegrees !== undefined) {
        headrooms.push({ celsius: (limit - millidegrees) / 1000, field });
      }
    }
  }
  const [nearest] = headrooms.sort((one, other) => one.celsius - other.celsius);
  if (nearest !== undefined) points.put('gpu_temperature_headroom_celsius', nearest.celsius, nearest.field);
}

function putPower(points: GpuPoints, hwmon: CardFiles): void {
  const now = watts(points, hwmon, 'power1_input');
  const average = watts(points, hwmon, 'power1_average');
  points.put(
    'gpu_power_watts',
    now ?? average,
    hwmon.field(now === undefined ? 'power1_average' : 'power1_input'),
  );
  points.put('gpu_power_average_watts', average, hwmon.field('power1_average'));
  for (const { file, kind } of POWER_LIMITS) {
    const microwatts = hwmon.integer(file);
    // No limit, save that the least one may well be none.
    if (microwatts === undefined || (microwatts === 0 && kind !== 'min')) continue;
    points.put('gpu_power_limit_watts', microwatts / 1e6, hwmon.field(file), { kind });
  }
  const microjoules = hwmon.integer('energy1_input');
  if (microjoules !== undefined) {
    points.put('gpu_energy_joules_total', microjoules / 1e6, hwmon.field('energy1_input'));
  }
}

function watts(points: GpuPoints, hwmon: CardFiles, file: string): number | undefined {
  const microwatts = hwmon.integer(file);
  if (microwatts === 0) points.refuse(hwmon.field(file), '0');
  return microwatts === undefined || microwatts === 0 ? undefined : microwatts / 1e6;
}

function putClocks(points: GpuPoints, device: CardFiles, hwmon: CardFiles): void {
  for (const clock of ['freq1', 'freq2']) {
    // An APU has one clock only.
    const domain = CLOCKS[hwmon.text(`${clock}_label`) ?? ''];
    if (domain === undefined) continue;
    points.put('gpu_clock_hertz', hwmon.integer(`${clock}_input`), hwmon.field(`${clock}_input`), { domain });
  }
  for (const { file, domain } of LEVELS) {
    const text = device.text(file);
    if (text === undefined) continue;
    const megahertz = [...text.matchAll(/(\d+)\s*mhz/gi)].map(([, digits]) => Number(digits));
    const highest = Math.max(0, ...megahertz);
    if (megahertz.length === 0) points.refuse(file, text);
    if (highest > 0) points.put('gpu_clock_max_hertz', highest * 1e6, file, { domain });
  }
}

function putFan(points: GpuPoints, hwmon: CardFiles): void {
  const fan = '0';
  const speed = hwmon.integer('pwm1');
  const full = speed === undefined ? undefined : hwmon.integer('pwm1_max');
  // hwmon's own definition of pwm: 0 to 255. (Documentation/hwmon/sysfs-interface.rst)
  if (speed !== undefined)
    points.put('gpu_fan_speed_ratio', speed / (full || 255), hwmon.field('pwm1'), { fan });
  points.put('gpu_fan_speed_rpm', hwmon.integer('fan1_input'), hwmon.field('fan1_input'), { fan });
}

function putPcie(points: GpuPoints, device: CardFiles): void {
  putLink(points, device, 'current', 'gpu_pcie_link_generation', 'gpu_pcie_link_width');
  putLink(points, device, 'max', 'gpu_pcie_link_generation_max', 'gpu_pcie_link_width_max');
}

function putLink(
  points: GpuPoints,
  device: CardFiles,
  which: 'current' | 'max',
  generation: GpuMetricName,
  width: GpuMetricName,
): void {
  const speed = device.text(`${which}_link_speed`);
  const known = PCIE_GENERATIONS[/^(\d+\.\d) GT\/s/.exec(speed ?? '')?.[1] ?? ''];
  if (speed !== undefined && known === undefined && !speed.startsWith('Unknown')) {
    points.refuse(`${which}_link_speed`, speed);
  }
  points.put(generation, known, `${which}_link_speed`);
  const lanes = device.integer(`${which}_link_width`);
  // The PCI core's words for unknown.
  if (lanes !== 0 && lanes !== 255) points.put(width, lanes, `${which}_link_width`);
}

/** RAS: `ue: 0` and `ce: 0` in a file per block, and a line per page of memory that is out of use. */
function putErrors(points: GpuPoints, device: CardFiles): void {
  const types = { ue: 'uncorrected', ce: 'corrected' } as const;
  for (const name of device.entries('ras')) {
    const location = /^(.+)_err_count$/.exec(name)?.[1];
    if (location === undefined) continue;
    const file = `ras/${name}`;
    for (const [, key = '', digits] of device.text(file)?.matchAll(/^(ue|ce)\s*:\s*(\d+)/gm) ?? []) {
      const type = types[key === 'ue' ? 'ue' : 'ce'];
      points.put('gpu_ecc_errors_total', Number(digits), file, { type, location, lifetime: 'volatile' });
    }
  }
  if (!device.answered.has('ras')) return;
  const pages = device.text('ras/gpu_vram_bad_pages');
  if (!device.answered.has('ras/gpu_vram_bad_pages')) return;
  // Address, size, and R (reserved), P (to be reserved) or F (could not be). (amdgpu_ras.c)
  const states = [...(pages ?? '').matchAll(/^0x[0-9a-f]+\s*:\s*0x[0-9a-f]+\s*:\s*([RPF])/gim)];
  points.put('gpu_retired_pages', states.length, 'ras/gpu_vram_bad_pages', { cause: 'bad' });
}

function putPartition(points: GpuPoints, device: CardFiles): void {
  const compute = device.text('current_compute_partition');
  const memory = device.text('current_memory_partition');
  if (compute === undefined) return;
  points.put('gpu_partition_info', 1, 'current_compute_partition', {
    compute,
    // Older kernels have no memory partitions; an empty label is an absent one.
    memory: memory ?? '',
  });
}

/** Fills in what the other files do not have. */
function putFromTable(points: GpuPoints, table: GpuMetricsTable): void {
  const fill = (metric: GpuMetricName, value: number | undefined, labels?: Labels): void => {
    if (points.points.some((point) => point.metric === metric)) return;
    points.put(metric, value, 'gpu_metrics', labels);
  };
  const ratio = (percent: number | undefined): number | undefined =>
    percent === undefined ? undefined : percent / 100;
  fill('gpu_utilization_ratio', ratio(table.activityPercent));
  fill('gpu_memory_utilization_ratio', ratio(table.memoryActivityPercent));
  fill('gpu_decoder_utilization_ratio', ratio(table.videoActivityPercent));
  fill('gpu_power_watts', table.powerWatts || table.averagePowerWatts || undefined);
  fill('gpu_power_average_watts', table.averagePowerWatts || undefined);
  fill('gpu_energy_joules_total', table.energyJoules);
  fill('gpu_pcie_replay_total', table.pcieReplays);
  if (table.throttledBy === undefined) return;
  for (const reason of THROTTLE_REASONS) {
    points.put('gpu_clock_event_active', table.throttledBy.has(reason) ? 1 : 0, 'gpu_metrics', { reason });
  }
}

/**
 * Whether the GPU itself is gone, when nothing that asks the hardware had an answer: one that fell off the bus says EIO
 * everywhere, one whose driver was unbound has no files left.
 */
function conditionOf(files: DeviceFiles, card: Card, device: CardFiles, hwmon: CardFiles): GpuCondition {
  const isSensor = (name: string): boolean => name.endsWith('_input') || name === 'power1_average';
  if (device.answered.has(BUSY_FILE) || [...hwmon.answered].some(isSensor)) return 'up';
  const codes = [
    device.failures.get(BUSY_FILE),
    ...[...hwmon.failures].map(([name, code]) => isSensor(name) && code),
  ]
    .filter((code) => typeof code === 'string')
    .filter((code) => whyUnsupported(code) !== 'not_supported');
  if (findText(files, `${card.device}/uevent`) === undefined) return 'vanished';
  if (codes.length === 0) return 'up';
  if (codes.every((code) => GONE.includes(code))) return 'lost';
  if (codes.every((code) => code === 'EACCES')) return 'no_permission';
  // It went to sleep since it was asked whether it does: newer kernels then answer EPERM and let it sleep.
  return isSuspended(files, card.device) ? 'suspended' : 'unknown_error';
}
