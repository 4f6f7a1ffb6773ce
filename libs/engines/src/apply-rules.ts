import {
  mergeHistograms,
  type HistogramPoint,
  type Labels,
  type MetricFamily,
} from '@llm-monitor/metrics-core';

import type { CommonLabels, EngineAdapter, LabelRule, Rule, Rules } from './adapter.ts';
import type { Exposition } from './answers.ts';
import { llmFamilies, SERVED, type CanonicalFamily, type LlmMetricName } from './families.ts';

/** Points of one canonical metric, before `server` and `engine` are put on them. */
export interface CanonicalPoints {
  readonly metric: LlmMetricName;
  readonly scalars: readonly { labels: Labels; value: number }[];
  readonly histograms: readonly HistogramPoint[];
  /** Several native families made this one. */
  readonly derived: boolean;
}

export interface Applied {
  readonly metrics: readonly CanonicalPoints[];
  /** Rules whose native family was not there, as the names they looked for. */
  readonly absent: readonly { metric: LlmMetricName; rule: Rule; names: readonly string[] }[];
  /** Values that cannot be: kind to example and count. */
  readonly rejected: ReadonlyMap<string, { count: number; example: string }>;
}

/** Rules of one metric as a list, the short forms written out. */
export function rulesOf(rules: Rules): readonly Rule[] {
  const list = (Array.isArray(rules) ? rules : [rules]) as readonly (string | Rule)[];
  return list.map((rule) => (typeof rule === 'string' ? { from: rule } : rule));
}

/** Native names that a rule looks for, the preferred first. */
export function namesOf(rule: Rule): readonly string[] {
  return typeof rule.from === 'string' ? [rule.from] : rule.from;
}

/**
 * Applies an adapter's table to one exposition. Pure. Values that are NaN or infinite are unknown and left out;
 * values outside of what the metric can be are left out and counted.
 */
export function applyRules(adapter: EngineAdapter, exposition: Exposition): Applied {
  const metrics: CanonicalPoints[] = [];
  const absent: { metric: LlmMetricName; rule: Rule; names: readonly string[] }[] = [];
  const rejected = new Map<string, { count: number; example: string }>();
  const translated: Translated = new Map();
  for (const [name, rules] of Object.entries(adapter.families)) {
    const metric = name as LlmMetricName;
    const gathered = new Gathering(metric, rejected, translated);
    for (const rule of rulesOf(rules)) {
      if (listOf(rule.unless).some((native) => hasSamples(exposition.families.get(native)))) continue;
      const names = namesOf(rule);
      const found = firstPresent(names, exposition.families);
      if (found === undefined) {
        const known = names.some((native) => exposition.families.has(native));
        if (!known && isExpected(rule, exposition.families)) absent.push({ metric, rule, names });
        continue;
      }
      gathered.add(found, rule, adapter.labels ?? {}, exposition.labels);
      for (const plus of rule.plus ?? []) {
        const more = exposition.families.get(plus);
        if (more !== undefined && more.points.length > 0) {
          gathered.add(more, rule, adapter.labels ?? {}, exposition.labels);
          gathered.derived = true;
        }
      }
    }
    const points = gathered.result();
    if (points.scalars.length > 0 || points.histograms.length > 0) metrics.push(points);
  }
  return { metrics, absent, rejected };
}

/** The first of these names that has samples: an engine in transition prints old and new names side by side. */
function firstPresent(
  names: readonly string[],
  families: ReadonlyMap<string, MetricFamily>,
): MetricFamily | undefined {
  for (const name of names) {
    const family = families.get(name);
    if (family !== undefined && hasSamples(family)) return family;
  }
  return undefined;
}

function hasSamples(family: MetricFamily | undefined): boolean {
  return family !== undefined && family.points.length > 0;
}

/** Whether what the rule says it comes with is there. */
function isExpected({ expectedWith }: Rule, families: ReadonlyMap<string, MetricFamily>): boolean {
  if (expectedWith === undefined) return true;
  for (const [name, family] of families) if (name.startsWith(expectedWith) && hasSamples(family)) return true;
  return false;
}

function listOf(names: string | readonly string[] | undefined): readonly string[] {
  if (names === undefined) return [];
  return typeof names === 'string' ? [names] : names;
}

/** Native labels to ours, with their key, for rules that add none of their own. */
type Translated = Map<Labels, { readonly labels: Labels; readonly key: string }>;

/** Collects the points of one canonical metric: first over ranks (one value printed often), then over what is left. */
class Gathering {
  derived = false;
  private readonly metric: LlmMetricName;
  private readonly rejected: Map<string, { count: number; example: string }>;
  private readonly family: CanonicalFamily;
  private readonly translated: Translated;
  private readonly scalars = new Map<string, { labels: Labels; value: number }>();
  private readonly histograms = new Map<string, HistogramPoint>();
  /** Label sets whose histograms differ in their bounds: a part of them would pass for the whole. */
  private readonly unequal = new Set<string>();

  constructor(
    metric: LlmMetricName,
    rejected: Map<string, { count: number; example: string }>,
    translated: Translated,
  ) {
    this.metric = metric;
    this.translated = translated;
    this.rejected = rejected;
    this.family = llmFamilies[metric];
  }

  add(native: MetricFamily, rule: Rule, common: CommonLabels, constant: Labels): void {
    const ranks = common.ranks ?? [];
    const scalars = new Map<unknown, { key: string; labels: Labels; value: number }>();
    const histograms = new Map<unknown, { key: string; point: HistogramPoint }>();
    const counts = rule.only?.(native.points.map(({ labels }) => labels));
    const scope = { ...common, declared: this.family.labels };
    // Parsed labels are one object for all families that share them, so most are translated once for all of these.
    const isPlain = rule.labels === undefined && rule.set === undefined && this.family.labels === SERVED;
    for (const point of native.points) {
      if (!fits(point.labels, rule.where) || counts?.(point.labels) === false) continue;
      const known = isPlain ? this.translated.get(point.labels) : undefined;
      const labels = known?.labels ?? canonicalLabels(point.labels, rule, scope, constant);
      const key = known?.key ?? keyOf(labels);
      if (isPlain && known === undefined) this.translated.set(point.labels, { labels, key });
      // Without ranks no two points of a family say the same, and each stands for itself.
      const rankless = ranks.length === 0 ? point.labels : keyOf(point.labels, ranks);
      if (this.family.type === 'histogram') {
        if (!('bounds' in point)) return this.reject('other_type', `${native.name} is a ${native.type}`);
        const inBaseUnits = scaleHistogram({ ...point, labels }, rule.scale ?? 1);
        const other = histograms.get(rankless);
        if (other === undefined || (inBaseUnits.count ?? 0) > (other.point.count ?? 0))
          histograms.set(rankless, { key, point: inBaseUnits });
        continue;
      }
      const value = this.check(valueOf(point, rule), rule.scale ?? 1, native.name);
      if (value === undefined || (value === 0 && rule.zeroIsUnknown === true)) continue;
      const other = scalars.get(rankless);
      if (other === undefined || value > other.value) scalars.set(rankless, { key, labels, value });
    }
    for (const { key, labels, value } of scalars.values()) this.foldScalar(key, labels, value, rule);
    for (const { key, point } of histograms.values()) this.foldHistogram(key, point);
  }

  result(): CanonicalPoints {
    return {
      metric: this.metric,
      scalars: [...this.scalars.values()],
      histograms: [...this.histograms.values()],
      derived: this.derived,
    };
  }

  private foldScalar(key: string, labels: Labels, value: number, rule: Rule): void {
    const before = this.scalars.get(key);
    const how = rule.fold ?? (this.family.unit === 'ratio' ? 'max' : 'sum');
    const folded =
      before === undefined ? value : how === 'sum' ? before.value + value : Math.max(before.value, value);
    this.scalars.set(key, { labels, value: folded });
  }

  private foldHistogram(key: string, point: HistogramPoint): void {
    const before = this.histograms.get(key);
    const folded = before === undefined ? point : mergeHistograms([before, point], point.labels);
    if (folded === undefined) this.unequal.add(key);
    if (folded === undefined || this.unequal.has(key)) {
      this.histograms.delete(key);
      return this.reject('unequal_buckets', `${this.metric}{${key}}`);
    }
    this.histograms.set(key, folded);
  }

  /** The value in base units, or undefined when it is unknown or cannot be. */
  private check(raw: number | undefined, scale: number, native: string): number | undefined {
    if (raw === undefined || !Number.isFinite(raw)) return undefined;
    const value = scaled(raw, scale);
    if (value < 0) return this.reject('negative', `${native} ${raw}`);
    if (this.family.unit !== 'ratio') return value;
    // Engines round: 1.0000001 is full. More than that is another unit under this name, and no ratio.
    if (value > 1.001) return this.reject('ratio_above_one', `${native} ${raw}`);
    return Math.min(value, 1);
  }

  private reject(kind: string, example: string): undefined {
    const before = this.rejected.get(kind);
    this.rejected.set(kind, { count: (before?.count ?? 0) + 1, example: before?.example ?? example });
    return undefined;
  }
}

function fits(labels: Labels, where: Rule['where']): boolean {
  if (where === undefined) return true;
  return Object.entries(where).every(([name, values]) => values.includes(labels[name] ?? ''));
}

function canonicalLabels(
  native: Labels,
  rule: Rule,
  common: CommonLabels & { readonly declared: readonly string[] },
  constant: Labels,
): Labels {
  const labels: Record<string, string> = {};
  const { declared } = common;
  for (const [name, value] of Object.entries(constant)) if (declared.includes(name)) labels[name] = value;
  if (declared.includes('model')) assign(labels, 'model', firstLabel(native, common.model));
  if (declared.includes('replica')) assign(labels, 'replica', firstLabel(native, common.replica));
  for (const [name, labelRule] of Object.entries(rule.labels ?? {})) {
    assign(labels, name, translated(firstLabel(native, listOf(labelRule.from)), labelRule));
  }
  return rule.set === undefined ? labels : { ...labels, ...rule.set };
}

function assign(labels: Record<string, string>, name: string, value: string | undefined): void {
  if (value !== undefined && !saysNothing(value)) labels[name] = value;
}

/** Python exporters print a missing label value as "None" or "undefined": it is absent here. */
function saysNothing(value: string): boolean {
  return value === '' || value === 'None' || value === 'undefined';
}

function firstLabel(labels: Labels, names: readonly string[] | undefined): string | undefined {
  const found = names?.find((name) => !saysNothing(labels[name] ?? ''));
  return found === undefined ? undefined : labels[found];
}

function translated(value: string | undefined, rule: LabelRule): string | undefined {
  if (value === undefined) return rule.otherwise;
  const bare =
    rule.strip !== undefined && value.startsWith(rule.strip) ? value.slice(rule.strip.length) : value;
  if (rule.map === undefined) return bare;
  const lower = bare.toLowerCase();
  return Object.hasOwn(rule.map, lower) ? rule.map[lower] : (rule.otherwise ?? lower);
}

function valueOf(point: MetricFamily['points'][number], rule: Rule): number | undefined {
  if (rule.part === 'sum') return 'value' in point ? undefined : point.sum;
  if (rule.part === 'count') return 'value' in point ? undefined : point.count;
  return 'value' in point ? point.value : undefined;
}

function scaleHistogram(point: HistogramPoint, scale: number): HistogramPoint {
  if (scale === 1) return point;
  return {
    ...point,
    bounds: point.bounds.map((bound) => scaled(bound, scale)),
    ...(point.sum === undefined ? {} : { sum: scaled(point.sum, scale) }),
  };
}

/** 700 ms are 0.7 s and not 0.7000000000000001: a bound with such a tail is another bucket than that of other engines. */
function scaled(value: number, scale: number): number {
  return scale === 1 ? value : Number((value * scale).toPrecision(15));
}

/** One string for a label set, whatever its order, some names left out. */
export function keyOf(labels: Labels, without: readonly string[] = []): string {
  let key = '';
  for (const name of Object.keys(labels).sort()) {
    if (!without.includes(name)) key += `${name}\u0001${labels[name] ?? ''}\u0002`;
  }
  return key;
}
