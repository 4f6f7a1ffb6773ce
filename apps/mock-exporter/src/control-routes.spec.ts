import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { createHttpApp, createLogger } from '@llm-monitor/exporter-http';
import { createSelfMetrics } from '@llm-monitor/metrics-core';
import { SimulatedWorld } from '@llm-monitor/simulation';

import { controlRoutes } from './control-routes.ts';
import { loadScenario } from './load-scenario.ts';
import { Pacer } from './pacer.ts';

const SCENARIO = `
seed: test
host:
  name: test
  gpus: [{ board: h100-sxm, count: 2 }]
  driver: { nvidia: 570.133.20, cuda: 12.8 }
engines:
  - { name: chat, kind: vllm, port: 8000, model: meta-llama/Llama-3.1-8B-Instruct, gpus: [0] }
traffic:
  - { name: people, engine: chat, arrivals: { poisson: { rate: 1 } }, prompt: chat, output: chat }
  - { name: robots, engine: chat, arrivals: { poisson: { rate: 2 } }, prompt: chat, output: chat }
`;

const ENGINES = [{ name: 'chat', kind: 'vllm', url: 'http://127.0.0.1:8000' }];

let world: SimulatedWorld;
let pacer: Pacer;
let server: Server | undefined;

beforeEach(() => {
  const loaded = loadScenario('test.yaml', () => SCENARIO);
  if (!loaded.ok) throw new Error(loaded.message);
  world = new SimulatedWorld(loaded.scenario);
  world.runUntil(60);
  // The clock stands still: nothing happens but what is asked for.
  pacer = new Pacer({ world, clock: { seconds: () => 0 }, speed: 1 });
});

afterEach(async () => {
  await new Promise((resolve) => server?.close(resolve));
  server = undefined;
});

interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** @param from the address that the client seems to have */
async function listen(
  isGuarded: boolean,
  from?: string,
): Promise<(method: string, path: string, body?: unknown) => Promise<Answer>> {
  const app = createHttpApp({
    name: 'mock-exporter',
    title: 'Mock exporter',
    description: 'For tests.',
    version: '0.0.0',
    log: createLogger({ app: 'mock-exporter', level: 'silent' }),
    registry: createSelfMetrics({ app: 'mock-exporter', version: '0.0.0' }).registry,
    ready: () => ({ ready: true }),
    maxConcurrentRequests: 8,
    requestTimeoutSeconds: 30,
    metrics: () => Promise.resolve({ contentType: 'text/plain', body: '' }),
    routes: (router) => controlRoutes(router, { world, pacer, engines: () => ENGINES, isGuarded }),
  });
  const listening = createServer(app.handler);
  if (from !== undefined) {
    listening.prependListener('connection', (socket) =>
      Object.defineProperty(socket, 'remoteAddress', { value: from }),
    );
  }
  await new Promise<void>((resolve) => listening.listen({ host: '127.0.0.1', port: 0 }, resolve));
  server = listening;
  const { port } = listening.address() as AddressInfo;
  return async (method, path, body) => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      headers: { accept: 'application/json', connection: 'close' },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    return { status: answer.status, body: (await answer.json()) as Answer['body'] };
  };
}

describe('who may control the world', () => {
  it.each([
    ['this machine', '127.0.0.1', false, 200],
    ['this machine, over IPv6', '::1', false, 200],
    ['this machine, over a socket for both', '::ffff:127.0.0.1', false, 200],
    ['another one', '192.0.2.7', false, 403],
    ['another one, whose address begins alike', '128.0.0.1', false, 403],
    ['another one, which had to show who it is', '192.0.2.7', true, 200],
  ])('%s: from %s, guarded %p, gets %d', async (_who, from, isGuarded, status) => {
    const ask = await listen(isGuarded, from);
    expect((await ask('GET', '/api/incidents')).status).toBe(status);
    expect((await ask('POST', '/api/speed', { speed: 5 })).status).toBe(status);
    expect(pacer.speed).toBe(status === 200 ? 5 : 1);
  });
});

describe('incidents', () => {
  it('are started once, listed, and stopped by their name', async () => {
    const ask = await listen(false);
    const started = await ask('POST', '/api/incidents', { incident: 'hang', target: 'chat' });
    expect(started).toMatchObject({ status: 201, body: { incident: 'hang', target: 'engine chat' } });
    expect((await ask('POST', '/api/incidents', { incident: 'hang', target: 'chat' })).status).toBe(409);
    expect((await ask('GET', '/api/incidents')).body['active']).toMatchObject([{ incident: 'hang' }]);
    expect((await ask('DELETE', '/api/incidents/hang')).body).toEqual({ stopped: 1 });
    expect((await ask('DELETE', '/api/incidents/hang')).status).toBe(404);
    expect((await ask('GET', '/api/incidents')).body['active']).toEqual([]);
  });

  it('are stopped by their number, on a GPU that is named by its own', async () => {
    const ask = await listen(false);
    const { body } = await ask('POST', '/api/incidents', { incident: 'xid_79', target: 1 });
    expect((await ask('DELETE', `/api/incidents/${String(body['id'])}`)).body).toEqual({ stopped: 1 });
  });

  it('end by themselves when their time is over', async () => {
    const ask = await listen(false);
    await ask('POST', '/api/incidents', { incident: 'hang', target: 'chat', for_seconds: 5 });
    world.runUntil(64.9);
    expect(world.incidents.active).toHaveLength(1);
    world.runUntil(65.1);
    expect(world.incidents.active).toHaveLength(0);
  });

  it.each<[string, unknown, RegExp]>([
    ['no JSON', '{', /no JSON object/],
    ['a list', [], /no JSON object/],
    ['no name', {}, /incident/],
    ['a name that is none', { incident: 'hangs' }, /hang/],
    ['a target that is not there', { incident: 'hang', target: 'nobody' }, /nobody/],
    ['a time that is none', { incident: 'hang', target: 'chat', for_seconds: 0 }, /for_seconds/],
    ['a time in words', { incident: 'hang', target: 'chat', for_seconds: '5m' }, /for_seconds/],
    ['a time without end', '{"incident":"hang","target":"chat","for_seconds":1e999}', /for_seconds/],
    ['a misspelled field', { incident: 'hang', target: 'chat', for: 5 }, /"for".*for_seconds/],
    ['a target that is no name', { incident: 'hang', target: { name: 'chat' } }, /target: expected/],
    [
      'parameters that are a list',
      { incident: 'hang', target: 'chat', parameters: [1] },
      /parameters: expected/,
    ],
    [
      'several faults at once',
      { incident: 'hang', target: 'nobody', parameters: 'x', for_seconds: 0 },
      /parameters: .*for_seconds: .*nobody/,
    ],
  ])('with %s are refused', async (_what, body, message) => {
    const ask = await listen(false);
    const answer = await ask('POST', '/api/incidents', body);
    expect(answer.status).toBe(400);
    expect(answer.body['error']).toMatchObject({ message: expect.stringMatching(message) as string });
    expect(world.incidents.active).toEqual([]);
  });
});

describe('the load', () => {
  const rates = (): number[] => world.traffics.map(({ state }) => state.ratePerSecond);

  it('of one traffic or of all is changed', async () => {
    const ask = await listen(false);
    const [people = 0, robots = 0] = rates();
    expect((await ask('POST', '/api/load', { traffic: 'people', factor: 3 })).body).toEqual({
      traffic: ['people'],
      factor: 3,
    });
    expect(rates()).toEqual([people * 3, robots]);
    await ask('POST', '/api/load', { factor: 0 });
    expect(rates()).toEqual([0, 0]);
  });

  it('stays what it was told to be when an overload is over', async () => {
    const ask = await listen(false);
    const [people = 0] = rates();
    await ask('POST', '/api/load', { traffic: 'people', factor: 3 });
    await ask('POST', '/api/incidents', {
      incident: 'overload',
      target: 'people',
      parameters: { factor: 10 },
    });
    expect(rates()[0]).toBe(people * 3 * 10);
    await ask('POST', '/api/load', { traffic: 'people', factor: 2 });
    expect(rates()[0]).toBe(people * 2 * 10);
    await ask('DELETE', '/api/incidents/overload');
    expect(rates()[0]).toBe(people * 2);
  });

  it.each([
    [{ factor: -0.1 }, 400],
    [{ factor: 1001 }, 400],
    [{ factor: '2' }, 400],
    [{}, 400],
    [{ trafic: 'people', factor: 2 }, 400],
    [{ traffic: 'nobody', factor: 2 }, 404],
  ])('is not by %j', async (body, status) => {
    const ask = await listen(false);
    const before = rates();
    expect((await ask('POST', '/api/load', body)).status).toBe(status);
    expect(rates()).toEqual(before);
  });
});

describe('the speed', () => {
  it.each([
    [0, 200],
    [1000, 200],
    [-1, 400],
    [1000.5, 400],
    ['2', 400],
    [null, 400],
  ])('%j is answered %d', async (speed, status) => {
    const ask = await listen(false);
    expect((await ask('POST', '/api/speed', { speed })).status).toBe(status);
    expect(pacer.speed).toBe(status === 200 ? speed : 1);
  });
});
