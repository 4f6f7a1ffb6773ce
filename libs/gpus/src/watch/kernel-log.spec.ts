import { execFileSync } from 'node:child_process';
import { appendFileSync, closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import type { Clock } from '@llm-monitor/metrics-core';

import { KernelLog, parseKernelRecord, parseXidLine, type KernelLogSource } from './kernel-log.ts';

describe('parseXidLine', () => {
  it.each([
    // As the open kernel modules print it since R470.
    {
      text: "NVRM: Xid (PCI:0000:8f:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
      pciBusId: '0000:8f:00.0',
      xid: 79,
    },
    {
      text: 'NVRM: Xid (PCI:0000:01:00): 45, pid=9684, name=python, channel 0x00000015',
      pciBusId: '0000:01:00.0',
      xid: 45,
    },
    // Without process, with function, without "PCI:" (R304), with a long domain, in capitals.
    { text: 'NVRM: Xid (PCI:0000:02:00): 8, Channel 00000001', pciBusId: '0000:02:00.0', xid: 8 },
    { text: 'NVRM: Xid (PCI:0000:3b:00.0): 94, Ch 00000008', pciBusId: '0000:3b:00.0', xid: 94 },
    { text: 'NVRM: Xid (0000:03:00): 14, Channel 00000001', pciBusId: '0000:03:00.0', xid: 14 },
    {
      text: 'NVRM: Xid (PCI:00000008:01:00): 149, NETIR_INT  Fatal   XC0 i0 Link -1',
      pciBusId: '0008:01:00.0',
      xid: 149,
    },
    {
      text: 'NVRM: XID (PCI:0000:CA:00): 79, GPU has fallen off the bus.',
      pciBusId: '0000:ca:00.0',
      xid: 79,
    },
    { text: 'NVRM: Xid (PCI:0000:01:00): 62', pciBusId: '0000:01:00.0', xid: 62 },
    // On MIG.
    {
      text: 'NVRM: Xid (PCI:0000:01:00 GPU-I:05): 94, pid=7194, Contained: CE User Channel (0x9). RST: No, D-RST: No',
      pciBusId: '0000:01:00.0',
      xid: 94,
    },
    {
      text: 'NVRM: Xid (PCI:0000:3b:00 GPU-I:01 GPU-CI:02): 13, pid=9, name=a, Graphics Exception',
      pciBusId: '0000:3b:00.0',
      xid: 13,
    },
    {
      text: 'NVRM: Xid (PCI:0000:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)',
      pciBusId: '0000:01:00.0',
      xid: 154,
    },
    // In words.
    { text: 'NVRM: GPU 0000:05:00.0: GPU has fallen off the bus.', pciBusId: '0000:05:00.0', xid: 79 },
    { text: 'NVRM: GPU at PCI:0000:18:00.0 has fallen off the bus.', pciBusId: '0000:18:00.0', xid: 79 },
    {
      text:
        'NVRM: The NVIDIA GPU 0000:b3:00.0\nNVRM: (PCI ID: 10de:26b5) installed in this system has\n' +
        'NVRM: fallen off the bus and is not responding to commands.',
      pciBusId: '0000:b3:00.0',
      xid: 79,
    },
  ])('reads $text', ({ text, pciBusId, xid }) => {
    expect(parseXidLine(text)).toMatchObject({ pciBusId, xid });
  });

  it.each([
    {
      why: 'the line before names the GPU only',
      text: 'NVRM: GPU at PCI:0000:8f:00: GPU-c43f0536-e751-7211-d7a7-78c95249ee7d',
    },
    { why: 'so does the serial number', text: 'NVRM: GPU 0000:05:00.0: GPU serial number is 0325015054694.' },
    {
      why: 'a failed start is no XID',
      text: 'NVRM: GPU 0000:00:03.0: RmInitAdapter failed! (0x25:0xffff:1249)',
    },
    {
      why: 'an unsupported GPU is still on the bus',
      text:
        'NVRM: The NVIDIA GPU 0000:b3:00.0\nNVRM: (PCI ID: 10de:26b5) installed in this system has\n' +
        'NVRM: been found unsupported.',
    },
    {
      why: 'a switch is no GPU',
      text: 'nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 28006, Data {0x00140004}',
    },
    { why: 'no number', text: 'NVRM: Xid (PCI:0000:66:00): abc, pid=2280636' },
    { why: 'no GPU', text: 'NVRM: Xid (79): GPU has fallen off the bus on nvidia1' },
    { why: 'not the address of a GPU', text: 'NVRM: Xid (PCI:00:1f): 79, GPU has fallen off the bus.' },
    { why: 'not from the driver', text: 'Xid (PCI:0000:8f:00): 79, GPU has fallen off the bus.' },
    {
      why: 'told by somebody else',
      text: 'app: NVRM: Xid (PCI:0000:8f:00): 79, GPU has fallen off the bus.',
    },
    {
      why: 'a recovery that is over is no error',
      text: 'NVRM: Xid (PCI:0000:01:00): 154, GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)',
    },
    { why: 'nothing', text: '' },
  ])('refuses: $why', ({ text }) => {
    expect(parseXidLine(text)).toBeUndefined();
  });

  it('takes the number at its place and no other, whatever a program calls itself', () => {
    const text =
      'NVRM: Xid (PCI:0000:8f:00): 31, pid=7, name=Xid (PCI:0000:01:00): 79, has fallen off the bus.';
    expect(parseXidLine(text)).toEqual({ pciBusId: '0000:8f:00.0', xid: 31, worded: false });
  });
});

describe('parseKernelRecord', () => {
  it.each([
    { line: '3,4471,3023054882,-;NVRM: a', record: { bootSeconds: 3023.054882, text: 'NVRM: a' } },
    { line: '4,1,0,c,caller=T12;a;b', record: { bootSeconds: 0, text: 'a;b' } },
    { line: '6,1,5000000,-;a\\x0ab\\x5cc', record: { bootSeconds: 5, text: 'a\nb\\c' } },
    { line: '11,4471,3023054882,-;NVRM: written by a program, as its facility says', record: undefined },
    { line: ' SUBSYSTEM=pci', record: undefined },
    { line: '3,4471,-;NVRM: no time', record: undefined },
    { line: '', record: undefined },
  ])('reads $line', ({ line, record }) => {
    expect(parseKernelRecord(line)).toEqual(record);
  });
});

/** Booted at 1000, now 5000: the kernel's clock says 4000 unless it slept. */
function setUp() {
  const directory = mkdtempSync(path.join(tmpdir(), 'kernel-log-'));
  writeFileSync(path.join(directory, 'stat'), 'cpu  1 2 3\nbtime 1000\nprocesses 4\n');
  const now = { unixSeconds: 5000 };
  const clock: Clock = {
    unixSeconds: () => now.unixSeconds,
    monotonicSeconds: () => now.unixSeconds,
    after: () => () => undefined,
  };
  return { directory, now, clock, remove: () => rmSync(directory, { recursive: true }) };
}

const record = (bootSeconds: number, text: string): string => `3,1,${bootSeconds * 1e6},-;${text}\n`;
const xid = (bootSeconds: number, number: number): string =>
  record(bootSeconds, `NVRM: Xid (PCI:0000:8f:00): ${number}, pid=1, name=a, text`);
const inWords = (bootSeconds: number, pci = '0000:8f:00.0'): string =>
  record(bootSeconds, `NVRM: GPU ${pci}: GPU has fallen off the bus.`);
const failure = (code: string): Error => Object.assign(new Error(code), { code });

/** Gives its answers one by one, then EAGAIN, as the kernel does. */
class FakeLog implements KernelLogSource {
  closed = false;
  private readonly answers: (string | Error)[];
  constructor(...answers: (string | Error)[]) {
    this.answers = answers;
  }
  push(...answers: (string | Error)[]): void {
    this.answers.push(...answers);
  }
  read(): string {
    const answer = this.answers.shift() ?? failure('EAGAIN');
    if (typeof answer === 'string') return answer;
    throw answer;
  }
  close(): void {
    this.closed = true;
  }
}

describe('KernelLog', () => {
  const { directory, now, clock, remove } = setUp();
  afterAll(remove);
  beforeEach(() => {
    now.unixSeconds = 5000;
  });

  const follow = (log: KernelLogSource): KernelLog =>
    new KernelLog({ file: '/dev/kmsg', procRoot: directory, clock, open: () => log });

  it('tells what is from before the start as past, and what comes after as not', async () => {
    const source = new FakeLog(record(1, 'Linux version'), xid(3000, 31), ' SUBSYSTEM=pci\n');
    const log = follow(source);
    expect(log.unavailable).toBeUndefined();
    expect(await log.poll()).toEqual([{ pciBusId: '0000:8f:00.0', xid: 31, unixSeconds: 4000, past: true }]);
    now.unixSeconds = 5001;
    source.push(xid(4000.5, 48));
    expect(await log.poll()).toEqual([
      { pciBusId: '0000:8f:00.0', xid: 48, unixSeconds: 5000.5, past: false },
    ]);
    expect(await log.poll()).toEqual([]);
  });

  it.each([
    { why: 'a clock that stood still in suspend', bootSeconds: 100, unixSeconds: 5000 },
    { why: 'a clock that is fast', bootSeconds: 4100, unixSeconds: 5002 },
    { why: 'a clock that is right', bootSeconds: 4001, unixSeconds: 5001 },
  ])('mends the time of $why', async ({ bootSeconds, unixSeconds }) => {
    const source = new FakeLog();
    const log = follow(source);
    await log.poll();
    now.unixSeconds = 5002;
    source.push(xid(bootSeconds, 31));
    expect(await log.poll()).toMatchObject([{ unixSeconds }]);
  });

  it('takes the time of reading where /proc does not tell the boot', async () => {
    const log = new KernelLog({
      file: '/dev/kmsg',
      procRoot: path.join(directory, 'none'),
      clock,
      open: () => new FakeLog(xid(1, 31)),
    });
    expect(await log.poll()).toMatchObject([{ unixSeconds: 5000 }]);
  });

  it.each([
    { why: 'a number and words after it', lines: [xid(1, 79), inWords(1.1)], count: 1 },
    { why: 'words and a number after them', lines: [inWords(1), xid(2.9, 79)], count: 1 },
    { why: 'words again and again', lines: [inWords(1), inWords(2), inWords(3.5)], count: 1 },
    { why: 'words much later', lines: [xid(1, 79), inWords(3.1)], count: 2 },
    { why: 'two numbers', lines: [xid(1, 79), xid(1.1, 79)], count: 2 },
    { why: 'another GPU', lines: [xid(1, 79), inWords(1, '0000:90:00.0')], count: 2 },
    { why: 'another error beside it', lines: [xid(1, 79), xid(1, 154)], count: 2 },
  ])('tells one fall from the bus once: $why', async ({ lines, count }) => {
    expect(await follow(new FakeLog(...lines)).poll()).toHaveLength(count);
  });

  it.each(['EPIPE', 'EINVAL', 'EINTR'])('goes on after %s', async (code) => {
    const log = follow(new FakeLog(xid(1, 31), failure(code), xid(2, 48)));
    expect((await log.poll()).map((event) => event.xid)).toEqual([31, 48]);
    expect(log.unavailable).toBeUndefined();
  });

  it('stops with a reason at any other error', async () => {
    const source = new FakeLog(xid(1, 31), failure('EIO'), xid(2, 48));
    const log = follow(source);
    expect((await log.poll()).map((event) => event.xid)).toEqual([31]);
    expect(log.unavailable).toMatch(/^\/dev\/kmsg cannot be read \(EIO\)/);
    expect(source.closed).toBe(true);
    expect(await log.poll()).toEqual([]);
  });

  it.each([
    { code: 'EPERM', message: /\(EPERM\): give the program CAP_SYSLOG .* kernel\.dmesg_restrict=0/ },
    { code: 'EACCES', message: /\(EACCES\): give the program CAP_SYSLOG/ },
    { code: 'ENOENT', message: /is not there: .*--device \/dev\/kmsg/ },
    { code: 'ENODEV', message: /cannot be read \(ENODEV\)/ },
  ])('says how to mend $code', async ({ code, message }) => {
    const log = new KernelLog({
      file: '/dev/kmsg',
      procRoot: directory,
      clock,
      open: () => {
        throw failure(code);
      },
    });
    expect(log.unavailable).toMatch(message);
    expect(await log.poll()).toEqual([]);
  });

  it('reads a thousand records at a time, lets others run in between, and ends with the last one from before', async () => {
    const source = new FakeLog(...Array.from({ length: 2500 }, (_, index) => xid(index, 31)));
    const log = follow(source);
    let turns = 0;
    let counting = true;
    const turn = (): void => {
      turns += 1;
      if (counting) setImmediate(turn);
    };
    setImmediate(turn);
    const [first, whileBusy] = await Promise.all([log.poll(), log.poll()]);
    counting = false;
    expect(first).toHaveLength(1000);
    expect(whileBusy).toHaveLength(0);
    expect(turns).toBeGreaterThanOrEqual(19);
    expect(await log.poll()).toHaveLength(1000);
    const rest = await log.poll();
    expect(rest).toHaveLength(500);
    expect(rest.every(({ past }) => past)).toBe(true);
    source.push(xid(3000, 31));
    expect(await log.poll()).toMatchObject([{ past: false }]);
  });

  it('is silent once closed, and may be closed twice', async () => {
    const source = new FakeLog(xid(1, 31));
    const log = follow(source);
    log.close();
    log.close();
    expect(await log.poll()).toEqual([]);
    expect(log.unavailable).toBe('/dev/kmsg is closed');
  });

  it('follows a real file that grows, also when a line comes in two parts', async () => {
    const file = path.join(directory, 'kmsg');
    writeFileSync(file, xid(1, 31));
    const log = new KernelLog({ file, procRoot: directory, clock });
    expect(await log.poll()).toHaveLength(1);
    const line = xid(4000, 48);
    appendFileSync(file, line.slice(0, 30));
    expect(await log.poll()).toEqual([]);
    appendFileSync(file, line.slice(30));
    expect(await log.poll()).toMatchObject([{ xid: 48, past: false }]);
    log.close();
  });

  it('does not wait where there is nothing to read, as with a pipe that stays open', async () => {
    const pipe = path.join(directory, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const writer = openSync(pipe, 'r+');
    const log = new KernelLog({ file: pipe, procRoot: directory, clock });
    expect(await log.poll()).toEqual([]);
    writeSync(writer, xid(4000, 79));
    expect(await log.poll()).toMatchObject([{ xid: 79 }]);
    expect(log.unavailable).toBeUndefined();
    log.close();
    closeSync(writer);
  });

  it('says so when the real file is not there', () => {
    const log = new KernelLog({ file: path.join(directory, 'nowhere'), procRoot: directory, clock });
    expect(log.unavailable).toMatch(/is not there/);
  });
});
