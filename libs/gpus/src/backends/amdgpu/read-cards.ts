import type { DeviceFiles } from '../../pci/device-files.ts';
import { isSuspended } from '../../pci/pci-gpus.ts';
import type {
  BackendReading,
  GpuPoint,
  GpuProcess,
  GpuReading,
  PciGpu,
  UnsupportedReading,
} from '../../reading.ts';
import type { IdleRests } from '../idle-rests.ts';
import type { KnownApus, ProcessView } from './amdgpu-processes.ts';
import { awakeCardFacts, sleepingCardFacts, type CardFacts } from './card-facts.ts';
import { cardUuids } from './card-identity.ts';
import type { Card } from './find-cards.ts';
import { readCard, type CardReading } from './read-card.ts';

/** A card that was ever seen: one that is gone stays in the list, so that the others keep their index. */
export interface KnownCard {
  readonly identity: CardFacts;
  /** Whether its facts were read while it was awake. */
  readonly whole: boolean;
  readonly apu: boolean;
}

export interface FoundCard extends KnownCard {
  readonly pciBusId: string;
  /** Undefined for one that is gone. */
  readonly card: Card | undefined;
  /** What it said, or why it was not asked. */
  readonly answer: CardReading | 'suspended' | 'resting' | 'vanished';
}

export interface ReadCardsParts {
  readonly filesOf: (card: Card) => DeviceFiles;
  readonly cards: readonly Card[];
  /** What the bus knows of them, by PCI address. */
  readonly onBus: ReadonlyMap<string, PciGpu>;
  readonly rests: IdleRests;
  /** Cards seen before, by PCI address; added to. */
  readonly known: Map<string, KnownCard>;
}

/** Reads the cards that are awake; of one that sleeps, or is to, no file of its driver's sensors is opened. */
export function readCards(parts: ReadCardsParts): FoundCard[] {
  const { cards, known } = parts;
  const found = cards.map((card) => findOne(parts, card));
  for (const { pciBusId, identity, whole, apu } of found) known.set(pciBusId, { identity, whole, apu });
  const gone = [...known].flatMap(([pciBusId, before]): FoundCard[] =>
    cards.some((card) => card.pciBusId === pciBusId)
      ? []
      : [{ ...before, pciBusId, card: undefined, answer: 'vanished' }],
  );
  // What comes back to its place may be another card.
  for (const { pciBusId, identity, apu } of gone) known.set(pciBusId, { identity, whole: false, apu });
  return [...found, ...gone].sort((one, other) => (one.pciBusId < other.pciBusId ? -1 : 1));
}

function findOne({ filesOf, onBus, rests, known }: ReadCardsParts, card: Card): FoundCard {
  const { pciBusId } = card;
  const files = filesOf(card);
  const before = known.get(pciBusId);
  const gpu = onBus.get(pciBusId);
  if (gpu?.suspended ?? isSuspended(files, card.device)) {
    rests.fellAsleep(pciBusId);
    const asleep = before ?? { identity: sleepingCardFacts(files, card), whole: false, apu: false };
    return { ...asleep, pciBusId, card, answer: 'suspended' };
  }
  if (gpu?.powerManaged !== true) rests.end(pciBusId);
  if (before !== undefined && rests.isResting(pciBusId)) {
    return { ...before, pciBusId, card, answer: 'resting' };
  }
  const identity = before?.whole === true ? before.identity : awakeCardFacts(files, card);
  const answer = readCard(files, card);
  const whole = before?.whole === true || answer.condition === 'up';
  return { identity, whole, apu: answer.apu, pciBusId, card, answer };
}

/** Makes one reading of the cards that were found; the label `gpu` is their order by PCI address. */
export function assemble(
  found: readonly FoundCard[],
  view: ProcessView | undefined,
  version: string | undefined,
): BackendReading {
  const uuids = cardUuids(found.map(({ pciBusId, identity }) => ({ pciBusId, uniqueId: identity.uniqueId })));
  const answers = found.flatMap(({ answer }) => (typeof answer === 'string' ? [] : [answer]));
  const gpus = found.map(({ pciBusId, identity, answer }, index): GpuReading => {
    const facts = { ...identity.facts, ...(version === undefined ? {} : { driverVersion: version }) };
    const who = { gpu: String(index), uuid: uuids.get(pciBusId) ?? pciBusId, facts };
    if (typeof answer === 'string') {
      return { ...who, condition: answer === 'resting' ? 'up' : answer, points: [] };
    }
    const { condition, points } = answer;
    const processes = condition === 'up' ? processesOf(view, pciBusId) : undefined;
    return {
      ...who,
      condition,
      points: [...points, ...(view?.complete === true && processes !== undefined ? counts(processes) : [])],
      ...(processes === undefined ? {} : { processes }),
    };
  });
  return {
    backend: 'amdgpu',
    ...(version === undefined ? {} : { driverVersion: version }),
    gpus,
    unparsed: answers.flatMap(({ unparsed }) => unparsed),
    unsupported: unique(answers.flatMap(({ unsupported }) => unsupported)),
  };
}

/** Whether each card that is known is part of a processor. */
export function apusOf(found: readonly FoundCard[]): KnownApus {
  return new Map(found.map(({ pciBusId, apu }) => [pciBusId, apu]));
}

/**
 * Where other users' processes are hidden from us, an empty list would say that there are none: then it is not known.
 */
export function processesOf(
  view: ProcessView | undefined,
  pciBusId: string,
): readonly GpuProcess[] | undefined {
  return view?.processes.get(pciBusId) ?? (view?.complete === true ? [] : undefined);
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
