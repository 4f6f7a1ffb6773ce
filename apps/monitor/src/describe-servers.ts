import {
  adapterOf,
  CORE_METRICS,
  isEngineName,
  UNAVAILABLE_REASONS,
  type EngineReading,
  type EngineState,
  type LlmMetricName,
  type TargetReport,
} from '@llm-monitor/engines';

import { chartOf, type ChartView, type ChartWords } from './chart.ts';
import {
  agoText,
  countFigure,
  latencyFigure,
  rateFigure,
  shareFigure,
  spanText,
  unknownFigure,
  type Figure,
} from './figure.ts';
import type { LatencyMetric, Sample, ServerHistory } from './history.ts';
import { scalars } from './points.ts';
import { latestLatency, windowLatency, type LatencyQuantiles } from './latency-window.ts';
import { modelsInMemory } from './models-in-memory.ts';
import { tokenRate } from './token-rate.ts';

/** One watched server: what is known of it now, and its past. */
export interface WatchedServer {
  readonly report: TargetReport;
  readonly history: ServerHistory;
}

/** How a state looks; the word says it, the color only repeats it. */
export type StateLevel = 'serving' | 'ready' | 'busy' | 'stuck' | 'quiet' | 'down' | 'unknown';

export interface LatencyView {
  readonly name: string;
  readonly p50: Figure;
  readonly p95: Figure;
  /** Which requests it is about. */
  readonly covers: string;
}

export interface Named {
  readonly name: string;
  readonly text: string;
}

const FIGURE_METRICS = {
  generated: 'llm_generation_tokens_total',
  prompt: 'llm_prompt_tokens_total',
  cached: 'llm_prompt_tokens_cached_total',
  running: 'llm_requests_running',
  waiting: 'llm_requests_waiting',
  capacity: 'llm_requests_capacity',
  kvCache: 'llm_kv_cache_usage_ratio',
  timeToFirstToken: 'llm_time_to_first_token_seconds',
  interTokenLatency: 'llm_inter_token_latency_seconds',
} as const satisfies Record<string, LlmMetricName>;

export type FigureName = keyof typeof FIGURE_METRICS;

/** All that the page shows of one server. */
export interface ServerView {
  readonly server: string;
  readonly url: string;
  /** The engine's name as its makers write it; empty while it is not recognized. */
  readonly engine: string;
  readonly version: string;
  readonly models: readonly string[];
  readonly state: { readonly level: StateLevel; readonly word: string };
  readonly generated: Figure;
  readonly prompt: Figure;
  readonly cached: Figure;
  readonly running: Figure;
  readonly waiting: Figure;
  readonly capacity: Figure;
  readonly kvCache: Figure;
  /** Tokens in it, or why nothing is known of it. */
  readonly kvCacheDetail: string;
  readonly latencies: readonly LatencyView[];
  /** Why there is no latency at all; empty when there is some. */
  readonly noLatencies: string;
  readonly chart: ChartView;
  /** How long ago it was read with success. */
  readonly lastRead: string;
  /** How long it has been up, or watched. */
  readonly since: string;
  /** What is wrong and how to mend it; empty when nothing is. */
  readonly problem: string;
  /** The models in its memory with what is known of each, where it says how much they take. */
  readonly inMemory: readonly Named[];
  /** Figures of this view that no version of its engine gives: there is no place to keep for them. */
  readonly neverGiven: readonly FigureName[];
  /** Core figures that it does not give, with the reason. */
  readonly unsaid: readonly Named[];
  /** Metrics by their native names that this version should give and does not. */
  readonly missing: readonly string[];
  /** What to know about this engine's numbers. */
  readonly notes: readonly string[];
  /** Why it is here and how its engine is known. */
  readonly why: string;
}

const WINDOW_SECONDS = 60;
const GENERATED_CHART: ChartWords = {
  title: 'Generated tokens per second',
  figure: rateFigure,
  resolution: 10,
};

const METRIC_WORDS: Readonly<Record<(typeof CORE_METRICS)[number], string>> = {
  llm_requests_running: 'Running requests',
  llm_requests_waiting: 'Waiting requests',
  llm_requests_capacity: 'Capacity',
  llm_requests_finished_total: 'Finished requests',
  llm_prompt_tokens_total: 'Prompt tokens',
  llm_prompt_tokens_cached_total: 'Cached prompt tokens',
  llm_generation_tokens_total: 'Generated tokens',
  llm_time_to_first_token_seconds: 'Time to first token',
  llm_inter_token_latency_seconds: 'Inter-token latency',
  llm_request_duration_seconds: 'Request duration',
  llm_request_queue_time_seconds: 'Queue time',
  llm_kv_cache_usage_ratio: 'KV cache',
};

const STATE_WORDS: Readonly<Record<EngineState, ServerView['state']>> = {
  ready: { level: 'ready', word: 'Ready' },
  loading: { level: 'busy', word: 'Loading' },
  sleeping: { level: 'quiet', word: 'Asleep' },
  draining: { level: 'busy', word: 'Draining' },
  failed: { level: 'down', word: 'Failed' },
  unreachable: { level: 'down', word: 'Down' },
  unknown: { level: 'unknown', word: 'State unknown' },
};

/** What the page shows of each server at `nowSeconds` (Unix time). Pure: the same past gives the same words. */
export function describeServers(servers: readonly WatchedServer[], nowSeconds: number): ServerView[] {
  return servers.map((watched) => describeServer(watched, nowSeconds));
}

function describeServer({ report, history }: WatchedServer, nowSeconds: number): ServerView {
  const { reading } = report;
  const engine = engineTitle(report.engine);
  const why = reasons(reading, report.engine, engine);
  const gauge = (metric: LlmMetricName, show: (value: number) => Figure): Figure => {
    const value = sumOf(reading, metric);
    return value === undefined ? unknownFigure(why(metric)) : show(value);
  };
  // An old reading is no news of a server that does not answer now.
  const isUp = reading?.up === true;
  const samples = isUp ? history.samples : [];
  const latencies = latenciesOf(samples, why);
  const stuck = stuckOf(reading, history);
  return {
    server: report.server,
    url: report.url,
    engine,
    version: reading?.version ?? (isUp ? '' : (history.identity?.version ?? '')),
    models: isUp ? reading.models : (history.identity?.models ?? []),
    state: stuck?.state ?? stateOf(reading),
    generated: tokenRate(samples, 'generatedTokens', why('llm_generation_tokens_total')),
    prompt: tokenRate(samples, 'promptTokens', why('llm_prompt_tokens_total')),
    cached: cachedShare(samples, reading, why('llm_prompt_tokens_cached_total')),
    running: gauge('llm_requests_running', countFigure),
    waiting: gauge('llm_requests_waiting', countFigure),
    capacity: gauge('llm_requests_capacity', countFigure),
    kvCache: kvCacheOf(reading, why('llm_kv_cache_usage_ratio')),
    kvCacheDetail: kvCacheDetail(reading, why('llm_kv_cache_usage_ratio')),
    latencies,
    noLatencies: sharedReason(latencies),
    chart: chartOf(
      history.steps.map(({ index, generatedTokens, watchedSeconds }) => ({
        index,
        value: generatedTokens / watchedSeconds,
      })),
      nowSeconds,
      GENERATED_CHART,
    ),
    lastRead: lastReadText(report, nowSeconds),
    since: sinceText(report, nowSeconds),
    problem: stuck?.problem ?? problemOf(report),
    inMemory: modelsInMemory(reading, nowSeconds),
    neverGiven: neverGivenBy(reading),
    unsaid: unsaidBy(reading, why),
    missing: reading?.missing ?? [],
    notes: isEngineName(report.engine) ? (adapterOf(report.engine).notes ?? []) : [],
    why: report.why,
  };
}

function engineTitle(engine: string): string {
  return isEngineName(engine) ? adapterOf(engine).title : '';
}

/** A title without what stands behind it in brackets. */
function shortTitle(title: string): string {
  return title.replace(/ \(.*\)$/, '');
}

function stateOf(reading: EngineReading | undefined): ServerView['state'] {
  if (reading === undefined) return { level: 'unknown', word: 'Reading' };
  const running = sumOf(reading, 'llm_requests_running') ?? 0;
  return reading.state === 'ready' && running > 0
    ? { level: 'serving', word: 'Serving' }
    : STATE_WORDS[reading.state];
}

/** From when on a stall is told, and from when on it is a fault: the same as for the alert LlmUpButNotServing. */
const STALL_SECONDS = {
  // A very long prompt is read so long that nothing moves.
  eachToken: { told: 20, fault: 180 },
  // Nothing moves until a request ends, and answers of minutes are no fault.
  endsOnly: { told: 180, fault: 900 },
};

/** A server that is up, has requests, and makes nothing of them: its health check and its gauges look well. */
function stuckOf(
  reading: EngineReading | undefined,
  { stall, samples }: ServerHistory,
): Pick<ServerView, 'state' | 'problem'> | undefined {
  const latest = samples.at(-1);
  if (reading?.up !== true || reading.state !== 'ready' || stall === undefined || latest === undefined) {
    return undefined;
  }
  const seconds = latest.atSeconds - stall.sinceSeconds;
  const { told, fault } = stall.seesEachToken ? STALL_SECONDS.eachToken : STALL_SECONDS.endsOnly;
  if (seconds < told) return undefined;
  const nothing = stall.seesEachToken ? 'no token' : 'nothing finished';
  const span = spanText(seconds);
  if (seconds < fault) {
    return {
      state: {
        level: 'busy',
        word: `${nothing === 'no token' ? 'No token' : 'Nothing finished'} for ${span}`,
      },
      problem: '',
    };
  }
  const [running, waiting] = (['llm_requests_running', 'llm_requests_waiting'] as const).map(
    (metric) => countFigure(sumOf(reading, metric) ?? 0).text,
  );
  const where = stall.model === undefined || reading.models.length < 2 ? '' : ` of ${stall.model}`;
  return {
    state: { level: 'stuck', word: 'Up, but not serving' },
    problem: `${running} requests run and ${waiting} wait, and${where} ${nothing} has come out for ${span}. Its health check does not tell: restart the engine.`,
  };
}

/** What each reason means, by its name. */
const meanings: ReadonlyMap<string | undefined, string> = new Map(Object.entries(UNAVAILABLE_REASONS));

/** The sentence on why a metric is not there, for each metric. */
function reasons(
  reading: EngineReading | undefined,
  name: string,
  engine: string,
): (metric: LlmMetricName) => string {
  if (reading === undefined) return () => 'not read yet';
  if (!reading.up) return () => 'the server does not answer';
  const told = new Map(
    scalars(reading, 'llm_metric_unavailable_info').map(({ labels }) => [labels['metric'], labels['reason']]),
  );
  const enable = isEngineName(name) ? adapterOf(name).enable : undefined;
  return (metric) => {
    const reason = told.get(metric);
    if (reason === 'engine_lacks') return `not given by ${shortTitle(engine)}`;
    if (reason === 'metrics_disabled' && enable !== undefined) return `switched off: ${enable}`;
    return meanings.get(reason) ?? 'not in the server’s answer';
  };
}

function unsaidBy(
  reading: EngineReading | undefined,
  why: (metric: LlmMetricName) => string,
): readonly Named[] {
  if (reading?.up !== true) return [];
  const unavailable = new Set(
    scalars(reading, 'llm_metric_unavailable_info').map(({ labels }) => labels['metric']),
  );
  return CORE_METRICS.filter((metric) => unavailable.has(metric)).map((metric) => ({
    name: METRIC_WORDS[metric],
    text: why(metric),
  }));
}

function neverGivenBy(reading: EngineReading | undefined): readonly FigureName[] {
  if (reading?.up !== true) return [];
  const lacked = new Set(
    scalars(reading, 'llm_metric_unavailable_info')
      .filter(({ labels }) => labels['reason'] === 'engine_lacks')
      .map(({ labels }) => labels['metric']),
  );
  return (Object.keys(FIGURE_METRICS) as FigureName[]).filter((name) => lacked.has(FIGURE_METRICS[name]));
}

/** The sum over models and replicas; undefined when there is none. */
function sumOf(reading: EngineReading | undefined, metric: LlmMetricName): number | undefined {
  const points = reading === undefined ? [] : scalars(reading, metric);
  return points.length === 0 ? undefined : points.reduce((sum, { value }) => sum + value, 0);
}

/** The newest sample that is at least as old as `fromSeconds` and says what is needed, else the oldest that does. */
function startOf(
  samples: readonly Sample[],
  fromSeconds: number,
  says: (sample: Sample) => boolean,
): Sample | undefined {
  return samples.findLast((sample) => sample.atSeconds <= fromSeconds && says(sample)) ?? samples.find(says);
}

/** Of the last minute where prompts were read in it, else since the engine started. */
function cachedShare(samples: readonly Sample[], reading: EngineReading | undefined, why: string): Figure {
  const latest = samples.at(-1);
  if (latest?.cachedTokens === undefined || latest.promptTokens === undefined) return unknownFigure(why);
  const first = startOf(
    samples,
    latest.atSeconds - WINDOW_SECONDS,
    (sample) => sample.cachedTokens !== undefined && sample.promptTokens !== undefined,
  );
  const prompt = latest.promptTokens - (first?.promptTokens ?? latest.promptTokens);
  const cached = latest.cachedTokens - (first?.cachedTokens ?? latest.cachedTokens);
  if (prompt > 0) return shareFigure(Math.min(1, cached / prompt));
  const total = sumOf(reading, 'llm_prompt_tokens_total') ?? 0;
  if (total === 0) return unknownFigure('no prompt tokens yet');
  return shareFigure(Math.min(1, (sumOf(reading, 'llm_prompt_tokens_cached_total') ?? 0) / total));
}

/** The fullest of the caches: the one that will hold a model or replica back. */
function kvCacheOf(reading: EngineReading | undefined, why: string): Figure {
  const points = reading === undefined ? [] : scalars(reading, 'llm_kv_cache_usage_ratio');
  const ratios = points.filter(({ labels }) => labels['kind'] !== 'host').map(({ value }) => value);
  return ratios.length === 0 ? unknownFigure(why) : shareFigure(Math.max(...ratios));
}

function kvCacheDetail(reading: EngineReading | undefined, why: string): string {
  const used = sumOf(reading, 'llm_kv_cache_used_tokens');
  const capacity = sumOf(reading, 'llm_kv_cache_capacity_tokens');
  if (used !== undefined && capacity !== undefined) {
    return `${countFigure(used).text} of ${countFigure(capacity).text} tokens`;
  }
  if (used !== undefined) return `${countFigure(used).text} tokens held`;
  if (capacity !== undefined) return `room for ${countFigure(capacity).text} tokens`;
  return kvCacheOf(reading, why).reason ?? '';
}

function latenciesOf(
  samples: readonly Sample[],
  why: (metric: LlmMetricName) => string,
): readonly LatencyView[] {
  const has = (metric: LatencyMetric): boolean => samples.at(-1)?.latencies[metric] !== undefined;
  const perToken =
    !has('llm_inter_token_latency_seconds') && has('llm_time_per_output_token_seconds')
      ? ({ metric: 'llm_time_per_output_token_seconds', name: 'Time per output token' } as const)
      : ({ metric: 'llm_inter_token_latency_seconds', name: 'Inter-token latency' } as const);
  const rows = [
    { metric: 'llm_time_to_first_token_seconds', name: 'Time to first token' } as const,
    perToken,
  ];
  return rows.map(({ metric, name }) => latencyOf(samples, metric, name, why(metric)));
}

function latencyOf(
  samples: readonly Sample[],
  metric: LatencyMetric,
  name: string,
  why: string,
): LatencyView {
  const latest = samples.at(-1);
  const points = latest?.latencies[metric];
  if (latest === undefined || points === undefined) {
    return { name, p50: unknownFigure(why), p95: unknownFigure(why), covers: why };
  }
  const first = startOf(
    samples,
    latest.atSeconds - WINDOW_SECONDS,
    ({ latencies }) => latencies[metric] !== undefined,
  );
  const seconds = Math.round(latest.atSeconds - (first?.atSeconds ?? latest.atSeconds));
  const window = seconds >= WINDOW_SECONDS - 5 ? 'minute' : `${seconds} s`;
  const recent = seconds > 0 ? windowLatency(first?.latencies[metric] ?? [], points) : undefined;
  if (recent !== undefined) return { name, ...quantileFigures(recent), covers: `last ${window}` };
  const all = latestLatency(points);
  const quiet = seconds > 0 ? `no requests in the last ${window}` : '';
  if (all === undefined) {
    const reason = 'no requests yet';
    return { name, p50: unknownFigure(reason), p95: unknownFigure(reason), covers: reason };
  }
  return {
    name,
    ...quantileFigures(all),
    covers: quiet === '' ? 'since the engine started' : `${quiet}; since the engine started`,
  };
}

/** The one reason why all of them are unknown; empty when one is known, or the reasons differ. */
function sharedReason(latencies: readonly LatencyView[]): string {
  const reasons = new Set(latencies.map(({ p50 }) => p50.reason));
  const [reason = ''] = reasons;
  return reasons.size === 1 ? reason : '';
}

function quantileFigures({ p50, p95 }: LatencyQuantiles): { p50: Figure; p95: Figure } {
  return { p50: latencyFigure(p50.seconds, p50.isFloor), p95: latencyFigure(p95.seconds, p95.isFloor) };
}

function lastReadText({ reading, lastSuccessSeconds }: TargetReport, nowSeconds: number): string {
  if (lastSuccessSeconds === undefined) return reading === undefined ? 'not read yet' : 'no answer so far';
  const ago = agoText(nowSeconds - lastSuccessSeconds);
  return reading?.up === true ? `read ${ago}` : `last answered ${ago}`;
}

function sinceText({ sinceSeconds, reading }: TargetReport, nowSeconds: number): string {
  const starts = reading?.up === true ? scalars(reading, 'llm_engine_start_time_seconds') : [];
  const start = Math.max(...starts.map(({ value }) => value));
  return starts.length > 0 && start <= nowSeconds
    ? `up ${spanText(nowSeconds - start)}`
    : `watched for ${spanText(nowSeconds - sinceSeconds)}`;
}

function problemOf({ reading, lastError }: TargetReport): string {
  if (reading === undefined) return '';
  const error = reading.up ? reading.errors[0]?.message : lastError?.message;
  if (error === undefined) return reading.up ? '' : 'The server does not answer.';
  return reading.up ? `Not all of it could be read: ${error}` : error;
}
