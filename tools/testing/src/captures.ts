import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';

const workspaceRoot = path.resolve(__dirname, '../../..');

/** The folder of real outputs of engines and GPUs, or undefined where it is not there (a plain clone). */
export function capturesDirectory(): string | undefined {
  const directory = path.resolve(workspaceRoot, process.env['LLM_MONITOR_CAPTURES'] ?? '../shared/captures');
  return existsSync(directory) ? directory : undefined;
}

/** Why captures are not there, for the name of a skipped test. */
export const capturesReason = 'no captures: set LLM_MONITOR_CAPTURES to their folder';

/** All files below a folder of the captures, as paths relative to it, sorted; none when there are no captures. */
export function captureFiles(folder: string): string[] {
  const root = capturesDirectory();
  if (root === undefined || !existsSync(path.join(root, folder))) return [];
  return readdirSync(path.join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(path.join(root, folder), path.join(entry.parentPath, entry.name)))
    .sort();
}
