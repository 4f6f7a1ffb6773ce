import {
  chooseCandidates,
  createEngineCollection,
  createGet,
  listeningSockets,
  logTargetEvent,
  TargetBook,
  type Candidates,
  type ConfiguredTarget,
  type EngineCollection,
} from '@llm-monitor/engines';
import {
  authOf,
  createLogger,
  hostsOf,
  listen,
  tlsOf,
  type HttpApp,
  type Listening,
} from '@llm-monitor/exporter-http';
import {
  createCollectorRunner,
  createSelfMetrics,
  guardCardinality,
  type MetricFamily,
} from '@llm-monitor/metrics-core';
import type { Logger } from 'pino';

import { createApp } from './app.ts';
import { startDiscovery, type DiscoveryLoop } from './discovery-loop.ts';
import type { Settings } from './settings.ts';
import { VERSION } from './version.ts';

/** All parts of the exporter, wired, none of them started. */
export interface Exporter {
  readonly book: TargetBook;
  readonly collection: EngineCollection;
  /** The HTTP side, which is ready once the first look for servers has ended. */
  readonly createApp: (hasLooked: () => boolean) => HttpApp;
}

export interface ExporterParts {
  readonly settings: Settings;
  readonly configured: readonly ConfiguredTarget[];
  readonly log: Logger;
  /** Looks at this host; the real one unless a test gives another. */
  readonly discover?: () => Promise<Candidates>;
}

/** Wires the exporter by its settings. */
export function createExporter({
  settings,
  configured,
  log,
  discover = discoverHost(log),
}: ExporterParts): Exporter {
  const selfMetrics = createSelfMetrics({ app: 'llm-exporter', version: VERSION });
  const get = (endpoint: Parameters<typeof createGet>[0]) =>
    createGet(endpoint, { maxBodyBytes: settings.maxBody });
  const discoveredToken = settings.discoveredToken?.reveal();
  const book = new TargetBook({
    configured,
    ...(settings.discovery ? { discover } : {}),
    createGet: get,
    ...(discoveredToken === undefined ? {} : { discoveredToken }),
    forgetAfterSeconds: settings.forgetAfter,
    readTimeoutSeconds: settings.scrapeTimeout,
    now: Date.now,
    onEvent: logTargetEvent(log),
  });
  const guardedBy =
    (count: typeof selfMetrics.countDroppedSeries) =>
    (server: string, families: readonly MetricFamily[]): readonly MetricFamily[] =>
      guardCardinality(server, families, settings.maxSeriesPerTarget, count).families;
  const onBug = (server: string, err: unknown): void =>
    log.error({ err, server }, 'reading a server failed by a bug');
  const collection = createEngineCollection({
    book,
    guard: guardedBy(selfMetrics.countDroppedSeries),
    onBug,
    runner: createCollectorRunner({
      metrics: selfMetrics.collectors,
      concurrency: settings.maxConcurrentTargets,
    }),
  });
  return {
    book,
    collection,
    createApp: (hasLooked) =>
      createApp({
        settings,
        auth: authOf(settings),
        book,
        collection,
        collectionOf: (other) =>
          createEngineCollection({
            book: other,
            guard: guardedBy(() => undefined),
            onBug,
            runner: createCollectorRunner({ metrics: SILENT }),
          }),
        createGet: get,
        selfMetrics,
        ready: () =>
          hasLooked()
            ? { ready: true }
            : { ready: false, reason: 'the first look for servers of this host is under way' },
        log,
      }),
  };
}

/** An address from a question has no series of its own in the exporter's own metrics: there is no bound on them. */
const SILENT = { succeeded() {}, failed() {}, forget() {} };

/** What runs: stop it to end. */
export interface RunningExporter {
  readonly listening: Listening;
  /** Resolves when the first look for servers has ended. */
  readonly firstLook: Promise<void>;
  stop(graceSeconds: number): Promise<void>;
}

/**
 * Listens, and looks for servers at once and from then on.
 * @throws ListenError, TlsSettingsError, AuthSettingsError; no server was looked for then.
 */
export async function startExporter(parts: ExporterParts): Promise<RunningExporter> {
  const { settings, log } = parts;
  const exporter = createExporter(parts);
  let discovery: DiscoveryLoop | undefined;
  const listening = await listen(
    exporter.createApp(() => !settings.discovery || discovery?.hasLooked() === true),
    {
      host: settings.host,
      port: settings.port,
      ...tlsOf(settings),
      ...hostsOf(settings),
      limits: { requestTimeoutSeconds: settings.requestTimeout },
    },
  );
  if (settings.discovery) discovery = startDiscovery(exporter.book, settings.discoveryInterval, log);
  return {
    listening,
    firstLook: discovery?.current() ?? Promise.resolve(),
    stop: async (graceSeconds) => {
      discovery?.stop();
      await listening.stop(graceSeconds);
    },
  };
}

/** The candidates among this host's sockets; none, said once, where there is no /proc. */
function discoverHost(log: Logger): () => Promise<Candidates> {
  let told = false;
  return async () => {
    const sockets = await listeningSockets();
    if (sockets === undefined && !told) {
      told = true;
      log.warn('discovery needs /proc, which this host has not: name the targets in LLM_EXPORTER_TARGETS');
    }
    return chooseCandidates(sockets ?? [], new Set([process.pid]));
  };
}

/** The exporter's logger. */
export function exporterLogger({ logLevel }: Pick<Settings, 'logLevel'>): Logger {
  return createLogger({ app: 'llm-exporter', level: logLevel });
}
