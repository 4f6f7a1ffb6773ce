import type { EngineAdapter } from './adapter.ts';
import { Answers, readExposition } from './answers.ts';
import { normalize } from './normalize.ts';
import type { EngineReading } from './reading.ts';
import { TargetError, type TargetErrorReason } from './target-error.ts';

const adapter: EngineAdapter = {
  title: 'Test engine',
  documentation: 'https://example.com',
  ports: [],
  programs: [],
  fingerprints: [],
  requests: [{ as: 'exposition', path: '/metrics' }],
  health: { path: '/health', states: { 503: 'loading' } },
  labels: { model: ['model'], replica: ['engine'] },
  families: {
    llm_requests_running: 'running',
    llm_requests_waiting: { from: 'waiting', since: '0.5' },
    llm_prompt_tokens_total: { from: 'prompt_total', until: '0.5' },
    llm_generation_tokens_total: { from: 'generated_total', optional: true },
    llm_kv_cache_usage_ratio: 'usage',
  },
  lacks: ['llm_requests_capacity'],
};

interface Given {
  metrics?: string;
  /** Something else was answered that is the engine's. */
  known?: true;
  status?: number;
  metricsStatus?: number;
  facts?: ReturnType<NonNullable<EngineAdapter['parse']>>;
  errors?: TargetErrorReason[];
}

function read({ metrics, known, status, metricsStatus, facts, errors = [] }: Given): EngineReading {
  const answers = new Answers();
  if (metrics !== undefined) {
    answers.addExposition(
      readExposition({ path: '/metrics', status: 200, headers: {}, body: metrics }, 'url'),
    );
  }
  if (known === true) answers.addJson('/info', {});
  if (status !== undefined) answers.noteStatus('/health', status);
  if (metricsStatus !== undefined) answers.noteStatus('/metrics', metricsStatus);
  return normalize(
    { ...adapter, parse: () => facts ?? {} },
    { server: 's', engine: 'e' },
    {
      answers,
      detectedBy: 'test',
      errors: errors.map((reason) => new TargetError(reason, 'url', 'failed')),
    },
  );
}

/** Samples of one family, without the labels that all have. */
function samples({ families }: EngineReading, name: string): string[] {
  const family = families.find((each) => each.name === name);
  return (family?.points ?? []).flatMap((point) => {
    const { server, engine, ...labels } = point.labels;
    expect([server, engine]).toEqual(['s', 'e']);
    return 'value' in point ? [`${JSON.stringify(labels)} ${point.value}`] : [];
  });
}

const state = (reading: EngineReading): string[] =>
  samples(reading, 'llm_engine_state').filter((sample) => sample.endsWith(' 1'));

describe('up, ready and state', () => {
  it.each<[string, Given, number, string[], string]>([
    ['answers and is well', { metrics: 'running 1\n', status: 200 }, 1, ['{} 1'], 'ready'],
    ['answers, its health not known', { metrics: 'running 1\n' }, 1, [], 'unknown'],
    ['says only that it is loading', { status: 503 }, 1, ['{} 0'], 'loading'],
    [
      'says that it sleeps',
      { metrics: 'running 1\n', status: 200, facts: { state: 'sleeping' } },
      1,
      ['{} 0'],
      'sleeping',
    ],
    ['says nothing', { errors: ['refused'] }, 0, ['{} 0'], 'unreachable'],
    [
      'says that it is well, as any web server does',
      { status: 200, errors: ['not_found'] },
      0,
      ['{} 0'],
      'unreachable',
    ],
    [
      'is another program, which has no such paths',
      { status: 404, errors: ['not_found'] },
      0,
      ['{} 0'],
      'unreachable',
    ],
  ])('an engine that %s', (_, given, up, ready, expected) => {
    const reading = read(given);
    expect(samples(reading, 'llm_up')).toEqual([`{} ${up}`]);
    expect(samples(reading, 'llm_ready')).toEqual(ready);
    expect(state(reading)).toEqual([`{"state":"${expected}"} 1`]);
    expect([reading.up, reading.state]).toEqual([up === 1, expected]);
  });

  it('a server that is down says so and nothing more', () => {
    const names = read({ errors: ['timeout'] }).families.map(({ name }) => name);
    expect(names).toEqual(['llm_up', 'llm_ready', 'llm_engine_state']);
  });
});

describe('why a core metric is not there', () => {
  const reason = (given: Given, metric: string): string | undefined =>
    samples(read(given), 'llm_metric_unavailable_info')
      .map((sample) => JSON.parse(sample.replace(/ 1$/, '')) as { metric: string; reason: string })
      .find((info) => info.metric === metric)?.reason;

  it.each<[string, Given, string | undefined]>([
    ['it is there', { metrics: 'waiting 1\n' }, undefined],
    ['it is there and zero', { metrics: 'waiting 0\n' }, undefined],
    ['it is NaN', { metrics: '# TYPE waiting gauge\nwaiting NaN\n' }, 'not_in_answer'],
    ['it is not in the answer', { metrics: 'running 1\n' }, 'not_in_answer'],
    ['metrics are switched off', { known: true, errors: ['disabled'] }, 'metrics_disabled'],
    ['there is no such path', { known: true, errors: ['not_found'] }, 'metrics_disabled'],
    [
      'a key is asked for, of the list of models alone',
      { metrics: 'running 1\n', errors: ['unauthorized'] },
      'not_in_answer',
    ],
    [
      'a key is asked for, and metrics are switched off',
      { known: true, errors: ['not_found', 'unauthorized'] },
      'metrics_disabled',
    ],
    [
      'a key is asked for, of the metrics among others',
      { known: true, metricsStatus: 403, errors: ['unauthorized', 'http_error'] },
      'unauthorized',
    ],
    ['a key is asked for', { known: true, errors: ['unauthorized'] }, 'unauthorized'],
    ['the engine loads', { status: 503, errors: ['http_error'] }, 'not_ready'],
    ['the engine loads, and prints what it has so far', { metrics: 'running 0\n', status: 503 }, 'not_ready'],
    ['the engine is ready, and prints no more', { metrics: 'running 0\n', status: 200 }, 'not_in_answer'],
    ['the answer was broken', { known: true, errors: ['not_an_exposition'] }, 'not_in_answer'],
    [
      'the adapter knows better',
      { known: true, facts: { unavailable: { llm_requests_waiting: 'asleep' } } },
      'asleep',
    ],
  ])('%s', (_, given, expected) => {
    expect(reason(given, 'llm_requests_waiting')).toBe(expected);
  });

  it('what the engine never has is lacking whatever else is wrong', () => {
    expect(reason({ known: true, errors: ['unauthorized'] }, 'llm_requests_capacity')).toBe('engine_lacks');
  });

  it('a server that is down gives no reasons: llm_up says it', () => {
    expect(reason({ errors: ['refused'] }, 'llm_requests_waiting')).toBeUndefined();
  });
});

describe('what is missing', () => {
  const metrics = '# TYPE other gauge\nother 1\n';
  it.each<[string, Given, string[]]>([
    ['what every version has', { metrics }, ['running', 'usage']],
    [
      'what this version still has',
      { metrics, facts: { version: '0.4.9' } },
      ['prompt_total', 'running', 'usage'],
    ],
    [
      'what this version has by now',
      { metrics, facts: { version: '0.5.0' } },
      ['running', 'usage', 'waiting'],
    ],
    [
      'nothing that depends on a version that cannot be compared',
      { metrics, facts: { version: 'b11669' } },
      ['running', 'usage'],
    ],
    ['nothing that is only declared', { metrics: '# TYPE running gauge\n# TYPE usage gauge\n' }, []],
    ['nothing where no metrics were answered', { known: true, errors: ['disabled'] }, []],
  ])('%s', (_, given, expected) => {
    const reading = read(given);
    expect(reading.missing).toEqual(expected);
    const count = given.metrics === undefined ? [] : [`{} ${expected.length}`];
    expect(samples(reading, 'llm_source_metrics_missing')).toEqual(count);
  });

  it('is not known of an engine that loads', () => {
    const reading = read({ metrics, status: 503 });
    expect(reading.missing).toEqual([]);
    expect(samples(reading, 'llm_source_metrics_missing')).toEqual([]);
  });
});

describe('replicas', () => {
  it('are told apart where there are several', () => {
    const reading = read({ metrics: 'running{engine="0"} 1\nrunning{engine="1"} 2\n' });
    expect(samples(reading, 'llm_requests_running')).toEqual(['{"replica":"0"} 1', '{"replica":"1"} 2']);
  });

  it('one alone has no label', () => {
    const reading = read({ metrics: 'running{engine="0"} 1\nusage{engine="0"} 0.5\n' });
    expect(samples(reading, 'llm_requests_running')).toEqual(['{} 1']);
    expect(samples(reading, 'llm_kv_cache_usage_ratio')).toEqual(['{} 0.5']);
  });
});

describe('facts', () => {
  it('what the engine prints wins over what is derived', () => {
    const observation = { metric: 'llm_requests_running', value: 9, source: 'derived' } as const;
    const printed = read({ metrics: 'running 1\n', facts: { observations: [observation] } });
    expect(samples(printed, 'llm_requests_running')).toEqual(['{} 1']);
    expect(printed.sources.llm_requests_running).toBe('native');
    const derived = read({ metrics: 'usage 1\n', facts: { observations: [observation] } });
    expect(samples(derived, 'llm_requests_running')).toEqual(['{} 9']);
    expect(derived.sources.llm_requests_running).toBe('derived');
  });

  it.each([NaN, Infinity])('an observation of %s is unknown, and absent', (value) => {
    const reading = read({
      known: true,
      facts: { observations: [{ metric: 'llm_requests_running', value, source: 'api' }] },
    });
    expect(samples(reading, 'llm_requests_running')).toEqual([]);
  });

  it('models are those that are loaded, or whose loading is not told, and those seen in labels', () => {
    const models = [{ name: 'a', loaded: true }, { name: 'b', loaded: false }, { name: 'c' }];
    const reading = read({ metrics: 'running{model="d"} 1\n', facts: { models } });
    expect(reading.models).toEqual(['a', 'c', 'd']);
    expect(samples(reading, 'llm_model_loaded')).toEqual(['{"model":"a"} 1', '{"model":"b"} 0']);
  });

  it('flaws of the answer are counted by kind', () => {
    const reading = read({
      metrics: '# TYPE usage gauge\nusage{m="a"} 50\nusage{m="b"} 60\nusage{m="c"} -nan\n',
    });
    expect(samples(reading, 'llm_source_parse_issues')).toEqual([
      '{"kind":"nan_spelled"} 1',
      '{"kind":"ratio_above_one"} 2',
    ]);
    expect(reading.issues.find(({ kind }) => kind === 'ratio_above_one')?.example).toBe('usage 50');
  });
});
