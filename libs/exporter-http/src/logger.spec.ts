import { createLogger, type LogLevel } from './logger.ts';

function logTo(lines: string[], level: LogLevel = 'info') {
  return createLogger({
    app: 'llm-exporter',
    level,
    destination: { write: (line) => void lines.push(line) },
  });
}

it('writes a JSON line with level, ISO time and app', () => {
  const lines: string[] = [];
  logTo(lines).warn({ engine: 'vllm' }, 'engine did not answer');
  expect(lines).toHaveLength(1);
  const { time, ...record } = JSON.parse(lines[0] ?? '') as Record<string, unknown>;
  expect(record).toEqual({
    level: 'warn',
    app: 'llm-exporter',
    engine: 'vllm',
    msg: 'engine did not answer',
  });
  expect(new Date(String(time)).toISOString()).toBe(time);
});

it.each([
  ['info', ['info', 'error']],
  ['debug', ['debug', 'info', 'error']],
  ['error', ['error']],
  ['silent', []],
] as const)('at level %s writes %j', (level, expected) => {
  const lines: string[] = [];
  const log = logTo(lines, level);
  log.debug('debug');
  log.info('info');
  log.error('error');
  expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual(expected);
});

it.each([
  [{ authorization: 'hunter2' }],
  [{ Authorization: 'hunter2' }],
  [{ headers: { authorization: 'hunter2', cookie: 'hunter2' } }],
  [{ request: { headers: { 'set-cookie': ['hunter2'], 'x-api-key': 'hunter2' } } }],
  [{ settings: { token: 'hunter2', bearerTokens: ['hunter2'] } }],
  [{ settings: { auth: { user: { password: 'hunter2', passwordHash: 'hunter2' } } } }],
  [{ a: { b: { c: { d: { API_KEY: 'hunter2' } } } } }],
  [{ targets: [{ url: 'http://a', password: 'hunter2' }] }],
  [{ problem: Object.assign(new Error('refused'), { token: 'hunter2' }) }],
  [
    {
      err: new Error('refused', { cause: Object.assign(new Error('inner'), { token: 'hunter2' }) }),
      token: 'hunter2',
    },
  ],
  [{ err: Object.assign(new Error('refused'), { request: { headers: { authorization: 'hunter2' } } }) }],
])('never writes a secret: %j', (fields) => {
  const lines: string[] = [];
  logTo(lines).info(fields, 'fields');
  expect(lines[0]).toContain('[redacted]');
  expect(lines[0]).not.toContain('hunter2');
});

it.each([
  ['under err', { err: new TypeError('no number', { cause: new Error('inner') }) }],
  ['alone', new TypeError('no number', { cause: new Error('inner') })],
])('writes an error %s with its type, message, stack and cause', (_name, fields) => {
  const lines: string[] = [];
  logTo(lines).error(fields, 'failed');
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({
    msg: 'failed',
    err: {
      type: 'TypeError',
      message: 'no number: inner',
      stack: expect.stringMatching(/^TypeError: no number\n[^]*caused by: Error: inner/) as string,
    },
  });
});

it('writes what refers to itself, and dates and addresses as usual', () => {
  const lines: string[] = [];
  const node: Record<string, unknown> = { at: new Date(0), url: new URL('http://a/'), token: 'hunter2' };
  node['self'] = node;
  logTo(lines).info({ node }, 'fields');
  expect((JSON.parse(lines[0] ?? '') as Record<string, unknown>)['node']).toEqual({
    at: '1970-01-01T00:00:00.000Z',
    url: 'http://a/',
    token: '[redacted]',
    self: '[Circular]',
  });
});

it('leaves other fields alone', () => {
  const lines: string[] = [];
  logTo(lines).info({ tokens: 5, status: { tokensPerSecond: 7 } }, 'fields');
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ tokens: 5, status: { tokensPerSecond: 7 } });
});
