import type { BookReport } from '@llm-monitor/engines';
import type { GpuSnapshot } from '@llm-monitor/gpus';

import { describeGpus, NO_GPUS, serverGpus, type GpusView, type GpuView } from './describe-gpus.ts';
import { describeSearch, type SearchView } from './describe-search.ts';
import { describeServers, type ServerView, type StateLevel, type WatchedServer } from './describe-servers.ts';
import type { GpuPast } from './gpu-history.ts';
import type { KnownServer } from './gpu-users.ts';

/**
 * All that the page shows; also the answer of `/api/state`. It has no sums over servers: a gateway shows the same
 * requests and tokens as the engines behind it.
 */
export interface PageState {
  readonly version: string;
  /** Unix time in seconds. */
  readonly atSeconds: number;
  /** How many engines and GPUs there are and whether they answer, in a few words. */
  readonly headline: string;
  readonly servers: readonly PageServer[];
  readonly gpus: GpusView;
  readonly search: SearchView;
}

/** A server, and on which GPUs of this host it runs; empty where that is not known. */
export interface PageServer extends ServerView {
  readonly onGpus: string;
}

export interface PageParts {
  readonly version: string;
  readonly servers: readonly WatchedServer[];
  readonly report: BookReport;
  /** This host does not tell its listening sockets. */
  readonly isBlind: boolean;
  /** With windows of `GPU_WINDOW_SECONDS`; undefined where GPUs are left alone. */
  readonly gpus?: GpuSnapshot | undefined;
  readonly pastOf?: (uuid: string) => GpuPast;
  /** Unix time. */
  readonly nowSeconds: number;
}

/** The whole page as values. Pure. */
export function describePage(parts: PageParts): PageState {
  const { version, servers, report, isBlind, gpus, pastOf = () => ({ steps: [] }), nowSeconds } = parts;
  const known = servers.map(({ report: target }): KnownServer => ({
    server: target.server,
    url: target.url,
    engine: target.engine,
    models: target.reading?.models ?? [],
  }));
  const views = describeServers(servers, nowSeconds).map((view, index): PageServer => {
    const server = known[index];
    return { ...view, onGpus: server === undefined || gpus === undefined ? '' : serverGpus(server, gpus) };
  });
  const gpusView = gpus === undefined ? NO_GPUS : describeGpus(gpus, pastOf, known, nowSeconds);
  return {
    version,
    atSeconds: nowSeconds,
    headline: [serversHeadline(views, report), ...gpusHeadline(gpusView.gpus)].join(' · '),
    servers: views,
    gpus: gpusView,
    search: describeSearch(report, isBlind),
  };
}

function serversHeadline(views: readonly ServerView[], report: BookReport): string {
  if (views.length === 0) {
    const isFirstLook = report.discovery && report.lastDiscoverySeconds === undefined;
    return isFirstLook ? 'Looking for LLM servers' : 'No LLM server found';
  }
  return counted('LLM server', views);
}

function gpusHeadline(views: readonly GpuView[]): string[] {
  return views.length === 0 ? [] : [counted('GPU', views)];
}

function counted(word: string, views: readonly Pick<ServerView, 'state'>[]): string {
  const of = (level: StateLevel): number => views.filter(({ state }) => state.level === level).length;
  const all = `${views.length} ${word}${views.length === 1 ? '' : 's'}`;
  const faults = [
    { count: of('down'), what: 'down' },
    { count: of('stuck'), what: 'not serving' },
  ].filter(({ count }) => count > 0);
  return [all, ...faults.map(({ count, what }) => `${count} ${what}`)].join(', ');
}
