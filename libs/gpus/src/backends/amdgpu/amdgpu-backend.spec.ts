import path from 'node:path';

import { BackendError, type BackendReading, type PciGpu } from '../../reading.ts';
import { misdeclaredPoints } from '../../test-declared.ts';
import { createAmdgpuBackend } from './amdgpu-backend.ts';
import { readSysfsTree } from './read-sysfs-tree.ts';
import { cardFiles, figure, removeTrees, spiedFiles, writeTree, type Tree } from './test-sysfs.ts';

afterEach(removeTrees);

const ADDRESS = '0000:03:00.0';
const SENSORS = {
  'hwmon/hwmon3/name': 'amdgpu',
  'hwmon/hwmon3/temp1_label': 'edge',
  'hwmon/hwmon3/temp1_input': '53000',
  'hwmon/hwmon3/power1_average': '68000000',
};

function read(
  tree: Tree,
  errors: Readonly<Record<string, string>> = {},
  pci: readonly PciGpu[] = [],
): Promise<BackendReading> {
  const backend = createAmdgpuBackend({
    sysfsRoot: tree.sysfs,
    procRoot: tree.proc,
    files: spiedFiles(errors),
  });
  return backend.read(pci, new AbortController().signal);
}

async function readOne(
  files: Readonly<Record<string, string | Buffer>>,
  errors?: Readonly<Record<string, string>>,
) {
  const reading = await read(writeTree(cardFiles(1, ADDRESS, files)), errors);
  expect(misdeclaredPoints(reading.gpus.flatMap(({ points }) => points))).toEqual([]);
  return { ...reading, gpu: reading.gpus[0] };
}

describe('figures', () => {
  it.each([
    ['gpu_busy_percent', '3\n', 'gpu_utilization_ratio', 0.03],
    ['gpu_busy_percent', '100', 'gpu_utilization_ratio', 1],
    ['gpu_busy_percent', '65535', 'gpu_utilization_ratio', undefined],
    ['gpu_busy_percent', 'busy', 'gpu_utilization_ratio', undefined],
    ['gpu_busy_percent', `7\n${'\0'.repeat(4094)}`, 'gpu_utilization_ratio', 0.07],
    ['vcn_busy_percent', '12', 'gpu_decoder_utilization_ratio', 0.12],
    ['mem_info_vram_used', '17163091968', 'gpu_memory_used_bytes', 17_163_091_968],
    ['pcie_replay_count', '4', 'gpu_pcie_replay_total', 4],
    ['current_link_speed', '2.5 GT/s PCIe', 'gpu_pcie_link_generation', 1],
    ['current_link_speed', 'Unknown', 'gpu_pcie_link_generation', undefined],
    ['current_link_width', '16', 'gpu_pcie_link_width', 16],
    ['current_link_width', '0', 'gpu_pcie_link_width', undefined],
    ['pp_dpm_sclk', 'S: 19Mhz *\n0: 615Mhz\n1: 2400Mhz\n', 'gpu_clock_max_hertz{domain="graphics"}', 2.4e9],
    ['pp_dpm_sclk', '0: 0Mhz *\n', 'gpu_clock_max_hertz{domain="graphics"}', undefined],
    [
      'ras/umc_err_count',
      'ue: 2\nce: 5\n',
      'gpu_ecc_errors_total{type="uncorrected",location="umc",lifetime="volatile"}',
      2,
    ],
    [
      'ras/gfx_err_count',
      'ue: 0\nce: 5\n',
      'gpu_ecc_errors_total{type="corrected",location="gfx",lifetime="volatile"}',
      5,
    ],
    ['ras/gpu_vram_bad_pages', '', 'gpu_retired_pages{cause="bad"}', 0],
    [
      'ras/gpu_vram_bad_pages',
      '0x00000001 : 0x00001000 : R\n0x00000002 : 0x00001000 : P\n',
      'gpu_retired_pages{cause="bad"}',
      2,
    ],
    ['current_compute_partition', 'CPX', 'gpu_partition_info{compute="CPX",memory=""}', 1],
    ['hwmon/hwmon3/temp1_input', '-5000', 'gpu_temperature_celsius{sensor="core"}', -5],
    ['hwmon/hwmon3/temp1_input', '0', 'gpu_temperature_celsius{sensor="core"}', undefined],
    ['hwmon/hwmon3/temp1_input', '511000', 'gpu_temperature_celsius{sensor="core"}', undefined],
    ['hwmon/hwmon3/power1_input', '12345678', 'gpu_power_watts', 12.345678],
    ['hwmon/hwmon3/power1_average', '12000000', 'gpu_power_watts', 12],
    ['hwmon/hwmon3/power1_average', '0', 'gpu_power_watts', undefined],
    ['hwmon/hwmon3/power1_cap', '0', 'gpu_power_limit_watts{kind="enforced"}', undefined],
    ['hwmon/hwmon3/power1_cap_min', '0', 'gpu_power_limit_watts{kind="min"}', 0],
    ['hwmon/hwmon3/energy1_input', '1500000', 'gpu_energy_joules_total', 1.5],
    ['hwmon/hwmon3/pwm1', '51', 'gpu_fan_speed_ratio{fan="0"}', 0.2],
    ['hwmon/hwmon3/fan1_input', '0', 'gpu_fan_speed_rpm{fan="0"}', 0],
  ])('%s %j gives %s %d', async (file, text, series, value) => {
    const files = { 'hwmon/hwmon3/temp1_label': 'edge', [file]: text };
    expect(figure((await readOne(files)).gpu, series)).toBe(value);
  });

  it('that make no sense are told of', async () => {
    const { unparsed } = await readOne({
      gpu_busy_percent: '65535',
      mem_busy_percent: '?',
      current_link_speed: 'fast',
      'hwmon/hwmon3/power1_average': '0',
    });
    expect(unparsed).toEqual([
      { field: 'gpu_busy_percent', value: '655.35' },
      { field: 'mem_busy_percent', value: '?' },
      { field: 'hwmon/power1_average', value: '0' },
      { field: 'current_link_speed', value: 'fast' },
    ]);
  });

  it('of power: now and averaged, each by its own file', async () => {
    const { gpu } = await readOne({
      'hwmon/hwmon3/power1_input': '3142000',
      'hwmon/hwmon3/power1_average': '3103000',
    });
    expect([figure(gpu, 'gpu_power_watts'), figure(gpu, 'gpu_power_average_watts')]).toEqual([3.142, 3.103]);
  });

  it('of headroom: that of the sensor nearest to its limit', async () => {
    const { gpu } = await readOne({
      ...SENSORS,
      'hwmon/hwmon3/temp1_crit': '100000',
      'hwmon/hwmon3/temp2_label': 'junction',
      'hwmon/hwmon3/temp2_input': '95000',
      'hwmon/hwmon3/temp2_crit': '110000',
    });
    expect(figure(gpu, 'gpu_temperature_headroom_celsius')).toBe(15);
    expect(figure(gpu, 'gpu_temperature_threshold_celsius{kind="junction_critical"}')).toBe(110);
  });

  it('of the radeon driver: one sensor without a name', async () => {
    const tree = writeTree({
      'sys/class/drm/card0/device/uevent': `DRIVER=radeon\nPCI_ID=1002:679A\nPCI_SLOT_NAME=${ADDRESS}\n`,
      'sys/class/drm/card0/device/hwmon/hwmon0/temp1_input': '37000',
    });
    expect(figure((await read(tree)).gpus[0], 'gpu_temperature_celsius{sensor="core"}')).toBe(37);
  });
});

describe('errors of single files', () => {
  it.each([
    ['EINVAL', 'not_supported'],
    ['EOPNOTSUPP', 'not_supported'],
    ['ENODATA', 'not_supported'],
    ['EACCES', 'no_permission'],
    ['EPERM', 'failed'],
    ['EBUSY', 'failed'],
    ['EIO', 'failed'],
  ])('%s costs the figure only: %s', async (code, why) => {
    const { gpu, unsupported } = await readOne(
      { ...SENSORS, gpu_busy_percent: '5', mem_info_vram_used: '1024' },
      { gpu_busy_percent: code },
    );
    expect(gpu?.condition).toBe('up');
    expect(figure(gpu, 'gpu_utilization_ratio')).toBeUndefined();
    expect(figure(gpu, 'gpu_memory_used_bytes')).toBe(1024);
    expect(figure(gpu, 'gpu_power_watts')).toBe(68);
    expect(unsupported).toContainEqual({ field: 'gpu_busy_percent', why });
  });

  it.each([
    ['EIO', 'lost'],
    ['ENODEV', 'lost'],
    ['EACCES', 'no_permission'],
    ['EPERM', 'unknown_error'],
    ['ETIME', 'unknown_error'],
    ['EINVAL', 'up'],
  ])('%s of all that asks the hardware: %s', async (code, condition) => {
    const { gpu } = await readOne(
      { ...SENSORS, gpu_busy_percent: '5', mem_info_vram_used: '1024' },
      { gpu_busy_percent: code, _input: code, power1_average: code },
    );
    expect(gpu?.condition).toBe(condition);
    expect(gpu?.points.length === 0).toBe(condition !== 'up');
  });
});

describe('cards', () => {
  it('are told apart by their address, whatever their numbers', async () => {
    const tree = writeTree({
      ...cardFiles(1, '0000:83:00.0', { gpu_busy_percent: '80', unique_id: '946d7e1ef9b172dd' }),
      ...cardFiles(2, '0000:03:00.0', { gpu_busy_percent: '20' }),
      'sys/class/drm/card0/device/uevent': 'DRIVER=i915\nPCI_SLOT_NAME=0000:00:02.0\n',
      'sys/class/drm/card1-DP-1/status': 'connected',
      'sys/class/drm/renderD128/device/uevent': 'DRIVER=amdgpu\nPCI_SLOT_NAME=0000:03:00.0\n',
    });
    const { gpus } = await read(tree);
    expect(gpus.map((gpu) => [gpu.gpu, gpu.uuid, figure(gpu, 'gpu_utilization_ratio')])).toEqual([
      ['0', '0000:03:00.0', 0.2],
      ['1', '946d7e1ef9b172dd', 0.8],
    ]);
  });

  it('are read on when hwmon and card numbers change', async () => {
    const tree = writeTree(cardFiles(1, ADDRESS, SENSORS));
    const backend = createAmdgpuBackend({ sysfsRoot: tree.sysfs, procRoot: tree.proc });
    const { signal } = new AbortController();
    const before = await backend.read([], signal);
    tree.remove('sys/class/drm/card1');
    tree.write(
      cardFiles(0, ADDRESS, { 'hwmon/hwmon7/temp1_label': 'edge', 'hwmon/hwmon7/temp1_input': '60000' }),
    );
    const after = await backend.read([], signal);
    expect([before, after].map(({ gpus }) => [gpus[0]?.uuid, gpus[0]?.condition])).toEqual([
      [ADDRESS, 'up'],
      [ADDRESS, 'up'],
    ]);
    expect(figure(after.gpus[0], 'gpu_temperature_celsius{sensor="core"}')).toBe(60);
  });

  it('that are gone stay listed as vanished, and the others keep their index', async () => {
    const tree = writeTree({
      ...cardFiles(0, '0000:03:00.0', SENSORS),
      ...cardFiles(1, '0000:83:00.0', SENSORS),
    });
    const backend = createAmdgpuBackend({ sysfsRoot: tree.sysfs, procRoot: tree.proc });
    const { signal } = new AbortController();
    await backend.read([], signal);
    tree.remove('sys/class/drm/card0');
    const { gpus } = await backend.read([], signal);
    expect(gpus.map(({ gpu, uuid, condition, points }) => [gpu, uuid, condition, points.length > 0])).toEqual(
      [
        ['0', '0000:03:00.0', 'vanished', false],
        ['1', '0000:83:00.0', 'up', true],
      ],
    );
    tree.remove('sys/class/drm/card1');
    expect((await backend.read([], signal)).gpus.map(({ condition }) => condition)).toEqual([
      'vanished',
      'vanished',
    ]);
  });

  it('tell what they are', async () => {
    const { gpu, driverVersion } = await readOne({
      ...SENSORS,
      device: '0x744c\n',
      revision: '0xc8\n',
      vbios_version: '113-D70401XT-N11\n',
      serial_number: '\n',
      numa_node: '1\n',
    });
    expect(driverVersion).toBeUndefined();
    expect(gpu?.facts).toEqual({
      vendor: 'amd',
      pciBusId: ADDRESS,
      name: 'AMD Radeon RX 7900 XTX',
      vbiosVersion: '113-D70401XT-N11',
      numaNode: '1',
    });
    const named = await readOne({
      ...SENSORS,
      product_name: 'AMD Instinct MI300X OAM\n',
      serial_number: '692\n',
    });
    expect(named.gpu?.facts).toMatchObject({ name: 'AMD Instinct MI300X OAM', serial: '692' });
  });

  it.each([
    ['sys/module/amdgpu/version', '6.8.5'],
    ['proc/sys/kernel/osrelease', '6.12.9'],
  ])('have the version of %s', async (file, version) => {
    const tree = writeTree({ ...cardFiles(0, ADDRESS, SENSORS), [file]: `${version}\n` });
    const { driverVersion, gpus } = await read(tree);
    expect([driverVersion, gpus[0]?.facts.driverVersion]).toEqual([version, version]);
  });

  it.each([
    [[], 'no_gpus'],
    [[{ pciBusId: ADDRESS, vendor: 'amd', suspended: false }], 'driver_not_loaded'],
    [[{ pciBusId: ADDRESS, vendor: 'nvidia', suspended: false }], 'no_gpus'],
  ] as const)('are none, with %j on the bus: %s', async (pci, reason) => {
    await expect(read(writeTree({}), {}, pci)).rejects.toMatchObject({ name: 'BackendError', reason });
  });
});

describe('a card that sleeps', () => {
  const asleep = [{ pciBusId: ADDRESS, vendor: 'amd', suspended: true }] as const;
  const whole = {
    ...SENSORS,
    gpu_busy_percent: '5',
    gpu_metrics: Buffer.alloc(4),
    unique_id: '946d7e1ef9b172dd',
  };
  const allowed = /\/(uevent|power\/runtime_status|power_state|device|revision|numa_node|unique_id)$/;

  it.each([
    ['by the list of the bus', asleep, {}],
    ['by its own file', [], { 'power/runtime_status': 'suspended\n' }],
  ])('%s is left alone: none of its sensors is opened, in readings and in samples', async (_, pci, power) => {
    const tree = writeTree(cardFiles(1, ADDRESS, { ...whole, ...power }));
    const files = spiedFiles();
    const backend = createAmdgpuBackend({ sysfsRoot: tree.sysfs, procRoot: tree.proc, files });
    const { gpus } = await backend.read(pci, new AbortController().signal);
    expect(backend.sample?.()).toEqual([]);
    expect(gpus).toMatchObject([{ uuid: '946d7e1ef9b172dd', condition: 'suspended', points: [] }]);
    const device = path.join(tree.sysfs, 'class/drm/card1/device');
    const opened = files.opened.filter((file) => file.startsWith(`${device}/`));
    expect(opened.length).toBeGreaterThan(0);
    expect(opened.filter((file) => !allowed.test(file))).toEqual([]);
  });

  it('since its last reading is not sampled', async () => {
    const tree = writeTree(cardFiles(1, ADDRESS, whole));
    const files = spiedFiles();
    const backend = createAmdgpuBackend({
      sysfsRoot: tree.sysfs,
      procRoot: tree.proc,
      files,
      unixSeconds: () => 1_700_000_000,
    });
    await backend.read([], new AbortController().signal);
    expect(backend.sample?.()).toEqual([
      { uuid: '946d7e1ef9b172dd', kind: 'utilization', unixSeconds: 1_700_000_000, value: 0.05 },
      { uuid: '946d7e1ef9b172dd', kind: 'power', unixSeconds: 1_700_000_000, value: 68 },
    ]);
    tree.write(cardFiles(1, ADDRESS, { 'power/runtime_status': 'suspended' }));
    files.opened.splice(0);
    expect(backend.sample?.()).toEqual([]);
    expect(files.opened.map((file) => path.basename(file))).toEqual(['runtime_status']);
  });

  it('keeps the facts it had while it was awake', async () => {
    const tree = writeTree(cardFiles(1, ADDRESS, { ...whole, vbios_version: '113-D70401XT-N11' }));
    const backend = createAmdgpuBackend({ sysfsRoot: tree.sysfs, procRoot: tree.proc });
    const { signal } = new AbortController();
    const awake = await backend.read([], signal);
    const sleeping = await backend.read(asleep, signal);
    expect(sleeping.gpus[0]?.facts).toEqual(awake.gpus[0]?.facts);
    expect(sleeping.gpus[0]).toMatchObject({ condition: 'suspended', uuid: awake.gpus[0]?.uuid });
  });

  it('fell asleep while it was read: the driver says EPERM and lets it sleep', async () => {
    const tree = writeTree(cardFiles(1, ADDRESS, SENSORS));
    const inner = spiedFiles({ _input: 'EPERM', power1_average: 'EPERM', gpu_busy_percent: 'EPERM' });
    const read = (file: string): Buffer => {
      if (file.endsWith('gpu_busy_percent')) {
        tree.write(cardFiles(1, ADDRESS, { 'power/runtime_status': 'suspended' }));
      }
      return inner.read(file);
    };
    const files = {
      read,
      list: (folder: string) => inner.list(folder),
      linkTarget: (link: string) => inner.linkTarget(link),
    };
    const backend = createAmdgpuBackend({ sysfsRoot: tree.sysfs, procRoot: tree.proc, files });
    const { gpus } = await backend.read([], new AbortController().signal);
    expect(gpus).toMatchObject([{ condition: 'suspended', points: [] }]);
  });
});

it('never asks for pcie_bw, which takes the driver a second', async () => {
  const tree = writeTree(cardFiles(1, ADDRESS, { ...SENSORS, pcie_bw: '1 2 256' }));
  const files = spiedFiles();
  await createAmdgpuBackend({ sysfsRoot: tree.sysfs, procRoot: tree.proc, files }).read(
    [],
    new AbortController().signal,
  );
  expect(files.opened.filter((file) => file.endsWith('pcie_bw'))).toEqual([]);
});

describe('a saved tree', () => {
  it.each([
    ['its root', ''],
    ['the folder of its cards', 'class/drm'],
    ['the folder of one card', 'class/drm/card1'],
    ['that of its device', 'class/drm/card1/device'],
  ])('is read from %s', (_, folder) => {
    const { sysfs } = writeTree(cardFiles(1, ADDRESS, SENSORS));
    const { gpus } = readSysfsTree(path.join(sysfs, folder));
    expect(figure(gpus[0], 'gpu_power_watts')).toBe(68);
  });

  it('without a card of AMD is refused in words', () => {
    const { sysfs } = writeTree({ 'sys/class/drm/card0/device/uevent': 'DRIVER=i915\n' });
    expect(() => readSysfsTree(sysfs)).toThrow(BackendError);
    expect(() => readSysfsTree(sysfs)).toThrow(/give the root of a sysfs tree/);
  });
});
