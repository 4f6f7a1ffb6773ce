import type { EngineCollection } from '@llm-monitor/engines';
import {
  createHttpApp,
  RequestError,
  sendPage,
  type AuthSettings,
  type HttpApp,
  type Readiness,
} from '@llm-monitor/exporter-http';
import {
  contentTypes,
  negotiateFormat,
  renderWith,
  scrapeDeadlineMilliseconds,
  type MetricFamily,
  type SelfMetrics,
} from '@llm-monitor/metrics-core';
import type { Logger } from 'pino';

import type { PageState } from './describe-page.ts';
import type { LiveEvents } from './live-events.ts';
import { pagePolicy, renderPage } from './page/page.ts';
import type { Settings } from './settings.ts';
import { VERSION } from './version.ts';

export interface AppParts {
  readonly settings: Pick<Settings, 'readTimeout' | 'requestTimeout' | 'maxConcurrentRequests'>;
  readonly auth: AuthSettings;
  readonly collection: EngineCollection;
  /** Of the GPUs, with windows since the client's last scrape. */
  readonly gpuFamilies: (client: string) => readonly MetricFamily[];
  readonly selfMetrics: SelfMetrics;
  readonly events: LiveEvents;
  /** What there is to show now. */
  readonly state: () => PageState;
  /** Called when somebody looks: opens the page, listens or asks. Resolves when the state is fresh, or soon anyway. */
  readonly onLook: () => Promise<void>;
  readonly ready: () => Readiness;
  readonly log: Logger;
}

/** Kept of the scraper's timeout for rendering, compressing and the way back. */
const SCRAPE_MARGIN_SECONDS = 0.5;

/** The HTTP side of the monitor, not yet listening: the page, its state once and as it changes, and `/metrics`. */
export function createApp(parts: AppParts): HttpApp {
  const { settings, collection, gpuFamilies, selfMetrics, events, state, onLook } = parts;
  return createHttpApp({
    name: 'monitor',
    title: 'LLM Server Monitor',
    description: 'The LLM servers and GPUs of this host, live.',
    version: VERSION,
    log: parts.log,
    registry: selfMetrics.registry,
    ready: parts.ready,
    auth: parts.auth,
    maxConcurrentRequests: settings.maxConcurrentRequests,
    requestTimeoutSeconds: settings.requestTimeout,
    metrics: async ({ accept, client, scrapeTimeoutSecondsHeader }) => {
      const format = negotiateFormat(accept);
      const asked = scrapeDeadlineMilliseconds(
        { 'x-prometheus-scrape-timeout-seconds': scrapeTimeoutSecondsHeader },
        settings.readTimeout,
        SCRAPE_MARGIN_SECONDS,
      );
      // Past the request timeout the whole answer would be a 503, which a hung server must not cause.
      const longest = Math.max(settings.requestTimeout - SCRAPE_MARGIN_SECONDS, settings.readTimeout) * 1000;
      const servers = await collection.collect(Math.min(asked, longest));
      const families = [...servers, ...gpuFamilies(client)];
      return { contentType: contentTypes[format], body: await renderWith(families, selfMetrics, format) };
    },
    routes: (router, stopping) => {
      stopping.addEventListener('abort', () => events.endAll(), { once: true });
      router.get('/', async (ctx) => {
        await onLook();
        sendPage(ctx, renderPage(state()), pagePolicy);
      });
      router.get('/api/state', async (ctx) => {
        await onLook();
        ctx.type = 'json';
        ctx.body = JSON.stringify(state());
      });
      router.get('/api/events', (ctx) => {
        const stream = events.listen(JSON.stringify(state()), ctx.state.signal);
        if (stream === undefined) {
          throw new RequestError(
            503,
            'Enough pages are listening already: ask /api/state now and then instead.',
          );
        }
        // What is read now follows as an event.
        void onLook();
        // A proxy in between shall pass each event on at once.
        ctx.set({ 'Content-Type': 'text/event-stream', 'X-Accel-Buffering': 'no' });
        ctx.body = stream;
      });
    },
  });
}
