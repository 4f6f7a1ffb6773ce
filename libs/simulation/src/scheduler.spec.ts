import fc from 'fast-check';
import { EventQueue } from './scheduler.ts';

/** Runs a queue in which each entry was planned at its seconds, and tells in which order they ran. */
function orderOf(plannedSeconds: readonly number[], until: number): number[] {
  const queue = new EventQueue();
  const ran: number[] = [];
  plannedSeconds.forEach((seconds, index) => queue.at(seconds, () => ran.push(index)));
  queue.runUntil(until);
  return ran;
}

describe('EventQueue', () => {
  it.each([
    { why: 'by time', planned: [3, 1, 2], until: 3, order: [1, 2, 0] },
    {
      why: 'in the order of planning at the same time',
      planned: [1, 1, 0, 1],
      until: 1,
      order: [2, 0, 1, 3],
    },
    { why: 'up to and at the time given', planned: [1, 2, 3], until: 2, order: [0, 1] },
    { why: 'not before its time', planned: [2.0001], until: 2, order: [] },
    { why: 'what is in the past as what comes next', planned: [0, -5], until: 0, order: [0, 1] },
    { why: 'nothing where nothing is planned', planned: [], until: 10, order: [] },
  ])('runs $why', ({ planned, until, order }) => {
    expect(orderOf(planned, until)).toEqual(order);
  });

  it('orders as a stable sort does, whatever is planned', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 50 })),
        fc.integer({ min: 0, max: 60 }),
        (planned, until) => {
          const sorted = planned
            .map((seconds, index) => ({ seconds, index }))
            .filter(({ seconds }) => seconds <= until)
            .sort((left, right) => left.seconds - right.seconds)
            .map(({ index }) => index);
          expect(orderOf(planned, until)).toEqual(sorted);
        },
      ),
      { seed: 1, numRuns: 300 },
    );
  });

  it('leaves out exactly what was taken back', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ seconds: fc.integer({ min: 0, max: 20 }), kept: fc.boolean() })),
        (events) => {
          const queue = new EventQueue();
          const ran: number[] = [];
          const cancels = events.map(({ seconds }) => queue.at(seconds, () => ran.push(seconds)));
          events.forEach(({ kept }, index) => (kept ? undefined : cancels[index]?.()));
          queue.runUntil(20);
          const kept = events.filter((event) => event.kept).map(({ seconds }) => seconds);
          expect(ran).toEqual(kept.sort((left, right) => left - right));
        },
      ),
      { seed: 2, numRuns: 300 },
    );
  });

  it('takes nothing back twice, and nothing that has run', () => {
    const queue = new EventQueue();
    let runs = 0;
    const cancel = queue.at(1, () => (runs += 1));
    queue.at(1, () => (runs += 10));
    queue.runUntil(1);
    cancel();
    cancel();
    queue.runUntil(2);
    expect(runs).toBe(11);
  });

  it('runs what an action plans, at its own time and before what is later', () => {
    const queue = new EventQueue();
    const ran: string[] = [];
    queue.at(1, () => {
      ran.push(`first at ${queue.now}`);
      queue.at(queue.now, () => ran.push(`at once at ${queue.now}`));
      queue.at(1.5, () => ran.push(`between at ${queue.now}`));
      queue.at(0, () => ran.push(`past at ${queue.now}`));
      queue.at(9, () => ran.push('too late'));
    });
    queue.at(2, () => ran.push(`last at ${queue.now}`));
    queue.runUntil(3);
    expect(ran).toEqual(['first at 1', 'at once at 1', 'past at 1', 'between at 1.5', 'last at 2']);
    expect(queue.now).toBe(3);
  });

  it('lets an action take back another of the same time', () => {
    const queue = new EventQueue();
    let ran = false;
    let cancel = (): void => undefined;
    queue.at(1, () => cancel());
    cancel = queue.at(1, () => (ran = true));
    queue.runUntil(1);
    expect(ran).toBe(false);
  });

  it('never goes back in time', () => {
    const queue = new EventQueue();
    queue.runUntil(5);
    queue.runUntil(3);
    expect(queue.now).toBe(5);
  });

  it('is at the time given after an action has failed and the rest was run', () => {
    const queue = new EventQueue();
    const ran: string[] = [];
    queue.at(1, () => {
      throw new Error('a bug');
    });
    queue.at(2, () => ran.push('next'));
    expect(() => queue.runUntil(3)).toThrow('a bug');
    queue.runUntil(3);
    expect(ran).toEqual(['next']);
  });
});
