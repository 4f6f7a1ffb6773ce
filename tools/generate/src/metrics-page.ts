import { llmFamilies, type CanonicalFamily } from '@llm-monitor/engines';
import { httpFamilies } from '@llm-monitor/exporter-http';
import {
  BACKENDS,
  exporterMetrics,
  gpuMetrics,
  SCOPE_LABELS,
  type ExporterMetric,
  type GpuMetric,
} from '@llm-monitor/gpus';
import { parseIssueKinds, selfFamilies } from '@llm-monitor/metrics-core';
import {
  engineTruthHistograms,
  engineTruths,
  gpuTruths,
  trafficTruths,
  worldTruths,
} from '@llm-monitor/simulation';

import { code, codes, GENERATED, table } from './markdown.ts';

interface Described {
  readonly type: string;
  readonly help: string;
  readonly labels: readonly string[];
  readonly openTelemetry?: string;
}

/** docs/metrics.md: every metric there is, with its definition. */
export function metricsPage(): string {
  const llm = Object.entries(llmFamilies as Record<string, CanonicalFamily>);
  const driver = Object.entries<GpuMetric>(gpuMetrics);
  const exporter = Object.entries<ExporterMetric>(exporterMetrics);
  const ofGpus = exporter.filter(([, { of }]) => of === 'gpu');
  const ofTheExporter = exporter
    .filter(([, { of }]) => of !== 'gpu')
    .map(([name, metric]): [string, Described] => [
      name,
      { ...metric, labels: [...SCOPE_LABELS[metric.of], ...metric.labels] },
    ]);
  const self = [...selfFamilies, ...httpFamilies].map((family): [string, Described] => [family.name, family]);
  return [
    GENERATED,
    '# Metrics',
    'Units are base units: seconds, bytes, tokens, ratios from 0 to 1. A counter ends in `_total`, a fact in `_info`. A value that is not known is a series that is not there, never 0 or NaN. Histograms keep the bounds of the engine: across engines, `histogram_quantile` needs `by (le, engine)`. Counters are passed on as the engine prints them, with its restarts.',
    '## Engines',
    'Each of these has the labels `server` (the configured or discovered name, unique) and `engine`, and those named here where the engine says them. `model` is the served name; `replica` is there only when there is more than one.',
    familyTable(llm),
    'Kinds of `llm_source_parse_issues`:',
    table(
      ['kind', 'what happens', 'meaning'],
      Object.entries(parseIssueKinds)
        .filter(([, { effect }]) => effect !== 'ignored')
        .map(([kind, { effect, description }]) => [code(kind), effect, description]),
    ),
    'and, of values that were left out: `negative`, `ratio_above_one`, `other_type` (the engine prints another type under this name), `unequal_buckets` (histograms that cannot be added).',
    '## GPUs',
    `Each of these has the labels ${codes(SCOPE_LABELS.gpu)} and those named here: \`gpu\` is the driver’s own index, \`uuid\` is the driver’s identity of the board (NVIDIA’s UUID, AMD’s unique id), or the PCI address where there is none. Facts are on \`gpu_info\`. Where each figure comes from is in [gpus.md](gpus.md).`,
    familyTable([...ofGpus, ...driver]),
    '### How the GPUs are read',
    `The GPUs of a vendor are read by one backend of ${codes(BACKENDS)}. Its duration, last success and errors are in \`llm_monitor_collector_*\`, where \`collector\` is the name of the backend.`,
    familyTable(ofTheExporter),
    '## The truth about a simulated host',
    'Only in the mock-exporter, to compare with what the exporters report of the same instant.',
    familyTable(truths()),
    '## The monitor itself',
    'The same in every app, beside the process metrics of prom-client (`process_*`, `nodejs_*`).',
    familyTable(self),
  ].join('\n\n');
}

function truths(): [string, Described][] {
  const scopes = [
    [worldTruths, []],
    [engineTruths, ['engine', 'kind']],
    [engineTruthHistograms, ['engine', 'kind']],
    [gpuTruths, ['gpu', 'uuid']],
    [trafficTruths, ['traffic', 'engine', 'model']],
  ] as const;
  return scopes.flatMap(([metrics, scope]) =>
    Object.entries<{ readonly help: string; readonly type?: string; readonly labels?: readonly string[] }>(
      metrics,
    ).map(([name, { help, type = 'histogram', labels = [] }]): [string, Described] => [
      name,
      { help, type, labels: [...scope, ...labels] },
    ]),
  );
}

function familyTable(families: readonly (readonly [string, Described])[]): string {
  return table(
    ['metric', 'type', 'labels', 'meaning', 'OpenTelemetry'],
    families.map(([name, { type, help, labels, openTelemetry }]) => [
      code(name),
      type,
      codes(labels) || '–',
      help,
      openTelemetry ?? '–',
    ]),
  );
}
