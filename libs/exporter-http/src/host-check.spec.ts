import { allowedHostsOf } from './host-check.ts';
import { ask, connectTo, startTestApp } from './test-app.ts';

describe('allowedHostsOf', () => {
  const LOCAL = ['localhost', '127.0.0.1', '::1'];

  it.each([
    ['127.0.0.1', undefined, [...LOCAL, '127.0.0.1']],
    ['127.0.0.2', undefined, [...LOCAL, '127.0.0.2']],
    ['localhost', ['gpu-box'], [...LOCAL, 'localhost', 'gpu-box']],
    ['0.0.0.0', ['gpu-box'], [...LOCAL, '0.0.0.0', 'gpu-box']],
    ['0.0.0.0', undefined, 'any'],
    ['0.0.0.0', [], 'any'],
    ['127.0.0.1', [], [...LOCAL, '127.0.0.1']],
    ['192.168.1.5', undefined, 'any'],
    ['127.0.0.1', 'any', 'any'],
  ] as const)('on %s with %j configured', (host, configured, expected) => {
    expect(allowedHostsOf(host, configured)).toEqual(expected);
  });
});

describe('a listener on loopback', () => {
  it.each([
    ['localhost', 200],
    ['LocalHost:9500', 200],
    ['localhost.:9500', 200],
    ['127.0.0.1:1', 200],
    ['[::1]:9500', 200],
    ['[::1]', 200],
    ['gpu-box.lan', 200],
    ['gpu-box.lan:80', 200],
    ['other-box.lan', 200],
    ['evil.example', 421],
    ['localhost.evil.example', 421],
    ['evil.example:9500', 421],
    ['127.0.0.1.evil.example', 421],
    ['localhost@evil.example', 421],
    ['localhost:80:80', 421],
  ])('answers Host %p with %i', async (host, status) => {
    const { server } = await startTestApp({}, { allowedHosts: ['gpu-box.lan', 'Other-Box.lan.'] });
    try {
      expect((await ask(`${server.url}/metrics`, { headers: { host } })).status).toBe(status);
    } finally {
      await server.stop(0);
    }
  });

  it('says which hosts it answers to', async () => {
    const { server } = await startTestApp();
    const { text } = await ask(server.url, { headers: { host: 'evil.example' } });
    expect(text).toBe(
      'This server answers to localhost, 127.0.0.1, ::1 only. ' +
        'If the name you used is meant to reach it, add that name to TEST_EXPORTER_ALLOWED_HOSTS.\n',
    );
    await server.stop(0);
  });

  it('answers any host when told so', async () => {
    const { server } = await startTestApp({}, { allowedHosts: 'any' });
    expect((await ask(server.url, { headers: { host: 'evil.example' } })).status).toBe(200);
    await server.stop(0);
  });

  it('answers HTTP/1.0 without a Host, which no browser sends', async () => {
    const { server } = await startTestApp();
    const client = await connectTo(server.port);
    client.socket.write('GET /-/healthy HTTP/1.0\r\n\r\n');
    await client.closed;
    expect(client.received()).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*healthy\n$/);
    await server.stop(0);
  });
});
