import { createHash } from 'node:crypto';

import {
  adapterOf,
  certainPort,
  engineOfArguments,
  modelOfArguments,
  portsNamed,
  programOfArguments,
  servedModel,
  servesApi,
  type EngineName,
} from '@llm-monitor/engines';
import { systemClock, type Clock } from '@llm-monitor/metrics-core';

import type { ProcessOwner } from '../snapshot.ts';
import { containerOf } from './container-of.ts';
import { ProcFiles, type OpenSocket, type ProcessStat } from './proc-files.ts';

export interface ProcessOwnersParts {
  readonly procRoot?: string;
  readonly clock?: Clock;
}

/** What is known of a process is looked up anew after so long: it may have started another program, or listen by now. */
const REFRESH_SECONDS = 10;
/** A process that nobody asked for in this time is forgotten. */
const KEEP_SECONDS = 60;
/** How long the name of a model holds that was found in files. */
const LOOK_UP_SECONDS = 300;
/** How long one question waits for `/proc`; after that it gets what is known so far. */
const WAIT_SECONDS = 1;
const MOST_PROCESSES = 1024;
const MOST_ANCESTORS = 32;

const FOREIGN_PIDS =
  'the driver names processes by their PIDs on the host, and this container has PIDs of its own: start it with --pid=host (Kubernetes: hostPID: true) to see to which engine they belong';
const HIDDEN_DESCRIPTORS =
  "the port of an engine is unknown, because the open files of another user's process may not be read: run as root or with the capability SYS_PTRACE";

/** A process, and what its command line says. */
interface Kin {
  readonly pid: number;
  readonly stat: ProcessStat;
  readonly words: readonly string[] | undefined;
  readonly engine: EngineName | undefined;
}

interface Known {
  askedSeconds: number;
  startTicks?: number;
  refreshedSeconds?: number;
  owner: ProcessOwner;
}

/** `none`: it listens on no port at all; undefined: which one serves its API is not certain. */
type Port = number | 'none' | undefined;

/** What one round has read already: workers share their ancestors and their network. */
interface Round {
  readonly kin: Map<number, Kin | undefined>;
  readonly networks: Map<string, OpenSocket[]>;
  readonly ports: Map<number, Port>;
}

/**
 * To whom the processes on the GPUs belong, read from `/proc`: engine and model by the command line of the process or of
 * its nearest ancestor that is an engine, the port of that engine's API, and the container. What is not certain is not
 * there. Reads one file at a time and waits for none: `/proc/PID/cmdline` of a process that hangs in a driver can block
 * for as long as the driver does.
 */
export class ProcessOwners {
  private readonly proc: ProcFiles;
  private readonly clock: Clock;
  private readonly known = new Map<number, Known>();
  private readonly lookUps = new Map<
    string,
    { readonly model: string | undefined; readonly seconds: number }
  >();
  private hasHostPids: boolean | undefined;
  private hasHiddenDescriptors = false;
  private round: Promise<void> | undefined;
  private roundSinceSeconds = 0;
  private isAskedAgain = false;

  constructor({ procRoot = '/proc', clock = systemClock }: ProcessOwnersParts = {}) {
    this.proc = new ProcFiles(procRoot);
    this.clock = clock;
  }

  /** Why owners or their ports are unknown, and how to mend it; undefined where nothing is to be mended. */
  get hint(): string | undefined {
    if (this.hasHostPids === false) return FOREIGN_PIDS;
    return this.hasHiddenDescriptors ? HIDDEN_DESCRIPTORS : undefined;
  }

  /**
   * The owners of these processes as far as they are known; of those not in the map nothing is.
   * @param pids as the driver names them: of the host
   */
  async ownersOf(pids: readonly number[]): Promise<ReadonlyMap<number, ProcessOwner>> {
    const now = this.clock.monotonicSeconds();
    for (const pid of pids) this.ask(pid, now);
    for (const [pid, { askedSeconds }] of this.known) {
      if (now - askedSeconds > KEEP_SECONDS) this.known.delete(pid);
    }
    await this.refresh(now);
    const owners = new Map<number, ProcessOwner>();
    for (const pid of pids) {
      const known = this.known.get(pid);
      if (known?.startTicks !== undefined) owners.set(pid, known.owner);
    }
    return owners;
  }

  private ask(pid: number, now: number): void {
    const known = this.known.get(pid);
    if (known !== undefined) known.askedSeconds = now;
    else if (this.known.size < MOST_PROCESSES) this.known.set(pid, { askedSeconds: now, owner: {} });
  }

  /** Waits for the round under way and one after it, but never long, and not at all for one that hangs. */
  private async refresh(now: number): Promise<void> {
    this.isAskedAgain = true;
    if (this.round === undefined) {
      this.roundSinceSeconds = now;
      this.round = this.rounds().finally(() => {
        this.round = undefined;
      });
    } else if (now - this.roundSinceSeconds > WAIT_SECONDS) {
      return;
    }
    let cancel: () => void = () => undefined;
    const waited = new Promise<void>((resolve) => {
      cancel = this.clock.after(WAIT_SECONDS * 1000, resolve);
    });
    await Promise.race([this.round, waited]);
    cancel();
  }

  private async rounds(): Promise<void> {
    this.hasHostPids ??= await this.proc.hasHostPids();
    while (this.isAskedAgain) {
      this.isAskedAgain = false;
      if (this.hasHostPids !== true) continue;
      const round: Round = { kin: new Map(), networks: new Map(), ports: new Map() };
      for (const [pid, known] of [...this.known]) await this.look(pid, known, round);
    }
  }

  private async look(pid: number, known: Known, round: Round): Promise<void> {
    const stat = this.proc.stat(pid);
    // Gone, and its PID not given to another: what was known of it holds for as long as the driver still names it.
    if (stat === undefined) return;
    const now = this.clock.monotonicSeconds();
    const isSame = stat.startTicks === known.startTicks;
    if (isSame && now - (known.refreshedSeconds ?? -Infinity) < REFRESH_SECONDS) return;
    if (!isSame) {
      known.owner = {};
      delete known.refreshedSeconds;
    }
    known.startTicks = stat.startTicks;
    const chain = await this.chainOf(pid, round);
    // A process whose command line could not be read now is asked again at once, and keeps what was known before.
    const isWhole = chain.every(({ words }) => words !== undefined);
    if (!isWhole && isSame && known.refreshedSeconds !== undefined) return;
    const owner = await this.ownerOf(chain, round);
    if (this.proc.stat(pid)?.startTicks !== stat.startTicks) return;
    known.owner = owner;
    if (isWhole) known.refreshedSeconds = now;
  }

  private async ownerOf(chain: readonly Kin[], round: Round): Promise<ProcessOwner> {
    const [self] = chain;
    if (self === undefined) return {};
    const cgroup = await this.proc.cgroup(self.pid);
    const container = cgroup === undefined ? undefined : containerOf(cgroup);
    const engine = chain.find((kin) => kin.engine !== undefined)?.engine;
    const model = await this.modelOf(chain);
    const port = await this.portOf(engine, chain, round);
    const program = programOfArguments(self.words ?? []) ?? programOfArguments([self.stat.name]);
    return {
      ...(engine === undefined ? {} : { engine }),
      ...(model === undefined ? {} : { model }),
      ...(container === undefined ? {} : { container }),
      ...(port === undefined ? {} : { port }),
      ...(program === undefined ? {} : { program }),
    };
  }

  /** The process, its parent, and so on. */
  private async chainOf(pid: number, round: Round): Promise<Kin[]> {
    const chain: Kin[] = [];
    let next = pid;
    while (chain.length < MOST_ANCESTORS && next > 1) {
      const kin = await this.kinOf(next, round);
      const child = chain.at(-1);
      // A parent is older than its child: a younger one has come by the PID of a parent that ended meanwhile.
      if (kin === undefined || (child !== undefined && kin.stat.startTicks > child.stat.startTicks)) break;
      if (chain.some((seen) => seen.pid === next)) break;
      chain.push(kin);
      next = kin.stat.parent;
    }
    return chain;
  }

  private async kinOf(pid: number, { kin: read }: Round): Promise<Kin | undefined> {
    if (!read.has(pid)) read.set(pid, await this.readKin(pid));
    return read.get(pid);
  }

  private async readKin(pid: number): Promise<Kin | undefined> {
    const stat = this.proc.stat(pid);
    if (stat === undefined || stat.isKernelThread) return undefined;
    // Its command line lies in its memory, which it may have locked while it waits.
    const words = stat.isUninterruptible ? undefined : await this.proc.commandLine(pid);
    return { pid, stat, words, engine: words === undefined ? undefined : engineOfArguments(words) };
  }

  /** By the nearest command line of an engine that names it: a worker's own, else that of the server above. */
  private async modelOf(chain: readonly Kin[]): Promise<string | undefined> {
    for (const { pid, stat, engine, words } of chain) {
      if (engine === undefined || words === undefined) continue;
      const model = modelOfArguments(engine, words) ?? (await this.modelLookedUp(pid, stat, engine, words));
      if (model !== undefined) return model;
    }
    return undefined;
  }

  /** Looking through files is kept for a while. The command line may hold a key, and is remembered by its digest alone. */
  private async modelLookedUp(
    pid: number,
    { startTicks }: ProcessStat,
    engine: EngineName,
    words: readonly string[],
  ): Promise<string | undefined> {
    const digest = createHash('sha256').update(words.join('\0')).digest('base64');
    const key = `${pid} ${startTicks} ${digest}`;
    const now = this.clock.monotonicSeconds();
    const kept = this.lookUps.get(key);
    if (kept !== undefined && now - kept.seconds < LOOK_UP_SECONDS) return kept.model;
    const model = await servedModel(engine, words, this.proc.filesOf(pid));
    if (this.lookUps.size >= MOST_PROCESSES) this.lookUps.clear();
    this.lookUps.set(key, { model, seconds: now });
    return model;
  }

  /**
   * The port of the engine's API. Of the ancestors that are the engine the outermost serves it: those below it talk to
   * one another on ports of their own. Where it listens on none, a child of it does (the router of TGI).
   */
  private async portOf(
    engine: EngineName | undefined,
    chain: readonly Kin[],
    round: Round,
  ): Promise<number | undefined> {
    const [self] = chain;
    if (engine === undefined) {
      const own = self === undefined ? undefined : await this.portServedBy(self, round);
      return own === 'none' ? undefined : own;
    }
    const servers = chain.filter((kin) => isServer(kin, engine)).reverse();
    const [outermost, ...inner] = servers;
    if (outermost === undefined) return undefined;
    const port = await this.portServedBy(outermost, round);
    if (port !== 'none') return port;
    for (const pid of await this.proc.children(outermost.pid)) {
      const kin = await this.kinOf(pid, round);
      if (kin !== undefined && isServer(kin, engine)) inner.push(kin);
    }
    for (const kin of inner) {
      const innerPort = await this.portServedBy(kin, round);
      // An inner port of a forked worker may be its only one: it counts when it was expected.
      if (typeof innerPort === 'number' && isExpected(innerPort, kin)) return innerPort;
    }
    return undefined;
  }

  private async portServedBy(kin: Kin, round: Round): Promise<Port> {
    if (!round.ports.has(kin.pid)) round.ports.set(kin.pid, await this.findPort(kin, round));
    return round.ports.get(kin.pid);
  }

  private async findPort({ pid, engine, words = [] }: Kin, { networks }: Round): Promise<Port> {
    const network = await this.proc.network(pid);
    const sockets = networks.get(network) ?? (await this.proc.listening(pid));
    networks.set(network, sockets);
    const all = new Set(sockets.map(({ port }) => port));
    // What would be certain if all of these were its own is certain as soon as that one is.
    const lookedFor = certainPort(engine, words, all);
    const held = await this.proc.held(pid, sockets, lookedFor);
    if (held !== undefined) {
      if (held.size === 0) return 'none';
      return lookedFor !== undefined && held.has(lookedFor) ? lookedFor : certainPort(engine, words, held);
    }
    if (engine === undefined) return undefined;
    // Whose sockets they are may not be seen. A port that an engine was told to serve, and that is open, is its own.
    const named = portsNamed(words).some((port) => all.has(port));
    this.hasHiddenDescriptors ||= !named;
    return named ? lookedFor : undefined;
  }
}

function isServer({ engine, words = [] }: Kin, expected: EngineName): boolean {
  return engine === expected && servesApi(engine, words);
}

function isExpected(port: number, { engine, words = [] }: Kin): boolean {
  const defaults = engine === undefined ? [] : adapterOf(engine).ports;
  return defaults.includes(port) || portsNamed(words).includes(port);
}
