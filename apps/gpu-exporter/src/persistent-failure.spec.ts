import { whenFailingFor } from './persistent-failure.ts';
import { backendState, createTestClock, HUNG } from './test-gpus.ts';

const FINE = backendState();

async function settled(promise: Promise<readonly string[]>): Promise<readonly string[] | undefined> {
  return Promise.race([promise, new Promise<undefined>((resolve) => setImmediate(() => resolve(undefined)))]);
}

describe('a persistent failure', () => {
  it.each([
    ['every backend fails for as long', [HUNG], 60, ['nvml: hung']],
    ['every backend fails not quite as long', [HUNG], 58, undefined],
    ['one of two backends works', [HUNG, FINE], 600, undefined],
    ['there is no backend at all', [], 600, undefined],
  ])('when %s', async (_title, backends, seconds, expected) => {
    const clock = createTestClock();
    const { reasons } = whenFailingFor(60, () => backends, clock);
    clock.pass(seconds);
    expect(await settled(reasons)).toEqual(expected);
  });

  it('counts anew after a good reading, whatever the reason was', async () => {
    const clock = createTestClock();
    let backends = [HUNG];
    const { reasons } = whenFailingFor(60, () => backends, clock);
    clock.pass(50);
    backends = [FINE];
    clock.pass(2);
    backends = [HUNG];
    clock.pass(50);
    expect(await settled(reasons)).toBeUndefined();
    clock.pass(15);
    expect(await settled(reasons)).toEqual(['nvml: hung']);
  });

  it.each([undefined, 60])('waits for nothing without the setting, or once cancelled (%j)', (seconds) => {
    const clock = createTestClock();
    const failing = whenFailingFor(seconds, () => [HUNG], clock);
    expect(clock.waiting()).toBe(seconds === undefined ? 0 : 1);
    failing.cancel();
    expect(clock.waiting()).toBe(0);
  });
});
