import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { systemClock } from '@llm-monitor/metrics-core';

import type { ReaderMessage, ReaderOrders } from './reader-messages.ts';
import { ReaderProcess, type ReaderTiming } from './reader-process.ts';

const TIMING: ReaderTiming = {
  deadlineSeconds: 0.3,
  startSeconds: 10,
  gentleSeconds: 0.2,
  firstPauseSeconds: 0.05,
  longestPauseSeconds: 0.1,
};

const ORDERS: ReaderOrders = {
  backend: 'nvml',
  parent: process.pid,
  intervalSeconds: 1,
  sampleHertz: 0,
  deadlineSeconds: 1,
  nvmlLibrary: undefined,
  nvidiaSmi: undefined,
  sysfsRoot: '/sys',
  procRoot: '/proc',
};

let folder: string;
const running: ReaderProcess[] = [];

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'reader-process-'));
});

afterEach(async () => {
  await Promise.all(running.splice(0).map((reader) => reader.stop()));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Told {
  readonly reader: ReaderProcess;
  readonly messages: ReaderMessage[];
  readonly failures: string[];
  readonly until: (condition: () => boolean) => Promise<void>;
}

/** A reader that runs a script, and what was heard of it. */
function start(
  name: string,
  script: string,
  timing: Partial<ReaderTiming> = {},
  nodeOptions: readonly string[] = [],
): Told {
  const file = path.join(folder, `${name}.cjs`);
  writeFileSync(file, script);
  const messages: ReaderMessage[] = [];
  const failures: string[] = [];
  let changed: () => void = () => undefined;
  const reader = new ReaderProcess({
    command: { script: file, nodeOptions },
    orders: ORDERS,
    clock: systemClock,
    timing: { ...TIMING, ...timing },
    onMessage: (message) => {
      messages.push(message);
      changed();
    },
    onFailure: (reason) => {
      failures.push(reason);
      changed();
    },
  });
  running.push(reader);
  reader.start();
  return {
    reader,
    messages,
    failures,
    until: (condition) =>
      new Promise((resolve) => {
        changed = () => {
          if (condition()) resolve();
        };
        changed();
      }),
  };
}

const SPEAKS = `process.on('message', (order) => {
  if (order.type === 'stop') process.exit(0);
  setInterval(() => process.send({ type: 'alive' }), 20);
});`;
const FALLS_SILENT = `process.on('message', () => process.send({ type: 'alive' }, () => { for (;;); }));`;

describe('ReaderProcess', () => {
  it('hands on what a reader says, and stops it by word', async () => {
    const { reader, messages, failures, until } = start('speaks', SPEAKS);
    await until(() => messages.length >= 3);
    const { pid } = reader;
    await reader.stop();
    expect(isAlive(pid)).toBe(false);
    expect(failures).toEqual([]);
  });

  it('counts one that is stuck as hung, ends it, and starts another', async () => {
    const { reader, messages, failures, until } = start('silent', FALLS_SILENT);
    await until(() => messages.length === 1);
    const { pid } = reader;
    await until(() => messages.length === 2);
    expect(failures).toEqual(['hung']);
    expect(reader.restarts).toBe(1);
    expect(isAlive(pid)).toBe(false);
  });

  it('kills one that heeds no word and no SIGTERM', async () => {
    const { reader, messages, until } = start('deaf', `process.on('SIGTERM', () => {}); ${FALLS_SILENT}`);
    await until(() => messages.length === 1);
    const { pid } = reader;
    await reader.stop();
    expect(isAlive(pid)).toBe(false);
  });

  it('counts one that ends by itself as crashed, and starts another', async () => {
    const { reader, failures, until } = start('crashes', `process.on('message', () => process.exit(7));`);
    await until(() => failures.length === 2);
    expect(failures).toEqual(['crashed', 'crashed']);
    expect(reader.restarts).toBeGreaterThanOrEqual(1);
  });

  it('does not count the end of one that said why as a crash', async () => {
    const { messages, failures, until } = start(
      'explains',
      `process.on('message', () => process.send({ type: 'failure', reason: 'driver_mismatch', message: 'x' }, () => process.exit(3)));`,
    );
    await until(() => messages.length === 2);
    expect(failures).toEqual([]);
  });

  it('starts another after a kill -9, and ends what the killed one had started', async () => {
    const { reader, messages, failures, until } = start(
      'parent-of-one',
      `const { spawn } = require('node:child_process');
       const child = spawn('sleep', ['1000']);
       process.on('message', (order) => {
         if (order.type === 'stop') process.exit(0);
         process.send({ type: 'samples', samples: [], pid: child.pid });
         setInterval(() => process.send({ type: 'alive' }), 20);
       });`,
    );
    await until(() => messages.length >= 1);
    const grandchild = pidIn(messages[0]);
    expect(isAlive(grandchild)).toBe(true);
    process.kill(Number(reader.pid), 'SIGKILL');
    await until(() => failures.length === 1 && reader.restarts === 1);
    expect(failures).toEqual(['crashed']);
    expect(isAlive(grandchild)).toBe(false);
  });

  it('tries again where the host does not let it start one', async () => {
    // More than Linux takes in one argument: spawn throws E2BIG, as it does for want of memory.
    const { failures, until } = start('too-long', SPEAKS, {}, [`--title=${'x'.repeat(200_000)}`]);
    await until(() => failures.length === 2);
    expect(failures).toEqual(['crashed', 'crashed']);
  });

  it('pauses longer after each failure, up to a bound', async () => {
    const pauses: number[] = [];
    const { failures, until } = startWithClock(pauses);
    await until(() => failures.length === 4);
    expect(pauses.slice(0, 3)).toEqual([0.05, 0.1, 0.1]);
  });

  function startWithClock(pauses: number[]): Told {
    const after = systemClock.after.bind(systemClock);
    jest.spyOn(systemClock, 'after').mockImplementation((milliseconds, callback) => {
      if (milliseconds <= TIMING.longestPauseSeconds * 1000) pauses.push(milliseconds / 1000);
      return after(milliseconds, callback);
    });
    return start('crashes-again', `process.on('message', () => process.exit(7));`);
  }

  afterEach(() => jest.restoreAllMocks());
});

function pidIn(message: unknown): number {
  return typeof message === 'object' && message !== null && 'pid' in message ? Number(message.pid) : NaN;
}

/** Whether it runs; what has ended and was not yet collected by its new parent does not. */
function isAlive(pid: number | undefined): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2)[0] !== 'Z';
  } catch {
    return false;
  }
}
