import type { MetricFamily } from './families.ts';

/** A family that did not fit. */
export interface DroppedFamily {
  readonly name: string;
  /** How many series it would have had. */
  readonly series: number;
}

export interface GuardedFamilies {
  /** In the order given. */
  readonly families: readonly MetricFamily[];
  /** Largest first. */
  readonly dropped: readonly DroppedFamily[];
}

/** Told of what one source lost: `source` as in `collector`, a number of series. */
export type CountDroppedSeries = (source: string, reason: 'budget', series: number) => void;

/**
 * Holds one source to its budget of series. Over it, the largest families are dropped whole until the rest fits (of
 * equals the one whose name comes first), so that what is left is complete, and the same from scrape to scrape.
 */
export function guardCardinality(
  source: string,
  families: readonly MetricFamily[],
  maxSeries: number,
  countDropped: CountDroppedSeries,
): GuardedFamilies {
  const sizes = families.map((family) => ({ family, name: family.name, series: seriesCount(family) }));
  let total = sizes.reduce((sum, { series }) => sum + series, 0);
  if (total <= maxSeries) return { families, dropped: [] };
  const dropped = new Set<MetricFamily>();
  const report: DroppedFamily[] = [];
  for (const { family, name, series } of sizes.toSorted(bySizeThenName)) {
    if (total <= maxSeries || series === 0) break;
    dropped.add(family);
    report.push({ name, series });
    total -= series;
  }
  countDropped(
    source,
    'budget',
    report.reduce((sum, { series }) => sum + series, 0),
  );
  return { families: families.filter((family) => !dropped.has(family)), dropped: report };
}

/** How many series Prometheus stores for a family: each bucket, quantile, sum and count is one. */
export function seriesCount(family: MetricFamily): number {
  switch (family.type) {
    case 'histogram':
    case 'gaugehistogram':
      return family.points.reduce((sum, point) => sum + point.bounds.length + totals(point), 0);
    case 'summary':
      return family.points.reduce((sum, point) => sum + point.quantiles.length + totals(point), 0);
    default:
      return family.points.length;
  }
}

function totals({ sum, count }: { readonly sum?: number; readonly count?: number }): number {
  return (sum === undefined ? 0 : 1) + (count === undefined ? 0 : 1);
}

interface Sized {
  readonly name: string;
  readonly series: number;
}

function bySizeThenName(left: Sized, right: Sized): number {
  if (left.series !== right.series) return right.series - left.series;
  return left.name < right.name ? -1 : left.name > right.name ? 1 : 0;
}
