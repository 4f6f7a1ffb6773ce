import {
  differenceOfHistograms,
  mergeHistograms,
  quantile,
  type HistogramPoint,
} from '@llm-monitor/metrics-core';

export interface Quantile {
  readonly seconds: number;
  /** It lies beyond the last finite bound: it is longer than what is said. */
  readonly isFloor: boolean;
}

export interface LatencyQuantiles {
  readonly p50: Quantile;
  readonly p95: Quantile;
}

/**
 * Quantiles of what was observed between two readings, over all series (models, replicas) together. A series that was
 * not there at the first reading counts in full, one that started anew from its start. Undefined when nothing was
 * observed, or when the series' bounds differ.
 */
export function windowLatency(
  earlier: readonly HistogramPoint[],
  later: readonly HistogramPoint[],
): LatencyQuantiles | undefined {
  const before = new Map(earlier.map((point) => [keyOf(point), point]));
  return latestLatency(
    later.map((point) => {
      const start = before.get(keyOf(point));
      // Other bounds than before: another engine answers now, and all it has observed is new.
      return start === undefined ? point : (differenceOfHistograms(point, start) ?? point);
    }),
  );
}

/** Quantiles of all that was ever observed, over all series together. */
export function latestLatency(points: readonly HistogramPoint[]): LatencyQuantiles | undefined {
  const all = mergeHistograms(points, {});
  if (all === undefined) return undefined;
  const p50 = quantileOf(0.5, all);
  const p95 = quantileOf(0.95, all);
  return p50 === undefined || p95 === undefined ? undefined : { p50, p95 };
}

function quantileOf(q: number, histogram: HistogramPoint): Quantile | undefined {
  const seconds = quantile(q, histogram);
  const total = histogram.counts.at(-1) ?? 0;
  const finite = histogram.counts.at(-2) ?? 0;
  return seconds === undefined ? undefined : { seconds, isFloor: q * total > finite };
}

function keyOf({ labels }: HistogramPoint): string {
  return JSON.stringify(Object.entries(labels).sort(([one], [other]) => (one < other ? -1 : 1)));
}
