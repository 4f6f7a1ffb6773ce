import type { EngineState, TruthHistogram } from '../../engine/engine.ts';
import { commonBounds, oneTwoFive } from './bounds.ts';
import { printExposition, pythonDialect, type PrintedFamily, type PrintedPoint } from './print-exposition.ts';
import {
  compareVersions,
  computedPromptTokens,
  ended,
  isIn,
  json,
  kvCapacityTokens,
  kvUsageRatio,
  pathOnly,
  servedContextTokens,
  servedModel,
  text,
  unixTime,
  type EngineBounds,
  type EngineSurface,
  type SurfaceContext,
} from './surface.ts';

/** The rewritten engine: the default from 0.8 on, other families, an `engine` label. */
const V1 = '0.8';
/** The first whose process prints `_created`: the old engine's code, gone since, had switched that off. */
const CREATED = '0.11.1';
/** Names without `gpu_`; the old ones stay beside them until 0.11. */
const RENAMED = '0.9.2';

interface Family {
  readonly name: string;
  readonly type: PrintedFamily['type'];
  readonly help: string;
  readonly since?: string;
  readonly until?: string;
  readonly points: (state: EngineState, context: SurfaceContext) => readonly PrintedPoint[];
}

type Range = Pick<Family, 'since' | 'until'>;

/** vllm/engine/metrics.py (until 0.11) and vllm/v1/metrics/loggers.py, in the order of the latter. */
const FAMILIES: readonly Family[] = [
  {
    name: 'vllm:cache_config_info',
    type: 'gauge',
    help: 'information of cache_config',
    until: V1,
    points: cacheConfig,
  },
  ...speculative(),
  gauge('num_requests_running', 'Number of requests currently running on GPU.', (s) => s.running, {
    until: V1,
  }),
  gauge('num_requests_running', 'Number of requests in model execution batches.', (s) => s.running, {
    since: V1,
  }),
  gauge('num_requests_waiting', 'Number of requests waiting to be processed.', (s) => s.waiting),
  {
    name: 'vllm:num_requests_waiting_by_reason',
    type: 'gauge',
    help:
      "Number of waiting requests by reason. Reason labels: 'capacity' = waiting for scheduling capacity; 'deferred' = " +
      'deferred by transient constraints (LoRA budget, KV transfer, blocked status). Sum of all reasons equals ' +
      'vllm:num_requests_waiting.',
    since: '0.20',
    points: (state) => [
      point(state, state.waiting, { reason: 'capacity' }),
      point(state, 0, { reason: 'deferred' }),
    ],
  },
  gauge('num_requests_swapped', 'Number of requests swapped to CPU.', (s) => s.swapped, { until: V1 }),
  {
    name: 'vllm:engine_sleep_state',
    type: 'gauge',
    help:
      'Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake; weights_offloaded = 1 ' +
      'means sleep level 1; discard_all = 1 means sleep level 2.',
    since: '0.11.1',
    points: (state) => {
      const asleep = state.condition === 'asleep' ? 1 : 0;
      return [
        point(state, 1 - asleep, { sleep_state: 'awake' }),
        point(state, asleep, { sleep_state: 'weights_offloaded' }),
        point(state, 0, { sleep_state: 'discard_all' }),
      ];
    },
  },
  gauge('gpu_cache_usage_perc', 'GPU KV-cache usage. 1 means 100 percent usage.', kvUsageRatio, {
    until: RENAMED,
  }),
  gauge(
    'gpu_cache_usage_perc',
    'GPU KV-cache usage. 1 means 100 percent usage.DEPRECATED: Use vllm:kv_cache_usage_perc instead.',
    kvUsageRatio,
    { since: RENAMED, until: '0.11' },
  ),
  gauge('cpu_cache_usage_perc', 'CPU KV-cache usage. 1 means 100 percent usage.', () => 0, { until: V1 }),
  gauge('cpu_prefix_cache_hit_rate', 'CPU prefix cache block hit rate.', () => -1, {
    since: '0.6.1',
    until: V1,
  }),
  gauge('gpu_prefix_cache_hit_rate', 'GPU prefix cache block hit rate.', hitRate, {
    since: '0.6.1',
    until: V1,
  }),
  // Of 0.8 these count blocks.
  counter('gpu_prefix_cache_queries', 'GPU prefix cache queries, in terms of number of queried blocks.', {
    of: (s) => Math.floor(s.prefixCache.queriedTokens / s.kv.blockTokens),
    since: V1,
    until: '0.9',
  }),
  counter('gpu_prefix_cache_hits', 'GPU prefix cache hits, in terms of number of cached blocks.', {
    of: (s) => Math.floor(s.prefixCache.hitTokens / s.kv.blockTokens),
    since: V1,
    until: '0.9',
  }),
  counter(
    'gpu_prefix_cache_queries',
    'GPU prefix cache queries, in terms of number of queried tokens.DEPRECATED: Use vllm:prefix_cache_queries instead.',
    { of: (s) => s.prefixCache.queriedTokens, since: '0.9', until: '0.11' },
  ),
  counter(
    'gpu_prefix_cache_hits',
    'GPU prefix cache hits, in terms of number of cached tokens.DEPRECATED: Use vllm:prefix_cache_hits instead.',
    { of: (s) => s.prefixCache.hitTokens, since: '0.9', until: '0.11' },
  ),
  gauge('kv_cache_usage_perc', 'KV-cache usage. 1 means 100 percent usage.', kvUsageRatio, {
    since: RENAMED,
  }),
  counter('prefix_cache_queries', 'Prefix cache queries, in terms of number of queried tokens.', {
    of: (s) => s.prefixCache.queriedTokens,
    since: RENAMED,
  }),
  counter('prefix_cache_hits', 'Prefix cache hits, in terms of number of cached tokens.', {
    of: (s) => s.prefixCache.hitTokens,
    since: RENAMED,
  }),
  // The world has no cache beside the engine's own, and no pictures.
  counter(
    'external_prefix_cache_queries',
    'External prefix cache queries from KV connector cross-instance cache sharing, in terms of number of queried tokens.',
    { of: () => 0, since: '0.11.1' },
  ),
  counter(
    'external_prefix_cache_hits',
    'External prefix cache hits from KV connector cross-instance cache sharing, in terms of number of cached tokens.',
    { of: () => 0, since: '0.11.1' },
  ),
  counter('mm_cache_queries', 'Multi-modal cache queries, in terms of number of queried items.', {
    of: () => 0,
    since: '0.11.1',
  }),
  counter('mm_cache_hits', 'Multi-modal cache hits, in terms of number of cached items.', {
    of: () => 0,
    since: '0.11.1',
  }),
  counter('num_preemptions', 'Cumulative number of preemption from the engine.', {
    of: (s) => s.preemptions,
  }),
  counter('prompt_tokens', 'Number of prefill tokens processed.', { of: (s) => s.promptTokens }),
  {
    name: 'vllm:prompt_tokens_by_source_total',
    type: 'counter',
    help: 'Number of prompt tokens by source.',
    since: '0.16',
    points: (state) => [
      point(state, computedPromptTokens(state), { source: 'local_compute' }),
      point(state, state.prefixCache.hitTokens, { source: 'local_cache_hit' }),
      point(state, 0, { source: 'external_kv_transfer' }),
    ],
  },
  counter('prompt_tokens_cached', 'Number of cached prompt tokens (local + external).', {
    of: (s) => s.prefixCache.hitTokens,
    since: '0.16',
  }),
  counter('generation_tokens', 'Number of generation tokens processed.', { of: (s) => s.generatedTokens }),
  {
    name: 'vllm:request_success_total',
    type: 'counter',
    help: 'Count of successfully processed requests.',
    points: requestSuccess,
  },
  histogram('request_prompt_tokens', 'Number of prefill tokens processed.', (h) => h.promptTokens),
  histogram('request_generation_tokens', 'Number of generation tokens processed.', (h) => h.generatedTokens),
  histogram(
    'iteration_tokens_total',
    'Histogram of number of tokens per engine_step.',
    (h) => h.iterationTokens,
    {
      since: '0.6.4',
    },
  ),
  // Of the answers to one request, of which there is one.
  histogram(
    'request_max_num_generation_tokens',
    'Histogram of maximum number of requested generation tokens.',
    (h) => h.generatedTokens,
    { since: '0.6.4' },
  ),
  {
    name: 'vllm:request_params_best_of',
    type: 'histogram',
    help: 'Histogram of the best_of request parameter.',
    until: '0.6.4',
    points: (state) => [{ labels: labelsOf(state), histogram: ones(state) }],
  },
  {
    name: 'vllm:request_params_n',
    type: 'histogram',
    help: 'Histogram of the n request parameter.',
    points: (state) => [{ labels: labelsOf(state), histogram: ones(state) }],
  },
  histogram(
    'request_params_max_tokens',
    'Histogram of the max_tokens request parameter.',
    (h) => h.maxTokens,
    {
      since: '0.7',
    },
  ),
  histogram(
    'time_to_first_token_seconds',
    'Histogram of time to first token in seconds.',
    (h) => h.timeToFirstTokenSeconds,
  ),
  // Until it was renamed this name meant the gap between two tokens.
  histogram(
    'time_per_output_token_seconds',
    'Histogram of time per output token in seconds.',
    (h) => h.interTokenSeconds,
    { until: '0.10.2' },
  ),
  histogram(
    'time_per_output_token_seconds',
    'Histogram of time per output token in seconds.DEPRECATED: Use vllm:inter_token_latency_seconds instead.',
    (h) => h.interTokenSeconds,
    { since: '0.10.2', until: '0.11' },
  ),
  histogram(
    'inter_token_latency_seconds',
    'Histogram of inter-token latency in seconds.',
    (h) => h.interTokenSeconds,
    { since: '0.10.2' },
  ),
  histogram(
    'request_time_per_output_token_seconds',
    'Histogram of time_per_output_token_seconds per request.',
    (h) => h.timePerOutputTokenSeconds,
    { since: '0.11' },
  ),
  histogram(
    'e2e_request_latency_seconds',
    'Histogram of end to end request latency in seconds.',
    (h) => h.requestSeconds,
    { until: V1 },
  ),
  histogram(
    'e2e_request_latency_seconds',
    'Histogram of e2e request latency in seconds.',
    (h) => h.requestSeconds,
    { since: V1 },
  ),
  phase('queue', 'WAITING', (h) => h.queueSeconds),
  phase('inference', 'RUNNING', (h) => h.inferenceSeconds),
  phase('prefill', 'PREFILL', (h) => h.prefillSeconds),
  phase('decode', 'DECODE', (h) => h.decodeSeconds),
  {
    name: 'vllm:lora_requests_info',
    type: 'gauge',
    help: 'Running stats on lora requests.',
    since: '0.6.4',
    points: ({ loras }, context) =>
      loras === undefined
        ? []
        : [
            {
              labels: {
                max_lora: String(loras.max),
                running_lora_adapters: loras.running.join(','),
                waiting_lora_adapters: loras.waiting.join(','),
              },
              // The value is when it was so; past sets of adapters, which the engine leaves behind, are not told.
              value: unixTime(context, context.seconds),
            },
          ],
  },
  {
    name: 'vllm:cache_config_info',
    type: 'gauge',
    help: 'Information of the LLMEngine CacheConfig',
    since: V1,
    points: cacheConfig,
  },
  {
    // prometheus_fastapi_instrumentator counts what the API server answered; refused requests are nowhere else.
    name: 'http_requests_total',
    type: 'counter',
    help: 'Total number of requests by method, status and handler.',
    since: '0.6.1',
    points: (state) =>
      [
        ['2xx', ended(state) - state.requests.error],
        ['4xx', state.rejected],
        ['5xx', state.requests.error],
      ].flatMap(([status, value]) =>
        typeof value === 'number' && value > 0
          ? [
              {
                labels: { handler: '/v1/chat/completions', method: 'POST', status: String(status) },
                value,
              },
            ]
          : [],
      ),
  },
];

export const vllm: EngineSurface = {
  kind: 'vllm',
  defaultVersion: '0.27.0',
  versions: ['0.4.3', '0.6.0', '0.6.6', '0.10.2', '0.11.2', '0.27.0'],
  bounds: vllmBounds,
  // The API server binds its port once the engine has been loaded.
  listens: ({ condition }) => condition !== 'down' && condition !== 'loading',
  notFound: json({ detail: 'Not Found' }, 404),
  answer(path, state, context) {
    switch (pathOnly(path)) {
      case '/metrics':
        return text(printMetrics(state, context), 200, 'text/plain; version=0.0.4; charset=utf-8');
      case '/version':
        return json({ version: state.version });
      case '/v1/models':
        return json(modelList(state, context));
      case '/health': // it asks whether the engine's process lives, which a stuck one does
        return { status: 200, contentType: 'text/plain', body: '' };
      case '/load':
        return json({ server_load: state.running + state.waiting });
      default:
        return undefined;
    }
  },
};

function printMetrics(state: EngineState, context: SurfaceContext): string {
  const started = unixTime(context, state.startedSeconds);
  const own = FAMILIES.filter((family) => isIn(state.version, family)).map(
    ({ name, type, help, points }): PrintedFamily => ({ name, type, help, points: points(state, context) }),
  );
  // A family of labels that no child has been made of is printed without a sample by the old engine only.
  const shown = own.filter(({ points }) => points.length > 0 || !isV1(state));
  return printExposition(
    [...processFamilies(started, context), ...shown],
    pythonDialect(isIn(state.version, { since: CREATED }) ? started : undefined),
  );
}

function processFamilies(started: number, { residentBytes }: SurfaceContext): PrintedFamily[] {
  const resident: PrintedFamily = {
    name: 'process_resident_memory_bytes',
    type: 'gauge',
    help: 'Resident memory size in bytes.',
    points: [{ labels: {}, value: residentBytes ?? 0 }],
  };
  return [
    ...(residentBytes === undefined ? [] : [resident]),
    {
      name: 'process_start_time_seconds',
      type: 'gauge',
      help: 'Start time of the process since unix epoch in seconds.',
      points: [{ labels: {}, value: started }],
    },
  ];
}

function vllmBounds(version: string, contextTokens: number): EngineBounds {
  const isLong = compareVersions(version, '0.9') >= 0;
  const requests = isIn(version, { until: '0.6.4' })
    ? [1, 2.5, 5, 10, 15, 20, 30, 40, 50, 60]
    : [
        ...[0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60],
        ...(compareVersions(version, '0.8.3') >= 0 ? [120, 240, 480, 960, 1920, 7680] : []),
      ];
  const gaps = [
    ...[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5],
    ...(isLong ? [5, 7.5, 10, 20, 40, 80] : []),
  ];
  const tokens = oneTwoFive(contextTokens);
  return {
    ...commonBounds(contextTokens),
    timeToFirstTokenSeconds: [
      ...[0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
      ...(isLong ? [20, 40, 80, 160, 640, 2560] : []),
    ],
    interTokenSeconds: gaps,
    timePerOutputTokenSeconds: gaps,
    requestSeconds: requests,
    queueSeconds: requests,
    prefillSeconds: requests,
    decodeSeconds: requests,
    inferenceSeconds: requests,
    promptTokens: tokens,
    generatedTokens: tokens,
    maxTokens: tokens,
    iterationTokens: isIn(version, { until: V1 })
      ? [1, 2, 4, ...Array.from({ length: 32 }, (_, index) => 8 * (index + 1))] // the sizes of its CUDA graphs
      : [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384],
  };
}

function modelList(state: EngineState, context: SurfaceContext): unknown {
  const [base = ''] = state.models;
  const created = Math.floor(unixTime(context, context.seconds));
  const entry = (id: string, parent: string | null): unknown => ({
    id,
    object: 'model',
    created,
    owned_by: 'vllm',
    root: parent === null ? id : `/adapters/${id}`,
    parent,
    ...(parent === null ? { max_model_len: servedContextTokens(context, base) ?? null } : {}),
    permission: [
      {
        id: `modelperm-${id.replaceAll(/[^a-z0-9]/gi, '').toLowerCase()}`,
        object: 'model_permission',
        created,
        allow_create_engine: false,
        allow_sampling: true,
        allow_logprobs: true,
        allow_search_indices: false,
        allow_view: true,
        allow_fine_tuning: false,
        organization: '*',
        group: null,
        is_blocking: false,
      },
    ],
  });
  return {
    object: 'list',
    data: [
      ...state.models.map((name) => entry(name, null)),
      ...(context.loras ?? []).map((name) => entry(name, base)),
    ],
  };
}

function labelsOf(state: EngineState): Readonly<Record<string, string>> {
  const model = { model_name: servedModel(state) };
  return isV1(state) ? { ...model, engine: '0' } : model;
}

function isV1({ version }: EngineState): boolean {
  return compareVersions(version, V1) >= 0;
}

function point(state: EngineState, value: number, labels: Readonly<Record<string, string>>): PrintedPoint {
  return { labels: { ...labelsOf(state), ...labels }, value };
}

function gauge(name: string, help: string, of: (state: EngineState) => number, range: Range = {}): Family {
  return {
    name: `vllm:${name}`,
    type: 'gauge',
    help,
    ...range,
    points: (state) => [point(state, of(state), {})],
  };
}

function counter(
  name: string,
  help: string,
  { of, ...range }: Range & { readonly of: (state: EngineState) => number },
): Family {
  return {
    name: `vllm:${name}_total`,
    type: 'counter',
    help,
    ...range,
    points: (state) => [point(state, of(state), {})],
  };
}

function histogram(
  name: string,
  help: string,
  of: (histograms: EngineState['histograms']) => TruthHistogram,
  range: Range = {},
): Family {
  return {
    name: `vllm:${name}`,
    type: 'histogram',
    help,
    ...range,
    points: (state) => [{ labels: labelsOf(state), histogram: of(state.histograms) }],
  };
}

function phase(
  name: string,
  word: string,
  of: (histograms: EngineState['histograms']) => TruthHistogram,
): Family {
  return histogram(
    `request_${name}_time_seconds`,
    `Histogram of time spent in ${word} phase for request.`,
    of,
    {
      since: '0.6.4',
    },
  );
}

/** The old engine declares its families of speculation without samples until it speculates. */
function speculative(): Family[] {
  type Speculation = NonNullable<EngineState['speculative']>;
  const family = (
    name: string,
    type: 'counter' | 'gauge',
    help: string,
    of: (speculation: Speculation) => number | undefined,
    range: Range,
  ): Family => ({
    name: `vllm:spec_decode_${name}`,
    type,
    help,
    ...range,
    points: (state) => {
      const value = state.speculative === undefined ? undefined : of(state.speculative);
      return value === undefined ? [] : [point(state, value, {})];
    },
  });
  const old = { until: V1 };
  const now = { since: V1 };
  return [
    family(
      'draft_acceptance_rate',
      'gauge',
      'Speulative token acceptance rate.', // so spelled there
      ({ draftTokens, acceptedTokens }) => (draftTokens === 0 ? 0 : acceptedTokens / draftTokens),
      { since: '0.5', ...old },
    ),
    family('efficiency', 'gauge', 'Speculative decoding system efficiency.', () => undefined, {
      since: '0.5',
      ...old,
    }),
    family('num_accepted_tokens_total', 'counter', 'Number of accepted tokens.', (s) => s.acceptedTokens, {
      since: '0.5',
      ...old,
    }),
    family('num_draft_tokens_total', 'counter', 'Number of draft tokens.', (s) => s.draftTokens, {
      since: '0.5',
      ...old,
    }),
    family(
      'num_emitted_tokens_total',
      'counter',
      'Number of emitted tokens.',
      ({ drafts, acceptedTokens }) => (drafts === undefined ? undefined : acceptedTokens + drafts),
      { since: '0.5', ...old },
    ),
    family('num_drafts_total', 'counter', 'Number of spec decoding drafts.', (s) => s.drafts, now),
    family('num_draft_tokens_total', 'counter', 'Number of draft tokens.', (s) => s.draftTokens, now),
    family(
      'num_accepted_tokens_total',
      'counter',
      'Number of accepted tokens.',
      (s) => s.acceptedTokens,
      now,
    ),
  ];
}

/** The old engine makes a series of a reason when it first occurs, the new one makes all of those it knows at once. */
function requestSuccess(state: EngineState): PrintedPoint[] {
  const { stop, length, abort, error } = state.requests;
  const known: Readonly<Record<string, number>> = {
    stop,
    length,
    abort,
    ...(isIn(state.version, { since: '0.13' }) ? { error } : {}),
    ...(isIn(state.version, { since: '0.18' }) ? { repetition: 0 } : {}),
  };
  return Object.entries(known)
    .filter(([, count]) => isV1(state) || count > 0)
    .map(([finished_reason, count]) => point(state, count, { finished_reason }));
}

/** Each request asks for one answer. */
function ones(state: EngineState): TruthHistogram {
  const count = ended(state);
  return { bounds: [1, 2, 5, 10, 20], counts: [count, 0, 0, 0, 0], sum: count, count };
}

/** -1 is what the old engine prints while its prefix cache is off. */
function hitRate({ prefixCache }: EngineState): number {
  return prefixCache.queriedTokens === 0 ? -1 : prefixCache.hitTokens / prefixCache.queriedTokens;
}

/** The whole CacheConfig as labels: what is in it changes with each release. */
function cacheConfig(state: EngineState): PrintedPoint[] {
  const { version, kv, prefixCache } = state;
  const isNewest = isIn(version, { since: '0.20' });
  const all: Readonly<Record<string, string>> = {
    block_size: String(kv.blockTokens),
    cache_dtype: 'auto',
    enable_prefix_caching: isV1(state) || prefixCache.queriedTokens > 0 ? 'True' : 'False',
    gpu_memory_utilization: '0.9',
    num_gpu_blocks: String(kv.capacityBlocks),
    num_gpu_blocks_override: 'None',
    sliding_window: 'None',
    num_cpu_blocks: isV1(state) ? 'None' : '0',
    ...(isV1(state) ? { engine: '0' } : {}),
    ...(isIn(version, { until: '0.5' }) ? { cpu_kvcache_space_bytes: '4294967296' } : {}),
    ...(isIn(version, { since: '0.5', until: '0.20' }) ? { cpu_offload_gb: '0' } : {}),
    ...(isNewest ? {} : { swap_space_bytes: '4294967296' }),
    ...(isIn(version, { since: '0.9' }) ? { prefix_caching_hash_algo: isNewest ? 'sha256' : 'builtin' } : {}),
    ...(isNewest
      ? {
          cpu_kvcache_space_bytes: 'None',
          is_attention_free: 'False',
          kv_cache_size_tokens: String(kvCapacityTokens(state)),
          kv_offloading_size: 'None',
        }
      : {}),
  };
  return [{ labels: all, value: 1 }];
}
