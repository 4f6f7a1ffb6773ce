import * as fc from 'fast-check';

import type { GpuState } from '../../gpu/gpu.ts';
import { amdgpuTree } from './amdgpu-tree.ts';
import { fakeNvmlHost } from './fake-nvml-host.ts';
import { mergeTrees, type FileTree } from './file-tree.ts';
import { nvmlAddress, sysfsAddress } from './gpu-host.ts';
import { kernelLogRecords } from './kernel-log-records.ts';
import { pciTree } from './pci-tree.ts';
import { procTree } from './proc-tree.ts';
import {
  amdHost,
  busyGpu,
  DRIVERS,
  H100,
  idleGpu,
  MI300X,
  nvidiaHost,
  STRIX_HALO,
  BOARDS,
} from './test-gpu-state.ts';

const NVIDIA = 'sys/devices/pci0000:00/0000:1a:00.0';

function textAt(tree: FileTree, file: string): unknown {
  const entry = tree.get(file);
  return typeof entry === 'string' ? entry.replace(/\n$/, '') : entry;
}

function bytesAt(tree: FileTree, file: string): DataView {
  const entry = tree.get(file);
  if (!(entry instanceof Uint8Array)) throw new Error(`${file} has no bytes`);
  return new DataView(entry.buffer);
}

describe('a PCI address', () => {
  it.each([
    ['0000:8f:00.0', '0000:8f:00.0', '00000000:8F:00.0'],
    ['00000000:8F:00.0', '0000:8f:00.0', '00000000:8F:00.0'],
    ['0001:01:1f.7', '0001:01:1f.7', '00000001:01:1F.7'],
    ['8f:00.0', '0000:8f:00.0', '00000000:8F:00.0'],
  ])('%s is %s in sysfs and %s in NVML', (pciBusId, sysfs, nvml) => {
    expect(sysfsAddress(pciBusId)).toBe(sysfs);
    expect(nvmlAddress(pciBusId)).toBe(nvml);
  });

  it.each(['', '0000:8f:00', '0000:8f:00.8', 'x0000:8f:00.0'])('%j is refused', (pciBusId) => {
    expect(() => sysfsAddress(pciBusId)).toThrow(RangeError);
  });
});

describe('the PCI bus', () => {
  it.each([
    ['H100', '0x10de', '0x030200', '0x2330', 'nvidia'],
    ['RTX_4090', '0x10de', '0x030000', '0x2684', 'nvidia'],
    ['MI300X', '0x1002', '0x120000', '0x74a1', 'amdgpu'],
    ['STRIX_HALO', '0x1002', '0x030000', '0x1586', 'amdgpu'],
  ] as const)('has a %s', (board, vendor, pciClass, device, driver) => {
    const tree = pciTree({ ...nvidiaHost([idleGpu(BOARDS[board])]), amdgpuVersion: '6.12.12' });
    expect(textAt(tree, `${NVIDIA}/vendor`)).toBe(vendor);
    expect(textAt(tree, `${NVIDIA}/class`)).toBe(pciClass);
    expect(textAt(tree, `${NVIDIA}/device`)).toBe(device);
    expect(textAt(tree, `${NVIDIA}/power/runtime_status`)).toBe('active');
    expect(textAt(tree, `${NVIDIA}/driver`)).toEqual({ linkTo: `../../../bus/pci/drivers/${driver}` });
    expect(textAt(tree, 'sys/bus/pci/devices/0000:1a:00.0')).toEqual({
      linkTo: '../../../devices/pci0000:00/0000:1a:00.0',
    });
  });

  it('has a lost GPU of NVIDIA with its driver, and one of AMD without', () => {
    const gpus = [idleGpu(H100, 0, { lostByXid: 79 }), idleGpu(MI300X, 1, { lostByXid: 0 })];
    const tree = pciTree({ ...nvidiaHost(gpus), amdgpuVersion: '6.12.12' });
    expect(tree.has(`${NVIDIA}/driver`)).toBe(true);
    expect(tree.has('sys/devices/pci0000:00/0000:1b:00.0/vendor')).toBe(true);
    expect(tree.has('sys/devices/pci0000:00/0000:1b:00.0/driver')).toBe(false);
  });

  it.each([
    [DRIVERS.r580, '580.105.08'],
    [{ ...DRIVERS.r580, kernelModuleVersion: '575.57.08' }, '575.57.08'],
    [undefined, undefined],
  ])('tells the version of the kernel module (%j)', (nvidiaDriver, version) => {
    const tree = pciTree({ ...nvidiaHost([idleGpu(H100)]), nvidiaDriver });
    expect(textAt(tree, 'sys/module/nvidia/version')).toBe(version);
  });
});

describe('the card of amdgpu', () => {
  it('has the table of its chip, with all ones where nothing is told', () => {
    const table = bytesAt(amdgpuTree(amdHost([busyGpu(MI300X)])), `${NVIDIA}/gpu_metrics`);
    expect(table.byteLength).toBe(360);
    expect([table.getUint16(0, true), table.getUint8(2), table.getUint8(3)]).toEqual([360, 1, 5]);
    expect(table.getUint16(10, true)).toBe(750); // W
    expect(table.getUint16(12, true)).toBe(87); // %
    expect(table.getUint16(14, true)).toBe(42); // %
    expect(Number(table.getBigUint64(88, true)) / 65_536).toBeCloseTo(987_654.3219, 4); // J
    expect(table.getUint16(16, true)).toBe(0xffff); // video
    expect(table.getUint16(352, true)).toBe(1300); // MHz
  });

  it('has the table of a processor', () => {
    const table = bytesAt(amdgpuTree(amdHost([busyGpu(STRIX_HALO)])), `${NVIDIA}/gpu_metrics`);
    expect(table.byteLength).toBe(264);
    expect([table.getUint16(0, true), table.getUint8(2), table.getUint8(3)]).toEqual([264, 3, 0]);
    expect(table.getUint16(4, true)).toBe(6660); // hundredths of a degree
    expect(table.getUint32(112, true)).toBe(119_543); // mW
  });

  it.each([
    ['MI300X', 'hwmon/hwmon4/temp2_label', 'junction'],
    ['MI300X', 'hwmon/hwmon4/temp1_input', undefined],
    ['MI300X', 'hwmon/hwmon4/power1_average', undefined],
    ['MI300X', 'hwmon/hwmon4/fan1_input', undefined],
    ['MI300X', 'pp_dpm_sclk', '0: 132Mhz\n1: 1665Mhz *\n2: 2100Mhz'],
    ['MI300X', 'unique_id', 'a1b2c3d4e5f60000'],
    ['STRIX_HALO', 'hwmon/hwmon4/temp1_label', 'edge'],
    ['STRIX_HALO', 'hwmon/hwmon4/power1_cap', undefined],
    ['STRIX_HALO', 'mem_busy_percent', undefined],
    ['STRIX_HALO', 'unique_id', ''],
  ] as const)('%s: %s is %j', (board, file, text) => {
    expect(textAt(amdgpuTree(amdHost([busyGpu(BOARDS[board])])), `${NVIDIA}/${file}`)).toBe(text);
  });

  it('is none where the driver is not loaded', () => {
    const tree = amdgpuTree({ ...amdHost([busyGpu(MI300X)]), amdgpuVersion: undefined });
    expect([...tree.keys()].filter((file) => file.startsWith('sys/class/drm'))).toEqual([]);
    expect(tree.has(`${NVIDIA}/vendor`)).toBe(true);
  });
});

it('writes errors into the kernel log, the oldest first, a fall from the bus twice', () => {
  const gpus = [
    idleGpu(H100, 0, { xids: [{ xid: 79, seconds: 300.5 }] }),
    idleGpu(H100, 1, { xids: [{ xid: 777, seconds: 1.25 }] }),
    idleGpu(MI300X, 2, { xids: [{ xid: 79, seconds: 2 }] }),
  ];
  expect(kernelLogRecords(nvidiaHost(gpus))).toBe(
    [
      "3,1000,1250000,-;NVRM: Xid (PCI:0000:1b:00): 777, pid='<unknown>', name=<unknown>",
      "3,1001,300500000,-;NVRM: Xid (PCI:0000:1a:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
      '3,1002,300500000,-;NVRM: GPU 0000:1a:00.0: GPU has fallen off the bus.',
      '',
    ].join('\n'),
  );
});

it('tells NVML of no error of which NVML tells nobody', () => {
  const xids = [31, 79, 119, 94].map((xid, seconds) => ({ xid, seconds }));
  const { events } = fakeNvmlHost(nvidiaHost([idleGpu(H100, 1, { xids }), idleGpu(H100, 0, { xids })]));
  expect(events.map(({ xid, board }) => [board.slice(13, 17), xid])).toEqual([
    ['0000', 31],
    ['0000', 94],
    ['0001', 31],
    ['0001', 94],
  ]);
  expect(new Set(events.map(({ id }) => id)).size).toBe(4);
});

describe('proc', () => {
  const host = nvidiaHost([busyGpu(H100), busyGpu(H100, 1, { processes: busyGpu(H100).processes })]);

  it('has a process once that is on two GPUs', () => {
    const tree = procTree(host);
    const pids = new Set([...tree.keys()].flatMap((file) => /^proc\/(\d+)\//.exec(file)?.[1] ?? []));
    expect([...pids]).toEqual(['41000']);
    expect(textAt(tree, 'proc/41000/cmdline')).toBe(
      '/usr/bin/python3\0-m\0vllm.entrypoints.openai.api_server\0--model\0Qwen/Qwen3-8B\0--port\x008000\0',
    );
    expect(textAt(tree, 'proc/41000/comm')).toBe('python3');
    expect(textAt(tree, 'proc/stat')).toBe('btime 1787298841');
  });

  it('has the sockets of all processes for each, as they share a network', () => {
    const two = nvidiaHost([busyGpu(H100), busyGpu(H100, 1)]);
    const listening = procTree(
      two,
      new Map([
        [41_000, { port: 8000 }],
        [41_001, { port: 30_000 }],
      ]),
    );
    const sockets = textAt(listening, 'proc/41000/net/tcp');
    expect(sockets).toBe(textAt(listening, 'proc/41001/net/tcp'));
    expect(sockets).toContain('   0: 00000000:1F40 00000000:0000 0A');
    expect(sockets).toContain('   1: 00000000:7530 00000000:0000 0A');
    expect(listening.get('proc/41001/fd/3')).toEqual({ linkTo: 'socket:[141001]' });
  });

  it('has a listening socket where a port is given, and none where not', () => {
    const listening = procTree(host, new Map([[41_000, { port: 8000 }]]));
    expect(textAt(listening, 'proc/41000/fd/3')).toEqual({ linkTo: 'socket:[141000]' });
    expect(textAt(listening, 'proc/41000/net/tcp')).toContain('00000000:1F40 00000000:0000 0A');
    expect(procTree(host).has('proc/41000/fd/3')).toBe(false);
  });
});

it('merges trees, the later one first', () => {
  const merged = mergeTrees(
    new Map([
      ['a', '1'],
      ['b', '1'],
    ]),
    new Map([['b', '2']]),
  );
  expect([...merged]).toEqual([
    ['a', '1'],
    ['b', '2'],
  ]);
});

it('gives whole numbers of each state to NVML, in bounds', () => {
  const states = fc.record({
    utilizationRatio: fc.double({ min: 0, max: 1, noNaN: true }),
    powerWatts: fc.double({ min: 0, max: 1500, noNaN: true }),
    energyJoules: fc.double({ min: 0, max: 1e12, noNaN: true }),
    coreCelsius: fc.double({ min: -10, max: 110, noNaN: true }),
    nvlinkSentBytes: fc.double({ min: 0, max: 1e16, noNaN: true }),
    pcieSentBytesPerSecond: fc.double({ min: 0, max: 64e9, noNaN: true }),
  });
  fc.assert(
    fc.property(states, (changes: Partial<GpuState>) => {
      const [board] = fakeNvmlHost(nvidiaHost([busyGpu(H100, 0, changes)])).boards;
      const numbers = [
        board?.utilization.gpu,
        board?.power.usageMilliwatts,
        board?.energyMillijoules,
        board?.temperatures.core,
        board?.temperatures.margin,
        board?.nvlinks[0]?.transmitKibibytes,
        board?.pcie.transmitKilobytesPerSecond,
      ];
      expect(numbers.every((number) => Number.isSafeInteger(number))).toBe(true);
      expect(board?.utilization.gpu).toBeGreaterThanOrEqual(0);
      expect(board?.utilization.gpu).toBeLessThanOrEqual(100);
    }),
    { seed: 4 },
  );
});
