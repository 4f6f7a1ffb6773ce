import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { connect as connectTls } from 'node:tls';

import { TlsSettingsError } from './errors.ts';
import { listen } from './listen.ts';
import {
  ask,
  connectTo,
  createHold,
  createTestApp,
  createTestLog,
  startTestApp,
  type TestApp,
} from './test-app.ts';

const hasOpenSsl = spawnSync('openssl', ['version']).status === 0;
// The title says why the suite is left out, where it is.
const suite = hasOpenSsl ? describe : describe.skip;

suite(
  hasOpenSsl ? 'TLS' : 'TLS (skipped: the certificates for it are made by openssl, which is not on PATH)',
  () => {
    let directory = '';
    let running: TestApp | undefined;
    const file = (name: string) => path.join(directory, name);
    const pem = (name: string) => readFileSync(file(name), 'utf8');
    const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: directory, stdio: 'pipe' });

    function makePair(name: string): void {
      openssl(
        ...'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2'.split(' '),
        ...['-keyout', `${name}.key`, '-out', `${name}.crt`, '-subj', `/CN=${name}`],
        ...['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'],
      );
    }

    beforeAll(() => {
      directory = mkdtempSync(path.join(tmpdir(), 'exporter-http-tls-'));
      makePair('first');
      makePair('second');
      openssl('pkey', '-in', 'first.key', '-aes256', '-passout', 'pass:x', '-out', 'encrypted.key');
      openssl('x509', '-in', 'first.crt', '-outform', 'der', '-out', 'first.der');
      const weak = 'req -x509 -newkey rsa:512 -nodes -days 2 -keyout weak.key -out weak.crt -subj /CN=weak';
      openssl(...weak.split(' '));
    });

    afterAll(() => rmSync(directory, { recursive: true }));

    afterEach(async () => {
      await running?.server.stop(0);
      running = undefined;
    });

    async function start(tls: { cert: string; key: string }): Promise<TestApp> {
      running = await startTestApp({}, { tls });
      return running;
    }

    it.each([
      ['files', () => ({ cert: file('first.crt'), key: file('first.key') })],
      ['text', () => ({ cert: pem('first.crt'), key: pem('first.key') })],
    ])('serves https with a certificate from %s', async (_name, tls) => {
      const { server } = await start(tls());
      expect(server.url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
      expect(await ask(`${server.url}/-/healthy`, { ca: pem('first.crt') })).toMatchObject({
        text: 'healthy\n',
      });
    });

    it.each([
      ['TLSv1.3', true],
      ['TLSv1.2', true],
      ['TLSv1.1', false],
    ] as const)('a client with %s at most connects: %p', async (maxVersion, expected) => {
      const { server } = await start({ cert: file('first.crt'), key: file('first.key') });
      const connected = await new Promise<boolean>((resolve) => {
        const socket = connectTls({
          port: server.port,
          ca: pem('first.crt'),
          minVersion: 'TLSv1',
          maxVersion,
          ciphers: 'DEFAULT@SECLEVEL=0',
        });
        socket.on('secureConnect', () => (resolve(true), socket.destroy()));
        socket.on('error', () => resolve(false));
      });
      expect(connected).toBe(expected);
    });

    it.each([
      ['plain HTTP', 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'],
      ['noise', 'x'.repeat(100)],
    ])('%s on its port is no harm', async (_name, text) => {
      const { server } = await start({ cert: file('first.crt'), key: file('first.key') });
      const client = await connectTo(server.port);
      client.socket.write(text);
      await client.closed;
      expect(client.received()).not.toContain('200 OK');
      expect((await ask(`${server.url}/-/healthy`, { ca: pem('first.crt') })).status).toBe(200);
    });

    it.each<[string, string, string, RegExp]>([
      [
        'no certificate file',
        'none.crt',
        'first.key',
        /^The TLS certificate .*none\.crt cannot be read \(ENOENT\)/,
      ],
      ['no key file', 'first.crt', 'none.key', /^The TLS key .*none\.key cannot be read \(ENOENT\)/],
      [
        'a certificate in DER',
        'first.der',
        'first.key',
        /^The TLS certificate .*first\.der is no certificate in PEM form/,
      ],
      ['the two swapped', 'first.key', 'first.crt', /^The TLS certificate .*first\.key is no certificate/],
      [
        'a certificate twice',
        'first.crt',
        'first.crt',
        /^The TLS key .*first\.crt is no private key in PEM form/,
      ],
      [
        "another one's key",
        'first.crt',
        'second.key',
        /^The TLS key .*second\.key is not the key of .*first\.crt/,
      ],
      ['an encrypted key', 'first.crt', 'encrypted.key', /^The TLS key .*encrypted\.key is encrypted/],
      [
        'a key too weak',
        'weak.crt',
        'weak.key',
        /^The TLS certificate .*weak\.crt is refused by OpenSSL \(.*too small/,
      ],
    ])('%s is an error that says so', async (_name, cert, key, message) => {
      const attempt = listen(createTestApp().app, {
        host: '127.0.0.1',
        port: 0,
        tls: { cert: file(cert), key: file(key) },
      });
      await expect(attempt).rejects.toThrow(TlsSettingsError);
      await expect(attempt).rejects.toThrow(message);
    });

    it('never quotes a key that was given as text', async () => {
      const key = '-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n';
      const attempt = start({ cert: pem('first.crt'), key });
      await expect(attempt).rejects.toThrow(/^The TLS key given as text is no private key/);
      await expect(attempt).rejects.not.toThrow(/hunter2/);
    });

    describe('renewal', () => {
      const install = (name: string) => {
        writeFileSync(file('live.crt'), pem(`${name}.crt`));
        writeFileSync(file('live.key'), pem(`${name}.key`));
      };
      const live = () => ({ cert: file('live.crt'), key: file('live.key') });
      const isServed = async (url: string, name: string) =>
        ask(`${url}/-/healthy`, { ca: pem(`${name}.crt`) }).then(
          () => true,
          () => false,
        );

      it('is taken up for new connections', async () => {
        install('first');
        const { server, log } = await start(live());
        await server.reloadTls();
        expect(log.records).toEqual([]);
        install('second');
        await server.reloadTls();
        expect(await log.first('TLS certificate replaced by the one now on disk')).toMatchObject({
          level: 30,
        });
        expect(await isServed(server.url, 'second')).toBe(true);
        expect(await isServed(server.url, 'first')).toBe(false);
      });

      it('that cannot be used is told once, and the old pair served', async () => {
        install('first');
        const { server, log } = await start(live());
        writeFileSync(file('live.key'), pem('second.key'));
        await server.reloadTls();
        await server.reloadTls();
        const problems = log.records.filter(({ level }) => level === 50);
        expect(problems).toMatchObject([{ msg: 'new TLS files cannot be used, the old ones stay in use' }]);
        expect(await isServed(server.url, 'first')).toBe(true);
        install('second');
        await server.reloadTls();
        expect(await isServed(server.url, 'second')).toBe(true);
      });

      it('is looked for once a minute, by a timer that keeps no process alive', async () => {
        jest.useFakeTimers({
          doNotFake: [
            'nextTick',
            'setImmediate',
            'setTimeout',
            'clearTimeout',
            'queueMicrotask',
            'performance',
            'Date',
            'hrtime',
          ],
        });
        try {
          install('first');
          const { log } = await start(live());
          install('second');
          jest.advanceTimersByTime(60_000);
          await log.first('TLS certificate replaced by the one now on disk');
        } finally {
          jest.useRealTimers();
        }
      });
    });

    it('stops: idle connections close, a running request ends, a handshake that never comes is cut', async () => {
      const hold = createHold<string>();
      const log = createTestLog();
      const { server } = await startTestApp(
        {
          log: log.logger,
          metrics: async () => {
            hold.reach();
            return { contentType: 'text/plain', body: await hold.promise };
          },
        },
        { tls: { cert: file('first.crt'), key: file('first.key') } },
      );
      const silent = await connectTo(server.port);
      const answer = ask(`${server.url}/metrics`, { ca: pem('first.crt') });
      await hold.reached;
      const stopped = server.stop(0.5);
      hold.release('up 1\n');
      expect(await answer).toMatchObject({ status: 200, text: 'up 1\n', headers: { connection: 'close' } });
      await Promise.all([stopped, silent.closed]);
      expect(await log.first('connections still open after the grace period were cut')).toMatchObject({
        requests: 0,
      });
    });
  },
);
