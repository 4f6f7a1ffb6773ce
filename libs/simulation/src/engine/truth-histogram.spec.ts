import { GrowingHistogram } from './truth-histogram.ts';

it('counts a value that equals a bound below it, and one beyond all bounds apart', () => {
  const histogram = new GrowingHistogram([1, 10]);
  for (const value of [0.5, 1, 1.5, 10, 10.5, 99]) histogram.observe(value);
  expect(histogram.snapshot()).toEqual({ bounds: [1, 10], counts: [2, 2, 2], sum: 122.5, count: 6 });
});

it('hands out a copy that stays as it was', () => {
  const histogram = new GrowingHistogram([1]);
  const before = histogram.snapshot();
  histogram.observe(0.5);
  expect(before).toEqual({ bounds: [1], counts: [0, 0], sum: 0, count: 0 });
});
