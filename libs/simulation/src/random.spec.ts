import { createRandom, exponential, logNormal, type Random, standardNormal } from './random.ts';

const DRAWS = 100_000;

function draws(draw: (random: Random) => number, seed = 'statistics'): number[] {
  const random = createRandom(seed);
  return Array.from({ length: DRAWS }, () => draw(random));
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

function deviation(values: readonly number[]): number {
  const center = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - center) ** 2)));
}

/** Of each of these ratios, the value that so large a part of all is below. */
function quantiles(values: readonly number[], ratios: readonly number[]): number[] {
  const sorted = Float64Array.from(values).sort();
  return ratios.map((ratio) => sorted[Math.round(ratio * (sorted.length - 1))] ?? NaN);
}

function quantile(values: readonly number[], ratio: number): number {
  return quantiles(values, [ratio])[0] ?? NaN;
}

/** Of two series of the same length: 0 when neither tells anything about the other. */
function correlation(left: readonly number[], right: readonly number[]): number {
  const [centerLeft, centerRight] = [mean(left), mean(right)];
  const product = mean(
    left.map((value, index) => (value - centerLeft) * ((right[index] ?? 0) - centerRight)),
  );
  return product / (deviation(left) * deviation(right));
}

const first = (random: Random, count: number): number[] => Array.from({ length: count }, () => random.next());

describe('createRandom', () => {
  it('gives the numbers that it has always given', () => {
    // Scenarios promise the same bytes for the same seed: these three may never change.
    expect(first(createRandom('demo'), 3)).toEqual([
      0.8316838666796684, 0.16084008803591132, 0.3747376399114728,
    ]);
  });

  it('gives the same numbers for the same seed, and others for another', () => {
    expect(first(createRandom('a'), 100)).toEqual(first(createRandom('a'), 100));
    expect(first(createRandom('a'), 100)).not.toEqual(first(createRandom('b'), 100));
  });

  it.each(['', 'a', 'demo', 'ünïcode', '0'.repeat(1000)])('is uniform in [0, 1) for the seed %j', (seed) => {
    const values = draws((random) => random.next(), seed);
    expect(Math.min(...values.slice(0, 50_000))).toBeGreaterThanOrEqual(0);
    expect(values.every((value) => value >= 0 && value < 1)).toBe(true);
    expect(mean(values)).toBeCloseTo(0.5, 2);
    const ratios = [0.01, 0.25, 0.5, 0.75, 0.99];
    for (const [index, value] of quantiles(values, ratios).entries()) {
      expect(Math.abs(value - (ratios[index] ?? NaN))).toBeLessThan(0.006);
    }
  });

  it('does not show in a number the one before it', () => {
    const values = draws((random) => random.next());
    expect(Math.abs(correlation(values.slice(1), values.slice(0, -1)))).toBeLessThan(0.01);
  });
});

describe('fork', () => {
  it('gives the same numbers whatever was drawn before it', () => {
    const fresh = createRandom('world');
    const used = createRandom('world');
    first(used, 1234);
    used.fork('other').next();
    expect(first(used.fork('arrivals'), 50)).toEqual(first(fresh.fork('arrivals'), 50));
  });

  it('does not move what its parent gives', () => {
    const parent = createRandom('world');
    const expected = first(createRandom('world'), 50);
    first(parent.fork('arrivals'), 77);
    expect(first(parent, 50)).toEqual(expected);
  });

  it.each([
    ['siblings', createRandom('world').fork('one'), createRandom('world').fork('two')],
    ['near names', createRandom('world').fork('gpu1'), createRandom('world').fork('gpu2')],
    ['parent and child', createRandom('world'), createRandom('world').fork('one')],
    [
      'child and grandchild',
      createRandom('world').fork('one'),
      createRandom('world').fork('one').fork('one'),
    ],
    ['near seeds', createRandom('1'), createRandom('2')],
  ])('is independent: %s', (_what, left, right) => {
    expect(Math.abs(correlation(first(left, DRAWS), first(right, DRAWS)))).toBeLessThan(0.01);
  });

  it('starts differently for each of a thousand names', () => {
    const parent = createRandom('world');
    const starts = new Set(
      Array.from({ length: 1000 }, (_, index) => parent.fork(`request/${index}`).next()),
    );
    expect(starts.size).toBe(1000);
  });
});

describe('distributions', () => {
  it('exponential has its mean, the deviation of the same size, and no negative', () => {
    const values = draws((random) => exponential(random, 4));
    expect(mean(values) / 4).toBeCloseTo(1, 1);
    expect(deviation(values) / 4).toBeCloseTo(1, 1);
    expect(quantile(values, 0.5) / (4 * Math.LN2)).toBeCloseTo(1, 1);
    expect(values.every((value) => value >= 0 && Number.isFinite(value))).toBe(true);
  });

  it('standardNormal has mean 0, deviation 1, and the quantiles of the normal distribution', () => {
    const values = draws(standardNormal);
    expect(mean(values)).toBeCloseTo(0, 1);
    expect(deviation(values)).toBeCloseTo(1, 1);
    expect(quantile(values, 0.975)).toBeCloseTo(1.96, 1);
    expect(quantile(values, 0.025)).toBeCloseTo(-1.96, 1);
    expect(values.every(Number.isFinite)).toBe(true);
  });

  it('logNormal has its median, and the mean that its sigma makes', () => {
    const values = draws((random) => logNormal(random, 200, 0.8));
    expect(quantile(values, 0.5) / 200).toBeCloseTo(1, 1);
    expect(mean(values) / (200 * Math.exp(0.8 ** 2 / 2))).toBeCloseTo(1, 1);
  });

  it('logNormal of sigma 0 is the median each time', () => {
    const random = createRandom('any');
    expect([1, 2, 3].map(() => logNormal(random, 7, 0))).toEqual([7, 7, 7]);
  });

  it('none of them is spoiled by the lowest and the highest number there is', () => {
    for (const value of [0, 1 - 2 ** -32]) {
      const edge: Random = { next: () => value, fork: () => edge };
      expect(Number.isFinite(exponential(edge, 1))).toBe(true);
      expect(Number.isFinite(standardNormal(edge))).toBe(true);
      expect(logNormal(edge, 1, 1)).toBeGreaterThan(0);
    }
  });
});
