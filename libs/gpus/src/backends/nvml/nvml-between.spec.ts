import { h100Host, h100Mig, hostOf, rtx4090, type FakeBoard, type FakeEvent } from '@llm-monitor/fake-nvml';

import type { GpuBackend, GpuSample } from '../../reading.ts';
import { driverTests, pointLines, read, variedHost } from './test-nvml.ts';

const withDriver = driverTests({ describe, it, afterAll });

withDriver('samples', (driver) => {
  const board = { ...rtx4090(), utilization: { gpu: 5 } };

  beforeEach(() => {
    // The fake gives its samples the time of the machine.
    driver.clock.unixSeconds = Date.now() / 1000;
  });

  const start = async (change: Partial<FakeBoard>): Promise<GpuBackend> => {
    driver.host(hostOf([{ ...board, ...change }]));
    const backend = driver.backend();
    await read(backend);
    driver.calls();
    return backend;
  };
  const values = (samples: readonly GpuSample[] = [], kind = 'utilization'): number[] =>
    samples.filter((sample) => sample.kind === kind).map(({ value }) => value);

  it('show a spike of 200 ms that the reading does not', async () => {
    const gpu = [
      [500, 5],
      [400, 100],
      [200, 100],
      [100, 5],
    ] as const;
    const power = [[300, 440_000]] as const;
    const backend = await start({ samples: { gpu, power } });
    const samples = backend.sample?.();
    expect(values(samples)).toEqual([0.05, 1, 1, 0.05]);
    expect(values(samples, 'power')).toEqual([440]);
    const times =
      samples?.filter(({ kind }) => kind === 'utilization').map(({ unixSeconds }) => unixSeconds) ?? [];
    expect((times[2] ?? 0) - (times[1] ?? 0)).toBeCloseTo(0.2, 3);
    const reading = await read(backend);
    expect(reading.gpus.flatMap(pointLines)).toContain('gpu_utilization_ratio 0.05');
  });

  it('are fetched once a second, each once, at whatever pace they are asked for', async () => {
    const backend = await start({
      samples: {
        gpu: [
          [300, 7],
          [200, 8],
        ],
        power: [],
      },
    });
    expect(values(backend.sample?.())).toEqual([0.07, 0.08]);
    driver.calls();
    for (let tenth = 0; tenth < 9; tenth++) {
      driver.clock.seconds += 0.1;
      expect(backend.sample?.()).toEqual([]);
    }
    expect(driver.calls()).toEqual([]);
    driver.clock.seconds += 0.2;
    expect(backend.sample?.()).toEqual([]);
    expect(driver.calls()).not.toEqual([]);
  });

  it('that were taken long before the first call are not told', async () => {
    const backend = await start({
      samples: {
        gpu: [
          [5000, 100],
          [200, 8],
        ],
        power: [],
      },
    });
    expect(values(backend.sample?.())).toEqual([0.08]);
  });

  it('have the time of now where theirs makes no sense', async () => {
    const backend = await start({ samples: { gpu: [[200, 8]], power: [] } });
    driver.clock.unixSeconds = 1000;
    expect(backend.sample?.()).toEqual([
      { uuid: board.uuid, kind: 'utilization', unixSeconds: 1000, value: 0.08 },
    ]);
  });

  it.each([
    ['an hour', 3600],
    ['half a minute', 30],
  ])('go on when the clock is set back by %s, without those of before that', async (_what, seconds) => {
    const now = driver.clock.unixSeconds;
    driver.clock.unixSeconds = now + seconds;
    const before = [200 - 1000 * seconds, 50] as const;
    const longBefore = [before[0] + 5000, 60] as const;
    const backend = await start({ samples: { gpu: [before, longBefore], power: [] } });
    expect(values(backend.sample?.())).toEqual([0.5]);
    const after = (milliseconds: number, value: number): number[] => {
      driver.host(hostOf([{ ...board, samples: { gpu: [before, [milliseconds, value]], power: [] } }]));
      driver.clock.unixSeconds = Date.now() / 1000;
      driver.clock.seconds += 1;
      return values(backend.sample?.());
    };
    expect(after(200, 8)).toEqual([0.08]);
    expect(after(-400, 9)).toEqual([0.09]);
  });

  it('go on with each new one when the clock is set back by a trifle', async () => {
    const backend = await start({ samples: { gpu: [[100, 8]], power: [] } });
    expect(values(backend.sample?.())).toEqual([0.08]);
    driver.clock.unixSeconds -= 1.5;
    driver.clock.seconds += 1;
    expect(backend.sample?.()).toEqual([]);
  });

  it('are polled at each call where the driver takes none', async () => {
    const backend = await start({ samples: undefined });
    for (let tenth = 0; tenth < 3; tenth++) {
      driver.clock.seconds += 0.1;
      const samples = backend.sample?.();
      expect(values(samples)).toEqual([0.05]);
      expect(values(samples, 'power')).toEqual([210.55]);
    }
    const names = driver.calls().map((call) => call.split(' ')[0]);
    expect(names.filter((name) => name === 'nvmlDeviceGetSamples')).toHaveLength(2);
    expect(names.filter((name) => name === 'nvmlDeviceGetUtilizationRates')).toHaveLength(3);
  });

  it('that are nonsense are dropped, and told by the next reading', async () => {
    const backend = await start({ samples: { gpu: [[200, 4294967295]], power: [[100, 0]] } });
    expect(backend.sample?.()).toEqual([]);
    const { unparsed } = await read(backend);
    expect(unparsed).toEqual([{ field: 'nvmlDeviceGetSamples', value: '42949672.95' }]);
    expect((await read(backend)).unparsed).toEqual([]);
  });

  it('of a GPU that is split are of its power only', async () => {
    driver.host(hostOf([h100Mig()]));
    const backend = driver.backend();
    await read(backend);
    expect(new Set(backend.sample?.().map(({ kind }) => kind))).toEqual(new Set(['power']));
  });

  it('are none before the first reading', () => {
    expect(driver.backend().sample?.()).toEqual([]);
  });
});

withDriver('XIDs', (driver) => {
  const boards = [rtx4090(0), rtx4090(1)] as const;
  const event = (id: number, xid: number, board: 0 | 1): FakeEvent => ({
    id,
    xid,
    board: boards[board].uuid,
  });

  it('are told once each, with the GPU that they are of', async () => {
    driver.clock.unixSeconds = 1_790_000_123;
    driver.host(hostOf(boards));
    const backend = driver.backend();
    expect(backend.events?.()).toEqual([]);
    await read(backend);
    expect(backend.events?.()).toEqual([]);
    driver.host({ ...hostOf(boards), events: [event(1, 79, 0), event(2, 999, 1), event(3, 13, 1)] });
    const of = (bus: string, xid: number): unknown => ({
      pciBusId: `0000:${bus}:00.0`,
      xid,
      unixSeconds: 1_790_000_123,
    });
    expect(backend.events?.()).toEqual([of('01', 79), of('02', 999), of('02', 13)]);
    expect(backend.events?.()).toEqual([]);
    driver.host({ ...hostOf(boards), events: [event(3, 13, 1), event(4, 48, 1)] });
    expect(backend.events?.()).toEqual([of('02', 48)]);
  });

  it.each([
    ['a reading', { resetRequired: true }],
    ['a sample', { resetRequired: true }],
    ['a sample', { lost: true }],
  ])('are told also of the GPU that they take down, which %s finds first (%j)', async (first, change) => {
    driver.host(hostOf(boards));
    const backend = driver.backend();
    await read(backend);
    backend.events?.();
    const [healthy, sick] = boards;
    driver.host({ ...hostOf([healthy, { ...sick, ...change }]), events: [event(21, 79, 1)] });
    if (first === 'a sample') {
      driver.clock.seconds += 2;
      backend.sample?.();
    }
    await read(backend);
    const told = [...(backend.events?.() ?? []), ...(backend.events?.() ?? [])];
    expect(told.map(({ pciBusId, xid }) => [pciBusId, xid])).toEqual([['0000:02:00.0', 79]]);
  });

  it('are told again of in a session that was begun anew', async () => {
    driver.host(hostOf(boards));
    const backend = driver.backend();
    await read(backend);
    backend.events?.();
    driver.host({ ...hostOf(boards), returns: { nvmlDeviceGetCount_v2: 1 } });
    await expect(read(backend)).rejects.toMatchObject({ reason: 'session_lost' });
    driver.host(hostOf(boards));
    await read(backend);
    backend.events?.();
    driver.host({ ...hostOf(boards), events: [event(11, 31, 0)] });
    expect(backend.events?.().map(({ xid }) => xid)).toEqual([31]);
  });

  it.each([
    ['nvmlEventSetCreate', 4, 'no_permission'],
    ['nvmlDeviceRegisterEvents', 4, 'no_permission'],
    ['nvmlDeviceGetSupportedEventTypes', 3, 'not_supported'],
  ])('are none where %s answers %i, and the reading says so', async (field, code, why) => {
    driver.host({ ...hostOf(boards), returns: { [field]: code }, events: [event(21, 79, 0)] });
    const backend = driver.backend();
    await read(backend);
    expect(backend.events?.()).toEqual([]);
    expect((await read(backend)).unsupported).toContainEqual({ field, why });
  });
});

withDriver('what a reading costs', (driver) => {
  it.each([
    ['8 x H100', h100Host(8)],
    ['varied', variedHost()],
  ])('%s: calls stay within bounds', async (_name, host) => {
    driver.host(host);
    const backend = driver.backend();
    await read(backend);
    driver.clock.seconds += 1;
    driver.calls();
    await read(backend);
    // Of an H100 108 are of its 18 NVLinks.
    expect(driver.calls().length).toBeLessThanOrEqual(200 * host.boards.length);
    driver.clock.seconds += 0.5;
    backend.sample?.();
    expect(driver.calls().length).toBeLessThanOrEqual(4 * host.boards.length);
    backend.sample?.();
    expect(driver.calls()).toEqual([]);
  });
});
