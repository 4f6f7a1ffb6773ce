import type { BackendFailureReason, DownReason, UnsupportedReading } from '../../reading.ts';

/**
 * What NVML's functions answer (nvmlReturn_t of nvml.h). A table of our own: nvmlErrorString has crashed on the very
 * paths where it is asked for.
 */
const WORDS = {
  0: 'success',
  1: 'not initialized',
  2: 'invalid argument',
  3: 'not supported',
  4: 'no permission',
  5: 'already initialized',
  6: 'not found',
  7: 'insufficient size',
  8: 'insufficient power: are the power cables of the GPU attached?',
  9: 'driver not loaded',
  10: 'timeout',
  11: 'interrupt issue',
  12: 'a library of the driver was not found',
  13: 'function not found',
  14: 'corrupted infoROM',
  15: 'GPU is lost',
  16: 'GPU requires reset',
  17: 'operating system error',
  18: 'driver and library versions differ',
  19: 'in use',
  20: 'out of memory',
  21: 'no data',
  22: 'vGPU ECC not supported',
  23: 'insufficient resources',
  24: 'frequency not supported',
  25: 'struct version not supported',
  26: 'deprecated',
  27: 'not ready',
  28: 'GPU not found',
  29: 'invalid state',
  30: 'reset type not supported',
  999: 'unknown error',
} as const satisfies Record<number, string>;

export const SUCCESS = 0;
export const NO_PERMISSION = 4;
export const NOT_FOUND = 6;
export const INSUFFICIENT_SIZE = 7;
export const FUNCTION_NOT_FOUND = 13;
export const UNKNOWN_ERROR = 999;

/** A return code in words, for messages: `15 (GPU is lost)`. */
export function inWords(code: number): string {
  const words: string | undefined = (WORDS as Record<number, string>)[code];
  return `${String(code)} (${words ?? 'not known to us'})`;
}

/** These end the session, whichever function gave them: the library has to be shut down and begun anew. */
const SESSION_LOST: Readonly<Record<number, BackendFailureReason>> = {
  1: 'session_lost',
  9: 'driver_not_loaded',
  12: 'library_missing',
  18: 'driver_mismatch',
};

/** Why the session is lost, if `code` says that it is. */
export function sessionLossOf(code: number): BackendFailureReason | undefined {
  return SESSION_LOST[code];
}

/** These tell of the GPU, not of the reading. */
const GPU_DOWN: Readonly<Record<number, DownReason>> = { 15: 'lost', 16: 'reset_required', 28: 'lost' };

/** Why the GPU as a whole is down, if `code` says that it is. */
export function downReasonOf(code: number): DownReason | undefined {
  return GPU_DOWN[code];
}

const INIT_FAILURES: Readonly<Record<number, BackendFailureReason>> = {
  4: 'no_permission',
  9: 'driver_not_loaded',
  12: 'library_missing',
  13: 'library_missing',
  18: 'driver_mismatch',
  28: 'no_gpus',
};

/** Why nvmlInit_v2 did not succeed. */
export function initFailureOf(code: number): BackendFailureReason {
  return INIT_FAILURES[code] ?? 'init_unknown_error';
}

/** Answers that stay what they are for as long as the board and the driver do: not worth asking for each second. */
const LASTING: ReadonlySet<number> = new Set([2, 3, 13, 25, 26]);

/** Whether the same call would give the same answer again. */
export function isLasting(code: number): boolean {
  return LASTING.has(code);
}

const WHY_UNSUPPORTED: Readonly<Record<number, UnsupportedReading['why']>> = {
  2: 'not_supported',
  3: 'not_supported',
  4: 'no_permission',
  13: 'missing_symbol',
  22: 'not_supported',
  24: 'not_supported',
  25: 'struct_version',
  26: 'not_supported',
};

/** Nothing there at this moment, which says nothing of what the GPU has. */
const MOMENTARY: ReadonlySet<number> = new Set([6, 21, 27]);

/** Why a reading is not there; undefined when it merely is not there at this moment. */
export function whyUnsupported(code: number): UnsupportedReading['why'] | undefined {
  return MOMENTARY.has(code) ? undefined : (WHY_UNSUPPORTED[code] ?? 'failed');
}
