import path from 'node:path';

import { removeTrees, spiedFiles, writeTree } from '../test-sysfs.ts';
import {
  createPciGpuLookup,
  normalizePciBusId,
  passedThroughGpus,
  pciGpus,
  pciGpusSync,
} from './pci-gpus.ts';

afterEach(removeTrees);

function device(address: string, vendor: string, pciClass: string, more: Record<string, string> = {}) {
  const folder = `sys/bus/pci/devices/${address}`;
  return Object.fromEntries(
    Object.entries({ vendor: `${vendor}\n`, class: `${pciClass}\n`, ...more }).map(([name, text]) => [
      `${folder}/${name}`,
      text,
    ]),
  );
}

describe('GPUs on the PCI bus', () => {
  it('are the display and accelerator devices of NVIDIA and AMD, by address', async () => {
    const { sysfs } = writeTree({
      ...device('0000:8f:00.0', '0x10de', '0x030200'),
      ...device('0000:03:00.0', '0x1002', '0x030000'),
      ...device('0000:04:00.0', '0x1002', '0x120000'),
      ...device('0000:05:00.0', '0x1002', '0x038000'),
      ...device('0000:03:00.1', '0x1002', '0x040300'), // its HDMI sound
      ...device('0000:90:00.0', '0x10de', '0x068000'), // an NVSwitch
      ...device('0000:00:02.0', '0x8086', '0x030000'), // Intel graphics
    });
    const found = (await pciGpus(sysfs)).map(({ pciBusId, vendor }) => [pciBusId, vendor]);
    expect(found).toEqual([
      ['0000:03:00.0', 'amd'],
      ['0000:04:00.0', 'amd'],
      ['0000:05:00.0', 'amd'],
      ['0000:8f:00.0', 'nvidia'],
    ]);
    expect(pciGpusSync(sysfs)).toHaveLength(4);
  });

  it('are none where there is no bus', async () => {
    expect(await pciGpus(path.join(writeTree({}).sysfs, 'nowhere'))).toEqual([]);
  });

  it.each([
    ['active', 'D0', false],
    ['active', undefined, false],
    ['suspended', 'D0', true],
    ['suspending', 'D0', true],
    ['resuming', 'D0', false],
    ['unsupported', 'D0', false],
    ['active', 'D3hot', true],
    [undefined, 'D3cold', true],
    [undefined, 'unknown', false],
    [undefined, undefined, false],
  ])('with runtime_status %s and power_state %s: asleep %s', (status, state, suspended) => {
    const { sysfs } = writeTree(
      device('0000:01:00.0', '0x10de', '0x030000', {
        ...(status === undefined ? {} : { 'power/runtime_status': `${status}\n` }),
        ...(state === undefined ? {} : { power_state: `${state}\n` }),
      }),
    );
    expect(pciGpusSync(sysfs)).toMatchObject([{ pciBusId: '0000:01:00.0', suspended }]);
  });

  it.each([
    ['auto', 'active', true],
    ['auto', 'suspended', true],
    ['auto', 'unsupported', false],
    ['auto', undefined, false],
    ['on', 'active', false],
    [undefined, 'active', false],
  ])('with power/control %s and runtime_status %s: power managed %s', (control, status, powerManaged) => {
    const { sysfs } = writeTree(
      device('0000:01:00.0', '0x1002', '0x030000', {
        ...(control === undefined ? {} : { 'power/control': control }),
        ...(status === undefined ? {} : { 'power/runtime_status': status }),
      }),
    );
    expect(pciGpusSync(sysfs)).toMatchObject([{ powerManaged }]);
  });

  it.each([
    ['nvidia', true],
    ['nouveau', true],
    [undefined, true],
    ['vfio-pci', false],
    ['nvgrace-gpu-vfio-pci', false],
    ['pciback', false],
    ['xen-pciback', false],
    ['pci-stub', false],
  ])('bound to the driver %s are ours: %s', async (driver, isOurs) => {
    const { sysfs } = writeTree({
      ...device('0000:01:00.0', '0x10de', '0x030000', {
        'power/runtime_status': 'suspended',
        ...(driver === undefined ? {} : { driver: `->../../../../bus/pci/drivers/${driver}` }),
      }),
      ...device('0000:02:00.0', '0x1002', '0x030000', { driver: '->../../../../bus/pci/drivers/amdgpu' }),
    });
    const addresses = [...(isOurs ? ['0000:01:00.0'] : []), '0000:02:00.0'];
    expect((await pciGpus(sysfs)).map(({ pciBusId }) => pciBusId)).toEqual(addresses);
    expect(passedThroughGpus(sysfs)).toEqual(isOurs ? [] : [{ pciBusId: '0000:01:00.0', driver }]);
  });

  it('are ours again once they are given back', () => {
    const driver = 'sys/bus/pci/devices/0000:01:00.0/driver';
    const tree = writeTree(device('0000:01:00.0', '0x10de', '0x030000', { driver: '->../drivers/vfio-pci' }));
    let nowSeconds = 0;
    const look = createPciGpuLookup({ sysfsRoot: tree.sysfs, nowSeconds: () => nowSeconds });
    expect(look()).toEqual([]);
    tree.remove(driver);
    tree.write({ [driver]: '->../drivers/nvidia' });
    nowSeconds = 10;
    expect(look()).toHaveLength(1);
  });

  it('are asked by two files each, and listed anew every 10 s', () => {
    const tree = writeTree(
      device('0000:01:00.0', '0x1002', '0x030000', { 'power/runtime_status': 'active' }),
    );
    const files = spiedFiles();
    let nowSeconds = 100;
    const look = createPciGpuLookup({ sysfsRoot: tree.sysfs, files, nowSeconds: () => nowSeconds });
    expect(look()).toHaveLength(1);
    tree.write({
      ...device('0000:02:00.0', '0x1002', '0x030000'),
      'sys/bus/pci/devices/0000:01:00.0/power/runtime_status': 'suspended',
    });
    files.opened.splice(0);
    nowSeconds = 109.9;
    expect(look()).toMatchObject([{ suspended: true }]);
    expect(files.opened.map((file) => path.relative(path.join(tree.sysfs, 'bus/pci/devices'), file))).toEqual(
      ['0000:01:00.0/power/runtime_status'],
    );
    nowSeconds = 110;
    expect(look()).toHaveLength(2);
  });
});

it.each([
  ['0000:8F:00.0', '0000:8f:00.0'],
  ['00000000:8F:00.0', '0000:8f:00.0'],
  ['0001:8f:00.0', '0001:8f:00.0'],
  ['10000:01:00.0', '10000:01:00.0'],
  ['01:00.0', '0000:01:00.0'],
  ['0000:8f:00', undefined],
  ['0000:8f:00.8', undefined],
  ['', undefined],
])('writes the address %s as %s', (text, expected) => {
  expect(normalizePciBusId(text)).toBe(expected);
});
