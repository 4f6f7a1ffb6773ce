import type { EngineKind, EngineState, TruthHistogram } from '../../engine/engine.ts';
import type { Model } from '../../engine/model.ts';
import type { EngineSurface, SurfaceContext } from './surface.ts';

export const TEST_MODEL: Model = {
  name: 'meta-llama/Llama-3.1-8B-Instruct',
  parameters: 8_030_261_248,
  activeParameters: 8_030_261_248,
  layers: 32,
  hiddenSize: 4096,
  attentionHeads: 32,
  kvHeads: 8,
  headSize: 128,
  vocabulary: 128_256,
  contextTokens: 32_768,
  bytesPerParameter: 2,
  precision: 'fp16',
  kvBytesPerElement: 2,
  source: 'test',
};

export const TEST_CONTEXT: SurfaceContext = {
  seconds: 600,
  epochSeconds: 1_790_000_000,
  models: [TEST_MODEL],
  maxRunning: 256,
};

/** An engine in the middle of its work: 240 requests have ended, 12 run, 5 wait; no two figures are the same. */
export function testState(
  surface: EngineSurface,
  version = surface.defaultVersion,
  contextTokens?: number,
): EngineState {
  const bounds = surface.bounds(version, contextTokens ?? TEST_MODEL.contextTokens);
  const of = (key: keyof typeof bounds, sum: number, count = 240): TruthHistogram =>
    spread(bounds[key], sum, count);
  return {
    name: 'engine-0',
    kind: surface.kind,
    version,
    models: [TEST_MODEL.name],
    condition: 'serving',
    startedSeconds: 12.5,
    pid: 4711,
    running: 12,
    waiting: 5,
    swapped: 0,
    kv: { blockTokens: 16, capacityBlocks: 4096, usedBlocks: 1024, cachedBlocks: 512 },
    prefixCache: { queriedTokens: 260_000, hitTokens: 91_000 },
    preemptions: 3,
    promptTokens: 255_000,
    generatedTokens: 61_000,
    requests: { stop: 200, length: 27, abort: 11, error: 2 },
    rejected: 7,
    iterations: 9_500,
    speculative: undefined,
    loras: undefined,
    histograms: {
      timeToFirstTokenSeconds: of('timeToFirstTokenSeconds', 61.25, 252),
      interTokenSeconds: of('interTokenSeconds', 1520.5, 60_760),
      timePerOutputTokenSeconds: of('timePerOutputTokenSeconds', 6.125),
      requestSeconds: of('requestSeconds', 1624.5),
      queueSeconds: of('queueSeconds', 9.75),
      prefillSeconds: of('prefillSeconds', 48.5),
      decodeSeconds: of('decodeSeconds', 1500.25),
      inferenceSeconds: of('inferenceSeconds', 1548.75),
      promptTokens: of('promptTokens', 248_000),
      generatedTokens: of('generatedTokens', 59_400),
      maxTokens: of('maxTokens', 122_880),
      iterationTokens: of('iterationTokens', 225_000, 9_500),
    },
    slots: slotsOf(surface.kind),
    loaded: surface.kind === 'ollama' ? [LOADED] : [],
  };
}

const LOADED = {
  name: TEST_MODEL.name,
  sizeBytes: 6_668_095_488,
  gpuBytes: 5_000_000_000,
  expiresSeconds: 900.25,
  contextTokens: 8192,
};

function slotsOf(kind: EngineKind): EngineState['slots'] {
  if (kind !== 'llamacpp') return [];
  return Array.from({ length: 12 }, (_, id) => ({
    id,
    requestId: `request-${id}`,
    contextTokens: 2048,
    promptTokens: 100 + id,
    decodedTokens: 10 * id,
  }));
}

/** A histogram of that sum and count, whose values are spread over all its buckets. */
function spread(bounds: readonly number[], sum: number, count: number): TruthHistogram {
  const each = Math.floor(count / (bounds.length + 1));
  return { bounds, counts: bounds.map(() => each), sum, count };
}
