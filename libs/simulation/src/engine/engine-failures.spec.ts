import { createBench, FakeGpu } from './test-engine.ts';

describe('starting', () => {
  it('loads the weights over PCIe, then serves', () => {
    const bench = createBench({ config: { diskBytesPerSecond: 4e9 } });
    bench.engine.start();
    expect(bench.engine.state()).toMatchObject({ condition: 'loading', pid: 4000, startedSeconds: 0 });
    bench.run(16.06 / 4 + 39);
    expect(bench.engine.state().condition).toBe('loading');
    bench.run(1.1);
    expect(bench.engine.state().condition).toBe('serving');
    const received = bench.gpus[0]?.works.reduce((sum, work) => sum + (work.pcieReceivedBytes ?? 0), 0);
    expect(received).toBeCloseTo(16_060_522_496, -2);
  });

  it.each([
    { kind: 'vllm', message: 'Service Unavailable', rejected: 0 },
    { kind: 'llamacpp', message: 'Loading model', rejected: 1 },
  ] as const)('$kind answers "$message" until then', ({ kind, message, rejected }) => {
    const bench = createBench({ kind, config: { contextTokens: 4096, maxSequences: 2 } });
    expect(bench.engine.submit(bench.request())).toMatchObject({ status: 503 });
    bench.engine.start(10);
    expect(bench.engine.submit(bench.request())).toEqual({ accepted: false, status: 503, message });
    expect(bench.engine.state().rejected).toBe(rejected);
    bench.run(10);
    expect(bench.engine.submit(bench.request())).toEqual({ accepted: true });
  });

  it('fails when the memory is taken, and takes nothing', () => {
    const gpus = [new FakeGpu(), new FakeGpu()];
    gpus[1]?.allocate({ pid: 1, program: 'other', command: ['other'], memoryBytes: 40e9 });
    const bench = createBench({ gpus });
    bench.engine.start();
    expect(bench.engine.state().condition).toBe('down');
    expect(gpus.map((gpu) => gpu.usedBytes())).toEqual([0, 40e9]);
    gpus[1]?.release(1);
    bench.engine.start(0);
    bench.run(0);
    expect(bench.engine.state().condition).toBe('serving');
  });
});

describe('a crash', () => {
  it('gives every client an error, frees the GPUs, and counts from zero after the next start', () => {
    const bench = createBench({ config: { maxSequences: 2 } });
    bench.serve();
    const answers = [1, 2, 3].map(() => bench.submit({ outputTokens: 900 }));
    bench.run(1);
    bench.engine.crash();
    expect(answers.map(({ reason }) => reason)).toEqual(['error', 'error', 'error']);
    expect(bench.engine.state()).toMatchObject({
      condition: 'down',
      running: 0,
      waiting: 0,
      requests: { error: 3 },
    });
    expect(bench.gpus[0]?.usedBytes()).toBe(0);
    bench.engine.restart(5);
    bench.run(5);
    expect(bench.engine.state()).toMatchObject({
      condition: 'serving',
      startedSeconds: 1,
      pid: 4001,
      generatedTokens: 0,
      requests: { error: 0 },
    });
    const answer = bench.submit();
    bench.run(1);
    expect(answer.reason).toBe('stop');
    expect(bench.engine.audit()).toEqual([]);
  });

  it('breaks off a start', () => {
    const bench = createBench();
    bench.engine.start();
    bench.run(1);
    bench.engine.crash();
    bench.run(1000);
    expect(bench.engine.state().condition).toBe('down');
  });
});

describe('a lost GPU', () => {
  it('ends the engine in its next step, not while it rests', () => {
    const gpus = [new FakeGpu(), new FakeGpu()];
    const bench = createBench({ gpus });
    bench.serve();
    Object.assign(gpus[1] ?? {}, { lost: true });
    bench.run(10);
    expect(bench.engine.state().condition).toBe('serving');
    const answer = bench.submit();
    bench.run(1);
    expect(answer).toMatchObject({ reason: 'error', tokens: 0 });
    expect(bench.engine.state().condition).toBe('down');
    bench.engine.start();
    expect(bench.engine.state().condition).toBe('down');
  });
});

describe('an engine that hangs', () => {
  it('steps no more while its state answers, and goes on where it was', () => {
    const bench = createBench();
    bench.serve();
    const answer = bench.submit({ outputTokens: 100 });
    bench.run(0.3);
    bench.engine.faults.hung = true;
    const told = answer.tokens;
    const late = bench.submit();
    bench.run(60);
    expect(bench.engine.state()).toMatchObject({ condition: 'hung', running: 1, waiting: 1 });
    expect(answer.tokens).toBe(told);
    bench.engine.faults.hung = false;
    bench.run(2);
    expect([answer.tokens, late.tokens]).toEqual([100, 10]);
    expect(bench.engine.state()).toMatchObject({ condition: 'serving', generatedTokens: 110 });
  });

  it('keeps the requests of clients that went away until it goes on', () => {
    const bench = createBench();
    bench.serve();
    const answer = bench.submit({ outputTokens: 900, patienceSeconds: 5 });
    bench.run(1);
    bench.engine.faults.hung = true;
    bench.run(60);
    expect(answer).toMatchObject({ reason: 'abort', endSeconds: 5 });
    expect(bench.engine.state()).toMatchObject({ running: 1, requests: { abort: 0 } });
    expect(bench.engine.audit()).toEqual([]);
    bench.engine.faults.hung = false;
    bench.run(1);
    expect(bench.engine.state()).toMatchObject({
      running: 0,
      requests: { abort: 1 },
      generatedTokens: answer.tokens,
    });
  });

  it('can be restarted', () => {
    const bench = createBench();
    bench.serve();
    const answer = bench.submit({ outputTokens: 900 });
    bench.run(1);
    bench.engine.faults.hung = true;
    bench.run(1);
    bench.engine.restart(0);
    expect(answer.reason).toBe('error');
    bench.engine.faults.hung = false;
    bench.run(0);
    const next = bench.submit();
    bench.run(2);
    expect(next.reason).toBe('stop');
  });
});

describe('slower than it was', () => {
  const seconds = (change: (bench: ReturnType<typeof createBench>) => void): number => {
    const bench = createBench();
    bench.serve();
    change(bench);
    const answer = bench.submit({ outputTokens: 200 });
    bench.run(100);
    return answer.endSeconds ?? NaN;
  };
  const whole = seconds(() => {});

  it('by as much as a fault says', () => {
    expect(seconds(({ engine }) => (engine.faults.slowdown = 1.25)) / whole).toBeCloseTo(1.25, 6);
  });

  it('because layers run on the processor, and as before when they do not', () => {
    expect(seconds(({ engine }) => (engine.faults.cpuFallback = true)) / whole).toBeGreaterThan(8);
    expect(
      seconds(({ engine }) => {
        engine.faults.cpuFallback = true;
        engine.faults.cpuFallback = false;
      }),
    ).toBe(whole);
  });

  it('on the processor the GPU is free and idle', () => {
    const bench = createBench();
    bench.serve();
    const works = bench.gpus[0]?.works.length;
    bench.engine.faults.cpuFallback = true;
    bench.submit();
    bench.run(10);
    expect(bench.engine.state().requests.stop).toBe(1);
    expect(bench.gpus[0]?.works.length).toBe(works);
    expect(bench.gpus[0]?.usedBytes()).toBe(0);
  });
});
