import { hashSync } from 'bcryptjs';

import { createVerifier, type AuthSettings, type ComparePassword } from './auth.ts';
import { AuthSettingsError } from './errors.ts';
import { ask, createHold, startTestApp } from './test-app.ts';

const HASH = hashSync('right', 4);
const OTHER_HASH = hashSync('pass:wörd', 4);
const SETTINGS: AuthSettings = {
  bearerTokens: ['old-token', 'new-token'],
  users: [
    { name: 'prometheus', passwordHash: HASH },
    { name: 'ümit', passwordHash: OTHER_HASH.replace('$2b$', '$2y$') },
  ],
};

const basic = (credentials: string) => `Basic ${Buffer.from(credentials).toString('base64')}`;

describe('credentials', () => {
  it.each([
    ['a token', 'Bearer new-token', true],
    ['the other token', 'Bearer old-token', true],
    ['a scheme in lower case', 'bearer new-token', true],
    ['a wrong token', 'Bearer new-tokem', false],
    ['a prefix of a token', 'Bearer new', false],
    ['no token', 'Bearer', false],
    ['no token after a space', 'Bearer ', false],
    ['two tokens', 'Bearer new-token old-token', false],
    ['a token under another scheme', 'Token new-token', false],
    ['a bare token', 'new-token', false],
    ['a user', basic('prometheus:right'), true],
    ['a second user, with a colon and letters beyond ASCII', basic('ümit:pass:wörd'), true],
    ['a wrong password', basic('prometheus:wrong'), false],
    ["another user's password", basic('prometheus:pass:wörd'), false],
    ['an unknown user with a known password', basic('grafana:right'), false],
    ['an empty password', basic('prometheus:'), false],
    ['no colon', basic('prometheus'), false],
    ['no base64', 'Basic prometheus:right', false],
    ['nothing', undefined, false],
    ['an empty header', '', false],
  ])('%s: %j passes: %p', async (_name, header, expected) => {
    const verify = createVerifier(SETTINGS);
    expect(await verify(header)).toBe(expected);
    expect(await verify(header)).toBe(expected); // from memory
  });

  it('neither admits a token as a password nor the reverse', async () => {
    const verify = createVerifier({ bearerTokens: ['right'] });
    expect(await verify(basic('prometheus:right'))).toBe(false);
    expect(await createVerifier({ users: SETTINGS.users ?? [] })('Bearer right')).toBe(false);
  });
});

describe('password checks', () => {
  const users = [{ name: 'prometheus', passwordHash: HASH }];

  function counting(compare: ComparePassword): { compare: ComparePassword; calls: string[] } {
    const calls: string[] = [];
    return { calls, compare: (password, hash) => (calls.push(password), compare(password, hash)) };
  }

  it('cost bcrypt once per credentials, good or bad', async () => {
    const { compare, calls } = counting((password) => Promise.resolve(password === 'right'));
    const verify = createVerifier({ users }, compare);
    for (const password of ['right', 'wrong', 'right', 'wrong', 'right']) {
      expect(await verify(basic(`prometheus:${password}`))).toBe(password === 'right');
    }
    expect(calls).toEqual(['right', 'wrong']);
  });

  it('share one comparison while it runs', async () => {
    const hold = createHold<boolean>();
    const { compare, calls } = counting(() => hold.promise);
    const verify = createVerifier({ users }, compare);
    const verdicts = Promise.all([verify(basic('prometheus:right')), verify(basic('prometheus:right'))]);
    hold.release(true);
    expect(await verdicts).toEqual([true, true]);
    expect(calls).toHaveLength(1);
  });

  it('compare for unknown names too, so that time does not tell them apart', async () => {
    const { compare, calls } = counting(() => Promise.resolve(true));
    expect(await createVerifier({ users }, compare)(basic('nobody:right'))).toBe(false);
    expect(calls).toEqual(['right']);
  });

  it('forget the oldest wrong guesses, and keep the right credentials however many come', async () => {
    const { compare, calls } = counting((password) => Promise.resolve(password === 'right'));
    const verify = createVerifier({ users }, compare);
    await verify(basic('prometheus:right'));
    for (let guess = 0; guess < 65; guess += 1) await verify(basic(`prometheus:${guess}`));
    calls.length = 0;
    await verify(basic('prometheus:right'));
    await verify(basic('prometheus:64'));
    await verify(basic('prometheus:0'));
    expect(calls).toEqual(['0']);
  });

  it('turn away a flood of guesses, but not credentials that are known', async () => {
    const hold = createHold<boolean>();
    const verify = createVerifier({ users }, (password) =>
      password === 'right' ? Promise.resolve(true) : hold.promise,
    );
    await verify(basic('prometheus:right'));
    const waiting = Array.from({ length: 9 }, (_, guess) => verify(basic(`prometheus:${guess}`)));
    await expect(verify(basic('prometheus:one-more'))).rejects.toMatchObject({
      status: 503,
      headers: { 'Retry-After': '1' },
    });
    expect(await verify(basic('prometheus:right'))).toBe(true);
    hold.release(false);
    expect(new Set(await Promise.all(waiting))).toEqual(new Set([false]));
  });

  it('try again after a comparison that failed', async () => {
    let isBroken = true;
    const verify = createVerifier({ users }, () =>
      isBroken ? Promise.reject(new Error('out of memory')) : Promise.resolve(true),
    );
    await expect(verify(basic('prometheus:right'))).rejects.toThrow('out of memory');
    isBroken = false;
    expect(await verify(basic('prometheus:right'))).toBe(true);
  });
});

describe('settings that cannot work', () => {
  const user = (name: string, passwordHash = HASH) => ({ users: [{ name, passwordHash }] });

  it.each<[string, AuthSettings, RegExp]>([
    ['an empty token', { bearerTokens: ['good', ''] }, /^Bearer token 2 is empty/],
    ['a token with its line end', { bearerTokens: ['good\n'] }, /^Bearer token 1 .* line end/],
    ['a token with a space', { bearerTokens: ['so good'] }, /^Bearer token 1 /],
    ['a plain password', user('ann', 'hunter2'), /^User "ann" has no valid bcrypt hash .*htpasswd/],
    ['a hash cut short', user('ann', HASH.slice(0, -1)), /^User "ann" has no valid bcrypt hash/],
    ['a hash of another kind', user('ann', '$apr1$x$y'), /^User "ann" has no valid bcrypt hash/],
    [
      'a cost that would stop the server',
      user('ann', HASH.replace('$04$', '$31$')),
      /^User "ann" has a bcrypt cost of 31/,
    ],
    ['a cost that is none', user('ann', HASH.replace('$04$', '$03$')), /^User "ann" has a bcrypt cost of 3/],
    ['a name with a colon', user('a:b'), /^User "a:b" has a colon/],
    ['no name', user(''), /^User number 1 has no name/],
    [
      'a name given twice',
      { users: [...user('ann').users, ...user('ann').users] },
      /^User "ann" is given more than once/,
    ],
  ])('%s', (_name, settings, message) => {
    const build = () => createVerifier(settings);
    expect(build).toThrow(AuthSettingsError);
    expect(build).toThrow(message);
    expect(build).not.toThrow(/hunter2|so good/);
  });
});

describe('an app with credentials', () => {
  it.each([
    ['/metrics', {}, 401],
    ['/', {}, 401],
    ['/nowhere', {}, 401],
    ['/-/healthy/', {}, 401],
    ['/-/healthy', {}, 200],
    ['/-/ready', {}, 200],
    ['/metrics', { authorization: 'Bearer new-token' }, 200],
    ['/metrics', { authorization: basic('prometheus:right') }, 200],
    ['/nowhere', { authorization: 'Bearer new-token' }, 404],
    ['/metrics', { authorization: 'Basic !!!' }, 401],
  ])('answers %s with %j by %i', async (path, headers, status) => {
    const { server } = await startTestApp({ auth: SETTINGS });
    expect((await ask(server.url + path, { headers })).status).toBe(status);
    await server.stop(0);
  });

  it.each<[string, AuthSettings, string | undefined]>([
    ['both', SETTINGS, 'Bearer realm="test-exporter", Basic realm="test-exporter", charset="UTF-8"'],
    ['tokens', { bearerTokens: ['t'] }, 'Bearer realm="test-exporter"'],
    [
      'users',
      { users: [{ name: 'ann', passwordHash: HASH }] },
      'Basic realm="test-exporter", charset="UTF-8"',
    ],
    ['neither', { bearerTokens: [], users: [] }, undefined],
  ])('tells how to ask: %s', async (_name, auth, challenge) => {
    const { server } = await startTestApp({ auth });
    const answer = await ask(`${server.url}/metrics`);
    expect(answer.headers['www-authenticate']).toBe(challenge);
    expect(answer.status).toBe(challenge === undefined ? 200 : 401);
    await server.stop(0);
  });

  it('logs a refusal at warn, and no credentials', async () => {
    const { server, log } = await startTestApp({ auth: SETTINGS });
    await ask(`${server.url}/metrics?token=hunter2`, { headers: { authorization: 'Bearer hunter2' } });
    expect(await log.first('request')).toMatchObject({ level: 40, path: '/metrics', status: 401 });
    expect(JSON.stringify(log.records)).not.toContain('hunter2');
    await server.stop(0);
  });
});
