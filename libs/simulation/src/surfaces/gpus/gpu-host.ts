import type { GpuState } from '../../gpu/gpu.ts';

/** NVIDIA's driver as a host has it. */
export interface NvidiaDriver {
  /** Of the programs and libraries: `580.105.08`. */
  readonly version: string;
  /** Highest CUDA version that it serves: `13.0`. */
  readonly cudaVersion: string;
  /** Of the kernel module, where it is another than that of the libraries: after an upgrade, until the next reboot. */
  readonly kernelModuleVersion?: string | undefined;
}

/** A host at an instant: its GPUs, and what its surfaces tell beside them. */
export interface GpuHost {
  /** Of both vendors, in any order. */
  readonly gpus: readonly GpuState[];
  /** Undefined where none is loaded. */
  readonly nvidiaDriver?: NvidiaDriver | undefined;
  /** Calls of NVIDIA's driver do not return. */
  readonly nvidiaDriverHangs?: boolean | undefined;
  /** Version of the amdgpu package. */
  readonly amdgpuVersion?: string | undefined;
  /** Unix time at which the world's clock was 0, and the host had just booted. */
  readonly startUnixSeconds: number;
  /** On the world's clock. */
  readonly nowSeconds: number;
}

/** NVIDIA's GPUs in the order of their PCI addresses, which is that of the driver's indices. */
export function nvidiaGpus(host: GpuHost): GpuState[] {
  return gpusOf(host, 'nvidia');
}

/** AMD's GPUs in the order of their PCI addresses. */
export function amdGpus(host: GpuHost): GpuState[] {
  return gpusOf(host, 'amd');
}

/** The libraries were upgraded while the kernel module is still the old one. */
export function isMismatched({ version, kernelModuleVersion = version }: NvidiaDriver): boolean {
  return version !== kernelModuleVersion;
}

/** A PCI address as sysfs writes it: `0000:8f:00.0`. @throws RangeError where it is none */
export function sysfsAddress(pciBusId: string): string {
  const { domain, bus, device, part } = partsOf(pciBusId);
  return `${domain.slice(-4)}:${bus}:${device}.${part}`;
}

/** A PCI address as NVML writes it: `00000000:8F:00.0`. @throws RangeError where it is none */
export function nvmlAddress(pciBusId: string): string {
  const { domain, bus, device, part } = partsOf(pciBusId);
  return `${domain}:${bus}:${device}.${part}`.toUpperCase();
}

function gpusOf({ gpus }: GpuHost, vendor: 'nvidia' | 'amd'): GpuState[] {
  const placed = gpus
    .filter(({ board }) => board.vendor === vendor)
    .map((gpu) => ({ gpu, address: nvmlAddress(gpu.pciBusId) }));
  return placed.sort((one, other) => (one.address < other.address ? -1 : 1)).map(({ gpu }) => gpu);
}

interface AddressParts {
  /** Eight digits. */
  readonly domain: string;
  readonly bus: string;
  readonly device: string;
  readonly part: string;
}

function partsOf(pciBusId: string): AddressParts {
  const match = /^(?:([0-9a-f]{1,8}):)?([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])$/i.exec(pciBusId);
  if (match === null) {
    throw new RangeError(`"${pciBusId}" is no PCI address: write it as sysfs does, 0000:8f:00.0`);
  }
  const [, domain = '0', bus = '', device = '', part = ''] = match.map((text) => text?.toLowerCase());
  return { domain: domain.padStart(8, '0'), bus, device, part };
}
