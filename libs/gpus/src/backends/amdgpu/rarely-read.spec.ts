import path from 'node:path';

import { removeTrees, spiedFiles, writeTree } from '../../test-sysfs.ts';
import { rarelyRead } from './rarely-read.ts';

afterEach(removeTrees);

it.each([
  ['sys/hwmon3/temp1_crit', true],
  ['sys/hwmon3/temp1_label', true],
  ['sys/hwmon3/power1_cap', true],
  ['sys/hwmon3/power1_cap_max', true],
  ['sys/ras/umc_err_count', true],
  ['sys/pcie_replay_count', true],
  ['sys/pp_dpm_sclk', true],
  ['sys/mem_info_vram_total', true],
  ['sys/hwmon3/temp1_input', false],
  ['sys/hwmon3/power1_average', false],
  ['sys/gpu_busy_percent', false],
  ['sys/current_link_speed', false],
  ['sys/power/runtime_status', false],
  ['sys/mem_info_vram_used', false],
])('%s is kept for 10 s: %s', (file, kept) => {
  const tree = writeTree({ [file]: 'one' });
  let nowSeconds = 0;
  const files = rarelyRead(spiedFiles(), () => nowSeconds);
  const text = () => files.read(`${tree.root}/${file}`).toString();
  expect(text()).toBe('one');
  tree.write({ [file]: 'two' });
  nowSeconds = 9.9;
  expect(text()).toBe(kept ? 'one' : 'two');
  nowSeconds = 10;
  expect(text()).toBe('two');
});

it.each([
  ['ENOENT', 'gpu_busy_percent', 1],
  ['ENOENT', 'power/runtime_status', 2],
  ['ENOENT', 'power_state', 2],
  ['EINVAL', 'gpu_busy_percent', 2],
  ['EIO', 'gpu_busy_percent', 2],
])('%s of %s: asked %i times in 10 s', (code, file, times) => {
  const spied = spiedFiles({ [file]: code });
  const files = rarelyRead(spied, () => 0);
  for (const _ of [1, 2]) expect(() => files.read(`/sys/${file}`)).toThrow(code);
  expect(spied.opened).toHaveLength(times);
});

describe('a file that vanishes', () => {
  function kept() {
    const tree = writeTree({ 'sys/power1_cap': 'one', 'sys/gpu_busy_percent': '5' });
    const spied = spiedFiles();
    const files = rarelyRead(spied, () => 0);
    const text = (name: string) => files.read(path.join(tree.sysfs, name)).toString();
    return { tree, spied, files, text };
  }

  it('is told of once, and all that was kept is asked anew', () => {
    const { tree, files, text } = kept();
    expect([text('power1_cap'), text('gpu_busy_percent'), files.takeVanished()]).toEqual(['one', '5', false]);
    tree.write({ 'sys/power1_cap': 'two' });
    tree.remove('sys/gpu_busy_percent');
    expect(text('power1_cap')).toBe('one');
    expect(() => text('gpu_busy_percent')).toThrow('ENOENT');
    expect([text('power1_cap'), files.takeVanished(), files.takeVanished()]).toEqual(['two', true, false]);
    expect(() => text('gpu_busy_percent')).toThrow('ENOENT');
    expect(files.takeVanished()).toBe(false);
  });

  it('is not one that never was there', () => {
    const { files, text } = kept();
    expect(() => text('mem_busy_percent')).toThrow('ENOENT');
    expect(files.takeVanished()).toBe(false);
  });

  it('is not one that fails otherwise', () => {
    const errors: Record<string, string> = {};
    const tree = writeTree({ 'sys/gpu_busy_percent': '5' });
    const files = rarelyRead(spiedFiles(errors), () => 0);
    const file = path.join(tree.sysfs, 'gpu_busy_percent');
    files.read(file);
    errors['gpu_busy_percent'] = 'EIO';
    expect(() => files.read(file)).toThrow('EIO');
    expect(files.takeVanished()).toBe(false);
  });
});
