import type { GpuPoint, GpuReading } from '../reading.ts';

/** What the parent has already is not sent again: links and error counters are most of a reading. */
export class SentPoints {
  private readonly sent = new Map<string, readonly GpuPoint[]>();

  /** The reading with `true` in place of the array that was sent last; see `GpuReading.seldomPoints`. */
  strip(gpu: GpuReading): GpuReading {
    const { uuid, seldomPoints } = gpu;
    if (seldomPoints === true) return gpu;
    if (seldomPoints === undefined) {
      // At a reading without them the parent drops its own.
      this.sent.delete(uuid);
      return gpu;
    }
    if (this.sent.get(uuid) === seldomPoints) return { ...gpu, seldomPoints: true };
    this.sent.set(uuid, seldomPoints);
    return gpu;
  }
}
