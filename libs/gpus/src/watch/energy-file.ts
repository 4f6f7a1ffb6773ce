import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import path from 'node:path';

/** A process, told apart from a later one with the same number. */
export interface FileOwner {
  readonly pid: number;
  /** In clock ticks since boot: field 22 of /proc/[pid]/stat. */
  readonly startTicks: number;
}

/** What is kept across restarts. */
export interface EnergyState {
  readonly bootId: string;
  /** Who writes it; undefined once that one has stopped. */
  readonly owner: FileOwner | undefined;
  readonly joules: ReadonlyMap<string, number>;
}

/** The few things done with files, so that a test can fail them. All reject with the error of node:fs. */
export interface StateFiles {
  read(file: string): Promise<string>;
  /** Replaces the file as a whole: a reader sees the old or the new one. Only this user may read it. */
  replace(file: string, text: string): Promise<void>;
  setAside(file: string, name: string): Promise<void>;
}

/** What the kernel tells of this boot and its processes. */
export interface BootFacts {
  /** Undefined where there is no /proc. */
  bootId(): string | undefined;
  self(): FileOwner | undefined;
  isAlive(owner: FileOwner): boolean;
}

const FORMAT = 'llm-monitor gpu energy 1';
const MAXIMUM_GPUS = 1024;
const MAXIMUM_BYTES = 1024 * 1024;

/** The file is not ours, or damaged. */
export class UnreadableEnergyState extends Error {
  override readonly name = 'UnreadableEnergyState';
}

/** Renders the state file. */
export function formatEnergyState({ bootId, owner, joules }: EnergyState): string {
  return `${JSON.stringify({ format: FORMAT, bootId, owner: owner ?? null, joules: Object.fromEntries(joules) })}\n`;
}

/**
 * Reads the state file.
 * @throws UnreadableEnergyState
 */
export function parseEnergyState(text: string): EnergyState {
  const state = parseObject(text);
  if (state['format'] !== FORMAT) throw new UnreadableEnergyState(`it does not say "${FORMAT}"`);
  const { bootId, owner, joules } = state;
  if (typeof bootId !== 'string' || bootId === '') throw new UnreadableEnergyState('it has no bootId');
  return { bootId, owner: parseOwner(owner), joules: parseJoules(joules) };
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = text.length > MAXIMUM_BYTES ? undefined : JSON.parse(text);
  } catch {
    throw new UnreadableEnergyState('it is no JSON');
  }
  if (!isObject(value)) throw new UnreadableEnergyState('it is no JSON object of less than 1 MiB');
  return value;
}

function parseOwner(owner: unknown): FileOwner | undefined {
  if (owner === null) return undefined;
  if (!isObject(owner)) throw new UnreadableEnergyState('its owner is no object');
  const { pid, startTicks } = owner;
  if (typeof pid !== 'number' || typeof startTicks !== 'number') {
    throw new UnreadableEnergyState('its owner has no pid and startTicks');
  }
  return { pid, startTicks };
}

function parseJoules(joules: unknown): ReadonlyMap<string, number> {
  if (!isObject(joules)) throw new UnreadableEnergyState('its joules are no object');
  const entries = Object.entries(joules);
  if (entries.length > MAXIMUM_GPUS) throw new UnreadableEnergyState(`it has more than ${MAXIMUM_GPUS} GPUs`);
  return new Map(
    entries.map(([uuid, value]) => {
      if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return [uuid, value];
      throw new UnreadableEnergyState(`the joules of ${uuid.slice(0, 64)} are no number from 0 up`);
    }),
  );
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Files on disk. Nothing is forced to the platter: what a power failure can lose is not used after it, for it is of
 * another boot.
 */
export const diskStateFiles: StateFiles = {
  read: (file) => readFile(file, 'utf8'),
  async replace(file, text) {
    const temporary = `${file}.tmp-${process.pid}`;
    await makeFolder(path.dirname(file));
    // One left by a crash, or a link that somebody laid in a folder open to all, must not be written through.
    await rm(temporary, { force: true });
    const handle = await open(temporary, 'wx', 0o600);
    try {
      await handle.writeFile(text);
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  },
  setAside: (file, name) => rename(file, name),
};

/** With the folders above it. Not by `recursive`: below /proc that never ends, and its thread with it (Node 20). */
async function makeFolder(folder: string): Promise<void> {
  const above = path.dirname(folder);
  try {
    await makeOne(folder);
  } catch (error) {
    if (above === folder || !hasCode(error, 'ENOENT')) throw error;
    await makeFolder(above);
    await makeOne(folder);
  }
}

async function makeOne(folder: string): Promise<void> {
  try {
    await mkdir(folder, { mode: 0o700 });
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
  }
}

/** By its shape, for instanceof fails on errors of node:fs where tests have globals of their own. */
function hasCode(error: unknown, code: string): boolean {
  return isObject(error) && error['code'] === code;
}

/** Boot and processes as the Linux kernel tells them in /proc. */
export function procBootFacts(procRoot = '/proc'): BootFacts {
  const read = (...name: string[]): string | undefined => {
    try {
      return readFileSync(path.join(procRoot, ...name), 'utf8');
    } catch {
      return undefined;
    }
  };
  /** Start of a process that is neither ended nor a zombie. */
  const startTicksOf = (pid: number): number | undefined => {
    // The name of the program, in parentheses, may itself hold parentheses and spaces.
    const fields =
      read(String(pid), 'stat')
        ?.replace(/^.*\)\s*/s, '')
        .split(' ') ?? [];
    const [state] = fields;
    const startTicks = Number(fields[19]);
    return state === undefined || 'ZX'.includes(state) || !Number.isInteger(startTicks)
      ? undefined
      : startTicks;
  };
  return {
    bootId: () => read('sys', 'kernel', 'random', 'boot_id')?.trim() || undefined,
    self() {
      const startTicks = startTicksOf(process.pid);
      return startTicks === undefined ? undefined : { pid: process.pid, startTicks };
    },
    isAlive: ({ pid, startTicks }) => startTicksOf(pid) === startTicks,
  };
}
