import path from 'node:path';

import { findEntries, findText, type DeviceFiles } from '../../pci/device-files.ts';
import { normalizePciBusId } from '../../pci/pci-gpus.ts';

/** A card that one of AMD's drivers holds, found by its PCI address: numbers of cards and of hwmon change at boot. */
export interface Card {
  readonly pciBusId: string;
  /** Folder of the PCI device: its own, which no new number of the card changes, where the links lead to it. */
  readonly device: string;
  readonly driver: string;
  /** Four hexadecimal digits. */
  readonly deviceId: string | undefined;
}

const DRIVERS = ['amdgpu', 'radeon'];

/** The cards below `class/drm`, by PCI address; none where there is no such folder. */
export function findCards(files: DeviceFiles, sysfsRoot: string): Card[] {
  return findCardsIn(files, path.join(sysfsRoot, 'class/drm'));
}

/** The cards of a folder that has `card0`, `card1`, ... in it, by PCI address. */
export function findCardsIn(files: DeviceFiles, folder: string): Card[] {
  const cards = findEntries(files, folder)
    .filter((name) => /^card\d+$/.test(name))
    .flatMap((name) => {
      const card = findCard(files, path.join(folder, name, 'device'));
      return card === undefined ? [] : [{ ...card, device: ownFolder(files, folder, name, card) }];
    });
  // An alias of the same device would be counted twice.
  const byAddress = new Map(cards.map((card) => [card.pciBusId, card]));
  return [...byAddress.values()].sort((one, other) => (one.pciBusId < other.pciBusId ? -1 : 1));
}

/** The card of a device folder; undefined where it is none of AMD's. */
export function findCard(files: DeviceFiles, device: string): Card | undefined {
  // The link `driver` is not followed: copies of a tree have none.
  const uevent = findText(files, path.join(device, 'uevent'));
  if (uevent === undefined) return undefined;
  const lines = new Map(uevent.split('\n').map((line) => splitOnce(line.trim(), '=')));
  const driver = lines.get('DRIVER') ?? '';
  const pciBusId = normalizePciBusId(lines.get('PCI_SLOT_NAME') ?? '');
  if (!DRIVERS.includes(driver) || pciBusId === undefined) return undefined;
  return { pciBusId, device, driver, deviceId: lines.get('PCI_ID')?.split(':')[1] };
}

/** Cards can swap their numbers while we read; copies of a tree have no links, and are read through the card. */
function ownFolder(files: DeviceFiles, folder: string, name: string, card: Card): string {
  try {
    const linked = path.resolve(folder, files.linkTarget(path.join(folder, name)));
    const device = path.resolve(linked, files.linkTarget(path.join(linked, 'device')));
    return findCard(files, device)?.pciBusId === card.pciBusId ? device : card.device;
  } catch {
    return card.device;
  }
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}
