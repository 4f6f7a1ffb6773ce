import { DOWN_REASONS, type DownReason, type WatchedGpu } from '@llm-monitor/gpus';

import { describeGpus, serverGpus, type GpuView } from './describe-gpus.ts';
import type { GpuPast } from './gpu-history.ts';
import type { KnownServer } from './gpu-users.ts';
import { backendOf, GIBIBYTE, gpuOf, processOf, snapshotOf, type PointRow } from './test-gpus.ts';

const NOW = 1_000_000;
const NOTHING: GpuPast = { steps: [] };
const chat: KnownServer = { server: 'chat', url: 'http://127.0.0.1:8000', engine: 'vllm', models: ['m'] };

function viewOf(
  gpu: WatchedGpu,
  past: GpuPast = NOTHING,
  backends = [backendOf({ ageSeconds: 1 })],
): GpuView {
  const [view] = describeGpus(snapshotOf([gpu], backends), () => past, [chat], NOW).gpus;
  if (view === undefined) throw new Error('no view');
  return view;
}

const withPoints = (...points: readonly PointRow[]): GpuView => viewOf(gpuOf(points));

describe('a GPU that works', () => {
  it('is shown with its figures and the model on it', () => {
    const gpu = gpuOf(
      [
        ['gpu_utilization_ratio', 0.87],
        ['gpu_power_watts', 312.4],
        ['gpu_power_limit_watts', 700, { kind: 'enforced' }],
        ['gpu_temperature_celsius', 64, { sensor: 'core' }],
        ['gpu_temperature_headroom_celsius', 19],
        ['gpu_memory_used_bytes', 71.2 * GIBIBYTE],
        ['gpu_memory_size_bytes', 79.6 * GIBIBYTE],
        ['gpu_clock_event_active', 1, { reason: 'sw_power_cap' }],
        ['gpu_clock_event_active', 0, { reason: 'hw_thermal' }],
      ],
      {
        windows: { utilization: { max: 1, avg: 0.5, p95: 0.99, samples: 150 } },
        processes: [processOf(7, { engine: 'vllm', port: 8000 }, { memoryBytes: 70 * GIBIBYTE })],
      },
    );
    expect(viewOf(gpu)).toMatchObject({
      title: 'GPU 0',
      name: 'NVIDIA H100 80GB HBM3',
      state: { level: 'serving', word: 'Working' },
      users: [{ name: 'm', detail: 'vLLM · chat', memory: '70 GiB' }],
      usersNote: '',
      utilization: { text: '87', unit: '%' },
      most: { text: '100', unit: '%' },
      power: { text: '312', unit: 'W' },
      powerDetail: 'of 700 W',
      temperature: { text: '64', unit: '°C' },
      temperatureDetail: '19 °C below its limit',
      memories: [{ name: 'Memory', text: '71.2 GiB of 79.6 GiB' }],
      heldBack: 'Clocks held back by the power limit.',
      problem: { text: '', command: '' },
      lastRead: 'read just now',
      place: '0000:8f:00.0',
    });
  });

  it('says of each figure that it is not given, where it is not', () => {
    const { utilization, most, power, temperature, memories, powerDetail, temperatureDetail, state } =
      viewOf(gpuOf());
    const unknown = { text: '–', reason: 'not given by this GPU' };
    expect([utilization, most, power, temperature]).toEqual([unknown, unknown, unknown, unknown]);
    expect([memories, powerDetail, temperatureDetail]).toEqual([[], '', '']);
    expect(state).toEqual({ level: 'ready', word: 'Up' });
  });

  it.each([
    ['idle', [['gpu_utilization_ratio', 0]], 'ready', 'Idle'],
    ['a little busy', [['gpu_utilization_ratio', 0.001]], 'serving', 'Working'],
    [
      'slowed down for heat',
      [
        ['gpu_utilization_ratio', 1],
        ['gpu_clock_event_active', 1, { reason: 'sw_thermal' }],
      ],
      'busy',
      'Slowed down',
    ],
  ] as const)('is %s', (_, points, level, word) => {
    expect(withPoints(...points).state).toEqual({ level, word });
  });

  it.each([
    ['nothing', [], ''],
    ['that it is idle', ['gpu_idle'], ''],
    ['heat, which the general flag repeats', ['hw_slowdown', 'hw_thermal'], 'by the hardware, for heat'],
    ['the general flag alone', ['hw_slowdown'], 'by the hardware, for heat or power'],
    ['two reasons', ['sw_power_cap', 'sw_thermal'], 'by the power limit and by the driver, for heat'],
  ])('has its clocks held back by %s', (_, reasons, words) => {
    const rows = reasons.map((reason): PointRow => ['gpu_clock_event_active', 1, { reason }]);
    expect(withPoints(...rows).heldBack).toBe(words === '' ? '' : `Clocks held back ${words}.`);
  });

  it.each<[string, PointRow[], string]>([
    ['by its own margin', [['gpu_temperature_headroom_celsius', 5]], '5 °C below its limit'],
    ['past its limit', [['gpu_temperature_headroom_celsius', -3]], '3 °C over its limit'],
    [
      'by a fixed limit',
      [
        ['gpu_temperature_celsius', 80, { sensor: 'core' }],
        ['gpu_temperature_threshold_celsius', 95, { kind: 'slowdown' }],
      ],
      '15 °C below its limit',
    ],
    [
      'not by the limit of shutdown',
      [
        ['gpu_temperature_celsius', 80, { sensor: 'core' }],
        ['gpu_temperature_threshold_celsius', 105, { kind: 'shutdown' }],
      ],
      '',
    ],
  ])('tells how far it is from getting too hot, %s', (_, points, text) => {
    expect(withPoints(...points).temperatureDetail).toBe(text);
  });

  it.each<[string, PointRow[], GpuView['memories']]>([
    [
      'of the host (GB10, Jetson)',
      [
        ['gpu_memory_used_bytes', 32 * GIBIBYTE],
        ['gpu_memory_size_bytes', 128 * GIBIBYTE],
        ['gpu_memory_unified', 1],
      ],
      [{ name: 'Memory, shared with the host', text: '32 GiB of 128 GiB', value: 0.25 }],
    ],
    [
      'of an APU, whose model lives in GTT',
      [
        ['gpu_memory_used_bytes', 0.25 * GIBIBYTE],
        ['gpu_memory_size_bytes', 0.5 * GIBIBYTE],
        ['gpu_memory_gtt_used_bytes', 30 * GIBIBYTE],
        ['gpu_memory_gtt_size_bytes', 60 * GIBIBYTE],
      ],
      [
        { name: 'Memory', text: '256 MiB of 512 MiB', value: 0.5 },
        { name: 'Host memory it uses (GTT)', text: '30 GiB of 60 GiB', value: 0.5 },
      ],
    ],
    [
      'of a card that maps a trifle of the host’s',
      [
        ['gpu_memory_used_bytes', 8 * GIBIBYTE],
        ['gpu_memory_size_bytes', 16 * GIBIBYTE],
        ['gpu_memory_gtt_used_bytes', 0.05 * GIBIBYTE],
        ['gpu_memory_gtt_size_bytes', 31 * GIBIBYTE],
      ],
      [{ name: 'Memory', text: '8 GiB of 16 GiB', value: 0.5 }],
    ],
    ['without a size', [['gpu_memory_used_bytes', GIBIBYTE]], [{ name: 'Memory', text: '1 GiB in use' }]],
    [
      'without what is used',
      [['gpu_memory_size_bytes', GIBIBYTE]],
      [{ name: 'Memory', text: '1 GiB in all' }],
    ],
  ])('has memory %s', (_, points, memories) => {
    expect(withPoints(...points).memories).toEqual(memories);
  });

  it.each([
    [[], 'Nothing uses it.'],
    [undefined, 'The driver does not tell its processes.'],
    [Array.from({ length: 8 }, (_, pid) => processOf(pid, { program: `p${pid}` })), 'and 2 more'],
  ])('says so where nothing can be shown of who uses it (%#)', (processes, note) => {
    expect(viewOf(gpuOf([], { processes })).usersNote).toBe(note);
  });

  it.each<[PointRow, string, string]>([
    [
      ['gpu_recovery_action', 1],
      'The driver asks for a reset of this GPU: stop what uses it, then reset it.',
      'sudo nvidia-smi --gpu-reset -i 0',
    ],
    [['gpu_recovery_action', 2], 'The driver asks for a reboot of the host.', ''],
    [['gpu_recovery_action', 0], '', ''],
    [['gpu_remapped_rows_failure', 1], 'Bad memory could not be replaced: the board is to be exchanged.', ''],
    [['gpu_remapped_rows_failure', 0], '', ''],
    [['gpu_remapped_rows_pending', 1], 'Bad memory waits for a reset of the GPU to be taken out of use.', ''],
  ])('passes on what the driver asks for: %j', (point, text, command) => {
    expect(withPoints(point).problem).toEqual({ text, command });
  });

  it.each([
    [48, 90, 'XID 48, 1 min ago: a memory error that ECC could not correct (double bit).'],
    [48, 4000, ''],
    [31, 90, ''],
  ])('tells of XID %d for an hour when it is a fatal one, %d s ago', (xid, ago, start) => {
    const xids = new Map([[xid, { count: 2, lastUnixSeconds: NOW - ago }]]);
    const { problem, facts } = viewOf(gpuOf([], { xids }));
    expect(problem.text.slice(0, start.length || undefined)).toBe(start);
    expect(facts[0]?.text).toMatch(/, 2 times, last (1 min|1 h 6 min) ago$/);
  });

  it('shows its past as a chart to 100 %', () => {
    const index = Math.floor(NOW / 5) - 1;
    const { chart } = viewOf(gpuOf(), {
      steps: [
        { index: index - 1, utilizationRatio: 0.25 },
        { index, utilizationRatio: 0.5 },
      ],
    });
    expect(chart.points.slice(-3)).toEqual([null, 0.25, 0.5]);
    expect(chart.summary).toBe('GPU utilization over the last 10 minutes, at most 50 %.');
  });
});

describe('a GPU that gives no figures', () => {
  it.each<[DownReason, string]>([
    ['lost', 'Lost'],
    ['reset_required', 'Needs a reset'],
    ['unknown_error', 'Failing'],
    ['no_permission', 'Not allowed'],
    ['vanished', 'Gone'],
    ['driver_unreachable', 'No answer'],
    ['hung', 'Hung'],
  ])('for it is %s says so and what to do', (condition, word) => {
    const view = viewOf(gpuOf([], { reading: { condition }, processes: undefined }));
    expect(view.state).toEqual({ level: 'down', word });
    expect(view.problem.text).not.toBe('');
    expect(view.problem.command).not.toBe('');
    expect(view.usersNote).toBe('');
    expect(view.utilization.reason).toBe('the GPU is down');
  });

  it('has a word for each condition', () => {
    for (const condition of DOWN_REASONS) {
      expect(viewOf(gpuOf([], { reading: { condition } })).state.word).toMatch(/^[A-Z]/);
    }
  });

  it('is told with the age of its last figures', () => {
    const { text } = viewOf(gpuOf([], { reading: { condition: 'lost' } }), {
      steps: [],
      lastUpSeconds: NOW - 300,
    }).problem;
    expect(text).toMatch(/^It fell off the bus \(XID 79\).* Last figures 5 min ago\.$/);
  });

  it('names itself in the command that resets it', () => {
    const { command } = viewOf(gpuOf([], { reading: { condition: 'reset_required', gpu: '3' } })).problem;
    expect(command).toBe('sudo nvidia-smi --gpu-reset -i 3');
  });

  it.each([
    ['hung', /^No figures of 1 GPU from nvml for 42 s\. The driver does not answer, .*/],
    [
      'driver_mismatch',
      /^No figures of 1 GPU from nvml for 42 s \(in its own words\)\. The driver was upgraded .*/,
    ],
  ] as const)(
    'for its driver fails (%s) leaves it to its driver to say for how long, and why',
    (reason, text) => {
      const failure = { reason, message: 'in its own words', sinceUnixSeconds: NOW - 37 };
      const gpu = gpuOf([], { ageSeconds: 42, reading: { condition: 'driver_unreachable' } });
      const snapshot = snapshotOf([gpu], [backendOf({ ageSeconds: 42, failure })]);
      const { gpus, problems } = describeGpus(snapshot, () => NOTHING, [], NOW);
      expect(gpus[0]).toMatchObject({ problem: { text: '', command: '' }, lastRead: 'read 42 s ago' });
      expect(problems).toHaveLength(1);
      expect(problems[0]?.text).toMatch(text);
      expect(problems[0]?.command).not.toBe('');
    },
  );

  it('for a reason that its driver does not know says for how long', () => {
    const gpu = gpuOf([], { ageSeconds: 42, reading: { condition: 'driver_unreachable' } });
    expect(viewOf(gpu).problem.text).toBe('No figures for 42 s.');
  });

  it('for it sleeps is no fault', () => {
    const view = viewOf(gpuOf([], { reading: { condition: 'suspended' }, processes: undefined }));
    expect(view.state).toEqual({ level: 'quiet', word: 'Asleep' });
    expect(view.problem.text).toContain('to read it would wake it');
    expect(view.power.reason).toBe('the GPU is asleep');
    expect(view.lastRead).toBe('looked at just now');
  });
});

describe('the GPUs together', () => {
  it('are told apart by their vendor only where there are two', () => {
    const nvidia = gpuOf();
    const amd = gpuOf([], { backend: 'amdgpu', reading: { uuid: 'a', facts: { vendor: 'amd' } } });
    const titlesOf = (gpus: WatchedGpu[]): string[] =>
      describeGpus(snapshotOf(gpus), () => NOTHING, [], NOW).gpus.map(
        ({ title, name }) => `${title}: ${name}`,
      );
    expect(titlesOf([amd])).toEqual(['GPU 0: AMD GPU']);
    expect(titlesOf([nvidia, amd])).toEqual(['NVIDIA GPU 0: NVIDIA H100 80GB HBM3', 'AMD GPU 0: AMD GPU']);
  });

  it('are told of once for each driver that fails, however many it has, and not for one that reads again', () => {
    const hung = { reason: 'hung', message: 'no word for 5 s', sinceUnixSeconds: NOW } as const;
    const gone = (gpu: string, ageSeconds: number): WatchedGpu =>
      gpuOf([], { ageSeconds, reading: { gpu, uuid: gpu, condition: 'driver_unreachable' } });
    const amd = gpuOf([], { backend: 'amdgpu', reading: { uuid: 'a', facts: { vendor: 'amd' } } });
    const problemsOf = (gpus: WatchedGpu[]): string[] =>
      describeGpus(
        snapshotOf(gpus, [backendOf({ failure: hung }), backendOf({ backend: 'amdgpu', ageSeconds: 1 })]),
        () => NOTHING,
        [],
        NOW,
      ).problems.map(({ text }) => text);
    expect(problemsOf([gone('0', 42), gone('1', 43), amd])).toEqual([
      expect.stringMatching(/^No figures of 2 GPUs from nvml for 43 s\. The driver does not answer/),
    ]);
    // Its last figures are still shown.
    expect(problemsOf([gpuOf(), amd])).toEqual([]);
  });

  const failure = {
    reason: 'driver_mismatch',
    message: 'Driver/library version mismatch (575.57 and 580.105)',
    sinceUnixSeconds: NOW,
  } as const;
  it.each([
    ['nothing was read yet', snapshotOf([], []), 'Looking for GPUs.'],
    ['a backend reads for the first time', snapshotOf([], [backendOf()]), 'Looking for GPUs.'],
    ['there is no sign of one', snapshotOf([], [], 'no GPU on the bus'), 'No GPU seen: no GPU on the bus.'],
    [
      'the driver lists none',
      snapshotOf([], [backendOf({ ageSeconds: 1 })]),
      'No GPU seen: the driver works, and lists none.',
    ],
    [
      'the driver fails',
      snapshotOf([], [backendOf({ failure })]),
      'No GPU seen: Driver/library version mismatch.',
    ],
    [
      'one of two drivers fails',
      snapshotOf(
        [gpuOf([], { backend: 'amdgpu' })],
        [backendOf({ failure }), backendOf({ backend: 'amdgpu' })],
      ),
      'No GPU seen by nvml: Driver/library version mismatch.',
    ],
    ['a GPU tells it itself', snapshotOf([gpuOf()], [backendOf({ failure })]), ''],
    ['all is well', snapshotOf([gpuOf()]), ''],
  ])('say why none is seen in one line: %s', (_, snapshot, line) => {
    expect(describeGpus(snapshot, () => NOTHING, [], NOW).line).toBe(line);
  });
});

describe('the GPUs of a server', () => {
  const on = (gpu: string, bytes?: number): WatchedGpu =>
    gpuOf([], {
      reading: { gpu, uuid: gpu },
      processes: [processOf(7, { port: 8000 }, bytes === undefined ? {} : { memoryBytes: bytes })],
    });

  it.each([
    ['none', [gpuOf()], ''],
    ['one', [on('1', GIBIBYTE)], 'GPU 1 · 1 GiB'],
    ['two, with their memory together', [on('0', GIBIBYTE), on('1', GIBIBYTE)], 'GPU 0, 1 · 2 GiB'],
    ['one that does not tell its memory', [on('0')], 'GPU 0'],
  ])('%s', (_, gpus, text) => {
    expect(serverGpus(chat, snapshotOf(gpus))).toBe(text);
  });
});
