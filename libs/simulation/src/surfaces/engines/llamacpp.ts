import type { EngineState, SlotState } from '../../engine/engine.ts';
import type { Model } from '../../engine/model.ts';
import { commonBounds } from './bounds.ts';
import { llamaDialect, printExposition, type PrintedFamily } from './print-exposition.ts';
import {
  computedPromptTokens,
  figures,
  isIn,
  json,
  kvUsageRatio,
  pathOnly,
  servedModel,
  text,
  unixTime,
  type EngineSurface,
  type SurfaceAnswer,
  type SurfaceContext,
} from './surface.ts';

/** Builds are their versions. Between the two that are known the families changed one by one. */
const TODAY = 'b11669';
/** Until then the KV cache's fill was told: ggml-org/llama.cpp#13660. */
const KV_CACHE_REMOVED = 'b5440';

interface Family {
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  readonly since?: string;
  readonly until?: string;
  /** Undefined where the truth does not hold it. */
  readonly value: (state: EngineState, context: SurfaceContext) => number | undefined;
}

const now = { since: TODAY };
const old = { until: TODAY };

/** tools/server/server-context.cpp (in 2024: examples/server/server.cpp). No label, no histogram. */
const FAMILIES: readonly Family[] = [
  counter('prompt_tokens_total', 'Number of prompt tokens processed.', computedPromptTokens, old),
  counter(
    'prompt_tokens_total',
    'Number of prompt tokens processed, excluding cached tokens',
    computedPromptTokens,
    now,
  ),
  counter(
    'prompt_tokens_cached_total',
    'Number of prompt tokens reused from the cache',
    (s) => s.prefixCache.hitTokens,
    now,
  ),
  counter('prompt_seconds_total', 'Prompt process time', promptSeconds, old),
  counter('prompt_seconds_total', 'Total time spent processing prompts', promptSeconds, now),
  counter('tokens_predicted_total', 'Number of generation tokens processed.', predictedTokens, old),
  counter('tokens_predicted_total', 'Number of generation tokens processed', predictedTokens, now),
  counter('tokens_predicted_seconds_total', 'Predict process time', predictedSeconds, old),
  counter('tokens_predicted_seconds_total', 'Total time spent generating tokens', predictedSeconds, now),
  counter('n_decode_total', 'Total number of llama_decode() calls', (s) => s.iterations, old),
  counter(
    'n_decode_total',
    'Total number of llama_decode() calls, excluding speculative decoding and multimodal decoding',
    (s) => s.iterations,
    now,
  ),
  counter(
    'spec_decode_num_draft_tokens_total',
    'Speculative: Total draft tokens generated',
    ({ speculative }) => speculative?.draftTokens ?? 0,
    now,
  ),
  counter(
    'spec_decode_num_accepted_tokens_total',
    'Speculative: Total draft tokens accepted by the target model',
    ({ speculative }) => speculative?.acceptedTokens ?? 0,
    now,
  ),
  counter(
    'spec_decode_num_drafts_total',
    'Speculative: Total speculative decoding verification steps',
    ({ speculative }) => (speculative === undefined ? 0 : speculative.drafts),
    now,
  ),
  counter('n_busy_slots_per_decode', 'Average number of busy slots per llama_decode() call', busySlots, old),
  gauge('prompt_tokens_seconds', 'Average prompt throughput in tokens/s.', promptSpeed, old),
  gauge('prompt_tokens_seconds', 'Average prompt throughput in tokens/s', promptSpeed, now),
  gauge('predicted_tokens_seconds', 'Average generation throughput in tokens/s.', predictedSpeed, old),
  gauge('predicted_tokens_seconds', 'Average generation throughput in tokens/s', predictedSpeed, now),
  gauge('kv_cache_usage_ratio', 'KV-cache usage. 1 means 100 percent usage.', kvUsageRatio, {
    until: KV_CACHE_REMOVED,
  }),
  gauge('kv_cache_tokens', 'KV-cache tokens.', ({ kv }) => kv.usedBlocks * kv.blockTokens, {
    until: KV_CACHE_REMOVED,
  }),
  gauge('requests_processing', 'Number of request processing.', (s) => s.running, old),
  gauge('requests_processing', 'Number of requests processing', (s) => s.running, now),
  gauge('requests_deferred', 'Number of request deferred.', (s) => s.waiting, old),
  gauge('requests_deferred', 'Number of requests deferred', (s) => s.waiting, now),
  gauge('n_busy_slots_per_decode', 'Average number of busy slots per llama_decode() call', busySlots, now),
];

const JSON_TYPE = 'application/json; charset=utf-8';

export const llamacpp: EngineSurface = {
  kind: 'llamacpp',
  defaultVersion: TODAY,
  versions: ['b4127', TODAY],
  bounds: (_version, contextTokens) => commonBounds(contextTokens), // it prints none
  listens: ({ condition }) => condition !== 'down',
  notFound: withServer(
    json({ error: { code: 404, message: 'File Not Found', type: 'not_found_error' } }, 404, JSON_TYPE),
  ),
  answer(path, state, context) {
    const known = ['/metrics', '/slots', '/props', '/health', '/v1/models', '/models'].includes(
      pathOnly(path),
    );
    if (!known) return undefined;
    return withServer(state.condition === 'loading' ? LOADING : answerLoaded(pathOnly(path), state, context));
  },
};

const LOADING = json(
  { error: { code: 503, message: 'Loading model', type: 'unavailable_error' } },
  503,
  JSON_TYPE,
);

function answerLoaded(path: string, state: EngineState, context: SurfaceContext): SurfaceAnswer {
  switch (path) {
    case '/metrics':
      return {
        ...text(printMetrics(state, context), 200, 'text/plain; version=0.0.4'),
        // Microseconds of the machine's own clock, whatever the header's name says.
        headers: { 'Process-Start-Time-Unix': String(Math.round(state.startedSeconds * 1e6)) },
      };
    case '/slots':
      return json(
        state.slots.map((slot) => slotJson(slot, state)),
        200,
        JSON_TYPE,
      );
    case '/props':
      return json(props(state, context), 200, JSON_TYPE);
    case '/health':
      return json({ status: 'ok' }, 200, JSON_TYPE);
    default:
      return json(modelList(state, context), 200, JSON_TYPE);
  }
}

function withServer(answer: SurfaceAnswer): SurfaceAnswer {
  return {
    ...answer,
    headers: { Server: 'llama.cpp', 'Access-Control-Allow-Origin': '', ...answer.headers },
  };
}

function printMetrics(state: EngineState, context: SurfaceContext): string {
  const families = FAMILIES.filter((family) => isIn(state.version, family)).flatMap(
    ({ name, type, help, value }): PrintedFamily[] => {
      const known = value(state, context);
      return known === undefined
        ? []
        : [{ name: `llamacpp:${name}`, type, help, points: [{ labels: {}, value: known }] }];
    },
  );
  return printExposition(families, llamaDialect);
}

function slotJson(
  { id, requestId, contextTokens, promptTokens, decodedTokens }: SlotState,
  state: EngineState,
): unknown {
  const isProcessing = requestId !== undefined;
  const next = { has_next_token: true, has_new_line: false, n_remain: -1, n_decoded: decodedTokens };
  if (!isIn(state.version, now)) {
    return {
      n_ctx: contextTokens,
      n_predict: -1,
      model: `models/${fileName(servedModel(state))}.gguf`,
      id,
      id_task: isProcessing ? taskOf(requestId) : -1,
      is_processing: isProcessing,
      prompt: '',
      next_token: next,
    };
  }
  const fixed = { id, n_ctx: contextTokens, speculative: state.speculative !== undefined };
  if (!isProcessing) return { ...fixed, is_processing: false };
  return {
    ...fixed,
    is_processing: true,
    id_task: taskOf(requestId),
    // The whole sequence so far, prompt and answer.
    n_prompt_tokens: promptTokens + decodedTokens,
    n_prompt_tokens_processed: promptTokens,
    next_token: [next],
  };
}

/** Tasks are numbered; the number in a request's name, or its characters summed up. */
function taskOf(requestId: string): number {
  const digits = /\d+/.exec(requestId)?.[0];
  return digits === undefined
    ? [...requestId].reduce((sum, each) => sum + each.charCodeAt(0), 0)
    : Number(digits);
}

function props(state: EngineState, context: SurfaceContext): unknown {
  const name = servedModel(state);
  const model = figures(context, state.models[0]);
  return {
    default_generation_settings: {
      params: {
        seed: 4294967295,
        temperature: 0.8,
        top_k: 40,
        top_p: 0.95,
        min_p: 0.05,
        n_predict: -1,
        stream: false,
      },
      n_ctx: state.slots[0]?.contextTokens ?? model?.contextTokens ?? 4096,
    },
    total_slots: state.slots.length,
    model_alias: name,
    model_ftype: model === undefined ? 'unknown' : fileType(model),
    model_path: `/models/${fileName(name)}.gguf`,
    modalities: { vision: false, video: false, audio: false },
    endpoint_slots: true,
    endpoint_props: false,
    endpoint_metrics: true,
    ui: false,
    chat_template: '',
    bos_token: '<s>',
    eos_token: '</s>',
    build_info: `${state.version}-sim`,
    is_sleeping: state.condition === 'asleep',
  };
}

function modelList(state: EngineState, context: SurfaceContext): unknown {
  const created = Math.floor(unixTime(context, context.seconds));
  const details = {
    parent_model: '',
    format: 'gguf',
    family: '',
    families: [''],
    parameter_size: '',
    quantization_level: '',
  };
  return {
    models: state.models.map((name) => ({
      name,
      model: name,
      modified_at: '',
      size: '',
      digest: '',
      type: 'model',
      description: '',
      tags: [''],
      capabilities: ['completion'],
      parameters: '',
      details,
    })),
    object: 'list',
    data: state.models.map((id) => ({
      id,
      aliases: [id],
      tags: [],
      object: 'model',
      architecture: { input_modalities: ['text'], output_modalities: ['text'] },
      created,
      owned_by: 'llamacpp',
      meta: metaOf(figures(context, id), state),
    })),
  };
}

function metaOf(model: Model | undefined, state: EngineState): unknown {
  if (model === undefined) return null;
  return {
    vocab_type: 2,
    n_vocab: model.vocabulary,
    n_ctx: state.slots[0]?.contextTokens ?? model.contextTokens,
    n_ctx_train: model.contextTokens,
    n_embd: model.hiddenSize,
    n_params: model.parameters,
    size: Math.round(model.parameters * model.bytesPerParameter),
    ftype: fileType(model),
  };
}

/** As llama.cpp names the mix of a file's weights, by its bytes per weight. */
function fileType({ bytesPerParameter }: Model): string {
  if (bytesPerParameter < 0.7) return 'Q4_K - Medium';
  return bytesPerParameter < 1.5 ? 'Q8_0' : 'F16';
}

function fileName(model: string): string {
  return model.split('/').at(-1) ?? model;
}

function promptSeconds({ histograms }: EngineState): number {
  return histograms.prefillSeconds.sum;
}

/** Those of a request are added when it ends, whatever it ends with: all but what the busy slots have made so far. */
function predictedTokens({ generatedTokens, slots }: EngineState): number {
  return slots.reduce((rest, { decodedTokens }) => rest - decodedTokens, generatedTokens);
}

/** Of whole answers; those that were broken off have no times in the truth. */
function predictedSeconds({ histograms }: EngineState): number {
  return histograms.decodeSeconds.sum;
}

/** Slots that made a token, over all steps; those in their prompt are busy too, and are not in the truth. */
function busySlots({ iterations, generatedTokens }: EngineState): number {
  return iterations === 0 ? 0 : generatedTokens / iterations;
}

/** Reading resets it: tokens over seconds since it was last read. */
function promptSpeed(state: EngineState, { lastScrape }: SurfaceContext): number {
  return speed(computedPromptTokens, promptSeconds, state, lastScrape?.state);
}

function predictedSpeed(state: EngineState, { lastScrape }: SurfaceContext): number {
  return speed(predictedTokens, predictedSeconds, state, lastScrape?.state);
}

function speed(
  tokens: (state: EngineState) => number,
  seconds: (state: EngineState) => number,
  state: EngineState,
  before: EngineState | undefined,
): number {
  const taken = seconds(state) - (before === undefined ? 0 : seconds(before));
  const made = tokens(state) - (before === undefined ? 0 : tokens(before));
  return taken > 0 && made > 0 ? made / taken : 0;
}

function counter(
  name: string,
  help: string,
  value: Family['value'],
  range: Pick<Family, 'since' | 'until'>,
): Family {
  return { name, type: 'counter', help, ...range, value };
}

function gauge(
  name: string,
  help: string,
  value: Family['value'],
  range: Pick<Family, 'since' | 'until'>,
): Family {
  return { name, type: 'gauge', help, ...range, value };
}
