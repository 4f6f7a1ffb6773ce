import { promisify } from 'node:util';
import { constants, gzip } from 'node:zlib';

import { prefersGzip } from './accept-encoding.ts';
import type { HttpContext } from './http-context.ts';

/** What a scrape asks for; header values as they came. */
export interface MetricsRequest {
  readonly accept: string | undefined;
  /** `X-Prometheus-Scrape-Timeout-Seconds`. */
  readonly scrapeTimeoutSecondsHeader: string | undefined;
  /** Aborts when the scraper goes away, and at the request's deadline. */
  readonly signal: AbortSignal;
}

export interface MetricsAnswer {
  readonly contentType: string;
  readonly body: string;
}

/** Answers a scrape: the format by negotiation, of which Accept is the input. */
export type AnswerMetrics = (request: MetricsRequest) => Promise<MetricsAnswer>;

/** Below this the header and the work cost more than the bytes that gzip saves. */
const GZIP_FROM_BYTES = 1024;

const compress = promisify(gzip);

/** The route of `GET /metrics`: `answer`'s text, compressed when the scraper wants that, off the event loop. */
export function metricsRoute(answer: AnswerMetrics): (ctx: HttpContext) => Promise<void> {
  return async (ctx) => {
    const { contentType, body } = await answer({
      accept: ctx.headers.accept,
      scrapeTimeoutSecondsHeader: ctx.get('X-Prometheus-Scrape-Timeout-Seconds') || undefined,
      signal: ctx.state.signal,
    });
    ctx.vary('Accept');
    ctx.vary('Accept-Encoding');
    ctx.set('Content-Type', contentType);
    const bytes = Buffer.from(body);
    if (bytes.length < GZIP_FROM_BYTES || !prefersGzip(ctx.headers['accept-encoding'])) {
      ctx.body = bytes;
      return;
    }
    ctx.set('Content-Encoding', 'gzip');
    ctx.body = await compress(bytes, { level: constants.Z_BEST_SPEED });
  };
}
