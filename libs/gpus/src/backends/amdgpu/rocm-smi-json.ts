import type { Labels } from '@llm-monitor/metrics-core';

import type { GpuMetricName } from '../../gpu-metrics.ts';
import { GpuPoints } from '../../gpu-points.ts';
import { normalizePciBusId } from '../../pci/pci-gpus.ts';
import type { BackendReading, GpuFacts, GpuReading, UnparsedValue } from '../../reading.ts';
import { cardUuids } from './card-identity.ts';
import { cardName } from './card-names.ts';

type JsonObject = Readonly<Record<string, unknown>>;

/** Where one figure may stand in the answers of the releases: the first that has a value counts. */
interface Figure {
  readonly metric: GpuMetricName;
  readonly labels?: Labels;
  /** Keys of rocm-smi, or dotted paths of amd-smi. */
  readonly from: readonly string[];
  /** Makes a number of the metric's base unit from the text; undefined for what is not understood. */
  readonly read: (text: string) => number | undefined;
  /** A zero of this figure is the tool's word for unknown. */
  readonly zeroIsUnknown?: true;
}

const whole = numberWith(1, /^(\d+)$/);
const percent = numberWith(0.01, /^(-?\d+(?:\.\d+)?)\s*%?$/);
const celsius = numberWith(1, /^(-?\d+(?:\.\d+)?)\s*C?$/);
const watt = numberWith(1, /^(\d+(?:\.\d+)?)\s*W?$/);
const joule = numberWith(1, /^(\d+(?:\.\d+)?)\s*J?$/);
/** `(300Mhz)`, `808Mhz`, `2774 MHz`. */
const megahertz = numberWith(1e6, /^\(?(\d+(?:\.\d+)?)\s*(?:mhz)?\)?$/i);
/** amd-smi shifts bytes by 20 and calls that MB. */
const mebibytes = numberWith(1024 ** 2, /^(\d+(?:\.\d+)?)\s*(?:MB|MiB)?$/);
/** `1 (16.0GT/s x16)`, `2.5 GT/s`; by the rate per lane of the PCI Express specifications. */
const generation = (text: string): number | undefined => {
  const rate = Number(/(\d+(?:\.\d+)?)\s*GT\/s/.exec(text)?.[1] ?? Number.NaN);
  const at = [2.5, 5, 8, 16, 32, 64].indexOf(rate);
  return at < 0 ? undefined : at + 1;
};
const lanes = numberWith(1, /x(\d+)\)?$/);

const sensor = (name: string): Labels => ({ sensor: name });
const domain = (name: string): Labels => ({ domain: name });
const FAN: Labels = { fan: '0' };

/**
 * rocm-smi: keys as the releases spell them, newest first (ROCm 4.3 to 6.2). "GPU Memory Allocated (VRAM%)" is another
 * quantity than "GPU memory use (%)", which is the memory controller's, and has gone with 6.1.
 */
const ROCM_SMI: readonly Figure[] = [
  { metric: 'gpu_utilization_ratio', from: ['GPU use (%)'], read: percent },
  {
    metric: 'gpu_memory_utilization_ratio',
    from: ['GPU Memory Read/Write Activity (%)', 'GPU memory use (%)'],
    read: percent,
  },
  { metric: 'gpu_memory_size_bytes', from: ['VRAM Total Memory (B)', 'vram Total Memory (B)'], read: whole },
  {
    metric: 'gpu_memory_used_bytes',
    from: ['VRAM Total Used Memory (B)', 'vram Total Used Memory (B)'],
    read: whole,
  },
  {
    metric: 'gpu_memory_gtt_size_bytes',
    from: ['GTT Total Memory (B)', 'gtt Total Memory (B)'],
    read: whole,
  },
  {
    metric: 'gpu_memory_gtt_used_bytes',
    from: ['GTT Total Used Memory (B)', 'gtt Total Used Memory (B)'],
    read: whole,
  },
  {
    metric: 'gpu_bar1_size_bytes',
    from: ['VIS_VRAM Total Memory (B)', 'vis_vram Total Memory (B)'],
    read: whole,
  },
  {
    metric: 'gpu_bar1_used_bytes',
    from: ['VIS_VRAM Total Used Memory (B)', 'vis_vram Total Used Memory (B)'],
    read: whole,
  },
  {
    metric: 'gpu_temperature_celsius',
    labels: sensor('core'),
    from: ['Temperature (Sensor edge) (C)'],
    read: celsius,
    zeroIsUnknown: true,
  },
  {
    metric: 'gpu_temperature_celsius',
    labels: sensor('junction'),
    from: ['Temperature (Sensor junction) (C)'],
    read: celsius,
    zeroIsUnknown: true,
  },
  {
    metric: 'gpu_temperature_celsius',
    labels: sensor('memory'),
    from: ['Temperature (Sensor memory) (C)', 'Temperature (Sensor mem) (C)'],
    read: celsius,
    zeroIsUnknown: true,
  },
  {
    metric: 'gpu_power_watts',
    from: ['Current Socket Graphics Package Power (W)', 'Average Graphics Package Power (W)'],
    read: watt,
    zeroIsUnknown: true,
  },
  {
    metric: 'gpu_power_average_watts',
    from: ['Average Graphics Package Power (W)'],
    read: watt,
    zeroIsUnknown: true,
  },
  // The tool reads power1_cap for it.
  {
    metric: 'gpu_power_limit_watts',
    labels: { kind: 'enforced' },
    from: ['Max Graphics Package Power (W)'],
    read: watt,
    zeroIsUnknown: true,
  },
  {
    metric: 'gpu_clock_hertz',
    labels: domain('graphics'),
    from: ['sclk clock speed:', 'sclk clock speed'],
    read: megahertz,
  },
  {
    metric: 'gpu_clock_hertz',
    labels: domain('memory'),
    from: ['mclk clock speed:', 'mclk clock speed'],
    read: megahertz,
  },
  { metric: 'gpu_fan_speed_ratio', labels: FAN, from: ['Fan speed (%)', 'Fan Speed (%)'], read: percent },
  { metric: 'gpu_fan_speed_rpm', labels: FAN, from: ['Fan RPM'], read: whole },
  { metric: 'gpu_pcie_link_generation', from: ['pcie clock level'], read: generation },
  { metric: 'gpu_pcie_link_width', from: ['pcie clock level'], read: lanes },
  { metric: 'gpu_pcie_replay_total', from: ['PCIe Replay Count'], read: whole },
];

/** amd-smi metric and static: paths as ROCm 5.7 to 7 have them, newest first. */
const AMD_SMI: readonly Figure[] = [
  { metric: 'gpu_utilization_ratio', from: ['usage.gfx_activity', 'usage.gfx_usage'], read: percent },
  { metric: 'gpu_memory_utilization_ratio', from: ['usage.umc_activity', 'usage.mem_usage'], read: percent },
  {
    metric: 'gpu_decoder_utilization_ratio',
    from: ['usage.vcn_activity.0', 'usage.mm_activity'],
    read: percent,
  },
  { metric: 'gpu_memory_size_bytes', from: ['mem_usage.total_vram', 'vram.size'], read: mebibytes },
  { metric: 'gpu_memory_used_bytes', from: ['mem_usage.used_vram'], read: mebibytes },
  { metric: 'gpu_memory_gtt_size_bytes', from: ['mem_usage.total_gtt'], read: mebibytes },
  { metric: 'gpu_memory_gtt_used_bytes', from: ['mem_usage.used_gtt'], read: mebibytes },
  { metric: 'gpu_bar1_size_bytes', from: ['mem_usage.total_visible_vram'], read: mebibytes },
  { metric: 'gpu_bar1_used_bytes', from: ['mem_usage.used_visible_vram'], read: mebibytes },
  {
    metric: 'gpu_temperature_celsius',
    labels: sensor('core'),
    from: ['temperature.edge'],
    read: celsius,
    zeroIsUnknown: true,
  },
  {
    metric: 'gpu_temperature_celsius',
    labels: sensor('junction'),
    from: ['temperature.hotspot', 'temperature.junction'],
    read: celsius,
    zeroIsUnknown: true,
  },
  {
    metric: 'gpu_temperature_celsius',
    labels: sensor('memory'),
    from: ['temperature.mem'],
    read: celsius,
    zeroIsUnknown: true,
  },
  {
    metric: 'gpu_power_watts',
    from: ['power.socket_power', 'power.current_socket_power', 'power.average_socket_power'],
    read: watt,
    zeroIsUnknown: true,
  },
  {
    metric: 'gpu_power_average_watts',
    from: ['power.average_socket_power'],
    read: watt,
    zeroIsUnknown: true,
  },
  {
    metric: 'gpu_power_limit_watts',
    labels: { kind: 'enforced' },
    from: ['limit.socket_power', 'limit.power_cap', 'limit.current_power'],
    read: watt,
    zeroIsUnknown: true,
  },
  {
    metric: 'gpu_power_limit_watts',
    labels: { kind: 'max' },
    from: ['limit.max_power'],
    read: watt,
    zeroIsUnknown: true,
  },
  {
    metric: 'gpu_energy_joules_total',
    from: ['energy.total_energy_consumption'],
    read: joule,
    zeroIsUnknown: true,
  },
  {
    metric: 'gpu_clock_hertz',
    labels: domain('graphics'),
    from: ['clock.gfx_0.clk', 'clock.gfx.clk', 'clock.gfx.cur_clk'],
    read: megahertz,
  },
  {
    metric: 'gpu_clock_hertz',
    labels: domain('memory'),
    from: ['clock.mem_0.clk', 'clock.mem.clk', 'clock.mem.cur_clk'],
    read: megahertz,
  },
  {
    metric: 'gpu_clock_max_hertz',
    labels: domain('graphics'),
    from: ['clock.gfx_0.max_clk', 'clock.gfx.max_clk'],
    read: megahertz,
    zeroIsUnknown: true,
  },
  {
    metric: 'gpu_clock_max_hertz',
    labels: domain('memory'),
    from: ['clock.mem_0.max_clk', 'clock.mem.max_clk'],
    read: megahertz,
    zeroIsUnknown: true,
  },
  { metric: 'gpu_fan_speed_ratio', labels: FAN, from: ['fan.usage'], read: percent },
  { metric: 'gpu_fan_speed_rpm', labels: FAN, from: ['fan.rpm'], read: whole },
  { metric: 'gpu_pcie_link_generation', from: ['pcie.speed'], read: generation },
  { metric: 'gpu_pcie_link_width', from: ['pcie.width'], read: whole, zeroIsUnknown: true },
  { metric: 'gpu_pcie_replay_total', from: ['pcie.replay_count'], read: whole },
];

/** Where the facts of a GPU may stand. */
const FACTS = {
  name: ['Device Name', 'Card Series', 'Card series', 'asic.market_name', 'board.product_name'],
  deviceId: ['Device ID', 'GPU ID', 'asic.device_id'],
  revision: ['Device Rev', 'asic.rev_id'],
  vbiosVersion: ['VBIOS version', 'vbios.version'],
  serial: ['Serial Number', 'board.product_serial'],
  uniqueId: ['Unique ID', 'asic.asic_serial'],
  pciBusId: ['PCI Bus', 'bus.bdf', 'bdf'],
  numaNode: ['(Topology) Numa Node', 'numa.node'],
  driverVersion: ['driver.version'],
} as const;

/** What the JSON of one of AMD's tools says, and of which. */
export interface RocmJson {
  readonly readAs: string;
  readonly reading: BackendReading;
}

/**
 * Reads what `rocm-smi --json` or `amd-smi metric --json` (or `static`) printed, in the shapes of ROCm 4.3 to 7: an object
 * by card; a list of GPUs; a list under `gpu_data`. Keys that are not known, such as rocm-smi's stray "0", "1", are passed over.
 * @param json parsed already
 * @returns undefined where it is the answer of neither tool
 */
export function readRocmJson(json: unknown): RocmJson | undefined {
  const gpus = amdSmiGpus(json);
  if (gpus !== undefined) return { readAs: 'amd-smi --json', reading: assemble(gpus, AMD_SMI, undefined) };
  if (!isObject(json)) return undefined;
  const cards = Object.entries(json)
    .flatMap(([key, value]) => {
      const digits = /^card(\d+)$/.exec(key)?.[1];
      return digits !== undefined && isObject(value) ? [{ index: Number(digits), values: value }] : [];
    })
    .sort((one, other) => one.index - other.index);
  if (cards.length === 0) return undefined;
  const driverVersion = isObject(json['system']) ? textAt(json['system'], 'Driver version') : undefined;
  return { readAs: 'rocm-smi --json', reading: assemble(cards, ROCM_SMI, driverVersion) };
}

interface SavedGpu {
  /** As the tool counts them. */
  readonly index: number;
  readonly values: JsonObject;
}

/** The list of GPUs, bare up to ROCm 6 and under `gpu_data` in 7. Several answers about one GPU are one. */
function amdSmiGpus(json: unknown): SavedGpu[] | undefined {
  const list = isObject(json) ? (json['gpu_data'] ?? json['gpu_metrics'] ?? [json]) : json;
  if (!Array.isArray(list)) return undefined;
  const byIndex = new Map<number, JsonObject>();
  for (const entry of list as unknown[]) {
    const index = isObject(entry) ? entry['gpu'] : undefined;
    if (!isObject(entry) || typeof index !== 'number') continue;
    byIndex.set(index, { ...byIndex.get(index), ...entry });
  }
  if (byIndex.size === 0) return undefined;
  return [...byIndex]
    .map(([index, values]) => ({ index, values }))
    .sort((one, other) => one.index - other.index);
}

function assemble(
  saved: readonly SavedGpu[],
  figures: readonly Figure[],
  driverVersion: string | undefined,
): BackendReading {
  const identified = saved.map(({ index, values }) => {
    const pciBusId = normalizePciBusId(factAt(values, 'pciBusId') ?? '');
    return {
      index,
      values,
      pciBusId,
      key: pciBusId ?? `amd-gpu-${index}`,
      uniqueId: factAt(values, 'uniqueId'),
    };
  });
  const uuids = cardUuids(identified.map(({ key, uniqueId }) => ({ pciBusId: key, uniqueId })));
  // As the sysfs backend counts them, where the addresses are told.
  const ordered = identified.every(({ pciBusId }) => pciBusId !== undefined)
    ? identified.toSorted((one, other) => (one.key < other.key ? -1 : 1))
    : identified;
  const unparsed: UnparsedValue[] = [];
  const gpus = ordered.map(({ values, pciBusId, key }, index): GpuReading => {
    const points = new GpuPoints();
    for (const figure of figures) putFigure(points, values, figure);
    putEcc(points, values);
    unparsed.push(...points.unparsed);
    return {
      gpu: String(index),
      uuid: uuids.get(key) ?? key,
      condition: 'up',
      facts: factsOf(values, pciBusId, driverVersion),
      points: points.points,
    };
  });
  return {
    backend: 'amdgpu',
    ...(driverVersion === undefined ? {} : { driverVersion }),
    gpus,
    unparsed,
    unsupported: [],
  };
}

function putFigure(
  points: GpuPoints,
  values: JsonObject,
  { metric, labels, from, read, zeroIsUnknown }: Figure,
): void {
  for (const key of from) {
    const text = textAt(values, key);
    if (text === undefined) continue;
    const value = read(text);
    if (value === undefined || (value === 0 && zeroIsUnknown === true)) {
      points.refuse(key, text);
      continue;
    }
    points.put(metric, value, key, labels);
    return;
  }
}

/** amd-smi tells errors by block of the chip, where it can, and in all. */
function putEcc(points: GpuPoints, values: JsonObject): void {
  const blocks = values['ecc_blocks'];
  const named = isObject(blocks) ? Object.entries(blocks).filter(([, block]) => isObject(block)) : [];
  const sources =
    named.length > 0
      ? named.map(([block]) => ({ path: `ecc_blocks.${block}.`, location: block.toLowerCase() }))
      : [{ path: 'ecc.total_', location: 'total' }];
  for (const { path, location } of sources) {
    for (const [key, type] of [
      ['correctable_count', 'corrected'],
      ['uncorrectable_count', 'uncorrected'],
    ] as const) {
      const labels = { type, location, lifetime: 'volatile' };
      putFigure(points, values, { metric: 'gpu_ecc_errors_total', labels, from: [path + key], read: whole });
    }
  }
}

function factsOf(
  values: JsonObject,
  pciBusId: string | undefined,
  driverVersion: string | undefined,
): GpuFacts {
  // ROCm 4.3 gives ids for names it does not know.
  const named = factAt(values, 'name');
  const name =
    named === undefined || /^0x/.test(named)
      ? cardName(factAt(values, 'deviceId'), factAt(values, 'revision'))
      : named;
  const vbiosVersion = factAt(values, 'vbiosVersion');
  const serial = factAt(values, 'serial');
  const numaNode = factAt(values, 'numaNode');
  const driver = driverVersion ?? factAt(values, 'driverVersion');
  return {
    vendor: 'amd',
    ...(name === undefined ? {} : { name }),
    ...(driver === undefined ? {} : { driverVersion: driver }),
    ...(pciBusId === undefined ? {} : { pciBusId }),
    ...(serial === undefined || /^0+$/.test(serial) ? {} : { serial }),
    ...(vbiosVersion === undefined ? {} : { vbiosVersion }),
    ...(numaNode !== undefined && /^\d{1,4}$/.test(numaNode) ? { numaNode } : {}),
  };
}

function factAt(values: JsonObject, fact: keyof typeof FACTS): string | undefined {
  for (const key of FACTS[fact]) {
    const text = textAt(values, key);
    if (text !== undefined) return text;
  }
  return undefined;
}

/**
 * The text of a value under a key, or a dotted path: bare, or of `{value, unit}`. Undefined where there is none, or the
 * tool says so: "N/A", "N/A (Secondary die)", "Not supported", "" (telegraf#15628).
 */
function textAt(values: JsonObject, key: string): string | undefined {
  const found = Object.hasOwn(values, key) ? values[key] : follow(values, key.split('.'));
  const text = textOf(found)?.trim();
  return text === undefined || text === '' || /^(n\/a\b|none$|unknown|unsupported|not supported)/i.test(text)
    ? undefined
    : text;
}

function follow(value: unknown, [step, ...rest]: readonly string[]): unknown {
  if (step === undefined) return value;
  const next = Array.isArray(value)
    ? (value as unknown[])[Number(step)]
    : isObject(value)
      ? value[step]
      : undefined;
  return next === undefined ? undefined : follow(next, rest);
}

function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return String(value);
  if (!isObject(value) || !('value' in value)) return undefined;
  const inner = textOf(value['value']);
  return inner === undefined || typeof value['unit'] !== 'string' ? inner : `${inner} ${value['unit']}`;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function numberWith(scale: number, form: RegExp): (text: string) => number | undefined {
  return (text) => {
    const digits = form.exec(text)?.[1];
    // Division keeps 7 % what it is: 7 * 0.01 is 0.07000000000000001.
    return digits === undefined
      ? undefined
      : scale < 1
        ? Number(digits) / (1 / scale)
        : Number(digits) * scale;
  };
}
