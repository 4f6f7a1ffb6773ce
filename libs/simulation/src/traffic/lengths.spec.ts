import { createRandom } from '../random.ts';
import { drawLength, type LengthSpec, type Shape, shapes, tokensAt } from './lengths.ts';

const UNBOUNDED = { minTokens: 0, maxTokens: Infinity };

function draws(spec: LengthSpec, side: 'prompt' | 'output', count = 50_000): number[] {
  const random = createRandom('lengths');
  return Array.from({ length: count }, () => drawLength(spec, side, random));
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;
const median = (values: readonly number[]): number =>
  [...values].sort((left, right) => left - right)[Math.floor(values.length / 2)] ?? NaN;

describe.each(Object.entries<Shape>(shapes))('the shape %s', (name, shape) => {
  it.each(['prompt', 'output'] as const)('has the mean %s length of its source', (side) => {
    const spec = { kind: 'recorded', shape: name as keyof typeof shapes, scale: 1, ...UNBOUNDED } as const;
    expect(Math.abs(mean(draws(spec, side)) / shape.mean[side] - 1)).toBeLessThan(0.06);
  });

  it.each(['prompt', 'output'] as const)('rises from the quantile 0 to 1 in its %s table', (side) => {
    const table = shape[side];
    expect([table[0]?.[0], table.at(-1)?.[0]]).toEqual([0, 1]);
    const steps = table.slice(1).map((upper, index) => ({ upper, lower: table[index] ?? [0, 0] }));
    for (const { upper, lower } of steps) {
      expect(upper[0]).toBeGreaterThan(lower[0]);
      expect(upper[1]).toBeGreaterThanOrEqual(lower[1]);
    }
  });

  it('says where it is from', () => {
    expect(shape.source).toMatch(/^(Quantiles|Means) of \S+.*\(.*\)/);
  });
});

describe('tokensAt', () => {
  const table = [
    [0, 10],
    [0.5, 20],
    [1, 120],
  ] as const;
  it.each([
    { ratio: 0, tokens: 10 },
    { ratio: 0.25, tokens: 15 },
    { ratio: 0.5, tokens: 20 },
    { ratio: 0.75, tokens: 70 },
    { ratio: 1, tokens: 120 },
  ])('is $tokens at $ratio', ({ ratio, tokens }) => {
    expect(tokensAt(table, ratio)).toBe(tokens);
  });

  it('is the last length beyond the table', () => {
    expect(tokensAt(table, 1.5)).toBe(120);
  });
});

describe('drawLength', () => {
  it('draws a log-normal with its median', () => {
    const spec = { kind: 'log-normal', medianTokens: 300, sigma: 0.7, ...UNBOUNDED } as const;
    expect(median(draws(spec, 'output')) / 300).toBeCloseTo(1, 1);
  });

  it('gives a fixed length for sigma 0', () => {
    const spec = { kind: 'log-normal', medianTokens: 300, sigma: 0, ...UNBOUNDED } as const;
    expect(new Set(draws(spec, 'prompt', 100))).toEqual(new Set([300]));
  });

  it.each<{ why: string; spec: LengthSpec }>([
    {
      why: 'log-normal',
      spec: { kind: 'log-normal', medianTokens: 300, sigma: 2, minTokens: 50, maxTokens: 900 },
    },
    { why: 'recorded', spec: { kind: 'recorded', shape: 'chat', scale: 1, minTokens: 50, maxTokens: 900 } },
  ])('keeps $why draws whole and within the bounds, both of which occur', ({ spec }) => {
    const values = draws(spec, 'prompt', 5000);
    expect(values.every(Number.isInteger)).toBe(true);
    expect([Math.min(...values), Math.max(...values)]).toEqual([50, 900]);
  });

  it('stretches a recorded shape', () => {
    const spec = { kind: 'recorded', shape: 'chat', ...UNBOUNDED } as const;
    const [one, half] = [draws({ ...spec, scale: 1 }, 'prompt'), draws({ ...spec, scale: 0.5 }, 'prompt')];
    expect(mean(half) / mean(one)).toBeCloseTo(0.5, 2);
  });
});
