import type { GpuSnapshot } from '@llm-monitor/gpus';
import { createSelfMetrics } from '@llm-monitor/metrics-core';

import { MonitoredGpus } from './monitored-gpus.ts';
import { backendOf, fakeGpuWatch, gpuOf, snapshotOf } from './test-gpus.ts';

const NO_GPU = snapshotOf([], [], 'no GPU on the bus');
const h100 = (gpu: string) => gpuOf([], { reading: { gpu, uuid: `GPU-${gpu}` } });
const rtx = gpuOf([], {
  reading: { gpu: '2', uuid: 'GPU-2', facts: { vendor: 'nvidia', name: 'RTX 4090' } },
});
const amd = gpuOf([], { backend: 'amdgpu', reading: { uuid: 'a', facts: { vendor: 'amd' } } });

/** The lines that are logged while the GPUs are, one after the other, as given. */
function logOf(...snapshots: readonly GpuSnapshot[]): [string, object][] {
  const lines: [string, object][] = [];
  const watch = fakeGpuWatch(NO_GPU);
  const quiet = (): void => undefined;
  new MonitoredGpus({
    start: () => watch,
    selfMetrics: createSelfMetrics({ app: 'monitor', version: '1.0.0' }),
    log: { info: (facts, message) => lines.push([message, facts]), warn: quiet, error: quiet },
    now: () => 1_000_000,
    onChange: quiet,
  }).start();
  for (const snapshot of snapshots) watch.become(snapshot);
  return lines;
}

it.each<[string, GpuSnapshot[], [string, object][]]>([
  ['none', [NO_GPU, NO_GPU], []],
  [
    'some, once and by their names',
    [NO_GPU, snapshotOf([h100('0'), rtx, h100('1')]), snapshotOf([h100('0'), rtx, h100('1')])],
    [['GPUs found', { backend: 'nvml', gpus: 3, names: '2 × NVIDIA H100 80GB HBM3, RTX 4090' }]],
  ],
  [
    'those of two vendors, in a line each',
    [snapshotOf([h100('0')]), snapshotOf([h100('0'), amd], [backendOf(), backendOf({ backend: 'amdgpu' })])],
    [
      ['GPUs found', { backend: 'nvml', gpus: 1, names: 'NVIDIA H100 80GB HBM3' }],
      ['GPUs found', { backend: 'amdgpu', gpus: 1, names: 'AMD GPU' }],
    ],
  ],
])('logs which GPUs were found: %s', (_, snapshots, lines) => {
  expect(logOf(...snapshots)).toEqual(lines);
});
