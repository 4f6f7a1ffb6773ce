/** Time as an argument, so that tests own it. */
export interface Clock {
  /** Seconds since 1970: for timestamps. */
  unixSeconds(): number;
  /** Seconds since some moment, never going back: for durations. */
  monotonicSeconds(): number;
  /** Calls back once after so many milliseconds, unless cancelled by what it returns. */
  after(milliseconds: number, callback: () => void): () => void;
}

/** The clock of this machine. Its timers keep no process alive. */
export const systemClock: Clock = {
  unixSeconds: () => Date.now() / 1000,
  monotonicSeconds: () => performance.now() / 1000,
  after(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
