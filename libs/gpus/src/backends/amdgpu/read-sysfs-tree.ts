import path from 'node:path';

import { findEntries, findText, hostFiles, type DeviceFiles } from '../../pci/device-files.ts';
import { BackendError, type BackendReading } from '../../reading.ts';
import { IdleRests } from '../idle-rests.ts';
import { findCard, findCards, findCardsIn, type Card } from './find-cards.ts';
import { assemble, readCards } from './read-cards.ts';

/**
 * Reads a tree of sysfs that was saved, or is live: its root, a folder of cards (`card0/device/...`), one card's folder,
 * or a device's. A card that its files say to be asleep is left alone here too.
 * @throws BackendError `no_gpus` where no card of AMD's is there
 */
export function readSysfsTree(folder: string, files: DeviceFiles = hostFiles): BackendReading {
  const cards = cardsOf(files, folder);
  if (cards.length === 0) {
    throw new BackendError(
      'no_gpus',
      `no card of the amdgpu driver in ${folder}: give the root of a sysfs tree, a folder with card0/device/uevent in it, or a card's folder`,
    );
  }
  const version = findText(files, path.join(folder, 'module/amdgpu/version'));
  const found = readCards({
    filesOf: () => files,
    cards,
    onBus: new Map(),
    rests: new IdleRests(() => 0),
    known: new Map(),
  });
  return assemble(found, undefined, version);
}

function cardsOf(files: DeviceFiles, folder: string): Card[] {
  if (findEntries(files, path.join(folder, 'class/drm')).length > 0) return findCards(files, folder);
  const inside = findCardsIn(files, folder);
  if (inside.length > 0) return inside;
  const own = findCard(files, path.join(folder, 'device')) ?? findCard(files, folder);
  return own === undefined ? [] : [own];
}
