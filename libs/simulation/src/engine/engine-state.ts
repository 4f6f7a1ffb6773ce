import type { EngineConfig } from './engine-config.ts';
import type { EngineStatistics } from './engine-statistics.ts';
import type { EngineState, LoadedModel, SlotState } from './engine.ts';
import { contextTokens, slotsBytes } from './memory-plan.ts';
import type { Residence } from './resident-models.ts';
import type { Sequence } from './sequence.ts';

interface Snapshot extends Pick<
  EngineState,
  'name' | 'kind' | 'version' | 'condition' | 'startedSeconds' | 'pid'
> {
  readonly config: EngineConfig;
  readonly statistics: EngineStatistics;
  readonly residences: readonly Residence[];
  readonly pending: readonly Sequence[];
  readonly now: number;
}

/** Everything that can be said about an engine, copied so that it does not change any more. */
export function engineState(engine: Snapshot): EngineState {
  const { name, kind, version, condition, startedSeconds, pid, config, statistics } = engine;
  const running = engine.residences.flatMap(({ runner }) => runner.running);
  const waiting = [...engine.pending, ...engine.residences.flatMap(({ runner }) => runner.waiting)];
  return {
    name,
    kind,
    version,
    models: config.models.map((model) => model.name),
    condition,
    startedSeconds,
    pid,
    running: running.length,
    waiting: waiting.length,
    swapped: 0,
    kv: kvState(engine),
    prefixCache: { queriedTokens: statistics.queriedTokens, hitTokens: statistics.hitTokens },
    preemptions: statistics.preemptions,
    promptTokens: statistics.promptTokens,
    generatedTokens: statistics.generatedTokens,
    requests: { ...statistics.requests },
    rejected: statistics.rejected,
    iterations: statistics.iterations,
    speculative: config.speculative && {
      draftTokens: statistics.draftTokens,
      acceptedTokens: statistics.acceptedTokens,
    },
    loras: config.loras && { running: lorasOf(running), waiting: lorasOf(waiting), max: config.loras.max },
    histograms: statistics.histogramState(),
    slots: kind === 'llamacpp' ? slotStates(engine) : [],
    loaded: kind === 'ollama' ? loadedModels(engine) : [],
  };
}

function kvState({ residences, config }: Snapshot): EngineState['kv'] {
  let [capacityBlocks, usedBlocks, cachedBlocks] = [0, 0, 0];
  for (const { memory } of residences) {
    const usage = memory.usage();
    capacityBlocks += usage.capacityBlocks;
    usedBlocks += usage.usedBlocks;
    cachedBlocks += usage.cachedBlocks;
  }
  return { blockTokens: config.blockTokens, capacityBlocks, usedBlocks, cachedBlocks };
}

function lorasOf(sequences: readonly Sequence[]): string[] {
  return [
    ...new Set(sequences.flatMap(({ request: { lora } }) => (lora === undefined ? [] : [lora]))),
  ].sort();
}

function slotStates({ residences, kind, config }: Snapshot): SlotState[] {
  return residences.flatMap(({ runner, model }) => {
    const slotTokens = contextTokens(kind, config, model);
    const seated = new Map(runner.running.map((sequence) => [sequence.lease?.slot, sequence]));
    return Array.from({ length: config.maxSequences }, (_, id) => {
      const sequence = seated.get(id);
      return {
        id,
        requestId: sequence?.request.id,
        contextTokens: slotTokens,
        promptTokens: sequence?.promptTokens ?? 0,
        decodedTokens: sequence?.generatedTokens ?? 0,
      };
    });
  });
}

/** A model in use expires so long after now; one that is not, so long after its last use. */
function loadedModels({ residences, kind, config, now }: Snapshot): LoadedModel[] {
  return residences
    .filter(({ runner }) => runner.isReady)
    .map(({ model, placement, usedSeconds, runner }) => {
      const onHost = (slotsBytes(kind, config, model) * (model.layers - placement.gpuLayers)) / model.layers;
      return {
        name: model.name,
        sizeBytes: Math.round(placement.gpuBytes + onHost),
        gpuBytes: Math.round(placement.gpuBytes),
        expiresSeconds: (runner.empty ? usedSeconds : now) + (config.keepAliveSeconds ?? Infinity),
        contextTokens: contextTokens(kind, config, model),
      };
    });
}
