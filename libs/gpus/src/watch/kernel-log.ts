import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs';
import path from 'node:path';

import { systemClock, type Clock } from '@llm-monitor/metrics-core';

import type { XidEvent } from '../reading.ts';

/** An XID from the kernel log. */
export interface LoggedXid extends XidEvent {
  /** Logged before we began to follow. */
  readonly past: boolean;
}

/** The kernel log, opened for reading without waiting. */
export interface KernelLogSource {
  /**
   * The next record or records, or an empty string when there is none now.
   * @throws an error with a `code`
   */
  read(): string;
  close(): void;
}

export interface KernelLogParts {
  /** Usually /dev/kmsg. */
  readonly file: string;
  /** Where the boot time is found. */
  readonly procRoot: string;
  readonly clock?: Clock;
  /** @throws an error with a `code` */
  readonly open?: (file: string) => KernelLogSource;
}

/** More are left for the next poll. */
const RECORDS_PER_POLL = 1000;
/** A record costs 13 us, and three times as much before it is compiled: a slice holds the event loop for 2 ms. */
const RECORDS_PER_SLICE = 50;
/** The kernel's records are at most 8 KiB with their prefix (CONSOLE_EXT_LOG_MAX). */
const BUFFER_BYTES = 16_384;
/** Two wordings of one fall from the bus are told within this time. */
const SAME_FALL_SECONDS = 2;
const MAXIMUM_FALLS = 256;

/**
 * Follows the kernel log for XIDs, whose number NVML does not always tell (trap 19). Format and error codes:
 * Documentation/ABI/testing/dev-kmsg of the Linux kernel. It never waits for the kernel and never throws.
 */
export class KernelLog {
  private readonly file: string;
  private readonly procRoot: string;
  private readonly clock: Clock;
  private readonly falls = new Falls();
  private source: KernelLogSource | undefined;
  private reason: string | undefined;
  /** Of the last moment at which all was read; undefined while the records from before the start are read. */
  private emptiedUnixSeconds: number | undefined;
  private cutLine = '';
  private polling = false;

  /** Opens the log, so that `unavailable` is settled from the beginning. */
  constructor({ file, procRoot, clock = systemClock, open = openKernelLog }: KernelLogParts) {
    this.file = file;
    this.procRoot = procRoot;
    this.clock = clock;
    try {
      this.source = open(file);
    } catch (error) {
      this.reason = whyNot(file, codeOf(error));
    }
  }

  /** Why the log is not followed, with how to mend it; undefined while it is. */
  get unavailable(): string | undefined {
    return this.reason;
  }

  /**
   * XIDs logged since the last poll, at first also those from before the start; to be called about once a second. Leaves
   * the event loop free between slices, and what is beyond 1000 records for the next time.
   * @returns nothing while another poll goes on, or the log is not followed
   */
  async poll(): Promise<readonly LoggedXid[]> {
    if (this.polling || this.source === undefined) return [];
    this.polling = true;
    const found: LoggedXid[] = [];
    const bootUnixSeconds = readBootTime(this.procRoot);
    let emptied = false;
    for (let count = 0; count < RECORDS_PER_POLL && !emptied; count += RECORDS_PER_SLICE) {
      if (count > 0) await new Promise<void>((resolve) => setImmediate(resolve));
      emptied = this.readSlice(found, bootUnixSeconds);
    }
    if (emptied) this.emptiedUnixSeconds = this.clock.unixSeconds();
    this.polling = false;
    return found;
  }

  /** Closes the log; nothing is told after this. */
  close(): void {
    this.source?.close();
    this.source = undefined;
    this.reason ??= `${this.file} is closed`;
  }

  /** @returns whether all was read */
  private readSlice(found: LoggedXid[], bootUnixSeconds: number | undefined): boolean {
    for (let count = 0; count < RECORDS_PER_SLICE; count += 1) {
      if (this.source === undefined) return true;
      try {
        const text = this.source.read();
        if (text === '') return true;
        this.take(text, found, bootUnixSeconds);
      } catch (error) {
        const code = codeOf(error);
        if (code === 'EAGAIN') return true;
        // EPIPE: records were overwritten before we came; EINVAL: one is too long. The next read goes on behind them.
        if (code !== 'EPIPE' && code !== 'EINVAL' && code !== 'EINTR') this.fail(code);
      }
    }
    return false;
  }

  private fail(code: string): void {
    this.reason = whyNot(this.file, code);
    this.close();
  }

  private take(text: string, found: LoggedXid[], bootUnixSeconds: number | undefined): void {
    const lines = (this.cutLine + text).split('\n');
    this.cutLine = (lines.pop() ?? '').slice(-BUFFER_BYTES);
    for (const line of lines) {
      const record = parseKernelRecord(line);
      const xid = record && parseXidLine(record.text);
      if (xid === undefined || this.falls.isKnown(xid, record?.bootSeconds ?? 0)) continue;
      found.push({
        pciBusId: xid.pciBusId,
        xid: xid.xid,
        unixSeconds: this.timeOf(record?.bootSeconds ?? 0, bootUnixSeconds),
        past: this.emptiedUnixSeconds === undefined,
      });
    }
  }

  /**
   * The kernel stamps its log with a clock that stands still in suspend and drifts by minutes in months (dmesg(1),
   * --ctime), so a record is not older than the last time that all was read, and none is from the future.
   */
  private timeOf(bootSeconds: number, bootUnixSeconds: number | undefined): number {
    const now = this.clock.unixSeconds();
    const stamped = bootUnixSeconds === undefined ? now : bootUnixSeconds + bootSeconds;
    return Math.min(now, Math.max(stamped, this.emptiedUnixSeconds ?? 0));
  }
}

/** One record of the kernel log. */
export interface KernelRecord {
  /** On the kernel's clock, which starts at boot. */
  readonly bootSeconds: number;
  readonly text: string;
}

/**
 * Reads `priority,sequence,microseconds,flags[,…];text`. Undefined for continuation lines (a space first) and for what
 * a program wrote: the kernel's own messages have facility 0, which nobody else can use.
 */
export function parseKernelRecord(line: string): KernelRecord | undefined {
  const match = /^([0-7]),\d+,(\d+),[^;]*;(.*)$/.exec(line);
  const [, , microseconds, text] = match ?? [];
  if (microseconds === undefined || text === undefined) return undefined;
  return { bootSeconds: Number(microseconds) / 1e6, text: unescapeRecord(text) };
}

/** An XID as a line of the kernel log tells it. */
export interface XidLine {
  /** As in `GpuFacts`. */
  readonly pciBusId: string;
  readonly xid: number;
  /** Told in words, without the number. */
  readonly worded: boolean;
}

const ADDRESS = '(?:PCI:)?([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})(?:\\.[0-7])?';
/** With ` GPU-I:05` or ` GPU-I:05 GPU-CI:01` after the address on MIG (kernel_rc.c of the open kernel modules). */
const NUMBERED = new RegExp(`^NVRM: Xid \\(${ADDRESS}(?: GPU-[^)]*)?\\): (\\d{1,4})(?:,|$)(.*)`, 'is');
/** The second one is printed over three lines (nv.c of the open kernel modules). */
const FALLEN = [
  new RegExp(`^NVRM: GPU (?:at )?${ADDRESS}:? (?:GPU )?has fallen off the bus`, 'i'),
  new RegExp(
    `^NVRM: The NVIDIA GPU ${ADDRESS}\\s+NVRM: \\(PCI ID: [^)]*\\) installed in this system has\\s+NVRM: fallen off the bus`,
    'i',
  ),
];
const FALLEN_OFF_THE_BUS = 79;

/**
 * Reads one message of the NVIDIA driver. "Has fallen off the bus" without a number is XID 79 (gpud#1209). A 154 whose
 * recovery action is now none tells that an error is over, and is no error.
 * @param text without prefix
 * @returns undefined for all that is not an XID of a GPU
 */
export function parseXidLine(text: string): XidLine | undefined {
  const [, domain, bus, device, number, rest = ''] = NUMBERED.exec(text) ?? [];
  if (number !== undefined) {
    const pciBusId = pciAddress(domain, bus, device);
    if (pciBusId === undefined || /^.*recovery action changed from .* to 0x0\b/i.test(rest)) return undefined;
    return { pciBusId, xid: Number(number), worded: false };
  }
  for (const pattern of FALLEN) {
    const [, ...address] = pattern.exec(text) ?? [];
    const pciBusId = pciAddress(...address);
    if (pciBusId !== undefined) return { pciBusId, xid: FALLEN_OFF_THE_BUS, worded: true };
  }
  return undefined;
}

/** As sysfs writes it; the driver leaves out the function, which is 0 for a GPU. */
function pciAddress(domain?: string, bus?: string, device?: string): string | undefined {
  if (domain === undefined || bus === undefined || device === undefined) return undefined;
  const short = Number.parseInt(domain, 16).toString(16).padStart(4, '0');
  return `${short}:${bus}:${device}.0`.toLowerCase();
}

/** A fall from the bus is told by number and in words, in either order, and in words at each try to reach the GPU. */
class Falls {
  private readonly last = new Map<string, { readonly worded: boolean; readonly bootSeconds: number }>();

  isKnown({ pciBusId, xid, worded }: XidLine, bootSeconds: number): boolean {
    if (xid !== FALLEN_OFF_THE_BUS) return false;
    const before = this.last.get(pciBusId);
    if (before !== undefined || this.last.size < MAXIMUM_FALLS)
      this.last.set(pciBusId, { worded, bootSeconds });
    return (
      before !== undefined &&
      (worded || before.worded) &&
      Math.abs(bootSeconds - before.bootSeconds) <= SAME_FALL_SECONDS
    );
  }
}

/** The kernel writes control characters, non-ASCII bytes and the backslash as `\x0a`. */
function unescapeRecord(text: string): string {
  return text.replace(/\\x([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function openKernelLog(file: string): KernelLogSource {
  // Without O_NONBLOCK a read would hold the event loop until the kernel's next message.
  const descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  const buffer = Buffer.alloc(BUFFER_BYTES);
  return {
    read: () => buffer.toString('utf8', 0, readSync(descriptor, buffer, 0, buffer.length, null)),
    close: () => closeSync(descriptor),
  };
}

/** Unix time of the boot, whole seconds; undefined where /proc does not tell it. */
function readBootTime(procRoot: string): number | undefined {
  try {
    const [, seconds] = /^btime (\d+)$/m.exec(readFileSync(path.join(procRoot, 'stat'), 'utf8')) ?? [];
    return seconds === undefined ? undefined : Number(seconds);
  } catch {
    return undefined;
  }
}

function codeOf(error: unknown): string {
  // By its shape, for instanceof fails on errors of node:fs where tests have globals of their own.
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : String(error);
}

function whyNot(file: string, code: string): string {
  switch (code) {
    case 'EACCES':
    case 'EPERM':
      return (
        `${file} may not be read (${code}): give the program CAP_SYSLOG (--cap-add SYSLOG in a container), ` +
        'or set kernel.dmesg_restrict=0 on the host'
      );
    case 'ENOENT':
      return `${file} is not there: in a container, hand it in with --device /dev/kmsg and --cap-add SYSLOG`;
    default:
      return `${file} cannot be read (${code}): look whether it is the kernel log of this host`;
  }
}
