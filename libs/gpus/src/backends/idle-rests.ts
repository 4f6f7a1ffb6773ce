/** For so long what the kernel may put to sleep, and has nothing to do, is left alone. */
const REST_SECONDS = 60;
/**
 * After a rest in which it did not fall asleep there is no other for so long: the kernel is told that it may put most
 * GPUs to sleep, and one that has a screen, or that the board cannot power down, never does.
 */
const NEXT_REST_SECONDS = 3600;

interface Rest {
  readonly untilSeconds: number;
  hasSlept: boolean;
}

/**
 * Which GPUs are left alone so that the kernel can put them to sleep: whatever reads one wakes it, or puts its sleep off.
 * Each goes by a key: its PCI address where GPUs are read one by one, a common one where they are read only together.
 */
export class IdleRests {
  private readonly nowSeconds: () => number;
  private readonly rests = new Map<string, Rest>();
  private readonly notBeforeSeconds = new Map<string, number>();

  /** @param nowSeconds monotonic */
  constructor(nowSeconds: () => number) {
    this.nowSeconds = nowSeconds;
  }

  /** Leaves alone what has nothing to do, unless it was lately done in vain. */
  begin(key: string): void {
    const now = this.nowSeconds();
    if (now < (this.notBeforeSeconds.get(key) ?? -Infinity)) return;
    this.rests.set(key, { untilSeconds: now + REST_SECONDS, hasSlept: false });
  }

  end(key: string): void {
    this.rests.delete(key);
  }

  /** The kernel says that it sleeps now: so it can. */
  fellAsleep(key: string): void {
    this.notBeforeSeconds.delete(key);
    const rest = this.rests.get(key);
    if (rest !== undefined) rest.hasSlept = true;
  }

  /** Whether what is awake is left alone. What slept meanwhile is not: somebody woke it, to use it. */
  isResting(key: string): boolean {
    const rest = this.rests.get(key);
    if (rest === undefined) return false;
    const now = this.nowSeconds();
    if (!rest.hasSlept && now < rest.untilSeconds) return true;
    if (!rest.hasSlept) this.notBeforeSeconds.set(key, now + NEXT_REST_SECONDS);
    this.rests.delete(key);
    return false;
  }
}
