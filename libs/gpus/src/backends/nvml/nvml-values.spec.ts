import {
  h100,
  h100Mig,
  hostOf,
  rtx4090,
  type FakeBoard,
  type FakeHost,
  type FakeNvlink,
} from '@llm-monitor/fake-nvml';
import * as koffi from 'koffi';

import type { BackendReading, GpuReading } from '../../reading.ts';
import { DeviceCalls, textOf } from './device-calls.ts';
import { decodeValue } from './field-values.ts';
import { findMigDevices } from './mig.ts';
import { NVML_FUNCTIONS, NvmlLibrary, type NvmlArgument, type NvmlFunction } from './nvml-library.ts';
import { driverTests, pointLines, read, shortH100, type FakeDriver } from './test-nvml.ts';

const withDriver = driverTests({ describe, it, afterAll });

async function readHost(driver: FakeDriver, host: FakeHost): Promise<BackendReading> {
  driver.host(host);
  const backend = driver.backend();
  const reading = await read(backend);
  backend.close();
  return reading;
}

async function readBoard(
  driver: FakeDriver,
  board: FakeBoard,
): Promise<GpuReading & Pick<BackendReading, 'unparsed'>> {
  const { gpus, unparsed } = await readHost(driver, hostOf([board]));
  const [gpu] = gpus;
  if (gpu === undefined) throw new Error('the fake host has no GPU');
  return { ...gpu, unparsed };
}

function linesOf(gpu: GpuReading, metric: string): string[] {
  return pointLines(gpu).filter((line) => line.startsWith(metric));
}

withDriver('values', (driver) => {
  const board = shortH100();
  const power = board.power ?? {};

  it.each<[string, Partial<FakeBoard>, string, string[]]>([
    ['unknown performance state', { performanceState: 32 }, 'gpu_performance_state', []],
    [
      'lowest performance state',
      { performanceState: 15 },
      'gpu_performance_state',
      ['gpu_performance_state 15'],
    ],
    [
      'instant power',
      { power: { ...power, instantMilliwatts: 100_000, usageMilliwatts: 90_000 } },
      'gpu_power_watts',
      ['gpu_power_watts 100'],
    ],
    [
      'no instant power',
      { power: { ...power, instantMilliwatts: undefined, usageMilliwatts: 90_000 } },
      'gpu_power_watts',
      ['gpu_power_watts 90'],
    ],
    ['power of 0', { power: { ...power, instantMilliwatts: 0, usageMilliwatts: 0 } }, 'gpu_power_watts', []],
    [
      'module that is the board',
      { power: { ...power, moduleInstantMilliwatts: power.instantMilliwatts } },
      'gpu_module_power',
      [],
    ],
    [
      'module of its own',
      { power: { ...power, moduleInstantMilliwatts: 1_200_000 } },
      'gpu_module_power',
      ['gpu_module_power_watts 1200'],
    ],
    [
      'headroom that is passed',
      { temperatures: { margin: -3 } },
      'gpu_temperature_headroom',
      ['gpu_temperature_headroom_celsius -3'],
    ],
    [
      'memory without a sensor',
      { temperatures: { core: 30, memory: 0 } },
      'gpu_temperature_celsius',
      ['gpu_temperature_celsius{sensor="core"} 30'],
    ],
    [
      'fan above its nominal speed',
      { fans: [{ percent: 130 }] },
      'gpu_fan',
      ['gpu_fan_speed_ratio{fan="0"} 1.3'],
    ],
    [
      'fan that stands',
      { fans: [{ percent: 0, rpm: 0 }] },
      'gpu_fan',
      ['gpu_fan_speed_ratio{fan="0"} 0', 'gpu_fan_speed_rpm{fan="0"} 0'],
    ],
    ['ECC that is off', { ecc: { enabled: false } }, 'gpu_ecc', ['gpu_ecc_enabled 0']],
    [
      'retired pages',
      { retiredPages: { multipleSingleBit: 3, doubleBit: 0, pending: true } },
      'gpu_retired',
      [
        'gpu_retired_pages{cause="multiple_single_bit"} 3',
        'gpu_retired_pages{cause="double_bit"} 0',
        'gpu_retired_pages_pending 1',
      ],
    ],
    ['fabric that is not there', { fabric: { state: 0 } }, 'gpu_fabric', []],
    [
      'fabric of limited capacity',
      { fabric: { state: 3, healthSummary: 3 } },
      'gpu_fabric',
      ['gpu_fabric_state 3', 'gpu_fabric_healthy 0'],
    ],
    [
      'fabric that does not say',
      { fabric: { state: 2, healthSummary: 0 } },
      'gpu_fabric',
      ['gpu_fabric_state 2'],
    ],
    [
      'NVLink 5',
      { nvlinks: [{ active: false, transmitBytes: 5000, receiveBytes: 6000, errors: {} }] },
      'gpu_nvlink',
      [
        'gpu_nvlink_up{link="0"} 0',
        'gpu_nvlink_transmit_bytes_total{link="0"} 5000',
        'gpu_nvlink_receive_bytes_total{link="0"} 6000',
      ],
    ],
    ['what the driver asks for', { recoveryAction: 4 }, 'gpu_recovery', ['gpu_recovery_action 4']],
  ])('%s', async (_what, change, metric, expected) => {
    expect(linesOf(await readBoard(driver, { ...board, ...change }), metric)).toEqual(expected);
  });

  it.each<[string, Partial<FakeBoard>, string, string]>([
    ['utilization', { utilization: { gpu: 4294967295 } }, 'nvmlDeviceGetUtilizationRates', '42949672.95'],
    ['utilization just above', { utilization: { gpu: 101 } }, 'nvmlDeviceGetUtilizationRates', '1.01'],
    ['temperature', { temperatures: { core: 2147483647 } }, 'nvmlDeviceGetTemperatureV', '2147483647'],
    ['power', { power: { instantMilliwatts: 4294967295 } }, 'nvmlDeviceGetFieldValues(186)', '4294967.295'],
    [
      'energy',
      { energyMillijoules: '18446744073709551615' },
      'nvmlDeviceGetTotalEnergyConsumption',
      '18446744073709550',
    ],
    [
      'memory',
      { memory: { totalBytes: '18446744073709551615', usedBytes: 1 } },
      'nvmlDeviceGetMemoryInfo_v2',
      '18446744073709552000',
    ],
  ])('a sentinel for %s is dropped and told', async (_what, change, field, value) => {
    const { unparsed } = await readBoard(driver, { ...board, ...change });
    expect(unparsed).toContainEqual({ field, value });
  });

  it.each([
    ['0', []],
    [String(0x1 + 0x40), ['gpu_idle', 'hw_thermal']],
    [String(0x20 + 0x400), ['sw_thermal', 'other']],
    ['9223372036854775808', ['other']],
  ])('clock event bits %s are %j', async (clockEventReasons, expected) => {
    const gpu = await readBoard(driver, { ...board, clockEventReasons });
    const active = gpu.points.filter(
      ({ metric, value }) => metric === 'gpu_clock_event_active' && value === 1,
    );
    expect(active.map(({ labels }) => labels?.['reason'])).toEqual(expected);
    expect(linesOf(gpu, 'gpu_clock_event_active')).toHaveLength(10);
  });

  it('falls back to older structs where the driver refuses the newer ones', async () => {
    const refuseStructVersions = [
      'nvmlDeviceGetMemoryInfo_v2',
      'nvmlDeviceGetTemperatureV',
      'nvmlDeviceGetGpuFabricInfoV',
      'nvmlDeviceGetProcessesUtilizationInfo',
    ];
    const healthy = { ...board, fabric: { state: 3, healthMask: 0x1aa, healthSummary: 1 } };
    const host = hostOf([healthy]);
    const [whole] = (await readHost(driver, host)).gpus;
    const refused = await readHost(driver, { ...host, refuseStructVersions });
    const [gpu] = refused.gpus;
    if (whole === undefined || gpu === undefined) throw new Error('the fake host has no GPU');
    const before = pointLines(whole);
    const after = new Set(pointLines(gpu));
    // Before version 2 what is in use includes what is reserved.
    expect(before.filter((line) => !after.has(line))).toEqual([
      'gpu_memory_used_bytes 75161927680',
      'gpu_memory_reserved_bytes 503316480',
    ]);
    expect(linesOf(gpu, 'gpu_memory_used')).toEqual(['gpu_memory_used_bytes 75665244160']);
    expect(gpu.processes).toEqual(whole.processes);
    expect(refused.unsupported.filter(({ why }) => why === 'struct_version')).toEqual([]);
  });

  it.each([
    [0x1aa, 'gpu_fabric_healthy 1'],
    [0x1a9, 'gpu_fabric_healthy 0'],
    [0x2aa, 'gpu_fabric_healthy 0'],
    [0x0, undefined],
  ])('reads the health of the fabric from the mask %i of version 2', async (healthMask, expected) => {
    const { gpus } = await readHost(driver, {
      ...hostOf([{ ...board, fabric: { state: 3, healthMask } }]),
      refuseStructVersions: ['nvmlDeviceGetGpuFabricInfoV'],
    });
    expect(gpus.flatMap((gpu) => linesOf(gpu, 'gpu_fabric_healthy'))[0]).toBe(expected);
  });

  it('asks a guest of a vGPU for no histogram of replaced rows, of which its kernel writes a line each time', async () => {
    driver.calls();
    const gpu = await readBoard(driver, {
      ...rtx4090(),
      virtualizationMode: 2,
      pcie: {},
      remappedRows: undefined,
    });
    expect(driver.calls().filter((call) => call.includes('Histogram'))).toEqual([]);
    expect(Object.keys(NVML_FUNCTIONS).filter((name) => name.includes('Histogram'))).toEqual([]);
    expect(gpu.condition).toBe('up');
    expect([...linesOf(gpu, 'gpu_pcie'), ...linesOf(gpu, 'gpu_remapped')]).toEqual([]);
  });

  it('says nothing of the load of a GPU that is split, for which drivers said 0', async () => {
    const gpu = await readBoard(driver, { ...h100Mig(), utilization: { gpu: 0, memory: 0, encoder: 0 } });
    expect(linesOf(gpu, 'gpu_utilization')).toEqual([]);
    expect(linesOf(gpu, 'gpu_encoder')).toEqual([]);
  });
});

withDriver('traffic of an NVLink', (driver) => {
  const board = (link: FakeNvlink, fields: FakeBoard['fields'] = {}): FakeBoard => ({
    ...shortH100(),
    nvlinks: [link],
    fields,
  });
  const bytes: FakeNvlink = { active: true, transmitBytes: 5000 };
  const kibibytes: FakeNvlink = { active: true, transmitKibibytes: 7 };
  const failing = { '202:0': { code: 999 } };

  it.each<[string, readonly [FakeBoard, number | undefined][]]>([
    [
      'bytes are left out while they fail, though there are KiB',
      [
        [board({ ...bytes, ...kibibytes }), 5000],
        [board({ ...bytes, ...kibibytes }, failing), undefined],
        [board({ ...bytes, ...kibibytes }), 5000],
      ],
    ],
    [
      'KiB go on when there are bytes too',
      [
        [board(kibibytes), 7168],
        [board({ ...bytes, ...kibibytes }), 7168],
      ],
    ],
    [
      'KiB are left out while they fail, though there are bytes',
      [
        [board(kibibytes), 7168],
        [board(bytes), undefined],
      ],
    ],
    [
      'neither is told, and then one is',
      [
        [board({ active: true }), undefined],
        [board(bytes), 5000],
      ],
    ],
  ])('is counted by one source: %s', async (_what, readings) => {
    const backend = driver.backend();
    for (const [now, expected] of readings) {
      driver.host(hostOf([now]));
      const [gpu] = (await read(backend)).gpus;
      const lines = gpu === undefined ? [] : linesOf(gpu, 'gpu_nvlink_transmit_bytes_total');
      expect(lines).toEqual(
        expected === undefined ? [] : [`gpu_nvlink_transmit_bytes_total{link="0"} ${String(expected)}`],
      );
      // What was said not to be there is asked for again after a minute.
      driver.clock.seconds += 60;
    }
    backend.close();
  });
});

withDriver('activity', (driver) => {
  const whole: FakeBoard = { ...h100(), mig: { enabled: false } };
  const split = h100Mig();

  it('of each GPU instance is there though one has none', async () => {
    const devices = (split.mig?.devices ?? []).map((device) =>
      device.gpuInstanceId === 5 ? { ...device, gpm: undefined } : device,
    );
    driver.host(hostOf([{ ...split, mig: { enabled: true, devices } }]));
    const backend = driver.backend();
    await read(backend);
    const [gpu] = (await read(backend)).gpus;
    expect(gpu === undefined ? [] : linesOf(gpu, 'gpu_mig_sm_active_ratio')).toEqual([
      'gpu_mig_sm_active_ratio{gpu_instance_id="1"} 0.43',
      'gpu_mig_sm_active_ratio{gpu_instance_id="9"} 0.41',
    ]);
  });

  it('is never that since before the GPU was split or made whole, whose snapshots are given back', async () => {
    const backend = driver.backend();
    let held = 0;
    const readings: [held: number, lines: number][] = [];
    driver.calls();
    for (const board of [whole, whole, split, split, whole, whole, split]) {
      driver.host(hostOf([board]));
      const [gpu] = (await read(backend)).gpus;
      const names = driver.calls().map((call) => call.split(' ')[0] ?? '');
      const count = (name: string): number => names.filter((called) => called === name).length;
      held += count('nvmlGpmSampleAlloc') - count('nvmlGpmSampleFree');
      const lines = gpu === undefined ? [] : pointLines(gpu).filter((line) => /sm_active_ratio/.test(line));
      readings.push([held, lines.length]);
      driver.clock.seconds += 60;
    }
    expect(readings).toEqual([
      [1, 0],
      [1, 1],
      [3, 0],
      [3, 3],
      [1, 0],
      [1, 1],
      [3, 0],
    ]);
    backend.close();
  });
});

withDriver('MIG devices', (driver) => {
  /** Of which each has its place for its ids, and the first place answers that it is no place at all. */
  class OddLibrary extends NvmlLibrary {
    override call(name: NvmlFunction, ...[device, ...rest]: readonly NvmlArgument[]): number {
      const out = rest.at(-1);
      if (!Buffer.isBuffer(out)) throw new Error(`${name} has nowhere to write to`);
      if (name === 'nvmlDeviceGetMaxMigDeviceCount') out.writeUInt32LE(3);
      else if (name !== 'nvmlDeviceGetMigDeviceHandleByIndex') out.writeUInt32LE(Number(device));
      else if (rest[0] === 0) return 2;
      else out.writeBigUInt64LE(BigInt(Number(rest[0])));
      return 0;
    }
  }

  it('are all there though the driver takes one place for no place at all', () => {
    const library = new OddLibrary(koffi, driver.library);
    const found = findMigDevices(library, new DeviceCalls(library, 9n, () => 0), () => 0);
    expect(found.map(({ gpuInstance }) => gpuInstance)).toEqual([1, 2]);
  });
});

withDriver('processes', (driver) => {
  const board = rtx4090();
  const processesOf = async (change: Partial<FakeBoard>): Promise<GpuReading['processes']> =>
    (await readBoard(driver, { ...board, ...change })).processes;

  it('are one where they are on two lists, and have no memory where the driver does not tell', async () => {
    const processes = [
      { pid: 7, type: 'compute+graphics', name: 'both', memoryBytes: 10 },
      { pid: 8, type: 'graphics', memoryBytes: '18446744073709551615' },
      { pid: 9, type: 'mps', memoryBytes: 30, smUtilization: 5 },
    ] as const;
    expect(await processesOf({ processes })).toEqual([
      { pid: 7, type: 'compute+graphics', name: 'both', memoryBytes: 10, smUtilizationRatio: 0 },
      { pid: 8, type: 'graphics', smUtilizationRatio: 0 },
      { pid: 9, type: 'mps', memoryBytes: 30, smUtilizationRatio: 0.05 },
    ]);
  });

  it('have no share where the GPU works and no process has a sample', async () => {
    const processes = [{ pid: 7, type: 'compute', name: 'a', memoryBytes: 10 }] as const;
    const listed = { pid: 7, type: 'compute', name: 'a', memoryBytes: 10 };
    expect(await processesOf({ processes, utilization: { gpu: 50 } })).toEqual([listed]);
    expect(await processesOf({ processes, utilization: { gpu: 0 } })).toEqual([
      { ...listed, smUtilizationRatio: 0 },
    ]);
  });

  it('are none, or not told', async () => {
    expect(await processesOf({ processes: [] })).toEqual([]);
    expect(await processesOf({ processes: undefined })).toBeUndefined();
  });

  it('are all listed where there are more than there is room for at first', async () => {
    const processes = Array.from({ length: 150 }, (_, index) => ({
      pid: 100 + index,
      type: 'compute' as const,
      smUtilization: 1,
    }));
    driver.calls();
    const listed = await processesOf({ processes });
    expect(listed).toHaveLength(150);
    expect(new Set(listed?.map(({ smUtilizationRatio }) => smUtilizationRatio))).toEqual(new Set([0.01]));
    expect(
      driver.calls().filter((call) => call.startsWith('nvmlDeviceGetComputeRunningProcesses')),
    ).toHaveLength(2);
  });

  const REFUSED = {
    nvmlDeviceGetComputeRunningProcesses_v3: 4,
    nvmlDeviceGetGraphicsRunningProcesses_v3: 4,
    nvmlDeviceGetMPSComputeRunningProcesses_v3: 4,
  };

  it('are those of the MIG devices where the list of the whole GPU needs a privilege that is not given', async () => {
    const split = h100Mig();
    const granted = Object.fromEntries(Object.keys(REFUSED).map((name) => [name, 0]));
    const devices = (split.mig?.devices ?? []).map((device) => ({ ...device, returns: granted }));
    const gpu = await readBoard(driver, { ...split, mig: { enabled: true, devices }, returns: REFUSED });
    expect(gpu.processes).toEqual([
      {
        pid: 42_001,
        type: 'compute',
        name: '/usr/bin/vllm',
        memoryBytes: 37 * 1024 ** 3,
        gpuInstanceId: '1',
        computeInstanceId: '0',
      },
      {
        pid: 42_009,
        type: 'compute',
        name: '/usr/bin/tritonserver',
        memoryBytes: 7 * 1024 ** 3,
        gpuInstanceId: '9',
        computeInstanceId: '0',
      },
    ]);
  });

  it('are not told where they need a privilege that is not given, and the GPU is up', async () => {
    const gpu = await readBoard(driver, { ...board, returns: REFUSED });
    expect([gpu.condition, gpu.processes]).toEqual(['up', undefined]);
    expect(linesOf(gpu, 'gpu_processes')).toEqual([]);
  });

  it('are not told while they never fit', async () => {
    const gpu = await readBoard(driver, {
      ...board,
      returns: { nvmlDeviceGetComputeRunningProcesses_v3: 7 },
    });
    expect(gpu.condition).toBe('up');
    expect(gpu.processes?.map(({ type }) => type)).toEqual(['graphics']);
  });

  it('have the share of a sentinel dropped', async () => {
    const processes = [{ pid: 7, type: 'compute', smUtilization: 4294967295 }] as const;
    const gpu = await readBoard(driver, { ...board, processes });
    expect(gpu.processes).toEqual([{ pid: 7, type: 'compute' }]);
    expect(gpu.unparsed).toEqual([{ field: 'nvmlDeviceGetProcessesUtilizationInfo', value: '4294967295' }]);
  });
});

describe('decodeValue', () => {
  const ones = Buffer.alloc(8, 0xff);
  it.each([
    [1, 4294967295],
    [3, 18446744073709552000],
    [4, -1],
    [5, -1],
    [6, 65535],
    [7, undefined],
  ])('type %i of all ones is %s', (type, value) => {
    expect(decodeValue(ones, 0, type)).toBe(value);
  });

  it('reads a double', () => {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleLE(0.5);
    expect(decodeValue(bytes, 0, 0)).toBe(0.5);
  });
});

describe('textOf', () => {
  it.each([
    ['ends at the first NUL', 'GPU\0rest', 'GPU'],
    ['may fill its room', 'GPU', 'GPU'],
    ['says nothing when it is empty', '\0rest', undefined],
  ])('%s', (_what, text, expected) => {
    expect(textOf(Buffer.from(text, 'latin1'))).toBe(expected);
  });

  it('replaces what is no UTF-8', () => {
    expect(textOf(Buffer.from([0x41, 0xff, 0x42, 0]))).toBe('A\ufffdB');
  });
});
