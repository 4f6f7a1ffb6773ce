import { renameSync, writeFileSync } from 'node:fs';

import type { FakeHost } from './fake-host.ts';

let written = 0;

/**
 * Writes the host for the fake library and the fake nvidia-smi, whole or not at all, also under a reader that runs.
 * @param file what NVIDIA_FAKE_CONFIG names
 */
export function writeFakeHost(file: string, host: FakeHost): void {
  const unfinished = `${file}.${process.pid}.unfinished`;
  written += 1;
  // A file system may give the same inode and time to a file written soon after: then its length tells it apart.
  writeFileSync(unfinished, JSON.stringify(host, undefined, 1) + '\n'.repeat(1 + (written % 61)));
  renameSync(unfinished, file);
}
