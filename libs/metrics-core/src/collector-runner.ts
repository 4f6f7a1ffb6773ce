import { systemClock, type Clock } from './clock.ts';
import type { MetricFamily } from './families.ts';

/** One source of families: a server, a GPU backend. Its name is unique and becomes the label `collector`. */
export interface Collector {
  readonly name: string;
  /** Rejects with an error whose `reason` is one of a few short words; should end when the signal aborts. */
  collect(signal: AbortSignal): Promise<readonly MetricFamily[]>;
}

/** Why a collector gave nothing. */
export interface CollectorFailure {
  /** The error's own `reason`, else `timeout` or `internal`; `duplicate_name` when an earlier one has its name. */
  readonly reason: string;
  readonly message: string;
  readonly cause?: unknown;
}

export interface CollectorOutcome {
  readonly name: string;
  /** Empty after a failure. */
  readonly families: readonly MetricFamily[];
  readonly error?: CollectorFailure;
  readonly durationSeconds: number;
}

/** Where a runner reports what became of its collectors. */
export interface CollectorMetrics {
  succeeded(collector: string, durationSeconds: number, unixSeconds: number): void;
  failed(collector: string, reason: string, durationSeconds: number): void;
  /** The collector is no longer there: neither may be its series. */
  forget(collector: string): void;
}

export interface CollectorRunner {
  /**
   * Runs all collectors at once and gives an outcome for each, in their order, at the latest after the deadline. Never
   * rejects. A collector under way for another caller is joined, not started again; one that outlived an earlier
   * deadline and has not ended is not started either, and costs only itself. A collector of an earlier call that is
   * not among these is forgotten.
   */
  run(collectors: readonly Collector[], deadlineMilliseconds: number): Promise<CollectorOutcome[]>;
}

export interface CollectorRunnerParts {
  readonly metrics: CollectorMetrics;
  /** How many run at once; all of them when not given. The deadline of one that waits for its turn runs on. */
  readonly concurrency?: number;
  readonly clock?: Clock;
}

/** A runner that remembers, between scrapes, only which collectors are under way and which are known. */
export function createCollectorRunner({
  metrics,
  concurrency = Infinity,
  clock = systemClock,
}: CollectorRunnerParts): CollectorRunner {
  const flights = new Map<string, Flight>();
  const known = new Set<string>();
  const slots = new Slots(concurrency);

  const record = ({ name, error, durationSeconds }: CollectorOutcome): void => {
    if (!known.has(name)) return; // Forgotten while it was under way.
    if (error === undefined) metrics.succeeded(name, durationSeconds, clock.unixSeconds());
    else metrics.failed(name, error.reason, durationSeconds);
  };

  const start = (collector: Collector, deadlineMilliseconds: number): Flight => {
    const flight = launch(collector, deadlineMilliseconds, slots, clock);
    flights.set(collector.name, flight);
    void flight.outcome.then(record);
    void flight.ended.then(() => flights.delete(collector.name));
    return flight;
  };

  const runOne = (collector: Collector, deadlineMilliseconds: number): Promise<CollectorOutcome> => {
    const { name } = collector;
    const underWay = flights.get(name);
    if (underWay === undefined) return start(collector, deadlineMilliseconds).outcome;
    const elapsedSeconds = (): number => clock.monotonicSeconds() - underWay.startedSeconds;
    if (underWay.isOverdue) {
      const outcome = timedOut(name, elapsedSeconds(), 'still has not ended, so it is not started again');
      record(outcome);
      return Promise.resolve(outcome);
    }
    return firstOf(underWay.outcome, deadlineMilliseconds, clock, () =>
      timedOut(name, elapsedSeconds(), 'is still under way'),
    );
  };

  return {
    run(collectors, deadlineMilliseconds) {
      const names = new Set(collectors.map(({ name }) => name));
      for (const name of known) {
        if (names.has(name)) continue;
        known.delete(name);
        metrics.forget(name);
      }
      const taken = new Set<string>();
      return Promise.all(
        collectors.map((collector) => {
          const { name } = collector;
          if (taken.has(name)) return Promise.resolve(duplicate(name));
          taken.add(name);
          known.add(name);
          return runOne(collector, deadlineMilliseconds);
        }),
      );
    },
  };
}

/** One run of one collector. */
interface Flight {
  readonly startedSeconds: number;
  /** True from the deadline on. */
  readonly isOverdue: boolean;
  /** Settles at the deadline at the latest. */
  readonly outcome: Promise<CollectorOutcome>;
  /** Settles when the collector has, however late. */
  readonly ended: Promise<void>;
}

function launch(collector: Collector, deadlineMilliseconds: number, slots: Slots, clock: Clock): Flight {
  const { name } = collector;
  const controller = new AbortController();
  const startedSeconds = clock.monotonicSeconds();
  const elapsedSeconds = (): number => clock.monotonicSeconds() - startedSeconds;
  let isOverdue = false;
  const work = slots.use(controller.signal, () => collector.collect(controller.signal));
  const outcome = work.then(
    (families): CollectorOutcome => ({ name, families, durationSeconds: elapsedSeconds() }),
    (error: unknown): CollectorOutcome => failed(name, error, elapsedSeconds()),
  );
  return {
    startedSeconds,
    get isOverdue() {
      return isOverdue;
    },
    outcome: firstOf(outcome, deadlineMilliseconds, clock, () => {
      isOverdue = true;
      const late = timedOut(name, elapsedSeconds(), `gave nothing within ${deadlineMilliseconds} ms`);
      controller.abort(new DOMException(late.error?.message, 'TimeoutError'));
      return late;
    }),
    ended: outcome.then(() => undefined),
  };
}

/** The outcome, or what `late` makes of it when the deadline comes first. */
function firstOf(
  outcome: Promise<CollectorOutcome>,
  deadlineMilliseconds: number,
  clock: Clock,
  late: () => CollectorOutcome,
): Promise<CollectorOutcome> {
  return new Promise((resolve) => {
    const cancel = clock.after(deadlineMilliseconds, () => resolve(late()));
    void outcome.then((result) => {
      cancel();
      resolve(result);
    });
  });
}

/** Lets so many pieces of work run at once. A slot is free again when its work ends or its signal aborts. */
class Slots {
  private free: number;
  private readonly waiting: (() => void)[] = [];

  constructor(count: number) {
    this.free = count;
  }

  async use<Result>(signal: AbortSignal, work: () => Promise<Result>): Promise<Result> {
    if (this.free > 0) this.free--;
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
    let isHeld = true;
    const release = (): void => {
      if (!isHeld) return;
      isHeld = false;
      const next = this.waiting.shift();
      if (next === undefined) this.free++;
      else next();
    };
    try {
      signal.throwIfAborted();
      signal.addEventListener('abort', release);
      return await work();
    } finally {
      release();
    }
  }
}

function failed(name: string, error: unknown, durationSeconds: number): CollectorOutcome {
  const isError = typeof error === 'object' && error !== null && 'message' in error;
  const message = String(isError ? error.message : error);
  return { name, families: [], error: { reason: reasonOf(error), message, cause: error }, durationSeconds };
}

function timedOut(name: string, durationSeconds: number, what: string): CollectorOutcome {
  const message = `Collector ${name} ${what}: is its source reachable, and is the scrape timeout long enough?`;
  return { name, families: [], error: { reason: 'timeout', message }, durationSeconds };
}

function duplicate(name: string): CollectorOutcome {
  const message = `Two collectors are called ${name}: only the first one ran. Give each source a name of its own.`;
  return { name, families: [], error: { reason: 'duplicate_name', message }, durationSeconds: 0 };
}

/** A word fit for a label: the error's own when it has one, so that the set stays as closed as the code's. */
function reasonOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return 'internal';
  if ('reason' in error && typeof error.reason === 'string' && /^[a-z][a-z0-9_]{0,31}$/.test(error.reason)) {
    return error.reason;
  }
  return 'name' in error && error.name === 'TimeoutError' ? 'timeout' : 'internal';
}
