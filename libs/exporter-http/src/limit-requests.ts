import { RequestError } from './errors.ts';
import { isHealthPath, type HttpMiddleware } from './http-context.ts';

/** Refuses addresses longer than `maxUrlLength` characters with 414, before anything parses them. */
export function limitUrl(maxUrlLength: number): HttpMiddleware {
  return (ctx, next) => {
    if (ctx.url.length <= maxUrlLength) return next();
    throw new RequestError(414, `The address of this request is longer than ${maxUrlLength} characters.`);
  };
}

/**
 * Refuses requests with 503 while `maxConcurrentRequests` run; health endpoints always pass.
 *
 * A request holds its place until its answer is complete and its route has ended: a client that hangs up does not
 * make room for another while the work it started goes on.
 */
export function limitConcurrency(maxConcurrentRequests: number): HttpMiddleware {
  let running = 0;
  return async (ctx, next) => {
    if (isHealthPath(ctx.path)) {
      await next();
      return;
    }
    if (running >= maxConcurrentRequests) {
      throw new RequestError(503, `${maxConcurrentRequests} requests are running already: try again.`, {
        headers: { 'Retry-After': '1' },
      });
    }
    running += 1;
    const closed = new Promise<void>((resolve) => ctx.res.once('close', resolve));
    try {
      await next();
    } finally {
      void closed.then(() => (running -= 1));
    }
  };
}

/**
 * Answers 503 for a route that has not answered within `timeoutSeconds`, and aborts its signal. A route that hands a
 * stream to Koa and returns has answered: the stream may go on.
 */
export function limitDuration(timeoutSeconds: number): HttpMiddleware {
  return async (ctx, next) => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        reject(new RequestError(503, `No answer was ready within ${timeoutSeconds} s.`));
        ctx.state.abort();
      }, timeoutSeconds * 1000).unref(); // a route that hangs keeps no process from ending
    });
    try {
      await Promise.race([next(), late]);
    } finally {
      clearTimeout(timer);
    }
  };
}
