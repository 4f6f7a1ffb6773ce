import type { EngineConfig } from '../engine/engine-config.ts';
import { ENGINE_KINDS } from '../engine/engine-kinds.ts';
import type { EngineKind } from '../engine/engine.ts';
import type { Model } from '../engine/model.ts';
import type { ArrivalSpec } from '../traffic/arrivals.ts';
import type { LengthSpec } from '../traffic/lengths.ts';
import { OPENAI_CLIENT, type TrafficSpec } from '../traffic/traffic.ts';
import { ENGINE_DEFAULTS, type EngineSettings } from './engine-defaults.ts';
import { type IncidentScene, planIncident } from './plan-incident.ts';
import type { Catalogue, EngineSpec, HostSpec, Scenario, TimelineEntry } from './scenario.ts';
import {
  type RawArrivals,
  type RawEngine,
  type RawHost,
  type RawLength,
  type RawSettings,
  type RawTraffic,
  schemas,
} from './schema.ts';

/** Builds what `checkScenario` found no fault with. */
export function buildScenario(value: unknown, catalogue: Catalogue): Scenario {
  const root = schemas.root.whole.parse(value);
  const host = buildHost(schemas.host.whole.parse(root.host), catalogue);
  const engines = root.engines.map((engine) => buildEngine(schemas.engine.whole.parse(engine), catalogue));
  const traffic = root.traffic.map((each) =>
    buildTraffic(schemas.traffic.whole.parse(each), engines, root.start_hour),
  );
  const scene = sceneOf({ host, engines, traffic });
  const timeline = root.timeline.flatMap((each): TimelineEntry[] => {
    const entry = schemas.timeline.whole.parse(each);
    const plan = planIncident(entry, scene);
    if (!plan.ok) return [];
    const forSeconds = entry.for === undefined ? {} : { forSeconds: entry.for };
    return [{ atSeconds: entry.at, ...forSeconds, incident: plan.incident }];
  });
  return { seed: root.seed, startHour: root.start_hour, host, engines, traffic, timeline };
}

/** What incidents can happen to in a scenario, for `planIncident`. */
export function sceneOf({
  host,
  engines,
  traffic,
}: Pick<Scenario, 'host' | 'engines' | 'traffic'>): IncidentScene {
  return {
    gpus: host.gpus.map(({ board }) => ({
      board: board.key,
      vendor: board.vendor,
      fan: board.fan !== undefined,
      ecc: board.ecc,
    })),
    engines: engines.map(({ name, kind, models }) => ({ name, kind, models: models.length })),
    traffic,
  };
}

function buildHost(raw: RawHost, { boards }: Catalogue): HostSpec {
  const gpus = raw.gpus.flatMap(({ board: key, count, power_limit, ambient }) => {
    const board = boards.find((each) => each.key === key);
    if (board === undefined) return [];
    const limit = power_limit === undefined ? {} : { powerLimitWatts: power_limit };
    return Array.from({ length: count }, () => ({ board, ...limit, ambientCelsius: ambient }));
  });
  const { nvidia, cuda, amd } = raw.driver;
  const driver = {
    ...(nvidia === undefined ? {} : { nvidia }),
    ...(cuda === undefined ? {} : { cuda }),
    ...(amd === undefined ? {} : { amd }),
  };
  return { name: raw.name, gpus, driver };
}

/** All models that an engine is to serve, by name. */
export function modelNames({
  model,
  models,
}: {
  readonly model?: string | undefined;
  readonly models?: readonly string[] | undefined;
}): readonly string[] {
  return [...(model === undefined ? [] : [model]), ...(models ?? [])];
}

function buildEngine(raw: RawEngine, catalogue: Catalogue): EngineSpec {
  return {
    name: raw.name,
    kind: raw.kind,
    ...(raw.version === undefined ? {} : { version: raw.version }),
    port: raw.port,
    models: modelNames(raw).flatMap((name) => catalogue.models.find((model) => model.name === name) ?? []),
    gpus: raw.gpus,
    settings: buildSettings(raw.kind, raw.settings),
  };
}

/** An engine's settings: its own defaults, and over them what the scenario says. */
export function buildSettings(kind: EngineKind, raw: RawSettings): EngineSettings {
  const defaults = ENGINE_DEFAULTS[kind];
  const { speculative, loras = [] } = raw;
  const said = {
    maxSequences: raw.max_sequences,
    tokensPerStep: raw.tokens_per_step,
    gpuMemoryRatio: raw.memory_ratio,
    blockTokens: raw.block_tokens,
    prefixCaching: raw.prefix_caching,
    contextTokens: raw.context_tokens,
    maxWaiting: raw.max_waiting,
    deadlineSeconds: raw.deadline,
    loras: loras.length === 0 ? undefined : { names: loras, max: raw.max_loras ?? loras.length },
    speculative:
      speculative === undefined
        ? undefined
        : { draftTokens: speculative.draft_tokens, acceptanceRatio: speculative.acceptance },
    keepAliveSeconds: raw.keep_alive,
    offloadedLayers: raw.gpu_layers,
    diskBytesPerSecond: raw.disk_bytes_per_second,
  };
  return { ...defaults, ...withoutUndefined(said) };
}

/** Tokens of prompt and answer that one request of an engine may have. */
export function tokensPerRequest(
  kind: EngineKind,
  settings: Pick<EngineConfig, 'contextTokens' | 'maxSequences'>,
  model: Model,
): number {
  const traits = ENGINE_KINDS[kind];
  const wanted = settings.contextTokens ?? model.contextTokens;
  const isShared = traits.memory === 'slots' && !traits.contextPerSlot;
  return Math.min(isShared ? Math.floor(wanted / settings.maxSequences) : wanted, model.contextTokens);
}

/** As a traffic is called when it has no name of its own. */
export function trafficName(traffic: {
  readonly name?: string | undefined;
  readonly engine?: string | undefined;
}): string | undefined {
  return traffic.name ?? traffic.engine;
}

function buildTraffic(raw: RawTraffic, engines: readonly EngineSpec[], startHour: number): TrafficSpec {
  const engine = engines.find(({ name }) => name === raw.engine);
  const model = engine?.models.find(({ name }) => name === raw.model) ?? engine?.models[0];
  const context =
    engine === undefined || model === undefined
      ? Infinity
      : tokensPerRequest(engine.kind, engine.settings, model);
  const maxPromptTokens = Math.max(1, context - raw.max_tokens);
  const { prefix, cancel, retries } = raw;
  const length = (given: RawLength, maxTokens: number): LengthSpec => buildLength(given, maxTokens);
  return {
    name: raw.name ?? raw.engine,
    engine: raw.engine,
    model: model?.name ?? '',
    arrivals: buildArrivals(raw.arrivals, startHour),
    prompt: length(raw.prompt, maxPromptTokens),
    output: length(raw.output, Number.MAX_SAFE_INTEGER),
    maxTokens: raw.max_tokens,
    maxPromptTokens,
    tenants: Object.entries(raw.tenants).map(([name, weight]) => ({ name, weight })),
    kinds: raw.kinds,
    ...(prefix.system_tokens === undefined
      ? {}
      : { systemPrompt: { tokens: prefix.system_tokens, ratio: prefix.system_ratio } }),
    ...(prefix.turns === undefined
      ? {}
      : {
          conversations: {
            meanTurns: prefix.turns,
            turnTokens: length(prefix.turn_tokens ?? DEFAULT_TURN, maxPromptTokens),
          },
        }),
    ...(cancel === undefined
      ? {}
      : { impatience: { ratio: cancel.ratio, medianSeconds: cancel.patience, sigma: cancel.sigma } }),
    deadlineSeconds: raw.deadline ?? OPENAI_CLIENT.deadlineSeconds,
    retries:
      retries === undefined
        ? OPENAI_CLIENT.retries
        : {
            attempts: retries.attempts,
            backoffSeconds: retries.backoff ?? OPENAI_CLIENT.retries.backoffSeconds,
            maxBackoffSeconds: retries.max_backoff ?? OPENAI_CLIENT.retries.maxBackoffSeconds,
          },
    loras: Object.entries(raw.loras).map(([name, ratio]) => ({ name, ratio })),
  };
}

/** What a user writes in a further turn; assumed: some sentences. */
const DEFAULT_TURN: RawLength = { median: 60, sigma: 0.8 };

function buildLength({ shape, scale, median, sigma, min = 1, max }: RawLength, limit: number): LengthSpec {
  const bounds = { minTokens: Math.min(min, limit), maxTokens: Math.min(max ?? limit, limit) };
  if (shape !== undefined) return { kind: 'recorded', shape, scale: scale ?? 1, ...bounds };
  return { kind: 'log-normal', medianTokens: median ?? 0, sigma: sigma ?? 0, ...bounds };
}

function buildArrivals({ poisson, diurnal, bursty }: RawArrivals, startHour: number): ArrivalSpec {
  if (bursty !== undefined) {
    return {
      kind: 'bursty',
      ratePerSecond: bursty.rate,
      burstRatePerSecond: bursty.burst_rate,
      meanQuietSeconds: bursty.mean_quiet,
      meanBurstSeconds: bursty.mean_burst,
    };
  }
  if (diurnal !== undefined) {
    const { rate, peak_hour, depth } = diurnal;
    return { kind: 'diurnal', ratePerSecond: rate, peakHour: peak_hour, depthRatio: depth, startHour };
  }
  return { kind: 'poisson', ratePerSecond: poisson?.rate ?? 0 };
}

type Said<Values> = { [Key in keyof Values]?: Exclude<Values[Key], undefined> };

function withoutUndefined<Values extends object>(values: Values): Said<Values> {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) => value !== undefined),
  ) as Said<Values>;
}
