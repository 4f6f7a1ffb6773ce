import {
  backendMend,
  downMend,
  processName,
  unsupportedMeanings,
  type BackendState,
  type GpuFacts,
  type GpuMetricName,
  type GpuPoint,
  type GpuSnapshot,
  type Mend,
  type UnsupportedReading,
  type WatchedGpu,
  type WindowStatistics,
} from '@llm-monitor/gpus';

import { seriesOfField, shownSeries, tells, type SeriesName } from './native-fields.ts';

/** What `/gpus` answers, and what `check` prints. Times are ISO 8601, figures in base units. */
export interface GpusView {
  /** All of it in a sentence. */
  readonly overview: string;
  readonly backends: readonly BackendView[];
  readonly gpus: readonly GpuView[];
  /** What limits the rest: a kernel log that may not be read, another PID namespace. */
  readonly remarks: readonly string[];
}

export interface BackendView {
  readonly backend: string;
  readonly state: 'reading' | 'failing' | 'waiting';
  readonly gpus: number;
  readonly driverVersion?: string;
  readonly libraryVersion?: string;
  /** Of the last reading. */
  readonly ageSeconds?: number;
  readonly failure?: {
    readonly reason: string;
    readonly message: string;
    readonly since: string;
    readonly mend: Mend;
  };
  readonly restarts: number;
  readonly abandoned: number;
  /** Native readings that are not to be had, by reason. */
  readonly unsupported: readonly UnsupportedView[];
  /** Native fields whose value made no sense, and how often. */
  readonly unparsed: Readonly<Record<string, number>>;
}

export interface UnsupportedView {
  readonly why: UnsupportedReading['why'];
  readonly meaning: string;
  readonly fields: readonly string[];
}

export interface MissingView {
  readonly why: UnsupportedReading['why'];
  readonly meaning: string;
  /** With a label where the GPU lacks only one series: `gpu_temperature_celsius{sensor="memory"}`. */
  readonly metrics: readonly string[];
}

export interface GpuView {
  readonly gpu: string;
  readonly uuid: string;
  readonly backend: string;
  readonly condition: string;
  /** What to do where the condition is neither up nor suspended, and the failure of the backend does not tell it. */
  readonly mend?: Mend;
  readonly ageSeconds: number;
  readonly facts: GpuFacts;
  /** Those of the everyday figures that the GPU tells. */
  readonly figures: Figures;
  /** Of the last minute, by kind. */
  readonly windows: Readonly<Record<string, WindowStatistics>>;
  /** Everyday readings that the GPU does not tell. */
  readonly without: readonly string[];
  /** Metrics that it does not give, by the reason. */
  readonly missing: readonly MissingView[];
  /** Absent where the driver does not tell them. */
  readonly processes?: readonly ProcessView[];
  /** XIDs that occurred, and how often. */
  readonly xids: Readonly<Record<string, number>>;
}

export interface Figures {
  readonly utilizationRatio?: number;
  readonly memoryUsedBytes?: number;
  readonly memorySizeBytes?: number;
  /** Host memory in use by the GPU: on an APU the model lives here. */
  readonly gttUsedBytes?: number;
  readonly powerWatts?: number;
  readonly temperatureCelsius?: number;
}

export interface ProcessView {
  readonly pid: number;
  readonly name: string;
  readonly type: string;
  readonly engine?: string;
  readonly model?: string;
  readonly container?: string;
  readonly port?: number;
  readonly memoryBytes?: number;
}

/** Everyday readings, in the words of a person, and the metrics that any of them is given by. */
const EVERYDAY = {
  utilization: ['gpu_utilization_ratio'],
  memory: ['gpu_memory_used_bytes', 'gpu_memory_gtt_used_bytes'],
  temperature: ['gpu_temperature_celsius'],
  power: ['gpu_power_watts', 'gpu_power_average_watts'],
  'energy meter': ['gpu_energy_joules_total'],
  clocks: ['gpu_clock_hertz'],
  'clock events': ['gpu_clock_event_active'],
  fan: ['gpu_fan_speed_ratio', 'gpu_fan_speed_rpm'],
  'PCIe link': ['gpu_pcie_link_generation', 'gpu_pcie_link_width'],
  'ECC errors': ['gpu_ecc_errors_total'],
} as const satisfies Record<string, readonly GpuMetricName[]>;

/** The snapshot as people and programs read it. */
export function gpusView(
  snapshot: GpuSnapshot,
  remarks: readonly string[],
  nowUnixSeconds: number,
): GpusView {
  return {
    overview: overviewSentence(snapshot),
    backends: snapshot.backends.map((state) => backendView(state, snapshot, nowUnixSeconds)),
    gpus: snapshot.gpus.map((watched) => gpuView(watched, snapshot)),
    remarks,
  };
}

/** `2 GPUs, read by nvml.` and what fails, in words. */
export function overviewSentence(snapshot: GpuSnapshot): string {
  const { gpus, backends, nothing } = snapshot;
  const blind = backends.filter(({ backend }) => gpus.every((watched) => watched.backend !== backend));
  const failures = blind.flatMap(({ backend, failure }) =>
    failure === undefined ? [] : [`${backend} fails (${failure.reason}): ${withStop(failure.message)}`],
  );
  if (gpus.length > 0) return [...readSentences(snapshot), ...downSentence(snapshot), ...failures].join(' ');
  if (failures.length > 0) return ['No GPU is seen.', ...failures].join(' ');
  if (nothing !== undefined) return `No GPU is seen: ${withStop(nothing)}`;
  const waiting = backends.some(({ ageSeconds }) => ageSeconds === undefined);
  return waiting ? 'The first reading is under way.' : 'No GPU is seen.';
}

/** How many GPUs are read by what, and how many are known to a backend that cannot read them now. */
function readSentences(snapshot: GpuSnapshot): string[] {
  const { gpus, backends } = snapshot;
  const read = gpus.filter(({ backend }) => failureOf(backend, snapshot) === undefined);
  const by = [...new Set(read.map(({ backend }) => backend))].join(' and ');
  return [
    ...(read.length === 0 ? [] : [`${counted(read.length)}, read by ${by}.`]),
    ...backends.flatMap(({ backend, failure }) => {
      const known = gpus.filter((watched) => watched.backend === backend).length;
      if (failure === undefined || known === 0) return [];
      return [
        `${counted(known)} that ${backend} cannot read now (${failure.reason}): ${withStop(failure.message)}`,
      ];
    }),
  ];
}

/** Those that are down for a reason of their own. */
function downSentence(snapshot: GpuSnapshot): string[] {
  const names = snapshot.gpus
    .filter((watched) => !isWell(watched.reading.condition) && !isDownByBackend(watched, snapshot))
    .map(({ reading }) => `${reading.gpu} (${reading.condition})`);
  return names.length === 0 ? [] : [`Down: ${names.join(', ')}.`];
}

/** Whether the failure of its backend says all there is to say of a GPU that is down. */
function isDownByBackend({ backend, reading }: WatchedGpu, snapshot: GpuSnapshot): boolean {
  return reading.condition === 'driver_unreachable' && failureOf(backend, snapshot) !== undefined;
}

function failureOf(backend: string, { backends }: GpuSnapshot): BackendState['failure'] {
  return backends.find((state) => state.backend === backend)?.failure;
}

function counted(gpus: number): string {
  return `${gpus} ${gpus === 1 ? 'GPU' : 'GPUs'}`;
}

/** Whether nothing has to be done about a GPU in this condition. */
export function isWell(condition: string): boolean {
  return condition === 'up' || condition === 'suspended';
}

function withStop(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

function backendView(state: BackendState, { gpus }: GpuSnapshot, nowUnixSeconds: number): BackendView {
  const { backend, failure, ageSeconds, restarts, abandoned, unparsed } = state;
  return {
    backend,
    state: failure === undefined ? (ageSeconds === undefined ? 'waiting' : 'reading') : 'failing',
    gpus: gpus.filter((gpu) => gpu.backend === backend).length,
    ...known({ driverVersion: state.driverVersion, libraryVersion: state.libraryVersion }),
    ...known({ ageSeconds: ageSeconds === undefined ? undefined : round(ageSeconds) }),
    ...(failure === undefined
      ? {}
      : {
          failure: {
            reason: failure.reason,
            message: failure.message,
            since: iso(Math.min(failure.sinceUnixSeconds, nowUnixSeconds)),
            mend: backendMend(backend, failure.reason),
          },
        }),
    restarts,
    abandoned,
    unsupported: groupUnsupported(state.unsupported),
    unparsed: Object.fromEntries(unparsed),
  };
}

function groupUnsupported(readings: readonly UnsupportedReading[]): UnsupportedView[] {
  const reasons = [...new Set(readings.map(({ why }) => why))];
  return reasons.map((why) => {
    const fields = readings.filter((reading) => reading.why === why).map(({ field }) => field);
    return { why, meaning: unsupportedMeanings[why], fields: [...new Set(fields)] };
  });
}

function gpuView(watched: WatchedGpu, snapshot: GpuSnapshot): GpuView {
  const { backend, reading, ageSeconds, processes, windows, xids } = watched;
  const { gpu, uuid, condition, facts, points } = reading;
  return {
    gpu,
    uuid,
    backend,
    condition,
    ...(condition === 'up' || condition === 'suspended' || isDownByBackend(watched, snapshot)
      ? {}
      : { mend: downMend(facts.vendor, condition) }),
    ageSeconds: round(ageSeconds),
    facts,
    figures: figuresOf(points),
    windows: known({ ...windows }),
    without: condition === 'up' ? withoutOf(points) : [],
    missing: condition === 'up' ? missingOf(watched, snapshot) : [],
    ...(processes === undefined
      ? {}
      : {
          processes: processes.map((process) => {
            const { pid, type, memoryBytes, owner } = process;
            const { engine, model, container, port } = owner;
            const told = known({ engine, model, container, port, memoryBytes });
            return { pid, name: processName(process), type, ...told };
          }),
        }),
    xids: Object.fromEntries(
      [...(xids ?? [])].filter(([, { count }]) => count > 0).map(([xid, { count }]) => [xid, count]),
    ),
  };
}

function figuresOf(points: readonly GpuPoint[]): Figures {
  const value = (metric: GpuMetricName): number | undefined =>
    points.find((point) => point.metric === metric)?.value;
  const temperatures = points.filter(({ metric }) => metric === 'gpu_temperature_celsius');
  const core = temperatures.find(({ labels }) => labels?.['sensor'] === 'core') ?? temperatures[0];
  return known({
    utilizationRatio: value('gpu_utilization_ratio'),
    memoryUsedBytes: value('gpu_memory_used_bytes'),
    memorySizeBytes: value('gpu_memory_size_bytes'),
    gttUsedBytes: value('gpu_memory_gtt_used_bytes'),
    powerWatts: value('gpu_power_watts') ?? value('gpu_power_average_watts'),
    temperatureCelsius: core?.value,
  });
}

/** What its backend could not read, as the metrics that this GPU is without for it. */
function missingOf(watched: WatchedGpu, { backends }: GpuSnapshot): MissingView[] {
  const readings = backends.find(({ backend }) => backend === watched.backend)?.unsupported ?? [];
  return groupUnsupported(readings).flatMap(({ why, meaning, fields }) => {
    const series = fields.flatMap((field): readonly SeriesName[] => seriesOfField(field) ?? []);
    const metrics = [...new Set(series)].filter((name) => !tells(watched, name)).map(shownSeries);
    return metrics.length === 0 ? [] : [{ why, meaning, metrics }];
  });
}

function withoutOf(points: readonly GpuPoint[]): string[] {
  const told = new Set<string>(points.map(({ metric }) => metric));
  return Object.entries(EVERYDAY)
    .filter(([, metrics]) => !metrics.some((metric) => told.has(metric)))
    .map(([words]) => words);
}

type Known<Facts> = { [Name in keyof Facts]?: Exclude<Facts[Name], undefined> };

/** Without what is undefined. */
function known<Facts extends object>(facts: Facts): Known<Facts> {
  const entries = Object.entries(facts).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as Known<Facts>;
}

function round(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}

function iso(unixSeconds: number): string {
  return new Date(unixSeconds * 1000).toISOString();
}
