import type { GpuWatchParts } from '@llm-monitor/gpus';

import { hostGpus } from './host-gpus.ts';
import { fakeGpuWatch, snapshotOf } from './test-gpus.ts';
import { testSettings } from './test-monitor.ts';

const PROCESS = { script: '/opt/main.cjs', searchPath: '/usr/bin', libraryPath: undefined };
const quiet = (): void => undefined;

it.each([
  [{}, { backend: 'auto', sysfsRoot: '/sys', procRoot: '/proc', kernelLogFile: '/dev/kmsg' }],
  [
    { GPU_BACKEND: 'nvml', NVML_LIBRARY: '/opt/nvml.so' },
    { backend: 'nvml', nvmlLibrary: '/opt/nvml.so' },
  ],
  [
    { SYSFS_ROOT: '/host/sys', PROC_ROOT: '/host/proc', KERNEL_LOG_FILE: '/host/kmsg' },
    { sysfsRoot: '/host/sys', procRoot: '/host/proc', kernelLogFile: '/host/kmsg' },
  ],
])('reads GPUs as the settings %j say', (variables, expected) => {
  const started: GpuWatchParts[] = [];
  const start = hostGpus(testSettings(variables), PROCESS, (parts) => {
    started.push(parts);
    return fakeGpuWatch(snapshotOf([]));
  });
  start({
    collectors: { succeeded: quiet, failed: quiet, forget: quiet },
    log: { info: quiet, warn: quiet, error: quiet },
  });
  expect(started[0]?.settings).toMatchObject(expected);
});
