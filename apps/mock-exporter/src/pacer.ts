import type { SimulatedWorld } from '@llm-monitor/simulation';

/** Where time comes from; `performance.now()` in seconds fits. */
export interface PacerClock {
  seconds(): number;
}

/** A machine that slept, or is too slow, loses what is beyond it: the world goes on from where it is. */
const MAX_LAG_SECONDS = 5;
const TICK_MILLISECONDS = 10;
/** Of this machine's time, for one catch-up: meanwhile nobody is answered. At a speed that it cannot keep up with, world time is lost. */
const MAX_WORK_SECONDS = 0.1;
/** World time between two looks at the clock. */
const SLICE_SECONDS = 1;

/** Lets the world's time pass with the time of this machine, at a speed. */
export class Pacer {
  private readonly world: Pick<SimulatedWorld, 'now' | 'runUntil'>;
  private readonly clock: PacerClock;
  private readonly onTick: () => void;
  private timer: NodeJS.Timeout | undefined;
  private lastSeconds: number;
  private factor: number;
  private lostSeconds = 0;

  constructor(parts: {
    readonly world: Pick<SimulatedWorld, 'now' | 'runUntil'>;
    readonly clock: PacerClock;
    /** World seconds in one second of this machine. */
    readonly speed: number;
    /** After each time that time has passed. */
    readonly onTick?: () => void;
  }) {
    this.world = parts.world;
    this.clock = parts.clock;
    this.factor = parts.speed;
    this.onTick = parts.onTick ?? (() => undefined);
    this.lastSeconds = parts.clock.seconds();
  }

  get speed(): number {
    return this.factor;
  }

  /** World seconds that this machine was too slow for. */
  get lost(): number {
    return this.lostSeconds;
  }

  start(): void {
    this.lastSeconds = this.clock.seconds();
    this.timer = setInterval(() => this.catchUp(), TICK_MILLISECONDS);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  /** @param speed world seconds in one second of this machine; 0 stands still */
  setSpeed(speed: number): void {
    this.catchUp();
    this.factor = speed;
  }

  /** Lets so many world seconds pass at once, whatever the speed. */
  advance(seconds: number): void {
    this.catchUp();
    this.world.runUntil(this.world.now + seconds);
    this.onTick();
  }

  /** Brings the world to this instant: before it is asked something, and before something is asked of it. */
  catchUp(): void {
    const seconds = this.clock.seconds();
    const passed = seconds - this.lastSeconds;
    this.lastSeconds = seconds;
    const kept = Math.min(passed, MAX_LAG_SECONDS);
    this.lostSeconds += (passed - kept) * this.factor;
    this.runUntil(this.world.now + kept * this.factor, seconds + MAX_WORK_SECONDS);
    this.onTick();
  }

  private runUntil(target: number, deadlineSeconds: number): void {
    do {
      this.world.runUntil(Math.min(target, this.world.now + SLICE_SECONDS));
    } while (this.world.now < target && this.clock.seconds() < deadlineSeconds);
    this.lostSeconds += target - this.world.now;
  }
}
