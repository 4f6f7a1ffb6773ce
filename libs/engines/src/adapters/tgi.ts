import type { EngineAdapter, EngineFacts, LabelRule, RequestPath } from '../adapter.ts';
import type { Answers } from '../answers.ts';
import { numberAt, textAt } from '../json.ts';

/** TGI prints a family from its first value on: these come with the first request that succeeds. */
const WITH_REQUESTS = { expectedWith: 'tgi_request_success' };

const FAILURES: LabelRule = {
  from: 'err',
  map: {
    overloaded: 'overloaded',
    validation: 'validation',
    template: 'validation',
    generation: 'internal',
    incomplete: 'internal',
    dropped: 'aborted', // the client had gone
  },
  otherwise: 'other',
};

/** Hugging Face's Text Generation Inference, 1.x to 3.x: no model label, counters without `_total`. */
export const tgi = {
  title: 'Hugging Face TGI',
  documentation: 'https://huggingface.co/docs/text-generation-inference/reference/metrics',
  notes: [
    'A family appears with its first value: a server that served nothing yet prints next to nothing.',
    'Token totals are the sums of the length histograms: they move when a request ends.',
    'Time per output token includes the prefill: TGI divides the whole inference by the tokens.',
    'KV tokens in use are those reserved for the batch, prompt and longest answer together.',
    'There is no time to first token and no gap between tokens.',
    '/health is never asked, since TGI runs its model (or touches its GPU) to answer it.',
  ],
  ports: [3000],
  programs: ['text-generation-launcher', 'text-generation-router'],
  commandLine: {
    workers: ['text-generation-server'],
    model: [{ options: ['--model-id'], behind: ['serve'], is: 'model' }],
  },
  fingerprints: [
    { path: '/info', json: (value) => textAt(value, 'router') === 'text-generation-router' },
    { path: '/metrics', families: ['tgi_'] },
  ],
  requests: [
    { as: 'json', path: '/info', maxAgeSeconds: 60, shape: isInfo, distinctive: true },
    { as: 'exposition', name: '/metrics', path: metricsPaths },
  ],
  families: {
    llm_requests_running: { from: 'tgi_batch_current_size', ...WITH_REQUESTS },
    llm_requests_waiting: { from: 'tgi_queue_size', ...WITH_REQUESTS },
    llm_requests_finished_total: {
      from: 'tgi_request_success',
      set: { finish_reason: 'all' },
      expectedWith: 'tgi_request_generated_tokens',
    },
    llm_request_errors_total: {
      from: 'tgi_request_failure',
      labels: { error_type: FAILURES },
      optional: true,
    },
    llm_prompt_tokens_total: { from: 'tgi_request_input_length', part: 'sum', ...WITH_REQUESTS },
    llm_generation_tokens_total: { from: 'tgi_request_generated_tokens', part: 'sum', ...WITH_REQUESTS },
    llm_request_prompt_tokens: { from: 'tgi_request_input_length', ...WITH_REQUESTS },
    llm_request_generation_tokens: { from: 'tgi_request_generated_tokens', ...WITH_REQUESTS },
    llm_time_per_output_token_seconds: {
      from: 'tgi_request_mean_time_per_token_duration',
      ...WITH_REQUESTS,
    },
    llm_request_duration_seconds: { from: 'tgi_request_duration', ...WITH_REQUESTS },
    llm_request_queue_time_seconds: { from: 'tgi_request_queue_duration', ...WITH_REQUESTS },
    llm_kv_cache_capacity_tokens: { from: 'tgi_batch_max_total_tokens', optional: true }, // since 3.0
    llm_kv_cache_used_tokens: { from: 'tgi_batch_current_max_tokens', optional: true },
    llm_batch_size: { from: 'tgi_batch_current_size', ...WITH_REQUESTS },
    // A summary, 0 for each request where nothing is speculated.
    llm_spec_decode_accepted_tokens_total: {
      from: 'tgi_request_skipped_tokens',
      part: 'sum',
      zeroIsUnknown: true,
      optional: true,
    },
  },
  parse: parseTgi,
  lacks: [
    'llm_prompt_tokens_cached_total',
    'llm_time_to_first_token_seconds',
    'llm_inter_token_latency_seconds',
    'llm_kv_cache_usage_ratio',
  ],
} satisfies EngineAdapter;

/** The embeddings server (TEI) has an /info too, without these two limits; TGI before 2.1 does not name its router. */
function isInfo(value: unknown): boolean {
  return (
    textAt(value, 'model_id') !== undefined &&
    numberAt(value, 'max_total_tokens') !== undefined &&
    numberAt(value, 'max_stop_sequences') !== undefined
  );
}

function metricsPaths(soFar: Answers): readonly RequestPath[] {
  const model = textAt(soFar.json('/info'), 'model_id');
  return [{ path: '/metrics', ...(model === undefined ? {} : { labels: { model } }) }];
}

function parseTgi(answers: Answers): EngineFacts {
  const info = answers.json('/info');
  const name = textAt(info, 'model_id');
  const version = textAt(info, 'version');
  const contextTokens = numberAt(info, 'max_total_tokens');
  const capacity = numberAt(info, 'max_concurrent_requests');
  const labels = name === undefined ? {} : { model: name };
  return {
    ...(version === undefined ? {} : { version }),
    models: name === undefined ? [] : [{ name, ...(contextTokens === undefined ? {} : { contextTokens }) }],
    observations:
      capacity === undefined
        ? []
        : [{ metric: 'llm_requests_capacity', labels, value: capacity, source: 'api' }],
  };
}
