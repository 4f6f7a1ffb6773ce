import path from 'node:path';

import { findText, hostFiles, type DeviceFiles } from '../../pci/device-files.ts';
import { isSuspended } from '../../pci/pci-gpus.ts';
import {
  BackendError,
  type BackendReading,
  type GpuBackend,
  type GpuProcess,
  type GpuSample,
  type PciGpu,
} from '../../reading.ts';
import { IdleRests } from '../idle-rests.ts';
import { AmdgpuProcesses } from './amdgpu-processes.ts';
import { findCards, type Card } from './find-cards.ts';
import { rarelyRead, type RarelyReadFiles } from './rarely-read.ts';
import { sampleCard, type CardReading, type SampleFiles } from './read-card.ts';
import {
  apusOf,
  assemble,
  processesOf,
  readCards,
  type FoundCard,
  type KnownCard,
  type ReadCardsParts,
} from './read-cards.ts';

export interface AmdgpuBackendParts {
  readonly sysfsRoot?: string;
  readonly procRoot?: string;
  readonly files?: DeviceFiles;
  /** Monotonic. */
  readonly nowSeconds?: () => number;
  readonly unixSeconds?: () => number;
}

/** Between two looks for cards that came, and for the version of the driver. */
const SCAN_SECONDS = 10;

/**
 * AMD's GPUs by the files of their kernel driver: no library, no program, no privilege.
 *
 * A card that the kernel has put to sleep is left alone, and so is, for a minute, one that it may put to sleep
 * (`powerManaged`) and that has nothing to do: every read of a sensor wakes a card, and puts its sleep off by the 5 s that
 * amdgpu sets (`pm_runtime_mark_last_busy` in amdgpu_pm.c, `pm_runtime_set_autosuspend_delay` where it takes a card on). Meanwhile it is up,
 * has its facts and no figures; see `IdleRests`.
 */
export function createAmdgpuBackend({
  sysfsRoot = '/sys',
  procRoot = '/proc',
  files = hostFiles,
  nowSeconds = () => performance.now() / 1000,
  unixSeconds = () => Date.now() / 1000,
}: AmdgpuBackendParts): GpuBackend {
  return new AmdgpuBackend({ sysfsRoot, procRoot, files, nowSeconds, unixSeconds });
}

interface Scan {
  readonly cards: readonly Card[];
  readonly driverVersion: string | undefined;
  readonly untilSeconds: number;
}

/** A card that was read at the last reading, and may be sampled. */
interface AwakeCard {
  readonly device: string;
  readonly uuid: string;
  readonly quick: SampleFiles;
  /** Whether it may fall asleep before the next reading. */
  readonly maySleep: boolean;
}

class AmdgpuBackend implements GpuBackend {
  readonly name = 'amdgpu';
  private readonly parts: Required<AmdgpuBackendParts>;
  private readonly processes: AmdgpuProcesses;
  private readonly rests: IdleRests;
  private readonly known = new Map<string, KnownCard>();
  /** By the folder of the device. */
  private readonly files = new Map<string, RarelyReadFiles>();
  private scan: Scan | undefined;
  private awake: readonly AwakeCard[] = [];

  constructor(parts: Required<AmdgpuBackendParts>) {
    this.parts = parts;
    this.processes = new AmdgpuProcesses(parts);
    this.rests = new IdleRests(parts.nowSeconds);
  }

  read(pci: readonly PciGpu[]): Promise<BackendReading> {
    try {
      return Promise.resolve(this.readNow(pci));
    } catch (error) {
      this.awake = [];
      return Promise.reject(toBackendError(error));
    }
  }

  sample(): readonly GpuSample[] {
    const unixSeconds = this.parts.unixSeconds();
    return this.awake.flatMap((card) => sample(this.parts.files, card, unixSeconds));
  }

  close(): void {
    this.awake = [];
  }

  private readNow(pci: readonly PciGpu[]): BackendReading {
    const onBus = new Map(pci.map((gpu) => [gpu.pciBusId, gpu]));
    const found = this.find(onBus);
    if (found.length === 0) throw noGpus(this.parts.sysfsRoot, pci);
    const view = this.processes.look(apusOf(found));
    const reading = assemble(found, view, this.scan?.driverVersion);
    for (const { pciBusId, answer } of found) {
      const processes = processesOf(view, pciBusId);
      const isHeld = processes?.some(holdsMemory);
      if (isHeld === true) this.rests.end(pciBusId);
      else if (onBus.get(pciBusId)?.powerManaged === true && hasNoLoad(answer, isHeld)) {
        this.rests.begin(pciBusId);
      }
    }
    this.awake = found.flatMap(({ pciBusId, card, answer }, index) => {
      const uuid = reading.gpus[index]?.uuid;
      if (card === undefined || uuid === undefined || typeof answer === 'string') return [];
      if (answer.condition !== 'up' || this.rests.isResting(pciBusId)) return [];
      const maySleep = onBus.get(pciBusId)?.powerManaged !== false;
      return [{ device: card.device, uuid, quick: answer.quick, maySleep }];
    });
    return reading;
  }

  /** Reads the cards, and once more where a file is gone: cards and sensors get new numbers when a driver starts anew. */
  private find(onBus: ReadonlyMap<string, PciGpu>): readonly FoundCard[] {
    const { rests, known } = this;
    const filesOf = (card: Card): DeviceFiles => this.filesOf(card);
    const parts: Omit<ReadCardsParts, 'cards'> = { filesOf, onBus, rests, known };
    let found = readCards({ ...parts, cards: this.cards() });
    if ([...this.files.values()].map((files) => files.takeVanished()).includes(true)) {
      this.scan = undefined;
      found = readCards({ ...parts, cards: this.cards() });
    }
    for (const { card, answer } of found) {
      // What was kept of one that does not answer may be of no use when it does.
      if (card !== undefined && typeof answer !== 'string' && answer.condition !== 'up') {
        this.filesOf(card).forget();
      }
    }
    return found;
  }

  /** The cards there are; where one is missed that there was, or there is none, they are looked for each time. */
  private cards(): readonly Card[] {
    const { files, sysfsRoot, procRoot, nowSeconds } = this.parts;
    const { scan } = this;
    if (scan !== undefined && scan.cards.length === this.known.size && nowSeconds() < scan.untilSeconds) {
      return scan.cards;
    }
    const cards = findCards(files, sysfsRoot);
    this.scan = {
      cards,
      driverVersion: driverVersion(files, sysfsRoot, procRoot),
      untilSeconds: cards.length === 0 ? -Infinity : nowSeconds() + SCAN_SECONDS,
    };
    for (const device of this.files.keys()) {
      if (!cards.some((card) => card.device === device)) this.files.delete(device);
    }
    return cards;
  }

  private filesOf({ device }: Card): RarelyReadFiles {
    const kept = this.files.get(device) ?? rarelyRead(this.parts.files, this.parts.nowSeconds);
    this.files.set(device, kept);
    return kept;
  }
}

/** Where it is not known whether a process holds memory of the card, its load has to be known. */
function hasNoLoad(answer: FoundCard['answer'], isHeld: boolean | undefined): boolean {
  if (typeof answer === 'string' || answer.condition !== 'up') return false;
  const utilization = utilizationOf(answer);
  return utilization === 0 || (utilization === undefined && isHeld === false);
}

function utilizationOf({ points }: CardReading): number | undefined {
  return points.find(({ metric }) => metric === 'gpu_utilization_ratio')?.value;
}

function holdsMemory({ memoryBytes }: GpuProcess): boolean {
  return memoryBytes === undefined || memoryBytes > 0;
}

/** AMD's own driver package tells its version; the one in the kernel has the kernel's, as rocm-smi says it too. */
function driverVersion(files: DeviceFiles, sysfsRoot: string, procRoot: string): string | undefined {
  return (
    findText(files, path.join(sysfsRoot, 'module/amdgpu/version')) ??
    findText(files, path.join(procRoot, 'sys/kernel/osrelease'))
  );
}

/** Asks anew whether the card sleeps, where it can: it may have gone to sleep since it was read. */
function sample(
  files: DeviceFiles,
  { device, uuid, quick, maySleep }: AwakeCard,
  unixSeconds: number,
): GpuSample[] {
  if (maySleep && isSuspended(files, device)) return [];
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
