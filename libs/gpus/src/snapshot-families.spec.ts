import { renderExposition, type MetricFamily } from '@llm-monitor/metrics-core';
import { promtoolPath, promtoolReason, runPromtoolCheck } from '@llm-monitor/testing';

import { exporterMetrics } from './exporter-metrics.ts';
import { gpuMetrics, type GpuMetricName } from './gpu-metrics.ts';
import { DOWN_REASONS, type GpuCondition, type GpuPoint, type GpuReading } from './reading.ts';
import type { BackendState, GpuSnapshot, OwnedProcess, WatchedGpu } from './snapshot.ts';
import { gpuSnapshotFamilies, processName, readingFamilies } from './snapshot-families.ts';
import { misdeclaredPoints, misdeclaredSeries } from './test-declared.ts';

const H100 = { gpu: '0', uuid: 'GPU-1' };

function reading(changes: Partial<GpuReading> = {}): GpuReading {
  return { ...H100, condition: 'up', facts: { vendor: 'nvidia' }, points: [], ...changes };
}

function watched(changes: Partial<WatchedGpu> = {}): WatchedGpu {
  return {
    backend: 'nvml',
    reading: reading(),
    ageSeconds: 0.4,
    processes: undefined,
    windows: {},
    integratedJoules: undefined,
    xids: undefined,
    ...changes,
  };
}

function state(changes: Partial<BackendState> = {}): BackendState {
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

function snapshotOf(gpus: readonly WatchedGpu[], backends: readonly BackendState[] = []): GpuSnapshot {
  return { gpus, backends, nothing: undefined };
}

/** Lines without comments, those of the named family only where there is one. */
function lines(families: readonly MetricFamily[], name = 'gpu_'): string[] {
  return renderExposition(families, 'text')
    .split('\n')
    .filter((line) => line.startsWith(name));
}

function linesOf(gpu: WatchedGpu, name?: string, maxProcessesPerGpu = 64): string[] {
  return lines(gpuSnapshotFamilies(snapshotOf([gpu]), { maxProcessesPerGpu }), name);
}

const process = (pid: number, changes: Partial<OwnedProcess> = {}): OwnedProcess => ({
  pid,
  type: 'compute',
  owner: {},
  ...changes,
});

/** A GPU with a point of every metric there is. */
function everything(): GpuSnapshot {
  const points = Object.entries(gpuMetrics).map(([metric, { labels }]): GpuPoint => {
    const values = Object.fromEntries(labels.map((label) => [label, 'some']));
    return { metric: metric as GpuMetricName, value: 1, labels: values };
  });
  const gpus = [
    watched({
      reading: reading({
        points,
        facts: {
          vendor: 'nvidia',
          name: 'NVIDIA H100 80GB HBM3',
          driverVersion: '575.57.08',
          cudaVersion: '12.9',
          pciBusId: '0000:8f:00.0',
          serial: '1652923000001',
          architecture: 'Hopper',
          vbiosVersion: '96.00.A5.00.01',
          computeCapability: '9.0',
          numaNode: '1',
        },
      }),
      windows: {
        utilization: { max: 1, avg: 0.25, p95: 0.9, samples: 60 },
        power: { max: 700, avg: 320.5, p95: 688, samples: 60 },
      },
      integratedJoules: 1234.5,
      xids: new Map([
        [79, { count: 0 }],
        [31, { count: 2, lastUnixSeconds: 1_750_000_000 }],
      ]),
      processes: [process(7, { memoryBytes: 2 ** 30, smUtilizationRatio: 0.5 })],
    }),
    watched({ reading: reading({ gpu: '1', uuid: 'GPU-2', condition: 'lost' }) }),
  ];
  const failing = state({
    backend: 'amdgpu',
    failure: { reason: 'hung', message: 'no answer', sinceUnixSeconds: 1_750_000_000 },
  });
  return snapshotOf(gpus, [
    state({ ageSeconds: 0.4, driverVersion: '575.57.08', unparsed: new Map([['fan_speed', 3]]) }),
    failing,
  ]);
}

describe('the declared metrics', () => {
  const metrics = [...Object.entries(exporterMetrics), ...Object.entries(gpuMetrics)];

  it('are declared once', () => {
    const names = metrics.map(([name]) => name);
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
  });

  it.each(metrics)('%s follows the rules of Prometheus', (name, metric) => {
    expect(name).toMatch(/^gpu_[a-z0-9_]+$/);
    expect(name.endsWith('_total')).toBe(metric.type === 'counter');
    expect(name.endsWith('_info')).toBe(metric.type === 'info');
    const unit = 'unit' in metric ? metric.unit : undefined;
    const words = name.replace(/_total$/, '').split('_');
    const units = ['seconds', 'bytes', 'ratio', 'celsius', 'watts', 'joules', 'hertz'];
    expect(unit).toBe(units.find((each) => each === words.at(-1)));
    expect(new Set(metric.labels).size).toBe(metric.labels.length);
  });
});

it('no metric has a label that a service discovery adds, or by which one figure of a GPU is there for each pod', () => {
  const taken = ['pod', 'namespace', 'job', 'instance', 'node', 'service', 'endpoint'];
  for (const { labels } of [...Object.values(exporterMetrics), ...Object.values(gpuMetrics)]) {
    expect(labels.filter((label) => taken.includes(label))).toEqual([]);
  }
});

describe('families of a snapshot', () => {
  const families = gpuSnapshotFamilies(everything(), { expectedDevices: 2, maxProcessesPerGpu: 8 });

  it('are every declared metric, in the order of the tables', () => {
    expect(families.map(({ name }) => name)).toEqual([
      ...Object.keys(exporterMetrics),
      ...Object.keys(gpuMetrics),
    ]);
  });

  it('have the labels that are declared', () => {
    expect(misdeclaredSeries(families)).toEqual([]);
  });

  const promtool = promtoolPath() === undefined ? it.skip : it;
  promtool(`please promtool${promtoolPath() === undefined ? ` (${promtoolReason})` : ''}`, () => {
    expect(runPromtoolCheck(renderExposition(families, 'text'))).toEqual({ ok: true, output: '' });
  });

  it('say that there is no GPU where there is no backend', () => {
    expect(lines(gpuSnapshotFamilies(snapshotOf([]), { maxProcessesPerGpu: 8 }))).toEqual([
      'gpu_exporter_gpus{backend="none"} 0',
    ]);
  });

  it('say how many GPUs there should be only where somebody said it', () => {
    const options = { maxProcessesPerGpu: 8 };
    const told = (more: object): string[] =>
      lines(gpuSnapshotFamilies(snapshotOf([]), { ...options, ...more }), 'gpu_expected_devices');
    expect(told({ expectedDevices: 0 })).toEqual(['gpu_expected_devices 0']);
    expect(told({})).toEqual([]);
  });

  it('hold a series once: the first wins', () => {
    const twice = reading({
      points: [
        { metric: 'gpu_temperature_celsius', value: 40, labels: { sensor: 'core' } },
        { metric: 'gpu_temperature_celsius', value: 41, labels: { sensor: 'core' } },
        { metric: 'gpu_temperature_celsius', value: 50, labels: { sensor: 'memory' } },
      ],
    });
    const again = reading({ facts: { vendor: 'nvidia', name: 'another' }, condition: 'lost' });
    const both = [watched({ reading: twice }), watched({ reading: again })];
    const rendered = lines(gpuSnapshotFamilies(snapshotOf(both), { maxProcessesPerGpu: 8 }));
    expect(rendered.filter((line) => /^gpu_(up|temperature)/.test(line))).toEqual([
      'gpu_up{gpu="0",uuid="GPU-1"} 1',
      'gpu_temperature_celsius{gpu="0",uuid="GPU-1",sensor="core"} 40',
      'gpu_temperature_celsius{gpu="0",uuid="GPU-1",sensor="memory"} 50',
    ]);
  });

  it('keep a GPU of each backend apart, though both are number 0', () => {
    const nvidia = watched();
    const amd = watched({ backend: 'amdgpu', reading: reading({ uuid: '0000:03:00.0' }) });
    expect(
      lines(gpuSnapshotFamilies(snapshotOf([nvidia, amd]), { maxProcessesPerGpu: 8 }), 'gpu_up'),
    ).toEqual(['gpu_up{gpu="0",uuid="GPU-1"} 1', 'gpu_up{gpu="0",uuid="0000:03:00.0"} 1']);
  });
});

describe('misdeclared labels', () => {
  it.each([
    ['too few', { metric: 'gpu_temperature_celsius', value: 1 }],
    ['too many', { metric: 'gpu_power_watts', value: 1, labels: { sensor: 'core' } }],
    ['others', { metric: 'gpu_temperature_celsius', value: 1, labels: { kind: 'core' } }],
  ] as const)('are found: %s', (_, point) => {
    expect(misdeclaredPoints([point])).toHaveLength(1);
    const families = gpuSnapshotFamilies(snapshotOf([watched({ reading: reading({ points: [point] }) })]), {
      maxProcessesPerGpu: 8,
    });
    expect(misdeclaredSeries(families)).toHaveLength(1);
  });

  it('are not seen where they are as declared', () => {
    expect(
      misdeclaredPoints([{ metric: 'gpu_temperature_celsius', value: 1, labels: { sensor: 'core' } }]),
    ).toEqual([]);
  });
});

describe('the condition of a GPU', () => {
  it.each<[GpuCondition, string[]]>([
    ['up', ['gpu_up{gpu="0",uuid="GPU-1"} 1', 'gpu_suspended{gpu="0",uuid="GPU-1"} 0']],
    ['suspended', ['gpu_up{gpu="0",uuid="GPU-1"} 1', 'gpu_suspended{gpu="0",uuid="GPU-1"} 1']],
    ...DOWN_REASONS.map((reason): [GpuCondition, string[]] => [
      reason,
      ['gpu_up{gpu="0",uuid="GPU-1"} 0', `gpu_down_info{gpu="0",uuid="GPU-1",reason="${reason}"} 1`],
    ]),
  ])('%s', (condition, expected) => {
    const rendered = linesOf(watched({ reading: reading({ condition }) }));
    expect(rendered).toEqual([...expected, 'gpu_info{gpu="0",uuid="GPU-1",vendor="nvidia"} 1']);
  });
});

describe('what the watch adds', () => {
  it('is the window of each kind that has samples', () => {
    const gpu = watched({ windows: { utilization: { max: 1, avg: 0.2, p95: 0.5, samples: 9 } } });
    expect(linesOf(gpu).filter((line) => line.includes('window'))).toEqual([
      'gpu_utilization_window_ratio{gpu="0",uuid="GPU-1",stat="max"} 1',
      'gpu_utilization_window_ratio{gpu="0",uuid="GPU-1",stat="avg"} 0.2',
      'gpu_utilization_window_ratio{gpu="0",uuid="GPU-1",stat="p95"} 0.5',
    ]);
  });

  it('is the integrated energy, told apart from that of a meter', () => {
    expect(linesOf(watched({ integratedJoules: 0 }), 'gpu_energy')).toEqual([
      'gpu_energy_integrated_joules_total{gpu="0",uuid="GPU-1",source="integrated"} 0',
    ]);
    expect(linesOf(watched(), 'gpu_energy')).toEqual([]);
  });

  it('is each XID with its count, and its time once there was one', () => {
    const xids = new Map([
      [79, { count: 0 }],
      [31, { count: 2, lastUnixSeconds: 1_750_000_000 }],
      [48, { count: 0, lastUnixSeconds: 1_740_000_000 }],
    ]);
    expect(linesOf(watched({ xids }), 'gpu_xid')).toEqual([
      'gpu_xid_errors_total{gpu="0",uuid="GPU-1",xid="79"} 0',
      'gpu_xid_errors_total{gpu="0",uuid="GPU-1",xid="31"} 2',
      'gpu_xid_errors_total{gpu="0",uuid="GPU-1",xid="48"} 0',
      'gpu_xid_last_timestamp_seconds{gpu="0",uuid="GPU-1",xid="31"} 1750000000',
      'gpu_xid_last_timestamp_seconds{gpu="0",uuid="GPU-1",xid="48"} 1740000000',
    ]);
    expect(linesOf(watched(), 'gpu_xid')).toEqual([]);
  });
});

describe('processes', () => {
  it('say unknown where the owner is not known', () => {
    const owner = {
      engine: 'vllm',
      model: 'qwen3',
      container: '0123456789ab',
      port: 8000,
      program: 'python3',
    };
    const processes = [
      process(7, { owner, memoryBytes: 2048, smUtilizationRatio: 0.5 }),
      process(8, { name: '/usr/bin/blender', type: 'graphics', memoryBytes: 1024 }),
      process(9),
    ];
    const at = 'gpu="0",uuid="GPU-1"';
    expect(linesOf(watched({ processes }), 'gpu_process_')).toEqual([
      `gpu_process_info{${at},pid="7",process_name="python3",type="compute",container="0123456789ab",port="8000",engine="vllm",model="qwen3"} 1`,
      `gpu_process_info{${at},pid="8",process_name="blender",type="graphics",container="unknown",port="unknown",engine="unknown",model="unknown"} 1`,
      `gpu_process_info{${at},pid="9",process_name="unknown",type="compute",container="unknown",port="unknown",engine="unknown",model="unknown"} 1`,
      `gpu_process_memory_bytes{${at},pid="7"} 2048`,
      `gpu_process_memory_bytes{${at},pid="8"} 1024`,
      `gpu_process_sm_utilization_ratio{${at},pid="7"} 0.5`,
    ]);
  });

  const four = [
    process(1, { memoryBytes: 10 }),
    process(2),
    process(3, { memoryBytes: 30 }),
    process(4, { memoryBytes: 10 }),
  ];
  it.each([
    ['more than there are', 5, ['3', '1', '4', '2'], undefined],
    ['as many as there are', 4, ['3', '1', '4', '2'], undefined],
    ['the largest', 2, ['3', '1'], 3],
    ['none, which drops nothing', 0, [], undefined],
  ])('are bounded: %s', (_, maxProcessesPerGpu, pids, dropped) => {
    const told: [string, string, number][] = [];
    const families = gpuSnapshotFamilies(snapshotOf([watched({ processes: four })]), {
      maxProcessesPerGpu,
      onDroppedSeries: (...what) => told.push(what),
    });
    const infos = families.find(({ name }) => name === 'gpu_process_info')?.points ?? [];
    expect(infos.map(({ labels }) => labels['pid'])).toEqual(pids);
    expect(told).toEqual(dropped === undefined ? [] : [['nvml', 'budget', dropped]]);
  });

  it('are each there once, as where it holds most', () => {
    const processes = [process(1, { type: 'graphics' }), process(1, { memoryBytes: 5 })];
    const rendered = linesOf(watched({ processes }), 'gpu_process_info');
    expect(rendered).toHaveLength(1);
    expect(rendered[0]).toContain('type="compute"');
  });

  it.each([
    ['python3', { program: '/usr/bin/python3 -m vllm --api-key /secret/key' }, '/usr/bin/other'],
    ['VLLM::EngineCore', { program: 'VLLM::EngineCore' }, undefined],
    ['ollama', {}, '/usr/local/bin/ollama runner --model /blobs/sha256'],
    ['explorer.exe', {}, 'C:\\Windows\\explorer.exe'],
    ['a b.exe', {}, 'C:\\Program Files\\a b.exe'],
    ['unknown', {}, undefined],
    ['unknown', { program: '  ' }, ''],
  ])('are named %s, never by their arguments', (expected, owner, name) => {
    expect(processName(name === undefined ? { owner } : { owner, name })).toBe(expected);
  });
});

describe('backends', () => {
  it.each<[string, Partial<BackendState>, string[]]>([
    ['before it gave anything', {}, []],
    [
      'that works',
      { ageSeconds: 0.5, driverVersion: '575.57.08', libraryVersion: '12.575.57.08' },
      [
        'gpu_exporter_backend_up{backend="nvml"} 1',
        'gpu_exporter_backend_info{backend="nvml",driver_version="575.57.08",library_version="12.575.57.08"} 1',
        'gpu_exporter_reading_age_seconds{backend="nvml"} 0.5',
      ],
    ],
    [
      'that hangs after it worked',
      {
        ageSeconds: 65,
        failure: { reason: 'hung', message: '', sinceUnixSeconds: 1 },
        restarts: 4,
        abandoned: 1,
      },
      [
        'gpu_exporter_backend_up{backend="nvml"} 0',
        'gpu_exporter_backend_failure_info{backend="nvml",reason="hung"} 1',
        'gpu_exporter_reading_age_seconds{backend="nvml"} 65',
        'gpu_exporter_reader_restarts_total{backend="nvml"} 4',
        'gpu_exporter_readers_abandoned{backend="nvml"} 1',
      ],
    ],
    [
      'with values that make no sense',
      { unparsed: new Map([['utilization/gpu_util', 2]]) },
      ['gpu_exporter_unparsed_values_total{backend="nvml",field="utilization/gpu_util"} 2'],
    ],
  ])('%s', (_, changes, expected) => {
    const standing = [
      'gpu_exporter_gpus{backend="nvml"} 0',
      'gpu_exporter_backend_info{backend="nvml"} 1',
      'gpu_exporter_reader_restarts_total{backend="nvml"} 0',
      'gpu_exporter_readers_abandoned{backend="nvml"} 0',
    ];
    const overridden = (line: string): boolean =>
      expected.some((other) => other.split('{')[0] === line.split('{')[0]);
    const families = gpuSnapshotFamilies(snapshotOf([], [state(changes)]), { maxProcessesPerGpu: 8 });
    expect(lines(families).toSorted()).toEqual(
      [...expected, ...standing.filter((line) => !overridden(line))].toSorted(),
    );
  });

  it('know their own GPUs', () => {
    const gpus = [
      watched(),
      watched({ reading: reading({ gpu: '1', uuid: 'GPU-2', condition: 'vanished' }) }),
    ];
    const families = gpuSnapshotFamilies(snapshotOf(gpus, [state(), state({ backend: 'amdgpu' })]), {
      maxProcessesPerGpu: 8,
    });
    expect(lines(families, 'gpu_exporter_gpus')).toEqual([
      'gpu_exporter_gpus{backend="nvml"} 2',
      'gpu_exporter_gpus{backend="amdgpu"} 0',
    ]);
  });
});

it('shows one reading by itself without what only a watch knows', () => {
  const families = readingFamilies({
    backend: 'nvidia-smi',
    driverVersion: '575.57.08',
    gpus: [
      reading({
        points: [{ metric: 'gpu_power_watts', value: 71.5 }],
        processes: [{ pid: 7, type: 'compute', name: '/usr/bin/python3', memoryBytes: 1024 }],
      }),
    ],
    unparsed: [
      { field: 'fan_speed', value: '655 %' },
      { field: 'fan_speed', value: '656 %' },
    ],
    unsupported: [],
  });
  expect(misdeclaredSeries(families)).toEqual([]);
  expect(lines(families)).toEqual([
    'gpu_up{gpu="0",uuid="GPU-1"} 1',
    'gpu_info{gpu="0",uuid="GPU-1",vendor="nvidia"} 1',
    'gpu_process_info{gpu="0",uuid="GPU-1",pid="7",process_name="python3",type="compute",container="unknown",port="unknown",engine="unknown",model="unknown"} 1',
    'gpu_process_memory_bytes{gpu="0",uuid="GPU-1",pid="7"} 1024',
    'gpu_exporter_gpus{backend="nvidia-smi"} 1',
    'gpu_exporter_backend_info{backend="nvidia-smi",driver_version="575.57.08"} 1',
    'gpu_exporter_unparsed_values_total{backend="nvidia-smi",field="fan_speed"} 2',
    'gpu_power_watts{gpu="0",uuid="GPU-1"} 71.5',
  ]);
});
