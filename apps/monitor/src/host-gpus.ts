import {
  gpuReaderBeside,
  startGpuWatch,
  type GpuWatch,
  type GpuWatchParts,
  type GpuWatchSettings,
} from '@llm-monitor/gpus';

import type { StartGpus } from './monitored-gpus.ts';
import type { Settings } from './settings.ts';

type Paths = Pick<Settings, 'nvmlLibrary' | 'sysfsRoot' | 'procRoot' | 'kernelLogFile'>;

/** Read as often as the gpu-exporter reads unless told otherwise: what more there is to set is set there. */
const READING = {
  intervalSeconds: 1,
  nvidiaSmiIntervalSeconds: 5,
  sampleHertz: 10,
  deadlineSeconds: 5,
  staleAfterSeconds: 10,
  nvidiaSmi: undefined,
  stateFile: undefined,
  processes: true,
} as const satisfies Omit<GpuWatchSettings, 'backend' | keyof Paths>;

/** Watches the GPUs of this host, which a process of its own reads. @param script of this program: the gpu-reader lies beside it */
export function hostGpus(
  { gpuBackend, nvmlLibrary, sysfsRoot, procRoot, kernelLogFile }: Paths & Pick<Settings, 'gpuBackend'>,
  {
    script,
    searchPath,
    libraryPath,
  }: {
    readonly script: string;
    readonly searchPath: string | undefined;
    readonly libraryPath: string | undefined;
  },
  startWatch: (parts: GpuWatchParts) => GpuWatch = startGpuWatch,
): StartGpus {
  return (parts) =>
    startWatch({
      ...parts,
      settings: { ...READING, backend: gpuBackend, nvmlLibrary, sysfsRoot, procRoot, kernelLogFile },
      readerCommand: gpuReaderBeside(script),
      searchPath,
      libraryPath,
    });
}
