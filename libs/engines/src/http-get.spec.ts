import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';

import { startFakeServer, type FakeServer } from '@llm-monitor/testing';

import { createGet } from './http-get.ts';
import type { TargetError } from './target-error.ts';

const patience = (): AbortSignal => AbortSignal.timeout(5_000);
const small = { maxBodyBytes: 64 * 1024 };

async function failureOf(url: string, path = '/metrics', signal = patience()): Promise<TargetError> {
  return createGet({ url }, small)(path, signal).then(
    ({ status }) => {
      throw new Error(`answered ${status}`);
    },
    (error: unknown) => error as TargetError,
  );
}

describe('what a target can do to us, and what is said of it', () => {
  let server: FakeServer;
  beforeAll(async () => {
    server = await startFakeServer((request, response) => {
      const endless = Buffer.alloc(16 * 1024, 'x');
      switch (request.url) {
        case '/endless': {
          const pump = (): void => {
            while (!response.destroyed && response.write(endless));
            if (!response.destroyed) response.once('drain', pump);
          };
          return pump();
        }
        case '/bomb':
          response.setHeader('content-encoding', 'gzip');
          return void response.end(gzipSync(Buffer.alloc(10 * 1024 * 1024)));
        case '/broken-gzip':
          response.setHeader('content-encoding', 'gzip');
          return void response.end('no gzip at all');
        case '/brotli':
          response.setHeader('content-encoding', 'br');
          return void response.end('x');
        case '/away':
          return void response.writeHead(302, { location: 'http://192.0.2.1/metrics' }).end();
        case '/circle':
          return void response.writeHead(302, { location: '/circle' }).end();
        case '/nowhere':
          return void response.writeHead(302, { location: 'http://[' }).end();
        case '/hang-after-headers':
          response.writeHead(200, { 'content-type': 'text/plain' });
          return void response.write('vllm:');
        case '/cut':
          response.writeHead(200, { 'content-length': '100' });
          response.write('half');
          return void response.destroy();
        default:
          return void response.writeHead(500).end();
      }
    });
  });
  afterAll(() => server.close());

  it.each([
    ['/endless', 'too_large', 'more than 0.0625 MiB'],
    ['/bomb', 'too_large', 'more than 0.0625 MiB'],
    ['/broken-gzip', 'not_http', 'broken gzip'],
    ['/brotli', 'not_http', 'encoding br'],
    ['/away', 'redirected', 'http://192.0.2.1, which is not followed'],
    ['/circle', 'redirected', 'in circles'],
    ['/nowhere', 'redirected', 'no address'],
    ['/cut', 'connection_lost', 'closed the connection'],
  ])('%s is %s', async (path, reason, words) => {
    const error = await failureOf(server.url, path);
    expect(error.reason).toBe(reason);
    expect(error.message).toContain(words);
    expect(error.message).toContain(server.url + path);
  });

  it('gives up on a body that never ends when its time is over', async () => {
    const stop = new AbortController();
    const failure = failureOf(server.url, '/hang-after-headers', stop.signal);
    stop.abort();
    expect((await failure).reason).toBe('timeout');
  });
});

it.each([
  ['http://127.0.0.1:1', 'refused'],
  ['http://no-such-host.invalid', 'name_not_found'],
])('%s is %s', async (url, reason) => {
  expect((await failureOf(url)).reason).toBe(reason);
});

it('says that a port does not speak HTTP', async () => {
  const server = createServer((socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const { port } = server.address() as AddressInfo;
    expect((await failureOf(`http://127.0.0.1:${port}`)).reason).toBe('not_http');
    expect((await failureOf(`https://127.0.0.1:${port}`)).reason).toBe('tls');
  } finally {
    server.close();
  }
});

it.each([
  ['HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n', 'not_http'],
  ['HTTP/1.1 100 Continue\r\n\r\n', 'connection_lost'],
])('an answer that is none, %j, is %s', async (text, reason) => {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    // An upgraded connection stays open: nothing but our own end closes it.
    socket.once('data', () => (reason === 'not_http' ? socket.write(text) : socket.end(text)));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const { port } = server.address() as AddressInfo;
    expect((await failureOf(`http://127.0.0.1:${port}`)).reason).toBe(reason);
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
});

it('gives up on a target that never answers when its time is over', async () => {
  const server = await startFakeServer(() => undefined);
  try {
    expect((await failureOf(server.url, '/metrics', AbortSignal.timeout(50))).reason).toBe('timeout');
    expect((await failureOf(server.url, '/metrics', AbortSignal.abort())).reason).toBe('timeout');
  } finally {
    await server.close();
  }
});

it('follows a redirect within the same origin, and keeps a path in front of all paths', async () => {
  const server = await startFakeServer({
    '/proxy/metrics': { status: 307, headers: { location: '/proxy/metrics/' } },
    '/proxy/metrics/': 'up 1',
  });
  try {
    const answer = await createGet({ url: `${server.url}/proxy` })('/metrics', patience());
    expect([answer.status, answer.path, answer.body]).toEqual([200, '/metrics', 'up 1']);
  } finally {
    await server.close();
  }
});

it('sends the key as a bearer token, asks for no compression, and never shows the key in an error', async () => {
  let headers: Record<string, unknown> = {};
  const server = await startFakeServer((request, response) => {
    headers = request.headers;
    response.destroy();
  });
  try {
    const error = await createGet({ url: server.url, bearerToken: 'sk-secret' })('/metrics', patience()).then(
      () => undefined,
      (reason: unknown) => reason as TargetError,
    );
    expect(headers['authorization']).toBe('Bearer sk-secret');
    expect(headers['accept-encoding']).toBe('identity');
    expect(JSON.stringify([error, error?.message, error?.stack])).not.toContain('sk-secret');
  } finally {
    await server.close();
  }
});
