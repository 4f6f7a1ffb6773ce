import { readBody } from './read-body.ts';
import { ask, connectTo, startTestApp, type TestApp } from './test-app.ts';

let running: TestApp;

beforeEach(async () => {
  running = await startTestApp({
    routes: (router) =>
      router.post('/echo', async (ctx) => {
        ctx.body = await readBody(ctx, 8);
      }),
  });
});

afterEach(() => running.server.stop(0));

const chunked = { 'transfer-encoding': 'chunked' };

it.each([
  ['nothing', '', {}, 200, ''],
  ['as much as is allowed', '12345678', {}, 200, '12345678'],
  ['as much as is allowed, in chunks', '12345678', chunked, 200, '12345678'],
  ['a byte more, declared', '123456789', {}, 413, 'The body of this request is larger than 8 bytes.\n'],
  ['a byte more, in chunks', '123456789', chunked, 413, 'The body of this request is larger than 8 bytes.\n'],
  ['bytes, not characters', 'üüüüü', {}, 413, 'The body of this request is larger than 8 bytes.\n'],
  ['identity', '1', { 'content-encoding': 'identity' }, 200, '1'],
  [
    'gzip',
    '1',
    { 'content-encoding': 'gzip' },
    415,
    'The body of this request is compressed: send it as it is.\n',
  ],
])('reads %s', async (_name, body, headers, status, text) => {
  const answer = await ask(`${running.server.url}/echo`, { method: 'POST', body, headers });
  expect({ status: answer.status, text: answer.text }).toEqual({ status, text });
});

it('refuses a large body before it is sent, and closes the connection', async () => {
  const client = await connectTo(running.server.port);
  client.socket.write('POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n');
  await client.closed;
  expect(client.received()).toMatch(/^HTTP\/1\.1 413 [^]*Connection: close/);
});

it('is told when a client leaves midway, and the process lives on', async () => {
  const client = await connectTo(running.server.port);
  client.socket.write('POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nhalf');
  client.socket.end();
  expect(await running.log.first('request')).toMatchObject({ path: '/echo' });
  expect((await ask(`${running.server.url}/-/healthy`)).status).toBe(200);
});
