import type { EngineAdapter } from './adapter.ts';
import { sglang } from './adapters/sglang.ts';
import { vllm } from './adapters/vllm.ts';
import { createEngineReader } from './read-engine.ts';
import type { EngineReading } from './reading.ts';
import { TargetError } from './target-error.ts';

const RUNNING = '# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{model_name="m"} 1\n';
const SGLANG = '# TYPE sglang:num_running_reqs gauge\nsglang:num_running_reqs{model_name="m"} 1\n';
const RUNTIME = '# TYPE python_info gauge\npython_info{version="3.12"} 1\n';
const NODE = `${RUNTIME}# TYPE node_load1 gauge\nnode_load1 1\n`;
const MODELS = '{"object":"list","data":[{"id":"m","object":"model","owned_by":"vllm"}]}';
const VERSION = '{"version":"0.11.0"}';

/** A body, a status, or `hang` and `lost`. */
type Behavior = string | number;

interface Engine {
  readonly asked: string[];
  readonly answers: Record<string, Behavior>;
  read(seconds?: number): Promise<EngineReading>;
}

/** An engine whose paths answer a body, a status, never (`hang`), or cut the connection (`lost`); others with 404. */
function engineOf(adapter: EngineAdapter, answers: Record<string, Behavior>): Engine {
  const asked: string[] = [];
  let now = 0;
  const read = createEngineReader({
    adapter,
    identity: { server: 's', engine: 'e' },
    url: 'http://engine',
    detectedBy: 'test',
    get: (path, signal) => {
      asked.push(path);
      const behavior = answers[path] ?? 404;
      if (behavior === 'hang') {
        return new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(new TargetError('timeout', path, 'hung')));
        });
      }
      if (behavior === 'lost') return Promise.reject(new TargetError('connection_lost', path, 'cut'));
      const [status, body] = typeof behavior === 'number' ? [behavior, ''] : [200, behavior];
      return Promise.resolve({ path, status, headers: {}, body });
    },
    now: () => now,
    secondaryTimeoutSeconds: 0.02,
  });
  return {
    asked,
    answers,
    read: (seconds = 0) => {
      now = seconds * 1000;
      asked.length = 0;
      return read(AbortSignal.timeout(5_000));
    },
  };
}

const reasonsOf = ({ errors }: EngineReading): string[] => errors.map(({ reason }) => reason);
const GOOD = { '/metrics': RUNNING, '/version': VERSION, '/v1/models': MODELS, '/health': 200 } as const;

describe('what comes beside the metrics', () => {
  it.each<[string, Behavior, string, string[]]>([
    ['/version', 'hang', 'timeout', ['/metrics', '/version']],
    ['/v1/models', 'hang', 'timeout', ['/metrics', '/version', '/v1/models']],
    ['/health', 'hang', 'timeout', ['/metrics', '/version', '/v1/models', '/health']],
    ['/version', 'lost', 'connection_lost', ['/metrics', '/version', '/v1/models', '/health']],
    ['/version', 500, 'http_error', ['/metrics', '/version', '/v1/models', '/health']],
  ])('costs itself alone when %s answers %s', async (path, behavior, reason, asked) => {
    const engine = engineOf(vllm, { ...GOOD, [path]: behavior });
    const reading = await engine.read();
    expect([reading.up, reasonsOf(reading)]).toEqual([true, [reason]]);
    expect(reading.families.map(({ name }) => name)).toContain('llm_requests_running');
    expect(engine.asked).toEqual(asked);
  });

  it('is not waited for again before its answer would have been old', async () => {
    const engine = engineOf(vllm, { ...GOOD, '/version': 'hang' });
    await engine.read(0);
    const next = await engine.read(59);
    expect([next.up, next.state, reasonsOf(next)]).toEqual([true, 'ready', ['timeout']]);
    expect(engine.asked).toEqual(['/metrics', '/v1/models', '/health']);
    engine.answers['/version'] = VERSION;
    expect(await engine.read(61)).toMatchObject({ version: '0.11.0', errors: [] });
  });

  it('is not asked where the metrics themselves are lost', async () => {
    const engine = engineOf(vllm, { ...GOOD, '/metrics': 'lost' });
    expect([(await engine.read()).up, engine.asked]).toEqual([false, ['/metrics']]);
  });

  it('is, of an engine that prints no metrics, all after its first answer', async () => {
    const requests = ['/v1/models', '/second'].map((path) => ({ as: 'json', path }) as const);
    const engine = engineOf({ ...vllm, requests }, { '/v1/models': MODELS, '/second': 'lost' });
    const reading = await engine.read();
    expect([reading.up, reading.models, reasonsOf(reading)]).toEqual([true, ['m'], ['connection_lost']]);
  });
});

describe('what changes slowly', () => {
  const INFO = (version: string): string => JSON.stringify({ version, model_path: 'm', internal_states: [] });
  const MODEL_LIST = '{"object":"list","data":[{"id":"m","object":"model","owned_by":"sglang"}]}';
  const ready = { '/metrics': SGLANG, '/server_info': INFO('0.5.4'), '/v1/models': MODEL_LIST };

  it('is asked again of an engine that answered while it loads, for it may be another version', async () => {
    const engine = engineOf(sglang, { ...ready, '/model_info': 200 });
    expect((await engine.read(0)).version).toBe('0.5.4');
    engine.answers['/model_info'] = 503;
    expect((await engine.read(5)).state).toBe('loading');
    Object.assign(engine.answers, { '/model_info': 200, '/server_info': INFO('0.5.12') });
    expect((await engine.read(10)).version).toBe('0.5.12');
  });

  it('is not asked again of one that was ready all the time', async () => {
    const engine = engineOf(sglang, { ...ready, '/model_info': 200 });
    await engine.read(0);
    await engine.read(10);
    expect(engine.asked).toEqual(['/metrics', '/model_info']);
  });
});

describe('another program in the place of the engine', () => {
  it.each<[string, Record<string, Behavior>, boolean]>([
    ['SGLang', { '/metrics': SGLANG, '/v1/models': MODELS, '/health': 200 }, false],
    ['SGLang without metrics', { '/v1/models': MODELS, '/health': 200 }, false],
    ['what loads', { '/metrics': 503, '/version': 503, '/v1/models': 503, '/health': 503 }, true],
    ['vLLM', GOOD, true],
  ])('%s is asked /health only when that costs nothing', async (_, answers, isAsked) => {
    const engine = engineOf(vllm, answers);
    await engine.read();
    expect(engine.asked.includes('/health')).toBe(isAsked);
  });

  it.each<[string, string, true | undefined, boolean]>([
    ['the metrics of another engine', SGLANG, true, false],
    ['the metrics of something else', NODE, true, false],
    ['what any Python program prints', RUNTIME, undefined, true],
    ['nothing', '', undefined, true],
    ['its own metrics', RUNNING, undefined, true],
  ])('is seen where there is %s', async (_, metrics, isStranger, up) => {
    const reading = await engineOf(vllm, { ...GOOD, '/metrics': metrics }).read();
    expect([reading.isStranger, reading.up]).toEqual([isStranger, up]);
    expect(reasonsOf(reading)).toEqual(metrics === RUNNING ? [] : ['disabled']);
  });

  it('is seen where JSON that only the engine gives is refused', async () => {
    const request = { as: 'json', path: '/own', shape: () => false, distinctive: true } as const;
    const answers = { ...GOOD, '/metrics': 404, '/own': '{}' };
    const reading = await engineOf({ ...vllm, requests: [...vllm.requests, request] }, answers).read();
    expect([reading.isStranger, reading.up, reasonsOf(reading)]).toEqual([
      true,
      false,
      ['not_recognized', 'not_found'],
    ]);
  });

  it('which answers 404 to all is not up, though the engine says so that it is ready', async () => {
    expect(await engineOf(sglang, {}).read()).toMatchObject({ up: false });
  });
});

it('tells how to switch the metrics on where these are not there, and nowhere else', async () => {
  const adapter: EngineAdapter = { ...vllm, enable: 'start it with --metrics' };
  const { errors } = await engineOf(adapter, { '/v1/models': MODELS }).read();
  expect(errors.map(({ message }) => message)).toEqual([
    'http://engine/metrics answered 404: start it with --metrics',
    'http://engine/version answered 404',
  ]);
});

it('reads of an endless exposition what an engine could have printed, and counts the rest', async () => {
  const lines = Array.from({ length: 50_000 }, (_, index) => `vllm:num_requests_waiting{i="${index}"} 1\n`);
  const { up, issues } = await engineOf(vllm, { '/metrics': RUNNING + lines.join('') }).read();
  expect([up, issues.find(({ kind }) => kind === 'too_many_series')?.count]).toEqual([true, 1]);
});
