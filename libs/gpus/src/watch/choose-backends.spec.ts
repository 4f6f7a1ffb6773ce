import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { GPU_VENDORS } from '../reading.ts';
import { chooseBackends, findNvidiaSmi, hasNvidiaDriver, type HostSigns } from './choose-backends.ts';

const BARE: HostSigns = { pci: [], nvidiaDriver: false, nvidiaSmi: undefined };
const NVIDIA = { pciBusId: '0000:01:00.0', vendor: 'nvidia', suspended: false } as const;
const AMD = { pciBusId: '0000:03:00.0', vendor: 'amd', suspended: false } as const;

describe('chooseBackends', () => {
  it.each<[string, Partial<HostSigns>, boolean, string[]]>([
    ['an NVIDIA GPU on the bus', { pci: [NVIDIA] }, false, ['nvml']],
    ['NVIDIA without a bus (WSL 2, Jetson)', { nvidiaDriver: true }, false, ['nvml']],
    ['only nvidia-smi to be seen', { nvidiaSmi: '/usr/bin/nvidia-smi' }, false, ['nvml']],
    ['no library, but nvidia-smi', { pci: [NVIDIA], nvidiaSmi: '/usr/bin/nvidia-smi' }, true, ['nvidia-smi']],
    ['no library and no nvidia-smi', { pci: [NVIDIA] }, true, ['nvml']],
    ['an AMD GPU', { pci: [AMD] }, false, ['amdgpu']],
    ['both', { pci: [NVIDIA, AMD] }, false, ['nvml', 'amdgpu']],
    ['neither', {}, false, []],
  ])('with %s', (_what, signs, withoutLibrary, backends) => {
    const choice = chooseBackends('auto', { ...BARE, ...signs }, withoutLibrary);
    expect(choice.backends).toEqual(backends);
    expect(choice.nothing === undefined).toBe(backends.length > 0);
  });

  it('says whose GPUs it has looked for in vain', () => {
    const { nothing } = chooseBackends('auto', BARE, false);
    for (const { title } of Object.values(GPU_VENDORS)) expect(nothing).toContain(title);
  });

  it('takes the one that the settings name, whatever the host shows', () => {
    expect(chooseBackends('nvidia-smi', BARE, false)).toEqual({
      backends: ['nvidia-smi'],
      nothing: undefined,
    });
  });
});

describe('what the host shows of NVIDIA', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'choose-backends-'));
    writeFileSync(path.join(folder, 'nvidia-smi'), '#!/bin/sh\n');
    writeFileSync(path.join(folder, 'libnvidia-ml.so.1'), '');
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('is the library that the settings name, also where it is missing: that is to be told', async () => {
    expect(await hasNvidiaDriver('/nowhere/libnvidia-ml.so.1', undefined)).toBe(true);
  });

  it('is a library that the linker would find', async () => {
    expect(await hasNvidiaDriver(undefined, `/nowhere:${folder}`)).toBe(true);
  });

  it('is nvidia-smi on the search path, once it can be run', async () => {
    const searchPath = ['/nowhere', folder].join(path.delimiter);
    const program = path.join(folder, 'nvidia-smi');
    chmodSync(program, 0o644);
    expect(await findNvidiaSmi(undefined, searchPath)).toBeUndefined();
    chmodSync(program, 0o755);
    expect(await findNvidiaSmi(undefined, searchPath)).toBe(program);
  });

  it('is not another nvidia-smi than the one that the settings name', async () => {
    expect(await findNvidiaSmi('/nowhere/nvidia-smi', folder)).toBeUndefined();
  });
});
