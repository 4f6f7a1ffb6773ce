import type { Board, Precision } from './board.ts';
import { BusyTime } from './busy-time.ts';
import type { GpuWork } from './gpu.ts';

/** What ran, added up. */
export interface WorkAmounts {
  /** In which a kernel ran. */
  busySeconds: number;
  /** That it would have taken at the peak of its formats. */
  computeSeconds: number;
  memoryBytes: number;
  pcieReceivedBytes: number;
  pcieSentBytes: number;
  nvlinkBytes: number;
}

/** Work is told when it ends; what is longer than this is cut. */
const LONGEST_WORK_SECONDS = 10;
/** Over which the overlap of work is averaged. */
const OVERLAP_SECONDS = 2;

/**
 * Collects what ran and deals it out to the ticks. Work is told at its end, so the part that is longer than the tick waits
 * for the next ones: utilization and power come late by no more than the longest step, and nothing is lost.
 */
export class Workload {
  /** When the latest work ended. */
  lastSeconds = -Infinity;
  private readonly peaks: Readonly<Record<Precision, number>>;
  private readonly occupied = new BusyTime();
  private readonly kernels = new BusyTime();
  private occupiedSeconds = 0;
  private readonly waiting = createAmounts();
  private readonly taken = createAmounts();
  private kernelSeconds = 0;
  private coveredSeconds = 0;

  constructor(board: Board) {
    this.peaks = peakOfEach(board);
  }

  peak(precision: Precision): number {
    return this.peaks[precision];
  }

  /** How many kernels shared the GPU on average while there was one: 1 or more. */
  get overlap(): number {
    return this.coveredSeconds > 0 ? Math.max(this.kernelSeconds / this.coveredSeconds, 1) : 1;
  }

  add(work: GpuWork): void {
    const { fromSeconds, toSeconds } = work;
    const { waiting } = this;
    this.lastSeconds = Math.max(this.lastSeconds, toSeconds);
    this.occupiedSeconds += this.occupied.add(fromSeconds, toSeconds);
    if (work.flops > 0) {
      const covered = this.kernels.add(fromSeconds, toSeconds);
      waiting.busySeconds += covered;
      waiting.computeSeconds += work.flops / this.peaks[work.precision];
      this.kernelSeconds += toSeconds - fromSeconds;
      this.coveredSeconds += covered;
    }
    waiting.memoryBytes += work.memoryBytes;
    waiting.pcieReceivedBytes += work.pcieReceivedBytes ?? 0;
    waiting.pcieSentBytes += work.pcieSentBytes ?? 0;
    waiting.nvlinkBytes += work.nvlinkBytes ?? 0;
  }

  /** Takes out what falls to a tick. @returns amounts that hold until the next tick */
  take(seconds: number, toSeconds: number): Readonly<WorkAmounts> {
    const share = this.occupiedSeconds > seconds ? seconds / this.occupiedSeconds : 1;
    this.occupiedSeconds -= this.occupiedSeconds * share;
    move(this.waiting, this.taken, share);
    const kept = Math.exp(-seconds / OVERLAP_SECONDS);
    this.kernelSeconds *= kept;
    this.coveredSeconds *= kept;
    this.occupied.forgetBefore(toSeconds - LONGEST_WORK_SECONDS);
    this.kernels.forgetBefore(toSeconds - LONGEST_WORK_SECONDS);
    return this.taken;
  }

  /** What has not been dealt out is gone with the GPU. */
  drop(): void {
    this.occupiedSeconds = 0;
    Object.assign(this.waiting, createAmounts());
  }
}

/** A format that the board does not have runs as the next wider one; 32-bit products as 16-bit ones at half the rate. */
function peakOfEach({ peakFlopsPerSecond: peaks }: Board): Readonly<Record<Precision, number>> {
  const { fp16 } = peaks;
  return { fp32: peaks.fp32 ?? fp16 / 2, fp16, fp8: peaks.fp8 ?? fp16, int8: peaks.int8 ?? fp16 };
}

function createAmounts(): WorkAmounts {
  return {
    busySeconds: 0,
    computeSeconds: 0,
    memoryBytes: 0,
    pcieReceivedBytes: 0,
    pcieSentBytes: 0,
    nvlinkBytes: 0,
  };
}

/** Puts that share of one in place of the other. Each by its name: it runs ten times a second for each GPU. */
function move(from: WorkAmounts, to: WorkAmounts, share: number): void {
  to.busySeconds = from.busySeconds * share;
  from.busySeconds -= to.busySeconds;
  to.computeSeconds = from.computeSeconds * share;
  from.computeSeconds -= to.computeSeconds;
  to.memoryBytes = from.memoryBytes * share;
  from.memoryBytes -= to.memoryBytes;
  to.pcieReceivedBytes = from.pcieReceivedBytes * share;
  from.pcieReceivedBytes -= to.pcieReceivedBytes;
  to.pcieSentBytes = from.pcieSentBytes * share;
  from.pcieSentBytes -= to.pcieSentBytes;
  to.nvlinkBytes = from.nvlinkBytes * share;
  from.nvlinkBytes -= to.nvlinkBytes;
}
