import fc from 'fast-check';
import { defineSettings } from './definition.ts';
import { httpSettings } from './http-settings.ts';
import { renderEnvExample } from './render-env-example.ts';
import { renderSettingsDocs } from './render-settings-docs.ts';
import { runCommandLine } from './run-command-line.ts';
import { boolean, httpUrl, integerBetween, nameValueList, oneOf } from './schemas.ts';

const settings = defineSettings(
  'llm-exporter',
  {
    LLM_EXPORTER_TARGETS: {
      schema: nameValueList(httpUrl).default([]),
      help: 'Engines to read.',
      example: 'vllm=http://vllm:8000',
    },
    LLM_EXPORTER_DISCOVERY: { schema: boolean.default(true), help: 'Look for engines.' },
  },
  {
    description: 'LLM engines in one schema.',
    include: httpSettings({ port: 9502 }),
    commands: {
      read: {
        arguments: ['FILE', '[MODEL]'],
        help: 'Reads a saved answer.',
        flags: {
          engine: { schema: oneOf('vllm', 'tgi'), help: 'Engine that wrote it.', example: 'vllm' },
          maxRows: { schema: integerBetween(1, 100).default(10), help: 'Rows to show.' },
          quiet: { schema: boolean.default(false), help: 'Say less.' },
        },
      },
      doctor: { arguments: [], help: 'Looks for faults.' },
    },
    elsewhere: { check: 'gpu-exporter check looks at the GPUs' },
  },
);

function run(argv: string[], env: Record<string, string> = {}, files: Record<string, string> = {}) {
  const said = { stdout: '', stderr: '' };
  const result = runCommandLine(settings, {
    argv,
    env,
    version: '1.2.3',
    stdout: { write: (text) => (said.stdout += text) },
    stderr: { write: (text) => (said.stderr += text) },
    readFile: (path) => {
      const text = files[path];
      if (text === undefined) throw Object.assign(new Error(path), { code: 'ENOENT' });
      return text;
    },
  });
  return { ...said, result };
}

describe('--help', () => {
  it('shows each setting by group with its names, default and example', () => {
    const { stdout, result } = run(['--help']);
    expect(result).toEqual({ run: false, exitCode: 0 });
    expect(stdout).toMatch(
      /^llm-exporter 1\.2\.3: LLM engines in one schema\.\n\nUsage: llm-exporter \[COMMAND\] \[FLAGS\]\n/,
    );
    expect(stdout).toContain(
      [
        'Commands:',
        '  read FILE [MODEL] --engine VALUE [--max-rows VALUE] [--quiet]',
        '      Reads a saved answer.',
        '      --engine: Engine that wrote it. Takes one of vllm, tgi.',
        '      --max-rows: Rows to show. Takes a whole number from 1 to 100. Default 10.',
      ].join('\n'),
    );
    expect(stdout).toContain(
      [
        'HTTP:',
        '  --host VALUE',
        '      Address to listen on. Takes an IP address or a host name without a port.',
        '      LLM_EXPORTER_HOST, default 127.0.0.1, example 0.0.0.0',
      ].join('\n'),
    );
    expect(stdout).toContain('  --request-timeout VALUE\n');
    expect(stdout).toContain('LLM_EXPORTER_REQUEST_TIMEOUT, default 30s');
    expect(stdout).toContain('  --auth-token-file FILE\n');
    expect(stdout).toContain('LLM_EXPORTER_AUTH_TOKEN or LLM_EXPORTER_AUTH_TOKEN_FILE\n');
    for (const { variable } of settings.settings) expect(stdout).toContain(variable);
  });

  it.each([[['-h']], [['--help', '--prot=1']], [['read', '--help']]])(
    'answers %j, whatever else is wrong',
    (argv) => {
      expect(run(argv, { LLM_EXPORTER_PORT: 'x' })).toMatchObject({
        stderr: '',
        result: { run: false, exitCode: 0 },
      });
    },
  );
});

it('--version names app and version', () => {
  expect(run(['--version'])).toEqual({
    stdout: 'llm-exporter 1.2.3\n',
    stderr: '',
    result: { run: false, exitCode: 0 },
  });
});

describe('--check', () => {
  it('shows each effective value with its source, secrets only as set or not', () => {
    const env = {
      LLM_EXPORTER_AUTH_TOKEN_FILE: '/run/token',
      LLM_EXPORTER_HOST: '0.0.0.0',
      LLM_EXPORTER_REQUEST_TIMEOUT: '1m',
    };
    const files = { '/run/token': 'hunter2\n', '/a.yaml': 'targets: { vllm: "http://vllm:8000" }' };
    const { stdout, stderr, result } = run(['--check', '--port=1', '--config=/a.yaml'], env, files);
    expect(result).toEqual({ run: false, exitCode: 0 });
    expect(stderr).toBe('');
    expect(stdout.split('\n').map((line) => line.trimEnd().replace(/ {2,}/g, '  '))).toEqual([
      'llm-exporter: the settings are valid',
      '  LLM_EXPORTER_TARGETS  vllm=http://vllm:8000  settings file targets (/a.yaml, line 1)',
      '  LLM_EXPORTER_DISCOVERY  true  default',
      '  LLM_EXPORTER_HOST  0.0.0.0  environment',
      '  LLM_EXPORTER_PORT  1  flag',
      '  LLM_EXPORTER_ALLOWED_HOSTS  (not set)  default',
      '  LLM_EXPORTER_LOG_LEVEL  info  default',
      '  LLM_EXPORTER_AUTH_TOKEN  (set)  secret file /run/token',
      '  LLM_EXPORTER_BASIC_AUTH_USERS  (not set)  default',
      '  LLM_EXPORTER_TLS_CERT_FILE  (not set)  default',
      '  LLM_EXPORTER_TLS_KEY_FILE  (not set)  default',
      '  LLM_EXPORTER_MAX_CONCURRENT_REQUESTS  64  default',
      '  LLM_EXPORTER_REQUEST_TIMEOUT  1m  environment',
      '',
    ]);
  });

  it('warns on stderr and still exits with 0', () => {
    const { stderr, result } = run(['--check'], { LLM_EXPORTER_HOST: '0.0.0.0' });
    expect(stderr).toMatch(/^warning: LLM_EXPORTER_HOST=0\.0\.0\.0 lets everyone/);
    expect(result).toEqual({ run: false, exitCode: 0 });
  });

  it('lists all problems on stderr and exits with 2', () => {
    const { stdout, stderr, result } = run(['--check', '--prot', '1'], { LLM_EXPORTER_PORT: 'x' });
    expect(stdout).toBe('');
    expect(stderr).toBe(
      [
        'llm-exporter: 2 problems with its settings',
        '  - --prot: no such flag; did you mean --port?',
        '  - LLM_EXPORTER_PORT: expected a port number from 0 to 65535, for example 9502; got "x"',
        'See llm-exporter --help.',
        '',
      ].join('\n'),
    );
    expect(result).toEqual({ run: false, exitCode: 2 });
  });
});

describe('commands', () => {
  it('runs without one', () => {
    const { result } = run(['--port', '1']);
    expect(result).toMatchObject({ run: true, command: undefined, arguments: [], flags: {}, warnings: [] });
    expect(result.run && result.values.port).toBe(1);
  });

  it.each([
    [['read', 'a.prom', '--engine', 'vllm'], ['a.prom'], { engine: 'vllm', maxRows: 10, quiet: false }],
    [
      ['--engine=tgi', 'read', '--quiet', 'a.prom', '--max-rows=5', 'llama'],
      ['a.prom', 'llama'],
      { engine: 'tgi', maxRows: 5, quiet: true },
    ],
    [['read', '--engine=tgi', '-'], ['-'], { engine: 'tgi', maxRows: 10, quiet: false }],
    [['read', '--engine=tgi', '--', '--odd'], ['--odd'], { engine: 'tgi', maxRows: 10, quiet: false }],
  ])('passes %j on', (argv, positionals, flags) => {
    expect(run(argv).result).toMatchObject({ run: true, command: 'read', arguments: positionals, flags });
  });

  it('types arguments and flags by command (this test fails in the type check)', () => {
    const { result } = run(['read', 'a.prom', '--engine', 'vllm']);
    if (!result.run || result.command !== 'read') throw new Error('expected read');
    const file: string = result.arguments[0];
    const model: string | undefined = result.arguments[1];
    const engine: 'vllm' | 'tgi' = result.flags.engine;
    const maxRows: number = result.flags.maxRows;
    expect([file, model, engine, maxRows]).toEqual(['a.prom', undefined, 'vllm', 10]);
  });

  it.each([
    [['raed', 'x'], ['command line: there is no command "raed"; did you mean read?']],
    [['zebra'], ['command line: there is no command "zebra"; known commands are read, doctor']],
    [['constructor'], ['command line: there is no command "constructor"; known commands are read, doctor']],
    [['read', '--engine=vllm'], ['read: takes FILE [MODEL], got 0']],
    [['read', 'a', 'b', 'c', '--engine=vllm'], ['read: takes FILE [MODEL], got 3']],
    [['doctor', 'x'], ['doctor: takes no arguments, got 1']],
    [['read', 'a'], ['--engine: is required, for example --engine=vllm']],
    [['read', 'a', '--engine'], ['--engine: needs a value, for example --engine=vllm']],
    [
      ['read', 'a', '--engine=vlm'],
      ['--engine: expected one of vllm, tgi: did you mean vllm?, for example --engine=vllm; got "vlm"'],
    ],
    [['doctor', '--engine=vllm'], ['--engine: belongs to the command read']],
    [['--max-rows=3'], ['--max-rows: belongs to the command read']],
    [
      ['read', 'a', '--engin=vllm'],
      ['--engin: no such flag; did you mean --engine?', '--engine: is required, for example --engine=vllm'],
    ],
  ])('refuses %j', (argv, problems) => {
    const { stderr, result } = run(argv);
    const listed = stderr.split('\n').filter((line) => line.startsWith('  - '));
    expect(listed.sort()).toEqual(problems.map((problem) => `  - ${problem}`).sort());
    expect(result).toEqual({ run: false, exitCode: 2 });
  });
});

describe('a secret', () => {
  const secret = fc.stringMatching(/^[a-z$/+=.,:@-]{0,20}$/).map((tail) => `Q7x${tail}`);
  const places: Record<string, (value: string) => Parameters<typeof run>> = {
    'good, in a variable': (value) => [[], { LLM_EXPORTER_AUTH_TOKEN: value }],
    'bad, in a variable': (value) => [[], { LLM_EXPORTER_AUTH_TOKEN: `${value} x` }],
    'no hash, in a variable': (value) => [[], { LLM_EXPORTER_BASIC_AUTH_USERS: `ann:${value}` }],
    'set twice': (value) => [[], { LLM_EXPORTER_AUTH_TOKEN: value, LLM_EXPORTER_AUTH_TOKEN_FILE: value }],
    'in the place of its path': (value) => [[], { LLM_EXPORTER_AUTH_TOKEN_FILE: value }],
    'in a file': (value) => [['--auth-token-file=/t'], {}, { '/t': `${value}\n` }],
    'bad, in a file': (value) => [['--auth-token-file=/t'], {}, { '/t': `${value}\n\n` }],
    'on the command line': (value) => [['--auth-token', value], {}],
    'on the command line with =': (value) => [[`--auth-token=${value}`], {}],
    'on the command line in two words': (value) => [['--auth-token', 'x', value], {}],
    'behind a misspelled flag': (value) => [['--auth-tokne', value], {}],
    'behind a misspelled flag in two words': (value) => [['--auth-tokne', 'x', value], {}],
    'behind a misspelled flag with =': (value) => [[`--auth-tokne=${value}`], {}],
    'behind a misspelled flag with :': (value) => [[`--auth-token:${value}`], {}],
    'in a misspelled variable': (value) => [[], { LLM_EXPORTER_AUTH_TOKN: value }],
    'in the settings file': (value) => [['--config=a'], {}, { a: `authToken: '${value}'` }],
    'under a misspelled key': (value) => [['--config=a'], {}, { a: `authTokn: '${value}'` }],
    'in a broken settings file': (value) => [['--config=a'], {}, { a: `authToken: "${value}\nport: [1` }],
    'as an alias in the settings file': (value) => [['--config=a'], {}, { a: `authTokenFile: *${value}\n` }],
    'in an address': (value) => [[], { LLM_EXPORTER_TARGETS: `a=http://me:${value}@host` }],
    'in a broken address': (value) => [[], { LLM_EXPORTER_TARGETS: `a=http//me:${value}@host` }],
  };

  it.each(Object.entries(places))('is never printed: %s', (_, place) => {
    const property = fc.property(secret, (value) => {
      const [argv, env, files] = place(value);
      for (const extra of [[], ['--check'], ['--help'], ['--version']]) {
        const { stdout, stderr, result } = run([...argv, ...extra], env, files);
        expect(stdout + stderr + JSON.stringify(result)).not.toContain('Q7x');
      }
    });
    fc.assert(property, { seed: 4, numRuns: 50 });
  });

  it('is empty in the generated files', () => {
    expect(renderEnvExample([settings])).toContain('\n# LLM_EXPORTER_AUTH_TOKEN=\n');
    expect(renderSettingsDocs([settings])).toContain(
      '| `LLM_EXPORTER_AUTH_TOKEN`, `LLM_EXPORTER_AUTH_TOKEN_FILE` | `--auth-token-file` | `authTokenFile` | | Secret. ',
    );
  });
});

describe('a command of another app', () => {
  it('is named with what to run in its place', () => {
    const { stderr, result } = run(['check']);
    expect(result).toEqual({ run: false, exitCode: 2 });
    expect(stderr).toContain(
      'command line: there is no command "check" here: gpu-exporter check looks at the GPUs\n',
    );
    expect(run(['chekc']).stderr).toContain('there is no command "chekc"; known commands are read, doctor');
  });

  it('stands in the help', () => {
    expect(run(['--help']).stdout).toContain(
      'Elsewhere:\n  check\n      gpu-exporter check looks at the GPUs\n',
    );
  });
});
