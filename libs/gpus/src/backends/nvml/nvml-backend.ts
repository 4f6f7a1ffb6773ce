import {
  type BackendReading,
  type GpuBackend,
  type GpuFacts,
  type GpuReading,
  type GpuSample,
  type GpuTouches,
  type PciGpu,
  type UnparsedValue,
  type UnsupportedReading,
  type XidEvent,
} from '../../reading.ts';
import { GpuDown, SessionLost } from './device-calls.ts';
import type { NvmlDevice } from './nvml-device.ts';
import { failure, NvmlSession, type FoundDevice } from './nvml-session.ts';
import { sessionLossOf } from './return-codes.ts';

export interface NvmlOptions {
  /** Of NVML itself; looked for in the usual places when left out. */
  readonly libraryPath?: string;
  /** Of the host, for the memory of GPUs that have none of their own. */
  readonly procRoot?: string;
  /** Which GPU is touched, and which is not to be; none is left out without it. */
  readonly touches?: GpuTouches;
  /** Monotonic seconds. */
  readonly now?: () => number;
  readonly unixNow?: () => number;
}

/** For so long a GPU that the kernel may put to sleep, and that has nothing to do, is left alone. */
export const REST_SECONDS = 30;
/**
 * After a rest in which none fell asleep there is no other for so long: the kernel is told that it may put most desktop
 * GPUs to sleep (Ubuntu's udev rules for the driver), and few of them can.
 */
export const NEXT_REST_SECONDS = 3600;

/**
 * Reads NVIDIA's GPUs through NVML, with synchronous calls: for the gpu-reader, a process that may be stuck and ended.
 *
 * A GPU that the kernel has put to sleep gets not one call. And one that the kernel could put to sleep (`powerManaged`)
 * would be kept awake for ever by a session that holds it open: so when all GPUs that are awake are such and have
 * neither process nor load, the session is closed for half a minute, in which these GPUs are up, have their facts, and no
 * figures. The rest ends early when one of them was asleep meanwhile and is awake again, for then somebody uses it. A
 * rest in which none falls asleep is not tried again for an hour.
 *
 * After a failure of the session the next reading begins a new one. That mends a driver that was taken down and up
 * again; after an upgrade the old library may stay mapped for as long as this process lives, so that a reader which
 * gets `session_lost` or `driver_mismatch` had better end and be started anew.
 */
export function createNvmlBackend({
  libraryPath,
  procRoot = '/proc',
  touches = { touching: () => undefined, isLeftOut: () => false, afterHang: false },
  now = () => performance.now() / 1000,
  unixNow = () => Date.now() / 1000,
}: NvmlOptions = {}): GpuBackend {
  const { touching } = touches;
  const open = (): Promise<NvmlSession> =>
    NvmlSession.open({ libraryPath, procRoot, touching, now, unixNow });
  return new NvmlBackend(open, touches, now, unixNow);
}

/** What a GPU was when it last answered. */
type Identity = Pick<GpuReading, 'gpu' | 'uuid' | 'facts'>;

interface Rest {
  readonly untilSeconds: number;
  readonly readings: readonly GpuReading[];
  /** PCI addresses of those that fell asleep in it. */
  readonly asleep: Set<string>;
}

class NvmlBackend implements GpuBackend {
  readonly name = 'nvml';
  private readonly open: () => Promise<NvmlSession>;
  private readonly touches: GpuTouches;
  private readonly now: () => number;
  private readonly unixNow: () => number;
  private session: NvmlSession | undefined;
  private versions: Pick<BackendReading, 'driverVersion' | 'libraryVersion'> = {};
  /** By PCI address. */
  private readonly identities = new Map<string, Identity>();
  private rest: Rest | undefined;
  private noRestBeforeSeconds = -Infinity;
  /** PCI addresses of those that slept at the last reading. */
  private asleep: ReadonlySet<string> = new Set();

  constructor(
    open: () => Promise<NvmlSession>,
    touches: GpuTouches,
    now: () => number,
    unixNow: () => number,
  ) {
    this.open = open;
    this.touches = touches;
    this.now = now;
    this.unixNow = unixNow;
  }

  // The signal could end nothing: the calls are synchronous, and who is stuck in one sees no signal.
  async read(pci: readonly PciGpu[]): Promise<BackendReading> {
    const gpus = pci.filter(({ vendor }) => vendor === 'nvidia');
    const asleep = gpus.filter(({ suspended }) => suspended);
    this.asleep = new Set(asleep.map(({ pciBusId }) => pciBusId));
    const hung = this.leftOut(gpus.filter(({ suspended }) => !suspended));
    const untouched = [
      ...asleep.map((gpu) => this.untouched(gpu, gpus.indexOf(gpu), 'suspended')),
      ...hung.map((gpu) => this.untouched(gpu, gpus.indexOf(gpu), 'hung')),
    ];
    if (gpus.length > 0 && asleep.length === gpus.length) {
      for (const { pciBusId } of asleep) this.rest?.asleep.add(pciBusId);
      return this.reading(untouched);
    }
    const resting = this.resting(gpus.filter((gpu) => !hung.includes(gpu)));
    if (resting !== undefined) return this.reading(inOrder([...resting, ...untouched]));

    this.session ??= await this.open();
    const { session } = this;
    try {
      return this.readAwake(session, gpus, untouched);
    } catch (error) {
      this.end();
      if (!(error instanceof SessionLost)) throw error;
      throw failure(sessionLossOf(error.code) ?? 'session_lost', error.message, error);
    } finally {
      this.touches.touching(undefined);
    }
  }

  sample(): readonly GpuSample[] {
    const [nowSeconds, unixSeconds] = [this.now(), this.unixNow()];
    return this.between((device) => device.samples.take(nowSeconds, unixSeconds, device.isSplit));
  }

  events(): readonly XidEvent[] {
    const { session } = this;
    if (session === undefined) return [];
    this.between((device) => {
      const { pciBusId } = device;
      if (pciBusId !== undefined) session.events.register({ calls: device.callsBetween, pciBusId });
      return [];
    });
    try {
      return this.session?.events.take(this.unixNow()) ?? [];
    } catch {
      this.end();
      return [];
    }
  }

  close(): void {
    this.end();
    this.rest = undefined;
  }

  private readAwake(
    session: NvmlSession,
    gpus: readonly PciGpu[],
    untouched: readonly GpuReading[],
  ): BackendReading {
    const { driverVersion } = session.facts;
    const { libraryVersion } = session;
    this.versions = {
      ...(driverVersion === undefined ? {} : { driverVersion }),
      ...(libraryVersion === undefined ? {} : { libraryVersion }),
    };
    const leftAlone = new Set(untouched.map(({ facts }) => facts.pciBusId));
    const awake = gpus
      .map((gpu, position) => ({ gpu, position }))
      .filter(({ gpu }) => !leftAlone.has(gpu.pciBusId));
    const byAddress = untouched.length > 0 || (this.touches.afterHang && gpus.length >= session.count());
    const found = byAddress ? session.findByPci(awake) : session.findAll(gpus);
    if (found.length === 0 && untouched.length === 0) {
      throw failure('no_gpus', 'NVML lists no GPU');
    }
    const devices = found.flatMap((place) => ('device' in place ? [place.device] : []));
    const { answered, down } = session.read(devices);
    const readings = [...answered.map(({ gpu }) => gpu), ...down];
    for (const reading of readings) this.remember(reading);
    const taken = new Set(readings.map(({ uuid }) => uuid));
    // The driver may show fewer GPUs than the bus has (a container that was given some): then no place tells an address.
    const placesOnBus = found.length === gpus.length ? gpus : [];
    const lost = found.flatMap((place) => ('down' in place ? [this.down(place, placesOnBus, taken)] : []));
    const isIdle = answered.length === found.length && answered.every((device) => device.isIdle);
    const isWhole = !untouched.some(({ condition }) => condition === 'hung');
    if (isIdle && isWhole && this.now() >= this.noRestBeforeSeconds && this.maySleep(awake, devices))
      this.beginRest(readings);
    return this.reading(
      inOrder([...readings, ...lost, ...untouched]),
      answered.flatMap(({ unparsed }) => unparsed),
      [...answered.flatMap(({ unsupported }) => unsupported), ...session.events.unsupported()],
    );
  }

  private maySleep(awake: readonly { readonly gpu: PciGpu }[], devices: readonly NvmlDevice[]): boolean {
    const managed = new Set(awake.flatMap(({ gpu }) => (gpu.powerManaged === true ? [gpu.pciBusId] : [])));
    return (
      devices.length > 0 && devices.every(({ pciBusId }) => pciBusId !== undefined && managed.has(pciBusId))
    );
  }

  private beginRest(readings: readonly GpuReading[]): void {
    this.end();
    this.rest = {
      untilSeconds: this.now() + REST_SECONDS,
      readings: readings.map(({ gpu, uuid, facts }) => ({ gpu, uuid, facts, condition: 'up', points: [] })),
      asleep: new Set(),
    };
  }

  /** The GPUs that are awake and left alone, as long as that lasts. */
  private resting(gpus: readonly PciGpu[]): GpuReading[] | undefined {
    const { rest } = this;
    if (rest === undefined) return undefined;
    for (const { pciBusId, suspended } of gpus) if (suspended) rest.asleep.add(pciBusId);
    const isUsed = gpus.some(({ pciBusId, suspended }) => !suspended && rest.asleep.has(pciBusId));
    const isOther = gpus.some(({ suspended, powerManaged }) => !suspended && powerManaged !== true);
    const isOver = this.now() >= rest.untilSeconds;
    if (isUsed || isOther || isOver) {
      if (isOver && rest.asleep.size === 0) this.noRestBeforeSeconds = this.now() + NEXT_REST_SECONDS;
      this.rest = undefined;
      return undefined;
    }
    return rest.readings.filter(
      ({ facts }) => facts.pciBusId === undefined || !rest.asleep.has(facts.pciBusId),
    );
  }

  private remember({ gpu, uuid, facts }: GpuReading): void {
    if (facts.pciBusId !== undefined) this.identities.set(facts.pciBusId, { gpu, uuid, facts });
  }

  /** None where it would be all of them: a driver that is stuck as a whole is asked until it answers. */
  private leftOut(awake: readonly PciGpu[]): readonly PciGpu[] {
    const leftOut = awake.filter(({ pciBusId }) => this.touches.isLeftOut(pciBusId));
    return leftOut.length === awake.length ? [] : leftOut;
  }

  private untouched(
    { pciBusId }: PciGpu,
    position: number,
    condition: Extract<GpuReading['condition'], 'suspended' | 'hung'>,
  ): GpuReading {
    return { ...this.identity(pciBusId, position), condition, points: [] };
  }

  private identity(pciBusId: string, position: number): Identity {
    const facts: GpuFacts = { vendor: 'nvidia', pciBusId };
    return this.identities.get(pciBusId) ?? { gpu: String(position), uuid: pciBusId, facts };
  }

  /** A GPU without a handle tells nothing of itself: it is the one that is known at its place, or on the bus. */
  private down(
    { down, position, pciBusId }: Extract<FoundDevice, { down: unknown }>,
    gpus: readonly PciGpu[],
    taken: ReadonlySet<string>,
  ): GpuReading {
    const known = [...this.identities.values()].find(
      (identity) =>
        !taken.has(identity.uuid) &&
        (pciBusId === undefined ? identity.gpu === String(position) : identity.facts.pciBusId === pciBusId),
    );
    const onBus = pciBusId ?? gpus[position]?.pciBusId;
    const identity: Identity =
      known ??
      (onBus === undefined
        ? { gpu: String(position), uuid: `nvidia-${String(position)}`, facts: { vendor: 'nvidia' } }
        : this.identity(onBus, position));
    return { ...identity, condition: down, points: [] };
  }

  /** For each device that is awake; one that does not answer is told of by the next reading. */
  private between<T>(take: (device: NvmlDevice) => readonly T[]): T[] {
    const { session } = this;
    if (session === undefined) return [];
    const all: T[] = [];
    for (const device of session.openDevices) {
      if (device.pciBusId !== undefined && this.asleep.has(device.pciBusId)) continue;
      this.touches.touching(device.pciBusId);
      try {
        all.push(...take(device));
      } catch (error) {
        if (error instanceof GpuDown) session.forget(device);
        else {
          this.end();
          break;
        }
      }
    }
    this.touches.touching(undefined);
    return all;
  }

  private end(): void {
    this.session?.close();
    this.session = undefined;
  }

  private reading(
    gpus: readonly GpuReading[],
    unparsed: readonly UnparsedValue[] = [],
    unsupported: readonly UnsupportedReading[] = [],
  ): BackendReading {
    const once = new Map(unsupported.map((reading) => [`${reading.field} ${reading.why}`, reading]));
    return { backend: this.name, ...this.versions, gpus, unparsed, unsupported: [...once.values()] };
  }
}

function inOrder(gpus: readonly GpuReading[]): GpuReading[] {
  return [...gpus].sort((a, b) => Number(a.gpu) - Number(b.gpu));
}
