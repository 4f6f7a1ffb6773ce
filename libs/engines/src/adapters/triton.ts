import type { Labels } from '@llm-monitor/metrics-core';

import type { EngineAdapter, EngineFacts, LabelRule, Observation, RequestPath } from '../adapter.ts';
import type { Answers } from '../answers.ts';
import type { EngineState } from '../families.ts';
import { joinTables, passedOn } from '../family-tables.ts';
import { textAt } from '../json.ts';
import { vllmFamilies } from './vllm.ts';

/** Names that the tensorrtllm backend's repository gives to a whole pipeline, and to its steps. */
const PIPELINES: readonly string[] = ['ensemble', 'tensorrt_llm_bls'];
const STEPS: readonly string[] = [
  'preprocessing',
  'tensorrt_llm',
  'tensorrt_llm_2',
  'postprocessing',
  'multimodal_encoders',
];

/**
 * A request to a pipeline is counted for the pipeline and again for each step (and not at all for `tensorrt_llm` while
 * it streams: triton-inference-server/tensorrtllm_backend#49). Where there is a pipeline its steps do not count.
 */
function withoutSteps(all: readonly Labels[]): (labels: Labels) => boolean {
  const hasPipeline = all.some(({ model }) => model !== undefined && PIPELINES.includes(model));
  return ({ model }) => !hasPipeline || model === undefined || !STEPS.includes(model);
}

/** Reasons are printed since 24.04; before, all failures are one series. */
const FAILURES: LabelRule = {
  from: 'reason',
  map: { rejected: 'rejected', canceled: 'aborted', backend: 'internal' },
  otherwise: 'other',
};

const READINESS = '/v2/health/ready';

const WITH_TENSORRT_LLM = { expectedWith: 'nv_trt_llm_' };

/** NVIDIA Triton: any backend generically, its tensorrtllm backend, and its vLLM backend with `vllm:` families. */
export const triton = {
  title: 'NVIDIA Triton Inference Server',
  documentation:
    'https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/metrics.html',
  enable: 'Triton prints its metrics on port 8002 unless it was started with --allow-metrics=false',
  notes: [
    'Requests of a pipeline (ensemble, tensorrt_llm_bls) are counted for the pipeline, not again for its steps.',
    'The vLLM backend shows its own families only with REPORT_CUSTOM_METRICS set in the model configuration.',
    'Triton sums durations in microseconds and prints no histogram of them; time to first token needs --metrics-config histogram_latencies=true.',
    'The metrics port (8002) answers nothing but metrics, and the HTTP port (8000) version and readiness alone: give both as targets to have both.',
  ],
  ports: [8002, 8000],
  programs: ['tritonserver'],
  fingerprints: [
    { path: '/metrics', families: ['nv_inference_', 'nv_trt_llm_'] },
    { path: '/v2', json: isServerMetadata },
  ],
  requests: [
    { as: 'exposition', path: '/metrics' },
    {
      as: 'json',
      name: '/v2',
      path: metadataPaths,
      maxAgeSeconds: 60,
      shape: isServerMetadata,
      distinctive: true,
    },
  ],
  // A server that is not ready answers 400, as the metrics port does to every such path: see `stateOf`.
  health: { path: READINESS, states: { 503: 'loading' } },
  labels: { model: ['model'] },
  families: {
    ...joinTables(
      {
        llm_requests_running: {
          from: 'nv_trt_llm_request_metrics',
          where: { request_type: ['scheduled'] },
          ...WITH_TENSORRT_LLM,
        },
        // Waiting in Triton's own queue, and in the one of its backend.
        llm_requests_waiting: [
          { from: 'nv_inference_pending_request_count', optional: true },
          {
            from: 'nv_trt_llm_request_metrics',
            where: { request_type: ['waiting'] },
            ...WITH_TENSORRT_LLM,
          },
        ],
        llm_requests_capacity: {
          from: 'nv_trt_llm_request_metrics',
          where: { request_type: ['max'] },
          ...WITH_TENSORRT_LLM,
        },
        llm_time_to_first_token_seconds: {
          from: 'nv_inference_first_response_histogram_ms',
          scale: 1e-3,
          only: withoutSteps,
          unless: 'vllm:time_to_first_token_seconds',
          optional: true,
        },
        llm_kv_cache_usage_ratio: {
          from: 'nv_trt_llm_kv_cache_block_metrics',
          where: { kv_cache_block_type: ['fraction'] },
          set: { kind: 'device' },
          ...WITH_TENSORRT_LLM,
        },
        llm_batch_size: {
          from: 'nv_trt_llm_request_metrics',
          where: { request_type: ['scheduled'] },
          ...WITH_TENSORRT_LLM,
        },
        llm_engine_memory_bytes: {
          from: 'nv_trt_llm_runtime_memory_metrics',
          labels: { kind: { from: 'memory_type' } },
          ...WITH_TENSORRT_LLM,
        },
      },
      passedOn(vllmFamilies, 'vllm:'),
    ),
    llm_requests_finished_total: {
      from: 'nv_inference_request_success',
      only: withoutSteps,
      set: { finish_reason: 'all' },
      expectedWith: 'nv_inference_',
    },
    llm_request_errors_total: {
      from: 'nv_inference_request_failure',
      only: withoutSteps,
      labels: { error_type: FAILURES },
      expectedWith: 'nv_inference_',
    },
  },
  parse: parseTriton,
  lacks: [],
} satisfies EngineAdapter;

/** TGI can be built to answer /v2 too, under another name. */
function isServerMetadata(value: unknown): boolean {
  return textAt(value, 'name') === 'triton';
}

/** Metrics and metadata are on two ports, and the metrics port refuses all else: it is not asked for metadata. */
function metadataPaths(soFar: Answers): readonly RequestPath[] {
  return soFar.expositions.length === 0 ? [{ path: '/v2' }] : [];
}

function parseTriton(answers: Answers): EngineFacts {
  const version = textAt(answers.json('/v2'), 'version');
  const state = stateOf(answers);
  return {
    ...(version === undefined ? {} : { version }),
    ...(state === undefined ? {} : { state }),
    observations: kvTokens(answers),
    ...(answers.expositions.length === 0
      ? {} // the HTTP port does not tell which backend is behind it
      : { unavailable: answers.hasFamily('vllm:') ? VLLM_LACKS : TRITON_LACKS }),
  };
}

/** Only the port that answers `/v2` knows whether the server is ready; undefined where its status says it all. */
function stateOf(answers: Answers): EngineState | undefined {
  if (answers.json('/v2') === undefined) return 'unknown';
  return answers.status(READINESS) === 400 ? 'loading' : undefined;
}

const VLLM_LACKS = {
  llm_requests_capacity: 'engine_lacks',
  llm_prompt_tokens_cached_total: 'engine_lacks',
} as const;

/** Of tokens Triton knows nothing, and of durations only sums. */
const TRITON_LACKS = {
  llm_prompt_tokens_total: 'engine_lacks',
  llm_prompt_tokens_cached_total: 'engine_lacks',
  llm_generation_tokens_total: 'engine_lacks',
  llm_inter_token_latency_seconds: 'engine_lacks',
  llm_request_duration_seconds: 'engine_lacks',
  llm_request_queue_time_seconds: 'engine_lacks',
} as const;

/** Blocks times tokens in a block; builds of 2024 print no fraction in use, which is used over max. */
function kvTokens(answers: Answers): Observation[] {
  const byModel = new Map<string, Map<string, number>>();
  for (const { labels, value } of answers.points('nv_trt_llm_kv_cache_block_metrics')) {
    const model = labels['model'] ?? '';
    const blocks = byModel.get(model) ?? new Map<string, number>();
    byModel.set(model, blocks.set(labels['kv_cache_block_type'] ?? '', value));
  }
  return [...byModel].flatMap(([model, blocks]) => {
    const labels = { model };
    const [max, used, tokens] = [blocks.get('max'), blocks.get('used'), blocks.get('tokens_per')];
    return [
      ...product('llm_kv_cache_capacity_tokens', labels, max, tokens),
      ...product('llm_kv_cache_used_tokens', labels, used, tokens),
      ...(blocks.has('fraction') || max === undefined || max === 0
        ? []
        : product('llm_kv_cache_usage_ratio', { ...labels, kind: 'device' }, used, 1 / max)),
    ];
  });
}

function product(
  metric: Observation['metric'],
  labels: Labels,
  one: number | undefined,
  other: number | undefined,
): Observation[] {
  return one === undefined || other === undefined
    ? []
    : [{ metric, labels, value: one * other, source: 'derived' }];
}
