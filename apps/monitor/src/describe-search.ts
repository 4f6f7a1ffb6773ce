import { adapterOf, ENGINE_NAMES, type BookReport } from '@llm-monitor/engines';

/** One engine that is looked for, and by what. */
export interface SoughtEngine {
  readonly title: string;
  readonly programs: string;
  readonly ports: string;
  /** What to switch on so that it shows its metrics; empty when nothing. */
  readonly enable: string;
}

/** A socket of this host that is no engine, or was left alone. */
export interface LeftAlone {
  readonly address: string;
  readonly why: string;
}

/** What was looked for on this host and what was seen there. */
export interface SearchView {
  readonly discovery: boolean;
  /** Where there is no list of sockets to look at. */
  readonly isBlind: boolean;
  readonly sought: readonly SoughtEngine[];
  readonly leftAlone: readonly LeftAlone[];
}

const sought: readonly SoughtEngine[] = ENGINE_NAMES.map((name) => {
  const { title, programs, ports, enable = '' } = adapterOf(name);
  return { title, programs: programs.join(', '), ports: ports.join(', '), enable };
});

/** What the page says of the search: which programs and ports, and what was seen and not taken for an engine. */
export function describeSearch(report: BookReport, isBlind: boolean): SearchView {
  return {
    discovery: report.discovery,
    isBlind,
    sought,
    leftAlone: [
      ...report.passedOver.map(({ address, port, why }) => ({
        address: `${address.includes(':') ? `[${address}]` : address}:${port}`,
        why,
      })),
      ...report.strangers.map(({ url, why }) => ({ address: url.replace(/^http:\/\//, ''), why })),
    ],
  };
}
