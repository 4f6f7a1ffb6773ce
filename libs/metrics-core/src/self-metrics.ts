import {
  Counter,
  Gauge,
  Registry,
  collectDefaultMetrics,
  type MetricObjectWithValues,
  type MetricValue,
} from 'prom-client';
import type { CountDroppedSeries } from './cardinality-guard.ts';
import type { CollectorMetrics } from './collector-runner.ts';
import type { HistogramPoint, Labels, MetricFamily } from './families.ts';
import { labelsKey } from './labels.ts';
import type { ExpositionFormat } from './parse-exposition.ts';
import { renderPieces } from './render-exposition.ts';

/** One metric that every app has of itself. */
export interface SelfFamily {
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  readonly labels: readonly string[];
  readonly unit?: string;
}

/** The monitor's metrics of itself, in every app: the one list that the registry and the docs are made from. */
export const selfFamilies = [
  {
    name: 'llm_monitor_build_info',
    type: 'gauge',
    help: 'Which app this is, and its version. Always 1.',
    labels: ['app', 'version'],
  },
  {
    name: 'llm_monitor_collector_success',
    type: 'gauge',
    help: 'Whether the last run of the collector gave families (1) or an error (0).',
    labels: ['collector'],
  },
  {
    name: 'llm_monitor_collector_duration_seconds',
    type: 'gauge',
    help: 'How long the last run of the collector took; for one that hangs, how long it has been hanging.',
    labels: ['collector'],
    unit: 'seconds',
  },
  {
    name: 'llm_monitor_collector_last_success_timestamp_seconds',
    type: 'gauge',
    help: 'When the collector last gave families, as Unix time. Absent until it did.',
    labels: ['collector'],
    unit: 'seconds',
  },
  {
    name: 'llm_monitor_collector_errors_total',
    type: 'counter',
    help: 'Runs of the collector that gave an error, by reason.',
    labels: ['collector', 'reason'],
  },
  {
    name: 'llm_monitor_dropped_series_total',
    type: 'counter',
    help: 'Series of a source that were left out, by reason.',
    labels: ['source', 'reason'],
  },
] as const satisfies readonly SelfFamily[];

export interface SelfMetrics {
  /** For what an app counts of itself besides, with prom-client's own means. */
  readonly registry: Registry;
  /** Where a collector runner reports. */
  readonly collectors: CollectorMetrics;
  /** Where a cardinality guard reports. A collector that is forgotten takes its source's series along. */
  readonly countDroppedSeries: CountDroppedSeries;
  /** What Node.js and the system say of the process. It costs more than the rest: much of it is read from `/proc`. */
  processFamilies(): Promise<MetricFamily[]>;
  /** All metrics of the registry. */
  appFamilies(): Promise<MetricFamily[]>;
  /** Both. */
  families(): Promise<MetricFamily[]>;
}

/** Gauges of prom-client that end like counters, which promtool refuses; the same figures are there by type as well. */
const MISNAMED_GAUGES = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
] as const;

/** Its percentiles cost half a millisecond a scrape, as much as the figures of eight GPUs. */
const EVENT_LOOP_LAG = ['', '_min', '_max', '_mean', '_stddev', '_p50', '_p90', '_p99'].map(
  (statistic) => `nodejs_eventloop_lag${statistic}_seconds`,
);

/** The metrics of this process: what Node.js says of itself under prom-client's names, and `selfFamilies`. */
export function createSelfMetrics({ app, version }: { app: string; version: string }): SelfMetrics {
  const registry = new Registry();
  const ofProcess = new Registry();
  // Its timer would else wake the process a hundred times a second, which shows in an exporter that hardly works.
  collectDefaultMetrics({ register: ofProcess, eventLoopMonitoringPrecision: 100 });
  for (const name of [...MISNAMED_GAUGES, ...EVENT_LOOP_LAG]) ofProcess.removeSingleMetric(name);
  const [build, success, duration, lastSuccess, errors, dropped] = selfFamilies;
  gauge(registry, build).set({ app, version }, 1);
  const successGauge = gauge(registry, success);
  const durationGauge = gauge(registry, duration);
  const lastSuccessGauge = gauge(registry, lastSuccess);
  const errorCounter = counter(registry, errors);
  const droppedCounter = counter(registry, dropped);
  const errorReasons = new ReasonMemory();
  const dropReasons = new ReasonMemory();
  const processFamilies = () => familiesOf(ofProcess);
  const appFamilies = () => familiesOf(registry);

  return {
    registry,
    collectors: {
      succeeded(collector, durationSeconds, unixSeconds) {
        successGauge.set({ collector }, 1);
        durationGauge.set({ collector }, durationSeconds);
        lastSuccessGauge.set({ collector }, unixSeconds);
      },
      failed(collector, reason, durationSeconds) {
        successGauge.set({ collector }, 0);
        durationGauge.set({ collector }, durationSeconds);
        errorReasons.add(collector, reason);
        errorCounter.inc({ collector, reason });
      },
      forget(collector) {
        for (const metric of [successGauge, durationGauge, lastSuccessGauge]) metric.remove({ collector });
        for (const reason of errorReasons.take(collector)) errorCounter.remove({ collector, reason });
        for (const reason of dropReasons.take(collector))
          droppedCounter.remove({ source: collector, reason });
      },
    },
    countDroppedSeries(source, reason, series) {
      dropReasons.add(source, reason);
      droppedCounter.inc({ source, reason }, series);
    },
    processFamilies,
    appFamilies,
    async families() {
      return [...(await processFamilies()), ...(await appFamilies())];
    },
  };
}

/** One exposition of ours and of the process's own metrics, in one format. */
export async function renderWith(
  families: readonly MetricFamily[],
  selfMetrics: Pick<SelfMetrics, 'families'>,
  format: ExpositionFormat,
): Promise<Iterable<string>> {
  return renderPieces([...families, ...(await selfMetrics.families())], format);
}

function gauge(registry: Registry, { name, help, labels }: SelfFamily): Gauge {
  return new Gauge({ name, help, labelNames: [...labels], registers: [registry] });
}

function counter(registry: Registry, { name, help, labels }: SelfFamily): Counter {
  return new Counter({ name, help, labelNames: [...labels], registers: [registry] });
}

async function familiesOf(registry: Registry): Promise<MetricFamily[]> {
  return (await registry.getMetricsAsJSON()).map(familyOf);
}

type ClientMetric = MetricObjectWithValues<MetricValue<string>>;

/** A metric of prom-client as a family; the apps have counters, gauges and histograms. */
function familyOf({ name, help, type, values }: ClientMetric): MetricFamily {
  // Declared as an enum, and a word in fact.
  const word = String(type);
  if (word === 'histogram') return { name, help, type: 'histogram', points: histogramsOf(values) };
  const points = values.map(({ labels, value }) => ({ labels: textLabels(labels), value }));
  return { name, help, type: word === 'counter' || word === 'gauge' ? word : 'unknown', points };
}

/** One histogram of each label set: prom-client lists buckets, sum and count as values of their own, in this order. */
function histogramsOf(values: ClientMetric['values']): HistogramPoint[] {
  const histograms = new Map<string, HistogramPoint & { bounds: number[]; counts: number[] }>();
  for (const value of values) {
    const { le, ...labels } = wordsOf(value.labels);
    const key = labelsKey(labels);
    const histogram = histograms.get(key) ?? { labels, bounds: [], counts: [] };
    const name = 'metricName' in value ? String(value.metricName) : '';
    if (le !== undefined) {
      histogram.bounds.push(le === '+Inf' ? Infinity : Number(le));
      histogram.counts.push(value.value);
      histograms.set(key, histogram);
    } else {
      histograms.set(key, { ...histogram, [name.endsWith('_sum') ? 'sum' : 'count']: value.value });
    }
  }
  return [...histograms.values()];
}

type ClientLabels = Readonly<Partial<Record<string, string | number>>>;

/** prom-client keeps the labels of a series from scrape to scrape: what is made of them is kept along. */
const madeLabels = new WeakMap<ClientLabels, Labels>();

function textLabels(labels: ClientLabels): Labels {
  const made = madeLabels.get(labels) ?? Object.freeze(wordsOf(labels));
  madeLabels.set(labels, made);
  return made;
}

function wordsOf(labels: ClientLabels): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, String(value)]));
}

/** Which reasons were counted for whom: prom-client removes a series only by all of its labels. */
class ReasonMemory {
  private readonly reasons = new Map<string, Set<string>>();

  add(owner: string, reason: string): void {
    const known = this.reasons.get(owner);
    if (known === undefined) this.reasons.set(owner, new Set([reason]));
    else known.add(reason);
  }

  take(owner: string): Iterable<string> {
    const known = this.reasons.get(owner) ?? [];
    this.reasons.delete(owner);
    return known;
  }
}
