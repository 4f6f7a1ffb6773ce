import type { GpuCondition, GpuReading } from '../reading.ts';
import { LeftOutGpus } from './left-out-gpus.ts';

const SICK = '0000:8f:00.0';
const OTHER = '0000:90:00.0';

function reading(pciBusId: string, condition: GpuCondition): GpuReading {
  return { gpu: '0', uuid: pciBusId, condition, facts: { vendor: 'nvidia', pciBusId }, points: [] };
}
const WITHOUT_IT = [reading(SICK, 'hung'), reading(OTHER, 'up')];

describe('the GPUs that are left out', () => {
  it('are not known before a reader was stuck, and none where nobody knows at which', () => {
    const leftOut = new LeftOutGpus(60, 1800);
    expect(leftOut.list(0)).toBeUndefined();
    expect(leftOut.blame(undefined, 0)).toBeUndefined();
    expect(leftOut.list(0)).toEqual([]);
  });

  it('are left out until their time is over', () => {
    const leftOut = new LeftOutGpus(60, 1800);
    leftOut.blame(SICK, 100);
    expect(leftOut.list(101)).toEqual([{ pciBusId: SICK, seconds: 59 }]);
    expect(leftOut.list(159.5)).toEqual([{ pciBusId: SICK, seconds: 0.5 }]);
    expect(leftOut.list(160)).toEqual([]);
  });

  it('are left out twice as long each time, up to the longest, while they are stuck whenever they are tried', () => {
    const leftOut = new LeftOutGpus(60, 1800);
    let now = 0;
    const seconds: (number | undefined)[] = [];
    for (let time = 0; time < 8; time++) {
      const left = leftOut.blame(SICK, now);
      leftOut.learn(WITHOUT_IT, now + 1);
      seconds.push(left);
      now += (left ?? 0) + 6;
    }
    expect(seconds).toEqual([60, 120, 240, 480, 960, 1800, 1800, 1800]);
  });

  it.each([
    ['just before it has worked for as long as it was left out', 119.9, 120],
    ['once it has', 120, 60],
  ])('that is stuck again %s', (_when, at, seconds) => {
    const leftOut = new LeftOutGpus(60, 1800);
    leftOut.blame(SICK, 0);
    leftOut.learn(WITHOUT_IT, 1);
    expect(leftOut.blame(SICK, at)).toBe(seconds);
  });

  it.each([
    ['nothing was read', []],
    ['no other was up', [reading(SICK, 'hung'), reading(OTHER, 'suspended')]],
  ])('are not left out for longer where without them %s: the driver is stuck as a whole', (_what, gpus) => {
    const leftOut = new LeftOutGpus(60, 1800);
    for (let now = 0; now < 3600; now += 66) {
      expect(leftOut.blame(SICK, now)).toBe(60);
      leftOut.learn(gpus, now + 1);
    }
  });

  it('are left out no more once they were read while all were asked', () => {
    const leftOut = new LeftOutGpus(60, 1800);
    leftOut.blame(SICK, 0);
    leftOut.blame(OTHER, 10);
    leftOut.learn([reading(SICK, 'up'), reading(OTHER, 'hung')], 20);
    expect(leftOut.list(20)).toEqual([{ pciBusId: OTHER, seconds: 50 }]);
  });

  it('are each left out on their own, and no more than 256', () => {
    const leftOut = new LeftOutGpus(60, 1800);
    for (let bus = 0; bus <= 256; bus++) leftOut.blame(`0000:${bus}`, bus / 10);
    const listed = leftOut.list(26) ?? [];
    expect(listed).toHaveLength(256);
    expect(listed[0]).toEqual({ pciBusId: '0000:1', seconds: 34.1 });
  });
});
