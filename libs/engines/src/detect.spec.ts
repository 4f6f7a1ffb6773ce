import { startFakeServer, type FakeAnswers, type FakeServer } from '@llm-monitor/testing';

import { detectEngine } from './detect.ts';
import { createGet } from './http-get.ts';
import { ENGINE_NAMES, type EngineName } from './registry.ts';
import { SAFE_PATHS } from './safe-paths.ts';
import { TargetError } from './target-error.ts';

let server: FakeServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

async function detect(answers: FakeAnswers, candidates?: readonly EngineName[]) {
  server = await startFakeServer(answers);
  const signal = AbortSignal.timeout(10_000);
  return detectEngine(createGet({ url: server.url }), signal, candidates);
}

const asked = (): string[] => (server?.requests ?? []).map((line) => line.replace('GET ', ''));

const models = (owner: string): string =>
  JSON.stringify({ object: 'list', data: [{ id: 'm', object: 'model', owned_by: owner }] });

describe('engines', () => {
  it('is told by a header in the first answer, whatever it says, and asks no more', async () => {
    const refusal = { status: 401, headers: { Server: 'llama.cpp' }, body: '{"error":{"code":401}}' };
    expect(await detect({ '/v1/models': refusal })).toEqual({
      engine: 'llamacpp',
      by: 'header server: llama.cpp',
    });
    expect(asked()).toEqual(['/v1/models']);
  });

  it('is told by its families', async () => {
    const answers = { '/v1/models': models('vllm'), '/metrics': 'vllm:num_requests_running 1\n' };
    expect(await detect(answers)).toEqual({ engine: 'vllm', by: '/metrics has vllm:*' });
  });

  it('is told by owned_by only where nothing stronger fits', async () => {
    const gateway = { '/v1/models': models('vllm'), '/metrics': 'litellm_spend_metric_total 1\n' };
    expect(await detect(gateway)).toMatchObject({ engine: 'litellm' });
    await server?.close();
    expect(await detect({ '/v1/models': models('vllm') })).toEqual({
      engine: 'vllm',
      by: '/v1/models owned_by vllm',
    });
  });

  it('asks each path at most once, in the order of the safe paths, and no other', async () => {
    await detect({});
    const order = SAFE_PATHS.filter((path) => asked().includes(path));
    expect(asked()).toEqual(order);
    expect(asked()).toContain('/metrics');
  });

  it('asks only what the fingerprints of its candidates name', async () => {
    expect(
      await detect({ '/metrics': 'vllm:num_requests_running 1\n' }, ['vllm', 'aphrodite']),
    ).toMatchObject({
      engine: 'vllm',
    });
    expect(asked()).toEqual(['/v1/models', '/metrics']);
  });

  it.each([
    ['MLC-LLM', 'openai'],
    ['llamacpp', 'llamacpp'],
    ['tensorrt_llm', 'trtllm'],
  ] as const)('leaves /metrics alone where a GET has an effect: %s is %s', async (owner, engine) => {
    expect(await detect({ '/v1/models': models(owner), '/metrics': 'harm 1\n' })).toMatchObject({ engine });
    expect(asked()).not.toContain('/metrics');
  });

  it.each(['MLC-LLM', 'tabbyAPI', 'llama-swap', 'someone'])(
    'takes any other server with a list of models as OpenAI-compatible: %s',
    async (owner) => {
      expect(await detect({ '/v1/models': models(owner) })).toEqual({
        engine: 'openai',
        by: `/v1/models owned_by ${owner}`,
      });
    },
  );
});

describe('imitators of Ollama', () => {
  const ollama = {
    '/': 'Ollama is running',
    '/api/version': '{"version":"0.12.6"}',
    '/api/ps': '{"models":[]}',
    '/v1/models': '{"object":"list","data":null}',
  };

  it('are told from Ollama itself', async () => {
    expect(await detect(ollama)).toEqual({ engine: 'ollama', by: '/api/ps answered as it does' });
  });

  const koboldModels = JSON.stringify({
    models: [
      { name: 'koboldcpp', digest: 'b5dc', expires_at: '2055-06-04', details: { family: 'koboldcpp' } },
    ],
  });
  const kobold = {
    '/api/version': '{"version":"0.7.0"}',
    '/api/ps': koboldModels,
    '/api/tags': koboldModels,
    '/api/extra/version': '{"result":"KoboldCpp","version":"1.100.1"}',
  };

  it('KoboldCpp says its own name first', async () => {
    expect(await detect(kobold)).toMatchObject({ engine: 'koboldcpp' });
  });

  it('KoboldCpp on the port of Ollama is not Ollama', async () => {
    expect(await detect({ ...kobold, '/': '<html></html>' }, ['ollama'])).toBeUndefined();
  });

  it.each([
    [
      'Open WebUI',
      { '/api/version': '{"version":"0.6.5"}', '/': '<!doctype html><title>Open WebUI</title>' },
    ],
    ['a list without digests', { '/api/ps': '{"models":[{"name":"a"}]}' }],
    ['a list that is none', { '/api/ps': '{"models":{"a":1}}' }],
  ])('%s is a stranger', async (_, answers) => {
    expect(await detect(answers)).toBeUndefined();
  });
});

describe('strangers', () => {
  const html = { headers: { 'content-type': 'text/html' } };
  it.each<[string, FakeAnswers]>([
    ['a web server that answers 404 to everything', {}],
    ['nginx', { '/': { ...html, body: '<!DOCTYPE html><title>Welcome to nginx!</title>' } }],
    [
      'a website that answers every path with its page',
      (_, response) => void response.end('<!doctype html><html><body>llama vllm: Ollama</body></html>'),
    ],
    [
      'node_exporter',
      {
        '/': '<html>',
        '/metrics': '# TYPE node_load1 gauge\nnode_load1 0.5\nprocess_start_time_seconds 1\n',
      },
    ],
    ['an API that answers JSON everywhere', (_, response) => void response.end('{"status":"ok"}')],
    [
      'an API that refuses in JSON with 200',
      (_, response) => void response.end('{"error":"Unexpected endpoint"}'),
    ],
    ['an empty answer', (_, response) => void response.end()],
    ['half of an exposition', { '/metrics': '# HELP vl' }],
    ['an embedding', { '/v1/models': '{"object":"list","data":[{"object":"embedding","embedding":[0.1]}]}' }],
    [
      'a redirect to another host where it has an answer for the rest',
      { '/metrics': { status: 302, headers: { location: 'http://localhost.invalid/' } } },
    ],
    ['a server in trouble', (_, response) => void response.writeHead(502).end('bad gateway')],
  ])('%s', async (_, answers) => {
    expect(await detect(answers)).toBeUndefined();
  });

  it('a locked one is not a stranger: the key is asked for', async () => {
    const locked = detect((_, response) => void response.writeHead(401).end('{}'));
    await expect(locked).rejects.toThrow(TargetError);
    await expect(locked).rejects.toMatchObject({ reason: 'unauthorized' });
  });

  it('one that sends every request elsewhere is not followed, and says so', async () => {
    const away = detect(
      (_, response) => void response.writeHead(302, { location: 'http://localhost.invalid/' }).end(),
    );
    await expect(away).rejects.toMatchObject({ reason: 'redirected' });
  });

  it('one that hangs up is not asked again', async () => {
    const gone = detect((request) => void request.socket.destroy());
    await expect(gone).rejects.toMatchObject({ reason: 'connection_lost' });
    expect(server?.requests).toHaveLength(1);
  });
});

it('knows every engine as a candidate', () => {
  expect(ENGINE_NAMES.at(-1)).toBe('openai');
  expect(ENGINE_NAMES.indexOf('koboldcpp')).toBeLessThan(ENGINE_NAMES.indexOf('ollama'));
});

it('knows an engine on the default port of another by what it was asked all the same', async () => {
  const server = await startFakeServer({ '/metrics': 'vllm:num_requests_running{model_name="m"} 1\n' });
  try {
    const found = await detectEngine(createGet({ url: server.url }), AbortSignal.timeout(5_000), ['tgi']);
    expect(found?.engine).toBe('vllm');
    expect(server.requests.every((each) => ['GET /info', 'GET /metrics'].includes(each))).toBe(true);
  } finally {
    await server.close();
  }
});
