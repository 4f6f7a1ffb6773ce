import { systemClock, type Clock } from '@llm-monitor/metrics-core';

import { RANGES } from '../gpu-metrics.ts';
import {
  diskStateFiles,
  formatEnergyState,
  parseEnergyState,
  procBootFacts,
  UnreadableEnergyState,
  type BootFacts,
  type EnergyState,
  type FileOwner,
  type StateFiles,
} from './energy-file.ts';

export interface EnergyBookParts {
  /** Where the sums are kept across restarts; without it they are in memory only. */
  readonly file?: string;
  /** Called with a sentence for whoever runs the exporter; once for a thing that goes on. */
  readonly tell: (message: string) => void;
  readonly clock?: Clock;
  readonly files?: StateFiles;
  readonly boot?: BootFacts;
}

const SAVE_SECONDS = 10;
const LOAD_MILLISECONDS = 2000;
const CLOSE_MILLISECONDS = 1000;
/** No power is known for a longer gap than this, so none is added for it. */
const LONGEST_GAP_SECONDS = 10;
const MAXIMUM_GPUS = 1024;
const [LEAST_WATTS, MOST_WATTS] = RANGES.watts;

/** A GPU's sum, and the sample up to which it goes. */
interface Account {
  joules: number;
  last?: { readonly unixSeconds: number; readonly watts: number };
}

/** A file that we may write, as who, and in which boot. */
interface Writable {
  readonly bootId: string;
  readonly owner: FileOwner;
}

/** Somebody else who writes our file; the owner is unknown once that one has stopped. */
interface Intruder {
  readonly owner: FileOwner | undefined;
}

/** What the file is to us. */
type Keeping =
  /** There is none, or not one that we may write: in memory only, from 0. */
  | { readonly kind: 'memory' }
  /** We may write, and nothing of this boot is kept yet: the first write anchors the sums. */
  | (Writable & { readonly kind: 'unanchored' })
  /** The file has sums of this boot: only what is written is exported. */
  | (Writable & { readonly kind: 'anchored'; readonly written: ReadonlyMap<string, number> });

/**
 * Integrates power over time, for GPUs without an energy meter, and keeps the sums across restarts.
 *
 * A counter that goes back to anything but 0 does harm: Prometheus takes it for a reset, and adds its whole value once
 * more. So once sums of this boot are in the file, what is exported is what was written: a crash loses only what nobody
 * has seen. A new boot starts from 0, for what a power failure lost could not be told from a reset. For the same reason
 * a book that cannot keep its sums starts from 0, which is a reset as Prometheus knows it.
 *
 * Nothing throws: what goes wrong with the file is told, and the book goes on.
 */
export class EnergyBook {
  private readonly parts: EnergyBookParts;
  private readonly clock: Clock;
  private readonly files: StateFiles;
  private readonly boot: BootFacts;
  private readonly accounts = new Map<string, Account>();
  private keeping: Keeping = { kind: 'memory' };
  /** What is exported meanwhile, while it is not known what the file has or will have. */
  private held: ReadonlyMap<string, number> | undefined;
  /** The file was written by us last. */
  private claimed = false;
  private failing = false;
  private underWay: Promise<void> | undefined;
  private savedSeconds = -Infinity;
  private closed = false;

  constructor(parts: EnergyBookParts) {
    this.parts = parts;
    this.clock = parts.clock ?? systemClock;
    this.files = parts.files ?? diskStateFiles;
    this.boot = parts.boot ?? procBootFacts();
    this.held = parts.file === undefined ? undefined : new Map();
  }

  /**
   * Takes up the sums of this boot from the file, and claims it. With a file, nothing is exported before. Takes two seconds
   * at most: a disk that takes longer (a share whose server is away) is told of, and its sums are taken up when they come.
   */
  async load(): Promise<void> {
    const { file } = this.parts;
    if (file === undefined) return;
    if (await this.isDone(this.takeUp(file), LOAD_MILLISECONDS)) return;
    this.parts.tell(
      `energy is not exported yet: ${file} has not been read for ${LOAD_MILLISECONDS / 1000} s; see whether its disk is well`,
    );
  }

  private async takeUp(file: string): Promise<void> {
    this.keeping = await this.open(file);
    if (this.keeping.kind === 'anchored') {
      for (const [uuid, joules] of this.keeping.written) {
        const account = this.accounts.get(uuid);
        if (account === undefined) this.accounts.set(uuid, { joules });
        else account.joules += joules;
      }
    }
    await this.writeNow();
    this.held = undefined;
  }

  /** Takes the power of a GPU at one moment; nonsense is passed over. */
  add(uuid: string, unixSeconds: number, watts: number): void {
    if (!(watts >= LEAST_WATTS && watts <= MOST_WATTS) || !Number.isFinite(unixSeconds)) return;
    const account = this.accounts.get(uuid) ?? { joules: 0 };
    if (!this.accounts.has(uuid) && this.accounts.size >= MAXIMUM_GPUS) return;
    this.accounts.set(uuid, account);
    addPower(account, unixSeconds, watts);
  }

  /** Joules of one GPU to be exported as a counter; undefined until its power was known, now or before. */
  exported(uuid: string): number | undefined {
    const joules = this.accounts.get(uuid)?.joules;
    // 0 at first rather than absent: increase() does not see what a counter had when it was born.
    if (this.keeping.kind === 'anchored')
      return this.keeping.written.get(uuid) ?? (joules === undefined ? joules : 0);
    return this.held === undefined ? joules : this.held.get(uuid);
  }

  /** Writes the file when 10 s have passed since the last time; to be called about once a second. */
  async save(): Promise<void> {
    if (this.closed || this.clock.monotonicSeconds() - this.savedSeconds < SAVE_SECONDS) return;
    await this.writeNow();
  }

  /** Writes a last time and gives the file free for another process. Takes a second at most, whatever the disk does. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.isDone(
      Promise.resolve(this.underWay).then(() => this.writeNow()),
      CLOSE_MILLISECONDS,
    );
  }

  /** Waits for it, but not for longer than this. */
  private async isDone(work: Promise<void>, milliseconds: number): Promise<boolean> {
    let cancel: () => void = () => undefined;
    const timeout = new Promise<boolean>((resolve) => {
      cancel = this.clock.after(milliseconds, () => resolve(false));
    });
    const isDone = await Promise.race([timeout, work.then(() => true)]);
    cancel();
    return isDone;
  }

  /** One write at a time: while one is under way, it is that one. */
  private writeNow(): Promise<void> {
    this.underWay ??= this.write().finally(() => {
      this.underWay = undefined;
      this.savedSeconds = this.clock.monotonicSeconds();
    });
    return this.underWay;
  }

  /** Finds out what the file is to us. */
  private async open(file: string): Promise<Keeping> {
    const bootId = this.boot.bootId();
    const owner = this.boot.self();
    if (bootId === undefined || owner === undefined) {
      this.parts.tell(
        `energy is not kept in ${file}: this system has no /proc that tells one boot from another`,
      );
      return { kind: 'memory' };
    }
    const state = await this.read(file);
    if (state === 'unreadable') return { kind: 'memory' };
    if (state?.bootId !== bootId) return { kind: 'unanchored', bootId, owner };
    if (state.owner !== undefined && !isSame(state.owner, owner) && this.boot.isAlive(state.owner)) {
      this.tellTaken(file, state);
      return { kind: 'memory' };
    }
    return { kind: 'anchored', bootId, owner, written: state.joules };
  }

  /** @returns undefined when there is none, or a damaged one was set aside; `unreadable` when it must be left alone */
  private async read(file: string): Promise<EnergyState | 'unreadable' | undefined> {
    try {
      return parseEnergyState(await this.files.read(file));
    } catch (error) {
      if (error instanceof UnreadableEnergyState) return this.setAside(file, error.message);
      if (isMissing(error)) return undefined;
      this.parts.tell(
        `energy is not kept: ${file} cannot be read (${reasonOf(error)}); give this user access to it`,
      );
      return 'unreadable';
    }
  }

  private async setAside(file: string, why: string): Promise<'unreadable' | undefined> {
    const name = `${file}.corrupt-${Math.floor(this.clock.unixSeconds())}`;
    try {
      await this.files.setAside(file, name);
      this.parts.tell(`${file} is damaged or not ours (${why}): it is now ${name}, and energy counts from 0`);
      return undefined;
    } catch (error) {
      this.parts.tell(
        `energy is not kept: ${file} is damaged or not ours (${why}), and cannot be set aside (${reasonOf(error)}); ` +
          'remove it or let this user write to its folder',
      );
      return 'unreadable';
    }
  }

  private async write(): Promise<void> {
    const { file } = this.parts;
    const { keeping } = this;
    if (file === undefined || keeping.kind === 'memory') return;
    const { bootId, owner } = keeping;
    const written = new Map([...this.accounts].map(([uuid, { joules }]) => [uuid, joules]));
    this.held ??= written;
    try {
      const intruder = await this.findIntruder(file, keeping);
      if (intruder !== undefined) {
        this.tellTaken(file, intruder);
        this.keeping = { kind: 'memory' };
        return;
      }
      const state = { bootId, owner: this.closed ? undefined : owner, joules: written };
      await this.files.replace(file, formatEnergyState(state));
      this.keeping = { kind: 'anchored', bootId, owner, written };
      this.claimed = true;
      if (this.failing) this.parts.tell(`energy is kept in ${file} again`);
      this.failing = false;
    } catch (error) {
      if (!this.failing) {
        this.parts.tell(
          `energy cannot be kept in ${file} (${reasonOf(error)}), so what was integrated for GPUs without a meter is lost ` +
            'at the next restart: let this user write to its folder, and see whether the disk is full',
        );
      }
      this.failing = true;
    } finally {
      this.held = undefined;
    }
  }

  /**
   * Who else writes the file. Two that start at the same moment both find it free, and two containers do not see each
   * other's processes: so it is looked at before each write.
   */
  private async findIntruder(file: string, { bootId, owner }: Writable): Promise<Intruder | undefined> {
    try {
      const state = parseEnergyState(await this.files.read(file));
      if (state.bootId !== bootId || (state.owner !== undefined && isSame(state.owner, owner)))
        return undefined;
      if (this.claimed) return { owner: state.owner };
      return state.owner !== undefined && this.boot.isAlive(state.owner) ? { owner: state.owner } : undefined;
    } catch (error) {
      // Removed or damaged since: what is in memory is as good, and is written anew.
      if (isMissing(error) || error instanceof UnreadableEnergyState) return undefined;
      throw error;
    }
  }

  private tellTaken(file: string, { owner }: Intruder): void {
    const other = owner === undefined ? 'another process' : `process ${owner.pid}`;
    this.parts.tell(
      `energy is not kept: ${other} keeps its own in ${file}; give each exporter a file of its own`,
    );
  }
}

/** Adds the trapezoid between two samples. */
function addPower(account: Account, unixSeconds: number, watts: number): void {
  const { last } = account;
  const seconds = last === undefined ? 0 : unixSeconds - last.unixSeconds;
  // A little late, and its time is counted already; much earlier than the last one, and the clock was set back.
  if (seconds < 0 && seconds >= -LONGEST_GAP_SECONDS) return;
  if (last !== undefined && seconds > 0 && seconds <= LONGEST_GAP_SECONDS) {
    account.joules += ((last.watts + watts) / 2) * seconds;
  }
  account.last = { unixSeconds, watts };
}

function isSame(one: FileOwner, other: FileOwner): boolean {
  return one.pid === other.pid && one.startTicks === other.startTicks;
}

function isMissing(error: unknown): boolean {
  return reasonOf(error) === 'ENOENT';
}

function reasonOf(error: unknown): string {
  // By its shape, for instanceof fails on errors of node:fs where tests have globals of their own.
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : String(error);
}
