// Real apps as processes, for tests of what one says about the other: each is started from its bundle on a port that
// the system chooses, asked as any client asks, and ended with the tests.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { transformSync } from 'esbuild';

const { AbortController, fetch, performance } = globalThis;

/** @typedef {Readonly<Record<string, string>>} Labels */
/** @typedef {{ name: string, labels: Labels, value: number }} Sample */
/** @typedef {{ msg?: string } & Record<string, unknown>} LogRecord */
/** @typedef {{ app: string, url: string, records: readonly LogRecord[], stop: () => Promise<void> }} RunningApp */
/** @typedef {{ name: string, kind: string, url: string }} MockedEngine */
/**
 * @typedef {RunningApp & {
 *   engines: readonly MockedEngine[],
 *   get: (path: string) => Promise<Record<string, unknown>>,
 *   post: (path: string, body: object) => Promise<Record<string, unknown>>,
 *   remove: (path: string) => Promise<Record<string, unknown>>,
 * }} RunningMock
 */

const workspaceRoot = fileURLToPath(new URL('../..', import.meta.url));
/** Generous: nothing here is a measurement, and the machine may be busy with all other tests. */
const DEADLINE_SECONDS = 60;
const POLL_MILLISECONDS = 20;

/** @type {Set<RunningApp>} */
const running = new Set();
/** @type {Set<import('node:child_process').ChildProcess>} */
const children = new Set();
/** @type {string[]} */
const folders = [];

// A test run that is broken off leaves no process behind.
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
  process.once(signal, () => process.exit(1));
}

/**
 * Starts the bundle of an app on a free port and waits until it listens. Settings of the caller's own environment do
 * not reach it; those of `env` do.
 * @param {string} app such as `llm-exporter`
 * @param {Readonly<Record<string, string>>} [env]
 * @returns {Promise<RunningApp>}
 * @throws Error with what it printed where it ends instead
 */
export async function startApp(app, env = {}) {
  const bundle = join(workspaceRoot, 'apps', app, 'dist/main.cjs');
  if (!existsSync(bundle)) throw new Error(`${bundle} is not there: run \`make build\` first`);
  const prefix = app.toUpperCase().replaceAll('-', '_');
  const child = spawn(process.execPath, [bundle], {
    env: {
      PATH: process.env['PATH'] ?? '',
      [`${prefix}_PORT`]: '0',
      [`${prefix}_LOG_LEVEL`]: 'info',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.add(child);
  const ended = once(child, 'exit').then(() => void children.delete(child));
  /** @type {LogRecord[]} */
  const records = [];
  let printed = '';
  child.stderr.on('data', (chunk) => (printed += String(chunk)));
  /** @type {Promise<string>} */
  const listening = new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      printed += `${line}\n`;
      const record = recordOf(line);
      if (record === undefined) return;
      records.push(record);
      if (record.msg === 'listening') resolve(String(record['url']));
    });
    ended.then(() => reject(new Error(`${app} ended before it listened:\n${printed}`)));
  });
  const url = await listening;
  /** @type {RunningApp} */
  const runningApp = {
    app,
    url,
    records,
    stop: async () => {
      running.delete(runningApp);
      child.kill('SIGTERM');
      const killing = new AbortController();
      void pause(DEADLINE_SECONDS * 1000, undefined, { signal: killing.signal, ref: false }).then(
        () => child.kill('SIGKILL'),
        () => undefined,
      );
      await ended;
      killing.abort();
    },
  };
  running.add(runningApp);
  return runningApp;
}

/**
 * Starts the mock over a scenario, which is YAML, with each of its engines on a free port if the scenario says `port: 0`.
 * @param {string} scenario
 * @param {Readonly<Record<string, string>>} [env]
 * @returns {Promise<RunningMock>}
 */
export async function startMock(scenario, env = {}) {
  const file = join(temporaryFolder(), 'scenario.yaml');
  writeFileSync(file, scenario);
  const app = await startApp('mock-exporter', { MOCK_EXPORTER_SCENARIO: file, ...env });
  const engines = app.records
    .filter(({ msg }) => msg === 'simulated engine')
    .map(({ name, kind, url }) => ({ name: String(name), kind: String(kind), url: String(url) }));
  return {
    ...app,
    engines,
    get: (path) => control(`${app.url}${path}`, { method: 'GET' }),
    post: (path, body) => control(`${app.url}${path}`, { method: 'POST', body: JSON.stringify(body) }),
    remove: (path) => control(`${app.url}${path}`, { method: 'DELETE' }),
  };
}

/**
 * A scenario that comes with the mock, with all engines on free ports. Bundled apps do not give it away, so it is read
 * from its source.
 * @param {'demo' | 'all-engines' | 'rack' | 'amd'} name
 * @returns {Promise<string>}
 */
export async function builtInScenario(name) {
  const file = join(workspaceRoot, 'libs/simulation/src/scenario/built-in', `${name}.ts`);
  const { code } = transformSync(readFileSync(file, 'utf8'), { loader: 'ts', format: 'esm' });
  /** @type {Record<string, string>} */
  const exported = await import(`data:text/javascript,${encodeURIComponent(code)}`);
  const [yaml] = Object.values(exported);
  if (yaml === undefined) throw new Error(`${file} exports no scenario`);
  return yaml.replaceAll(/\bport: \d+/g, 'port: 0');
}

/** A folder that is removed with `stopAll`. @returns {string} */
export function temporaryFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'pipeline-'));
  folders.push(folder);
  return folder;
}

/** Ends all apps that run, and removes all folders. */
export async function stopAll() {
  await Promise.all([...running].map((app) => app.stop()));
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
}

/** What an app says at `/metrics`. */
export class Exposition {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
    this.samples = parseSamples(text);
  }

  /** Samples of that name, or of any where it is undefined, which have at least these labels. @param {string | undefined} name @param {Labels} [labels] */
  all(name, labels = {}) {
    const wanted = Object.entries(labels);
    return this.samples.filter(
      (sample) =>
        (name === undefined || sample.name === name) &&
        wanted.every(([label, value]) => sample.labels[label] === value),
    );
  }

  /**
   * The sum over all samples of that name which have at least these labels; undefined where there is none.
   * @param {string} name @param {Labels} [labels]
   * @returns {number | undefined}
   */
  sum(name, labels = {}) {
    const found = this.all(name, labels);
    return found.length === 0 ? undefined : found.reduce((total, { value }) => total + value, 0);
  }
}

/** Asks an app for `/metrics`. @param {{ url: string }} app @returns {Promise<Exposition>} */
export async function scrape({ url }) {
  const answer = await fetch(`${url}/metrics`, { headers: { accept: 'text/plain' } });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${url}/metrics answered ${answer.status}: ${text}`);
  return new Exposition(text);
}

/**
 * The samples of a text exposition; comments, time stamps and exemplars are left out.
 * @param {string} text
 * @returns {Sample[]}
 */
export function parseSamples(text) {
  return text.split('\n').flatMap((line) => {
    const [, name, labels = '', value] =
      /^([a-zA-Z_:][\w:]*)(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})? (\S+)/.exec(line) ?? [];
    if (name === undefined || value === undefined) return [];
    const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label = '', text = '']) => [
      label,
      text.replaceAll(/\\(.)/g, (_, escaped) => (escaped === 'n' ? '\n' : escaped)),
    ]);
    return [{ name, labels: Object.fromEntries(pairs), value: Number(value.replace('Inf', 'Infinity')) }];
  });
}

/**
 * Tries until what it gives is neither undefined nor false.
 * @template Found
 * @param {string} what is waited for, in words
 * @param {() => Promise<Found | undefined | false> | Found | undefined | false} attempt
 * @param {{ deadlineSeconds?: number, describe?: () => string }} [options] `describe` says at the deadline what is seen instead
 * @returns {Promise<Found>}
 */
export async function until(what, attempt, { deadlineSeconds = DEADLINE_SECONDS, describe } = {}) {
  const end = performance.now() + deadlineSeconds * 1000;
  for (;;) {
    const found = await attempt();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > end) {
      throw new Error(`Not within ${deadlineSeconds} s: ${what}${describe ? `\n${describe()}` : ''}`);
    }
    await pause(POLL_MILLISECONDS);
  }
}

/** @param {string} url @param {{ method: string, body?: string }} request @returns {Promise<Record<string, unknown>>} */
async function control(url, request) {
  const answer = await fetch(url, { ...request, headers: { accept: 'application/json' } });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${request.method} ${url} answered ${answer.status}: ${text}`);
  return JSON.parse(text);
}

/** @param {string} line @returns {LogRecord | undefined} */
function recordOf(line) {
  try {
    return JSON.parse(line);
  } catch {
    return undefined; // no record of the log
  }
}
