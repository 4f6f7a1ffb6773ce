import { EventEmitter } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { systemClock, type Clock } from '@llm-monitor/metrics-core';

import type { ReaderMessage, ReaderOrder, ReaderOrders } from './reader-messages.ts';
import { ReaderProcess, type ReaderTiming } from './reader-process.ts';

const TIMING: ReaderTiming = {
  deadlineSeconds: 0.3,
  startSeconds: 10,
  gentleSeconds: 0.2,
  firstPauseSeconds: 0.05,
  longestPauseSeconds: 0.1,
  firstLeftOutSeconds: 60,
  longestLeftOutSeconds: 1800,
};

const ORDERS: Omit<ReaderOrders, 'leftOut'> = {
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

  it('ends what a killed one had started when it is stopped before it would be', async () => {
    const { reader, messages, failures, until } = start(
      'parent-of-a-deaf-one',
      `const { spawn } = require('node:child_process');
       const child = spawn('sh', ['-c', 'trap "" TERM; echo; sleep 1000']);
       process.on('message', (order) => {
         child.stdout.once('data', () => process.send({ type: 'samples', samples: [], pid: child.pid }));
         setInterval(() => process.send({ type: 'alive' }), 20);
       });`,
      { gentleSeconds: 60, firstPauseSeconds: 60, longestPauseSeconds: 60 },
    );
    const tellsPid = (message: ReaderMessage): boolean => message.type === 'samples';
    await until(() => messages.some(tellsPid));
    const grandchild = pidIn(messages.find(tellsPid));
    process.kill(Number(reader.pid), 'SIGKILL');
    await until(() => failures.length === 1);
    expect(isAlive(grandchild)).toBe(true);
    await reader.stop();
    await untilDead(grandchild);
  });

  it('keeps from it what it has no need of', async () => {
    process.env['GPU_EXPORTER_AUTH_BEARER_TOKEN'] = 'secret';
    process.env['NVIDIA_VISIBLE_DEVICES'] = 'all';
    const { messages, until } = start(
      'tells-environment',
      `process.on('message', () => process.send({ type: 'failure', reason: 'internal', message: Object.keys(process.env).join() }));`,
    );
    await until(() => messages.length === 1);
    delete process.env['GPU_EXPORTER_AUTH_BEARER_TOKEN'];
    delete process.env['NVIDIA_VISIBLE_DEVICES'];
    const names = messages[0]?.type === 'failure' ? messages[0].message.split(',') : [];
    expect(names).toEqual(expect.arrayContaining(['PATH', 'NVIDIA_VISIBLE_DEVICES']));
    expect(names).not.toContain('GPU_EXPORTER_AUTH_BEARER_TOKEN');
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

/** A reader whose process does as the test says, at times that the test sets. */
class Staged {
  seconds = 1000;
  touched: string | undefined;
  readonly failures: string[] = [];
  readonly orders: ReaderOrder[] = [];
  readonly signals: unknown[] = [];
  readonly reader: ReaderProcess;
  child = new StagedChild(this);
  private timers: { readonly at: number; readonly act: () => void }[] = [];

  constructor() {
    this.reader = new ReaderProcess({
      command: { script: 'none.cjs' },
      orders: ORDERS,
      clock: this.clock,
      timing: {
        ...TIMING,
        deadlineSeconds: 5,
        startSeconds: 10,
        gentleSeconds: 2,
        firstPauseSeconds: 1,
        longestPauseSeconds: 60,
      },
      onMessage: () => undefined,
      onFailure: (reason, message) => void this.failures.push(`${reason}: ${message}`),
      fork: () => {
        this.child = new StagedChild(this);
        return this.child;
      },
      touchedGpu: () => this.touched,
    });
    this.reader.start();
  }

  /** Lets time pass, and what is due in it happen. */
  pass(seconds: number): void {
    const until = this.seconds + seconds;
    for (;;) {
      const [next] = this.timers.filter(({ at }) => at <= until).sort((one, other) => one.at - other.at);
      if (next === undefined) break;
      this.timers = this.timers.filter((timer) => timer !== next);
      this.seconds = Math.max(this.seconds, next.at);
      next.act();
    }
    this.seconds = until;
  }

  /** As `pass`, while the reader that runs says each second that it is well. */
  live(seconds: number): void {
    for (let second = 0; second < seconds; second++) {
      this.child.emit('message', { type: 'alive' });
      this.pass(1);
    }
  }

  /** What the reader that runs was told to leave out. */
  get leftOut(): unknown {
    const last = this.orders.findLast(({ type }) => type === 'start');
    return last?.type === 'start' ? last.orders.leftOut : undefined;
  }

  private get clock(): Clock {
    return {
      unixSeconds: () => this.seconds,
      monotonicSeconds: () => this.seconds,
      after: (milliseconds, act) => {
        const timer = { at: this.seconds + milliseconds / 1000, act };
        this.timers.push(timer);
        return () => void (this.timers = this.timers.filter((other) => other !== timer));
      },
    };
  }
}

class StagedChild extends EventEmitter {
  readonly pid = 2 ** 30;
  connected = true;
  isLetGo = false;
  private readonly stage: Staged;

  constructor(stage: Staged) {
    super();
    this.stage = stage;
  }

  send(order: ReaderOrder): void {
    this.stage.orders.push(order);
  }

  kill(signal: string): void {
    this.stage.signals.push(signal);
  }

  disconnect(): void {
    this.connected = false;
  }

  unref(): void {
    this.isLetGo = true;
  }
}

describe('a reader that nothing can end', () => {
  const stuckForEver = (): Staged => {
    const staged = new Staged();
    staged.pass(10);
    return staged;
  };

  it('is told to end by word, SIGTERM and SIGKILL, and then abandoned; none is started beside it', () => {
    const staged = stuckForEver();
    expect(staged.signals).toEqual(['SIGTERM']);
    staged.pass(2);
    expect(staged.signals).toEqual(['SIGTERM', 'SIGKILL']);
    expect(staged.reader.isAbandoned).toBe(false);
    staged.pass(2);
    expect(staged.reader.isAbandoned).toBe(true);
    staged.pass(3600);
    expect(staged.orders.map(({ type }) => type)).toEqual(['start', 'stop']);
    expect(staged.reader.restarts).toBe(0);
    expect(staged.failures).toEqual(['hung: the driver has not answered for 10 s']);
  });

  it('is not waited for when all is stopped', async () => {
    const staged = stuckForEver();
    staged.pass(4);
    await staged.reader.stop();
    expect(staged.child).toMatchObject({ connected: false, isLetGo: true });
  });

  it('is followed by another once the driver lets it go', () => {
    const staged = stuckForEver();
    staged.pass(600);
    staged.child.emit('exit', null, 'SIGKILL');
    expect(staged.reader.isAbandoned).toBe(false);
    staged.pass(1);
    expect(staged.reader.restarts).toBe(1);
    expect(staged.orders.map(({ type }) => type)).toEqual(['start', 'stop', 'start']);
  });
});

describe('a GPU at which a reader is stuck', () => {
  const SICK = '0000:8f:00.0';
  const READ_WITHOUT_IT = [
    { condition: 'hung', facts: { pciBusId: SICK } },
    { condition: 'up', facts: { pciBusId: '0000:91:00.0' } },
  ];
  const getStuck = (staged: Staged, touched: string | undefined): void => {
    staged.child.emit('message', { type: 'alive' });
    staged.touched = touched;
    staged.pass(5);
    staged.child.emit('exit', null, 'SIGTERM');
  };

  it('is told, and left out by the next reader', () => {
    const staged = new Staged();
    expect(staged.leftOut).toBeUndefined();
    getStuck(staged, SICK);
    expect(staged.failures).toEqual([`hung: the driver has not answered for 5 s, asked for GPU ${SICK}`]);
    staged.pass(1);
    expect(staged.leftOut).toEqual([{ pciBusId: SICK, seconds: 59 }]);
  });

  it('is left out for longer when it is stuck once more, also beside another', () => {
    const staged = new Staged();
    getStuck(staged, SICK);
    staged.live(2);
    staged.child.emit('message', { type: 'reading', reading: { gpus: READ_WITHOUT_IT } });
    staged.live(59);
    getStuck(staged, SICK);
    staged.live(10);
    getStuck(staged, '0000:90:00.0');
    staged.live(4);
    expect(staged.leftOut).toEqual([
      { pciBusId: SICK, seconds: 120 - 10 - 5 - 2 },
      { pciBusId: '0000:90:00.0', seconds: 60 - 2 },
    ]);
  });

  it('is not known where none was touched: none is left out', () => {
    const staged = new Staged();
    getStuck(staged, undefined);
    staged.pass(1);
    expect(staged.leftOut).toEqual([]);
  });
});

async function untilDead(pid: number): Promise<void> {
  for (const deadline = Date.now() + 10_000; isAlive(pid);) {
    if (Date.now() > deadline) throw new Error(`process ${pid} lives`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

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
