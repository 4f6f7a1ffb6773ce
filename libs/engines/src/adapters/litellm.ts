import type { EngineAdapter } from '../adapter.ts';

/** Routes that make a model work; requests to /metrics and the admin pages are counted beside them. */
const GENERATING_ROUTES = [
  '', // versions before 2025 have no route label
  '/chat/completions',
  '/v1/chat/completions',
  '/completions',
  '/v1/completions',
  '/responses',
  '/v1/responses',
  '/v1/messages',
  '/embeddings',
  '/v1/embeddings',
  '/rerank',
  '/v1/rerank',
  '/audio/transcriptions',
  '/v1/audio/transcriptions',
] as const;

/** HTTP status to error type; anything else is `other`. */
const ERROR_TYPES = {
  400: 'validation',
  404: 'validation',
  413: 'validation',
  422: 'validation',
  401: 'rejected',
  403: 'rejected',
  408: 'timeout',
  504: 'timeout',
  429: 'overloaded',
  503: 'overloaded',
  499: 'aborted',
  500: 'internal',
  502: 'internal',
} as const;

/**
 * LiteLLM's proxy, a gateway: what it counts are requests to whatever stands behind it. Its many labels (key, team,
 * user, …) are folded into the model. Its /health is never asked: it sends a prompt to every model of every backend.
 */
export const litellm = {
  title: 'LiteLLM proxy',
  documentation: 'https://docs.litellm.ai/docs/proxy/prometheus',
  enable: 'set litellm_settings.callbacks: ["prometheus"] in the proxy configuration',
  notes: [
    'It is a gateway: its token and request counts overlap with those of the engines behind it.',
    'Time to first token runs from the call to the backend and is there for streamed answers only.',
    'Ready means that the proxy itself is alive, not that a model behind it answers.',
  ],
  ports: [4000],
  programs: ['litellm'],
  fingerprints: [
    { path: '/metrics', families: ['litellm_'] },
    { path: '/health/liveliness', text: "I'm alive!" },
  ],
  // `/metrics` redirects here, behind some reverse proxies to an address that is not theirs.
  requests: [{ as: 'exposition', path: '/metrics/' }],
  health: { path: '/health/liveliness' },
  labels: { model: ['requested_model', 'model', 'litellm_model_name'] },
  families: {
    llm_engine_start_time_seconds: { from: 'process_start_time_seconds', optional: true },
    llm_requests_running: { from: 'litellm_in_flight_requests', optional: true },
    llm_requests_finished_total: {
      from: 'litellm_proxy_total_requests_metric_total',
      where: { route: GENERATING_ROUTES },
      set: { finish_reason: 'all' },
    },
    llm_request_errors_total: {
      from: 'litellm_proxy_failed_requests_metric_total',
      where: { route: GENERATING_ROUTES },
      labels: { error_type: { from: 'exception_status', map: ERROR_TYPES, otherwise: 'other' } },
    },
    // Renamed in November 2025.
    llm_prompt_tokens_total: { from: ['litellm_input_tokens_metric_total', 'litellm_input_tokens_total'] },
    llm_generation_tokens_total: {
      from: ['litellm_output_tokens_metric_total', 'litellm_output_tokens_total'],
    },
    llm_time_to_first_token_seconds: 'litellm_llm_api_time_to_first_token_metric',
    llm_time_per_output_token_seconds: 'litellm_deployment_latency_per_output_token',
    llm_request_duration_seconds: 'litellm_request_total_latency_metric',
    llm_request_queue_time_seconds: { from: 'litellm_request_queue_time_seconds', optional: true }, // since 2026
    llm_engine_spend_usd_total: 'litellm_spend_metric_total',
  },
  lacks: [
    'llm_requests_waiting',
    'llm_requests_capacity',
    'llm_prompt_tokens_cached_total',
    'llm_inter_token_latency_seconds',
    'llm_kv_cache_usage_ratio',
  ],
} satisfies EngineAdapter;
