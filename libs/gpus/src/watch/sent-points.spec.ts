import type { GpuReading } from '../reading.ts';
import { SentPoints } from './sent-points.ts';

const SELDOM = [{ metric: 'gpu_pcie_link_width', value: 16 }] as const;
const up: GpuReading = {
  gpu: '0',
  uuid: 'GPU-1',
  condition: 'up',
  facts: { vendor: 'nvidia' },
  points: [],
  seldomPoints: SELDOM,
};
const { seldomPoints: _, ...down } = up;

describe('SentPoints', () => {
  it('sends points once, and anew when they were read anew', () => {
    const sent = new SentPoints();
    expect(sent.strip(up).seldomPoints).toBe(SELDOM);
    expect(sent.strip(up).seldomPoints).toBe(true);
    const anew = [...SELDOM];
    expect(sent.strip({ ...up, seldomPoints: anew }).seldomPoints).toBe(anew);
  });

  it('sends them again after a reading without, at which the parent has dropped its own', () => {
    const sent = new SentPoints();
    sent.strip(up);
    expect(sent.strip({ ...down, condition: 'unknown_error' })).not.toHaveProperty('seldomPoints');
    expect(sent.strip(up).seldomPoints).toBe(SELDOM);
  });
});
