import { h100, h100Host, hostOf, rtx4090, type FakeBoard, type FakeHost } from '@llm-monitor/fake-nvml';

import { BackendError, type BackendReading, type GpuReading, type PciGpu } from '../../reading.ts';
import { NEXT_REST_SECONDS, REST_SECONDS } from './nvml-backend.ts';
import { loadNvml } from './nvml-library.ts';
import { driverTests, pointLines, read, shortH100 } from './test-nvml.ts';

const withDriver = driverTests({ describe, it, afterAll });

function conditions({ gpus }: BackendReading): string[] {
  return gpus.map(({ condition }) => condition);
}

function only({ gpus }: BackendReading): GpuReading {
  const [gpu] = gpus;
  if (gpu === undefined || gpus.length !== 1) throw new Error(`${String(gpus.length)} GPUs, and not one`);
  return gpu;
}

function pciOf(board: FakeBoard, state: Partial<PciGpu> = {}): PciGpu {
  const pciBusId = board.pciBusId.slice(4).toLowerCase();
  return { pciBusId, vendor: 'nvidia', suspended: false, ...state };
}

withDriver('a return code', (driver) => {
  it.each([
    [2, 'not_supported'],
    [3, 'not_supported'],
    [4, 'no_permission'],
    [5, 'failed'],
    [6, undefined],
    [7, undefined],
    [8, 'failed'],
    [10, 'failed'],
    [11, 'failed'],
    [13, 'missing_symbol'],
    [14, 'failed'],
    [17, 'failed'],
    [19, 'failed'],
    [20, 'failed'],
    [21, undefined],
    [22, 'not_supported'],
    [23, 'failed'],
    [24, 'not_supported'],
    [25, 'struct_version'],
    [26, 'not_supported'],
    [27, undefined],
    [29, 'failed'],
    [30, 'failed'],
    [999, 'failed'],
    [12345, 'failed'],
  ])('%i costs the reading only', async (code, why) => {
    const returns = { nvmlDeviceGetTotalEnergyConsumption: code };
    driver.host(hostOf([{ ...rtx4090(), returns }]));
    const reading = await read(driver.backend());
    const lines = pointLines(only(reading));
    expect(only(reading).condition).toBe('up');
    expect(lines.filter((line) => line.startsWith('gpu_energy'))).toEqual([]);
    expect(lines).toContain('gpu_utilization_ratio 0.31');
    expect(reading.unsupported.find(({ field }) => field in returns)?.why).toBe(why);
  });

  it.each([
    [15, 'lost'],
    [16, 'reset_required'],
    [28, 'lost'],
  ])('%i says that the GPU is %s', async (code, condition) => {
    const board = { ...rtx4090(1), returns: { nvmlDeviceGetTotalEnergyConsumption: code } };
    driver.host(hostOf([rtx4090(0), board]));
    const reading = await read(driver.backend());
    expect(conditions(reading)).toEqual(['up', condition]);
    expect(reading.gpus[1]).toMatchObject({ uuid: board.uuid, points: [] });
  });

  it.each([
    [1, 'session_lost'],
    [9, 'driver_not_loaded'],
    [12, 'library_missing'],
    [18, 'driver_mismatch'],
  ])('%i says that the session is over: %s', async (code, reason) => {
    driver.host(hostOf([{ ...rtx4090(), returns: { nvmlDeviceGetTotalEnergyConsumption: code } }]));
    const backend = driver.backend();
    await expect(read(backend)).rejects.toMatchObject({ reason });
    driver.host(hostOf([rtx4090()]));
    expect(conditions(await read(backend))).toEqual(['up']);
  });

  it.each([
    [999, 'unknown_error'],
    [4, 'no_permission'],
    [3, 'up'],
  ])('%i of all that a GPU must answer says %s', async (code, condition) => {
    const names = [
      'UtilizationRates',
      'MemoryInfo_v2',
      'MemoryInfo',
      'TemperatureV',
      'Temperature',
      'PowerUsage',
      'ClockInfo',
      'PerformanceState',
    ];
    const returns = Object.fromEntries(names.map((name) => [`nvmlDeviceGet${name}`, code]));
    driver.host(hostOf([{ ...rtx4090(), returns }]));
    expect(conditions(await read(driver.backend()))).toEqual([condition]);
    // One that answers is enough.
    driver.host(hostOf([{ ...rtx4090(), returns: { ...returns, nvmlDeviceGetPerformanceState: 0 } }]));
    expect(conditions(await read(driver.backend()))).toEqual(['up']);
  });

  it('of what is not there is believed for a minute, and of what failed is not', async () => {
    const returns = { nvmlDeviceGetBAR1MemoryInfo: 3, nvmlDeviceGetPerformanceState: 999 };
    driver.host(hostOf([{ ...rtx4090(), returns }]));
    const backend = driver.backend();
    const asked: string[][] = [];
    for (const seconds of [0, 1, 58, 2]) {
      driver.clock.seconds += seconds;
      driver.calls();
      const { unsupported } = await read(backend);
      expect(unsupported.map(({ field }) => field)).toEqual(expect.arrayContaining(Object.keys(returns)));
      const names = driver.calls().map((call) => call.split(' ')[0] ?? '');
      asked.push(Object.keys(returns).filter((name) => names.includes(name)));
    }
    const [bar1, state] = Object.keys(returns);
    expect(asked).toEqual([[bar1, state], [state], [state], [bar1, state]]);
  });
});

withDriver('a GPU that is lost', (driver) => {
  const lostThird = (change: Partial<FakeBoard>): FakeHost => {
    const host = h100Host(8);
    return {
      ...host,
      boards: host.boards.map((board, index) => (index === 3 ? { ...board, ...change } : board)),
    };
  };

  it.each([
    [{ lost: true }, 'lost'],
    [{ resetRequired: true }, 'reset_required'],
  ])('%j among eight costs itself only, and comes back', async (change, condition) => {
    driver.host(h100Host(8));
    const backend = driver.backend();
    const before = await read(backend);
    driver.host(lostThird(change));
    for (const reading of [await read(backend), await read(backend)]) {
      expect(conditions(reading)).toEqual(
        conditions(before).map((up, index) => (index === 3 ? condition : up)),
      );
      expect(reading.gpus.map(({ uuid, gpu }) => [uuid, gpu])).toEqual(
        before.gpus.map(({ uuid, gpu }) => [uuid, gpu]),
      );
      expect(reading.gpus[3]?.facts).toEqual(before.gpus[3]?.facts);
    }
    expect(() => backend.sample?.()).not.toThrow();
    driver.host(h100Host(8));
    expect(conditions(await read(backend))).toEqual(Array(8).fill('up'));
  });

  it('is noticed between the readings without harm', async () => {
    driver.host(h100Host(8));
    const backend = driver.backend();
    await read(backend);
    driver.host(lostThird({ lost: true }));
    const sampled = new Set(backend.sample?.().map(({ uuid }) => uuid));
    expect(sampled.size).toBe(7);
    expect(backend.events?.()).toEqual([]);
  });

  it('takes no other for itself where the bus has more GPUs than the driver shows', async () => {
    const [first, second] = [h100(1), h100(2)];
    const bus = [pciOf(h100(0)), pciOf(first), pciOf(second)];
    driver.host(hostOf([first, { ...second, lost: true }]));
    const { gpus } = await read(driver.backend(), bus);
    expect(gpus.map(({ gpu, uuid, condition }) => [gpu, uuid, condition])).toEqual([
      ['0', first.uuid, 'up'],
      ['1', 'nvidia-1', 'lost'],
    ]);
  });

  it('before it was ever seen is known by its place on the bus', async () => {
    const { boards } = lostThird({ lost: true });
    driver.host(lostThird({ lost: true }));
    const reading = await read(
      driver.backend(),
      boards.map((board) => pciOf(board)),
    );
    expect(reading.gpus[3]).toMatchObject({ gpu: '3', uuid: '0000:13:00.0', condition: 'lost' });
    driver.host(lostThird({ lost: true }));
    expect((await read(driver.backend())).gpus[3]).toMatchObject({
      gpu: '3',
      uuid: 'nvidia-3',
      condition: 'lost',
    });
  });
});

withDriver('the session', (driver) => {
  it.each([
    [4, 'no_permission'],
    [9, 'driver_not_loaded'],
    [12, 'library_missing'],
    [18, 'driver_mismatch'],
    [20, 'init_unknown_error'],
    [28, 'no_gpus'],
    [999, 'init_unknown_error'],
  ])('that does not begin with %i is %s, until it does', async (init, reason) => {
    driver.host({ ...hostOf([rtx4090()]), init });
    const backend = driver.backend();
    await expect(read(backend)).rejects.toBeInstanceOf(BackendError);
    await expect(read(backend)).rejects.toMatchObject({ reason });
    await expect(read(backend)).rejects.toThrow(`nvmlInit_v2 of ${driver.library} answered ${String(init)}`);
    driver.host(hostOf([rtx4090()]));
    expect(conditions(await read(backend))).toEqual(['up']);
  });

  it('is shut down as often as it was begun', async () => {
    driver.host(hostOf([shortH100()]));
    const backend = driver.backend();
    driver.calls();
    await read(backend);
    await read(backend);
    backend.events?.();
    driver.host({ ...hostOf([rtx4090()]), returns: { nvmlDeviceGetCount_v2: 18 } });
    await expect(read(backend)).rejects.toMatchObject({ reason: 'driver_mismatch' });
    driver.host(hostOf([shortH100()]));
    await read(backend);
    backend.close();
    backend.close();
    const names = driver.calls().map((call) => call.split(' ')[0] ?? '');
    const count = (name: string): number => names.filter((called) => called === name).length;
    expect([count('nvmlInit_v2'), count('nvmlShutdown')]).toEqual([2, 2]);
    expect(count('nvmlGpmSampleFree')).toBe(count('nvmlGpmSampleAlloc'));
    expect(count('nvmlEventSetFree')).toBe(count('nvmlEventSetCreate'));
  });

  it('of a host without GPUs is a failure', async () => {
    driver.host(hostOf([]));
    await expect(read(driver.backend())).rejects.toMatchObject({ reason: 'no_gpus' });
  });

  it('that is lost between the readings is begun anew by the next', async () => {
    driver.host(hostOf([rtx4090()]));
    const backend = driver.backend();
    await read(backend);
    driver.host({ ...hostOf([rtx4090()]), returns: { nvmlDeviceGetSamples: 1, nvmlEventSetWait_v2: 1 } });
    expect(backend.sample?.()).toEqual([]);
    expect(backend.sample?.()).toEqual([]);
    expect(backend.events?.()).toEqual([]);
    driver.host(hostOf([rtx4090()]));
    expect(conditions(await read(backend))).toEqual(['up']);
  });

  it('needs a library', async () => {
    await expect(loadNvml('/nowhere/libnvidia-ml.so.1')).rejects.toMatchObject({ reason: 'library_missing' });
    await expect(loadNvml('/nowhere/libnvidia-ml.so.1')).rejects.toThrow('/nowhere/libnvidia-ml.so.1');
  });
});

withDriver('a GPU that sleeps', (driver) => {
  const [first, second] = [rtx4090(0), rtx4090(1)];

  it('gets not one call, and is what it was', async () => {
    driver.host(hostOf([first, second]));
    const backend = driver.backend();
    const before = await read(backend, [pciOf(first), pciOf(second)]);
    driver.calls();
    const bus = [pciOf(first, { suspended: true }), pciOf(second)];
    const reading = await read(backend, bus);
    backend.close();
    const again = await read(driver.backend(), bus);
    expect(driver.calls().filter((call) => call.includes(first.uuid))).toEqual([]);
    expect(conditions(reading)).toEqual(['suspended', 'up']);
    expect(reading.gpus[0]).toMatchObject({ uuid: first.uuid, facts: before.gpus[0]?.facts, points: [] });
    // It was never awake for this one.
    expect(again.gpus[0]).toMatchObject({ gpu: '0', uuid: '0000:01:00.0', condition: 'suspended' });
    expect(again.gpus[1]).toMatchObject({ gpu: '1', uuid: second.uuid, condition: 'up' });
  });

  it('is not sampled', async () => {
    driver.host(hostOf([first, second]));
    const backend = driver.backend();
    await read(backend, [pciOf(first), pciOf(second)]);
    await read(backend, [pciOf(first, { suspended: true }), pciOf(second)]);
    driver.calls();
    driver.clock.seconds += 5;
    backend.sample?.();
    backend.events?.();
    expect(driver.calls().filter((call) => call.includes(first.uuid))).toEqual([]);
  });

  it('leaves NVML alone when all of them do', async () => {
    driver.host(hostOf([first]));
    driver.calls();
    const reading = await read(driver.backend(), [pciOf(first, { suspended: true })]);
    expect(conditions(reading)).toEqual(['suspended']);
    expect(driver.calls()).toEqual([]);
  });

  it('is not one that another driver has', async () => {
    driver.host(hostOf([first]));
    const foreign = pciOf(rtx4090(5));
    const asleep = pciOf(rtx4090(6), { suspended: true });
    const reading = await read(driver.backend(), [pciOf(first), foreign, asleep]);
    expect(reading.gpus.map(({ uuid, condition }) => [uuid, condition])).toEqual([
      [first.uuid, 'up'],
      ['0000:07:00.0', 'suspended'],
    ]);
  });
});

withDriver('a GPU that may sleep', (driver) => {
  const idle: FakeBoard = { ...rtx4090(), utilization: { gpu: 0 }, processes: [] };
  const bus = [pciOf(idle, { powerManaged: true })];
  const asleep = [pciOf(idle, { powerManaged: true, suspended: true })];

  /** Whether the reading went to the driver. */
  const touches = async (backend: Parameters<typeof read>[0], pci: readonly PciGpu[]): Promise<boolean> => {
    driver.calls();
    await read(backend, pci);
    backend.sample?.();
    backend.events?.();
    return driver.calls().length > 0;
  };

  it('is read on for an hour after a rest in which it did not fall asleep', async () => {
    driver.host(hostOf([idle]));
    const backend = driver.backend();
    await read(backend, bus);
    driver.clock.seconds += REST_SECONDS;
    for (const seconds of [0, NEXT_REST_SECONDS - 1]) {
      driver.clock.seconds += seconds;
      await read(backend, bus);
      expect(await touches(backend, bus)).toBe(true);
    }
    driver.clock.seconds += 1;
    await read(backend, bus);
    expect(await touches(backend, bus)).toBe(false);
  });

  it('is let go of when it is idle, and looked at again after a while', async () => {
    driver.host(hostOf([idle]));
    const backend = driver.backend();
    driver.calls();
    expect(only(await read(backend, bus)).points).not.toEqual([]);
    expect(driver.calls().at(-1)).toBe('nvmlShutdown -');
    driver.clock.seconds += REST_SECONDS - 1;
    expect(await touches(backend, bus)).toBe(false);
    expect(only(await read(backend, bus))).toMatchObject({ uuid: idle.uuid, condition: 'up', points: [] });
    driver.clock.seconds += 1;
    expect(await touches(backend, bus)).toBe(true);
  });

  it('is looked at once it was asleep and somebody has woken it', async () => {
    driver.host(hostOf([idle]));
    const backend = driver.backend();
    await read(backend, bus);
    expect(await touches(backend, asleep)).toBe(false);
    expect(conditions(await read(backend, asleep))).toEqual(['suspended']);
    expect(await touches(backend, bus)).toBe(true);
  });

  it.each<[string, FakeBoard, readonly PciGpu[]]>([
    ['works', { ...idle, utilization: { gpu: 1 } }, bus],
    ['has a process', { ...idle, processes: [{ pid: 5, type: 'compute' }] }, bus],
    ['does not tell its processes', { ...idle, processes: undefined }, bus],
    ['may not sleep', idle, [pciOf(idle, { powerManaged: false })]],
    ['is one of which nobody knows', idle, []],
  ])('is read on when it %s', async (_what, board, pci) => {
    driver.host(hostOf([board]));
    const backend = driver.backend();
    await read(backend, pci);
    expect(await touches(backend, pci)).toBe(true);
  });

  it('is read on beside another that works', async () => {
    const working = rtx4090(1);
    driver.host(hostOf([idle, working]));
    const backend = driver.backend();
    const both = [...bus, pciOf(working)];
    await read(backend, both);
    expect(await touches(backend, both)).toBe(true);
  });
});

withDriver('PCIe throughput', (driver) => {
  const measured = (): string[] =>
    driver
      .calls()
      .filter((call) => call.startsWith('nvmlDeviceGetPcieThroughput'))
      .map((call) => call.split(' ')[1] ?? '');

  it('is measured on one GPU per reading, each every 15 s, and stands in between', async () => {
    const boards = [rtx4090(0), rtx4090(1)];
    driver.host(hostOf(boards));
    const backend = driver.backend();
    const rounds: (string | undefined)[] = [];
    let last: BackendReading | undefined;
    driver.calls();
    for (let second = 0; second < 19; second++) {
      last = await read(backend);
      const uuids = measured();
      expect(uuids.length === 0 || uuids.length === 2).toBe(true);
      rounds.push(uuids[0]?.slice(4, 12));
      driver.clock.seconds += 1;
    }
    expect(rounds).toEqual([
      ...[undefined, '00004090', '00004091'],
      ...Array<undefined>(13).fill(undefined),
      ...['00004090', '00004091', undefined],
    ]);
    for (const gpu of last?.gpus ?? []) {
      expect(pointLines(gpu)).toContain('gpu_pcie_throughput_bytes_per_second{direction="receive"} 3400000');
    }
  });

  it('is never measured where there are counters', async () => {
    driver.host(hostOf([h100()]));
    const backend = driver.backend();
    driver.calls();
    for (let second = 0; second < 3; second++) {
      await read(backend);
      driver.clock.seconds += 20;
    }
    expect(measured()).toEqual([]);
  });
});

describe('without koffi', () => {
  it('there is no library, and the message says so', async () => {
    jest.doMock('koffi', () => {
      throw new Error("Cannot find module 'koffi'");
    });
    try {
      await expect(loadNvml()).rejects.toMatchObject({ reason: 'library_missing' });
      await expect(loadNvml()).rejects.toThrow('the package koffi');
    } finally {
      jest.dontMock('koffi');
    }
  });
});
