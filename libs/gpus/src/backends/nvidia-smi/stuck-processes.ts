import { existsSync } from 'node:fs';
import path from 'node:path';

import { findEntries, findText, hostFiles } from '../../pci/device-files.ts';

/** A process, told from a later one of the same number by when it was started. */
export interface StuckProcess {
  readonly pid: string;
  /** Since the host was started, in clock ticks. */
  readonly startTicks: string;
}

/** What the kernel calls a process is cut off after so many characters. */
const MAX_NAME_LENGTH = 15;

/**
 * Processes of a program that a gpu-reader started which is gone, and that are stuck in the driver (state D), where
 * neither SIGTERM nor SIGKILL has ended them. What a gpu-reader starts is in its process group: one without its leader
 * was left behind, while somebody's own nvidia-smi, which is in state D now and then too, has a shell or is its leader.
 *
 * Of each process only `stat` is read: the command line of one that is stuck can be just as stuck.
 */
export function findStuckProcesses(procRoot: string, program: string): StuckProcess[] {
  const name = path.basename(program).slice(0, MAX_NAME_LENGTH);
  return findEntries(hostFiles, procRoot).flatMap((pid) => {
    const seen = /^\d+$/.test(pid) ? look(procRoot, pid) : undefined;
    const isStuck = seen?.name === name && seen.state === 'D' && !existsSync(path.join(procRoot, seen.group));
    return isStuck ? [{ pid, startTicks: seen.startTicks }] : [];
  });
}

/** Whether it has not ended; a zombie has. */
export function isAlive(procRoot: string, { pid, startTicks }: StuckProcess): boolean {
  const seen = look(procRoot, pid);
  return seen !== undefined && seen.startTicks === startTicks && seen.state !== 'Z';
}

interface SeenProcess {
  readonly name: string;
  readonly state: string;
  readonly group: string;
  readonly startTicks: string;
}

/** Fields 2, 3, 5 and 22 of proc_pid_stat(5); the name, in parentheses, may hold anything. */
function look(procRoot: string, pid: string): SeenProcess | undefined {
  const match = /\((.*)\) (.*)$/s.exec(findText(hostFiles, path.join(procRoot, pid, 'stat')) ?? '');
  const [state, , group, ...rest] = match?.[2]?.split(' ') ?? [];
  const startTicks = rest[16];
  if (match?.[1] === undefined || state === undefined || group === undefined || startTicks === undefined) {
    return undefined;
  }
  return { name: match[1], state, group, startTicks };
}
