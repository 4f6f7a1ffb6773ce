import { readFileSync } from 'node:fs';
import path from 'node:path';
import { captureFiles, capturesDirectory, capturesReason } from '@llm-monitor/testing';
import fc from 'fast-check';
import type { MetricFamily } from './families.ts';
import { parseExposition, type ParseOptions } from './parse-exposition.ts';
import { parseIssueKinds } from './parse-issues.ts';

/** Families in short: `name type` and each point's labels with its numbers. */
function inShort(families: readonly MetricFamily[]): unknown[] {
  return families.map((family) => [`${family.name} ${family.type}`, ...family.points.map(pointInShort)]);
}

function pointInShort(point: MetricFamily['points'][number]): unknown[] {
  const labels = { ...point.labels };
  const totals = 'value' in point ? [] : [point.sum, point.count];
  const time = point.timestampSeconds === undefined ? [] : [`@${point.timestampSeconds}`];
  if ('value' in point) return [labels, point.value, ...time];
  if ('bounds' in point) return [labels, [...point.bounds], [...point.counts], ...totals, ...time];
  return [labels, [...point.quantiles], [...point.values], ...totals, ...time];
}

function read(text: string, options?: ParseOptions): { families: unknown[]; issues: string[] } {
  const { families, issues } = parseExposition(text, options);
  return { families: inShort(families), issues: issues.map(({ kind, count }) => `${kind} ${count}`) };
}

interface Case {
  readonly behavior: string;
  readonly text: string;
  readonly families: unknown[];
  readonly issues?: string[];
  readonly options?: ParseOptions;
}

const wellFormed: Case[] = [
  {
    behavior: 'reads a gauge with labels and keeps a TYPE without samples',
    text: '# TYPE a gauge\na{x="1",y="two"} 3.5\n# TYPE empty counter\n',
    families: [['a gauge', [{ x: '1', y: 'two' }, 3.5]], ['empty counter']],
  },
  {
    behavior: 'reads names with colons',
    text: '# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{engine="0"} 2.0\n',
    families: [['vllm:num_requests_running gauge', [{ engine: '0' }, 2]]],
  },
  {
    behavior: 'takes TAB and blanks anywhere between tokens',
    text: '#\tTYPE  a\tgauge\n a\t{ x = "1" , y="2" , }\t 4 \t 5000 \n',
    families: [['a gauge', [{ x: '1', y: '2' }, 4, '@5']]],
  },
  {
    behavior: 'undoes the escapes of label values, whatever they hide',
    text: '# TYPE a gauge\na{x="q\\"b\\\\n\\nl,{}= \\t"} 1\n',
    families: [['a gauge', [{ x: 'q"b\\n\nl,{}= \\t' }, 1]]],
  },
  {
    behavior: 'takes an empty label for none',
    text: '# TYPE a gauge\na{x="",y="2"} 1\na{} 2\n',
    families: [['a gauge', [{ y: '2' }, 1], [{}, 2]]],
  },
  {
    behavior: 'reads every spelling of a number',
    text: [
      '# TYPE a gauge',
      ...[
        '+Inf',
        '-Inf',
        'inf',
        'NaN',
        'nan',
        '1e3',
        '1.5E-3',
        '-2',
        '+.5',
        '7.',
        '1.7953793716622999e+09',
        '123456789012345678',
      ].map((value, index) => `a{i="${index}"} ${value}`),
      '',
    ].join('\n'),
    families: [
      [
        'a gauge',
        ...[
          Infinity,
          -Infinity,
          Infinity,
          NaN,
          NaN,
          1000,
          0.0015,
          -2,
          0.5,
          7,
          1795379371.6622999,
          123456789012345680,
        ].map((value, index) => [{ i: `${index}` }, value]),
      ],
    ],
  },
  {
    behavior: 'gathers a histogram, wherever `le` stands',
    text: [
      '# TYPE h histogram',
      'h_bucket{e="0",le="0.5",m="x"} 1.0',
      'h_bucket{e="0",le="1.0",m="x"} 3.0',
      'h_bucket{e="0",le="+Inf",m="x"} 4.0',
      'h_count{e="0",m="x"} 4.0',
      'h_sum{e="0",m="x"} 5.25',
      'h_bucket{le="0.5",e="1",m="x"} 0',
      'h_bucket{le="+Inf",e="1",m="x"} 2',
      'h_bucket{e="2",m="x",le="+Inf"} 9',
      '',
    ].join('\n'),
    families: [
      [
        'h histogram',
        [{ e: '0', m: 'x' }, [0.5, 1, Infinity], [1, 3, 4], 5.25, 4],
        [{ e: '1', m: 'x' }, [0.5, Infinity], [0, 2], undefined, undefined],
        [{ e: '2', m: 'x' }, [Infinity], [9], undefined, undefined],
      ],
    ],
  },
  {
    behavior: 'reads a histogram whose name ends in _total, with its _created gauge',
    text: [
      '# TYPE vllm:iteration_tokens_total histogram',
      'vllm:iteration_tokens_total_bucket{le="+Inf"} 2',
      'vllm:iteration_tokens_total_sum 3',
      '# TYPE vllm:iteration_tokens_total_created gauge',
      'vllm:iteration_tokens_total_created 1.7e9',
      '',
    ].join('\n'),
    families: [['vllm:iteration_tokens_total histogram', [{}, [Infinity], [2], 3, undefined]]],
    issues: ['created_ignored 1'],
  },
  {
    behavior: 'leaves a gauge with an `le` label a gauge',
    text: '# TYPE g gauge\ng{gt="1",le="2"} 5\ng{gt="2",le="4"} 6\n',
    families: [['g gauge', [{ gt: '1', le: '2' }, 5], [{ gt: '2', le: '4' }, 6]]],
  },
  {
    behavior: 'reads a summary among histograms, quantiles NaN and all',
    text: '# TYPE s summary\ns{quantile="0.5"} NaN\ns{quantile="0.99"} 2\ns_sum 8\ns_count 4\n',
    families: [['s summary', [{}, [0.5, 0.99], [NaN, 2], 8, 4]]],
  },
  {
    behavior: 'keeps `__proto__` and `constructor` as plain labels',
    text: '# TYPE a gauge\na{__proto__="x",constructor="y"} 1\n',
    families: [['a gauge', [JSON.parse('{"__proto__":"x","constructor":"y"}'), 1]]],
  },
  {
    behavior: 'reads UTF-8 names in quotes (Prometheus 3)',
    text: '# HELP "a.b" dots\n# TYPE "a.b" counter\n{"a.b", x="y"} 1\n{"a.b","l.m"="z"} 2\nplain{"l.m"="n"} 3\n',
    families: [
      ['a.b counter', [{ x: 'y' }, 1], [{ 'l.m': 'z' }, 2]],
      ['plain unknown', [{ 'l.m': 'n' }, 3]],
    ],
    issues: ['type_missing 1'],
  },
  {
    behavior: 'reads timestamps of Prometheus text as milliseconds',
    text: '# TYPE a gauge\na 1 1500\n# TYPE h histogram\nh_bucket{le="+Inf"} 1 2500\nh_sum 1 2500\n',
    families: [
      ['a gauge', [{}, 1, '@1.5']],
      ['h histogram', [{}, [Infinity], [1], 1, undefined, '@2.5']],
    ],
  },
  {
    behavior: 'reads OpenMetrics: suffixes, units, seconds, exemplars',
    text: [
      '# TYPE foo_seconds counter',
      '# UNIT foo_seconds seconds',
      '# HELP foo_seconds Say \\"so\\".',
      'foo_seconds_total{a="1"} 5 1.25 # {trace_id="x y"} 0.5 1.2',
      'foo_seconds_created{a="1"} 1.7e9',
      '# TYPE build info',
      'build_info{version="1"} 1',
      '# TYPE s stateset',
      's{s="on"} 1',
      '# TYPE gh gaugehistogram',
      'gh_bucket{le="1.0"} 1',
      'gh_bucket{le="+Inf"} 2',
      'gh_gsum 3',
      'gh_gcount 2',
      '# TYPE u unknown',
      'u 1',
      '# EOF',
      '',
    ].join('\n'),
    families: [
      ['foo_seconds_total counter', [{ a: '1' }, 5, '@1.25']],
      ['build_info info', [{ version: '1' }, 1]],
      ['s stateset', [{ s: 'on' }, 1]],
      ['gh gaugehistogram', [{}, [1, Infinity], [1, 2], 3, 2]],
      ['u unknown', [{}, 1]],
    ],
    issues: ['exemplar_ignored 1', 'created_ignored 1'],
  },
  {
    behavior: 'keeps a counter without _total under its own name, in both formats',
    text: '# TYPE tgi_request_count counter\ntgi_request_count 1\n',
    families: [['tgi_request_count counter', [{}, 1]]],
  },
  {
    behavior: 'keeps an OpenMetrics counter whose samples lack _total under the name they have',
    text: '# TYPE foo counter\nfoo 1\n# EOF\n',
    families: [['foo counter', [{}, 1]]],
  },
  { behavior: 'has nothing to say of an empty text', text: '', families: [] },
  { behavior: 'has nothing to say of comments alone', text: '# hello\n#TYPE a gauge\n\n', families: [] },
];

const tolerated: Case[] = [
  {
    behavior: 'CR LF',
    text: '# TYPE a gauge\r\na 1\r\n',
    families: [['a gauge', [{}, 1]]],
    issues: ['carriage_return 2'],
  },
  {
    behavior: 'a missing last line feed',
    text: '# TYPE a gauge\na 1',
    families: [['a gauge', [{}, 1]]],
    issues: ['final_newline_missing 1'],
  },
  {
    behavior: 'a byte order mark',
    text: '\ufeff# TYPE a gauge\na 1\n',
    families: [['a gauge', [{}, 1]]],
    issues: ['byte_order_mark 1'],
  },
  {
    behavior: 'lines of dots',
    text: '# TYPE a gauge\na 1\n...\n  ... more\n',
    families: [['a gauge', [{}, 1]]],
    issues: ['ellipsis 2'],
  },
  {
    behavior: 'HELP twice and TYPE twice (Ray)',
    text: '# HELP a one\n# HELP a two\n# TYPE a gauge\n# TYPE a gauge\na 1\n',
    families: [['a gauge', [{}, 1]]],
    issues: ['help_repeated 1', 'type_repeated 1'],
  },
  {
    behavior: 'a TYPE that contradicts the first',
    text: '# TYPE a gauge\n# TYPE a histogram\na 1\n',
    families: [['a gauge', [{}, 1]]],
    issues: ['type_conflict 1'],
  },
  {
    behavior: 'HELP and TYPE after the samples',
    text: 'h_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\n# HELP h late\n# TYPE h histogram\nh_count 2\na 1\n# HELP a late\n# TYPE a counter\n',
    families: [
      ['h histogram', [{}, [1, Infinity], [1, 2], 3, 2]],
      ['a counter', [{}, 1]],
    ],
    issues: ['type_late 2', 'help_late 1'],
  },
  {
    behavior: 'no TYPE at all: the type is told by the pattern',
    text: [
      'x_total{a="1"} 1',
      'h_sum 3',
      'h_count 2',
      'h_bucket{le="1"} 1',
      'h_bucket{le="+Inf"} 2',
      's{quantile="0.5"} 1',
      's_count 2',
      'b_bucket 4',
      'g 5',
      '',
    ].join('\n'),
    families: [
      ['h histogram', [{}, [1, Infinity], [1, 2], 3, 2]],
      ['s summary', [{}, [0.5], [1], undefined, 2]],
      ['x_total counter', [{ a: '1' }, 1]],
      ['b_bucket unknown', [{}, 4]],
      ['g unknown', [{}, 5]],
    ],
    issues: ['type_missing 5'],
  },
  {
    behavior: 'a type outside the format',
    text: '# TYPE a fancy\na 1\n# TYPE b untyped\nb 2\n',
    families: [
      ['a unknown', [{}, 1]],
      ['b unknown', [{}, 2]],
    ],
    issues: ['type_unknown 1'],
  },
  {
    behavior: 'samples of one family with others between',
    text: '# TYPE a gauge\n# TYPE b gauge\na{i="1"} 1\nb 1\na{i="2"} 2\n',
    families: [
      ['a gauge', [{ i: '1' }, 1], [{ i: '2' }, 2]],
      ['b gauge', [{}, 1]],
    ],
    issues: ['samples_scattered 1'],
  },
  {
    behavior: '-nan, for which Prometheus drops the scrape (llama.cpp)',
    text: '# TYPE a gauge\na -nan\nb 2\n',
    families: [
      ['a gauge', [{}, NaN]],
      ['b unknown', [{}, 2]],
    ],
    issues: ['nan_spelled 1', 'type_missing 1'],
  },
  {
    behavior: 'unsorted buckets',
    text: '# TYPE h histogram\nh_bucket{le="+Inf"} 4\nh_bucket{le="2"} 3\nh_bucket{le="1"} 1\n',
    families: [['h histogram', [{}, [1, 2, Infinity], [1, 3, 4], undefined, undefined]]],
    issues: ['buckets_unsorted 1'],
  },
  {
    behavior: 'a histogram without +Inf bucket, or without any',
    text: '# TYPE h histogram\nh_bucket{le="1"} 1\nh_count 5\nh_count{a="b"} 2\nh_sum{a="b"} 3\n',
    families: [
      ['h histogram', [{}, [1, Infinity], [1, 5], undefined, 5], [{ a: 'b' }, [Infinity], [2], 3, 2]],
    ],
    issues: ['infinite_bucket_missing 2'],
  },
  {
    behavior: 'buckets whose counts fall',
    text: '# TYPE h histogram\nh_bucket{le="1"} 4\nh_bucket{le="+Inf"} 3\n',
    families: [['h histogram', [{}, [1, Infinity], [4, 3], undefined, undefined]]],
    issues: ['buckets_not_monotone 1'],
  },
  {
    behavior: 'a _created gauge ahead of its counter',
    text: '# TYPE a_created gauge\na_created 1.7e9\n# TYPE a_total counter\na_total 1\n',
    families: [['a_total counter', [{}, 1]]],
    issues: ['created_ignored 1'],
  },
  {
    behavior: 'OpenMetrics without # EOF',
    text: '# TYPE foo counter\nfoo_total 1\n',
    families: [['foo_total counter', [{}, 1]]],
    issues: ['eof_missing 1'],
    options: { contentType: 'application/openmetrics-text; version=1.0.0' },
  },
];

const refused: Case[] = [
  {
    behavior: 'a value that is no number',
    text: '# TYPE a gauge\na{i="1"} 0x10\na{i="2"} 1_000\na{i="3"} none\na{i="4"} 1e\na{i="5"} 1\n',
    families: [['a gauge', [{ i: '5' }, 1]]],
    issues: ['value_invalid 4'],
  },
  {
    behavior: 'lines out of shape',
    text: '# TYPE a gauge\na{x="1} 2\na{x=1} 2\na{x="1"\na\na 1 2 3\na 1 soon\n0a 1\na{0="x"} 1\na{x="1"}{ 1\n{"",x="1"} 1\na{"b"} 1\na 7\n',
    families: [['a gauge', [{}, 7]]],
    issues: ['malformed_line 10', 'value_invalid 1'],
  },
  {
    behavior: 'comments out of shape',
    text: '# TYPE\n# TYPE a\n# TYPE 0a gauge\n# HELP\n# TYPE a gauge\na 1\n',
    families: [['a gauge', [{}, 1]]],
    issues: ['malformed_comment 4'],
  },
  {
    behavior: 'the same series again, label order aside: the first stays',
    text: '# TYPE a gauge\na{x="1",y="2"} 1\na{y="2",x="1"} 2\n# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 1\nh_bucket{le="1"} 7\nh_bucket{le="+Inf"} 7\nh_sum 1\nh_sum 2\n',
    families: [
      ['a gauge', [{ x: '1', y: '2' }, 1]],
      ['h histogram', [{}, [1, Infinity], [1, 1], 1, undefined]],
    ],
    issues: ['duplicate_series 3'],
  },
  {
    behavior: 'the same label twice',
    text: '# TYPE a gauge\na{x="1",x="2"} 1\na 2\n',
    families: [['a gauge', [{}, 2]]],
    issues: ['duplicate_label 1'],
  },
  {
    behavior: 'bounds that are none, NaN as a count',
    text: '# TYPE h histogram\nh_bucket{le="x"} 1\nh_bucket 1\nh_bucket{le="1"} NaN\nh_bucket{le="+Inf"} 2\n# TYPE s summary\ns{quantile="2"} 1\ns 1\ns_count NaN\ns_sum 1\n',
    families: [
      ['h histogram', [{}, [Infinity], [2], undefined, undefined]],
      ['s summary', [{}, [], [], 1, undefined]],
    ],
    issues: ['bound_invalid 4', 'value_invalid 2'],
  },
  {
    behavior: 'a sample that its type has no place for',
    text: '# TYPE h histogram\nh 1\nh_bucket{le="+Inf"} 2\n',
    families: [['h histogram', [{}, [Infinity], [2], undefined, undefined]]],
    issues: ['sample_misplaced 1'],
  },
  {
    behavior: 'a histogram of which the count is not to be known',
    text: '# TYPE h histogram\nh_bucket{le="1"} 1\nh_sum 3\n',
    families: [['h histogram']],
    issues: ['histogram_incomplete 1'],
  },
  {
    behavior: 'a last line cut in the middle',
    text: '# TYPE a gauge\na{x="1"} 1\na{x="2',
    families: [['a gauge', [{ x: '1' }, 1]]],
    issues: ['cut_last_line 1', 'final_newline_missing 1'],
  },
  {
    behavior: 'samples beyond the limit',
    text: '# TYPE a gauge\na{i="1"} 1\na{i="2"} 2\na{i="3"} 3\n',
    families: [['a gauge', [{ i: '1' }, 1], [{ i: '2' }, 2]]],
    issues: ['too_many_series 1'],
    options: { maxSeries: 2 },
  },
  {
    behavior: 'declared families beyond the limit, with their samples and help',
    text: '# TYPE a gauge\n# TYPE b gauge\n# HELP b B.\n# HELP a A.\na 1\nb 2\n',
    families: [['a gauge', [{}, 1]]],
    issues: ['too_many_families 3'],
    options: { maxFamilies: 1 },
  },
  {
    behavior: 'names without TYPE beyond the limit, not further samples of those within it',
    text: 'a{i="1"} 1\nb 2\na{i="2"} 3\n{"c", i="1"} 4\n# TYPE a gauge\n',
    families: [['a gauge', [{ i: '1' }, 1], [{ i: '2' }, 3]]],
    issues: ['too_many_families 2', 'type_late 1'],
    options: { maxFamilies: 1 },
  },
  {
    behavior: 'what follows # EOF',
    text: '# TYPE a gauge\na 1\n# EOF\n\na{x="1"} 2\n',
    families: [['a gauge', [{}, 1]]],
    issues: ['content_after_eof 1'],
    options: { format: 'openmetrics' },
  },
  {
    behavior: 'more labels than the limit',
    text: `# TYPE a gauge\na{${Array.from({ length: 257 }, (_, index) => `l${index}="x"`).join(',')}} 1\na 2\n`,
    families: [['a gauge', [{}, 2]]],
    issues: ['too_many_labels 1'],
  },
  ...[
    '<!doctype html>\n<html>\nbody 5\n</html>\n',
    '{"error":{"code":501,"message":"This server does not support metrics"}}',
    '{\n  "object": "list",\n  "data": []\n}\n',
    '[{"iterLatencyMS": 1}]',
    '[]',
    'Ollama is running',
    'null',
    '\u0000\u0001\u0002',
  ].map((text) => ({
    behavior: `what is no exposition: ${JSON.stringify(text.slice(0, 20))}`,
    text,
    families: [],
    issues: ['not_exposition 1'],
  })),
];

describe('parseExposition', () => {
  it.each(wellFormed)('$behavior', ({ text, families, issues = [], options }) => {
    expect(read(text, options)).toEqual({ families, issues });
  });

  it.each(tolerated)('mends and counts $behavior', ({ text, families, issues, options }) => {
    expect(read(text, options)).toEqual({ families, issues });
  });

  it.each(refused)('leaves out and counts $behavior', ({ text, families, issues, options }) => {
    expect(read(text, options)).toEqual({ families, issues });
  });

  it('says where an issue was first, bounded and fit for a log', () => {
    const { issues } = parseExposition(`a 1\nb \u001b[31m${'x'.repeat(1000)}\nc y\n`);
    expect(issues.find(({ kind }) => kind === 'value_invalid')).toEqual({
      kind: 'value_invalid',
      count: 2,
      firstLine: 2,
      example: `b \ufffd[31m${'x'.repeat(113)}`,
    });
  });

  it('takes help and unit over, escapes undone', () => {
    const { families } = parseExposition('# HELP a Back\\\\slash\\nand "quote".\n# TYPE a gauge\n');
    expect(families).toEqual([{ name: 'a', type: 'gauge', help: 'Back\\slash\nand "quote".', points: [] }]);
    const { families: withUnit } = parseExposition('# TYPE a_bytes gauge\n# UNIT a_bytes bytes\n# EOF\n');
    expect(withUnit).toEqual([{ name: 'a_bytes', type: 'gauge', help: '', unit: 'bytes', points: [] }]);
  });

  it('tells the format by content type, else by # EOF', () => {
    const format = (text: string, options?: ParseOptions): string => parseExposition(text, options).format;
    expect(format('a 1\n')).toBe('text');
    expect(format('a 1\n# EOF\n')).toBe('openmetrics');
    expect(format('a 1\n# EOF')).toBe('openmetrics');
    expect(format('a 1\n', { contentType: 'application/openmetrics-text; version=1.0.0' })).toBe(
      'openmetrics',
    );
    expect(format('a 1\n', { contentType: 'text/plain; version=0.0.4' })).toBe('text');
    expect(format('a 1\n# EOF\n', { format: 'text' })).toBe('text');
  });

  it('describes every kind of issue', () => {
    for (const { description } of Object.values(parseIssueKinds)) expect(description).toMatch(/^[A-Z`].+\.$/);
  });

  it('never throws, whatever the text', () => {
    const piece = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom(
        '# TYPE ',
        '# HELP ',
        '# EOF',
        '\n',
        '{',
        '}',
        '"',
        'le="',
        '_bucket',
        'h',
        ' 1',
        '\\',
        ',',
        '=',
      ),
    );
    fc.assert(
      fc.property(fc.array(piece), fc.constantFrom('text', 'openmetrics', undefined), (pieces, format) => {
        const { families } = parseExposition(pieces.join(''), format === undefined ? {} : { format });
        expect(Array.isArray(families)).toBe(true);
      }),
      { seed: 1, numRuns: 2000 },
    );
  });

  it('never throws on a real exposition that was cut, doubled or shuffled', () => {
    const position = fc.integer({ min: 0, max: sample.length });
    const mutation = fc.tuple(fc.constantFrom('cut', 'double', 'swap', 'drop'), position, position);
    fc.assert(
      fc.property(fc.array(mutation, { minLength: 1, maxLength: 5 }), (mutations) => {
        const { families } = parseExposition(mutations.reduce(mutate, sample));
        for (const family of families) {
          if (family.type !== 'histogram') continue;
          for (const { bounds, counts } of family.points) {
            expect(bounds.length).toBe(counts.length);
            expect(bounds.at(-1)).toBe(Infinity);
          }
        }
      }),
      { seed: 2, numRuns: 500 },
    );
  });

  it('reads a huge line, and many of them, in time that grows with the text alone', () => {
    const value = 'v'.repeat(2_000_000);
    const { families } = parseExposition(
      `# TYPE a gauge\na{x="${value}"} 1\n${'h_bucket{le="'.repeat(100_000)}`,
    );
    expect(families[0]?.points[0]?.labels['x']).toHaveLength(2_000_000);
  });
});

const sample = [
  '# HELP vllm:time_to_first_token_seconds Histogram of time to first token in seconds.',
  '# TYPE vllm:time_to_first_token_seconds histogram',
  ...['0', '1'].flatMap((engine) => [
    ...['0.001', '0.005', '0.01', '+Inf'].map(
      (bound, index) =>
        `vllm:time_to_first_token_seconds_bucket{engine="${engine}",le="${bound}",model_name="Qwen/Qwen3-8B"} ${index}.0`,
    ),
    `vllm:time_to_first_token_seconds_count{engine="${engine}",model_name="Qwen/Qwen3-8B"} 3.0`,
    `vllm:time_to_first_token_seconds_sum{engine="${engine}",model_name="Qwen/Qwen3-8B"} 0.123`,
  ]),
  '# TYPE vllm:time_to_first_token_seconds_created gauge',
  'vllm:time_to_first_token_seconds_created{engine="0",model_name="Qwen/Qwen3-8B"} 1.7953793716622999e+09',
  '# TYPE vllm:num_requests_running gauge',
  'vllm:num_requests_running{engine="0",model_name="Qwen/Qwen3-8B"} 36.0',
  '',
].join('\n');

function mutate(text: string, [kind, left, right]: [string, number, number]): string {
  const [start, end] = left < right ? [left, right] : [right, left];
  switch (kind) {
    case 'cut':
      return text.slice(0, end);
    case 'double':
      return text.slice(0, end) + text.slice(start);
    case 'swap':
      return text.slice(end) + text.slice(start, end) + text.slice(0, start);
    default:
      return text.slice(0, start) + text.slice(end);
  }
}

const captures = captureFiles('engines').filter((file) => file.endsWith('.prom'));
const lossless = new Set([
  'created_ignored',
  'final_newline_missing',
  'infinite_bucket_missing',
  'type_missing',
]);

(captures.length > 0 ? describe.each(captures) : describe.skip.each([capturesReason]))('%s', (file) => {
  it('is read without loss', () => {
    const text = readFileSync(path.join(capturesDirectory() ?? '', 'engines', file), 'utf8');
    const { families, issues } = parseExposition(text);
    expect(families.length).toBeGreaterThan(0);
    // LiteLLM's file leaves out the counts of two histograms that have no +Inf bucket.
    const expected = file.startsWith('litellm') ? [...lossless, 'histogram_incomplete'] : [...lossless];
    expect(issues.map(({ kind }) => kind).filter((kind) => !expected.includes(kind))).toEqual([]);
  });
});
