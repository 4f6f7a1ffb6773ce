import { readdir, readFile, readlink } from 'node:fs/promises';
import path from 'node:path';

/** A TCP socket of this host that accepts connections. */
export interface ListeningSocket {
  /** As bound: `0.0.0.0`, `127.0.0.1`, `::`, `::1`, … */
  readonly address: string;
  readonly port: number;
  /** The kernel's number for the socket: another one means that the port was opened anew. */
  readonly inode: string;
  readonly process?: HostProcess;
}

export interface HostProcess {
  readonly pid: number;
  readonly parent: number | undefined;
  /** Command line, an argument each. */
  readonly arguments: readonly string[];
}

const LISTEN_STATE = '0A';

/** Reads a `/proc/net/tcp` or `tcp6` table: sockets in the listening state. Lines it cannot read are passed over. */
export function parseSocketTable(text: string): Omit<ListeningSocket, 'process'>[] {
  return text
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const fields = line.trim().split(/\s+/);
      const [, local, , state] = fields;
      const inode = fields[9];
      if (local === undefined || state !== LISTEN_STATE || inode === undefined) return [];
      const [hexAddress = '', hexPort = ''] = local.split(':');
      const address = addressOf(hexAddress);
      const port = Number.parseInt(hexPort, 16);
      return address === undefined || !(port > 0) ? [] : [{ address, port, inode }];
    });
}

/** Kernel notation (32-bit words in host order, hexadecimal) to the usual one; little-endian hosts. */
function addressOf(hex: string): string | undefined {
  if (hex.length !== 8 && hex.length !== 32) return undefined;
  const bytes: number[] = [];
  for (let word = 0; word < hex.length; word += 8) {
    for (let byte = 6; byte >= 0; byte -= 2)
      bytes.push(Number.parseInt(hex.slice(word + byte, word + byte + 2), 16));
  }
  if (bytes.some((byte) => Number.isNaN(byte))) return undefined;
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255) {
    return bytes.slice(12).join('.');
  }
  const groups = Array.from({ length: 8 }, (_, index) =>
    (((bytes[2 * index] ?? 0) << 8) | (bytes[2 * index + 1] ?? 0)).toString(16),
  ).join(':');
  if (groups === '0:0:0:0:0:0:0:0') return '::';
  return groups === '0:0:0:0:0:0:0:1' ? '::1' : groups;
}

/**
 * All listening TCP sockets of this host (of this network namespace), each with its process where we may see it:
 * our own user's always, others' as root. Reads /proc and touches nothing else.
 * @returns undefined where there is no /proc.
 */
export async function listeningSockets(proc = '/proc'): Promise<ListeningSocket[] | undefined> {
  const tables = await Promise.all(
    ['net/tcp', 'net/tcp6'].map((name) => readFile(path.join(proc, name), 'utf8').catch(() => undefined)),
  );
  if (tables.every((table) => table === undefined)) return undefined;
  const sockets = tables.flatMap((table) => parseSocketTable(table ?? ''));
  const owners = await socketOwners(proc, new Set(sockets.map(({ inode }) => inode)));
  return sockets.map((socket) => {
    const process = owners.get(socket.inode);
    return process === undefined ? socket : { ...socket, process };
  });
}

async function socketOwners(proc: string, wanted: ReadonlySet<string>): Promise<Map<string, HostProcess>> {
  const owners = new Map<string, HostProcess>();
  const pids = (await readdir(proc)).filter((name) => /^\d+$/.test(name));
  for (const pid of pids) {
    const held = (await socketsOf(path.join(proc, pid, 'fd'))).filter((inode) => wanted.has(inode));
    if (held.length === 0) continue;
    const process = await processOf(proc, pid);
    // Several processes can share a socket (workers after a fork): the first, the oldest, stands for them.
    if (process !== undefined) for (const inode of held) if (!owners.has(inode)) owners.set(inode, process);
  }
  return owners;
}

async function socketsOf(directory: string): Promise<string[]> {
  // A process that ended meanwhile, or another user's, shows nothing.
  const entries = await readdir(directory).catch(() => []);
  const links = await Promise.all(
    entries.map((entry) => readlink(path.join(directory, entry)).catch(() => '')),
  );
  return links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []);
}

async function processOf(proc: string, pid: string): Promise<HostProcess | undefined> {
  const [commandLine, stat] = await Promise.all(
    ['cmdline', 'stat'].map((name) => readFile(path.join(proc, pid, name), 'utf8').catch(() => undefined)),
  );
  if (commandLine === undefined) return undefined;
  // The program's name stands in brackets and may hold anything: the parent comes after the last one.
  const parent = Number(stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  return {
    pid: Number(pid),
    parent: Number.isInteger(parent) ? parent : undefined,
    arguments: commandLine.split('\0').filter((argument) => argument !== ''),
  };
}
