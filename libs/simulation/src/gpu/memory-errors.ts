import { exponential, type Random } from '../random.ts';

/** Errors of the memory and what ECC makes of them. */
export class MemoryErrors {
  corrected = 0;
  uncorrected = 0;
  remappedUncorrectable = 0;
  /** A row waits for the next reset to be replaced. */
  pending = false;
  private readonly random: Random;
  /** Until the next corrected error, in errors of the mean rate. */
  private untilNext: number;

  constructor(random: Random) {
    this.random = random;
    this.untilNext = exponential(random, 1);
  }

  /** Corrected errors come as a Poisson process. */
  advance(seconds: number, correctedErrorsPerSecond: number): void {
    this.untilNext -= seconds * correctedErrorsPerSecond;
    while (this.untilNext <= 0) {
      this.corrected += 1;
      this.untilNext += exponential(this.random, 1);
    }
  }

  addUncorrected(): void {
    this.uncorrected += 1;
    this.remappedUncorrectable += 1;
    this.pending = true;
  }
}
