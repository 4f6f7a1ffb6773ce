import type { EngineState, TruthHistogram } from '../../engine/engine.ts';
import { commonBounds, geometric } from './bounds.ts';
import { printExposition, rustDialect, type PrintedFamily, type PrintedPoint } from './print-exposition.ts';
import {
  ended,
  isIn,
  json,
  kvCapacityTokens,
  pathOnly,
  servedContextTokens,
  servedModel,
  succeeded,
  text,
  type EngineSurface,
  type SurfaceContext,
} from './surface.ts';

interface Family {
  readonly name: string;
  readonly type: PrintedFamily['type'];
  /** The router describes some of its families and forgets others. */
  readonly help?: string;
  readonly since?: string;
  readonly points: (state: EngineState) => readonly PrintedPoint[];
}

/**
 * router/src/server.rs and backends/v3/src/backend.rs. A family appears with its first value. Successes have a
 * histogram each, failures none; nothing names the model.
 */
const FAMILIES: readonly Family[] = [
  counter('tgi_request_success', 'Number of successful requests', (s) => [[{}, succeeded(s)]]),
  counter('tgi_request_count', 'Total number of requests', (s) => [
    [{}, ended(s) + s.rejected + s.running + s.waiting],
  ]),
  counter('tgi_request_failure', undefined, ({ rejected, requests }) => [
    [{ err: 'overloaded' }, rejected],
    [{ err: 'dropped' }, requests.abort], // the client had gone
    [{ err: 'generation' }, requests.error],
  ]),
  gauge('tgi_queue_size', 'Current queue size', (s) => s.waiting),
  gauge(
    'tgi_batch_current_max_tokens',
    'Maximum tokens for the current batch',
    ({ kv }) => kv.usedBlocks * kv.blockTokens,
  ),
  gauge('tgi_batch_current_size', 'Current batch size', (s) => s.running),
  {
    ...gauge('tgi_batch_max_total_tokens', 'Maximum tokens for the current batch', kvCapacityTokens),
    since: '3.1',
  },
  histogram('tgi_request_input_length', 'Input token length per request', (h) => h.promptTokens),
  histogram('tgi_request_max_new_tokens', 'Maximum new tokens per request', (h) => h.maxTokens),
  histogram('tgi_request_generated_tokens', 'Generated tokens per request', (h) => h.generatedTokens),
  histogram('tgi_request_inference_duration', 'Request inference duration', (h) => h.inferenceSeconds),
  histogram('tgi_request_duration', 'Request duration', (h) => h.requestSeconds),
  histogram('tgi_request_queue_duration', 'Request queue duration', (h) => h.queueSeconds),
  // The router divides the inference, prefill included, by the tokens; the truth leaves the first token out.
  histogram(
    'tgi_request_mean_time_per_token_duration',
    'Mean time per token per request',
    (h) => h.timePerOutputTokenSeconds,
  ),
  {
    name: 'tgi_request_skipped_tokens',
    type: 'summary',
    help: 'Speculated tokens per request',
    points: (state) => [
      {
        labels: {},
        // One value for each answer of the batch; how they are spread is not known where tokens are speculated.
        quantiles:
          state.speculative === undefined
            ? { '0': 0, '0.5': 0, '0.9': 0, '0.95': 0, '0.99': 0, '0.999': 0, '1': 0 }
            : {},
        sum: state.speculative?.acceptedTokens ?? 0,
        count: state.generatedTokens,
      },
    ],
  },
];

export const tgi: EngineSurface = {
  kind: 'tgi',
  defaultVersion: '3.3.6',
  versions: ['3.0.1', '3.3.6'],
  bounds(_version, contextTokens) {
    const durations = geometric(0.0001 * 1.5, 1.5, 35);
    const total = hundredths(contextTokens);
    return {
      ...commonBounds(contextTokens),
      timePerOutputTokenSeconds: durations,
      requestSeconds: durations,
      queueSeconds: durations,
      inferenceSeconds: durations,
      // At least one token is left to the answer.
      promptTokens: hundredths(contextTokens - 1),
      generatedTokens: total,
      maxTokens: total,
    };
  },
  // The router waits for the warm-up of the model before it binds its port.
  listens: ({ condition }) => condition !== 'down' && condition !== 'loading',
  notFound: { status: 404, contentType: 'text/plain', body: '' },
  answer(path, state, context) {
    switch (pathOnly(path)) {
      case '/metrics':
        return text(printMetrics(state), 200, 'text/plain');
      case '/info':
        return json(info(state, context));
      case '/v1/models':
        return json({
          object: 'list',
          data: state.models.map((id) => ({ id, object: 'model', created: 0, owned_by: id })),
        });
      case '/health':
        return state.condition === 'hung'
          ? json({ error: 'unhealthy', error_type: 'healthcheck' }, 503)
          : { status: 200, contentType: 'text/plain', body: '' };
      default:
        return undefined;
    }
  },
};

function printMetrics(state: EngineState): string {
  const families = FAMILIES.filter((family) => isIn(state.version, family))
    .map(({ name, type, help, points }): PrintedFamily => ({ name, type, help, points: points(state) }))
    .filter(({ points }) => points.length > 0);
  return hasServed(state) ? printExposition(families, rustDialect) : '';
}

function hasServed(state: EngineState): boolean {
  return ended(state) + state.rejected + state.running + state.waiting > 0;
}

function info(state: EngineState, context: SurfaceContext): unknown {
  const contextTokens = servedContextTokens(context, state.models[0]) ?? 4096;
  return {
    model_id: servedModel(state),
    model_sha: null,
    model_pipeline_tag: 'text-generation',
    max_concurrent_requests: context.maxRunning,
    max_best_of: 2,
    max_stop_sequences: 4,
    max_input_tokens: contextTokens - 1,
    max_total_tokens: contextTokens,
    validation_workers: 2,
    max_client_batch_size: 4,
    router: 'text-generation-router',
    version: state.version,
    sha: null,
    docker_label: null,
  };
}

/** A hundred bounds of equal width. */
function hundredths(limit: number): number[] {
  return Array.from({ length: 100 }, (_, index) => (limit / 100) * (index + 1));
}

function counter(
  name: string,
  help: string | undefined,
  of: (state: EngineState) => readonly (readonly [Readonly<Record<string, string>>, number])[],
): Family {
  return {
    name,
    type: 'counter',
    ...(help === undefined ? {} : { help }),
    points: (state) =>
      of(state)
        .filter(([, value]) => value > 0)
        .map(([labels, value]) => ({ labels, value })),
  };
}

function gauge(name: string, help: string, of: (state: EngineState) => number): Family {
  return { name, type: 'gauge', help, points: (state) => [{ labels: {}, value: of(state) }] };
}

function histogram(
  name: string,
  help: string,
  of: (histograms: EngineState['histograms']) => TruthHistogram,
): Family {
  return {
    name,
    type: 'histogram',
    help,
    points: ({ histograms }) => {
      const each = of(histograms);
      return each.count === 0 ? [] : [{ labels: {}, histogram: each }];
    },
  };
}
