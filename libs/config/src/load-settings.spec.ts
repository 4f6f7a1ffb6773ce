import { z } from 'zod';
import { type CommandTable, defineSettings, type SettingsDefinition } from './definition.ts';
import { duration } from './duration.ts';
import { httpSettings } from './http-settings.ts';
import { loadSettings } from './load-settings.ts';
import { formatProblem } from './problem.ts';
import { boolean, folderPath, httpUrl, nameValueList, oneOf, port, secretText } from './schemas.ts';

const settings = defineSettings(
  'llm-exporter',
  {
    LLM_EXPORTER_TARGETS: {
      schema: nameValueList(httpUrl).default([]),
      help: 'Engines.',
      example: 'vllm=http://vllm:8000',
    },
    LLM_EXPORTER_DISCOVERY: { schema: boolean.default(true), help: 'Look for engines.' },
    LLM_EXPORTER_BACKEND: { schema: oneOf('auto', 'nvml').default('auto'), help: 'Backend.' },
    LLM_EXPORTER_INTERVAL: { schema: duration.default(15), help: 'Between two readings.' },
  },
  {
    include: httpSettings({ port: 9502 }),
    refine: [
      ({ targets, discovery }, names) =>
        targets.length === 0 && !discovery
          ? `${names.targets} is empty and ${names.discovery} is off`
          : undefined,
    ],
  },
);

const strict = defineSettings('app', {
  APP_PORT: { schema: port, help: 'Port.', example: '80' },
  APP_KEY: { schema: secretText, help: 'Key.', secret: true },
});

interface Given {
  env?: Record<string, string>;
  argv?: string[];
  files?: Record<string, string>;
}

function surroundings({ env = {}, argv = [], files = {} }: Given) {
  const readFile = (path: string): string => {
    const text = files[path];
    if (text === undefined) throw Object.assign(new Error(`no ${path}`), { code: 'ENOENT' });
    if (text === 'EACCES' || text === 'EISDIR') throw Object.assign(new Error('no'), { code: text });
    return text;
  };
  return { env, argv, readFile };
}

function valuesOf(given: Given) {
  const loaded = loadSettings(settings, surroundings(given));
  if (!loaded.ok) throw new Error(loaded.problems.map(formatProblem).join('\n'));
  return loaded;
}

function problemsOf(given: Given): string[] {
  return problemsWith(settings, given);
}

function problemsWith<Values>(definition: SettingsDefinition<Values, CommandTable>, given: Given): string[] {
  const loaded = loadSettings(definition, surroundings(given));
  return loaded.ok ? [] : loaded.problems.map(formatProblem);
}

const file = (text: string): Given => ({ argv: ['--config', 'a.yaml'], files: { 'a.yaml': text } });

describe('precedence', () => {
  const argv = ['--port', '1', '--config', 'a.yaml'];
  const env = { LLM_EXPORTER_PORT: '2' };
  const files = { 'a.yaml': 'port: 3' };

  it.each([
    ['a flag wins over all', { argv, env, files }, 1, { from: 'flag', name: '--port' }],
    [
      'a variable over the file',
      { argv: argv.slice(2), env, files },
      2,
      { from: 'environment', name: 'LLM_EXPORTER_PORT' },
    ],
    [
      'the file over the default',
      { argv: argv.slice(2), files },
      3,
      { from: 'settings file', name: 'port (a.yaml, line 1)' },
    ],
    ['the default stands alone', {}, 9502, { from: 'default', name: '' }],
    [
      'an empty variable is not set',
      { env: { LLM_EXPORTER_PORT: ' \r' } },
      9502,
      { from: 'default', name: '' },
    ],
    ['an empty key is not set', file('port:'), 9502, { from: 'default', name: '' }],
    [
      'the file may be named by a variable',
      { env: { LLM_EXPORTER_CONFIG: 'a.yaml' }, files },
      3,
      { from: 'settings file', name: 'port (a.yaml, line 1)' },
    ],
    [
      'and by a flag rather than by a variable',
      { env: { LLM_EXPORTER_CONFIG: 'b.yaml' }, argv: ['--config=a.yaml'], files },
      3,
      { from: 'settings file', name: 'port (a.yaml, line 1)' },
    ],
  ])('%s', (_, given, expected, source) => {
    const { values, sources } = valuesOf(given);
    expect(values.port).toBe(expected);
    expect(sources.port).toEqual(source);
  });

  const both = { TOKEN_FROM_FLAG: 'flag', TOKEN_FROM_ENV: 'env', TOKEN_FROM_YAML: 'yaml' };
  const yaml = { 'a.yaml': 'authTokenFile: TOKEN_FROM_YAML' };

  it.each([
    [
      'flag',
      { argv: ['--auth-token-file', 'TOKEN_FROM_FLAG'], env: { LLM_EXPORTER_AUTH_TOKEN: 'inline' } },
      'flag',
    ],
    ['variable', { argv: ['--config=a.yaml'], env: { LLM_EXPORTER_AUTH_TOKEN: ' inline\r' } }, 'inline'],
    ['file', { argv: ['--config=a.yaml'], env: { LLM_EXPORTER_AUTH_TOKEN_FILE: 'TOKEN_FROM_ENV' } }, 'env'],
    [
      'file beside an empty variable',
      { env: { LLM_EXPORTER_AUTH_TOKEN: '', LLM_EXPORTER_AUTH_TOKEN_FILE: 'TOKEN_FROM_ENV' } },
      'env',
    ],
    ['settings file', { argv: ['--config=a.yaml'] }, 'yaml'],
    ['nothing', {}, undefined],
  ])('takes a secret from %s', (_, given: Given, expected) => {
    const { values } = valuesOf({ ...given, files: { ...both, ...yaml } });
    expect(values.authToken?.reveal()).toBe(expected);
  });

  it.each([
    ['token\n', 'token'],
    ['token\r\n', 'token'],
    ['\uFEFFtoken', 'token'],
    ['token', 'token'],
  ])('drops one newline at the end of a secret file: %j', (content, expected) => {
    const given = { env: { LLM_EXPORTER_AUTH_TOKEN_FILE: '/t' }, files: { '/t': content } };
    expect(valuesOf(given).values.authToken?.reveal()).toBe(expected);
  });

  it('drops no more than that, so a second newline is part of the token and refused', () => {
    const given = { env: { LLM_EXPORTER_AUTH_TOKEN_FILE: '/t' }, files: { '/t': 'token\n\n' } };
    expect(problemsOf(given)).toEqual([
      expect.stringContaining('LLM_EXPORTER_AUTH_TOKEN_FILE: expected a key of'),
    ]);
  });
});

describe('flags', () => {
  it.each([
    [['--no-discovery'], false],
    [['--discovery'], true],
    [['--discovery=false'], false],
    [['--discovery=no'], false],
  ])('%j', (argv, expected) => {
    const given = {
      argv: [...argv, '--targets', 'a=http://b'],
      env: { LLM_EXPORTER_DISCOVERY: String(!expected) },
    };
    expect(valuesOf(given).values.discovery).toBe(expected);
  });

  it.each([
    [['--prot', '1'], ['--prot: no such flag; did you mean --port?']],
    [['-port', '1'], ['-port: no such flag; did you mean --port?']],
    [['--banana'], ['--banana: no such flag; see llm-exporter --help']],
    [['--port'], ['--port: needs a value, for example --port=9502']],
    [
      ['--port', '--no-discovery', '--targets=a=http://b'],
      ['--port: needs a value, for example --port=9502'],
    ],
    [['--port=1', '--port=2'], ['--port: is given twice; keep one']],
    [['--port='], ['--port: expected a port number from 0 to 65535, for example 9502; got ""']],
    [['--discovery', 'false'], ['command line: takes flags only']],
    [['--no-discovery=1'], ['--no-discovery: takes no value; write --discovery=false or --discovery=true']],
    [
      ['--auth-token', 'hunter2'],
      [
        '--auth-token: every user of this host can read a command line; write --auth-token-file FILE or set LLM_EXPORTER_AUTH_TOKEN',
      ],
    ],
    [['--config='], ['--config: settings file : there is no such file']],
    [['--', '--port'], ['command line: takes flags only']],
  ])('refuses %j', (argv, problems) => {
    expect(problemsOf({ argv })).toEqual(problems);
  });
});

describe('variables', () => {
  it.each([
    ['LLM_EXPORTER_PROT', 'llm-exporter has no such setting; did you mean LLM_EXPORTER_PORT?'],
    ['LLM_EXPORTER_ZEBRA_CROSSING', 'llm-exporter has no such setting; see llm-exporter --help'],
    [
      'LLM_EXPORTER_PORT_FILE',
      'llm-exporter has no such setting; LLM_EXPORTER_PORT is no secret and is not read from a file of its own',
    ],
    [
      'LLM_EXPORTER_AUTH_TOKEN_FIEL',
      'llm-exporter has no such setting; did you mean LLM_EXPORTER_AUTH_TOKEN_FILE?',
    ],
  ])('refuses %s', (name, message) => {
    expect(problemsOf({ env: { [name]: '1' } })).toEqual([`${name}: ${message}`]);
  });

  it.each(['LLM_PROXY_PROT', 'LLM_EXPORTERPROT', 'llm_exporter_prot', 'PORT'])('leaves %s alone', (name) => {
    expect(problemsOf({ env: { [name]: '1' } })).toEqual([]);
  });

  const service = {
    LLM_EXPORTER_SERVICE_HOST: '10.0.0.7',
    LLM_EXPORTER_SERVICE_PORT: '9502',
    LLM_EXPORTER_SERVICE_PORT_METRICS: '9502',
    LLM_EXPORTER_PORT: 'tcp://10.0.0.7:9502',
    LLM_EXPORTER_PORT_9502_TCP: 'tcp://10.0.0.7:9502',
    LLM_EXPORTER_PORT_9502_TCP_PROTO: 'tcp',
    LLM_EXPORTER_PORT_9502_TCP_PORT: '9502',
    LLM_EXPORTER_PORT_9502_TCP_ADDR: '10.0.0.7',
    LLM_EXPORTER_CANARY_SERVICE_HOST: '10.0.0.8',
    LLM_EXPORTER_CANARY_SERVICE_PORT: '9502',
    LLM_EXPORTER_CANARY_PORT: 'tcp://10.0.0.8:9502',
  };

  it('are not those that Kubernetes sets for a Service of the same name', () => {
    expect(valuesOf({ env: service }).values.port).toBe(9502);
    expect(valuesOf({ env: { ...service, LLM_EXPORTER_PORT: '1234' } }).values.port).toBe(1234);
  });

  it('are taken at their word where there is no such Service', () => {
    expect(problemsOf({ env: { LLM_EXPORTER_PORT: 'tcp://10.0.0.7:9502' } })).toHaveLength(1);
    expect(problemsOf({ env: { LLM_EXPORTER_SERVICE_PORT: '9502' } })).toHaveLength(1);
  });
});

describe('settings file', () => {
  it('takes native types, maps, lists and comments', () => {
    const text =
      '# mine\r\nport: 80\r\ndiscovery: no\r\ninterval: 1m\r\ntargets:\r\n  a: http://b\r\n  c: "http://d/"\r\n';
    expect(valuesOf(file(`\uFEFF${text}`)).values).toMatchObject({
      port: 80,
      discovery: false,
      interval: 60,
      targets: [
        { name: 'a', value: 'http://b' },
        { name: 'c', value: 'http://d' },
      ],
    });
  });

  it('takes an anchor where it is used', () => {
    expect(valuesOf(file('host: &here 127.0.0.2\nlogLevel: info\n')).values.host).toBe('127.0.0.2');
  });

  it.each(['', '# nothing yet\n', '---\n', '{}'])('may be empty: %j', (text) => {
    expect(valuesOf(file(text)).values.port).toBe(9502);
  });

  it.each([
    ['port: 1\nprot: 2', ['a.yaml, line 2: no setting is called "prot"; did you mean port?']],
    ['log_level: info', ['a.yaml, line 1: no setting is called "log_level"; did you mean logLevel?']],
    [
      'port: 1\nport: 2',
      ['a.yaml, line 2, column 1: this is not valid YAML: the key stands in the file twice; keep one'],
    ],
    [
      'port: 1\n\tinterval: 2s',
      ['a.yaml, line 2, column 1: this is not valid YAML: indent with spaces, YAML takes no tabs'],
    ],
    [
      'host: "a',
      ['a.yaml, line 1, column 9: this is not valid YAML: a quote, bracket, comma or colon is missing'],
    ],
    ['port: 1\n---\nport: 2', [expect.stringMatching(/^a.yaml, line 2, .*more than one document/)]],
    ['- port: 1', ['a.yaml: expected one "key: value" a line, for example port: 9500']],
    ['port=1', ['a.yaml: expected one "key: value" a line, for example port: 9500']],
    ['host: *there', [expect.stringMatching(/^host \(a.yaml, line 1\): its aliases/)]],
    [
      'host: x\nport: 1.5',
      ['port (a.yaml, line 2): expected a port number from 0 to 65535, for example 9502; got 1.5'],
    ],
    [
      'interval: 15',
      [
        expect.stringMatching(
          /^interval \(a.yaml, line 1\): expected a duration.*: the unit is missing.*got 15$/,
        ),
      ],
    ],
    [
      'authToken: hunter2',
      [
        'a.yaml, line 1: authToken is a secret; write it into a file of its own and name that with authTokenFile',
      ],
    ],
    ['authTokenFile: [a]', [expect.stringContaining('expected the path of a file that holds the secret')]],
    ['__proto__: 1', [expect.stringContaining('no setting is called "__proto__"')]],
  ])('refuses %j', (text, problems) => {
    expect(problemsOf(file(text))).toEqual(problems);
  });

  it('refuses aliases that would grow without bound', () => {
    const lines = ['targets:', '  - &a0 [x, x, x, x, x, x, x, x, x]'];
    for (let level = 1; level < 9; level++) lines.push(`  - &a${level} [${`*a${level - 1},`.repeat(9)}]`);
    expect(problemsOf(file(lines.join('\n')))).toEqual([
      expect.stringContaining('aliases (*) cannot be resolved'),
    ]);
  });
});

describe('files that cannot be read', () => {
  it.each([
    [{ argv: ['--config', '/a.yaml'] }, '--config: settings file /a.yaml: there is no such file'],
    [
      { env: { LLM_EXPORTER_CONFIG: '/a.yaml' }, files: { '/a.yaml': 'EACCES' } },
      'LLM_EXPORTER_CONFIG: settings file /a.yaml: this user may not read it (check its owner and mode)',
    ],
    [
      { env: { LLM_EXPORTER_AUTH_TOKEN_FILE: '/run/secrets' }, files: { '/run/secrets': 'EISDIR' } },
      'LLM_EXPORTER_AUTH_TOKEN_FILE: /run/secrets: it is a folder, not a file',
    ],
    [
      { env: { LLM_EXPORTER_AUTH_TOKEN_FILE: 'hunter2' } },
      'LLM_EXPORTER_AUTH_TOKEN_FILE: the file it names: there is no such file',
    ],
    [
      { argv: ['--auth-token-file=/t'], files: { '/t': '\n' } },
      '--auth-token-file: /t: it is empty; write the secret into it or unset --auth-token-file',
    ],
    [
      { env: { LLM_EXPORTER_AUTH_TOKEN: 'a', LLM_EXPORTER_AUTH_TOKEN_FILE: '/t' } },
      'LLM_EXPORTER_AUTH_TOKEN: is set, and so is LLM_EXPORTER_AUTH_TOKEN_FILE; keep one of them',
    ],
  ])('%#', (given: Given, problem) => {
    expect(problemsOf(given)).toEqual([problem]);
  });
});

describe('required settings', () => {
  it('are reported when absent, with every way to give them', () => {
    expect(problemsWith(strict, {})).toEqual([
      'APP_PORT: is required: set it, or --port, or port in the settings file, for example APP_PORT=80',
      'APP_KEY: is required: set it, or name a file that holds it with APP_KEY_FILE, --key-file or keyFile',
    ]);
  });

  it.each([
    ['given wrongly', { argv: ['--port', 'x', '--key', 'y'] }, ['--key:', '--port:']],
    ['given without value', { argv: ['--key-file', '/t', '--port'], files: { '/t': 'x' } }, ['--port:']],
    ['perhaps in a file that cannot be read', { argv: ['--config=a.yaml'] }, ['--config:']],
  ])('are not called missing when %s', (_, given: Given, starts) => {
    expect(problemsWith(strict, given).map((problem) => problem.split(' ')[0])).toEqual(starts);
  });
});

describe('combinations', () => {
  it.each([
    [
      { LLM_EXPORTER_TLS_CERT_FILE: '/c' },
      'settings: LLM_EXPORTER_TLS_CERT_FILE is set and LLM_EXPORTER_TLS_KEY_FILE is not; TLS needs both, plain HTTP neither',
    ],
    [
      { LLM_EXPORTER_TLS_KEY_FILE: '/k' },
      'settings: LLM_EXPORTER_TLS_KEY_FILE is set and LLM_EXPORTER_TLS_CERT_FILE is not; TLS needs both, plain HTTP neither',
    ],
    [
      { LLM_EXPORTER_DISCOVERY: 'off' },
      'settings: LLM_EXPORTER_TARGETS is empty and LLM_EXPORTER_DISCOVERY is off',
    ],
  ])('refuses %j', (env, problem) => {
    expect(problemsOf({ env })).toEqual([problem]);
  });

  it.each([
    { LLM_EXPORTER_TLS_CERT_FILE: '/c', LLM_EXPORTER_TLS_KEY_FILE: '/k' },
    { LLM_EXPORTER_DISCOVERY: 'off', LLM_EXPORTER_TARGETS: 'a=http://b' },
  ])('takes %j', (env) => {
    expect(problemsOf({ env })).toEqual([]);
  });

  it.each([
    [
      { LLM_EXPORTER_TLS_CERT_FILE: '~/c', LLM_EXPORTER_TLS_KEY_FILE: '/k' },
      'LLM_EXPORTER_TLS_CERT_FILE: expected',
    ],
    [{ LLM_EXPORTER_TARGETS: 'a', LLM_EXPORTER_DISCOVERY: 'off' }, 'LLM_EXPORTER_TARGETS: expected'],
  ])('are not judged by a value that is bad itself: %j', (env, start) => {
    expect(problemsOf({ env })).toEqual([expect.stringContaining(start)]);
  });

  it('warns of a port that is open to the network without authentication', () => {
    expect(valuesOf({ env: { LLM_EXPORTER_HOST: '0.0.0.0' } }).warnings).toEqual([
      'LLM_EXPORTER_HOST=0.0.0.0 lets everyone on the network read this port; set LLM_EXPORTER_AUTH_TOKEN_FILE or LLM_EXPORTER_BASIC_AUTH_USERS_FILE, or listen on 127.0.0.1',
    ]);
  });

  it.each([
    [{ LLM_EXPORTER_HOST: '::' }, 1],
    [{ LLM_EXPORTER_HOST: '::1' }, 0],
    [{ LLM_EXPORTER_HOST: '128.0.0.1' }, 1],
    [{ LLM_EXPORTER_HOST: '127.8.0.1' }, 0],
    [{ LLM_EXPORTER_HOST: 'localhost.example.org' }, 1],
    [{ LLM_EXPORTER_HOST: 'localhost' }, 0],
    [{ LLM_EXPORTER_HOST: '0.0.0.0', LLM_EXPORTER_AUTH_TOKEN: 'abc' }, 0],
    [{}, 0],
  ])('warns of %j: %d', (env, count) => {
    expect(valuesOf({ env }).warnings).toHaveLength(count);
  });
});

it('reports everything at once', () => {
  const given: Given = {
    argv: ['--prot', '1', '--config=a.yaml', '--backend=nvm'],
    env: {
      LLM_EXPORTER_INTERVAL: '15',
      LLM_EXPORTER_HOTS: 'x',
      LLM_EXPORTER_AUTH_TOKEN_FILE: '/t',
      LLM_EXPORTER_TLS_CERT_FILE: '/c',
    },
    files: { 'a.yaml': 'logLevel: loud\nhots: x\n' },
  };
  const starts = problemsOf(given).map((problem) => problem.split(': ')[0]);
  expect(starts.sort()).toEqual([
    '--backend',
    '--prot',
    'LLM_EXPORTER_AUTH_TOKEN_FILE',
    'LLM_EXPORTER_HOTS',
    'LLM_EXPORTER_INTERVAL',
    'a.yaml, line 2',
    'logLevel (a.yaml, line 1)',
    'settings', // the half TLS pair is seen though other values are bad
  ]);
});

describe('values in messages', () => {
  it.each([
    ['x'.repeat(500), /got "x{75}…$/],
    ['a\nb\u001b[31m', /got "a\\nb\\u001b\[31m"$/],
    ['http://me:hunter2@', /got "\*\*\*@"$/],
    ['http://me:hunter2@a b', /got "\*\*\*@a b"$/],
  ])('are shown short, on one line and without credentials: %#', (value, ending) => {
    expect(problemsOf({ env: { LLM_EXPORTER_PORT: value } })[0]).toMatch(ending);
  });

  it('are not shown for a secret, though its schema quotes them', () => {
    const telltale = z.string().refine(() => false, { error: ({ input }) => `bad: ${String(input)}` });
    const refined = secretText.refine(() => false, { error: ({ input }) => `bad: ${String(input)}` });
    const definition = defineSettings('app', {
      APP_KEY: { schema: telltale, help: 'Key.', secret: true },
      APP_OTHER: { schema: refined, help: 'Key.', secret: true },
    });
    expect(problemsWith(definition, { env: { APP_KEY: 'hunter2', APP_OTHER: 'hunter2' } })).toEqual([
      'APP_KEY: the value of APP_KEY is not accepted',
      'APP_OTHER: the value of APP_OTHER is not accepted',
    ]);
  });
});

describe('a folder', () => {
  const withFolders = defineSettings('app', {
    APP_ROOT: { schema: folderPath.default('/sys'), help: 'Root.', example: '/host/sys' },
    APP_CACHE: { schema: folderPath.optional(), help: 'Cache.', example: '/var/cache' },
    APP_PORT: { schema: port.default(80), help: 'Port.' },
  });
  const load = (given: Given, isFolder?: (path: string) => boolean) =>
    loadSettings(withFolders, { ...surroundings(given), ...(isFolder === undefined ? {} : { isFolder }) });
  const onlyHostSys = (path: string): boolean => path === '/host/sys';

  it('that is there is taken; the default of the system is not looked for', () => {
    const loaded = load({ argv: ['--root', '/host/sys'] }, onlyHostSys);
    expect(loaded.ok && loaded.values).toEqual({ root: '/host/sys', cache: undefined, port: 80 });
    expect(load({}, () => false).ok).toBe(true);
  });

  it('that is not there is refused under the name it was given by, with all else that is wrong', () => {
    const env = { APP_ROOT: '/nope', APP_PORT: '99999' };
    const loaded = load({ env, argv: ['--cache=/neither'] }, onlyHostSys);
    expect(loaded.ok ? [] : loaded.problems.map(formatProblem)).toEqual([
      'APP_ROOT: there is no folder "/nope" that this user can see; mount it there, give the path where it is, or leave the setting out for /sys',
      '--cache: there is no folder "/neither" that this user can see; mount it there, give the path where it is, or leave the setting out',
      'APP_PORT: expected a port number from 0 to 65535, for example 80; got "99999"',
    ]);
  });

  it('is taken as it is where nobody can look', () => {
    expect(load({ env: { APP_ROOT: '/nope' } }).ok).toBe(true);
  });
});
