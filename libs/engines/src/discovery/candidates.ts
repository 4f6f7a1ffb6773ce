import { apiPort, enginesOf, isInner, portsNamed } from '../process-engine.ts';
import { adapterOf, ENGINE_NAMES, type EngineName } from '../registry.ts';
import type { HostProcess, ListeningSocket } from './listening-sockets.ts';

/** A socket worth asking, and as which engines. */
export interface Candidate {
  readonly socket: ListeningSocket;
  /** `http://address:port` under which we reach it. */
  readonly url: string;
  readonly engines: readonly EngineName[];
  /** Why it is asked, in words. */
  readonly why: string;
  /** The process looks like an engine: it may still be starting, so it is asked again later. */
  readonly certain: boolean;
}

/** A socket that looks like an engine's and is not asked all the same. */
export interface PassedOver {
  readonly socket: ListeningSocket;
  readonly why: string;
}

export interface Candidates {
  readonly ask: readonly Candidate[];
  readonly passedOver: readonly PassedOver[];
}

/**
 * Which sockets may be asked: those whose process looks like an engine, on the port it serves, and those that sit on
 * an engine's default port with a process that we cannot see or do not know. All others are never touched.
 *
 * An engine opens further ports for itself (process groups, message queues), on which a stray request could do harm:
 * when a process has several, only the one named on its command line or the engine's default is asked, and never those
 * of its children.
 */
export function chooseCandidates(
  sockets: readonly ListeningSocket[],
  ownPids: ReadonlySet<number>,
): Candidates {
  const ask: Candidate[] = [];
  const passedOver: PassedOver[] = [];
  for (const socket of withoutTwins(sockets)) {
    const { process, port } = socket;
    if (process !== undefined && (ownPids.has(process.pid) || isInner(process.arguments))) continue;
    const url = urlOf(socket);
    const byProgram = process === undefined ? [] : enginesOf(process.arguments);
    if (process !== undefined && byProgram.length > 0) {
      const refusal = refusalOf(process, port, byProgram, sockets);
      const runs = `process ${process.pid} runs ${byProgram.join(' or ')}`;
      if (refusal === undefined) ask.push({ socket, url, engines: byProgram, why: runs, certain: true });
      else passedOver.push({ socket, why: `${runs} ${refusal}` });
      continue;
    }
    const byPort = ENGINE_NAMES.filter((name) => adapterOf(name).ports.includes(port));
    if (byPort.length > 0) {
      const why = `port ${port} is the default of ${byPort.join(', ')}`;
      ask.push({ socket, url, engines: byPort, why, certain: false });
    }
  }
  return { ask, passedOver };
}

/** The same port on IPv4 and IPv6 is one server: the wildcard and IPv4 come first. */
function withoutTwins(sockets: readonly ListeningSocket[]): ListeningSocket[] {
  const chosen = new Map<string, ListeningSocket>();
  // By inode too, so that of several sockets of one port (workers with SO_REUSEPORT) it is always the same.
  const ordered = [...sockets].sort(
    (one, other) => rankOf(one) - rankOf(other) || Number(one.inode) - Number(other.inode),
  );
  for (const socket of ordered) {
    // Docker listens on IPv4 and IPv6 with a process each, so the process tells nothing of wildcard and loopback.
    const key =
      rankOf(socket) < ELSEWHERE
        ? `${socket.port}`
        : `${socket.port} ${socket.process?.pid ?? socket.address}`;
    if (!chosen.has(key) && !isCovered(socket, chosen)) chosen.set(key, socket);
  }
  return [...chosen.values()].sort((one, other) => one.port - other.port);
}

const ELSEWHERE = 2;

function rankOf({ address }: ListeningSocket): number {
  if (address === '0.0.0.0' || address === '127.0.0.1') return 0;
  return address === '::' || address === '::1' ? 1 : ELSEWHERE;
}

/** A process that listens on loopback or everywhere is reached there, not a second time on an address of its own. */
function isCovered(socket: ListeningSocket, chosen: ReadonlyMap<string, ListeningSocket>): boolean {
  const local = chosen.get(`${socket.port}`);
  return local?.process !== undefined && local.process.pid === socket.process?.pid;
}

function urlOf({ address, port }: ListeningSocket): string {
  if (address === '0.0.0.0') return `http://127.0.0.1:${port}`;
  if (address === '::') return `http://[::1]:${port}`;
  return address.includes(':') ? `http://[${address}]:${port}` : `http://${address}:${port}`;
}

/** Why a socket of an engine's process is not its API, or undefined when it is. */
function refusalOf(
  process: HostProcess,
  port: number,
  engines: readonly EngineName[],
  sockets: readonly ListeningSocket[],
): string | undefined {
  const parent = sockets.find((other) => other.process?.pid === process.parent)?.process;
  if (parent !== undefined && enginesOf(parent.arguments).some((name) => engines.includes(name))) {
    return `and was started by process ${parent.pid}, which answers for it`;
  }
  const own = new Set(
    sockets.filter((other) => other.process?.pid === process.pid).map((other) => other.port),
  );
  const named = portsNamed(process.arguments);
  const defaults = engines.flatMap((name) => adapterOf(name).ports);
  const isApi = named.length > 0 ? named.includes(port) : own.size === 1 || defaults.includes(port);
  if (isApi && port === apiPort(own, named, defaults)) return undefined;
  return isApi
    ? 'and is asked on another of its ports'
    : 'and listens on several ports, and this is not known to be its API: configure it as a target if it is';
}
