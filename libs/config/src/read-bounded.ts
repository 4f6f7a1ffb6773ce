import type { Readable } from 'node:stream';

/** More came than was allowed. */
export class TooLargeError extends Error {
  override readonly name = 'TooLargeError';
}

/**
 * The whole of a stream as UTF-8 text.
 * @throws TooLargeError as soon as more than `maxBytes` came; the stream is destroyed then.
 */
export async function readBounded(stream: Readable, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream as AsyncIterable<Buffer | string>) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    size += bytes.length;
    // Leaving the loop destroys the stream.
    if (size > maxBytes) throw new TooLargeError(`more than ${maxBytes} bytes`);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks, size).toString('utf8');
}
