import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { buildFakeNvml, noCompilerReason, writeFakeHost, type FakeHost } from '@llm-monitor/fake-nvml';
import {
  gpuMetrics,
  readSavedGpuFolder,
  readSavedGpus,
  startGpuWatch,
  type GpuPoint,
  type GpuReading,
  type GpuSnapshot,
  type GpuWatch,
  type GpuWatchSettings,
} from '@llm-monitor/gpus';
import { buildSync } from 'esbuild';

import type { ClockEvent, GpuState } from '../../gpu/gpu.ts';
import { amdgpuTree } from './amdgpu-tree.ts';
import { fakeNvmlHost, type FakeNvmlHost } from './fake-nvml-host.ts';
import { mergeTrees, type FileTree } from './file-tree.ts';
import type { GpuHost } from './gpu-host.ts';
import { kernelLogRecords } from './kernel-log-records.ts';
import { answerNvidiaSmi } from './nvidia-smi.ts';
import { pciTree } from './pci-tree.ts';
import { procTree } from './proc-tree.ts';
import { SMI_LAYOUTS, type SmiLayout } from './smi-layout.ts';
import {
  A100,
  amdHost,
  busyGpu,
  DRIVERS,
  H100,
  idleGpu,
  L4,
  MI300X,
  nvidiaHost,
  RTX_4090,
  STRIX_HALO,
  BOARDS,
} from './test-gpu-state.ts';

const MEBIBYTE = 1024 ** 2;
const library = buildFakeNvml();
const describeWithCompiler = library === undefined ? describe.skip : describe;
const compilerNote = library === undefined ? ` (${noCompilerReason})` : '';

let folder: string;
let watch: GpuWatch | undefined;

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'gpu-surfaces-'));
  process.env['NVIDIA_FAKE_CONFIG'] = path.join(folder, 'host.json');
});

afterEach(async () => {
  await watch?.stop();
  watch = undefined;
});

afterAll(() => {
  delete process.env['NVIDIA_FAKE_CONFIG'];
  rmSync(folder, { recursive: true, force: true });
});

/** What a figure has to be, and half of the last digit in which it is printed. */
type Truth = Readonly<Record<string, readonly [value: number, tolerance: number]>>;

const EVENTS: Readonly<Record<string, ClockEvent>> = {
  gpu_idle: 'gpu_idle',
  sw_power_cap: 'sw_power_cap',
  hw_slowdown: 'hw_slowdown',
  sw_thermal: 'sw_thermal_slowdown',
  hw_thermal: 'hw_thermal_slowdown',
  hw_power_brake: 'hw_power_brake',
};
const TIMED_EVENTS = ['sw_power_cap', 'sw_thermal', 'hw_thermal', 'hw_power_brake'];

/** Figures of all backends of NVIDIA. */
function nvidiaTruth(gpu: GpuState, layout: SmiLayout): Truth {
  const { board } = gpu;
  const hasReserved = layout !== 'r470';
  const truth: Record<string, readonly [number, number]> = {
    gpu_utilization_ratio: [gpu.utilizationRatio, 0.005],
    gpu_memory_utilization_ratio: [gpu.memoryUtilizationRatio, 0.005],
    gpu_memory_size_bytes: [board.memoryBytes, MEBIBYTE / 2],
    gpu_memory_used_bytes: [gpu.memoryUsedBytes + (hasReserved ? 0 : gpu.memoryReservedBytes), MEBIBYTE / 2],
    gpu_memory_free_bytes: [board.memoryBytes - gpu.memoryUsedBytes - gpu.memoryReservedBytes, MEBIBYTE / 2],
    'gpu_temperature_celsius{sensor="core"}': [gpu.coreCelsius, 0.5],
    gpu_power_watts: [gpu.powerWatts, 0.0055],
    'gpu_power_limit_watts{kind="enforced"}': [gpu.powerLimitWatts, 0.005],
    'gpu_power_limit_watts{kind="requested"}': [gpu.powerLimitWatts, 0.005],
    'gpu_power_limit_watts{kind="default"}': [board.powerLimitWatts.default, 0.005],
    'gpu_power_limit_watts{kind="min"}': [board.powerLimitWatts.min, 0.005],
    'gpu_power_limit_watts{kind="max"}': [board.powerLimitWatts.max, 0.005],
    'gpu_clock_hertz{domain="graphics"}': [gpu.smClockHertz, 0.5e6],
    'gpu_clock_hertz{domain="sm"}': [gpu.smClockHertz, 0.5e6],
    'gpu_clock_hertz{domain="memory"}': [gpu.memoryClockHertz, 0.5e6],
    'gpu_clock_max_hertz{domain="graphics"}': [board.clocksHertz.smMax, 0.5e6],
    'gpu_clock_max_hertz{domain="sm"}': [board.clocksHertz.smMax, 0.5e6],
    'gpu_clock_max_hertz{domain="memory"}': [board.clocksHertz.memoryMax, 0.5e6],
    gpu_pcie_link_generation_max: [board.pcie.generation, 0],
    gpu_pcie_link_width: [board.pcie.width, 0],
    gpu_pcie_link_width_max: [board.pcie.width, 0],
    'gpu_pcie_throughput_bytes_per_second{direction="transmit"}': [gpu.pcieSentBytesPerSecond, 500],
    'gpu_pcie_throughput_bytes_per_second{direction="receive"}': [gpu.pcieReceivedBytesPerSecond, 500],
    gpu_pcie_replay_total: [gpu.pcieReplays, 0],
    'gpu_processes{type="compute"}': [gpu.processes.length, 0],
    'gpu_processes{type="graphics"}': [0, 0],
  };
  for (const [reason, event] of Object.entries(EVENTS)) {
    truth[`gpu_clock_event_active{reason="${reason}"}`] = [gpu.clockEvents.includes(event) ? 1 : 0, 0];
  }
  if (hasReserved) truth['gpu_memory_reserved_bytes'] = [gpu.memoryReservedBytes, MEBIBYTE / 2];
  if (gpu.memoryCelsius !== undefined) {
    truth['gpu_temperature_celsius{sensor="memory"}'] = [gpu.memoryCelsius, 0.5];
  }
  if (gpu.fanRatio !== undefined) truth['gpu_fan_speed_ratio{fan="0"}'] = [gpu.fanRatio, 0.005];
  return { ...truth, ...limitsTruth(gpu, layout), ...errorsTruth(gpu), ...timesTruth(gpu, layout) };
}

/** Absolute limits up to Ampere, a headroom from Ada on, of which R470 knew nothing. */
function limitsTruth({ board, coreCelsius }: GpuState, layout: SmiLayout): Truth {
  const { slowdownCelsius, hardwareSlowdownCelsius, shutdownCelsius } = board.thermal;
  if (board === A100) {
    return {
      'gpu_temperature_threshold_celsius{kind="gpu_max"}': [slowdownCelsius, 0],
      'gpu_temperature_threshold_celsius{kind="slowdown"}': [hardwareSlowdownCelsius, 0],
      'gpu_temperature_threshold_celsius{kind="shutdown"}': [shutdownCelsius, 0],
    };
  }
  if (layout === 'r470') return {};
  return { gpu_temperature_headroom_celsius: [slowdownCelsius - coreCelsius, 0.5] };
}

function errorsTruth({ board, eccCorrected, eccUncorrected, remappedRows }: GpuState): Truth {
  if (!board.ecc) return {};
  const errors = ['volatile', 'aggregate'].flatMap((lifetime) => {
    const series = (type: string, location: string): string =>
      `gpu_ecc_errors_total{type="${type}",location="${location}",lifetime="${lifetime}"}`;
    return [
      [series('corrected', 'dram'), [eccCorrected, 0]],
      [series('uncorrected', 'dram'), [eccUncorrected, 0]],
      [series('corrected', 'sram'), [0, 0]],
      [series('uncorrected', 'sram'), [0, 0]],
    ] as const;
  });
  return {
    gpu_ecc_enabled: [1, 0],
    ...Object.fromEntries(errors),
    'gpu_remapped_rows{type="corrected"}': [remappedRows.correctable, 0],
    'gpu_remapped_rows{type="uncorrected"}': [remappedRows.uncorrectable, 0],
    gpu_remapped_rows_pending: [remappedRows.pending ? 1 : 0, 0],
  };
}

/** Counters came with R575. */
function timesTruth({ clockEventSeconds }: GpuState, layout: SmiLayout): Truth {
  if (layout !== 'r580') return {};
  return Object.fromEntries(
    TIMED_EVENTS.map((reason) => {
      const event = EVENTS[reason] ?? 'gpu_idle';
      return [`gpu_clock_event_seconds_total{reason="${reason}"}`, [clockEventSeconds[event], 1e-6]];
    }),
  );
}

/** What NVML alone tells. */
function nvmlTruth(gpu: GpuState): Truth {
  const links = gpu.board.nvlink?.links ?? 0;
  const truth: Record<string, readonly [number, number]> = {
    gpu_energy_joules_total: [gpu.energyJoules, 0.0005],
    'gpu_clock_event_active{reason="other"}': [0, 0],
  };
  for (let link = 0; link < links; link += 1) {
    truth[`gpu_nvlink_transmit_bytes_total{link="${link}"}`] = [gpu.nvlinkSentBytes / links, 1024];
    truth[`gpu_nvlink_receive_bytes_total{link="${link}"}`] = [gpu.nvlinkReceivedBytes / links, 1024];
  }
  for (let fan = 0; fan < (gpu.board.fan?.fans ?? 0); fan += 1) {
    truth[`gpu_fan_speed_ratio{fan="${fan}"}`] = [gpu.fanRatio ?? 0, 0.005];
    truth[`gpu_fan_speed_rpm{fan="${fan}"}`] = [gpu.fanRpm ?? 0, 0.5];
  }
  return truth;
}

/** Figures of which the truth has nothing, and which follow from the board, or are what such a board says when all is well. */
const DERIVED = [
  'gpu_bar1_size_bytes',
  'gpu_bar1_used_bytes',
  'gpu_clock_event_active',
  'gpu_clock_event_seconds_total',
  'gpu_clock_hertz',
  'gpu_clock_max_hertz',
  'gpu_decoder_utilization_ratio',
  'gpu_encoder_utilization_ratio',
  'gpu_fabric_state',
  'gpu_jpeg_utilization_ratio',
  'gpu_mig_enabled',
  'gpu_nvlink_errors_total',
  'gpu_nvlink_up',
  'gpu_ofa_utilization_ratio',
  'gpu_pcie_link_generation',
  'gpu_performance_state',
  'gpu_power_average_watts',
  'gpu_recovery_action',
  'gpu_remapped_rows_failure',
];

function seriesOf({ metric, labels = {} }: GpuPoint): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value}"`);
  return pairs.length === 0 ? metric : `${metric}{${pairs.join()}}`;
}

/** What is not as in truth, a line each: figures that differ, that are missing, and that nobody expects. */
function wrongIn({ points }: GpuReading, truth: Truth, derived: readonly string[] = DERIVED): string[] {
  const found = new Map(points.map((point) => [seriesOf(point), point]));
  const differing = Object.entries(truth).flatMap(([series, [value, tolerance]]) => {
    const told = found.get(series)?.value;
    if (told === undefined) return [`${series} is missing`];
    return Math.abs(told - value) <= tolerance ? [] : [`${series} is ${told} and not ${value}`];
  });
  const unexpected = [...found].flatMap(([series, { metric }]) =>
    Object.hasOwn(truth, series) || derived.includes(metric) ? [] : [`${series} is not expected`],
  );
  return [...differing, ...unexpected];
}

/** Processes as both backends tell them, memory in MiB. */
function processesOf({ processes = [] }: GpuReading): unknown {
  return processes.map(({ pid, type, name, memoryBytes = 0 }) => ({
    pid,
    type,
    name,
    mebibytes: Math.round(memoryBytes / MEBIBYTE),
  }));
}

function processesTruth({ processes }: GpuState): unknown {
  return processes.map(({ pid, command, memoryBytes }) => ({
    pid,
    type: 'compute',
    name: command[0],
    mebibytes: Math.round(memoryBytes / MEBIBYTE),
  }));
}

const THROTTLED = {
  clockEvents: ['sw_thermal_slowdown', 'hw_slowdown', 'hw_thermal_slowdown'],
  clockEventSeconds: {
    gpu_idle: 0,
    sw_power_cap: 7.5,
    sw_thermal_slowdown: 61.25,
    hw_slowdown: 30.000_000_9,
    hw_thermal_slowdown: 30.000_000_9,
    hw_power_brake: 0,
  },
  coreCelsius: 91.2,
} as const;

const HOSTS: readonly { readonly name: string; readonly gpus: readonly GpuState[] }[] = [
  { name: 'two H100, one at work and one at rest', gpus: [busyGpu(H100), idleGpu(H100, 1)] },
  {
    name: 'an H100 with two engines',
    gpus: [
      busyGpu(H100, 0, {
        processes: [
          {
            pid: 7,
            program: 'a',
            command: ['/a <b>'],
            memoryBytes: 10 * MEBIBYTE,
            smUtilizationRatio: 0.125,
          },
          { pid: 8, program: 'b', command: ['/b'], memoryBytes: 3_000_000_001, smUtilizationRatio: 0.5 },
        ],
      }),
    ],
  },
  { name: 'a RTX 4090 at rest, its fans standing', gpus: [idleGpu(RTX_4090)] },
  { name: 'a RTX 4090 that is too hot', gpus: [busyGpu(RTX_4090, 0, THROTTLED)] },
  {
    name: 'a L4 whose limit was lowered',
    gpus: [busyGpu(L4, 0, { powerLimitWatts: 50, powerWatts: 49.9994 })],
  },
  {
    name: 'a H100 under the power brake',
    gpus: [
      busyGpu(H100, 0, {
        clockEvents: ['hw_slowdown', 'hw_power_brake'],
        clockEventSeconds: { ...THROTTLED.clockEventSeconds, hw_power_brake: 12.25 },
      }),
    ],
  },
  {
    name: 'an A100 with bad memory',
    gpus: [
      busyGpu(A100, 0, {
        eccCorrected: 3_000_000_000,
        eccUncorrected: 2,
        remappedRows: { correctable: 3, uncorrectable: 1, pending: true },
      }),
    ],
  },
  {
    name: 'boards of all kinds',
    gpus: [busyGpu(H100), idleGpu(RTX_4090, 1), busyGpu(L4, 2), idleGpu(A100, 3), busyGpu(RTX_4090, 4)],
  },
];

function smiReading(host: GpuHost): readonly GpuReading[] {
  const { reading } = readSavedGpus(answerNvidiaSmi(['-q', '-x'], host).stdout, 'simulated');
  expect(reading.unparsed).toEqual([]);
  return reading.gpus;
}

describe.each(SMI_LAYOUTS)('nvidia-smi of %s', (layout) => {
  it.each(HOSTS)('tells the truth of $name', ({ gpus }) => {
    const host = nvidiaHost(gpus, DRIVERS[layout]);
    const read = smiReading(host);
    expect(read).toHaveLength(gpus.length);
    for (const [index, gpu] of gpus.entries()) {
      const found = read[index];
      if (found === undefined) throw new Error(`no GPU ${index}`);
      expect(wrongIn(found, nvidiaTruth(gpu, layout))).toEqual([]);
      expect(processesOf(found)).toEqual(processesTruth(gpu));
      expect(found).toMatchObject({
        gpu: String(index),
        uuid: gpu.uuid,
        condition: 'up',
        facts: {
          name: gpu.board.name,
          pciBusId: gpu.pciBusId,
          driverVersion: DRIVERS[layout].version,
          cudaVersion: DRIVERS[layout].cudaVersion,
        },
      });
    }
  });
});

/** The gpu-reader, bundled as the apps bundle it; in the project, from where koffi is found, which is not bundled. */
function bundleReader(): string {
  const script = path.resolve(__dirname, '../../../test-output/readers/gpu-surfaces.cjs');
  buildSync({
    stdin: {
      contents: "import { runGpuReader } from '@llm-monitor/gpus/reader';\nrunGpuReader();\n",
      resolveDir: __dirname,
      loader: 'ts',
    },
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    external: ['koffi'],
    outfile: script,
    logLevel: 'error',
  });
  return script;
}

let readerScript: string | undefined;

/** Watches with the real readers. */
function start(settings: Partial<GpuWatchSettings>): GpuWatch {
  readerScript ??= bundleReader();
  const ignore = (): void => undefined;
  watch = startGpuWatch({
    settings: {
      backend: 'nvml',
      intervalSeconds: 0.1,
      nvidiaSmiIntervalSeconds: 0.1,
      sampleHertz: 0,
      deadlineSeconds: 10,
      staleAfterSeconds: 60,
      nvmlLibrary: library,
      nvidiaSmi: undefined,
      sysfsRoot: path.join(folder, 'no-sysfs'),
      procRoot: path.join(folder, 'no-proc'),
      kernelLogFile: undefined,
      stateFile: undefined,
      processes: false,
      ...settings,
    },
    readerCommand: { script: readerScript },
    collectors: { succeeded: ignore, failed: ignore, forget: ignore },
    log: { info: ignore, warn: ignore, error: ignore },
    searchPath: '',
    timing: { startSeconds: 20, firstPauseSeconds: 0.1, longestPauseSeconds: 0.2 },
  });
  return watch;
}

const DEADLINE_SECONDS = 10;
jest.setTimeout(2 * DEADLINE_SECONDS * 1000);

/** The first snapshot that is as wanted. */
async function until(wanted: (snapshot: GpuSnapshot) => boolean): Promise<GpuSnapshot> {
  const deadline = performance.now() + DEADLINE_SECONDS * 1000;
  for (;;) {
    const snapshot = watch?.peek(10);
    if (snapshot !== undefined && wanted(snapshot)) return snapshot;
    if (performance.now() > deadline) throw new Error(`not seen: ${JSON.stringify(snapshot)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function readingsOf({ gpus }: GpuSnapshot): readonly GpuReading[] {
  return gpus.map(({ reading }) => reading);
}

/** NVML measures the traffic of one GPU in each reading. */
function isWhole(gpus: readonly GpuReading[]): boolean {
  return gpus
    .filter(({ condition }) => condition === 'up')
    .every(({ points }) => points.some(({ metric }) => metric === 'gpu_pcie_throughput_bytes_per_second'));
}

function tellNvml(host: GpuHost): void {
  const told: FakeHost = fakeNvmlHost(host);
  writeFakeHost(path.join(folder, 'host.json'), told);
}

/** What only the first has: the metric, where the second has none of its series. */
function onlyIn(first: GpuReading, second: GpuReading): string[] {
  const theirs = new Set(second.points.map(seriesOf));
  const metrics = new Set(second.points.map(({ metric }) => metric));
  const only = first.points
    .filter((point) => !theirs.has(seriesOf(point)))
    .map((point) => (metrics.has(point.metric) ? seriesOf(point) : point.metric));
  return [...new Set(only)].sort();
}

const NVML_ALONE = ['gpu_clock_event_active{reason="other"}', 'gpu_energy_joules_total'];
const NVLINK = [
  'gpu_nvlink_errors_total',
  'gpu_nvlink_receive_bytes_total',
  'gpu_nvlink_transmit_bytes_total',
  'gpu_nvlink_up',
];

function nvmlAlone({ board }: GpuState): string[] {
  return [
    ...NVML_ALONE,
    ...(board.nvlink === undefined ? [] : NVLINK),
    ...(board.fan === undefined ? [] : ['gpu_fan_speed_ratio{fan="1"}', 'gpu_fan_speed_rpm']),
  ].sort();
}

describeWithCompiler(`NVML${compilerNote}`, () => {
  it.each(HOSTS)('tells the truth of $name, and what nvidia-smi tells', async ({ gpus }) => {
    const host = nvidiaHost(gpus);
    tellNvml(host);
    start({ backend: 'nvml' });
    const snapshot = await until((seen) => seen.gpus.length === gpus.length && isWhole(readingsOf(seen)));
    const smi = smiReading(host);
    for (const [index, gpu] of gpus.entries()) {
      const found = readingsOf(snapshot)[index];
      const other = smi[index];
      if (found === undefined || other === undefined) throw new Error(`no GPU ${index}`);
      expect(wrongIn(found, { ...nvidiaTruth(gpu, 'r580'), ...nvmlTruth(gpu) })).toEqual([]);
      expect(processesOf(found)).toEqual(processesTruth(gpu));
      expect(found.processes?.map(({ smUtilizationRatio }) => smUtilizationRatio)).toEqual(
        gpu.processes.map(({ smUtilizationRatio }) => Math.round(smUtilizationRatio * 100) / 100),
      );
      const { computeCapability, ...facts } = found.facts;
      expect(computeCapability).toBe(gpu.board.computeCapability);
      expect(other.facts).toEqual(facts);
      expect(onlyIn(found, other)).toEqual(nvmlAlone(gpu));
      expect(onlyIn(other, found)).toEqual([]);
      expect(differences(found, other)).toEqual([]);
    }
  });

  it('knows that a GPU is lost, which one, and that the others are not', async () => {
    tellNvml(nvidiaHost([busyGpu(H100), idleGpu(H100, 1)]));
    start({ backend: 'nvml' });
    await until(({ gpus }) => gpus.length === 2);
    tellNvml(nvidiaHost([busyGpu(H100), idleGpu(H100, 1, { lostByXid: 79 })]));
    const snapshot = await until((seen) => conditions(seen).includes('lost'));
    expect(conditions(snapshot)).toEqual(['up', 'lost']);
  });

  it('fails at a driver of another version', async () => {
    const driver = { ...DRIVERS.r580, kernelModuleVersion: '575.57.08' };
    tellNvml(nvidiaHost([busyGpu(H100)], driver));
    start({ backend: 'nvml' });
    const snapshot = await until(({ backends }) => backends[0]?.failure !== undefined);
    expect(snapshot.backends[0]?.failure?.reason).toBe('driver_mismatch');
  });

  it('does not answer while its driver hangs, and does when that is over', async () => {
    const host = nvidiaHost([busyGpu(H100)]);
    tellNvml({ ...host, nvidiaDriverHangs: true });
    start({ backend: 'nvml', deadlineSeconds: 1 });
    const hung = await until(({ backends }) => backends[0]?.failure !== undefined);
    expect(hung.backends[0]?.failure?.reason).toBe('hung');
    tellNvml({ ...host, nvidiaDriverHangs: false });
    const snapshot = await until(({ gpus }) => gpus.length === 1);
    expect(conditions(snapshot)).toEqual(['up']);
  });

  it('and the kernel log tell each error once', async () => {
    const kernelLogFile = path.join(folder, 'kmsg');
    const errors = [
      { xid: 31, seconds: 100.5 },
      { xid: 94, seconds: 200.25 },
      { xid: 94, seconds: 201.25 },
      { xid: 79, seconds: 300 },
    ];
    writeFileSync(kernelLogFile, '');
    tellNvml(nvidiaHost([busyGpu(H100)]));
    start({ backend: 'nvml', kernelLogFile });
    await until(({ gpus }) => gpus[0]?.xids !== undefined);
    const host = nvidiaHost([busyGpu(H100, 0, { xids: errors })]);
    writeFileSync(kernelLogFile, kernelLogRecords(host));
    tellNvml(host);
    const snapshot = await until(({ gpus }) => gpus[0]?.xids?.get(79)?.count === 1 && gpus[0].xids.has(31));
    const counts = [...(snapshot.gpus[0]?.xids ?? [])].filter(([, { count }]) => count > 0);
    expect(counts.map(([xid, { count }]) => [xid, count]).sort()).toEqual([
      [31, 1],
      [79, 1],
      [94, 2],
    ]);
  });
});

/** A series that both have and that differs by more than nvidia-smi rounds. */
function differences(nvml: GpuReading, smi: GpuReading): string[] {
  const theirs = new Map(smi.points.map((point) => [seriesOf(point), point.value]));
  return nvml.points.flatMap((point) => {
    const other = theirs.get(seriesOf(point));
    if (other === undefined) return [];
    const { range } = gpuMetrics[point.metric];
    const tolerance = { bytes: MEBIBYTE / 2, watts: 0.005 + 1e-9, seconds: 1e-6 }[range as string] ?? 0;
    return Math.abs(point.value - other) <= tolerance ? [] : [`${seriesOf(point)} ${point.value} ${other}`];
  });
}

function conditions(snapshot: GpuSnapshot): string[] {
  return readingsOf(snapshot).map(({ condition }) => condition);
}

/** A program that says what ours would say of that host. */
function installSmi(name: string, host: GpuHost): string {
  const { stdout, stderr, exitCode } = answerNvidiaSmi(['-q', '-x'], host);
  const place = path.join(folder, name);
  mkdirSync(place);
  writeFileSync(path.join(place, 'stdout'), stdout);
  writeFileSync(path.join(place, 'stderr'), stderr);
  const program = path.join(place, 'nvidia-smi');
  writeFileSync(
    program,
    `#!/bin/sh\n/bin/cat '${place}/stdout'\n/bin/cat '${place}/stderr' >&2\nexit ${exitCode}\n`,
  );
  chmodSync(program, 0o755);
  return program;
}

describe('the backend nvidia-smi', () => {
  const gpus = [busyGpu(H100), idleGpu(H100, 1, { lostByXid: 79 }), idleGpu(H100, 2)];

  it.each([
    ['r470', ['lost']],
    ['r535', ['lost']],
    ['r570', ['up', 'lost', 'up']],
    ['r580', ['up', 'lost', 'up']],
  ] as const)('reads of a lost GPU what driver %s says', async (layout, expected) => {
    const host = nvidiaHost(gpus, DRIVERS[layout]);
    start({ backend: 'nvidia-smi', nvidiaSmi: installSmi(`lost-${layout}`, host) });
    const snapshot = await until(({ gpus: found }) => found.length > 0);
    expect(conditions(snapshot)).toEqual(expected);
    const lost = readingsOf(snapshot).find(({ condition }) => condition === 'lost');
    expect(lost?.facts.pciBusId).toBe('0000:1b:00.0');
  });

  it.each([
    ['driver_mismatch', nvidiaHost(gpus, { ...DRIVERS.r580, kernelModuleVersion: '575.57.08' })],
    ['driver_not_loaded', { ...nvidiaHost(gpus), nvidiaDriver: undefined }],
    ['no_gpus', nvidiaHost([])],
  ] as const)('fails as %s', async (reason, host) => {
    start({ backend: 'nvidia-smi', nvidiaSmi: installSmi(reason, host) });
    const snapshot = await until(({ backends }) => backends[0]?.failure !== undefined);
    expect(snapshot.backends[0]?.failure?.reason).toBe(reason);
  });
});

/** Figures of AMD's driver, of all cards. */
function amdTruth(gpu: GpuState): Truth {
  const { board } = gpu;
  const shared: Truth = {
    gpu_utilization_ratio: [gpu.utilizationRatio, 0.005],
    gpu_power_watts: [gpu.powerWatts, 5e-7],
    'gpu_clock_hertz{domain="graphics"}': [gpu.smClockHertz, 0.5],
    'gpu_clock_max_hertz{domain="graphics"}': [board.clocksHertz.smMax, 0.5e6],
    'gpu_clock_max_hertz{domain="memory"}': [board.clocksHertz.memoryMax, 0.5e6],
    gpu_pcie_link_generation: [board.pcie.generation, 0],
    gpu_pcie_link_generation_max: [board.pcie.generation, 0],
    gpu_pcie_link_width: [board.pcie.width, 0],
    gpu_pcie_link_width_max: [board.pcie.width, 0],
  };
  if (board.unifiedMemory) {
    return {
      ...shared,
      gpu_power_average_watts: [gpu.powerWatts, 5e-7],
      gpu_memory_gtt_size_bytes: [board.memoryBytes, 0],
      gpu_memory_gtt_used_bytes: [gpu.memoryUsedBytes, 0],
      gpu_memory_size_bytes: [512 * MEBIBYTE, 0],
      gpu_memory_used_bytes: [gpu.memoryReservedBytes, 0],
      gpu_decoder_utilization_ratio: [0, 0],
      'gpu_temperature_celsius{sensor="core"}': [gpu.coreCelsius, 0.5],
    };
  }
  const { hardwareSlowdownCelsius, shutdownCelsius } = board.thermal;
  return {
    ...shared,
    gpu_memory_utilization_ratio: [gpu.memoryUtilizationRatio, 0.005],
    gpu_memory_size_bytes: [board.memoryBytes, 0],
    gpu_memory_used_bytes: [gpu.memoryUsedBytes + gpu.memoryReservedBytes, 0],
    gpu_energy_joules_total: [gpu.energyJoules, 2 ** -17],
    'gpu_clock_hertz{domain="memory"}': [gpu.memoryClockHertz, 0.5],
    'gpu_temperature_celsius{sensor="junction"}': [gpu.coreCelsius, 0.5],
    'gpu_temperature_celsius{sensor="memory"}': [gpu.memoryCelsius ?? 0, 0.5],
    'gpu_temperature_threshold_celsius{kind="junction_critical"}': [hardwareSlowdownCelsius, 0],
    'gpu_temperature_threshold_celsius{kind="junction_emergency"}': [shutdownCelsius, 0],
    gpu_temperature_headroom_celsius: [hardwareSlowdownCelsius - gpu.coreCelsius, 0.5],
    'gpu_power_limit_watts{kind="enforced"}': [gpu.powerLimitWatts, 5e-7],
    'gpu_power_limit_watts{kind="default"}': [board.powerLimitWatts.default, 5e-7],
    'gpu_power_limit_watts{kind="min"}': [board.powerLimitWatts.min, 5e-7],
    'gpu_power_limit_watts{kind="max"}': [board.powerLimitWatts.max, 5e-7],
    gpu_pcie_replay_total: [gpu.pcieReplays, 0],
    'gpu_ecc_errors_total{type="uncorrected",location="umc",lifetime="volatile"}': [gpu.eccUncorrected, 0],
    'gpu_ecc_errors_total{type="corrected",location="umc",lifetime="volatile"}': [gpu.eccCorrected, 0],
    'gpu_ecc_errors_total{type="uncorrected",location="gfx",lifetime="volatile"}': [0, 0],
    'gpu_ecc_errors_total{type="corrected",location="gfx",lifetime="volatile"}': [0, 0],
    'gpu_retired_pages{cause="bad"}': [gpu.remappedRows.correctable + gpu.remappedRows.uncorrectable, 0],
    'gpu_partition_info{compute="SPX",memory="NPS1"}': [1, 0],
  };
}

/** The whole of the small memory of a processor, and of a server's board, is in reach. */
const AMD_DERIVED = ['gpu_bar1_size_bytes', 'gpu_bar1_used_bytes'];

let trees = 0;

/** Writes a tree as the app does. @returns its root */
function writeTree(tree: FileTree): string {
  trees += 1;
  const root = path.join(folder, `tree-${trees}`);
  for (const [name, entry] of tree) {
    const file = path.join(root, name);
    mkdirSync(path.dirname(file), { recursive: true });
    if (typeof entry === 'object' && 'linkTo' in entry) symlinkSync(entry.linkTo, file);
    else writeFileSync(file, entry);
  }
  return root;
}

const AMD_HOSTS: readonly { readonly name: string; readonly gpus: readonly GpuState[] }[] = [
  { name: 'two MI300X, one at work and one at rest', gpus: [busyGpu(MI300X), idleGpu(MI300X, 1)] },
  {
    name: 'a MI300X with bad memory and a lowered limit',
    gpus: [
      busyGpu(MI300X, 0, {
        powerLimitWatts: 500,
        eccCorrected: 17,
        eccUncorrected: 2,
        remappedRows: { correctable: 1, uncorrectable: 2, pending: false },
      }),
    ],
  },
  { name: 'a Strix Halo at work', gpus: [busyGpu(STRIX_HALO)] },
  { name: 'a Strix Halo at rest', gpus: [idleGpu(STRIX_HALO)] },
];

describe('the files of amdgpu', () => {
  it.each(AMD_HOSTS)('tell the truth of %s', ({ gpus }) => {
    const root = writeTree(amdgpuTree(amdHost(gpus)));
    const { reading } = readSavedGpuFolder(path.join(root, 'sys'));
    expect(reading.unparsed).toEqual([]);
    expect(reading.gpus).toHaveLength(gpus.length);
    for (const [index, gpu] of gpus.entries()) {
      const found = reading.gpus[index];
      if (found === undefined) throw new Error(`no GPU ${index}`);
      expect(wrongIn(found, amdTruth(gpu), AMD_DERIVED)).toEqual([]);
      expect(found).toMatchObject({
        uuid: gpu.uuid,
        condition: 'up',
        facts: {
          // A processor does not name its graphics.
          name: gpu.board.unifiedMemory ? 'AMD [1002:1586]' : gpu.board.name,
          pciBusId: gpu.pciBusId,
          driverVersion: '6.12.12',
          numaNode: '0',
        },
      });
    }
  });

  it.each([
    ['MI300X', { pid: 41_000, type: 'compute', name: 'python3' }],
    ['STRIX_HALO', { pid: 41_000, type: 'compute', name: 'python3' }],
  ] as const)(
    'and those of proc tell of the processes on a %s, and whose they are',
    async (board, process) => {
      const gpu = busyGpu(BOARDS[board]);
      const host = amdHost([gpu]);
      const container = '0123456789ab'.padEnd(64, 'c');
      const proc = procTree(host, new Map([[41_000, { port: 8000, container }]]));
      const root = writeTree(mergeTrees(amdgpuTree(host), proc));
      start({
        backend: 'auto',
        nvmlLibrary: undefined,
        sysfsRoot: path.join(root, 'sys'),
        procRoot: path.join(root, 'proc'),
        processes: true,
      });
      const snapshot = await until(({ gpus }) => gpus[0]?.processes?.[0]?.owner.port !== undefined);
      expect(snapshot.backends.map(({ backend }) => backend)).toEqual(['amdgpu']);
      expect(snapshot.gpus[0]?.processes).toEqual([
        {
          ...process,
          memoryBytes: Math.round((gpu.processes[0]?.memoryBytes ?? 0) / 1024) * 1024,
          owner: {
            engine: 'vllm',
            model: 'Qwen/Qwen3-8B',
            container: '0123456789ab',
            port: 8000,
            program: 'vllm.entrypoints.openai.api_server',
          },
        },
      ]);
    },
  );

  it('are gone when a GPU is lost, which then is missed', async () => {
    const before = writeTree(amdgpuTree(amdHost([busyGpu(MI300X), idleGpu(MI300X, 1)])));
    const after = writeTree(amdgpuTree(amdHost([busyGpu(MI300X), idleGpu(MI300X, 1, { lostByXid: 0 })])));
    const sysfsRoot = path.join(folder, 'sysfs-now');
    symlinkSync(path.join(before, 'sys'), sysfsRoot);
    start({ backend: 'amdgpu', sysfsRoot });
    await until(({ gpus }) => gpus.length === 2);
    rmSync(sysfsRoot);
    symlinkSync(path.join(after, 'sys'), sysfsRoot);
    const snapshot = await until((seen) => conditions(seen).includes('vanished'));
    expect(conditions(snapshot)).toEqual(['up', 'vanished']);
  });
});

describeWithCompiler(`all of a host${compilerNote}`, () => {
  it('is found by its bus', async () => {
    const host: GpuHost = {
      ...nvidiaHost([busyGpu(H100), idleGpu(MI300X, 7)]),
      amdgpuVersion: '6.12.12',
    };
    tellNvml(host);
    const root = writeTree(mergeTrees(pciTree(host), amdgpuTree(host), procTree(host)));
    start({ backend: 'auto', sysfsRoot: path.join(root, 'sys'), procRoot: path.join(root, 'proc') });
    const snapshot = await until(({ gpus }) => gpus.length === 2);
    const found = readingsOf(snapshot).map(({ uuid }) => uuid);
    expect(found.sort()).toEqual(host.gpus.map(({ uuid }) => uuid).sort());
  });
});

it('says nothing that the fake library does not take', () => {
  const told: FakeNvmlHost = fakeNvmlHost(nvidiaHost([busyGpu(H100)]));
  const taken: FakeHost = told;
  expect(taken).toBe(told);
});
