import type { UnsupportedReading, XidEvent } from '../../reading.ts';
import { SessionLost, type DeviceCalls } from './device-calls.ts';
import type { NvmlLibrary } from './nvml-library.ts';
import { sessionLossOf, SUCCESS, whyUnsupported } from './return-codes.ts';

/** nvmlEventTypeXidCriticalError; other events (recovery action, GPU unavailable) are no XIDs. */
const XID_CRITICAL_ERROR = 0x8n;
/** nvmlEventData_t */
const EVENT_BYTES = 32;
/** Bound on what one call takes; more of them wait for the next. */
const MAX_EVENTS = 256;

/** A device that can be registered for events. */
export interface EventDevice {
  readonly calls: DeviceCalls;
  readonly pciBusId: string;
}

/** XIDs as the driver tells of them: those since a device was registered, each once. */
export class XidEvents {
  private readonly library: NvmlLibrary;
  private set: bigint | undefined;
  private failure: UnsupportedReading | undefined;
  private readonly registered = new Set<bigint>();
  /** PCI address by handle, also of a device that is forgotten: the event that took it down may still wait. */
  private readonly addresses = new Map<bigint, string>();

  constructor(library: NvmlLibrary) {
    this.library = library;
  }

  /** Why there are no events, where there are none. */
  unsupported(): UnsupportedReading[] {
    return this.failure === undefined ? [] : [this.failure];
  }

  /**
   * Registers a device unless it is already, and can be.
   * @throws GpuDown, SessionLost
   */
  register({ calls, pciBusId }: EventDevice): void {
    if (this.registered.has(calls.handle)) return;
    const types = calls.bits('nvmlDeviceGetSupportedEventTypes');
    if (types === undefined || (types & XID_CRITICAL_ERROR) === 0n) return;
    const set = this.open();
    if (set === undefined) return;
    if (calls.call('nvmlDeviceRegisterEvents', '', XID_CRITICAL_ERROR, set) !== SUCCESS) return;
    this.registered.add(calls.handle);
    this.addresses.set(calls.handle, pciBusId);
  }

  /** Registers a device again when it is there again. */
  forget(handle: bigint): void {
    this.registered.delete(handle);
  }

  /** What has happened since the last call; never waits. @throws SessionLost */
  take(unixSeconds: number): XidEvent[] {
    const events: XidEvent[] = [];
    if (this.set === undefined) return events;
    const data = Buffer.alloc(EVENT_BYTES);
    for (let count = 0; count < MAX_EVENTS; count++) {
      const code = this.library.call('nvmlEventSetWait_v2', this.set, data, 0);
      if (sessionLossOf(code) !== undefined) throw new SessionLost('nvmlEventSetWait_v2', code);
      // TIMEOUT: nothing is left. Any other failure (a lost GPU ends the wait too) is told of by the readings.
      if (code !== SUCCESS) break;
      const pciBusId = this.addresses.get(data.readBigUInt64LE(0));
      const isXid = (data.readBigUInt64LE(8) & XID_CRITICAL_ERROR) !== 0n;
      if (pciBusId === undefined || !isXid) continue;
      events.push({ pciBusId, xid: Number(data.readBigUInt64LE(16)), unixSeconds });
    }
    return events;
  }

  /** Gives the set back. */
  close(): void {
    if (this.set !== undefined) this.library.call('nvmlEventSetFree', this.set);
    this.set = undefined;
    this.registered.clear();
    this.addresses.clear();
  }

  private open(): bigint | undefined {
    if (this.set !== undefined || this.failure !== undefined) return this.set;
    const out = Buffer.alloc(8);
    const code = this.library.call('nvmlEventSetCreate', out);
    if (sessionLossOf(code) !== undefined) throw new SessionLost('nvmlEventSetCreate', code);
    if (code === SUCCESS) this.set = out.readBigUInt64LE(0);
    else this.failure = { field: 'nvmlEventSetCreate', why: whyUnsupported(code) ?? 'failed' };
    return this.set;
  }
}
