import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

import { parseExposition, type Labels, type MetricFamily } from '@llm-monitor/metrics-core';
import { buildSync } from 'esbuild';

/**
 * What the tests share that run this app as it is shipped: its bundles, run by node as processes of their own. Not part of
 * the app.
 */

/**
 * Bundles the program into the project, from where koffi, which is not bundled, is found.
 * @param name tells the bundles of test files apart that run at the same time
 * @returns path of the script
 */
export function bundleProgram(name: string): string {
  const folder = path.resolve(__dirname, '../test-output/programs', name);
  mkdirSync(folder, { recursive: true });
  buildSync({
    entryPoints: ['main.ts', 'gpu-reader.ts'].map((entry) => path.join(__dirname, entry)),
    outdir: folder,
    outExtension: { '.js': '.cjs' },
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    external: ['koffi'],
    logLevel: 'error',
  });
  return path.join(folder, 'main.cjs');
}

/** How a program ended, and all that it said. */
export interface End {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunningProgram {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly end: Promise<End>;
  /** Waits until it has printed these words. Throws when it ends without them. */
  readonly hear: (words: string) => Promise<string>;
}

/** Runs the program; the environment is this one alone. */
export function runProgram(
  script: string,
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
): RunningProgram {
  const child = spawn(process.execPath, [script, ...argv], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said.stderr += text));
  const end = once(child, 'close').then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as NodeJS.Signals | null,
    ...said,
  }));
  if (child.pid === undefined) throw new Error(`${script} was not started`);
  return {
    child,
    pid: child.pid,
    end,
    hear: (words) =>
      until(`"${words}" in ${JSON.stringify(argv)}`, () => {
        if (said.stdout.includes(words)) return said.stdout;
        if (child.exitCode !== null)
          throw new Error(`ended without "${words}": ${said.stdout}${said.stderr}`);
        return undefined;
      }),
  };
}

/** One answer of `/metrics`. */
export interface Scrape {
  readonly text: string;
  /** Of the first series of that name that has these labels; undefined where there is none. */
  readonly value: (name: string, labels?: Labels) => number | undefined;
}

/** The exporter as a process, with a client. */
export interface ExporterProgram extends RunningProgram {
  /** @param client tells scrapers apart that share an address */
  readonly scrape: (client?: string) => Promise<Scrape>;
  /** The first scrape that is as wanted. */
  readonly scrapeUntil: (wanted: (scrape: Scrape) => boolean, client?: string) => Promise<Scrape>;
}

/** Starts the exporter on a free port, and waits until it listens. */
export async function startExporterProgram(
  script: string,
  env: Readonly<Record<string, string>>,
): Promise<ExporterProgram> {
  const program = runProgram(script, [], { GPU_EXPORTER_PORT: '0', ...env });
  const url = /"url":"([^"]+)"/.exec(await program.hear('"url":'))?.[1] ?? '';
  const scrape = async (client = 'test'): Promise<Scrape> => {
    const response = await fetch(`${url}/metrics?client=${client}`);
    const text = await response.text();
    if (response.status !== 200) throw new Error(`${response.status} ${text}`);
    const { families } = parseExposition(text);
    return { text, value: (name, labels = {}) => valueOf(families, name, labels) };
  };
  return {
    ...program,
    scrape,
    async scrapeUntil(wanted, client) {
      let last = '';
      const look = async (): Promise<Scrape | undefined> => {
        const found = await scrape(client);
        last = found.text;
        return wanted(found) ? found : undefined;
      };
      return until(`a scrape as wanted (${wanted.toString()})`, look, () => last);
    },
  };
}

function valueOf(families: readonly MetricFamily[], name: string, labels: Labels): number | undefined {
  for (const family of families) {
    if (family.name !== name) continue;
    for (const point of family.points) {
      if ('value' in point && Object.entries(labels).every(([key, value]) => point.labels[key] === value)) {
        return point.value;
      }
    }
  }
  return undefined;
}

const DEADLINE_MILLISECONDS = 15_000;
const PAUSE_MILLISECONDS = 25;

/** Looks until there is something. Throws, with what was seen last, when that takes too long. */
export async function until<Found>(
  what: string,
  look: () => Found | undefined | Promise<Found | undefined>,
  seen: () => string = () => '',
): Promise<Found> {
  const deadline = performance.now() + DEADLINE_MILLISECONDS;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw new Error(`not seen in time: ${what}\n${seen()}`);
    await wait(PAUSE_MILLISECONDS);
  }
}

/** A process as /proc tells of it. */
export interface SeenProcess {
  readonly pid: number;
  readonly parent: number;
  /** `Z` is a zombie. */
  readonly state: string;
  readonly commandLine: string;
}

/** Children of a process, theirs, and so on. */
export function descendantsOf(pid: number): SeenProcess[] {
  const all = readdirSync('/proc').flatMap((entry) => (/^\d+$/.test(entry) ? processOf(Number(entry)) : []));
  const below = (parent: number): SeenProcess[] =>
    all.filter((seen) => seen.parent === parent).flatMap((seen) => [seen, ...below(seen.pid)]);
  return below(pid);
}

/**
 * Waits until none of these processes runs; one that waits for its new parent to take note of its end does not. Those
 * that run on are ended, and told of by an error.
 */
export async function untilEnded(pids: readonly number[]): Promise<void> {
  const running = (): SeenProcess[] => pids.flatMap(processOf).filter(({ state }) => state !== 'Z');
  try {
    await until(
      'the end of processes',
      () => (running().length === 0 ? true : undefined),
      () => JSON.stringify(running()),
    );
  } finally {
    for (const { pid } of running()) process.kill(pid, 'SIGKILL');
  }
}

/** None when it has ended meanwhile. */
function processOf(pid: number): SeenProcess[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name, in parentheses, may hold anything.
    const [state = '', parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const commandLine = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
    return [{ pid, parent: Number(parent), state, commandLine }];
  } catch {
    return [];
  }
}
