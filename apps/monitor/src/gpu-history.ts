import type { WatchedGpu } from '@llm-monitor/gpus';

import { STEP_SECONDS } from './history.ts';

/** How busy a GPU was in one step of the chart. */
export interface GpuStep {
  /** Unix time divided by the step's length. */
  readonly index: number;
  readonly utilizationRatio: number;
}

/** A GPU's past, as far as it is kept. */
export interface GpuPast {
  /** Steps in which it was read, oldest first, reaching back an hour. */
  readonly steps: readonly GpuStep[];
  /** When it was last up, as Unix time. */
  readonly lastUpSeconds?: number;
}

/** What came in during the step under way: the window to look through when this history is told. */
export const HISTORY_WINDOW_SECONDS = STEP_SECONDS;
const KEPT_STEPS = 720;
const NOTHING: GpuPast = { steps: [] };

/** The past of all GPUs, in memory and bounded: five-second steps for an hour. */
export class GpuHistory {
  private readonly gpus = new Map<string, { steps: GpuStep[]; lastUpSeconds?: number }>();

  /**
   * Takes in what is known now, with windows over `HISTORY_WINDOW_SECONDS`. Told several times within a step, the last
   * one stands, which saw most of it. Forgets every GPU that is not there.
   */
  add(gpus: readonly WatchedGpu[], nowSeconds: number): void {
    const there = new Set(gpus.map(({ reading }) => reading.uuid));
    for (const uuid of this.gpus.keys()) if (!there.has(uuid)) this.gpus.delete(uuid);
    for (const { reading, windows } of gpus) {
      const past = this.gpus.get(reading.uuid) ?? { steps: [] };
      this.gpus.set(reading.uuid, past);
      if (reading.condition === 'up') past.lastUpSeconds = nowSeconds;
      if (windows.utilization !== undefined) put(past.steps, nowSeconds, windows.utilization.avg);
    }
  }

  of(uuid: string): GpuPast {
    return this.gpus.get(uuid) ?? NOTHING;
  }
}

function put(steps: GpuStep[], nowSeconds: number, utilizationRatio: number): void {
  const index = Math.floor(nowSeconds / STEP_SECONDS);
  // A clock set back: the past is of no use then.
  if (index < (steps.at(-1)?.index ?? index)) steps.length = 0;
  if (steps.at(-1)?.index === index) steps.pop();
  const last = steps.at(-1);
  // What is read once in each step misses one now and then, when it comes a little late.
  if (last?.index === index - 2) {
    steps.push({ index: index - 1, utilizationRatio: (last.utilizationRatio + utilizationRatio) / 2 });
  }
  steps.push({ index, utilizationRatio });
  steps.splice(0, steps.length - KEPT_STEPS);
}
