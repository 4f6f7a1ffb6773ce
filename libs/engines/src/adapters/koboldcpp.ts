import type { EngineAdapter, EngineFacts, Observation } from '../adapter.ts';
import type { Answers } from '../answers.ts';
import { numberAt, textAt } from '../json.ts';

/** KoboldCpp: no metrics, one JSON page about the last request. It imitates the APIs of Ollama and OpenAI besides. */
export const koboldcpp = {
  title: 'KoboldCpp',
  documentation: 'https://lite.koboldai.net/koboldcpp_api',
  notes: [
    'It says whether it works, not on how many requests: llm_requests_running is 0 or 1.',
    'Its figures of speed are those of the last request, however old, and are not read.',
  ],
  ports: [5001],
  programs: ['koboldcpp', 'koboldcpp.py', 'koboldcpp-linux-x64'],
  commandLine: {
    model: [
      { options: ['--hordemodelname'], is: 'name', nameOf: underKoboldCpp },
      { options: ['--model'], behind: [''], is: 'file', nameOf: vanityName },
    ],
  },
  fingerprints: [
    { path: '/api/extra/version', json: (value) => textAt(value, 'result') === 'KoboldCpp' },
    { path: '/api/extra/perf', json: isPerf },
    { ownedBy: ['koboldcpp'] },
  ],
  requests: [
    { as: 'json', path: '/api/extra/perf', shape: isPerf },
    {
      as: 'json',
      path: '/api/extra/version',
      maxAgeSeconds: 60,
      shape: (value) => textAt(value, 'result') === 'KoboldCpp',
    },
    {
      as: 'json',
      path: '/api/v1/model',
      maxAgeSeconds: 60,
      shape: (value) => textAt(value, 'result') !== undefined,
    },
    {
      as: 'json',
      path: '/api/extra/true_max_context_length',
      maxAgeSeconds: 60,
      shape: (value) => numberAt(value, 'value') !== undefined,
    },
  ],
  families: {},
  parse: parseKoboldCpp,
  lacks: [
    'llm_requests_capacity',
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

/** The name of a model: its file's without the ending, in a namespace of KoboldCpp's own (koboldcpp.py). */
function vanityName(file: string): string {
  return underKoboldCpp(file.replace(/\.[^.]*$/, '').replace(/[^\w.-]/g, ''));
}

function underKoboldCpp(name: string): string {
  return name.startsWith('koboldcpp/') ? name : `koboldcpp/${name}`;
}

function isPerf(value: unknown): boolean {
  return numberAt(value, 'last_process') !== undefined && numberAt(value, 'idle') !== undefined;
}

/** What it answers as the model's name when no text model is loaded. */
const NO_MODEL = 'inactive';

function parseKoboldCpp(answers: Answers): EngineFacts {
  const perf = answers.json('/api/extra/perf');
  const version = textAt(answers.json('/api/extra/version'), 'version');
  const model = textAt(answers.json('/api/v1/model'), 'result');
  const contextTokens = numberAt(answers.json('/api/extra/true_max_context_length'), 'value');
  const served = model === undefined || model === NO_MODEL ? undefined : model;
  const labels = served === undefined ? {} : { model: served };
  const idle = numberAt(perf, 'idle');
  return {
    ...(version === undefined ? {} : { version }),
    models:
      served === undefined
        ? []
        : [{ name: served, ...(contextTokens === undefined ? {} : { contextTokens }) }],
    observations: [
      ...observed('llm_requests_running', labels, idle === undefined ? undefined : 1 - idle),
      ...observed('llm_requests_waiting', labels, numberAt(perf, 'queue')),
      ...observed(
        'llm_requests_finished_total',
        { ...labels, finish_reason: 'all' },
        numberAt(perf, 'total_gens'),
      ),
    ],
  };
}

function observed(
  metric: Observation['metric'],
  labels: Readonly<Record<string, string>>,
  value: number | undefined,
): Observation[] {
  return value === undefined ? [] : [{ metric, labels, value, source: 'api' }];
}
