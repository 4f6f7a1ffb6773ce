import fc from 'fast-check';

import type { GpuSample } from '../reading.ts';
import { SampleWindows } from './sample-windows.ts';

const use = (unixSeconds: number, value: number, uuid = 'GPU-a'): GpuSample => ({
  uuid,
  kind: 'utilization',
  unixSeconds,
  value,
});

/** Windows whose clock the test owns; samples arrive when they were taken, unless the test says otherwise. */
function windows(parts: Partial<ConstructorParameters<typeof SampleWindows>[0]> = {}) {
  const clock = { seconds: 1000 };
  const samples = new SampleWindows({ now: () => clock.seconds, ...parts });
  return {
    clock,
    samples,
    arrive: (...batch: GpuSample[]): void => {
      clock.seconds = Math.max(clock.seconds, ...batch.map(({ unixSeconds }) => unixSeconds));
      samples.add(batch);
    },
    scrape: (client: string, uuid = 'GPU-a') => {
      samples.advance(client);
      return samples.statistics(client, uuid);
    },
  };
}

describe('SampleWindows', () => {
  it('shows a spike of 200 ms between two scrapes', () => {
    const { arrive, scrape } = windows();
    scrape('prometheus');
    for (let tenth = 0; tenth < 150; tenth += 1) {
      arrive(use(1000 + tenth / 10, tenth === 70 || tenth === 71 ? 1 : 0));
    }
    const { utilization } = scrape('prometheus');
    expect(utilization?.max).toBe(1);
    expect(utilization?.avg).toBeCloseTo(0.2 / 15, 10);
    expect(utilization?.p95).toBe(0);
    expect(utilization?.samples).toBe(150);
    arrive(use(1015, 0));
    expect(scrape('prometheus').utilization?.max).toBe(0);
  });

  it('reads all GPUs and kinds over the same window, also when samples come in between', () => {
    const { arrive, samples, scrape } = windows();
    arrive(use(1001, 0.5), use(1001, 0.25, 'GPU-b'), {
      uuid: 'GPU-b',
      kind: 'power',
      unixSeconds: 1001,
      value: 300,
    });
    samples.advance('one');
    arrive(use(1002, 1), use(1002, 1, 'GPU-b'));
    expect(samples.statistics('one', 'GPU-a').utilization?.max).toBe(0.5);
    expect(samples.statistics('one', 'GPU-b').utilization?.max).toBe(0.25);
    expect(samples.statistics('one', 'GPU-b').power?.max).toBe(300);
    expect(samples.statistics('one', 'GPU-a')).toEqual(samples.statistics('one', 'GPU-a'));
    expect(scrape('one').utilization).toEqual({ max: 1, avg: 1, p95: 1, samples: 1 });
  });

  it('gives a client that was never seen the last 15 s', () => {
    const { arrive, scrape } = windows();
    arrive(use(1001, 1));
    arrive(use(1002, 0.5));
    arrive(use(1017, 0.25));
    expect(scrape('new').utilization?.samples).toBe(2);
    expect(scrape('new').utilization).toBeUndefined();
  });

  it('is never longer than what is kept', () => {
    const { arrive, scrape } = windows({ keepSeconds: 180 });
    scrape('slow');
    arrive(use(1001, 1));
    arrive(use(1100, 0.5));
    arrive(use(1200, 0.25));
    expect(scrape('slow').utilization).toMatchObject({ max: 0.5, samples: 2 });
  });

  it('puts a sample that comes late into the next window', () => {
    const { arrive, scrape } = windows();
    scrape('one');
    arrive(use(1001, 0), use(1003, 0));
    scrape('one');
    arrive(use(1002, 1));
    expect(scrape('one').utilization).toEqual({ max: 1, avg: 1, p95: 1, samples: 1 });
  });

  it.each([
    { why: 'the same time again is the same sample', again: use(1001, 0.75), samples: 2 },
    { why: 'another time is another sample', again: use(1001.1, 0.75), samples: 3 },
    {
      why: 'another kind is another sample',
      again: { ...use(1001, 0.75), kind: 'power' as const },
      samples: 2,
    },
    { why: 'what is no number is none', again: use(1003, NaN), samples: 2 },
    { why: 'what has no time is none', again: use(NaN, 1), samples: 2 },
  ])('$why', ({ again, samples }) => {
    const { arrive, scrape, samples: all } = windows();
    arrive(use(1001, 0.5), use(1002, 0.25));
    all.add([again]);
    expect(scrape('one').utilization?.samples).toBe(samples);
  });

  it('reads for display without moving a window', () => {
    const { arrive, scrape, samples } = windows();
    scrape('one');
    arrive(use(1001, 1));
    arrive(use(1009, 0.5));
    expect(samples.recent('GPU-a', 5).utilization?.max).toBe(0.5);
    expect(samples.recent('GPU-a', 60).utilization?.max).toBe(1);
    expect(scrape('one').utilization?.samples).toBe(2);
  });

  it('knows nothing of a GPU without samples, and for a client that never advanced', () => {
    const { arrive, scrape, samples } = windows();
    arrive(use(1001, 1));
    expect(scrape('one', 'GPU-other')).toEqual({});
    expect(samples.statistics('never', 'GPU-a')).toEqual({});
  });

  it('forgets a GPU that has given no sample for as long as one is kept', () => {
    const { arrive, samples } = windows();
    arrive(use(1001, 1));
    const goneSeconds = 1001 + 180;
    samples.add([]);
    arrive({ ...use(goneSeconds, 1), uuid: 'GPU-other' });
    samples.forgetOld();
    expect(samples.size).toBe(2);
    arrive({ ...use(goneSeconds + 1, 1), uuid: 'GPU-other' });
    samples.forgetOld();
    expect(samples.size).toBe(1);
    expect(samples.recent('GPU-other', 60).utilization?.samples).toBe(2);
  });

  it('forgets the client seen longest ago of more than 64', () => {
    const { arrive, scrape } = windows();
    scrape('first');
    scrape('second');
    arrive(use(1001, 1));
    for (let client = 0; client < 62; client += 1) scrape(`client ${client}`);
    scrape('first');
    scrape('one more');
    arrive(use(1030, 0.5));
    expect(scrape('first').utilization?.samples).toBe(1);
    // Forgotten, so it gets the last 15 s and not the sample at 1001.
    expect(scrape('second').utilization?.samples).toBe(1);
  });

  it('keeps as many samples as it has room for', () => {
    const { arrive, scrape } = windows({ capacity: 100 });
    scrape('one');
    for (let index = 0; index < 250; index += 1) arrive(use(1000 + index / 10, index));
    expect(scrape('one').utilization).toMatchObject({ max: 249, samples: 100 });
  });

  it('keeps as many GPUs as it has room for', () => {
    const { arrive, scrape } = windows();
    for (let gpu = 0; gpu < 257; gpu += 1) arrive(use(1000, 1, `GPU-${gpu}`));
    expect(scrape('one', 'GPU-0')).toEqual({});
    expect(scrape('one', 'GPU-1').utilization).toBeUndefined();
    expect(scrape('two', 'GPU-256').utilization?.samples).toBe(1);
  });

  it.each([
    { why: 'one sample', values: [[1000, 0.5]], avg: 0.5, p95: 0.5 },
    {
      why: 'even spacing is a plain mean',
      values: [
        [1000, 0],
        [1001, 1],
        [1002, 0.5],
      ],
      avg: 0.5,
      p95: 1,
    },
    {
      why: 'a second held weighs ten tenths',
      values: [
        [1000, 1],
        [1001, 0],
        [1001.1, 0],
        [1001.2, 0],
      ],
      avg: 1 / (1.2 + 0.4),
      p95: 1,
    },
    {
      why: 'a hole of a minute weighs 2 s',
      values: [
        [1000, 1],
        [1060, 0],
        [1062, 0],
      ],
      avg: 2 / 6,
      p95: 1,
    },
    {
      why: 'samples in the wrong order',
      values: [
        [1002, 0.5],
        [1000, 0],
        [1001, 1],
      ],
      avg: 0.5,
      p95: 1,
    },
  ])('weighs with time: $why', ({ values, avg, p95 }) => {
    const { clock, samples } = windows();
    clock.seconds = 1100;
    samples.add(values.map(([unixSeconds = 0, value = 0]) => use(unixSeconds, value)));
    const { utilization } = samples.recent('GPU-a', 180);
    expect(utilization?.avg).toBeCloseTo(avg, 6);
    expect(utilization?.p95).toBe(p95);
  });

  it.each([
    { count: 19, p95: 19 },
    { count: 20, p95: 19 },
    { count: 21, p95: 20 },
    { count: 100, p95: 95 },
  ])('takes p95 of 1 to $count at the nearest rank', ({ count, p95 }) => {
    const { clock, samples } = windows();
    clock.seconds = 1100;
    samples.add(Array.from({ length: count }, (_, index) => use(1000 + index, count - index)));
    expect(samples.recent('GPU-a', 180).utilization?.p95).toBe(p95);
  });

  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ do: fc.constant('sample' as const), late: fc.nat(4) }) },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant('scrape' as const), client: fc.constantFrom('one', 'two') }),
    },
  );

  it('gives every sample exactly once to each of two clients, however their scrapes interleave', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        const { clock, samples } = windows();
        const seen = { one: [] as number[], two: [] as number[] };
        const scrape = (client: 'one' | 'two'): void => {
          samples.advance(client);
          // A GPU for each sample: what is in a window says which samples they are.
          for (let index = 0; index < taken; index += 1) {
            const window = samples.statistics(client, `GPU-${index}`).utilization;
            if (window !== undefined) seen[client].push(...Array<number>(window.samples).fill(index));
          }
        };
        let taken = 0;
        scrape('one');
        scrape('two');
        for (const at of steps) {
          clock.seconds += 0.1;
          if (at.do === 'scrape') scrape(at.client);
          else samples.add([use(clock.seconds - at.late, 1, `GPU-${taken++}`)]);
        }
        scrape('one');
        scrape('two');
        const all = Array.from({ length: taken }, (_, index) => index);
        expect(seen.one.sort((a, b) => a - b)).toEqual(all);
        expect(seen.two.sort((a, b) => a - b)).toEqual(all);
      }),
      { seed: 3, numRuns: 100 },
    );
  });

  it('loses no maximum: that of the windows is that of all samples, and averages lie between the extremes', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 20 }), { maxLength: 20 }),
        (scrapes) => {
          const { clock, samples, scrape } = windows();
          scrape('one');
          const maxima = scrapes.map((values) => {
            samples.add(values.map((value) => use((clock.seconds += 0.1), value)));
            const window = scrape('one').utilization;
            expect(window?.samples ?? 0).toBe(values.length);
            if (window === undefined) return 0;
            expect(window.avg).toBeLessThanOrEqual(window.max);
            expect(window.avg).toBeGreaterThanOrEqual(Math.min(...values));
            expect(window.p95).toBeLessThanOrEqual(window.max);
            return window.max;
          });
          expect(Math.max(0, ...maxima)).toBe(Math.max(0, ...scrapes.flat()));
        },
      ),
      { seed: 3, numRuns: 200 },
    );
  });
});
