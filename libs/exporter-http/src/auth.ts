import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

import { compare, getRounds } from 'bcryptjs';

import { AuthSettingsError, RequestError } from './errors.ts';
import { isHealthPath, type HttpMiddleware } from './http-context.ts';

export interface BasicUser {
  readonly name: string;
  /** bcrypt, as `htpasswd -nBC 10 name` prints it after the colon. */
  readonly passwordHash: string;
}

/** Who may ask. Several tokens, so that one can be replaced while scrapers still send the other; none of both: anyone. */
export interface AuthSettings {
  readonly bearerTokens?: readonly string[];
  readonly users?: readonly BasicUser[];
}

/** bcrypt's own comparison: true when `password` made `hash`. */
export type ComparePassword = (password: string, hash: string) => Promise<boolean>;

/** Says whether the value of an `Authorization` header may pass. */
export type VerifyCredentials = (authorization: string | undefined) => Promise<boolean>;

/** Two rounds more are four times the work; at 14 one comparison takes the event loop for seconds. */
const MOST_BCRYPT_ROUNDS = 14;

/** Verdicts remembered, of each kind: more than a scraper, a dashboard and a few people need. */
const REMEMBERED_VERDICTS = 64;

/** Comparisons that may wait for the one that runs; each takes about 0.1 s of the event loop. */
const WAITING_COMPARISONS = 8;

/**
 * Refuses requests without valid credentials with 401, save those of the health endpoints.
 *
 * @throws AuthSettingsError when a token or a user cannot work.
 */
export function requireCredentials(
  settings: AuthSettings,
  { realm, comparePassword = compare }: { realm: string; comparePassword?: ComparePassword },
): HttpMiddleware {
  const verify = createVerifier(settings, comparePassword);
  const challenges = [
    ...(settings.bearerTokens?.length ? [`Bearer realm="${realm}"`] : []),
    ...(settings.users?.length ? [`Basic realm="${realm}", charset="UTF-8"`] : []),
  ];
  if (challenges.length === 0) return (_ctx, next) => next();
  return async (ctx, next) => {
    if (!isHealthPath(ctx.path) && !(await verify(ctx.headers.authorization))) {
      throw new RequestError(401, 'This needs credentials: the right bearer token, or user and password.', {
        headers: { 'WWW-Authenticate': challenges },
      });
    }
    await next();
  };
}

/**
 * Checks the settings, and returns the check of a header against them.
 *
 * Tokens are compared by digest in constant time. A password costs bcrypt once: its verdict is then remembered under a
 * keyed digest, so that a scrape every 15 s does not pay 0.1 s each time.
 *
 * @throws AuthSettingsError when a token or a user cannot work.
 */
export function createVerifier(
  { bearerTokens = [], users = [] }: AuthSettings,
  comparePassword: ComparePassword = compare,
): VerifyCredentials {
  bearerTokens.forEach(checkToken);
  users.forEach(checkUser);
  const isToken = tokenCheck(bearerTokens);
  const isPassword = passwordCheck(users, comparePassword);
  return async (authorization) => {
    const [, scheme = '', value = ''] = /^([A-Za-z]+) +(\S+) *$/.exec(authorization ?? '') ?? [];
    switch (scheme.toLowerCase()) {
      case 'bearer':
        return isToken(value);
      case 'basic':
        return isPassword(value);
      default:
        return false;
    }
  };
}

function checkToken(token: string, index: number): void {
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new AuthSettingsError(
      `Bearer token ${index + 1} is empty or holds a space or a character outside ASCII, which no client can send: ` +
        'make one with `openssl rand -hex 32`, and look for a line end in the file it comes from.',
    );
  }
}

function checkUser({ name, passwordHash }: BasicUser, index: number, users: readonly BasicUser[]): void {
  const problem = userProblem(name, passwordHash, users.findIndex((user) => user.name === name) !== index);
  if (problem === undefined) return;
  const who = name === '' ? `number ${index + 1}` : JSON.stringify(name);
  throw new AuthSettingsError(`User ${who} ${problem}.`);
}

function userProblem(name: string, passwordHash: string, isRepeated: boolean): string | undefined {
  if (name === '') return 'has no name: give it one';
  if (name.includes(':'))
    return 'has a colon in its name, which ends the name in basic authentication: take it out';
  if (isRepeated) return 'is given more than once: keep one of them';
  if (!/^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$/.test(passwordHash)) {
    return 'has no valid bcrypt hash (60 characters that begin with $2a$, $2b$ or $2y$): make one with `htpasswd -nBC 10 NAME`, and where a shell or compose file reads it, keep the dollar signs from being expanded';
  }
  const rounds = getRounds(passwordHash);
  if (rounds < 4 || rounds > MOST_BCRYPT_ROUNDS) {
    return `has a bcrypt cost of ${rounds}, outside 4 to ${MOST_BCRYPT_ROUNDS}: make the hash with \`htpasswd -nBC 10 NAME\``;
  }
  return undefined;
}

function tokenCheck(tokens: readonly string[]): (token: string) => boolean {
  const digests = tokens.map(digest);
  return (token) => {
    const given = digest(token);
    // Every token is compared, so that the time tells nothing about which one, if any, was near.
    return digests.map((known) => timingSafeEqual(known, given)).includes(true);
  };
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function passwordCheck(
  users: readonly BasicUser[],
  comparePassword: ComparePassword,
): (value: string) => Promise<boolean> {
  const hashes = new Map(users.map(({ name, passwordHash }) => [name, passwordHash]));
  const [anyUser] = users;
  if (anyUser === undefined) return () => Promise.resolve(false);
  const compareInTurn = oneAtATime(comparePassword);
  const remembered = rememberVerdicts();
  return (value) => {
    const credentials = decodeBasic(value);
    if (credentials === undefined) return Promise.resolve(false);
    const { name, password } = credentials;
    const hash = hashes.get(name);
    return remembered(value, async () => {
      // An unknown name costs a comparison too, or the time would tell which names exist.
      const matches = await compareInTurn(password, hash ?? anyUser.passwordHash);
      return matches && hash !== undefined;
    });
  };
}

/** `name:password` from the base64 of basic authentication (RFC 7617); undefined when it is malformed. */
function decodeBasic(value: string): { name: string; password: string } | undefined {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(value)) return undefined;
  const text = Buffer.from(value, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { name: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** bcryptjs computes on the event loop: comparisons run one after another, and a flood of guesses is turned away. */
function oneAtATime(comparePassword: ComparePassword): ComparePassword {
  let waiting = 0;
  let last: Promise<unknown> = Promise.resolve();
  return async (password, hash) => {
    if (waiting > WAITING_COMPARISONS) {
      throw new RequestError(503, 'Too many passwords are waiting to be checked: try again.', {
        headers: { 'Retry-After': '1' },
      });
    }
    waiting += 1;
    const verdict = last.then(() => comparePassword(password, hash));
    last = verdict.catch(() => undefined);
    try {
      return await verdict;
    } finally {
      waiting -= 1;
    }
  };
}

/**
 * Remembers verdicts by a digest under a key of this process, so that no password stays in memory and no digest is of
 * use elsewhere. Good and bad ones are bounded apart: guesses cannot push out the scraper. Equal credentials that
 * arrive while one comparison runs share it.
 */
function rememberVerdicts(): (credentials: string, decide: () => Promise<boolean>) => Promise<boolean> {
  const key = randomBytes(32);
  const verified = new Set<string>();
  const refused = new Set<string>();
  const running = new Map<string, Promise<boolean>>();
  return (credentials, decide) => {
    const name = createHmac('sha256', key).update(credentials).digest('base64');
    if (verified.has(name)) return Promise.resolve(true);
    if (refused.has(name)) return Promise.resolve(false);
    const known = running.get(name);
    if (known) return known;
    const verdict = decide()
      .then((isValid) => {
        addBounded(isValid ? verified : refused, name);
        return isValid;
      })
      .finally(() => running.delete(name));
    running.set(name, verdict);
    return verdict;
  };
}

function addBounded(names: Set<string>, name: string): void {
  names.add(name);
  const [oldest] = names;
  if (names.size > REMEMBERED_VERDICTS && oldest !== undefined) names.delete(oldest);
}
