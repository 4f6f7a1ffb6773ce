import path from 'node:path';

import { findText, type DeviceFiles } from '../../pci/device-files.ts';
import type { GpuFacts } from '../../reading.ts';
import { cardName } from './card-names.ts';
import type { Card } from './find-cards.ts';

/** What a card is. The driver answers these from memory, but only those of the PCI core are asked of one that sleeps. */
export interface CardFacts {
  readonly facts: GpuFacts;
  readonly uniqueId: string | undefined;
}

/**
 * Facts of a card that may sleep: files of the PCI core, and `unique_id`, for which the driver does not ask the power
 * management for the device (`amdgpu_get_unique_id` in amdgpu_pm.c), so that a card has one `uuid` asleep and awake.
 */
export function sleepingCardFacts(files: DeviceFiles, card: Card): CardFacts {
  const text = (name: string): string | undefined => findText(files, path.join(card.device, name));
  const name = cardName(text('device') ?? card.deviceId, text('revision'));
  const numaNode = text('numa_node');
  return {
    facts: {
      vendor: 'amd',
      pciBusId: card.pciBusId,
      ...(name === undefined ? {} : { name }),
      // -1 where the board does not say.
      ...(numaNode !== undefined && /^\d+$/.test(numaNode) ? { numaNode } : {}),
    },
    uniqueId: text('unique_id'),
  };
}

/** All facts of a card that is awake. */
export function awakeCardFacts(files: DeviceFiles, card: Card): CardFacts {
  const text = (name: string): string | undefined => findText(files, path.join(card.device, name));
  const { facts, uniqueId } = sleepingCardFacts(files, card);
  const name = text('product_name');
  const vbiosVersion = text('vbios_version');
  const serial = text('serial_number');
  return {
    facts: {
      ...facts,
      ...(name === undefined ? {} : { name }),
      ...(vbiosVersion === undefined ? {} : { vbiosVersion }),
      ...(serial === undefined || /^(0+|n\/a)$/i.test(serial) ? {} : { serial }),
    },
    uniqueId,
  };
}
