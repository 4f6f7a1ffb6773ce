import type { MetricType } from '@llm-monitor/metrics-core';

/** One canonical metric: all there is to say of it. docs/metrics.md is generated from this table. */
export interface CanonicalFamily {
  readonly type: MetricType;
  readonly unit?: 'seconds' | 'bytes' | 'ratio' | 'tokens';
  readonly help: string;
  /** Labels beyond `server` and `engine`; each may be absent where the engine does not say. */
  readonly labels: readonly string[];
  /** The OpenTelemetry GenAI convention for the same quantity, where one exists. */
  readonly openTelemetry?: string;
}

/** What is served, and by which of several replicas: the labels of most metrics. */
export const SERVED = ['model', 'replica'] as const;

/** The values of the labels that name a kind: an engine's own word for one would be a series that no panel shows. */
export const LABEL_VALUES = {
  finish_reason: ['stop', 'length', 'tool_calls', 'abort', 'error', 'repetition', 'other'],
  error_type: ['rejected', 'overloaded', 'validation', 'internal', 'aborted', 'timeout', 'other'],
} as const;

/**
 * Every `llm_*` metric that is read from an engine, once. Definitions: TTFT, TPOT and inter-token latency as vLLM's
 * docs/design/metrics.md has them; prompt tokens always include cached ones; histograms keep the engine's bounds.
 */
export const llmFamilies = {
  llm_up: {
    type: 'gauge',
    help: 'Whether the last reading reached the server and understood its answer (1) or not (0).',
    labels: [],
  },
  llm_ready: {
    type: 'gauge',
    help: 'Whether the engine says that it can serve now (1), or is loading, asleep or failed (0).',
    labels: [],
  },
  llm_engine_state: {
    type: 'gauge',
    help: 'State of the engine by its own word: exactly one is 1.',
    labels: ['state'],
  },
  llm_engine_info: {
    type: 'info',
    help: 'Engine version and how the engine was recognized.',
    labels: ['version', 'detected_by'],
    openTelemetry: 'gen_ai.provider.name (the engine label)',
  },
  llm_engine_start_time_seconds: {
    type: 'gauge',
    unit: 'seconds',
    help: 'Unix time at which the engine process started.',
    labels: [],
  },
  llm_model_info: {
    type: 'info',
    help: 'Facts of a model that the engine serves or has installed.',
    labels: ['model', 'root', 'quantization', 'parameter_size', 'format', 'family'],
    openTelemetry: 'gen_ai.request.model (the model label)',
  },
  llm_model_context_tokens: {
    type: 'gauge',
    unit: 'tokens',
    help: 'Longest sequence of prompt and answer that is served, in tokens.',
    labels: ['model'],
  },
  llm_model_loaded: {
    type: 'gauge',
    help: 'Whether the model is in memory (1) or only known to the engine (0).',
    labels: ['model'],
  },
  llm_model_memory_bytes: {
    type: 'gauge',
    unit: 'bytes',
    help: 'Memory that a loaded model takes: kind total, and vram for the part on GPUs.',
    labels: ['model', 'kind'],
  },
  llm_model_unload_time_seconds: {
    type: 'gauge',
    unit: 'seconds',
    help: 'Unix time at which the engine will unload the model if it stays unused.',
    labels: ['model'],
  },
  llm_requests_running: {
    type: 'gauge',
    help: 'Requests being executed now.',
    labels: SERVED,
  },
  llm_requests_waiting: {
    type: 'gauge',
    help: 'Requests accepted and not yet executed.',
    labels: SERVED,
  },
  llm_requests_swapped: {
    type: 'gauge',
    help: 'Requests swapped out to host memory (vLLM before V1 only).',
    labels: SERVED,
  },
  llm_requests_capacity: {
    type: 'gauge',
    help: 'Requests that the engine will execute at once: slots or the largest batch.',
    labels: SERVED,
  },
  llm_requests_preempted_total: {
    type: 'counter',
    help: 'Requests put back into the queue because the KV cache was full.',
    labels: SERVED,
  },
  llm_requests_finished_total: {
    type: 'counter',
    help: `Requests that ended, by reason: ${LABEL_VALUES.finish_reason.join(', ')}; all where the engine does not split.`,
    labels: [...SERVED, 'finish_reason'],
  },
  llm_request_errors_total: {
    type: 'counter',
    help: `Requests that failed, by error_type: ${LABEL_VALUES.error_type.join(', ')}.`,
    labels: [...SERVED, 'error_type'],
    openTelemetry: 'error.type (the error_type label)',
  },
  llm_prompt_tokens_total: {
    type: 'counter',
    help: 'Prompt tokens processed, those taken from a cache included.',
    labels: SERVED,
    openTelemetry: 'gen_ai.client.token.usage {gen_ai.token.type="input"} (sum)',
  },
  llm_prompt_tokens_cached_total: {
    type: 'counter',
    help: 'Prompt tokens that were not computed again, by the cache they came from.',
    labels: [...SERVED, 'source'],
  },
  llm_generation_tokens_total: {
    type: 'counter',
    help: 'Tokens generated. Some engines count only when a request ends (see docs/engines.md).',
    labels: SERVED,
    openTelemetry: 'gen_ai.client.token.usage {gen_ai.token.type="output"} (sum)',
  },
  llm_generation_tokens_in_flight: {
    type: 'gauge',
    unit: 'tokens',
    help: 'Tokens generated so far by the running requests, where llm_generation_tokens_total counts them only at the end.',
    labels: SERVED,
  },
  llm_request_prompt_tokens: {
    type: 'histogram',
    unit: 'tokens',
    help: 'Prompt tokens of one request.',
    labels: SERVED,
    openTelemetry: 'gen_ai.client.token.usage {gen_ai.token.type="input"}',
  },
  llm_request_generation_tokens: {
    type: 'histogram',
    unit: 'tokens',
    help: 'Generated tokens of one request.',
    labels: SERVED,
    openTelemetry: 'gen_ai.client.token.usage {gen_ai.token.type="output"}',
  },
  llm_time_to_first_token_seconds: {
    type: 'histogram',
    unit: 'seconds',
    help: 'From the arrival of a request to its first token, queueing included.',
    labels: SERVED,
    openTelemetry: 'gen_ai.server.time_to_first_token',
  },
  llm_inter_token_latency_seconds: {
    type: 'histogram',
    unit: 'seconds',
    help: 'Each gap between two tokens of a request, over all requests.',
    labels: SERVED,
    openTelemetry: 'gen_ai.client.operation.time_per_output_chunk (nearest)',
  },
  llm_time_per_output_token_seconds: {
    type: 'histogram',
    unit: 'seconds',
    help: 'Mean gap between tokens of one request, the first token left out.',
    labels: SERVED,
    openTelemetry: 'gen_ai.server.time_per_output_token',
  },
  llm_request_duration_seconds: {
    type: 'histogram',
    unit: 'seconds',
    help: 'From the arrival of a request to its last token.',
    labels: SERVED,
    openTelemetry: 'gen_ai.server.request.duration',
  },
  llm_request_queue_time_seconds: {
    type: 'histogram',
    unit: 'seconds',
    help: 'From the arrival of a request to the start of its execution.',
    labels: SERVED,
  },
  llm_request_prefill_time_seconds: {
    type: 'histogram',
    unit: 'seconds',
    help: 'From the start of execution of a request to its first token.',
    labels: SERVED,
  },
  llm_request_decode_time_seconds: {
    type: 'histogram',
    unit: 'seconds',
    help: 'From the first to the last token of a request.',
    labels: SERVED,
  },
  llm_prefill_busy_seconds_total: {
    type: 'counter',
    unit: 'seconds',
    help: 'Time spent on prompts, summed over concurrent requests.',
    labels: SERVED,
  },
  llm_decode_busy_seconds_total: {
    type: 'counter',
    unit: 'seconds',
    help: 'Time spent generating, summed over concurrent requests.',
    labels: SERVED,
  },
  llm_kv_cache_usage_ratio: {
    type: 'gauge',
    unit: 'ratio',
    help: 'Share of the KV cache that running requests hold, 0 to 1; kind host is the part in host memory.',
    labels: [...SERVED, 'kind'],
  },
  llm_kv_cache_capacity_tokens: {
    type: 'gauge',
    unit: 'tokens',
    help: 'Tokens for which the KV cache has room.',
    labels: SERVED,
  },
  llm_kv_cache_used_tokens: {
    type: 'gauge',
    unit: 'tokens',
    help: 'Tokens that the KV cache holds for running requests.',
    labels: SERVED,
  },
  llm_batch_size: {
    type: 'gauge',
    help: 'Sequences in the current step of the engine.',
    labels: SERVED,
  },
  llm_batch_tokens: {
    type: 'histogram',
    unit: 'tokens',
    help: 'Tokens processed in one step of the engine.',
    labels: SERVED,
  },
  llm_spec_decode_drafts_total: {
    type: 'counter',
    help: 'Drafts proposed by speculative decoding.',
    labels: SERVED,
  },
  llm_spec_decode_draft_tokens_total: {
    type: 'counter',
    help: 'Draft tokens proposed by speculative decoding.',
    labels: SERVED,
  },
  llm_spec_decode_accepted_tokens_total: {
    type: 'counter',
    help: 'Draft tokens accepted by the model.',
    labels: SERVED,
  },
  llm_spec_decode_accepted_tokens_per_position_total: {
    type: 'counter',
    help: 'Draft tokens accepted by the model, by position in the draft.',
    labels: [...SERVED, 'position'],
  },
  llm_spec_decode_acceptance_ratio: {
    type: 'gauge',
    unit: 'ratio',
    help: 'Share of draft tokens accepted, as the engine reports it; prefer the counters where there are some.',
    labels: SERVED,
  },
  llm_spec_decode_acceptance_length: {
    type: 'gauge',
    help: 'Mean tokens accepted in one draft, as the engine reports it.',
    labels: SERVED,
  },
  llm_lora_requests: {
    type: 'gauge',
    help: 'Whether a LoRA adapter has requests in that state (1); absent when it has none.',
    labels: ['adapter', 'state'],
  },
  llm_lora_adapters_max: {
    type: 'gauge',
    help: 'LoRA adapters that fit at once.',
    labels: ['model'],
  },
  llm_lora_adapters_loaded: {
    type: 'gauge',
    help: 'LoRA adapters loaded now.',
    labels: ['model'],
  },
  llm_engine_memory_bytes: {
    type: 'gauge',
    unit: 'bytes',
    help: 'Memory the engine says it uses: kind gpu, cpu or pinned.',
    labels: ['model', 'replica', 'kind'],
  },
  llm_engine_reported_tokens_per_second: {
    type: 'gauge',
    help: 'Speed as the engine itself reports it, its window unknown: to look at, never to alert on.',
    labels: [...SERVED, 'phase'],
  },
  llm_engine_spend_usd_total: {
    type: 'counter',
    help: 'Money spent on upstream providers, in US dollars, as a gateway accounts for it.',
    labels: ['model'],
  },
  llm_source_metrics_missing: {
    type: 'gauge',
    help: 'Metrics that this engine and version should have in its answer and that were not there: a rename shows here first.',
    labels: [],
  },
  llm_source_parse_issues: {
    type: 'gauge',
    help: 'Flaws of the last answer that were tolerated, by kind (docs/metrics.md lists the kinds).',
    labels: ['kind'],
  },
  llm_metric_unavailable_info: {
    type: 'info',
    help: 'A core metric that this server does not give, and why.',
    labels: ['metric', 'reason'],
  },
} as const satisfies Record<string, CanonicalFamily>;

export type LlmMetricName = keyof typeof llmFamilies;

/** The metrics that every dashboard starts from: where one is lacking, `llm_metric_unavailable_info` says why. */
export const CORE_METRICS = [
  'llm_requests_running',
  'llm_requests_waiting',
  'llm_requests_capacity',
  'llm_requests_finished_total',
  'llm_prompt_tokens_total',
  'llm_prompt_tokens_cached_total',
  'llm_generation_tokens_total',
  'llm_time_to_first_token_seconds',
  'llm_inter_token_latency_seconds',
  'llm_request_duration_seconds',
  'llm_request_queue_time_seconds',
  'llm_kv_cache_usage_ratio',
] as const satisfies readonly LlmMetricName[];

export type CoreMetric = (typeof CORE_METRICS)[number];

/** Why a core metric is not there; the meaning of each is in docs/engines.md. */
export const UNAVAILABLE_REASONS = {
  engine_lacks: 'the engine has no such metric in any version known',
  metrics_disabled: 'the engine has it and its metrics endpoint is switched off',
  unauthorized: 'the engine asks for a key that was not given or not accepted',
  asleep: 'asking for it would wake a sleeping model',
  not_ready: 'the engine is loading or has failed, and answers nothing else meanwhile',
  ambiguous: 'what the engine says of it can be read in two ways, and nothing tells which is meant',
  not_in_answer:
    'this engine should give it and did not: an old version, a feature switched off, or a rename',
} as const;

export type UnavailableReason = keyof typeof UNAVAILABLE_REASONS;

/** States of `llm_engine_state`. */
export const ENGINE_STATES = [
  'ready',
  'loading',
  'sleeping',
  'draining',
  'failed',
  'unreachable',
  'unknown',
] as const;

export type EngineState = (typeof ENGINE_STATES)[number];
