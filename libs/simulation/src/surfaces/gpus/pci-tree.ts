import type { GpuState } from '../../gpu/gpu.ts';
import { filesIn, type FileTree, type TreeEntry } from './file-tree.ts';
import { amdGpus, nvidiaGpus, sysfsAddress, type GpuHost } from './gpu-host.ts';
import { pciIdsOf } from './pci-ids.ts';

/** Folder of a GPU's PCI device. */
export function deviceFolder(pciBusId: string): string {
  return `sys/devices/pci0000:00/${sysfsAddress(pciBusId)}`;
}

/**
 * The GPUs on the PCI bus as the kernel shows them: `sys/bus/pci/devices`, the devices themselves, and the drivers that hold
 * them. What NVIDIA's kernel module knows of itself is here too (`sys/module/nvidia/version`).
 *
 * A GPU that fell off the bus is still on the list: the kernel asks nobody. amdgpu lets go of one.
 */
export function pciTree(host: GpuHost): FileTree {
  const { nvidiaDriver, amdgpuVersion } = host;
  const nvidia = nvidiaDriver === undefined ? undefined : 'nvidia';
  const amdgpu = (gpu: GpuState): string | undefined =>
    amdgpuVersion === undefined || gpu.lostByXid !== undefined ? undefined : 'amdgpu';
  return new Map([
    ...nvidiaGpus(host).flatMap((gpu) => device(gpu, nvidia)),
    ...amdGpus(host).flatMap((gpu) => device(gpu, amdgpu(gpu))),
    ...filesIn('sys/module', {
      'nvidia/version': nvidiaDriver?.kernelModuleVersion ?? nvidiaDriver?.version,
      'amdgpu/version': amdgpuVersion,
    }),
  ]);
}

/** Rates per lane of the PCI Express generations, as the kernel writes them. */
const LINK_SPEEDS: Readonly<Record<number, string>> = {
  1: '2.5 GT/s PCIe',
  2: '5.0 GT/s PCIe',
  3: '8.0 GT/s PCIe',
  4: '16.0 GT/s PCIe',
  5: '32.0 GT/s PCIe',
  6: '64.0 GT/s PCIe',
};

function device({ board, pciBusId }: GpuState, driver: string | undefined): [string, TreeEntry][] {
  const { vendor, device: id, pciClass } = pciIdsOf(board);
  const address = sysfsAddress(pciBusId);
  const speed = LINK_SPEEDS[board.pcie.generation] ?? 'Unknown';
  const ids = `${vendor}:${id}`.toUpperCase();
  const uevent = [
    ...(driver === undefined ? [] : [`DRIVER=${driver}`]),
    `PCI_CLASS=${pciClass.replace(/^0/, '').toUpperCase()}`,
    `PCI_ID=${ids}`,
    `PCI_SUBSYS_ID=${ids}`,
    `PCI_SLOT_NAME=${address}`,
  ].join('\n');
  return [
    ...filesIn(deviceFolder(pciBusId), {
      vendor: `0x${vendor}`,
      device: `0x${id}`,
      class: `0x${pciClass}`,
      revision: '0x00',
      subsystem_vendor: `0x${vendor}`,
      subsystem_device: `0x${id}`,
      uevent,
      numa_node: '0',
      power_state: 'D0',
      'power/control': 'on',
      'power/runtime_status': 'active',
      current_link_speed: speed,
      current_link_width: board.pcie.width,
      max_link_speed: speed,
      max_link_width: board.pcie.width,
      driver: driver === undefined ? undefined : { linkTo: `../../../bus/pci/drivers/${driver}` },
    }),
    [`sys/bus/pci/devices/${address}`, { linkTo: `../../../devices/pci0000:00/${address}` }],
    // A folder is there only for the files in it.
    ...(driver === undefined ? [] : filesIn(`sys/bus/pci/drivers/${driver}`, { bind: '' })),
  ];
}
