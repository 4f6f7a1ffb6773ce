import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** A process of a made-up `/proc`; what is not given is not there. */
export interface FakeProcess {
  readonly parent?: number;
  readonly startTicks?: number;
  readonly state?: string;
  readonly name?: string;
  readonly flags?: number;
  /** Words of the command line. */
  readonly words?: readonly string[];
  readonly cgroup?: string;
  /** Inodes of the sockets it holds. */
  readonly sockets?: readonly number[];
  /** Listening ports of its network, by inode. */
  readonly listening?: Readonly<Record<number, number>>;
  readonly children?: readonly number[];
  /** Network it lives in. */
  readonly network?: string;
}

const HEAD =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';

/** A made-up `/proc` in a folder of its own. */
export class FakeProc {
  readonly root = mkdtempSync(path.join(tmpdir(), 'proc-'));

  /** @param namespace PID namespace of the reader; the host's unless said otherwise */
  constructor(namespace = 'pid:[4026531836]') {
    mkdirSync(path.join(this.root, 'self/ns'), { recursive: true });
    symlinkSync(namespace, path.join(this.root, 'self/ns/pid'));
  }

  /** Adds a process, in place of one with the same PID. */
  put(pid: number, process: FakeProcess): void {
    this.remove(pid);
    const {
      parent = 1,
      startTicks = pid,
      state = 'S',
      name = 'python3',
      flags = 4_194_304,
      words,
      cgroup,
      children = [],
    } = process;
    const folder = path.join(this.root, String(pid));
    mkdirSync(path.join(folder, 'net'), { recursive: true });
    // Not the first of its threads.
    mkdirSync(path.join(folder, `task/${pid + 1}`), { recursive: true });
    const upToFlags = `${pid} (${name}) ${state} ${parent} 0 0 0 -1 ${flags}`;
    writeFileSync(path.join(folder, 'stat'), `${upToFlags} 0 0 0 0 0 0 0 0 20 0 1 0 ${startTicks} 0 0\n`);
    if (words !== undefined)
      writeFileSync(path.join(folder, 'cmdline'), words.map((word) => `${word}\0`).join(''));
    if (cgroup !== undefined) writeFileSync(path.join(folder, 'cgroup'), cgroup);
    writeFileSync(
      path.join(folder, `task/${pid + 1}/children`),
      children.map((child) => `${child} `).join(''),
    );
    this.putSockets(folder, process);
  }

  remove(pid: number): void {
    rmSync(path.join(this.root, String(pid)), { recursive: true, force: true });
  }

  /** Puts a file where the process sees it. */
  putFile(pid: number, file: string, text: string): void {
    const place = path.join(this.root, String(pid), 'root', file);
    mkdirSync(path.dirname(place), { recursive: true });
    writeFileSync(place, text);
  }

  dispose(): void {
    rmSync(this.root, { recursive: true });
  }

  private putSockets(folder: string, { sockets, listening = {}, network }: FakeProcess): void {
    const rows = Object.entries(listening).map(([inode, port]) => socketRow(port, '0A', inode));
    writeFileSync(path.join(folder, 'net/tcp'), HEAD + rows.join('') + socketRow(40_000, '01', '99999'));
    if (network !== undefined) {
      mkdirSync(path.join(folder, 'ns'));
      symlinkSync(network, path.join(folder, 'ns/net'));
    }
    mkdirSync(path.join(folder, 'fd'));
    symlinkSync('/dev/null', path.join(folder, 'fd/0'));
    for (const [index, inode] of (sockets ?? []).entries()) {
      symlinkSync(`socket:[${inode}]`, path.join(folder, `fd/${index + 3}`));
    }
  }
}

/** A row of `/proc/net/tcp`. */
export function socketRow(port: number, state: string, inode: string): string {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  return `   0: 00000000:${hex} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0 100 0 0 10 0\n`;
}
