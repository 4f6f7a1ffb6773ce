import type { Labels, ScalarPoint } from '@llm-monitor/metrics-core';

interface Series {
  readonly counter: number;
  /** The most that counter and tokens in flight made up together since the counter last started anew. */
  readonly high: number;
}

/** Beyond this many series, those that are not in the newest answer are forgotten. */
const MAX_REMEMBERED_SERIES = 5_000;

/**
 * Adds up by how much the counters of one server grew while it was watched, over all its models and replicas.
 *
 * A counter that falls has started anew and counts from zero; a series seen for the first time counts from what it
 * is, as it may have counted for hours. Tokens in flight come on top of a counter that moves when a request ends. The
 * two are read one after the other, so that a request which ends between them is missing from both for a moment: such
 * a dip is waited out, never counted twice.
 */
export class TokenMeter {
  private readonly series = new Map<string, Series>();
  private grown = 0;

  /** The growth since the first answer, in tokens; undefined when this answer has no such counter. */
  read(counters: readonly ScalarPoint[], inFlight: readonly ScalarPoint[] = []): number | undefined {
    if (counters.length === 0) return undefined;
    const flying = new Map(inFlight.map(({ labels, value }) => [keyOf(labels), value]));
    const seen = new Set<string>();
    for (const { labels, value } of counters) {
      const key = keyOf(labels);
      seen.add(key);
      const made = value + (flying.get(key) ?? 0);
      const before = this.series.get(key) ?? { counter: value, high: made };
      const base = value < before.counter ? 0 : before.high;
      this.grown += Math.max(0, made - base);
      this.series.set(key, { counter: value, high: Math.max(made, base) });
    }
    if (this.series.size > MAX_REMEMBERED_SERIES) {
      for (const key of this.series.keys()) if (!seen.has(key)) this.series.delete(key);
    }
    return this.grown;
  }
}

function keyOf(labels: Labels): string {
  return JSON.stringify(Object.entries(labels).sort(([one], [other]) => (one < other ? -1 : 1)));
}
