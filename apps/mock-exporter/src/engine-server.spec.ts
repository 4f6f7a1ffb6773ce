import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type Socket } from 'node:net';

import { createLogger } from '@llm-monitor/exporter-http';
import { SimulatedWorld, type EngineState } from '@llm-monitor/simulation';

import { EngineServer } from './engine-server.ts';
import { loadScenario } from './load-scenario.ts';
import { until } from './test-until.ts';

jest.setTimeout(60_000);

const SCENARIO = `
seed: test
host:
  name: test
  gpus: [{ board: h100-sxm, count: 1 }]
  driver: { nvidia: 570.133.20, cuda: 12.8 }
engines:
  - { name: chat, kind: vllm, port: 0, model: meta-llama/Llama-3.1-8B-Instruct, gpus: [0] }
traffic: []
`;

let world: SimulatedWorld;
let server: EngineServer;
let records: { readonly level: string; readonly msg: string }[];
let sockets: Socket[];

beforeEach(async () => {
  const loaded = loadScenario('test.yaml', () => SCENARIO);
  const [spec] = loaded.ok ? loaded.scenario.engines : [];
  if (!loaded.ok || spec === undefined) throw new Error(loaded.ok ? 'no engine' : loaded.message);
  world = new SimulatedWorld(loaded.scenario);
  world.runUntil(60);
  records = [];
  sockets = [];
  server = new EngineServer({
    engine: world.engine('chat'),
    spec,
    host: '127.0.0.1',
    seed: 'test',
    epochSeconds: 1_790_000_000,
    now: () => world.now,
    log: createLogger({
      app: 'mock-exporter',
      level: 'info',
      destination: { write: (line: string) => void records.push(JSON.parse(line) as never) },
    }),
  });
  await server.listen();
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await server.close();
});

function state(): EngineState {
  return world.engine('chat').now.state();
}

function portOf(): number {
  return Number(new URL(server.url ?? '').port);
}

/** A client that says exactly this, and reads only when it is told to. */
async function say(text: string | Buffer): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: portOf() }).on('error', () => undefined);
  sockets.push(socket);
  await once(socket, 'connect');
  socket.write(text);
  return socket;
}

function request(body: string, more = ''): string {
  return `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${more}\r\n${body}`;
}

function chat(maxTokens: number): string {
  return JSON.stringify({
    messages: [{ role: 'user', content: 'hello' }],
    max_tokens: maxTokens,
    ignore_eos: true,
    stream: true,
    stream_options: { include_usage: true },
  });
}

/** A client that reads its whole stream of a hundred tokens. */
function readStream(): Promise<string> {
  return fetch(`${server.url}/v1/chat/completions`, { method: 'POST', body: chat(100) }).then((answer) =>
    answer.text(),
  );
}

/** Lets the world go on, and its clients read, until something holds. */
async function run(condition: () => boolean, stepSeconds = 1): Promise<void> {
  await until(() => {
    world.runUntil(world.now + stepSeconds);
    return condition();
  });
}

describe('a client that behaves badly', () => {
  const wholeRequest = request(chat(100));

  const garbage: readonly (readonly [string, string | Buffer])[] = [
    ['the beginning of TLS', Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00])],
    ['a word', 'hello\r\n\r\n'],
    ['a header without a name', 'GET / HTTP/1.1\r\n: x\r\n\r\n'],
    ['two lengths', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx'],
    ['a chunk of no length', 'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n'],
    ['half a request', wholeRequest.slice(0, 40)],
    ['half a body', wholeRequest.slice(0, -10)],
    ['a body that is no JSON', request('{"messages":')],
    [
      'a body that is announced and too large',
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n{',
    ],
  ];

  it.each(garbage)('with %s changes nothing for another', async (_what, text) => {
    const other = readStream();
    await until(() => state().running + state().waiting === 1);
    const { rejected, requests } = state();
    const socket = await say(text);
    socket.end();
    await run(() => state().requests.length === 1);
    socket.destroy();
    expect((await other).match(/"content":"[^"]/g)).toHaveLength(100);
    expect(state()).toMatchObject({ rejected, requests: { ...requests, length: 1 }, running: 0, waiting: 0 });
    expect(world.engine('chat').now.audit()).toEqual([]);
  });

  it('with a body beyond what is kept is refused', async () => {
    const socket = await say(
      `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n`,
    );
    let answer = '';
    socket.setEncoding('utf8').on('data', (part: string) => (answer += part));
    for (let sent = 0; sent < 17 && !socket.destroyed; sent += 1) socket.write(Buffer.alloc(1024 ** 2, 0x20));
    await until(() => answer !== '');
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    expect((await fetch(`${server.url}/health`)).status).toBe(200);
  });

  it('and goes away in the midst of its answer gives its place back', async () => {
    const other = readStream();
    const socket = await say(request(chat(20_000)));
    await until(() => state().running + state().waiting === 2);
    await run(() => socket.bytesRead > 0 || socket.readableLength > 0);
    expect(state().kv.usedBlocks).toBeGreaterThan(0);
    socket.destroy();
    await until(() => state().requests.abort === 1);
    await run(() => state().requests.length === 1);
    expect((await other).match(/"content":"[^"]/g)).toHaveLength(100);
    expect(state()).toMatchObject({ running: 0, waiting: 0, kv: { usedBlocks: 0 } });
  });

  it('and never reads is cut, and holds up nobody', async () => {
    const socket = await say(request(chat(100_000)));
    socket.pause();
    await until(() => state().running + state().waiting === 1);
    const other = readStream();
    await until(() => state().running + state().waiting === 2);
    await run(() => state().requests.abort === 1, 10);
    expect(state().generatedTokens).toBeLessThan(100_000);
    expect(state()).toMatchObject({ running: 0, waiting: 0, kv: { usedBlocks: 0 } });
    expect((await other).match(/"content":"[^"]/g)).toHaveLength(100);
    expect(world.engine('chat').now.audit()).toEqual([]);
  });
});

describe('the port', () => {
  const answers = (): Promise<boolean> =>
    fetch(`${server.url}/health`).then(
      ({ ok }) => ok,
      () => false,
    );

  it('is closed while the engine is down, and its clients are cut', async () => {
    const socket = await say(request(chat(20_000)));
    await until(() => state().running + state().waiting === 1);
    const closed = once(socket, 'close');
    socket.resume();
    world.engine('chat').now.crash();
    server.follow();
    await closed;
    expect(await answers()).toBe(false);
    world.engine('chat').now.start(0);
    world.runUntil(world.now + 1);
    server.follow();
    await until(answers);
    expect(records).toEqual([]);
  });

  it('that another program took meanwhile is told once, and had when it is free', async () => {
    const port = portOf();
    world.engine('chat').now.crash();
    server.follow();
    await until(async () => !(await answers()));
    const thief = createServer((_request, response) => response.writeHead(418).end());
    await new Promise<void>((resolve) => thief.listen({ host: '127.0.0.1', port }, resolve));
    world.engine('chat').now.start(0);
    world.runUntil(world.now + 1);
    await until(() => {
      server.follow();
      return records.length > 0;
    });
    expect(records).toMatchObject([
      { level: 'error', msg: expect.stringContaining('cannot be had') as string, port },
    ]);
    await new Promise((resolve) => {
      thief.close(resolve);
      thief.closeAllConnections();
    });
    await until(() => {
      server.follow();
      return answers();
    });
    expect(records).toMatchObject([
      { level: 'error' },
      { level: 'info', msg: 'the port of an engine is free again' },
    ]);
  });
});
