import { parseExposition } from '@llm-monitor/metrics-core';
import fc from 'fast-check';

import type { EngineAdapter } from './adapter.ts';
import { applyRules, keyOf } from './apply-rules.ts';
import { vllm } from './adapters/vllm.ts';
import type { LlmMetricName } from './families.ts';

type Families = EngineAdapter['families'];

function apply(
  text: string,
  families: Families,
  labels: EngineAdapter['labels'] = {},
  constant: Record<string, string> = {},
) {
  const native = new Map(parseExposition(text).families.map((family) => [family.name, family]));
  return applyRules(
    { ...vllm, families, labels },
    { path: '/metrics', labels: constant, families: native, issues: [] },
  );
}

/** Scalars of one metric as `{label="value"} number` lines. */
function scalars(applied: ReturnType<typeof apply>, metric: LlmMetricName): string[] {
  return (applied.metrics.find((each) => each.metric === metric)?.scalars ?? []).map(({ labels, value }) =>
    `${Object.entries(labels)
      .map(([name, text]) => `${name}=${text}`)
      .join(' ')} ${value}`.trim(),
  );
}

function histograms(applied: ReturnType<typeof apply>, metric: LlmMetricName) {
  return applied.metrics.find((each) => each.metric === metric)?.histograms ?? [];
}

const RUNNING = { llm_requests_running: 'running' } as const satisfies Families;
const SERVED = { model: ['model_name'], replica: ['dp_rank'], ranks: ['tp_rank', 'pp_rank'] };

describe('ranks', () => {
  it('one value printed by several ranks is one value, replicas stay apart, the rest is summed', () => {
    const applied = apply(
      `# TYPE running gauge
running{model_name="a",dp_rank="0",tp_rank="0"} 4
running{model_name="a",dp_rank="0",tp_rank="1"} 4
running{model_name="a",dp_rank="1",tp_rank="0"} 7
running{model_name="a",dp_rank="1",tp_rank="1"} 7
running{model_name="b",dp_rank="0",tp_rank="0",kind="x"} 1
running{model_name="b",dp_rank="0",tp_rank="0",kind="y"} 2
`,
      RUNNING,
      SERVED,
    );
    expect(scalars(applied, 'llm_requests_running')).toEqual([
      'model=a replica=0 4',
      'model=a replica=1 7',
      'model=b replica=0 3',
    ]);
  });

  it('a rank that lags behind does not count less', () => {
    const text = '# TYPE running gauge\nrunning{tp_rank="0"} 3\nrunning{tp_rank="1"} 4\n';
    expect(scalars(apply(text, RUNNING, SERVED), 'llm_requests_running')).toEqual(['4']);
  });

  it('holds for histograms too: the fullest one stands for all', () => {
    const text = `# TYPE wait histogram
wait_bucket{tp_rank="0",le="1"} 2
wait_bucket{tp_rank="0",le="+Inf"} 3
wait_sum{tp_rank="0"} 4
wait_count{tp_rank="0"} 3
wait_bucket{tp_rank="1",le="1"} 1
wait_bucket{tp_rank="1",le="+Inf"} 2
wait_sum{tp_rank="1"} 3
wait_count{tp_rank="1"} 2
`;
    const applied = apply(text, { llm_request_queue_time_seconds: 'wait' }, SERVED);
    expect(histograms(applied, 'llm_request_queue_time_seconds')).toMatchObject([
      { bounds: [1, Infinity], counts: [2, 3], sum: 4, count: 3 },
    ]);
  });

  it('is the largest value of any rank, for any values', () => {
    const values = fc.array(fc.integer({ min: 0, max: 1e6 }), { minLength: 1, maxLength: 9 });
    fc.assert(
      fc.property(values, (ranks) => {
        const lines = ranks.map((value, rank) => `running{tp_rank="${rank}"} ${value}\n`).join('');
        const applied = apply(`# TYPE running gauge\n${lines}`, RUNNING, SERVED);
        expect(scalars(applied, 'llm_requests_running')).toEqual([String(Math.max(...ranks))]);
      }),
      { seed: 7, numRuns: 50 },
    );
  });
});

describe('folding', () => {
  it('sums what ends up with equal labels, but takes the largest ratio', () => {
    const applied = apply(
      `# TYPE tokens_total counter
tokens_total{key="a"} 3
tokens_total{key="b"} 4
# TYPE usage gauge
usage{key="a"} 0.25
usage{key="b"} 0.5
`,
      { llm_prompt_tokens_total: 'tokens_total', llm_kv_cache_usage_ratio: 'usage' },
    );
    expect(scalars(applied, 'llm_prompt_tokens_total')).toEqual(['7']);
    expect(scalars(applied, 'llm_kv_cache_usage_ratio')).toEqual(['0.5']);
  });

  it('takes the largest where the rule says so', () => {
    const text = '# TYPE running gauge\nrunning{key="a"} 3\nrunning{key="b"} 4\n';
    const rule = { llm_requests_running: { from: 'running', fold: 'max' } } as const;
    expect(scalars(apply(text, rule), 'llm_requests_running')).toEqual(['4']);
  });

  const twoHistograms = (secondBound: string): string => `# TYPE wait histogram
wait_bucket{key="a",le="1"} 1
wait_bucket{key="a",le="+Inf"} 2
wait_sum{key="a"} 4
wait_count{key="a"} 2
wait_bucket{key="b",le="${secondBound}"} 3
wait_bucket{key="b",le="+Inf"} 4
wait_sum{key="b"} 5
wait_count{key="b"} 4
`;

  it('adds histograms of equal bounds', () => {
    const applied = apply(twoHistograms('1'), { llm_request_queue_time_seconds: 'wait' });
    expect(histograms(applied, 'llm_request_queue_time_seconds')).toMatchObject([
      { counts: [4, 6], sum: 9, count: 6 },
    ]);
    expect(applied.rejected.size).toBe(0);
  });

  it('never invents buckets, nor passes a part for the whole: histograms of other bounds are left out', () => {
    const applied = apply(twoHistograms('2'), { llm_request_queue_time_seconds: 'wait' });
    expect(histograms(applied, 'llm_request_queue_time_seconds')).toEqual([]);
    expect(applied.rejected.get('unequal_buckets')?.count).toBe(1);
  });

  it('a third histogram does not stand for two that could not be added', () => {
    const third = 'wait_bucket{key="c",le="1"} 5\nwait_bucket{key="c",le="+Inf"} 6\nwait_count{key="c"} 6\n';
    const other = 'wait_bucket{model_name="m",le="1"} 7\nwait_bucket{model_name="m",le="+Inf"} 8\n';
    const families = { llm_request_queue_time_seconds: 'wait' } as const;
    const applied = apply(twoHistograms('2') + third + other, families, SERVED);
    expect(histograms(applied, 'llm_request_queue_time_seconds')).toMatchObject([
      { labels: { model: 'm' }, counts: [7, 8] },
    ]);
    expect(applied.rejected.get('unequal_buckets')?.count).toBe(2);
  });
});

describe('rules', () => {
  const text = `# TYPE old_total counter
old_total 1
# TYPE new_total counter
new_total 2
# TYPE empty_total counter
# TYPE cached_total counter
cached_total{source="host"} 5
cached_total{source="other"} 6
# TYPE wait_us histogram
wait_us_bucket{le="1000000"} 1
wait_us_bucket{le="+Inf"} 2
wait_us_sum 3000000
wait_us_count 2
`;
  it.each<[string, Families[LlmMetricName] & object, string[]]>([
    ['takes the first name that is there', { from: ['new_total', 'old_total'] }, ['2']],
    ['passes over names that are not there', { from: ['newest_total', 'old_total'] }, ['1']],
    ['passes over a declared family without samples', { from: ['empty_total', 'old_total'] }, ['1']],
    ['adds what is to be added', { from: 'old_total', plus: ['new_total', 'newest_total'] }, ['3']],
    ['is void where something newer is there', { from: 'old_total', unless: 'new_total' }, []],
    ['stands where the newer is not there', { from: 'old_total', unless: 'newest_total' }, ['1']],
    ['stands where the newer is only declared', { from: 'old_total', unless: 'empty_total' }, ['1']],
    ['scales to base units', { from: 'old_total', scale: 1e-6 }, ['0.000001']],
    ['takes the count of a histogram', { from: 'wait_us', part: 'count' }, ['2']],
    ['takes and scales its sum', { from: 'wait_us', part: 'sum', scale: 1e-6 }, ['3']],
    ['takes no sum of a counter', { from: 'old_total', part: 'sum' }, []],
    ['keeps only the points that it names', { from: 'cached_total', where: { source: ['host'] } }, ['5']],
    ['keeps none where it names none of them', { from: 'cached_total', where: { source: ['disk'] } }, []],
    ['takes a missing label as empty', { from: 'old_total', where: { source: [''] } }, ['1']],
  ])('%s', (_, rule, expected) => {
    expect(scalars(apply(text, { llm_prompt_tokens_total: rule }), 'llm_prompt_tokens_total')).toEqual(
      expected,
    );
  });

  it('several rules make one metric', () => {
    const rules = [
      { from: 'old_total', set: { source: 'device' } },
      { from: 'new_total', set: { source: 'external' } },
    ];
    const applied = apply(text, { llm_prompt_tokens_cached_total: rules });
    expect(scalars(applied, 'llm_prompt_tokens_cached_total')).toEqual([
      'source=device 1',
      'source=external 2',
    ]);
  });

  it('scales the bounds and sums of histograms', () => {
    const applied = apply(text, { llm_request_queue_time_seconds: { from: 'wait_us', scale: 1e-6 } });
    expect(histograms(applied, 'llm_request_queue_time_seconds')).toMatchObject([
      { bounds: [1, Infinity], counts: [1, 2], sum: 3, count: 2 },
    ]);
  });

  it.each([
    [700, 1e-3, 0.7],
    [1400, 1e-3, 1.4],
    [35, 0.01, 0.35],
    [Infinity, 1e-3, Infinity],
    [0.1 + 0.2, 1, 0.1 + 0.2],
  ])('scales a bound of %d by %d to %d, without a tail', (bound, scale, expected) => {
    const histogram = `# TYPE wait histogram\nwait_bucket{le="${bound}"} 1\nwait_bucket{le="+Inf"} 1\nwait_sum 0\nwait_count 1\n`;
    const applied = apply(histogram.replace(/wait_bucket\{le="Infinity"\} 1\n/, ''), {
      llm_request_queue_time_seconds: { from: 'wait', scale },
    });
    expect(histograms(applied, 'llm_request_queue_time_seconds')[0]?.bounds[0]).toBe(expected);
  });

  it('says which names it looked for in vain, and not of families that are only declared', () => {
    const applied = apply(text, {
      llm_prompt_tokens_total: { from: ['gone_total', 'long_gone_total'] },
      llm_generation_tokens_total: 'empty_total',
      llm_requests_running: { from: 'gone', unless: 'new_total' },
    });
    expect(applied.absent.map(({ metric, names }) => [metric, names])).toEqual([
      ['llm_prompt_tokens_total', ['gone_total', 'long_gone_total']],
    ]);
    expect(applied.metrics).toEqual([]);
  });

  it('marks what several families made as derived', () => {
    const applied = apply(text, {
      llm_prompt_tokens_total: { from: 'old_total', plus: ['new_total'] },
      llm_generation_tokens_total: { from: 'old_total', plus: ['gone_total'] },
    });
    expect(applied.metrics.map(({ metric, derived }) => [metric, derived])).toEqual([
      ['llm_prompt_tokens_total', true],
      ['llm_generation_tokens_total', false],
    ]);
  });
});

describe('labels', () => {
  const finished = (label: string): string =>
    `# TYPE done_total counter\ndone_total{reason="${label}",m="a"} 1\n`;
  const rule = {
    from: 'done_total',
    labels: {
      finish_reason: { from: 'reason', strip: 'ResponseType.', map: { finish: 'stop' }, otherwise: 'other' },
    },
  } as const;

  it.each([
    ['FINISH', 'finish_reason=stop 1'],
    ['ResponseType.FINISH', 'finish_reason=stop 1'],
    ['ResponseType.NEW_ONE', 'finish_reason=other 1'],
    ['None', 'finish_reason=other 1'],
    ['', 'finish_reason=other 1'],
    ['constructor', 'finish_reason=other 1'],
  ])('%s becomes %s', (native, expected) => {
    const applied = apply(finished(native), { llm_requests_finished_total: rule });
    expect(scalars(applied, 'llm_requests_finished_total')).toEqual([expected]);
  });

  it.each([
    ['llama', 'model=llama 1'],
    ['', 'model=fallback 1'],
    ['None', 'model=fallback 1'],
    ['undefined', 'model=fallback 1'],
  ])('takes the first label that says something: %j', (native, expected) => {
    const text = `# TYPE running gauge\nrunning{requested="${native}",model="fallback",user="u"} 1\n`;
    const applied = apply(text, RUNNING, { model: ['requested', 'model'] });
    expect(scalars(applied, 'llm_requests_running')).toEqual([expected]);
  });

  it('leaves a label away that nothing tells, rather than empty', () => {
    const applied = apply('# TYPE running gauge\nrunning{model_name="None"} 1\n', RUNNING, SERVED);
    expect(scalars(applied, 'llm_requests_running')).toEqual(['1']);
  });

  it('gives the labels of the request to every point, those of the point winning', () => {
    const text = '# TYPE running gauge\nrunning 1\nrunning{model_name="b"} 2\n';
    const applied = apply(text, RUNNING, SERVED, { model: 'a' });
    expect(scalars(applied, 'llm_requests_running')).toEqual(['model=a 1', 'model=b 2']);
  });

  it('keeps keys of different label sets apart', () => {
    expect(keyOf({ a: '1', b: '2' })).toBe(keyOf({ b: '2', a: '1' }));
    expect(keyOf({ a: '1', b: '2' })).not.toBe(keyOf({ a: '1b', '': '2' }));
    expect(keyOf({ a: '1', b: '2' }, ['b'])).toBe(keyOf({ a: '1' }));
  });
});

describe('values', () => {
  it.each([
    ['NaN', []],
    ['+Inf', []],
    ['-Inf', []],
    ['0', ['0']],
    ['0.5', ['0.5']],
    ['1', ['1']],
    ['1.0000001', ['1']],
  ])('a ratio of %s is %j, without complaint', (value, expected) => {
    const applied = apply(`# TYPE usage gauge\nusage ${value}\n`, { llm_kv_cache_usage_ratio: 'usage' });
    expect(scalars(applied, 'llm_kv_cache_usage_ratio')).toEqual(expected);
    expect([...applied.rejected.keys()]).toEqual([]);
  });

  it.each([
    ['62.5', 'llm_kv_cache_usage_ratio', 'ratio_above_one'],
    ['-0.1', 'llm_kv_cache_usage_ratio', 'negative'],
    ['-1', 'llm_requests_running', 'negative'],
  ] as const)('%s as %s is left out, and counted as %s', (value, metric, kind) => {
    const applied = apply(`# TYPE usage gauge\nusage{m="a"} ${value}\nusage{m="b"} ${value}\n`, {
      [metric]: 'usage',
    });
    expect(applied.metrics).toEqual([]);
    expect(applied.rejected.get(kind)).toEqual({ count: 2, example: `usage ${value}` });
  });

  it('a percentage becomes a ratio by its scale', () => {
    const applied = apply('# TYPE usage gauge\nusage 62.5\n', {
      llm_kv_cache_usage_ratio: { from: 'usage', scale: 0.01 },
    });
    expect(scalars(applied, 'llm_kv_cache_usage_ratio')).toEqual(['0.625']);
  });

  it('a gauge under the name of a histogram is refused, and counted', () => {
    const applied = apply('# TYPE wait gauge\nwait 3\n', { llm_request_queue_time_seconds: 'wait' });
    expect(applied.metrics).toEqual([]);
    expect(applied.rejected.get('other_type')).toEqual({ count: 1, example: 'wait is a gauge' });
  });

  it('a histogram under the name of a gauge gives nothing', () => {
    const text = '# TYPE running histogram\nrunning_bucket{le="+Inf"} 2\nrunning_sum 1\nrunning_count 2\n';
    expect(apply(text, RUNNING).metrics).toEqual([]);
  });
});
