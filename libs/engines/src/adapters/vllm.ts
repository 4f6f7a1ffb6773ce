import type { EngineAdapter, EngineFacts, ModelFact, Observation, Rules } from '../adapter.ts';
import type { Answers } from '../answers.ts';
import type { LlmMetricName } from '../families.ts';
import { listAt, numberAt, textAt } from '../json.ts';

/** Reasons that vLLM gives a finished request: vllm/v1/engine `FinishReason`. */
export const VLLM_FINISH_REASONS = {
  stop: 'stop',
  length: 'length',
  abort: 'abort',
  error: 'error',
  repetition: 'repetition',
} as const;

/** Routes that make a model work, as `http_requests_total{handler}` names them. */
const VLLM_GENERATING_ROUTES = [
  '/v1/chat/completions',
  '/v1/completions',
  '/v1/responses',
  '/v1/messages',
  '/v1/embeddings',
  '/v1/audio/transcriptions',
  '/v1/audio/translations',
  '/inference/v1/generate',
  '/generate',
  '/pooling',
  '/classify',
  '/score',
  '/rerank',
] as const;

/** vLLM's own families. Ray Serve, Triton's vLLM backend and Dynamo's workers pass the same ones on. */
export const vllmFamilies = {
  llm_engine_start_time_seconds: { from: 'process_start_time_seconds', optional: true },
  llm_requests_running: 'vllm:num_requests_running',
  llm_requests_waiting: 'vllm:num_requests_waiting',
  llm_requests_swapped: { from: 'vllm:num_requests_swapped', optional: true },
  llm_requests_preempted_total: ['vllm:num_preemptions_total'],
  llm_requests_finished_total: {
    from: 'vllm:request_success_total',
    labels: { finish_reason: { from: 'finished_reason', map: VLLM_FINISH_REASONS, otherwise: 'other' } },
  },
  llm_request_errors_total: {
    from: 'http_requests_total',
    // Of the routes that generate only: a probe of an unknown path is no failed request.
    where: { status: ['4xx', '5xx'], handler: VLLM_GENERATING_ROUTES },
    labels: { error_type: { from: 'status', map: { '4xx': 'rejected', '5xx': 'internal' } } },
    optional: true,
  },
  llm_prompt_tokens_total: 'vllm:prompt_tokens_total',
  llm_prompt_tokens_cached_total: [
    {
      from: 'vllm:prompt_tokens_by_source_total',
      where: { source: ['local_cache_hit', 'external_kv_transfer'] },
      labels: {
        source: { from: 'source', map: { local_cache_hit: 'device', external_kv_transfer: 'external' } },
      },
      optional: true, // since early 2026
    },
    {
      // Its forerunner gpu_prefix_cache_hits counted blocks in 0.8 and tokens later: it is not read.
      from: 'vllm:prefix_cache_hits_total',
      unless: 'vllm:prompt_tokens_by_source_total',
      set: { source: 'device' },
      since: '0.9.2',
    },
    {
      from: 'vllm:external_prefix_cache_hits_total',
      unless: 'vllm:prompt_tokens_by_source_total',
      set: { source: 'external' },
      optional: true,
    },
  ],
  llm_generation_tokens_total: 'vllm:generation_tokens_total',
  llm_request_prompt_tokens: 'vllm:request_prompt_tokens',
  llm_request_generation_tokens: 'vllm:request_generation_tokens',
  llm_time_to_first_token_seconds: 'vllm:time_to_first_token_seconds',
  // Until 0.10.2 the family named time_per_output_token measured the gaps between tokens: see engines' rule 3.1.
  llm_inter_token_latency_seconds: {
    from: ['vllm:inter_token_latency_seconds', 'vllm:time_per_output_token_seconds'],
  },
  llm_time_per_output_token_seconds: {
    from: 'vllm:request_time_per_output_token_seconds',
    since: '0.11',
  },
  llm_request_duration_seconds: 'vllm:e2e_request_latency_seconds',
  llm_request_queue_time_seconds: {
    from: ['vllm:request_queue_time_seconds', 'vllm:time_in_queue_requests'],
    since: '0.6.4',
  },
  llm_request_prefill_time_seconds: { from: 'vllm:request_prefill_time_seconds', since: '0.6.4' },
  llm_request_decode_time_seconds: { from: 'vllm:request_decode_time_seconds', since: '0.6.4' },
  llm_kv_cache_usage_ratio: [
    {
      from: ['vllm:kv_cache_usage_perc', 'vllm:gpu_cache_usage_perc'], // named "perc", reports 0 to 1
      set: { kind: 'device' },
    },
    { from: 'vllm:cpu_cache_usage_perc', set: { kind: 'host' }, optional: true },
  ],
  llm_batch_tokens: { from: 'vllm:iteration_tokens_total', since: '0.6.4' },
  llm_spec_decode_drafts_total: { from: 'vllm:spec_decode_num_drafts_total', optional: true },
  llm_spec_decode_draft_tokens_total: { from: 'vllm:spec_decode_num_draft_tokens_total', optional: true },
  llm_spec_decode_accepted_tokens_total: {
    from: 'vllm:spec_decode_num_accepted_tokens_total',
    optional: true,
  },
  llm_spec_decode_accepted_tokens_per_position_total: {
    from: 'vllm:spec_decode_num_accepted_tokens_per_pos_total',
    labels: { position: { from: 'position' } },
    optional: true,
  },
  llm_spec_decode_acceptance_ratio: { from: 'vllm:spec_decode_draft_acceptance_rate', optional: true },
} as const satisfies Partial<Record<LlmMetricName, Rules>>;

export const vllm = {
  title: 'vLLM',
  documentation: 'https://docs.vllm.ai/en/latest/usage/metrics.html',
  enable: 'vLLM prints its metrics unless it was started with --disable-log-stats',
  notes: [
    'vLLM 0.10.1 and older call the gap between tokens time_per_output_token; it is read as inter-token latency.',
    'Queue, prefill and decode histograms have no bound below 0.3 s: of a healthy server only their means say something.',
    'request_success counts aborted and failed requests too, by finish_reason; rejected ones are in llm_request_errors_total.',
  ],
  ports: [8000],
  programs: ['vllm', 'vllm.entrypoints.openai.api_server', 'vllm.entrypoints.api_server'],
  commandLine: {
    // set_process_title: https://github.com/vllm-project/vllm/blob/main/vllm/utils/system_utils.py
    titles: [/^VLLM::/],
    model: [
      { options: ['--served-model-name'], is: 'name' },
      { options: ['--model'], behind: ['serve'], is: 'model' },
    ],
  },
  fingerprints: [
    { path: '/metrics', families: ['vllm:'], without: ['dynamo_', 'nv_'] },
    { ownedBy: ['vllm'] },
  ],
  requests: [
    { as: 'exposition', path: '/metrics' },
    {
      as: 'json',
      path: '/version',
      maxAgeSeconds: 60,
      shape: (value) => textAt(value, 'version') !== undefined,
    },
    { as: 'json', path: '/v1/models', maxAgeSeconds: 60, shape: modelListOf('vllm') },
  ],
  health: { path: '/health', states: { 503: 'failed' } },
  labels: { model: ['model_name'], replica: ['engine'] },
  families: vllmFamilies,
  parse: parseVllm,
  lacks: ['llm_requests_capacity'],
} satisfies EngineAdapter;

/** Facts that vLLM keeps in labels: the KV cache's size, LoRA adapters, whether the engine sleeps. */
export function parseVllm(answers: Answers): EngineFacts {
  const version = textAt(answers.json('/version'), 'version');
  const state = sleepState(answers);
  return {
    ...(version === undefined ? {} : { version }),
    ...(state === undefined ? {} : { state }),
    models: openAiModels(answers.json('/v1/models')),
    observations: [...kvCapacity(answers), ...loraRequests(answers)],
  };
}

export function isModelList(value: unknown): boolean {
  return textAt(value, 'object') === 'list' && Array.isArray((value as { data?: unknown }).data);
}

/** Recognizes a list of models whose every entry, if there is one, is said to be owned by one of these. */
export function modelListOf(...owners: readonly string[]): (value: unknown) => boolean {
  return (value) =>
    isModelList(value) &&
    listAt(value, 'data').every((entry) => owners.includes(textAt(entry, 'owned_by') ?? ''));
}

/** Models of an OpenAI-style list, with the context length that vLLM and SGLang add. */
export function openAiModels(list: unknown): ModelFact[] {
  return listAt(list, 'data').flatMap((entry) => {
    const name = textAt(entry, 'id');
    if (name === undefined) return [];
    const root = textAt(entry, 'root');
    const contextTokens = numberAt(entry, 'max_model_len');
    return [
      {
        name,
        ...(root === undefined || root === name ? {} : { root }),
        ...(contextTokens === undefined ? {} : { contextTokens }),
      },
    ];
  });
}

function sleepState(answers: Answers): 'sleeping' | undefined {
  const points = answers.points('vllm:engine_sleep_state');
  const asleep = points.some(({ labels, value }) => labels['sleep_state'] !== 'awake' && value === 1);
  return asleep ? 'sleeping' : undefined;
}

/** `cache_config_info` holds the whole CacheConfig as labels: blocks times block size is the room in tokens. */
function kvCapacity(answers: Answers): Observation[] {
  return answers.points('vllm:cache_config_info').flatMap(({ labels }) => {
    const tokens =
      asNumber(labels['kv_cache_size_tokens']) ??
      product(asNumber(labels['block_size']), asNumber(labels['num_gpu_blocks']));
    if (tokens === undefined) return [];
    const replica: Record<string, string> =
      labels['engine'] === undefined ? {} : { replica: labels['engine'] };
    return [
      {
        metric: 'llm_kv_cache_capacity_tokens',
        labels: { ...servedModel(answers), ...replica },
        value: tokens,
        source: 'derived',
      },
    ];
  });
}

/** The one model whose name the other families carry: `cache_config_info` and `lora_requests_info` leave it out. */
function servedModel(answers: Answers): { model: string } | Record<string, never> {
  const model = answers.points('vllm:num_requests_running')[0]?.labels['model_name'];
  return model === undefined ? {} : { model };
}

/** The value is the time of the change, and every past state stays behind: only the newest is true. */
function loraRequests(answers: Answers): Observation[] {
  const points = answers.points('vllm:lora_requests_info');
  const newest = points.reduce<(typeof points)[number] | undefined>(
    (best, point) => (best === undefined || point.value > best.value ? point : best),
    undefined,
  );
  if (newest === undefined) return [];
  const max = asNumber(newest.labels['max_lora']);
  return [
    ...(max === undefined
      ? []
      : [
          {
            metric: 'llm_lora_adapters_max',
            labels: servedModel(answers),
            value: max,
            source: 'derived',
          } satisfies Observation,
        ]),
    ...(['running', 'waiting'] as const).flatMap((state) =>
      (newest.labels[`${state}_lora_adapters`] ?? '')
        .split(',')
        .map((adapter) => adapter.trim())
        .filter((adapter) => adapter !== '')
        .map((adapter): Observation => ({
          metric: 'llm_lora_requests',
          labels: { adapter, state },
          value: 1,
          source: 'derived',
        })),
    ),
  ];
}

function asNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

function product(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || other === undefined ? undefined : one * other;
}
