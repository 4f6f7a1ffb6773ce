import { errorCode, type DeviceFiles } from '../../pci/device-files.ts';

/**
 * Limits, names and modes, which change by hand if at all; the counters of errors, for which the hardware is asked; and
 * which files there are.
 */
const SLOW =
  /(_crit|_emergency|_label|_cap|_cap_default|_cap_min|_cap_max|pwm1_max|mem_info_(vram|gtt|vis_vram)_total|pcie_replay_count|\/hwmon\d*|max_link_(speed|width)|_partition|\/name|\/pp_dpm_[sm]clk|\/ras(\/\w+)?)$/;
/** Whether a card sleeps is asked each time, also where there is no such file yet. */
const ALWAYS_ASKED = /\/power(\/runtime_status|_state)$/;
const KEPT_SECONDS = 10;

export interface RarelyReadFiles extends DeviceFiles {
  /**
   * Whether a file that was there was found gone since the last call: then the folders are not what they were, and all
   * that was kept has been forgotten.
   */
  takeVanished(): boolean;
  /** Everything is asked anew from now on. */
  forget(): void;
}

type Answer<T> = { readonly value: T } | { readonly error: unknown };

interface Entry<T> {
  readonly isSlow: boolean;
  readonly isAlwaysAsked: boolean;
  /** Whether it was there when it was last asked. */
  wasThere: boolean;
  kept: { readonly untilSeconds: number; readonly answer: Answer<T> } | undefined;
}

/**
 * The files of one card, with those that hardly ever change read every 10 s only, and those that are not there looked for
 * every 10 s only. Kept under whole paths, so another number of hwmon is another file.
 */
export function rarelyRead(files: DeviceFiles, nowSeconds: () => number): RarelyReadFiles {
  let vanished = false;
  const read = new Keeper((file) => files.read(file), nowSeconds, foundGone);
  const list = new Keeper((folder) => files.list(folder), nowSeconds, foundGone);
  function forget(): void {
    read.entries.clear();
    list.entries.clear();
  }
  function foundGone(): void {
    vanished = true;
    forget();
  }
  return {
    read: (file) => read.ask(file),
    list: (folder) => list.ask(folder),
    linkTarget: (link) => files.linkTarget(link),
    takeVanished() {
      const was = vanished;
      vanished = false;
      return was;
    },
    forget,
  };
}

class Keeper<T> {
  readonly entries = new Map<string, Entry<T>>();
  private readonly askNow: (file: string) => T;
  private readonly nowSeconds: () => number;
  private readonly foundGone: () => void;

  constructor(askNow: (file: string) => T, nowSeconds: () => number, foundGone: () => void) {
    this.askNow = askNow;
    this.nowSeconds = nowSeconds;
    this.foundGone = foundGone;
  }

  ask(file: string): T {
    const before = this.entries.get(file);
    if (before?.kept !== undefined && this.nowSeconds() < before.kept.untilSeconds) {
      return give(before.kept.answer);
    }
    const answer = attempt(this.askNow, file);
    const isAbsent = 'error' in answer && errorCode(answer.error) === 'ENOENT';
    if (isAbsent && before?.wasThere === true) this.foundGone();
    const entry = this.entries.get(file) ?? this.add(file);
    entry.wasThere = !('error' in answer);
    const isKept = 'error' in answer ? isAbsent && !entry.isAlwaysAsked : entry.isSlow;
    entry.kept = isKept ? { untilSeconds: this.nowSeconds() + KEPT_SECONDS, answer } : undefined;
    return give(answer);
  }

  private add(file: string): Entry<T> {
    const entry: Entry<T> = {
      isSlow: SLOW.test(file),
      isAlwaysAsked: ALWAYS_ASKED.test(file),
      wasThere: false,
      kept: undefined,
    };
    this.entries.set(file, entry);
    return entry;
  }
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
