export type { AuthSettings, BasicUser } from './auth.ts';
export { AuthSettingsError, ListenError, RequestError, TlsSettingsError } from './errors.ts';
export type { AllowedHosts } from './host-check.ts';
export { escapeHtml } from './escape-html.ts';
export { createHttpApp, type HttpApp, type HttpAppParts, type Readiness } from './http-app.ts';
export type { HttpContext, HttpRouter, HttpState } from './http-context.ts';
export { httpFamilies, type HttpFamily } from './http-families.ts';
export type { PageLink } from './landing-page.ts';
export {
  defaultListenLimits,
  listen,
  type Listening,
  type ListenLimits,
  type ListenOptions,
} from './listen.ts';
export { authOf, hostsOf, tlsOf } from './access-settings.ts';
export { createLogger, type LogLevel } from './logger.ts';
export type { AnswerMetrics, MetricsAnswer, MetricsRequest } from './metrics-route.ts';
export { readBody } from './read-body.ts';
export { contentSecurityPolicy, sendPage, type PagePolicy } from './security-headers.ts';
export { stopOnSignals, type SignalSource } from './stop-on-signals.ts';
export type { TlsFiles } from './tls-files.ts';
