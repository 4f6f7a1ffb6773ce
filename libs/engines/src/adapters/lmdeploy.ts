import type { Labels } from '@llm-monitor/metrics-core';

import type { EngineAdapter, EngineFacts, LabelRule } from '../adapter.ts';
import type { Answers } from '../answers.ts';
import { textAt } from '../json.ts';

import { modelListOf, openAiModels } from './vllm.ts';

/** How Python prints an enum's members. */
const RESPONSE_TYPE = 'ResponseType.';

/** LMDeploy's `ResponseType`, without that prefix and in lower case; what is not here is an error. */
const FINISH_REASONS = {
  finish: 'stop',
  success: 'stop',
  input_length_error: 'error',
  cancel: 'abort',
} as const;

const FINISHED: readonly string[] = ['finish', 'success'];

/** What kind of failure each other `ResponseType` is. */
const ERROR_TYPE: LabelRule = {
  from: 'finished_reason',
  strip: RESPONSE_TYPE,
  map: {
    input_length_error: 'validation',
    session_repeat: 'rejected',
    session_not_exist: 'rejected',
    handler_not_exist: 'rejected',
    prefix_cache_conflict_interactive_mode: 'rejected',
    no_queue: 'overloaded',
    cancel: 'aborted',
    engine_stop_error: 'internal',
    internal_engine_error: 'internal',
  },
  otherwise: 'other',
};

function hasFailed(labels: Labels): boolean {
  const reason = labels['finished_reason'] ?? '';
  const bare = reason.startsWith(RESPONSE_TYPE) ? reason.slice(RESPONSE_TYPE.length) : reason;
  return !FINISHED.includes(bare.toLowerCase());
}

/** LMDeploy (TurboMind and PyTorch engines). Its families follow vLLM's, with some names and types of its own. */
export const lmdeploy = {
  title: 'LMDeploy',
  documentation: 'https://lmdeploy.readthedocs.io/en/latest/advance/metrics.html',
  enable: 'LMDeploy prints its metrics unless it was started with --disable-metrics',
  notes: [
    'Finished requests are not split into stop and length: both are FINISH, counted as stop here.',
    'Failed requests are among the finished ones, by finish_reason error or abort, and in llm_request_errors_total.',
    'time_per_output_token_seconds is the gap before each engine step over the tokens it made, not the mean of a whole request.',
    'Queue, prefill and decode histograms have no bound below 0.3 s: of a healthy server only their means say something.',
  ],
  ports: [23333],
  programs: ['lmdeploy', 'lmdeploy.serve.openai.api_server'],
  commandLine: {
    model: [
      { options: ['--model-name'], is: 'name' },
      { behind: ['serve api_server'], is: 'model' },
    ],
  },
  fingerprints: [{ path: '/metrics', families: ['lmdeploy:'] }, { ownedBy: ['lmdeploy'] }],
  requests: [
    { as: 'exposition', path: '/metrics' },
    { as: 'json', path: '/v1/models', maxAgeSeconds: 60, shape: modelListOf('lmdeploy') },
  ],
  health: { path: '/health', states: { 503: 'failed' } },
  labels: { model: ['model_name'], replica: ['engine'] },
  families: {
    llm_engine_start_time_seconds: { from: 'process_start_time_seconds', optional: true },
    llm_requests_running: 'lmdeploy:num_requests_running',
    // Waiting in the engine, and in front of it for a free request handle.
    llm_requests_waiting: {
      from: 'lmdeploy:num_requests_waiting',
      plus: ['lmdeploy:num_api_requests_waiting'],
    },
    llm_requests_finished_total: {
      from: 'lmdeploy:request_success_total', // failures among them, by finished_reason
      labels: {
        finish_reason: {
          from: 'finished_reason',
          strip: RESPONSE_TYPE,
          map: FINISH_REASONS,
          otherwise: 'error',
        },
      },
    },
    llm_request_errors_total: {
      from: 'lmdeploy:request_success_total', // "success" is but a name
      only: () => hasFailed,
      labels: { error_type: ERROR_TYPE },
    },
    llm_prompt_tokens_total: 'lmdeploy:prompt_tokens_total',
    llm_prompt_tokens_cached_total: {
      from: 'lmdeploy:cached_tokens_total',
      set: { source: 'device' },
      optional: true, // since 2026
    },
    llm_generation_tokens_total: 'lmdeploy:generation_tokens_total',
    llm_request_prompt_tokens: 'lmdeploy:request_prompt_tokens',
    llm_request_generation_tokens: 'lmdeploy:request_generation_tokens',
    llm_time_to_first_token_seconds: 'lmdeploy:time_to_first_token_seconds',
    llm_inter_token_latency_seconds: 'lmdeploy:iter_token_latency', // seconds, though the name does not say so
    llm_time_per_output_token_seconds: 'lmdeploy:time_per_output_token_seconds',
    llm_request_duration_seconds: 'lmdeploy:e2e_request_latency_seconds',
    llm_request_queue_time_seconds: 'lmdeploy:request_queue_time_seconds',
    llm_request_prefill_time_seconds: 'lmdeploy:request_prefill_time_seconds',
    llm_request_decode_time_seconds: 'lmdeploy:request_decode_time_seconds',
    llm_kv_cache_usage_ratio: { from: 'lmdeploy:gpu_cache_usage_perc', set: { kind: 'device' } },
    llm_batch_tokens: 'lmdeploy:iteration_tokens_total',
    llm_spec_decode_drafts_total: { from: 'lmdeploy:spec_decode_num_drafts_total', optional: true },
    llm_spec_decode_draft_tokens_total: {
      from: 'lmdeploy:spec_decode_num_draft_tokens_total',
      optional: true,
    },
    llm_spec_decode_accepted_tokens_total: {
      from: 'lmdeploy:spec_decode_num_accepted_tokens_total',
      optional: true,
    },
    llm_spec_decode_accepted_tokens_per_position_total: {
      from: 'lmdeploy:spec_decode_num_accepted_tokens_per_pos_total',
      labels: { position: { from: 'position' } },
      optional: true,
    },
  },
  parse: parseLmDeploy,
  lacks: ['llm_requests_capacity'],
} satisfies EngineAdapter;

function parseLmDeploy(answers: Answers): EngineFacts {
  const sleeping = textAt(answers.saidOfHealth, 'status') === 'sleeping';
  return {
    ...(sleeping ? { state: 'sleeping' } : {}),
    models: openAiModels(answers.json('/v1/models')),
  };
}
