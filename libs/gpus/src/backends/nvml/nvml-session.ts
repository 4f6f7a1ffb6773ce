import { backendMends } from '../../mends.ts';
import {
  BackendError,
  type BackendFailureReason,
  type GpuReading,
  type GpuTouches,
  type PciGpu,
} from '../../reading.ts';
import { GpuDown, SessionLost, textOf } from './device-calls.ts';
import type { SessionFacts } from './device-statics.ts';
import { NvmlDevice, type DeviceReading, type DeviceSurroundings } from './nvml-device.ts';
import { loadNvml, type NvmlFunction, type NvmlLibrary } from './nvml-library.ts';
import {
  downReasonOf,
  initFailureOf,
  inWords,
  NO_PERMISSION,
  NOT_FOUND,
  sessionLossOf,
  SUCCESS,
} from './return-codes.ts';
import { XidEvents } from './xid-events.ts';

/** No host has more. */
const MAX_GPUS = 256;
const MAX_NAME_BYTES = 256;

/** A device, or why there is none at that place. */
export type FoundDevice =
  | { readonly device: NvmlDevice; readonly position: number }
  | {
      readonly down: GpuReading['condition'];
      readonly position: number;
      readonly pciBusId: string | undefined;
    };

export interface SessionParts {
  readonly libraryPath: string | undefined;
  readonly procRoot: string;
  readonly touching: GpuTouches['touching'];
  /** Monotonic. */
  readonly now: () => number;
  readonly unixNow: () => number;
}

/** NVML between its initialization and its shutdown. All that it gives is void afterwards. */
export class NvmlSession {
  readonly facts: SessionFacts;
  readonly libraryVersion: string | undefined;
  readonly events: XidEvents;
  private readonly library: NvmlLibrary;
  private readonly surroundings: DeviceSurroundings;
  private readonly touching: GpuTouches['touching'];
  private readonly devices = new Map<bigint, NvmlDevice>();
  /** PCI addresses by NVML's index. */
  private readonly addresses = new Map<number, string>();
  private names = new Map<number, string | undefined>();
  private namesBefore = this.names;

  /**
   * Loads and initializes NVML. This wakes no GPU: each is initialized when its handle is got.
   * @throws BackendError
   */
  static async open(parts: SessionParts): Promise<NvmlSession> {
    const library = await loadNvml(parts.libraryPath);
    const code = library.call('nvmlInit_v2');
    if (code === SUCCESS) return new NvmlSession(library, parts);
    library.unload();
    throw failure(initFailureOf(code), `nvmlInit_v2 of ${library.path} answered ${inWords(code)}`);
  }

  private constructor(library: NvmlLibrary, { procRoot, touching, now, unixNow }: SessionParts) {
    this.library = library;
    this.touching = touching;
    this.events = new XidEvents(library);
    this.libraryVersion = this.systemText('nvmlSystemGetNVMLVersion');
    this.facts = {
      driverVersion: this.systemText('nvmlSystemGetDriverVersion'),
      cudaVersion: this.cudaVersion(),
    };
    const processName = (pid: number): string | undefined => this.processName(pid);
    this.surroundings = { library, session: this.facts, procRoot, now, unixNow, processName };
  }

  /** The devices whose handles are good, in the order of their first reading. */
  get openDevices(): readonly NvmlDevice[] {
    return [...this.devices.values()];
  }

  /** How many devices there are, good or not. @throws SessionLost, BackendError */
  count(): number {
    const out = Buffer.alloc(4);
    const code = this.library.call('nvmlDeviceGetCount_v2', out);
    this.checkSession('nvmlDeviceGetCount_v2', code);
    if (code !== SUCCESS) {
      throw failure(initFailureOf(code), `nvmlDeviceGetCount_v2 answered ${inWords(code)}`);
    }
    return Math.min(out.readUInt32LE(0), MAX_GPUS);
  }

  /**
   * All devices, in NVML's order, which is that of their PCI addresses.
   * @param onBus by which the address of a device is known before its handle
   * @throws SessionLost, BackendError
   */
  findAll(onBus: readonly PciGpu[]): FoundDevice[] {
    const count = this.count();
    return Array.from({ length: count }, (_, position) => {
      const place = count === onBus.length ? onBus[position]?.pciBusId : undefined;
      this.touching(this.addresses.get(position) ?? place);
      return this.find('nvmlDeviceGetHandleByIndex_v2', position, position, undefined);
    }).filter((found) => found !== undefined);
  }

  /** These devices only: getting the handle of another would wake it. @throws SessionLost */
  findByPci(gpus: readonly { readonly gpu: PciGpu; readonly position: number }[]): FoundDevice[] {
    return gpus
      .map(({ gpu: { pciBusId }, position }) => {
        const address = Buffer.from(`${pciBusId}\0`, 'latin1');
        this.touching(pciBusId);
        return this.find('nvmlDeviceGetHandleByPciBusId_v2', address, position, pciBusId);
      })
      .filter((found) => found !== undefined);
  }

  /**
   * Reads the devices. At most one of them measures its PCIe throughput, so that a host of many GPUs is not held up by
   * the 40 ms that it takes for each.
   * @throws SessionLost
   */
  read(devices: readonly NvmlDevice[]): { readonly answered: DeviceReading[]; readonly down: GpuReading[] } {
    const measured = this.dueForThroughput(devices);
    this.namesBefore = this.names;
    this.names = new Map();
    const answered: DeviceReading[] = [];
    const down: GpuReading[] = [];
    for (const device of devices) {
      this.touching(device.pciBusId);
      try {
        answered.push(device.read(device === measured));
      } catch (error) {
        if (!(error instanceof GpuDown)) throw error;
        down.push(device.identity(error.reason));
        this.forget(device);
      }
    }
    return { answered, down };
  }

  /** Gets a new handle for the device when it is read next. */
  forget(device: NvmlDevice): void {
    this.devices.delete(device.calls.handle);
    this.events.forget(device.calls.handle);
    device.close();
  }

  /** Shuts NVML down, for good or before it is begun anew. Never throws. */
  close(): void {
    this.events.close();
    for (const device of this.devices.values()) device.close();
    this.devices.clear();
    // Initialized once, so that this is the last of the references it counts.
    this.library.call('nvmlShutdown');
    this.library.unload();
  }

  private find(
    name: 'nvmlDeviceGetHandleByIndex_v2' | 'nvmlDeviceGetHandleByPciBusId_v2',
    place: number | Buffer,
    position: number,
    pciBusId: string | undefined,
  ): FoundDevice | undefined {
    const out = Buffer.alloc(8);
    const code = this.library.call(name, place, out);
    this.checkSession(name, code);
    // On the bus and not this driver's (vfio-pci), or not given to this container.
    if (code === NOT_FOUND) return undefined;
    if (code !== SUCCESS) return { down: conditionOf(code), position, pciBusId };
    const handle = out.readBigUInt64LE(0);
    try {
      const device = this.devices.get(handle) ?? new NvmlDevice(this.surroundings, handle, position);
      this.devices.set(handle, device);
      if (pciBusId === undefined && device.pciBusId !== undefined) {
        this.addresses.set(position, device.pciBusId);
      }
      return { device, position };
    } catch (error) {
      if (!(error instanceof GpuDown)) throw error;
      return { down: error.reason, position, pciBusId };
    }
  }

  private dueForThroughput(devices: readonly NvmlDevice[]): NvmlDevice | undefined {
    const now = this.surroundings.now();
    let first: NvmlDevice | undefined;
    for (const device of devices) {
      const due = device.throughputDueSeconds;
      if (due === undefined || due > now) continue;
      if (first === undefined || due < (first.throughputDueSeconds ?? 0)) first = device;
    }
    return first;
  }

  private checkSession(name: NvmlFunction, code: number): void {
    if (sessionLossOf(code) !== undefined) throw new SessionLost(name, code);
  }

  private systemText(name: 'nvmlSystemGetDriverVersion' | 'nvmlSystemGetNVMLVersion'): string | undefined {
    const out = Buffer.alloc(80);
    return this.library.call(name, out, out.length) === SUCCESS ? textOf(out) : undefined;
  }

  /** 13010 is 13.1. */
  private cudaVersion(): string | undefined {
    const out = Buffer.alloc(4);
    if (this.library.call('nvmlSystemGetCudaDriverVersion_v2', out) !== SUCCESS) return undefined;
    const version = out.readInt32LE(0);
    return `${String(Math.floor(version / 1000))}.${String(Math.floor((version % 1000) / 10))}`;
  }

  /** Asked once for as long as the process is listed. */
  private processName(pid: number): string | undefined {
    if (!this.names.has(pid)) {
      this.names.set(pid, this.namesBefore.has(pid) ? this.namesBefore.get(pid) : this.askProcessName(pid));
    }
    return this.names.get(pid);
  }

  private askProcessName(pid: number): string | undefined {
    const out = Buffer.alloc(MAX_NAME_BYTES);
    const code = this.library.call('nvmlSystemGetProcessName', pid, out, out.length);
    this.checkSession('nvmlSystemGetProcessName', code);
    return code === SUCCESS ? textOf(out) : undefined;
  }
}

/** Why a backend gave nothing, with what mends it. */
export function failure(reason: BackendFailureReason, what: string, cause?: unknown): BackendError {
  return new BackendError(reason, `${what}. ${backendMends[reason].sentence}`, cause);
}

function conditionOf(code: number): GpuReading['condition'] {
  return downReasonOf(code) ?? (code === NO_PERMISSION ? 'no_permission' : 'unknown_error');
}
