import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';

const workspaceRoot = path.resolve(__dirname, '../../..');

/** Why a check by promtool is skipped, for the name of a skipped test. */
export const promtoolReason = 'no promtool: run scripts/setup/install-test-tools.sh';

/**
 * Prometheus' own checker: the one on the search path, else the one that scripts/setup/install-test-tools.sh unpacked,
 * else undefined.
 */
export function promtoolPath(searchPath = process.env['PATH'] ?? ''): string | undefined {
  return [...searchPath.split(path.delimiter), path.join(workspaceRoot, '.cache/tools')]
    .filter((folder) => folder !== '')
    .map((folder) => path.join(folder, 'promtool'))
    .find(isExecutable);
}

/**
 * What `promtool check metrics` says of an exposition in the Prometheus text format: `ok` when it has nothing to
 * complain of. Not ok, with the reason as its output, where there is no promtool.
 */
export function runPromtoolCheck(text: string): { readonly ok: boolean; readonly output: string } {
  const promtool = promtoolPath();
  if (promtool === undefined) return { ok: false, output: promtoolReason };
  const { status, stdout, stderr, error } = spawnSync(promtool, ['check', 'metrics'], {
    input: text,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 ** 2,
    timeout: 60_000,
  });
  return { ok: status === 0, output: [stdout, stderr, error?.message ?? ''].join('').trim() };
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false; // absent or not a program: the next folder may have it
  }
}
