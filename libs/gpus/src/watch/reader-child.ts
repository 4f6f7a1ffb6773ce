import { setTimeout as wait } from 'node:timers/promises';

import { pciGpusSync } from '../pci/pci-gpus.ts';
import { BackendError, type GpuBackend, type GpuSample } from '../reading.ts';
import { createBackend } from './create-backend.ts';
import { endWithParent } from './end-with-parent.ts';
import type { ReaderMessage, ReaderOrder, ReaderOrders } from './reader-messages.ts';
import { SentPoints } from './sent-points.ts';
import { announcedTouches } from './touched-gpu.ts';

/** A message at least so often: a reader that is silent for longer is stuck in the driver. */
const HEARTBEAT_MILLISECONDS = 1000;
/** Bound on samples that wait for the next message. */
const MAX_PENDING_SAMPLES = 20_000;
/** After a failure that only a new process can mend. */
const EXIT_FAILED = 3;

/**
 * What the forked gpu-reader runs: reads the GPUs over and over and tells its parent, until told to stop or the parent
 * is gone. It alone talks to the driver, for a call that is stuck there can be ended by nobody.
 *
 * No signal handler is set: SIGTERM has to end the process while it is stuck in a call, when no handler could run.
 */
export function runGpuReader(): void {
  if (process.send === undefined) {
    process.stderr.write(
      'The gpu-reader is started by the gpu-exporter or the monitor: start one of them.\n',
    );
    process.exitCode = 2;
    return;
  }
  let reader: Reader | undefined;
  process.on('disconnect', () => endGroup(reader));
  process.on('message', (order: ReaderOrder) => {
    if (order.type === 'stop') {
      reader?.stop();
      process.exit(0);
    }
    reader ??= new Reader(order.orders);
    void reader.run();
  });
}

/** For a program that was started here to end by itself. */
const GROUP_GRACE_MILLISECONDS = 500;

/** The parent is gone: neither may a program that was started here stay, and this process goes with it. */
function endGroup(reader: Reader | undefined): void {
  reader?.stop();
  process.on('SIGTERM', () => undefined);
  signalOwnGroup('SIGTERM');
  setTimeout(() => {
    signalOwnGroup('SIGKILL');
    process.exit(0);
  }, GROUP_GRACE_MILLISECONDS);
}

function signalOwnGroup(signal: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(-process.pid, signal);
  } catch {
    // Not the leader of a group of its own: nobody else to end.
  }
}

class Reader {
  private readonly orders: ReaderOrders;
  private readonly backend: GpuBackend;
  private readonly timers: NodeJS.Timeout[] = [];
  private readonly stopping = new AbortController();
  private readonly sentPoints = new SentPoints();
  private pending: GpuSample[] = [];

  constructor(orders: ReaderOrders) {
    this.orders = orders;
    this.backend = createBackend(orders, announcedTouches(orders.leftOut));
  }

  async run(): Promise<void> {
    // With nvidia-smi the event loop is free, and what it started has to be ended too: the disconnect sees to that.
    if (this.orders.backend !== 'nvidia-smi') await endWithParent(this.orders.parent);
    // From now on silence is the driver's.
    send({ type: 'alive' });
    this.timers.push(setInterval(() => send({ type: 'alive' }), HEARTBEAT_MILLISECONDS));
    const { sampleHertz } = this.orders;
    if (sampleHertz > 0 && this.backend.sample !== undefined) {
      this.timers.push(setInterval(() => this.sample(), 1000 / sampleHertz));
    }
    while (!this.stopping.signal.aborted) {
      const startedAt = performance.now();
      await this.read();
      const restMilliseconds = this.orders.intervalSeconds * 1000 - (performance.now() - startedAt);
      await this.rest(Math.max(restMilliseconds, 0));
    }
  }

  stop(): void {
    this.stopping.abort();
    for (const timer of this.timers) clearInterval(timer);
    this.backend.close();
  }

  private async read(): Promise<void> {
    const startedAt = performance.now();
    try {
      // Not joined with the signal of the stop: AbortSignal.any leaves something behind in a long-lived one with each
      // reading (Node 20), and closing the backend ends what can be ended.
      const signal = AbortSignal.timeout(this.orders.deadlineSeconds * 1000);
      const reading = await this.backend.read(pciGpusSync(this.orders.sysfsRoot), signal);
      const seconds = (performance.now() - startedAt) / 1000;
      const gpus = reading.gpus.map((gpu) => this.sentPoints.strip(gpu));
      send({ type: 'reading', reading: { ...reading, gpus }, unixSeconds: Date.now() / 1000, seconds });
      this.tellBetween();
    } catch (error) {
      this.fail(error);
    }
  }

  private tellBetween(): void {
    const samples = this.pending;
    this.pending = [];
    if (samples.length > 0) send({ type: 'samples', samples });
    const events = this.backend.events?.() ?? [];
    if (events.length > 0) send({ type: 'events', events });
  }

  private sample(): void {
    if (this.pending.length < MAX_PENDING_SAMPLES) this.pending.push(...(this.backend.sample?.() ?? []));
  }

  private fail(error: unknown): void {
    if (this.stopping.signal.aborted) return;
    const reason = error instanceof BackendError ? error.reason : 'internal';
    const message = error instanceof Error ? error.message : String(error);
    const ends = this.orders.backend === 'nvml';
    // A library stays loaded for as long as its process lives: only a new one sees a mended or upgraded driver.
    send({ type: 'failure', reason, message }, ends ? () => process.exit(EXIT_FAILED) : undefined);
    if (ends) this.stop();
  }

  private rest(milliseconds: number): Promise<void> {
    // Rejects when stopped, which the loop then sees.
    return wait(milliseconds, undefined, { signal: this.stopping.signal }).catch(() => undefined);
  }
}

function send(message: ReaderMessage, afterwards?: () => void): void {
  // A parent that is gone is told of by the disconnect.
  if (process.connected) process.send?.(message, undefined, undefined, () => afterwards?.());
  else afterwards?.();
}
