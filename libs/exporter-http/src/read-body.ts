import { RequestError } from './errors.ts';
import type { HttpContext } from './http-context.ts';

/**
 * Reads a request's body.
 *
 * @throws RequestError 413 over `limitBytes` (declared or counted), 415 when compressed, 400 when it ends early.
 */
export async function readBody(ctx: HttpContext, limitBytes: number): Promise<Buffer> {
  const encoding = ctx.get('Content-Encoding');
  if (encoding !== '' && encoding.toLowerCase() !== 'identity') {
    throw new RequestError(415, 'The body of this request is compressed: send it as it is.');
  }
  if ((ctx.request.length ?? 0) > limitBytes) throw tooLarge(limitBytes);
  return collect(ctx, limitBytes);
}

async function collect(ctx: HttpContext, limitBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  const { signal } = ctx.state;
  const abort = () => ctx.req.destroy();
  signal.addEventListener('abort', abort, { once: true });
  try {
    for await (const chunk of ctx.req.iterator({ destroyOnReturn: false })) {
      if (!(chunk instanceof Buffer)) throw new TypeError('A request body must be read as bytes.');
      length += chunk.length;
      if (length > limitBytes) throw tooLarge(limitBytes);
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof RequestError) throw error;
    throw new RequestError(400, 'The body of this request ended before it was complete.');
  } finally {
    signal.removeEventListener('abort', abort);
  }
  return Buffer.concat(chunks, length);
}

/** The rest of the body is unread, so the connection cannot serve another request. */
function tooLarge(limitBytes: number): RequestError {
  return new RequestError(413, `The body of this request is larger than ${limitBytes} bytes.`, {
    headers: { Connection: 'close' },
  });
}
