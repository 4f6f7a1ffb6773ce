import { createRandom } from '../random.ts';
import type { Board } from './board.ts';
import { type GpuParts, SimulatedGpu } from './simulated-gpu.ts';

/** What the tests of GPUs share: a GPU, and loads that follow its speed as an engine's do. */

/** How often a world ticks its GPUs. */
export const TICK_SECONDS = 0.1;

export function gpuOf(board: Board, parts: Partial<GpuParts> = {}): SimulatedGpu {
  return new SimulatedGpu({
    index: 0,
    board,
    random: createRandom('gpu'),
    pciBusId: '0000:1a:00.0',
    ...parts,
  });
}

/** Shares of the peaks that a load reaches, as of an engine that always has something to do. */
export interface Load {
  /** Of compute, where it is bound by that. */
  readonly computeRatio?: number;
  /** Of bandwidth, where it is bound by that. */
  readonly bandwidthRatio?: number;
  /** FLOP for each byte that it reads. */
  readonly flopsPerByte: number;
}

/** A batch of 32 sequences that reads 8-bit or 16-bit weights once for all of them. */
export const DECODE: Load = { bandwidthRatio: 0.8, flopsPerByte: 40 };
/** Long prompts: half of the peak. */
export const PREFILL: Load = { computeRatio: 0.5, flopsPerByte: 1500 };

export interface Outcome {
  readonly flops: number;
  readonly bytes: number;
  /** Power of each tick. */
  readonly watts: readonly number[];
}

/** Runs a load for so long, tick by tick, or nothing where there is none. */
export function run(gpu: SimulatedGpu, fromSeconds: number, seconds: number, load?: Load): Outcome {
  const watts: number[] = [];
  let [flops, bytes] = [0, 0];
  const ticks = Math.round(seconds / TICK_SECONDS);
  for (let tick = 0; tick < ticks; tick += 1) {
    const [from, to] = [fromSeconds + tick * TICK_SECONDS, fromSeconds + (tick + 1) * TICK_SECONDS];
    if (load !== undefined && !gpu.isLost()) {
      const work = amountsOf(gpu, load);
      gpu.work({ fromSeconds: from, toSeconds: to, precision: 'fp16', ...work });
      flops += work.flops;
      bytes += work.memoryBytes;
    }
    gpu.tick(from, to);
    watts.push(gpu.state().powerWatts);
  }
  return { flops, bytes, watts };
}

function amountsOf(gpu: SimulatedGpu, { computeRatio, bandwidthRatio = 0, flopsPerByte }: Load) {
  const speed = gpu.speed();
  if (computeRatio !== undefined) {
    const flops = speed.flopsPerSecond('fp16') * computeRatio * TICK_SECONDS;
    return { flops, memoryBytes: flops / flopsPerByte };
  }
  const memoryBytes = speed.memoryBytesPerSecond * bandwidthRatio * TICK_SECONDS;
  return { flops: memoryBytes * flopsPerByte, memoryBytes };
}
