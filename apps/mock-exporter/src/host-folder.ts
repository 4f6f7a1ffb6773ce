import { chmodSync, copyFileSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import {
  amdgpuTree,
  fakeNvmlHost,
  kernelLogRecords,
  mergeTrees,
  pciTree,
  procTree,
  type FileTree,
  type GpuHost,
  type TreeEntry,
} from '@llm-monitor/simulation';

/** The files of a simulated host below one folder, kept as the world is. */
export class HostFolder {
  readonly socketFolder: string;
  private readonly folder: string;
  private written: FileTree = new Map();

  /**
   * Makes the folder.
   * @param smiScript the bundled program that is to be `nvidia-smi`
   * @throws what the file system does, as where the folder cannot be written
   */
  constructor(folder: string, smiScript: string) {
    this.folder = folder;
    this.socketFolder = join(folder, 'bin');
    mkdirSync(this.socketFolder, { recursive: true });
    const program = join(this.socketFolder, 'nvidia-smi');
    copyFileSync(smiScript, program);
    chmodSync(program, 0o755);
  }

  /** Writes what has changed, each file at once, and removes what is gone. */
  write(host: GpuHost): void {
    const tree = mergeTrees(
      pciTree(host),
      amdgpuTree(host),
      procTree(host),
      new Map<string, TreeEntry>([
        ['nvml.json', `${JSON.stringify(fakeNvmlHost(host))}\n`],
        ['kmsg', kernelLogRecords(host)],
      ]),
    );
    for (const [path, entry] of tree) {
      if (!isSame(this.written.get(path), entry)) writeEntry(join(this.folder, path), entry);
    }
    for (const path of this.written.keys()) {
      if (!tree.has(path)) rmSync(join(this.folder, path), { force: true });
    }
    this.written = tree;
  }
}

function isSame(before: TreeEntry | undefined, entry: TreeEntry): boolean {
  if (before === undefined || typeof before !== typeof entry) return false;
  if (typeof entry === 'string') return before === entry;
  return JSON.stringify(before) === JSON.stringify(entry);
}

/** Readers see the old file or the new one, never a half. */
function writeEntry(path: string, entry: TreeEntry): void {
  mkdirSync(dirname(path), { recursive: true });
  const beside = `${path}.new`;
  rmSync(beside, { force: true });
  if (typeof entry === 'string' || entry instanceof Uint8Array) writeFileSync(beside, entry);
  else symlinkSync(entry.linkTo, beside);
  renameSync(beside, path);
}
