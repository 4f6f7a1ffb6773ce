import { promisify } from 'node:util';
import { constants, gzip } from 'node:zlib';

import { prefersGzip } from './accept-encoding.ts';
import type { HttpContext } from './http-context.ts';

/** What a scrape asks for; header values as they came. */
export interface MetricsRequest {
  readonly accept: string | undefined;
  /** `X-Prometheus-Scrape-Timeout-Seconds`. */
  readonly scrapeTimeoutSecondsHeader: string | undefined;
  /**
   * Who asks, the same for each scrape of one scraper: address, user agent, and what `?client=` says where several
   * share those two (behind one NAT). For what is told since a client's last scrape; not to be trusted.
   */
  readonly client: string;
  /** Aborts when the scraper goes away, and at the request's deadline. */
  readonly signal: AbortSignal;
}

export interface MetricsAnswer {
  readonly contentType: string;
  /** The text, or its pieces in order, of which some may be UTF-8 already: a large answer is cheaper in pieces. */
  readonly body: string | Iterable<string | Uint8Array>;
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
      client: clientOf(ctx),
      signal: ctx.state.signal,
    });
    ctx.vary('Accept');
    ctx.vary('Accept-Encoding');
    ctx.set('Content-Type', contentType);
    // Each piece becomes bytes before the next is made.
    const pieces = Array.from(typeof body === 'string' ? [body] : body, (piece) =>
      typeof piece === 'string' ? Buffer.from(piece) : piece,
    );
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    if (length < GZIP_FROM_BYTES || !prefersGzip(ctx.headers['accept-encoding'])) {
      ctx.length = length;
      sendPieces(ctx, pieces);
      return;
    }
    ctx.set('Content-Encoding', 'gzip');
    ctx.body = await compress(Buffer.concat(pieces), { level: constants.Z_BEST_SPEED });
  };
}

/**
 * Sends what is there already as it is, in one go. To copy the pieces together makes a large block with each scrape,
 * for which V8 collects garbage so often that the slowest scrapes take twice as long.
 */
function sendPieces(ctx: HttpContext, pieces: readonly Uint8Array[]): void {
  ctx.status = 200;
  ctx.respond = false; // from here on the answer is ours, not Koa's
  for (const piece of pieces) ctx.res.write(piece);
  ctx.res.end();
}

/** More of a header or parameter tells no two scrapers apart, and would only be kept. */
const MAX_CLIENT_WORD = 128;

function clientOf(ctx: HttpContext): string {
  return [ctx.ip, ctx.get('User-Agent'), [ctx.query['client'] ?? ''].flat().join()]
    .map((word) => word.slice(0, MAX_CLIENT_WORD))
    .join(' ')
    .trimEnd();
}
