import type { GpuReading } from '../reading.ts';
import { KnownGpus } from './known-gpus.ts';

const UUID = 'GPU-7f8a2c4e-0000-0000-0000-000000000000';
const OTHER = 'GPU-11112222-0000-0000-0000-000000000001';

function gpu(uuid: string, rest: Partial<GpuReading> = {}): GpuReading {
  return {
    gpu: '0',
    uuid,
    condition: 'up',
    facts: { vendor: 'nvidia', name: 'NVIDIA L4', pciBusId: '0000:8f:00.0' },
    points: [{ metric: 'gpu_utilization_ratio', value: 0.5 }],
    ...rest,
  };
}

function list(known: KnownGpus, nowSeconds = 0): string[] {
  return known
    .list(nowSeconds, 10)
    .map(({ reading }) => `${reading.uuid} ${reading.condition} ${reading.points.length}`);
}

describe('KnownGpus', () => {
  it('gives a GPU as it was last read', () => {
    const known = new KnownGpus('nvml');
    known.see([gpu(UUID)], 0);
    expect(list(known)).toEqual([`${UUID} up 1`]);
  });

  it('keeps one that is no longer listed, without its points, and takes it up again', () => {
    const known = new KnownGpus('nvml');
    known.see([gpu(UUID), gpu(OTHER, { facts: { vendor: 'nvidia', pciBusId: '0000:90:00.0' } })], 0);
    known.see([gpu(UUID)], 1);
    expect(list(known)).toEqual([`${UUID} up 1`, `${OTHER} vanished 0`]);
    known.see([gpu(UUID), gpu(OTHER, { facts: { vendor: 'nvidia', pciBusId: '0000:90:00.0' } })], 2);
    expect(list(known)).toEqual([`${UUID} up 1`, `${OTHER} up 1`]);
  });

  it('forgets a placeholder once the GPU at its address tells its UUID', () => {
    const known = new KnownGpus('nvml');
    known.see([gpu('0000:8f:00.0', { condition: 'suspended', points: [] })], 0);
    known.see([gpu(UUID)], 1);
    expect(list(known)).toEqual([`${UUID} up 1`]);
  });

  it('knows a GPU that is down by its address, though a new reader cannot tell its UUID', () => {
    const known = new KnownGpus('nvml');
    known.see([gpu(UUID)], 0);
    const nameless = {
      condition: 'lost',
      points: [],
      facts: { vendor: 'nvidia', pciBusId: '0000:8f:00.0' },
    } as const;
    known.see([gpu('0000:8f:00.0', nameless)], 1);
    expect(list(known)).toEqual([`${UUID} lost 0`]);
    expect(known.list(1, 10)[0]?.reading.facts.name).toBe('NVIDIA L4');
    known.see(
      [gpu('0000:90:00.0', { ...nameless, facts: { vendor: 'nvidia', pciBusId: '0000:90:00.0' } })],
      2,
    );
    expect(list(known)).toEqual([`${UUID} vanished 0`, '0000:90:00.0 lost 0']);
  });

  it('keeps the facts of a GPU that is too sick to tell them', () => {
    const known = new KnownGpus('nvml');
    known.see([gpu(UUID)], 0);
    known.see([gpu(UUID, { condition: 'lost', points: [], facts: { vendor: 'nvidia' } })], 1);
    expect(known.list(1, 10)[0]?.reading.facts.name).toBe('NVIDIA L4');
  });

  it('has points that are sent once among the others, until they are sent anew or are no more', () => {
    const known = new KnownGpus('nvml');
    const seldom = [{ metric: 'gpu_pcie_link_width', value: 16 }] as const;
    known.see([gpu(UUID, { seldomPoints: seldom })], 0);
    expect(list(known)).toEqual([`${UUID} up 2`]);
    known.see([gpu(UUID, { seldomPoints: true })], 1);
    expect(known.list(1, 10)[0]?.reading.points[1]).toBe(seldom[0]);
    known.see([gpu(UUID, { seldomPoints: [...seldom, ...seldom] })], 2);
    expect(list(known)).toEqual([`${UUID} up 3`]);
    known.see([gpu(UUID, { condition: 'lost', points: [] })], 3);
    expect(list(known)).toEqual([`${UUID} lost 0`]);
    known.see([gpu(UUID, { seldomPoints: true })], 4);
    expect(list(known)).toEqual([`${UUID} up 1`]);
  });

  it.each([
    ['up', 10, 'up 1'],
    ['up', 10.1, 'driver_unreachable 0'],
    ['suspended', 10.1, 'driver_unreachable 0'],
    ['lost', 10.1, 'lost 0'],
  ] as const)('says of one that was %s, seen %d s ago: %s', (condition, nowSeconds, told) => {
    const known = new KnownGpus('nvml');
    const points = condition === 'up' ? gpu(UUID).points : [];
    known.see([gpu(UUID, { condition, points })], 0);
    expect(list(known, nowSeconds)).toEqual([`${UUID} ${told}`]);
  });
});
