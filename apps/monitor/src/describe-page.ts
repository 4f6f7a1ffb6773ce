import type { BookReport } from '@llm-monitor/engines';

import { describeSearch, type SearchView } from './describe-search.ts';
import { describeServers, type ServerView, type WatchedServer } from './describe-servers.ts';

/**
 * All that the page shows; also the answer of `/api/state`. It has no sums over servers: a gateway shows the same
 * requests and tokens as the engines behind it.
 */
export interface PageState {
  readonly version: string;
  /** Unix time in seconds. */
  readonly atSeconds: number;
  /** How many engines there are and whether they answer, in a few words. */
  readonly headline: string;
  readonly servers: readonly ServerView[];
  readonly search: SearchView;
}

export interface PageParts {
  readonly version: string;
  readonly servers: readonly WatchedServer[];
  readonly report: BookReport;
  /** This host does not tell its listening sockets. */
  readonly isBlind: boolean;
  /** Unix time. */
  readonly nowSeconds: number;
}

/** The whole page as values. Pure. */
export function describePage({ version, servers, report, isBlind, nowSeconds }: PageParts): PageState {
  const views = describeServers(servers, nowSeconds);
  return {
    version,
    atSeconds: nowSeconds,
    headline: headlineOf(views, report),
    servers: views,
    search: describeSearch(report, isBlind),
  };
}

function headlineOf(views: readonly ServerView[], report: BookReport): string {
  if (views.length === 0) {
    const isFirstLook = report.discovery && report.lastDiscoverySeconds === undefined;
    return isFirstLook ? 'Looking for LLM servers' : 'No LLM server found';
  }
  const servers = views.length === 1 ? '1 LLM server' : `${views.length} LLM servers`;
  const down = views.filter(({ state }) => state.level === 'down').length;
  return down === 0 ? servers : `${servers}, ${down} down`;
}
