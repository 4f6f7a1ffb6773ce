import { createHash } from 'node:crypto';

import type { HttpContext, HttpMiddleware } from './http-context.ts';

/** What an HTML page of ours contains and may do, beyond nothing at all. */
export interface PagePolicy {
  /** The exact text between `<style>` and `</style>`, for each of them. */
  readonly styles?: readonly string[];
  /** The exact text between `<script>` and `</script>`, for each of them. */
  readonly scripts?: readonly string[];
  /** The page's scripts may fetch from, and listen to events of, this server. */
  readonly connectToSelf?: boolean;
  /** Images from this server and `data:` addresses. */
  readonly images?: boolean;
}

/**
 * A Content-Security-Policy that allows a page its own inline styles and scripts, by hash, and no request to anyone
 * but this server.
 */
export function contentSecurityPolicy({ styles, scripts, connectToSelf, images }: PagePolicy): string {
  return [
    "default-src 'none'",
    ...(styles ? [`style-src ${styles.map(sourceHash).join(' ')}`] : []),
    ...(scripts ? [`script-src ${scripts.map(sourceHash).join(' ')}`] : []),
    ...(connectToSelf ? ["connect-src 'self'"] : []),
    ...(images ? ["img-src 'self' data:"] : []),
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}

function sourceHash(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}

const NOTHING_ALLOWED = contentSecurityPolicy({});

/** Headers of every answer; a page widens its own policy through {@link sendPage}. Nothing here is worth caching. */
export const setSecurityHeaders: HttpMiddleware = (ctx, next) => {
  ctx.set({
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Content-Security-Policy': NOTHING_ALLOWED,
    'Cache-Control': 'no-store',
  });
  return next();
};

/** Answers with an HTML page under the policy it needs. */
export function sendPage(ctx: HttpContext, html: string, policy: PagePolicy): void {
  ctx.set('Content-Security-Policy', contentSecurityPolicy(policy));
  ctx.type = 'html';
  ctx.body = html;
}
