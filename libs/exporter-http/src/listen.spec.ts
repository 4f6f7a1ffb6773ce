import { once } from 'node:events';
import { connect } from 'node:net';

import { ListenError } from './errors.ts';
import { listen, type ListenLimits } from './listen.ts';
import { ask, connectTo, createHold, createTestApp, startTestApp, type TestApp } from './test-app.ts';

let running: TestApp[] = [];

async function start(...args: Parameters<typeof startTestApp>): Promise<TestApp> {
  const started = await startTestApp(...args);
  running.push(started);
  return started;
}

afterEach(async () => {
  await Promise.all(running.map(({ server }) => server.stop(0)));
  running = [];
});

const GET = (path: string, headers = '') => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`;

/** An app whose /metrics waits for the test. */
async function startHolding(): Promise<TestApp & { hold: ReturnType<typeof createHold<string>> }> {
  const hold = createHold<string>();
  const metrics = async () => {
    hold.reach();
    return { contentType: 'text/plain', body: await hold.promise };
  };
  return { ...(await start({ metrics })), hold };
}

describe('where it listens', () => {
  it.each([
    ['127.0.0.1', 'http://127.0.0.1'],
    ['0.0.0.0', 'http://localhost'],
    ['localhost', 'http://localhost'],
  ])('on %s it is found at %s', async (host, url) => {
    const { server } = await start({}, { host });
    expect(server.port).toBeGreaterThan(0);
    expect(server.url).toBe(`${url}:${server.port}`);
    expect((await ask(server.url)).status).toBe(200);
  });

  it('a taken port is an error that says so', async () => {
    const { server } = await start();
    const second = listen(createTestApp().app, { host: '127.0.0.1', port: server.port });
    await expect(second).rejects.toThrow(ListenError);
    await expect(second).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });

  it('an address of another machine is an error that says so', async () => {
    const attempt = listen(createTestApp().app, { host: '192.0.2.1', port: 0 });
    await expect(attempt).rejects.toThrow(ListenError);
    await expect(attempt).rejects.toMatchObject({ code: 'EADDRNOTAVAIL' });
  });

  it.each([
    ['EADDRINUSE', /^Cannot listen on gpu-box port 80 \(EADDRINUSE\): another process .*sport = :80/],
    ['EACCES', /^Cannot listen on gpu-box port 80 \(EACCES\): .* from 1024 up/],
    ['EADDRNOTAVAIL', /\(EADDRNOTAVAIL\): no network interface .* 127\.0\.0\.1/],
    ['ENOTFOUND', /\(ENOTFOUND\): the name gpu-box does not resolve/],
    ['EAFNOSUPPORT', /\(EAFNOSUPPORT\): the cause's own words\.$/],
  ])('%s has a remedy', (code, message) => {
    const cause = Object.assign(new Error("the cause's own words"), { code });
    expect(new ListenError('gpu-box', 80, cause).message).toMatch(message);
  });
});

describe('a request that cannot be read', () => {
  it.each([
    ['no HTTP', 'hello\r\n\r\n', '400 Bad Request'],
    ['no method', ' / HTTP/1.1\r\nHost: localhost\r\n\r\n', '400 Bad Request'],
    [
      'two lengths',
      'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
      '400 Bad Request',
    ],
    [
      'a length and chunks',
      'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
      '400 Bad Request',
    ],
    ['no Host', 'GET / HTTP/1.1\r\n\r\n', '400 Bad Request'],
    ['a header with a NUL', 'GET / HTTP/1.1\r\nHost: localhost\r\nX: \0\r\n\r\n', '400 Bad Request'],
    ['too many headers', GET('/', `X: ${'x'.repeat(17_000)}\r\n`), '431 Request Header Fields Too Large'],
    ['too long an address', GET(`/${'x'.repeat(17_000)}`), '431 Request Header Fields Too Large'],
  ])('%s is refused, and the next one answered', async (_name, text, status) => {
    const { server } = await start();
    const client = await connectTo(server.port);
    client.socket.write(text, 'latin1');
    await client.closed;
    expect(client.received().startsWith(`HTTP/1.1 ${status}\r\n`)).toBe(true);
    expect((await ask(`${server.url}/-/healthy`)).status).toBe(200);
  });

  it.each([
    ['CONNECT', 'CONNECT example.com:443 HTTP/1.1\r\nHost: localhost\r\n\r\n'],
    ['a TLS hello', '\x16\x03\x01\x02\x00\x01'],
  ])('%s leads nowhere', async (_name, text) => {
    const { server } = await start();
    const client = await connectTo(server.port);
    client.socket.write(text, 'latin1');
    await client.closed;
    expect(client.received()).not.toContain(' 200 ');
    expect((await ask(`${server.url}/-/healthy`)).status).toBe(200);
  });

  it('behind one that runs gets no answer that could be taken for its', async () => {
    const { server, hold, log } = await startHolding();
    const client = await connectTo(server.port);
    client.socket.write(GET('/metrics'));
    await hold.reached;
    client.socket.write('garbage\r\n\r\n');
    await client.closed;
    expect(client.received()).toBe('');
    expect(await log.first('request could not be read')).toMatchObject({ level: 20 });
    hold.release('');
  });

  it('that a client breaks off does not break the server', async () => {
    const { server, log } = await start();
    const client = await connectTo(server.port);
    client.socket.write('GET /metrics HT');
    client.socket.end();
    await client.closed;
    await log.first('request could not be read');
    expect((await ask(`${server.url}/-/healthy`)).status).toBe(200);
  });
});

describe('limits of a connection', () => {
  const limited = (limits: Partial<ListenLimits>) => start({}, { limits });

  it('headers that do not end are answered 408', async () => {
    const { server } = await limited({ headersTimeoutSeconds: 0.05 });
    const client = await connectTo(server.port);
    client.socket.write('GET / HTTP/1.1\r\n');
    await client.closed;
    expect(client.received()).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/);
  });

  it('a connection that is kept for nothing is closed', async () => {
    const { server } = await limited({ keepAliveTimeoutSeconds: 0.05 });
    const client = await connectTo(server.port);
    client.socket.write(GET('/-/healthy'));
    await client.closed;
    expect(client.received()).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*Connection: keep-alive/);
  });

  it('a connection on which nothing moves is cut', async () => {
    const hold = createHold<never>();
    const { server, log } = await start(
      { metrics: () => hold.promise },
      { limits: { idleTimeoutSeconds: 0.05 } },
    );
    const client = await connectTo(server.port);
    client.socket.write(GET('/metrics'));
    await client.closed;
    expect(await log.first('request')).toMatchObject({ status: 499, cut: true });
  });

  it('connections above the maximum are closed at once', async () => {
    const { server } = await limited({ maxConnections: 1 });
    const first = await connectTo(server.port);
    first.socket.write(GET('/-/healthy'));
    await first.until('healthy\n');
    const second = connect(server.port, '127.0.0.1');
    second.on('error', () => undefined);
    await once(second, 'close');
    first.socket.write(GET('/-/ready'));
    await first.until('ready\n');
  });
});

describe('stopping', () => {
  it('closes idle connections and takes no more', async () => {
    const { server } = await start();
    const idle = await connectTo(server.port);
    idle.socket.write(GET('/-/healthy'));
    await idle.until('healthy\n');
    await server.stop(60);
    await idle.closed;
    await expect(ask(server.url)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('waits for a running request, tells its client not to reuse the connection, and closes it', async () => {
    const { server, hold } = await startHolding();
    const client = await connectTo(server.port);
    client.socket.write(GET('/metrics'));
    await hold.reached;
    const stopped = server.stop(60);
    await expect(ask(server.url)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    hold.release('up 1\n');
    await stopped;
    await client.closed;
    expect(client.received()).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*Connection: close\r\n[^]*up 1\n$/);
  });

  it('cuts what runs past the grace, and says how much', async () => {
    const { server, hold, log } = await startHolding();
    const client = await connectTo(server.port);
    client.socket.write(GET('/metrics'));
    await hold.reached;
    await server.stop(0.02);
    await client.closed;
    expect(client.received()).toBe('');
    expect(await log.first('connections still open after the grace period were cut')).toMatchObject({
      level: 40,
      requests: 1,
    });
    hold.release('');
  });

  it('lets a large answer reach a slow reader, though the route has long ended', async () => {
    const body = 'x'.repeat(16 * 1024 * 1024);
    const { server, registry } = await start({
      metrics: () => Promise.resolve({ contentType: 'text/plain', body }),
    });
    const client = await connectTo(server.port);
    client.socket.write(GET('/metrics'));
    await once(client.socket, 'data');
    client.socket.pause();
    expect(await registry.metrics()).toContain('requests_in_flight 1');
    const stopped = server.stop(60);
    client.socket.resume();
    await Promise.all([stopped, client.closed]);
    const received = client.received();
    expect(received.length - received.indexOf('\r\n\r\n') - 4).toBe(body.length);
  });

  it('is done once, however often it is asked', async () => {
    const { server } = await start();
    const stopped = server.stop(60);
    expect(server.stop(0)).toBe(stopped);
    await stopped;
  });
});
