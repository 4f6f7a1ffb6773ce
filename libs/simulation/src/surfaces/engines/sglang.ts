import type { EngineState, TruthHistogram } from '../../engine/engine.ts';
import { commonBounds } from './bounds.ts';
import {
  printExposition,
  pythonMultiprocessDialect,
  type PrintedFamily,
  type PrintedLabels,
} from './print-exposition.ts';
import {
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
  type EngineSurface,
  type SurfaceContext,
} from './surface.ts';

/** From here on other names and bounds, and ranks as labels of what the scheduler says. */
const RENEWED = '0.4.5';

interface Family {
  readonly name: string;
  readonly type: PrintedFamily['type'];
  readonly help: string;
  readonly since?: string;
  readonly until?: string;
  /** Whether it comes of the scheduler, whose series name their rank. */
  readonly ranked: boolean;
  readonly series: (state: EngineState, context: SurfaceContext) => readonly Series[];
}

type Series =
  | { readonly labels?: PrintedLabels; readonly value: number }
  | { readonly labels?: PrintedLabels; readonly histogram: TruthHistogram };

type Range = Pick<Family, 'since' | 'until'>;

const now: Range = { since: RENEWED };
const old: Range = { until: RENEWED };

/** Bounds of the gauges that stand for a histogram of routing keys. */
const ROUTING_KEYS = [0, 1, 2, 3, 5, 7, 10, 20, 50, 100, 200].map(String);

/** python/sglang/srt/observability/metrics_collector.py (in 2024: srt/metrics/collector.py). */
const FAMILIES: readonly Family[] = [
  // Both totals move when a request ends, as the histograms do.
  tokenizer('prompt_tokens_total', 'counter', 'Number of prefill tokens processed.', {}, (s) => [
    { value: s.histograms.promptTokens.sum },
  ]),
  tokenizer('generation_tokens_total', 'counter', 'Number of generation tokens processed.', {}, (s) => [
    { value: s.histograms.generatedTokens.sum },
  ]),
  tokenizer('num_requests_total', 'counter', 'Number of requests processed.', now, (s) => [
    { value: ended(s) },
  ]),
  tokenizer('num_aborted_requests_total', 'counter', 'Number of requests aborted.', now, (s) => [
    { value: s.requests.abort },
  ]),
  tokenizer(
    'cached_tokens_total',
    'counter',
    'Number of cached prompt tokens by source (device/host/storage).',
    now,
    (s) => [{ labels: { cache_source: 'device' }, value: s.prefixCache.hitTokens }],
  ),
  histogram('time_to_first_token_seconds', 'Histogram of time to first token in seconds.', {}, (h) => [
    h.timeToFirstTokenSeconds,
  ]),
  // In 2024 it took one mean per request.
  histogram('time_per_output_token_seconds', 'Histogram of time per output token in seconds.', old, (h) => [
    h.timePerOutputTokenSeconds,
  ]),
  histogram('inter_token_latency_seconds', 'Histogram of inter-token latency in seconds.', now, (h) => [
    h.interTokenSeconds,
  ]),
  histogram('e2e_request_latency_seconds', 'Histogram of End-to-end request latency in seconds', {}, (h) => [
    h.requestSeconds,
  ]),
  histogram('prompt_tokens_histogram', 'Histogram of prompt token length.', now, (h) => [h.promptTokens]),
  histogram('generation_tokens_histogram', 'Histogram of generation token length.', now, (h) => [
    h.generatedTokens,
  ]),
  {
    name: 'sglang:queue_time_seconds',
    type: 'histogram',
    help: 'Histogram of queueing time in seconds.',
    ...now,
    ranked: true,
    series: (s) => [{ histogram: s.histograms.queueSeconds }],
  },
  gauge('num_running_reqs', 'The number of running requests', old, (s) => s.running),
  gauge('num_running_reqs', 'The number of running requests.', now, (s) => s.running),
  gauge('num_used_tokens', 'The number of used tokens', old, usedTokens),
  gauge('num_used_tokens', 'The number of used tokens.', now, usedTokens),
  gauge('token_usage', 'The token usage', old, kvUsageRatio),
  gauge('token_usage', 'The token usage.', now, kvUsageRatio),
  idle(
    'pending_prealloc_token_usage',
    'The token usage for pending preallocated tokens (not preallocated yet).',
  ),
  idle('swa_token_usage', 'The token usage for SWA layers.'),
  idle('mamba_usage', 'The token usage for Mamba layers.'),
  gauge('gen_throughput', 'The generate throughput (token/s)', old, throughput),
  gauge('gen_throughput', 'The generation throughput (token/s).', now, throughput),
  gauge('num_queue_reqs', 'The number of requests in the waiting queue', old, (s) => s.waiting),
  gauge('num_queue_reqs', 'The number of requests in the waiting queue.', now, (s) => s.waiting),
  idle('num_grammar_queue_reqs', 'The number of requests in the grammar waiting queue.'),
  idle(
    'num_running_reqs_offline_batch',
    "The number of running low-priority offline batch requests(label is 'batch').",
  ),
  // Each log of a decode batch sets it to 0, whatever was hit: sgl-project/sglang#26608.
  gauge('cache_hit_rate', 'The cache hit rate', old, () => 0),
  gauge('cache_hit_rate', 'The prefix cache hit rate.', now, () => 0),
  gauge(
    'max_total_num_tokens',
    'Maximum total number of tokens in the KV cache pool.',
    now,
    kvCapacityTokens,
  ),
  gauge(
    'spec_accept_length',
    'The average acceptance length of speculative decoding.',
    now,
    ({ speculative }) =>
      speculative?.drafts === undefined || speculative.drafts === 0
        ? 0
        : speculative.acceptedTokens / speculative.drafts + 1,
  ),
  gauge(
    'spec_accept_rate',
    'The average acceptance rate of speculative decoding (`accepted tokens / total draft tokens` in batch).',
    now,
    ({ speculative }) =>
      speculative === undefined || speculative.draftTokens === 0
        ? 0
        : speculative.acceptedTokens / speculative.draftTokens,
  ),
  // Prefill and decode are not apart in the world: nothing waits between them.
  idle('num_prefill_prealloc_queue_reqs', 'The number of requests in the prefill prealloc queue.'),
  idle('num_prefill_inflight_queue_reqs', 'The number of requests in the prefill inflight queue.'),
  idle('num_decode_prealloc_queue_reqs', 'The number of requests in the decode prealloc queue.'),
  idle('num_decode_transfer_queue_reqs', 'The number of requests in the decode transfer queue.'),
  idle('kv_transfer_speed_gb_s', 'The transfer speed of the KV cache in GB/s.'),
  idle('kv_transfer_latency_ms', 'The transfer latency of the KV cache in ms.'),
  idle('kv_transfer_bootstrap_ms', 'The bootstrap time of the KV transfer in ms.'),
  idle('kv_transfer_alloc_ms', 'The allocation waiting time of the KV transfer in ms.'),
  idle('kv_transfer_total_mb', 'The total number of tokens transferred in the KV cache.'),
  lora(
    'lora_pool_slots_used',
    'Number of LoRA adapter slots currently occupied in GPU memory.',
    ({ running }) => running.length,
  ),
  lora(
    'lora_pool_slots_total',
    'Total number of LoRA adapter slots available (max_loras_per_batch).',
    ({ max }) => max,
  ),
  lora(
    'lora_pool_utilization',
    'LoRA pool utilization ratio (used/total). 1.0 means pool is full.',
    ({ running, max }) => (max === 0 ? 0 : running.length / max),
  ),
  idle('num_unique_running_routing_keys', 'Number of unique routing keys in running batch.'),
  routingKeys(
    'routing_key_running_req_count',
    'Distribution of routing keys by running request count (gt < count <= le).',
  ),
  routingKeys(
    'routing_key_all_req_count',
    'Distribution of routing keys by running+waiting request count (gt < count <= le).',
  ),
  {
    name: 'sglang:num_retracted_requests_total',
    type: 'counter',
    help: 'Total number of retracted requests.',
    ...now,
    ranked: true,
    series: (s) => [{ value: s.preemptions }],
  },
  {
    // The client of several processes tells them apart by `pid` where a gauge is not said to be summed up.
    name: 'sglang:num_paused_reqs',
    type: 'gauge',
    help: 'The number of paused requests by async weight sync.',
    ...now,
    ranked: true,
    series: (s) => [{ labels: { pid: String(s.pid) }, value: 0 }],
  },
  {
    name: 'sglang:http_responses_total',
    type: 'counter',
    help: 'Total number of HTTP responses by endpoint and status code',
    ...now,
    ranked: false,
    series: (s) =>
      [
        { status_code: '200', value: ended(s) - s.requests.error - s.requests.abort },
        { status_code: '499', value: s.requests.abort },
        { status_code: '500', value: s.requests.error },
        { status_code: '503', value: s.rejected },
      ].flatMap(({ status_code, value }) =>
        value > 0
          ? [{ labels: { endpoint: '/v1/chat/completions', method: 'POST', status_code }, value }]
          : [],
      ),
  },
];

export const sglang: EngineSurface = {
  kind: 'sglang',
  defaultVersion: '0.5.12',
  versions: ['0.4.0', '0.5.12'],
  bounds: (version, contextTokens) =>
    isIn(version, old) ? boundsOf2024(contextTokens) : boundsOf2026(contextTokens),
  listens: ({ condition }) => condition !== 'down',
  notFound: json({ detail: 'Not Found' }, 404),
  answer(path, state, context) {
    const isLoading = state.condition === 'loading';
    switch (pathOnly(path)) {
      case '/metrics':
        return text(printMetrics(state, context), 200, 'text/plain; version=0.0.4; charset=utf-8');
      case '/server_info':
      case '/get_server_info':
        return isLoading ? loading() : json(serverInfo(state, context));
      case '/model_info':
      case '/get_model_info':
        return isLoading
          ? loading()
          : json({
              model_path: servedModel(state),
              tokenizer_path: servedModel(state),
              is_generation: true,
              preferred_sampling_params: null,
              weight_version: 'default',
            });
      case '/v1/models':
        return isLoading ? loading() : json(modelList(state, context));
      case '/health': // generates a token, which a scheduler that hangs does not
        return isLoading || state.condition === 'hung'
          ? loading()
          : { ...text(''), contentType: 'text/plain' };
      default:
        return undefined;
    }
  },
};

function loading(): ReturnType<typeof text> {
  return { status: 503, contentType: 'text/plain', body: '' };
}

function printMetrics(state: EngineState, context: SurfaceContext): string {
  const model = { model_name: servedModel(state) };
  const rank = isIn(state.version, now)
    ? { engine_type: 'unified', moe_ep_rank: '0', pp_rank: '0', tp_rank: '0' }
    : {};
  const families = FAMILIES.filter((family) => isIn(state.version, family)).map(
    ({ name, type, help, ranked, series }): PrintedFamily => {
      const common = name === 'sglang:http_responses_total' ? {} : ranked ? { ...model, ...rank } : model;
      const points = series(state, context).map((each) => ({
        ...each,
        labels: { ...common, ...each.labels },
      }));
      return { name, type, help, points };
    },
  );
  // A process writes a series into its file when it first has a value: what has none is not there.
  const shown = families.filter(({ points }) => points.length > 0 && points.some(hasHappened));
  return printExposition(shown, pythonMultiprocessDialect);
}

/** Histograms of requests come with the first request. */
function hasHappened(point: PrintedFamily['points'][number]): boolean {
  return !('histogram' in point) || point.histogram.count > 0;
}

function serverInfo(state: EngineState, context: SurfaceContext): unknown {
  return {
    model_path: servedModel(state),
    tokenizer_path: servedModel(state),
    served_model_name: servedModel(state),
    context_length: servedContextTokens(context, state.models[0]) ?? null,
    quantization: null,
    tp_size: 1,
    dp_size: 1,
    max_running_requests: null,
    enable_metrics: true,
    status: 'ready',
    max_total_num_tokens: kvCapacityTokens(state),
    internal_states: [
      {
        effective_max_running_requests_per_dp: context.maxRunning,
        last_gen_throughput: throughput(state, context),
      },
    ],
    version: state.version,
  };
}

function modelList(state: EngineState, context: SurfaceContext): unknown {
  const created = Math.floor(unixTime(context, context.seconds));
  const base = state.models[0];
  const max = servedContextTokens(context, base) ?? null;
  return {
    object: 'list',
    data: [
      ...state.models.map((id) => ({
        id,
        object: 'model',
        created,
        owned_by: 'sglang',
        root: id,
        parent: null,
        max_model_len: max,
      })),
      ...(context.loras ?? []).map((id) => ({
        id,
        object: 'model',
        created,
        owned_by: 'sglang',
        root: id,
        parent: base ?? null,
        max_model_len: null,
      })),
    ],
  };
}

function usedTokens({ kv }: EngineState): number {
  return kv.usedBlocks * kv.blockTokens;
}

/** Tokens per second since the last look, or since the start; the engine itself looks every 40 steps. */
function throughput(state: EngineState, { seconds, lastScrape }: SurfaceContext): number {
  const since = lastScrape?.seconds ?? state.startedSeconds;
  const tokens = state.generatedTokens - (lastScrape?.state.generatedTokens ?? 0);
  return seconds > since ? Math.max(0, tokens) / (seconds - since) : 0;
}

function tokenizer(
  name: string,
  type: 'counter',
  help: string,
  range: Range,
  series: Family['series'],
): Family {
  return { name: `sglang:${name}`, type, help, ...range, ranked: false, series: nonZero(series) };
}

/** A counter that was never raised has no series. */
function nonZero(series: Family['series']): Family['series'] {
  return (state, context) => (ended(state) === 0 ? [] : series(state, context));
}

function histogram(
  name: string,
  help: string,
  range: Range,
  of: (histograms: EngineState['histograms']) => readonly TruthHistogram[],
): Family {
  return {
    name: `sglang:${name}`,
    type: 'histogram',
    help,
    ...range,
    ranked: false,
    series: (state) => of(state.histograms).map((each) => ({ histogram: each })),
  };
}

function gauge(
  name: string,
  help: string,
  range: Range,
  of: (state: EngineState, context: SurfaceContext) => number,
): Family {
  return {
    name: `sglang:${name}`,
    type: 'gauge',
    help,
    ...range,
    ranked: true,
    series: (state, context) => [{ value: of(state, context) }],
  };
}

/** Of features that are not in use. */
function idle(name: string, help: string): Family {
  return gauge(name, help, now, () => 0);
}

function lora(name: string, help: string, of: (loras: NonNullable<EngineState['loras']>) => number): Family {
  return {
    ...gauge(name, help, now, () => 0),
    series: ({ loras }) => (loras === undefined ? [] : [{ value: of(loras) }]),
  };
}

function routingKeys(name: string, help: string): Family {
  return {
    ...idle(name, help),
    series: () =>
      ROUTING_KEYS.map((gt, index) => ({ labels: { gt, le: ROUTING_KEYS[index + 1] ?? '+Inf' }, value: 0 })),
  };
}

function boundsOf2024(contextTokens: number): ReturnType<EngineSurface['bounds']> {
  const perToken = [
    0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5,
  ];
  return {
    ...commonBounds(contextTokens),
    timeToFirstTokenSeconds: [
      0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 15, 20, 25, 30,
    ],
    interTokenSeconds: perToken,
    timePerOutputTokenSeconds: perToken,
    requestSeconds: [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60],
  };
}

function boundsOf2026(contextTokens: number): ReturnType<EngineSurface['bounds']> {
  const first = [0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400];
  const tokens = [
    ...[
      100, 300, 500, 700, 1000, 1500, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10_000, 12_000, 15_000,
    ],
    ...[20_000, 22_000, 25_000, 30_000, 35_000, 40_000, 66_000, 99_000, 132_000, 300_000, 600_000, 900_000],
    1_100_000,
  ];
  return {
    ...commonBounds(contextTokens),
    timeToFirstTokenSeconds: first,
    interTokenSeconds: [
      ...[0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4],
      ...[0.6, 0.8, 1, 2, 4, 6, 8],
    ],
    requestSeconds: [...first, 600, 1200, 1800, 2400],
    queueSeconds: [
      ...[
        0, 0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 100, 200, 300, 400, 500, 600,
      ],
      ...[700, 800, 900, 1000, 1200, 1400, 1600, 1800, 2000, 2500, 3000],
    ],
    promptTokens: tokens,
    generatedTokens: tokens,
  };
}
