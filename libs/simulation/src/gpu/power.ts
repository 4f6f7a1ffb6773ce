import type { Board } from './board.ts';

/** What a GPU does during a tick, each as a share of the most that the board can. */
export interface Activity {
  /** Of the time, in which a kernel ran. */
  readonly busyRatio: number;
  /** Of the peak at the highest clock. */
  readonly computeRatio: number;
  /** Of the memory's peak. */
  readonly bandwidthRatio: number;
}

/**
 * Where the power between idle and the limit goes, so that real figures come out: matrix products at half of the peak (as
 * engines reach in prefill) just meet the limit, decoding one sequence takes 40 to 50 % of it, and a loaded GPU
 * without requests a little more than idle. All of it at once would take twice the limit: hence caps.
 */
const SHARES = { awake: 0.05, busy: 0.1, compute: 1.6, bandwidth: 0.35 };

/** Highest clock under load, to which clock ratios refer. */
export function topClockHertz({ clocksHertz }: Board): number {
  return clocksHertz.smBoost ?? clocksHertz.smMax;
}

/** Supply voltage over that of the highest clock: it falls with the clock down to what the transistors need. */
function voltageRatio(clockRatio: number): number {
  return Math.max(0.35 + 0.65 * clockRatio, 0.7);
}

/** Of the peak, what the memory gives at a clock of the multiprocessors: hardly less, until they can no longer ask for it. */
export function bandwidthRatioAt(clockRatio: number): number {
  return rollOff(clockRatio) / rollOff(1);
}

function rollOff(clockRatio: number): number {
  const belowKnee = (BANDWIDTH_KNEE / clockRatio) ** 2;
  return 1 / Math.sqrt(Math.sqrt(1 + belowKnee * belowKnee));
}
const BANDWIDTH_KNEE = 0.45;

/**
 * Power of a GPU that is awake, in watts: switching costs the square of the voltage for each operation and each clock;
 * the memory has a clock and a voltage of its own. No more is done than the clock allows.
 */
export function awakeWatts(board: Board, clockRatio: number, activity: Activity): number {
  const switching = voltageRatio(clockRatio) ** 2;
  const clocked = (SHARES.awake + SHARES.busy * activity.busyRatio) * clockRatio;
  const computed = SHARES.compute * Math.min(activity.computeRatio, clockRatio);
  const moved = SHARES.bandwidth * Math.min(activity.bandwidthRatio, bandwidthRatioAt(clockRatio));
  const dynamicWatts = board.powerLimitWatts.default - board.idleWatts;
  return board.idleWatts + dynamicWatts * ((clocked + computed) * switching + moved);
}
