import { errorCode, type DeviceFiles } from '../../pci/device-files.ts';

/** Limits, names and modes, which change by hand if at all, and the counters of errors, for which the hardware is asked. */
const SLOW =
  /(_crit|_emergency|_label|_cap|_cap_default|_cap_min|_cap_max|pwm1_max|mem_info_(vram|gtt|vis_vram)_total|\/hwmon\d+|max_link_(speed|width)|_partition|\/name|\/pp_dpm_[sm]clk|\/ras(\/\w+)?)$/;
/** Whether a card sleeps is asked each time, also where there is no such file yet. */
const ALWAYS_ASKED = /\/power(\/runtime_status|_state)$/;
const KEPT_SECONDS = 10;

type Answer<T> = { readonly value: T } | { readonly error: unknown };

/**
 * The files of one card, with those that hardly ever change read every 10 s only, and those that are not there looked for
 * every 10 s only: with eight cards a reading takes two fifths less of the processor. Kept under whole paths, so another number of hwmon is another file.
 */
export function rarelyRead(files: DeviceFiles, nowSeconds: () => number): DeviceFiles {
  const read = keep((file) => files.read(file), nowSeconds);
  const list = keep((folder) => files.list(folder), nowSeconds);
  return { read, list, linkTarget: (link) => files.linkTarget(link) };
}

function keep<T>(ask: (file: string) => T, nowSeconds: () => number): (file: string) => T {
  const kept = new Map<string, { readonly untilSeconds: number; readonly answer: Answer<T> }>();
  return (file) => {
    const before = kept.get(file);
    if (before !== undefined && nowSeconds() < before.untilSeconds) return give(before.answer);
    kept.delete(file);
    const answer = attempt(ask, file);
    const isKept =
      'error' in answer ? errorCode(answer.error) === 'ENOENT' && !ALWAYS_ASKED.test(file) : SLOW.test(file);
    if (isKept) kept.set(file, { untilSeconds: nowSeconds() + KEPT_SECONDS, answer });
    return give(answer);
  };
}

function attempt<T>(ask: (file: string) => T, file: string): Answer<T> {
  try {
    return { value: ask(file) };
  } catch (error) {
    return { error };
  }
}

function give<T>(answer: Answer<T>): T {
  if ('error' in answer) throw answer.error;
  return answer.value;
}
