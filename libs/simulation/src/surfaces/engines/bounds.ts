import type { EngineBounds } from './surface.ts';

/** 1, 2, 5, 10, … up to the largest that is not above the limit: vLLM's `build_1_2_5_buckets`. */
export function oneTwoFive(limit: number): number[] {
  const bounds: number[] = [];
  for (let power = 1; ; power *= 10) {
    for (const digit of [1, 2, 5]) {
      if (digit * power > limit) return bounds;
      bounds.push(digit * power);
    }
  }
}

/** From the start up to the limit, each so many times the one before. */
export function geometric(start: number, factor: number, count: number): number[] {
  const bounds: number[] = [];
  for (let bound = start; bounds.length < count; bound *= factor) bounds.push(bound);
  return bounds;
}

/** Engine steps take between a millisecond and minutes. */
const SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000,
];

/** For histograms that an engine does not print: only `sim_*` shows them. */
export function commonBounds(contextTokens: number): EngineBounds {
  const tokens = oneTwoFive(contextTokens);
  return {
    timeToFirstTokenSeconds: SECONDS,
    interTokenSeconds: SECONDS,
    timePerOutputTokenSeconds: SECONDS,
    requestSeconds: SECONDS,
    queueSeconds: SECONDS,
    prefillSeconds: SECONDS,
    decodeSeconds: SECONDS,
    inferenceSeconds: SECONDS,
    promptTokens: tokens,
    generatedTokens: tokens,
    maxTokens: tokens,
    iterationTokens: geometric(1, 2, 15),
  };
}
