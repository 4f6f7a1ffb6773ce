import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import type { MetricFamily } from './families.ts';
import { lowerFamilies } from './lower-families.ts';
import { parseExposition, type ExpositionFormat } from './parse-exposition.ts';
import { contentTypes, renderExposition } from './render-exposition.ts';

const gauge = (points: [Record<string, string>, number][], name = 'a'): MetricFamily => ({
  name,
  type: 'gauge',
  help: '',
  points: points.map(([labels, value]) => ({ labels, value })),
});

const histogram: MetricFamily = {
  name: 'h_seconds',
  type: 'histogram',
  help: 'H.',
  unit: 'seconds',
  points: [
    { labels: { e: '0' }, bounds: [0.5, 1, Infinity], counts: [1, 2, 4], sum: 3.25, count: 4 },
    { labels: {}, bounds: [1, Infinity], counts: [0, 0], timestampSeconds: 1.5 },
  ],
};

const summary: MetricFamily = {
  name: 's',
  type: 'summary',
  help: '',
  points: [{ labels: { a: 'b' }, quantiles: [0.5, 1], values: [1, NaN], sum: 2, count: 2 }],
};

const scalar = (name: string, type: 'counter' | 'info' | 'stateset' | 'unknown'): MetricFamily => ({
  name,
  type,
  help: '',
  points: [{ labels: { x: 'y' }, value: 1 }],
});

const literal: { behavior: string; format: ExpositionFormat; families: MetricFamily[]; lines: string[] }[] = [
  {
    behavior: 'a histogram in text: no unit, bounds as Go writes them, milliseconds',
    format: 'text',
    families: [histogram],
    lines: [
      '# HELP h_seconds H.',
      '# TYPE h_seconds histogram',
      'h_seconds_bucket{e="0",le="0.5"} 1',
      'h_seconds_bucket{e="0",le="1"} 2',
      'h_seconds_bucket{e="0",le="+Inf"} 4',
      'h_seconds_sum{e="0"} 3.25',
      'h_seconds_count{e="0"} 4',
      'h_seconds_bucket{le="1"} 0 1500',
      'h_seconds_bucket{le="+Inf"} 0 1500',
    ],
  },
  {
    behavior: 'a histogram in OpenMetrics: unit, bounds as floats, seconds, # EOF',
    format: 'openmetrics',
    families: [histogram],
    lines: [
      '# HELP h_seconds H.',
      '# TYPE h_seconds histogram',
      '# UNIT h_seconds seconds',
      'h_seconds_bucket{e="0",le="0.5"} 1',
      'h_seconds_bucket{e="0",le="1.0"} 2',
      'h_seconds_bucket{e="0",le="+Inf"} 4',
      'h_seconds_sum{e="0"} 3.25',
      'h_seconds_count{e="0"} 4',
      'h_seconds_bucket{le="1.0"} 0 1.5',
      'h_seconds_bucket{le="+Inf"} 0 1.5',
      '# EOF',
    ],
  },
  {
    behavior: 'a summary',
    format: 'text',
    families: [summary],
    lines: [
      '# TYPE s summary',
      's{a="b",quantile="0.5"} 1',
      's{a="b",quantile="1"} NaN',
      's_sum{a="b"} 2',
      's_count{a="b"} 2',
    ],
  },
  {
    behavior: 'types that text lacks as plainer ones',
    format: 'text',
    families: [
      scalar('build_info', 'info'),
      scalar('s', 'stateset'),
      scalar('u', 'unknown'),
      scalar('c', 'counter'),
    ],
    lines: [
      '# TYPE build_info gauge',
      'build_info{x="y"} 1',
      '# TYPE s gauge',
      's{x="y"} 1',
      '# TYPE u untyped',
      'u{x="y"} 1',
      '# TYPE c counter',
      'c{x="y"} 1',
    ],
  },
  {
    behavior: 'OpenMetrics names without their suffix, and a counter without _total as unknown',
    format: 'openmetrics',
    families: [
      scalar('build_info', 'info'),
      scalar('c_total', 'counter'),
      scalar('c', 'counter'),
      scalar('d_total', 'counter'),
      scalar('d_info', 'info'),
      scalar('s', 'stateset'),
    ],
    lines: [
      '# TYPE build info',
      'build_info{x="y"} 1',
      '# TYPE c_total unknown',
      'c_total{x="y"} 1',
      '# TYPE c unknown',
      'c{x="y"} 1',
      '# TYPE d counter',
      'd_total{x="y"} 1',
      '# TYPE d_info gauge',
      'd_info{x="y"} 1',
      '# TYPE s stateset',
      's{x="y"} 1',
      '# EOF',
    ],
  },
  {
    behavior: 'escapes: quotes in labels always, in help only where OpenMetrics asks for it',
    format: 'text',
    families: [{ ...gauge([[{ l: 'a"b\\c\nd' }, 1]]), help: 'a"b\\c\nd' }],
    lines: ['# HELP a a"b\\\\c\\nd', '# TYPE a gauge', 'a{l="a\\"b\\\\c\\nd"} 1'],
  },
  {
    behavior: 'escapes in OpenMetrics',
    format: 'openmetrics',
    families: [{ ...gauge([[{ l: 'a"b\\c\nd' }, 1]]), help: 'a"b\\c\nd' }],
    lines: ['# HELP a a\\"b\\\\c\\nd', '# TYPE a gauge', 'a{l="a\\"b\\\\c\\nd"} 1', '# EOF'],
  },
  {
    behavior: 'numbers that are none in JSON',
    format: 'text',
    families: [
      gauge([
        [{ i: '0' }, Infinity],
        [{ i: '1' }, -Infinity],
        [{ i: '2' }, NaN],
        [{ i: '3' }, 1e300],
        [{ i: '4' }, -0],
        [{ i: '5' }, 1e-7],
      ]),
    ],
    lines: [
      '# TYPE a gauge',
      'a{i="0"} +Inf',
      'a{i="1"} -Inf',
      'a{i="2"} NaN',
      'a{i="3"} 1e+300',
      'a{i="4"} -0',
      'a{i="5"} 1e-7',
    ],
  },
  {
    behavior: 'control characters and broken surrogates replaced, empty labels left out',
    format: 'text',
    families: [gauge([[{ l: 'a\u0000\t\r\u001b\u0085\ud800é😀', empty: '' }, 1]])],
    lines: ['# TYPE a gauge', `a{l="a${'\ufffd'.repeat(6)}é😀"} 1`],
  },
  {
    behavior: 'families of one name under one head, help from whichever has it',
    format: 'text',
    families: [gauge([[{ i: '1' }, 1]]), gauge([[{}, 2]], 'b'), { ...gauge([[{ i: '2' }, 2]]), help: 'A.' }],
    lines: ['# HELP a A.', '# TYPE a gauge', 'a{i="1"} 1', 'a{i="2"} 2', '# TYPE b gauge', 'b 2'],
  },
];

const left: {
  behavior: string;
  families: MetricFamily[];
  lines: string[];
  dropped: Record<string, number>;
}[] = [
  {
    behavior: 'families with invalid names',
    families: [gauge([[{}, 1]], 'a.b'), gauge([[{}, 1]], ''), gauge([[{}, 1]], '0a'), gauge([[{}, 1]], 'ok')],
    lines: ['# TYPE ok gauge', 'ok 1'],
    dropped: { invalid_name: 3 },
  },
  {
    behavior: 'series with invalid label names, whole',
    families: [
      gauge([
        [{ 'gpu-id': '0' }, 1],
        [{ 'gpu-id': '1' }, 2],
        [{ __name__: 'b' }, 3],
        [{ gpu_id: '0' }, 4],
      ]),
    ],
    lines: ['# TYPE a gauge', 'a{gpu_id="0"} 4'],
    dropped: { invalid_label: 3 },
  },
  {
    behavior: 'a histogram series with a label `le`, while a gauge may have one',
    families: [
      {
        name: 'h',
        type: 'histogram',
        help: '',
        points: [{ labels: { le: '1' }, bounds: [Infinity], counts: [1] }],
      },
      gauge([[{ le: '1' }, 1]]),
    ],
    lines: ['# TYPE h histogram', '# TYPE a gauge', 'a{le="1"} 1'],
    dropped: { invalid_label: 1 },
  },
  {
    behavior: 'a series twice, label order and empty labels aside',
    families: [
      gauge([
        [{ x: '1', y: '2' }, 1],
        [{ y: '2', x: '1', z: '' }, 2],
      ]),
      gauge([[{ x: '1', y: '2' }, 3]]),
    ],
    lines: ['# TYPE a gauge', 'a{x="1",y="2"} 1'],
    dropped: { duplicate_series: 2 },
  },
  {
    behavior: 'a family whose name is another one’s sample',
    families: [histogram, gauge([[{}, 1]], 'h_seconds_count'), scalar('h_seconds', 'counter')].map(
      (family) => (family === histogram ? { ...histogram, help: '', points: [] } : family),
    ),
    lines: ['# TYPE h_seconds histogram'],
    dropped: { name_taken: 2 },
  },
  {
    behavior: 'histograms and summaries that contradict themselves',
    families: [
      {
        name: 'h',
        type: 'histogram',
        help: '',
        points: [
          { labels: { i: '1' }, bounds: [1], counts: [1] },
          { labels: { i: '2' }, bounds: [1, Infinity], counts: [1] },
          { labels: { i: '3' }, bounds: [2, 1, Infinity], counts: [1, 1, 1] },
          { labels: { i: '4' }, bounds: [Infinity], counts: [NaN] },
          { labels: { i: '5' }, bounds: [Infinity], counts: [1], count: NaN },
        ],
      },
      { name: 's', type: 'summary', help: '', points: [{ labels: {}, quantiles: [2], values: [1] }] },
    ],
    lines: ['# TYPE h histogram', 'h_bucket{i="5",le="+Inf"} 1', '# TYPE s summary'],
    dropped: { invalid_point: 5 },
  },
];

describe('renderExposition', () => {
  it('prints a frozen label set the second time as the first, also where a name or a value is wrong', () => {
    const sets = [{ a: 'x' }, { a: 'line\nfeed', b: '' }, { 'not-a-name': 'x' }].map((set) =>
      Object.freeze(set),
    );
    const families: MetricFamily[] = [
      { name: 'm', type: 'gauge', help: '', points: sets.map((labels) => ({ labels, value: 1 })) },
    ];
    const printed = '# TYPE m gauge\nm{a="x"} 1\nm{a="line\\nfeed"} 1\n';
    expect(renderExposition(families, 'text')).toBe(printed);
    expect(renderExposition(families, 'text')).toBe(printed);
    expect(renderExposition(families, 'text', { maxLabelValueLength: 1 })).toContain('m{a="l"} 1');
  });

  it.each(literal)('writes $behavior', ({ families, format, lines }) => {
    expect(renderExposition(families, format).trimEnd().split('\n')).toEqual(lines);
  });

  it.each(left)('leaves out $behavior', ({ families, lines, dropped }) => {
    expect(renderExposition(families, 'text').trimEnd().split('\n')).toEqual(lines);
    expect(Object.fromEntries(lowerFamilies(families, 'text').dropped)).toEqual(dropped);
  });

  it.each([
    { length: 1023, kept: 1023 },
    { length: 1024, kept: 1024 },
    { length: 1025, kept: 1024 },
  ])('cuts a label value of $length to $kept', ({ length, kept }) => {
    const text = renderExposition([gauge([[{ l: 'x'.repeat(length) }, 1]])], 'text');
    expect(text).toContain(`{l="${'x'.repeat(kept)}"}`);
  });

  it('cuts between code points', () => {
    const families = [gauge([[{ l: 'ab😀' }, 1]])];
    expect(renderExposition(families, 'text', { maxLabelValueLength: 3 })).toContain('{l="ab"}');
    expect(renderExposition(families, 'text', { maxLabelValueLength: 4 })).toContain('{l="ab😀"}');
  });

  it('ends every text in a line feed, and an empty one in OpenMetrics in # EOF', () => {
    expect(renderExposition([], 'text')).toBe('');
    expect(renderExposition([], 'openmetrics')).toBe('# EOF\n');
    expect(contentTypes.text).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(contentTypes.openmetrics).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8');
  });

  it('leaves what it was given as it was', () => {
    const families = [gauge([[{ l: '\t' }, 1]])];
    const before = structuredClone(families);
    renderExposition(families, 'openmetrics');
    expect(families).toEqual(before);
  });

  it.each<ExpositionFormat>(['text', 'openmetrics'])('is read back as lowered: %s', (format) => {
    fc.assert(
      fc.property(fc.array(anyFamily, { maxLength: 8 }), (families) => {
        const { families: back, issues } = parseExposition(renderExposition(families, format), { format });
        expect(back).toEqual(lowerFamilies(families, format).families);
        expect(issues.filter(({ kind }) => kind !== 'buckets_not_monotone')).toEqual([]);
      }),
      { seed: 3, numRuns: 500 },
    );
  });

  it.each<ExpositionFormat>(['text', 'openmetrics'])('lowers once and for all: %s', (format) => {
    fc.assert(
      fc.property(fc.array(anyFamily, { maxLength: 6 }), (families) => {
        const lowered = lowerFamilies(families, format).families;
        expect(lowerFamilies(lowered, format)).toEqual({ families: lowered, dropped: new Map() });
      }),
      { seed: 4, numRuns: 150 },
    );
  });
});

const promtool = [
  ...(process.env['PATH'] ?? '').split(path.delimiter),
  path.resolve(__dirname, '../../../.cache/tools'),
]
  .map((directory) => path.join(directory, 'promtool'))
  .find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });

(promtool === undefined ? it.skip : it)(
  `promtool reads what is rendered${promtool === undefined ? ' (skipped: no promtool on PATH or in .cache/tools)' : ''}`,
  () => {
    fc.assert(
      fc.property(fc.array(anyFamily, { minLength: 10, maxLength: 20 }), (families) => {
        const input = renderExposition(families, 'text');
        const { status, stderr } = spawnSync(promtool ?? '', ['check', 'metrics'], {
          input,
          encoding: 'utf8',
        });
        // 3 is a lint warning, which random names cause; a text it cannot read is 1.
        if (status !== 0 && status !== 3) throw new Error(`${stderr}\n${input}`);
      }),
      { seed: 5, numRuns: 10 },
    );
  },
  60_000,
);

const text = fc.oneof(
  fc.string({ maxLength: 12 }),
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.constantFrom('', '"', '\\', '\n', 'a,b="c"', '{}', '\\n', '+Inf', '-'),
);
/** Names that clash on purpose: each family may be another one's sample. */
const name = fc
  .tuple(
    fc.constantFrom('a', 'b', 'vllm:c'),
    fc.constantFrom(
      '',
      '',
      '',
      '_total',
      '_info',
      '_bucket',
      '_sum',
      '_count',
      '_created',
      '_seconds',
      '_total_total',
      '-',
    ),
  )
  .map((parts) => parts.join(''));
const labels = fc.dictionary(
  fc.constantFrom('x', 'y', 'model_name', 'le', 'quantile', '__proto__', 'constructor', 'not-valid'),
  text,
  { maxKeys: 3 },
);
const number = fc.oneof(
  fc.double(),
  fc.integer(),
  fc.integer().map((value) => value / 1000),
  fc.constantFrom(0, -0, NaN, Infinity, -Infinity, 1e22, 1e23, 5e-324, 0.1, 123456.789),
);
const optionals = {
  timestampSeconds: fc.oneof(
    fc.integer({ min: -1e9, max: 2e9 }).map((ms) => ms / 1000),
    fc.double(),
  ),
};
const totals = { sum: number, count: fc.oneof(fc.nat(), fc.constant(NaN)) };
const bounds = fc
  .uniqueArray(
    fc.oneof(fc.integer({ min: -5, max: 100 }), fc.double({ noNaN: true, noDefaultInfinity: true })),
    { maxLength: 5 },
  )
  .map((finite) => [...new Set(finite.map((bound) => bound + 0))].sort((low, high) => low - high));
const histogramPoint = fc
  .tuple(
    bounds,
    fc.record({ labels, ...totals, ...optionals, extra: fc.boolean() }, { requiredKeys: ['labels'] }),
    fc.array(fc.nat(1000), { minLength: 6, maxLength: 6 }),
  )
  .map(([finite, { extra, ...rest }, added]) => {
    const all = extra === true ? finite : [...finite, Infinity];
    let total = 0;
    const counts = all.map((_, index) => (total += added[index] ?? 0));
    return { ...rest, bounds: all, counts };
  });
const summaryPoint = fc
  .tuple(
    fc.uniqueArray(fc.constantFrom(0, 0.25, 0.5, 0.9, 0.99, 1), { maxLength: 4 }),
    fc.record({ labels, ...totals, ...optionals }, { requiredKeys: ['labels'] }),
    fc.array(number, { minLength: 4, maxLength: 4 }),
  )
  .map(([quantiles, rest, values]) => ({
    ...rest,
    quantiles: quantiles.sort((low, high) => low - high),
    values: values.slice(0, quantiles.length),
  }));
const head = { name, help: text, unit: fc.constantFrom('seconds', 'bytes', '', 'total') };
const family = <Type extends string, Point>(
  types: readonly Type[],
  point: fc.Arbitrary<Point>,
): fc.Arbitrary<{ name: string; help: string; unit?: string; type: Type; points: Point[] }> =>
  fc.record(
    { ...head, type: fc.constantFrom(...types), points: fc.array(point, { maxLength: 4 }) },
    { requiredKeys: ['name', 'help', 'type', 'points'] },
  );
const anyFamily: fc.Arbitrary<MetricFamily> = fc.oneof(
  family(
    ['counter', 'gauge', 'info', 'stateset', 'unknown'],
    fc.record({ labels, value: number, ...optionals }, { requiredKeys: ['labels', 'value'] }),
  ),
  family(['histogram', 'gaugehistogram'], histogramPoint),
  family(['summary'], summaryPoint),
);
