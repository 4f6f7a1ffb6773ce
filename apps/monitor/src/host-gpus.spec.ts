import type { GpuWatchParts } from '@llm-monitor/gpus';

import { hostGpus } from './host-gpus.ts';
import { fakeGpuWatch, snapshotOf } from './test-gpus.ts';
import { testSettings } from './test-monitor.ts';

const PROCESS = { script: '/opt/main.cjs', searchPath: '/usr/bin', libraryPath: undefined };
const quiet = (): void => undefined;

it.each([
  [{}, 'auto', undefined],
  [{ GPU_BACKEND: 'nvml', NVML_LIBRARY: '/opt/nvml.so' }, 'nvml', '/opt/nvml.so'],
])('reads GPUs as the settings %j say', (variables, backend, nvmlLibrary) => {
  const started: GpuWatchParts[] = [];
  const start = hostGpus(testSettings(variables), PROCESS, (parts) => {
    started.push(parts);
    return fakeGpuWatch(snapshotOf([]));
  });
  start({
    collectors: { succeeded: quiet, failed: quiet, forget: quiet },
    log: { info: quiet, warn: quiet, error: quiet },
  });
  expect(started[0]?.settings).toMatchObject({ backend, nvmlLibrary });
});
