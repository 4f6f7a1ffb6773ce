import type {
  CountDroppedSeries,
  Labels,
  MetricFamily,
  ScalarPoint,
  ScalarType,
} from '@llm-monitor/metrics-core';

import { exporterMetrics, type ExporterMetricName } from './exporter-metrics.ts';
import { gpuMetrics, type GpuMetricName } from './gpu-metrics.ts';
import type {
  BackendName,
  BackendReading,
  GpuCondition,
  GpuFacts,
  GpuProcess,
  GpuReading,
} from './reading.ts';
import type { BackendState, GpuSnapshot, OwnedProcess, ProcessOwner, WatchedGpu } from './snapshot.ts';

export interface GpuSnapshotOptions {
  /** How many GPUs the host should have, where somebody said. */
  readonly expectedDevices?: number;
  /** Processes shown of one GPU, the largest first; 0 for none at all. */
  readonly maxProcessesPerGpu: number;
  /** Told of the series of processes that were too many. */
  readonly onDroppedSeries?: CountDroppedSeries;
}

/**
 * All `gpu_*` families of a host's GPUs, in the order of the tables, only those that have points. Of two series with
 * the same labels the first is printed, as `lowerFamilies` has it.
 */
export function gpuSnapshotFamilies(snapshot: GpuSnapshot, options: GpuSnapshotOptions): MetricFamily[] {
  return [
    ...gpuConditionFamilies(snapshot.gpus),
    ...gpuStateFamilies(snapshot, options),
    ...gpuXidFamilies(snapshot.gpus),
    ...gpuPointFamilies(snapshot.gpus),
  ];
}

/** Which GPUs there are and how they are: these change only with a reading. */
export function gpuConditionFamilies(gpus: readonly Pick<WatchedGpu, 'reading'>[]): MetricFamily[] {
  const series = new SeriesTable();
  for (const { reading } of gpus) addCondition(series, reading);
  return series.families();
}

/** Errors that the drivers told of: the same for weeks. */
export function gpuXidFamilies(gpus: readonly Pick<WatchedGpu, 'reading' | 'xids'>[]): MetricFamily[] {
  const series = new SeriesTable();
  for (const { reading, xids } of gpus) {
    const { gpu, uuid } = reading;
    for (const [xid, { count, lastUnixSeconds }] of xids ?? []) {
      const labels = Object.freeze({ gpu, uuid, xid: String(xid) });
      series.add('gpu_xid_errors_total', labels, count);
      series.add('gpu_xid_last_timestamp_seconds', labels, lastUnixSeconds);
    }
  }
  return series.families();
}

/** The figures that the drivers gave: these change only with a reading. */
export function gpuPointFamilies(gpus: readonly Pick<WatchedGpu, 'reading'>[]): MetricFamily[] {
  const series = new SeriesTable();
  for (const { reading } of gpus) addPoints(series, reading);
  return series.families();
}

/** What is told beside them: windows, processes, and how the backends are. */
export function gpuStateFamilies(
  { gpus, backends }: GpuSnapshot,
  { expectedDevices, maxProcessesPerGpu, onDroppedSeries }: GpuSnapshotOptions,
): MetricFamily[] {
  const series = new SeriesTable();
  for (const gpu of gpus) {
    addWatched(series, gpu);
    const { kept, dropped } = largest(gpu.processes ?? [], maxProcessesPerGpu);
    addProcesses(series, gpu.reading, kept);
    if (dropped.length > 0) onDroppedSeries?.(gpu.backend, 'budget', dropped.flatMap(seriesOf).length);
  }
  if (expectedDevices !== undefined) series.add('gpu_expected_devices', {}, expectedDevices);
  // A host without any is told by a 0 too, not by silence.
  if (gpus.length + backends.length === 0) series.add('gpu_exporter_gpus', { backend: 'none' }, 0);
  for (const state of backends) {
    const known = gpus.filter(({ backend }) => backend === state.backend).length;
    addBackend(series, state.backend, known, state);
    addState(series, state);
  }
  return series.families();
}

/**
 * The families of one reading by itself, as `read FILE` prints them: without windows, XID counts, ages and the reader's
 * health, and every process without an owner.
 */
export function readingFamilies(reading: BackendReading): MetricFamily[] {
  const series = new SeriesTable();
  for (const gpu of reading.gpus) {
    addUp(series, gpu);
    addPoints(series, gpu);
    const processes = (gpu.processes ?? []).map((process) => ({ ...process, owner: {} }));
    addProcesses(series, gpu, largest(processes, Infinity).kept);
  }
  const { backend, driverVersion, libraryVersion } = reading;
  addBackend(series, backend, reading.gpus.length, { driverVersion, libraryVersion });
  const unparsed = new Map<string, number>();
  for (const { field } of reading.unparsed) unparsed.set(field, (unparsed.get(field) ?? 0) + 1);
  addUnparsed(series, backend, unparsed);
  return series.families();
}

function addCondition(series: SeriesTable, reading: GpuReading): void {
  const { gpu, uuid, condition } = reading;
  addUp(series, reading);
  if (isUp(condition)) series.add('gpu_suspended', { gpu, uuid }, condition === 'suspended' ? 1 : 0);
}

function isUp(condition: GpuCondition): boolean {
  return condition === 'up' || condition === 'suspended';
}

function addUp(series: SeriesTable, { gpu, uuid, condition, facts }: GpuReading): void {
  series.add('gpu_up', { gpu, uuid }, isUp(condition) ? 1 : 0);
  if (!isUp(condition)) series.add('gpu_down_info', { gpu, uuid, reason: condition }, 1);
  series.add('gpu_info', { gpu, uuid, ...factLabels(facts) }, 1);
}

function addPoints(series: SeriesTable, { gpu, uuid, points }: GpuReading): void {
  const ofGpu = Object.freeze({ gpu, uuid });
  for (const { metric, labels, value } of points) {
    series.add(metric, labels === undefined ? ofGpu : labelsOfGpu(gpu, uuid, labels), value);
  }
}

/** Made once for as long as a reading lives: figures that are read seldom keep their labels from scrape to scrape. */
const madeLabels = new WeakMap<Labels, Labels>();

function labelsOfGpu(gpu: string, uuid: string, labels: Labels): Labels {
  const made = madeLabels.get(labels);
  // A backend may share one object among its GPUs.
  if (made !== undefined && made['uuid'] === uuid && made['gpu'] === gpu) return made;
  const whole = Object.freeze({ gpu, uuid, ...labels });
  madeLabels.set(labels, whole);
  return whole;
}

function addWatched(series: SeriesTable, { reading, windows, integratedJoules }: WatchedGpu): void {
  const { gpu, uuid } = reading;
  for (const stat of ['max', 'avg', 'p95'] as const) {
    series.add('gpu_utilization_window_ratio', { gpu, uuid, stat }, windows.utilization?.[stat]);
    series.add('gpu_power_window_watts', { gpu, uuid, stat }, windows.power?.[stat]);
  }
  series.add('gpu_energy_integrated_joules_total', { gpu, uuid, source: 'integrated' }, integratedJoules);
}

function addProcesses(
  series: SeriesTable,
  { gpu, uuid }: GpuReading,
  processes: readonly OwnedProcess[],
): void {
  for (const process of processes) {
    for (const [metric, labels, value] of seriesOf(process)) {
      series.add(metric, { gpu, uuid, pid: String(process.pid), ...labels }, value);
    }
  }
}

function seriesOf(process: OwnedProcess): [ExporterMetricName, Labels, number][] {
  const { type, memoryBytes, smUtilizationRatio, owner } = process;
  const { container = 'unknown', port = 'unknown', engine = 'unknown', model = 'unknown' } = owner;
  const info = { process_name: processName(process), type, container, port: String(port), engine, model };
  return [
    ['gpu_process_info', info, 1],
    ...one('gpu_process_memory_bytes', memoryBytes),
    ...one('gpu_process_sm_utilization_ratio', smUtilizationRatio),
  ];
}

function one(metric: ExporterMetricName, value: number | undefined): [ExporterMetricName, Labels, number][] {
  return value === undefined ? [] : [[metric, {}, value]];
}

function addBackend(
  series: SeriesTable,
  backend: BackendName,
  gpus: number,
  { driverVersion, libraryVersion }: Pick<BackendState, 'driverVersion' | 'libraryVersion'>,
): void {
  series.add('gpu_exporter_gpus', { backend }, gpus);
  const versions = known({ driver_version: driverVersion, library_version: libraryVersion });
  series.add('gpu_exporter_backend_info', { backend, ...versions }, 1);
}

function addState(series: SeriesTable, state: BackendState): void {
  const { backend, failure, ageSeconds, restarts, abandoned, unparsed } = state;
  if (failure !== undefined) {
    series.add('gpu_exporter_backend_up', { backend }, 0);
    series.add('gpu_exporter_backend_failure_info', { backend, reason: failure.reason }, 1);
  } else if (ageSeconds !== undefined) {
    series.add('gpu_exporter_backend_up', { backend }, 1);
  }
  series.add('gpu_exporter_reading_age_seconds', { backend }, ageSeconds);
  series.add('gpu_exporter_reader_restarts_total', { backend }, restarts);
  series.add('gpu_exporter_readers_abandoned', { backend }, abandoned);
  addUnparsed(series, backend, unparsed);
}

function addUnparsed(series: SeriesTable, backend: BackendName, unparsed: ReadonlyMap<string, number>): void {
  for (const [field, count] of unparsed) {
    series.add('gpu_exporter_unparsed_values_total', { backend, field }, count);
  }
}

function factLabels(facts: GpuFacts): Labels {
  return known({
    name: facts.name,
    vendor: facts.vendor,
    driver_version: facts.driverVersion,
    cuda_version: facts.cudaVersion,
    pci_bus_id: facts.pciBusId,
    serial: facts.serial,
    architecture: facts.architecture,
    vbios_version: facts.vbiosVersion,
    compute_capability: facts.computeCapability,
    numa_node: facts.numaNode,
  });
}

function known(labels: Readonly<Record<string, string | undefined>>): Labels {
  return Object.fromEntries(
    Object.entries(labels).filter((label): label is [string, string] => label[1] !== undefined),
  );
}

/**
 * Each process once, for a join by pid has to find one. Those of the same memory are in the order of their ids, so that
 * the choice is the same from scrape to scrape.
 */
function largest(
  processes: readonly OwnedProcess[],
  most: number,
): { kept: readonly OwnedProcess[]; dropped: readonly OwnedProcess[] } {
  if (most === 0) return { kept: [], dropped: [] };
  const bySize = processes.toSorted(
    (left, right) => (right.memoryBytes ?? -1) - (left.memoryBytes ?? -1) || left.pid - right.pid,
  );
  const pids = new Set<number>();
  const once = bySize.filter(({ pid }) => !pids.has(pid) && pids.add(pid));
  return { kept: once.slice(0, most), dropped: once.slice(most) };
}

/** The program's own name, without its folder and its arguments: those may hold a key. */
export function processName({
  owner,
  name,
}: Pick<GpuProcess, 'name'> & { readonly owner: ProcessOwner }): string {
  return programName(owner.program) ?? programName(name) ?? 'unknown';
}

function programName(command: string | undefined): string | undefined {
  // A path of Windows may hold spaces, and comes without arguments.
  const isWindowsPath = /^[a-z]:\\/i.test(command ?? '');
  const program = isWindowsPath ? command : command?.trim().split(/\s/, 1)[0];
  return program?.split(/[\\/]/).findLast((part) => part !== '');
}

type SeriesName = ExporterMetricName | GpuMetricName;
interface Head {
  readonly name: string;
  readonly type: ScalarType;
  readonly help: string;
  readonly unit?: string;
}

const HEADS: readonly Head[] = Object.entries<Omit<Head, 'name'>>({ ...exporterMetrics, ...gpuMetrics }).map(
  ([name, { type, help, unit }]) => ({ name, type, help, ...(unit === undefined ? {} : { unit }) }),
);

/** Collects series under their declared heads. */
class SeriesTable {
  private readonly points = new Map<string, ScalarPoint[]>();

  /** @param value undefined for a series that is not there */
  add(name: SeriesName, labels: Labels, value: number | undefined): void {
    if (value === undefined) return;
    const points = this.points.get(name);
    if (points === undefined) this.points.set(name, [{ labels, value }]);
    else points.push({ labels, value });
  }

  families(): MetricFamily[] {
    const families: MetricFamily[] = [];
    for (const head of HEADS) {
      const points = this.points.get(head.name);
      if (points !== undefined) families.push({ ...head, points });
    }
    return families;
  }
}
