import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync } from 'node:fs';

/**
 * Files of the kernel (sysfs, procfs) as they are read: at once, for they have no waiting of their own, save that of a
 * driver that hangs, which is why they are read in a process apart. Each throws what Node throws, with its `code`.
 */
export interface DeviceFiles {
  read(file: string): Buffer;
  list(folder: string): readonly string[];
  linkTarget(link: string): string;
}

export const hostFiles: DeviceFiles = {
  read: readQuickly,
  list: (folder) => readdirSync(folder),
  linkTarget: (link) => readlinkSync(link),
};

/** Files are read by the hundred each second: one buffer for all, and no look at a size that the kernel makes up. */
const buffer = Buffer.allocUnsafeSlow(2 ** 16);
/**
 * The kernel gives a page at a time, less up to one record where a file has records: what is shorter than half a page is
 * all there is.
 */
const HALF_PAGE_BYTES = 2048;

function readQuickly(file: string): Buffer {
  const descriptor = openSync(file, 'r');
  try {
    const content = Buffer.from(buffer.subarray(0, readSync(descriptor, buffer)));
    return content.length < HALF_PAGE_BYTES ? content : Buffer.concat([content, readFileSync(descriptor)]);
  } finally {
    closeSync(descriptor);
  }
}

/** The text of a file up to its first NUL (some archivers pad sysfs files to a page), trimmed; throws as `read` does. */
export function readText(files: DeviceFiles, file: string): string {
  const content = files.read(file);
  const end = content.indexOf(0);
  return content.toString('latin1', 0, end < 0 ? content.length : end).trim();
}

/** As `readText`, undefined where the file is not there, cannot be read or is empty. */
export function findText(files: DeviceFiles, file: string): string | undefined {
  try {
    const text = readText(files, file);
    return text === '' ? undefined : text;
  } catch {
    return undefined; // The file is a fact that is nice to have: why it is not there changes nothing.
  }
}

/** Entries of a folder; none where it is not there or cannot be read. */
export function findEntries(files: DeviceFiles, folder: string): readonly string[] {
  try {
    return files.list(folder);
  } catch {
    return [];
  }
}

/** `ENOENT`, `EIO`, ... of an error of the kernel; `UNKNOWN` for anything else. */
export function errorCode(error: unknown): string {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : 'UNKNOWN';
}
