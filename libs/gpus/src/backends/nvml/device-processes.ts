import type { GpuPoints } from '../../gpu-points.ts';
import type { GpuProcess } from '../../reading.ts';
import type { DeviceCalls } from './device-calls.ts';
import type { NvmlFunction, NvmlLibrary } from './nvml-library.ts';
import { u64At } from './quantities.ts';
import { INSUFFICIENT_SIZE, isLasting, NOT_FOUND, SUCCESS } from './return-codes.ts';

/** Per kind of process the functions that list it, the newest first (R510, then before). Their structs are the same. */
const LISTS = {
  compute: ['nvmlDeviceGetComputeRunningProcesses_v3', 'nvmlDeviceGetComputeRunningProcesses_v2'],
  graphics: ['nvmlDeviceGetGraphicsRunningProcesses_v3', 'nvmlDeviceGetGraphicsRunningProcesses_v2'],
  mps: ['nvmlDeviceGetMPSComputeRunningProcesses_v3', 'nvmlDeviceGetMPSComputeRunningProcesses_v2'],
} as const satisfies Record<string, readonly NvmlFunction[]>;
type ListedAs = keyof typeof LISTS;

/** nvmlProcessInfo_t */
const PROCESS_BYTES = 24;
/** NVML_VALUE_NOT_AVAILABLE: Windows' WDDM keeps the memory, and tells nobody. */
const NOT_AVAILABLE = 2n ** 64n - 1n;
/** Of a process that is on no MIG device. */
const NO_INSTANCE = 2 ** 32 - 1;
/** Processes for which there is room at first, and more for those that start between two calls. */
const FIRST_ROOM = 64;
const SPARE_ROOM = 8;
const MAX_ATTEMPTS = 5;
const MAX_PROCESSES = 4096;

interface ListedProcess {
  readonly pid: number;
  readonly memoryBytes: number | undefined;
  readonly gpuInstanceId: string | undefined;
  readonly computeInstanceId: string | undefined;
}

/**
 * Processes on a device, or on a MIG device; undefined where the driver lists none of their kinds. A process on the
 * compute and on the graphics list is one.
 */
export function readProcesses(calls: DeviceCalls, points: GpuPoints): GpuProcess[] | undefined {
  const lists = {
    compute: list(calls, 'compute', points),
    graphics: list(calls, 'graphics', points),
    mps: list(calls, 'mps', points),
  };
  if (lists.compute === undefined && lists.graphics === undefined) return undefined;
  const processes = new Map<string, GpuProcess>();
  for (const type of ['compute', 'graphics', 'mps'] as const) {
    for (const process of lists[type] ?? []) {
      const key = [process.pid, process.gpuInstanceId, process.computeInstanceId].join();
      processes.set(key, merge(processes.get(key), process, type));
    }
  }
  return [...processes.values()];
}

/** How many processes of each type; a client of the multi-process service computes. */
export function putProcessCounts(points: GpuPoints, processes: readonly GpuProcess[]): void {
  const counted = (type: 'compute' | 'graphics'): number =>
    processes.filter((process) => (process.type === 'mps' ? 'compute' : process.type).includes(type)).length;
  points.put('gpu_processes', counted('compute'), LISTS.compute[0], { type: 'compute' });
  points.put('gpu_processes', counted('graphics'), LISTS.graphics[0], { type: 'graphics' });
}

function merge(before: GpuProcess | undefined, process: ListedProcess, type: ListedAs): GpuProcess {
  const { pid, memoryBytes, gpuInstanceId, computeInstanceId } = process;
  const merged = before?.type === 'compute' && type === 'graphics' ? 'compute+graphics' : type;
  return {
    ...before,
    pid,
    type: merged,
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
    ...(gpuInstanceId === undefined ? {} : { gpuInstanceId }),
    ...(computeInstanceId === undefined ? {} : { computeInstanceId }),
  };
}

function list(calls: DeviceCalls, kind: ListedAs, points: GpuPoints): ListedProcess[] | undefined {
  const [newest, older] = LISTS[kind];
  const processes = listWith(calls, newest, points);
  if (processes !== undefined || !isRefused(calls, newest)) return processes;
  const fallback = listWith(calls, older, points);
  if (fallback !== undefined) calls.excuse(newest);
  return fallback;
}

function isRefused(calls: DeviceCalls, name: NvmlFunction): boolean {
  const code = calls.failureOf(name);
  return code !== undefined && isLasting(code);
}

function listWith(calls: DeviceCalls, name: NvmlFunction, points: GpuPoints): ListedProcess[] | undefined {
  const filled = withRoom(calls, name, PROCESS_BYTES, (count, processes) =>
    calls.call(name, '', count, processes),
  );
  if (filled.code !== SUCCESS) return undefined;
  return Array.from({ length: Math.min(filled.count, MAX_PROCESSES) }, (_, index) => {
    const at = index * PROCESS_BYTES;
    const { rows } = filled;
    return {
      pid: rows.readUInt32LE(at),
      memoryBytes: usedMemory(rows, at + 8, name, points),
      gpuInstanceId: instanceId(rows.readUInt32LE(at + 16)),
      computeInstanceId: instanceId(rows.readUInt32LE(at + 20)),
    };
  });
}

function usedMemory(rows: Buffer, at: number, name: NvmlFunction, points: GpuPoints): number | undefined {
  if (rows.readBigUInt64LE(at) === NOT_AVAILABLE) return undefined;
  const bytes = u64At(rows, at);
  if (bytes <= 2 ** 53) return bytes;
  points.refuse(name, String(bytes));
  return undefined;
}

function instanceId(id: number): string | undefined {
  return id === NO_INSTANCE ? undefined : String(id);
}

interface Filled {
  readonly code: number;
  readonly rows: Buffer;
  readonly count: number;
}

/** Calls with room for rows, and again with more as long as there are more of them than fit: they start meanwhile. */
function withRoom(
  calls: DeviceCalls,
  name: NvmlFunction,
  rowBytes: number,
  call: (count: Buffer, rows: Buffer) => number,
): Filled {
  const count = Buffer.alloc(4);
  let room = FIRST_ROOM;
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const rows = Buffer.alloc(rowBytes * room);
    count.writeUInt32LE(room);
    const code = call(count, rows);
    const told = count.readUInt32LE(0);
    if (code !== INSUFFICIENT_SIZE) return { code, rows, count: Math.min(told, room) };
    room = Math.min(Math.max(told, room) + SPARE_ROOM, MAX_PROCESSES);
  }
  calls.noteFailure(name, INSUFFICIENT_SIZE);
  return { code: INSUFFICIENT_SIZE, rows: Buffer.alloc(0), count: 0 };
}

/** Longer than any sampling period of the driver (1/6 to 1 s): who has no sample in it did nothing. */
const UTILIZATION_WINDOW_SECONDS = 2;

/**
 * Share of the multiprocessors' time by process id, of the last two seconds' samples the last. A process that did
 * nothing has no sample (nvml.h: only "that had some non-zero utilization during the last sample period").
 * @returns undefined where the driver does not tell; empty where it has no sample of any process
 */
export function readProcessUtilization(
  library: NvmlLibrary,
  calls: DeviceCalls,
  points: GpuPoints,
  unixSeconds: number,
): ReadonlyMap<number, number> | undefined {
  const sinceMicroseconds = BigInt(Math.floor((unixSeconds - UTILIZATION_WINDOW_SECONDS) * 1e6));
  const info = utilizationInfo(library, calls, sinceMicroseconds);
  if (info !== undefined) return latest(info, INFO, points);
  const name = 'nvmlDeviceGetProcessUtilization';
  const filled = withRoom(calls, name, SAMPLE.bytes, (count, rows) =>
    calls.call(name, '', rows, count, sinceMicroseconds),
  );
  if (filled.code !== SUCCESS && filled.code !== NOT_FOUND) return undefined;
  calls.excuse('nvmlDeviceGetProcessesUtilizationInfo');
  return latest(filled, SAMPLE, points);
}

/** nvmlProcessesUtilizationInfo_v1_t: on Blackwell the only one that answers (HAMi-core#218). */
function utilizationInfo(library: NvmlLibrary, calls: DeviceCalls, since: bigint): Filled | undefined {
  const name = 'nvmlDeviceGetProcessesUtilizationInfo';
  const filled = withRoom(calls, name, INFO.bytes, (count, rows) => {
    const request = Buffer.alloc(24);
    request.writeUInt32LE(0x01000018, 0);
    request.writeUInt32LE(count.readUInt32LE(0), 4);
    request.writeBigUInt64LE(since, 8);
    request.writeBigUInt64LE(library.addressOf(rows), 16);
    const code = calls.call(name, '', request);
    count.writeUInt32LE(request.readUInt32LE(4));
    return code;
  });
  return filled.code === SUCCESS || filled.code === NOT_FOUND ? filled : undefined;
}

/** Where a row of each function has what. */
interface UtilizationLayout {
  readonly name: NvmlFunction;
  readonly bytes: number;
  readonly timestamp: number;
  readonly pid: number;
  readonly sm: number;
}
const INFO: UtilizationLayout = {
  name: 'nvmlDeviceGetProcessesUtilizationInfo',
  bytes: 40,
  timestamp: 0,
  pid: 8,
  sm: 12,
};
const SAMPLE: UtilizationLayout = {
  name: 'nvmlDeviceGetProcessUtilization',
  bytes: 32,
  timestamp: 8,
  pid: 0,
  sm: 16,
};

function latest(
  { code, rows, count }: Filled,
  layout: UtilizationLayout,
  points: GpuPoints,
): Map<number, number> {
  const newest = new Map<number, number>();
  const ratios = new Map<number, number>();
  for (let index = 0; code === SUCCESS && index < count; index++) {
    const at = index * layout.bytes;
    const pid = rows.readUInt32LE(at + layout.pid);
    const timestamp = u64At(rows, at + layout.timestamp);
    const percent = rows.readUInt32LE(at + layout.sm);
    // Rows beyond those that were written have no process.
    if (pid === 0 || timestamp < (newest.get(pid) ?? 0)) continue;
    newest.set(pid, timestamp);
    if (percent <= 100) ratios.set(pid, percent / 100);
    else points.refuse(layout.name, String(percent));
  }
  return ratios;
}
