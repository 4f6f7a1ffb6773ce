import type { EngineState } from '../../engine/engine.ts';
import { commonBounds } from './bounds.ts';
import {
  cppDialect,
  printExposition,
  type PrintedFamily,
  type PrintedLabels,
  type PrintedPoint,
} from './print-exposition.ts';
import {
  figures,
  isIn,
  json,
  kvCapacityTokens,
  kvUsageRatio,
  pathOnly,
  succeeded,
  text,
  unixTime,
  type EngineSurface,
  type SurfaceContext,
} from './surface.ts';

/** The tensorrtllm backend's pipeline: clients ask the ensemble, which hands on to its steps. */
export const TRITON_PIPELINE = 'ensemble';
const ENGINE_STEP = 'tensorrt_llm';
const STEPS = [TRITON_PIPELINE, 'preprocessing', ENGINE_STEP, 'postprocessing'] as const;
type Step = (typeof STEPS)[number];

/** Triton 24.04 began to tell failures apart. */
const REASONS = '2.45';

/** src/metric_family.cc of triton-inference-server/core, and the backend's inflight_batcher_llm. */
export const triton: EngineSurface = {
  kind: 'triton',
  defaultVersion: '2.60.0',
  versions: ['2.41.0', '2.60.0'],
  bounds: (_version, contextTokens) => ({
    ...commonBounds(contextTokens),
    timeToFirstTokenSeconds: [0.1, 0.5, 2, 5],
  }),
  listens: ({ condition }) => condition !== 'down',
  notFound: { status: 404, contentType: 'text/plain', body: '' },
  answer(path, state, context) {
    const isReady = state.condition === 'serving' || state.condition === 'hung';
    switch (pathOnly(path)) {
      case '/metrics':
        return text(printExposition(families(state, context), cppDialect), 200, 'text/plain; charset=utf-8');
      case '/v2':
        return json({ name: 'triton', version: state.version, extensions: EXTENSIONS });
      case '/v2/health/live':
        return text('', 200, 'text/plain');
      case '/v2/health/ready':
      case `/v2/models/${TRITON_PIPELINE}/ready`:
        return text('', isReady ? 200 : 400, 'text/plain');
      default:
        return undefined;
    }
  },
};

/** Whether that path is on the port of the metrics (8002); all else is on that of HTTP (8000). */
export function isTritonMetricsPath(path: string): boolean {
  return pathOnly(path) === '/metrics';
}

const EXTENSIONS = [
  'classification',
  'sequence',
  'model_repository',
  'model_repository(unload_dependents)',
  'schedule_policy',
  'model_configuration',
  'system_shared_memory',
  'cuda_shared_memory',
  'binary_tensor_data',
  'parameters',
  'statistics',
  'trace',
  'logging',
];

function families(state: EngineState, context: SurfaceContext): PrintedFamily[] {
  const { histograms, kv, running, waiting } = state;
  const whole = succeeded(state);
  // While an answer is streamed the engine's own step counts no success: tensorrtllm_backend#49.
  const successes = (step: Step): number => (step === ENGINE_STEP ? 0 : whole);
  const total = microseconds(histograms.requestSeconds.sum);
  const inference = microseconds(histograms.inferenceSeconds.sum);
  const isWhole = (step: Step): boolean => step === TRITON_PIPELINE || step === ENGINE_STEP;
  return [
    perStep(
      'nv_inference_request_success',
      'Number of successful inference requests, all batch sizes',
      successes,
    ),
    failures(state),
    perStep(
      'nv_inference_count',
      'Number of inferences performed (does not include cached requests)',
      () => whole,
    ),
    perStep(
      'nv_inference_exec_count',
      'Number of model executions performed (does not include cached requests)',
      () => whole,
    ),
    perStep(
      'nv_inference_request_duration_us',
      'Cumulative inference request duration in microseconds (includes cached requests)',
      (step) => (isWhole(step) ? total : 0),
    ),
    // The backend takes what comes and queues it itself.
    perStep(
      'nv_inference_queue_duration_us',
      'Cumulative inference queuing duration in microseconds (includes cached requests)',
      () => 0,
    ),
    perStep(
      'nv_inference_compute_input_duration_us',
      'Cumulative compute input duration in microseconds (does not include cached requests)',
      () => 0,
    ),
    perStep(
      'nv_inference_compute_infer_duration_us',
      'Cumulative compute inference duration in microseconds (does not include cached requests)',
      (step) => (isWhole(step) ? inference : 0),
    ),
    perStep(
      'nv_inference_compute_output_duration_us',
      'Cumulative inference compute output duration in microseconds (does not include cached requests)',
      () => 0,
    ),
    {
      ...perStep(
        'nv_inference_pending_request_count',
        'Instantaneous number of pending requests awaiting execution per-model.',
        () => 0,
      ),
      type: 'gauge',
    },
    ...(isIn(state.version, { since: REASONS }) ? [firstResponses(state)] : []),
    ofEngine('nv_trt_llm_request_metrics', 'TRT LLM request metrics', 'request_type', {
      waiting,
      scheduled: running,
      max: context.maxRunning,
      active: running + waiting,
    }),
    ...runtimeMemory(state, context),
    ofEngine('nv_trt_llm_kv_cache_block_metrics', 'TRT LLM KV cache block metrics', 'kv_cache_block_type', {
      fraction: kvUsageRatio(state),
      tokens_per: kv.blockTokens,
      used: kv.usedBlocks,
      free: kv.capacityBlocks - kv.usedBlocks,
      max: kv.capacityBlocks,
    }),
    ofEngine(
      'nv_trt_llm_inflight_batcher_metrics',
      'TRT LLM inflight_batcher-specific metrics',
      'inflight_batcher_specific_metric',
      { micro_batch_id: 0, generation_requests: running },
    ),
    ofEngine('nv_trt_llm_general_metrics', 'General TRT LLM metrics', 'general_type', {
      iteration_counter: state.iterations,
      timestamp: Math.floor(unixTime(context, context.seconds)),
    }),
    {
      ...ofEngine(
        'nv_trt_llm_disaggregated_serving_metrics',
        'TRT LLM disaggregated serving metrics',
        'disaggregated_serving_type',
        { kv_cache_transfer_ms: 0, request_count: 0 },
      ),
      type: 'counter',
    },
  ];
}

/** Weights and the room for keys and values; the world's engines hold nothing on the host. */
function runtimeMemory(state: EngineState, context: SurfaceContext): PrintedFamily[] {
  const model = figures(context, state.models[0]);
  if (model === undefined) return [];
  const kvTokenBytes = 2 * model.layers * model.kvHeads * model.headSize * model.kvBytesPerElement;
  const gpu = Math.round(model.parameters * model.bytesPerParameter + kvCapacityTokens(state) * kvTokenBytes);
  return [
    ofEngine('nv_trt_llm_runtime_memory_metrics', 'TRT LLM runtime memory metrics', 'memory_type', {
      pinned: 0,
      gpu,
      cpu: 0,
    }),
  ];
}

function failures({ version, requests, rejected }: EngineState): PrintedFamily {
  const reasons = { REJECTED: rejected, CANCELED: requests.abort, BACKEND: requests.error, OTHER: 0 };
  const isFailing = (step: Step): boolean => step === TRITON_PIPELINE || step === ENGINE_STEP;
  const points = STEPS.flatMap((model): PrintedPoint[] => {
    if (!isIn(version, { since: REASONS })) {
      const value = isFailing(model) ? rejected + requests.abort + requests.error : 0;
      return [{ labels: { model, version: '1' }, value }];
    }
    return Object.entries(reasons).map(([reason, count]) => ({
      labels: { model, reason, version: '1' },
      value: isFailing(model) ? count : 0,
    }));
  });
  return {
    name: 'nv_inference_request_failure',
    type: 'counter',
    help: 'Number of failed inference requests, all batch sizes',
    points,
  };
}

/** With --metrics-config histogram_latencies=true. */
function firstResponses({ histograms }: EngineState): PrintedFamily {
  return {
    name: 'nv_inference_first_response_histogram_ms',
    type: 'histogram',
    help: 'Duration from request to first response in milliseconds',
    points: [TRITON_PIPELINE, ENGINE_STEP].map((model) => ({
      labels: { model, version: '1' },
      histogram: histograms.timeToFirstTokenSeconds,
      scale: 1000,
    })),
  };
}

function perStep(name: string, help: string, of: (step: Step) => number): PrintedFamily {
  const labels = (model: Step): PrintedLabels => ({ model, version: '1' });
  return {
    name,
    type: 'counter',
    help,
    points: STEPS.map((step) => ({ labels: labels(step), value: of(step) })),
  };
}

function ofEngine(
  name: string,
  help: string,
  label: string,
  values: Readonly<Record<string, number>>,
): PrintedFamily {
  const points = Object.entries(values).map(([kind, value]) => ({
    labels: { [label]: kind, model: ENGINE_STEP, version: '1' },
    value,
  }));
  return { name, type: 'gauge', help, points };
}

function microseconds(seconds: number): number {
  return Math.round(seconds * 1e6);
}
