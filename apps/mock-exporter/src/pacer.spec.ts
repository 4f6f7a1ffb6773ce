import { Pacer } from './pacer.ts';

/** A world that only has a time, and a clock that is set by hand. */
function createParts(speed: number, secondsOfWork = 0) {
  const clock = { now: 100, seconds: () => clock.now };
  const world = {
    now: 60,
    runUntil(seconds: number): void {
      clock.now += (seconds - world.now) * secondsOfWork;
      world.now = seconds;
    },
  };
  let ticks = 0;
  const pacer = new Pacer({ world, clock, speed, onTick: () => (ticks += 1) });
  return { clock, world, pacer, ticks: () => ticks };
}

describe('the pacer', () => {
  it.each([
    [1, 2, 62],
    [10, 2, 80],
    [0.5, 2, 61],
    [0, 2, 60],
    [1000, 0.25, 310],
  ])('at speed %d makes of %d seconds that the world is at %d', (speed, seconds, now) => {
    const { clock, world, pacer } = createParts(speed);
    clock.now += seconds;
    pacer.catchUp();
    expect(world.now).toBeCloseTo(now);
    expect(pacer.lost).toBe(0);
  });

  it('loses what is beyond five seconds, as after a sleep of the machine', () => {
    const { clock, world, pacer } = createParts(2);
    clock.now += 65;
    pacer.catchUp();
    expect(world.now).toBeCloseTo(70);
    expect(pacer.lost).toBeCloseTo(120);
    clock.now += 5;
    pacer.catchUp();
    expect(world.now).toBeCloseTo(80);
    expect(pacer.lost).toBeCloseTo(120);
  });

  it('is gone for a tenth of a second at the most, where the machine is too slow for the speed', () => {
    const { clock, world, pacer } = createParts(1000, 0.03125);
    clock.now += 0.5;
    pacer.catchUp();
    expect([world.now, clock.now]).toEqual([64, 100.625]);
    expect(pacer.lost).toBe(496);
  });

  it('lets pass at the old speed what has passed before another one is set', () => {
    const { clock, world, pacer } = createParts(10);
    clock.now += 1;
    pacer.setSpeed(0);
    expect([world.now, pacer.speed]).toEqual([70, 0]);
    clock.now += 3;
    pacer.setSpeed(1);
    expect(world.now).toBe(70);
    clock.now += 2;
    pacer.catchUp();
    expect(world.now).toBe(72);
  });

  it.each([0, 10])('at speed %d lets so much time pass at once as it is told, once', (speed) => {
    const { world, pacer, ticks } = createParts(speed);
    pacer.advance(7);
    expect([world.now, ticks()]).toEqual([67, 2]);
    pacer.catchUp();
    expect(world.now).toBe(67);
  });

  it('does nothing twice at the same instant', () => {
    const { clock, world, pacer, ticks } = createParts(1);
    clock.now += 1;
    pacer.catchUp();
    pacer.catchUp();
    expect([world.now, ticks()]).toEqual([61, 2]);
  });

  describe('by itself', () => {
    beforeEach(() => jest.useFakeTimers());
    afterEach(() => jest.useRealTimers());

    it('catches up from its start until it is stopped, and leaves out the time before', () => {
      const { clock, world, pacer, ticks } = createParts(1);
      clock.now += 3;
      pacer.start();
      clock.now += 1;
      jest.advanceTimersByTime(1000);
      expect(world.now).toBe(61);
      expect(ticks()).toBeGreaterThan(50);
      const before = ticks();
      pacer.stop();
      clock.now += 1;
      jest.advanceTimersByTime(1000);
      expect([world.now, ticks()]).toEqual([61, before]);
    });
  });
});
