import { BackendError, type BackendFailureReason, type DownReason } from '../../reading.ts';
import { sysfsPciAddress, type BadGpu } from './normalize-smi.ts';

/** How a run of nvidia-smi ended. */
export interface SmiEnd {
  readonly stdout: string;
  readonly stderr: string;
  /** Exit code, or the name of a failure to start it (`ENOENT`); undefined when it succeeded or a signal ended it. */
  readonly code?: number | string;
  /** That ended it. */
  readonly signal?: string;
}

/** What nvidia-smi prints instead of readings, and what to do about it. */
const TEXTS: readonly (readonly [text: RegExp, reason: BackendFailureReason, mend: string])[] = [
  [
    /driver\/library version mismatch/i,
    'driver_mismatch',
    'the driver was upgraded while its kernel module is still the old one: reboot, or reload the nvidia modules',
  ],
  [
    /couldn'?t communicate with the nvidia driver|driver not loaded/i,
    'driver_not_loaded',
    'the nvidia kernel module is not loaded: is the driver installed for the running kernel?',
  ],
  [/no devices were found/i, 'no_gpus', 'the driver is loaded and has no GPU: look for it in dmesg'],
  [
    /failed to initialize nvml: unknown error/i,
    'init_unknown_error',
    'in a container this follows a systemctl daemon-reload on the host: restart the container',
  ],
  [
    /insufficient permissions/i,
    'no_permission',
    'run as a user who may open /dev/nvidiactl and /dev/nvidia0',
  ],
  [
    /nvml (?:shared )?library (?:couldn'?t|could not) be found/i,
    'library_missing',
    'libnvidia-ml.so.1 is not installed, or not mounted into the container',
  ],
];

/** Exit codes of `man nvidia-smi`, for a message in words that are new. */
const CODES: Readonly<Record<string, BackendFailureReason>> = {
  4: 'no_permission',
  9: 'driver_not_loaded',
  12: 'library_missing',
  ENOENT: 'program_missing',
  EACCES: 'no_permission',
};

/** Why there are no readings in what nvidia-smi printed. */
export function smiFailure(program: string, end: SmiEnd): BackendError {
  const said = oneLine(`${end.stdout} ${end.stderr}`);
  for (const [text, reason, mend] of TEXTS) {
    if (text.test(said)) return new BackendError(reason, `${program} says "${said}": ${mend}`);
  }
  if (end.code === 'ENOENT') {
    return new BackendError(
      'program_missing',
      `there is no ${program}: is the NVIDIA driver installed, and in PATH?`,
    );
  }
  const reason = end.code === undefined ? undefined : (CODES[end.code] ?? notStarted(end.code));
  const how = end.signal === undefined ? `ended with code ${end.code ?? 0}` : `was ended by ${end.signal}`;
  const printed = said === '' ? 'printed nothing' : `printed "${said}"`;
  return new BackendError(
    reason ?? (end.signal === undefined ? 'unreadable_output' : 'crashed'),
    `${program} -q -x ${how} and ${printed}: run it by hand to see more`,
  );
}

const BAD_GPU =
  /unable to determine the device handle for gpu\s?(?:\d{1,3}:\s)?\s?([0-9a-f]{3,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])\s?:\s?([^.\n]{0,100})/gi;

const CONDITIONS: readonly (readonly [text: RegExp, condition: DownReason])[] = [
  [/gpu is lost|fallen off the bus/i, 'lost'],
  [/requires? reset|reset required/i, 'reset_required'],
  [/insufficient permissions/i, 'no_permission'],
];

/**
 * GPUs of which nvidia-smi gives no element, but a sentence: "Unable to determine the device handle for GPU
 * 0000:BA:00.0: Unknown Error" (NVIDIA/dcgm-exporter#604).
 */
export function badGpusIn(text: string): BadGpu[] {
  return [...text.matchAll(BAD_GPU)].flatMap(([, address, why = '']) => {
    const pciBusId = sysfsPciAddress(address);
    if (pciBusId === undefined) return [];
    const condition = CONDITIONS.find(([pattern]) => pattern.test(why))?.[1] ?? 'unknown_error';
    return [{ pciBusId, condition }];
  });
}

/** An error code of the system (`EAGAIN`) instead of an exit code: the program was never run. */
function notStarted(code: number | string): BackendFailureReason | undefined {
  return typeof code === 'string' ? 'internal' : undefined;
}

function oneLine(text: string): string {
  return text.trim().replace(/\s+/g, ' ').slice(0, 300);
}
