import { renderExposition } from '@llm-monitor/metrics-core';

import { GpuExposition } from './gpu-exposition.ts';
import type { GpuReading } from './reading.ts';
import type { GpuSnapshot, XidCount } from './snapshot.ts';
import { gpuSnapshotFamilies } from './snapshot-families.ts';

const OPTIONS = { maxProcessesPerGpu: 8 };

function reading(value: number): GpuReading {
  return {
    gpu: '0',
    uuid: 'GPU-1',
    condition: 'up',
    facts: { vendor: 'nvidia' },
    points: [{ metric: 'gpu_temperature_celsius', value, labels: { sensor: 'core' } }],
  };
}

function snapshot(read: GpuReading, max = 0.5): GpuSnapshot {
  const utilization = { max, avg: 0.1, p95: 0.4, samples: 10 };
  return {
    gpus: [
      {
        backend: 'nvml',
        reading: read,
        ageSeconds: 1,
        processes: [],
        windows: { utilization },
        integratedJoules: undefined,
        xids: undefined,
      },
    ],
    backends: [],
    nothing: undefined,
  };
}

describe.each(['text', 'openmetrics'] as const)('an exposition in %s', (format) => {
  const exposition = new GpuExposition();
  const print = (of: GpuSnapshot): string => Buffer.concat(exposition.print(of, OPTIONS, format)).toString();
  const whole = (of: GpuSnapshot): string =>
    renderExposition(gpuSnapshotFamilies(of, OPTIONS), format).replace('# EOF\n', '');

  it('is that of the families, and has no end yet', () => {
    const of = snapshot(reading(40));
    expect(print(of)).toBe(whole(of));
  });

  it('has the window of each scrape, also where the reading is the same', () => {
    const read = reading(40);
    print(snapshot(read));
    expect(print(snapshot(read, 1))).toBe(whole(snapshot(read, 1)));
  });

  it('has the figures of each reading', () => {
    print(snapshot(reading(40)));
    expect(print(snapshot(reading(41)))).toContain('sensor="core"} 41\n');
  });

  it('prints once what is the same, also of a GPU that is unreachable and a reading that is made anew', () => {
    const hung = reading(40);
    const pieces = (): Uint8Array[] => exposition.print(snapshot({ ...hung }), OPTIONS, format);
    const [conditions, , xids, points] = pieces();
    const [sameConditions, , sameXids, samePoints] = pieces();
    expect(sameConditions).toBe(conditions);
    expect(sameXids).toBe(xids);
    expect(samePoints).toBe(points);
    const [lost] = exposition.print(snapshot({ ...hung, condition: 'lost' }), OPTIONS, format);
    expect(Buffer.from(lost ?? []).toString()).toContain('reason="lost"');
  });

  it('has the errors of each scrape, also where the reading is the same', () => {
    const of = (xids: ReadonlyMap<number, XidCount>): GpuSnapshot => {
      const { gpus, ...rest } = snapshot(read);
      return { ...rest, gpus: gpus.map((gpu) => ({ ...gpu, xids })) };
    };
    const read = reading(40);
    print(of(new Map([[79, { count: 0 }]])));
    const since = of(new Map([[79, { count: 1, lastUnixSeconds: 1_700_000_000 }]]));
    expect(print(since)).toBe(whole(since));
    expect(print(since)).toContain('xid="79"} 1\n');
    expect(print(snapshot(read))).not.toContain('xid');
  });

  it('has none of a GPU that is gone', () => {
    print(snapshot(reading(40)));
    expect(print({ ...snapshot(reading(40)), gpus: [] })).not.toContain('gpu_temperature');
  });
});
