import type { EngineGpu } from './engine-gpu.ts';
import type { Model } from './model.ts';

/** Where the layers of a model are. */
export interface Placement {
  readonly gpus: readonly EngineGpu[];
  readonly gpuLayers: number;
  readonly gpuBytes: number;
}

/** All of it on the processor. */
export const ON_HOST: Placement = { gpus: [], gpuLayers: 0, gpuBytes: 0 };

/** The process that holds the memory. */
export interface Holder {
  readonly pid: number;
  readonly program: string;
  readonly command: readonly string[];
}

/** Takes so much of each of these GPUs, or nothing of any. */
export function allocateEach(
  gpus: readonly EngineGpu[],
  holder: Holder,
  bytesOf: (gpu: EngineGpu) => number,
): boolean {
  for (const [index, gpu] of gpus.entries()) {
    if (gpu.allocate({ ...holder, memoryBytes: bytesOf(gpu) })) continue;
    for (const taken of gpus.slice(0, index)) taken.release(holder.pid);
    return false;
  }
  return true;
}

/**
 * Puts so many layers of a model on the first group of GPUs that has room for them, spread evenly over the group.
 * @param modelBytes of all layers
 * @param overheadBytes on each GPU besides
 * @returns undefined, with nothing taken, when no group has room
 */
export function placeLayers(
  groups: readonly (readonly EngineGpu[])[],
  holder: Holder,
  model: Model,
  gpuLayers: number,
  modelBytes: number,
  overheadBytes: number,
): Placement | undefined {
  if (gpuLayers === 0) return ON_HOST;
  const bytes = (modelBytes * gpuLayers) / model.layers;
  for (const gpus of groups) {
    const each = Math.ceil(bytes / gpus.length + overheadBytes);
    if (gpus.length > 0 && allocateEach(gpus, holder, () => each)) {
      return { gpus, gpuLayers, gpuBytes: each * gpus.length };
    }
  }
  return undefined;
}

/** Puts as many layers on the GPUs as there is room for; those that are left are the processor's. */
export function placeMost(
  groups: readonly (readonly EngineGpu[])[],
  holder: Holder,
  model: Model,
  mostLayers: number,
  modelBytes: number,
  overheadBytes: number,
): Placement {
  for (let layers = mostLayers; layers > 0; layers -= 1) {
    const placement = placeLayers(groups, holder, model, layers, modelBytes, overheadBytes);
    if (placement !== undefined) return placement;
  }
  return ON_HOST;
}
