import { createRandom } from '../random.ts';
import { type Arrivals, type ArrivalSpec, createArrivals, meanRatePerSecond } from './arrivals.ts';

const HOUR = 3600;

const POISSON: ArrivalSpec = { kind: 'poisson', ratePerSecond: 2 };
const DIURNAL: ArrivalSpec = {
  kind: 'diurnal',
  ratePerSecond: 0.5,
  peakHour: 15,
  depthRatio: 0.8,
  startHour: 0,
};
const BURSTY: ArrivalSpec = {
  kind: 'bursty',
  ratePerSecond: 1,
  burstRatePerSecond: 10,
  meanQuietSeconds: 90,
  meanBurstSeconds: 10,
};

/** All arrivals of that many seconds. */
function arrivalsUntil(arrivals: Arrivals, until: number, factor = 1): number[] {
  const times: number[] = [];
  for (let seconds = arrivals.next(0, factor); seconds <= until; seconds = arrivals.next(seconds, factor)) {
    times.push(seconds);
  }
  return times;
}

const of = (spec: ArrivalSpec, seed = 'arrivals'): Arrivals => createArrivals(spec, createRandom(seed));
const countBetween = (times: readonly number[], from: number, to: number): number =>
  times.filter((seconds) => seconds >= from && seconds < to).length;

/** Variance of the counts per window over their mean: 1 for a Poisson process, more for a bursty one. */
function dispersion(times: readonly number[], until: number, windowSeconds: number): number {
  const counts = new Array<number>(Math.floor(until / windowSeconds)).fill(0);
  for (const seconds of times) {
    const index = Math.floor(seconds / windowSeconds);
    const count = counts[index];
    if (count !== undefined) counts[index] = count + 1;
  }
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  return counts.reduce((sum, count) => sum + (count - mean) ** 2, 0) / counts.length / mean;
}

describe('createArrivals', () => {
  it.each([
    { spec: POISSON, until: 20_000, tolerance: 0.02 },
    { spec: DIURNAL, until: 5 * 24 * HOUR, tolerance: 0.02 },
    { spec: BURSTY, until: 200_000, tolerance: 0.06 },
  ])('$spec.kind comes at its mean rate', ({ spec, until, tolerance }) => {
    const measured = arrivalsUntil(of(spec), until).length / until;
    expect(Math.abs(measured / meanRatePerSecond(spec) - 1)).toBeLessThan(tolerance);
  });

  it.each([POISSON, DIURNAL, BURSTY])('$kind comes three times as often at a factor of 3', (spec) => {
    const until = 24 * HOUR;
    const ratio = arrivalsUntil(of(spec), until, 3).length / arrivalsUntil(of(spec), until).length;
    expect(Math.abs(ratio - 3)).toBeLessThan(0.2);
  });

  it.each([POISSON, DIURNAL, BURSTY])('$kind comes never at a factor of 0, and again afterwards', (spec) => {
    const arrivals = of(spec);
    expect(arrivals.next(100, 0)).toBe(Infinity);
    const later = arrivals.next(5000, 1);
    expect(later).toBeGreaterThan(5000);
    expect(later).toBeLessThan(5000 + HOUR);
  });

  it.each([POISSON, DIURNAL, BURSTY])('$kind comes at the same times for the same seed', (spec) => {
    expect(arrivalsUntil(of(spec), 2000)).toEqual(arrivalsUntil(of(spec), 2000));
    expect(arrivalsUntil(of(spec), 2000)).not.toEqual(arrivalsUntil(of(spec, 'other'), 2000));
  });

  it.each<ArrivalSpec>([
    { ...POISSON, ratePerSecond: 0 },
    { ...DIURNAL, ratePerSecond: 0 },
    { ...BURSTY, ratePerSecond: 0, burstRatePerSecond: 0 },
  ])('$kind of rate 0 is nobody, and ends', (spec) => {
    expect(of(spec).next(0, 1)).toBe(Infinity);
  });

  it('poisson counts vary as a Poisson process, bursty ones far more', () => {
    const until = 50_000;
    expect(dispersion(arrivalsUntil(of(POISSON), until), until, 10)).toBeCloseTo(1, 1);
    expect(dispersion(arrivalsUntil(of(BURSTY), until), until, 10)).toBeGreaterThan(4);
  });

  it('diurnal has its peak and its trough at their hours, as deep as asked', () => {
    const days = 8;
    const times = arrivalsUntil(of(DIURNAL), days * 24 * HOUR).map((seconds) => seconds % (24 * HOUR));
    const perSecond = (hour: number): number =>
      countBetween(times, (hour - 0.5) * HOUR, (hour + 0.5) * HOUR) / (days * HOUR);
    expect(perSecond(15)).toBeCloseTo(0.9, 1);
    expect(perSecond(3)).toBeCloseTo(0.1, 1);
    expect(perSecond(9)).toBeCloseTo(0.5, 1);
  });

  it.each([
    { startHour: 0, hour: 15, rate: 0.9 },
    { startHour: 9, hour: 6, rate: 0.9 },
    { startHour: 15, hour: 12, rate: 0.1 },
    { startHour: 15, hour: 24, rate: 0.9 },
  ])(
    'diurnal of a world that starts at $startHour h is at $rate after $hour h',
    ({ startHour, hour, rate }) => {
      expect(of({ ...DIURNAL, startHour }).ratePerSecond(hour * HOUR)).toBeCloseTo(rate, 6);
    },
  );

  it('bursty stretches have their lengths', () => {
    const arrivals = of(BURSTY);
    let bursts = 0;
    let burstSeconds = 0;
    let before = false;
    for (let seconds = 0; seconds < 100_000; seconds += 1) {
      const inBurst = arrivals.ratePerSecond(seconds) === 10;
      if (inBurst) burstSeconds += 1;
      if (inBurst && !before) bursts += 1;
      before = inBurst;
    }
    expect(burstSeconds / 100_000).toBeCloseTo(0.1, 1);
    expect(Math.abs(bursts / 1000 - 1)).toBeLessThan(0.12); // a few bursts are shorter than the second we look at
  });
});
