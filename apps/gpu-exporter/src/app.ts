import {
  createHttpApp,
  sendPage,
  type AuthSettings,
  type HttpApp,
  type HttpContext,
  type Readiness,
} from '@llm-monitor/exporter-http';
import { GpuExposition, type GpuSnapshot, type GpuWatch } from '@llm-monitor/gpus';
import { contentTypes, negotiateFormat, type Clock, type SelfMetrics } from '@llm-monitor/metrics-core';
import type { Logger } from 'pino';

import { GPUS_STYLE, gpusPage, overviewPage } from './gpus-page.ts';
import { gpusView, type GpusView } from './gpus-view.ts';
import { SelfExposition } from './self-exposition.ts';
import type { Settings } from './settings.ts';
import { VERSION } from './version.ts';

export interface AppParts {
  readonly settings: Pick<
    Settings,
    'expectedDevices' | 'maxProcessesPerGpu' | 'requestTimeout' | 'maxConcurrentRequests'
  >;
  readonly auth: AuthSettings;
  /** Undefined until it is started. */
  readonly watch: () => Pick<GpuWatch, 'scrape' | 'peek' | 'remarks'> | undefined;
  readonly selfMetrics: SelfMetrics;
  readonly ready: () => Readiness;
  readonly log: Logger;
  readonly clock: Clock;
}

/** Of the windows on pages, which are nobody's scrape. */
const PAGE_WINDOW_SECONDS = 60;
const NOT_STARTED: GpuSnapshot = { gpus: [], backends: [], nothing: 'the exporter is starting' };

/**
 * The HTTP side of the exporter, not yet listening: `/metrics`, `/gpus`, health and a landing page. Whatever is asked
 * is answered from what is known already: no request ever waits for a driver.
 */
export function createApp(parts: AppParts): HttpApp {
  const { settings, selfMetrics } = parts;
  const { expectedDevices, maxProcessesPerGpu } = settings;
  const exposition = new GpuExposition();
  const selfExposition = new SelfExposition(selfMetrics, parts.clock);

  const view = (): GpusView => {
    const watch = parts.watch();
    return gpusView(
      watch?.peek(PAGE_WINDOW_SECONDS) ?? NOT_STARTED,
      watch?.remarks() ?? [],
      Date.now() / 1000,
    );
  };

  const answerGpus = (ctx: HttpContext): void => {
    ctx.vary('Accept');
    if (ctx.accepts('json', 'html') === 'html') {
      sendPage(ctx, gpusPage(view()), { styles: [GPUS_STYLE] });
    } else {
      ctx.type = 'json';
      ctx.body = `${JSON.stringify(view(), null, 2)}\n`;
    }
  };

  return createHttpApp({
    name: 'gpu-exporter',
    title: 'GPU exporter',
    description: 'The GPUs of this host.',
    version: VERSION,
    log: parts.log,
    registry: selfMetrics.registry,
    ready: parts.ready,
    auth: parts.auth,
    maxConcurrentRequests: settings.maxConcurrentRequests,
    requestTimeoutSeconds: settings.requestTimeout,
    metrics: async ({ accept, client }) => {
      const format = negotiateFormat(accept);
      const options = {
        maxProcessesPerGpu,
        onDroppedSeries: selfMetrics.countDroppedSeries,
        ...(expectedDevices === undefined ? {} : { expectedDevices }),
      };
      const gpus = exposition.print(parts.watch()?.scrape(client) ?? NOT_STARTED, options, format);
      return { contentType: contentTypes[format], body: [...gpus, ...(await selfExposition.print(format))] };
    },
    routes: (router) => {
      router.get('/gpus', answerGpus);
      router.get('/', (ctx) => sendPage(ctx, overviewPage(view(), VERSION), { styles: [GPUS_STYLE] }));
    },
  });
}
