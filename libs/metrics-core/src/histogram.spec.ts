import fc from 'fast-check';
import type { HistogramPoint } from './families.ts';
import {
  differenceOfHistograms,
  meanOf,
  mergeHistograms,
  observationCount,
  quantile,
  shareBelow,
} from './histogram.ts';

const point = (bounds: number[], counts: number[], rest: Partial<HistogramPoint> = {}): HistogramPoint => ({
  labels: {},
  bounds,
  counts,
  ...rest,
});

/** 10 observations up to 1, 20 more up to 2, 10 more up to 4, 10 above. */
const latency = point([1, 2, 4, Infinity], [10, 30, 40, 50]);

describe('quantile', () => {
  it.each([
    { why: 'rank 5 of the 10 in the lowest bucket, which starts at 0', q: 0.1, of: latency, value: 0.5 },
    { why: 'rank 25 is 15 of 20 into (1, 2]', q: 0.5, of: latency, value: 1.75 },
    { why: 'rank 30 is the end of (1, 2]', q: 0.6, of: latency, value: 2 },
    { why: 'rank 35 is half of (2, 4]', q: 0.7, of: latency, value: 3 },
    { why: 'in the +Inf bucket it is the highest finite bound', q: 0.9, of: latency, value: 4 },
    { why: 'so is the maximum', q: 1, of: latency, value: 4 },
    { why: 'the minimum is the start of the lowest bucket', q: 0, of: latency, value: 0 },
    {
      why: 'rank 0 in an empty lowest bucket is 0/0',
      q: 0,
      of: point([1, 2, Infinity], [0, 5, 5]),
      value: undefined,
    },
    {
      why: 'a lowest bound of 0 or less is itself the answer',
      q: 0.1,
      of: point([-1, 1, Infinity], [5, 10, 10]),
      value: -1,
    },
    {
      why: 'above a negative bound it is linear again',
      q: 0.75,
      of: point([-1, 1, Infinity], [5, 10, 10]),
      value: 0,
    },
    {
      why: 'empty buckets are passed over',
      q: 0.5,
      of: point([1, 2, 3, Infinity], [0, 0, 4, 4]),
      value: 2.5,
    },
    {
      why: 'counts that fall are raised to the highest before',
      q: 0.5,
      of: point([1, 2, Infinity], [4, 2, 8]),
      value: 1,
    },
    { why: 'below 0', q: -0.1, of: latency, value: -Infinity },
    { why: 'above 1', q: 1.1, of: latency, value: Infinity },
    { why: 'NaN', q: NaN, of: latency, value: undefined },
    { why: 'without observations', q: 0.5, of: point([1, Infinity], [0, 0]), value: undefined },
    { why: 'with the +Inf bucket alone', q: 0.5, of: point([Infinity], [3]), value: undefined },
    { why: 'without a +Inf bucket', q: 0.5, of: point([1, 2], [1, 3]), value: undefined },
    { why: 'without buckets', q: 0.5, of: point([], []), value: undefined },
  ])('of $q is $value: $why', ({ q, of, value }) => {
    expect(quantile(q, of)).toEqual(value);
  });

  it('grows with q and stays within the bounds', () => {
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(fc.array(fc.nat(50), { minLength: 5, maxLength: 5 }), share, share, (added, one, other) => {
        let total = 0;
        const histogram = point(
          [0.1, 0.5, 1, 10, Infinity],
          added.map((more) => (total += more)),
        );
        const low = quantile(Math.min(one, other), histogram);
        const high = quantile(Math.max(one, other), histogram);
        if (low === undefined || high === undefined) return;
        expect(low).toBeLessThanOrEqual(high + 1e-12);
        expect(low).toBeGreaterThanOrEqual(0);
        expect(high).toBeLessThanOrEqual(10);
      }),
      { seed: 6 },
    );
  });
});

describe('shareBelow', () => {
  it.each([
    { why: 'a bound of its own', bound: 2, of: latency, value: 0.6 },
    { why: 'a quarter into (2, 4]', bound: 2.5, of: latency, value: 0.65 },
    { why: 'within the lowest bucket, which starts at 0', bound: 0.5, of: latency, value: 0.1 },
    { why: 'below all', bound: -1, of: latency, value: 0 },
    { why: 'above the highest finite bound, of which nothing is known', bound: 100, of: latency, value: 0.8 },
    { why: 'everything', bound: Infinity, of: latency, value: 1 },
    {
      why: 'a negative lowest bound has nothing below it',
      bound: -2,
      of: point([-1, Infinity], [5, 10]),
      value: 0,
    },
    { why: 'NaN', bound: NaN, of: latency, value: undefined },
    { why: 'no observations', bound: 1, of: point([1, Infinity], [0, 0]), value: undefined },
    { why: 'no buckets', bound: 1, of: point([], []), value: undefined },
  ])('at $bound is $value: $why', ({ bound, of, value }) => {
    expect(shareBelow(bound, of)).toEqual(value);
  });
});

describe('meanOf', () => {
  it.each([
    { of: point([Infinity], [4], { sum: 10, count: 4 }), value: 2.5 },
    { of: point([Infinity], [4], { sum: 10 }), value: 2.5 },
    { of: point([Infinity], [4]), value: undefined },
    { of: point([Infinity], [0], { sum: 0, count: 0 }), value: undefined },
    { of: point([Infinity], [4], { sum: NaN, count: 4 }), value: undefined },
  ])('is $value', ({ of, value }) => {
    expect(meanOf(of)).toBe(value);
  });

  it('counts by the +Inf bucket where there is no count', () => {
    expect(observationCount(latency)).toBe(50);
    expect(observationCount({ ...latency, count: 51 })).toBe(51);
    expect(observationCount(point([], []))).toBeUndefined();
  });
});

describe('mergeHistograms', () => {
  const one = point([1, Infinity], [1, 2], { sum: 3, count: 2, labels: { engine: '0' } });
  const two = point([1, Infinity], [10, 20], { sum: 30, count: 20, labels: { engine: '1' } });

  it('adds what has the same bounds, under the labels given', () => {
    expect(mergeHistograms([one, two], { model: 'm' })).toEqual({
      labels: { model: 'm' },
      bounds: [1, Infinity],
      counts: [11, 22],
      sum: 33,
      count: 22,
    });
  });

  it('has no sum where one of them has none', () => {
    const { sum: _, ...sumless } = two;
    expect(mergeHistograms([one, sumless], {})).toEqual({
      labels: {},
      bounds: [1, Infinity],
      counts: [11, 22],
      count: 22,
    });
  });

  it.each([
    { why: 'no histogram', points: [] },
    { why: 'other bounds', points: [one, point([2, Infinity], [1, 2])] },
    { why: 'more bounds', points: [one, point([1, 2, Infinity], [1, 2, 3])] },
  ])('is nothing for $why', ({ points }) => {
    expect(mergeHistograms(points, {})).toBeUndefined();
  });
});

describe('differenceOfHistograms', () => {
  const earlier = point([1, Infinity], [5, 8], { sum: 10, count: 8 });

  it.each([
    {
      why: 'what came between',
      later: point([1, Infinity], [6, 10], { sum: 14.5, count: 10 }),
      difference: point([1, Infinity], [1, 2], { sum: 4.5, count: 2 }),
    },
    {
      why: 'nothing between',
      later: earlier,
      difference: point([1, Infinity], [0, 0], { sum: 0, count: 0 }),
    },
    {
      why: 'all of the later one when its count fell',
      later: point([1, Infinity], [6, 9], { sum: 1, count: 7 }),
      difference: point([1, Infinity], [6, 9], { sum: 1, count: 7 }),
    },
    {
      why: 'all of the later one when a bucket fell',
      later: point([1, Infinity], [4, 9], { sum: 11, count: 9 }),
      difference: point([1, Infinity], [4, 9], { sum: 11, count: 9 }),
    },
    {
      why: 'no sum where one lacks it',
      later: point([1, Infinity], [6, 10], { count: 10 }),
      difference: point([1, Infinity], [1, 2], { count: 2 }),
    },
    { why: 'nothing for other bounds', later: point([2, Infinity], [6, 10]), difference: undefined },
  ])('is $why', ({ later, difference }) => {
    expect(differenceOfHistograms(later, earlier)).toEqual(difference);
  });
});
