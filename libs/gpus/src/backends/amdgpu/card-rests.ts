/** For so long a card that the kernel may put to sleep, and that has nothing to do, is left alone. */
export const REST_SECONDS = 60;
/**
 * After a rest in which it did not fall asleep a card has no other for so long: the kernel is told that it may put most
 * of them to sleep, and one that has a screen, or that the board cannot power down, never does.
 */
export const NEXT_REST_SECONDS = 3600;

interface Rest {
  readonly untilSeconds: number;
  hasSlept: boolean;
}

/**
 * Which cards are left alone, each by its PCI address, so that the kernel can put them to sleep: every read of a sensor
 * wakes a card, and puts its sleep off by the 5 s that amdgpu sets (`pm_runtime_mark_last_busy` in amdgpu_pm.c,
 * `pm_runtime_set_autosuspend_delay` where it takes a card on).
 */
export class CardRests {
  private readonly nowSeconds: () => number;
  private readonly rests = new Map<string, Rest>();
  private readonly notBeforeSeconds = new Map<string, number>();

  constructor(nowSeconds: () => number) {
    this.nowSeconds = nowSeconds;
  }

  /** Leaves a card alone that has nothing to do, unless it was lately done in vain. */
  begin(pciBusId: string): void {
    const now = this.nowSeconds();
    if (now < (this.notBeforeSeconds.get(pciBusId) ?? -Infinity)) return;
    this.rests.set(pciBusId, { untilSeconds: now + REST_SECONDS, hasSlept: false });
  }

  end(pciBusId: string): void {
    this.rests.delete(pciBusId);
  }

  /** The kernel says that the card sleeps now: so it can. */
  fellAsleep(pciBusId: string): void {
    this.notBeforeSeconds.delete(pciBusId);
    const rest = this.rests.get(pciBusId);
    if (rest !== undefined) rest.hasSlept = true;
  }

  /** Whether a card that is awake is left alone. One that slept meanwhile is not: somebody woke it, to use it. */
  isResting(pciBusId: string): boolean {
    const rest = this.rests.get(pciBusId);
    if (rest === undefined) return false;
    const now = this.nowSeconds();
    if (!rest.hasSlept && now < rest.untilSeconds) return true;
    if (!rest.hasSlept) this.notBeforeSeconds.set(pciBusId, now + NEXT_REST_SECONDS);
    this.rests.delete(pciBusId);
    return false;
  }
}
