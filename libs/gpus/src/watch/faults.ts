import type { WatchLog } from './gpu-watch.ts';

/**
 * What should not happen, in work that is done over and over: told in the log once for each place, and the work goes on with
 * its next turn. The rest of what is known of the GPUs stays worth its scrape.
 */
export class Faults {
  private readonly log: Pick<WatchLog, 'error'>;
  private readonly told = new Set<string>();

  constructor(log: Pick<WatchLog, 'error'>) {
    this.log = log;
  }

  /** @param place one of few: what was being done */
  tell(place: string, error: unknown): void {
    if (this.told.has(place)) return;
    this.told.add(place);
    this.log.error({ err: error, place }, 'a fault of this program: please report it');
  }

  /** Does what may throw. */
  guard(place: string, act: () => void): void {
    try {
      act();
    } catch (error) {
      this.tell(place, error);
    }
  }
}
