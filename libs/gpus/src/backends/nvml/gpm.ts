import type { GpuMetricName } from '../../gpu-metrics.ts';
import type { GpuPoints } from '../../gpu-points.ts';
import type { DeviceCalls } from './device-calls.ts';
import type { NvmlLibrary } from './nvml-library.ts';
import { SUCCESS } from './return-codes.ts';

/** nvmlGpmMetricId_t, in percent. */
const GPM_METRICS: Readonly<Record<number, GpuMetricName>> = {
  2: 'gpu_sm_active_ratio',
  3: 'gpu_sm_occupancy_ratio',
  5: 'gpu_tensor_active_ratio',
  10: 'gpu_dram_active_ratio',
};
const SM_ACTIVE = 2;

/** nvmlGpmMetricsGet_t, with the largest array that any header had: its version never said which. */
const REQUEST_BYTES = 13_344;
const REQUEST_VERSION = 1;
const SAMPLES_AT = 8;
const METRICS_AT = 24;
/** nvmlGpmMetric_t */
const METRIC_BYTES = 40;

/**
 * GPU performance monitoring (Hopper and later): what happened between two snapshots of the hardware's counters. Keeps
 * the last snapshot of the device, or of each GPU instance while it is split.
 */
export class Gpm {
  private readonly library: NvmlLibrary;
  private readonly calls: DeviceCalls;
  /** Last snapshot by GPU instance; that of the whole device has none. */
  private readonly last = new Map<number | undefined, bigint>();

  constructor(library: NvmlLibrary, calls: DeviceCalls) {
    this.library = library;
    this.calls = calls;
  }

  /** Activity of the whole device since the last call; nothing in the first, nor in the first after it was split. */
  putDevice(points: GpuPoints): void {
    for (const instance of this.last.keys()) if (instance !== undefined) this.forget(instance);
    if (!this.isSupported()) return;
    const values = this.since(undefined, Object.keys(GPM_METRICS).map(Number));
    for (const [id, percent] of values) {
      const metric = GPM_METRICS[id];
      if (metric !== undefined) points.put(metric, percent / 100, 'nvmlGpmMetricsGet');
    }
  }

  /** The same of each GPU instance of a device that is split, which has no other sign of its load. */
  putInstances(points: GpuPoints, instances: readonly number[]): void {
    for (const instance of this.last.keys()) {
      if (instance === undefined || !instances.includes(instance)) this.forget(instance);
    }
    if (!this.isSupported()) return;
    for (const instance of instances) {
      const percent = this.since(instance, [SM_ACTIVE]).get(SM_ACTIVE);
      const ratio = percent === undefined ? undefined : percent / 100;
      points.put('gpu_mig_sm_active_ratio', ratio, 'nvmlGpmMetricsGet', {
        gpu_instance_id: String(instance),
      });
    }
  }

  /** Gives the snapshots back. */
  close(): void {
    for (const instance of this.last.keys()) this.forget(instance);
  }

  private isSupported(): boolean {
    const support = this.calls.struct('nvmlGpmQueryDeviceSupport', { bytes: 8, version: 1 });
    return support?.readUInt32LE(4) === 1;
  }

  private since(instance: number | undefined, ids: readonly number[]): ReadonlyMap<number, number> {
    const now = this.snapshot(instance);
    if (now === undefined) return new Map();
    const before = this.last.get(instance);
    this.last.set(instance, now);
    if (before === undefined) return new Map();
    try {
      return this.compare(before, now, ids);
    } finally {
      this.free(before);
    }
  }

  private snapshot(instance: number | undefined): bigint | undefined {
    const out = Buffer.alloc(8);
    const allocated = this.library.call('nvmlGpmSampleAlloc', out);
    this.calls.settle('nvmlGpmSampleAlloc', 'nvmlGpmSampleAlloc', allocated);
    if (allocated !== SUCCESS) return undefined;
    const sample = out.readBigUInt64LE(0);
    let taken = false;
    try {
      const code =
        instance === undefined
          ? this.calls.call('nvmlGpmSampleGet', '', sample)
          : this.calls.call('nvmlGpmMigSampleGet', String(instance), instance, sample);
      taken = code === SUCCESS;
    } finally {
      if (!taken) this.free(sample);
    }
    return taken ? sample : undefined;
  }

  private compare(before: bigint, now: bigint, ids: readonly number[]): ReadonlyMap<number, number> {
    const request = Buffer.alloc(REQUEST_BYTES);
    request.writeUInt32LE(REQUEST_VERSION, 0);
    request.writeUInt32LE(ids.length, 4);
    request.writeBigUInt64LE(before, SAMPLES_AT);
    request.writeBigUInt64LE(now, SAMPLES_AT + 8);
    ids.forEach((id, index) => request.writeUInt32LE(id, METRICS_AT + index * METRIC_BYTES));
    const code = this.library.call('nvmlGpmMetricsGet', request);
    this.calls.settle('nvmlGpmMetricsGet', 'nvmlGpmMetricsGet', code);
    if (code !== SUCCESS) return new Map();
    return new Map(
      ids.flatMap((id, index): [number, number][] => {
        const at = METRICS_AT + index * METRIC_BYTES;
        return request.readInt32LE(at + 4) === SUCCESS ? [[id, request.readDoubleLE(at + 8)]] : [];
      }),
    );
  }

  private forget(instance: number | undefined): void {
    const sample = this.last.get(instance);
    if (sample !== undefined) this.free(sample);
    this.last.delete(instance);
  }

  private free(sample: bigint): void {
    this.library.call('nvmlGpmSampleFree', sample);
  }
}
