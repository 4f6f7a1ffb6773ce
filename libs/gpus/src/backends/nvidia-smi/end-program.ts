import type { ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/**
 * Tells a program to end with SIGTERM. Where it runs below a shell, as `child_process.exec` starts it, the program is
 * told and the shell is not: that one waits for its end, takes its exit code, and ends too.
 */
export function endProgram(child: ChildProcess): void {
  if (child.pid === undefined) return;
  const programs = childrenOf(child.pid);
  if (programs.length === 0) child.kill('SIGTERM');
  for (const pid of programs) signalTerm(pid);
}

function signalTerm(pid: number): void {
  try {
    process.kill(pid, 'SIGTERM');
  } catch {
    // It has ended by itself meanwhile.
  }
}

/** Process ids of the children of a process, from the kernel; none where there is no /proc. */
function childrenOf(parent: number): number[] {
  let entries: string[];
  try {
    entries = readdirSync('/proc');
  } catch {
    return [];
  }
  return entries.filter((entry) => /^\d+$/.test(entry) && parentOf(entry) === parent).map(Number);
}

/** The name, in parentheses, may hold anything; state and parent follow the last of them. */
function parentOf(pid: string): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined; // It has ended since its folder was listed.
  }
}
