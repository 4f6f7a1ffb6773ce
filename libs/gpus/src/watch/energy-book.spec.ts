import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import type { Clock } from '@llm-monitor/metrics-core';
import fc from 'fast-check';

import { EnergyBook } from './energy-book.ts';
import {
  formatEnergyState,
  parseEnergyState,
  type BootFacts,
  type FileOwner,
  type StateFiles,
} from './energy-file.ts';

const FILE = '/state/energy.json';
const failure = (code: string): Error => Object.assign(new Error(code), { code });

/** A disk that fails when told to, and machines that boot and crash on it. */
class World {
  text: string | undefined;
  readonly asides: string[] = [];
  readonly told: string[] = [];
  seconds = 1000;
  bootId: string | undefined = 'boot-1';
  readonly alive = new Set<number>();
  /** What befalls a write: done, refused, stuck before or after it took effect. */
  fate: 'done' | 'refused' | 'stuck' | 'done and stuck' = 'done';
  readable: 'yes' | 'EACCES' = 'yes';
  writes = 0;
  private writing = 0;
  private lastPid = 0;
  private timers: (() => void)[] = [];

  readonly clock: Clock = {
    unixSeconds: () => this.seconds,
    monotonicSeconds: () => this.seconds,
    after: (_, callback) => {
      this.timers.push(callback);
      return () => {
        this.timers = this.timers.filter((timer) => timer !== callback);
      };
    },
  };

  readonly files: StateFiles = {
    read: () => {
      if (this.readable !== 'yes') return Promise.reject(failure(this.readable));
      return this.text === undefined ? Promise.reject(failure('ENOENT')) : Promise.resolve(this.text);
    },
    replace: async (_, text) => {
      const { fate } = this;
      this.writes += 1;
      this.writing += 1;
      expect(this.writing).toBe(1);
      await Promise.resolve();
      if (fate.startsWith('done')) this.text = text;
      if (fate.endsWith('stuck')) await new Promise(() => undefined);
      this.writing -= 1;
      if (fate === 'refused') throw failure('EROFS');
    },
    setAside: (_, name) => {
      if (this.fate === 'refused') return Promise.reject(failure('EROFS'));
      this.asides.push(name);
      this.text = undefined;
      return Promise.resolve();
    },
  };

  /** Lets time limits pass. */
  timeOut(): void {
    for (const timer of this.timers.splice(0)) timer();
  }

  /** A new process; earlier ones live on unless crashed. */
  create(file?: string): EnergyBook {
    const pid = (this.lastPid += 1);
    this.alive.add(pid);
    const self: FileOwner = { pid, startTicks: pid * 100 };
    const boot: BootFacts = {
      bootId: () => this.bootId,
      self: () => self,
      isAlive: (owner) => this.alive.has(owner.pid) && owner.startTicks === owner.pid * 100,
    };
    return new EnergyBook({
      ...(file === undefined ? {} : { file }),
      tell: (message) => this.told.push(message),
      clock: this.clock,
      files: this.files,
      boot,
    });
  }

  async start(): Promise<EnergyBook> {
    const book = this.create(FILE);
    await book.load();
    return book;
  }

  crash(): void {
    this.alive.clear();
    this.writing = 0;
    this.fate = 'done';
  }

  /** So long at so many watts, in samples of a second. */
  run(book: EnergyBook, seconds: number, watts: number): void {
    for (let second = 0; second <= seconds; second += 1) {
      book.add('GPU-a', this.seconds, watts);
      if (second < seconds) this.seconds += 1;
    }
  }
}

describe('EnergyBook', () => {
  it.each([
    { why: 'one sample is no energy', samples: [[0, 100]], joules: 0 },
    {
      why: 'power that stays',
      samples: [
        [0, 100],
        [1, 100],
        [3, 100],
      ],
      joules: 300,
    },
    {
      why: 'power that rises is taken to rise evenly',
      samples: [
        [0, 0],
        [2, 100],
      ],
      joules: 100,
    },
    {
      why: 'a gap of 10 s is bridged',
      samples: [
        [0, 100],
        [10, 100],
      ],
      joules: 1000,
    },
    {
      why: 'a longer one is not',
      samples: [
        [0, 100],
        [10.1, 100],
        [11.1, 100],
      ],
      joules: 100,
    },
    {
      why: 'a sample that comes late counts nothing',
      samples: [
        [0, 100],
        [2, 100],
        [1, 4000],
        [3, 100],
      ],
      joules: 300,
    },
    {
      why: 'the same sample again counts nothing',
      samples: [
        [0, 100],
        [1, 100],
        [1, 100],
        [2, 100],
      ],
      joules: 200,
    },
    {
      why: 'a clock that was set back starts anew',
      samples: [
        [5000, 100],
        [5001, 100],
        [0, 100],
        [1, 100],
      ],
      joules: 200,
    },
    {
      why: 'no power is not zero power',
      samples: [
        [0, 100],
        [1, NaN],
        [2, 100],
      ],
      joules: 200,
    },
    {
      why: 'nonsense is passed over',
      samples: [
        [0, 100],
        [1, 65_535],
        [1, -1],
        [2, 100],
      ],
      joules: 200,
    },
    {
      why: 'so is a sample without a time',
      samples: [
        [0, 100],
        [NaN, 100],
        [2, 100],
      ],
      joules: 200,
    },
  ])('integrates: $why', ({ samples, joules }) => {
    const book = new World().create();
    for (const [unixSeconds = 0, watts = 0] of samples) book.add('GPU-a', unixSeconds, watts);
    expect(book.exported('GPU-a')).toBeCloseTo(joules, 9);
  });

  it('keeps GPUs apart, and knows nothing of one without power', async () => {
    const world = new World();
    const book = world.create();
    await book.load();
    book.add('GPU-a', 0, 100);
    book.add('GPU-b', 0, 10);
    book.add('GPU-a', 1, 100);
    book.add('GPU-b', 1, 10);
    expect([book.exported('GPU-a'), book.exported('GPU-b'), book.exported('GPU-c')]).toEqual([
      100,
      10,
      undefined,
    ]);
    await book.close();
    expect(world.writes).toBe(0);
    expect(world.told).toEqual([]);
  });

  it('holds 1024 GPUs at most', () => {
    const book = new World().create();
    for (let gpu = 0; gpu < 1025; gpu += 1) book.add(`GPU-${gpu}`, 0, 1);
    expect([book.exported('GPU-1023'), book.exported('GPU-1024')]).toEqual([0, undefined]);
  });

  it('exports what is written, every 10 s, and goes on from there after a crash', async () => {
    const world = new World();
    const book = await world.start();
    world.run(book, 5, 100);
    await book.save();
    expect(book.exported('GPU-a')).toBe(0);
    world.run(book, 5, 100);
    await book.save();
    expect(book.exported('GPU-a')).toBe(1000);
    world.run(book, 9, 100);
    await book.save();
    expect(book.exported('GPU-a')).toBe(1000);
    world.crash();
    const next = await world.start();
    expect(next.exported('GPU-a')).toBe(1000);
    world.run(next, 10, 100);
    await next.save();
    expect(next.exported('GPU-a')).toBe(2000);
    expect(world.told).toEqual([]);
  });

  it('writes a last time at the end and gives the file free', async () => {
    const world = new World();
    const book = await world.start();
    world.run(book, 3, 100);
    await book.close();
    expect(parseEnergyState(world.text ?? '')).toEqual({
      bootId: 'boot-1',
      owner: undefined,
      joules: new Map([['GPU-a', 300]]),
    });
    const next = await world.start();
    expect(next.exported('GPU-a')).toBe(300);
    const { writes } = world;
    await book.close();
    world.seconds += 60;
    await book.save();
    expect(world.writes).toBe(writes);
  });

  it('exports nothing before it has looked into the file, and loses no sample of that time', async () => {
    const world = new World();
    world.text = formatEnergyState({ bootId: 'boot-1', owner: undefined, joules: new Map([['GPU-a', 500]]) });
    const book = world.create(FILE);
    world.run(book, 2, 100);
    expect(book.exported('GPU-a')).toBeUndefined();
    await book.load();
    expect(book.exported('GPU-a')).toBe(700);
  });

  it('does not wait for a file that cannot be read for now, and takes up its sums when it can', async () => {
    const world = new World();
    world.text = formatEnergyState({ bootId: 'boot-1', owner: undefined, joules: new Map([['GPU-a', 500]]) });
    let answer: () => void = () => undefined;
    const read = world.files.read.bind(world.files);
    const answered = new Promise<void>((resolve) => {
      answer = resolve;
    });
    jest.spyOn(world.files, 'read').mockImplementation((file) => answered.then(() => read(file)));
    const book = world.create(FILE);
    const loaded = book.load();
    world.timeOut();
    await loaded;
    expect(world.told).toEqual([
      'energy is not exported yet: /state/energy.json has not been read for 2 s; see whether its disk is well',
    ]);
    world.run(book, 2, 100);
    await book.save();
    expect(book.exported('GPU-a')).toBeUndefined();
    answer();
    while (book.exported('GPU-a') === undefined) await new Promise((resolve) => setImmediate(resolve));
    expect(book.exported('GPU-a')).toBe(700);
    expect(world.writes).toBe(1);
  });

  it('starts from 0 after a new boot, as a lost write could not be told from a reset', async () => {
    const world = new World();
    const book = await world.start();
    world.run(book, 10, 100);
    await book.save();
    world.crash();
    world.bootId = 'boot-2';
    const next = await world.start();
    expect(next.exported('GPU-a')).toBeUndefined();
    world.run(next, 1, 100);
    await next.close();
    expect(next.exported('GPU-a')).toBe(100);
    expect(world.told).toEqual([]);
  });

  it('sets a damaged file aside and says so', async () => {
    const world = new World();
    world.text = '{"format":';
    const book = await world.start();
    expect(world.asides).toEqual([`${FILE}.corrupt-1000`]);
    expect(world.told).toEqual([
      `${FILE} is damaged or not ours (it is no JSON): it is now ${FILE}.corrupt-1000, and energy counts from 0`,
    ]);
    world.run(book, 1, 100);
    await book.close();
    expect(parseEnergyState(world.text ?? '').joules.get('GPU-a')).toBe(100);
  });

  it('leaves a damaged file alone that it cannot set aside', async () => {
    const world = new World();
    world.text = 'precious';
    world.fate = 'refused';
    const book = await world.start();
    world.fate = 'done';
    world.run(book, 20, 100);
    await book.save();
    await book.close();
    expect(world.text).toBe('precious');
    expect(world.told).toEqual([
      expect.stringMatching(/cannot be set aside \(EROFS\); remove it or let this user/),
    ]);
    expect(book.exported('GPU-a')).toBe(2000);
  });

  it('leaves a file alone that it may not read', async () => {
    const world = new World();
    world.text = 'secret';
    world.readable = 'EACCES';
    const book = await world.start();
    world.run(book, 20, 100);
    await book.close();
    expect(world.writes).toBe(0);
    expect(world.told).toEqual([
      `energy is not kept: ${FILE} cannot be read (EACCES); give this user access to it`,
    ]);
    expect(book.exported('GPU-a')).toBe(2000);
  });

  it('goes on in memory where it cannot write, says so once, and again when it can', async () => {
    const world = new World();
    world.fate = 'refused';
    const book = await world.start();
    world.run(book, 20, 100);
    await book.save();
    world.run(book, 20, 100);
    await book.save();
    expect(book.exported('GPU-a')).toBe(4000);
    expect(world.told).toEqual([
      expect.stringMatching(
        /^energy cannot be kept in .* \(EROFS\), so what was integrated .* is lost at the next restart: let this user write/,
      ),
    ]);
    world.fate = 'done';
    world.run(book, 10, 100);
    await book.save();
    expect(world.told.slice(1)).toEqual([`energy is kept in ${FILE} again`]);
    expect(book.exported('GPU-a')).toBe(5000);
  });

  it('does not go back when the first write that works takes its time', async () => {
    const world = new World();
    world.fate = 'refused';
    const book = await world.start();
    world.fate = 'done';
    world.run(book, 10, 100);
    const saved = book.save();
    world.run(book, 5, 100);
    expect(book.exported('GPU-a')).toBe(1000);
    await saved;
    expect(book.exported('GPU-a')).toBe(1000);
  });

  it('holds what it exports back once sums are kept and the disk fails', async () => {
    const world = new World();
    const book = await world.start();
    world.run(book, 10, 100);
    await book.save();
    world.fate = 'refused';
    world.run(book, 10, 100);
    await book.save();
    expect(book.exported('GPU-a')).toBe(1000);
    world.fate = 'done';
    world.run(book, 10, 100);
    await book.save();
    expect(book.exported('GPU-a')).toBe(3000);
  });

  it('does not share a file with a process that lives', async () => {
    const world = new World();
    const first = await world.start();
    world.run(first, 10, 100);
    await first.save();
    const second = await world.start();
    expect(world.told).toEqual([
      `energy is not kept: process 1 keeps its own in ${FILE}; give each exporter a file of its own`,
    ]);
    world.run(second, 10, 10);
    await second.save();
    await second.close();
    expect(second.exported('GPU-a')).toBe(100);
    expect(parseEnergyState(world.text ?? '')).toMatchObject({
      owner: { pid: 1 },
      joules: new Map([['GPU-a', 1000]]),
    });
  });

  it.each([
    { why: 'lives', owner: { pid: 9, startTicks: 1 }, named: 'process 9' },
    { why: 'has stopped', owner: undefined, named: 'another process' },
  ])('gives way to another container that took the file over and $why', async ({ owner, named }) => {
    const world = new World();
    const book = await world.start();
    world.run(book, 10, 100);
    await book.save();
    const theirs = formatEnergyState({ bootId: 'boot-1', owner, joules: new Map() });
    world.text = theirs;
    world.run(book, 10, 100);
    await book.save();
    world.run(book, 10, 100);
    await book.save();
    expect(world.text).toBe(theirs);
    expect(world.told).toEqual([
      `energy is not kept: ${named} keeps its own in ${FILE}; give each exporter a file of its own`,
    ]);
    expect(book.exported('GPU-a')).toBe(3000);
  });

  it('writes anew what somebody removed', async () => {
    const world = new World();
    const book = await world.start();
    world.text = undefined;
    world.run(book, 10, 100);
    await book.save();
    expect(parseEnergyState(world.text ?? '').joules.get('GPU-a')).toBe(1000);
    expect(world.told).toEqual([]);
  });

  it('keeps nothing where boots cannot be told apart', async () => {
    const world = new World();
    world.bootId = undefined;
    const book = await world.start();
    world.run(book, 10, 100);
    expect(book.exported('GPU-a')).toBe(1000);
    expect(world.told).toEqual([expect.stringMatching(/no \/proc that tells one boot from another/)]);
  });

  it('writes one at a time, and ends in a second while the disk is stuck', async () => {
    const world = new World();
    const book = await world.start();
    world.run(book, 10, 100);
    world.fate = 'stuck';
    void book.save();
    void book.save();
    world.run(book, 10, 100);
    void book.save();
    expect(world.writes).toBe(1);
    const closed = book.close();
    world.timeOut();
    await closed;
    expect(world.writes).toBe(2);
  });

  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant('sample' as const),
        seconds: fc.integer({ min: -1, max: 12 }),
        watts: fc.integer({ min: 0, max: 700 }),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant('save' as const),
        fate: fc.constantFrom('done' as const, 'refused' as const),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('crash' as const),
        writing: fc.constantFrom('no' as const, 'stuck' as const, 'done and stuck' as const),
        next: fc.constantFrom('done' as const, 'refused' as const),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('restart' as const),
        next: fc.constantFrom('done' as const, 'refused' as const),
      }),
    },
  );

  /** Plays steps and looks at what is exported after each; what a Prometheus server would add up comes with it. */
  async function play(
    steps: readonly (typeof step extends fc.Arbitrary<infer Step> ? Step : never)[],
    first: World['fate'],
  ) {
    const world = new World();
    world.fate = first;
    let book = await world.start();
    let last: { seconds: number; watts: number } | undefined;
    let integral = 0;
    let before: number | undefined;
    let increase = 0;
    const falls: number[] = [];
    const scrape = (): void => {
      const exported = book.exported('GPU-a');
      if (exported === undefined) return;
      const reset = before !== undefined && exported < before;
      if (reset) falls.push(exported);
      increase += exported - (before === undefined || reset ? 0 : before);
      before = exported;
    };
    for (const at of steps) {
      if (at.do === 'sample') {
        world.seconds += at.seconds;
        book.add('GPU-a', world.seconds, at.watts);
        const gap = last === undefined ? 0 : world.seconds - last.seconds;
        if (last !== undefined && gap > 0 && gap <= 10) integral += ((last.watts + at.watts) / 2) * gap;
        if (gap >= 0) last = { seconds: world.seconds, watts: at.watts };
      } else if (at.do === 'save') {
        world.fate = at.fate;
        world.seconds += 10;
        const saved = book.save();
        scrape();
        await saved;
      } else {
        world.fate = at.do === 'restart' ? at.next : 'done';
        if (at.do === 'restart') await book.close();
        else if (at.writing !== 'no') {
          world.fate = at.writing;
          world.seconds += 10;
          void book.save();
          for (let turn = 0; turn < 10; turn += 1) {
            scrape();
            await Promise.resolve();
          }
        }
        scrape();
        world.crash();
        world.fate = at.next;
        last = undefined;
        book = await world.start();
      }
      scrape();
      expect(book.exported('GPU-a') ?? 0).toBeLessThanOrEqual(integral + 1e-6);
      expect(increase).toBeLessThanOrEqual(integral + 1e-6);
    }
    return { falls };
  }

  it('never goes back within a boot, nor beyond the true integral, over samples, failed writes, crashes and restarts', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        expect((await play(steps, 'done')).falls).toEqual([]);
      }),
      { seed: 3, numRuns: 400 },
    );
  });

  it('goes back to 0 and to nothing else, where it could not write from the beginning', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        expect((await play(steps, 'refused')).falls.every((joules) => joules === 0)).toBe(true);
      }),
      { seed: 3, numRuns: 400 },
    );
  });

  describe('on a real disk', () => {
    let directory: string;
    beforeEach(() => {
      directory = mkdtempSync(path.join(tmpdir(), 'energy-book-'));
    });
    afterEach(() => {
      chmodSync(directory, 0o700);
      rmSync(directory, { recursive: true });
    });

    const onDisk = (told: string[], boot: BootFacts): EnergyBook =>
      new EnergyBook({
        file: path.join(directory, 'energy.json'),
        tell: (message) => told.push(message),
        boot,
      });
    const boot: BootFacts = {
      bootId: () => 'boot-1',
      self: () => ({ pid: 1, startTicks: 1 }),
      isAlive: () => false,
    };

    it('goes on from one process to the next', async () => {
      const told: string[] = [];
      const book = onDisk(told, boot);
      await book.load();
      book.add('GPU-a', 1, 100);
      book.add('GPU-a', 2, 100);
      await book.close();
      const next = onDisk(told, boot);
      await next.load();
      expect(next.exported('GPU-a')).toBe(100);
      await next.close();
      expect(told).toEqual([]);
    });

    it('sets a damaged file aside', async () => {
      writeFileSync(path.join(directory, 'energy.json'), 'precious');
      const told: string[] = [];
      const book = onDisk(told, boot);
      await book.load();
      await book.close();
      const aside = readdirSync(directory).find((name) => /^energy\.json\.corrupt-\d+$/.test(name));
      expect(readFileSync(path.join(directory, aside ?? ''), 'utf8')).toBe('precious');
      expect(told).toHaveLength(1);
    });

    it('goes on in memory where there is no folder to write to', async () => {
      writeFileSync(path.join(directory, 'file'), '');
      const told: string[] = [];
      const file = path.join(directory, 'file', 'energy.json');
      const book = new EnergyBook({ file, tell: (message) => told.push(message), boot });
      await book.load();
      book.add('GPU-a', 1, 100);
      book.add('GPU-a', 2, 100);
      expect(book.exported('GPU-a')).toBe(100);
      await book.close();
      expect(told).toHaveLength(1);
    });
  });
});
