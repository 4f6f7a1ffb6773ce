import type { DownReason, UnsupportedReading } from '../../reading.ts';
import type { NvmlArgument, NvmlFunction, NvmlLibrary } from './nvml-library.ts';
import { u64At } from './quantities.ts';
import {
  downReasonOf,
  inWords,
  INSUFFICIENT_SIZE,
  isLasting,
  sessionLossOf,
  SUCCESS,
  whyUnsupported,
} from './return-codes.ts';

/** The GPU as a whole does not answer; the others may. */
export class GpuDown extends Error {
  override readonly name = 'GpuDown';
  readonly reason: DownReason;
  constructor(reason: DownReason, call: string, code: number) {
    super(`${call} answered ${inWords(code)}`);
    this.reason = reason;
  }
}

/** The session with the driver is over: whatever was got through it is void. */
export class SessionLost extends Error {
  override readonly name = 'SessionLost';
  readonly code: number;
  constructor(call: string, code: number) {
    super(`${call} answered ${inWords(code)}`);
    this.code = code;
  }
}

/** What lasts is asked for again after so long: a driver setting may have changed it (ECC, MIG, accounting). */
const ASK_AGAIN_SECONDS = 60;

/** A struct with its version in the first four bytes, as NVML wants it: size, and version in the highest byte. */
export interface StructLayout {
  readonly bytes: number;
  /** Left out for a struct without one. */
  readonly version?: number;
}

/**
 * NVML's functions for one device. Each gives its value, or undefined and remembers why. What answers that it does not
 * exist here is left alone for a minute.
 */
export class DeviceCalls {
  readonly handle: bigint;
  private readonly library: NvmlLibrary;
  private readonly now: () => number;
  /** Reading to its lasting answer and until when it is believed, in monotonic seconds. */
  private readonly lasting = new Map<string, { readonly code: number; readonly untilSeconds: number }>();
  private answered = new Set<string>();
  private failed = new Map<string, number>();

  constructor(library: NvmlLibrary, handle: bigint, now: () => number) {
    this.library = library;
    this.handle = handle;
    this.now = now;
  }

  /** Forgets what the last reading has told of what answers and what does not. */
  begin(): void {
    this.answered = new Set();
    this.failed = new Map();
  }

  /** What did not answer since `begin`, other than for this moment only. */
  unsupported(): UnsupportedReading[] {
    return [...this.failed].flatMap(([field, code]) => {
      const why = whyUnsupported(code);
      return this.answered.has(field) || why === undefined ? [] : [{ field, why }];
    });
  }

  /** What a reading answered since `begin` in place of a value. */
  failureOf(reading: string): number | undefined {
    return this.failed.get(reading);
  }

  /** Whether a reading gave a value since `begin`. */
  hasAnswered(reading: string): boolean {
    return this.answered.has(reading);
  }

  /**
   * Calls a function with the device as its first argument.
   * @param selector what of the function is asked for, where its arguments choose: each is remembered by itself
   * @returns NVML's return code, which is the remembered one where the answer lasts
   * @throws GpuDown, SessionLost
   */
  call(name: NvmlFunction, selector: string, ...args: readonly NvmlArgument[]): number {
    const reading = selector === '' ? name : `${name}(${selector})`;
    const remembered = this.rememberedFailure(reading);
    if (remembered !== undefined) {
      this.noteFailure(name, remembered);
      return remembered;
    }
    const code = this.library.call(name, this.handle, ...args);
    this.settle(reading, name, code);
    return code;
  }

  /** Tells of a reading that is not there. */
  noteFailure(field: string, code: number): void {
    this.failed.set(field, code);
  }

  /** Takes a failure back: an older function has given the same reading. */
  excuse(field: string): void {
    this.failed.delete(field);
  }

  /** The remembered answer of a reading that is not to be asked for now. */
  rememberedFailure(reading: string): number | undefined {
    const known = this.lasting.get(reading);
    if (known === undefined) return undefined;
    if (this.now() < known.untilSeconds) return known.code;
    this.lasting.delete(reading);
    return undefined;
  }

  /**
   * Takes note of an answer.
   * @param reading what was asked for
   * @param field what `unsupported` calls it
   * @throws GpuDown, SessionLost
   */
  settle(reading: string, field: string, code: number): void {
    if (code === SUCCESS) {
      this.answered.add(field);
      return;
    }
    // The caller asks again with more room: it is no answer yet.
    if (code === INSUFFICIENT_SIZE) return;
    if (sessionLossOf(code) !== undefined) throw new SessionLost(reading, code);
    const down = downReasonOf(code);
    if (down !== undefined) throw new GpuDown(down, reading, code);
    this.noteFailure(field, code);
    if (isLasting(code)) this.lasting.set(reading, { code, untilSeconds: this.now() + ASK_AGAIN_SECONDS });
  }

  /** The device's `unsigned int`, after whole-number arguments that choose it. */
  uint(name: NvmlFunction, ...selectors: readonly number[]): number | undefined {
    const out = Buffer.alloc(4);
    return this.call(name, selectors.join(), ...selectors, out) === SUCCESS ? out.readUInt32LE(0) : undefined;
  }

  /** Several `unsigned int`, each written to an address of its own. */
  uints(name: NvmlFunction, count: number): number[] | undefined {
    const outs = Array.from({ length: count }, () => Buffer.alloc(4));
    return this.call(name, '', ...outs) === SUCCESS ? outs.map((out) => out.readUInt32LE(0)) : undefined;
  }

  /** The device's `unsigned long long`, after whole-number arguments that choose it. */
  ulonglong(name: NvmlFunction, ...selectors: readonly number[]): number | undefined {
    const out = Buffer.alloc(8);
    return this.call(name, selectors.join(), ...selectors, out) === SUCCESS ? u64At(out, 0) : undefined;
  }

  /** A set of 64 bits. */
  bits(name: NvmlFunction): bigint | undefined {
    const out = Buffer.alloc(8);
    return this.call(name, '', out) === SUCCESS ? out.readBigUInt64LE(0) : undefined;
  }

  /** A text of at most `bytes` with its NUL. NVML promises no encoding: what is not UTF-8 is replaced. */
  text(name: NvmlFunction, bytes: number): string | undefined {
    const out = Buffer.alloc(bytes);
    return this.call(name, '', out, bytes) === SUCCESS ? textOf(out) : undefined;
  }

  /** A struct, as its bytes. `prepare` sets what the driver is to know before it fills it. */
  struct(
    name: NvmlFunction,
    { bytes, version }: StructLayout,
    selector = '',
    prepare?: (struct: Buffer) => void,
  ): Buffer | undefined {
    const out = Buffer.alloc(bytes);
    if (version !== undefined) out.writeUInt32LE(version, 0);
    prepare?.(out);
    return this.call(name, selector, out) === SUCCESS ? out : undefined;
  }
}

/** What stands before the first NUL. An empty text says nothing. */
export function textOf(bytes: Buffer): string | undefined {
  const end = bytes.indexOf(0);
  const text = bytes.toString('utf8', 0, end === -1 ? bytes.length : end).trim();
  return text === '' ? undefined : text;
}
