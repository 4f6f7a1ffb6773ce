import { randomBytes } from 'node:crypto';

import type { Logger } from 'pino';

import { RequestError } from './errors.ts';
import type { HttpContext, HttpMiddleware } from './http-context.ts';

/**
 * The boundary of one request: what is thrown below becomes an answer, as JSON or text by Accept.
 *
 * A refusal ({@link RequestError}, or Koa's `ctx.throw` with a status below 500) is told as it is. Anything else is a
 * bug: its sender gets an id, and the log has the error under the same id.
 */
export function answerErrors(log: Logger, app: string): HttpMiddleware {
  return async (ctx, next) => {
    try {
      await next();
    } catch (error) {
      if (ctx.res.destroyed && isAbort(error)) return; // the route stopped because its client left
      const refusal = asRefusal(error) ?? unexpected(error);
      if (ctx.res.headersSent) ctx.res.destroy();
      else answer(ctx, refusal);
    }

    function unexpected(error: unknown): RequestError {
      const requestId = randomBytes(4).toString('hex');
      log.error({ err: error, requestId, method: ctx.method }, 'request failed');
      return new RequestError(
        500,
        `Internal error ${requestId}: the log of ${app} has its cause under that id.`,
        { facts: { requestId } },
      );
    }
  };
}

function isAbort(error: unknown): boolean {
  return isObject(error) && 'name' in error && error.name === 'AbortError';
}

/** Told by their fields, as Koa tells them: `ctx.throw` and its libraries each have a class of their own. */
function asRefusal(error: unknown): RequestError | undefined {
  if (error instanceof RequestError) return error;
  if (!isObject(error) || !('expose' in error) || error.expose !== true) return undefined;
  if (!('status' in error && typeof error.status === 'number')) return undefined;
  return new RequestError(error.status, 'message' in error ? String(error.message) : '');
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

/** Headers that described the body the route did not get to send. */
const BODY_HEADERS = ['Content-Encoding', 'Content-Disposition', 'Content-Range', 'ETag', 'Last-Modified'];

function answer(ctx: HttpContext, { status, message, headers, facts }: RequestError): void {
  for (const name of BODY_HEADERS) ctx.remove(name);
  ctx.status = status;
  ctx.set({ ...headers });
  ctx.vary('Accept');
  if (ctx.accepts('text', 'html', 'json') === 'json') {
    ctx.type = 'json';
    ctx.body = JSON.stringify({ error: { status, message, ...facts } });
  } else {
    ctx.type = 'text';
    ctx.body = `${message}\n`;
  }
}
