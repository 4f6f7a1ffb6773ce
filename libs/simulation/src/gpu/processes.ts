import type { GpuProcessState } from './gpu.ts';

/** What a process says when it takes memory. */
export interface GpuProcess {
  readonly pid: number;
  readonly program: string;
  /** Whole command line, as /proc has it. */
  readonly command: readonly string[];
  /** All that it holds on this GPU. */
  readonly memoryBytes: number;
}

interface Use {
  process: GpuProcess;
  kernelSeconds: number;
  /** Of the GPU's busy time. */
  share: number;
}

/** Processes with memory on a GPU, and how they divide its time among them. */
export class Processes {
  usedBytes = 0;
  private readonly uses = new Map<number, Use>();
  private unattributedSeconds = 0;

  /** @returns false, with nothing changed, when that process would then hold more than there is for all */
  allocate(process: GpuProcess, capacityBytes: number): boolean {
    const before = this.uses.get(process.pid);
    const usedBytes = this.usedBytes - (before?.process.memoryBytes ?? 0) + process.memoryBytes;
    if (!(process.memoryBytes >= 0) || usedBytes > capacityBytes) return false;
    this.usedBytes = usedBytes;
    if (before === undefined) this.uses.set(process.pid, { process, kernelSeconds: 0, share: 0 });
    else before.process = process;
    return true;
  }

  release(pid: number): void {
    this.usedBytes -= this.uses.get(pid)?.process.memoryBytes ?? 0;
    this.uses.delete(pid);
  }

  addWork(pid: number | undefined, seconds: number): void {
    const use = pid === undefined ? undefined : this.uses.get(pid);
    if (use === undefined) this.unattributedSeconds += seconds;
    else use.kernelSeconds += seconds;
  }

  /** A sampling period has ended. */
  divideTime(): void {
    let total = this.unattributedSeconds;
    for (const use of this.uses.values()) total += use.kernelSeconds;
    if (total === 0) return;
    const each = this.unattributedSeconds / this.uses.size;
    for (const use of this.uses.values()) {
      use.share = (use.kernelSeconds + each) / total;
      use.kernelSeconds = 0;
    }
    this.unattributedSeconds = 0;
  }

  states(utilizationRatio: number): GpuProcessState[] {
    return Array.from(this.uses.values(), ({ process, share }) => ({
      pid: process.pid,
      program: process.program,
      command: process.command,
      memoryBytes: process.memoryBytes,
      smUtilizationRatio: share * utilizationRatio,
    }));
  }
}
