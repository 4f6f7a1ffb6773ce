/**
 * The only paths that are ever asked of a target, each known to change nothing on any engine when asked as here.
 * Left out on purpose: `/health` and `/health_generate` of SGLang (generate a token), `/flush_cache`, `/terminate`,
 * `/start_profile`, `/release_memory_occupation` (act on GET), `/health` of LiteLLM (calls every backend).
 * Detection asks them in this order, and of each candidate engine only those that its fingerprints name:
 * `/v1/models` first, since it names the engines on which a GET of `/metrics` has an effect (MLC-LLM generates,
 * trtllm-serve hands out a queue).
 */
export const SAFE_PATHS = [
  '/v1/models',
  '/api/extra/version',
  '/api/version',
  '/api/ps',
  '/api/tags',
  '/api/v0/models',
  '/v2',
  '/info',
  '/v1/version',
  '/v1/metadata',
  '/prometheus/metrics',
  '/metrics',
  '/metrics/',
  '/v1/metrics',
  '/server_info',
  '/get_server_info',
  '/model_info',
  '/version',
  '/health/liveliness',
  '/api/extra/perf',
  '/api/v1/model',
  '/api/extra/true_max_context_length',
  '/props',
  '/slots',
  '/v2/health/ready',
  '/v1/health/ready',
  '/live',
  '/health',
  '/',
] as const;
