import type { GpuReading } from '../reading.ts';
import type { LeftOutGpu } from './reader-messages.ts';

interface Penalty {
  readonly seconds: number;
  /** Monotonic. */
  readonly untilSeconds: number;
  /** Without it others were read: it was this GPU that was stuck, and not the driver as a whole. */
  readonly isProven: boolean;
}

/** No host has more. */
const MAXIMUM_GPUS = 256;

/**
 * The GPUs at which a reader was stuck. Each is left out for a time, which doubles up to a bound when the GPU is stuck
 * again before it has worked for as long as it was left out. Where nothing could be read without it either, the driver is
 * stuck as a whole, and the time does not grow: once that is over, all are to be back soon.
 */
export class LeftOutGpus {
  private readonly firstSeconds: number;
  private readonly longestSeconds: number;
  private readonly penalties = new Map<string, Penalty>();
  private wasStuck = false;

  constructor(firstSeconds: number, longestSeconds: number) {
    this.firstSeconds = firstSeconds;
    this.longestSeconds = longestSeconds;
  }

  /** A reader was stuck at this GPU, or nobody knows at which. @returns for how long it is left out */
  blame(pciBusId: string | undefined, nowSeconds: number): number | undefined {
    this.wasStuck = true;
    if (pciBusId === undefined) return undefined;
    const before = this.penalties.get(pciBusId);
    const isAgain = before !== undefined && nowSeconds - before.untilSeconds < before.seconds;
    const seconds = isAgain
      ? Math.min(before.seconds * (before.isProven ? 2 : 1), this.longestSeconds)
      : this.firstSeconds;
    this.penalties.delete(pciBusId);
    this.penalties.set(pciBusId, { seconds, untilSeconds: nowSeconds + seconds, isProven: false });
    const [oldest] = this.penalties.keys();
    if (this.penalties.size > MAXIMUM_GPUS && oldest !== undefined) this.penalties.delete(oldest);
    return seconds;
  }

  /** Learns from a reading: which of them others were read without, and which work after all. */
  learn(gpus: readonly GpuReading[], nowSeconds: number): void {
    if (!gpus.some(({ condition }) => condition === 'up')) return;
    for (const { condition, facts } of gpus) {
      const penalty = facts.pciBusId === undefined ? undefined : this.penalties.get(facts.pciBusId);
      if (facts.pciBusId === undefined || penalty === undefined || penalty.untilSeconds <= nowSeconds)
        continue;
      if (condition === 'hung') this.penalties.set(facts.pciBusId, { ...penalty, isProven: true });
      else this.penalties.delete(facts.pciBusId);
    }
  }

  /** For the orders of a reader that is started now; undefined until a reader was stuck. */
  list(nowSeconds: number): readonly LeftOutGpu[] | undefined {
    if (!this.wasStuck) return undefined;
    return [...this.penalties].flatMap(([pciBusId, { untilSeconds }]) =>
      untilSeconds > nowSeconds ? [{ pciBusId, seconds: untilSeconds - nowSeconds }] : [],
    );
  }
}
