import type { llmFamilies } from '@llm-monitor/engines';
import type { exporterMetrics, gpuMetrics, SCOPE_LABELS } from '@llm-monitor/gpus';
import type { selfFamilies } from '@llm-monitor/metrics-core';

type LlmFamilies = typeof llmFamilies;
type GpuMetrics = typeof gpuMetrics;
type ExporterMetrics = typeof exporterMetrics;
type SelfFamily = (typeof selfFamilies)[number];

/** Of the target that was scraped; `up` is what Prometheus itself says of it. */
type TargetLabel = 'instance' | 'job';

/** Every declared metric with its labels. A name that is not declared does not compile, nor a label it does not have. */
export type MetricLabels = {
  readonly [Name in keyof LlmFamilies]:
    TargetLabel | 'server' | 'engine' | LlmFamilies[Name]['labels'][number];
} & {
  readonly [Name in keyof GpuMetrics]: TargetLabel | 'gpu' | 'uuid' | GpuMetrics[Name]['labels'][number];
} & {
  readonly [Name in keyof ExporterMetrics]:
    | TargetLabel
    | (typeof SCOPE_LABELS)[ExporterMetrics[Name]['of']][number]
    | ExporterMetrics[Name]['labels'][number];
} & {
  readonly [Self in SelfFamily as Self['name']]: TargetLabel | Self['labels'][number];
} & { readonly up: TargetLabel; readonly scrape_duration_seconds: TargetLabel } & {
  readonly [Name in NodeFilesystem]: TargetLabel | 'device' | 'fstype' | 'mountpoint';
};

/** Of node-exporter's filesystem collector. */
type NodeFilesystem =
  'node_filesystem_avail_bytes' | 'node_filesystem_size_bytes' | 'node_filesystem_readonly';

export type MetricName = keyof MetricLabels;

/** Histograms among the declared metrics: their series have endings. */
export type HistogramName = {
  [Name in keyof LlmFamilies]: LlmFamilies[Name]['type'] extends 'histogram' ? Name : never;
}[keyof LlmFamilies];

/** A label's value as it is, or what it is to match. */
export type Matcher = string | { readonly matches: string } | { readonly matchesNot: string };
export type Matchers<Name extends MetricName> = Readonly<Partial<Record<MetricLabels[Name], Matcher>>>;

/** Metrics with series of their own name; a histogram has only those with endings. */
export type ScalarName = Exclude<MetricName, HistogramName>;

/** A selector in PromQL of the series of a metric: `gpu_up{job="gpu-exporter"}`. */
export function series<Name extends ScalarName>(name: Name, matchers?: Matchers<Name>): string {
  return `${name}${braced(matchers ?? {})}`;
}

/** The buckets of a histogram. */
export function bucketsOf<Name extends HistogramName>(name: Name, matchers?: Matchers<Name>): string {
  return `${name}_bucket${braced(matchers ?? {})}`;
}

/** How often a histogram was observed, a counter. */
export function countOf<Name extends HistogramName>(name: Name, matchers?: Matchers<Name>): string {
  return `${name}_count${braced(matchers ?? {})}`;
}

/** Labels that each of several metrics has. */
type SharedLabel<Name extends MetricName> = (
  Name extends MetricName ? (label: MetricLabels[Name]) => void : never
) extends (label: infer Label extends string) => void
  ? Label
  : never;

/** The series of several metrics at once, chosen by labels that all of them have. */
export function seriesOfAny<Name extends ScalarName>(
  names: readonly [Name, ...Name[]],
  matchers?: Readonly<Partial<Record<SharedLabel<Name>, Matcher>>>,
): string {
  return braced({ __name__: { matches: names.join('|') }, ...matchers });
}

function braced(matchers: Readonly<Partial<Record<string, Matcher>>>): string {
  const parts = Object.entries(matchers).flatMap(([label, matcher]) =>
    matcher === undefined ? [] : `${label}${spell(matcher)}`,
  );
  return parts.length === 0 ? '' : `{${parts.join(',')}}`;
}

function spell(matcher: Matcher): string {
  if (typeof matcher === 'string') return `="${quote(matcher)}"`;
  return 'matches' in matcher ? `=~"${quote(matcher.matches)}"` : `!~"${quote(matcher.matchesNot)}"`;
}

function quote(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"');
}
