import {
  backendMend,
  downMend,
  GPU_VENDORS,
  xidCatalogue,
  type BackendState,
  type ClockEventReason,
  type DownReason,
  type GpuMetricName,
  type GpuSnapshot,
  type WatchedGpu,
} from '@llm-monitor/gpus';

import { chartOf, type ChartView, type ChartWords } from './chart.ts';
import type { Named, StateLevel } from './describe-servers.ts';
import { agoText, gibibytesText, shareFigure, spanText, unknownFigure, type Figure } from './figure.ts';
import type { GpuPast } from './gpu-history.ts';
import { gpusOf, gpuUsers, sumOfKnown, type GpuUser, type KnownServer } from './gpu-users.ts';

/** Memory, and how full it is. */
export interface MemoryView {
  readonly name: string;
  /** `71.2 of 79.6 GiB`. */
  readonly text: string;
  /** Share that is in use; absent where it is not known. */
  readonly value?: number;
}

/** What is wrong, and one command that mends it or tells more. Both empty when nothing is. */
export interface ProblemView {
  readonly text: string;
  readonly command: string;
}

/** All that the page shows of one GPU. */
export interface GpuView {
  readonly uuid: string;
  /** `GPU 0`, with the vendor where there are several. */
  readonly title: string;
  readonly name: string;
  readonly state: { readonly level: StateLevel; readonly word: string };
  readonly users: readonly GpuUser[];
  /** Why there are none, or how many more there are; empty when neither. */
  readonly usersNote: string;
  readonly utilization: Figure;
  /** Most of the last 15 s: a spike that one reading misses. */
  readonly most: Figure;
  readonly power: Figure;
  readonly powerDetail: string;
  readonly temperature: Figure;
  readonly temperatureDetail: string;
  readonly memories: readonly MemoryView[];
  /** By what the clocks are held back; empty when by nothing. */
  readonly heldBack: string;
  readonly problem: ProblemView;
  readonly chart: ChartView;
  /** How long ago it was read. */
  readonly lastRead: string;
  /** Where it sits: its PCI address, or what else is unique. */
  readonly place: string;
  readonly facts: readonly Named[];
}

/** The GPUs of this host; `line` says in one sentence why some or all are not seen. */
export interface GpusView {
  /** False where the settings leave GPUs alone: then there is nothing to show. */
  readonly shown: boolean;
  readonly gpus: readonly GpuView[];
  /** Of drivers that fail, each once: their GPUs need not say it again. */
  readonly problems: readonly ProblemView[];
  readonly line: string;
}

/** How far back the page looks for the most of a figure. */
export const GPU_WINDOW_SECONDS = 15;
/** A fatal error is news for so long, also when the GPU works again. */
const FRESH_ERROR_SECONDS = 3600;
/** A little that any driver maps. */
const TRIFLE_OF_GTT_BYTES = 1e9;

const UTILIZATION_CHART: ChartWords = { title: 'GPU utilization', figure: shareFigure, resolution: 1000 };

const DOWN_WORDS: Readonly<Record<DownReason, string>> = {
  lost: 'Lost',
  reset_required: 'Needs a reset',
  unknown_error: 'Failing',
  no_permission: 'Not allowed',
  vanished: 'Gone',
  driver_unreachable: 'No answer',
  hung: 'Hung',
};

/** Each completes `Clocks held back …`; an idle GPU is not held back. */
const HELD_BACK: Readonly<Record<ClockEventReason, string | undefined>> = {
  gpu_idle: undefined,
  applications_clocks: 'by the clocks that are set for applications',
  sw_power_cap: 'by the power limit',
  hw_slowdown: 'by the hardware, for heat or power',
  sync_boost: 'to keep pace with the GPUs it is coupled with',
  sw_thermal: 'by the driver, for heat',
  hw_thermal: 'by the hardware, for heat',
  hw_power_brake: 'by the power supply',
  display_clocks: 'by the display',
  other: 'for a reason that the driver does not name',
};
/** These cost speed that the GPU should have. */
const SEVERE: readonly ClockEventReason[] = ['hw_slowdown', 'sw_thermal', 'hw_thermal', 'hw_power_brake'];

/** What the driver asks for, by the value of gpu_recovery_action. */
const RECOVERY: Readonly<Record<number, string>> = {
  1: 'The driver asks for a reset of this GPU: stop what uses it, then reset it.',
  2: 'The driver asks for a reboot of the host.',
  3: 'The driver asks to end the peer-to-peer work of this GPU.',
  4: 'The driver asks to end all work on this GPU, then to reset it.',
  5: 'The driver asks to recover IMEX, which links the memory of several hosts.',
};

/** What the page shows of the GPUs at `nowSeconds` (Unix time), `snapshot` with windows of 15 s. Pure. */
export function describeGpus(
  snapshot: GpuSnapshot,
  pastOf: (uuid: string) => GpuPast,
  servers: readonly KnownServer[],
  nowSeconds: number,
): GpusView {
  const title = titles(snapshot.gpus);
  return {
    shown: true,
    gpus: snapshot.gpus.map((watched) => ({
      title: title(watched),
      ...describeGpu(watched, pastOf(watched.reading.uuid), servers, nowSeconds, snapshot.backends),
    })),
    problems: driverProblems(snapshot),
    line: lineOf(snapshot),
  };
}

const NO_PROBLEM: ProblemView = { text: '', command: '' };

/** Where GPUs are not watched. */
export const NO_GPUS: GpusView = { shown: false, gpus: [], problems: [], line: '' };

/** `GPU 0, 1 · 142.4 GiB`: the GPUs that a server uses; empty when none is known. */
export function serverGpus(server: KnownServer, { gpus }: GpuSnapshot): string {
  const own = gpusOf(server, gpus);
  if (own.length === 0) return '';
  const title = titles(gpus);
  const names = own.map(({ watched }, index) => {
    const name = title(watched);
    return index > 0 && !hasSeveralVendors(gpus) ? name.replace(/^GPU /, '') : name;
  });
  const bytes = sumOfKnown(own.map(({ memoryBytes }) => memoryBytes));
  return [names.join(', '), ...(bytes === undefined ? [] : [gibibytesText(bytes)])].join(' · ');
}

type Titles = (watched: WatchedGpu) => string;

function titles(gpus: readonly WatchedGpu[]): Titles {
  const several = hasSeveralVendors(gpus);
  return ({ reading: { gpu, facts } }) =>
    several ? `${GPU_VENDORS[facts.vendor].title} GPU ${gpu}` : `GPU ${gpu}`;
}

function hasSeveralVendors(gpus: readonly WatchedGpu[]): boolean {
  return new Set(gpus.map(({ reading }) => reading.facts.vendor)).size > 1;
}

/** What a GPU is called: by its model, or else by its vendor. */
export function gpuName({ name, vendor }: WatchedGpu['reading']['facts']): string {
  return name ?? `${GPU_VENDORS[vendor].title} GPU`;
}

function describeGpu(
  watched: WatchedGpu,
  past: GpuPast,
  servers: readonly KnownServer[],
  nowSeconds: number,
  backends: readonly BackendState[],
): Omit<GpuView, 'title'> {
  const { reading, windows, processes, ageSeconds } = watched;
  const { facts, condition } = reading;
  const held = heldBackBy(watched);
  const isUp = condition === 'up';
  const why = isUp
    ? 'not given by this GPU'
    : condition === 'suspended'
      ? 'the GPU is asleep'
      : 'the GPU is down';
  const share = (value: number | undefined): Figure =>
    value === undefined ? unknownFigure(why) : shareFigure(value);
  const power = valueOf(watched, 'gpu_power_watts') ?? valueOf(watched, 'gpu_power_average_watts');
  const temperature = temperatureOf(watched);
  const { users, more } = isUp ? gpuUsers(processes ?? [], servers) : { users: [], more: 0 };
  return {
    uuid: reading.uuid,
    name: gpuName(facts),
    state: stateOf(watched, held),
    users,
    usersNote: isUp ? usersNote(processes === undefined, users.length, more) : '',
    utilization: share(valueOf(watched, 'gpu_utilization_ratio')),
    most: share(windows.utilization?.max),
    power: power === undefined ? unknownFigure(why) : whole(power, 'W'),
    powerDetail: powerDetail(watched),
    temperature: temperature === undefined ? unknownFigure(why) : whole(temperature, '°C'),
    temperatureDetail: temperatureDetail(watched, temperature),
    memories: memoriesOf(watched),
    heldBack: heldBackText(held),
    problem: problemOf(watched, past, nowSeconds, backends),
    chart: chartOf(
      past.steps.map(({ index, utilizationRatio }) => ({ index, value: utilizationRatio })),
      nowSeconds,
      UTILIZATION_CHART,
    ),
    lastRead: `${condition === 'suspended' ? 'looked at' : 'read'} ${agoText(ageSeconds)}`,
    place: facts.pciBusId ?? reading.uuid,
    facts: factsOf(watched, nowSeconds),
  };
}

function stateOf({ reading }: WatchedGpu, held: readonly ClockEventReason[]): GpuView['state'] {
  const { condition, points } = reading;
  if (condition === 'suspended') return { level: 'quiet', word: 'Asleep' };
  if (condition !== 'up') return { level: 'down', word: DOWN_WORDS[condition] };
  if (held.some((reason) => SEVERE.includes(reason))) return { level: 'busy', word: 'Slowed down' };
  const busy = points.find(({ metric }) => metric === 'gpu_utilization_ratio')?.value;
  if (busy === undefined) return { level: 'ready', word: 'Up' };
  return busy > 0 ? { level: 'serving', word: 'Working' } : { level: 'ready', word: 'Idle' };
}

function usersNote(isUntold: boolean, shown: number, more: number): string {
  if (more > 0) return `and ${more} more`;
  if (shown > 0) return '';
  return isUntold ? 'The driver does not tell its processes.' : 'Nothing uses it.';
}

function heldBackBy({ reading }: WatchedGpu): readonly ClockEventReason[] {
  const active = reading.points
    .filter(({ metric, value }) => metric === 'gpu_clock_event_active' && value === 1)
    .map(({ labels }) => labels?.['reason']);
  const reasons = (Object.keys(HELD_BACK) as ClockEventReason[]).filter(
    (reason) => active.includes(reason) && HELD_BACK[reason] !== undefined,
  );
  // The general flag is up together with the one that says what it is.
  const isExplained = reasons.includes('hw_thermal') || reasons.includes('hw_power_brake');
  return reasons.filter((reason) => reason !== 'hw_slowdown' || !isExplained);
}

function heldBackText(reasons: readonly ClockEventReason[]): string {
  const texts = reasons.map((reason) => HELD_BACK[reason]);
  return texts.length === 0 ? '' : `Clocks held back ${texts.join(' and ')}.`;
}

function powerDetail(watched: WatchedGpu): string {
  const limit =
    valueOf(watched, 'gpu_power_limit_watts', { kind: 'enforced' }) ??
    valueOf(watched, 'gpu_power_limit_watts', { kind: 'requested' });
  return limit === undefined ? '' : `of ${Math.round(limit)} W`;
}

function temperatureOf(watched: WatchedGpu): number | undefined {
  const of = (sensor: string): number | undefined => valueOf(watched, 'gpu_temperature_celsius', { sensor });
  return of('core') ?? of('junction') ?? of('memory');
}

function temperatureDetail(watched: WatchedGpu, temperature: number | undefined): string {
  const threshold = (kind: string): number | undefined =>
    valueOf(watched, 'gpu_temperature_threshold_celsius', { kind });
  const limit = threshold('slowdown') ?? threshold('critical');
  const computed = limit === undefined || temperature === undefined ? undefined : limit - temperature;
  const headroom = valueOf(watched, 'gpu_temperature_headroom_celsius') ?? computed;
  if (headroom === undefined) return '';
  const degrees = Math.round(Math.abs(headroom));
  return headroom > 0 ? `${degrees} °C below its limit` : `${degrees} °C over its limit`;
}

function memoriesOf(watched: WatchedGpu): readonly MemoryView[] {
  const used = valueOf(watched, 'gpu_memory_used_bytes');
  const size = valueOf(watched, 'gpu_memory_size_bytes');
  const isUnified = valueOf(watched, 'gpu_memory_unified') === 1;
  const gttUsed = valueOf(watched, 'gpu_memory_gtt_used_bytes');
  const gttSize = valueOf(watched, 'gpu_memory_gtt_size_bytes');
  const showGtt = gttUsed !== undefined && (gttUsed >= TRIFLE_OF_GTT_BYTES || gttUsed > (used ?? 0));
  return [
    ...memoryOf(isUnified ? 'Memory, shared with the host' : 'Memory', used, size),
    ...(showGtt ? memoryOf('Host memory it uses (GTT)', gttUsed, gttSize) : []),
  ];
}

function memoryOf(name: string, used: number | undefined, size: number | undefined): MemoryView[] {
  if (used === undefined) return size === undefined ? [] : [{ name, text: `${gibibytesText(size)} in all` }];
  if (size === undefined || size === 0) return [{ name, text: `${gibibytesText(used)} in use` }];
  return [
    { name, text: `${gibibytesText(used)} of ${gibibytesText(size)}`, value: Math.min(1, used / size) },
  ];
}

function problemOf(
  watched: WatchedGpu,
  { lastUpSeconds }: GpuPast,
  nowSeconds: number,
  backends: readonly BackendState[],
): ProblemView {
  const { condition, gpu, facts } = watched.reading;
  if (condition === 'suspended') {
    return {
      text: 'Put to sleep by the kernel, and left alone: to read it would wake it. It wakes by itself when a program uses it.',
      command: '',
    };
  }
  if (condition === 'up') return warningOf(watched, nowSeconds);
  const since = lastUpSeconds === undefined ? '' : ` Last figures ${agoText(nowSeconds - lastUpSeconds)}.`;
  if (condition === 'driver_unreachable') {
    if (failureOf(watched.backend, backends) !== undefined) return NO_PROBLEM;
    return {
      text: `No figures for ${spanText(watched.ageSeconds)}.`,
      command: downMend(facts.vendor, condition).command,
    };
  }
  const { sentence, command } = downMend(facts.vendor, condition);
  return { text: `${sentence}${since}`, command: command.replace('INDEX', gpu) };
}

/** What is wrong with each driver that keeps GPUs from being read. */
function driverProblems({ gpus, backends }: GpuSnapshot): readonly ProblemView[] {
  return backends.flatMap(({ backend, failure }) => {
    const unread = gpus.filter(
      (watched) => watched.backend === backend && watched.reading.condition === 'driver_unreachable',
    );
    if (failure === undefined || unread.length === 0) return [];
    const count = unread.length === 1 ? '1 GPU' : `${unread.length} GPUs`;
    const age = spanText(Math.max(...unread.map(({ ageSeconds }) => ageSeconds)));
    const { sentence, command } = backendMend(backend, failure.reason);
    // Of a driver that hangs there is no more to say; any other failure has words of its own.
    const said = failure.reason === 'hung' ? '' : ` (${failure.message})`;
    return [{ text: `No figures of ${count} from ${backend} for ${age}${said}. ${sentence}`, command }];
  });
}

function failureOf(backend: string, backends: readonly BackendState[]): BackendState['failure'] {
  return backends.find((state) => state.backend === backend)?.failure;
}

function warningOf(watched: WatchedGpu, nowSeconds: number): ProblemView {
  const { gpu } = watched.reading;
  const action = valueOf(watched, 'gpu_recovery_action') ?? 0;
  const recovery = RECOVERY[action];
  if (recovery !== undefined) {
    const command = action === 1 || action === 4 ? `sudo nvidia-smi --gpu-reset -i ${gpu}` : '';
    return { text: recovery, command };
  }
  if (valueOf(watched, 'gpu_remapped_rows_failure') === 1) {
    return { text: 'Bad memory could not be replaced: the board is to be exchanged.', command: '' };
  }
  if (
    valueOf(watched, 'gpu_remapped_rows_pending') === 1 ||
    valueOf(watched, 'gpu_retired_pages_pending') === 1
  ) {
    return { text: 'Bad memory waits for a reset of the GPU to be taken out of use.', command: '' };
  }
  return freshErrorOf(watched, nowSeconds);
}

/** The last of the fatal errors, while it is news. */
function freshErrorOf({ xids }: WatchedGpu, nowSeconds: number): ProblemView {
  const [last] = [...(xids ?? [])]
    .flatMap(([xid, { lastUnixSeconds: at }]) => (at === undefined ? [] : [{ xid, at }]))
    .filter(({ xid, at }) => xidCatalogue[xid]?.fatal === true && nowSeconds - at < FRESH_ERROR_SECONDS)
    .toSorted((one, other) => other.at - one.at);
  const known = last === undefined ? undefined : xidCatalogue[last.xid];
  if (last === undefined || known === undefined) return NO_PROBLEM;
  const text = `XID ${last.xid}, ${agoText(nowSeconds - last.at)}: ${known.meaning}. ${known.action}`;
  return { text, command: 'sudo dmesg | grep -i xid | tail' };
}

function factsOf({ reading, xids, backend }: WatchedGpu, nowSeconds: number): readonly Named[] {
  const { facts, uuid } = reading;
  const known: readonly (readonly [string, string | undefined])[] = [
    ['Driver', facts.driverVersion],
    [GPU_VENDORS[facts.vendor].computePlatform, facts.cudaVersion],
    ['Architecture', facts.architecture],
    ['Compute capability', facts.computeCapability],
    ['NUMA node', facts.numaNode],
    ['UUID', uuid],
    ['Read by', backend],
  ];
  const errors = [...(xids ?? [])].filter(([, xid]) => xid.count > 0 || xid.lastUnixSeconds !== undefined);
  return [
    ...errors.map(([xid, { count, lastUnixSeconds }]) => ({
      name: `XID ${xid}`,
      text: [
        xidCatalogue[xid]?.meaning ?? 'an error of the driver',
        count === 0 ? 'before the start' : count === 1 ? 'once' : `${count} times`,
        ...(lastUnixSeconds === undefined ? [] : [`last ${agoText(nowSeconds - lastUnixSeconds)}`]),
      ].join(', '),
    })),
    ...known.flatMap(([name, text]) => (text === undefined ? [] : [{ name, text }])),
  ];
}

/** What keeps GPUs from being seen: a backend without one that fails, or that there is nothing to see. */
function lineOf({ gpus, backends, nothing }: GpuSnapshot): string {
  const blind = backends.filter(({ backend }) => gpus.every((watched) => watched.backend !== backend));
  const failures = blind.flatMap(({ backend, failure }) =>
    failure === undefined ? [] : [{ backend, failure }],
  );
  const reasons = failures.map(({ failure }) => withStop(withoutDetails(failure.message))).join(' ');
  if (gpus.length > 0) {
    const names = failures.map(({ backend }) => backend).join(' and ');
    return reasons === '' ? '' : `No GPU seen by ${names}: ${reasons}`;
  }
  if (reasons !== '') return `No GPU seen: ${reasons}`;
  if (nothing !== undefined) return `No GPU seen: ${withStop(nothing)}`;
  const isWaiting = backends.length === 0 || backends.some(({ ageSeconds }) => ageSeconds === undefined);
  return isWaiting ? 'Looking for GPUs.' : 'No GPU seen: the driver works, and lists none.';
}

/** What stands in brackets, such as every path that was tried, is for the log. */
function withoutDetails(message: string): string {
  return message.replace(/ \([^()]*\)/g, '');
}

function withStop(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

function whole(value: number, unit: string): Figure {
  return { text: String(Math.round(value)), unit, value };
}

/** The first point of a metric that has these labels. */
function valueOf(
  { reading }: WatchedGpu,
  metric: GpuMetricName,
  wanted: Readonly<Record<string, string>> = {},
): number | undefined {
  return reading.points.find(
    (point) =>
      point.metric === metric &&
      Object.entries(wanted).every(([name, value]) => point.labels?.[name] === value),
  )?.value;
}
