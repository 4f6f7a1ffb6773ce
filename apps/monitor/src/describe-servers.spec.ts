import {
  TargetError,
  UNAVAILABLE_REASONS,
  type EngineReading,
  type LlmMetricName,
  type TargetReport,
} from '@llm-monitor/engines';
import type { HistogramPoint, Labels, MetricFamily } from '@llm-monitor/metrics-core';

import { describeServers, type ServerView } from './describe-servers.ts';
import { History } from './history.ts';

const START = 1_000_000;
const labels: Labels = { server: 'chat', engine: 'vllm', model: 'm' };

const scalar = (name: LlmMetricName, value: number, more: Labels = {}): MetricFamily => ({
  name,
  help: '',
  type: name.endsWith('_total') ? 'counter' : 'gauge',
  points: [{ labels: { ...labels, ...more }, value }],
});

/** Cumulative counts at 0.1 s, 1 s, and above. */
const latency = (name: LlmMetricName, counts: [number, number, number]): MetricFamily => {
  const point: HistogramPoint = { labels, bounds: [0.1, 1, Infinity], counts, count: counts[2] };
  return { name, help: '', type: 'histogram', points: [point] };
};

const unavailable = (metric: LlmMetricName, reason: string): MetricFamily => ({
  name: 'llm_metric_unavailable_info',
  help: '',
  type: 'info',
  points: [{ labels: { ...labels, metric, reason }, value: 1 }],
});

const up = (families: readonly MetricFamily[], more: Partial<EngineReading> = {}): EngineReading => ({
  families,
  up: true,
  state: 'ready',
  models: ['m'],
  sources: {},
  missing: [],
  issues: [],
  errors: [],
  ...more,
});

const down: EngineReading = { ...up([]), up: false, state: 'unreachable', models: [] };

/** What the page shows after these readings, each at its second, the last of them just now. */
function after(
  readings: readonly (readonly [second: number, reading: EngineReading])[],
  more: Partial<TargetReport> = {},
): ServerView {
  const history = new History(10);
  for (const [second, reading] of readings) history.add('chat', START + second, reading);
  const [lastSecond, reading] = readings.at(-1) ?? [0, down];
  const lastUp = readings.findLast(([, each]) => each.up)?.[0];
  const report: TargetReport = {
    server: 'chat',
    url: 'http://127.0.0.1:8000',
    engine: 'vllm',
    origin: 'configured',
    why: 'configured',
    sinceSeconds: START,
    reading,
    ...(lastUp === undefined ? {} : { lastSuccessSeconds: START + lastUp }),
    ...more,
  };
  const [view] = describeServers([{ report, history: history.of('chat') }], START + lastSecond);
  if (view === undefined) throw new Error('no view');
  return view;
}

const generated = (value: number): MetricFamily => scalar('llm_generation_tokens_total', value);
const flying = (value: number): MetricFamily => scalar('llm_generation_tokens_in_flight', value);

describe('a server that is up and does not serve', () => {
  const gaps = latency('llm_inter_token_latency_seconds', [10, 10, 10]);
  const hung = (...more: readonly MetricFamily[]): EngineReading =>
    up([scalar('llm_requests_running', 2), scalar('llm_requests_waiting', 809), generated(500), ...more]);
  const stillFor = (seconds: number, reading: EngineReading): ServerView =>
    after([
      [0, reading],
      [seconds, reading],
    ]);

  it.each([
    ['each token is seen', [gaps], 19, 'serving', 'Serving'],
    ['each token is seen', [gaps], 20, 'busy', 'No token for 20 s'],
    ['each token is seen', [gaps], 179, 'busy', 'No token for 2 min'],
    ['each token is seen', [gaps], 180, 'stuck', 'Up, but not serving'],
    ['requests count at their end', [], 179, 'serving', 'Serving'],
    ['requests count at their end', [], 180, 'busy', 'Nothing finished for 3 min'],
    ['requests count at their end', [], 899, 'busy', 'Nothing finished for 14 min'],
    ['requests count at their end', [], 900, 'stuck', 'Up, but not serving'],
  ])('is told by its state, where %s (%#)', (_where, more, seconds, level, word) => {
    expect(stillFor(seconds, hung(...more)).state).toEqual({ level, word });
  });

  it('says what is known, and what to do', () => {
    expect(stillFor(240, hung(gaps)).problem).toBe(
      '2 requests run and 809 wait, and no token has come out for 4 min. Its health check does not tell: restart the engine.',
    );
    const two = { ...hung(gaps), models: ['m', 'other'] };
    expect(stillFor(240, two).problem).toContain('and of m no token has come out');
  });

  it('serves again with the first token', () => {
    const back = up([
      scalar('llm_requests_running', 2),
      scalar('llm_requests_waiting', 809),
      generated(501),
      gaps,
    ]);
    const view = after([
      [0, hung(gaps)],
      [300, hung(gaps)],
      [301, back],
    ]);
    expect(view.state.word).toBe('Serving');
    expect(view.problem).toBe('');
  });

  it('is what it says of itself while it loads', () => {
    expect(stillFor(300, { ...hung(gaps), state: 'loading' }).state.word).toBe('Loading');
  });
});

describe('tokens per second', () => {
  it('are what came after a restart, which set the counter to zero', () => {
    const view = after([
      [0, up([generated(70_000)])],
      [10, up([generated(250)])],
    ]);
    expect(view.generated).toEqual({ text: '25', unit: 'tok/s', value: 25, over: 'over 10 s' });
  });

  it('count tokens in flight of an engine that counts at the end of a request', () => {
    const view = after([
      [0, up([generated(1000), flying(0)])],
      [5, up([generated(1000), flying(400)])],
      [10, up([generated(1900), flying(50)])],
    ]);
    expect(view.generated.value).toBeCloseTo(110, 10);
  });

  it('are never negative when a request ends between two looks of one reading', () => {
    const view = after([
      [0, up([generated(1000), flying(600)])],
      [10, up([generated(1000), flying(0)])],
    ]);
    expect(view.generated.value).toBe(0);
  });

  it('do not jump when another model appears', () => {
    const both: MetricFamily = {
      ...generated(0),
      type: 'counter',
      points: [
        { labels, value: 120 },
        { labels: { ...labels, model: 'other' }, value: 1e9 },
      ],
    };
    const view = after([
      [0, up([generated(100)])],
      [10, up([both], { models: ['m', 'other'] })],
    ]);
    expect(view.generated.value).toBeCloseTo(2, 10);
    expect(view.models).toEqual(['m', 'other']);
  });

  it('are unknown, not zero, at the first reading', () => {
    const { generated: figure } = after([[0, up([generated(100)])]]);
    expect(figure.value).toBeUndefined();
    expect(figure.text).toBe('measuring…');
  });

  it('are unknown after a long silence until there are two readings again', () => {
    const view = after([
      [0, up([generated(100)])],
      [200, up([generated(900)])],
    ]);
    expect(view.generated.value).toBeUndefined();
  });

  it('are unknown, with the reason, where the engine has no counter', () => {
    const reading = up([unavailable('llm_generation_tokens_total', 'engine_lacks')]);
    const { generated: figure } = after(
      [
        [0, reading],
        [10, reading],
      ],
      { engine: 'llamacpp' },
    );
    expect(figure).toEqual({ text: '–', reason: 'not given by llama.cpp' });
  });

  it('of prompts are told apart', () => {
    const view = after([
      [0, up([scalar('llm_prompt_tokens_total', 1000)])],
      [10, up([scalar('llm_prompt_tokens_total', 6000)])],
    ]);
    expect(view.prompt.text).toBe('500');
    expect(view.generated.value).toBeUndefined();
  });
});

describe('latency', () => {
  const ttft = 'llm_time_to_first_token_seconds';

  it('is of the requests of the last minute', () => {
    // Before the window 100 slow ones; in it 10: 8 up to 0.1 s, 2 up to 1 s.
    const [first] = after([
      [0, up([latency(ttft, [0, 0, 100])])],
      [30, up([latency(ttft, [4, 5, 105])])],
      [60, up([latency(ttft, [8, 10, 110])])],
    ]).latencies;
    expect(first).toMatchObject({ name: 'Time to first token', covers: 'last minute' });
    expect(first?.p50.value).toBeCloseTo(0.0625, 10);
    expect(first?.p95).toMatchObject({ text: '775', unit: 'ms' });
  });

  it('says how short its window is while it is short', () => {
    const [first] = after([
      [0, up([latency(ttft, [0, 0, 0])])],
      [12, up([latency(ttft, [5, 5, 5])])],
    ]).latencies;
    expect(first?.covers).toBe('last 12 s');
  });

  it('falls back on all requests when there were none in the last minute, and says so', () => {
    const quiet = up([latency(ttft, [10, 10, 10])]);
    const [first] = after([
      [0, quiet],
      [60, quiet],
    ]).latencies;
    expect(first?.covers).toBe('no requests in the last minute; since the engine started');
    expect(first?.p50).toMatchObject({ text: '50', unit: 'ms' });
  });

  it('is of all requests at the first reading', () => {
    expect(after([[0, up([latency(ttft, [10, 10, 10])])]]).latencies[0]?.covers).toBe(
      'since the engine started',
    );
  });

  it('is unknown, not zero, before any request', () => {
    const [first] = after([[0, up([latency(ttft, [0, 0, 0])])]]).latencies;
    expect(first?.p50).toEqual({ text: '–', reason: 'no requests yet' });
  });

  it('begins anew with a restart', () => {
    const [first] = after([
      [0, up([latency(ttft, [900, 900, 900])])],
      [60, up([latency(ttft, [0, 4, 4])])],
    ]).latencies;
    expect(first?.p50.value).toBeCloseTo(0.55, 10);
  });

  it('between tokens is that of whole requests where the engine has no other', () => {
    const view = after([[0, up([latency('llm_time_per_output_token_seconds', [1, 1, 1])])]]);
    expect(view.latencies.map(({ name }) => name)).toEqual(['Time to first token', 'Time per output token']);
    expect(view.noLatencies).toBe('');
  });

  it('has one reason when the engine has none at all', () => {
    const reasons = ['llm_time_to_first_token_seconds', 'llm_inter_token_latency_seconds'] as const;
    const reading = up([
      {
        ...unavailable(ttft, ''),
        type: 'info',
        points: reasons.map((metric) => ({
          labels: { ...labels, metric, reason: 'engine_lacks' },
          value: 1,
        })),
      },
    ]);
    const view = after([[0, reading]]);
    expect(view.noLatencies).toBe('not given by vLLM');
    expect(view.unsaid.map(({ name }) => name)).toEqual(['Time to first token', 'Inter-token latency']);
  });
});

describe('the share of prompt tokens from a cache', () => {
  const tokens = (prompt: number, cached: number): EngineReading =>
    up([scalar('llm_prompt_tokens_total', prompt), scalar('llm_prompt_tokens_cached_total', cached)]);

  it.each([
    ['of the last minute', [tokens(10_000, 0), tokens(11_000, 250)], 0.25],
    ['of all when no prompt came lately', [tokens(10_000, 4000), tokens(10_000, 4000)], 0.4],
  ])('is that %s', (_title, [first, second], share) => {
    const view = after([
      [0, first ?? down],
      [60, second ?? down],
    ]);
    expect(view.cached.value).toBeCloseTo(share, 10);
  });

  it('is unknown before any prompt', () => {
    expect(after([[0, tokens(0, 0)]]).cached).toEqual({ text: '–', reason: 'no prompt tokens yet' });
  });
});

describe('the KV cache', () => {
  it('is as full as the fullest replica, host memory aside', () => {
    const family: MetricFamily = {
      ...scalar('llm_kv_cache_usage_ratio', 0),
      type: 'gauge',
      points: [
        { labels: { replica: '0', kind: 'device' }, value: 0.2 },
        { labels: { replica: '1', kind: 'device' }, value: 0.7 },
        { labels: { replica: '1', kind: 'host' }, value: 0.9 },
      ],
    };
    expect(after([[0, up([family])]]).kvCache.value).toBe(0.7);
  });

  it.each([
    [[scalar('llm_kv_cache_used_tokens', 391)], '391 tokens held'],
    [[scalar('llm_kv_cache_capacity_tokens', 8192)], 'room for 8,192 tokens'],
    [
      [scalar('llm_kv_cache_used_tokens', 391), scalar('llm_kv_cache_capacity_tokens', 8192)],
      '391 of 8,192 tokens',
    ],
    [[], 'not in the server’s answer'],
  ])('says what is known of its tokens (%#)', (families, detail) => {
    expect(after([[0, up(families)]]).kvCacheDetail).toBe(detail);
  });
});

describe('a figure that is not to be had', () => {
  const known = Object.keys(UNAVAILABLE_REASONS);

  it.each(known.filter((reason) => reason !== 'not_in_answer'))('has words of its own for %s', (reason) => {
    const told = (why: string): string | undefined =>
      after([[0, up([unavailable('llm_requests_waiting', why)])]]).waiting.reason;
    const others = known.filter((other) => other !== reason).map(told);
    expect(told(reason)).not.toContain('not in the server’s answer');
    expect(others).not.toContain(told(reason));
  });

  it('is told in the words of the schema', () => {
    const view = after([[0, up([unavailable('llm_requests_waiting', 'ambiguous')])]]);
    expect(view.waiting).toEqual({ text: '–', reason: UNAVAILABLE_REASONS.ambiguous });
  });
});

describe('the state', () => {
  it.each([
    ['ready', 0, { level: 'ready', word: 'Ready' }],
    ['ready', 3, { level: 'serving', word: 'Serving' }],
    ['loading', 0, { level: 'busy', word: 'Loading' }],
    ['sleeping', 0, { level: 'quiet', word: 'Asleep' }],
    ['draining', 1, { level: 'busy', word: 'Draining' }],
    ['failed', 0, { level: 'down', word: 'Failed' }],
    ['unknown', 0, { level: 'unknown', word: 'State unknown' }],
  ] as const)('%s with %d running is told', (state, running, expected) => {
    expect(after([[0, up([scalar('llm_requests_running', running)], { state })]]).state).toEqual(expected);
  });

  it('of one that does not answer is down, with the error, its age, and no old figure', () => {
    const busy = up([generated(100), scalar('llm_requests_running', 4)]);
    const view = after(
      [
        [0, busy],
        [10, up([generated(900)])],
        [24, down],
      ],
      {
        lastError: {
          reason: 'refused',
          message: 'http://127.0.0.1:8000 refused it: is it up?',
          atSeconds: START,
        },
      },
    );
    expect(view.state).toEqual({ level: 'down', word: 'Down' });
    expect(view.problem).toBe('http://127.0.0.1:8000 refused it: is it up?');
    expect(view.lastRead).toBe('last answered 14 s ago');
    expect(view.running).toEqual({ text: '–', reason: 'the server does not answer' });
    expect(view.generated).toEqual({ text: '–', reason: 'the server does not answer' });
    expect(view.chart.peak.value).toBeCloseTo(80, 10);
  });

  it('of one that does not answer keeps the models and the version of its last answer', () => {
    const { models, version } = after([
      [0, up([], { version: '0.11.2', models: ['qwen', 'gemma'] })],
      [2, down],
    ]);
    expect({ models, version }).toEqual({ models: ['qwen', 'gemma'], version: '0.11.2' });
  });

  it('of one that is partly read tells what was not', () => {
    const error = new TargetError(
      'unauthorized',
      'http://127.0.0.1:8000/metrics',
      'answered 401: give a key',
    );
    const view = after([[0, up([], { errors: [error] })]]);
    expect(view.problem).toBe(
      'Not all of it could be read: http://127.0.0.1:8000/metrics answered 401: give a key',
    );
  });

  it('of one that was never read is that it is being read', () => {
    const history = new History(10).of('chat');
    const report: TargetReport = {
      server: 'chat',
      url: 'http://127.0.0.1:8000',
      engine: 'unknown',
      origin: 'configured',
      why: 'configured',
      sinceSeconds: START,
    };
    const [view] = describeServers([{ report, history }], START + 1);
    expect(view).toMatchObject({
      engine: '',
      lastRead: 'not read yet',
      state: { word: 'Reading' },
      problem: '',
    });
  });
});

describe('time', () => {
  it('up is what the engine says, else how long it was watched', () => {
    const started = up([scalar('llm_engine_start_time_seconds', START - 3600)]);
    expect(after([[120, started]]).since).toBe('up 1 h 2 min');
    expect(after([[120, up([])]]).since).toBe('watched for 2 min');
  });

  it('of the last reading is told', () => {
    expect(after([[0, up([])]]).lastRead).toBe('read just now');
  });
});

describe('the chart', () => {
  it('spreads what was generated over the steps between two readings, and leaves gaps where nobody watched', () => {
    const view = after([
      [0, up([generated(0)])],
      [10, up([generated(500)])],
      [20, up([generated(500)])],
      [200, up([generated(9000)])],
      [210, up([generated(9100)])],
    ]);
    const { points, peak, summary } = view.chart;
    expect(points).toHaveLength(120);
    expect(points.slice(-43)).toEqual([null, 50, 50, 0, 0, ...Array<null>(36).fill(null), 10, 10]);
    expect(peak.value).toBe(50);
    expect(summary).toBe('Generated tokens per second over the last 10 minutes, at most 50.');
  });

  it('draws no ramp over readings of the idle pace, in which something was generated', () => {
    const history = new History(2);
    for (const [second, tokens] of [
      [0, 0],
      [15, 0],
      [30, 6000],
      [32, 6100],
      [34, 6200],
    ] as const)
      // prettier-ignore
      history.add('chat', START + second, up([generated(tokens)]));
    expect(
      history
        .of('chat')
        .steps.map(({ index, generatedTokens, watchedSeconds }) => [
          index * 5 - START,
          generatedTokens / watchedSeconds,
        ]),
    ).toEqual([
      [0, 0],
      [5, 0],
      [10, 0],
      [30, 50],
    ]);
  });

  it.each([
    [2, 5, false],
    [2, 6, true],
    [10, 15, false],
    [10, 16, true],
  ])('of a pace of %d s: after %d s without a reading, a gap is %s', (interval, seconds, isAfterGap) => {
    const history = new History(interval);
    for (const second of [0, seconds]) history.add('chat', START + second, up([]));
    expect(history.of('chat').samples.at(-1)?.isAfterGap).toBe(isAfterGap);
  });

  it('is bounded to an hour', () => {
    const history = new History(10);
    for (let second = 0; second <= 8000; second += 10)
      history.add('chat', START + second, up([generated(second)]));
    const { steps, samples } = history.of('chat');
    expect(steps).toHaveLength(720);
    expect(samples.length).toBeLessThan(12);
  });

  it('begins anew when the clock is set back', () => {
    const history = new History(10);
    for (const second of [100, 110, 50, 60]) history.add('chat', START + second, up([generated(second)]));
    const { samples, steps } = history.of('chat');
    expect(samples.map(({ atSeconds }) => atSeconds - START)).toEqual([50, 60]);
    expect(steps.map(({ index }) => index * 5 - START)).toEqual([50, 55]);
  });
});

it('names metrics that the version should give and does not', () => {
  expect(after([[0, up([], { missing: ['vllm:num_requests_running'] })]]).missing).toEqual([
    'vllm:num_requests_running',
  ]);
});

it('forgets servers that are gone', () => {
  const history = new History(10);
  history.add('chat', START, up([generated(1)]));
  history.keepOnly(new Set(['other']));
  expect(history.of('chat')).toEqual({ samples: [], steps: [] });
});

it('names the figures that no version of its engine gives, and those only', () => {
  const reading = up([
    {
      ...unavailable('llm_requests_running', ''),
      type: 'info',
      points: [
        ['llm_requests_running', 'engine_lacks'],
        ['llm_generation_tokens_total', 'metrics_disabled'],
        ['llm_kv_cache_usage_ratio', 'engine_lacks'],
      ].map(([metric = '', reason = '']) => ({ labels: { ...labels, metric, reason }, value: 1 })),
    },
  ]);
  expect(after([[0, reading]]).neverGiven).toEqual(['running', 'kvCache']);
});

describe('the models in memory', () => {
  const total = (value: number): MetricFamily => scalar('llm_model_memory_bytes', value, { kind: 'total' });
  const both = (bytes: number, onGpu: number): MetricFamily => ({
    ...total(bytes),
    type: 'gauge',
    points: [
      { labels: { ...labels, kind: 'total' }, value: bytes },
      { labels: { ...labels, kind: 'vram' }, value: onGpu },
    ],
  });

  it.each([
    [
      [
        both(6_668_095_488, 5_001_071_616),
        scalar('llm_model_info', 1, { quantization: 'Q4_K_M' }),
        scalar('llm_model_context_tokens', 8192),
        scalar('llm_model_unload_time_seconds', START + 290),
      ],
      '6.7 GB · 75 % on GPU · Q4_K_M · context 8,192 tokens · unloads in 4 min',
    ],
    [[both(500_000_000, 0)], '500 MB · on the CPU'],
    [[total(800_000), scalar('llm_model_unload_time_seconds', START - 1)], '800 kB · being unloaded'],
  ])('are told with what is known of them (%#)', (families, text) => {
    expect(after([[0, up(families)]]).inMemory).toEqual([{ name: 'm', text }]);
  });

  it('are none where the engine does not tell their memory', () => {
    expect(after([[0, up([scalar('llm_model_info', 1, { quantization: 'Q4_K_M' })])]]).inMemory).toEqual([]);
  });
});
