import type { WorkAmounts } from './workload.ts';

/** NVML averages over one sixth of a second to one second, depending on the board. */
const PERIOD_SECONDS = 0.5;

/** What the driver tells as averages of its latest sampling period. */
export class Samples {
  utilizationRatio = 0;
  memoryUtilizationRatio = 0;
  pcieReceivedBytesPerSecond = 0;
  pcieSentBytesPerSecond = 0;
  private seconds = 0;
  private busySeconds = 0;
  private memorySeconds = 0;
  private receivedBytes = 0;
  private sentBytes = 0;

  /** @returns whether a period has ended with it */
  add(seconds: number, bandwidthRatio: number, work: Readonly<WorkAmounts>): boolean {
    this.seconds += seconds;
    this.busySeconds += work.busySeconds;
    this.memorySeconds += bandwidthRatio * seconds;
    this.receivedBytes += work.pcieReceivedBytes;
    this.sentBytes += work.pcieSentBytes;
    // Ten tenths of a tick are not quite a whole one.
    if (this.seconds < PERIOD_SECONDS - 1e-6) return false;
    this.utilizationRatio = Math.min(this.busySeconds / this.seconds, 1);
    this.memoryUtilizationRatio = Math.min(this.memorySeconds / this.seconds, 1);
    this.pcieReceivedBytesPerSecond = this.receivedBytes / this.seconds;
    this.pcieSentBytesPerSecond = this.sentBytes / this.seconds;
    this.begin();
    return true;
  }

  /** Nothing is known of a GPU that is gone. */
  reset(): void {
    this.begin();
    this.utilizationRatio = 0;
    this.memoryUtilizationRatio = 0;
    this.pcieReceivedBytesPerSecond = 0;
    this.pcieSentBytesPerSecond = 0;
  }

  private begin(): void {
    this.seconds = 0;
    this.busySeconds = 0;
    this.memorySeconds = 0;
    this.receivedBytes = 0;
    this.sentBytes = 0;
  }
}
