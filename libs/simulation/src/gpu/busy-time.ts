interface Span {
  from: number;
  to: number;
}

/** Forgotten spans are cut off so many at once, since cutting costs as much as what is left. */
const CUT_SPANS = 1024;

/** Adds up how long something was busy, where what it did may overlap and is told in any order. */
export class BusyTime {
  /** Apart from each other, the oldest first. */
  private readonly spans: Span[] = [];
  /** How many of them are forgotten. */
  private forgotten = 0;
  /** All that was before is forgotten and counts no more. */
  private horizonSeconds = -Infinity;

  /** @returns seconds of that time which had not been busy so far */
  add(fromSeconds: number, toSeconds: number): number {
    const from = Math.max(fromSeconds, this.horizonSeconds);
    if (!(toSeconds > from)) return 0;
    const last = this.spans.at(-1);
    if (last === undefined || last.to < from) {
      this.spans.push({ from, to: toSeconds });
      return toSeconds - from;
    }
    if (last.from <= from) {
      const added = Math.max(toSeconds - last.to, 0);
      last.to += added;
      return added;
    }
    return this.insert(from, toSeconds);
  }

  /** Lets go of what ended before that time: work that began earlier counts from there on. */
  forgetBefore(seconds: number): void {
    this.horizonSeconds = Math.max(this.horizonSeconds, seconds);
    for (let span = this.spans[this.forgotten]; span !== undefined && span.to < seconds;) {
      this.forgotten += 1;
      span = this.spans[this.forgotten];
    }
    if (this.forgotten < CUT_SPANS) return;
    this.spans.splice(0, this.forgotten);
    this.forgotten = 0;
  }

  private insert(from: number, to: number): number {
    let first = this.spans.length;
    while (first > this.forgotten && (this.spans[first - 1]?.to ?? -Infinity) >= from) first -= 1;
    const joined: Span = { from, to };
    let known = 0;
    let end = first;
    for (let span = this.spans[end]; span !== undefined && span.from <= to; span = this.spans[end]) {
      known += span.to - span.from;
      joined.from = Math.min(joined.from, span.from);
      joined.to = Math.max(joined.to, span.to);
      end += 1;
    }
    this.spans.splice(first, end - first, joined);
    return Math.max(joined.to - joined.from - known, 0);
  }
}
