import { spawn } from 'node:child_process';
import { once } from 'node:events';

import { announcedTouches, touchedGpu } from './touched-gpu.ts';

const onLinux = process.platform === 'linux' ? it : it.skip;

describe('the GPU that is touched', () => {
  const { title } = process;
  afterEach(() => {
    process.title = title;
  });

  it('is in the name of the process while it is touched', () => {
    const { touching } = announcedTouches(undefined);
    touching('0000:8f:00.0');
    expect(process.title).toBe('0000:8f:00.0 gpu-reader');
    touching(undefined);
    expect(process.title).toBe('gpu-reader');
  });

  onLinux.each([
    ['0000:8f:00.0 gpu-reader', '0000:8f:00.0'],
    ['10000:01:00.7 gpu-reader', '10000:01:00.7'],
    ['gpu-reader', undefined],
    ['0000:8f:00.0x', undefined],
  ])('is seen from outside, also while the process is busy: %s', async (name, pciBusId) => {
    const script = `process.title = '${name}'; require('node:fs').writeSync(1, '.'); for (;;);`;
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    expect(touchedGpu(Number(child.pid))).toBe(pciBusId);
    child.kill('SIGKILL');
    await once(child, 'close');
  });

  it('is unknown of a process that is gone', () => {
    expect(touchedGpu(2 ** 30)).toBeUndefined();
  });
});

describe('a GPU that is left out', () => {
  it('is so until its time is over, and others are not', () => {
    let now = 1000;
    const { isLeftOut, afterHang } = announcedTouches([{ pciBusId: 'a', seconds: 60 }], () => now);
    expect(afterHang).toBe(true);
    expect([isLeftOut('a'), isLeftOut('b')]).toEqual([true, false]);
    now += 59.9;
    expect(isLeftOut('a')).toBe(true);
    now += 0.1;
    expect(isLeftOut('a')).toBe(false);
  });

  it('is none before a reader was stuck', () => {
    const { isLeftOut, afterHang } = announcedTouches(undefined);
    expect([isLeftOut('a'), afterHang]).toEqual([false, false]);
  });
});
