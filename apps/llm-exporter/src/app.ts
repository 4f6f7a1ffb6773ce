import type { EngineCollection, Endpoint, Get, TargetBook } from '@llm-monitor/engines';
import {
  createHttpApp,
  sendPage,
  type AuthSettings,
  type HttpApp,
  type HttpContext,
  type Readiness,
} from '@llm-monitor/exporter-http';
import {
  contentTypes,
  negotiateFormat,
  renderExposition,
  renderWith,
  scrapeDeadlineMilliseconds,
  type SelfMetrics,
} from '@llm-monitor/metrics-core';
import type { Logger } from 'pino';

import { createProbe } from './probe.ts';
import type { Settings } from './settings.ts';
import { TARGETS_STYLE, targetsPage } from './targets-page.ts';
import { targetsView } from './targets-report.ts';
import { VERSION } from './version.ts';

export interface AppParts {
  readonly settings: Pick<
    Settings,
    'scrapeTimeout' | 'requestTimeout' | 'maxConcurrentRequests' | 'probeAllow'
  >;
  readonly auth: AuthSettings;
  readonly book: TargetBook;
  readonly collection: EngineCollection;
  /** A collection over targets outside the book, for `/probe`. */
  readonly collectionOf: (book: TargetBook) => EngineCollection;
  readonly createGet: (endpoint: Endpoint) => Get;
  readonly selfMetrics: SelfMetrics;
  readonly ready: () => Readiness;
  readonly log: Logger;
}

/** Kept of the scraper's timeout for rendering, compressing and the way back. */
const SCRAPE_MARGIN_SECONDS = 0.5;

/** The HTTP side of the exporter, not yet listening: `/metrics`, `/probe`, `/targets`, health and a landing page. */
export function createApp(parts: AppParts): HttpApp {
  const { settings, book, collection, selfMetrics } = parts;
  const probe = createProbe({
    ...parts,
    allow: settings.probeAllow,
    readTimeoutSeconds: settings.scrapeTimeout,
    now: Date.now,
  });

  const deadlineMilliseconds = (scrapeTimeoutSecondsHeader: string | undefined): number => {
    const asked = scrapeDeadlineMilliseconds(
      { 'x-prometheus-scrape-timeout-seconds': scrapeTimeoutSecondsHeader },
      settings.scrapeTimeout,
      SCRAPE_MARGIN_SECONDS,
    );
    // Past the request timeout the whole answer would be a 503, which a hung target must not cause.
    return Math.min(
      asked,
      Math.max(settings.requestTimeout - SCRAPE_MARGIN_SECONDS, settings.scrapeTimeout) * 1000,
    );
  };

  const answerProbe = async (ctx: HttpContext): Promise<void> => {
    const { target, engine } = ctx.query;
    const families = await probe(
      { target, engine },
      deadlineMilliseconds(ctx.get('X-Prometheus-Scrape-Timeout-Seconds') || undefined),
    );
    const format = negotiateFormat(ctx.headers.accept);
    ctx.vary('Accept');
    ctx.set('Content-Type', contentTypes[format]);
    ctx.body = renderExposition(families, format);
  };

  const answerTargets = (ctx: HttpContext): void => {
    const view = targetsView(book.report());
    ctx.vary('Accept');
    if (ctx.accepts('json', 'html') === 'html') {
      sendPage(ctx, targetsPage(view), { styles: [TARGETS_STYLE] });
    } else {
      ctx.type = 'json';
      ctx.body = `${JSON.stringify(view, null, 2)}\n`;
    }
  };

  return createHttpApp({
    name: 'llm-exporter',
    title: 'LLM exporter',
    description: 'The LLM servers of this host, and those configured, in one schema.',
    version: VERSION,
    log: parts.log,
    registry: selfMetrics.registry,
    ready: parts.ready,
    auth: parts.auth,
    maxConcurrentRequests: settings.maxConcurrentRequests,
    requestTimeoutSeconds: settings.requestTimeout,
    metrics: async ({ accept, scrapeTimeoutSecondsHeader }) => {
      const format = negotiateFormat(accept);
      const families = await collection.collect(deadlineMilliseconds(scrapeTimeoutSecondsHeader));
      return { contentType: contentTypes[format], body: await renderWith(families, selfMetrics, format) };
    },
    links: [
      { path: '/targets', label: 'Targets', what: 'what was found, why, and what is wrong with it' },
      {
        path: '/probe?target=NAME',
        label: 'Probe',
        what: 'one target alone, by its name or address',
      },
    ],
    routes: (router) => {
      router.get('/probe', answerProbe);
      router.get('/targets', answerTargets);
    },
  });
}
