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

/** Programs that run inside an engine and listen for it alone: asking them is touching the engine's inner works. */
const INNER_PROGRAMS = [['ollama', 'runner']] as const;

/**
 * Which sockets may be asked: those whose process looks like an engine, on the port it serves, and those that sit on
 * an engine's default port with a process that we cannot see or do not know. All others are never touched.
 *
 * An engine opens further ports for itself (process groups, message queues), on which a stray request could do harm:
 * when a process has several, only the one named on its command line or the engine's default is asked.
 */
export function chooseCandidates(
  sockets: readonly ListeningSocket[],
  ownPids: ReadonlySet<number>,
): Candidates {
  const ask: Candidate[] = [];
  const passedOver: PassedOver[] = [];
  for (const socket of withoutTwins(sockets)) {
    const { process, port } = socket;
    if (process !== undefined && (ownPids.has(process.pid) || isInner(process))) continue;
    const url = urlOf(socket);
    const byProgram =
      process === undefined ? [] : ENGINE_NAMES.filter((name) => runs(process, adapterOf(name).programs));
    if (process !== undefined && byProgram.length > 0) {
      const siblings = sockets.filter((other) => other.process?.pid === process.pid);
      if (servesOn(process, port, byProgram, siblings)) {
        ask.push({
          socket,
          url,
          engines: byProgram,
          why: `process ${process.pid} runs ${byProgram.join(' or ')}`,
          certain: true,
        });
      } else {
        passedOver.push({
          socket,
          why: `process ${process.pid} runs ${byProgram.join(' or ')} and listens on several ports, and this is not known to be its API: configure it as a target if it is`,
        });
      }
      continue;
    }
    const byPort = ENGINE_NAMES.filter((name) => adapterOf(name).ports.includes(port));
    if (byPort.length > 0) {
      ask.push({
        socket,
        url,
        engines: byPort,
        why: `port ${port} is the default of ${byPort.join(', ')}`,
        certain: false,
      });
    }
  }
  return { ask, passedOver };
}

/** The same port on IPv4 and IPv6 is one server: the wildcard and IPv4 come first. */
function withoutTwins(sockets: readonly ListeningSocket[]): ListeningSocket[] {
  const rank = ({ address }: ListeningSocket): number =>
    address === '0.0.0.0' || address === '127.0.0.1' ? 0 : address === '::' || address === '::1' ? 1 : 2;
  const chosen = new Map<string, ListeningSocket>();
  for (const socket of [...sockets].sort((one, other) => rank(one) - rank(other))) {
    const key = `${socket.port} ${socket.process?.pid ?? (rank(socket) < 2 ? 'local' : socket.address)}`;
    if (!chosen.has(key)) chosen.set(key, socket);
  }
  return [...chosen.values()].sort((one, other) => one.port - other.port);
}

function urlOf({ address, port }: ListeningSocket): string {
  if (address === '0.0.0.0') return `http://127.0.0.1:${port}`;
  if (address === '::') return `http://[::1]:${port}`;
  return address.includes(':') ? `http://[${address}]:${port}` : `http://${address}:${port}`;
}

/** Whether one of the arguments is the program, or a path that ends in it. */
function runs(process: HostProcess, programs: readonly string[]): boolean {
  return programs.some((program) =>
    process.arguments.some((argument) => argument === program || argument.endsWith(`/${program}`)),
  );
}

function isInner(process: HostProcess): boolean {
  return INNER_PROGRAMS.some(
    ([program, command]) => runs(process, [program]) && process.arguments.includes(command),
  );
}

function servesOn(
  process: HostProcess,
  port: number,
  engines: readonly EngineName[],
  siblings: readonly ListeningSocket[],
): boolean {
  const named = portsNamed(process);
  if (named.length > 0) return named.includes(port);
  const ports = new Set(siblings.map((socket) => socket.port));
  if (ports.size === 1) return true;
  const defaults = engines.flatMap((name) => adapterOf(name).ports);
  return defaults.includes(port);
}

/** Ports given on the command line: `--port 8000`, `--http-port=8000`, `--metrics-port 8002`, `-p 8000`. */
function portsNamed({ arguments: words }: HostProcess): number[] {
  return words.flatMap((word, index) => {
    const inline = /^--(?:[a-z]+-)?port=(\d+)$/.exec(word)?.[1];
    const next = /^(?:--(?:http-|metrics-)?port|-p)$/.test(word) ? words[index + 1] : undefined;
    const port = Number(inline ?? next);
    return Number.isInteger(port) && port > 0 ? [port] : [];
  });
}
