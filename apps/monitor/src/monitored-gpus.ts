import {
  gpuSnapshotFamilies,
  type GpuSnapshot,
  type GpuWatch,
  type GpuWatchParts,
  type WatchedGpu,
} from '@llm-monitor/gpus';
import type { MetricFamily, SelfMetrics } from '@llm-monitor/metrics-core';

import { GPU_WINDOW_SECONDS, gpuName } from './describe-gpus.ts';
import { GpuHistory, HISTORY_WINDOW_SECONDS, type GpuPast } from './gpu-history.ts';

/** Starts to watch the GPUs of this host. */
export type StartGpus = (parts: Pick<GpuWatchParts, 'collectors' | 'log'>) => GpuWatch;

export interface MonitoredGpusParts {
  /** Absent where GPUs are left alone. */
  readonly start: StartGpus | undefined;
  readonly selfMetrics: SelfMetrics;
  readonly log: GpuWatchParts['log'];
  /** Unix time in milliseconds. */
  readonly now: () => number;
  /** Called after each reading. */
  readonly onChange: () => void;
}

const MAX_PROCESSES_PER_GPU = 32;

/** The GPUs of this host and their past; none before they are started, nor where they are left alone. */
export class MonitoredGpus {
  private readonly parts: MonitoredGpusParts;
  private readonly history = new GpuHistory();
  /** Backends whose GPUs were logged. */
  private readonly found = new Set<string>();
  private watch: GpuWatch | undefined;

  constructor(parts: MonitoredGpusParts) {
    this.parts = parts;
  }

  /** Returns at once: a driver may take its time. */
  start(): void {
    const { start, selfMetrics, log, now, onChange } = this.parts;
    const watch = start?.({ collectors: selfMetrics.collectors, log });
    this.watch = watch;
    watch?.onChange(() => {
      const { gpus } = watch.peek(HISTORY_WINDOW_SECONDS);
      this.tellFound(gpus);
      this.history.add(gpus, now() / 1000);
      onChange();
    });
  }

  /** As the page shows them. */
  snapshot(): GpuSnapshot | undefined {
    return this.watch?.peek(GPU_WINDOW_SECONDS);
  }

  past(uuid: string): GpuPast {
    return this.history.of(uuid);
  }

  /** With windows since the client's last scrape. */
  families(client: string): readonly MetricFamily[] {
    if (this.watch === undefined) return [];
    return gpuSnapshotFamilies(this.watch.scrape(client), {
      maxProcessesPerGpu: MAX_PROCESSES_PER_GPU,
      onDroppedSeries: this.parts.selfMetrics.countDroppedSeries,
    });
  }

  async stop(): Promise<void> {
    await this.watch?.stop();
  }

  /** Logs the GPUs of each backend when it first has some. */
  private tellFound(gpus: readonly WatchedGpu[]): void {
    for (const backend of new Set(gpus.map((watched) => watched.backend))) {
      if (this.found.has(backend)) continue;
      this.found.add(backend);
      const own = gpus.filter((watched) => watched.backend === backend);
      this.parts.log.info({ backend, gpus: own.length, names: namesOf(own) }, 'GPUs found');
    }
  }
}

/** `2 × NVIDIA H100 80GB HBM3, NVIDIA GeForce RTX 4090` */
function namesOf(gpus: readonly WatchedGpu[]): string {
  const counts = new Map<string, number>();
  for (const { reading } of gpus) {
    const name = gpuName(reading.facts);
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts].map(([name, count]) => (count === 1 ? name : `${count} × ${name}`)).join(', ');
}
