import type { BackendState, GpuSnapshot, GpuWatch, WatchedGpu } from '@llm-monitor/gpus';

/** GPUs as the watch tells them, for the tests of this app. Not part of the app. */

export const VLLM_GPU: WatchedGpu = {
  backend: 'nvml',
  ageSeconds: 0.25,
  reading: {
    gpu: '0',
    uuid: 'GPU-8d4f3c1e-1111-2222-3333-44445555aaaa',
    condition: 'up',
    facts: {
      vendor: 'nvidia',
      name: 'NVIDIA H100 80GB HBM3',
      driverVersion: '570.86.15',
      pciBusId: '0000:8f:00.0',
      serial: '1320220015641',
    },
    points: [
      { metric: 'gpu_utilization_ratio', value: 0.874 },
      { metric: 'gpu_memory_used_bytes', value: 74 * 1024 ** 3 },
      { metric: 'gpu_memory_size_bytes', value: 80 * 1024 ** 3 },
      { metric: 'gpu_temperature_celsius', value: 71, labels: { sensor: 'memory' } },
      { metric: 'gpu_temperature_celsius', value: 64, labels: { sensor: 'core' } },
      { metric: 'gpu_power_watts', value: 312.4 },
      { metric: 'gpu_energy_joules_total', value: 1e6 },
      { metric: 'gpu_clock_hertz', value: 1.98e9, labels: { domain: 'sm' } },
      { metric: 'gpu_clock_event_active', value: 0, labels: { reason: 'hw_thermal' } },
      { metric: 'gpu_pcie_link_width', value: 16 },
      {
        metric: 'gpu_ecc_errors_total',
        value: 0,
        labels: { type: 'corrected', location: 'dram', lifetime: 'volatile' },
      },
    ],
  },
  processes: [
    {
      pid: 4321,
      type: 'compute',
      name: '/opt/venv/bin/python3',
      memoryBytes: 73 * 1024 ** 3,
      owner: {
        engine: 'vllm',
        model: 'meta-llama/Llama-3.1-70B',
        container: '0123456789ab',
        port: 8000,
        program: '/opt/venv/bin/python3 -m vllm --api-key hunter2',
      },
    },
    { pid: 99, type: 'graphics', name: '/usr/lib/xorg/Xorg', memoryBytes: 4 * 1024 ** 2, owner: {} },
  ],
  windows: { utilization: { max: 1, avg: 0.9, p95: 0.99, samples: 600 } },
  integratedJoules: undefined,
  xids: new Map([
    [79, { count: 0 }],
    [94, { count: 2, lastUnixSeconds: 1_700_000_000 }],
  ]),
};

export const LOST_GPU: WatchedGpu = {
  backend: 'nvml',
  ageSeconds: 0.25,
  reading: {
    gpu: '1',
    uuid: 'GPU-8d4f3c1e-1111-2222-3333-44445555bbbb',
    condition: 'lost',
    facts: { vendor: 'nvidia', name: 'NVIDIA H100 80GB HBM3', pciBusId: '0000:90:00.0' },
    points: [],
  },
  processes: undefined,
  windows: {},
  integratedJoules: undefined,
  xids: new Map([[79, { count: 1 }]]),
};

/** An APU: little VRAM, the model in GTT, no process list, no meter. */
export const APU: WatchedGpu = {
  backend: 'amdgpu',
  ageSeconds: 0.5,
  reading: {
    gpu: '0',
    uuid: '0000:c1:00.0',
    condition: 'up',
    facts: { vendor: 'amd', pciBusId: '0000:c1:00.0' },
    points: [
      { metric: 'gpu_memory_used_bytes', value: 0.4 * 1024 ** 3 },
      { metric: 'gpu_memory_size_bytes', value: 0.5 * 1024 ** 3 },
      { metric: 'gpu_memory_gtt_used_bytes', value: 30.6 * 1024 ** 3 },
    ],
  },
  processes: undefined,
  windows: {},
  integratedJoules: 12,
  xids: undefined,
};

/** A backend that reads, but for what is given. */
export function backendState(state: Partial<BackendState> = {}): BackendState {
  return {
    backend: 'nvml',
    driverVersion: '570.86.15',
    libraryVersion: '12.570.86.15',
    ageSeconds: 0.25,
    lastSuccessUnixSeconds: 1_700_000_000,
    readingSeconds: 0.02,
    failure: undefined,
    restarts: 0,
    abandoned: 0,
    unsupported: [],
    unparsed: new Map(),
    ...state,
  };
}

/** A host with one good GPU, but for what is given. */
export function snapshotOf(snapshot: Partial<GpuSnapshot> = {}): GpuSnapshot {
  return { gpus: [VLLM_GPU], backends: [backendState()], nothing: undefined, ...snapshot };
}

export const HUNG = backendState({
  ageSeconds: 42,
  restarts: 3,
  abandoned: 1,
  failure: {
    reason: 'hung',
    message: 'the driver has not answered for 5 s',
    sinceUnixSeconds: 1_700_000_000,
  },
});

/** A watch whose snapshot the test sets, and that tells who asked for one. */
export interface FakeWatch extends GpuWatch {
  readonly clients: readonly string[];
  readonly isStopped: () => boolean;
  set(snapshot: GpuSnapshot): void;
  /** Ends the wait for the first reading. */
  readNow(): void;
}

export function createFakeWatch(first: GpuSnapshot, remarks: readonly string[] = []): FakeWatch {
  let snapshot = first;
  let stopped = false;
  let readNow = (): void => undefined;
  const clients: string[] = [];
  const listeners = new Set<() => void>();
  return {
    firstReading: new Promise<void>((resolve) => (readNow = resolve)),
    readNow: () => readNow(),
    clients,
    isStopped: () => stopped,
    set: (next) => {
      snapshot = next;
      for (const listener of listeners) listener();
    },
    scrape: (client) => {
      clients.push(client);
      return snapshot;
    },
    peek: () => snapshot,
    remarks: () => remarks,
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    stop: () => {
      stopped = true;
      return Promise.resolve();
    },
  };
}

/** A clock that stands until it is told to go on. */
export function createTestClock(startUnixSeconds = 1_700_000_100) {
  let seconds = 0;
  let timers: { at: number; callback: () => void }[] = [];
  return {
    unixSeconds: () => startUnixSeconds + seconds,
    monotonicSeconds: () => seconds,
    after: (milliseconds: number, callback: () => void) => {
      const timer = { at: seconds + milliseconds / 1000, callback };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    /** How many wait. */
    waiting: () => timers.length,
    /** Lets that much time pass, each timer in its turn. */
    pass: (more: number) => {
      const end = seconds + more;
      for (;;) {
        const next = timers.filter(({ at }) => at <= end).sort((left, right) => left.at - right.at)[0];
        if (next === undefined) break;
        timers = timers.filter((other) => other !== next);
        seconds = Math.max(seconds, next.at);
        next.callback();
      }
      seconds = end;
    },
  };
}
