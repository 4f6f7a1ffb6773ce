import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { hostFiles, type DeviceFiles } from './pci/device-files.ts';

/** What the tests of backends share: sysfs trees in a temporary folder, and a watch on what is opened. */
export interface Tree {
  readonly root: string;
  readonly sysfs: string;
  readonly proc: string;
  /** Adds files, by path below the root. A value that begins with `->` is a link. */
  write(files: Readonly<Record<string, string | Buffer>>): void;
  remove(folder: string): void;
}

const roots: string[] = [];

export function writeTree(files: Readonly<Record<string, string | Buffer>>): Tree {
  const root = mkdtempSync(path.join(tmpdir(), 'sysfs-'));
  roots.push(root);
  const tree: Tree = {
    root,
    sysfs: path.join(root, 'sys'),
    proc: path.join(root, 'proc'),
    write(added) {
      for (const [name, content] of Object.entries(added)) {
        const file = path.join(root, name);
        mkdirSync(path.dirname(file), { recursive: true });
        if (typeof content === 'string' && content.startsWith('->')) symlinkSync(content.slice(2), file);
        else writeFileSync(file, content);
      }
    },
    remove: (folder) => rmSync(path.join(root, folder), { recursive: true }),
  };
  mkdirSync(tree.sysfs);
  mkdirSync(tree.proc);
  tree.write(files);
  return tree;
}

export function removeTrees(): void {
  for (const root of roots.splice(0)) rmSync(root, { recursive: true, force: true });
}

/** Reads of the host's files, each path remembered; those named in `errors` (by the end of their path) fail with a code. */
export function spiedFiles(
  errors: Readonly<Record<string, string>> = {},
): DeviceFiles & { readonly opened: string[] } {
  const opened: string[] = [];
  const watch = (file: string): void => {
    opened.push(file);
    const code = Object.entries(errors).find(([end]) => file.endsWith(end))?.[1];
    if (code !== undefined) throw Object.assign(new Error(`${code}: ${file}`), { code });
  };
  return {
    opened,
    read(file) {
      watch(file);
      return hostFiles.read(file);
    },
    list(folder) {
      watch(folder);
      return hostFiles.list(folder);
    },
    linkTarget(link) {
      watch(link);
      return hostFiles.linkTarget(link);
    },
  };
}
