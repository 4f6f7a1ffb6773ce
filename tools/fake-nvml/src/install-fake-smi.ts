import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const PROGRAM = path.resolve(__dirname, '../shim/nvidia-smi.mjs');

/** Where the fake nvidia-smi writes down each run: the file that NVIDIA_FAKE_CALL_LOG names for the library. */
export interface FakeSmiOptions {
  readonly callLog?: string;
}

/**
 * Puts a program named `nvidia-smi` into a folder, to be called by its path or found on a search path.
 * @param hostFile the host that it tells of, read at each run: see `writeFakeHost`
 * @returns path of the program
 */
export function installFakeSmi(folder: string, hostFile: string, { callLog }: FakeSmiOptions = {}): string {
  mkdirSync(folder, { recursive: true });
  const program = path.join(folder, 'nvidia-smi');
  const settings = [
    `export NVIDIA_FAKE_CONFIG=${quote(hostFile)}`,
    ...(callLog === undefined ? [] : [`export NVIDIA_FAKE_CALL_LOG=${quote(callLog)}`]),
  ];
  const command = `exec ${quote(process.execPath)} ${quote(PROGRAM)} "$@"`;
  writeFileSync(program, ['#!/bin/sh', ...settings, command, ''].join('\n'));
  chmodSync(program, 0o755);
  return program;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
