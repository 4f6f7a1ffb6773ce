import { setTimeout } from 'node:timers/promises';

import {
  chooseCandidates,
  createEngineCollection,
  createGet,
  listeningSockets,
  TargetBook,
  type Candidates,
  type ConfiguredTarget,
  type TargetEvent,
} from '@llm-monitor/engines';
import { authOf, hostsOf, listen, tlsOf, type Listening } from '@llm-monitor/exporter-http';
import { createCollectorRunner, createSelfMetrics, guardCardinality } from '@llm-monitor/metrics-core';
import type { Logger } from 'pino';

import { createApp } from './app.ts';
import { describePage, type PageState } from './describe-page.ts';
import { gather } from './gather.ts';
import { LiveEvents } from './live-events.ts';
import { MonitoredGpus, type StartGpus } from './monitored-gpus.ts';
import type { Settings } from './settings.ts';
import { VERSION } from './version.ts';
import { Watch, type Pace } from './watch.ts';

/** What a look at this host finds; undefined where it does not tell its sockets. */
export type LookAround = () => Promise<Candidates | undefined>;

export interface MonitorParts {
  readonly settings: Settings;
  /** The targets of the settings, with their keys. */
  readonly configured: readonly ConfiguredTarget[];
  readonly log: Logger;
  /** The real host's sockets unless a test gives others. */
  readonly lookAround?: LookAround;
  /** Absent where GPUs are left alone. */
  readonly startGpus?: StartGpus;
  /** Unix time in milliseconds; the clock of this host unless a test gives another. */
  readonly now?: () => number;
  /** Told of what changes with a server. */
  readonly onEvent?: (event: TargetEvent) => void;
}

/** What runs: stop it to end. */
export interface RunningMonitor {
  readonly listening: Listening;
  readonly watch: Watch;
  readonly state: () => PageState;
  /** Resolves when this host was looked at once, and what was found was read. */
  readonly firstLook: Promise<void>;
  stop(graceSeconds: number): Promise<void>;
}

/** Who asked so recently still looks, though no connection stays open between two questions. */
const LOOK_LASTS_SECONDS = 10;
/** A page waits that long for news of servers not read lately: no longer, as one may hang. */
const FIRST_SIGHT_MILLISECONDS = 500;
/** Changes that come together are told together. */
const GATHER_MILLISECONDS = 100;
/** The same for GPUs, which are read every second. */
const GATHER_GPUS_MILLISECONDS = 1000;
const MAX_SERIES_PER_SERVER = 10_000;

/**
 * Listens, and from then on looks for servers and reads them.
 * @throws ListenError, TlsSettingsError, AuthSettingsError
 */
export async function startMonitor({
  settings,
  configured,
  log,
  lookAround = lookAtHost,
  startGpus,
  now = Date.now,
  onEvent,
}: MonitorParts): Promise<RunningMonitor> {
  const selfMetrics = createSelfMetrics({ app: 'monitor', version: VERSION });
  const discoveredToken = settings.discoveredToken?.reveal();
  let isBlind = false;
  const discover = async (): Promise<Candidates> => {
    const found = await lookAround();
    isBlind = found === undefined;
    return found ?? { ask: [], passedOver: [] };
  };
  const book = new TargetBook({
    configured,
    ...(settings.discovery ? { discover } : {}),
    createGet,
    ...(discoveredToken === undefined ? {} : { discoveredToken }),
    forgetAfterSeconds: settings.forgetAfter,
    readTimeoutSeconds: settings.readTimeout,
    now,
    ...(onEvent === undefined ? {} : { onEvent }),
  });
  const onBug = (err: unknown): void => log.error({ err }, 'reading failed by a bug of the monitor');
  const collection = createEngineCollection({
    book,
    runner: createCollectorRunner({ metrics: selfMetrics.collectors }),
    guard: (server, families) =>
      guardCardinality(server, families, MAX_SERIES_PER_SERVER, selfMetrics.countDroppedSeries).families,
    onBug: (_server, err) => onBug(err),
  });

  const events = new LiveEvents();
  const tell = (): void => events.send(JSON.stringify(state()));
  const onBugOfPage = (err: unknown): void =>
    log.error({ err }, 'the page is not told of changes by a bug of the monitor');
  const tellSoon = gather(tell, GATHER_MILLISECONDS, onBugOfPage);
  const tellOfGpusSoon = gather(tell, GATHER_GPUS_MILLISECONDS, onBugOfPage);
  const gpus = new MonitoredGpus({
    start: startGpus,
    selfMetrics,
    log,
    now,
    onChange: () => {
      if (events.count > 0) tellOfGpusSoon();
    },
  });
  const watch = new Watch({
    book,
    now,
    readTimeoutSeconds: settings.readTimeout,
    intervalSeconds: settings.interval,
    onChange: () => {
      if (events.count > 0) tellSoon();
    },
    onFault: onBug,
  });
  const state = (): PageState =>
    describePage({
      version: VERSION,
      servers: watch.servers(),
      report: book.report(),
      isBlind,
      gpus: gpus.snapshot(),
      pastOf: (uuid) => gpus.past(uuid),
      nowSeconds: now() / 1000,
    });
  let lookedAt = Number.NEGATIVE_INFINITY;
  const isWatched = (): boolean => events.count > 0 || Math.abs(now() - lookedAt) < LOOK_LASTS_SECONDS * 1000;
  const onLook = async (): Promise<void> => {
    lookedAt = now();
    const settled = watch.hurry();
    settled.catch(onBug);
    const patience = new AbortController();
    await Promise.race([
      settled,
      setTimeout(FIRST_SIGHT_MILLISECONDS, undefined, { signal: patience.signal }).catch(() => undefined),
    ]).finally(() => patience.abort());
  };
  const pace = (): Pace =>
    isWatched()
      ? { readSeconds: settings.interval, discoverSeconds: settings.discoveryInterval }
      : {
          readSeconds: settings.idleInterval,
          discoverSeconds: Math.max(settings.idleInterval, settings.discoveryInterval),
        };

  let hasLooked = false;
  const app = createApp({
    settings,
    auth: authOf(settings),
    collection,
    gpuFamilies: (client) => gpus.families(client),
    selfMetrics,
    events,
    state,
    onLook,
    ready: () =>
      hasLooked ? { ready: true } : { ready: false, reason: 'the first look for servers is under way' },
    log,
  });
  const listening = await listen(app, {
    host: settings.host,
    port: settings.port,
    ...tlsOf(settings),
    ...hostsOf(settings),
    limits: { requestTimeoutSeconds: settings.requestTimeout },
  });
  // The page is open, and waits for no driver.
  gpus.start();
  const firstLook = watch.start(pace).finally(() => {
    hasLooked = true;
  });
  return {
    listening,
    watch,
    state,
    firstLook,
    stop: async (graceSeconds) => {
      watch.stop();
      await Promise.all([listening.stop(graceSeconds), gpus.stop()]);
    },
  };
}

/** This host's sockets that may be asked, our own left out. */
async function lookAtHost(): ReturnType<LookAround> {
  const sockets = await listeningSockets();
  return sockets === undefined ? undefined : chooseCandidates(sockets, new Set([process.pid]));
}
