import type { EngineAdapter, EngineFacts, LabelRule, Observation, RequestPath } from '../adapter.ts';
import type { Answers } from '../answers.ts';
import { joinTables, type FamilyTable } from '../family-tables.ts';
import { textAt } from '../json.ts';
import { modelListOf, openAiModels } from './vllm.ts';

/** Families of finished requests come with the first of them, those of the scheduler with its statistics. */
const WITH_REQUESTS = { expectedWith: 'trtllm_request_success_total' };
const WITH_STATISTICS = { expectedWith: 'trtllm_num_requests_running' };

const HTTP_ERRORS: LabelRule = {
  from: 'http_code',
  map: {
    400: 'validation',
    401: 'rejected',
    403: 'rejected',
    404: 'rejected',
    422: 'validation',
    429: 'overloaded',
    499: 'aborted',
    500: 'internal',
    503: 'overloaded',
    504: 'timeout',
  },
  otherwise: 'other',
};

/** Labelled finished_reason; some builds before 1.3 say finish_reason. */
const FINISH_REASON: LabelRule = {
  from: ['finished_reason', 'finish_reason'],
  map: { stop: 'stop', length: 'length', cancelled: 'abort', error: 'error' },
  otherwise: 'other',
};

/** TensorRT-LLM's own families since 1.3; Dynamo's workers pass them on, and gave older builds the prefix. */
export const trtllmFamilies = {
  llm_requests_running: { from: 'trtllm_num_requests_running', optional: true },
  llm_requests_waiting: { from: 'trtllm_num_requests_waiting', ...WITH_STATISTICS },
  llm_requests_capacity: { from: 'trtllm_max_num_active_requests', ...WITH_STATISTICS },
  llm_requests_finished_total: {
    from: 'trtllm_request_success_total',
    labels: { finish_reason: FINISH_REASON },
    expectedWith: 'trtllm_e2e_request_latency_seconds',
  },
  llm_request_errors_total: {
    from: 'trtllm_request_error_total',
    labels: { error_type: HTTP_ERRORS },
    optional: true,
  },
  llm_prompt_tokens_total: { from: 'trtllm_prompt_tokens_total', since: '1.3', ...WITH_REQUESTS },
  llm_prompt_tokens_cached_total: [
    {
      from: 'trtllm_prompt_cache_hit_tokens_total',
      labels: {
        source: {
          from: 'cache_tier',
          map: { gpu: 'device', host: 'host', disk: 'external' },
          otherwise: 'unknown',
        },
      },
      optional: true,
    },
    {
      from: 'trtllm_prompt_cached_tokens_total',
      unless: 'trtllm_prompt_cache_hit_tokens_total',
      set: { source: 'unknown' },
      optional: true,
    },
  ],
  llm_generation_tokens_total: { from: 'trtllm_generation_tokens_total', since: '1.3', ...WITH_REQUESTS },
  llm_time_to_first_token_seconds: {
    from: 'trtllm_time_to_first_token_seconds',
    ...WITH_REQUESTS,
  },
  llm_time_per_output_token_seconds: {
    from: 'trtllm_time_per_output_token_seconds',
    ...WITH_REQUESTS,
  },
  llm_request_duration_seconds: {
    from: 'trtllm_e2e_request_latency_seconds',
    ...WITH_REQUESTS,
  },
  llm_request_queue_time_seconds: {
    from: 'trtllm_request_queue_time_seconds',
    ...WITH_REQUESTS,
  },
  llm_request_prefill_time_seconds: {
    from: 'trtllm_request_prefill_time_seconds',
    since: '1.3',
    ...WITH_REQUESTS,
  },
  llm_request_decode_time_seconds: {
    from: 'trtllm_request_decode_time_seconds',
    since: '1.3',
    ...WITH_REQUESTS,
  },
  llm_kv_cache_usage_ratio: [
    { from: 'trtllm_kv_cache_utilization', set: { kind: 'device' }, ...WITH_STATISTICS },
    { from: 'trtllm_kv_cache_host_utilization', set: { kind: 'host' }, optional: true },
  ],
  llm_batch_size: { from: 'trtllm_num_scheduled_requests', optional: true },
  llm_spec_decode_draft_tokens_total: {
    from: 'trtllm_spec_decode_num_draft_tokens_total',
    optional: true,
  },
  llm_spec_decode_accepted_tokens_total: {
    from: 'trtllm_spec_decode_num_accepted_tokens_total',
    optional: true,
  },
  llm_spec_decode_accepted_tokens_per_position_total: {
    from: 'trtllm_spec_decode_accepted_tokens_total',
    labels: { position: { from: 'token_position' } },
    optional: true,
  },
  llm_spec_decode_acceptance_length: {
    from: 'trtllm_spec_decode_acceptance_length',
    zeroIsUnknown: true,
    optional: true,
  },
  llm_engine_memory_bytes: [
    { from: 'trtllm_gpu_memory_usage_bytes', set: { kind: 'gpu' }, ...WITH_STATISTICS },
    { from: 'trtllm_cpu_memory_usage_bytes', set: { kind: 'cpu' }, ...WITH_STATISTICS },
    { from: 'trtllm_pinned_memory_usage_bytes', set: { kind: 'pinned' }, ...WITH_STATISTICS },
  ],
} as const satisfies FamilyTable;

/** The five of 1.0 to 1.2, which have no prefix. */
const WITH_OLDER = { expectedWith: 'e2e_request_latency_seconds' };
const olderFamilies = {
  llm_requests_finished_total: {
    from: 'request_success_total',
    labels: { finish_reason: FINISH_REASON },
    ...WITH_OLDER,
  },
  llm_time_to_first_token_seconds: { from: 'time_to_first_token_seconds', ...WITH_OLDER },
  llm_time_per_output_token_seconds: { from: 'time_per_output_token_seconds', ...WITH_OLDER },
  llm_request_duration_seconds: { from: 'e2e_request_latency_seconds', optional: true },
  llm_request_queue_time_seconds: { from: 'request_queue_time_seconds', ...WITH_OLDER },
} as const satisfies FamilyTable;

/** Commands of trtllm-serve that stand where a model can stand. */
const COMMANDS: ReadonlySet<string> = new Set([
  'serve',
  'mm_embedding_serve',
  'disaggregated',
  'disaggregated_mpi_worker',
]);

/**
 * NVIDIA's trtllm-serve. Its `/metrics` is a queue of iteration records which a reader empties for all others, so it is
 * never asked; `/prometheus/metrics` changes nothing.
 */
export const trtllm = {
  title: 'TensorRT-LLM (trtllm-serve)',
  documentation: 'https://nvidia.github.io/TensorRT-LLM/commands/trtllm-serve/trtllm-serve.html',
  enable:
    'set return_perf_metrics: true (and enable_iter_perf_stats: true for queue and KV cache) in the extra LLM API options',
  notes: [
    '/metrics is never asked: it hands out a queue of records, each to one reader only.',
    'Running requests are those the scheduler holds; waiting ones have not reached it.',
    'Builds 1.0 to 1.2 print five families without a prefix, and neither queue, tokens nor KV cache.',
    'Time per output token is the mean of one request; the gaps themselves are not measured.',
  ],
  ports: [8000],
  programs: ['trtllm-serve', 'tensorrt_llm.commands.serve'],
  commandLine: {
    model: [
      { options: ['--served-model-name'], is: 'name' },
      { behind: ['serve', ''], is: 'model', nameOf: (word) => (COMMANDS.has(word) ? undefined : word) },
    ],
  },
  fingerprints: [
    { path: '/prometheus/metrics', families: ['trtllm_'], without: ['dynamo_'] },
    {
      path: '/prometheus/metrics',
      families: ['e2e_request_latency_seconds'],
      with: ['time_to_first_token_seconds', 'request_queue_time_seconds'],
      without: ['num_request', 'gpu_cache_usage_perc'],
    },
    { ownedBy: ['tensorrt_llm'] },
  ],
  requests: [
    {
      as: 'json',
      path: '/v1/models',
      maxAgeSeconds: 60,
      distinctive: true,
      shape: modelListOf('tensorrt_llm'),
    },
    { as: 'exposition', name: '/prometheus/metrics', path: metricsPaths },
    {
      as: 'json',
      path: '/version',
      maxAgeSeconds: 60,
      shape: (value) => textAt(value, 'version') !== undefined,
    },
  ],
  health: { path: '/health', states: { 503: 'failed' } },
  // pid is what the Python client adds to gauges of several processes.
  labels: { model: ['model_name', 'model'], ranks: ['pid'] },
  families: joinTables(trtllmFamilies, olderFamilies),
  parse: parseTrtllm,
  lacks: ['llm_inter_token_latency_seconds'],
} satisfies EngineAdapter;

/** Its labels often say "undefined" for the model, of which there is one. */
function metricsPaths(soFar: Answers): readonly RequestPath[] {
  const [only, ...others] = openAiModels(soFar.json('/v1/models'));
  const named = only !== undefined && others.length === 0;
  return [{ path: '/prometheus/metrics', ...(named ? { labels: { model: only.name } } : {}) }];
}

function parseTrtllm(answers: Answers): EngineFacts {
  const version = textAt(answers.json('/version'), 'version');
  return {
    ...(version === undefined ? {} : { version }),
    models: openAiModels(answers.json('/v1/models')),
    observations: trtllmKvTokens(answers),
  };
}

const KV_BLOCKS = [
  ['llm_kv_cache_capacity_tokens', 'trtllm_kv_cache_max_blocks'],
  ['llm_kv_cache_used_tokens', 'trtllm_kv_cache_used_blocks'],
] as const;

/** Blocks times tokens in a block, for room and use; of one engine, whose one model the exposition names or its request. */
export function trtllmKvTokens(answers: Answers): Observation[] {
  const tokensPerBlock = answers.value('trtllm_kv_cache_tokens_per_block');
  if (tokensPerBlock === undefined) return [];
  return KV_BLOCKS.flatMap(([metric, family]) => {
    const blocks = answers.value(family);
    if (blocks === undefined) return [];
    const labels = modelLabel(answers);
    return [{ metric, labels, value: blocks * tokensPerBlock, source: 'derived' } satisfies Observation];
  });
}

function modelLabel(answers: Answers): Readonly<Record<string, string>> {
  const labels = answers.points('trtllm_kv_cache_tokens_per_block')[0]?.labels;
  const told = labels?.['model_name'] ?? labels?.['model'];
  const model = told === undefined || told === 'undefined' ? answers.expositions[0]?.labels['model'] : told;
  return model === undefined ? {} : { model };
}
