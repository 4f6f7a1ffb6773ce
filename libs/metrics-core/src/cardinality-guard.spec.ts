import { guardCardinality, seriesCount } from './cardinality-guard.ts';
import type { MetricFamily } from './families.ts';

const gauge = (name: string, series: number): MetricFamily => ({
  name,
  type: 'gauge',
  help: '',
  points: Array.from({ length: series }, (_, index) => ({ labels: { i: `${index}` }, value: index })),
});

const histogram: MetricFamily = {
  name: 'h',
  type: 'histogram',
  help: '',
  points: [{ labels: {}, bounds: [1, 2, Infinity], counts: [0, 0, 0], sum: 0, count: 0 }],
};

const summary: MetricFamily = {
  name: 's',
  type: 'summary',
  help: '',
  points: [{ labels: {}, quantiles: [0.5], values: [1], count: 1 }],
};

it.each([
  { family: gauge('a', 3), series: 3 },
  { family: gauge('a', 0), series: 0 },
  { family: histogram, series: 5 },
  { family: summary, series: 2 },
])('counts $series series of a $family.type as Prometheus does', ({ family, series }) => {
  expect(seriesCount(family)).toBe(series);
});

it.each([
  {
    why: 'all that fits',
    families: [gauge('a', 3), gauge('b', 7)],
    budget: 10,
    kept: ['a', 'b'],
    dropped: [],
  },
  {
    why: 'all but the largest',
    families: [gauge('a', 3), gauge('b', 8), gauge('c', 2)],
    budget: 10,
    kept: ['a', 'c'],
    dropped: [['b', 8]],
  },
  {
    why: 'all but the first by name, of equals',
    families: [gauge('b', 5), gauge('a', 5)],
    budget: 9,
    kept: ['b'],
    dropped: [['a', 5]],
  },
  {
    why: 'the small ones, one after another',
    families: [gauge('a', 5), gauge('b', 6), histogram, gauge('c', 1)],
    budget: 1,
    kept: ['c'],
    dropped: [
      ['b', 6],
      ['a', 5],
      ['h', 5],
    ],
  },
  {
    why: 'nothing but empty families for no budget',
    families: [gauge('a', 1), gauge('e', 0)],
    budget: 0,
    kept: ['e'],
    dropped: [['a', 1]],
  },
])('keeps $why', ({ families, budget, kept, dropped }) => {
  const counted: unknown[] = [];
  const guarded = guardCardinality('vllm', families, budget, (...told) => counted.push(told));
  expect(guarded.families.map(({ name }) => name)).toEqual(kept);
  expect(guarded.dropped.map(({ name, series }) => [name, series])).toEqual(dropped);
  const total = dropped.reduce((sum, [, series]) => sum + Number(series), 0);
  expect(counted).toEqual(total === 0 ? [] : [['vllm', 'budget', total]]);
});
