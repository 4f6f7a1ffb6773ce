import { parseExposition } from '@llm-monitor/metrics-core';

import {
  cppDialect,
  llamaDialect,
  plainNumber,
  printExposition,
  pythonDialect,
  pythonMultiprocessDialect,
  pythonNumber,
  rustDialect,
  sixDigits,
  type PrintedFamily,
} from './print-exposition.ts';

describe('numbers', () => {
  it.each([
    [0, '0.0'],
    [1, '1.0'],
    [0.25, '0.25'],
    [579_878, '579878.0'],
    [999_999.5, '999999.5'],
    [1_000_000, '1e+06'],
    [1_201_253, '1.201253e+06'],
    [1_717_140_558.3, '1.7171405583e+09'],
    [39_024_848_896, '3.9024848896e+010'], // as captured: its zero is always there
    [5e-5, '5e-05'],
    [0.0001, '0.0001'],
    [-1, '-1.0'],
    [1e16, '1e+16'],
    [Infinity, '+Inf'],
  ])('Python prints %d as %s', (value, text) => {
    expect(pythonNumber(value)).toBe(text);
  });

  it.each([
    [0, '0'],
    [15.330000000000002, '15.330000000000002'],
    [1_500_000_000, '1500000000'],
    [1.5e-7, '0.00000015'],
    [1e-7, '0.0000001'],
    [0.5, '0.5'],
    [Infinity, '+Inf'],
  ])('Rust prints %d as %s', (value, text) => {
    expect(plainNumber(value)).toBe(text);
  });

  it.each([
    [0, '0'],
    [640, '640'],
    [36.3598123, '36.3598'],
    [0.377441406, '0.377441'],
    [999_999, '999999'],
    [999_999.6, '1e+06'],
    [1_395_768, '1.39577e+06'],
    [0.0001, '0.0001'],
    [0.00001234, '1.234e-05'],
  ])('llama-server prints %d as %s', (value, text) => {
    expect(sixDigits(value)).toBe(text);
  });
});

const LATENCY: PrintedFamily = {
  name: 'latency_seconds',
  type: 'histogram',
  help: 'Latency.',
  points: [
    {
      labels: { model_name: 'm', engine: '0' },
      histogram: { bounds: [0.5, 1], counts: [3, 2], sum: 4.5, count: 6 },
    },
  ],
};

describe('families', () => {
  it('of Python have sorted labels, summed counts and their creation', () => {
    expect(printExposition([LATENCY], pythonDialect(7))).toBe(
      [
        '# HELP latency_seconds Latency.',
        '# TYPE latency_seconds histogram',
        'latency_seconds_bucket{engine="0",le="0.5",model_name="m"} 3.0',
        'latency_seconds_bucket{engine="0",le="1.0",model_name="m"} 5.0',
        'latency_seconds_bucket{engine="0",le="+Inf",model_name="m"} 6.0',
        'latency_seconds_count{engine="0",model_name="m"} 6.0',
        'latency_seconds_sum{engine="0",model_name="m"} 4.5',
        '# HELP latency_seconds_created Latency.',
        '# TYPE latency_seconds_created gauge',
        'latency_seconds_created{engine="0",model_name="m"} 7.0',
        '',
      ].join('\n'),
    );
  });

  it('of several Python processes have their sum first, and no creation', () => {
    const lines = printExposition([LATENCY], pythonMultiprocessDialect).split('\n');
    expect(lines[2]).toBe('latency_seconds_sum{engine="0",model_name="m"} 4.5');
    expect(lines.filter((line) => line.includes('_created'))).toEqual([]);
  });

  it('of Rust have a blank line behind them, and no help where there is none', () => {
    const family: PrintedFamily = {
      name: 'skipped',
      type: 'summary',
      help: undefined,
      points: [{ labels: {}, quantiles: { '0': 0, '0.5': 2 }, sum: 12, count: 8 }],
    };
    expect(printExposition([family], rustDialect)).toBe(
      '# TYPE skipped summary\nskipped{quantile="0"} 0\nskipped{quantile="0.5"} 2\nskipped_sum 12\nskipped_count 8\n\n',
    );
  });

  it('of C++ keep labels as they are given, and scale bounds and sums', () => {
    const milliseconds = LATENCY.points.map((point) => ({ ...point, scale: 1000 }));
    expect(printExposition([{ ...LATENCY, points: milliseconds }], cppDialect)).toContain(
      [
        'latency_seconds_count{model_name="m",engine="0"} 6',
        'latency_seconds_sum{model_name="m",engine="0"} 4500',
        'latency_seconds_bucket{model_name="m",engine="0",le="500"} 3',
      ].join('\n'),
    );
  });

  it('of counters are created under their name without _total, unless they have no sample', () => {
    const counter = { name: 'tokens_total', type: 'counter', help: 'Tokens.' } as const;
    const names = (points: PrintedFamily['points']): (string | undefined)[] =>
      [...printExposition([{ ...counter, points }], pythonDialect(7)).matchAll(/^# TYPE (.*)$/gm)].map(
        ([, line]) => line,
      );
    expect(names([{ labels: {}, value: 1 }])).toEqual(['tokens_total counter', 'tokens_created gauge']);
    expect(names([])).toEqual(['tokens_total counter']);
  });

  it('escape what labels may hold', () => {
    const point = { labels: { model: 'a"b\\c\nd' }, value: 1 };
    const text = printExposition([{ name: 'up', type: 'gauge', help: 'Up.', points: [point] }], llamaDialect);
    expect(text).toContain('up{model="a\\"b\\\\c\\nd"} 1\n');
    const read = parseExposition(text).families[0]?.points[0];
    expect(read?.labels).toEqual({ model: 'a"b\\c\nd' });
  });
});
