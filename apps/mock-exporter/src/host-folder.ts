import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
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
  type ProcessFacts,
  type TreeEntry,
} from '@llm-monitor/simulation';

import { makeFolder, readFileList, removeFile } from './folder-files.ts';

const KERNEL_LOG = 'kmsg';
/** Names what was written, so that the next run can remove what it does not write itself. */
const FILE_LIST = '.mock-exporter.json';

/** The files of a simulated host below one folder, kept as the world is. */
export class HostFolder {
  readonly socketFolder: string;
  private readonly folder: string;
  private written: FileTree = new Map();
  /** What may be there: of this run, and until the first write of the one before. */
  private paths: ReadonlySet<string>;

  /**
   * Makes the folder. What an earlier run left in it is gone after the first write; other files are left alone.
   * @param smiScript the bundled program that is to be `nvidia-smi`
   * @throws what the file system does, as where the folder cannot be written
   */
  constructor(folder: string, smiScript: string) {
    this.folder = folder;
    this.socketFolder = join(folder, 'bin');
    makeFolder(this.socketFolder);
    this.paths = new Set(readFileList(join(folder, FILE_LIST)));
    const program = join(this.socketFolder, 'nvidia-smi');
    copyFileSync(smiScript, `${program}.new`);
    chmodSync(`${program}.new`, 0o755);
    renameSync(`${program}.new`, program); // Somebody may be running the one of an earlier run.
  }

  /**
   * Writes what has changed, each file at once, and removes what is gone.
   * @param facts of the engines' processes, by PID
   */
  write(host: GpuHost, facts: ReadonlyMap<number, ProcessFacts> = new Map()): void {
    const tree = mergeTrees(
      pciTree(host),
      amdgpuTree(host),
      procTree(host, facts),
      new Map<string, TreeEntry>([
        ['nvml.json', `${JSON.stringify(fakeNvmlHost(host))}\n`],
        [KERNEL_LOG, kernelLogRecords(host)],
      ]),
    );
    this.removeAllBut(tree);
    for (const [path, entry] of tree) {
      const before = this.written.get(path);
      if (isSame(before, entry)) continue;
      const file = join(this.folder, path);
      const added = path === KERNEL_LOG ? addedTo(before, entry) : undefined;
      if (added === undefined) writeEntry(file, entry);
      else appendFileSync(file, added);
    }
    this.written = tree;
  }

  private removeAllBut(tree: FileTree): void {
    const gone = [...this.paths].filter((path) => !tree.has(path));
    if ([...tree.keys()].some((path) => !this.paths.has(path))) {
      // Ahead of the files, so that a run that is killed in between leaves none that is not listed.
      writeEntry(join(this.folder, FILE_LIST), `${JSON.stringify([...tree.keys(), ...gone])}\n`);
    }
    for (const path of gone) removeFile(this.folder, path);
    this.paths = new Set(tree.keys());
  }
}

function isSame(before: TreeEntry | undefined, entry: TreeEntry): boolean {
  if (before === undefined || typeof before !== typeof entry) return false;
  if (typeof entry === 'string') return before === entry;
  return JSON.stringify(before) === JSON.stringify(entry);
}

/** Who follows a log has the file open: it must stay the same one. @returns undefined where more than the end is new */
function addedTo(before: TreeEntry | undefined, entry: TreeEntry): string | undefined {
  if (typeof before !== 'string' || typeof entry !== 'string') return undefined;
  return entry.startsWith(before) ? entry.slice(before.length) : undefined;
}

/** Readers see the old file or the new one, never a half. */
function writeEntry(path: string, entry: TreeEntry): void {
  makeFolder(dirname(path));
  const beside = `${path}.new`;
  rmSync(beside, { force: true });
  if (typeof entry === 'string' || entry instanceof Uint8Array) writeFileSync(beside, entry);
  else symlinkSync(entry.linkTo, beside);
  renameSync(beside, path);
}
