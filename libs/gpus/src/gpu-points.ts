import type { Labels } from '@llm-monitor/metrics-core';

import { gpuMetrics, RANGES, type GpuMetric, type GpuMetricName } from './gpu-metrics.ts';
import type { GpuPoint, GpuReading, UnparsedValue } from './reading.ts';

/**
 * The one gate through which every figure of a GPU goes, whatever read it: what lies outside of its metric's range is a
 * sentinel or nonsense, so it becomes an unparsed value and no point.
 */
export class GpuPoints {
  readonly points: GpuPoint[] = [];
  readonly unparsed: UnparsedValue[] = [];

  /**
   * @param value in the metric's base unit; undefined where the GPU does not say
   * @param field the native name, for the count of unparsed values
   */
  put(metric: GpuMetricName, value: number | undefined, field: string, labels?: Labels): void {
    if (value === undefined) return;
    const { range }: GpuMetric = gpuMetrics[metric];
    const [lowest, highest] = RANGES[range];
    if (value >= lowest && value <= highest) {
      this.points.push(labels === undefined ? { metric, value } : { metric, value, labels });
    } else {
      this.unparsed.push({ field, value: String(value) });
    }
  }

  /** A value that is there and cannot be understood. */
  refuse(field: string, value: string): void {
    this.unparsed.push({ field, value: value.slice(0, 64) });
  }
}

/** All points of a reading as its backend gave it, those that are read seldom among them. */
export function allPoints({ points, seldomPoints = [] }: GpuReading): readonly GpuPoint[] {
  return seldomPoints === true ? points : [...points, ...seldomPoints];
}
