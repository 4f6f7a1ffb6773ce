import type { Board } from './board.ts';
import type { ClockEvent } from './gpu.ts';
import { type Activity, awakeWatts, topClockHertz } from './power.ts';

/** What the clocks go by during a tick. */
export interface ClockConditions {
  readonly seconds: number;
  /** Something ran of late. */
  readonly awake: boolean;
  readonly activity: Activity;
  readonly powerLimitWatts: number;
  readonly coreCelsius: number;
  readonly powerBrake: boolean;
}

/** The power cap gives clocks back more slowly than it takes them: of the clock, per second. */
const RISE_PER_SECOND = 0.5;
/** Clocks are multiples of it (captures). */
const STEP_HERTZ = 15e6;
/** Software takes away no more than this share of the clock; hardware does the rest. */
const SOFTWARE_SLOWDOWN = 0.5;
/** How much cooler it must be before the hardware lets go. */
const HARDWARE_RELEASE_CELSIUS = 3;
/** The controllers act within milliseconds: by the end of a tick they have settled. */
const SETTLING_STEPS = 8;

/** Sets the clock of the multiprocessors: the lowest that power cap, temperature and power brake ask for. */
export class Clocks {
  /** Of the highest clock under load; an idle GPU wakes to it. */
  ratio = 1;
  awake = false;
  readonly active: Record<ClockEvent, boolean> = createEvents(false);
  readonly eventSeconds: Record<ClockEvent, number> = createEvents(0);
  private readonly board: Board;
  private readonly topHertz: number;
  private readonly lowestRatio: number;
  private capRatio = 1;
  private hardwareSlowdown = false;

  constructor(board: Board) {
    this.board = board;
    this.topHertz = topClockHertz(board);
    this.lowestRatio = board.clocksHertz.smIdle / this.topHertz;
  }

  get smHertz(): number {
    return this.awake ? this.ratio * this.topHertz : this.board.clocksHertz.smIdle;
  }

  get memoryHertz(): number {
    const { memoryIdle, memoryMax } = this.board.clocksHertz;
    return this.awake ? memoryMax : memoryIdle;
  }

  /** Settles for a tick. @returns watts during it */
  settle(conditions: ClockConditions): number {
    const { seconds, awake, powerBrake, coreCelsius } = conditions;
    const { slowdownCelsius, hardwareSlowdownCelsius } = this.board.thermal;
    const release = this.hardwareSlowdown ? HARDWARE_RELEASE_CELSIUS : 0;
    this.hardwareSlowdown = coreCelsius >= hardwareSlowdownCelsius - release;
    const braked = this.hardwareSlowdown || powerBrake;
    const ceiling = this.quantized(this.thermalRatio(coreCelsius) * (braked ? 0.5 : 1));
    this.capRatio = Math.min(this.capRatio * (1 + RISE_PER_SECOND * seconds), 1);
    const watts = this.lowerToLimit(Math.min(this.quantized(this.capRatio), ceiling), conditions);
    this.awake = awake;
    this.active.gpu_idle = !awake;
    this.active.sw_power_cap = awake && this.ratio < ceiling;
    this.active.sw_thermal_slowdown = awake && coreCelsius > slowdownCelsius;
    this.active.hw_thermal_slowdown = this.hardwareSlowdown;
    this.active.hw_power_brake = powerBrake;
    this.active.hw_slowdown = braked;
    for (const event of CLOCK_EVENTS) if (this.active[event]) this.eventSeconds[event] += seconds;
    return watts;
  }

  /** The GPU is gone: it has no clocks, and when it comes back nothing holds them down. */
  reset(): void {
    this.ratio = 1;
    this.capRatio = 1;
    this.awake = false;
    this.hardwareSlowdown = false;
    for (const event of CLOCK_EVENTS) this.active[event] = false;
  }

  private lowerToLimit(highest: number, { awake, activity, powerLimitWatts }: ClockConditions): number {
    this.ratio = highest;
    if (!awake) return this.board.idleWatts;
    const room = powerLimitWatts - this.board.idleWatts;
    let watts = awakeWatts(this.board, highest, activity);
    for (let step = 0; step < SETTLING_STEPS && watts > powerLimitWatts; step += 1) {
      if (this.ratio <= this.lowestRatio) break;
      const lower = Math.sqrt(Math.max(room, 0) / (watts - this.board.idleWatts));
      // Always a step down, however small the excess is.
      this.ratio = this.quantized(Math.min(this.ratio * lower, this.ratio - STEP_HERTZ / this.topHertz / 2));
      watts = awakeWatts(this.board, this.ratio, activity);
    }
    if (this.ratio < highest) this.capRatio = this.ratio;
    return watts;
  }

  /** Falls from 1 at the slowdown temperature to its lowest where the hardware steps in. */
  private thermalRatio(coreCelsius: number): number {
    const { slowdownCelsius, hardwareSlowdownCelsius } = this.board.thermal;
    const excess = (coreCelsius - slowdownCelsius) / (hardwareSlowdownCelsius - slowdownCelsius);
    return 1 - SOFTWARE_SLOWDOWN * Math.min(Math.max(excess, 0), 1);
  }

  private quantized(ratio: number): number {
    if (ratio >= 1) return 1;
    // A hair more, or a clock that is a multiple already would lose a step to rounding.
    const steps = Math.floor((ratio * this.topHertz) / STEP_HERTZ + 1e-6);
    return Math.max((steps * STEP_HERTZ) / this.topHertz, this.lowestRatio);
  }
}

function createEvents<Value>(value: Value): Record<ClockEvent, Value> {
  return {
    gpu_idle: value,
    sw_power_cap: value,
    sw_thermal_slowdown: value,
    hw_slowdown: value,
    hw_thermal_slowdown: value,
    hw_power_brake: value,
  };
}

/** In the order in which NVML numbers them. */
export const CLOCK_EVENTS = [
  'gpu_idle',
  'sw_power_cap',
  'hw_slowdown',
  'sw_thermal_slowdown',
  'hw_thermal_slowdown',
  'hw_power_brake',
] as const satisfies readonly ClockEvent[];
