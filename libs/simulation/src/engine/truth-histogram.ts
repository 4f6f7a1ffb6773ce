import type { TruthHistogram } from './engine.ts';

/** A histogram that is being filled. */
export class GrowingHistogram implements TruthHistogram {
  readonly bounds: readonly number[];
  readonly counts: number[];
  sum = 0;
  count = 0;

  /** @param bounds upper bounds, rising; a value equal to one belongs below it, as in Prometheus */
  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Array<number>(bounds.length + 1).fill(0);
  }

  observe(value: number): void {
    const { bounds, counts } = this;
    let place = 0;
    while (place < bounds.length && value > (bounds[place] ?? Infinity)) place += 1;
    counts[place] = (counts[place] ?? 0) + 1;
    this.sum += value;
    this.count += 1;
  }

  /** As it is now, apart from what comes. */
  snapshot(): TruthHistogram {
    return { bounds: this.bounds, counts: [...this.counts], sum: this.sum, count: this.count };
  }
}
