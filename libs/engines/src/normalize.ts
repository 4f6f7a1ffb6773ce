import { parseIssueKinds, type Labels, type MetricFamily } from '@llm-monitor/metrics-core';

import type { EngineAdapter, EngineFacts, ModelFact, Observation } from './adapter.ts';
import type { Answers } from './answers.ts';
import { applyRules, keyOf, type Applied, type CanonicalPoints } from './apply-rules.ts';
import {
  CORE_METRICS,
  ENGINE_STATES,
  llmFamilies,
  type CanonicalFamily,
  type CoreMetric,
  type EngineState,
  type LlmMetricName,
  type UnavailableReason,
} from './families.ts';
import type { EngineReading, Identity, MetricSource, SourceIssue } from './reading.ts';
import type { TargetError } from './target-error.ts';
import { versionIsIn } from './version.ts';

/** What came of the requests of one reading. */
export interface Answered {
  readonly answers: Answers;
  /** How the engine was recognized, for `llm_engine_info`. */
  readonly detectedBy: string;
  /** Requests that failed, the one that says most of a target that is down first. */
  readonly errors: readonly TargetError[];
}

/**
 * Turns an engine's answers into canonical families. Pure: the same answers give the same reading.
 * An answer that says nothing of a metric leaves it absent; for core metrics the reason is a series of its own.
 */
export function normalize(adapter: EngineAdapter, identity: Identity, answered: Answered): EngineReading {
  const { answers, errors } = answered;
  const facts = adapter.parse?.(answers) ?? {};
  const applied = answers.expositions.map((exposition) => applyRules(adapter, exposition));
  const up = isUp(adapter, answers);
  const state = up ? stateOf(adapter, answers, facts) : 'unreachable';
  const builder = new FamilyBuilder(identity);
  for (const { metrics } of applied) for (const points of metrics) builder.addPoints(points);
  for (const observation of facts.observations ?? []) builder.addObservation(observation);
  for (const model of facts.models ?? []) addModel(builder, model);
  // An engine that loads prints what it has so far: what it will not have is not known yet.
  const isSettled = up && !NOT_READY.has(state);
  const missing = isSettled ? missingNames(applied, facts.version, answers.expositions.length) : [];
  const issues = issuesOf(answers, applied);
  addServerFamilies(builder, { up, state, facts, detectedBy: answered.detectedBy });
  if (up) {
    for (const [metric, reason] of unavailable(adapter, { facts, state }, builder, answered)) {
      builder.addScalar('llm_metric_unavailable_info', { metric, reason }, 1, 'derived');
    }
    if (isSettled && answers.expositions.length > 0) {
      builder.addScalar('llm_source_metrics_missing', {}, missing.length, 'derived');
    }
    for (const { kind, count } of issues)
      builder.addScalar('llm_source_parse_issues', { kind }, count, 'derived');
  }
  return {
    families: builder.build(),
    up,
    state,
    ...(facts.version === undefined ? {} : { version: facts.version }),
    models: builder.models(facts.models ?? []),
    sources: builder.sources,
    missing,
    issues,
    errors,
  };
}

/** The families of a server of which nothing but its state is known. */
export function serverFamilies(identity: Identity, state: EngineState): MetricFamily[] {
  const builder = new FamilyBuilder(identity);
  addServerFamilies(builder, { up: false, state, facts: {}, detectedBy: '' });
  return builder.build();
}

/** Up: something was answered that only this engine answers so, or its own word that it loads or has failed. */
function isUp({ health }: EngineAdapter, answers: Answers): boolean {
  if (answers.expositions.length > 0 || answers.jsonPaths().length > 0) return true;
  const status = health === undefined ? undefined : answers.status(health.path);
  return status !== undefined && status >= 500 && health?.states?.[status] !== undefined;
}

function stateOf(adapter: EngineAdapter, answers: Answers, facts: EngineFacts): EngineState {
  if (facts.state !== undefined) return facts.state;
  if (adapter.health === undefined) return 'ready';
  const status = answers.status(adapter.health.path);
  return status === undefined ? 'unknown' : healthState(adapter, status);
}

function healthState({ health }: EngineAdapter, status: number): EngineState {
  return health?.states?.[status] ?? (status >= 200 && status < 300 ? 'ready' : 'unknown');
}

function addServerFamilies(
  builder: FamilyBuilder,
  server: { up: boolean; state: EngineState; facts: EngineFacts; detectedBy: string },
): void {
  const { up, state, facts, detectedBy } = server;
  builder.addScalar('llm_up', {}, up ? 1 : 0, 'derived');
  if (state !== 'unknown') builder.addScalar('llm_ready', {}, state === 'ready' ? 1 : 0, 'derived');
  for (const each of ENGINE_STATES) {
    builder.addScalar('llm_engine_state', { state: each }, each === state ? 1 : 0, 'derived');
  }
  if (!up) return;
  const version: Labels = facts.version === undefined ? {} : { version: facts.version };
  builder.addScalar('llm_engine_info', { ...version, detected_by: detectedBy }, 1, 'api');
}

function addModel(builder: FamilyBuilder, fact: ModelFact): void {
  const labels: Record<string, string> = { model: fact.name };
  if (fact.root !== undefined) labels['root'] = fact.root;
  if (fact.quantization !== undefined) labels['quantization'] = fact.quantization;
  if (fact.parameterSize !== undefined) labels['parameter_size'] = fact.parameterSize;
  if (fact.format !== undefined) labels['format'] = fact.format;
  if (fact.family !== undefined) labels['family'] = fact.family;
  builder.addScalar('llm_model_info', labels, 1, 'api');
  const model = { model: fact.name };
  if (fact.contextTokens !== undefined)
    builder.addScalar('llm_model_context_tokens', model, fact.contextTokens, 'api');
  if (fact.loaded !== undefined) builder.addScalar('llm_model_loaded', model, fact.loaded ? 1 : 0, 'api');
}

/** Native names that should have been in the answer: a rule without `optional`, in its version range, not there. */
function missingNames(
  applied: readonly Applied[],
  version: string | undefined,
  expositions: number,
): string[] {
  if (expositions === 0) return [];
  const names = new Set<string>();
  for (const { absent } of applied) {
    for (const { rule, names: looked } of absent) {
      if (rule.optional !== true && versionIsIn(version, rule) === true && looked[0] !== undefined)
        names.add(looked[0]);
    }
  }
  return [...names].sort();
}

const NOT_READY: ReadonlySet<EngineState> = new Set(['loading', 'failed']);

/** Core metrics that the reading lacks, each with the best reason known. */
function unavailable(
  adapter: EngineAdapter,
  { facts, state }: { facts: EngineFacts; state: EngineState },
  builder: FamilyBuilder,
  answered: Answered,
): [CoreMetric, UnavailableReason][] {
  const { answers, errors } = answered;
  return CORE_METRICS.filter((metric) => !builder.has(metric)).map((metric) => {
    const told = facts.unavailable?.[metric];
    if (told !== undefined) return [metric, told];
    if (adapter.lacks.includes(metric)) return [metric, 'engine_lacks'];
    if (answers.expositions.length > 0) {
      return [metric, NOT_READY.has(state) ? 'not_ready' : 'not_in_answer'];
    }
    if (isUnauthorized(adapter, answered)) return [metric, 'unauthorized'];
    if (NOT_READY.has(state)) return [metric, 'not_ready'];
    const refused = errors.some(({ reason }) => reason === 'disabled' || reason === 'not_found');
    return [metric, refused ? 'metrics_disabled' : 'not_in_answer'];
  });
}

/** Whether it is for want of a key that there are no metrics: the exposition was refused so, or all that failed. */
function isUnauthorized({ requests }: EngineAdapter, { answers, errors }: Answered): boolean {
  const refused = errors.filter(({ reason }) => reason === 'unauthorized');
  if (refused.length === 0 || refused.length === errors.length) return refused.length > 0;
  const paths = requests
    .filter((request) => request.as === 'exposition')
    .map(({ path, name }) => (typeof path === 'string' ? path : name));
  return [...answers.statuses()].some(
    ([path, status]) => (status === 401 || status === 403) && paths.includes(path.replace(/\?.*$/, '')),
  );
}

function issuesOf(answers: Answers, applied: readonly Applied[]): SourceIssue[] {
  const byKind = new Map<string, SourceIssue>();
  const note = (kind: string, count: number, example: string): void => {
    const before = byKind.get(kind);
    byKind.set(kind, { kind, count: (before?.count ?? 0) + count, example: before?.example ?? example });
  };
  for (const { issues } of answers.expositions) {
    for (const { kind, count, example } of issues) {
      if (parseIssueKinds[kind].effect !== 'ignored') note(kind, count, example);
    }
  }
  for (const { rejected } of applied) {
    for (const [kind, { count, example }] of rejected) note(kind, count, example);
  }
  return [...byKind.values()].sort((one, other) => one.kind.localeCompare(other.kind));
}

/** Gathers canonical points and labels them; the replica label goes where there is but one replica. */
class FamilyBuilder {
  readonly sources: Partial<Record<LlmMetricName, MetricSource>> = {};
  private readonly scalars = new Map<LlmMetricName, Map<string, { labels: Labels; value: number }>>();
  private readonly histograms = new Map<LlmMetricName, CanonicalPoints['histograms'][number][]>();

  /** Label sets with `server` and `engine` on them: points that share one share the other. */
  private readonly labels = new Map<Labels, Labels>();
  private readonly identity: Identity;

  constructor(identity: Identity) {
    this.identity = identity;
  }

  addPoints({ metric, scalars, histograms, derived }: CanonicalPoints): void {
    const source = derived ? 'derived' : 'native';
    for (const { labels, value } of scalars) this.addScalar(metric, labels, value, source);
    if (histograms.length === 0) return;
    this.sources[metric] ??= source;
    this.histograms.set(metric, [...(this.histograms.get(metric) ?? []), ...histograms]);
  }

  addObservation({ metric, labels = {}, value, source }: Observation): void {
    if (Number.isFinite(value)) this.addScalar(metric, labels, value, source);
  }

  /** The first value for a label set stays: what the engine prints wins over what is derived from it later. */
  addScalar(metric: LlmMetricName, labels: Labels, value: number, source: MetricSource): void {
    const points = this.scalars.get(metric) ?? new Map<string, { labels: Labels; value: number }>();
    this.scalars.set(metric, points);
    this.sources[metric] ??= source;
    const key = keyOf(labels);
    if (!points.has(key)) points.set(key, { labels, value });
  }

  has(metric: LlmMetricName): boolean {
    return this.scalars.has(metric) || this.histograms.has(metric);
  }

  /** Names of the models: those listed by the engine first, then those seen in labels. */
  models(listed: readonly ModelFact[]): string[] {
    const names = new Set(listed.filter(({ loaded }) => loaded !== false).map(({ name }) => name));
    for (const points of this.allLabels()) {
      if (points['model'] !== undefined) names.add(points['model']);
    }
    for (const { name, loaded } of listed) if (loaded === false) names.delete(name);
    return [...names];
  }

  build(): MetricFamily[] {
    const oneReplica =
      new Set([...this.allLabels()].map((labels) => labels['replica']).filter(Boolean)).size < 2;
    const families: MetricFamily[] = [];
    for (const [metric, declared] of Object.entries(llmFamilies) as [LlmMetricName, CanonicalFamily][]) {
      const head = { name: metric, help: declared.help, ...unitOf(metric, declared) };
      const scalars = this.scalars.get(metric);
      const histograms = this.histograms.get(metric);
      if (declared.type === 'histogram') {
        if (histograms === undefined) continue;
        const points = histograms.map((point) => ({
          ...point,
          labels: this.labelled(point.labels, oneReplica),
        }));
        families.push({ ...head, type: 'histogram', points });
      } else if (scalars !== undefined && declared.type !== 'summary' && declared.type !== 'gaugehistogram') {
        const points = [...scalars.values()].map(({ labels, value }) => ({
          labels: this.labelled(labels, oneReplica),
          value,
        }));
        families.push({ ...head, type: declared.type, points });
      }
    }
    return families;
  }

  private *allLabels(): Generator<Labels> {
    for (const points of this.scalars.values()) for (const { labels } of points.values()) yield labels;
    for (const points of this.histograms.values()) for (const { labels } of points) yield labels;
  }

  private labelled(labels: Labels, oneReplica: boolean): Labels {
    const before = this.labels.get(labels);
    if (before !== undefined) return before;
    const all: Record<string, string> = { server: this.identity.server, engine: this.identity.engine };
    for (const [name, value] of Object.entries(labels))
      if (name !== 'replica' || !oneReplica) all[name] = value;
    this.labels.set(labels, all);
    return all;
  }
}

/** The unit for OpenMetrics, which wants it at the end of the name. */
function unitOf(metric: string, { unit }: CanonicalFamily): { unit?: string } {
  return unit !== undefined && metric.replace(/_total$/, '').endsWith(`_${unit}`) ? { unit } : {};
}
