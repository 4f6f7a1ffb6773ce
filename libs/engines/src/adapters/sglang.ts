import type { EngineAdapter, EngineFacts, LabelRule, ModelFact, Observation } from '../adapter.ts';
import type { Answers } from '../answers.ts';
import type { FamilyTable } from '../family-tables.ts';
import { at, listAt, numberAt, textAt } from '../json.ts';
import { isModelList, openAiModels } from './vllm.ts';

/**
 * Requests with a priority are printed once more under it; their total has an empty priority label
 * (SGLang, `SchedulerMetricsCollector._log_gauge_queue_count`).
 */
const TOTAL_OF_PRIORITIES = { priority: [''] };

/** Tokenizer series appear with the first request that ends, all of them at once. */
const WITH_REQUESTS = { expectedWith: 'sglang:prompt_tokens_total' };

/** Routes that make a model work, as `http_responses_total{endpoint}` names them: the path of the route, or "Unknown". */
const SGLANG_GENERATING_ROUTES = [
  '/generate',
  '/encode',
  '/classify',
  '/v1/chat/completions',
  '/v1/completions',
  '/v1/responses',
  '/v1/messages',
  '/v1/embeddings',
  '/v1/classify',
  '/v1/score',
  '/v1/rerank',
  '/v1/audio/transcriptions',
  '/api/chat',
  '/api/generate',
  '/invocations',
] as const;

/** The client went away: such requests are in `num_aborted_requests_total` too. */
const CLIENT_CLOSED_REQUEST = '499';

const HTTP_ERRORS: LabelRule = {
  from: 'status_code',
  map: {
    400: 'validation',
    401: 'rejected',
    403: 'rejected',
    404: 'rejected',
    408: 'timeout',
    413: 'validation',
    422: 'validation',
    429: 'overloaded',
    500: 'internal',
    502: 'internal',
    503: 'overloaded',
    504: 'timeout',
  },
  otherwise: 'other',
};

/** SGLang's own families; Dynamo's workers pass them on. */
export const sglangFamilies = {
  llm_requests_running: { from: 'sglang:num_running_reqs', where: TOTAL_OF_PRIORITIES },
  llm_requests_waiting: {
    from: 'sglang:num_queue_reqs',
    plus: ['sglang:num_grammar_queue_reqs'],
    where: TOTAL_OF_PRIORITIES,
  },
  llm_requests_preempted_total: { from: 'sglang:num_retracted_requests_total', optional: true },
  llm_requests_finished_total: {
    from: 'sglang:num_requests_total',
    set: { finish_reason: 'all' },
    since: '0.4.6',
  },
  llm_request_errors_total: [
    { from: 'sglang:num_aborted_requests_total', set: { error_type: 'aborted' }, optional: true },
    {
      from: 'sglang:http_responses_total',
      // Of the routes that generate only: a probe of an unknown path is no failed request.
      where: { endpoint: SGLANG_GENERATING_ROUTES, status_code: Object.keys(HTTP_ERRORS.map ?? {}) },
      labels: { error_type: HTTP_ERRORS },
      optional: true,
    },
    {
      from: 'sglang:http_responses_total',
      unless: 'sglang:num_aborted_requests_total',
      where: { endpoint: SGLANG_GENERATING_ROUTES, status_code: [CLIENT_CLOSED_REQUEST] },
      set: { error_type: 'aborted' },
      optional: true,
    },
  ],
  llm_prompt_tokens_total: 'sglang:prompt_tokens_total',
  // Each request is counted either by source or, where the scheduler gave no details, as "total": the sum counts none twice.
  llm_prompt_tokens_cached_total: {
    from: 'sglang:cached_tokens_total',
    labels: {
      source: {
        from: 'cache_source',
        map: { device: 'device', host: 'host', total: 'unknown' },
        otherwise: 'external', // storage_<backend>
      },
    },
    optional: true,
  },
  llm_generation_tokens_total: 'sglang:generation_tokens_total',
  llm_request_prompt_tokens: { from: 'sglang:prompt_tokens_histogram', optional: true },
  llm_request_generation_tokens: { from: 'sglang:generation_tokens_histogram', optional: true },
  llm_time_to_first_token_seconds: { from: 'sglang:time_to_first_token_seconds', ...WITH_REQUESTS },
  llm_inter_token_latency_seconds: {
    from: ['sglang:inter_token_latency_seconds', 'sglang:time_per_output_token_seconds'],
    ...WITH_REQUESTS,
  },
  llm_request_duration_seconds: { from: 'sglang:e2e_request_latency_seconds', ...WITH_REQUESTS },
  llm_request_queue_time_seconds: {
    from: 'sglang:queue_time_seconds',
    since: '0.5.4',
    ...WITH_REQUESTS,
  },
  // token_usage is the fullest of several pools; full_token_usage is the one of ordinary attention.
  llm_kv_cache_usage_ratio: {
    from: ['sglang:full_token_usage', 'sglang:token_usage'],
    set: { kind: 'device' },
  },
  llm_kv_cache_capacity_tokens: {
    from: 'sglang:max_total_num_tokens',
    zeroIsUnknown: true,
    optional: true,
  },
  llm_kv_cache_used_tokens: { from: ['sglang:kv_used_tokens', 'sglang:num_used_tokens'] },
  llm_batch_size: { from: 'sglang:num_running_reqs', where: TOTAL_OF_PRIORITIES },
  llm_spec_decode_drafts_total: { from: 'sglang:spec_verify_calls_total', optional: true },
  llm_spec_decode_acceptance_ratio: {
    from: 'sglang:spec_accept_rate',
    zeroIsUnknown: true,
    optional: true,
  },
  llm_spec_decode_acceptance_length: {
    from: 'sglang:spec_accept_length',
    zeroIsUnknown: true,
    fold: 'max',
    optional: true,
  },
  llm_lora_adapters_loaded: { from: 'sglang:lora_pool_slots_used', fold: 'max', optional: true },
  llm_lora_adapters_max: {
    from: 'sglang:lora_pool_slots_total',
    fold: 'max',
    zeroIsUnknown: true,
    optional: true,
  },
  llm_engine_reported_tokens_per_second: { from: 'sglang:gen_throughput', set: { phase: 'decode' } },
} as const satisfies FamilyTable;

/**
 * With --enable-metrics-for-all-schedulers every tensor, pipeline and expert rank prints the same value, which counts
 * once; `pid` is what the Python client adds to gauges of several processes. Data-parallel ranks are real parts.
 */
export const SGLANG_RANKS = ['tp_rank', 'pp_rank', 'moe_ep_rank', 'pid'] as const;

export const sglang = {
  title: 'SGLang',
  documentation: 'https://docs.sglang.ai/references/production_metrics.html',
  enable: 'start SGLang with --enable-metrics',
  notes: [
    'Token and request counters move when a request ends: rates need windows longer than a request.',
    'Scheduler gauges are refreshed every 40 decode steps (--decode-log-interval) and keep their last value when idle.',
    'cache_hit_rate is not read: it belongs to the last batch and is 0 nearly always; the counters say it.',
    'Of requests that end, SGLang counts the sum (finish_reason all); aborted ones are in llm_request_errors_total too.',
    'Builds of 2024 measured one mean per request where newer ones measure each gap: both are read as inter-token latency.',
    '/health is never asked, since SGLang generates a token to answer it.',
  ],
  ports: [30000],
  programs: ['sglang', 'sglang.launch_server', 'sglang.srt.entrypoints.http_server'],
  commandLine: {
    titles: [/^sglang::/],
    model: [
      { options: ['--served-model-name'], is: 'name' },
      { options: ['--model-path', '--model'], is: 'model' },
    ],
  },
  fingerprints: [
    { path: '/metrics', families: ['sglang:'], without: ['dynamo_'] },
    { path: '/server_info', json: isServerInfo },
    { path: '/get_server_info', json: isServerInfo },
    { ownedBy: ['sglang'] },
  ],
  requests: [
    { as: 'exposition', path: '/metrics' },
    {
      as: 'json',
      path: '/server_info',
      maxAgeSeconds: 60,
      optional: true,
      shape: isServerInfo,
      distinctive: true,
    },
    {
      as: 'json',
      name: '/get_server_info',
      path: (soFar) => (soFar.status('/server_info') === 404 ? [{ path: '/get_server_info' }] : []),
      maxAgeSeconds: 60,
      optional: true,
      shape: isServerInfo,
      distinctive: true,
    },
    { as: 'json', path: '/v1/models', maxAgeSeconds: 60, shape: isModelList },
  ],
  // Builds that do not know /model_info answer 404, which they do only once the model is loaded.
  health: { path: '/model_info', states: { 404: 'ready', 503: 'loading' } },
  // In 2024 the model's label was called name.
  labels: { model: ['model_name', 'name'], replica: ['dp_rank'], ranks: SGLANG_RANKS },
  families: sglangFamilies,
  parse: parseSglang,
  lacks: [],
} satisfies EngineAdapter;

/** The server's arguments with the state of each data-parallel scheduler; vLLM's answer at this path has none. */
function isServerInfo(value: unknown): boolean {
  return textAt(value, 'model_path') !== undefined && Array.isArray(at(value, 'internal_states'));
}

function parseSglang(answers: Answers): EngineFacts {
  const info = answers.json('/server_info') ?? answers.json('/get_server_info');
  const version = textAt(info, 'version');
  return {
    ...(version === undefined ? {} : { version }),
    models: modelsOf(answers.json('/v1/models'), info),
    observations: info === undefined ? [] : [...capacity(info), ...kvCapacity(info, answers)],
  };
}

/** The first of the list is the base model; LoRA adapters follow it. */
function modelsOf(list: unknown, info: unknown): ModelFact[] {
  const quantization = textAt(info, 'quantization');
  return openAiModels(list).map((model, index) =>
    index === 0 && quantization !== undefined ? { ...model, quantization } : model,
  );
}

/** Each data-parallel scheduler says how many requests it takes; --max-running-requests is the sum, if it was given. */
function capacity(info: unknown): Observation[] {
  const states = listAt(info, 'internal_states');
  const each = states.map((state) => numberAt(state, 'effective_max_running_requests_per_dp'));
  const known = each.flatMap((value) => (value === undefined ? [] : [value]));
  const sum =
    known.length > 0 && known.length === each.length
      ? known.reduce((total, value) => total + value, 0)
      : numberAt(info, 'max_running_requests');
  if (sum === undefined) return [];
  return [{ metric: 'llm_requests_capacity', labels: servedModel(info), value: sum, source: 'api' }];
}

/** Builds without the gauge say it here, for one scheduler. */
function kvCapacity(info: unknown, answers: Answers): Observation[] {
  const tokens = numberAt(info, 'max_total_num_tokens');
  const gauge = answers.points('sglang:max_total_num_tokens').some(({ value }) => value > 0);
  if (tokens === undefined || gauge) return [];
  const value = tokens * (numberAt(info, 'dp_size') ?? 1);
  return [{ metric: 'llm_kv_cache_capacity_tokens', labels: servedModel(info), value, source: 'api' }];
}

function servedModel(info: unknown): Readonly<Record<string, string>> {
  const model = textAt(info, 'served_model_name') ?? textAt(info, 'model_path');
  return model === undefined ? {} : { model };
}
