import type { NamedValue, Secret } from '@llm-monitor/config';

import type { ConfiguredTarget } from './target-book.ts';
import type { TargetSetting } from './target-setting.ts';

/** The settings about targets that every app which reads engines has. */
export interface TargetSettings {
  readonly targets: readonly NamedValue<TargetSetting>[];
  readonly targetToken: Secret<string> | undefined;
}

/** Targets with their keys, or what is wrong with the files that hold them. */
export type TargetsRead =
  | { readonly ok: true; readonly targets: readonly ConfiguredTarget[] }
  | { readonly ok: false; readonly problems: readonly string[] };

/**
 * The configured targets, each with its key: the one in its `tokenFile`, else the common one.
 * Every file that cannot be used is told at once; a key is never part of what is told.
 */
export function readTargets(
  { targets, targetToken }: TargetSettings,
  readFile: (path: string) => string,
): TargetsRead {
  const problems: string[] = [];
  const read = targets.map(({ name, value: { url, engine, tokenFile } }): ConfiguredTarget => {
    const token = tokenFile === undefined ? targetToken?.reveal() : keyIn(name, tokenFile);
    return {
      server: name,
      endpoint: { url, ...(token === undefined ? {} : { bearerToken: token }) },
      ...(engine === undefined ? {} : { engine }),
    };
  });
  return problems.length === 0 ? { ok: true, targets: read } : { ok: false, problems };

  function keyIn(name: string, path: string): string | undefined {
    const complain = (what: string): undefined => {
      problems.push(`tokenFile of target ${name} (${path}): ${what}`);
      return undefined;
    };
    let content: string;
    try {
      content = readFile(path);
    } catch (error) {
      const code =
        typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : 'unknown error';
      return complain(`cannot be read (${code}): is the path right, and may this user read it?`);
    }
    const key = content.replace(/^\uFEFF/, '').trim();
    if (key === '') return complain('is empty: write the key into it');
    return /^[\x21-\x7e]+$/.test(key)
      ? key
      : complain('holds something that no HTTP header can carry: one key, on one line');
  }
}
