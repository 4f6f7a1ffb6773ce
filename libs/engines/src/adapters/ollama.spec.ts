import { createEngineReader } from '../read-engine.ts';
import type { EngineReading } from '../reading.ts';

import { ollama } from './ollama.ts';

const details = { format: 'gguf', family: 'llama', parameter_size: '3.2B', quantization_level: 'Q4_K_M' };
const resident = (more: object) => ({ name: 'a', digest: 'd', size: 100, size_vram: 60, details, ...more });

interface Server {
  ps?: object[];
  tags?: object[];
  metrics?: string;
}

function engine({ ps = [], tags = [], metrics }: Server) {
  const asked: string[] = [];
  let seconds = 0;
  const bodies: Readonly<Record<string, string | undefined>> = {
    '/api/ps': JSON.stringify({ models: ps }),
    '/api/tags': JSON.stringify({ models: tags }),
    '/api/version': '{"version":"0.12.6"}',
    '/metrics': metrics,
  };
  const read = createEngineReader({
    adapter: ollama,
    identity: { server: 's', engine: 'ollama' },
    url: 'http://engine',
    detectedBy: 'test',
    get: (path) => {
      asked.push(path);
      const body = bodies[path];
      return Promise.resolve({ path, status: body === undefined ? 404 : 200, headers: {}, body: body ?? '' });
    },
    now: () => seconds * 1000,
  });
  return {
    asked,
    at: (time: number): Promise<EngineReading> => {
      seconds = time;
      return read(new AbortController().signal);
    },
  };
}

function samples({ families }: EngineReading, name: string): string[] {
  return (families.find((family) => family.name === name)?.points ?? []).flatMap(({ labels, ...point }) =>
    'value' in point ? [`${labels['model'] ?? ''} ${labels['kind'] ?? ''} ${point.value}`] : [],
  );
}

describe('the time of unloading', () => {
  it.each([
    ['2026-11-22T14:38:31.5-07:00', ['a  1795383511.5']],
    ['2026-11-22T21:38:31.837531234Z', ['a  1795383511.837']],
    ['2318-09-17T12:53:10.911528+01:00', []],
    ['0001-01-01T00:00:00Z', []],
    ['soon', []],
    [undefined, []],
  ])('%s', async (expiresAt, expected) => {
    const reading = await engine({ ps: [resident({ expires_at: expiresAt })] }).at(0);
    expect(samples(reading, 'llm_model_unload_time_seconds')).toEqual(expected);
  });
});

describe('memory', () => {
  it.each([
    ['partly on the GPU', {}, ['a total 100', 'a vram 60']],
    ['on the CPU alone', { size_vram: 0 }, ['a total 100', 'a vram 0']],
    ['on the CPU alone, of an old version that then says nothing', { size_vram: undefined }, ['a total 100']],
  ])('%s', async (_, more, expected) => {
    expect(samples(await engine({ ps: [resident(more)] }).at(0), 'llm_model_memory_bytes')).toEqual(expected);
  });
});

it('leaves out models that run at a provider', async () => {
  const remote = {
    name: 'cloud',
    digest: 'd',
    details,
    modified_at: 'x',
    remote_host: 'https://ollama.com:443',
  };
  const local = { name: 'b', digest: 'd', details, modified_at: 'x' };
  const reading = await engine({ ps: [resident({})], tags: [remote, local] }).at(0);
  expect(samples(reading, 'llm_model_loaded')).toEqual(['a  1', 'b  0']);
});

it('asks for tables alone, and for slow facts once a minute', async () => {
  const { asked, at } = engine({});
  await at(0);
  await at(15);
  await at(61);
  expect(asked).toEqual([
    ...['/api/ps', '/api/tags', '/api/version', '/metrics'],
    '/api/ps',
    ...['/api/ps', '/api/tags', '/api/version'],
  ]);
});

it('takes the lack of /metrics as normal, and looks again after an hour', async () => {
  const { asked, at } = engine({});
  expect((await at(0)).errors).toEqual([]);
  await at(3599);
  expect(asked.filter((path) => path === '/metrics')).toHaveLength(1);
  await at(3601);
  expect(asked.filter((path) => path === '/metrics')).toHaveLength(2);
});

it('reads /metrics at every reading where it is there', async () => {
  const metrics = '# TYPE ollama_requests_queued gauge\nollama_requests_queued 3\n';
  const { asked, at } = engine({ metrics });
  await at(0);
  expect(samples(await at(15), 'llm_requests_waiting')).toEqual(['  3']);
  expect(asked.filter((path) => path === '/metrics')).toHaveLength(2);
});
