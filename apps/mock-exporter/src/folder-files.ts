import { mkdirSync, readFileSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';

/**
 * Makes a folder and those above it. Node's own recursive `mkdir` does not return where nobody can make folders, as
 * below /proc (Node 20).
 * @throws what the file system does
 */
export function makeFolder(path: string): void {
  try {
    mkdirSync(path);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EEXIST' && statSync(path).isDirectory()) return;
    if (code !== 'ENOENT' || dirname(path) === path) throw error;
    makeFolder(dirname(path));
    mkdirSync(path);
  }
}

/** Removes a file, and the folders that are empty without it: readers take a folder of a device for the device. */
export function removeFile(folder: string, path: string): void {
  rmSync(join(folder, path), { force: true });
  for (let above = dirname(path); above !== '.'; above = dirname(above)) {
    try {
      rmdirSync(join(folder, above));
    } catch {
      return; // Something else is in it, or it is gone.
    }
  }
}

/**
 * Reads a list of files below a folder.
 * @returns none where there is no such list, or what is no list; paths that lead out of the folder are left out
 */
export function readFileList(path: string): readonly string[] {
  try {
    const list: unknown = JSON.parse(readFileSync(path, 'utf8'));
    return Array.isArray(list) ? list.filter(isBelow) : [];
  } catch {
    return []; // An earlier run that left no list left nothing that is known to be its own.
  }
}

function isBelow(path: unknown): path is string {
  return typeof path === 'string' && path !== '' && !isAbsolute(path) && !path.split('/').includes('..');
}

function codeOf(error: unknown): string | undefined {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : undefined;
}
