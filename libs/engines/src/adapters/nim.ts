import type { EngineAdapter, EngineFacts, RequestPath } from '../adapter.ts';
import type { Answers } from '../answers.ts';
import { joinTables, passedOn, type FamilyTable } from '../family-tables.ts';
import { textAt } from '../json.ts';
import { trtllmFamilies, trtllmKvTokens } from './trtllm.ts';
import { isModelList, parseVllm, VLLM_FINISH_REASONS, vllmFamilies } from './vllm.ts';

/** The families that NIM 1.x prints without a prefix, whichever engine runs inside; they stand and fall together. */
const OWN = { expectedWith: 'num_request' };

const nimFamilies = {
  llm_requests_running: { from: 'num_requests_running', ...OWN },
  llm_requests_waiting: { from: 'num_requests_waiting', ...OWN },
  llm_requests_capacity: { from: 'num_request_max', ...OWN },
  llm_requests_finished_total: {
    from: 'request_finish_total',
    labels: { finish_reason: { from: 'finished_reason', map: VLLM_FINISH_REASONS, otherwise: 'other' } },
    ...OWN,
  },
  llm_request_errors_total: { from: 'request_failure_total', set: { error_type: 'other' }, ...OWN },
  llm_prompt_tokens_total: { from: 'prompt_tokens_total', ...OWN },
  llm_generation_tokens_total: { from: 'generation_tokens_total', ...OWN },
  llm_request_prompt_tokens: { from: 'request_prompt_tokens', ...OWN },
  llm_request_generation_tokens: { from: 'request_generation_tokens', ...OWN },
  llm_time_to_first_token_seconds: { from: 'time_to_first_token_seconds', ...OWN },
  // As vLLM used the name until 0.10: each gap between two tokens, not the mean of a request.
  llm_inter_token_latency_seconds: { from: 'time_per_output_token_seconds', ...OWN },
  llm_request_duration_seconds: { from: 'e2e_request_latency_seconds', ...OWN },
  llm_kv_cache_usage_ratio: {
    from: 'gpu_cache_usage_perc', // named "perc", reports 0 to 1
    set: { kind: 'device' },
    ...OWN,
  },
} as const satisfies FamilyTable;

/** NVIDIA NIM for LLMs: 1.x with its own names, later ones with those of the engine inside. */
export const nim = {
  title: 'NVIDIA NIM',
  documentation: 'https://docs.nvidia.com/nim/large-language-models/latest/observability.html',
  notes: [
    'NIM 1.x prints its families without a prefix; later ones print those of vLLM or TensorRT-LLM, which are read as such.',
    'time_per_output_token_seconds of NIM 1.x measures each gap: it is read as inter-token latency.',
  ],
  ports: [8000],
  programs: ['nim_llm.entrypoints.launch', 'vllm_nvext.entrypoints.openai.api_server'],
  commandLine: {
    model: [
      { options: ['--served-model-name'], is: 'name' },
      { options: ['--model'], is: 'model' },
    ],
  },
  fingerprints: [
    { path: '/v1/version', json: isRelease },
    ...(['/metrics', '/v1/metrics'] as const).map((path) => ({
      path,
      families: ['num_request_max', 'request_finish_total'],
      with: ['num_requests_running', 'gpu_cache_usage_perc'],
      without: ['npu_'],
    })),
  ],
  requests: [
    { as: 'exposition', path: '/v1/metrics', optional: true },
    { as: 'exposition', name: '/metrics', path: olderMetricsPaths },
    { as: 'json', path: '/v1/version', maxAgeSeconds: 60, shape: isRelease, distinctive: true },
    { as: 'json', path: '/v1/models', maxAgeSeconds: 60, shape: isModelList },
  ],
  health: { path: '/v1/health/ready', states: { 503: 'loading' } },
  labels: { model: ['model_name', 'model'], replica: ['engine'], ranks: ['pid'] },
  families: joinTables(nimFamilies, passedOn(vllmFamilies, 'vllm:'), passedOn(trtllmFamilies, 'trtllm_')),
  parse: parseNim,
  lacks: [],
} satisfies EngineAdapter;

const NIM_LACKS = {
  llm_prompt_tokens_cached_total: 'engine_lacks',
  llm_request_queue_time_seconds: 'engine_lacks',
} as const;

function isRelease(value: unknown): boolean {
  return textAt(value, 'release') !== undefined && textAt(value, 'api') !== undefined;
}

/** Releases before 1.8 have their metrics outside of /v1 only. */
function olderMetricsPaths(soFar: Answers): readonly RequestPath[] {
  return soFar.expositions.length === 0 ? [{ path: '/metrics' }] : [];
}

function parseNim(answers: Answers): EngineFacts {
  const version = textAt(answers.json('/v1/version'), 'release');
  const { observations = [], ...facts } = parseVllm(answers);
  return {
    ...facts,
    ...(version === undefined ? {} : { version }),
    observations: [...observations, ...trtllmKvTokens(answers)],
    ...(answers.hasFamily(OWN.expectedWith) ? { unavailable: NIM_LACKS } : {}),
  };
}
