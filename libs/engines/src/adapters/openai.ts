import type { EngineAdapter, EngineFacts } from '../adapter.ts';
import type { Answers } from '../answers.ts';

import { isModelList, openAiModels } from './vllm.ts';

/**
 * Any other server with OpenAI's API: MLC-LLM, TabbyAPI, LocalAI, llama-swap, mlx_lm and their like. That it answers
 * and which models it lists is all that is asked: what else such a server offers is not known to be harmless (MLC-LLM
 * generates when its /metrics is read).
 */
export const openai = {
  title: 'OpenAI-compatible server',
  documentation: 'https://platform.openai.com/docs/api-reference/models/list',
  notes: [
    'Only the list of models is asked; it says nothing of requests, tokens and latencies.',
    'Whether the server is ready is not told: the prober finds out.',
  ],
  ports: [],
  programs: ['local-ai', 'mlc_llm', 'mlx_lm.server', 'mlx_lm', 'llama-swap', 'tabbyapi'],
  fingerprints: [{ ownedBy: ['*'] }],
  requests: [{ as: 'json', path: '/v1/models', shape: isModelList }],
  families: {},
  parse: parseOpenAi,
  lacks: [
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
  ],
} satisfies EngineAdapter;

function parseOpenAi(answers: Answers): EngineFacts {
  return { state: 'unknown', models: openAiModels(answers.json('/v1/models')) };
}
