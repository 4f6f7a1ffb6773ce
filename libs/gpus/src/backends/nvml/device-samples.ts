import { GpuPoints } from '../../gpu-points.ts';
import type { GpuSample, SampleKind, UnparsedValue } from '../../reading.ts';
import type { DeviceCalls } from './device-calls.ts';
import { decodeValue } from './field-values.ts';
import { milli, u64At, unlessZero } from './quantities.ts';
import { INSUFFICIENT_SIZE, NOT_FOUND, SUCCESS } from './return-codes.ts';

/** nvmlSample_t */
const SAMPLE_BYTES = 16;
/** The driver keeps samples for longer than this, so that asking more often gives no more of them. */
const BUFFERED_SECONDS = 1;
/** What is older when the driver is asked for the first time belongs to nobody's window. */
const HISTORY_MICROSECONDS = 1_000_000n;
/** A time further from now than this is no time (NVML's clock is that of the CPU). */
const PLAUSIBLE_SECONDS = 60;
/**
 * Samples so far ahead of now are of before the clock was set back, where the driver's clock was known to be ours. (What is
 * newest in a buffer is younger than this.)
 */
const AHEAD_SECONDS = 2;
/** Bound on what one call takes; drivers keep about a hundred. */
const MAX_SAMPLES = 4096;

/** Of one kind: NVML's sample type, the metric whose range its values have, and its newest sample. */
interface Series {
  readonly kind: SampleKind;
  readonly type: number;
  readonly metric: 'gpu_utilization_ratio' | 'gpu_power_watts';
  room: number;
  seenMicroseconds: bigint;
  /** A newest sample was of about the time at which it was fetched. */
  isOurClock: boolean;
  /** Monotonic. */
  askedSeconds: number;
}

/** Quick samples of one device: those that the driver has taken by itself, or where it takes none, what it says now. */
export class DeviceSamples {
  private readonly calls: DeviceCalls;
  private readonly uuid: string;
  private unparsed: UnparsedValue[] = [];
  private readonly series: readonly Series[] = [
    { kind: 'utilization', type: 1, metric: 'gpu_utilization_ratio', ...unasked() },
    { kind: 'power', type: 0, metric: 'gpu_power_watts', ...unasked() },
  ];

  constructor(calls: DeviceCalls, uuid: string) {
    this.calls = calls;
    this.uuid = uuid;
  }

  /**
   * What is new since the last call. The driver's own samples are fetched once a second, whatever the pace of calls.
   * @param isSplit by MIG: such a device has no utilization
   * @throws GpuDown, SessionLost
   */
  take(nowSeconds: number, unixSeconds: number, isSplit: boolean): GpuSample[] {
    return this.series.flatMap((series) => {
      if (isSplit && series.kind === 'utilization') return [];
      if (nowSeconds - series.askedSeconds < BUFFERED_SECONDS) return [];
      forgetFuture(series, unixSeconds);
      const fetched = this.fetch(series, unixSeconds);
      if (fetched === undefined) return this.poll(series, unixSeconds);
      series.askedSeconds = nowSeconds;
      return fetched;
    });
  }

  /** Values that made no sense since the last call. */
  takeUnparsed(): UnparsedValue[] {
    const { unparsed } = this;
    this.unparsed = [];
    return unparsed;
  }

  /** Undefined where the driver takes no samples. */
  private fetch(series: Series, unixSeconds: number): GpuSample[] | undefined {
    const name = 'nvmlDeviceGetSamples';
    const valueType = Buffer.alloc(4);
    const count = Buffer.alloc(4);
    const ask = (room: number, samples: Buffer | null): number => {
      count.writeUInt32LE(room);
      return this.calls.call(
        name,
        String(series.type),
        series.type,
        series.seenMicroseconds,
        valueType,
        count,
        samples,
      );
    };
    if (series.room === 0) {
      const code = ask(0, null);
      if (code === NOT_FOUND) return [];
      if (code !== SUCCESS && code !== INSUFFICIENT_SIZE) return undefined;
      series.room = Math.min(count.readUInt32LE(0), MAX_SAMPLES);
      if (series.room === 0) return [];
    }
    const samples = Buffer.alloc(SAMPLE_BYTES * series.room);
    const code = ask(series.room, samples);
    if (code === INSUFFICIENT_SIZE) series.room = 0;
    if (code === INSUFFICIENT_SIZE || code === NOT_FOUND) return [];
    if (code !== SUCCESS) return undefined;
    const taken = Math.min(count.readUInt32LE(0), series.room);
    return this.decode(series, samples, taken, valueType.readInt32LE(0), unixSeconds);
  }

  private decode(
    series: Series,
    samples: Buffer,
    count: number,
    type: number,
    unixSeconds: number,
  ): GpuSample[] {
    const before = series.seenMicroseconds;
    const nowMicroseconds = BigInt(Math.floor(unixSeconds * 1e6));
    const oldest = before === 0n ? nowMicroseconds - HISTORY_MICROSECONDS : before;
    const taken: GpuSample[] = [];
    for (let index = 0; index < count; index++) {
      const at = index * SAMPLE_BYTES;
      const microseconds = samples.readBigUInt64LE(at);
      // Rows of a buffer that is not full yet have no time.
      if (microseconds === 0n || microseconds <= before) continue;
      const sampledSeconds = u64At(samples, at) / 1e6;
      if (series.isOurClock && sampledSeconds > unixSeconds + AHEAD_SECONDS) continue;
      if (microseconds > series.seenMicroseconds) series.seenMicroseconds = microseconds;
      const isPlausible = Math.abs(unixSeconds - sampledSeconds) <= PLAUSIBLE_SECONDS;
      if (isPlausible && microseconds <= oldest) continue;
      const value = decodeValue(samples, at + 8, type);
      taken.push(
        ...this.sample(series, value, 'nvmlDeviceGetSamples', isPlausible ? sampledSeconds : unixSeconds),
      );
    }
    const newestSeconds = Number(series.seenMicroseconds) / 1e6;
    series.isOurClock ||= Math.abs(newestSeconds - unixSeconds) <= AHEAD_SECONDS;
    return taken;
  }

  private poll(series: Series, unixSeconds: number): GpuSample[] {
    if (series.kind === 'power') {
      const milliwatts = this.calls.uint('nvmlDeviceGetPowerUsage');
      return this.sample(series, milliwatts, 'nvmlDeviceGetPowerUsage', unixSeconds);
    }
    const rates = this.calls.struct('nvmlDeviceGetUtilizationRates', { bytes: 8 });
    return this.sample(series, rates?.readUInt32LE(0), 'nvmlDeviceGetUtilizationRates', unixSeconds);
  }

  /** @param value in percent, or milliwatts */
  private sample(series: Series, value: number | undefined, field: string, unixSeconds: number): GpuSample[] {
    const gate = new GpuPoints();
    const scaled =
      series.kind === 'power' ? milli(unlessZero(value)) : value === undefined ? undefined : value / 100;
    gate.put(series.metric, scaled, field);
    if (this.unparsed.length < MAX_SAMPLES) this.unparsed.push(...gate.unparsed);
    return gate.points.map((point) => ({
      uuid: this.uuid,
      kind: series.kind,
      unixSeconds,
      value: point.value,
    }));
  }
}

function unasked(): Pick<Series, 'room' | 'seenMicroseconds' | 'isOurClock' | 'askedSeconds'> {
  return { room: 0, seenMicroseconds: 0n, isOurClock: false, askedSeconds: -Infinity };
}

/** Or after the clock was set back none would be new until it is what it was. */
function forgetFuture(series: Series, unixSeconds: number): void {
  const seenSeconds = Number(series.seenMicroseconds) / 1e6;
  if (series.isOurClock && seenSeconds > unixSeconds + AHEAD_SECONDS) series.seenMicroseconds = 0n;
}
