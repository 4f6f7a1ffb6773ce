import { gunzipSync } from 'node:zlib';
import { request } from 'node:http';

import type { Candidates } from '@llm-monitor/engines';
import {
  promtoolPath,
  promtoolReason,
  runPromtoolCheck,
  startFakeServer,
  type FakeServer,
} from '@llm-monitor/testing';

import { fixtureAnswers, readScrape, startTestExporter, type TestExporter } from './test-exporter.ts';
import type { TargetsView } from './targets-report.ts';

const VLLM = 'vllm-0.27-v1-dp2-lora.http';
const SGLANG = 'sglang-0.5.http';
const LLAMACPP = 'llamacpp-b11669-busy.http';

const servers: FakeServer[] = [];
const exporters: TestExporter[] = [];
afterEach(async () => {
  await Promise.all(exporters.splice(0).map((exporter) => exporter.stop()));
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function serve(answers: Parameters<typeof startFakeServer>[0]): Promise<FakeServer> {
  const server = await startFakeServer(answers);
  servers.push(server);
  return server;
}

async function start(...parts: Parameters<typeof startTestExporter>): Promise<TestExporter> {
  const exporter = await startTestExporter(...parts);
  exporters.push(exporter);
  return exporter;
}

describe('/metrics', () => {
  it('speaks both formats, and names every family once', async () => {
    const [one, other] = [await serve(fixtureAnswers(VLLM)), await serve(fixtureAnswers(VLLM))];
    const exporter = await start({ TARGETS: `one=${one.url},other=${other.url}` });
    const text = await exporter.get('/metrics');
    expect(text.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    const heads = (await text.text()).split('\n').filter((line) => line.startsWith('# TYPE '));
    expect(new Set(heads).size).toBe(heads.length);
    expect(heads).toContain('# TYPE llm_up gauge');
    const open = await exporter.get('/metrics', { accept: 'application/openmetrics-text; version=1.0.0' });
    expect(open.headers.get('content-type')).toContain('application/openmetrics-text');
    expect(await open.text()).toMatch(/\n# EOF\n$/);
  });

  it('is compressed for a scraper that asks for it', async () => {
    const exporter = await start({ TARGETS: `one=${(await serve(fixtureAnswers(VLLM))).url}` });
    const bytes = await new Promise<Buffer>((resolve, reject) => {
      request(
        `${exporter.url}/metrics`,
        { headers: { 'accept-encoding': 'gzip' }, agent: false },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('end', () => resolve(Buffer.concat(chunks)));
        },
      )
        .on('error', reject)
        .end();
    });
    expect(gunzipSync(bytes).toString()).toContain('llm_up{server="one"');
  });

  it('sends each target its own key and no other', async () => {
    const seen: (string | undefined)[] = [];
    const answers = fixtureAnswers(LLAMACPP);
    const server = await serve((incoming, response) => {
      seen.push(incoming.headers.authorization);
      const answer = answers[incoming.url ?? ''];
      response.writeHead(answer?.status ?? 404, answer?.headers).end(answer?.body);
    });
    const exporter = await start({ TARGETS: `one=${server.url}`, TARGET_TOKEN: 'hunter2' });
    const { text, value } = await exporter.scrape();
    expect(value('llm_up', { server: 'one' })).toBe(1);
    expect(new Set(seen)).toEqual(new Set(['Bearer hunter2']));
    const everything =
      text + (await (await exporter.get('/targets')).text()) + JSON.stringify(exporter.records);
    expect(everything).not.toContain('hunter2');
  });

  it('drops what is over the budget of one target, and counts it', async () => {
    const server = await serve(fixtureAnswers(VLLM));
    const exporter = await start({ TARGETS: `one=${server.url}`, MAX_SERIES_PER_TARGET: '60' });
    const { value } = await exporter.scrape();
    expect(value('llm_up', { server: 'one' })).toBe(1);
    const again = await exporter.scrape();
    expect(
      again.value('llm_monitor_dropped_series_total', { source: 'one', reason: 'budget' }),
    ).toBeGreaterThan(0);
  });

  (promtoolPath() === undefined ? it.skip : it)(
    `is accepted by promtool${promtoolPath() === undefined ? ` (${promtoolReason})` : ''}`,
    async () => {
      const [vllm, llamacpp] = [await serve(fixtureAnswers(VLLM)), await serve(fixtureAnswers(LLAMACPP))];
      const exporter = await start({ TARGETS: `a=${vllm.url},b=${llamacpp.url}` });
      await exporter.scrape();
      expect(runPromtoolCheck((await exporter.scrape()).text)).toEqual({ ok: true, output: '' });
      const probe = await (await exporter.get('/probe?target=a')).text();
      expect(runPromtoolCheck(probe)).toEqual({ ok: true, output: '' });
    },
  );
});

describe('/probe', () => {
  it('reads one target by name or by address, and gives nothing else', async () => {
    const [one, other] = [await serve(fixtureAnswers(LLAMACPP)), await serve(fixtureAnswers(VLLM))];
    const exporter = await start({ TARGETS: `one=${one.url},other=${other.url}` });
    for (const target of ['one', one.url, `${one.url}/`, one.url.replace('http://', '')]) {
      const response = await exporter.get(`/probe?target=${encodeURIComponent(target)}`);
      const { text, value } = readScrape(await response.text());
      expect([target, response.status, value('probe_success')]).toEqual([target, 200, 1]);
      expect(value('llm_prompt_tokens_total', { server: 'one', engine: 'llamacpp' })).toBe(7714 + 3322);
      expect(value('probe_duration_seconds')).toBeGreaterThan(0);
      expect(text).not.toContain('other');
      expect(text).not.toContain('llm_monitor_');
    }
    expect(other.requests).toEqual([]);
  });

  it('says of a target that is down that it is', async () => {
    const dead = await startFakeServer({});
    await dead.close();
    const exporter = await start({ TARGETS: `dead=${dead.url}` });
    const response = await exporter.get('/probe?target=dead');
    const { value } = readScrape(await response.text());
    expect([response.status, value('probe_success'), value('llm_up', { server: 'dead' })]).toEqual([
      200, 0, 0,
    ]);
  });

  it('refuses to read a target as another engine, and asks it nothing for that', async () => {
    const server = await serve(fixtureAnswers(LLAMACPP));
    const exporter = await start({ TARGETS: `one=${server.url}` });
    await exporter.scrape();
    const asked = server.requests.length;
    const response = await exporter.get('/probe?target=one&engine=vllm');
    expect(response.status).toBe(400);
    expect(await response.text()).toContain('This target is llamacpp, not vllm');
    expect(server.requests).toHaveLength(asked);
    const asItself = readScrape(await (await exporter.get('/probe?target=one&engine=llamacpp')).text());
    expect(asItself.value('probe_success')).toBe(1);
  });

  it('refuses it by the engine in the settings before anything was read', async () => {
    const server = await serve(fixtureAnswers(SGLANG));
    const exporter = await start({ TARGETS: `one=sglang+${server.url}` });
    expect((await exporter.get('/probe?target=one&engine=vllm')).status).toBe(400);
    expect(server.requests).toEqual([]);
  });

  it.each([
    ['a configured target', 'TARGETS'],
    ['an allowed address', 'PROBE_ALLOW'],
  ])(
    'detects the engine of %s first, and never asks it what only another engine bears',
    async (_title, by) => {
      const server = await serve(fixtureAnswers(SGLANG));
      const exporter = await start({ [by]: by === 'TARGETS' ? `one=${server.url}` : server.url });
      const target = encodeURIComponent(server.url);
      for (let turn = 0; turn < 2; turn++) {
        const response = await exporter.get(`/probe?target=${target}&engine=vllm`);
        expect(response.status).toBe(400);
        expect(await response.text()).toContain('This target is sglang, not vllm');
      }
      expect(server.requests).not.toContain('GET /health');
      const asItself = await exporter.get(`/probe?target=${target}&engine=sglang`);
      expect(readScrape(await asItself.text()).value('probe_success')).toBe(1);
    },
  );

  it('counts no dropped series of an address that is in no setting', async () => {
    const server = await serve(fixtureAnswers(VLLM));
    const exporter = await start({ PROBE_ALLOW: server.url, MAX_SERIES_PER_TARGET: '60' });
    const probe = readScrape(
      await (await exporter.get(`/probe?target=${encodeURIComponent(server.url)}`)).text(),
    );
    expect(probe.value('probe_success')).toBe(1);
    expect(probe.value('llm_generation_tokens_total')).toBeDefined();
    expect((await exporter.scrape()).text).not.toContain(server.url);
  });

  it('reads an address that a pattern allows, with its address as server, and without a key', async () => {
    const keys: (string | undefined)[] = [];
    const answers = fixtureAnswers(LLAMACPP);
    const server = await serve((incoming, response) => {
      keys.push(incoming.headers.authorization);
      const answer = answers[incoming.url ?? ''];
      response.writeHead(answer?.status ?? 404, answer?.headers).end(answer?.body);
    });
    const exporter = await start({ PROBE_ALLOW: 'http://127.0.0.*:*', TARGET_TOKEN: 'hunter2' });
    const response = await exporter.get(`/probe?target=127.0.0.1:${server.port}`);
    const { value } = readScrape(await response.text());
    expect(value('probe_success')).toBe(1);
    expect(value('llm_up', { server: server.url })).toBe(1);
    expect(new Set(keys)).toEqual(new Set([undefined]));
    expect((await exporter.scrape()).text).not.toContain(server.url);
  });

  it.each([
    ['no target', '/probe', 400, 'Say which target'],
    ['an empty target', '/probe?target=', 400, 'Say which target'],
    ['two targets', '/probe?target=a&target=b', 400, 'Give target once'],
    ['no address', '/probe?target=%20x%20y', 400, 'neither the name of one nor an address'],
    ['an address with a key', '/probe?target=http://a:b@127.0.0.1', 400, 'without credentials'],
    ['another scheme', '/probe?target=file:///etc/passwd', 400, 'neither the name of one nor an address'],
    ['an unknown engine', '/probe?target=one&engine=gpt', 400, 'engine is auto or one of'],
    ['an unknown name', '/probe?target=two', 403, 'LLM_EXPORTER_PROBE_ALLOW'],
    ['a foreign address', '/probe?target=http://169.254.169.254', 403, 'LLM_EXPORTER_TARGETS'],
    [
      'a configured address with a path',
      '/probe?target=http://127.0.0.1:1/admin',
      403,
      'LLM_EXPORTER_PROBE_ALLOW',
    ],
  ])('refuses %s', async (_title, path, status, words) => {
    const exporter = await start({ TARGETS: 'one=http://127.0.0.1:1' });
    const response = await exporter.get(path);
    expect(response.status).toBe(status);
    expect(await response.text()).toContain(words);
  });
});

/** Candidates as discovery would find them on this host. */
function found(ask: readonly { port: number; inode: string }[]): Candidates {
  return {
    ask: ask.map(({ port, inode }) => ({
      socket: { address: '127.0.0.1', port, inode },
      url: `http://127.0.0.1:${port}`,
      engines: ['vllm', 'llamacpp'],
      why: 'a test',
      certain: false,
    })),
    passedOver: [{ socket: { address: '0.0.0.0', port: 29500, inode: '9' }, why: 'inner <port>' }],
  };
}

describe('/targets', () => {
  it('says what was found and why, what was a stranger, what was passed over, and what is looked for', async () => {
    const [engine, website] = [
      await serve(fixtureAnswers(LLAMACPP)),
      await serve({ '/': '<html>hello</html>' }),
    ];
    const exporter = await start({}, () =>
      Promise.resolve(
        found([
          { port: engine.port, inode: '1' },
          { port: website.port, inode: '2' },
        ]),
      ),
    );
    await exporter.exporter.firstLook;
    const { value } = await exporter.scrape();
    const server = `llamacpp-${engine.port}`;
    expect(value('llm_up', { server })).toBe(1);
    const response = await exporter.get('/targets');
    expect(response.headers.get('content-type')).toContain('application/json');
    const view = (await response.json()) as TargetsView;
    expect(view.targets).toEqual([
      expect.objectContaining({
        server,
        url: engine.url,
        origin: 'discovered',
        why: expect.stringContaining('a test; ') as string,
        up: true,
        state: 'ready',
        version: 'b11669-Debian',
        models: ['qwen3-8b'],
        sources: expect.objectContaining({ llm_requests_running: 'native' }) as object,
        lastSuccess: expect.stringMatching(/^\d{4}-\d\d-\d\dT/) as string,
      }),
    ]);
    expect(view.targets[0]?.unavailable.map(({ metric }) => metric)).toContain(
      'llm_time_to_first_token_seconds',
    );
    expect(view.strangers.map(({ url }) => url)).toEqual([website.url]);
    expect(view.passedOver).toEqual([{ address: '0.0.0.0', port: 29500, why: 'inner <port>' }]);
    expect(view.discovery.enabled).toBe(true);
    expect(view.discovery.looksFor.map(({ engine }) => engine)).toContain('vllm');
    expect(exporter.records.filter(({ msg }) => msg === 'LLM server found')).toEqual([
      expect.objectContaining({ server, engine: 'llamacpp', url: engine.url }),
    ]);
  });

  it('is a page for a browser, in which nothing foreign is markup', async () => {
    const exporter = await start({}, () => Promise.resolve(found([])));
    await exporter.exporter.firstLook;
    const response = await exporter.get('/targets', { accept: 'text/html,*/*;q=0.8' });
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'");
    const html = await response.text();
    expect(html).toContain('There is none yet.');
    expect(html).toContain('0.0.0.0 port 29500: inner &lt;port&gt;');
    expect(html).not.toContain('<port>');
  });
});

describe('the names it answers to', () => {
  const statusFor = (url: string, host: string): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      request(`${url}/-/healthy`, { headers: { host }, agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on('error', reject)
        .end();
    });

  it.each([
    [{}, 421],
    [{ ALLOWED_HOSTS: 'gpu-box.lan' }, 200],
  ])('are local, and those of %j', async (variables, status) => {
    const exporter = await start(variables);
    expect(await statusFor(exporter.url, 'gpu-box.lan')).toBe(status);
    expect(await statusFor(exporter.url, 'evil.example')).toBe(421);
  });
});

describe('the other addresses', () => {
  it('are linked from the landing page', async () => {
    const exporter = await start({});
    const html = await (await exporter.get('/')).text();
    for (const path of ['/metrics', '/targets', '/probe?target=NAME'])
      expect(html).toContain(`href="${path}"`);
  });

  it('answer before the first look has ended, which readiness waits for', async () => {
    let end: (candidates: Candidates) => void = () => undefined;
    const exporter = await start({}, () => new Promise((resolve) => (end = resolve)));
    expect((await exporter.get('/metrics')).status).toBe(200);
    expect((await exporter.get('/-/ready')).status).toBe(503);
    end(found([]));
    await exporter.exporter.firstLook;
    expect((await exporter.get('/-/ready')).status).toBe(200);
  });

  it('go on when a look fails, which is logged once', async () => {
    const exporter = await start({}, () => Promise.reject(new Error('no sockets')));
    await exporter.exporter.firstLook;
    expect((await exporter.get('/metrics')).status).toBe(200);
    expect(exporter.records.filter(({ msg }) => msg === 'discovery failed')).toHaveLength(1);
  });
});
