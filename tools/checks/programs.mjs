// What the tests of the shell scripts run: programs of this host, in a folder that has no others.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const workspaceRoot = fileURLToPath(new URL('../..', import.meta.url));

/** What the scripts use beside the programs that are faked. */
const USED =
  'bash awk cat cut dirname env expr grep head id install mkdir mktemp paste printf readlink rm sed setsid sleep sort stat tail timeout tr wc xargs';

/** A new folder with those programs, for a PATH. */
export function linkPrograms() {
  const folder = mkdtempSync(join(tmpdir(), 'llm-monitor-programs-'));
  for (const program of USED.split(' ')) symlinkSync(pathOf(program), join(folder, program));
  return folder;
}

/** @param {string} program @param {boolean} [optional] whether it may be absent, which gives '' */
export function pathOf(program, optional = false) {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), join(workspaceRoot, '.cache/tools')];
  const found = folders.map((path) => join(path, program)).find((path) => existsSync(path));
  assert.ok(found !== undefined || optional, `${program} is not on PATH`);
  return found ?? '';
}
