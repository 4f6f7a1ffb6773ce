import type { RequestListener } from 'node:http';

import { Router } from '@koa/router';
import { variablePrefix } from '@llm-monitor/config';
import Koa, { type Context } from 'koa';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';

import { answerErrors } from './answer-errors.ts';
import { requireCredentials, type AuthSettings } from './auth.ts';
import { RequestError } from './errors.ts';
import { checkHost, type AllowedHosts } from './host-check.ts';
import type { HttpMiddleware, HttpRouter, HttpState } from './http-context.ts';
import { createHttpMetrics } from './http-families.ts';
import { LANDING_STYLE, landingPage, type PageLink } from './landing-page.ts';
import { limitConcurrency, limitDuration, limitUrl } from './limit-requests.ts';
import { metricsRoute, type AnswerMetrics } from './metrics-route.ts';
import { observeRequests } from './observe-requests.ts';
import { sendPage, setSecurityHeaders } from './security-headers.ts';

export interface Readiness {
  readonly ready: boolean;
  /** Why not, for the one who asks. */
  readonly reason?: string;
}

export interface HttpAppParts {
  /** The app's name, such as `llm-exporter`: the realm of its credentials, and the prefix of its settings. */
  readonly name: string;
  readonly title: string;
  /** One sentence for the landing page. */
  readonly description: string;
  readonly version: string;
  readonly log: Logger;
  /** Where the HTTP side's own metrics are counted: {@link httpFamilies}. */
  readonly registry: Registry;
  readonly metrics: AnswerMetrics;
  readonly ready: () => Readiness;
  readonly auth?: AuthSettings;
  /** Addresses of the app beyond those every app has, for the landing page. */
  readonly links?: readonly PageLink[];
  /** Adds the app's own routes; one for `/` takes the place of the landing page. `stopping` aborts when a stop begins. */
  readonly routes?: (router: HttpRouter, stopping: AbortSignal) => void;
  readonly maxConcurrentRequests: number;
  /** How long a route may take until it answers or hands over a stream. */
  readonly requestTimeoutSeconds: number;
  /** Characters of path and query; 4096 unless told. */
  readonly maxUrlLength?: number;
}

/** What {@link listen} serves. */
export interface HttpApp {
  /** Answers requests for any host. */
  readonly handler: RequestListener;
  /** Answers requests for `allowedHosts`, and others with 421. */
  readonly handlerFor: (allowedHosts: AllowedHosts) => RequestListener;
  readonly log: Logger;
  /** From now on `/-/ready` answers 503 and open streams are asked to end. */
  readonly beginStop: () => void;
}

const DEFAULT_MAX_URL_LENGTH = 4096;

const COMMON_LINKS: readonly PageLink[] = [
  { path: '/metrics', label: 'Metrics', what: 'for Prometheus to scrape' },
  { path: '/-/healthy', label: 'Health', what: 'whether the process works' },
  { path: '/-/ready', label: 'Readiness', what: 'whether it can serve' },
];

/**
 * Assembles what the HTTP side of every app shares, without listening.
 *
 * @throws AuthSettingsError when a token or a user cannot work.
 */
export function createHttpApp(parts: HttpAppParts): HttpApp {
  const { name, log } = parts;
  const stop = new AbortController();
  const router = createRouter(parts, stop.signal);
  const observe = observeRequests({
    metrics: createHttpMetrics(parts.registry),
    log,
    patternOf: (path, method) => routePattern(router, path, method),
  });
  const guards: HttpMiddleware[] = [
    limitUrl(parts.maxUrlLength ?? DEFAULT_MAX_URL_LENGTH),
    limitConcurrency(parts.maxConcurrentRequests),
    requireCredentials(parts.auth ?? {}, { realm: name }),
    limitDuration(parts.requestTimeoutSeconds),
  ];
  const handlerFor = (allowedHosts: AllowedHosts): RequestListener => {
    const koa = new Koa<HttpState>();
    // What fails past the error boundary is a stream that breaks while it is sent.
    koa.on('error', (err: unknown) => log.debug({ err }, 'answer broke off'));
    for (const middleware of [
      observe,
      setSecurityHeaders,
      answerErrors(log, name),
      checkHost(allowedHosts, `${variablePrefix(name)}ALLOWED_HOSTS`),
      ...guards,
    ]) {
      koa.use(middleware);
    }
    const handle = koa.use(answerUnknown(router)).use(router.routes()).callback();
    return (request, response) => void handle(request, response);
  };
  return { handler: handlerFor('any'), handlerFor, log, beginStop: () => stop.abort() };
}

function createRouter(parts: HttpAppParts, stopping: AbortSignal): HttpRouter {
  const router: HttpRouter = new Router<HttpState, Context>({ sensitive: true, strict: true });
  router.get('/metrics', metricsRoute(parts.metrics));
  router.get('/-/healthy', (ctx) => {
    ctx.body = 'healthy\n';
  });
  router.get('/-/ready', (ctx) => {
    const { ready, reason } = stopping.aborted ? { ready: false, reason: 'stopping' } : parts.ready();
    ctx.status = ready ? 200 : 503;
    ctx.body = ready ? 'ready\n' : `not ready: ${reason ?? 'no reason given'}\n`;
  });
  parts.routes?.(router, stopping);
  if (!router.match('/', 'GET').route) {
    const page = landingPage({ ...parts, links: [...(parts.links ?? []), ...COMMON_LINKS] });
    router.get('/', (ctx) => sendPage(ctx, page, { styles: [LANDING_STYLE] }));
  }
  return router;
}

/** The pattern of the route for a path, also when its method is not allowed; `other` for none. */
function routePattern(router: HttpRouter, path: string, method: string): string {
  const { path: layers, pathAndMethod } = router.match(path, method);
  const route = [...pathAndMethod, ...layers].find((layer) => layer.methods.length > 0);
  return route === undefined ? 'other' : String(route.path);
}

/** Ahead of the router: 404 with the paths there are, 405 with the methods a path has, and OPTIONS. */
function answerUnknown(router: HttpRouter): HttpMiddleware {
  return async (ctx, next) => {
    const { path: layers, route } = router.match(ctx.path, ctx.method);
    if (!route) {
      const methods = [...new Set(layers.flatMap((layer) => layer.methods))].sort();
      if (methods.length === 0) throw notFound(router);
      ctx.set('Allow', methods.join(', '));
      if (ctx.method === 'OPTIONS') {
        ctx.status = 204;
        return;
      }
      throw new RequestError(405, `This path answers to ${methods.join(', ')} only.`);
    }
    await next();
    if (ctx.status === 404 && ctx.body == null && ctx.respond !== false) throw notFound(router);
  };
}

function notFound(router: HttpRouter): RequestError {
  const paths = router.stack.filter(({ methods }) => methods.length > 0).map(({ path }) => String(path));
  const unique = [...new Set(paths)].sort();
  return new RequestError(404, `Nothing is here. This server has: ${unique.join(', ')}`, {
    facts: { paths: unique },
  });
}
