import { exponential, type Random } from '../random.ts';

const SECONDS_PER_HOUR = 3600;
const HOURS_PER_DAY = 24;

/** When requests come. Rates are means per second at a rate factor of 1. */
export type ArrivalSpec =
  | { readonly kind: 'poisson'; readonly ratePerSecond: number }
  /** A day's tide: a sinusoid over 24 hours around the mean. */
  | {
      readonly kind: 'diurnal';
      readonly ratePerSecond: number;
      /** Hour of the simulated day at which most come, 0 to 24. */
      readonly peakHour: number;
      /** 0 is no tide; at 1 nobody comes twelve hours from the peak, and twice the mean at it. */
      readonly depthRatio: number;
      /** Hour of the day at which the world starts. */
      readonly startHour: number;
    }
  /** Quiet and busy stretches in turn, each of exponential length: a Markov-modulated Poisson process of two states. */
  | {
      readonly kind: 'bursty';
      readonly ratePerSecond: number;
      readonly burstRatePerSecond: number;
      readonly meanQuietSeconds: number;
      readonly meanBurstSeconds: number;
    };

/** A process of arrivals. It forgets: an arrival that was planned can be dropped and drawn again at another rate. */
export interface Arrivals {
  /**
   * @param nowSeconds of the world; never before that of an earlier call
   * @param factor by which rates are multiplied; at 0 nobody comes
   * @returns seconds of the world at which the next one comes; Infinity when none does
   */
  next(nowSeconds: number, factor: number): number;
  /** Mean arrivals per second at that time, for a factor of 1. */
  ratePerSecond(nowSeconds: number): number;
}

/** @param random is this process's own: nothing else may draw from it */
export function createArrivals(spec: ArrivalSpec, random: Random): Arrivals {
  switch (spec.kind) {
    case 'poisson':
      return poisson(spec.ratePerSecond, random);
    case 'diurnal':
      return diurnal(spec, random);
    case 'bursty':
      return bursty(spec, random);
  }
}

/** Mean arrivals per second over a long time. */
export function meanRatePerSecond(spec: ArrivalSpec): number {
  if (spec.kind !== 'bursty') return spec.ratePerSecond;
  const { ratePerSecond, burstRatePerSecond, meanQuietSeconds, meanBurstSeconds } = spec;
  const arrivals = ratePerSecond * meanQuietSeconds + burstRatePerSecond * meanBurstSeconds;
  return arrivals / (meanQuietSeconds + meanBurstSeconds);
}

function poisson(ratePerSecond: number, random: Random): Arrivals {
  return {
    next: (nowSeconds, factor) => nowSeconds + gap(random, ratePerSecond * factor),
    ratePerSecond: () => ratePerSecond,
  };
}

function diurnal(spec: Extract<ArrivalSpec, { kind: 'diurnal' }>, random: Random): Arrivals {
  const ratePerSecond = (nowSeconds: number): number => {
    const hour = spec.startHour + nowSeconds / SECONDS_PER_HOUR;
    const tide = Math.cos((2 * Math.PI * (hour - spec.peakHour)) / HOURS_PER_DAY);
    return spec.ratePerSecond * (1 + spec.depthRatio * tide);
  };
  const highest = spec.ratePerSecond * (1 + spec.depthRatio);
  // Thinning (Lewis and Shedler, 1979): draw at the highest rate, keep each with the share that the rate of its time is.
  const next = (nowSeconds: number, factor: number): number => {
    let seconds = nowSeconds;
    do seconds += gap(random, highest * factor);
    while (seconds < Infinity && random.next() * highest >= ratePerSecond(seconds));
    return seconds;
  };
  return { next, ratePerSecond };
}

function bursty(spec: Extract<ArrivalSpec, { kind: 'bursty' }>, random: Random): Arrivals {
  const [stretches, arrivals] = [random.fork('stretches'), random.fork('arrivals')];
  let inBurst = false;
  let endSeconds = exponential(stretches, spec.meanQuietSeconds);
  const turn = (): void => {
    inBurst = !inBurst;
    endSeconds += exponential(stretches, inBurst ? spec.meanBurstSeconds : spec.meanQuietSeconds);
  };
  const advance = (seconds: number): void => {
    while (endSeconds <= seconds) turn();
  };
  const rate = (): number => (inBurst ? spec.burstRatePerSecond : spec.ratePerSecond);
  const silent = Math.max(spec.ratePerSecond, spec.burstRatePerSecond) <= 0;

  const next = (nowSeconds: number, factor: number): number => {
    if (silent || factor <= 0) return Infinity;
    advance(nowSeconds);
    let from = nowSeconds;
    for (;;) {
      const seconds = from + gap(arrivals, rate() * factor);
      if (seconds < endSeconds) return seconds;
      // A Poisson process has no memory, so what is left of the gap is drawn anew at the next stretch's rate.
      from = endSeconds;
      turn();
    }
  };
  return {
    next,
    ratePerSecond: (nowSeconds) => {
      advance(nowSeconds);
      return rate();
    },
  };
}

function gap(random: Random, ratePerSecond: number): number {
  return ratePerSecond > 0 ? exponential(random, 1 / ratePerSecond) : Infinity;
}
