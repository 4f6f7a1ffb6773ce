import type { EngineConfig } from './engine-config.ts';
import { createBench, FakeGpu, H100, model } from './test-engine.ts';

const [SMALL, MIDDLE] = [model('llama3.2:3b'), model('llama3.1:8b')];

/** A card with 24 GB and the bandwidth of an RTX 4090. */
const CARD = {
  ...H100,
  memoryBytes: 24e9,
  memoryBytesPerSecond: 1008e9,
  peakFlopsPerSecond: { fp16: 165e12, int8: 660e12 },
};

describe('llama.cpp', () => {
  const config = {
    models: [MIDDLE],
    maxSequences: 4,
    contextTokens: 16_384,
    blockTokens: 1,
    tokensPerStep: 2048,
  };

  it('generates about as fast as llama-bench on that card', () => {
    const bench = createBench({ kind: 'llamacpp', config, gpus: [new FakeGpu(CARD)] });
    bench.serve();
    bench.submit({ outputTokens: 1000 });
    bench.run(100);
    const { sum } = bench.engine.state().histograms.interTokenSeconds;
    expect(999 / sum).toBeGreaterThan(110);
    expect(999 / sum).toBeLessThan(150);
  });

  it('shows who sits where', () => {
    const bench = createBench({ kind: 'llamacpp', config, gpus: [new FakeGpu(CARD)] });
    bench.serve();
    bench.submit({ promptTokens: 50, outputTokens: 1000 });
    bench.run(1);
    const { slots, generatedTokens } = bench.engine.state();
    expect(slots).toEqual([
      {
        id: 0,
        requestId: 'request-1',
        contextTokens: 4096,
        promptTokens: 50,
        decodedTokens: generatedTokens,
      },
      ...[1, 2, 3].map((id) => ({
        id,
        requestId: undefined,
        contextTokens: 4096,
        promptTokens: 0,
        decodedTokens: 0,
      })),
    ]);
  });

  it('takes the prompt of the turn before from its slot', () => {
    const bench = createBench({ kind: 'llamacpp', config, gpus: [new FakeGpu(CARD)] });
    bench.serve();
    bench.submit({ promptTokens: 1000, prefix: { key: 'talk', tokens: 1000 } });
    bench.run(2);
    bench.submit({ promptTokens: 500 });
    bench.run(2);
    bench.submit({ promptTokens: 1200, prefix: { key: 'talk', tokens: 1000 } });
    bench.run(2);
    expect(bench.engine.state().prefixCache).toEqual({ queriedTokens: 2700, hitTokens: 1000 });
  });

  it.each([
    { offloadedLayers: 33, gpuBytes: 4.92e9 + 16_384 * 131_072 + 0.6e9 },
    { offloadedLayers: 16, gpuBytes: (4.92e9 + 16_384 * 131_072) / 2 + 0.6e9 },
    { offloadedLayers: 0, gpuBytes: 0 },
  ])('with -ngl $offloadedLayers takes $gpuBytes bytes', ({ offloadedLayers, gpuBytes }) => {
    const gpu = new FakeGpu(CARD);
    createBench({ kind: 'llamacpp', config: { ...config, offloadedLayers }, gpus: [gpu] }).serve();
    expect(gpu.usedBytes() / 1e7).toBeCloseTo(gpuBytes / 1e7, 0);
  });

  it('ends when it cannot have the layers that it was told to take', () => {
    const gpu = new FakeGpu({ ...CARD, memoryBytes: 4e9 });
    const told = createBench({ kind: 'llamacpp', config: { ...config, offloadedLayers: 32 }, gpus: [gpu] });
    told.serve();
    expect(told.engine.state().condition).toBe('down');
    const free = createBench({ kind: 'llamacpp', config, gpus: [gpu] });
    free.serve();
    expect(free.engine.state().condition).toBe('serving');
    expect(gpu.usedBytes()).toBeGreaterThan(3e9);
  });

  it('spreads over all its GPUs, which work one after the other', () => {
    const gpus = [new FakeGpu(CARD), new FakeGpu(CARD)];
    const bench = createBench({ kind: 'llamacpp', config, gpus });
    bench.serve();
    for (const gpu of gpus) gpu.works.length = 0;
    bench.submit({ outputTokens: 1 });
    bench.run(1);
    const [first, second] = gpus.map((gpu) => gpu.works[0]);
    expect(second?.fromSeconds).toBeCloseTo(first?.toSeconds ?? NaN, 9);
    expect(first?.flops).toBe(second?.flops);
  });
});

describe('Ollama', () => {
  const config: Partial<EngineConfig> = {
    models: [SMALL, MIDDLE],
    maxSequences: 2,
    contextTokens: 4096,
    blockTokens: 1,
    tokensPerStep: 512,
    keepAliveSeconds: 300,
    diskBytesPerSecond: 2e9,
  };
  const start = (memoryBytes: number, count = 1) => {
    const gpus = Array.from({ length: count }, () => new FakeGpu({ ...CARD, memoryBytes }));
    const bench = createBench({ kind: 'ollama', config, gpus });
    bench.serve();
    return bench;
  };
  const loaded = (bench: ReturnType<typeof start>): string[] =>
    bench.engine.state().loaded.map(({ name }) => name);

  it('loads a model when it is asked for, which its first client waits for', () => {
    const bench = start(24e9);
    expect(bench.engine.state()).toMatchObject({ loaded: [], models: ['llama3.2:3b', 'llama3.1:8b'] });
    const first = bench.submit();
    bench.run(0.5);
    expect(bench.engine.state()).toMatchObject({ loaded: [], waiting: 1, condition: 'serving' });
    bench.run(5);
    // 2.02 GB through 2 GB/s
    expect(first.firstSeconds).toBeGreaterThan(1);
    expect(first.firstSeconds).toBeLessThan(1.1);
    const second = bench.submit();
    bench.run(1);
    expect((second.firstSeconds ?? NaN) - 5.5).toBeLessThan(0.1);
  });

  it('says how much of it is on the GPU, and until when', () => {
    const bench = start(24e9);
    const answer = bench.submit();
    bench.run(10);
    const size = 2_019_377_376 + 2 * 4096 * 114_688 + 0.6e9;
    const [entry] = bench.engine.state().loaded;
    expect(entry).toMatchObject({
      name: 'llama3.2:3b',
      contextTokens: 4096,
      sizeBytes: size,
      gpuBytes: size,
    });
    expect(entry?.expiresSeconds).toBe((answer.endSeconds ?? NaN) + 300);
    expect(bench.gpus[0]?.usedBytes()).toBe(size);
  });

  it('unloads what nobody used for the keep-alive time, and not what was used again', () => {
    const bench = start(24e9);
    bench.submit();
    bench.run(200);
    bench.submit();
    bench.run(290);
    expect(loaded(bench)).toEqual(['llama3.2:3b']);
    bench.run(20);
    expect(loaded(bench)).toEqual([]);
    expect(bench.gpus[0]?.usedBytes()).toBe(0);
  });

  it('keeps two models that fit side by side, each in a process of its own', () => {
    const bench = start(24e9);
    bench.submit();
    bench.submit({ model: 'llama3.1:8b' });
    bench.run(20);
    expect(loaded(bench)).toEqual(['llama3.2:3b', 'llama3.1:8b']);
    expect([...(bench.gpus[0]?.allocations.keys() ?? [])]).toEqual([4001, 4002]);
    expect(bench.engine.state()).toMatchObject({ pid: 4000, requests: { stop: 2 } });
  });

  it('puts each on a GPU of its own when one is full', () => {
    const bench = start(7e9, 2);
    bench.submit();
    bench.submit({ model: 'llama3.1:8b' });
    bench.run(20);
    expect(loaded(bench)).toHaveLength(2);
    expect(bench.gpus.map((gpu) => gpu.allocations.size)).toEqual([1, 1]);
  });

  it('changes models when only one fits, the one that is busy first ends', () => {
    const bench = start(7e9);
    const first = bench.submit({ outputTokens: 500 });
    bench.run(2);
    const second = bench.submit({ model: 'llama3.1:8b' });
    const third = bench.submit({ outputTokens: 1 });
    bench.run(0.5);
    expect(bench.engine.state()).toMatchObject({ running: 1, waiting: 2 });
    bench.run(60);
    expect([first.reason, second.reason, third.reason]).toEqual(['stop', 'stop', 'stop']);
    expect(second.firstSeconds).toBeGreaterThan(first.endSeconds ?? NaN);
    expect(third.firstSeconds).toBeGreaterThan(second.endSeconds ?? NaN);
    expect(loaded(bench)).toEqual(['llama3.2:3b']);
    expect(bench.engine.audit()).toEqual([]);
  });

  it('drops the model that was used the longest ago', () => {
    const tiny = model('qwen2.5:0.5b');
    const gpus = [new FakeGpu({ ...CARD, memoryBytes: 8e9 })];
    const bench = createBench({ kind: 'ollama', gpus, config: { ...config, models: [SMALL, MIDDLE, tiny] } });
    bench.serve();
    for (const name of ['qwen2.5:0.5b', 'llama3.2:3b', 'qwen2.5:0.5b', 'llama3.1:8b']) {
      bench.submit({ model: name });
      bench.run(20);
    }
    expect(loaded(bench)).toEqual(['qwen2.5:0.5b', 'llama3.1:8b']);
  });

  it('puts on the processor what does not fit, and is slow', () => {
    const [whole, part] = [start(24e9), start(4e9)].map((bench) => {
      const answer = bench.submit({ model: 'llama3.1:8b', outputTokens: 100 });
      bench.run(100);
      expect(answer.tokens).toBe(100);
      return { state: bench.engine.state(), used: bench.gpus[0]?.usedBytes() };
    });
    const [entry] = part?.state.loaded ?? [];
    expect(entry?.gpuBytes).toBe(part?.used);
    expect(entry?.gpuBytes).toBeLessThan(4e9);
    expect(entry?.sizeBytes).toBe(whole?.state.loaded[0]?.sizeBytes);
    const [fast, slow] = [whole, part].map((run) => run?.state.histograms.interTokenSeconds.sum ?? NaN);
    expect((slow ?? NaN) / (fast ?? NaN)).toBeGreaterThan(2);
  });

  it('loses only the model whose GPU is lost, and loads it on the processor', () => {
    const bench = start(24e9);
    const lost = bench.submit({ outputTokens: 900 });
    bench.run(3);
    Object.assign(bench.gpus[0] ?? {}, { lost: true });
    bench.run(1);
    expect(lost.reason).toBe('error');
    expect(bench.engine.state()).toMatchObject({ condition: 'serving', loaded: [] });
    const next = bench.submit();
    bench.run(20);
    expect(next.reason).toBe('stop');
    expect(bench.engine.state().loaded[0]).toMatchObject({ gpuBytes: 0 });
  });

  it('cuts a prompt to the context without a word', () => {
    const bench = start(24e9);
    const answer = bench.submit({ promptTokens: 50_000, outputTokens: 20 });
    bench.run(20);
    expect(answer.tokens).toBe(20);
    expect(bench.engine.state().promptTokens).toBe(4096);
  });

  it('slows each of two busy models down to half', () => {
    const secondsPerToken = (names: readonly string[]): number => {
      const bench = start(24e9);
      const [first] = names.map((name) => bench.submit({ model: name, outputTokens: 9000, maxTokens: 9000 }));
      bench.run(10);
      const before = first?.tokens ?? NaN;
      bench.run(10);
      return 10 / ((first?.tokens ?? NaN) - before);
    };
    const [alone, beside] = [
      secondsPerToken(['llama3.2:3b']),
      secondsPerToken(['llama3.2:3b', 'llama3.1:8b']),
    ];
    // A little under 2: the one that is alone gets to a longer context.
    expect(beside / alone).toBeGreaterThan(1.8);
    expect(beside / alone).toBeLessThan(2);
  });
});
