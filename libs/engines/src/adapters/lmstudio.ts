import type { EngineAdapter, EngineFacts, ModelFact } from '../adapter.ts';
import type { Answers } from '../answers.ts';
import { listAt, numberAt, textAt } from '../json.ts';

/** LM Studio: no metrics; its own REST API lists the installed models and which of them are loaded. */
export const lmstudio = {
  title: 'LM Studio',
  documentation: 'https://lmstudio.ai/docs/developer/rest/endpoints',
  notes: [
    'It prints no metrics: it says nothing of requests, tokens and latencies.',
    'Listing models loads none, also with just-in-time loading.',
  ],
  ports: [1234],
  programs: ['lm-studio', 'LM Studio', 'llmster'],
  fingerprints: [{ path: '/api/v0/models', json: isModelList }, { ownedBy: ['organization_owner'] }],
  requests: [{ as: 'json', path: '/api/v0/models', shape: isModelList }],
  families: {},
  parse: parseLmStudio,
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

function isModelList(value: unknown): boolean {
  const models = listAt(value, 'data');
  return (
    models.length > 0 &&
    models.every((model) => {
      const state = textAt(model, 'state');
      return state !== undefined && textAt(model, 'compatibility_type') !== undefined;
    })
  );
}

function parseLmStudio(answers: Answers): EngineFacts {
  return {
    models: listAt(answers.json('/api/v0/models'), 'data').flatMap((model): ModelFact[] => {
      const name = textAt(model, 'id');
      if (name === undefined) return [];
      const quantization = textAt(model, 'quantization');
      const format = textAt(model, 'compatibility_type');
      const family = textAt(model, 'arch');
      // What is served, not max_context_length, which is what the model could do.
      const contextTokens = numberAt(model, 'loaded_context_length');
      return [
        {
          name,
          ...(quantization === undefined ? {} : { quantization }),
          ...(format === undefined ? {} : { format }),
          ...(family === undefined ? {} : { family }),
          ...(contextTokens === undefined ? {} : { contextTokens }),
          loaded: textAt(model, 'state') === 'loaded',
        },
      ];
    }),
  };
}
