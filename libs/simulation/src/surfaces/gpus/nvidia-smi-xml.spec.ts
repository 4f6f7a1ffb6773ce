import { readFileSync } from 'node:fs';
import path from 'node:path';

import { captureFiles, capturesDirectory, capturesReason } from '@llm-monitor/testing';

import type { GpuState } from '../../gpu/gpu.ts';
import { answerNvidiaSmi } from './nvidia-smi.ts';
import { smiLayoutOf, type SmiLayout } from './smi-layout.ts';
import {
  A100,
  busyGpu,
  DRIVERS,
  GTX_1070_TI,
  H100,
  idleGpu,
  nvidiaHost,
  RTX_4090,
  BOARDS,
} from './test-gpu-state.ts';

function xmlOf(gpus: readonly GpuState[], layout: SmiLayout): string {
  return answerNvidiaSmi(['-q', '-x'], nvidiaHost(gpus, DRIVERS[layout])).stdout;
}

/** Element paths in the order in which they first occur. */
function pathsOf(xml: string): string[] {
  const open: string[] = [];
  const paths = new Set<string>();
  for (const [, slash, name = ''] of xml.replace(/<[?!][^>]*>/g, '').matchAll(/<(\/?)(\w+)[^>]*>/g)) {
    if (slash === '/') {
      open.pop();
      continue;
    }
    open.push(name);
    paths.add(open.slice(1).join('/'));
  }
  return [...paths];
}

/** Text of an element of the first GPU; undefined where there is no such element. */
function textOf(xml: string, element: string): string | undefined {
  return new RegExp(`<${element}>([^<]*)</${element}>`).exec(xml)?.[1]?.trim();
}

interface CaptureCase {
  readonly layout: SmiLayout;
  readonly file: string;
  readonly gpus: readonly GpuState[];
  /** Paths that the capture has and we have not, and the other way round. */
  readonly missing: readonly string[];
  readonly extra: readonly string[];
}

const REMAPPED_ROWS = [
  'gpu/remapped_rows/remapped_row_corr',
  'gpu/remapped_rows/remapped_row_unc',
  'gpu/remapped_rows/remapped_row_pending',
  'gpu/remapped_rows/remapped_row_failure',
  'gpu/remapped_rows/row_remapper_histogram',
  'gpu/remapped_rows/row_remapper_histogram/row_remapper_histogram_max',
  'gpu/remapped_rows/row_remapper_histogram/row_remapper_histogram_high',
  'gpu/remapped_rows/row_remapper_histogram/row_remapper_histogram_partial',
  'gpu/remapped_rows/row_remapper_histogram/row_remapper_histogram_low',
  'gpu/remapped_rows/row_remapper_histogram/row_remapper_histogram_none',
];

const CAPTURES: readonly CaptureCase[] = [
  {
    layout: 'r470',
    file: 'gtx-1070-ti_470_v11.xml',
    gpus: [busyGpu(GTX_1070_TI)],
    missing: [],
    extra: [],
  },
  {
    layout: 'r535',
    file: 'rtx-4090_535_v12.xml',
    gpus: [idleGpu(RTX_4090)],
    // Our GeForce boards have no ECC and so no spare rows, as a RTX 4080 SUPER of R595 says it; this one had them.
    missing: REMAPPED_ROWS,
    extra: [],
  },
  { layout: 'r570', file: 'a100-sxm4-40gb_570_v12.xml', gpus: [idleGpu(A100)], missing: [], extra: [] },
  { layout: 'r580', file: 'h100-sxm-80gb_8x_580_v13.xml', gpus: [idleGpu(H100)], missing: [], extra: [] },
];

if (captureFiles('nvidia-smi').length === 0) {
  it.skip(`has the elements of real outputs (${capturesReason})`, () => undefined);
} else {
  it.each(CAPTURES)('has the elements of $file, in its order', ({ layout, file, gpus, missing, extra }) => {
    const capture = readFileSync(path.join(capturesDirectory() ?? '', 'nvidia-smi', file), 'utf8');
    const theirs = pathsOf(capture);
    const ours = pathsOf(xmlOf(gpus, layout));
    expect(theirs.filter((each) => !ours.includes(each))).toEqual(missing);
    expect(ours.filter((each) => !theirs.includes(each))).toEqual(extra);
    expect(ours.filter((each) => theirs.includes(each))).toEqual(
      theirs.filter((each) => ours.includes(each)),
    );
  });

  it.each(CAPTURES)('begins and ends as $file', ({ layout, file, gpus }) => {
    const capture = readFileSync(path.join(capturesDirectory() ?? '', 'nvidia-smi', file), 'utf8');
    // Some captures were indented anew.
    const lines = (xml: string): string[] => xml.split('\n').map((line) => line.trim());
    const ours = lines(xmlOf(gpus, layout));
    const theirs = lines(capture);
    expect(ours.slice(0, 3)).toEqual(theirs.slice(0, 3));
    expect(ours.slice(-4)).toEqual(theirs.slice(-4));
  });
}

it.each([
  ['418.43', 'r470'],
  ['525.125.06', 'r470'],
  ['535.54.03', 'r535'],
  ['565.57.01', 'r535'],
  ['570.148.08', 'r570'],
  ['574.10', 'r570'],
  ['575.51.03', 'r580'],
  ['610.57.04', 'r580'],
] as const)('driver %s prints as %s', (version, layout) => {
  expect(smiLayoutOf(version)).toBe(layout);
});

describe('a figure under the name of its generation', () => {
  const busy = [busyGpu(H100)];
  it.each([
    ['r470', 'power_draw', '699.54 W'],
    ['r470', 'enforced_power_limit', '700.00 W'],
    ['r470', 'clocks_throttle_reason_sw_power_cap', 'Active'],
    ['r470', 'clocks_event_reason_sw_power_cap', undefined],
    ['r470', 'gpu_temp_tlimit', undefined],
    ['r470', 'gpu_temp_max_threshold', 'N/A'],
    ['r535', 'power_draw', '699.54 W'],
    ['r535', 'instant_power_draw', undefined],
    ['r535', 'clocks_event_reason_sw_power_cap', 'Active'],
    ['r535', 'reset_required', 'No'],
    ['r535', 'sram_uncorrectable', '0'],
    ['r570', 'instant_power_draw', '699.54 W'],
    ['r570', 'power_draw', undefined],
    ['r570', 'reset_required', 'Requested functionality has been deprecated'],
    ['r570', 'gpu_recovery_action', 'None'],
    ['r570', 'sram_uncorrectable_secded', '0'],
    ['r570', 'clocks_event_reasons_counters_sw_power_cap', undefined],
    ['r580', 'clocks_event_reasons_counters_sw_power_cap', '1801123456 us'],
    ['r580', 'gpu_temp_tlimit', '20 C'],
    ['r580', 'gpu_temp_max_tlimit_threshold', '-8 C'],
    ['r580', 'gpu_temp_max_threshold', undefined],
  ] as const)('%s: %s is %s', (layout, element, text) => {
    expect(textOf(xmlOf(busy, layout), element)).toBe(text);
  });
});

describe('what a board does not have', () => {
  it.each([
    ['RTX_4090', 'fan_speed', '0 %'],
    ['H100', 'fan_speed', 'N/A'],
    ['RTX_4090', 'serial', 'N/A'],
    ['H100', 'serial', '1650000000000'],
    ['RTX_4090', 'current_ecc', 'N/A'],
    ['RTX_4090', 'dram_correctable', 'N/A'],
    ['RTX_4090', 'remapped_rows', 'N/A'],
    ['L4', 'current_ecc', 'Enabled'],
    ['RTX_4090', 'current_mig', 'N/A'],
    ['H100', 'current_mig', 'Disabled'],
    ['RTX_4090', 'memory_temp', 'N/A'],
    ['H100', 'memory_temp', '37 C'],
    ['A100', 'average_power_draw', 'N/A'],
    ['A100', 'gpu_temp_tlimit', 'N/A'],
    ['A100', 'gpu_temp_max_threshold', '92 C'],
  ] as const)('%s: %s is %s', (board, element, text) => {
    expect(textOf(xmlOf([idleGpu(BOARDS[board])], 'r580'), element)).toBe(text);
  });

  it.each([
    ['H100', 'Completed'],
    ['A100', 'N/A'],
    ['L4', 'N/A'],
  ] as const)('%s has a fabric in state %s', (board, state) => {
    expect(textOf(xmlOf([idleGpu(BOARDS[board])], 'r580'), 'state')).toBe(state);
  });
});

it.each([
  ['RTX_4090', idleGpu, 'P8', '1'],
  ['RTX_4090', busyGpu, 'P2', '4'],
  ['L4', busyGpu, 'P0', '4'],
  ['H100', idleGpu, 'P0', '5'],
] as const)('%s rests and works in the states of real ones', (board, gpu, state, generation) => {
  const xml = xmlOf([gpu(BOARDS[board])], 'r580');
  expect(textOf(xml, 'performance_state')).toBe(state);
  expect(textOf(xml, 'current_link_gen')).toBe(generation);
});

it('escapes the name of a process, which may be anything', () => {
  const process = { pid: 7, program: 'a<b>&c', command: [], memoryBytes: 0, smUtilizationRatio: 0 };
  const xml = xmlOf([idleGpu(H100, 0, { processes: [process] })], 'r580');
  expect(xml).toContain('<process_name>a&lt;b&gt;&amp;c</process_name>');
});

it('asks for a reset when rows wait for it, and for none while they do not', () => {
  const remappedRows = { correctable: 1, uncorrectable: 2, pending: true };
  const [pending, done] = [true, false].map((isPending) =>
    xmlOf([idleGpu(H100, 0, { remappedRows: { ...remappedRows, pending: isPending } })], 'r580'),
  );
  expect(textOf(pending ?? '', 'gpu_recovery_action')).toBe('Drain and Reset');
  expect(textOf(pending ?? '', 'row_remapper_histogram_max')).toBe('2557 bank(s)');
  expect(textOf(done ?? '', 'gpu_recovery_action')).toBe('None');
});

it('is the same for the same truth', () => {
  expect(xmlOf([busyGpu(H100), busyGpu(H100, 1)], 'r580')).toBe(
    xmlOf([busyGpu(H100), busyGpu(H100, 1)], 'r580'),
  );
});
