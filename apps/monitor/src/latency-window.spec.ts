import type { HistogramPoint } from '@llm-monitor/metrics-core';

import { latestLatency, windowLatency } from './latency-window.ts';

/** Cumulative counts at 0.1 s, 1 s, and above. */
const histogram = (counts: [number, number, number], model = 'a'): HistogramPoint => ({
  labels: { server: 's', model },
  bounds: [0.1, 1, Infinity],
  counts,
  count: counts[2],
});

describe('quantiles of a window', () => {
  it('are those of what was observed between the two readings', () => {
    // 10 new ones: 8 up to 0.1 s, 2 up to 1 s. p50: 5/8 into [0, 0.1]; p95: 1.5/2 into [0.1, 1].
    const found = windowLatency([histogram([100, 100, 100])], [histogram([108, 110, 110])]);
    expect(found?.p50.seconds).toBeCloseTo(0.0625, 10);
    expect(found?.p95.seconds).toBeCloseTo(0.775, 10);
    expect(found?.p95.isFloor).toBe(false);
  });

  it('are over all models together', () => {
    const found = windowLatency(
      [histogram([10, 10, 10]), histogram([0, 0, 0], 'b')],
      [histogram([20, 20, 20]), histogram([0, 10, 10], 'b')],
    );
    expect(found?.p50.seconds).toBeCloseTo(0.1, 10);
  });

  it('begin at zero after a restart', () => {
    const found = windowLatency([histogram([100, 100, 100])], [histogram([4, 4, 4])]);
    expect(found?.p50.seconds).toBeCloseTo(0.05, 10);
  });

  it('count a series in full that was not there before', () => {
    const found = windowLatency([histogram([5, 5, 5])], [histogram([5, 5, 5]), histogram([2, 2, 2], 'b')]);
    expect(found?.p50.seconds).toBeCloseTo(0.05, 10);
  });

  it('say when they lie beyond the last bound', () => {
    expect(windowLatency([histogram([0, 0, 0])], [histogram([6, 6, 10])])?.p95).toEqual({
      seconds: 1,
      isFloor: true,
    });
  });

  it('are not there when nothing was observed', () => {
    expect(windowLatency([histogram([5, 6, 7])], [histogram([5, 6, 7])])).toBeUndefined();
    expect(latestLatency([])).toBeUndefined();
  });

  it('are not there when models have different bounds', () => {
    const other = { labels: { model: 'b' }, bounds: [0.5, Infinity], counts: [1, 1] };
    expect(latestLatency([histogram([1, 1, 1]), other])).toBeUndefined();
  });
});
