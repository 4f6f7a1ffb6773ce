import { readFileSync } from 'node:fs';
import path from 'node:path';

/**
 * GPUs without memory of their own, by the name that their driver gives: GB10 (DGX Spark) and the Tegra modules, whose
 * driver is called nvgpu. Only for these is the memory of the host the answer to "Not Supported": for any other GPU it
 * would make a lost one look healthy. https://docs.nvidia.com/dgx/dgx-spark/known-issues.html
 */
const UNIFIED_MEMORY_NAMES = /\b(?:GB10|DGX Spark|nvgpu|Jetson|Tegra|Orin|Xavier|Thor)\b/i;

/** Memory of the host, in bytes. */
export interface HostMemory {
  readonly totalBytes: number;
  /** What can be allocated without swapping, by the kernel's estimate. */
  readonly availableBytes: number;
}

/** Whether the GPU of this name is known to use the memory of the host as its own. */
export function isUnifiedMemoryDevice(name: string | undefined): boolean {
  return name !== undefined && UNIFIED_MEMORY_NAMES.test(name);
}

/** Memory of the host from `meminfo` below `procRoot`; undefined where it is not there or does not say. */
export function readMemInfo(procRoot: string): HostMemory | undefined {
  let text: string;
  try {
    text = readFileSync(path.join(procRoot, 'meminfo'), 'utf8');
  } catch {
    return undefined; // Not a Linux, or not mounted: then nobody knows.
  }
  const totalBytes = kibibytes(text, 'MemTotal');
  const availableBytes = kibibytes(text, 'MemAvailable');
  if (totalBytes === undefined || availableBytes === undefined || availableBytes > totalBytes)
    return undefined;
  return { totalBytes, availableBytes };
}

/** The kernel says kB and means KiB. */
function kibibytes(text: string, name: string): number | undefined {
  const digits = new RegExp(`^${name}:\\s+(\\d{1,15}) kB$`, 'm').exec(text)?.[1];
  return digits === undefined ? undefined : Number(digits) * 1024;
}
