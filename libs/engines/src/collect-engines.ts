import {
  createCollectorRunner,
  type Collector,
  type CollectorOutcome,
  type CollectorRunner,
  type MetricFamily,
} from '@llm-monitor/metrics-core';

import { LateTargets } from './late-targets.ts';
import type { EngineReading } from './reading.ts';
import type { TargetBook } from './target-book.ts';

export interface EngineCollectionParts {
  readonly book: TargetBook;
  /** Sets the deadline, reads each target but once at a time, and counts successes and failures. */
  readonly runner: CollectorRunner;
  /** What one target may contribute of what it gave: the cardinality guard. */
  readonly guard?: (server: string, families: readonly MetricFamily[]) => readonly MetricFamily[];
  /** Told of a reading that failed by our fault, not the target's. */
  readonly onBug?: (server: string, error: unknown) => void;
}

/** The families of one target, and whether it answered. */
export interface CollectedEngine {
  readonly families: readonly MetricFamily[];
  readonly up: boolean;
}

export interface EngineCollection {
  /**
   * Reads every target of the book at once, and gives what they have as one list in which each name occurs once. It
   * takes no longer than the deadline; a target that is down or late contributes that it is down, and one that was late
   * before is hardly waited for. Never rejects.
   */
  collect(deadlineMilliseconds: number): Promise<readonly MetricFamily[]>;
  /** Reads one target of the book alone. What the collector's own metrics tell is left as it is. */
  collectOne(server: string, deadlineMilliseconds: number): Promise<CollectedEngine>;
}

/** A target that could not be read; what is known of it all the same goes along. */
class EngineDown extends Error {
  override readonly name = 'EngineDown';
  readonly reason: string;
  readonly families: readonly MetricFamily[];

  constructor({ errors, families }: Pick<EngineReading, 'errors' | 'families'>) {
    super(errors[0]?.message ?? 'The server does not answer.', { cause: errors[0] });
    this.reason = errors[0]?.reason ?? 'timeout';
    this.families = families;
  }
}

/** Makes the targets of a book collectors of a runner, and one list of families of what they give. */
export function createEngineCollection(parts: EngineCollectionParts): EngineCollection {
  const { book, runner } = parts;
  // A runner forgets whom it is not asked to run, so single readings go through one of their own.
  const singleRunner = createCollectorRunner({ metrics: { succeeded() {}, failed() {}, forget() {} } });

  const lateTargets = new LateTargets();

  const collectedOf = ({ name, families, error }: CollectorOutcome): CollectedEngine => {
    if (error === undefined) return { families, up: true };
    if (error.cause instanceof EngineDown) return { families: error.cause.families, up: false };
    if (error.reason === 'internal') parts.onBug?.(name, error.cause);
    return { families: book.downFamilies(name), up: false };
  };

  return {
    async collect(deadlineMilliseconds) {
      const targets = book.collectors();
      lateTargets.keep(new Set(targets.map(({ server }) => server)));
      const collectors = targets.map((target) =>
        collectorOf(target.server, parts, (signal) => lateTargets.read(target, signal, deadlineMilliseconds)),
      );
      const outcomes = await runner.run(collectors, deadlineMilliseconds);
      return mergeFamilies(outcomes.map((outcome) => collectedOf(outcome).families));
    },
    async collectOne(server, deadlineMilliseconds) {
      const target = book.collector(server);
      if (target === undefined) return { families: [], up: false };
      const outcomes = await singleRunner.run(
        [collectorOf(server, parts, target.read)],
        deadlineMilliseconds,
      );
      return outcomes.map(collectedOf)[0] ?? { families: [], up: false };
    },
  };
}

function collectorOf(
  server: string,
  { guard, book }: Pick<EngineCollectionParts, 'guard' | 'book'>,
  read: (signal: AbortSignal) => Promise<EngineReading | undefined>,
): Collector {
  return {
    name: server,
    async collect(signal) {
      const reading = await read(signal);
      if (reading === undefined) throw new EngineDown({ errors: [], families: book.downFamilies(server) });
      if (!reading.up) throw new EngineDown(reading);
      return guard === undefined ? reading.families : guard(server, reading.families);
    },
  };
}

/** Families of the same name under one head, in the order in which names first occur. */
function mergeFamilies(sources: readonly (readonly MetricFamily[])[]): MetricFamily[] {
  const byName = new Map<string, [MetricFamily, ...MetricFamily[]]>();
  for (const family of sources.flat()) {
    const group = byName.get(family.name);
    if (group === undefined) byName.set(family.name, [family]);
    else group.push(family);
  }
  return [...byName.values()].map(joined);
}

/** One family with the points of all; a name has one type, since all targets' families are made from one table. */
function joined(group: readonly [MetricFamily, ...MetricFamily[]]): MetricFamily {
  const [first] = group;
  if (group.length === 1) return first;
  switch (first.type) {
    case 'histogram':
    case 'gaugehistogram':
      return { ...first, points: group.flatMap((each) => (each.type === first.type ? each.points : [])) };
    case 'summary':
      return { ...first, points: group.flatMap((each) => (each.type === first.type ? each.points : [])) };
    default:
      return { ...first, points: group.flatMap((each) => (each.type === first.type ? each.points : [])) };
  }
}
