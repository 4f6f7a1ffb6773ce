import { rateFigure, unknownFigure, type Figure } from './figure.ts';
import type { Sample } from './history.ts';

export type TokenCount = 'generatedTokens' | 'promptTokens';

const WINDOW_SECONDS = 5;
/** Of an engine that counts a request's tokens when it ends: a short window would mostly see nothing. */
const WINDOW_OF_ENDS_SECONDS = 10;

type Counted = Sample & { readonly count: number };

/**
 * Tokens per second over the last readings, with the window's length: from the newest reading back to the oldest that
 * is at most five seconds older, at least to the one before. Traffic that began within it begins the window. Zero as
 * soon as nothing runs and nothing was added; unknown with the reason `why` where there is no counter, and while there
 * is only one reading after a gap.
 */
export function tokenRate(samples: readonly Sample[], count: TokenCount, why: string): Figure {
  const counted = samples.flatMap((sample): Counted[] => {
    const value = sample[count];
    return value === undefined ? [] : [{ ...sample, count: value }];
  });
  const latest = counted.at(-1);
  const before = counted.at(-2);
  if (latest === undefined || samples.at(-1)?.[count] === undefined) return unknownFigure(why);
  if (before !== undefined && isIdle(latest, before)) return rate(before, latest);
  if (before === undefined || latest.isAfterGap) {
    return { ...unknownFigure('a rate needs two readings close together: in a moment'), text: 'measuring…' };
  }
  return rate(startOf(counted, count === 'generatedTokens' && !countsAtEnds(counted)), latest);
}

function rate(start: Counted, latest: Counted): Figure {
  const seconds = latest.atSeconds - start.atSeconds;
  return {
    ...rateFigure((latest.count - start.count) / seconds),
    over: `over ${seconds < 1 ? seconds.toFixed(1) : Math.round(seconds)} s`,
  };
}

/** The first reading of the window. `isSteady`: tokens come one by one, as they are generated. */
function startOf(counted: readonly Counted[], isSteady: boolean): Counted {
  const last = counted.length - 1;
  const latest = itemAt(counted, last);
  const longestSeconds = isSteady ? WINDOW_SECONDS : WINDOW_OF_ENDS_SECONDS;
  let start = last - 1;
  while (
    start > 0 &&
    !itemAt(counted, start).isAfterGap &&
    !isIdle(itemAt(counted, start), counted[start - 1])
  ) {
    if (latest.atSeconds - itemAt(counted, start - 1).atSeconds > longestSeconds) break;
    start -= 1;
  }
  // Between the last idle reading and the next the traffic began at some time: that span is part of a mean only where
  // there is no other.
  const hasBegunAfter = isIdle(itemAt(counted, start), counted[start - 1]) && start < last - 1;
  return itemAt(counted, isSteady && hasBegunAfter ? start + 1 : start);
}

/** Nothing runs, by its own word, and nothing was added since the reading before. */
function isIdle(sample: Counted, before: Counted | undefined): boolean {
  return sample.running === 0 && (before === undefined || sample.count === before.count);
}

/** It was seen to work without counting: its counter moves when a request ends. */
function countsAtEnds(counted: readonly Counted[]): boolean {
  return counted.some((sample, index) => {
    const before = counted[index - 1];
    const worked = (sample.running ?? 0) > 0 && (before?.running ?? 0) > 0;
    return worked && !sample.tellsTokensInFlight && sample.count === before?.count;
  });
}

function itemAt<Item>(items: readonly Item[], index: number): Item {
  const item = items[index];
  if (item === undefined) throw new RangeError(`no item ${index} of ${items.length}`);
  return item;
}
