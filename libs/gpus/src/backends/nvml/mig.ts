import type { GpuPoints } from '../../gpu-points.ts';
import { DeviceCalls } from './device-calls.ts';
import type { NvmlLibrary } from './nvml-library.ts';
import { SUCCESS } from './return-codes.ts';
import { readMemory } from './read-device.ts';

/** Part of a device that is split by MIG. */
export interface MigDevice {
  readonly calls: DeviceCalls;
  readonly gpuInstance: number;
  readonly computeInstance: number;
}

/** No device can be split into more. */
const MAX_MIG_DEVICES = 16;

/** Whether the device is split now; undefined where it cannot be. */
export function readMigMode(calls: DeviceCalls): number | undefined {
  return calls.uints('nvmlDeviceGetMigMode', 2)?.[0];
}

/** The MIG devices there are now; their handles are void once somebody splits the GPU otherwise. */
export function findMigDevices(library: NvmlLibrary, calls: DeviceCalls, now: () => number): MigDevice[] {
  const count = Math.min(calls.uint('nvmlDeviceGetMaxMigDeviceCount') ?? 0, MAX_MIG_DEVICES);
  return Array.from({ length: count }, (_, index) => {
    const out = Buffer.alloc(8);
    // The indices have holes.
    const code = calls.call('nvmlDeviceGetMigDeviceHandleByIndex', String(index), index, out);
    if (code !== SUCCESS) return undefined;
    const mig = new DeviceCalls(library, out.readBigUInt64LE(0), now);
    const gpuInstance = mig.uint('nvmlDeviceGetGpuInstanceId');
    const computeInstance = mig.uint('nvmlDeviceGetComputeInstanceId');
    if (gpuInstance === undefined || computeInstance === undefined) return undefined;
    return { calls: mig, gpuInstance, computeInstance };
  }).filter((device) => device !== undefined);
}

/** Identity and memory, which is all that NVML has of a MIG device by itself. */
export function putMigDevice(points: GpuPoints, { calls, gpuInstance, computeInstance }: MigDevice): void {
  const ids = { gpu_instance_id: String(gpuInstance), compute_instance_id: String(computeInstance) };
  points.put('gpu_mig_info', 1, 'nvmlDeviceGetMigDeviceHandleByIndex', {
    ...ids,
    profile: readProfile(calls) ?? '',
    mig_uuid: calls.text('nvmlDeviceGetUUID', 96) ?? '',
  });
  const memory = readMemory(calls);
  if (memory === undefined) return;
  points.put('gpu_mig_memory_size_bytes', memory.total, memory.field, ids);
  points.put('gpu_mig_memory_used_bytes', memory.used, memory.field, ids);
}

/** `1g.10gb`: the end of the name ("NVIDIA H100 80GB HBM3 MIG 1g.10gb"), else made of the slices as NVIDIA does. */
function readProfile(calls: DeviceCalls): string | undefined {
  const named = /\bMIG (\S+)$/.exec(calls.text('nvmlDeviceGetName', 96) ?? '')?.[1];
  if (named !== undefined) return named;
  const attributes = calls.struct('nvmlDeviceGetAttributes_v2', { bytes: 40 });
  if (attributes === undefined) return undefined;
  const [gpuSlices, computeSlices] = [attributes.readUInt32LE(24), attributes.readUInt32LE(28)];
  const gigabytes = Math.round(Number(attributes.readBigUInt64LE(32)) / 1024);
  const compute = computeSlices === gpuSlices ? '' : `${String(computeSlices)}c.`;
  return `${compute}${String(gpuSlices)}g.${String(gigabytes)}gb`;
}
