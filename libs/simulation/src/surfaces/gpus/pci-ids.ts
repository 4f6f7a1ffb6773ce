import type { Board } from '../../gpu/board.ts';

/** Vendor ids of the PCI ID database. */
const PCI_VENDORS = { nvidia: '10de', amd: '1002' } as const;

/** Device ids by the name that the driver gives the board (PCI ID database; those of NVIDIA also in its drivers' README). */
const DEVICES: readonly (readonly [name: RegExp, device: string])[] = [
  [/\bH100 80GB HBM3\b/, '2330'],
  [/\bH100\b/, '2331'],
  [/\bH200\b/, '2335'],
  [/\bA100-SXM4-80GB\b/, '20b2'],
  [/\bA100-SXM4-40GB\b/, '20b0'],
  [/\bA100\b/, '20b5'],
  [/\bL40S\b/, '26b9'],
  [/\bL4\b/, '27b8'],
  [/\bRTX 4090\b/, '2684'],
  [/\bRTX 3090\b/, '2204'],
  [/\bMI300X\b/, '74a1'],
  [/\b8060S\b|Strix Halo/i, '1586'],
];

/** What a bus tells of a board, in hexadecimal digits. */
export interface PciIds {
  readonly vendor: string;
  readonly device: string;
  /** Base class, sub-class and programming interface: `030200`. */
  readonly pciClass: string;
}

/** Ids of a board; one whose name is not in the table has the device id 0000. */
export function pciIdsOf({ name, vendor, fan, unifiedMemory }: Board): PciIds {
  const device = DEVICES.find(([pattern]) => pattern.test(name))?.[1] ?? '0000';
  return { vendor: PCI_VENDORS[vendor], device, pciClass: classOf() };

  function classOf(): string {
    if (vendor === 'amd' && !unifiedMemory && fan === undefined) return '120000'; // Instinct: processing accelerator
    // Boards of the data center have no display: 3D controller.
    return fan === undefined && !unifiedMemory ? '030200' : '030000';
  }
}
