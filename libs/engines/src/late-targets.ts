import type { EngineReading } from './reading.ts';
import type { TargetCollector } from './target-book.ts';

/** How long a scrape waits for a target that let an earlier one wait in vain. */
const GRACE_MILLISECONDS = 250;

/**
 * Keeps a hung target from holding up every scrape until its deadline: the first one waits, those after it only a
 * moment, while one reading with the whole deadline goes on behind them. The first that comes back ends it.
 */
export class LateTargets {
  private readonly late = new Set<string>();
  private readonly underWay = new Map<string, Promise<EngineReading>>();

  /** @returns undefined where the target is still late and a reading of it is under way. */
  async read(
    { server, read }: TargetCollector,
    signal: AbortSignal,
    deadlineMilliseconds: number,
  ): Promise<EngineReading | undefined> {
    if (!this.late.has(server)) return this.noted(server, await read(signal));
    const pending = this.underWay.get(server) ?? this.start(server, read, deadlineMilliseconds);
    return Promise.race([pending, pause(Math.min(GRACE_MILLISECONDS, deadlineMilliseconds))]);
  }

  /** Forgets targets that are no longer there. */
  keep(servers: ReadonlySet<string>): void {
    for (const server of this.late) if (!servers.has(server)) this.late.delete(server);
  }

  private start(
    server: string,
    read: TargetCollector['read'],
    deadlineMilliseconds: number,
  ): Promise<EngineReading> {
    const reading = read(AbortSignal.timeout(deadlineMilliseconds))
      .then((done) => this.noted(server, done))
      .finally(() => this.underWay.delete(server));
    // A fault of ours reaches whoever waits; when nobody does any more, the next scrape meets it again.
    reading.catch(() => undefined);
    this.underWay.set(server, reading);
    return reading;
  }

  private noted(server: string, reading: EngineReading): EngineReading {
    const timedOut = !reading.up && reading.errors.some(({ reason }) => reason === 'timeout');
    if (timedOut) this.late.add(server);
    else this.late.delete(server);
    return reading;
  }
}

function pause(milliseconds: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(() => resolve(undefined), milliseconds).unref());
}
