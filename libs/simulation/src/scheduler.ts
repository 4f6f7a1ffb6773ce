/** Time in a simulated world, in seconds since its start. Nothing in it reads a clock of this machine. */
export interface Scheduler {
  /** Seconds since the world's start. */
  readonly now: number;
  /**
   * Runs `action` at that time; what is planned for the same time runs in the order in which it was planned.
   * @param seconds since the world's start; what is in the past runs next
   * @returns a function that takes the action back
   */
  at(seconds: number, action: () => void): () => void;
}

interface Planned {
  readonly seconds: number;
  readonly order: number;
  action: (() => void) | undefined;
}

/** A queue of events, which `runUntil` works off: a binary heap by time, then by order of planning. */
export class EventQueue implements Scheduler {
  private readonly heap: Planned[] = [];
  private planned = 0;
  private seconds = 0;

  get now(): number {
    return this.seconds;
  }

  at(seconds: number, action: () => void): () => void {
    const event: Planned = { seconds: Math.max(seconds, this.seconds), order: this.planned, action };
    this.planned += 1;
    this.push(event);
    return () => {
      event.action = undefined;
    };
  }

  /** Runs all that is planned up to that time, in order, with what these plan; then it is that time. */
  runUntil(seconds: number): void {
    for (let next = this.heap[0]; next !== undefined && next.seconds <= seconds; next = this.heap[0]) {
      this.pop();
      this.seconds = next.seconds;
      next.action?.();
    }
    this.seconds = Math.max(this.seconds, seconds);
  }

  private push(event: Planned): void {
    let place = this.heap.length;
    while (place > 0) {
      const above = (place - 1) >> 1;
      const parent = this.heap[above];
      if (parent === undefined || !isBefore(event, parent)) break;
      this.heap[place] = parent;
      place = above;
    }
    this.heap[place] = event;
  }

  private pop(): void {
    const last = this.heap.pop();
    if (last === undefined || this.heap.length === 0) return;
    let place = 0;
    for (;;) {
      const below = this.earlierChild(place);
      const child = this.heap[below];
      if (child === undefined || !isBefore(child, last)) break;
      this.heap[place] = child;
      place = below;
    }
    this.heap[place] = last;
  }

  private earlierChild(place: number): number {
    const left = 2 * place + 1;
    const one = this.heap[left];
    const other = this.heap[left + 1];
    return one !== undefined && other !== undefined && isBefore(other, one) ? left + 1 : left;
  }
}

function isBefore(left: Planned, right: Planned): boolean {
  return left.seconds < right.seconds || (left.seconds === right.seconds && left.order < right.order);
}
