import { closeSync, constants, openSync, readSync } from 'node:fs';
import { open, readdir, readlink, type FileHandle } from 'node:fs/promises';
import path from 'node:path';

import { parseSocketTable, type ProcessFiles } from '@llm-monitor/engines';

/** What `/proc/PID/stat` tells, of which nothing needs a permission. */
export interface ProcessStat {
  readonly parent: number;
  /** In clock ticks since the host started: with the PID it names a process for good. */
  readonly startTicks: number;
  /** Name of the program as the kernel has it: 15 characters. */
  readonly name: string;
  /** Waits in the kernel and cannot be ended, as one that is stuck in a driver does. */
  readonly isUninterruptible: boolean;
  readonly isKernelThread: boolean;
}

export interface OpenSocket {
  readonly inode: string;
  readonly port: number;
}

const LONGEST_BYTES = 64 * 1024;
const CHUNK_BYTES = 16 * 1024;
const LONGEST_TABLE_BYTES = 1024 * 1024;
const MOST_DESCRIPTORS = 4096;
const MOST_THREADS = 256;
const MOST_CHILDREN = 64;
const MOST_ENTRIES = 1000;
const KERNEL_THREAD_FLAG = 0x200000; // PF_KTHREAD, include/linux/sched.h
const INITIAL_PID_NAMESPACE = 'pid:[4026531836]'; // PROC_PID_INIT_INO, include/linux/proc_ns.h

/**
 * Reads processes from a `/proc`, one file at a time, so that a file which never answers holds up one thread and no
 * more. What cannot be read is undefined: the process ended, or belongs to another user. Nothing here throws.
 */
export class ProcFiles {
  private readonly root: string;
  private readonly statText = Buffer.alloc(4096);

  constructor(root: string) {
    this.root = root;
  }

  /**
   * The one file that is read at once: it is asked for every process each time, at a fifth of the cost, and the kernel
   * takes no lock for it that a process could hold while it hangs (do_task_stat in fs/proc/array.c).
   */
  stat(pid: number): ProcessStat | undefined {
    try {
      const file = openSync(path.join(this.root, `${pid}/stat`), constants.O_RDONLY | constants.O_NONBLOCK);
      try {
        return parseStat(this.statText.toString('utf8', 0, readSync(file, this.statText)));
      } finally {
        closeSync(file);
      }
    } catch {
      return undefined; // ended, or hidden from us
    }
  }

  /** The command line, a word each; empty for a process that has ended and was not yet buried. */
  async commandLine(pid: number): Promise<string[] | undefined> {
    const text = await this.text(`${pid}/cmdline`);
    return text?.split('\0').filter((word) => word !== '');
  }

  async cgroup(pid: number): Promise<string | undefined> {
    return this.text(`${pid}/cgroup`);
  }

  /** The processes it started; each of its threads has its own list of them. */
  async children(pid: number): Promise<number[]> {
    const threads = await readdir(path.join(this.root, `${pid}/task`)).catch(() => []);
    const children: number[] = [];
    for (const thread of threads.slice(0, MOST_THREADS)) {
      const text = (await this.text(`${pid}/task/${thread}/children`)) ?? '';
      children.push(...text.split(' ').map(Number));
    }
    return children.filter((child) => Number.isInteger(child) && child > 0).slice(0, MOST_CHILDREN);
  }

  /** Names the network that the process sees, or the process itself where that is not told. */
  async network(pid: number): Promise<string> {
    return (await readlink(path.join(this.root, `${pid}/ns/net`)).catch(() => undefined)) ?? `process ${pid}`;
  }

  /** Listening TCP sockets of the network that the process sees. */
  async listening(pid: number): Promise<OpenSocket[]> {
    const sockets: OpenSocket[] = [];
    for (const table of ['tcp', 'tcp6']) sockets.push(...(await this.listeningIn(`${pid}/net/${table}`)));
    return sockets;
  }

  /**
   * The ports of those sockets that the process holds, until the one that is looked for is found; of its first 4096 files.
   * @returns undefined where its files may not be seen
   */
  async held(
    pid: number,
    sockets: readonly OpenSocket[],
    lookedFor: number | undefined,
  ): Promise<ReadonlySet<number> | undefined> {
    const folder = path.join(this.root, `${pid}/fd`);
    const descriptors = await readdir(folder).catch((error: unknown) => (isRefusal(error) ? undefined : []));
    if (descriptors === undefined) return undefined;
    const ports = new Map(sockets.map(({ inode, port }) => [`socket:[${inode}]`, port]));
    const held = new Set<number>();
    for (const descriptor of descriptors.slice(0, MOST_DESCRIPTORS)) {
      const link = await readlink(path.join(folder, descriptor)).catch(() => '');
      const port = ports.get(link);
      if (port !== undefined) held.add(port);
      if (port !== undefined && port === lookedFor) break;
    }
    return held;
  }

  /** The files that the process sees, in its container when it runs in one. Symbolic links are not followed. */
  filesOf(pid: number): ProcessFiles {
    const folderOf = (folder: string): string => path.join(`${pid}/root`, path.posix.normalize(`/${folder}`));
    return {
      list: async (folder) => {
        const found = await readdir(path.join(this.root, folderOf(folder)), { withFileTypes: true }).catch(
          () => [],
        );
        const entries = found.slice(0, MOST_ENTRIES);
        const names = (those: typeof entries): string[] => those.map(({ name }) => name);
        return {
          folders: names(entries.filter((entry) => entry.isDirectory())),
          files: names(entries.filter((entry) => entry.isFile())),
        };
      },
      text: (file) =>
        this.read(folderOf(file), async (handle) =>
          (await handle.stat()).isFile() ? readChunk(handle, LONGEST_BYTES) : undefined,
        ),
    };
  }

  /**
   * Whether the PIDs here are those of the host, by which a driver names processes. They are where we run outside of any
   * PID namespace, and where this `/proc` is the host's: there alone the kernel's own threads are seen.
   * @returns undefined where there is no `/proc`
   */
  async hasHostPids(): Promise<boolean | undefined> {
    const namespace = await readlink(path.join(this.root, 'self/ns/pid')).catch(() => undefined);
    if (namespace === INITIAL_PID_NAMESPACE) return true;
    if (this.stat(2)?.isKernelThread === true) return true;
    return namespace === undefined ? undefined : false;
  }

  private async listeningIn(file: string): Promise<OpenSocket[]> {
    const chunks: string[] = [];
    const whole = await this.read(file, async (handle) => {
      for (let bytes = 0; bytes < LONGEST_TABLE_BYTES; bytes += CHUNK_BYTES) {
        const chunk = await readChunk(handle, CHUNK_BYTES);
        chunks.push(chunk);
        // The kernel prints listening sockets ahead of all others (tcp_seq_start in net/ipv4/tcp_ipv4.c): the thousands
        // of connections of a busy server behind them are left unread.
        if (chunk === '' || hasOtherThanListening(chunk)) break;
      }
      return chunks.join('');
    });
    return whole === undefined ? [] : parseSocketTable(whole);
  }

  private async text(file: string): Promise<string | undefined> {
    return this.read(file, (handle) => readChunk(handle, LONGEST_BYTES));
  }

  private async read(
    file: string,
    use: (handle: FileHandle) => Promise<string | undefined>,
  ): Promise<string | undefined> {
    // No link, pipe or device in a stranger's folder may lead us astray or hold us up.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const handle = await open(path.join(this.root, file), flags).catch(() => undefined);
    if (handle === undefined) return undefined;
    try {
      return await use(handle);
    } catch {
      return undefined; // the process ended meanwhile (ESRCH), or is not ours to see
    } finally {
      await handle.close().catch(() => undefined);
    }
  }
}

/** What a file of `/proc` gives at once: all of it up to that length, or of a socket table a part. */
async function readChunk(handle: FileHandle, bytes: number): Promise<string> {
  const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(bytes), 0, bytes, null);
  return buffer.toString('utf8', 0, bytesRead);
}

function isRefusal(error: unknown): boolean {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return code === 'EACCES' || code === 'EPERM';
}

/** Whether a part of a socket table has a row in another state than listening. */
function hasOtherThanListening(part: string): boolean {
  return /^ *\d+: \S+ \S+ (?!0A)[0-9A-F]{2} /m.test(part);
}

function parseStat(text: string): ProcessStat | undefined {
  // The program's name stands in brackets and may hold anything: the other fields come after the last one.
  const end = text.lastIndexOf(')');
  const fields = text.slice(end + 2).split(' ');
  const [parent, flags, startTicks] = [fields[1], fields[6], fields[19]].map(Number);
  if (end === -1 || parent === undefined || flags === undefined || startTicks === undefined) return undefined;
  if (!Number.isInteger(parent) || !Number.isInteger(startTicks)) return undefined;
  return {
    parent,
    startTicks,
    name: text.slice(text.indexOf('(') + 1, end),
    isUninterruptible: fields[0] === 'D',
    isKernelThread: Number.isInteger(flags) && (flags & KERNEL_THREAD_FLAG) !== 0,
  };
}
