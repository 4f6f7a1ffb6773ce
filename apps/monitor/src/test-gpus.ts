import type {
  BackendState,
  GpuMetricName,
  GpuPoint,
  GpuReading,
  GpuSnapshot,
  GpuWatch,
  OwnedProcess,
  WatchedGpu,
} from '@llm-monitor/gpus';

/** What the tests of this app know of GPUs without having one. Not part of the app. */

export const GIBIBYTE = 1024 ** 3;

/** A point as `['gpu_power_watts', 312]` or `['gpu_temperature_celsius', 64, { sensor: 'core' }]`. */
export type PointRow = readonly [GpuMetricName, number, Readonly<Record<string, string>>?];

export function gpuOf(
  points: readonly PointRow[] = [],
  { reading, ...changes }: Partial<Omit<WatchedGpu, 'reading'>> & { reading?: Partial<GpuReading> } = {},
): WatchedGpu {
  return {
    backend: 'nvml',
    ageSeconds: 0.4,
    processes: [],
    windows: {},
    integratedJoules: undefined,
    xids: undefined,
    ...changes,
    reading: {
      gpu: '0',
      uuid: 'GPU-0',
      condition: 'up',
      facts: { vendor: 'nvidia', name: 'NVIDIA H100 80GB HBM3', pciBusId: '0000:8f:00.0' },
      points: points.map(([metric, value, labels]): GpuPoint =>
        labels === undefined ? { metric, value } : { metric, value, labels },
      ),
      ...reading,
    },
  };
}

export function processOf(
  pid: number,
  owner: OwnedProcess['owner'] = {},
  changes: Partial<OwnedProcess> = {},
): OwnedProcess {
  return { pid, type: 'compute', owner, ...changes };
}

export function backendOf(changes: Partial<BackendState> = {}): BackendState {
  return {
    backend: 'nvml',
    driverVersion: undefined,
    libraryVersion: undefined,
    ageSeconds: undefined,
    lastSuccessUnixSeconds: undefined,
    readingSeconds: undefined,
    failure: undefined,
    restarts: 0,
    abandoned: 0,
    unsupported: [],
    unparsed: new Map(),
    ...changes,
  };
}

export function snapshotOf(
  gpus: readonly WatchedGpu[],
  backends: readonly BackendState[] = [backendOf({ ageSeconds: 0.4 })],
  nothing?: string,
): GpuSnapshot {
  return { gpus, backends, nothing };
}

/** A watch that tells what it was given last, and knows which clients scraped and whether it was stopped. */
export interface FakeGpuWatch extends GpuWatch {
  readonly clients: readonly string[];
  readonly stopped: boolean;
  /** From now on this is so; whoever listens is told. */
  become(snapshot: GpuSnapshot): void;
}

export function fakeGpuWatch(snapshot: GpuSnapshot): FakeGpuWatch {
  const listeners = new Set<() => void>();
  const clients: string[] = [];
  let now = snapshot;
  let stopped = false;
  return {
    firstReading: Promise.resolve(),
    clients,
    get stopped() {
      return stopped;
    },
    scrape: (client) => {
      clients.push(client);
      return now;
    },
    peek: () => now,
    remarks: () => [],
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    become: (next) => {
      now = next;
      for (const listener of listeners) listener();
    },
    stop: () => {
      stopped = true;
      return Promise.resolve();
    },
  };
}
