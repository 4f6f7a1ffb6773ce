import type { Logger } from 'pino';

import type { HttpMiddleware } from './http-context.ts';
import type { HttpMetrics } from './http-families.ts';

/** The status that nginx gives a request whose client left before an answer; nothing is sent with it. */
const CLIENT_LEFT = 499;

const LOGGED_PATH_LENGTH = 200;

/**
 * Gives each request the signal that aborts when its client leaves, and counts and logs it when it ends: a line at
 * debug, at warn for refused credentials, at info for a failure of ours. Neither the query nor a header is logged.
 */
export function observeRequests({
  metrics,
  log,
  patternOf,
}: {
  metrics: HttpMetrics;
  log: Logger;
  patternOf: (path: string, method: string) => string;
}): HttpMiddleware {
  return (ctx, next) => {
    const startedMilliseconds = performance.now();
    const { method, path, res } = ctx;
    const work = new AbortController();
    ctx.state.signal = work.signal;
    ctx.state.abort = () => work.abort();
    metrics.started();
    res.once('close', () => {
      const isComplete = res.writableFinished;
      const status = isComplete || res.headersSent ? res.statusCode : CLIENT_LEFT;
      const durationSeconds = (performance.now() - startedMilliseconds) / 1000;
      metrics.ended({ pattern: patternOf(path, method), method, status, durationSeconds });
      log[levelOf(status)](
        {
          method,
          path: path.slice(0, LOGGED_PATH_LENGTH),
          status,
          durationSeconds,
          ...(isComplete ? {} : { cut: true }),
        },
        'request',
      );
      if (!isComplete) work.abort();
    });
    return next();
  };
}

function levelOf(status: number): 'debug' | 'info' | 'warn' {
  if (status === 401) return 'warn';
  return status >= 500 ? 'info' : 'debug';
}
