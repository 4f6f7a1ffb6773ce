import { createEngineReader } from '../read-engine.ts';
import type { EngineReading } from '../reading.ts';

import { llamacpp } from './llamacpp.ts';

interface Server {
  props?: object;
  models?: object[];
  metrics?: string | Readonly<Record<string, string>>;
  slots?: object[];
}

const METRICS = (running: number): string => `# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 10
# TYPE llamacpp:prompt_tokens_cached_total counter
llamacpp:prompt_tokens_cached_total 5
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing ${running}
`;

const PROPS = {
  total_slots: 2,
  default_generation_settings: { n_ctx: 1000 },
  model_alias: 'm',
  build_info: 'b11669-Debian',
  is_sleeping: false,
};

const busySlot = {
  id: 0,
  n_ctx: 1000,
  is_processing: true,
  n_prompt_tokens: 500,
  next_token: [{ n_decoded: 40 }],
};
const idleSlot = {
  id: 1,
  n_ctx: 1000,
  is_processing: false,
  n_prompt_tokens: 900,
  next_token: [{ n_decoded: 0 }],
};

/** Reads a server that answers so, and notes what was asked. */
async function read({ props = PROPS, models = [{ id: 'm', owned_by: 'llamacpp' }], metrics, slots }: Server) {
  const asked: string[] = [];
  const bodies = (path: string): string | undefined => {
    if (path === '/props') return JSON.stringify(props);
    if (path === '/v1/models') return JSON.stringify({ object: 'list', data: models });
    if (path.startsWith('/metrics')) return typeof metrics === 'object' ? metrics[path] : metrics;
    if (path.startsWith('/slots')) return slots === undefined ? undefined : JSON.stringify(slots);
    return '{"status":"ok"}';
  };
  const reading = await createEngineReader({
    adapter: llamacpp,
    identity: { server: 's', engine: 'llamacpp' },
    url: 'http://engine',
    detectedBy: 'test',
    get: (path) => {
      asked.push(path);
      const body = bodies(path);
      return Promise.resolve({
        path,
        status: body === undefined ? 501 : 200,
        headers: {},
        body: body ?? '{}',
      });
    },
    now: () => 0,
  })(new AbortController().signal);
  return { asked, reading };
}

function value({ families }: EngineReading, name: string, model = 'm'): number | undefined {
  const points = families.find((family) => family.name === name)?.points ?? [];
  const point = points.find(({ labels }) => labels['model'] === model);
  return point !== undefined && 'value' in point ? point.value : undefined;
}

describe('what is asked', () => {
  const old = { ...PROPS, build_info: 'b9760-6ee0f6579' };
  it.each<[string, Server, string[]]>([
    ['idle: not the slots, which restart the idle timer', { metrics: METRICS(0) }, ['/metrics']],
    ['busy: the slots too', { metrics: METRICS(1), slots: [busySlot, idleSlot] }, ['/metrics', '/slots']],
    ['busy, slots off', { metrics: METRICS(1), props: { ...PROPS, endpoint_slots: false } }, ['/metrics']],
    [
      'asleep: the metrics alone',
      { metrics: METRICS(0), props: { ...PROPS, is_sleeping: true } },
      ['/metrics'],
    ],
    ['asleep, of a build that they would wake: nothing', { props: { ...old, is_sleeping: true } }, []],
    ['awake, of that build', { metrics: METRICS(0), props: old }, ['/metrics']],
    [
      'asleep, of an unknown build: nothing',
      { props: { ...PROPS, build_info: 'unknown', is_sleeping: true } },
      [],
    ],
  ])('%s', async (_, server, expected) => {
    const { asked } = await read(server);
    expect(asked).toEqual(['/props', '/v1/models', ...expected, '/health']);
  });

  it('of a router: loaded models alone, and never so that one is loaded', async () => {
    const status = (id: string, state: string) => ({ id, owned_by: 'llamacpp', status: { value: state } });
    const { asked } = await read({
      props: { role: 'router', build_info: 'b11669-Debian' },
      models: [
        status('a/b', 'loaded'),
        status('c', 'unloaded'),
        status('d', 'sleeping'),
        status('e', 'loading'),
      ],
      metrics: METRICS(1),
      slots: [busySlot],
    });
    expect(asked).toEqual([
      '/props',
      '/v1/models',
      '/metrics?model=a%2Fb&autoload=false',
      '/slots?model=a%2Fb&autoload=false',
      '/health',
    ]);
  });
});

describe('tokens', () => {
  it('prompt tokens include the cached ones', async () => {
    const { reading } = await read({ metrics: METRICS(0) });
    expect(value(reading, 'llm_prompt_tokens_total')).toBe(15);
    expect(reading.sources.llm_prompt_tokens_total).toBe('derived');
  });

  it('counts what running slots hold and have made, not what idle ones have left behind', async () => {
    const { reading } = await read({ metrics: METRICS(1), slots: [busySlot, idleSlot] });
    expect(value(reading, 'llm_kv_cache_used_tokens')).toBe(500);
    expect(value(reading, 'llm_generation_tokens_in_flight')).toBe(40);
    expect(value(reading, 'llm_kv_cache_capacity_tokens')).toBe(2000);
    expect(value(reading, 'llm_kv_cache_usage_ratio')).toBe(0.25);
  });

  it.each([
    ['b11669-Debian', 4, undefined],
    ['b11669-Debian', 3, 3000],
    ['b4000-9abe9eee', 4, 4000],
  ])('%s with %d slots has room for %s tokens: four may share one cache', async (build, slots, room) => {
    const props = { ...PROPS, build_info: build, total_slots: slots };
    const four = Array.from({ length: slots }, (_, id) => ({ ...busySlot, id }));
    const busy = await read({ props, metrics: METRICS(slots), slots: four });
    expect(value(busy.reading, 'llm_kv_cache_capacity_tokens')).toBe(room);
    expect(value(busy.reading, 'llm_kv_cache_usage_ratio')).toBe(room === undefined ? undefined : 0.5);
    expect(value(busy.reading, 'llm_kv_cache_used_tokens')).toBe(slots * 500);
    const idle = await read({ props, metrics: METRICS(0) });
    expect(value(idle.reading, 'llm_kv_cache_usage_ratio')).toBe(room === undefined ? undefined : 0);
  });

  it.each([
    [4, undefined],
    [2, 0.5],
  ])('of a router, a model with %d slots uses %s of its cache', async (count, ratio) => {
    const { reading } = await read({
      props: { role: 'router', build_info: 'b11669-Debian' },
      models: [{ id: 'm', owned_by: 'llamacpp', status: { value: 'loaded' } }],
      metrics: METRICS(count),
      slots: Array.from({ length: count }, (_, id) => ({ ...busySlot, id })),
    });
    expect(value(reading, 'llm_kv_cache_used_tokens')).toBe(count * 500);
    expect(value(reading, 'llm_kv_cache_usage_ratio')).toBe(ratio);
    const reasons = reading.families.find(({ name }) => name === 'llm_metric_unavailable_info')?.points ?? [];
    const ambiguous = reasons.filter(({ labels }) => labels['reason'] === 'ambiguous');
    expect(ambiguous.map(({ labels }) => labels['metric'])).toEqual(
      ratio === undefined ? ['llm_kv_cache_usage_ratio'] : [],
    );
  });

  it.each([
    [false, 1, 5000],
    [true, 0, undefined],
  ])('asleep: %s, so loaded is %d, and in memory are %s bytes', async (asleep, loaded, bytes) => {
    const { reading } = await read({
      props: { ...PROPS, is_sleeping: asleep },
      models: [{ id: 'm', owned_by: 'llamacpp', meta: { size: 5000 } }],
      metrics: METRICS(0),
    });
    expect(value(reading, 'llm_model_loaded')).toBe(loaded);
    expect(value(reading, 'llm_model_memory_bytes')).toBe(bytes);
  });

  it('leaves out what a slot does not say', async () => {
    const { n_prompt_tokens: _, ...silent } = busySlot;
    const { reading } = await read({ metrics: METRICS(1), slots: [silent, idleSlot] });
    expect(value(reading, 'llm_generation_tokens_in_flight')).toBe(40);
    expect(value(reading, 'llm_kv_cache_used_tokens')).toBeUndefined();
    expect(value(reading, 'llm_kv_cache_usage_ratio')).toBeUndefined();
  });
});

it('reads builds that sent the exposition as one JSON string', async () => {
  const { reading } = await read({ metrics: JSON.stringify(`# HELP a A\n${METRICS(0)}`) });
  expect(value(reading, 'llm_prompt_tokens_total')).toBe(15);
  expect(reading.errors).toEqual([]);
});

it('says how to switch metrics on where they are off', async () => {
  const { reading } = await read({});
  expect(reading.up).toBe(true);
  expect(reading.errors.map(({ message }) => message)).toEqual([
    'http://engine/metrics answered 501: start llama-server with --metrics',
  ]);
});
