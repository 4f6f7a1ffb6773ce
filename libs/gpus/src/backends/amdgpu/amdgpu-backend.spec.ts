import path from 'node:path';

import { BackendError, type BackendReading, type PciGpu } from '../../reading.ts';
import { misdeclaredPoints } from '../../test-declared.ts';
import { figure } from '../../test-reading.ts';
import { removeTrees, spiedFiles, writeTree, type Tree } from '../../test-sysfs.ts';
import { createAmdgpuBackend } from './amdgpu-backend.ts';
import { readSysfsTree } from './read-sysfs-tree.ts';
import { cardFiles } from './test-cards.ts';

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

  it('of 0 C are of a sensor that is not there, and nothing is told of it', async () => {
    const { gpu, unparsed } = await readOne({
      'hwmon/hwmon3/temp3_label': 'mem',
      'hwmon/hwmon3/temp3_input': '0',
      'hwmon/hwmon3/temp3_crit': '105000',
    });
    expect(gpu?.points.filter(({ metric }) => metric.startsWith('gpu_temperature'))).toEqual([]);
    expect(unparsed).toEqual([]);
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

  it('keep their own figures when they swap their numbers', async () => {
    const linked = (card: number, pciBusId: string, busy: string): Record<string, string> => ({
      ...folderOf(pciBusId, busy),
      [`sys/devices/${pciBusId}/drm/card${card}/device`]: `->../../../${pciBusId}`,
      [`sys/class/drm/card${card}`]: `->../../devices/${pciBusId}/drm/card${card}`,
    });
    const folderOf = (pciBusId: string, busy: string): Record<string, string> => ({
      [`sys/devices/${pciBusId}/uevent`]: `DRIVER=amdgpu\nPCI_SLOT_NAME=${pciBusId}\n`,
      [`sys/devices/${pciBusId}/gpu_busy_percent`]: busy,
    });
    const tree = writeTree({ ...linked(0, '0000:03:00.0', '30'), ...linked(1, '0000:83:00.0', '83') });
    const backend = createAmdgpuBackend({ sysfsRoot: tree.sysfs, procRoot: tree.proc });
    const busy = async () =>
      (await backend.read([], new AbortController().signal)).gpus.map((gpu) => [
        gpu.facts.pciBusId,
        figure(gpu, 'gpu_utilization_ratio'),
      ]);
    const expected = [
      ['0000:03:00.0', 0.3],
      ['0000:83:00.0', 0.83],
    ];
    expect(await busy()).toEqual(expected);
    for (const name of ['class/drm/card0', 'class/drm/card1', 'devices']) tree.remove(`sys/${name}`);
    tree.write({ ...linked(1, '0000:03:00.0', '30'), ...linked(0, '0000:83:00.0', '83') });
    expect(await busy()).toEqual(expected);
  });

  it('and their sensors are looked for every 10 s only, and at once when one is gone', async () => {
    const tree = writeTree(cardFiles(1, ADDRESS, SENSORS));
    const files = spiedFiles();
    let nowSeconds = 0;
    const backend = createAmdgpuBackend({
      sysfsRoot: tree.sysfs,
      procRoot: tree.proc,
      files,
      nowSeconds: () => nowSeconds,
    });
    const scans = async () => {
      files.opened.splice(0);
      const { gpus } = await backend.read([], new AbortController().signal);
      const celsius = figure(gpus[0], 'gpu_temperature_celsius{sensor="core"}');
      const folders = files.opened.filter((file) => /\/(drm|hwmon|hwmon\d+)$/.test(file));
      return [celsius, [...new Set(folders.map((file) => path.basename(file)))]];
    };
    expect(await scans()).toEqual([53, ['drm', 'hwmon', 'hwmon3']]);
    nowSeconds = 9;
    expect(await scans()).toEqual([53, []]);
    nowSeconds = 10;
    expect(await scans()).toEqual([53, ['drm', 'hwmon', 'hwmon3']]);
    tree.remove('sys/class/drm/card1/device/hwmon/hwmon3');
    tree.write(
      cardFiles(1, ADDRESS, { 'hwmon/hwmon7/temp1_label': 'edge', 'hwmon/hwmon7/temp1_input': '60000' }),
    );
    expect(await scans()).toEqual([60, ['drm', 'hwmon', 'hwmon7']]);
  });

  it('that came back are read at once, with the facts of what is there now', async () => {
    const tree = writeTree({
      ...cardFiles(0, '0000:83:00.0', SENSORS),
      ...cardFiles(1, ADDRESS, { ...SENSORS, vbios_version: 'old' }),
    });
    const backend = createAmdgpuBackend({ sysfsRoot: tree.sysfs, procRoot: tree.proc, nowSeconds: () => 0 });
    const state = async () => {
      const { gpus } = await backend.read([], new AbortController().signal);
      return gpus.slice(0, 1).map(({ condition, facts }) => [condition, facts.vbiosVersion]);
    };
    expect(await state()).toEqual([['up', 'old']]);
    tree.remove('sys/class/drm/card1');
    expect(await state()).toEqual([['vanished', 'old']]);
    tree.write(cardFiles(2, ADDRESS, { ...SENSORS, vbios_version: 'new' }));
    expect(await state()).toEqual([['up', 'new']]);
  });

  it('that answer again are asked for all they have', async () => {
    const errors: Record<string, string> = { gpu_busy_percent: 'EIO' };
    const tree = writeTree(cardFiles(1, ADDRESS, { gpu_busy_percent: '5' }));
    const backend = createAmdgpuBackend({
      sysfsRoot: tree.sysfs,
      procRoot: tree.proc,
      files: spiedFiles(errors),
      nowSeconds: () => 0,
    });
    const celsius = async () => {
      const { gpus } = await backend.read([], new AbortController().signal);
      return [gpus[0]?.condition, figure(gpus[0], 'gpu_temperature_celsius{sensor="core"}')];
    };
    expect(await celsius()).toEqual(['lost', undefined]);
    delete errors['gpu_busy_percent'];
    tree.write(cardFiles(1, ADDRESS, SENSORS));
    expect(await celsius()).toEqual(['up', 53]);
  });

  it('that are lost keep the facts they had', async () => {
    const errors: Record<string, string> = {};
    const tree = writeTree(cardFiles(1, ADDRESS, { ...SENSORS, vbios_version: 'known' }));
    const files = spiedFiles(errors);
    const backend = createAmdgpuBackend({ sysfsRoot: tree.sysfs, procRoot: tree.proc, files });
    const state = async () => {
      const { gpus } = await backend.read([], new AbortController().signal);
      return gpus.map(({ condition, facts }) => [condition, facts.vbiosVersion]);
    };
    await state();
    Object.assign(errors, { _input: 'EIO', power1_average: 'EIO', vbios_version: 'EIO' });
    expect([await state(), await state()]).toEqual([[['lost', 'known']], [['lost', 'known']]]);
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

describe('a card that may sleep', () => {
  const OTHER = '0000:83:00.0';
  const idle = { ...SENSORS, gpu_busy_percent: '0', vbios_version: '113-D70401XT-N11' };
  const user = {
    'proc/100/fd/4': '->/dev/dri/renderD128',
    'proc/100/fdinfo/4': fdinfo(ADDRESS, 'drm-memory-vram:\t1024 KiB'),
  };
  const managed: PciGpu = { pciBusId: ADDRESS, vendor: 'amd', suspended: false, powerManaged: true };
  const asleep: PciGpu = { ...managed, suspended: true };

  function fdinfo(pciBusId: string, memory: string): string {
    return `drm-driver:\tamdgpu\ndrm-pdev:\t${pciBusId}\ndrm-client-id:\t1\n${memory}\n`;
  }

  function host(
    files: Readonly<Record<string, string | Buffer>>,
    errors: Readonly<Record<string, string>> = {},
  ) {
    const tree = writeTree({ 'proc/1/fd/0': '->/dev/null', ...files });
    const spied = spiedFiles(errors);
    let nowSeconds = 0;
    const backend = createAmdgpuBackend({
      sysfsRoot: tree.sysfs,
      procRoot: tree.proc,
      files: spied,
      nowSeconds: () => nowSeconds,
      unixSeconds: () => 1_700_000_000,
    });
    return {
      tree,
      /** A reading and ten samples at a time: what it gives, and what the driver of each card was asked for. */
      at: async (seconds: number, ...pci: readonly PciGpu[]) => {
        nowSeconds = seconds;
        spied.opened.splice(0);
        const { gpus } = await backend.read(pci, new AbortController().signal);
        const samples = Array.from({ length: 10 }, () => backend.sample?.() ?? []).flat();
        const asked = (card: number): string[] =>
          spied.opened.filter(
            (file) =>
              file.startsWith(path.join(tree.sysfs, `class/drm/card${card}/device/`)) &&
              !/\/(uevent|device|power\/runtime_status|power_state)$/.test(file),
          );
        return { gpus, samples, asked };
      },
    };
  }

  it('and has nothing to do is left alone for 60 s, in readings and in samples', async () => {
    const { at } = host(cardFiles(1, ADDRESS, idle));
    const first = await at(0, managed);
    expect(figure(first.gpus[0], 'gpu_power_watts')).toBe(68);
    expect(first.samples).toEqual([]);
    for (const seconds of [1, 10, 30, 59.9]) {
      const { gpus, samples, asked } = await at(seconds, managed);
      expect(gpus).toEqual([
        { gpu: '0', uuid: ADDRESS, condition: 'up', facts: first.gpus[0]?.facts, points: [] },
      ]);
      expect([seconds, samples, asked(1)]).toEqual([seconds, [], []]);
    }
    const { gpus, asked } = await at(60, managed);
    expect(figure(gpus[0], 'gpu_power_watts')).toBe(68);
    expect(asked(1)).not.toEqual([]);
  });

  it.each<
    [
      string,
      boolean,
      Record<string, string | Buffer>,
      { pci?: Partial<PciGpu>; errors?: Record<string, string> },
    ]
  >([
    ['no process and no load', true, {}, {}],
    ['no load, and others are hidden', true, {}, { errors: { '/1/fd': 'EACCES' } }],
    [
      'a process that holds no memory',
      true,
      { ...user, 'proc/100/fdinfo/4': fdinfo(ADDRESS, 'drm-memory-vram:\t0') },
      {},
    ],
    [
      'a process on another card',
      true,
      { ...user, 'proc/100/fdinfo/4': fdinfo(OTHER, 'drm-memory-vram:\t9 KiB') },
      {},
    ],
    ['a process that holds memory', false, user, {}],
    ['a process that holds memory, and others are hidden', false, user, { errors: { '/1/fd': 'EACCES' } }],
    ['load', false, cardFiles(1, ADDRESS, { ...idle, gpu_busy_percent: '1' }), {}],
    ['no process, and its load is not known', true, {}, { errors: { gpu_busy_percent: 'EINVAL' } }],
    ['nothing known of either', false, {}, { errors: { gpu_busy_percent: 'EINVAL', '/1/fd': 'EACCES' } }],
    ['no leave to sleep', false, {}, { pci: { powerManaged: false } }],
  ])('with %s is left alone: %s', async (_, isLeftAlone, files, { pci, errors }) => {
    const { at } = host({ ...cardFiles(1, ADDRESS, idle), ...files }, errors);
    const gpu = { ...managed, ...pci };
    await at(0, gpu);
    const { gpus, samples, asked } = await at(1, gpu);
    expect(gpus[0]?.condition).toBe('up');
    expect([gpus[0]?.points.length === 0, samples.length === 0, asked(1).length === 0]).toEqual([
      isLeftAlone,
      isLeftAlone,
      isLeftAlone,
    ]);
  });

  it('of which nobody said that it may is read on', async () => {
    const { at } = host(cardFiles(1, ADDRESS, idle));
    await at(0, { pciBusId: ADDRESS, vendor: 'amd', suspended: false });
    expect((await at(1, { pciBusId: ADDRESS, vendor: 'amd', suspended: false })).asked(1)).not.toEqual([]);
  });

  it('that fell asleep meanwhile is suspended, and read at once when it is awake again', async () => {
    const { tree, at } = host(cardFiles(1, ADDRESS, idle));
    await at(0, managed);
    const sleeping = await at(6, asleep);
    expect(sleeping.gpus).toMatchObject([{ condition: 'suspended', points: [] }]);
    expect([sleeping.samples, sleeping.asked(1)]).toEqual([[], []]);
    tree.write(cardFiles(1, ADDRESS, { gpu_busy_percent: '50' }));
    const woken = await at(7, managed);
    expect(figure(woken.gpus[0], 'gpu_utilization_ratio')).toBe(0.5);
    expect(woken.samples).toHaveLength(20);
    // It has nothing to do any longer, and is left alone again.
    tree.write(cardFiles(1, ADDRESS, { gpu_busy_percent: '0' }));
    expect((await at(8, managed)).gpus[0]?.points).not.toEqual([]);
    expect((await at(9, managed)).asked(1)).toEqual([]);
  });

  it('and does not in the minute it has is not left alone again for an hour', async () => {
    const { at } = host(cardFiles(1, ADDRESS, idle));
    const isAsked = async (seconds: number, gpu = managed) => (await at(seconds, gpu)).asked(1).length > 0;
    expect([await isAsked(0), await isAsked(1), await isAsked(60)]).toEqual([true, false, true]);
    expect([await isAsked(61), await isAsked(3659)]).toEqual([true, true]);
    expect([await isAsked(3660), await isAsked(3661)]).toEqual([true, false]);
    // Once it is seen asleep, it can sleep.
    expect([await isAsked(3720), await isAsked(3721), await isAsked(3722, asleep)]).toEqual([
      true,
      true,
      false,
    ]);
    expect([await isAsked(3723), await isAsked(3724)]).toEqual([true, false]);
  });

  it.each([
    ['a process takes memory of it', 11, user, {}],
    ['the leave to sleep is taken back', 2, {}, { powerManaged: false }],
  ])('is read again as soon as %s', async (_, seconds, files, pci) => {
    const { tree, at } = host(cardFiles(1, ADDRESS, idle));
    await at(0, managed);
    expect((await at(1, managed)).asked(1)).toEqual([]);
    tree.write(files);
    await at(10, { ...managed, ...(seconds > 10 ? pci : {}) });
    expect((await at(seconds, { ...managed, ...pci })).gpus[0]?.points).not.toEqual([]);
  });

  it('does so by itself: the others are read and sampled', async () => {
    const { at } = host({
      ...cardFiles(1, ADDRESS, idle),
      ...cardFiles(2, OTHER, { ...SENSORS, gpu_busy_percent: '40' }),
    });
    const other: PciGpu = { ...managed, pciBusId: OTHER };
    await at(0, managed, other);
    const { gpus, samples, asked } = await at(1, managed, other);
    expect(gpus.map((gpu) => [gpu.condition, figure(gpu, 'gpu_utilization_ratio')])).toEqual([
      ['up', undefined],
      ['up', 0.4],
    ]);
    expect([...new Set(samples.map(({ uuid }) => uuid))]).toEqual([OTHER]);
    expect([asked(1).length > 0, asked(2).length > 0]).toEqual([false, true]);
  });

  it('and is gone is told of as vanished', async () => {
    const { tree, at } = host(cardFiles(1, ADDRESS, idle));
    await at(0, managed);
    tree.remove('sys/class/drm/card1');
    expect((await at(10)).gpus).toMatchObject([{ condition: 'vanished', points: [] }]);
  });
});

it('asks of a card that may not sleep for its two quick figures only, between readings', async () => {
  const tree = writeTree(cardFiles(1, ADDRESS, { ...SENSORS, gpu_busy_percent: '0' }));
  const files = spiedFiles();
  const backend = createAmdgpuBackend({ sysfsRoot: tree.sysfs, procRoot: tree.proc, files });
  const pci: PciGpu = { pciBusId: ADDRESS, vendor: 'amd', suspended: false, powerManaged: false };
  await backend.read([pci], new AbortController().signal);
  files.opened.splice(0);
  expect(backend.sample?.()).toHaveLength(2);
  expect(files.opened.map((file) => path.basename(file))).toEqual(['gpu_busy_percent', 'power1_average']);
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
