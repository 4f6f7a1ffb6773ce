import { rarelyRead } from './rarely-read.ts';
import { removeTrees, spiedFiles, writeTree } from './test-sysfs.ts';

afterEach(removeTrees);

it.each([
  ['sys/hwmon3/temp1_crit', true],
  ['sys/hwmon3/temp1_label', true],
  ['sys/hwmon3/power1_cap', true],
  ['sys/hwmon3/power1_cap_max', true],
  ['sys/ras/umc_err_count', true],
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
