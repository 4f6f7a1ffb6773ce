import type { Clock } from './clock.ts';
import { createCollectorRunner, type Collector, type CollectorOutcome } from './collector-runner.ts';
import type { MetricFamily } from './families.ts';

/** A clock that stands still until it is told to go on. */
class ManualClock implements Clock {
  private seconds = 0;
  private readonly timers = new Set<{ readonly dueSeconds: number; readonly callback: () => void }>();

  unixSeconds(): number {
    return 1_000_000 + this.seconds;
  }

  monotonicSeconds(): number {
    return this.seconds;
  }

  after(milliseconds: number, callback: () => void): () => void {
    const timer = { dueSeconds: this.seconds + milliseconds / 1000, callback };
    this.timers.add(timer);
    return () => this.timers.delete(timer);
  }

  advance(seconds: number): void {
    this.seconds += seconds;
    for (const timer of [...this.timers]) {
      if (timer.dueSeconds > this.seconds) continue;
      this.timers.delete(timer);
      timer.callback();
    }
  }

  get pending(): number {
    return this.timers.size;
  }
}

/** A collector whose every run is ended by the test. */
class ManualCollector implements Collector {
  readonly name: string;
  readonly signals: AbortSignal[] = [];
  private settle:
    { resolve: (families: MetricFamily[]) => void; reject: (error: unknown) => void } | undefined;

  constructor(name: string) {
    this.name = name;
  }

  collect(signal: AbortSignal): Promise<readonly MetricFamily[]> {
    this.signals.push(signal);
    return new Promise((resolve, reject) => (this.settle = { resolve, reject }));
  }

  get starts(): number {
    return this.signals.length;
  }

  give(name: string): void {
    this.settle?.resolve(families(name));
  }

  fail(error: unknown): void {
    this.settle?.reject(error);
  }
}

const families = (name: string): MetricFamily[] => [{ name, type: 'gauge', help: '', points: [] }];

const gives = (name: string): Collector => ({ name, collect: () => Promise.resolve(families(name)) });

const fails = (name: string, error: Error): Collector => ({ name, collect: () => Promise.reject(error) });

const inShort = ({ name, families, error, durationSeconds }: CollectorOutcome): unknown[] => [
  name,
  error?.reason ?? families.map((family) => family.name),
  durationSeconds,
];

/** Lets everything that is ready run. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function setUp(concurrency?: number) {
  const clock = new ManualClock();
  const told: unknown[] = [];
  const metrics = {
    succeeded: (...facts: unknown[]) => told.push(['succeeded', ...facts]),
    failed: (...facts: unknown[]) => told.push(['failed', ...facts]),
    forget: (...facts: unknown[]) => told.push(['forget', ...facts]),
  };
  const runner = createCollectorRunner({
    metrics,
    clock,
    ...(concurrency === undefined ? {} : { concurrency }),
  });
  return { clock, told, runner };
}

describe('createCollectorRunner', () => {
  it('runs all at once and answers in their order', async () => {
    const { clock, told, runner } = setUp();
    const [slow, quick] = [new ManualCollector('slow'), new ManualCollector('quick')];
    const running = runner.run([slow, quick], 10_000);
    await settled();
    expect([slow.starts, quick.starts]).toEqual([1, 1]);
    clock.advance(1);
    quick.give('q');
    await settled();
    clock.advance(2);
    slow.give('s');
    expect((await running).map(inShort)).toEqual([
      ['slow', ['s'], 3],
      ['quick', ['q'], 1],
    ]);
    expect(told).toEqual([
      ['succeeded', 'quick', 1, 1_000_001],
      ['succeeded', 'slow', 3, 1_000_003],
    ]);
    expect(clock.pending).toBe(0);
  });

  it.each([
    {
      what: 'the error’s own reason',
      error: Object.assign(new Error('no'), { reason: 'unreachable' }),
      reason: 'unreachable',
    },
    {
      what: 'timeout for a TimeoutError',
      error: new DOMException('late', 'TimeoutError'),
      reason: 'timeout',
    },
    { what: 'internal for a bug', error: new TypeError('x is not a function'), reason: 'internal' },
    {
      what: 'internal for a reason unfit as a label',
      error: Object.assign(new Error(), { reason: 'Got 5 {"x"}' }),
      reason: 'internal',
    },
    {
      what: 'internal for a reason that is too long',
      error: Object.assign(new Error(), { reason: 'x'.repeat(33) }),
      reason: 'internal',
    },
    {
      what: 'internal for a reason that is no text',
      error: Object.assign(new Error(), { reason: 5 }),
      reason: 'internal',
    },
  ])('tells $what, and costs the others nothing', async ({ error, reason }) => {
    const { told, runner } = setUp();
    const outcomes = await runner.run([fails('bad', error), gives('good')], 1000);
    expect(outcomes.map(inShort)).toEqual([
      ['bad', reason, 0],
      ['good', ['good'], 0],
    ]);
    expect(outcomes[0]?.error).toEqual({ reason, message: error.message, cause: error });
    expect(told).toContainEqual(['failed', 'bad', reason, 0]);
  });

  it('takes a throw for a rejection', async () => {
    const thrower: Collector = {
      name: 'thrower',
      collect: () => {
        throw new Error('at once');
      },
    };
    expect((await setUp().runner.run([thrower], 1000)).map(inShort)).toEqual([['thrower', 'internal', 0]]);
  });

  it('joins a run that is under way', async () => {
    const { clock, told, runner } = setUp();
    const collector = new ManualCollector('vllm');
    const first = runner.run([collector], 10_000);
    const second = runner.run([collector], 10_000);
    await settled();
    clock.advance(1);
    collector.give('a');
    expect((await first).map(inShort)).toEqual([['vllm', ['a'], 1]]);
    expect(await second).toEqual(await first);
    expect([collector.starts, told.length]).toEqual([1, 1]);
    await settled();
    void runner.run([collector], 10_000);
    await settled();
    expect(collector.starts).toBe(2);
  });

  it('lets a joiner go at its own deadline, which is no failure of the run', async () => {
    const { clock, told, runner } = setUp();
    const collector = new ManualCollector('vllm');
    const patient = runner.run([collector], 10_000);
    const hasty = runner.run([collector], 1000);
    await settled();
    clock.advance(1);
    expect((await hasty).map(inShort)).toEqual([['vllm', 'timeout', 1]]);
    collector.give('a');
    expect((await patient).map(inShort)).toEqual([['vllm', ['a'], 1]]);
    expect(told).toEqual([['succeeded', 'vllm', 1, 1_000_001]]);
  });

  it('aborts at the deadline, and starts anew once the collector has ended', async () => {
    const { clock, told, runner } = setUp();
    const collector = new ManualCollector('vllm');
    const running = runner.run([collector, gives('other')], 5000);
    await settled();
    clock.advance(5);
    expect((await running).map(inShort)).toEqual([
      ['vllm', 'timeout', 5],
      ['other', ['other'], 0],
    ]);
    expect(collector.signals[0]?.aborted).toBe(true);
    expect(collector.signals[0]?.reason).toMatchObject({ name: 'TimeoutError' });
    collector.fail(collector.signals[0]?.reason);
    await settled();
    const again = runner.run([collector], 5000);
    await settled();
    collector.give('a');
    expect((await again).map(inShort)).toEqual([['vllm', ['a'], 0]]);
    expect(told).toEqual([
      ['succeeded', 'other', 0, 1_000_000],
      ['failed', 'vllm', 'timeout', 5],
      ['forget', 'other'],
      ['succeeded', 'vllm', 0, 1_000_005],
    ]);
  });

  it('never starts one again that hangs, and answers for it at once', async () => {
    const { clock, told, runner } = setUp();
    const hung = new ManualCollector('hung');
    const first = runner.run([hung], 5000);
    await settled();
    clock.advance(5);
    await first;
    clock.advance(15);
    const outcomes = await runner.run([hung, gives('other')], 5000);
    expect(outcomes.map(inShort)).toEqual([
      ['hung', 'timeout', 20],
      ['other', ['other'], 0],
    ]);
    expect(hung.starts).toBe(1);
    expect(told.filter((entry) => Array.isArray(entry) && entry[1] === 'hung')).toEqual([
      ['failed', 'hung', 'timeout', 5],
      ['failed', 'hung', 'timeout', 20],
    ]);
    hung.give('far too late');
    await settled();
    void runner.run([hung], 5000);
    await settled();
    expect(hung.starts).toBe(2);
  });

  it('forgets a collector that is no longer in the list, even while it is under way', async () => {
    const { clock, told, runner } = setUp();
    const gone = new ManualCollector('gone');
    const first = runner.run([gone, gives('stays')], 5000);
    await settled();
    await runner.run([gives('stays')], 5000);
    clock.advance(5);
    await first;
    expect(told).toEqual([
      ['succeeded', 'stays', 0, 1_000_000],
      ['forget', 'gone'],
      ['succeeded', 'stays', 0, 1_000_000],
    ]);
  });

  it('refuses a second collector of the same name', async () => {
    const outcomes = await setUp().runner.run([gives('a'), gives('a')], 1000);
    expect(outcomes.map(inShort)).toEqual([
      ['a', ['a'], 0],
      ['a', 'duplicate_name', 0],
    ]);
  });

  it('runs no more at once than it may', async () => {
    const { clock, runner } = setUp(2);
    const collectors = ['a', 'b', 'c'].map((name) => new ManualCollector(name));
    const running = runner.run(collectors, 10_000);
    await settled();
    expect(collectors.map(({ starts }) => starts)).toEqual([1, 1, 0]);
    clock.advance(1);
    collectors[1]?.give('b');
    await settled();
    expect(collectors.map(({ starts }) => starts)).toEqual([1, 1, 1]);
    clock.advance(1);
    collectors[0]?.give('a');
    collectors[2]?.give('c');
    expect((await running).map(inShort)).toEqual([
      ['a', ['a'], 2],
      ['b', ['b'], 1],
      ['c', ['c'], 2],
    ]);
  });

  it('gives the place of a hung one to the next at the deadline, and starts none whose time is over', async () => {
    const { clock, runner } = setUp(1);
    const [hung, queued] = [new ManualCollector('hung'), new ManualCollector('queued')];
    const running = runner.run([hung, queued], 5000);
    await settled();
    clock.advance(5);
    expect((await running).map(inShort)).toEqual([
      ['hung', 'timeout', 5],
      ['queued', 'timeout', 5],
    ]);
    await settled();
    expect(queued.starts).toBe(0);
    const again = runner.run([hung, queued], 5000);
    await settled();
    expect([hung.starts, queued.starts]).toEqual([1, 1]);
    queued.give('q');
    expect((await again).map(inShort)).toEqual([
      ['hung', 'timeout', 5],
      ['queued', ['q'], 0],
    ]);
  });
});
