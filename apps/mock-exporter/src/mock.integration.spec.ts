import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { buildSync } from 'esbuild';

import { runControl } from './control-client.ts';
import { startTestMock, type TestMock } from './test-mock.ts';
import { until } from './test-until.ts';

const SCENARIO = `
seed: test
host:
  name: test
  gpus:
    - { board: h100-sxm, count: 3 }
    - { board: rtx-4090, count: 3 }
  driver: { nvidia: 570.133.20, cuda: 12.8 }
engines:
  - { name: vllm, kind: vllm, port: 0, model: meta-llama/Llama-3.1-8B-Instruct, gpus: [0] }
  - { name: sglang, kind: sglang, port: 0, model: Qwen/Qwen2.5-7B-Instruct, gpus: [1] }
  - { name: tgi, kind: tgi, port: 0, model: meta-llama/Llama-3.1-8B-Instruct, gpus: [2] }
  - { name: llamacpp, kind: llamacpp, port: 0, model: "llama3.1:8b", gpus: [3], settings: { context_tokens: 16384 } }
  - { name: ollama, kind: ollama, port: 0, model: "llama3.2:3b", gpus: [4], settings: { context_tokens: 8192 } }
traffic:
  - engine: vllm
    arrivals: { poisson: { rate: 1 } }
    prompt: chat
    output: chat
    max_tokens: 256
`;

const ENGINES = ['vllm', 'sglang', 'tgi', 'llamacpp', 'ollama'] as const;
const run = promisify(execFile);
let mock: TestMock;

beforeAll(async () => {
  const smiScript = join(__dirname, '../test-output/nvidia-smi.cjs');
  mkdirSync(join(__dirname, '../test-output'), { recursive: true });
  buildSync({
    entryPoints: [join(__dirname, 'nvidia-smi.ts')],
    bundle: true,
    platform: 'node',
    format: 'cjs',
    outfile: smiScript,
  });
  mock = await startTestMock(SCENARIO, { smiScript });
}, 60_000);

afterAll(async () => {
  await mock.stop(0);
});

function chat(engine: string, body: object, signal?: AbortSignal): Promise<Response> {
  return fetch(`${mock.urlOf(engine)}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ messages: [{ role: 'user', content: 'Tell me a story.' }], ...body }),
    ...(signal === undefined ? {} : { signal }),
  });
}

async function sample(name: RegExp): Promise<number> {
  const text = await (await fetch(`${mock.listening.url}/metrics`)).text();
  const line = text.split('\n').find((each) => name.test(each)) ?? '';
  return Number(line.split(' ').at(-1) ?? NaN);
}

describe.each(ENGINES)('the engine %s', (engine) => {
  it('lists its model, streams a chat, and is asked for what it is not', async () => {
    const listed = (await (await fetch(`${mock.urlOf(engine)}/v1/models`)).json()) as {
      data: readonly { id: string }[];
    };
    const model = listed.data[0]?.id ?? '';
    const streamed = await chat(engine, { model, max_tokens: 8, stream: true });
    expect(streamed.status).toBe(200);
    expect(streamed.headers.get('content-type')).toContain('text/event-stream');
    const events = (await streamed.text()).split('\n').filter((line) => line.startsWith('data: '));
    expect(events.at(-1)).toBe('data: [DONE]');
    expect(events.length).toBeGreaterThan(3);
    expect((await fetch(`${mock.urlOf(engine)}/no/such/path`)).status).toBe(404);
  });

  it('counts the tokens that it says it used', async () => {
    const model = mock.world.engine(engine).models[0];
    const answer = (await (await chat(engine, { model, max_tokens: 5 })).json()) as {
      usage: { completion_tokens: number; prompt_tokens: number; total_tokens: number };
      choices: readonly { finish_reason: string }[];
    };
    expect(answer.usage.completion_tokens).toBeLessThanOrEqual(5);
    expect(answer.usage.completion_tokens).toBeGreaterThan(0);
    expect(answer.usage.total_tokens).toBe(answer.usage.prompt_tokens + answer.usage.completion_tokens);
  });

  it('refuses a body that is none, and goes on', async () => {
    const answer = await fetch(`${mock.urlOf(engine)}/v1/chat/completions`, { method: 'POST', body: '{' });
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.status).toBeLessThan(500);
    expect((await fetch(`${mock.urlOf(engine)}/v1/models`)).status).toBe(200);
  });
});

describe('a client that goes away', () => {
  it('is no longer in the engine', async () => {
    const cancelled = (): number => mock.world.engine('sglang').now.state().requests.abort;
    const before = cancelled();
    const stop = new AbortController();
    const answer = await chat(
      'sglang',
      { model: 'Qwen/Qwen2.5-7B-Instruct', max_tokens: 20_000, ignore_eos: true, stream: true },
      stop.signal,
    );
    expect(answer.status).toBe(200);
    stop.abort();
    await until(() => cancelled() > before || mock.world.engine('sglang').now.state().running === 0);
    expect(mock.world.engine('sglang').now.audit()).toEqual([]);
  });
});

describe('an incident', () => {
  it('is started, listed and stopped from the command line', async () => {
    const url = mock.listening.url;
    const started = await runControl(
      { url },
      {
        command: 'start',
        incident: 'hang',
        target: 'vllm',
        forSeconds: undefined,
      },
      'node main.cjs',
    );
    expect(started).toEqual({
      stdout: 'hang goes on on engine vllm; stop it with: node main.cjs stop hang\n',
      stderr: '',
      exitCode: 0,
    });
    expect(await sample(/^sim_incident_active\{incident="hang"/)).toBe(1);
    expect(await sample(/^sim_engine_serving\{engine="vllm"/)).toBe(0);
    expect((await fetch(`${mock.urlOf('vllm')}/health`)).status).toBe(200);
    const { stdout } = await runControl({ url }, { command: 'incidents' });
    expect(stdout).toContain('going on: hang on engine vllm');
    expect(stdout).toContain(`vllm (vllm, ${mock.urlOf('vllm')})`);
    expect(stdout).toMatch(/^gpu: 0 \(\S+\)/m);
    expect(stdout).toMatch(/^traffic: \w/m);
    const other = await runControl({ url }, { command: 'stop', incident: 'hangs' });
    expect(other.stderr).toBe('No incident "hangs" goes on; these do: hang.\n');
    expect((await runControl({ url }, { command: 'stop', incident: 'hang' })).exitCode).toBe(0);
    expect(await sample(/^sim_engine_serving\{engine="vllm"/)).toBe(1);
  });

  const wrong = [
    ['an unknown name', 'hangs', 'tgi', 'hang'],
    ['an unknown target', 'hang', 'nobody', 'nobody'],
    ['a target of the wrong kind', 'xid_79', 'tgi', 'tgi'],
  ] as const;
  it.each(wrong)('with %s is refused, with what is wrong', async (_what, incident, target, words) => {
    const result = await runControl(
      { url: mock.listening.url },
      {
        command: 'start',
        incident,
        target,
        forSeconds: undefined,
      },
    );
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain(words);
    expect(result.stderr).not.toContain('{');
  });

  it('that takes an engine down closes its port, and opens it when the engine is back', async () => {
    const engine = mock.world.engine('llamacpp');
    engine.now.crash();
    await until(() =>
      fetch(`${mock.urlOf('llamacpp')}/health`).then(
        () => false,
        () => true,
      ),
    );
    engine.now.start(0);
    await until(() =>
      fetch(`${mock.urlOf('llamacpp')}/health`).then(
        ({ status }) => status === 200,
        () => false,
      ),
    );
  });

  it('that upgrades an engine renames its gauges', async () => {
    const text = async (): Promise<string> => (await fetch(`${mock.urlOf('vllm')}/metrics`)).text();
    expect(await text()).toContain('\nvllm:num_requests_running{');
    await runControl(
      { url: mock.listening.url },
      {
        command: 'start',
        incident: 'metric_rename',
        target: 'vllm',
        forSeconds: undefined,
      },
    );
    await until(() =>
      text().then(
        (now) => now.includes('\nvllm:num_requests_running_current{'),
        () => false,
      ),
    );
    await runControl({ url: mock.listening.url }, { command: 'stop', incident: 'metric_rename' });
    await until(() =>
      text().then(
        (now) => now.includes('\nvllm:num_requests_running{'),
        () => false,
      ),
    );
  });
});

describe('the load and the speed', () => {
  const post = (path: string, body: object): Promise<Response> =>
    fetch(`${mock.listening.url}${path}`, { method: 'POST', body: JSON.stringify(body) });

  it('are changed while the world runs', async () => {
    expect((await post('/api/load', { traffic: 'vllm', factor: 3 })).status).toBe(200);
    expect(await sample(/^sim_traffic_rate_per_second/)).toBeCloseTo(3);
    expect((await post('/api/load', { factor: 1 })).status).toBe(200);
    expect((await post('/api/speed', { speed: 20 })).status).toBe(200);
  });

  it.each([
    ['/api/load', { factor: -1 }, 400],
    ['/api/load', { traffic: 'nobody', factor: 1 }, 404],
    ['/api/speed', { speed: 'fast' }, 400],
    ['/api/advance', { seconds: 0 }, 400],
    ['/api/advance', { seconds: 61 }, 400],
  ])('refuse %s with %j', async (path, body, status) => {
    expect((await post(path, body)).status).toBe(status);
  });
});

describe('nvidia-smi of the simulated host', () => {
  it('is a program that tells of the GPUs', async () => {
    const program = join(mock.folder, 'bin/nvidia-smi');
    const { stdout } = await run(program, ['-L']);
    expect(stdout.trim().split('\n')).toHaveLength(6);
    expect(stdout).toContain('GPU 0: NVIDIA H100 80GB HBM3');
    const xml = (await run(program, ['-q', '-x'])).stdout;
    expect(xml.match(/<gpu id=/g)).toHaveLength(6);
  });
});
