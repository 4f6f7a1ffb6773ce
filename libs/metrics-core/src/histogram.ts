import type { HistogramPoint, Labels } from './families.ts';

/** Differences below this share of a count are rounding, as Prometheus has it (`smallDeltaTolerance`). */
const ROUNDING_SHARE = 1e-12;

/**
 * The value below which the share `q` of the observations lies, computed as Prometheus' `histogram_quantile` does
 * (promql/quantile.go, bucketQuantile): linear within a bucket, from 0 in the lowest one when its bound is positive,
 * and the highest finite bound when the quantile falls into the +Inf bucket. Undefined where Prometheus has NaN;
 * -Infinity and +Infinity for a `q` below 0 and above 1.
 */
export function quantile(q: number, { bounds, counts: raw }: HistogramPoint): number | undefined {
  if (Number.isNaN(q)) return undefined;
  if (q < 0) return -Infinity;
  if (q > 1) return Infinity;
  const counts = monotoneCounts(raw);
  const last = bounds.length - 1;
  const total = counts[last];
  if (bounds[last] !== Infinity || last < 1 || total === undefined || !(total > 0)) return undefined;
  const rank = q * total;
  const found = counts.findIndex((count) => count >= rank);
  if (found < 0 || found >= last) return bounds[last - 1];
  const upper = bounds[found] ?? NaN;
  if (found === 0 && upper <= 0) return upper;
  const lower = found === 0 ? 0 : (bounds[found - 1] ?? NaN);
  const below = found === 0 ? 0 : (counts[found - 1] ?? NaN);
  const within = (counts[found] ?? NaN) - below;
  return known(lower + (upper - lower) * ((rank - below) / within));
}

/**
 * The share (0 to 1) of the observations at or below a bound, linear within a bucket, as Prometheus'
 * `histogram_fraction` does it. Observations above the highest finite bound count as above every bound but +Infinity.
 * Undefined without observations.
 */
export function shareBelow(bound: number, { bounds, counts: raw }: HistogramPoint): number | undefined {
  const counts = monotoneCounts(raw);
  const total = counts.at(-1);
  if (Number.isNaN(bound) || bounds.at(-1) !== Infinity || total === undefined || !(total > 0))
    return undefined;
  const found = bounds.findIndex((upper) => upper >= bound);
  const upper = bounds[found] ?? Infinity;
  if (upper === bound) return known((counts[found] ?? NaN) / total);
  const below = found === 0 ? 0 : (counts[found - 1] ?? NaN);
  if (upper === Infinity) return known(below / total);
  const lower = found === 0 ? Math.min(0, upper) : (bounds[found - 1] ?? NaN);
  if (bound <= lower) return known(below / total);
  const within = (counts[found] ?? NaN) - below;
  return known((below + within * ((bound - lower) / (upper - lower))) / total);
}

/** The mean of the observations, in their own unit; undefined without observations or without a sum. */
export function meanOf(point: HistogramPoint): number | undefined {
  const count = observationCount(point);
  return point.sum === undefined || count === undefined || !(count > 0)
    ? undefined
    : known(point.sum / count);
}

/** How many observations a histogram has: its count, else its +Inf bucket. */
export function observationCount({ count, counts }: HistogramPoint): number | undefined {
  return count ?? counts.at(-1);
}

/**
 * One histogram of all observations of several. Undefined when there is none, or when their bounds differ: buckets are
 * never made up. A sum or count that one of them lacks is lacking in the whole.
 */
export function mergeHistograms(
  points: readonly HistogramPoint[],
  labels: Labels,
): HistogramPoint | undefined {
  const [first, ...others] = points;
  if (first === undefined || !others.every((other) => sameBounds(first, other))) return undefined;
  const counts = first.counts.map((_, index) => total(points.map((point) => point.counts[index])) ?? NaN);
  return withTotals(
    { labels, bounds: first.bounds, counts },
    total(points.map((point) => point.sum)),
    total(points.map((point) => point.count)),
  );
}

/**
 * What was observed between two readings of one histogram. After a reset (a count that fell) it is all of `later`, as
 * for any counter. Undefined when the bounds differ.
 */
export function differenceOfHistograms(
  later: HistogramPoint,
  earlier: HistogramPoint,
): HistogramPoint | undefined {
  if (!sameBounds(later, earlier)) return undefined;
  const fell = (before: number | undefined, now: number | undefined): boolean =>
    before !== undefined && now !== undefined && now < before;
  if (fell(earlier.count, later.count)) return later;
  if (later.counts.some((count, index) => fell(earlier.counts[index], count))) return later;
  const counts = later.counts.map((count, index) => count - (earlier.counts[index] ?? NaN));
  return withTotals(
    { labels: later.labels, bounds: later.bounds, counts },
    difference(later.sum, earlier.sum),
    difference(later.count, earlier.count),
  );
}

function withTotals(
  point: Pick<HistogramPoint, 'labels' | 'bounds' | 'counts'>,
  sum: number | undefined,
  count: number | undefined,
): HistogramPoint {
  return { ...point, ...(sum === undefined ? {} : { sum }), ...(count === undefined ? {} : { count }) };
}

/** Cumulative counts that never fall: the highest so far stands in, as Prometheus does for counts read at odds. */
function monotoneCounts(counts: readonly number[]): number[] {
  let highest = counts[0] ?? 0;
  return counts.map((count) => {
    const isRounding = Math.abs(count - highest) <= ROUNDING_SHARE * (Math.abs(count) + Math.abs(highest));
    if (count > highest && !isRounding) highest = count;
    return highest;
  });
}

function sameBounds(left: HistogramPoint, right: HistogramPoint): boolean {
  if (left.bounds === right.bounds) return true;
  return (
    left.bounds.length === right.bounds.length &&
    left.bounds.every((bound, index) => bound === right.bounds[index])
  );
}

function total(values: readonly (number | undefined)[]): number | undefined {
  return values.reduce<number | undefined>(
    (sum, value) => (sum === undefined || value === undefined ? undefined : sum + value),
    0,
  );
}

function difference(later: number | undefined, earlier: number | undefined): number | undefined {
  return later === undefined || earlier === undefined ? undefined : later - earlier;
}

function known(value: number): number | undefined {
  return Number.isNaN(value) ? undefined : value;
}
