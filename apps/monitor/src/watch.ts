import type { TargetBook, TargetCollector } from '@llm-monitor/engines';

import type { WatchedServer } from './describe-servers.ts';
import { History } from './history.ts';

export interface WatchParts {
  readonly book: TargetBook;
  /** Unix time in milliseconds. */
  readonly now: () => number;
  readonly readTimeoutSeconds: number;
  /** Between two readings while somebody looks: what lies further apart was not measured but bridged. */
  readonly intervalSeconds: number;
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
  readonly history: History;
  private readonly parts: WatchParts;
  private readonly underWay = new Map<string, Promise<void>>();
  private readonly loops: Loop[] = [];

  constructor(parts: WatchParts) {
    this.parts = parts;
    this.history = new History(parts.intervalSeconds);
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
    const discovery = new Loop({
      step: () => this.discover(),
      pauseSeconds: (tookSeconds) => Math.max(pace().discoverSeconds, tookSeconds / DISCOVERY_SHARE),
      now,
      onFault,
    });
    const readings = new Loop({
      step: () => {
        // Not waited for: what hangs is read again when its deadline has ended it.
        this.readAll().catch(onFault);
        return Promise.resolve();
      },
      pauseSeconds: () => pace().readSeconds,
      now,
      onFault,
    });
    this.loops.push(discovery, readings);
    void readings.start();
    return discovery.start();
  }

  /**
   * Asks for the pace anew, as somebody has come to look: a step that is overdue by it is taken at once, any other when
   * it is due. Resolves when no reading is under way.
   */
  async hurry(): Promise<void> {
    for (const loop of this.loops) loop.hurry();
    await Promise.all(this.underWay.values());
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

interface LoopParts {
  readonly step: () => Promise<void>;
  /** From the end of a step to the next, by how long it took. Asked anew whenever somebody comes to look. */
  readonly pauseSeconds: (tookSeconds: number) => number;
  readonly now: () => number;
  readonly onFault: (error: unknown) => void;
}

/** A step that is taken again and again. */
class Loop {
  private readonly parts: LoopParts;
  private timer: NodeJS.Timeout | undefined;
  private ended: { readonly at: number; readonly tookSeconds: number } | undefined;
  private stopped = false;

  constructor(parts: LoopParts) {
    this.parts = parts;
  }

  async start(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    const { step, now, onFault, pauseSeconds } = this.parts;
    const startedAt = now();
    try {
      await step();
      const tookSeconds = (now() - startedAt) / 1000;
      this.ended = { at: now(), tookSeconds };
      this.wait(pauseSeconds(tookSeconds));
    } catch (error) {
      onFault(error);
      this.ended = undefined;
      this.wait(AFTER_FAULT_SECONDS);
    }
  }

  /** A step under way is soon enough, and so is a second try after a fault. */
  hurry(): void {
    if (this.timer === undefined || this.ended === undefined) return;
    const { now, pauseSeconds } = this.parts;
    const goneSeconds = (now() - this.ended.at) / 1000;
    const leftSeconds = pauseSeconds(this.ended.tookSeconds) - goneSeconds;
    if (leftSeconds <= 0) void this.start();
    else this.wait(leftSeconds);
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private wait(seconds: number): void {
    clearTimeout(this.timer);
    if (!this.stopped) this.timer = setTimeout(() => void this.start(), seconds * 1000);
  }
}
