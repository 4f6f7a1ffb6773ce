import type { GpuCondition, WatchedGpu } from '@llm-monitor/gpus';

import { GpuHistory } from './gpu-history.ts';
import { gpuOf } from './test-gpus.ts';

const START = 1_000_000;

function busy(avg: number, uuid = 'GPU-0', condition: GpuCondition = 'up'): WatchedGpu {
  return gpuOf([], {
    windows: { utilization: { max: 1, avg, p95: 1, samples: 50 } },
    reading: { uuid, condition },
  });
}

/** The steps that are kept after this, each as its second since the start and what was told then. */
function stepsOf(told: readonly (readonly [second: number, avg: number])[]): (readonly [number, number])[] {
  const history = new GpuHistory();
  for (const [second, avg] of told) history.add([busy(avg)], START + second);
  return history
    .of('GPU-0')
    .steps.map(({ index, utilizationRatio }) => [index * 5 - START, utilizationRatio] as const);
}

describe('the past of a GPU', () => {
  it.each([
    [
      'each step as it was told last',
      [
        [0, 0.1],
        [1, 0.3],
        [4.9, 0.5],
        [5, 0.7],
      ],
      [
        [0, 0.5],
        [5, 0.7],
      ],
    ],
    [
      'one late reading is bridged',
      [
        [4.9, 0.2],
        [10, 0.6],
      ],
      [
        [0, 0.2],
        [5, 0.4],
        [10, 0.6],
      ],
    ],
    [
      'a longer gap is not',
      [
        [4.9, 0.2],
        [15, 0.6],
      ],
      [
        [0, 0.2],
        [15, 0.6],
      ],
    ],
    [
      'a clock set back begins it anew',
      [
        [50, 0.2],
        [20, 0.6],
      ],
      [[20, 0.6]],
    ],
  ] as const)('%s', (_, told, steps) => {
    const rounded = stepsOf(told).map(([second, ratio]) => [second, Math.round(ratio * 100) / 100]);
    expect(rounded).toEqual(steps);
  });

  it('reaches back an hour', () => {
    const steps = stepsOf(Array.from({ length: 1000 }, (_, step) => [step * 5, 0.5] as const));
    expect([steps.length, steps[0], steps.at(-1)]).toEqual([720, [1400, 0.5], [4995, 0.5]]);
  });

  it('knows when it was last up', () => {
    const history = new GpuHistory();
    history.add([busy(0.5)], START);
    history.add([busy(0.5, 'GPU-0', 'lost')], START + 60);
    expect(history.of('GPU-0').lastUpSeconds).toBe(START);
  });

  it('is forgotten with the GPU', () => {
    const history = new GpuHistory();
    history.add([busy(0.5), busy(0.7, 'GPU-1')], START);
    history.add([busy(0.7, 'GPU-1')], START + 1);
    expect([history.of('GPU-0').steps, history.of('GPU-1').steps.length]).toEqual([[], 1]);
  });

  it('is empty where nothing is sampled', () => {
    const history = new GpuHistory();
    history.add([gpuOf()], START);
    expect(history.of('GPU-0').steps).toEqual([]);
  });
});
