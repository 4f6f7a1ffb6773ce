import type { Clock, CollectorMetrics } from '@llm-monitor/metrics-core';

import type {
  BackendFailureReason,
  BackendName,
  BackendReading,
  GpuSample,
  SampleKind,
  XidEvent,
} from '../reading.ts';
import type { BackendFailure, BackendState, ProcessOwner } from '../snapshot.ts';
import type { GpuWatchSettings, WatchLog } from './gpu-watch.ts';
import { KnownGpus, type KnownGpu } from './known-gpus.ts';
import type { ReaderMessage } from './reader-messages.ts';
import { ReaderProcess, type ReaderCommand, type ReaderTiming } from './reader-process.ts';
import { tellsEvents } from './tells-events.ts';

export interface WatchedBackendParts {
  readonly name: BackendName;
  readonly settings: GpuWatchSettings;
  readonly readerCommand: ReaderCommand;
  readonly timing: ReaderTiming;
  readonly clock: Clock;
  readonly collectors: CollectorMetrics;
  readonly log: WatchLog;
  readonly onReading: (reading: BackendReading, unixSeconds: number) => void;
  readonly onSamples: (samples: readonly GpuSample[]) => void;
  readonly onEvents: (events: readonly XidEvent[]) => void;
  readonly onFailure: (reason: BackendFailureReason) => void;
}

/** One backend, read in a process of its own, and what is known through it. */
export class WatchedBackend {
  readonly name: BackendName;
  /** Resolves at the first reading or failure. */
  readonly first: Promise<void>;
  /** By process id; replaced whole after each look. */
  owners: ReadonlyMap<number, ProcessOwner> = new Map();
  private readonly parts: WatchedBackendParts;
  private readonly reader: ReaderProcess;
  private readonly known: KnownGpus;
  private readonly unparsed = new Map<string, number>();
  private readonly sampled = new Map<string, number>();
  private readonly metered = new Set<string>();
  private settleFirst: () => void = () => undefined;
  private last: Last | undefined;
  private failure: BackendFailure | undefined;
  /** GPUs listed by the last reading. */
  private listed = 0;

  constructor(parts: WatchedBackendParts) {
    const { name, settings, clock, timing, readerCommand } = parts;
    this.parts = parts;
    this.name = name;
    this.known = new KnownGpus(name);
    this.first = new Promise((resolve) => {
      this.settleFirst = resolve;
    });
    this.reader = new ReaderProcess({
      command: readerCommand,
      orders: {
        backend: name,
        parent: process.pid,
        intervalSeconds: name === 'nvidia-smi' ? settings.nvidiaSmiIntervalSeconds : settings.intervalSeconds,
        sampleHertz: settings.sampleHertz,
        deadlineSeconds: settings.deadlineSeconds,
        nvmlLibrary: settings.nvmlLibrary,
        nvidiaSmi: settings.nvidiaSmi,
        sysfsRoot: settings.sysfsRoot,
        procRoot: settings.procRoot,
      },
      clock,
      timing,
      onMessage: (message) => this.hear(message),
      onFailure: (reason, message) => this.fail(reason, message),
    });
  }

  start(): void {
    this.reader.start();
  }

  async stop(): Promise<void> {
    this.settleFirst();
    this.parts.collectors.forget(this.name);
    await this.reader.stop();
  }

  gpus(): KnownGpu[] {
    const { clock, settings } = this.parts;
    return this.known.list(clock.monotonicSeconds(), this.staleAfterSeconds(settings));
  }

  state(): BackendState {
    const { last, failure, reader } = this;
    return {
      backend: this.name,
      driverVersion: last?.reading.driverVersion,
      libraryVersion: last?.reading.libraryVersion,
      ageSeconds: last === undefined ? undefined : this.parts.clock.monotonicSeconds() - last.atSeconds,
      lastSuccessUnixSeconds: last?.unixSeconds,
      readingSeconds: last?.seconds,
      failure,
      restarts: reader.restarts,
      abandoned: reader.isAbandoned ? 1 : 0,
      unsupported: last?.reading.unsupported ?? [],
      unparsed: this.unparsed,
    };
  }

  /** Whether its driver tells of errors by itself. */
  tellsEvents(): boolean {
    return this.last !== undefined && tellsEvents(this.last.reading.unsupported);
  }

  /** Whether the GPU has an energy meter of its own. */
  hasMeter(uuid: string): boolean {
    return this.metered.has(uuid);
  }

  noteSample(uuid: string, kind: SampleKind, unixSeconds: number): void {
    this.sampled.set(`${kind} ${uuid}`, unixSeconds);
  }

  /** When the GPU last gave a quick sample; -Infinity when it never did. */
  sampledUnixSeconds(uuid: string, kind: SampleKind): number {
    return this.sampled.get(`${kind} ${uuid}`) ?? Number.NEGATIVE_INFINITY;
  }

  private hear(message: ReaderMessage): void {
    const { onSamples, onEvents } = this.parts;
    switch (message.type) {
      case 'reading':
        return this.takeOver(message);
      case 'failure':
        return this.fail(message.reason, message.message);
      case 'samples':
        return onSamples(message.samples);
      case 'events':
        return onEvents(message.events);
      case 'alive':
    }
  }

  private takeOver({ reading, unixSeconds, seconds }: Extract<ReaderMessage, { type: 'reading' }>): void {
    const { clock, collectors, log, onReading } = this.parts;
    const { gpus, unparsed } = reading;
    this.count(unparsed);
    // A driver that lists none after it listed some has lost them: no idle host, but a failure.
    if (gpus.length === 0 && this.listed > 0) {
      return this.fail('no_gpus', `${this.name} lists no GPU any more, of ${this.listed} before`);
    }
    this.listed = Math.max(this.listed, gpus.length);
    this.last = { reading, unixSeconds, seconds, atSeconds: clock.monotonicSeconds() };
    this.tellChanges(() => this.known.see(gpus, clock.monotonicSeconds()));
    for (const { uuid, points } of gpus) {
      if (points.some(({ metric }) => metric === 'gpu_energy_joules_total')) this.metered.add(uuid);
    }
    if (this.failure !== undefined)
      log.info({ backend: this.name, gpus: gpus.length }, 'GPUs are read again');
    this.failure = undefined;
    collectors.succeeded(this.name, seconds, unixSeconds);
    onReading(reading, unixSeconds);
    this.settleFirst();
  }

  private fail(reason: BackendFailureReason, message: string): void {
    const { clock, collectors, log, onFailure } = this.parts;
    if (reason === 'no_gpus') this.tellChanges(() => this.known.see([], clock.monotonicSeconds()));
    const isNew = this.failure?.reason !== reason;
    const sinceUnixSeconds =
      isNew || this.failure === undefined ? clock.unixSeconds() : this.failure.sinceUnixSeconds;
    this.failure = { reason, message, sinceUnixSeconds };
    collectors.failed(this.name, reason, 0);
    if (isNew) log.warn({ backend: this.name, reason, detail: message }, 'GPUs are not read');
    onFailure(reason);
    this.settleFirst();
  }

  /** Says in the log which GPUs have got lost, come back or fallen asleep by what `change` does. */
  private tellChanges(change: () => void): void {
    const conditions = (): Map<string, string> =>
      new Map(this.known.list(0, Infinity).map(({ reading }) => [reading.uuid, reading.condition]));
    const before = conditions();
    change();
    for (const [uuid, condition] of conditions()) {
      const was = before.get(uuid);
      if (was === condition || (was === undefined && condition === 'up')) continue;
      const facts = { backend: this.name, uuid, condition, was };
      if (condition === 'up' || condition === 'suspended') this.parts.log.info(facts, 'a GPU has changed');
      else this.parts.log.warn(facts, 'a GPU is down');
    }
  }

  private count(unparsed: BackendReading['unparsed']): void {
    for (const { field, value } of unparsed) {
      const before = this.unparsed.get(field);
      if (before === undefined && this.unparsed.size >= MAX_UNPARSED_FIELDS) continue;
      if (before === undefined) {
        this.parts.log.warn({ backend: this.name, field, value }, 'a value of the driver was not understood');
      }
      this.unparsed.set(field, (before ?? 0) + 1);
    }
  }

  /** A backend that reads seldom is not stale between two of its readings. */
  private staleAfterSeconds({ staleAfterSeconds, nvidiaSmiIntervalSeconds }: GpuWatchSettings): number {
    return this.name === 'nvidia-smi'
      ? Math.max(staleAfterSeconds, 2 * nvidiaSmiIntervalSeconds + this.parts.timing.deadlineSeconds)
      : staleAfterSeconds;
  }
}

/** The native fields are a closed set, but a driver's output may make up names. */
const MAX_UNPARSED_FIELDS = 200;

interface Last {
  readonly reading: BackendReading;
  readonly unixSeconds: number;
  readonly seconds: number;
  /** Monotonic. */
  readonly atSeconds: number;
}
