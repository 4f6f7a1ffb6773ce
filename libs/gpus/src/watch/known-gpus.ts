import type { BackendName, DownReason, GpuPoint, GpuReading } from '../reading.ts';

/** A GPU as it was last seen, and when. */
export interface KnownGpu {
  readonly backend: BackendName;
  readonly reading: GpuReading;
  /** Monotonic. */
  readonly seenSeconds: number;
}

/**
 * The GPUs of one backend that were ever seen: one that is no longer listed stays known, as `vanished`, for a GPU that
 * fell off the bus is the one to be told of (dcgm-exporter#348).
 */
export class KnownGpus {
  private readonly gpus = new Map<string, KnownGpu>();
  private readonly seldomPoints = new Map<string, readonly GpuPoint[]>();
  private readonly backend: BackendName;

  constructor(backend: BackendName) {
    this.backend = backend;
  }

  /** Takes over a reading of all GPUs. */
  see(given: readonly GpuReading[], nowSeconds: number): void {
    const readings = given.map((reading) => this.recognize(reading));
    const listed = new Set(readings.map(({ uuid }) => uuid));
    const addresses = new Set(readings.flatMap(({ facts }) => facts.pciBusId ?? []));
    for (const [uuid, known] of this.gpus) {
      if (listed.has(uuid)) continue;
      const { pciBusId } = known.reading.facts;
      // Known by another name meanwhile: one that slept, or was lost, at first and could not tell its UUID.
      if (pciBusId !== undefined && addresses.has(pciBusId)) this.gpus.delete(uuid);
      else if (known.reading.condition !== 'vanished') {
        this.gpus.set(uuid, { ...known, reading: without(known.reading, 'vanished') });
      }
    }
    for (const reading of readings) {
      this.gpus.set(reading.uuid, {
        backend: this.backend,
        reading: this.withFacts(this.withSeldomPoints(reading)),
        seenSeconds: nowSeconds,
      });
    }
  }

  /** All GPUs; `maximumAgeSeconds` after it was seen one has no points and is unreachable. */
  list(nowSeconds: number, maximumAgeSeconds: number): KnownGpu[] {
    return [...this.gpus.values()].map((known) =>
      nowSeconds - known.seenSeconds > maximumAgeSeconds && isThere(known.reading)
        ? { ...known, reading: without(known.reading, 'driver_unreachable') }
        : known,
    );
  }

  /** A reader that was started anew knows a GPU that is down by its address only: it is the one that was there before. */
  private recognize(reading: GpuReading): GpuReading {
    const { uuid, condition, facts } = reading;
    if (condition === 'up' || uuid !== facts.pciBusId) return reading;
    const before = [...this.gpus.values()].find((known) => known.reading.facts.pciBusId === uuid)?.reading;
    return before === undefined ? reading : { ...reading, gpu: before.gpu, uuid: before.uuid };
  }

  /** The points that were sent once, among those of now. */
  private withSeldomPoints({ seldomPoints, ...reading }: GpuReading): GpuReading {
    if (seldomPoints === undefined) this.seldomPoints.delete(reading.uuid);
    else if (seldomPoints !== true) this.seldomPoints.set(reading.uuid, seldomPoints);
    const seldom = this.seldomPoints.get(reading.uuid);
    return seldom === undefined ? reading : { ...reading, points: [...reading.points, ...seldom] };
  }

  /** A GPU that does not answer tells no facts; they are still what they were. */
  private withFacts(reading: GpuReading): GpuReading {
    const before = this.gpus.get(reading.uuid)?.reading.facts;
    return before === undefined || reading.condition === 'up'
      ? reading
      : { ...reading, facts: { ...before, ...reading.facts } };
  }
}

function isThere({ condition }: GpuReading): boolean {
  return condition === 'up' || condition === 'suspended';
}

/** One list, by which it is known that nothing of it has changed. */
const NO_POINTS: readonly GpuPoint[] = [];

function without({ gpu, uuid, facts }: GpuReading, condition: DownReason): GpuReading {
  return { gpu, uuid, facts, condition, points: NO_POINTS };
}
