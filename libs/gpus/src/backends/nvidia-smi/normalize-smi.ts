import type { GpuMetricName } from '../../gpu-metrics.ts';
import { GpuPoints } from '../../gpu-points.ts';
import type {
  BackendReading,
  DownReason,
  GpuFacts,
  GpuProcess,
  GpuReading,
  UnparsedValue,
  UnsupportedReading,
} from '../../reading.ts';
import { isUnifiedMemoryDevice, type HostMemory } from '../../unified-memory.ts';
import { bytes, count, plainWords, readCell, type CellReader } from './smi-cell.ts';
import { elementAt, elementsAt, textAt, type SmiElement, type SmiNode } from './smi-element.ts';
import { CORE_PATHS, recoveryAction, resetStatus, smiMetrics, type SmiMetric } from './smi-metrics.ts';

/** Bounds on what one output may hold; the largest hosts have 16 GPUs, and 7 MIG devices on each. */
const MAX_GPUS = 256;
const MAX_MIG_DEVICES = 64;
const MAX_PROCESSES = 4096;
const MAX_NAME_LENGTH = 256;

/** A GPU that nvidia-smi only complains of, beside its XML. */
export interface BadGpu {
  /** As sysfs writes it. */
  readonly pciBusId: string;
  readonly condition: DownReason;
}

/** What is known from elsewhere. */
export interface SmiSurroundings {
  /** Looked up only for a GPU that is known to use the memory of the host. */
  readonly meminfo: () => HostMemory | undefined;
  readonly badGpus?: readonly BadGpu[];
}

/**
 * All readings of an `nvidia-smi -q -x` output. Elements are found by their names, whatever version of the DTD the
 * output claims; what is not there, or is one of the many words for "no value", is absent.
 *
 * @param log the root, as `parseSmiXml` gives it
 */
export function normalizeSmi(log: SmiElement, { meminfo, badGpus = [] }: SmiSurroundings): BackendReading {
  const driverVersion = valueAt(log, 'driver_version');
  const cudaVersion = valueAt(log, 'cuda_version');
  const found = elementsAt(log, 'gpu')
    .slice(0, MAX_GPUS)
    .map((element) => readGpu(element, meminfo));
  const shared = {
    vendor: 'nvidia',
    ...(driverVersion === undefined ? {} : { driverVersion }),
    ...(cudaVersion === undefined ? {} : { cudaVersion }),
  } as const;

  const gpus: GpuReading[] = [];
  for (const gpu of withBadGpus(found, badGpus)) {
    const index = String(gpus.length);
    gpus.push({
      gpu: index,
      uuid: uniqueId(gpus, gpu, index),
      condition: gpu.condition,
      facts: { ...shared, ...gpu.facts },
      points: gpu.condition === 'up' ? gpu.points : [],
      ...(gpu.condition === 'up' && gpu.processes !== undefined ? { processes: gpu.processes } : {}),
    });
  }
  return {
    backend: 'nvidia-smi',
    ...(driverVersion === undefined ? {} : { driverVersion }),
    gpus,
    unparsed: found.flatMap(({ unparsed }) => unparsed),
    unsupported: onceEach(found.flatMap(({ unsupported }) => unsupported)),
  };
}

/** A PCI address as sysfs writes it, of one as nvidia-smi does: `0000008F:01:00.0`; undefined where it is none. */
export function sysfsPciAddress(text: string | undefined): string | undefined {
  const match = /^([0-9a-f]{1,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])$/i.exec(text?.trim() ?? '');
  if (match === null) return undefined;
  const [, domain = '', bus, device, part] = match;
  return `${domain.replace(/^0+/, '').padStart(4, '0')}:${bus}:${device}.${part}`.toLowerCase();
}

interface FoundGpu {
  readonly uuid?: string;
  readonly condition: GpuReading['condition'];
  readonly facts: Omit<GpuFacts, 'vendor'>;
  readonly points: GpuReading['points'];
  readonly processes?: readonly GpuProcess[];
  readonly unparsed: readonly UnparsedValue[];
  readonly unsupported: readonly UnsupportedReading[];
}

function readGpu(gpu: SmiElement, meminfo: SmiSurroundings['meminfo']): FoundGpu {
  const values = new GpuValues(gpu);
  const facts = readFacts(gpu);
  const isVoid = voidBlocks(gpu);
  for (const metric of smiMetrics) if (!isVoid(metric)) values.put(metric);
  const action = putRecoveryAction(values);
  if (!values.has('gpu_memory_size_bytes') && isUnifiedMemoryDevice(facts.name)) {
    putHostMemory(values.points, meminfo());
  }
  putMigDevices(gpu, values.points);
  const processes = readProcesses(gpu, values);
  const uuid = valueAt(gpu, 'uuid')?.slice(0, MAX_NAME_LENGTH);
  return {
    ...(uuid === undefined ? {} : { uuid }),
    condition: readCondition(gpu, facts, action),
    facts,
    points: values.points.points,
    ...(processes === undefined ? {} : { processes }),
    unparsed: values.points.unparsed,
    unsupported: values.unsupported,
  };
}

/**
 * Blocks whose figures say nothing: the load of a GPU that is split, for which drivers were seen to say 0, and a memory
 * of no bytes.
 */
function voidBlocks(gpu: SmiElement): (metric: SmiMetric) => boolean {
  const isSplit = plainWords(valueAt(gpu, 'mig_mode/current_mig') ?? '') === 'enabled';
  const hasNoMemory = bytes(valueAt(gpu, 'fb_memory_usage/total') ?? '') === 0;
  const blocks = [...(isSplit ? ['utilization/'] : []), ...(hasNoMemory ? ['fb_memory_usage/'] : [])];
  return ({ paths }) => paths.some((path) => blocks.some((block) => path.startsWith(block)));
}

/** The figures of one GPU, each field refused once. */
class GpuValues {
  readonly points = new GpuPoints();
  readonly unsupported: UnsupportedReading[] = [];
  private readonly gpu: SmiElement;
  private readonly refused = new Set<string>();

  constructor(gpu: SmiElement) {
    this.gpu = gpu;
  }

  put(metric: SmiMetric): void {
    for (const path of metric.paths) {
      const value = this.value(path, metric);
      if (value === undefined) continue;
      this.points.put(metric.metric, value, path, metric.labels);
      return;
    }
    const sum = metric.sumOf === undefined ? undefined : this.sum(metric.sumOf, metric);
    this.points.put(metric.metric, sum, metric.sumOf?.[0] ?? '', metric.labels);
  }

  has(metric: GpuMetricName): boolean {
    return this.points.points.some((point) => point.metric === metric);
  }

  /** Of a figure that the GPU gives; undefined also for a word that is no value. */
  value(path: string, { read, health, zeroIsUnknown }: SmiMetric): number | undefined {
    const found = textAt(this.gpu, path);
    const cell = readCell(found?.text);
    if (found === undefined || cell.kind === 'absent') return undefined;
    if (cell.kind === 'no_permission') {
      this.unsupported.push({ field: found.path, why: 'no_permission' });
    } else if (cell.kind === 'value') {
      // A block that is one text can only say why there is nothing in it.
      const value = found.path === path ? read(cell.text) : undefined;
      if (value === 0 && zeroIsUnknown === true) return undefined;
      if (value !== undefined) return value;
      this.refuse(found.path, cell.text);
    } else if (cell.kind === 'error' && health === true) {
      // Elsewhere the driver may fail now and then; here that may be the very thing to know.
      this.refuse(found.path, cell.text);
    }
    return undefined;
  }

  /** A part that is there and cannot be read leaves no sum. */
  private sum(paths: readonly string[], metric: SmiMetric): number | undefined {
    const refusedBefore = this.refused.size;
    const parts = paths.map((path) => this.value(path, metric)).filter((part) => part !== undefined);
    if (parts.length === 0 || this.refused.size > refusedBefore) return undefined;
    return parts.reduce((total, part) => total + part, 0);
  }

  private refuse(field: string, value: string): void {
    if (this.refused.has(field)) return;
    this.refused.add(field);
    this.points.refuse(field, value);
  }
}

function readFacts(gpu: SmiElement): Omit<GpuFacts, 'vendor'> {
  const pciBusId =
    sysfsPciAddress(valueAt(gpu, 'pci/pci_bus_id')) ?? sysfsPciAddress(textAt(gpu, '$/id')?.text);
  const facts = {
    name: valueAt(gpu, 'product_name'),
    pciBusId,
    serial: valueAt(gpu, 'serial'),
    architecture: valueAt(gpu, 'product_architecture'),
    vbiosVersion: valueAt(gpu, 'vbios_version'),
  };
  return Object.fromEntries(
    Object.entries(facts).filter((fact): fact is [string, string] => fact[1] !== undefined),
  );
}

/** A text that says something; of a block that is one text, nothing. */
function valueAt(element: SmiElement, path: string): string | undefined {
  const found = textAt(element, path);
  if (found === undefined || found.path !== path) return undefined;
  const cell = readCell(found.text);
  return cell.kind === 'value' ? cell.text.slice(0, MAX_NAME_LENGTH) : undefined;
}

function putRecoveryAction(values: GpuValues): number | undefined {
  const told = values.value('gpu_recovery_action', recoveryAction);
  const answers = resetStatus.map((metric) => values.value(metric.paths[0] ?? '', metric));
  const known = (told === undefined ? answers : [told]).filter((answer) => answer !== undefined);
  const action = known.length === 0 ? undefined : Math.max(...known);
  values.points.put('gpu_recovery_action', action, 'gpu_recovery_action');
  return action;
}

function putHostMemory(points: GpuPoints, memory: HostMemory | undefined): void {
  points.put('gpu_memory_unified', 1, 'meminfo');
  points.put('gpu_memory_size_bytes', memory?.totalBytes, 'meminfo');
  points.put('gpu_memory_free_bytes', memory?.availableBytes, 'meminfo');
  const used = memory === undefined ? undefined : memory.totalBytes - memory.availableBytes;
  points.put('gpu_memory_used_bytes', used, 'meminfo');
}

/** nvidia-smi has neither profile nor UUID of a MIG device in its XML: those labels are empty. */
function putMigDevices(gpu: SmiElement, points: GpuPoints): void {
  const block = elementAt(gpu, 'mig_devices');
  if (block === undefined) return; // "None", or a driver that knows no MIG
  for (const device of elementsAt(block, 'mig_device').slice(0, MAX_MIG_DEVICES)) {
    const ids = {
      gpu_instance_id: instanceId(device, 'gpu_instance_id') ?? '',
      compute_instance_id: instanceId(device, 'compute_instance_id') ?? '',
    };
    points.put('gpu_mig_info', 1, 'mig_device', { ...ids, profile: '', mig_uuid: '' });
    const size = numberAt(device, 'fb_memory_usage/total', bytes, points, 'mig_device');
    if (size === 0) continue; // Nobody's: not told.
    points.put('gpu_mig_memory_size_bytes', size, 'mig_device/fb_memory_usage/total', ids);
    const used = numberAt(device, 'fb_memory_usage/used', bytes, points, 'mig_device');
    points.put('gpu_mig_memory_used_bytes', used, 'mig_device/fb_memory_usage/used', ids);
  }
}

function instanceId(element: SmiElement, name: string): string | undefined {
  const id = valueAt(element, name);
  return id !== undefined && /^\d{1,6}$/.test(id) ? id : undefined;
}

function numberAt(
  element: SmiElement,
  path: string,
  read: CellReader,
  points: GpuPoints,
  parent: string,
): number | undefined {
  const text = valueAt(element, path);
  const value = text === undefined ? undefined : read(text);
  if (text !== undefined && value === undefined) points.refuse(`${parent}/${path}`, text);
  return value;
}

/** nvidia-smi's letters; `M+C` is a client of the multi-process service. */
const PROCESS_TYPES: Readonly<Record<string, GpuProcess['type']>> = {
  c: 'compute',
  g: 'graphics',
  'c+g': 'compute+graphics',
  'm+c': 'mps',
};

/** Undefined where the block is not there or says that it cannot tell; empty only where it says so by being empty. */
function readProcesses(gpu: SmiElement, values: GpuValues): readonly GpuProcess[] | undefined {
  const { points, unsupported } = values;
  const text = textAt(gpu, 'processes')?.text;
  if (readCell(text).kind === 'no_permission') {
    unsupported.push({ field: 'processes', why: 'no_permission' });
  }
  const block = elementAt(gpu, 'processes');
  if (block === undefined && text?.trim() !== '') return undefined;
  const processes = (block === undefined ? [] : elementsAt(block, 'process_info'))
    .slice(0, MAX_PROCESSES)
    .map((element) => readProcess(element, points))
    .filter((process) => process !== undefined);
  const counted = (type: 'compute' | 'graphics'): number =>
    processes.filter((process) => (process.type === 'mps' ? 'compute' : process.type).includes(type)).length;
  points.put('gpu_processes', counted('compute'), 'processes', { type: 'compute' });
  points.put('gpu_processes', counted('graphics'), 'processes', { type: 'graphics' });
  return processes;
}

function readProcess(element: SmiElement, points: GpuPoints): GpuProcess | undefined {
  const parent = 'processes/process_info';
  const pid = numberAt(element, 'pid', count, points, parent);
  const letters = valueAt(element, 'type') ?? '';
  const type = PROCESS_TYPES[plainWords(letters)];
  if (type === undefined) points.refuse(`${parent}/type`, letters);
  if (pid === undefined || type === undefined) return undefined;

  const name = valueAt(element, 'process_name');
  const memoryBytes = numberAt(element, 'used_memory', bytes, points, parent);
  const gpuInstanceId = instanceId(element, 'gpu_instance_id');
  const computeInstanceId = instanceId(element, 'compute_instance_id');
  return {
    pid,
    type,
    ...(name === undefined ? {} : { name }),
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
    ...(gpuInstanceId === undefined ? {} : { gpuInstanceId }),
    ...(computeInstanceId === undefined ? {} : { computeInstanceId }),
  };
}

/**
 * A GPU is down where any of its fields says that it is lost or requires a reset, and where nothing of the core works
 * though the driver fails at it or says what is to be done. One that has nothing to say at all (the oldest boards, the
 * Tegra modules) is up.
 */
function readCondition(
  gpu: SmiElement,
  facts: Omit<GpuFacts, 'vendor'>,
  action: number | undefined,
): GpuReading['condition'] {
  const told = toldCondition(gpu, 0);
  if (told !== undefined) return told;
  const core = CORE_PATHS.map((path) => readCell(textAt(gpu, path)?.text).kind);
  if (core.includes('value')) return 'up';
  if (action !== undefined && action > 0) return 'reset_required';
  if (core.includes('error')) return 'unknown_error';
  return action === undefined || isUnifiedMemoryDevice(facts.name) ? 'up' : 'unknown_error';
}

/** Deep enough for any driver's XML. */
const MAX_DEPTH = 12;

function toldCondition(node: SmiNode, depth: number): 'lost' | 'reset_required' | undefined {
  if (typeof node === 'string') {
    const { kind } = readCell(node);
    return kind === 'lost' || kind === 'reset_required' ? kind : undefined;
  }
  if (typeof node !== 'object' || node === null || depth > MAX_DEPTH) return undefined;
  for (const [name, child] of Object.entries(node)) {
    // A process may be called anything; and of the clocks there are thousands.
    if (name === 'processes' || name === 'accounted_processes' || name === 'supported_clocks') continue;
    const told = toldCondition(child, depth + 1);
    if (told !== undefined) return told;
  }
  return undefined;
}

/** nvidia-smi counts in the order of PCI addresses, in which a bad GPU has its place too. */
function withBadGpus(found: readonly FoundGpu[], badGpus: readonly BadGpu[]): readonly FoundGpu[] {
  const known = new Set(found.map(({ facts }) => facts.pciBusId));
  const missing = badGpus.filter(({ pciBusId }) => !known.has(pciBusId));
  if (missing.length === 0) return found;
  const bad = missing.map(({ pciBusId, condition }): FoundGpu => ({
    condition,
    facts: { pciBusId },
    points: [],
    unparsed: [],
    unsupported: [],
  }));
  return [...found, ...bad].sort((a, b) => comparePci(a.facts.pciBusId, b.facts.pciBusId));
}

function comparePci(a = '', b = ''): number {
  return a.length - b.length || (a < b ? -1 : Number(a > b));
}

function uniqueId(before: readonly GpuReading[], { uuid, facts }: FoundGpu, index: string): string {
  const taken = new Set(before.map((gpu) => gpu.uuid));
  const free = [uuid, facts.pciBusId].find((id) => id !== undefined && !taken.has(id));
  return free ?? `nvidia-${index}`;
}

function onceEach(unsupported: readonly UnsupportedReading[]): UnsupportedReading[] {
  return [...new Map(unsupported.map((reading) => [reading.field, reading])).values()];
}
