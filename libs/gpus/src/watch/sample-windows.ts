import { SAMPLE_KINDS, type GpuSample, type SampleKind } from '../reading.ts';
import type { WindowStatistics } from '../snapshot.ts';

/** Statistics of one GPU over one window; a kind without a sample is not there. */
export type GpuWindow = Readonly<Partial<Record<SampleKind, WindowStatistics>>>;

export interface SampleWindowsParts {
  /** Monotonic seconds. */
  readonly now: () => number;
  /** Samples are kept for so long, and no window is longer. */
  readonly keepSeconds?: number;
  /** Window of a client that was never seen. */
  readonly firstSeconds?: number;
  /** Samples kept per GPU and kind; the oldest go first. */
  readonly capacity?: number;
}

const MAXIMUM_CLIENTS = 64;
const MAXIMUM_GPUS = 256;
/** Room for 20 Hz over 180 s: what NVML had buffered comes along with what we ask for at 10 Hz. */
const CAPACITY = 3600;
/** How far apart two samples may come in in the wrong order, and still be known as one when they are. */
const DISORDER_SECONDS = 5;
/** No sample stands for longer: a reader that was stuck for a minute would make its last sample the average. */
const HOLD_SECONDS = 2;

/**
 * The quick samples of the last minutes, seen through windows: each client that scrapes sees every sample exactly once,
 * so that a spike between two scrapes is in one of them, whoever else scrapes too. Windows are cut where samples
 * arrived, not by their time: one that comes late is in the next window instead of in none.
 */
export class SampleWindows {
  private readonly now: () => number;
  private readonly keepSeconds: number;
  private readonly firstSeconds: number;
  private readonly capacity: number;
  private readonly gpus = new Map<string, Record<SampleKind, SampleRing>>();
  /** The window of each client; the one seen longest ago comes first. */
  private readonly clients = new Map<string, Window>();
  private arrivals = 0;

  constructor({ now, keepSeconds = 180, firstSeconds = 15, capacity = CAPACITY }: SampleWindowsParts) {
    this.now = now;
    this.keepSeconds = keepSeconds;
    this.firstSeconds = firstSeconds;
    this.capacity = capacity;
  }

  /** Takes samples as they arrive; one that is no number, or is there already, is dropped. */
  add(samples: readonly GpuSample[]): void {
    const now = this.now();
    for (const { uuid, kind, unixSeconds, value } of samples) {
      if (!Number.isFinite(value) || !Number.isFinite(unixSeconds)) continue;
      if (this.ringsOf(uuid)[kind].add(this.arrivals, now, unixSeconds, value)) this.arrivals += 1;
    }
  }

  /** Drops what is in no window any more, of GPUs that give no samples: gone, asleep or down. */
  forgetOld(): void {
    const sinceSeconds = this.now() - this.keepSeconds;
    for (const [uuid, rings] of this.gpus) {
      if (SAMPLE_KINDS.every((kind) => rings[kind].newestSeconds < sinceSeconds)) this.gpus.delete(uuid);
    }
  }

  /** GPUs of which samples are kept. */
  get size(): number {
    return this.gpus.size;
  }

  /**
   * Moves a client's window to what arrived since its last one, for all GPUs at once. For a client that was never seen,
   * or not for long among many, it is the last `firstSeconds`.
   * @param client what tells one Prometheus server from another
   */
  advance(client: string): void {
    const before = this.clients.get(client);
    this.clients.delete(client);
    const seconds = before === undefined ? this.firstSeconds : this.keepSeconds;
    this.clients.set(client, {
      start: before?.end ?? 0,
      end: this.arrivals,
      sinceSeconds: this.now() - seconds,
    });
    const [stalest] = this.clients.keys();
    if (this.clients.size > MAXIMUM_CLIENTS && stalest !== undefined) this.clients.delete(stalest);
  }

  /** What is in a client's window for one GPU; the same until the client advances. */
  statistics(client: string, uuid: string): GpuWindow {
    const window = this.clients.get(client);
    return window === undefined ? {} : this.read(uuid, window);
  }

  /** What arrived in the last seconds for one GPU, for display; moves nobody's window. */
  recent(uuid: string, seconds: number): GpuWindow {
    const sinceSeconds = this.now() - Math.min(seconds, this.keepSeconds);
    return this.read(uuid, { start: 0, end: this.arrivals, sinceSeconds });
  }

  private read(uuid: string, window: Window): GpuWindow {
    const rings = this.gpus.get(uuid);
    const found: Partial<Record<SampleKind, WindowStatistics>> = {};
    if (rings === undefined) return found;
    for (const kind of SAMPLE_KINDS) {
      const statistics = statisticsOf(rings[kind].within(window));
      if (statistics !== undefined) found[kind] = statistics;
    }
    return found;
  }

  private ringsOf(uuid: string): Record<SampleKind, SampleRing> {
    const known = this.gpus.get(uuid);
    if (known !== undefined) return known;
    const [oldest] = this.gpus.keys();
    if (this.gpus.size >= MAXIMUM_GPUS && oldest !== undefined) this.gpus.delete(oldest);
    const rings = { utilization: new SampleRing(this.capacity), power: new SampleRing(this.capacity) };
    this.gpus.set(uuid, rings);
    return rings;
  }
}

/** Samples with an arrival number from `start` to below `end` that did not come in before `sinceSeconds`. */
interface Window {
  readonly start: number;
  readonly end: number;
  readonly sinceSeconds: number;
}

/** The samples of one window, by time: two columns of the same length. */
interface Samples {
  readonly unixSeconds: Float64Array;
  readonly values: Float64Array;
}

/** Samples in the order of their arrival; grows as they come, up to its capacity. */
class SampleRing {
  private readonly capacity: number;
  private arrivals = new Float64Array(0);
  private arrivedSeconds = new Float64Array(0);
  private unixSeconds = new Float64Array(0);
  private values = new Float64Array(0);
  private next = 0;
  private size = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  /** When the last one came in; -Infinity while there is none. */
  get newestSeconds(): number {
    return this.size === 0 ? -Infinity : (this.arrivedSeconds[this.indexBack(1)] ?? -Infinity);
  }

  /** @returns whether it was new */
  add(arrival: number, arrivedSeconds: number, unixSeconds: number, value: number): boolean {
    if (this.has(unixSeconds)) return false;
    if (this.size === this.values.length && this.size < this.capacity) this.grow();
    this.arrivals[this.next] = arrival;
    this.arrivedSeconds[this.next] = arrivedSeconds;
    this.unixSeconds[this.next] = unixSeconds;
    this.values[this.next] = value;
    this.next = (this.next + 1) % this.values.length;
    this.size = Math.min(this.size + 1, this.values.length);
    return true;
  }

  /** The samples of a window, by time. */
  within({ start, end, sinceSeconds }: Window): Samples {
    let oldest = 0;
    let newest = 0;
    while (oldest < this.size) {
      const index = this.indexBack(oldest + 1);
      const arrival = this.arrivals[index] ?? 0;
      if (arrival < start || (this.arrivedSeconds[index] ?? 0) < sinceSeconds) break;
      oldest += 1;
      if (arrival >= end) newest = oldest;
    }
    const unixSeconds = new Float64Array(oldest - newest);
    const values = new Float64Array(oldest - newest);
    for (let filled = 0; filled < values.length; filled += 1) {
      const index = this.indexBack(oldest - filled);
      insertByTime({ unixSeconds, values }, filled, this.unixSeconds[index] ?? 0, this.values[index] ?? 0);
    }
    return { unixSeconds, values };
  }

  private has(unixSeconds: number): boolean {
    for (let back = 1; back <= this.size; back += 1) {
      const known = this.unixSeconds[this.indexBack(back)] ?? 0;
      if (known === unixSeconds) return true;
      if (known < unixSeconds - DISORDER_SECONDS) return false;
    }
    return false;
  }

  private indexBack(back: number): number {
    return (this.next - back + this.values.length) % this.values.length;
  }

  /** Called only when full and never wrapped: the samples lie in order from 0. */
  private grow(): void {
    const length = Math.min(Math.max(64, this.values.length * 2), this.capacity);
    this.next = this.size;
    this.arrivals = enlarged(this.arrivals, length);
    this.arrivedSeconds = enlarged(this.arrivedSeconds, length);
    this.unixSeconds = enlarged(this.unixSeconds, length);
    this.values = enlarged(this.values, length);
  }
}

function enlarged(from: Float64Array, length: number): Float64Array<ArrayBuffer> {
  const to = new Float64Array(length);
  to.set(from);
  return to;
}

/** Puts a sample where it belongs among the first `filled`, which is nearly always the end. */
function insertByTime({ unixSeconds, values }: Samples, filled: number, time: number, value: number): void {
  let place = filled;
  for (; place > 0 && (unixSeconds[place - 1] ?? 0) > time; place -= 1) {
    unixSeconds[place] = unixSeconds[place - 1] ?? 0;
    values[place] = values[place - 1] ?? 0;
  }
  unixSeconds[place] = time;
  values[place] = value;
}

/**
 * Statistics of samples that are in the order of their time. The average is weighted with the time for which each
 * sample stood, until the next or for 2 s: readings once a second stand in between quick samples ten times a second,
 * and a plain mean would count one second of the latter ten times. Nobody knows for how long the last one stands: as
 * long as the others on average. p95 is the sample at the nearest rank.
 */
function statisticsOf({ unixSeconds, values }: Samples): WindowStatistics | undefined {
  let weighted = 0;
  let heldSeconds = 0;
  for (let index = 1; index < values.length; index += 1) {
    const gapSeconds = (unixSeconds[index] ?? 0) - (unixSeconds[index - 1] ?? 0);
    const seconds = Math.min(gapSeconds, HOLD_SECONDS);
    weighted += (values[index - 1] ?? 0) * seconds;
    heldSeconds += seconds;
  }
  const lastSeconds = values.length === 1 ? 1 : heldSeconds / (values.length - 1);
  weighted += (values.at(-1) ?? 0) * lastSeconds;

  const sorted = values.toSorted();
  const [min] = sorted;
  const max = sorted.at(-1);
  const p95 = sorted[Math.ceil(0.95 * sorted.length) - 1];
  if (min === undefined || max === undefined || p95 === undefined) return undefined;
  // Rounding may carry an average of equal samples beyond them.
  const avg = Math.min(max, Math.max(min, weighted / (heldSeconds + lastSeconds)));
  return { max, avg, p95, samples: sorted.length };
}
