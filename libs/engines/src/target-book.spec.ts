import type { MetricFamily } from '@llm-monitor/metrics-core';
import { startFakeServer, type FakeServer } from '@llm-monitor/testing';

import type { Candidate, Candidates } from './discovery/candidates.ts';
import { createGet } from './http-get.ts';
import type { EngineName } from './registry.ts';
import { TargetBook, type TargetBookParts, type TargetEvent } from './target-book.ts';

const LLAMA = {
  '/metrics': [
    'llamacpp:requests_processing 0',
    'llamacpp:requests_deferred 0',
    'llamacpp:prompt_tokens_total 0',
    'llamacpp:tokens_predicted_total 0',
    'llamacpp:prompt_seconds_total 0',
    'llamacpp:tokens_predicted_seconds_total 0',
    '',
  ].join('\n'),
  '/props': { headers: { server: 'llama.cpp' }, body: '{"total_slots":2,"build_info":"b20000-x"}' },
  '/v1/models': {
    headers: { server: 'llama.cpp' },
    body: '{"object":"list","data":[{"id":"tiny","owned_by":"llamacpp"}]}',
  },
  '/health': '{"status":"ok"}',
};
const VLLM = {
  '/metrics': 'vllm:num_requests_running{model_name="m"} 3\n',
  '/version': '{"version":"0.11.0"}',
  '/v1/models': '{"object":"list","data":[{"id":"m","owned_by":"vllm"}]}',
  '/health': '',
};
const WEBSITE = { '/': '<html>hello</html>', '/metrics': '<html>hello</html>' };

const servers: FakeServer[] = [];
async function serve(answers: Parameters<typeof startFakeServer>[0]): Promise<FakeServer> {
  const server = await startFakeServer(answers);
  servers.push(server);
  return server;
}
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

const candidate = (
  url: string,
  engines: readonly EngineName[],
  inode: string,
  certain = true,
): Candidate => ({
  socket: { address: '127.0.0.1', port: Number(new URL(url).port), inode },
  url,
  engines,
  why: 'a test',
  certain,
});

interface Stage {
  readonly book: TargetBook;
  readonly events: TargetEvent[];
  found: Candidates;
  clock: number;
}

/** A book over sockets and a clock that the test sets. */
function stage(parts: Partial<TargetBookParts> = {}): Stage {
  const events: TargetEvent[] = [];
  const found: Candidates = { ask: [], passedOver: [] };
  const set = { found, clock: 1_000_000 };
  const book = new TargetBook({
    configured: [],
    discover: () => Promise.resolve(set.found),
    createGet: (endpoint) => createGet(endpoint),
    forgetAfterSeconds: 60,
    readTimeoutSeconds: 5,
    now: () => set.clock,
    onEvent: (event) => events.push(event),
    ...parts,
  });
  return Object.assign(set, { events, book });
}

const valueOf = (families: readonly MetricFamily[], name: string): number | undefined => {
  const point = families.find((family) => family.name === name)?.points[0];
  return point !== undefined && 'value' in point ? point.value : undefined;
};

const readAll = (book: TargetBook) =>
  Promise.all(book.collectors().map(({ read }) => read(AbortSignal.timeout(5_000))));

it('finds an engine, names it after engine and port, and reads it', async () => {
  const server = await serve(LLAMA);
  const test = stage();
  test.found = { ask: [candidate(server.url, ['llamacpp'], '1')], passedOver: [] };
  await test.book.discover();
  const [reading] = await readAll(test.book);
  expect(test.events.map(({ kind, server: name }) => [kind, name])).toEqual([
    ['found', `llamacpp-${server.port}`],
  ]);
  expect([reading?.up, reading?.state, reading?.version, reading?.models]).toEqual([
    true,
    'ready',
    'b20000-x',
    ['tiny'],
  ]);
  expect(valueOf(reading?.families ?? [], 'llm_requests_capacity')).toBe(2);
});

it('keeps a vanished engine as down, then forgets it', async () => {
  const server = await serve(LLAMA);
  const test = stage();
  test.found = { ask: [candidate(server.url, ['llamacpp'], '1')], passedOver: [] };
  await test.book.discover();
  await readAll(test.book);
  await server.close();
  test.found = { ask: [], passedOver: [] };
  test.clock += 59_000;
  await test.book.discover();
  const [reading] = await readAll(test.book);
  expect([reading?.up, valueOf(reading?.families ?? [], 'llm_up'), reading?.errors[0]?.reason]).toEqual([
    false,
    0,
    'refused',
  ]);
  expect(reading?.families.map(({ name }) => name)).toEqual(['llm_up', 'llm_ready', 'llm_engine_state']);
  test.clock += 2_000;
  await test.book.discover();
  expect(test.book.collectors()).toEqual([]);
  expect(test.events.map(({ kind }) => kind)).toEqual(['found', 'failed', 'forgotten']);
});

it('asks a stranger once and never again, until its socket is another', async () => {
  const server = await serve(WEBSITE);
  const test = stage();
  test.found = { ask: [candidate(server.url, ['vllm'], '1', false)], passedOver: [] };
  await test.book.discover();
  const once = server.requests.length;
  test.clock += 3_600_000;
  await test.book.discover();
  expect(once).toBeGreaterThan(0);
  expect(server.requests.length).toBe(once);
  expect(test.book.report().strangers).toEqual([
    { url: server.url, why: 'a test; answers as none of the engines it could be' },
  ]);
  test.found = { ask: [candidate(server.url, ['vllm'], '2', false)], passedOver: [] };
  await test.book.discover();
  expect(server.requests.length).toBeGreaterThan(once);
});

it('asks what runs an engine again, later and later, while it starts', async () => {
  let started = false;
  const server = await serve((request, response) => {
    const answer = started ? VLLM[request.url as keyof typeof VLLM] : undefined;
    response.writeHead(answer === undefined ? 404 : 200).end(answer);
  });
  const test = stage();
  test.found = { ask: [candidate(server.url, ['vllm'], '1')], passedOver: [] };
  await test.book.discover();
  const first = server.requests.length;
  test.clock += 4_000;
  await test.book.discover();
  expect(server.requests.length).toBe(first);
  started = true;
  test.clock += 2_000;
  await test.book.discover();
  expect(test.events.map(({ engine }) => engine)).toEqual(['vllm']);
});

it('knows another engine on the same port for what it is', async () => {
  let answers: Record<string, unknown> = LLAMA;
  const server = await serve((request, response) => {
    const answer = answers[request.url ?? ''] as
      string | { headers: Record<string, string>; body: string } | undefined;
    if (answer === undefined) return void response.writeHead(404).end();
    if (typeof answer === 'string') return void response.writeHead(200).end(answer);
    return void response.writeHead(200, answer.headers).end(answer.body);
  });
  const test = stage();
  test.found = { ask: [candidate(server.url, ['vllm', 'llamacpp'], '1')], passedOver: [] };
  await test.book.discover();
  answers = VLLM;
  test.found = { ask: [candidate(server.url, ['vllm', 'llamacpp'], '2')], passedOver: [] };
  await test.book.discover();
  expect(test.events.map(({ kind, engine }) => [kind, engine])).toEqual([
    ['found', 'llamacpp'],
    ['forgotten', 'llamacpp'],
    ['found', 'vllm'],
  ]);
  expect(test.book.collectors().map(({ server: name }) => name)).toEqual([`vllm-${server.port}`]);
});

it('takes up an engine that was started anew under its old name', async () => {
  const server = await serve(LLAMA);
  const test = stage();
  test.found = { ask: [candidate(server.url, ['llamacpp'], '1')], passedOver: [] };
  await test.book.discover();
  test.found = { ask: [candidate(server.url, ['llamacpp'], '2')], passedOver: [] };
  await test.book.discover();
  expect(test.book.collectors().map(({ server: name }) => name)).toEqual([`llamacpp-${server.port}`]);
});

it('asks nothing of who has taken the port of an engine that is gone', async () => {
  const server = await serve(LLAMA);
  const test = stage();
  test.found = { ask: [candidate(server.url, ['llamacpp'], '1')], passedOver: [] };
  await test.book.discover();
  test.found = { ask: [], passedOver: [] };
  await test.book.discover();
  const asked = server.requests.length;
  const [reading] = await readAll(test.book);
  expect([reading?.up, reading?.errors[0]?.reason, server.requests.length]).toEqual([
    false,
    'refused',
    asked,
  ]);
});

it('asks who does not answer yet on a default port again, since it may be starting', async () => {
  let started = false;
  const server = await serve((request, response) => {
    const answer = started ? VLLM[request.url as keyof typeof VLLM] : undefined;
    if (!started) return void response.destroy();
    response.writeHead(answer === undefined ? 404 : 200).end(answer);
  });
  const test = stage();
  test.found = { ask: [candidate(server.url, ['vllm'], '1', false)], passedOver: [] };
  await test.book.discover();
  started = true;
  test.clock += 5_000;
  await test.book.discover();
  expect(test.events.map(({ kind }) => kind)).toEqual(['found']);
});

describe('the key for discovered engines', () => {
  const locked =
    (keys: string[]): Parameters<typeof startFakeServer>[0] =>
    (request, response) => {
      const { authorization } = request.headers;
      keys.push(authorization ?? 'none');
      const answer = authorization === 'Bearer sk' ? VLLM[request.url as keyof typeof VLLM] : undefined;
      response.writeHead(authorization === undefined ? 401 : answer === undefined ? 404 : 200).end(answer);
    };

  it('is given to what runs an engine and asks for it', async () => {
    const server = await serve(locked([]));
    const test = stage({ discoveredToken: 'sk' });
    test.found = { ask: [candidate(server.url, ['vllm'], '1', true)], passedOver: [] };
    await test.book.discover();
    expect(test.events.map(({ kind }) => kind)).toEqual(['found']);
  });

  it('is not given to whoever sits on a default port', async () => {
    const keys: string[] = [];
    const server = await serve(locked(keys));
    const test = stage({ discoveredToken: 'sk' });
    test.found = { ask: [candidate(server.url, ['vllm'], '1', false)], passedOver: [] };
    await test.book.discover();
    expect(new Set(keys)).toEqual(new Set(['none']));
  });
});

describe('a configured target', () => {
  it('is detected when it is read, and a stranger is asked again later', async () => {
    let up = false;
    const server = await serve((request, response) => {
      const answer = up
        ? VLLM[request.url as keyof typeof VLLM]
        : WEBSITE[request.url as keyof typeof WEBSITE];
      response.writeHead(answer === undefined ? 404 : 200).end(answer);
    });
    const test = stage({ configured: [{ server: 'mine', endpoint: { url: server.url } }] });
    const [before] = await readAll(test.book);
    expect([before?.up, before?.errors[0]?.reason]).toEqual([false, 'not_recognized']);
    up = true;
    const asked = server.requests.length;
    const [soon] = await readAll(test.book);
    expect([soon?.errors[0]?.reason, server.requests.length]).toEqual(['not_recognized', asked]);
    test.clock += 5_000;
    const [after] = await readAll(test.book);
    expect([after?.up, valueOf(after?.families ?? [], 'llm_requests_running')]).toEqual([true, 3]);
    expect(test.book.report().targets[0]).toMatchObject({
      server: 'mine',
      engine: 'vllm',
      origin: 'configured',
    });
  });

  it('keeps the name of its engine while it is down, and is asked anew what it is', async () => {
    const server = await serve(VLLM);
    const test = stage({ configured: [{ server: 'mine', endpoint: { url: server.url } }] });
    await readAll(test.book);
    await server.close();
    const [down] = await readAll(test.book);
    expect(down?.families[0]?.points).toEqual([{ labels: { server: 'mine', engine: 'vllm' }, value: 0 }]);
    const [again] = await readAll(test.book);
    expect(again?.families[0]?.points).toEqual([{ labels: { server: 'mine', engine: 'vllm' }, value: 0 }]);
  });

  it('that asks for a key is not asked what it is at every reading', async () => {
    const server = await serve((_, response) => void response.writeHead(401).end());
    const test = stage({ configured: [{ server: 'mine', endpoint: { url: server.url } }] });
    await readAll(test.book);
    const asked = server.requests.length;
    const [reading] = await readAll(test.book);
    expect([reading?.errors[0]?.reason, server.requests.length]).toEqual(['unauthorized', asked]);
  });

  it('is read to the end though one of two that ask is in a hurry', async () => {
    const held: (() => void)[] = [];
    const server = await serve((request, response) => {
      held.push(() => void response.end(VLLM[request.url as keyof typeof VLLM]));
      if (held.length > 1) held.pop()?.();
    });
    const { book } = stage({
      configured: [{ server: 'mine', endpoint: { url: server.url }, engine: 'vllm' }],
    });
    const hurry = new AbortController();
    const [hasty, patient] = [hurry.signal, new AbortController().signal].map((signal) =>
      book.collectors()[0]?.read(signal),
    );
    hurry.abort();
    expect((await hasty)?.errors[0]?.reason).toBe('timeout');
    while (held.length === 0) await new Promise((resolve) => setImmediate(resolve));
    held[0]?.();
    expect((await patient)?.up).toBe(true);
  });

  it('is read once for two that ask at the same time', async () => {
    const server = await serve(VLLM);
    const { book } = stage({
      configured: [{ server: 'mine', endpoint: { url: server.url }, engine: 'vllm' }],
    });
    const [one, other] = await Promise.all([readAll(book), readAll(book)]);
    expect(one[0]).toBe(other[0]);
    expect(server.requests.filter((each) => each === 'GET /metrics')).toHaveLength(1);
  });

  it('on this host is not discovered a second time', async () => {
    const server = await serve(VLLM);
    const test = stage({
      configured: [{ server: 'mine', endpoint: { url: `http://localhost:${server.port}/` } }],
    });
    test.found = { ask: [candidate(server.url, ['vllm'], '1')], passedOver: [] };
    await test.book.discover();
    expect(test.book.collectors().map(({ server: name }) => name)).toEqual(['mine']);
  });

  it('is found by its name and by its URL, and by nothing else', async () => {
    const server = await serve(VLLM);
    const { book } = stage({ configured: [{ server: 'mine', endpoint: { url: server.url } }] });
    expect([book.collector('mine')?.server, book.collector(`${server.url}/`)?.server]).toEqual([
      'mine',
      'mine',
    ]);
    expect(book.collector('http://127.0.0.1:1')).toBeUndefined();
  });

  it('tells once which metrics it owes', async () => {
    const server = await serve(VLLM);
    const test = stage({ configured: [{ server: 'mine', endpoint: { url: server.url }, engine: 'vllm' }] });
    await readAll(test.book);
    await readAll(test.book);
    const told = test.events.filter(({ kind }) => kind === 'metrics_missing');
    expect(told.map(({ detail }) => detail.includes('vllm:num_requests_waiting'))).toEqual([true]);
  });
});
