import * as fc from 'fast-check';

import { BusyTime } from './busy-time.ts';

type Span = readonly [from: number, to: number];

function total(spans: readonly Span[]): number {
  const busy = new BusyTime();
  return spans.reduce((sum, [from, to]) => sum + busy.add(from, to), 0);
}

describe('BusyTime', () => {
  it.each<[what: string, spans: Span[], seconds: number]>([
    ['nothing', [], 0],
    ['one', [[1, 3]], 2],
    ['two apart', [[1, 2], [4, 5]], 2], // prettier-ignore
    ['one after the other without a gap', [[1, 2], [2, 5]], 4], // prettier-ignore
    ['overlapping', [[1, 3], [2, 5]], 4], // prettier-ignore
    ['twice the same', [[1, 3], [1, 3]], 2], // prettier-ignore
    ['the shorter told first', [[2, 3], [0, 4]], 4], // prettier-ignore
    ['one that joins two', [[0, 1], [4, 5], [0.5, 4.5]], 5], // prettier-ignore
    ['told late, before all', [[4, 5], [0, 1]], 2], // prettier-ignore
    ['without length', [[3, 3]], 0],
    ['backwards', [[3, 1]], 0],
    ['without number', [[NaN, 1], [1, NaN]], 0], // prettier-ignore
  ])('counts each second once: %s', (_what, spans, seconds) => {
    expect(total(spans)).toBe(seconds);
  });

  it('counts what is told late from where it has forgotten', () => {
    const busy = new BusyTime();
    busy.add(1, 2);
    busy.add(9, 10);
    busy.forgetBefore(5);
    expect(busy.add(0, 1.5)).toBe(0);
    expect(busy.add(3, 6)).toBe(1);
    expect(busy.add(9.5, 11)).toBe(1);
  });

  it('goes on counting when it has cut off thousands', () => {
    const busy = new BusyTime();
    let seconds = 0;
    for (let step = 0; step < 5000; step += 1) {
      seconds += busy.add(step, step + 0.5);
      busy.forgetBefore(step - 10);
    }
    expect(seconds).toBe(2500);
    expect(busy.add(4980, 5000)).toBe(5 + 0.5);
  });

  it('is the length of the union, whatever the order', () => {
    const second = fc.integer({ min: 0, max: 60 });
    fc.assert(
      fc.property(fc.array(fc.tuple(second, second), { maxLength: 40 }), (spans) => {
        const seconds = new Set(
          spans.flatMap(([from, to]) => Array.from({ length: Math.max(to - from, 0) }, (_, at) => from + at)),
        );
        expect(total(spans)).toBe(seconds.size);
      }),
      { seed: 4 },
    );
  });
});
