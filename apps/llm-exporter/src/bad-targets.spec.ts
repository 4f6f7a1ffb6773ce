import { createServer, type Server } from 'node:net';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline, Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';

import { promtoolPath, runPromtoolCheck, startFakeServer, type FakeServer } from '@llm-monitor/testing';

import { fixtureAnswers, startTestExporter, type Scrape, type TestExporter } from './test-exporter.ts';
import type { TargetsView } from './targets-report.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

interface BadTarget {
  readonly server: string;
  /** Does as the title says on whatever path it is asked. */
  readonly behave: Handler;
  /** Named in the settings, so that it is read without being detected. */
  readonly engine?: 'vllm';
  readonly reason: string;
  /** What the error says besides the address: the mend. */
  readonly mend: string;
}

const NGINX = '<!DOCTYPE html><html><head><title>Welcome to nginx!</title></head><body></body></html>';
const page =
  (status: number, body: string): Handler =>
  (_request, response) =>
    void response.writeHead(status, { 'content-type': 'text/html', server: 'nginx/1.27.3' }).end(body);
const bomb = gzipSync(Buffer.alloc(100 * 1024 ** 2));

/** Sends until the other side has enough. */
const sendEndlessly: Handler = (_request, response) => {
  const chunk = Buffer.alloc(64 * 1024, '# more\n');
  function* chunks() {
    for (;;) yield chunk;
  }
  response.writeHead(200, { 'content-type': 'text/plain' });
  pipeline(Readable.from(chunks(), { objectMode: false }), response, () => undefined);
};

const badTargets: readonly BadTarget[] = [
  {
    server: 'hangs-after-headers',
    behave: (_request, response) => response.writeHead(200, { 'content-type': 'text/plain' }).flushHeaders(),
    reason: 'timeout',
    mend: 'is the engine hung, or the deadline too short?',
  },
  { server: 'hangs-at-once', behave: () => undefined, reason: 'timeout', mend: 'is the engine hung' },
  {
    server: 'fifty-megabytes',
    engine: 'vllm',
    behave: (_request, response) => void response.writeHead(200).end(Buffer.alloc(50 * 1024 ** 2, 'a 1\n')),
    reason: 'too_large',
    mend: "more than 16 MiB: is this the engine's metrics port?",
  },
  { server: 'endless', engine: 'vllm', behave: sendEndlessly, reason: 'too_large', mend: 'more than 16 MiB' },
  {
    server: 'gzip-bomb',
    engine: 'vllm',
    behave: (_request, response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb),
    reason: 'too_large',
    mend: 'more than 16 MiB',
  },
  {
    server: 'nginx',
    behave: page(200, NGINX),
    reason: 'not_recognized',
    mend: 'is it the right port? Name the engine in its setting if it is one',
  },
  {
    server: 'nginx-named-vllm',
    engine: 'vllm',
    behave: page(200, NGINX),
    reason: 'not_an_exposition',
    mend: "an HTML page where metrics were expected: is this the engine's own port?",
  },
  {
    server: 'redirects-away',
    engine: 'vllm',
    behave: (_request, response) => void response.writeHead(302, { location: 'http://other.invalid/' }).end(),
    reason: 'redirected',
    mend: 'redirects to http://other.invalid, which is not followed: configure that address',
  },
  {
    server: 'wants-a-key',
    engine: 'vllm',
    behave: page(401, 'Unauthorized'),
    reason: 'unauthorized',
    mend: "give the target's key in its token setting",
  },
  {
    server: 'wants-a-key-undetected',
    behave: page(401, 'Unauthorized'),
    reason: 'unauthorized',
    mend: "answered 401: give the target's key",
  },
  {
    server: 'html-500',
    engine: 'vllm',
    behave: page(500, '<html><body>Internal Server Error</body></html>'),
    reason: 'http_error',
    mend: 'answered 500',
  },
  {
    server: 'breaks-off',
    engine: 'vllm',
    behave: (_request, response) => {
      response.writeHead(200, { 'content-length': '1000' });
      response.write('vllm:num_requests_running 1\nvllm:num_requ', () => response.destroy());
    },
    reason: 'connection_lost',
    mend: 'closed the connection before it had answered',
  },
];

/** Metrics of vLLM that are odd, and what of them is told all the same. */
const oddAnswers: Record<string, string> = {
  'half-an-exposition':
    'vllm:num_requests_running{model_name="m"} 7\nvllm:num_requests_waiting{model_name="m"} 2\nvllm:kv_cache_usa',
  duplicates:
    'vllm:num_requests_running{model_name="m"} 7\nvllm:num_requests_running{model_name="m"} 8\nvllm:num_requests_waiting{model_name="m"} 2\n',
  'not-a-number':
    'vllm:num_requests_running{model_name="m"} 7\nvllm:num_requests_waiting{model_name="m"} NaN\nvllm:kv_cache_usage_perc{model_name="m"} -nan\nvllm:generation_tokens_total{model_name="m"} +Inf\n',
  'carriage-returns':
    'vllm:num_requests_running{model_name="m"} 7\r\nvllm:num_requests_waiting{model_name="m"} 2\r\n',
};

/** Long enough for a slow machine to swallow what the large ones send. */
const TIMEOUT_SECONDS = 12;

describe('a scrape of two good targets, and of every kind of bad one', () => {
  const servers: FakeServer[] = [];
  let banner: Server;
  let test: TestExporter;
  let scrape: Scrape;
  let elapsedSeconds: number;
  let view: TargetsView;
  const urls = new Map<string, string>();

  const serve = async (server: string, answers: Parameters<typeof startFakeServer>[0]): Promise<string> => {
    const fake = await startFakeServer(answers);
    servers.push(fake);
    urls.set(server, fake.url);
    return fake.url;
  };

  beforeAll(async () => {
    const targets: string[] = [];
    for (const { server, engine, behave } of badTargets) {
      const url = await serve(server, behave);
      targets.push(`${server}=${engine === undefined ? '' : `${engine}+`}${url}`);
    }
    for (const [server, metrics] of Object.entries(oddAnswers)) {
      const url = await serve(server, {
        ...fixtureAnswers('vllm-0.27-v1-dp2-lora.http'),
        '/metrics': metrics,
      });
      targets.push(`${server}=vllm+${url}`);
    }
    banner = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.resume().end('SSH-2.0-OpenSSH_9.2\r\n');
    });
    await new Promise<void>((resolve) => banner.listen(0, '127.0.0.1', resolve));
    urls.set('ssh', `http://127.0.0.1:${(banner.address() as AddressInfo).port}`);
    const dead = await startFakeServer({});
    await dead.close();
    urls.set('dead', dead.url);
    const plain = await serve('tls', { '/': '' });
    urls.set('tls', plain.replace('http:', 'https:'));
    for (const server of ['ssh', 'dead', 'tls']) targets.push(`${server}=${urls.get(server) ?? ''}`);
    targets.push(`good-vllm=${await serve('good-vllm', fixtureAnswers('vllm-0.27-v1-dp2-lora.http'))}`);
    targets.push(
      `good-llamacpp=${await serve('good-llamacpp', fixtureAnswers('llamacpp-b11669-busy.http'))}`,
    );

    // A reading ends by its own time, so that what is wrong with a target is told when the scrape ends.
    test = await startTestExporter({ TARGETS: targets.join(','), SCRAPE_TIMEOUT: '10s' });
    const started = performance.now();
    scrape = await test.scrape({ 'x-prometheus-scrape-timeout-seconds': String(TIMEOUT_SECONDS) });
    elapsedSeconds = (performance.now() - started) / 1000;
    view = (await (await test.get('/targets')).json()) as TargetsView;
  }, 30_000);

  afterAll(async () => {
    await test.stop();
    await Promise.all(servers.map((server) => server.close()));
    await new Promise((resolve) => banner.close(resolve));
  }, 20_000);

  const rows = [
    ...badTargets.map(({ server, reason, mend }) => [server, reason, mend] as const),
    ['ssh', 'not_http', 'does not speak HTTP: is this the API port?'] as const,
    ['dead', 'refused', 'is the engine up, and is this its port?'] as const,
    ['tls', 'tls', 'http:// instead of https://?'] as const,
  ];

  it('ends within the scraper’s own timeout', () => {
    expect(elapsedSeconds).toBeLessThan(TIMEOUT_SECONDS);
  });

  it('has the good targets whole', () => {
    expect(scrape.value('llm_up', { server: 'good-vllm' })).toBe(1);
    expect(scrape.value('llm_requests_running', { server: 'good-vllm' })).toBeGreaterThan(0);
    expect(scrape.value('llm_up', { server: 'good-llamacpp' })).toBe(1);
    expect(scrape.value('llm_prompt_tokens_total', { server: 'good-llamacpp' })).toBe(7714 + 3322);
  });

  it.each(rows)('%s is down, for the reason %s', (server, reason) => {
    expect(scrape.value('llm_up', { server })).toBe(0);
    expect(scrape.value('llm_monitor_collector_success', { collector: server })).toBe(0);
    expect(scrape.value('llm_monitor_collector_errors_total', { collector: server, reason })).toBe(1);
  });

  it.each(rows)('%s has no series but those that say that it is down', (server) => {
    const names = scrape.families
      .filter(({ points }) => points.some(({ labels }) => labels['server'] === server))
      .map(({ name }) => name);
    expect(names.sort()).toEqual(['llm_engine_state', 'llm_ready', 'llm_up']);
  });

  it.each(rows)('%s is told by one error (%s) with its address and the mend', (server, reason, mend) => {
    const target = view.targets.find((each) => each.server === server);
    expect(target?.lastError?.reason).toBe(reason);
    expect(target?.lastError?.message).toContain(urls.get(server));
    expect(target?.lastError?.message).toContain(mend);
    const lines = test.records.filter((record) => record['server'] === server);
    expect(lines.map(({ msg, detail }) => ({ msg, detail }))).toEqual([
      { msg: 'LLM server cannot be read', detail: target?.lastError?.message },
    ]);
  });

  it.each([
    ['half-an-exposition', 7, 2, 'cut_last_line'],
    ['duplicates', 7, 2, 'duplicate_series'],
    ['not-a-number', 7, undefined, 'nan_spelled'],
    ['carriage-returns', 7, 2, 'carriage_return'],
  ])('%s is read as far as it makes sense', (server, running, waiting, kind) => {
    expect(scrape.value('llm_up', { server })).toBe(1);
    expect(scrape.value('llm_requests_running', { server })).toBe(running);
    expect(scrape.value('llm_requests_waiting', { server })).toBe(waiting);
    expect(scrape.value('llm_source_parse_issues', { server, kind })).toBeGreaterThan(0);
  });

  it('has no value of the odd ones that is no number', () => {
    expect(scrape.value('llm_kv_cache_usage_ratio', { server: 'not-a-number' })).toBeUndefined();
    expect(scrape.value('llm_generation_tokens_total', { server: 'not-a-number' })).toBeUndefined();
    expect(scrape.text).not.toMatch(/^llm_[a-z_]+(\{.*\})? (NaN|[+-]Inf)$/m);
  });

  it('counts nothing twice when all is asked again, and logs nothing anew', async () => {
    const before = test.records.filter(({ msg }) => msg === 'LLM server cannot be read').length;
    const again = await test.scrape({ 'x-prometheus-scrape-timeout-seconds': String(TIMEOUT_SECONDS) });
    expect(again.value('llm_monitor_collector_errors_total', { collector: 'dead', reason: 'refused' })).toBe(
      2,
    );
    expect(test.records.filter(({ msg }) => msg === 'LLM server cannot be read')).toHaveLength(before);
  }, 20_000);

  (promtoolPath() === undefined ? it.skip : it)('is an exposition that promtool accepts', () => {
    expect(runPromtoolCheck(scrape.text)).toEqual({ ok: true, output: '' });
  });
});
