import { readFileSync } from 'node:fs';
import path from 'node:path';

import { captureFiles, capturesDirectory, capturesReason } from '@llm-monitor/testing';

import type { Board } from './board.ts';
import { type BoardKey, boards } from './boards.ts';

const all: [string, Board][] = Object.entries(boards);
const MEBIBYTE = 1024 ** 2;

describe('boards', () => {
  it('has the boards that scenarios know', () => {
    expect(all.map(([key]) => key)).toEqual([
      'h100-sxm',
      'h200',
      'a100-sxm-80gb',
      'l40s',
      'l4',
      'rtx-4090',
      'rtx-3090',
      'mi300x',
      'strix-halo',
    ]);
  });

  it.each(all)('%s says where its figures are from', (key, board) => {
    expect(board.key).toBe(key);
    expect(board.sources.join()).toMatch(/(NVIDIA|AMD) .*\(20\d\d\)/);
    expect(Object.values(board.estimated)).not.toContain('');
  });

  it.each(all)('%s is possible', (_key, board) => {
    const { powerLimitWatts: power, clocksHertz: clocks, thermal } = board;
    expect(ascending([0, board.idleWatts, power.default, power.max])).toBe(true);
    expect(ascending([0, power.min, power.default])).toBe(true);
    const highest = clocks.smBoost ?? clocks.smMax;
    expect(ascending([0, clocks.smIdle, clocks.smBase, highest, clocks.smMax])).toBe(true);
    expect(ascending([0, clocks.memoryIdle, clocks.memoryMax])).toBe(true);
    const { slowdownCelsius, hardwareSlowdownCelsius, shutdownCelsius } = thermal;
    expect(ascending([60, slowdownCelsius, hardwareSlowdownCelsius, shutdownCelsius])).toBe(true);
    expect(hardwareSlowdownCelsius).toBeGreaterThan(slowdownCelsius);
    expect(board.memoryReservedBytes ?? 0).toBeLessThan(board.memoryBytes / 50);
  });

  it.each(all)('%s computes narrower formats at least as fast', (_key, { peakFlopsPerSecond: peaks }) => {
    expect(ascending([peaks.fp32 ?? 0, peaks.fp16, peaks.fp8 ?? Infinity])).toBe(true);
    expect(peaks.int8).toBeGreaterThanOrEqual(peaks.fp16);
  });

  it.each(all)('%s can stay below its slowdown at its power limit', (_key, { thermal, powerLimitWatts }) => {
    expect(30 + powerLimitWatts.default * thermal.celsiusPerWatt).toBeLessThan(thermal.slowdownCelsius);
  });
});

/** A capture of the board, and what it shows of another one of its kind. */
const CAPTURES: readonly (readonly [BoardKey, file: string, except: readonly string[]])[] = [
  ['h100-sxm', 'h100-sxm-80gb_8x_580_v13.xml', []],
  ['h100-sxm', 'query-gpu/linux-x86_64__nvidia-h100-80gb-hbm3__590.48.01.txt', []],
  ['h200', 'query-gpu/linux-x86_64__nvidia-h200__590.48.01.txt', []],
  // A variant for servers that cool 500 W.
  ['a100-sxm-80gb', 'a100-sxm4-80gb_mig4_535_v12.xml', ['powerDefault', 'powerMax']],
  ['l40s', 'l40s_595_v13.xml', []],
  ['rtx-4090', 'rtx-4090_535_v12.xml', []],
];

const here = new Set(captureFiles('nvidia-smi'));
const cases = CAPTURES.filter(([, file]) => here.has(file));
const title = cases.length > 0 ? 'boards and captures of them' : `boards and captures (${capturesReason})`;

(cases.length > 0 ? describe : describe.skip)(title, () => {
  it.each(cases)('%s is as in %s', (key, file, except) => {
    const text = readFileSync(path.join(capturesDirectory() ?? '', 'nvidia-smi', file), 'utf8');
    const shown = Object.entries(file.endsWith('.xml') ? shownByXml(text) : shownByText(text));
    const compared = shown.filter(([name, value]) => value !== undefined && !except.includes(name));
    expect(compared.length).toBeGreaterThan(6);
    expect(figuresOf(boards[key])).toMatchObject(Object.fromEntries(compared));
  });
});

function ascending(values: readonly number[]): boolean {
  return values.every((value, index) => index === 0 || value >= (values[index - 1] ?? Infinity));
}

type Figures = Readonly<Record<string, number | string | undefined>>;

function figuresOf(board: Board): Figures {
  const { powerLimitWatts: power, clocksHertz: clocks, thermal } = board;
  return {
    name: board.name,
    memoryMebibytes: board.memoryBytes / MEBIBYTE,
    powerDefault: power.default,
    powerMin: power.min,
    powerMax: power.max,
    smMaxMegahertz: clocks.smMax / 1e6,
    memoryMaxMegahertz: clocks.memoryMax / 1e6,
    pcieGeneration: board.pcie.generation,
    slowdownCelsius: thermal.slowdownCelsius,
    hardwareSlowdownCelsius: thermal.hardwareSlowdownCelsius,
    shutdownCelsius: thermal.shutdownCelsius,
  };
}

/** Of the first GPU in `nvidia-smi -q -x`. */
function shownByXml(text: string): Figures {
  const value = (pattern: string): number | undefined => numberIn(text, new RegExp(pattern));
  const celsius = value('<gpu_temp>(\\d+) C');
  const margin = value('<gpu_temp_tlimit>(\\d+) C');
  const limit = (offset: string, absolute: string): number | undefined =>
    margin === undefined || celsius === undefined
      ? value(`<${absolute}>(\\d+) C`)
      : celsius + margin - (value(`<${offset}>(-?\\d+) C`) ?? NaN);
  return {
    name: /<product_name>(.*?)</.exec(text)?.[1],
    // The first block with a name like that; MIG instances have their own before it.
    memoryMebibytes: Math.max(
      ...Array.from(text.matchAll(/<fb_memory_usage>\s*<total>(\d+) MiB/g), (match) => Number(match[1])),
    ),
    powerDefault: value('<default_power_limit>([\\d.]+) W'),
    powerMin: value('<min_power_limit>([\\d.]+) W'),
    powerMax: value('<max_power_limit>([\\d.]+) W'),
    smMaxMegahertz: value('<max_clocks>[^]*?<sm_clock>(\\d+) MHz'),
    memoryMaxMegahertz: value('<max_clocks>[^]*?<mem_clock>(\\d+) MHz'),
    pcieGeneration: value('<max_device_link_gen>(\\d)'),
    slowdownCelsius: limit('gpu_temp_max_gpu_tlimit_threshold', 'gpu_temp_max_gpu_threshold'),
    hardwareSlowdownCelsius: limit('gpu_temp_slow_tlimit_threshold', 'gpu_temp_slow_threshold'),
    shutdownCelsius: limit('gpu_temp_max_tlimit_threshold', 'gpu_temp_max_threshold'),
  };
}

/** Of an idle GPU in `nvidia-smi -q`. */
function shownByText(text: string): Figures {
  const value = (pattern: string): number | undefined => numberIn(text, new RegExp(pattern));
  const limit =
    (value('GPU Current Temp +: (\\d+) C') ?? NaN) + (value('GPU T.Limit Temp +: (\\d+) C') ?? NaN);
  return {
    name: /Product Name +: (.*)/.exec(text)?.[1],
    memoryMebibytes: value('FB Memory Usage\\s+Total +: (\\d+) MiB'),
    powerDefault: value('Default Power Limit +: ([\\d.]+) W'),
    powerMin: value('Min Power Limit +: ([\\d.]+) W'),
    powerMax: value('Max Power Limit +: ([\\d.]+) W'),
    smMaxMegahertz: value('Max Clocks\\s[^]*?SM +: (\\d+) MHz'),
    memoryMaxMegahertz: value('Max Clocks\\s[^]*?Memory +: (\\d+) MHz'),
    pcieGeneration: value('Device Max +: (\\d)'),
    slowdownCelsius: limit,
    hardwareSlowdownCelsius: limit - (value('GPU Slowdown T.Limit Temp +: (-?\\d+) C') ?? NaN),
    shutdownCelsius: limit - (value('GPU Shutdown T.Limit Temp +: (-?\\d+) C') ?? NaN),
  };
}

function numberIn(text: string, pattern: RegExp): number | undefined {
  const match = pattern.exec(text)?.[1];
  return match === undefined ? undefined : Number(match);
}
