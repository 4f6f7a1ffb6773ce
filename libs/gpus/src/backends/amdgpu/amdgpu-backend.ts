import path from 'node:path';

import { findText, hostFiles, type DeviceFiles } from '../../pci/device-files.ts';
import { isSuspended } from '../../pci/pci-gpus.ts';
import {
  BackendError,
  type BackendReading,
  type GpuBackend,
  type GpuPoint,
  type GpuProcess,
  type GpuReading,
  type GpuSample,
  type PciGpu,
  type UnsupportedReading,
} from '../../reading.ts';
import { AmdgpuProcesses, type KnownApus, type ProcessView } from './amdgpu-processes.ts';
import { awakeCardFacts, sleepingCardFacts, type CardFacts } from './card-facts.ts';
import { cardUuids } from './card-identity.ts';
import { findCards, type Card } from './find-cards.ts';
import { rarelyRead } from './rarely-read.ts';
import { readCard, sampleCard, sampleFiles, type CardReading, type SampleFiles } from './read-card.ts';

export interface AmdgpuBackendParts {
  readonly sysfsRoot?: string;
  readonly procRoot?: string;
  readonly files?: DeviceFiles;
  /** Monotonic. */
  readonly nowSeconds?: () => number;
  readonly unixSeconds?: () => number;
}

/** AMD's GPUs by the files of their kernel driver: no library, no program, no privilege. */
export function createAmdgpuBackend({
  sysfsRoot = '/sys',
  procRoot = '/proc',
  files = hostFiles,
  nowSeconds = () => performance.now() / 1000,
  unixSeconds = () => Date.now() / 1000,
}: AmdgpuBackendParts): GpuBackend {
  const processes = new AmdgpuProcesses({ files, sysfsRoot, procRoot, nowSeconds });
  const known = new Map<string, KnownCard>();
  const filesByCard = new Map<string, DeviceFiles>();
  const filesOf = ({ pciBusId, device }: Card): DeviceFiles => {
    const key = `${pciBusId} ${device}`;
    const kept = filesByCard.get(key) ?? rarelyRead(files, nowSeconds);
    filesByCard.set(key, kept);
    return kept;
  };
  let awake: readonly AwakeCard[] = [];
  return {
    name: 'amdgpu',
    read(pci) {
      try {
        const found = readCards(filesOf, findCards(files, sysfsRoot), pci, known);
        if (found.length === 0) throw noGpus(sysfsRoot, pci);
        const reading = assemble(
          found,
          (gpus) => processes.look(gpus),
          driverVersion(files, sysfsRoot, procRoot),
        );
        awake = reading.gpus.flatMap(({ condition, facts, uuid }) => {
          const card = found.find((each) => each.pciBusId === facts.pciBusId)?.card;
          return condition === 'up' && card !== undefined
            ? [{ device: card.device, uuid, quick: sampleFiles(filesOf(card), card) }]
            : [];
        });
        return Promise.resolve(reading);
      } catch (error) {
        awake = [];
        return Promise.reject(toBackendError(error));
      }
    },
    sample() {
      return awake.flatMap((card) => sample(files, card, unixSeconds()));
    },
    close() {
      awake = [];
    },
  };
}

/** A card that was awake at the last reading. */
interface AwakeCard {
  readonly device: string;
  readonly uuid: string;
  readonly quick: SampleFiles;
}

/** A card that was ever seen: one that is gone stays in the list, so that the others keep their index. */
interface KnownCard {
  readonly identity: CardFacts;
  /** Whether its facts were read while it was awake. */
  readonly whole: boolean;
}

interface FoundCard {
  readonly pciBusId: string;
  readonly identity: CardFacts;
  readonly card: Card | undefined;
  /** Undefined for one that sleeps. */
  readonly reading: CardReading | undefined;
}

/**
 * Reads the cards that are awake; of one that sleeps no file of its driver's sensors is opened.
 * @param known cards seen before, by PCI address; added to
 */
export function readCards(
  filesOf: (card: Card) => DeviceFiles,
  cards: readonly Card[],
  pci: readonly PciGpu[],
  known: Map<string, KnownCard>,
): FoundCard[] {
  const found = cards.map((card): FoundCard => {
    const { pciBusId } = card;
    const files = filesOf(card);
    if (pci.some((gpu) => gpu.pciBusId === pciBusId && gpu.suspended) || isSuspended(files, card.device)) {
      const identity = known.get(pciBusId)?.identity ?? sleepingCardFacts(files, card);
      if (!known.has(pciBusId)) known.set(pciBusId, { identity, whole: false });
      return { pciBusId, identity, card, reading: undefined };
    }
    const before = known.get(pciBusId);
    const identity = before?.whole === true ? before.identity : awakeCardFacts(files, card);
    const reading = readCard(files, card);
    known.set(pciBusId, { identity, whole: reading.condition === 'up' });
    return { pciBusId, identity, card, reading };
  });
  const gone = [...known].flatMap(([pciBusId, { identity }]): FoundCard[] =>
    cards.some((card) => card.pciBusId === pciBusId)
      ? []
      : [{ pciBusId, identity, card: undefined, reading: undefined }],
  );
  return [...found, ...gone].sort((one, other) => (one.pciBusId < other.pciBusId ? -1 : 1));
}

/** Makes one reading of the cards that were found; the label `gpu` is their order by PCI address. */
export function assemble(
  found: readonly FoundCard[],
  lookAtProcesses: ((gpus: KnownApus) => ProcessView) | undefined,
  version: string | undefined,
): BackendReading {
  const uuids = cardUuids(found.map(({ pciBusId, identity }) => ({ pciBusId, uniqueId: identity.uniqueId })));
  const view = lookAtProcesses?.(
    new Map(found.map(({ pciBusId, reading }) => [pciBusId, reading?.apu === true])),
  );
  const gpus = found.map(({ pciBusId, identity, card, reading }, index): GpuReading => {
    const condition = card === undefined ? 'vanished' : (reading?.condition ?? 'suspended');
    const processes = condition === 'up' && view !== undefined ? processesOf(view, pciBusId) : undefined;
    return {
      gpu: String(index),
      uuid: uuids.get(pciBusId) ?? pciBusId,
      condition,
      facts: { ...identity.facts, ...(version === undefined ? {} : { driverVersion: version }) },
      points: [
        ...(reading?.points ?? []),
        ...(view?.complete === true && processes !== undefined ? counts(processes) : []),
      ],
      ...(processes === undefined ? {} : { processes }),
    };
  });
  return {
    backend: 'amdgpu',
    ...(version === undefined ? {} : { driverVersion: version }),
    gpus,
    unparsed: found.flatMap(({ reading }) => reading?.unparsed ?? []),
    unsupported: unique(found.flatMap(({ reading }) => reading?.unsupported ?? [])),
  };
}

/** Where other users' processes are hidden from us, an empty list would say that there are none: then it is not known. */
function processesOf(
  { complete, processes }: ProcessView,
  pciBusId: string,
): readonly GpuProcess[] | undefined {
  return processes.get(pciBusId) ?? (complete ? [] : undefined);
}

function counts(processes: readonly GpuProcess[]): GpuPoint[] {
  return (['compute', 'graphics'] as const).map((type) => ({
    metric: 'gpu_processes',
    value: processes.filter((process) => process.type === type).length,
    labels: { type },
  }));
}

function unique(readings: readonly UnsupportedReading[]): UnsupportedReading[] {
  return [...new Map(readings.map((each) => [`${each.field} ${each.why}`, each])).values()];
}

/** AMD's own driver package tells its version; the one in the kernel has the kernel's, as rocm-smi says it too. */
function driverVersion(files: DeviceFiles, sysfsRoot: string, procRoot: string): string | undefined {
  return (
    findText(files, path.join(sysfsRoot, 'module/amdgpu/version')) ??
    findText(files, path.join(procRoot, 'sys/kernel/osrelease'))
  );
}

/** Asks anew whether the card sleeps: it may have gone to sleep since it was read. */
function sample(files: DeviceFiles, { device, uuid, quick }: AwakeCard, unixSeconds: number): GpuSample[] {
  if (isSuspended(files, device)) return [];
  const { utilizationRatio, powerWatts } = sampleCard(files, quick);
  return [
    ...(utilizationRatio === undefined
      ? []
      : [{ uuid, kind: 'utilization' as const, unixSeconds, value: utilizationRatio }]),
    ...(powerWatts === undefined ? [] : [{ uuid, kind: 'power' as const, unixSeconds, value: powerWatts }]),
  ];
}

function noGpus(sysfsRoot: string, pci: readonly PciGpu[]): BackendError {
  const onBus = pci.filter(({ vendor }) => vendor === 'amd').map(({ pciBusId }) => pciBusId);
  if (onBus.length > 0) {
    return new BackendError(
      'driver_not_loaded',
      `AMD GPU ${onBus.join(', ')} is on the PCI bus, but no card of the amdgpu driver is in ${sysfsRoot}/class/drm: is the driver loaded (modprobe amdgpu), or is the GPU given to a virtual machine?`,
    );
  }
  return new BackendError(
    'no_gpus',
    `no AMD GPU in ${sysfsRoot}/class/drm: is there one, and in a container, is the host's /sys visible?`,
  );
}

function toBackendError(error: unknown): BackendError {
  if (error instanceof BackendError) return error;
  return new BackendError('internal', `reading AMD GPUs failed: ${String(error)}`, error);
}
