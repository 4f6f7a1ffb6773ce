import type { IncomingHttpHeaders } from 'node:http';

/** No scraper waits longer: Prometheus' own default is 10 s. */
const MAX_SECONDS = 120;
/** What is left of a timeout that the margin would eat up. */
const MIN_SHARE = 0.5;

/** Nobody waits so shortly in earnest, and what is hardly begun would only be told as late. */
const MIN_SECONDS = 0.5;

/**
 * How long a scrape may take: what Prometheus will wait (X-Prometheus-Scrape-Timeout-Seconds) less a margin for
 * rendering and the way back, at least half of it, at least half a second and at most two minutes; the fallback, as it
 * is, when no such header came.
 */
export function scrapeDeadlineMilliseconds(
  headers: IncomingHttpHeaders,
  fallbackSeconds: number,
  marginSeconds: number,
): number {
  const header = headers['x-prometheus-scrape-timeout-seconds'];
  const seconds = typeof header === 'string' && /^\d+(\.\d+)?$/.test(header.trim()) ? Number(header) : 0;
  if (seconds <= 0) return fallbackSeconds * 1000;
  return Math.min(Math.max(seconds - marginSeconds, seconds * MIN_SHARE, MIN_SECONDS), MAX_SECONDS) * 1000;
}
