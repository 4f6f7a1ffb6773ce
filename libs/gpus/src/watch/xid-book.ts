import type { XidEvent } from '../reading.ts';
import type { XidCount } from '../snapshot.ts';
import type { LoggedXid } from './kernel-log.ts';
import { FATAL_XIDS } from './xid-catalogue.ts';

/** Who tells of errors now. */
export interface XidSources {
  /** The kernel log is followed. */
  readonly kernelLog: boolean;
  /** The driver tells its events (NVML). */
  readonly driver: boolean;
}

/** Distinct XIDs of one GPU: about as many as matter, so that a driver gone mad makes no endless series. */
const MAXIMUM_XIDS = 64;
const MAXIMUM_GPUS = 256;
/** NVIDIA's catalogue ends below 200, and NVML says 999 for unknown. */
const HIGHEST_XID = 9999;

/**
 * Counts XIDs per GPU. The kernel log has every XID while NVML's events miss some (79, 119 and 120 in DCGM#162, 62 in
 * DCGM#235), so where the log is followed it alone counts: both together would count most of them twice.
 */
export class XidBook {
  private readonly gpus = new Map<string, Map<number, XidCount>>();
  /** Of those that were asked for, since their last error. */
  private readonly told = new Map<string, ReadonlyMap<number, XidCount>>();
  private sources: XidSources = { kernelLog: false, driver: false };

  /** Says who tells of errors from now on. */
  listenTo(sources: XidSources): void {
    this.sources = sources;
  }

  /** Takes events of NVML; they count only while the kernel log is not followed. */
  addDriverEvents(events: readonly XidEvent[]): void {
    if (this.sources.kernelLog) return;
    for (const event of events) this.add(event, 1);
  }

  /** Takes what the kernel log tells. What is from before the start counts nothing, and is remembered by its time. */
  addKernelEvents(events: readonly LoggedXid[]): void {
    for (const event of events) this.add(event, event.past ? 0 : 1);
  }

  /**
   * Errors of one GPU since the start, ascending by XID; the fatal ones are there with 0, for a counter that is born
   * at 1 is invisible to increase() (trap 20).
   * @param pciBusId as in `GpuFacts`
   * @returns the same object until there is another error; undefined where nothing tells of errors, or the GPU cannot be told from others
   */
  of(pciBusId: string | undefined): ReadonlyMap<number, XidCount> | undefined {
    if (pciBusId === undefined || !(this.sources.kernelLog || this.sources.driver)) return undefined;
    const told = this.told.get(pciBusId) ?? this.countsOf(pciBusId);
    if (this.told.size < MAXIMUM_GPUS) this.told.set(pciBusId, told);
    return told;
  }

  private countsOf(pciBusId: string): ReadonlyMap<number, XidCount> {
    const counts = new Map<number, XidCount>(FATAL_XIDS.map((xid) => [xid, { count: 0 }]));
    for (const [xid, count] of this.gpus.get(pciBusId) ?? []) counts.set(xid, count);
    return new Map([...counts].sort(([a], [b]) => a - b));
  }

  private add({ pciBusId, xid, unixSeconds }: XidEvent, count: 0 | 1): void {
    if (!Number.isInteger(xid) || xid < 1 || xid > HIGHEST_XID) return;
    const counts = this.gpus.get(pciBusId) ?? new Map<number, XidCount>();
    const before = counts.get(xid);
    if (before === undefined && !hasRoom(counts, xid)) return;
    if (!this.gpus.has(pciBusId) && this.gpus.size >= MAXIMUM_GPUS) return;
    this.gpus.set(pciBusId, counts);
    this.told.delete(pciBusId);
    counts.set(xid, {
      count: (before?.count ?? 0) + count,
      lastUnixSeconds: Math.max(before?.lastUnixSeconds ?? 0, unixSeconds),
    });
  }
}

/** The fatal ones always have their place, as they are exported anyway. */
function hasRoom(counts: ReadonlyMap<number, XidCount>, xid: number): boolean {
  const others = [...counts.keys()].filter((known) => !FATAL_XIDS.includes(known)).length;
  return FATAL_XIDS.includes(xid) || others < MAXIMUM_XIDS - FATAL_XIDS.length;
}
