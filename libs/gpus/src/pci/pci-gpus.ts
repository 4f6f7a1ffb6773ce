import path from 'node:path';

import { GPU_VENDORS, type GpuVendor, type PciGpu } from '../reading.ts';
import { findEntries, findText, hostFiles, type DeviceFiles } from './device-files.ts';

const VENDORS = new Map<string, GpuVendor>(
  (Object.keys(GPU_VENDORS) as GpuVendor[]).map((vendor) => [GPU_VENDORS[vendor].pciVendorId, vendor]),
);
/** VGA, 3D and other display controllers; Instinct MI300 says "processing accelerator". (PCI ID database, classes 03, 12.) */
const GPU_CLASSES = ['0x0300', '0x0302', '0x0380', '0x1200'];
/**
 * Drivers that hold a device for a virtual machine, by their names in /sys/bus/pci/drivers: whatever it does there is not
 * this host's, and vfio-pci puts one that nobody uses to sleep. (Linux: drivers/vfio/pci, drivers/xen/xen-pciback,
 * drivers/pci/pci-stub.c.)
 */
const PASSING_DRIVERS = ['vfio-pci', 'nvgrace-gpu-vfio-pci', 'pciback', 'xen-pciback', 'pci-stub'];
/** Between two looks for devices that came or went. */
const LIST_SECONDS = 10;

export interface PciGpuLookupParts {
  readonly sysfsRoot: string;
  readonly files?: DeviceFiles;
  /** Monotonic. */
  readonly nowSeconds?: () => number;
}

/**
 * A cheap way to ask often which GPUs are on the bus and which of them sleep: each call reads two small files per GPU,
 * which the PCI core answers from memory without waking anything; the list itself is made anew every 10 s.
 * Sorted by PCI address, which is the order of NVML's indices. One that is passed through to a virtual machine is not among
 * them; one that no driver has is, for that is a fault to be shown. Empty where there is no PCI bus (WSL 2, some containers).
 */
export function createPciGpuLookup({
  sysfsRoot,
  files = hostFiles,
  nowSeconds = () => performance.now() / 1000,
}: PciGpuLookupParts): () => PciGpu[] {
  const folder = devicesFolder(sysfsRoot);
  let listedSeconds: number | undefined;
  let listed: readonly ListedGpu[] = [];
  return () => {
    const now = nowSeconds();
    if (listedSeconds === undefined || now - listedSeconds >= LIST_SECONDS) {
      listed = listGpus(files, folder);
      listedSeconds = now;
    }
    return listed.map(({ device, ...gpu }) => ({ ...gpu, suspended: isSuspended(files, device) }));
  };
}

const lookups = new Map<string, () => PciGpu[]>();

/** The GPUs of this host's PCI bus now; see `createPciGpuLookup`. Never throws. */
export function pciGpusSync(sysfsRoot = '/sys'): PciGpu[] {
  const lookup = lookups.get(sysfsRoot) ?? createPciGpuLookup({ sysfsRoot });
  lookups.set(sysfsRoot, lookup);
  return lookup();
}

/** A GPU that a driver holds for a virtual machine. */
export interface PassedThroughGpu {
  /** As in `GpuFacts`. */
  readonly pciBusId: string;
  /** That holds it: `vfio-pci`. */
  readonly driver: string;
}

/** The GPUs that are on this host's PCI bus and not this host's to read, by address. Never throws. */
export function passedThroughGpus(sysfsRoot = '/sys'): PassedThroughGpu[] {
  return gpuDevices(hostFiles, devicesFolder(sysfsRoot)).flatMap(({ pciBusId, device }) => {
    const driver = passingDriver(hostFiles, device);
    return driver === undefined ? [] : [{ pciBusId, driver }];
  });
}

/** As `pciGpusSync`, for callers that want a promise. */
export function pciGpus(sysfsRoot = '/sys'): Promise<PciGpu[]> {
  return Promise.resolve(pciGpusSync(sysfsRoot));
}

/**
 * Whether the kernel has put a PCI device to sleep, or is about to: any read of a driver's own file would wake it.
 * Where the files are missing (WSL 2, containers, old kernels) a device counts as awake.
 * @param device folder of the device in sysfs
 */
export function isSuspended(files: DeviceFiles, device: string): boolean {
  const status = findText(files, path.join(device, 'power/runtime_status'));
  if (status === 'suspended' || status === 'suspending') return true;
  const state = findText(files, path.join(device, 'power_state'));
  return state === 'D3hot' || state === 'D3cold';
}

/** A PCI address as sysfs writes it, `0000:8f:00.0`; undefined for anything else. */
export function normalizePciBusId(text: string): string | undefined {
  const match = /^(?:([0-9a-f]{1,8}):)?([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])$/i.exec(text.trim());
  if (match === null) return undefined;
  const [, domain = '0', bus = '', device = '', pciFunction = ''] = match;
  const shortDomain = domain.replace(/^0+/, '').padStart(4, '0');
  return `${shortDomain}:${bus}:${device}.${pciFunction}`.toLowerCase();
}

function devicesFolder(sysfsRoot: string): string {
  return path.join(sysfsRoot, 'bus/pci/devices');
}

interface GpuDevice extends Pick<PciGpu, 'pciBusId' | 'vendor'> {
  /** Its folder in sysfs. */
  readonly device: string;
}

interface ListedGpu extends GpuDevice, Omit<PciGpu, 'suspended'> {}

function listGpus(files: DeviceFiles, folder: string): ListedGpu[] {
  return gpuDevices(files, folder)
    .filter(({ device }) => passingDriver(files, device) === undefined)
    .map((gpu) => ({ ...gpu, powerManaged: isPowerManaged(files, gpu.device) }));
}

function gpuDevices(files: DeviceFiles, folder: string): GpuDevice[] {
  return findEntries(files, folder)
    .flatMap((name): GpuDevice[] => {
      const device = path.join(folder, name);
      const pciBusId = normalizePciBusId(name);
      const vendor = VENDORS.get(findText(files, path.join(device, 'vendor')) ?? '');
      if (pciBusId === undefined || vendor === undefined) return [];
      const pciClass = findText(files, path.join(device, 'class'))?.slice(0, 6) ?? '';
      return GPU_CLASSES.includes(pciClass) ? [{ pciBusId, vendor, device }] : [];
    })
    .sort((one, other) => (one.pciBusId < other.pciBusId ? -1 : 1));
}

/** The driver that holds the device for a virtual machine, if one does. */
function passingDriver(files: DeviceFiles, device: string): string | undefined {
  try {
    const driver = path.basename(files.linkTarget(path.join(device, 'driver')));
    return PASSING_DRIVERS.includes(driver) ? driver : undefined;
  } catch {
    return undefined; // No driver has it.
  }
}

function isPowerManaged(files: DeviceFiles, device: string): boolean {
  const status = findText(files, path.join(device, 'power/runtime_status'));
  return (
    findText(files, path.join(device, 'power/control')) === 'auto' &&
    status !== undefined &&
    status !== 'unsupported'
  );
}
