import type {
  HistogramPoint,
  Labels,
  MetricFamily,
  ScalarFamily,
  ScalarPoint,
  ScalarType,
  SummaryPoint,
} from './families.ts';
import { isAscending } from './ascending.ts';
import { labelValue, setLabel } from './labels.ts';
import type { ExpositionFormat } from './parse-exposition.ts';

/** Why something is left out of a rendered exposition. */
export const renderDropReasons = {
  invalid_name: 'A family whose name the format does not allow.',
  name_taken:
    'A family one of whose sample names an earlier family has, or of another type under the same name.',
  invalid_label:
    'A series with a label name that is not allowed, or that the format keeps for itself (le, quantile).',
  invalid_point: 'A histogram or summary without ascending bounds (up to +Inf) and as many numbers.',
  duplicate_series: 'A series that was there already: the first one is kept.',
} as const;

export type RenderDropReason = keyof typeof renderDropReasons;

export interface LowerOptions {
  /** Longer label values are cut, at a code point; 1024 UTF-16 units when not given. */
  readonly maxLabelValueLength?: number;
}

export interface LoweredFamilies {
  /** What the exposition says, and what reading it gives back. */
  readonly families: MetricFamily[];
  /** How much of what was given it does not say. */
  readonly dropped: ReadonlyMap<RenderDropReason, number>;
}

/** A family fit to print as it is, with the label section of each point. */
export interface PrintableFamily {
  readonly family: MetricFamily;
  /** The name in HELP, TYPE and UNIT: OpenMetrics leaves `_total` and `_info` to the samples. */
  readonly headName: string;
  readonly labelTexts: readonly string[];
}

const DEFAULT_MAX_LABEL_VALUE_LENGTH = 1024;

/**
 * Brings families down to what a format can say: types it lacks become plainer ones, families of one name become one,
 * control characters are replaced, and what would spoil the text (invalid names, doubles) is left out and counted.
 *
 * A series with an invalid label is left out whole: without the label its value would pass for another series.
 */
export function lowerFamilies(
  families: readonly MetricFamily[],
  format: ExpositionFormat,
  options: LowerOptions = {},
): LoweredFamilies {
  const { printable, dropped } = lowerForPrinting(families, format, options);
  return { families: printable.map(({ family }) => family), dropped };
}

/** `lowerFamilies` with what the printer needs besides. */
export function lowerForPrinting(
  families: readonly MetricFamily[],
  format: ExpositionFormat,
  options: LowerOptions,
): { printable: PrintableFamily[]; dropped: Map<RenderDropReason, number> } {
  const dropped = new Map<RenderDropReason, number>();
  const drop: Drop = (reason, count = 1) => dropped.set(reason, (dropped.get(reason) ?? 0) + count);
  const gate = new LabelGate(options.maxLabelValueLength ?? DEFAULT_MAX_LABEL_VALUE_LENGTH);
  const lowered = lowerHeads(families, format, drop).map((head) => lowerPoints(head, format, gate, drop));
  return { printable: lowered, dropped };
}

type Drop = (reason: RenderDropReason, count?: number) => void;

/** All families of one name, under the head that they share. */
interface MergedHead {
  readonly head: { readonly name: string; readonly help: string; readonly unit?: string };
  readonly headName: string;
  readonly parts: readonly MetricFamily[];
}

function lowerHeads(families: readonly MetricFamily[], format: ExpositionFormat, drop: Drop): MergedHead[] {
  const names = new Set(families.map((family) => family.name));
  const merged = new Map<string, { headName: string; parts: MetricFamily[] }>();
  const taken = new Set<string>();
  for (const family of families) {
    if (!isMetricName(family.name)) {
      drop('invalid_name');
      continue;
    }
    const known = merged.get(family.name);
    const type = known?.parts[0]?.type ?? loweredType(family, format, names, taken);
    const typed = withType(family, type, format);
    if (known !== undefined && typed !== undefined) {
      known.parts.push(typed);
      continue;
    }
    const headName = headNameOf(family.name, type, format);
    const claims = claimedNames(family.name, headName, type);
    if (typed === undefined || claims.some((name) => taken.has(name))) {
      drop('name_taken');
      continue;
    }
    claims.forEach((name) => taken.add(name));
    merged.set(family.name, { headName, parts: [typed] });
  }
  return Array.from(merged, ([name, { headName, parts }]) => ({
    head: { name, ...sharedHead(parts, headName, format) },
    headName,
    parts,
  }));
}

/** The first help and the first unit that any of them has. Only OpenMetrics has units, and the name must end in it. */
function sharedHead(
  parts: readonly MetricFamily[],
  headName: string,
  format: ExpositionFormat,
): { help: string; unit?: string } {
  const help = parts.map((part) => clean(part.help).trim()).find((text) => text !== '') ?? '';
  const unit = parts.map((part) => part.unit).find((text) => text !== undefined && text !== '');
  const isUnit =
    unit !== undefined && format === 'openmetrics' && isMetricName(unit) && headName.endsWith(`_${unit}`);
  return isUnit ? { help, unit } : { help };
}

function loweredType(
  family: MetricFamily,
  format: ExpositionFormat,
  names: ReadonlySet<string>,
  taken: ReadonlySet<string>,
): MetricFamily['type'] {
  const { type, name } = family;
  if (format === 'text') {
    if (type === 'info' || type === 'stateset') return 'gauge';
    return type === 'gaugehistogram' ? 'histogram' : type;
  }
  if (type !== 'counter' && type !== 'info') return type;
  const headName = headNameOf(name, type, format);
  // A head that ends in the suffix, too, would be read as one that kept it.
  const isPlain = headName !== name && headName !== '' && !/_(total|info)$/.test(headName);
  const isSayable = isPlain && !names.has(headName) && !taken.has(headName);
  if (isSayable) return type;
  return type === 'counter' ? 'unknown' : 'gauge';
}

/** The family under another type, or undefined when its points are not of that type's kind. */
function withType(
  family: MetricFamily,
  type: MetricFamily['type'],
  format: ExpositionFormat,
): MetricFamily | undefined {
  if (family.type === type) return family;
  switch (type) {
    case 'summary':
      return undefined;
    case 'histogram':
    case 'gaugehistogram':
      return family.type === 'gaugehistogram' && format === 'text' ? { ...family, type } : undefined;
    default:
      return isLoweredTo(family, type, format) ? { ...family, type } : undefined;
  }
}

function isLoweredTo(
  family: MetricFamily,
  type: ScalarType,
  format: ExpositionFormat,
): family is ScalarFamily {
  if (family.type === 'counter') return type === 'unknown' && format === 'openmetrics';
  if (family.type === 'info') return type === 'gauge';
  return family.type === 'stateset' && type === 'gauge' && format === 'text';
}

function headNameOf(name: string, type: MetricFamily['type'], format: ExpositionFormat): string {
  const suffix = type === 'counter' ? '_total' : type === 'info' ? '_info' : '';
  return format === 'openmetrics' && name.endsWith(suffix)
    ? name.slice(0, name.length - suffix.length)
    : name;
}

/** Every name that the family uses or reserves: no other family may have one of them. */
function claimedNames(name: string, headName: string, type: MetricFamily['type']): string[] {
  switch (type) {
    case 'histogram':
      return [name, ...['_bucket', '_sum', '_count', '_created'].map((suffix) => name + suffix)];
    case 'gaugehistogram':
      return [name, ...['_bucket', '_sum', '_count', '_gsum', '_gcount'].map((suffix) => name + suffix)];
    case 'summary':
      return [name, ...['_sum', '_count', '_created'].map((suffix) => name + suffix)];
    case 'counter':
      return [...new Set([headName, name, `${name.endsWith('_total') ? name.slice(0, -6) : name}_created`])];
    default:
      return [...new Set([headName, name])];
  }
}

function lowerPoints(
  { head, headName, parts }: MergedHead,
  format: ExpositionFormat,
  gate: LabelGate,
  drop: Drop,
): PrintableFamily {
  const kept = { format, gate, drop };
  switch (parts[0]?.type) {
    case 'histogram':
    case 'gaugehistogram': {
      const type = parts[0].type;
      const points = pointsOf(parts, (part) => (part.type === type ? part.points : []));
      const series = lowerSeries(points, 'le', checkHistogram, kept);
      return { family: { ...head, type, points: series.points }, headName, labelTexts: series.labelTexts };
    }
    case 'summary': {
      const points = pointsOf(parts, (part) => (part.type === 'summary' ? part.points : []));
      const series = lowerSeries(points, 'quantile', checkSummary, kept);
      return {
        family: { ...head, type: 'summary', points: series.points },
        headName,
        labelTexts: series.labelTexts,
      };
    }
    default: {
      const type = parts[0]?.type ?? 'unknown';
      const points = pointsOf(parts, (part) => (part.type === type ? part.points : []));
      const series = lowerSeries(points, '', (point) => point, kept);
      return { family: { ...head, type, points: series.points }, headName, labelTexts: series.labelTexts };
    }
  }
}

function pointsOf<Point>(
  parts: readonly MetricFamily[],
  select: (part: MetricFamily) => readonly Point[],
): readonly Point[] {
  const [only] = parts;
  return only !== undefined && parts.length === 1 ? select(only) : parts.flatMap(select);
}

type AnyPoint = ScalarPoint | HistogramPoint | SummaryPoint;

function lowerSeries<Point extends AnyPoint>(
  points: readonly Point[],
  reservedLabel: string,
  check: (point: Point) => Point | undefined,
  { format, gate, drop }: { format: ExpositionFormat; gate: LabelGate; drop: Drop },
): { points: Point[]; labelTexts: string[] } {
  const kept: Point[] = [];
  const labelTexts: string[] = [];
  const seen = new Set<string>();
  for (const point of points) {
    const entry = gate.pass(point.labels);
    const checked = check(point);
    if (
      entry === undefined ||
      (reservedLabel !== '' && labelValue(entry.labels, reservedLabel) !== undefined)
    ) {
      drop('invalid_label');
    } else if (checked === undefined) {
      drop('invalid_point');
    } else if (seen.has(entry.key)) {
      drop('duplicate_series');
    } else {
      seen.add(entry.key);
      labelTexts.push(entry.text);
      kept.push(withLabelsAndTime(checked, entry.labels, format));
    }
  }
  return { points: kept, labelTexts };
}

function withLabelsAndTime<Point extends AnyPoint>(
  point: Point,
  labels: Labels,
  format: ExpositionFormat,
): Point {
  const { timestampSeconds } = point;
  if (timestampSeconds === undefined) return point.labels === labels ? point : { ...point, labels };
  const milliseconds = Math.round(timestampSeconds * 1000) + 0;
  if (!Number.isSafeInteger(milliseconds)) {
    const { timestampSeconds: _, ...timeless } = point;
    return { ...timeless, labels } as Point;
  }
  const lowered = format === 'text' ? milliseconds / 1000 : timestampSeconds + 0; // No -0.
  return { ...point, labels, timestampSeconds: lowered };
}

function checkHistogram(point: HistogramPoint): HistogramPoint | undefined {
  const { bounds, counts, count } = point;
  if (bounds.length !== counts.length || bounds.at(-1) !== Infinity) return undefined;
  if (!isAscending(bounds) || counts.some(Number.isNaN)) return undefined;
  return withoutNaNCount(point, count);
}

function checkSummary(point: SummaryPoint): SummaryPoint | undefined {
  const { quantiles, values, sum, count } = point;
  if (quantiles.length !== values.length || !isAscending(quantiles)) return undefined;
  if (quantiles.some((quantile) => !(quantile >= 0 && quantile <= 1))) return undefined;
  const checked = withoutNaNCount(point, count);
  return quantiles.length === 0 && sum === undefined && checked.count === undefined ? undefined : checked;
}

function withoutNaNCount<Point extends HistogramPoint | SummaryPoint>(
  point: Point,
  count: number | undefined,
): Point {
  if (!Number.isNaN(count)) return point;
  const { count: _, ...rest } = point;
  return rest as Point;
}

interface PassedLabels {
  readonly labels: Labels;
  /** As between the braces. */
  readonly text: string;
  /** Equal for equal label sets, whatever their order. */
  readonly key: string;
}

/**
 * What is printed of label sets that nobody can change any more. Whoever has the same labels from scrape to scrape
 * freezes them, and they are looked at once in their life.
 */
const printedOfFrozen = new WeakMap<Labels, PassedLabels>();

/** Makes label sets printable, each object once however many points share it. */
class LabelGate {
  /** One of each shape lives on, for the reason told in `ExpositionReader.kept`. */
  static readonly kept = LabelGate.passExample();

  private readonly known = new Map<Labels, PassedLabels | undefined>();
  private readonly byName = new Map<string, Map<string, PrintableLabel> | 'not allowed'>();
  private readonly maxValueLength: number;

  constructor(maxValueLength: number) {
    this.maxValueLength = maxValueLength;
  }

  private static passExample(): unknown {
    const gate = new LabelGate(DEFAULT_MAX_LABEL_VALUE_LENGTH);
    return [gate, gate.pass({ a: 'b' }), gate.pass({ a: '' })];
  }

  /** The labels as they will be printed, or undefined when one of the names is not allowed. */
  pass(labels: Labels): PassedLabels | undefined {
    const known = this.known.get(labels);
    if (known !== undefined || this.known.has(labels)) return known;
    const passed = Object.isFrozen(labels) ? this.passFrozen(labels) : this.examine(labels);
    this.known.set(labels, passed);
    return passed;
  }

  private passFrozen(labels: Labels): PassedLabels | undefined {
    if (this.maxValueLength !== DEFAULT_MAX_LABEL_VALUE_LENGTH) return this.examine(labels);
    const printed = printedOfFrozen.get(labels) ?? this.examine(labels);
    if (printed !== undefined) printedOfFrozen.set(labels, printed);
    return printed;
  }

  private examine(labels: Labels): PassedLabels | undefined {
    const texts: string[] = [];
    let isChanged = false;
    for (const name of Object.keys(labels)) {
      const given = labels[name] ?? '';
      const label = this.printable(name, given);
      if (label === undefined) return undefined;
      if (label.value !== given || given === '') isChanged = true;
      if (label.value !== '') texts.push(label.text); // To Prometheus an empty label is none.
    }
    const text = texts.join(',');
    const key = sortFew(texts).join(',');
    return { labels: isChanged ? this.rebuild(labels) : labels, text, key };
  }

  /** One label, looked at once however many sets have it; undefined when its name is not allowed. */
  private printable(name: string, given: string): PrintableLabel | undefined {
    let values = this.byName.get(name);
    if (values === undefined) {
      values = isLabelName(name) ? new Map<string, PrintableLabel>() : 'not allowed';
      this.byName.set(name, values);
    }
    if (values === 'not allowed') return undefined;
    const known = values.get(given);
    if (known !== undefined) return known;
    const value = cut(clean(given), this.maxValueLength);
    const label = { value, text: `${name}="${escapeLabelValue(value)}"` };
    values.set(given, label);
    return label;
  }

  private rebuild(labels: Labels): Labels {
    const rebuilt: Record<string, string> = {};
    for (const name of Object.keys(labels)) {
      const value = this.printable(name, labels[name] ?? '')?.value ?? '';
      if (value !== '') setLabel(rebuilt, name, value);
    }
    return rebuilt;
  }
}

interface PrintableLabel {
  readonly value: string;
  /** Name and value, escaped. */
  readonly text: string;
}

/** Sorts in place: for the few labels of a series, mostly in order already, by insertion. */
function sortFew(texts: string[]): string[] {
  for (let end = 1; end < texts.length; end++) {
    const text = texts[end] ?? '';
    let index = end;
    for (; index > 0 && (texts[index - 1] ?? '') > text; index--) texts[index] = texts[index - 1] ?? '';
    texts[index] = text;
  }
  return texts;
}

/** Whether Prometheus takes it for a metric name (the classic rule, which every version accepts). */
export function isMetricName(name: string): boolean {
  return /^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name);
}

/** Whether Prometheus takes it for a label name; `__name__` is the metric's own. */
export function isLabelName(name: string): boolean {
  return name !== '__name__' && /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name);
}

/** Control characters (but the line feed, which has an escape) and broken surrogates become U+FFFD. */
function clean(text: string): string {
  return /[^ -~]/.test(text) ? text.replace(/(?!\n)[\p{Cc}\p{Cs}]/gu, '\ufffd') : text;
}

function cut(text: string, maxLength: number): string {
  if (text.length <= maxLength) return text;
  const last = text.charCodeAt(maxLength - 1);
  const splitsPair = last >= 0xd800 && last <= 0xdbff;
  return text.slice(0, splitsPair ? maxLength - 1 : maxLength);
}

function escapeLabelValue(value: string): string {
  if (!/["\\\n]/.test(value)) return value;
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
