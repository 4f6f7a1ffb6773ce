import type { Sample } from './history.ts';
import { tokenRate } from './token-rate.ts';

type Reading = readonly [second: number, tokens: number, running?: number, isAfterGap?: boolean];

const samplesOf = (readings: readonly Reading[], tellsTokensInFlight: boolean): Sample[] =>
  readings.map(([atSeconds, generatedTokens, running, isAfterGap = false]) => ({
    atSeconds,
    generatedTokens,
    ...(running === undefined ? {} : { running }),
    tellsTokensInFlight,
    isAfterGap,
    latencies: {},
  }));

/** 100 tokens a second from 3 s to 11 s. */
const LOAD: readonly Reading[] = [
  [0, 0, 0, true],
  [2, 0, 0],
  [4, 100, 4],
  [6, 300, 4],
  [8, 500, 4],
  [10, 700, 4],
  [12, 800, 0],
  [14, 800, 0],
];

describe('of a load that begins and ends', () => {
  it.each([
    [2, 0, 'over 2 s'],
    [3, 50, 'over 2 s'], // no better span yet
    [4, 100, 'over 2 s'],
    [5, 100, 'over 4 s'],
    [6, 100, 'over 4 s'],
    [7, 75, 'over 4 s'],
    [8, 0, 'over 2 s'],
  ])('the rate after %d readings is %d %s', (count, value, over) => {
    expect(tokenRate(samplesOf(LOAD.slice(0, count), true), 'generatedTokens', '')).toMatchObject({
      value,
      over,
    });
  });
});

const rates: Record<string, [readings: readonly Reading[], value: number | undefined, over?: string]> = {
  'is that of the last five seconds': [[[0, 0], [2, 9000], [7, 9500]], 100, 'over 5 s'], // prettier-ignore
  'is that of one span where readings are rarer': [[[0, 0], [20, 9000], [40, 9500]], 25, 'over 20 s'], // prettier-ignore
  'does not reach over a gap': [[[0, 0, 4], [4, 10, 4, true], [5, 60, 4]], 50, 'over 1 s'], // prettier-ignore
  'is unknown at the first reading': [[[0, 700, 4, true]], undefined],
  'is unknown at the first reading after a gap': [[[0, 0, 0, true], [12, 300, 4, true]], undefined], // prettier-ignore
  'is zero after a gap in which nothing was added, and nothing runs': [[[0, 300, 0, true], [12, 300, 0, true]], 0, 'over 12 s'], // prettier-ignore
  'is unknown after a gap while something runs that was not counted yet': [[[0, 300, 0, true], [12, 300, 1, true]], undefined], // prettier-ignore
};

it.each(Object.entries(rates))('the rate %s', (_title, [readings, value, over]) => {
  const figure = tokenRate(samplesOf(readings, true), 'generatedTokens', 'no counter');
  expect(figure.value).toBe(value);
  expect(figure.over).toBe(over);
  if (value === undefined) {
    expect(figure).toEqual({
      text: 'measuring…',
      reason: 'a rate needs two readings close together: in a moment',
    });
  }
});

it('takes a longer window of a server that counts when a request ends, and no other', () => {
  const ends: readonly Reading[] = [[0, 0, 2, true], [2, 0, 2], [4, 400, 2], [6, 400, 2], [8, 400, 2], [10, 800, 2]]; // prettier-ignore
  expect(tokenRate(samplesOf(ends, false), 'generatedTokens', '')).toMatchObject({ value: 80, over: 'over 10 s' }); // prettier-ignore
  expect(tokenRate(samplesOf(ends, true), 'generatedTokens', '')).toMatchObject({ value: 100, over: 'over 4 s' }); // prettier-ignore
});

it('keeps the prompts that traffic began with', () => {
  const samples: Sample[] = samplesOf([[0, 0, 0, true], [2, 0, 4], [4, 0, 4]], true).map((sample, index) => ({ ...sample, promptTokens: index === 0 ? 0 : 4000 })); // prettier-ignore
  expect(tokenRate(samples, 'promptTokens', '').value).toBe(1000);
});

it('is unknown, with the reason, where there is no counter', () => {
  expect(tokenRate(samplesOf(LOAD, true), 'promptTokens', 'no counter')).toEqual({
    text: '–',
    reason: 'no counter',
  });
});
