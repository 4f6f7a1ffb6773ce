import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { captureFiles, capturesDirectory, capturesReason } from '@llm-monitor/testing';

import { BackendError, type BackendReading } from '../../reading.ts';
import { misdeclaredPoints } from '../../test-declared.ts';
import { figure, readingLines } from '../../test-reading.ts';
import { readSysfsTree } from './read-sysfs-tree.ts';
import { readRocmJson } from './rocm-smi-json.ts';

/** Goldens are rewritten with UPDATE_GOLDENS=1; their diff is then read before it is committed. */
const updateGoldens = process.env['UPDATE_GOLDENS'] === '1';
const goldens = path.resolve(__dirname, '../../../fixtures/amd-captures');

const files = captureFiles('amd');
const cards = [...new Set(files.flatMap((file) => /^sysfs\/[^/]+/.exec(file)?.[0] ?? []))];
const outputs = files.filter((file) => file.endsWith('.json'));
const withCaptures = files.length > 0 ? describe : describe.skip;

/** Copied by eye from the files named; the last is the value in the metric's base unit. */
const SPOT_VALUES: readonly (readonly [
  source: string,
  gpu: number,
  series: string,
  value: number | undefined,
])[] = [
  ['sysfs/phoenix', 0, 'gpu_memory_size_bytes', 4_294_967_296],
  ['sysfs/phoenix', 0, 'gpu_memory_gtt_size_bytes', 31_433_977_856],
  ['sysfs/phoenix', 0, 'gpu_power_watts', 3.142],
  ['sysfs/phoenix', 0, 'gpu_power_average_watts', 3.103],
  ['sysfs/phoenix', 0, 'gpu_utilization_ratio', 0],
  ['sysfs/phoenix', 0, 'gpu_temperature_celsius{sensor="core"}', 25],
  ['sysfs/phoenix', 0, 'gpu_temperature_headroom_celsius', undefined],
  ['sysfs/phoenix', 0, 'gpu_clock_max_hertz{domain="graphics"}', 2.7e9],
  ['sysfs/r7-240', 0, 'gpu_utilization_ratio', undefined],
  ['sysfs/r7-240', 0, 'gpu_power_watts', undefined],
  ['sysfs/r7-240', 0, 'gpu_bar1_used_bytes', 79_491_072],
  ['sysfs/r7-240', 0, 'gpu_pcie_link_generation', 2],
  ['sysfs/r7-240', 0, 'gpu_pcie_link_width_max', 8],
  ['sysfs/r9-280', 0, 'gpu_temperature_headroom_celsius', 83],
  ['sysfs/r9-280', 0, 'gpu_clock_hertz{domain="memory"}', 150e6],
  ['sysfs/rx5500xt', 0, 'gpu_temperature_celsius{sensor="memory"}', undefined],
  ['sysfs/rx5500xt', 0, 'gpu_temperature_headroom_celsius', 57],
  ['sysfs/rx5500xt', 0, 'gpu_power_limit_watts{kind="max"}', 156],
  ['sysfs/rx5700xt', 0, 'gpu_fan_speed_rpm{fan="0"}', 29],
  ['sysfs/rx6600', 0, 'gpu_power_limit_watts{kind="default"}', 100],
  ['sysfs/rx6600', 0, 'gpu_clock_max_hertz{domain="memory"}', 925e6],
  ['sysfs/rx6600xt', 0, 'gpu_clock_hertz{domain="graphics"}', 0],
  ['sysfs/rx6600xt', 0, 'gpu_clock_max_hertz{domain="graphics"}', undefined],
  ['sysfs/rx6900xt', 0, 'gpu_memory_used_bytes', 668_274_688],
  ['sysfs/rx6900xt', 0, 'gpu_utilization_ratio', 0.03],
  ['sysfs/rx6900xt', 0, 'gpu_energy_joules_total', undefined],
  ['sysfs/rx6900xt', 0, 'gpu_clock_event_active{reason="sw_thermal"}', 0],
  ['sysfs/rx7600s', 0, 'gpu_clock_event_active{reason="sw_thermal"}', 1],
  ['sysfs/rx7600s', 0, 'gpu_pcie_link_width', 8],
  ['sysfs/rx7700s', 0, 'gpu_power_watts', 1],
  ['sysfs/rx7900xtx', 0, 'gpu_temperature_threshold_celsius{kind="memory_critical"}', 108],
  ['sysfs/rx7900xtx', 0, 'gpu_clock_max_hertz{domain="graphics"}', 2.219e9],
  ['sysfs/rx9070xt', 0, 'gpu_pcie_link_generation', 5],
  ['sysfs/rx9070xt', 0, 'gpu_power_limit_watts{kind="enforced"}', 120],
  ['sysfs/rx9070xt', 0, 'gpu_power_limit_watts{kind="min"}', 0],
  ['sysfs/vega56', 0, 'gpu_memory_size_bytes', 8_573_157_376],
  ['sysfs/vega56', 0, 'gpu_temperature_threshold_celsius{kind="critical"}', 85],
  ['rocm-smi/mi100_rocm571.json', 0, 'gpu_power_watts', 39],
  ['rocm-smi/mi100_rocm571.json', 1, 'gpu_temperature_celsius{sensor="memory"}', 38],
  ['rocm-smi/mi100_rocm571.json', 1, 'gpu_memory_gtt_used_bytes', 11_366_400],
  ['rocm-smi/pai_vega.json', 1, 'gpu_memory_used_bytes', 19_095_552],
  ['rocm-smi/pai_vega.json', 0, 'gpu_power_watts', 34],
  ['rocm-smi/pai_vega.json', 0, 'gpu_fan_speed_ratio{fan="0"}', 0.2],
  ['rocm-smi/pai_vega.json', 0, 'gpu_clock_hertz{domain="graphics"}', 808e6],
  ['rocm-smi/rx6700xt_rocm430.json', 0, 'gpu_memory_used_bytes', 1_622_728_704],
  ['rocm-smi/rx6700xt_rocm571.json', 0, 'gpu_temperature_celsius{sensor="junction"}', 47],
  ['rocm-smi/rx6700xt_rocm602.json', 0, 'gpu_power_watts', undefined],
  ['rocm-smi/rx6700xt_rocm602.json', 0, 'gpu_power_limit_watts{kind="enforced"}', 211],
  ['rocm-smi/vega-20-WKS-GL-XE.json', 0, 'gpu_fan_speed_rpm{fan="0"}', 0],
  ['rocm-smi/vega-20-WKS-GL-XE.json', 0, 'gpu_pcie_link_width', 16],
];

/** An APU, an old one, RDNA 2 with padded files, RDNA 3, RDNA 4, a server of six, and spellings of other releases. */
const GOLDENS: readonly string[] = [
  'sysfs/phoenix',
  'sysfs/r7-240',
  'sysfs/rx6900xt',
  'sysfs/rx7600s',
  'sysfs/rx9070xt',
  'rocm-smi/mi100_rocm571.json',
  'rocm-smi/pai_vega.json',
  'rocm-smi/rx6700xt_rocm602.json',
];

withCaptures(`captures of AMD GPUs${files.length > 0 ? '' : ` (${capturesReason})`}`, () => {
  it('are of thirteen cards and six outputs at least', () => {
    expect(cards.length).toBeGreaterThanOrEqual(13);
    expect(outputs.length).toBeGreaterThanOrEqual(6);
  });

  it.each(SPOT_VALUES)('%s: GPU %i has %s %d', (source, gpu, series, value) => {
    expect(figure(read(source).gpus[gpu], series)).toBe(value);
  });

  it.each([...cards, ...outputs])('%s is up, with declared labels and no figure twice', (source) => {
    const { gpus } = read(source);
    expect(gpus.length).toBeGreaterThan(0);
    for (const { condition, uuid, facts, points } of gpus) {
      expect([condition, facts.vendor]).toEqual(['up', 'amd']);
      expect(uuid).toMatch(/^([0-9a-f]{16}|[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])$/);
      expect(misdeclaredPoints(points)).toEqual([]);
      const series = points.map(({ metric, labels }) => `${metric}${JSON.stringify(labels)}`);
      expect(series).toEqual([...new Set(series)]);
    }
  });

  it.each(cards)('%s has nothing that was not understood', (source) => {
    expect(read(source).unparsed).toEqual([]);
  });

  it.each(cards)('%s reads the same by the folder of its card and by that of the device', (source) => {
    const card = readdirSync(capture(source)).find((name) => /^card\d+$/.test(name)) ?? '';
    const whole = readingLines(read(source));
    expect(readingLines(readSysfsTree(path.join(capture(source), card)))).toBe(whole);
    expect(readingLines(readSysfsTree(path.join(capture(source), card, 'device')))).toBe(whole);
  });

  it('give nothing but a reading or a typed error, each file and folder taken for a source', () => {
    const folders = [...new Set(files.map((file) => path.dirname(file)))];
    for (const folder of folders) {
      const outcome = attempt(() => readSysfsTree(capture(folder)));
      expect([folder, outcome instanceof BackendError || Array.isArray(outcome)]).toEqual([folder, true]);
    }
    for (const file of files) {
      const text = readFileSync(capture(file), 'utf8');
      const json = attemptJson(text);
      const outcome = readRocmJson(json)?.reading.gpus;
      expect([file, outcome === undefined || outputs.includes(file)]).toEqual([file, true]);
      expect([file, attempt(() => readSysfsTree(capture(file)))]).toEqual([file, expect.any(BackendError)]);
    }
  });

  it.each(GOLDENS)('%s gives what was reviewed', (source) => {
    const golden = path.join(goldens, `${path.basename(source, '.json')}.golden`);
    const lines = readingLines(read(source));
    if (updateGoldens) writeFileSync(golden, lines);
    expect(lines).toBe(readFileSync(golden, 'utf8'));
  });

  it('have no golden that nothing gives', () => {
    const named = GOLDENS.map((source) => `${path.basename(source, '.json')}.golden`);
    expect(existsSync(goldens) ? readdirSync(goldens).sort() : []).toEqual(named.sort());
  });
});

function capture(source: string): string {
  return path.join(capturesDirectory() ?? '', 'amd', source);
}

function read(source: string): BackendReading {
  if (!source.endsWith('.json')) return readSysfsTree(capture(source));
  const read = readRocmJson(JSON.parse(readFileSync(capture(source), 'utf8')));
  if (read === undefined) throw new Error(`${source} was not recognized`);
  return read.reading;
}

function attempt(readSource: () => BackendReading): unknown {
  try {
    return readSource().gpus;
  } catch (error) {
    return error;
  }
}

function attemptJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
