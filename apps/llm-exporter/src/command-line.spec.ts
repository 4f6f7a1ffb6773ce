import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';

import { runExporterCommandLine, type Decision } from './command-line.ts';
import { VERSION } from './version.ts';

interface Run {
  readonly decision: Decision;
  readonly stdout: string;
  readonly stderr: string;
}

/** The command line as a process would run it, without one. */
async function run(
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
  files: Readonly<Record<string, string>> = {},
): Promise<Run> {
  const said = { stdout: '', stderr: '' };
  const decision = await runExporterCommandLine({
    argv,
    env,
    readFile: (file) => {
      const text = files[file];
      if (text === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
      return text;
    },
    stdin: Readable.from([]),
    stdout: { write: (text) => (said.stdout += text) },
    stderr: { write: (text) => (said.stderr += text) },
    discover: () => Promise.resolve({ ask: [], passedOver: [] }),
  });
  return { decision, ...said };
}

describe('the settings of the llm-exporter', () => {
  it('are good without any', async () => {
    const { decision, stderr } = await run([]);
    expect(stderr).toBe('');
    expect(decision).toMatchObject({
      serve: true,
      configured: [],
      settings: { host: '127.0.0.1', port: 9502, discovery: true },
    });
  });

  it('are told all at once when they are wrong, with exit code 2 and no secret', async () => {
    const { decision, stderr } = await run(['--max-concurrent-targets', '0', '--tragets', 'x'], {
      LLM_EXPORTER_TARGETS: 'chat=http://me:hunter2@gpu-1:8000',
      LLM_EXPORTER_TARGET_TOKEN: 'hunter2 with a space',
      LLM_EXPORTER_DISCOVERED_TOKEN: 'a',
      LLM_EXPORTER_DISCOVERED_TOKEN_FILE: '/key',
      LLM_EXPORTER_DISCOVERY_INTERVAL: 'soon',
      LLM_EXPORTER_PROBE_ALLOW: '10.0.0.*',
      LLM_EXPORTER_MAX_BODY: '5',
      LLM_EXPORTER_PORT: '99999',
      LLM_EXPORTER_PROT: '1',
      LLM_EXPORTER_SCRAPE_TIMEOUT: '40s',
      LLM_EXPORTER_TLS_CERT_FILE: '/cert.pem',
    });
    expect(decision).toEqual({ serve: false, exitCode: 2 });
    for (const words of [
      '--max-concurrent-targets: expected',
      '--tragets',
      'LLM_EXPORTER_TARGETS: ',
      'give the key as the target token',
      'LLM_EXPORTER_TARGET_TOKEN: expected a key of 1 to 4096 visible ASCII',
      'LLM_EXPORTER_DISCOVERED_TOKEN: is set, and so is LLM_EXPORTER_DISCOVERED_TOKEN_FILE',
      'LLM_EXPORTER_DISCOVERY_INTERVAL: expected a duration',
      'LLM_EXPORTER_PROBE_ALLOW: ',
      'LLM_EXPORTER_MAX_BODY: expected at least 1KiB',
      'LLM_EXPORTER_PORT: expected a port number',
      'did you mean LLM_EXPORTER_PORT?',
      'LLM_EXPORTER_SCRAPE_TIMEOUT (40 s) is not below LLM_EXPORTER_REQUEST_TIMEOUT (30 s)',
      'LLM_EXPORTER_TLS_CERT_FILE is set and LLM_EXPORTER_TLS_KEY_FILE is not',
    ]) {
      expect(stderr).toContain(words);
    }
    expect(stderr).not.toContain('hunter2');
  });

  it('refuse one address under two names, and nothing to read', async () => {
    const twins = await run([], { LLM_EXPORTER_TARGETS: 'a=http://gpu-1:8000,b=vllm+http://gpu-1:8000/' });
    expect(twins.stderr).toContain('one address under several names (http://gpu-1:8000)');
    const nothing = await run(['--no-discovery']);
    expect(nothing.stderr).toContain('there is nothing to read');
  });

  it('come from a YAML file, with a key file for a target', async () => {
    const { decision, stderr } = await run(
      ['--config', 'exporter.yaml'],
      { LLM_EXPORTER_TARGET_TOKEN: 'common-key' },
      {
        'exporter.yaml':
          'targets:\n  plain: http://gpu-1:8000\n  secured:\n    url: https://gpu-2\n    engine: vllm\n    tokenFile: /run/key\nprobeAllow: [http://10.0.0.*:8000]\n',
        '/run/key': 'own-key\n',
      },
    );
    expect(stderr).toBe('');
    expect(decision).toMatchObject({
      serve: true,
      configured: [
        { server: 'plain', endpoint: { url: 'http://gpu-1:8000', bearerToken: 'common-key' } },
        { server: 'secured', endpoint: { url: 'https://gpu-2', bearerToken: 'own-key' }, engine: 'vllm' },
      ],
    });
  });

  it('name every key file that cannot be used', async () => {
    const { decision, stderr } = await run(
      ['--config', 'exporter.yaml'],
      {},
      {
        'exporter.yaml':
          'targets:\n  gone: {url: http://a, tokenFile: /gone}\n  empty: {url: http://b, tokenFile: /empty}\n  two: {url: http://c, tokenFile: /two}\n',
        '/empty': '\n',
        '/two': 'one\ntwo\n',
      },
    );
    expect(decision).toEqual({ serve: false, exitCode: 2 });
    expect(stderr).toContain('tokenFile of target gone (/gone): cannot be read (ENOENT)');
    expect(stderr).toContain('tokenFile of target empty (/empty): is empty');
    expect(stderr).toContain('tokenFile of target two (/two): holds something that no HTTP header can carry');
  });
});

describe('the command line', () => {
  it('answers --help with every command and setting', async () => {
    const { decision, stdout } = await run(['--help']);
    expect(decision).toEqual({ serve: false, exitCode: 0 });
    expect(stdout).toContain('read FILE [--engine VALUE]');
    expect(stdout).toContain('LLM_EXPORTER_TARGETS, example chat=');
  });

  it('answers --version with the version of the package', async () => {
    const manifest = JSON.parse(readFileSync(path.join(__dirname, '../package.json'), 'utf8')) as {
      version: string;
    };
    expect(VERSION).toBe(manifest.version);
    expect((await run(['--version'])).stdout).toBe(`llm-exporter ${manifest.version}\n`);
  });

  it('says by --check what is in effect, and prints no key', async () => {
    const { stdout } = await run(['--check'], {
      LLM_EXPORTER_TARGETS: 'chat=vllm+http://gpu-1:8000',
      LLM_EXPORTER_TARGET_TOKEN: 'hunter2',
    });
    expect(stdout).toContain('chat=vllm+http://gpu-1:8000');
    expect(stdout).not.toContain('hunter2');
  });

  it('refuses an engine for read that there is none of', async () => {
    const { decision, stderr } = await run(['read', 'file', '--engine', 'vlm']);
    expect(decision).toEqual({ serve: false, exitCode: 2 });
    expect(stderr).toContain('did you mean vllm?');
  });
});
