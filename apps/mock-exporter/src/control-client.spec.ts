import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { loadSettings } from '@llm-monitor/config';
import { TlsSettingsError } from '@llm-monitor/exporter-http';

import { controlAddress } from './control-address.ts';
import { runControl, type ControlAddress } from './control-client.ts';
import { settings, type Settings } from './settings.ts';
import { startTestMock, type TestMock } from './test-mock.ts';

const SCENARIO = `
seed: test
host:
  name: test
  gpus: [{ board: rtx-4090, count: 1 }]
  driver: { nvidia: 570.133.20, cuda: 12.8 }
engines:
  - { name: chat, kind: llamacpp, port: 0, model: "llama3.1:8b", gpus: [0], settings: { context_tokens: 8192 } }
`;

function settingsOf(
  env: Readonly<Record<string, string>>,
  files: Readonly<Record<string, string>> = {},
): Settings {
  const readFile = (path: string): string => files[path] ?? readFileSync(path, 'utf8');
  const read = loadSettings(settings, { env, argv: [], readFile });
  if (!read.ok) throw new Error(JSON.stringify(read));
  return read.values;
}

describe('the address of a command', () => {
  const readFile = (path: string): string => `content of ${path}`;

  it.each<[string, Readonly<Record<string, string>>, ControlAddress]>([
    ['nothing set', {}, { url: 'http://127.0.0.1:9503' }],
    ['another port', { MOCK_EXPORTER_PORT: '19503' }, { url: 'http://127.0.0.1:19503' }],
    ['another host', { MOCK_EXPORTER_HOST: '192.0.2.7' }, { url: 'http://192.0.2.7:9503' }],
    ['every host', { MOCK_EXPORTER_HOST: '0.0.0.0' }, { url: 'http://127.0.0.1:9503' }],
    ['a token', { MOCK_EXPORTER_AUTH_TOKEN: 'let-me' }, { url: 'http://127.0.0.1:9503', token: 'let-me' }],
    [
      'TLS',
      { MOCK_EXPORTER_TLS_CERT_FILE: '/etc/a.crt', MOCK_EXPORTER_TLS_KEY_FILE: '/etc/a.key' },
      { url: 'https://127.0.0.1:9503', certificate: 'content of /etc/a.crt' },
    ],
  ])('with %s follows the settings', (_what, env, address) => {
    const values = settingsOf(env, { '/etc/a.crt': 'x', '/etc/a.key': 'x' });
    expect(controlAddress(values, readFile)).toEqual(address);
  });
});

describe('a certificate that cannot be read', () => {
  it('is told with its setting', () => {
    const values = settingsOf(
      { MOCK_EXPORTER_TLS_CERT_FILE: '/etc/a.crt', MOCK_EXPORTER_TLS_KEY_FILE: '/etc/a.key' },
      { '/etc/a.crt': 'x', '/etc/a.key': 'x' },
    );
    const readFile = (): string => {
      throw new Error('EACCES: permission denied');
    };
    expect(() => controlAddress(values, readFile)).toThrow(TlsSettingsError);
    expect(() => controlAddress(values, readFile)).toThrow(
      /\/etc\/a\.crt.*EACCES.*MOCK_EXPORTER_TLS_CERT_FILE/,
    );
  });
});

describe('a mock with a token', () => {
  let mock: TestMock;

  beforeAll(async () => {
    mock = await startTestMock(SCENARIO, { env: { MOCK_EXPORTER_AUTH_TOKEN: 'let-me' } });
  });

  afterAll(() => mock.stop(0));

  it('is controlled with it', async () => {
    const result = await runControl({ url: mock.listening.url, token: 'let-me' }, { command: 'incidents' });
    expect(result).toMatchObject({ stderr: '', exitCode: 0 });
    expect(result.stdout).toContain('going on: nothing');
  });

  it.each([undefined, 'let-mf'])('is not with %j, and says which setting is to be set', async (token) => {
    const address = { url: mock.listening.url, ...(token === undefined ? {} : { token }) };
    const result = await runControl(address, { command: 'incidents' });
    expect(result).toMatchObject({ stdout: '', exitCode: 1 });
    expect(result.stderr).toContain('MOCK_EXPORTER_AUTH_TOKEN_FILE');
  });
});

describe('nobody at the address', () => {
  it('is told with the address', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen({ host: '127.0.0.1', port: 0 }, resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await new Promise((resolve) => server.close(resolve));
    const result = await runControl({ url }, { command: 'incidents' });
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toMatch(new RegExp(`^no mock-exporter answers at ${url} \\(.*ECONNREFUSED`));
  });
});

describe('somebody else at the address', () => {
  it.each([
    ['does not know the path', 404, '404 page not found'],
    ['answers to everything', 200, '<html></html>'],
    ['has errors of another form', 404, '{"detail":"Not Found"}'],
  ])('who %s is told from a mock', async (_who, status, body) => {
    const server = createServer((_request, response) => response.writeHead(status).end(body));
    await new Promise<void>((resolve) => server.listen({ host: '127.0.0.1', port: 0 }, resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const result = await runControl({ url }, { command: 'incidents' });
    await new Promise((resolve) => server.close(resolve));
    expect(result).toMatchObject({ stdout: '', exitCode: 1 });
    expect(result.stderr).toContain(`what answers at ${url} is no mock-exporter`);
    expect(result.stderr).toContain('MOCK_EXPORTER_PORT');
  });
});

const hasOpenSsl = spawnSync('openssl', ['version']).status === 0;
// The title says why the suite is left out, where it is.
const suite = hasOpenSsl ? describe : describe.skip;

suite(
  hasOpenSsl
    ? 'a mock with TLS'
    : 'a mock with TLS (skipped: its certificates are made by openssl, which is not on PATH)',
  () => {
    let folder = '';
    let mock: TestMock;
    const openssl = (...args: string[]): Buffer =>
      execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
    const pem = (name: string): string => readFileSync(join(folder, name), 'utf8');
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'mock-tls-'));
      openssl('req', '-x509', ...key, '-days', '2', '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=ca');
      // As from an authority: the name is that of the host, not the address that the command asks.
      openssl('req', ...key, '-keyout', 'mock.key', '-out', 'mock.csr', '-subj', '/CN=mock.example');
      const sign = 'x509 -req -in mock.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out mock.crt';
      openssl(...sign.split(' '));
      mock = await startTestMock(SCENARIO, {
        env: {
          MOCK_EXPORTER_TLS_CERT_FILE: join(folder, 'mock.crt'),
          MOCK_EXPORTER_TLS_KEY_FILE: join(folder, 'mock.key'),
        },
      });
    });

    afterAll(async () => {
      await mock.stop(0);
      rmSync(folder, { recursive: true, force: true });
    });

    it('is controlled by who has its certificate', async () => {
      const address = { url: mock.listening.url, certificate: pem('mock.crt') };
      expect(await runControl(address, { command: 'incidents' })).toMatchObject({ stderr: '', exitCode: 0 });
    });

    it('is not taken for another that has it', async () => {
      openssl(
        'req',
        '-x509',
        ...key,
        '-days',
        '2',
        '-keyout',
        'other.key',
        '-out',
        'other.crt',
        '-subj',
        '/CN=mock.example',
      );
      const address = { url: mock.listening.url, certificate: pem('other.crt') };
      const result = await runControl(address, { command: 'incidents' });
      expect(result.exitCode).toBe(1);
      expect(result.stderr).toMatch(/certificate/);
    });
  },
);
