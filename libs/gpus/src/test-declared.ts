import type { MetricFamily } from '@llm-monitor/metrics-core';

import { exporterMetrics, SCOPE_LABELS, type ExporterMetric } from './exporter-metrics.ts';
import { gpuMetrics, type GpuMetric } from './gpu-metrics.ts';
import type { GpuPoint } from './reading.ts';

/** A point whose labels are not those that its metric declares, as a sentence; for tests of what gives points. */
export function misdeclaredPoints(points: readonly GpuPoint[]): string[] {
  return points.flatMap(({ metric, labels = {} }) => {
    const declared: readonly string[] = gpuMetrics[metric].labels;
    return sameNames(Object.keys(labels), declared)
      ? []
      : [misdeclared(metric, Object.keys(labels), declared)];
  });
}

/** A series whose labels are not those that its metric declares, as a sentence; facts of an info may be absent. */
export function misdeclaredSeries(families: readonly MetricFamily[]): string[] {
  return families.flatMap(({ name, type, points }) => {
    const declared = declaredLabels(name);
    return points.flatMap(({ labels }) => {
      const names = Object.keys(labels);
      const isRight =
        type === 'info' ? names.every((label) => declared.includes(label)) : sameNames(names, declared);
      return isRight ? [] : [misdeclared(name, names, declared)];
    });
  });
}

function declaredLabels(name: string): readonly string[] {
  const exporter = Object.entries<ExporterMetric>(exporterMetrics).find(([known]) => known === name)?.[1];
  if (exporter !== undefined) return [...SCOPE_LABELS[exporter.of], ...exporter.labels];
  const gpu = Object.entries<GpuMetric>(gpuMetrics).find(([known]) => known === name)?.[1];
  return gpu === undefined ? [] : [...SCOPE_LABELS.gpu, ...gpu.labels];
}

function sameNames(left: readonly string[], right: readonly string[]): boolean {
  return left.toSorted().join() === right.toSorted().join();
}

function misdeclared(name: string, labels: readonly string[], declared: readonly string[]): string {
  return `${name} has the labels ${labels.join(', ') || 'none'}, and declares ${declared.join(', ') || 'none'}`;
}
