import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';

import { readBounded, TooLargeError } from '@llm-monitor/config';
import {
  readSaved,
  TargetError,
  TranscriptError,
  type EngineName,
  type SavedReading,
} from '@llm-monitor/engines';
import { renderExposition } from '@llm-monitor/metrics-core';

/** What a command printed on each stream, and the code to end with. */
export interface CommandResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: 0 | 1;
}

/** No engine answers with more, and no file of ours is larger. */
const MAX_FILE_BYTES = 16 * 1024 ** 2;

/**
 * Normalizes a saved answer of an engine: its families to stdout, what was odd in it to stderr.
 * @param file path, or `-` for `stdin`
 */
export async function readFileCommand(
  file: string,
  engine: EngineName | undefined,
  stdin: Readable,
): Promise<CommandResult> {
  const name = file === '-' ? 'standard input' : file;
  try {
    const text = await readBounded(file === '-' ? stdin : createReadStream(file), MAX_FILE_BYTES);
    return resultOf(name, await readSaved(text, name, engine));
  } catch (error) {
    return { stdout: '', stderr: `${complaint(name, error)}\n`, exitCode: 1 };
  }
}

function resultOf(name: string, { engine, detectedBy, reading }: SavedReading): CommandResult {
  const remarks = [
    `${name} is read as ${engine} (${detectedBy})`,
    ...reading.issues.map(
      ({ kind, count, example }) => `  ${kind}, ${count} times, first: ${JSON.stringify(example)}`,
    ),
    ...(reading.missing.length === 0 ? [] : [`  missing: ${reading.missing.join(', ')}`]),
    ...(reading.up ? [] : reading.errors.map(({ message }) => `  ${message}`)),
  ];
  return {
    stdout: renderExposition(reading.families, 'text'),
    stderr: `${remarks.join('\n')}\n`,
    exitCode: reading.up ? 0 : 1,
  };
}

function complaint(name: string, error: unknown): string {
  if (error instanceof TargetError) return error.message;
  if (error instanceof TranscriptError) return `${name}: ${error.message}`;
  if (error instanceof TooLargeError) {
    return `${name} is larger than ${MAX_FILE_BYTES / 1024 ** 2} MiB, which is no answer of an engine: cut it down to the part in question`;
  }
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT') return `${name} does not exist: is the path right?`;
  if (code === 'EISDIR') return `${name} is a folder: name a file in it`;
  if (code === 'EACCES' || code === 'EPERM') return `${name} may not be read by this user`;
  throw error;
}
