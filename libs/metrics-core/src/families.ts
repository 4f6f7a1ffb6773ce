/**
 * The model every part of the monitor speaks: families of points, as values.
 *
 * Families are built anew for each scrape and forgotten after it, so a server or GPU that is gone leaves no series
 * behind. An unknown value is a point that is not there: never 0, NaN or -1.
 */

/** Label names to values. Order is the order of appearance; equality ignores it. A frozen set is printed faster. */
export type Labels = Readonly<Record<string, string>>;

/** One value of a counter, gauge, info, stateset or unknown family. */
export interface ScalarPoint {
  readonly labels: Labels;
  readonly value: number;
  /** Only when the source wrote one; ours are written without, so that Prometheus stamps them. */
  readonly timestampSeconds?: number;
}

/**
 * One histogram: `bounds` ascending and ending in +Infinity, `counts` cumulative, of equal length.
 * Bounds are the source's own: they are never re-bucketed.
 */
export interface HistogramPoint {
  readonly labels: Labels;
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
  readonly sum?: number;
  readonly count?: number;
  readonly timestampSeconds?: number;
}

/** One summary: `quantiles` (0 to 1, ascending) and their `values`, of equal length. */
export interface SummaryPoint {
  readonly labels: Labels;
  readonly quantiles: readonly number[];
  readonly values: readonly number[];
  readonly sum?: number;
  readonly count?: number;
  readonly timestampSeconds?: number;
}

export type ScalarType = 'counter' | 'gauge' | 'info' | 'stateset' | 'unknown';
export type HistogramType = 'histogram' | 'gaugehistogram';
export type MetricType = ScalarType | HistogramType | 'summary';

interface FamilyHead {
  /**
   * The name as Prometheus stores it: a counter's ends in `_total` (unless its source left that out) and an info's in
   * `_info`, in both formats; a histogram's is the base name without `_bucket`, `_sum`, `_count`.
   */
  readonly name: string;
  readonly help: string;
  /** OpenMetrics unit, which then ends the name: `seconds`, `bytes`, `ratio`, … */
  readonly unit?: string;
}

export interface ScalarFamily extends FamilyHead {
  readonly type: ScalarType;
  readonly points: readonly ScalarPoint[];
}

export interface HistogramFamily extends FamilyHead {
  readonly type: HistogramType;
  readonly points: readonly HistogramPoint[];
}

export interface SummaryFamily extends FamilyHead {
  readonly type: 'summary';
  readonly points: readonly SummaryPoint[];
}

export type MetricFamily = ScalarFamily | HistogramFamily | SummaryFamily;
