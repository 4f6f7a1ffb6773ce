import { createHash } from 'node:crypto';
import { PassThrough } from 'node:stream';
import { gunzipSync } from 'node:zlib';

import { RequestError } from './errors.ts';
import type { HttpAppParts } from './http-app.ts';
import type { MetricsRequest } from './metrics-route.ts';
import { ask, connectTo, createHold, startTestApp, type Question, type TestApp } from './test-app.ts';

let running: TestApp | undefined;

async function start(parts: Partial<HttpAppParts> = {}): Promise<TestApp> {
  running = await startTestApp(parts);
  return running;
}

afterEach(async () => {
  await running?.server.stop(0);
  running = undefined;
});

const EXPOSITION = 'llm_requests_running{server="a"} 3\n'.repeat(100);
const metricsOf = (body: string) => () =>
  Promise.resolve({ contentType: 'text/plain; version=0.0.4; charset=utf-8', body });

describe('GET /metrics', () => {
  it("answers the callback's text under its content type", async () => {
    const { server } = await start({ metrics: metricsOf('up 1\n') });
    const { status, headers, text } = await ask(`${server.url}/metrics`);
    expect({ status, text }).toEqual({ status: 200, text: 'up 1\n' });
    expect(headers).toMatchObject({
      'content-type': 'text/plain; version=0.0.4; charset=utf-8',
      'content-length': '5',
      'cache-control': 'no-store',
      vary: 'Accept, Accept-Encoding',
    });
  });

  it('passes on Accept and the scrape timeout as they came', async () => {
    const seen: Omit<MetricsRequest, 'signal' | 'client'>[] = [];
    const { server } = await start({
      metrics: ({ signal, client: _client, ...request }) => {
        seen.push(request);
        return metricsOf(String(signal.aborted))();
      },
    });
    const headers = {
      accept: 'application/openmetrics-text;q=0.5',
      'x-prometheus-scrape-timeout-seconds': ' 9.5 ',
    };
    expect((await ask(`${server.url}/metrics`, { headers })).text).toBe('false');
    await ask(`${server.url}/metrics`);
    expect(seen).toEqual([
      { accept: 'application/openmetrics-text;q=0.5', scrapeTimeoutSecondsHeader: '9.5' },
      { accept: undefined, scrapeTimeoutSecondsHeader: undefined },
    ]);
  });

  it.each([
    ['', 'prometheus/3.5', '127.0.0.1 prometheus/3.5'],
    ['?client=b', 'prometheus/3.5', '127.0.0.1 prometheus/3.5 b'],
    ['?client=b', undefined, '127.0.0.1  b'],
    ['?client=a&client=b', undefined, '127.0.0.1  a,b'],
    ['?other=b', undefined, '127.0.0.1'],
    [`?client=${'x'.repeat(300)}`, 'y'.repeat(300), `127.0.0.1 ${'y'.repeat(128)} ${'x'.repeat(128)}`],
  ])('tells one client from another (%j by %j)', async (query, agent, expected) => {
    const { server } = await start({ metrics: ({ client }) => metricsOf(client)() });
    const headers = agent === undefined ? {} : { 'user-agent': agent };
    expect((await ask(`${server.url}/metrics${query}`, { headers })).text).toBe(expected);
  });

  it.each([
    ['gzip', EXPOSITION, 'gzip'],
    ['gzip', 'up 1\n', undefined],
    ['gzip;q=0', EXPOSITION, undefined],
    [undefined, EXPOSITION, undefined],
  ])('Accept-Encoding %p, a body of %#', async (encoding, body, expected) => {
    const { server } = await start({ metrics: metricsOf(body) });
    const headers = encoding === undefined ? {} : { 'accept-encoding': encoding };
    const answer = await ask(`${server.url}/metrics`, { headers });
    expect(answer.headers['content-encoding']).toBe(expected);
    expect((expected ? gunzipSync(answer.bytes) : answer.bytes).toString()).toBe(body);
    expect(answer.headers['content-length']).toBe(String(answer.bytes.length));
    expect(answer.headers.vary).toBe('Accept, Accept-Encoding');
  });

  it.each([{}, { 'accept-encoding': 'gzip' }])('HEAD has the headers of GET alone (%j)', async (headers) => {
    const { server } = await start({ metrics: metricsOf(EXPOSITION) });
    const [get, head] = await Promise.all(
      ['GET', 'HEAD'].map((method) => ask(`${server.url}/metrics`, { method, headers })),
    );
    expect(head?.text).toBe('');
    expect({ ...head?.headers, date: '' }).toEqual({ ...get?.headers, date: '' });
  });

  it('aborts the signal when the scraper hangs up, and counts that', async () => {
    const hold = createHold<AbortSignal>();
    const { server, log, registry } = await start({
      metrics: ({ signal }) => {
        hold.reach();
        return new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            hold.release(signal);
            reject(new DOMException('The scrape was given up.', 'AbortError'));
          });
        });
      },
    });
    const client = await connectTo(server.port);
    client.socket.write('GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await hold.reached;
    client.socket.destroy();
    expect((await hold.promise).aborted).toBe(true);
    expect(await log.first('request')).toMatchObject({ status: 499, cut: true, path: '/metrics' });
    expect(await registry.metrics()).toContain('requests_total{path="/metrics",method="GET",status="499"} 1');
    expect(log.records.filter(({ level }) => Number(level) >= 40)).toEqual([]);
  });
});

describe('health', () => {
  it('is told whatever else happens', async () => {
    const { server } = await start({ ready: () => ({ ready: false }) });
    const { status, text, headers } = await ask(`${server.url}/-/healthy`);
    expect({ status, text }).toEqual({ status: 200, text: 'healthy\n' });
    expect(headers['cache-control']).toBe('no-store');
  });

  it.each([
    [{ ready: true }, 200, 'ready\n'],
    [{ ready: false, reason: 'no reading yet' }, 503, 'not ready: no reading yet\n'],
    [{ ready: false }, 503, 'not ready: no reason given\n'],
  ])('readiness %j is %i', async (readiness, status, text) => {
    const { server } = await start({ ready: () => readiness });
    expect(await ask(`${server.url}/-/ready`)).toMatchObject({ status, text });
  });

  it('is not ready once a stop begins', async () => {
    const { server, app } = await start();
    app.beginStop();
    expect(await ask(`${server.url}/-/ready`)).toMatchObject({ status: 503, text: 'not ready: stopping\n' });
    expect(await ask(`${server.url}/-/healthy`)).toMatchObject({ status: 200 });
  });
});

describe('the landing page', () => {
  const links = [{ path: '/probe?target=a&b', label: '<Probe>', what: 'one engine\'s "metrics"' }];

  it('links to everything, with what it was given escaped', async () => {
    const { server } = await start({ links, title: 'A & B' });
    const { text, headers } = await ask(server.url);
    expect(headers['content-type']).toBe('text/html; charset=utf-8');
    expect([...text.matchAll(/href="([^"]*)"/g)].map(([, href]) => href)).toEqual([
      '/probe?target=a&amp;b',
      '/metrics',
      '/-/healthy',
      '/-/ready',
    ]);
    expect(text).toContain('&lt;Probe&gt;</a> <span>one engine&#39;s &quot;metrics&quot;</span>');
    expect(text).toContain('<title>A &amp; B</title>');
    expect(text).toContain('Version 1.2.3');
    expect(text).toContain('prefers-color-scheme: dark');
    expect(text).toContain('<html lang="en">');
    expect(text).not.toMatch(/https?:|<script|src=/);
  });

  it('may use its own style and nothing else', async () => {
    const { server } = await start();
    const { text, headers } = await ask(server.url);
    const style = /<style>([^]*)<\/style>/.exec(text)?.[1] ?? '';
    const hash = createHash('sha256').update(style).digest('base64');
    expect(headers['content-security-policy']).toBe(
      `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    );
  });

  it("gives way to an app's own page", async () => {
    const { server } = await start({
      routes: (router) => router.get('/', (ctx) => void (ctx.body = 'the live page')),
    });
    expect((await ask(server.url)).text).toBe('the live page');
  });
});

describe('every answer', () => {
  it.each([
    ['/', 200],
    ['/metrics', 200],
    ['/-/healthy', 200],
    ['/nowhere', 404],
    ['/broken', 500],
  ])('%s has the security headers', async (path, status) => {
    const { server } = await start({
      routes: (router) =>
        router.get('/broken', () => {
          throw new Error('bug');
        }),
    });
    const answer = await ask(server.url + path);
    expect(answer.status).toBe(status);
    expect(answer.headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-store',
      'content-security-policy': expect.stringMatching(
        /^default-src 'none'; .*frame-ancestors 'none'$/,
      ) as string,
    });
  });
});

describe('errors', () => {
  const routes: HttpAppParts['routes'] = (router) => {
    router.get('/bug', (ctx) => {
      ctx.set('Content-Encoding', 'gzip');
      throw new Error('password hunter2 leaked');
    });
    router.get('/no-error', () => {
      // eslint-disable-next-line @typescript-eslint/only-throw-error -- a library may do so
      throw 'hunter2';
    });
    router.get('/refused', () => {
      throw new RequestError(400, 'target is missing', {
        headers: { 'X-Hint': 'target' },
        facts: { parameter: 'target' },
      });
    });
    router.get('/thrown', (ctx) => ctx.throw(403, 'not this target'));
    router.get('/thrown-500', (ctx) => ctx.throw(500, 'hunter2'));
    router.get('/empty', () => undefined);
    router.post('/write/:name', (ctx) => void (ctx.status = 204));
    router.put('/write/:name', (ctx) => void (ctx.status = 204));
    router.get('/cut', (ctx) => {
      ctx.res.write('half');
      throw new Error('hunter2');
    });
  };
  const PATHS =
    '/, /-/healthy, /-/ready, /bug, /cut, /empty, /metrics, /no-error, /refused, /thrown, /thrown-500, /write/:name';

  it.each<[string, Question, number, string]>([
    ['/refused', {}, 400, 'target is missing\n'],
    ['/thrown', {}, 403, 'not this target\n'],
    ['/nowhere', {}, 404, `Nothing is here. This server has: ${PATHS}\n`],
    ['/empty', {}, 404, `Nothing is here. This server has: ${PATHS}\n`],
    ['/Metrics', {}, 404, `Nothing is here. This server has: ${PATHS}\n`],
    ['/%zz', {}, 404, `Nothing is here. This server has: ${PATHS}\n`],
    ['/metrics', { method: 'POST' }, 405, 'This path answers to GET, HEAD only.\n'],
    ['/write/a', {}, 405, 'This path answers to POST, PUT only.\n'],
    ['/write/%zz', { method: 'POST' }, 204, ''],
    ['/metrics', { method: 'OPTIONS' }, 204, ''],
    ['/metrics', { method: 'PROPFIND' }, 405, 'This path answers to GET, HEAD only.\n'],
    [`/${'x'.repeat(4096)}`, {}, 414, 'The address of this request is longer than 4096 characters.\n'],
    ['/refused', { headers: { accept: 'image/png' } }, 400, 'target is missing\n'],
    ['/refused', { headers: { accept: 'text/html,*/*;q=0.8' } }, 400, 'target is missing\n'],
    ['/refused', { headers: { accept: 'application/json;q=0.5, text/plain' } }, 400, 'target is missing\n'],
  ])('%s %j answers %i', async (path, question, status, text) => {
    const { server } = await start({ routes });
    const answer = await ask(server.url + path, question);
    expect({ status: answer.status, text: answer.text }).toEqual({ status, text });
  });

  it('are JSON for who asks for it', async () => {
    const { server } = await start({ routes });
    const json = async (path: string): Promise<unknown> => {
      const answer = await ask(server.url + path, { headers: { accept: 'application/json' } });
      expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
      return JSON.parse(answer.text);
    };
    expect(await json('/refused')).toEqual({
      error: { status: 400, message: 'target is missing', parameter: 'target' },
    });
    expect(await json('/nowhere')).toMatchObject({ error: { status: 404, paths: PATHS.split(', ') } });
  });

  it.each([
    ['/metrics', 'GET, HEAD'],
    ['/write/a', 'POST, PUT'],
  ])('405 of %s has Allow: %s', async (path, allow) => {
    const { server } = await start({ routes });
    expect((await ask(server.url + path, { method: 'DELETE' })).headers.allow).toBe(allow);
    expect((await ask(server.url + path, { method: 'OPTIONS' })).headers.allow).toBe(allow);
  });

  it("have the refusal's headers", async () => {
    const { server } = await start({ routes });
    expect((await ask(`${server.url}/refused`)).headers['x-hint']).toBe('target');
  });

  it.each(['/bug', '/no-error', '/thrown-500'])(
    'a bug at %s is an id to the client, and all of it in the log',
    async (path) => {
      const { server, log } = await start({ routes });
      const { status, text, headers } = await ask(server.url + path);
      const [, id] =
        /^Internal error ([0-9a-f]{8}): the log of test-exporter has its cause under that id\.\n$/.exec(
          text,
        ) ?? [];
      expect(status).toBe(500);
      expect(headers['content-encoding']).toBeUndefined();
      const record = await log.first('request failed');
      expect(record).toMatchObject({ level: 50, requestId: id });
      expect(JSON.stringify(record)).toContain('hunter2');
      expect(await log.first('request')).toMatchObject({ level: 30, status: 500 });
    },
  );

  it('a bug in the midst of an answer cuts it, so that it does not look complete', async () => {
    const { server, log } = await start({ routes });
    await expect(ask(`${server.url}/cut`)).rejects.toThrow(/aborted|hang up/);
    expect(await log.first('request failed')).toMatchObject({ level: 50 });
    expect((await ask(`${server.url}/-/healthy`)).status).toBe(200);
  });

  it('a stream that breaks does not break the server', async () => {
    const { server, log } = await start({
      routes: (router) =>
        router.get('/stream', (ctx) => {
          const stream = new PassThrough();
          stream.write('half');
          ctx.body = stream;
          setImmediate(() => stream.destroy(new Error('disk full')));
        }),
    });
    await expect(ask(`${server.url}/stream`)).rejects.toThrow(/aborted|hang up/);
    await log.first('answer broke off');
    expect((await ask(`${server.url}/-/healthy`)).status).toBe(200);
  });
});

describe('request log', () => {
  it('has a line at debug with no query and no header value', async () => {
    const { server, log } = await start();
    await ask(`${server.url}/metrics?token=hunter2`, { headers: { cookie: 'hunter2' } });
    const record = await log.first('request');
    expect(record).toMatchObject({ level: 20, method: 'GET', path: '/metrics', status: 200 });
    expect(record['durationSeconds']).toBeGreaterThan(0);
    expect(Object.keys(record).sort()).toEqual([
      'durationSeconds',
      'level',
      'method',
      'msg',
      'path',
      'status',
      'time',
    ]);
    expect(JSON.stringify(log.records)).not.toContain('hunter2');
  });
});

describe('limits', () => {
  it('refuses requests above the number that may run, but answers for health', async () => {
    const hold = createHold<string>();
    const { server } = await start({
      maxConcurrentRequests: 1,
      metrics: async () => {
        hold.reach();
        return { contentType: 'text/plain', body: await hold.promise };
      },
    });
    const first = ask(`${server.url}/metrics`);
    await hold.reached;
    const refused = await ask(`${server.url}/metrics`);
    expect(refused).toMatchObject({ status: 503, text: '1 requests are running already: try again.\n' });
    expect(refused.headers['retry-after']).toBe('1');
    expect((await ask(`${server.url}/-/healthy`)).status).toBe(200);
    expect((await ask(`${server.url}/-/ready`)).status).toBe(200);
    hold.release('up 1\n');
    expect((await first).text).toBe('up 1\n');
    expect((await ask(`${server.url}/metrics`)).status).toBe(200);
  });

  it('counts work whose client hung up until it ends', async () => {
    const hold = createHold<string>();
    const ended = createHold<void>();
    const { server, log } = await start({
      maxConcurrentRequests: 1,
      routes: (router) =>
        router.get('/work', async (ctx) => {
          hold.reach();
          ctx.body = await hold.promise;
          setImmediate(() => ended.release());
        }),
    });
    const client = await connectTo(server.port);
    client.socket.write('GET /work HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await hold.reached;
    client.socket.destroy();
    await log.first('request');
    expect((await ask(`${server.url}/metrics`)).status).toBe(503);
    hold.release('done');
    await ended.promise;
    expect((await ask(`${server.url}/metrics`)).status).toBe(200);
  });

  it('answers 503 for a route that hangs, aborts its signal, and gives its place to others', async () => {
    const aborted = createHold<void>();
    const { server, log } = await start({
      maxConcurrentRequests: 1,
      requestTimeoutSeconds: 0.02,
      routes: (router) =>
        router.get('/hang', (ctx) => {
          ctx.state.signal.addEventListener('abort', () => aborted.release());
          return new Promise(() => undefined);
        }),
    });
    expect(await ask(`${server.url}/hang`)).toMatchObject({
      status: 503,
      text: 'No answer was ready within 0.02 s.\n',
    });
    await aborted.promise;
    expect((await ask(`${server.url}/metrics`)).status).toBe(200);
    expect(await log.first('request')).toMatchObject({ status: 503, level: 30 });
  });

  it('lets a stream go on past the timeout, and ends it when a stop begins', async () => {
    const events = new PassThrough();
    const { server, app } = await start({
      requestTimeoutSeconds: 0.02,
      routes: (router, stopping) =>
        router.get('/events', (ctx) => {
          stopping.addEventListener('abort', () => events.end('last\n'));
          ctx.type = 'text/event-stream';
          ctx.body = events;
          events.write('first\n');
        }),
    });
    const client = await connectTo(server.port);
    client.socket.write('GET /events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    await client.until('first');
    // A second route that does hit the same timeout shows that it has passed for the stream as well.
    const hanging = await startTestApp({
      requestTimeoutSeconds: 0.03,
      metrics: () => new Promise(() => undefined),
    });
    expect((await ask(`${hanging.server.url}/metrics`)).status).toBe(503);
    await hanging.server.stop(0);
    app.beginStop();
    await client.closed;
    expect(client.received()).toMatch(/first[^]*last/);
  });
});
