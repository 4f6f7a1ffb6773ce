import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';

import {
  promtoolPath,
  promtoolReason,
  runPromtoolCheck,
  startFakeServer,
  type FakeServer,
} from '@llm-monitor/testing';

import { backendOf, fakeGpuWatch, GIBIBYTE, gpuOf, processOf, snapshotOf } from './test-gpus.ts';
import {
  candidate,
  fixtureAnswers,
  serverIn,
  startTestMonitor,
  statesOf,
  type TestMonitor,
} from './test-monitor.ts';

const VLLM = 'vllm-0.4-v0.http';
const ends: (() => Promise<void>)[] = [];

async function start(...parts: Parameters<typeof startTestMonitor>): Promise<TestMonitor> {
  const started = await startTestMonitor(...parts);
  ends.push(() => started.monitor.stop(0));
  return started;
}

async function fake(...parts: Parameters<typeof startFakeServer>): Promise<FakeServer> {
  const server = await startFakeServer(...parts);
  ends.push(() => server.close());
  return server;
}

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

describe('a server on this host', () => {
  it('is found by itself and shown with its figures', async () => {
    const engine = await fake(fixtureAnswers(VLLM));
    const { monitor, state } = await start({}, () =>
      Promise.resolve({ ask: [candidate(engine.url)], passedOver: [] }),
    );
    await monitor.firstLook;
    expect(serverIn(await state(), `vllm-${engine.port}`)).toMatchObject({
      engine: 'vLLM',
      models: ['mistralai/Mistral-7B-Instruct-v0.2'],
      state: { level: 'serving', word: 'Serving' },
      running: { value: 4 },
      waiting: { value: 1 },
      kvCache: { text: '97', unit: '%' },
      problem: '',
    });
  });

  it('appears on a page that is open already', async () => {
    const engine = await fake(fixtureAnswers(VLLM));
    let ask: ReturnType<typeof candidate>[] = [];
    const { monitor, get } = await start({}, () => Promise.resolve({ ask, passedOver: [] }));
    await monitor.firstLook;
    const states = statesOf(await get('/api/events'));
    expect((await states.next()).value).toMatchObject({ headline: 'No LLM server found', servers: [] });
    ask = [candidate(engine.url)];
    await monitor.watch.discover();
    for await (const state of states) if (state.servers[0]?.running.value === 4) break;
    expect.assertions(1);
  });

  it('that is gone is shown as down with its last word, not left out', async () => {
    const engine = await fake(fixtureAnswers(VLLM));
    let ask = [candidate(engine.url)];
    const { monitor, state } = await start({}, () => Promise.resolve({ ask, passedOver: [] }));
    await monitor.firstLook;
    await engine.close();
    ask = [];
    await monitor.watch.discover();
    await monitor.watch.readAll();
    const { headline, servers } = await state();
    expect(headline).toBe('1 LLM server, 1 down');
    expect(servers[0]).toMatchObject({
      state: { level: 'down', word: 'Down' },
      running: { text: '–', reason: 'the server does not answer' },
    });
    expect(servers[0]?.problem).toContain(`${engine.url} is no longer listened on`);
  });

  it('that is no engine is left alone, and the page says so', async () => {
    const stranger = await fake({ '/': '<html>nginx</html>' });
    const { monitor, state } = await start({}, () =>
      Promise.resolve({
        ask: [candidate(stranger.url, false)],
        passedOver: [{ socket: { address: '::', port: 9001, inode: '9' }, why: 'an inner port' }],
      }),
    );
    await monitor.firstLook;
    const { servers, search } = await state();
    expect(servers).toEqual([]);
    expect(search.leftAlone).toEqual([
      { address: '[::]:9001', why: 'an inner port' },
      {
        address: `127.0.0.1:${stranger.port}`,
        why: 'process 7 runs vllm; answers as none of the engines it could be',
      },
    ]);
    expect(search.sought.find(({ title }) => title === 'vLLM')).toMatchObject({ ports: '8000' });
    expect(search).toMatchObject({ discovery: true, isBlind: false });
  });

  it('cannot be found where the host does not tell its sockets, and the page says so', async () => {
    const { monitor, state } = await start({}, () => Promise.resolve(undefined));
    await monitor.firstLook;
    expect((await state()).search.isBlind).toBe(true);
  });
});

it('adds nothing up over servers, since one may be a gateway to another', async () => {
  const [one, other] = [await fake(fixtureAnswers(VLLM)), await fake(fixtureAnswers(VLLM))];
  const { monitor, state } = await start({ TARGETS: `one=${one.url},other=${other.url}` });
  await monitor.firstLook;
  const { headline, servers, ...rest } = await state();
  expect([headline, servers.map(({ running }) => running.value)]).toEqual(['2 LLM servers', [4, 4]]);
  expect(Object.keys(rest).sort()).toEqual(['atSeconds', 'gpus', 'search', 'version']);
});

it.each([
  [{}, 421],
  [{ ALLOWED_HOSTS: 'gpu-box.lan' }, 200],
])('answers to local names, and to those of %j', async (variables, status) => {
  const { monitor } = await start({ TARGETS: 'one=http://127.0.0.1:1', ...variables });
  const asking = request(`${monitor.listening.url}/-/healthy`, {
    headers: { host: 'gpu-box.lan' },
    agent: false,
  }).end();
  const [response] = (await once(asking, 'response')) as [IncomingMessage];
  response.resume();
  expect(response.statusCode).toBe(status);
});

it('shows one server while another hangs, which has its own deadline', async () => {
  const engine = await fake(fixtureAnswers(VLLM));
  const hung = await fake(() => undefined);
  const { monitor, stateWhere, get } = await start({
    TARGETS: `good=${engine.url},hung=vllm+${hung.url}`,
    READ_TIMEOUT: '20s',
  });
  const state = await stateWhere(({ servers }) => servers.some(({ running }) => running.value === 4));
  expect(serverIn(state, 'good').state.word).toBe('Serving');
  expect(serverIn(state, 'hung').state.word).toBe('Reading');
  void monitor.watch.readAll();
  expect(hung.requests).toHaveLength(1);
  expect((await get('/-/healthy')).status).toBe(200);
});

it('tells what is wrong with a target, and how to mend it', async () => {
  const stranger = await fake({ '/': 'hello' });
  const { monitor, state } = await start({ TARGETS: `chat=${stranger.url}` });
  await monitor.watch.readAll();
  const { problem, engine } = serverIn(await state(), 'chat');
  expect(problem).toContain('answers as no engine that is known: is it the right port?');
  expect(engine).toBe('');
});

describe('the page', () => {
  it('allows nothing but itself and asking its own server', async () => {
    const engine = await fake(fixtureAnswers(VLLM));
    const { monitor, get } = await start({ TARGETS: `chat=${engine.url}` });
    await monitor.watch.readAll();
    const answer = await get('/');
    const html = await answer.text();
    const [style = ''] = /(?<=<style>).*?(?=<\/style>)/s.exec(html) ?? [];
    const [script = ''] = /(?<=<script>).*?(?=<\/script>)/s.exec(html) ?? [];
    const hash = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
    expect(answer.headers.get('content-security-policy')?.split('; ')).toEqual([
      "default-src 'none'",
      `style-src ${hash(style)}`,
      `script-src ${hash(script)}`,
      "connect-src 'self'",
      "img-src 'self' data:",
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
    ]);
    expect(html).toContain('mistralai/Mistral-7B-Instruct-v0.2');
  });

  it('names no address outside, and has no inline style or handler that its policy would refuse', async () => {
    const { get } = await start({ TARGETS: 'chat=http://127.0.0.1:9' });
    const html = await (await get('/')).text();
    const addresses = [...html.matchAll(/(?:src|href|action|url)\s*[=(]\s*["']?([^"')\s>]*)/g)].map(
      ([, address]) => address,
    );
    expect(new Set(addresses)).toEqual(new Set(['data:,', '/api/state', '/metrics']));
    expect(html).not.toMatch(/@import|\sstyle=|\son[a-z]+=/);
  });

  it('holds what a server says of itself as data that cannot end its script', async () => {
    const answers = fixtureAnswers(VLLM);
    const renamed = Object.fromEntries(
      Object.entries(answers).map(([asked, { body }]) => [
        asked,
        body.replaceAll('mistralai/', '</script><b>'),
      ]),
    );
    const engine = await fake(renamed);
    const { monitor, get, state } = await start({ TARGETS: `chat=${engine.url}` });
    await monitor.watch.readAll();
    expect(serverIn(await state(), 'chat').models).toEqual(['</script><b>Mistral-7B-Instruct-v0.2']);
    const html = await (await get('/')).text();
    expect(html.match(/<\/script>/g)).toHaveLength(2);
    expect(html).toContain('\\u003c/script>\\u003cb>Mistral');
  });
});

describe('the GPUs of this host', () => {
  const lost = gpuOf([], { reading: { gpu: '1', uuid: 'GPU-1', condition: 'lost' } });

  it('are shown with the model that uses them, and its server with its GPUs', async () => {
    const engine = await fake(fixtureAnswers(VLLM));
    const process = processOf(7, { engine: 'vllm', port: engine.port }, { memoryBytes: 14 * GIBIBYTE });
    const working = gpuOf([['gpu_utilization_ratio', 0.5]], { processes: [process] });
    const gpus = fakeGpuWatch(snapshotOf([working, lost]));
    const { monitor, state } = await start(
      { TARGETS: `chat=${engine.url}` },
      undefined,
      undefined,
      () => gpus,
    );
    await monitor.watch.readAll();
    const shown = await state();
    expect(shown.headline).toBe('1 LLM server · 2 GPUs, 1 down');
    expect(serverIn(shown, 'chat').onGpus).toBe('GPU 0 · 14 GiB');
    expect(shown.gpus).toMatchObject({
      shown: true,
      line: '',
      gpus: [
        {
          title: 'GPU 0',
          state: { word: 'Working' },
          users: [{ name: 'mistralai/Mistral-7B-Instruct-v0.2', detail: 'vLLM · chat', memory: '14 GiB' }],
        },
        { title: 'GPU 1', state: { level: 'down', word: 'Lost' } },
      ],
    });
  });

  it('that change are told to a page that is open', async () => {
    const gpus = fakeGpuWatch(snapshotOf([gpuOf([['gpu_utilization_ratio', 0]])]));
    const { get } = await start({ TARGETS: 'chat=http://127.0.0.1:9' }, undefined, undefined, () => gpus);
    const states = statesOf(await get('/api/events'));
    await states.next();
    gpus.become(snapshotOf([gpuOf([['gpu_utilization_ratio', 1]])]));
    let word: string | undefined;
    for await (const { gpus: told } of states) {
      word = told.gpus[0]?.state.word;
      if (word !== 'Idle') break;
    }
    expect(word).toBe('Working');
  });

  it('have a past that goes on while nobody looks', async () => {
    let now = 1_000_000_000_000;
    const busy = snapshotOf([
      gpuOf([], { windows: { utilization: { max: 1, avg: 0.4, p95: 1, samples: 50 } } }),
    ]);
    const gpus = fakeGpuWatch(busy);
    const { monitor } = await start(
      { TARGETS: 'chat=http://127.0.0.1:9' },
      undefined,
      () => now,
      () => gpus,
    );
    gpus.become(busy);
    now += 5000;
    expect(monitor.state().gpus.gpus[0]?.chart.points.at(-1)).toBe(0.4);
  });

  it('are in /metrics, with a window for each client', async () => {
    const gpus = fakeGpuWatch(snapshotOf([gpuOf(), lost], [backendOf({ ageSeconds: 0.4 })]));
    const { get } = await start({ TARGETS: 'chat=http://127.0.0.1:9' }, undefined, undefined, () => gpus);
    const lines = (await (await get('/metrics?client=one')).text()).split('\n');
    await get('/metrics?client=two');
    expect(lines).toContain('gpu_up{gpu="0",uuid="GPU-0"} 1');
    expect(lines).toContain('gpu_down_info{gpu="1",uuid="GPU-1",reason="lost"} 1');
    expect(gpus.clients.map((client) => client.split(' ').at(-1))).toEqual(['one', 'two']);
  });

  it('that are none are one quiet line, and no server is on one', async () => {
    const gpus = fakeGpuWatch(snapshotOf([], [], 'no GPU on the bus'));
    const { state } = await start({ TARGETS: 'chat=http://127.0.0.1:9' }, undefined, undefined, () => gpus);
    const { headline, gpus: shown, servers } = await state();
    expect([headline, shown]).toEqual([
      '1 LLM server, 1 down',
      { shown: true, gpus: [], problems: [], line: 'No GPU seen: no GPU on the bus.' },
    ]);
    expect(servers[0]?.onGpus).toBe('');
  });

  it('are left alone where the settings say so', async () => {
    const { get, state } = await start({ TARGETS: 'chat=http://127.0.0.1:9' });
    expect((await state()).gpus.shown).toBe(false);
    expect(await (await get('/metrics')).text()).not.toMatch(/^gpu_/m);
  });

  it('are let go when the monitor stops', async () => {
    const gpus = fakeGpuWatch(snapshotOf([]));
    const { monitor } = await startTestMonitor(
      { TARGETS: 'chat=http://127.0.0.1:9' },
      undefined,
      undefined,
      () => gpus,
    );
    await monitor.stop(0);
    expect(gpus.stopped).toBe(true);
  });
});

describe('somebody who comes to look after a while', () => {
  /** A monitor at its idle pace, whose last reading is that many seconds old and saw 4 running; now 9 run. */
  async function idle(seconds: number): Promise<TestMonitor & { readonly engine: FakeServer }> {
    const answers = fixtureAnswers(VLLM);
    let running = 4;
    const engine = await fake(({ url = '' }, response) => {
      const { status, body } = answers[url] ?? { status: 404, body: '' };
      response
        .writeHead(status, { 'content-type': 'text/plain' })
        .end(body.replace(/(vllm:num_requests_running\{.*\}) .*/, `$1 ${running}`));
    });
    let now = Date.now();
    const started = await start({ TARGETS: `chat=vllm+${engine.url}` }, undefined, () => now);
    await started.monitor.watch.readAll();
    running = 9;
    now += seconds * 1000;
    return { ...started, engine };
  }

  it('and asks for the state is told what is so now', async () => {
    const { state } = await idle(12);
    expect(serverIn(await state(), 'chat').running.value).toBe(9);
  });

  it('and opens the page has it there from the first', async () => {
    const { get } = await idle(12);
    expect(await (await get('/')).text()).toContain('"running":{"text":"9","value":9}');
  });

  it('and listens is told at once', async () => {
    const { stateWhere } = await idle(12);
    expect(
      serverIn(await stateWhere(({ servers }) => servers[0]?.running.value === 9), 'chat').lastRead,
    ).toBe('read just now');
  });

  it('soon after a reading causes no other', async () => {
    const { state, engine } = await idle(1);
    const before = engine.requests.length;
    expect(serverIn(await state(), 'chat').running.value).toBe(4);
    expect(engine.requests).toHaveLength(before);
  });
});

describe('/metrics', () => {
  it('gives every server in one schema, those that are down too, and what the monitor says of itself', async () => {
    const engine = await fake(fixtureAnswers(VLLM));
    const { get } = await start({ TARGETS: `good=vllm+${engine.url},gone=vllm+http://127.0.0.1:9` });
    const lines = (await (await get('/metrics')).text()).split('\n');
    expect(lines).toContain('llm_up{server="good",engine="vllm"} 1');
    expect(lines).toContain('llm_up{server="gone",engine="vllm"} 0');
    expect(lines).toContain('llm_monitor_build_info{app="monitor",version="0.1.0"} 1');
    expect(lines).toContain('llm_monitor_collector_success{collector="gone"} 0');
  });

  const withPromtool = promtoolPath() === undefined ? it.skip : it;
  const why = promtoolPath() === undefined ? ` (${promtoolReason})` : '';
  withPromtool(`pleases promtool${why}`, async () => {
    const engine = await fake(fixtureAnswers(VLLM));
    const { get } = await start({ TARGETS: `good=vllm+${engine.url}` });
    const text = await (await get('/metrics')).text();
    expect(runPromtoolCheck(text.replace(/^(# (HELP|TYPE) )?(nodejs|process)_.*\n/gm, ''))).toEqual({
      ok: true,
      output: '',
    });
  });
});

it('is ready when it has looked once', async () => {
  let found: (nothing: { ask: []; passedOver: [] }) => void = () => undefined;
  const { monitor, get } = await start({}, () => new Promise((resolve) => (found = resolve)));
  expect((await get('/-/ready')).status).toBe(503);
  found({ ask: [], passedOver: [] });
  await monitor.firstLook;
  expect((await get('/-/ready')).status).toBe(200);
});

it('refuses the seventeenth page that wants to listen, and tells it to ask instead', async () => {
  const { get } = await start({ TARGETS: 'chat=http://127.0.0.1:9' });
  const pages = await Promise.all(Array.from({ length: 16 }, () => get('/api/events')));
  expect(pages.map(({ status }) => status)).toEqual(Array(16).fill(200));
  expect((await get('/api/events')).status).toBe(503);
  expect((await get('/api/state')).status).toBe(200);
});

it('ends open pages when it stops', async () => {
  const { monitor, get } = await start({ TARGETS: 'chat=http://127.0.0.1:9' });
  const states = statesOf(await get('/api/events'));
  await states.next();
  await monitor.stop(30);
  for await (const state of states) expect(state.version).toBe('0.1.0');
});

it('says in one sentence that its port is taken, and how to mend it', async () => {
  const other = await fake({});
  await expect(
    startTestMonitor({ TARGETS: 'chat=http://127.0.0.1:9', PORT: String(other.port) }),
  ).rejects.toThrow(
    `Cannot listen on 127.0.0.1 port ${other.port} (EADDRINUSE): another process has that port: stop it`,
  );
});
