import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { errorCode, findText, hostFiles } from './device-files.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'device-files-'));

afterAll(() => rmSync(folder, { recursive: true }));

it.each([0, 1, 2047, 2048, 4095, 4096, 65_535, 65_536, 65_537, 200_000])('reads %i bytes whole', (bytes) => {
  const content = Buffer.from(Array.from({ length: bytes }, (_, index) => index % 251));
  const file = path.join(folder, String(bytes));
  writeFileSync(file, content);
  expect(hostFiles.read(file).equals(content)).toBe(true);
});

it('gives contents that no later read changes', () => {
  const [one, other] = ['one', 'other'].map((text) => path.join(folder, text));
  for (const file of [one, other]) writeFileSync(file ?? '', path.basename(file ?? ''));
  const first = hostFiles.read(one ?? '');
  hostFiles.read(other ?? '');
  expect(first.toString()).toBe('one');
});

it('throws what the system says, and leaves no file open', () => {
  expect(failureOf(() => hostFiles.read(path.join(folder, 'none')))).toBe('ENOENT');
  // The system gives the lowest number that is free.
  const nextDescriptor = () => {
    const descriptor = openSync(folder, 'r');
    closeSync(descriptor);
    return descriptor;
  };
  const before = nextDescriptor();
  expect(failureOf(() => hostFiles.read(folder))).toBe('EISDIR');
  expect(nextDescriptor()).toBe(before);
});

it.each([
  ['7\n', '7'],
  [`7\n${'\0'.repeat(4094)}`, '7'],
  ['\n', undefined],
])('finds in %j the text %j', (content, text) => {
  const file = path.join(folder, 'text');
  writeFileSync(file, content);
  expect(findText(hostFiles, file)).toBe(text);
});

function failureOf(read: () => Buffer): string | undefined {
  try {
    read();
    return undefined;
  } catch (error) {
    return errorCode(error);
  }
}
