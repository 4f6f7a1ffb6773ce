import type { EngineConfig } from './engine-config.ts';
import { ENGINE_KINDS } from './engine-kinds.ts';
import type { EngineGpu } from './engine-gpu.ts';
import type { EngineKind } from './engine.ts';
import { BlockCache, type KvMemory } from './kv-cache.ts';
import type { Model } from './model.ts';
import { kvBytesPerToken, weightBytes } from './models.ts';
import { SlotCache } from './slot-cache.ts';

/** The engine could not start: what it is told to hold is more than its GPUs have. */
export class ModelTooLarge extends Error {
  override readonly name = 'ModelTooLarge';
}

/**
 * Tokens that one sequence may have, by the engine's settings and its model.
 * @param memory when it is known: a sequence is no longer than all blocks together (vLLM refuses to start otherwise)
 */
export function contextTokens(
  kind: EngineKind,
  config: EngineConfig,
  model: Model,
  memory?: KvMemory,
): number {
  const traits = ENGINE_KINDS[kind];
  const wanted = config.contextTokens ?? model.contextTokens;
  const slots = traits.memory === 'slots' && !traits.contextPerSlot ? config.maxSequences : 1;
  const context = Math.min(Math.floor(wanted / slots), model.contextTokens);
  if (traits.memory === 'slots' || memory === undefined) return context;
  return Math.min(context, memory.usage().capacityBlocks * config.blockTokens);
}

/** Bytes that a model in slots takes over all its layers, without what each GPU needs besides. */
export function slotsBytes(kind: EngineKind, config: EngineConfig, model: Model): number {
  const cells = contextTokens(kind, config, model) * config.maxSequences;
  return weightBytes(model) + cells * kvBytesPerToken(model);
}

/**
 * Blocks for keys and values that each model gets: what the engine's share of the GPUs' memory leaves after the weights of
 * all models and its own needs.
 * @throws ModelTooLarge when that is not a single one
 */
function kvBlocks(
  kind: EngineKind,
  config: EngineConfig,
  memoryBytes: readonly number[],
  model: Model,
): number {
  const traits = ENGINE_KINDS[kind];
  const budget = memoryBytes.reduce(
    (sum, bytes) => sum + bytes * config.gpuMemoryRatio - traits.overheadBytes,
    0,
  );
  const weights = config.models.reduce((sum, each) => sum + weightBytes(each), 0);
  const each = (budget - weights) / config.models.length;
  // With fewer heads than GPUs, heads are kept more than once.
  const copies = Math.max(memoryBytes.length / model.kvHeads, 1);
  const blocks = Math.floor(each / (kvBytesPerToken(model) * copies * config.blockTokens));
  if (blocks >= 1) return blocks;
  throw new ModelTooLarge(
    `${kind} cannot hold ${config.models.map(({ name }) => name).join(', ')}: weights take ${gigabytes(weights)}, ` +
      `and its share of ${memoryBytes.length} GPU(s) is ${gigabytes(Math.max(budget, 0))}. ` +
      'Give it more or larger GPUs, a higher gpuMemoryRatio or a smaller model.',
  );
}

/** Keys' and values' memory of one model. */
export function createKvMemory(
  kind: EngineKind,
  config: EngineConfig,
  gpus: readonly EngineGpu[],
  model: Model,
): KvMemory {
  if (ENGINE_KINDS[kind].memory === 'slots') {
    const tokens = contextTokens(kind, config, model);
    return new SlotCache(config.maxSequences, tokens, config.blockTokens, config.prefixCaching);
  }
  const memoryBytes = gpus.map(({ board }) => board.memoryBytes);
  return new BlockCache(kvBlocks(kind, config, memoryBytes, model), config.blockTokens, config.prefixCaching);
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
