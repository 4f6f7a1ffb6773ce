import type {
  HistogramPoint,
  HistogramType,
  Labels,
  MetricFamily,
  MetricType,
  ScalarPoint,
  ScalarType,
  SummaryPoint,
} from './families.ts';
import type { ParseIssueKind } from './parse-issues.ts';
import { isAscending } from './ascending.ts';

/** Where the samples of one name go. */
export type Route = {
  /** The label that is not one of the series: `le` of a bucket, `quantile` of a summary. */
  readonly aside: '' | 'le' | 'quantile';
  /** Whether the name is the family's own, rather than one with a suffix. */
  readonly own: boolean;
} & (
  | { readonly part: 'value'; readonly family: ScalarBuilder }
  | { readonly part: 'bucket'; readonly family: HistogramBuilder }
  | { readonly part: 'quantile'; readonly family: SummaryBuilder }
  | { readonly part: 'sum' | 'count'; readonly family: HistogramBuilder | SummaryBuilder }
  | { readonly part: 'ignored' | 'misplaced'; readonly family: TypedBuilder }
  | { readonly part: 'untyped'; readonly family: UntypedBuilder }
);

/** What builders tell about what they mend or drop. */
export type ReportIssue = (kind: ParseIssueKind) => void;

/** One line of the text: its number from 1, and where it starts and ends. */
export interface TextLine {
  readonly number: number;
  readonly start: number;
  readonly end: number;
}

interface BuilderHead {
  readonly name: string;
  /** As HELP, TYPE and UNIT call it: differs from `name` for counters and infos of OpenMetrics. */
  readonly declaredName: string;
  /** Where the family was first seen in the text. */
  readonly first: TextLine;
  /** Turns true when samples of another family follow. */
  left: boolean;
  /** Turns true when the family proves to be one of `_created` series. */
  ignored: boolean;
}

export interface ScalarBuilder extends BuilderHead {
  readonly type: ScalarType;
  readonly points: ScalarPoint[];
  /** The label sets of the points, once there are two: most families of a broad exposition have one. */
  series: Set<Labels> | undefined;
}

export interface HistogramBuilder extends BuilderHead {
  readonly type: HistogramType;
  /** Made with the first sample. */
  series: Map<Labels, HistogramDraft> | undefined;
}

export interface SummaryBuilder extends BuilderHead {
  readonly type: 'summary';
  /** Made with the first sample. */
  series: Map<Labels, SummaryDraft> | undefined;
}

/** Samples of a name without TYPE: kept as they are until the family's kind is known. */
export interface UntypedBuilder extends BuilderHead {
  readonly type: 'untyped';
  readonly samples: UntypedSample[];
}

export interface UntypedSample {
  readonly labels: Labels;
  readonly value: number;
  readonly timestampSeconds: number | undefined;
}

/** An empty family of a type, as a TYPE line opens it. */
export function newBuilder(
  type: MetricType,
  name: string,
  declaredName: string,
  first: TextLine,
): TypedBuilder {
  const head = { name, declaredName, first, left: false, ignored: false };
  switch (type) {
    case 'histogram':
    case 'gaugehistogram':
      return { ...head, type, series: undefined };
    case 'summary':
      return { ...head, type, series: undefined };
    default:
      return { ...head, type, points: [], series: undefined };
  }
}

export type TypedBuilder = ScalarBuilder | HistogramBuilder | SummaryBuilder;
export type FamilyBuilder = TypedBuilder | UntypedBuilder;

interface Draft {
  sum: number | undefined;
  count: number | undefined;
  timestampSeconds: number | undefined;
}

export interface HistogramDraft extends Draft {
  readonly labels: Labels;
  readonly bounds: number[];
  readonly counts: number[];
}

export interface SummaryDraft extends Draft {
  readonly labels: Labels;
  readonly quantiles: number[];
  readonly values: number[];
}

/** Notes a series of a family; whether it is the first with these labels. Its point must be stored before the next. */
export function isNewSeries(family: ScalarBuilder, labels: Labels): boolean {
  const [first] = family.points;
  if (first === undefined) return true;
  family.series ??= new Set([first.labels]);
  if (family.series.has(labels)) return false;
  family.series.add(labels);
  return true;
}

export function histogramDraft(family: HistogramBuilder, labels: Labels): HistogramDraft {
  family.series ??= new Map();
  const known = family.series.get(labels);
  if (known !== undefined) return known;
  const draft: HistogramDraft = {
    labels,
    bounds: [],
    counts: [],
    sum: undefined,
    count: undefined,
    timestampSeconds: undefined,
  };
  family.series.set(labels, draft);
  return draft;
}

export function summaryDraft(family: SummaryBuilder, labels: Labels): SummaryDraft {
  family.series ??= new Map();
  const known = family.series.get(labels);
  if (known !== undefined) return known;
  const draft: SummaryDraft = {
    labels,
    quantiles: [],
    values: [],
    sum: undefined,
    count: undefined,
    timestampSeconds: undefined,
  };
  family.series.set(labels, draft);
  return draft;
}

/** The finished family. */
export function finishFamily(
  builder: TypedBuilder,
  help: string,
  unit: string | undefined,
  report: ReportIssue,
): MetricFamily {
  const head = { name: builder.name, help, ...(unit === undefined ? {} : { unit }) };
  switch (builder.type) {
    case 'histogram':
    case 'gaugehistogram':
      return { ...head, type: builder.type, points: finishHistograms(builder, report) };
    case 'summary':
      return { ...head, type: builder.type, points: finishSummaries(builder, report) };
    default:
      return { ...head, type: builder.type, points: builder.points };
  }
}

function finishHistograms(builder: HistogramBuilder, report: ReportIssue): HistogramPoint[] {
  const points: HistogramPoint[] = [];
  let bounds: readonly number[] = [];
  for (const draft of builder.series?.values() ?? []) {
    if (!isAscending(draft.bounds)) sortBuckets(draft, report);
    if (draft.bounds.at(-1) !== Infinity) {
      if (draft.count === undefined) {
        report('histogram_incomplete');
        continue;
      }
      report('infinite_bucket_missing');
      draft.bounds.push(Infinity);
      draft.counts.push(draft.count);
    }
    if (!isMonotone(draft.counts)) report('buckets_not_monotone');
    // Series of one family nearly always share their bounds: then they share the array, too.
    if (!equalNumbers(bounds, draft.bounds)) bounds = draft.bounds;
    points.push(withTotals({ labels: draft.labels, bounds, counts: draft.counts }, draft));
  }
  return points;
}

function finishSummaries(builder: SummaryBuilder, report: ReportIssue): SummaryPoint[] {
  return Array.from(builder.series?.values() ?? [], (draft) => {
    if (!isAscending(draft.quantiles)) {
      const { kept, repeated } = ascendingOrder(draft.quantiles);
      if (repeated > 0) report('duplicate_series');
      reorder(draft.quantiles, kept);
      reorder(draft.values, kept);
    }
    const { labels, quantiles, values } = draft;
    return withTotals({ labels, quantiles, values }, draft);
  });
}

/** The point with those of sum, count and timestamp that the text had. */
function withTotals<Point extends HistogramPoint | SummaryPoint>(
  point: Point & { sum?: number; count?: number; timestampSeconds?: number },
  { sum, count, timestampSeconds }: Draft,
): Point {
  if (sum !== undefined) point.sum = sum;
  if (count !== undefined) point.count = count;
  if (timestampSeconds !== undefined) point.timestampSeconds = timestampSeconds;
  return point;
}

function sortBuckets(draft: HistogramDraft, report: ReportIssue): void {
  const { kept, repeated, moved } = ascendingOrder(draft.bounds);
  if (repeated > 0) report('duplicate_series');
  if (moved) report('buckets_unsorted');
  reorder(draft.bounds, kept);
  reorder(draft.counts, kept);
}

/** The indexes of `keys` in ascending order of key, each key's first occurrence only. */
function ascendingOrder(keys: readonly number[]): { kept: number[]; repeated: number; moved: boolean } {
  const firstOf = new Map<number, number>();
  keys.forEach((key, index) => {
    if (!firstOf.has(key)) firstOf.set(key, index);
  });
  const inOrder = [...firstOf];
  const sorted = inOrder.toSorted(([left], [right]) => (left < right ? -1 : 1));
  return {
    kept: sorted.map(([, index]) => index),
    repeated: keys.length - sorted.length,
    moved: sorted.some((entry, index) => entry !== inOrder[index]),
  };
}

function reorder(values: number[], indexes: readonly number[]): void {
  const inOrder = indexes.map((index) => values[index] ?? NaN);
  inOrder.forEach((value, index) => (values[index] = value));
  values.length = inOrder.length;
}

function isMonotone(counts: readonly number[]): boolean {
  let previous = 0;
  for (const count of counts) {
    if (count < previous) return false;
    previous = count;
  }
  return true;
}

function equalNumbers(left: readonly number[], right: readonly number[]): boolean {
  if (left.length !== right.length) return false;
  for (let index = 0; index < left.length; index++) {
    if (left[index] !== right[index]) return false;
  }
  return true;
}
