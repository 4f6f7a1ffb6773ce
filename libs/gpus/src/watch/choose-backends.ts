import { access, constants } from 'node:fs/promises';
import path from 'node:path';

import { GPU_VENDORS, type BackendName, type GpuVendor, type PciGpu } from '../reading.ts';

export interface HostSigns {
  /** GPUs on the PCI bus. */
  readonly pci: readonly PciGpu[];
  /** NVIDIA's library, or its device files, are here: also where the bus does not show the GPU (WSL 2, Jetson). */
  readonly nvidiaDriver: boolean;
  /** Path of nvidia-smi, where there is one. */
  readonly nvidiaSmi: string | undefined;
}

export interface BackendChoice {
  readonly backends: readonly BackendName[];
  /** Why there is none, in a sentence. */
  readonly nothing: string | undefined;
}

/**
 * Which backends to use.
 * @param wanted by the settings; `auto` takes for each vendor that is here the best that works
 * @param withoutLibrary NVML was tried and its library could not be loaded
 */
export function chooseBackends(
  wanted: BackendName | 'auto',
  { pci, nvidiaDriver, nvidiaSmi }: HostSigns,
  withoutLibrary: boolean,
): BackendChoice {
  if (wanted !== 'auto') return { backends: [wanted], nothing: undefined };
  const has = (vendor: GpuVendor): boolean => pci.some((gpu) => gpu.vendor === vendor);
  const backends: BackendName[] = [];
  if (has('nvidia') || nvidiaDriver || nvidiaSmi !== undefined) {
    backends.push(nvidiaSmi !== undefined && withoutLibrary ? 'nvidia-smi' : 'nvml');
  }
  if (has('amd')) backends.push('amdgpu');
  if (backends.length > 0) return { backends, nothing: undefined };
  return {
    backends,
    nothing: `no ${VENDOR_TITLES} GPU on the PCI bus, no NVIDIA library and no nvidia-smi: if this host has a GPU, is its driver installed, and in a container, was the GPU given to it?`,
  };
}

const VENDOR_TITLES = Object.values(GPU_VENDORS)
  .map(({ title }) => title)
  .join(' or ');

const LIBRARY_FOLDERS = [
  '/usr/lib/x86_64-linux-gnu',
  '/usr/lib/aarch64-linux-gnu',
  '/usr/lib64',
  '/usr/lib',
  '/usr/local/nvidia/lib64',
  '/usr/lib/wsl/lib',
  '/run/nvidia/driver/usr/lib/x86_64-linux-gnu',
  '/run/nvidia/driver/usr/lib/aarch64-linux-gnu',
];
const DEVICE_FILES = ['/dev/nvidiactl', '/dev/dxg'];

/**
 * Whether NVIDIA's driver shows on this host, by files alone: nothing is loaded and no device is opened. A library that
 * somebody has named counts as there: if it is not, that is what is to be told.
 * @param libraryPath `LD_LIBRARY_PATH`
 */
export async function hasNvidiaDriver(
  nvmlLibrary: string | undefined,
  libraryPath: string | undefined,
): Promise<boolean> {
  if (nvmlLibrary !== undefined) return true;
  const folders = (libraryPath ?? '').split(':').filter((folder) => folder !== '');
  const files = [
    ...[...folders, ...LIBRARY_FOLDERS].map((folder) => `${folder}/libnvidia-ml.so.1`),
    ...DEVICE_FILES,
  ];
  const found = await Promise.all(files.map((file) => may(file, constants.F_OK)));
  return found.includes(true);
}

/** Path of nvidia-smi: the one named, else the first on the search path. */
export async function findNvidiaSmi(
  named: string | undefined,
  searchPath: string | undefined,
): Promise<string | undefined> {
  const candidates =
    named === undefined
      ? [...(searchPath ?? '').split(path.delimiter), '/usr/lib/wsl/lib']
          .filter((folder) => folder !== '')
          .map((folder) => path.join(folder, 'nvidia-smi'))
      : [named];
  for (const candidate of candidates) if (await may(candidate, constants.X_OK)) return candidate;
  return undefined;
}

function may(file: string, mode: number): Promise<boolean> {
  return access(file, mode).then(
    () => true,
    () => false,
  );
}
