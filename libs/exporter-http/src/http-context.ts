import type { Router } from '@koa/router';
import type { Context, Middleware, ParameterizedContext } from 'koa';

/** What the assembly puts on every request. */
export interface HttpState {
  /** Aborts when the client goes away before its answer is complete, and at the request's deadline. */
  signal: AbortSignal;
  /** Aborts it. */
  abort: () => void;
}

/** A Koa context as a route of the assembly sees it. */
export type HttpContext = ParameterizedContext<HttpState, Context>;
export type HttpMiddleware = Middleware<HttpState, Context>;
/** The router that the `routes` hook of an app adds to. */
export type HttpRouter = Router<HttpState, Context>;

/** Answered without credentials and above the concurrency limit: who asks is a supervisor, and must not be turned away. */
const HEALTH_PATHS: ReadonlySet<string> = new Set(['/-/healthy', '/-/ready']);

export function isHealthPath(path: string): boolean {
  return HEALTH_PATHS.has(path);
}
