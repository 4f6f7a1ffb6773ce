import { RequestError } from './errors.ts';
import type { HttpMiddleware } from './http-context.ts';

/** Host names a listener answers to; `any` for every one. */
export type AllowedHosts = readonly string[] | 'any';

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/**
 * The hosts a listener on `host` answers to. On loopback only local names, and those configured: a page from the
 * internet whose name is pointed at 127.0.0.1 (DNS rebinding) would else read what the browser's user can. On other
 * addresses any, unless some are configured; an empty list configures none.
 */
export function allowedHostsOf(host: string, configured: AllowedHosts = []): AllowedHosts {
  if (configured === 'any' || (configured.length === 0 && !isLoopback(host))) return 'any';
  return ['localhost', '127.0.0.1', '::1', host, ...configured];
}

/**
 * Refuses requests for other hosts with 421, which names the setting that allows them. Without a Host header (HTTP/1.0)
 * no browser sent it.
 */
export function checkHost(allowedHosts: AllowedHosts, settingName: string): HttpMiddleware {
  if (allowedHosts === 'any') return (_ctx, next) => next();
  const names = new Set(allowedHosts.map((name) => name.toLowerCase().replace(/\.$/, '')));
  return (ctx, next) => {
    const { host } = ctx.headers;
    if (host === undefined || names.has(hostName(host))) return next();
    throw new RequestError(
      421,
      `This server answers to ${[...names].join(', ')} only. If the name you used is meant to reach it, ` +
        `add that name to ${settingName}.`,
    );
  };
}

/** The name in a Host header: without port, brackets and the root's dot. */
function hostName(host: string): string {
  const [, bracketed, plain = ''] = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(host) ?? [];
  return (bracketed ?? plain.replace(/\.$/, '')).toLowerCase();
}
