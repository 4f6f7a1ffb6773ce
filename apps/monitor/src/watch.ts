import type { TargetBook, TargetCollector } from '@llm-monitor/engines';

import type { WatchedServer } from './describe-servers.ts';
import { History } from './history.ts';

export interface WatchParts {
  readonly book: TargetBook;
  /** Unix time in milliseconds. */
  readonly now: () => number;
  readonly readTimeoutSeconds: number;
  /** Called after each reading and each look around. */
  readonly onChange: () => void;
  /** Told of what should not happen: a reading that throws is a bug. */
  readonly onFault: (error: unknown) => void;
}

export interface Pace {
  /** Between two readings of a server. */
  readonly readSeconds: number;
  /** Between two looks for servers. */
  readonly discoverSeconds: number;
}

/** A look for servers may take up this share of the time: on a host with very many processes it is taken less often. */
const DISCOVERY_SHARE = 0.02;
const AFTER_FAULT_SECONDS = 5;

/**
 * Looks for servers and reads them, over and over. Each server is read on its own: one that hangs is left hanging until
 * its deadline, and delays no other.
 */
export class Watch {
  readonly history = new History();
  private readonly parts: WatchParts;
  private readonly underWay = new Map<string, Promise<void>>();
  private readonly loops: Loop[] = [];

  constructor(parts: WatchParts) {
    this.parts = parts;
  }

  /** Reads every server that is not being read; done when these are. */
  async readAll(): Promise<void> {
    await Promise.all(this.parts.book.collectors().map((collector) => this.readOne(collector)));
  }

  /** Looks once for servers, and reads those that are new. */
  async discover(): Promise<void> {
    await this.parts.book.discover();
    const { targets } = this.parts.book.report();
    this.history.keepOnly(new Set(targets.map(({ server }) => server)));
    const unread = new Set(
      targets.filter(({ reading }) => reading === undefined).map(({ server }) => server),
    );
    this.parts.onChange();
    await Promise.all(
      this.parts.book
        .collectors()
        .filter(({ server }) => unread.has(server))
        .map((collector) => this.readOne(collector)),
    );
  }

  /** Every server with its past, those configured first, then by name. */
  servers(): readonly WatchedServer[] {
    const { targets } = this.parts.book.report();
    return [...targets]
      .sort(
        (one, other) =>
          one.origin.localeCompare(other.origin) ||
          one.server.localeCompare(other.server, 'en', { numeric: true }),
      )
      .map((report) => ({ report, history: this.history.of(report.server) }));
  }

  /**
   * Looks and reads at once, then goes on at the pace asked for anew after each step, until stopped.
   * Resolves when the first look has ended and what it found was read.
   */
  start(pace: () => Pace): Promise<void> {
    const { now, onFault } = this.parts;
    const discovery = new Loop(async () => {
      const startedAt = now();
      await this.discover();
      const tookSeconds = (now() - startedAt) / 1000;
      return Math.max(pace().discoverSeconds, tookSeconds / DISCOVERY_SHARE);
    }, onFault);
    const readings = new Loop(() => {
      // Not waited for: what hangs is read again when its deadline has ended it.
      this.readAll().catch(onFault);
      return Promise.resolve(pace().readSeconds);
    }, onFault);
    this.loops.push(discovery, readings);
    void readings.start();
    return discovery.start();
  }

  /** Does the next step now: somebody has come to look. */
  hurry(): void {
    for (const loop of this.loops) loop.hurry();
  }

  /** No further step begins; readings under way end by themselves. */
  stop(): void {
    for (const loop of this.loops) loop.stop();
  }

  private readOne(collector: TargetCollector): Promise<void> {
    const { server } = collector;
    const underWay = this.underWay.get(server);
    if (underWay !== undefined) return underWay;
    const reading = collector
      .read(AbortSignal.timeout(this.parts.readTimeoutSeconds * 1000))
      .then((result) => this.history.add(server, this.parts.now() / 1000, result))
      .finally(() => {
        this.underWay.delete(server);
        this.parts.onChange();
      });
    this.underWay.set(server, reading);
    return reading;
  }
}

/** A step that is taken again and again, each time after as many seconds as the last one said. */
class Loop {
  private readonly step: () => Promise<number>;
  private readonly onFault: (error: unknown) => void;
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(step: () => Promise<number>, onFault: (error: unknown) => void) {
    this.step = step;
    this.onFault = onFault;
  }

  start(): Promise<void> {
    this.timer = undefined;
    return this.step().then(
      (seconds) => this.wait(seconds),
      (error: unknown) => {
        this.onFault(error);
        this.wait(AFTER_FAULT_SECONDS);
      },
    );
  }

  /** A step under way is soon enough. */
  hurry(): void {
    if (this.timer === undefined) return;
    clearTimeout(this.timer);
    void this.start();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private wait(seconds: number): void {
    if (!this.stopped) this.timer = setTimeout(() => void this.start(), seconds * 1000);
  }
}
