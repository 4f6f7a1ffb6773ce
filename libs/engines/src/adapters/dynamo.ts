import type { EngineAdapter, EngineFacts, LabelRule, ModelFact, RequestPath } from '../adapter.ts';
import type { Answers } from '../answers.ts';
import { joinTables, passedOn, type FamilyTable } from '../family-tables.ts';
import { SGLANG_RANKS, sglangFamilies } from './sglang.ts';
import { trtllmFamilies, trtllmKvTokens } from './trtllm.ts';
import { isModelList, parseVllm, vllmFamilies } from './vllm.ts';

/** The frontend prints a model's families with its first request. */
const WITH_REQUESTS = { expectedWith: 'dynamo_frontend_requests_total' };

const FRONTEND_ERRORS: LabelRule = {
  from: 'error_type',
  map: {
    validation: 'validation',
    not_found: 'rejected',
    not_implemented: 'rejected',
    overload: 'overloaded',
    cancelled: 'aborted',
    internal: 'internal',
  },
  otherwise: 'other',
};

/** What clients see, over all workers: lib/runtime/src/metrics/prometheus_names.rs `frontend_service`. */
const frontendFamilies = {
  llm_requests_running: {
    from: ['dynamo_frontend_active_requests', 'dynamo_frontend_inflight_requests'],
    ...WITH_REQUESTS,
  },
  // Their window ends with the first token; the stages have no model label.
  llm_requests_waiting: {
    from: ['dynamo_frontend_queued_requests', 'dynamo_frontend_stage_requests'],
    ...WITH_REQUESTS,
  },
  llm_requests_finished_total: {
    from: 'dynamo_frontend_requests_total',
    where: { status: ['success'] },
    set: { finish_reason: 'all' },
    expectedWith: 'dynamo_frontend_request_duration_seconds',
  },
  llm_request_errors_total: {
    from: 'dynamo_frontend_requests_total',
    where: { status: ['error'] },
    labels: { error_type: FRONTEND_ERRORS },
    expectedWith: 'dynamo_frontend_request_duration_seconds',
  },
  llm_prompt_tokens_total: { from: 'dynamo_frontend_input_sequence_tokens', part: 'sum', ...WITH_REQUESTS },
  llm_prompt_tokens_cached_total: {
    from: 'dynamo_frontend_cached_tokens',
    part: 'sum',
    set: { source: 'unknown' },
    optional: true,
  },
  llm_generation_tokens_total: [
    { from: 'dynamo_frontend_output_tokens_total', optional: true }, // counts as tokens come
    {
      from: 'dynamo_frontend_output_sequence_tokens',
      part: 'sum',
      unless: 'dynamo_frontend_output_tokens_total',
      ...WITH_REQUESTS,
    },
  ],
  llm_request_prompt_tokens: { from: 'dynamo_frontend_input_sequence_tokens', ...WITH_REQUESTS },
  llm_request_generation_tokens: { from: 'dynamo_frontend_output_sequence_tokens', ...WITH_REQUESTS },
  llm_time_to_first_token_seconds: { from: 'dynamo_frontend_time_to_first_token_seconds', ...WITH_REQUESTS },
  llm_inter_token_latency_seconds: { from: 'dynamo_frontend_inter_token_latency_seconds', ...WITH_REQUESTS },
  llm_request_duration_seconds: { from: 'dynamo_frontend_request_duration_seconds', ...WITH_REQUESTS },
} as const satisfies FamilyTable;

/** A worker's other endpoints (clear_kv_blocks, load_lora …) are no requests to a model. */
const GENERATE = { where: { dynamo_endpoint: ['generate'] }, optional: true } as const;

/** What Dynamo itself counts around an engine, where the engine does not say it. */
const workerFamilies = {
  llm_requests_running: {
    from: 'dynamo_component_inflight_requests',
    unless: ['vllm:num_requests_running', 'sglang:num_running_reqs', 'trtllm_num_requests_running'],
    ...GENERATE,
  },
  llm_requests_finished_total: {
    from: 'dynamo_component_requests_total',
    set: { finish_reason: 'all' },
    unless: ['vllm:request_success_total', 'sglang:num_requests_total', 'trtllm_request_success_total'],
    ...GENERATE,
  },
  llm_request_errors_total: {
    from: 'dynamo_component_errors_total',
    labels: {
      error_type: {
        from: 'error_type',
        map: { generate: 'internal', deserialization: 'validation', invalid_message: 'validation' },
        otherwise: 'other',
      },
    },
    ...GENERATE,
  },
  llm_request_duration_seconds: {
    from: 'dynamo_component_request_duration_seconds',
    unless: [
      'vllm:e2e_request_latency_seconds',
      'sglang:e2e_request_latency_seconds',
      'trtllm_e2e_request_latency_seconds',
    ],
    ...GENERATE,
  },
  llm_kv_cache_usage_ratio: {
    from: 'dynamo_component_gpu_cache_usage_percent', // named "percent", reports 0 to 1
    unless: [
      'vllm:kv_cache_usage_perc',
      'vllm:gpu_cache_usage_perc',
      'sglang:token_usage',
      'trtllm_kv_cache_utilization',
    ],
    set: { kind: 'device' },
    optional: true,
  },
} as const satisfies FamilyTable;

/** NVIDIA Dynamo: the frontend, which sees requests as clients do, or a worker, which passes its engine's metrics on. */
export const dynamo = {
  title: 'NVIDIA Dynamo',
  documentation: 'https://docs.nvidia.com/dynamo/latest/observability/metrics.html',
  enable: 'workers print metrics where DYN_SYSTEM_PORT is set; the frontend does on its own port',
  notes: [
    'Frontend and workers are servers of their own here: their requests and tokens are the same ones and must not be added.',
    'Of a frontend, running requests are all from arrival to last token, and waiting ones those of them without a first token.',
    'Of a worker, the metrics of its engine (vLLM, SGLang, TensorRT-LLM) are read; what Dynamo counts itself fills the gaps.',
    'The size of the KV cache that a frontend prints is that of one worker: it is not read.',
    'A frontend started with DYN_METRICS_PREFIX is not recognized.',
  ],
  ports: [8000, 8081],
  programs: ['dynamo.frontend', 'dynamo.vllm', 'dynamo.sglang', 'dynamo.trtllm'],
  commandLine: {
    model: [
      { options: ['--served-model-name'], is: 'name' },
      { options: ['--model', '--model-path'], is: 'model' },
    ],
  },
  fingerprints: [{ path: '/metrics', families: ['dynamo_frontend_', 'dynamo_component_'] }],
  requests: [
    { as: 'exposition', path: '/metrics' },
    { as: 'json', name: '/v1/models', path: modelPaths, maxAgeSeconds: 60, shape: isModelList },
  ],
  health: { path: '/health', states: { 503: 'loading' } },
  labels: { model: ['model_name', 'model'], replica: ['engine', 'dp_rank'], ranks: SGLANG_RANKS },
  families: joinTables(
    frontendFamilies,
    workerFamilies,
    passedOn(vllmFamilies, 'vllm:'),
    passedOn(sglangFamilies, 'sglang:'),
    passedOn(trtllmFamilies, 'trtllm_'),
  ),
  parse: parseDynamo,
  lacks: [],
} satisfies EngineAdapter;

/** Only a frontend serves the list of models. */
function modelPaths(soFar: Answers): readonly RequestPath[] {
  return isFrontend(soFar) ? [{ path: '/v1/models' }] : [];
}

function isFrontend(answers: Answers): boolean {
  return answers.hasFamily('dynamo_frontend_');
}

function parseDynamo(answers: Answers): EngineFacts {
  const { state, models = [], observations = [] } = parseVllm(answers);
  return {
    ...(state === undefined ? {} : { state }),
    models: models.map((model) => withContext(model, answers)),
    observations: [...observations, ...trtllmKvTokens(answers)],
    ...(isFrontend(answers) ? { unavailable: FRONTEND_LACKS } : {}),
    ...(answers.hasFamily('vllm:') ? { unavailable: { llm_requests_capacity: 'engine_lacks' } } : {}),
  };
}

const FRONTEND_LACKS = {
  llm_requests_capacity: 'engine_lacks',
  llm_request_queue_time_seconds: 'engine_lacks',
  llm_kv_cache_usage_ratio: 'engine_lacks',
} as const;

function withContext(model: ModelFact, answers: Answers): ModelFact {
  const context = answers
    .points('dynamo_frontend_model_context_length')
    .find(({ labels }) => labels['model'] === model.name);
  return context === undefined ? model : { ...model, contextTokens: context.value };
}
