import { BackendError } from '../../reading.ts';
import { FUNCTION_NOT_FOUND } from './return-codes.ts';

/** C types of the arguments: an address (a handle, a buffer, a text), and whole numbers. */
type Argument = 'void *' | 'unsigned int' | 'int' | 'uint64';

const OUT = 'void *';
const DEVICE = 'void *';
const UINT = 'unsigned int';
const INT = 'int';
const ULONGLONG = 'uint64';

/**
 * Every function of NVML that is used, as nvml.h declares it; all return an int. The names are those that the library
 * exports: the ones without a suffix are macros in the header, and as symbols the oldest ABI.
 */
export const NVML_FUNCTIONS = {
  nvmlInit_v2: [],
  nvmlShutdown: [],
  nvmlSystemGetDriverVersion: [OUT, UINT],
  nvmlSystemGetNVMLVersion: [OUT, UINT],
  nvmlSystemGetCudaDriverVersion_v2: [OUT],
  nvmlSystemGetProcessName: [UINT, OUT, UINT],
  nvmlDeviceGetCount_v2: [OUT],
  nvmlDeviceGetHandleByIndex_v2: [UINT, OUT],
  nvmlDeviceGetHandleByPciBusId_v2: ['void *', OUT],
  nvmlDeviceGetName: [DEVICE, OUT, UINT],
  nvmlDeviceGetUUID: [DEVICE, OUT, UINT],
  nvmlDeviceGetSerial: [DEVICE, OUT, UINT],
  nvmlDeviceGetIndex: [DEVICE, OUT],
  nvmlDeviceGetVbiosVersion: [DEVICE, OUT, UINT],
  nvmlDeviceGetPciInfo_v3: [DEVICE, OUT],
  nvmlDeviceGetArchitecture: [DEVICE, OUT],
  nvmlDeviceGetCudaComputeCapability: [DEVICE, OUT, OUT],
  nvmlDeviceGetUtilizationRates: [DEVICE, OUT],
  nvmlDeviceGetEncoderUtilization: [DEVICE, OUT, OUT],
  nvmlDeviceGetDecoderUtilization: [DEVICE, OUT, OUT],
  nvmlDeviceGetJpgUtilization: [DEVICE, OUT, OUT],
  nvmlDeviceGetOfaUtilization: [DEVICE, OUT, OUT],
  nvmlDeviceGetMemoryInfo_v2: [DEVICE, OUT],
  nvmlDeviceGetMemoryInfo: [DEVICE, OUT],
  nvmlDeviceGetBAR1MemoryInfo: [DEVICE, OUT],
  nvmlDeviceGetTemperatureV: [DEVICE, OUT],
  nvmlDeviceGetTemperature: [DEVICE, INT, OUT],
  nvmlDeviceGetTemperatureThreshold: [DEVICE, INT, OUT],
  nvmlDeviceGetMarginTemperature: [DEVICE, OUT],
  nvmlDeviceGetPowerUsage: [DEVICE, OUT],
  nvmlDeviceGetEnforcedPowerLimit: [DEVICE, OUT],
  nvmlDeviceGetPowerManagementLimit: [DEVICE, OUT],
  nvmlDeviceGetPowerManagementDefaultLimit: [DEVICE, OUT],
  nvmlDeviceGetPowerManagementLimitConstraints: [DEVICE, OUT, OUT],
  nvmlDeviceGetTotalEnergyConsumption: [DEVICE, OUT],
  nvmlDeviceGetClockInfo: [DEVICE, INT, OUT],
  nvmlDeviceGetMaxClockInfo: [DEVICE, INT, OUT],
  nvmlDeviceGetPerformanceState: [DEVICE, OUT],
  nvmlDeviceGetCurrentClocksEventReasons: [DEVICE, OUT],
  nvmlDeviceGetCurrentClocksThrottleReasons: [DEVICE, OUT],
  nvmlDeviceGetNumFans: [DEVICE, OUT],
  nvmlDeviceGetFanSpeed_v2: [DEVICE, UINT, OUT],
  nvmlDeviceGetFanSpeedRPM: [DEVICE, OUT],
  nvmlDeviceGetEccMode: [DEVICE, OUT, OUT],
  nvmlDeviceGetMemoryErrorCounter: [DEVICE, INT, INT, INT, OUT],
  nvmlDeviceGetRetiredPages: [DEVICE, INT, OUT, OUT],
  nvmlDeviceGetRetiredPagesPendingStatus: [DEVICE, OUT],
  nvmlDeviceGetRemappedRows: [DEVICE, OUT, OUT, OUT, OUT],
  nvmlDeviceGetCurrPcieLinkGeneration: [DEVICE, OUT],
  nvmlDeviceGetMaxPcieLinkGeneration: [DEVICE, OUT],
  nvmlDeviceGetCurrPcieLinkWidth: [DEVICE, OUT],
  nvmlDeviceGetMaxPcieLinkWidth: [DEVICE, OUT],
  nvmlDeviceGetPcieThroughput: [DEVICE, INT, OUT],
  nvmlDeviceGetPcieReplayCounter: [DEVICE, OUT],
  nvmlDeviceGetNvLinkState: [DEVICE, UINT, OUT],
  nvmlDeviceGetNvLinkErrorCounter: [DEVICE, UINT, INT, OUT],
  nvmlDeviceGetFieldValues: [DEVICE, INT, OUT],
  nvmlDeviceGetGpuFabricInfoV: [DEVICE, OUT],
  nvmlDeviceGetSamples: [DEVICE, INT, ULONGLONG, OUT, OUT, OUT],
  nvmlDeviceGetComputeRunningProcesses_v3: [DEVICE, OUT, OUT],
  nvmlDeviceGetComputeRunningProcesses_v2: [DEVICE, OUT, OUT],
  nvmlDeviceGetGraphicsRunningProcesses_v3: [DEVICE, OUT, OUT],
  nvmlDeviceGetGraphicsRunningProcesses_v2: [DEVICE, OUT, OUT],
  nvmlDeviceGetMPSComputeRunningProcesses_v3: [DEVICE, OUT, OUT],
  nvmlDeviceGetMPSComputeRunningProcesses_v2: [DEVICE, OUT, OUT],
  nvmlDeviceGetProcessUtilization: [DEVICE, OUT, OUT, ULONGLONG],
  nvmlDeviceGetProcessesUtilizationInfo: [DEVICE, OUT],
  nvmlEventSetCreate: [OUT],
  nvmlDeviceGetSupportedEventTypes: [DEVICE, OUT],
  nvmlDeviceRegisterEvents: [DEVICE, ULONGLONG, 'void *'],
  nvmlEventSetWait_v2: ['void *', OUT, UINT],
  nvmlEventSetFree: ['void *'],
  nvmlDeviceGetMigMode: [DEVICE, OUT, OUT],
  nvmlDeviceGetMaxMigDeviceCount: [DEVICE, OUT],
  nvmlDeviceGetMigDeviceHandleByIndex: [DEVICE, UINT, OUT],
  nvmlDeviceGetGpuInstanceId: [DEVICE, OUT],
  nvmlDeviceGetComputeInstanceId: [DEVICE, OUT],
  nvmlDeviceGetAttributes_v2: [DEVICE, OUT],
  nvmlGpmQueryDeviceSupport: [DEVICE, OUT],
  nvmlGpmSampleAlloc: [OUT],
  nvmlGpmSampleFree: ['void *'],
  nvmlGpmSampleGet: [DEVICE, 'void *'],
  nvmlGpmMigSampleGet: [DEVICE, UINT, 'void *'],
  nvmlGpmMetricsGet: [OUT],
} as const satisfies Record<string, readonly Argument[]>;

export type NvmlFunction = keyof typeof NVML_FUNCTIONS;

/** An address is a Buffer, or the bigint that NVML gave as a handle. */
export type NvmlArgument = number | bigint | Buffer | null;

/**
 * Where the library is looked for, in this order. Never plain `libnvidia-ml.so`: that is the stub of the development
 * package, which answers that nothing is there.
 */
const LIBRARIES: Readonly<Record<string, readonly string[]>> = {
  linux: [
    'libnvidia-ml.so.1',
    '/usr/lib/wsl/lib/libnvidia-ml.so.1',
    // Where the GPU operator of Kubernetes puts the driver.
    '/run/nvidia/driver/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1',
    '/run/nvidia/driver/usr/lib/aarch64-linux-gnu/libnvidia-ml.so.1',
    '/run/nvidia/driver/usr/lib64/libnvidia-ml.so.1',
  ],
  win32: ['nvml.dll', 'C:\\Program Files\\NVIDIA Corporation\\NVSMI\\nvml.dll'],
};

type Koffi = typeof import('koffi');
type Bound = (...args: readonly NvmlArgument[]) => number;

/** NVML as it is loaded: calls its functions by name, each bound when it is first called. */
export class NvmlLibrary {
  readonly path: string;
  private readonly koffi: Koffi;
  private readonly handle: ReturnType<Koffi['load']>;
  private readonly bound = new Map<NvmlFunction, Bound>();

  constructor(koffi: Koffi, path: string) {
    this.koffi = koffi;
    this.path = path;
    this.handle = koffi.load(path);
  }

  /**
   * Calls a function and returns its nvmlReturn_t. A function that this driver's library does not have answers 13, as
   * NVML itself would: it is one reading less, never a crash.
   */
  call(name: NvmlFunction, ...args: readonly NvmlArgument[]): number {
    let bound = this.bound.get(name);
    if (bound === undefined) {
      bound = this.bind(name);
      this.bound.set(name, bound);
    }
    return bound(...args);
  }

  /** Address of a buffer, for a struct that points to it; the buffer has to outlive the call. */
  addressOf(buffer: Buffer): bigint {
    return this.koffi.address(buffer);
  }

  /** Lets go of the library. Nothing may be called afterwards. */
  unload(): void {
    this.bound.clear();
    this.handle.unload();
  }

  private bind(name: NvmlFunction): Bound {
    try {
      return this.handle.func(name, INT, [...NVML_FUNCTIONS[name]]) as Bound;
    } catch {
      return () => FUNCTION_NOT_FOUND;
    }
  }
}

/**
 * Loads NVML.
 * @param libraryPath the library itself; looked for in the usual places when left out
 * @throws BackendError library_missing, also where koffi, which the calls go through, is not installed
 */
export async function loadNvml(libraryPath?: string): Promise<NvmlLibrary> {
  const koffi = await loadKoffi();
  const paths = libraryPath === undefined ? (LIBRARIES[process.platform] ?? []) : [libraryPath];
  const failures = new Map<string, string[]>();
  for (const path of paths) {
    try {
      return new NvmlLibrary(koffi, path);
    } catch (error) {
      const why = whyNotLoaded(error, path);
      failures.set(why, [...(failures.get(why) ?? []), path]);
    }
  }
  throw new BackendError(
    'library_missing',
    failures.size === 0
      ? `there is no NVML for ${process.platform}`
      : `NVML could not be loaded (${[...failures].map(([why, where]) => `${why}: ${where.join(', ')}`).join('; ')}): is the NVIDIA driver installed, and in a container, is it passed in?`,
  );
}

/** The linker's words, without the path that they are told with. */
function whyNotLoaded(error: unknown, path: string): string {
  const words = error instanceof Error ? error.message : String(error);
  if (/No such file or directory/.test(words)) return 'not found';
  return words.replace('Failed to load shared library: ', '').replace(`${path}: `, '');
}

async function loadKoffi(): Promise<Koffi> {
  try {
    return await import('koffi');
  } catch (error) {
    throw new BackendError(
      'library_missing',
      `the package koffi, through which NVML is called, could not be loaded on ${process.platform}-${process.arch}: install it, or read the GPUs with nvidia-smi`,
      error,
    );
  }
}
