import type { Labels } from '@llm-monitor/metrics-core';

import type { EngineAdapter, EngineFacts, ModelFact, Observation, RequestPath } from '../adapter.ts';
import type { Answers, Exposition } from '../answers.ts';
import type { LlmMetricName } from '../families.ts';
import { booleanAt, listAt, numberAt, textAt } from '../json.ts';

/**
 * The first build known to answer `/metrics` of a sleeping model without waking it (llama.cpp #27376, 2026-08-19, seen
 * on b11669). Older ones are not asked while they sleep.
 */
const METRICS_LET_SLEEP_SINCE_BUILD = 11669;

/**
 * llama.cpp's llama-server. What is asked depends on what it said before, so that nothing wakes, loads or keeps awake
 * a model: `/props` first; in router mode only loaded models, with `autoload=false`; `/slots`, which restarts the
 * idle timer, only while requests are running, which hold the model awake anyway.
 */
export const llamacpp = {
  title: 'llama.cpp (llama-server)',
  documentation:
    'https://github.com/ggml-org/llama.cpp/tree/master/tools/server#get-metrics-prometheus-compatible-metrics-exporter',
  enable: 'start llama-server with --metrics',
  notes: [
    'Token counters move when a request ends; llm_generation_tokens_in_flight holds what the running ones have made so far.',
    'Counters are printed with six significant digits: above a million they move in steps of 10, above ten million of 100.',
    'The two speed gauges are windows between any two scrapes, which other readers shorten: they are not read at all.',
    'The KV cache figures count running slots only; they are read from /slots, and only while a request is running.',
    'There is no latency histogram in llama-server.',
    'Builds before b11669 are not asked for metrics while their model sleeps, since that would wake it.',
    'On builds of December 2025 to August 2026 a scrape restarts the timer of --sleep-idle-seconds: a model that is scraped more often than that never falls asleep.',
    'Builds before August 2026 do not count prompt tokens taken from the cache: llm_prompt_tokens_total leaves them out there.',
    'With four slots the size of the KV cache is not told: llama-server takes four sharing one cache when --parallel is not given, and does not say so.',
  ],
  ports: [8080, 9931],
  programs: ['llama-server', 'llama.cpp/server'],
  // Which name counts: load_model in tools/server/server-context.cpp.
  commandLine: {
    model: [
      { options: ['-a', '--alias'], is: 'name', nameOf: firstAlias },
      { options: ['-hff', '--hf-file'], is: 'file' },
      { options: ['-m', '--model'], is: 'file' },
      { options: ['-hf', '-hfr', '--hf-repo'], is: 'name' },
      { options: ['-mu', '--model-url'], is: 'file' },
    ],
  },
  fingerprints: [
    { header: ['server', 'llama.cpp'] },
    { path: '/metrics', families: ['llamacpp:'] },
    { ownedBy: ['llamacpp'] },
  ],
  requests: [
    { as: 'json', path: '/props', shape: isProps, distinctive: true },
    { as: 'json', path: '/v1/models', shape: (value) => listAt(value, 'data').some(isLlamaCppModel) },
    { as: 'exposition', name: '/metrics', path: metricsPaths },
    { as: 'json', name: '/slots', path: slotsPaths, shape: isSlots, distinctive: true },
  ],
  health: { path: '/health', states: { 503: 'loading' } },
  families: {
    llm_requests_running: 'llamacpp:requests_processing',
    llm_requests_waiting: 'llamacpp:requests_deferred',
    // The native counter leaves cached tokens out; builds before 2026-08 do not print them at all.
    llm_prompt_tokens_total: {
      from: 'llamacpp:prompt_tokens_total',
      plus: ['llamacpp:prompt_tokens_cached_total'],
    },
    llm_prompt_tokens_cached_total: {
      from: 'llamacpp:prompt_tokens_cached_total',
      set: { source: 'device' },
      optional: true,
    },
    llm_generation_tokens_total: 'llamacpp:tokens_predicted_total',
    llm_prefill_busy_seconds_total: 'llamacpp:prompt_seconds_total',
    llm_decode_busy_seconds_total: 'llamacpp:tokens_predicted_seconds_total',
    llm_kv_cache_usage_ratio: {
      from: 'llamacpp:kv_cache_usage_ratio',
      set: { kind: 'device' },
      optional: true,
    },
    llm_kv_cache_used_tokens: { from: 'llamacpp:kv_cache_tokens', optional: true },
    llm_batch_size: { from: 'llamacpp:requests_processing' },
    llm_spec_decode_drafts_total: { from: 'llamacpp:spec_decode_num_drafts_total', optional: true },
    llm_spec_decode_draft_tokens_total: {
      from: 'llamacpp:spec_decode_num_draft_tokens_total',
      optional: true,
    },
    llm_spec_decode_accepted_tokens_total: {
      from: 'llamacpp:spec_decode_num_accepted_tokens_total',
      optional: true,
    },
    llm_spec_decode_accepted_tokens_per_position_total: {
      from: 'llamacpp:spec_decode_num_accepted_tokens_per_pos_total',
      labels: { position: { from: 'position' } },
      optional: true,
    },
  },
  parse: parseLlamaCpp,
  lacks: [
    'llm_requests_finished_total',
    'llm_time_to_first_token_seconds',
    'llm_inter_token_latency_seconds',
    'llm_request_duration_seconds',
    'llm_request_queue_time_seconds',
  ],
} satisfies EngineAdapter;

/** Aliases are a sorted set in the server, and the first of it is the model's name. */
function firstAlias(aliases: string): string | undefined {
  return aliases
    .split(',')
    .map((alias) => alias.trim())
    .filter((alias) => alias !== '')
    .sort()[0];
}

function isProps(value: unknown): boolean {
  return numberAt(value, 'total_slots') !== undefined || textAt(value, 'role') === 'router';
}

function isLlamaCppModel(entry: unknown): boolean {
  return textAt(entry, 'owned_by') === 'llamacpp';
}

function isSlots(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((slot) => numberAt(slot, 'id') !== undefined && numberAt(slot, 'n_ctx') !== undefined)
  );
}

/** `/metrics` of the one model, or of each loaded model of a router; none of a model that must not be woken. */
function metricsPaths(soFar: Answers): readonly RequestPath[] {
  const props = soFar.json('/props');
  if (isRouter(soFar)) {
    return loadedModels(soFar).map((model) => ({
      path: `/metrics?model=${encodeURIComponent(model)}&autoload=false`,
      labels: { model },
    }));
  }
  if (booleanAt(props, 'is_sleeping') === true && (buildOf(props) ?? 0) < METRICS_LET_SLEEP_SINCE_BUILD) {
    return [];
  }
  return [{ path: '/metrics', labels: modelLabel(soFar) }];
}

/** `/slots` of each model that is running a request now. */
function slotsPaths(soFar: Answers): readonly RequestPath[] {
  if (!saysSlots(soFar)) return [];
  return soFar.expositions
    .filter((exposition) => (running(exposition) ?? 0) > 0)
    .map(({ labels }) => ({ path: slotsPath(soFar, labels), labels }));
}

function slotsPath(soFar: Answers, labels: Labels): string {
  return isRouter(soFar)
    ? `/slots?model=${encodeURIComponent(labels['model'] ?? '')}&autoload=false`
    : '/slots';
}

function isRouter(soFar: Answers): boolean {
  return textAt(soFar.json('/props'), 'role') === 'router';
}

function saysSlots(soFar: Answers): boolean {
  return booleanAt(soFar.json('/props'), 'endpoint_slots') !== false;
}

function running({ families }: Exposition): number | undefined {
  const point = families.get('llamacpp:requests_processing')?.points[0];
  return point !== undefined && 'value' in point ? point.value : undefined;
}

function loadedModels(soFar: Answers): string[] {
  return listAt(soFar.json('/v1/models'), 'data').flatMap((entry) => {
    const model = textAt(entry, 'id');
    return model !== undefined && textAt(entry, 'status', 'value') === 'loaded' ? [model] : [];
  });
}

/** The served name: the alias, or the model file's name where none was given. */
function modelLabel(soFar: Answers): { model: string } | Record<string, never> {
  const named =
    textAt(soFar.json('/v1/models'), 'data', 0, 'id') ?? textAt(soFar.json('/props'), 'model_alias');
  return named === undefined ? {} : { model: named };
}

function buildOf(props: unknown): number | undefined {
  const digits = /^b(\d+)/.exec(textAt(props, 'build_info') ?? '')?.[1];
  return digits === undefined ? undefined : Number(digits);
}

function parseLlamaCpp(answers: Answers): EngineFacts {
  const props = answers.json('/props');
  const version = textAt(props, 'build_info');
  const asleep = booleanAt(props, 'is_sleeping') === true;
  const cannotAsk = asleep && answers.expositions.length === 0;
  return {
    ...(version === undefined ? {} : { version }),
    ...(asleep ? { state: 'sleeping' as const } : {}),
    models: modelsOf(answers),
    observations: [
      ...(isRouter(answers) ? [] : serverFacts(answers)),
      ...answers.expositions.flatMap((exposition) => slotFacts(answers, exposition)),
    ],
    ...(cannotAsk ? { unavailable: ASLEEP } : hasUnclearCache(answers) ? { unavailable: UNCLEAR } : {}),
  };
}

/** Of the four slots of today's default nothing tells whether they share one cache: see `roomOf`. */
const UNCLEAR = { llm_kv_cache_usage_ratio: 'ambiguous' } as const;

/** Of a router the slots of each model that is at work tell, of a server its `/props`. */
function hasUnclearCache(answers: Answers): boolean {
  const inServer = numberAt(answers.json('/props'), 'total_slots');
  const counts = isRouter(answers)
    ? answers.expositions.map(({ labels }) => listAt(answers.json(slotsPath(answers, labels))).length)
    : [inServer ?? 0];
  return counts.some((slots) => isCacheShared(answers, slots) === undefined);
}

const ASLEEP = {
  llm_requests_running: 'asleep',
  llm_requests_waiting: 'asleep',
  llm_prompt_tokens_total: 'asleep',
  llm_prompt_tokens_cached_total: 'asleep',
  llm_generation_tokens_total: 'asleep',
  llm_kv_cache_usage_ratio: 'asleep',
} as const;

function modelsOf(answers: Answers): ModelFact[] {
  const sleeping = booleanAt(answers.json('/props'), 'is_sleeping');
  return listAt(answers.json('/v1/models'), 'data').flatMap((entry) => {
    const name = textAt(entry, 'id');
    if (name === undefined) return [];
    const contextTokens = numberAt(entry, 'meta', 'n_ctx');
    const quantization = textAt(entry, 'meta', 'ftype');
    const parameters = numberAt(entry, 'meta', 'n_params');
    // A sleeping model has been taken out of memory; a router says so of each of its models.
    const status = textAt(entry, 'status', 'value');
    const loaded = status === undefined ? sleeping === false : status === 'loaded';
    return [
      {
        name,
        format: 'gguf',
        ...(contextTokens === undefined ? {} : { contextTokens }),
        ...(quantization === undefined ? {} : { quantization }),
        ...(parameters === undefined ? {} : { parameterSize: inWords(parameters) }),
        ...(status === undefined && sleeping === undefined ? {} : { loaded }),
      },
    ];
  });
}

/** Parameters as model cards write them: 8.0B, 770M. */
function inWords(parameters: number): string {
  return parameters >= 1e9 ? `${(parameters / 1e9).toFixed(1)}B` : `${(parameters / 1e6).toFixed(0)}M`;
}

/** What the server of one model says of itself, at work or not. */
function serverFacts(answers: Answers): Observation[] {
  const slots = numberAt(answers.json('/props'), 'total_slots');
  // A sleeping model has been taken out of memory.
  const asleep = booleanAt(answers.json('/props'), 'is_sleeping') === true;
  const size = asleep ? undefined : numberAt(answers.json('/v1/models'), 'data', 0, 'meta', 'size');
  const labels = modelLabel(answers);
  return [
    ...observed('llm_requests_capacity', labels, slots, 'api'),
    ...observed('llm_kv_cache_capacity_tokens', labels, roomOfServer(answers), 'derived'),
    ...observed('llm_model_memory_bytes', { ...labels, kind: 'total' }, size, 'api'),
  ];
}

function roomOfServer(answers: Answers): number | undefined {
  const slots = numberAt(answers.json('/props'), 'total_slots');
  const context = numberAt(answers.json('/props'), 'default_generation_settings', 'n_ctx');
  return slots === undefined || context === undefined ? undefined : roomOf(answers, slots, context);
}

/** Slots that llama-server makes when it is not told how many, and that then share one cache. */
const SLOTS_BY_DEFAULT = 4;
/** About the first builds that choose the number of slots themselves (November 2025, #16736). */
const CHOOSES_SLOTS_SINCE_BUILD = 6900;

/** Tokens for which the KV cache has room; undefined where nothing tells whether the slots share it. */
function roomOf(answers: Answers, slots: number, contextOfSlot: number): number | undefined {
  return isCacheShared(answers, slots) === undefined ? undefined : slots * contextOfSlot;
}

/** Whether that many slots share one cache: they do not, or (undefined) it cannot be told. */
function isCacheShared(answers: Answers, slots: number): false | undefined {
  // Every build that has a router is younger than that.
  const chooses = isRouter(answers) || (buildOf(answers.json('/props')) ?? 0) >= CHOOSES_SLOTS_SINCE_BUILD;
  return chooses && slots === SLOTS_BY_DEFAULT ? undefined : false;
}

/** Tokens held and made by the slots that run now. Idle slots keep old tokens, which are free to be overwritten. */
function slotFacts(answers: Answers, exposition: Exposition): Observation[] {
  const { labels } = exposition;
  if (!saysSlots(answers)) return [];
  // No slot runs: nothing is held and nothing is under way, which needs no look at /slots.
  if (running(exposition) === 0) return held(labels, 0, 0, roomOfServer(answers));
  const slots = answers.json(slotsPath(answers, labels));
  if (!Array.isArray(slots)) return [];
  const busy = slots.filter((slot) => booleanAt(slot, 'is_processing') === true);
  const made = sum(
    busy,
    (slot) => numberAt(slot, 'next_token', 0, 'n_decoded') ?? numberAt(slot, 'next_token', 'n_decoded'),
  );
  // The whole sequence so far, prompt and answer; builds before October 2025 do not say it.
  const tokens = sum(busy, (slot) => numberAt(slot, 'n_prompt_tokens'));
  const context = numberAt(slots[0], 'n_ctx');
  return held(
    labels,
    made,
    tokens,
    context === undefined ? undefined : roomOf(answers, slots.length, context),
  );
}

/** The sum, or undefined when one of them is unknown. */
function sum(slots: readonly unknown[], of: (slot: unknown) => number | undefined): number | undefined {
  return slots.reduce<number | undefined>((total, slot) => {
    const value = of(slot);
    return total === undefined || value === undefined ? undefined : total + value;
  }, 0);
}

function held(
  labels: Labels,
  made: number | undefined,
  tokens: number | undefined,
  room: number | undefined,
): Observation[] {
  const ratio =
    tokens === undefined || room === undefined || room === 0 ? undefined : Math.min(tokens / room, 1);
  return [
    ...observed('llm_generation_tokens_in_flight', labels, made, 'api'),
    ...observed('llm_kv_cache_used_tokens', labels, tokens, 'derived'),
    ...observed('llm_kv_cache_usage_ratio', { ...labels, kind: 'device' }, ratio, 'derived'),
  ];
}

function observed(
  metric: LlmMetricName,
  labels: Labels,
  value: number | undefined,
  source: Observation['source'],
): Observation[] {
  return value === undefined ? [] : [{ metric, labels, value, source }];
}
