import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { SimulatedWorld, type GpuHost } from '@llm-monitor/simulation';

import { HostFolder } from './host-folder.ts';
import { loadScenario } from './load-scenario.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'host-folder-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A host with so many NVIDIA and AMD GPUs. */
function hostWith(nvidia: number, amd: number): GpuHost {
  const boards = [
    ...(nvidia === 0 ? [] : [`{ board: h100-sxm, count: ${nvidia} }`]),
    ...(amd === 0 ? [] : [`{ board: mi300x, count: ${amd} }`]),
  ];
  const loaded = loadScenario(
    'test.yaml',
    () => `
seed: test
host: { name: test, gpus: [${boards.join(', ')}], driver: { nvidia: 570.133.20, cuda: 12.8, amd: 6.12.12 } }
engines: []
traffic: []
`,
  );
  if (!loaded.ok) throw new Error(loaded.message);
  return {
    gpus: new SimulatedWorld(loaded.scenario).gpus.map((gpu) => gpu.state()),
    nvidiaDriver: { version: '570.133.20', cudaVersion: '12.8' },
    amdgpuVersion: '6.12.12',
    startUnixSeconds: 1_790_000_000,
    nowSeconds: 10,
  };
}

/** Any file will do as the program. */
const open = (path = folder): HostFolder => new HostFolder(path, __filename);

const devices = (): string[] => readdirSync(join(folder, 'sys/bus/pci/devices')).sort();

describe('the host folder', () => {
  it('is made with the folders above it, and has a program that everybody may run', () => {
    const deep = join(folder, 'a/b');
    open(deep).write(hostWith(1, 0));
    expect(lstatSync(join(deep, 'bin/nvidia-smi')).mode & 0o777).toBe(0o755);
    expect(existsSync(join(deep, 'nvml.json'))).toBe(true);
  });

  it.each([
    ['below /proc, where nobody makes folders', '/proc/mock-exporter/host'],
    ['below a file', join(__filename, 'host')],
  ])('%s is refused', (_where, path) => {
    expect(() => open(path)).toThrow(/ENOENT|ENOTDIR|EROFS|EPERM/);
  });

  it('loses what is gone from the host, with the folders that are empty then', () => {
    const host = open();
    host.write(hostWith(2, 1));
    const before = devices();
    host.write(hostWith(1, 1));
    expect(devices().length).toBeLessThan(before.length);
    expect(devices()).not.toEqual([]);
  });

  it('has nothing of an earlier run that this one does not write', () => {
    open().write(hostWith(1, 0));
    const expected = devices();
    open().write(hostWith(3, 2));
    expect(devices()).not.toEqual(expected);
    open().write(hostWith(1, 0));
    expect(devices()).toEqual(expected);
  });

  it('keeps the files of others', () => {
    mkdirSync(join(folder, 'sys'));
    writeFileSync(join(folder, 'sys/mine'), '');
    writeFileSync(join(folder, 'mine'), '');
    open().write(hostWith(1, 1));
    open().write(hostWith(1, 0));
    expect([existsSync(join(folder, 'mine')), existsSync(join(folder, 'sys/mine'))]).toEqual([true, true]);
  });

  it.each([
    [
      'leads out of the folder',
      (outside: string) => JSON.stringify([`../${outside}`, join(tmpdir(), outside)]),
    ],
    ['is no list', () => '{"a":1}'],
    ['is no JSON', () => '['],
  ])('removes nothing by a list that %s', (_what, list) => {
    const outside = mkdtempSync(join(tmpdir(), 'outside-'));
    try {
      writeFileSync(join(outside, 'file'), '');
      writeFileSync(join(folder, '.mock-exporter.json'), list(`${outside.slice(tmpdir().length + 1)}/file`));
      open().write(hostWith(1, 0));
      expect(existsSync(join(outside, 'file'))).toBe(true);
    } finally {
      rmSync(outside, { recursive: true });
    }
  });
});
