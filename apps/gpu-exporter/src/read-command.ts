import { createReadStream, statSync } from 'node:fs';
import type { Readable } from 'node:stream';

import { readBounded, TooLargeError } from '@llm-monitor/config';
import {
  BackendError,
  NotRecognizedError,
  readingFamilies,
  readSavedGpuFolder,
  readSavedGpus,
  type SavedGpus,
} from '@llm-monitor/gpus';
import { renderExposition } from '@llm-monitor/metrics-core';

/** What a command printed on each stream, and the code to end with. */
export interface CommandResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: 0 | 1;
}

/** The largest host prints 1.5 MB. */
const MAX_FILE_BYTES = 16 * 1024 ** 2;

/**
 * Turns saved GPU readings into metrics: families to stdout, what was odd to stderr.
 * @param source path of a file or a folder, or `-` for `stdin`
 */
export async function readFileCommand(source: string, stdin: Readable): Promise<CommandResult> {
  const name = source === '-' ? 'standard input' : source;
  try {
    return resultOf(name, await readSource(source, name, stdin));
  } catch (error) {
    return { stdout: '', stderr: `${complaint(name, error)}\n`, exitCode: 1 };
  }
}

async function readSource(source: string, name: string, stdin: Readable): Promise<SavedGpus> {
  if (source !== '-' && statSync(source).isDirectory()) return readSavedGpuFolder(source);
  const stream = source === '-' ? stdin : createReadStream(source);
  return readSavedGpus(await readBounded(stream, MAX_FILE_BYTES), name);
}

function resultOf(name: string, { readAs, reading }: SavedGpus): CommandResult {
  const { gpus, unparsed, driverVersion } = reading;
  const count = `${gpus.length} ${gpus.length === 1 ? 'GPU' : 'GPUs'}`;
  const remarks = [
    `${name} is read as ${readAs}: ${count}${driverVersion === undefined ? '' : `, driver ${driverVersion}`}`,
    ...gpus.flatMap(({ gpu, condition }) => (condition === 'up' ? [] : [`  GPU ${gpu} is ${condition}`])),
    ...unparsed.map(({ field, value }) => `  not understood: ${field} ${JSON.stringify(value)}`),
  ];
  return {
    stdout: renderExposition(readingFamilies(reading), 'text'),
    stderr: `${remarks.join('\n')}\n`,
    exitCode: 0,
  };
}

function complaint(name: string, error: unknown): string {
  if (error instanceof NotRecognizedError) return error.message;
  if (error instanceof BackendError) return `${name}: ${error.message} (${error.reason})`;
  if (error instanceof TooLargeError) {
    return `${name} is larger than ${MAX_FILE_BYTES / 1024 ** 2} MiB, which no such tool prints: is it the right file?`;
  }
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT') return `${name} does not exist: is the path right?`;
  if (code === 'EACCES' || code === 'EPERM') return `${name} may not be read by this user`;
  throw error;
}
