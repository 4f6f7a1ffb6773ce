import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { isUnifiedMemoryDevice, readMemInfo } from './unified-memory.ts';

describe('isUnifiedMemoryDevice', () => {
  it.each([
    ['NVIDIA GB10', true],
    ['Orin (nvgpu)', true],
    ['NVIDIA Thor', true],
    ['NVIDIA Jetson AGX Orin', true],
    ['NVIDIA GB200', false],
    ['NVIDIA GB100', false],
    ['GeForce GTX TITAN X', false],
    ['', false],
    [undefined, false],
  ])('%s: %s', (name, unified) => {
    expect(isUnifiedMemoryDevice(name)).toBe(unified);
  });
});

describe('readMemInfo', () => {
  const procRoot = mkdtempSync(path.join(tmpdir(), 'meminfo-'));
  afterAll(() => rmSync(procRoot, { recursive: true }));

  it.each([
    [
      'MemTotal:       125489508 kB\nMemFree:  7789944 kB\nMemAvailable:   118741172 kB\n',
      { totalBytes: 128501256192, availableBytes: 121590960128 },
    ],
    ['MemTotal:       125489508 kB\nMemFree:  7789944 kB\n', undefined],
    ['MemTotal:       125489508 MB\nMemAvailable:   1 MB\n', undefined],
    ['MemTotal:       1 kB\nMemAvailable:   2 kB\n', undefined],
    ['', undefined],
  ])('reads %j', (text, memory) => {
    writeFileSync(path.join(procRoot, 'meminfo'), text);
    expect(readMemInfo(procRoot)).toEqual(memory);
  });

  it('knows nothing where there is no such file', () => {
    expect(readMemInfo(path.join(procRoot, 'nowhere'))).toBeUndefined();
  });
});
