// What tests depend on outside the workspace, as one line of text: an input of every cached test run (nx.json), so
// that a run with captures or promtool is never answered from the cache of a run without them.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createHash } from 'node:crypto';

const workspaceRoot = fileURLToPath(new URL('../..', import.meta.url));
const captures = resolve(workspaceRoot, process.env['LLM_MONITOR_CAPTURES'] ?? '../shared/captures');
const programFolders = [...(process.env['PATH'] ?? '').split(delimiter), join(workspaceRoot, '.cache/tools')];

console.log(
  JSON.stringify({
    captures: existsSync(captures) ? fingerprint(captures) : 'absent',
    llamaServer: existsSync(join(workspaceRoot, '../shared/tools/llama-server-up.sh')),
    promtool: isThere('promtool'),
    compiler: isThere('gcc') || isThere('cc'),
  }),
);

/** @param {string} program */
function isThere(program) {
  return programFolders.some((folder) => folder !== '' && existsSync(join(folder, program)));
}

/** @param {string} folder */
function fingerprint(folder) {
  const hash = createHash('sha256');
  for (const name of /** @type {string[]} */ (readdirSync(folder, { recursive: true })).sort()) {
    const { size, mtimeMs } = statSync(join(folder, name));
    hash.update(`${name}\0${size}\0${mtimeMs}\n`);
  }
  return hash.digest('hex');
}
