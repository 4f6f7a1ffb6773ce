import { ModelTooLarge } from './memory-plan.ts';
import { createBench, FakeGpu, LLAMA_8B, listen, model } from './test-engine.ts';

/** Steps that ran on it; loading weights computes nothing. */
const steps = (gpu: FakeGpu | undefined): number => gpu?.works.filter(({ flops }) => flops > 0).length ?? 0;

describe('one request', () => {
  it('is prefilled, decoded token by token, and ends by itself', () => {
    const bench = createBench();
    bench.serve();
    const answer = bench.submit({ promptTokens: 100, outputTokens: 10 });
    bench.run(1);
    expect(answer).toMatchObject({ tokens: 10, reason: 'stop' });
    expect(steps(bench.gpus[0])).toBe(10);
    expect(bench.engine.state()).toMatchObject({
      condition: 'serving',
      running: 0,
      waiting: 0,
      promptTokens: 100,
      generatedTokens: 10,
      iterations: 10,
      requests: { stop: 1, length: 0, abort: 0, error: 0 },
    });
  });

  it.each([
    { outputTokens: 10, maxTokens: 10, tokens: 10, reason: 'stop' },
    { outputTokens: 11, maxTokens: 10, tokens: 10, reason: 'length' },
    { outputTokens: 0, maxTokens: 10, tokens: 1, reason: 'stop' },
  ])('that would say $outputTokens of at most $maxTokens tokens says $tokens: $reason', (row) => {
    const bench = createBench();
    bench.serve();
    const answer = bench.submit(row);
    bench.run(1);
    expect(answer).toMatchObject({ tokens: row.tokens, reason: row.reason });
  });

  it('leaves its times in the histograms', () => {
    const bench = createBench();
    bench.serve();
    const answer = bench.submit({ promptTokens: 1000, outputTokens: 100 });
    bench.run(10);
    const { histograms } = bench.engine.state();
    const { requestSeconds, timeToFirstTokenSeconds, interTokenSeconds, timePerOutputTokenSeconds } =
      histograms;
    expect(timeToFirstTokenSeconds.sum).toBeCloseTo(answer.firstSeconds ?? NaN, 9);
    expect(requestSeconds.sum).toBeCloseTo(answer.endSeconds ?? NaN, 9);
    expect(interTokenSeconds.count).toBe(99);
    expect(histograms.decodeSeconds.sum).toBeCloseTo(interTokenSeconds.sum, 9);
    expect(timePerOutputTokenSeconds.sum).toBeCloseTo(interTokenSeconds.sum / 99, 9);
    expect(histograms.queueSeconds.sum + histograms.prefillSeconds.sum).toBeCloseTo(
      timeToFirstTokenSeconds.sum,
      9,
    );
    expect(histograms.inferenceSeconds.sum).toBeCloseTo(requestSeconds.sum, 9);
    expect(histograms.iterationTokens).toMatchObject({ sum: 1099, count: 100 });
    expect(histograms.generatedTokens.sum).toBe(100);
    expect(histograms.maxTokens.sum).toBe(1000);
  });
});

describe('continuous batching', () => {
  it('lets a newcomer join those that decode', () => {
    const bench = createBench();
    bench.serve();
    bench.submit({ outputTokens: 100 });
    bench.run(0.3);
    bench.submit({ outputTokens: 100 });
    bench.run(0.05);
    expect(bench.engine.state()).toMatchObject({ running: 2, waiting: 0 });
  });

  it('cuts a prompt into chunks of the token budget, decoding goes on beside them', () => {
    const bench = createBench({ config: { tokensPerStep: 512, prefixCaching: false } });
    bench.serve();
    const talking = bench.submit({ promptTokens: 10, outputTokens: 1000 });
    bench.run(0.1);
    const before = talking.tokens;
    const long = bench.submit({ promptTokens: 2000, outputTokens: 1 });
    const { iterations } = bench.engine.state();
    while (long.tokens === 0) bench.run(0.001);
    // 511 tokens beside the one that talks in each step: 2000 take four.
    expect(bench.engine.state().iterations - iterations).toBeLessThanOrEqual(5);
    expect(talking.tokens - before).toBeGreaterThanOrEqual(4);
    // All four are among the steps over 101 to 1000 tokens.
    expect(bench.engine.state().histograms.iterationTokens.counts[3]).toBeGreaterThanOrEqual(4);
  });

  it('serves in order of arrival when there is no place', () => {
    const bench = createBench({ config: { maxSequences: 2 } });
    bench.serve();
    const answers = [1, 2, 3, 4].map(() => bench.submit({ outputTokens: 20 }));
    bench.run(0.05);
    expect(bench.engine.state()).toMatchObject({ running: 2, waiting: 2 });
    bench.run(5);
    const ends = answers.map(({ endSeconds }) => endSeconds ?? NaN);
    expect(ends).toEqual([...ends].sort((left, right) => left - right));
    expect(answers.map(({ tokens }) => tokens)).toEqual([20, 20, 20, 20]);
  });

  it('computes an embedding in one step, without a token', () => {
    const bench = createBench({ config: { models: [model('BAAI/bge-m3')] } });
    bench.serve();
    const answer = bench.submit({ kind: 'embedding', promptTokens: 500 });
    bench.run(1);
    expect(answer).toMatchObject({ tokens: 0, reason: 'stop' });
    const state = bench.engine.state();
    expect(state).toMatchObject({ iterations: 1, promptTokens: 500, generatedTokens: 0 });
    expect(state.histograms.requestSeconds.count).toBe(1);
    expect(state.histograms.timeToFirstTokenSeconds.count).toBe(0);
  });
});

describe('prefix cache', () => {
  it('saves the time of a prompt that was there before', () => {
    const bench = createBench();
    bench.serve();
    const prefix = { key: 'system', tokens: 8000 };
    const first = bench.submit({ promptTokens: 8100, outputTokens: 1, prefix });
    bench.run(2);
    const begin = bench.world.now;
    const second = bench.submit({ promptTokens: 8100, outputTokens: 1, prefix });
    bench.run(2);
    expect((second.firstSeconds ?? NaN) - begin).toBeLessThan((first.firstSeconds ?? NaN) / 5);
    expect(bench.engine.state()).toMatchObject({
      prefixCache: { queriedTokens: 16_200, hitTokens: 8000 },
      promptTokens: 16_200,
    });
  });
});

describe('when blocks run out', () => {
  const config = { gpuMemoryRatio: 0.233, contextTokens: 4096 };

  it('the one that came last starts over, and all get their answers', () => {
    const bench = createBench({ config });
    bench.serve();
    const { capacityBlocks } = bench.engine.state().kv;
    expect(capacityBlocks).toBeGreaterThan(256);
    const answers = Array.from({ length: 8 }, () =>
      bench.submit({ promptTokens: 1500, outputTokens: 1500, maxTokens: 2000 }),
    );
    bench.run(120);
    const state = bench.engine.state();
    expect(state.preemptions).toBeGreaterThan(0);
    expect(answers.map(({ tokens, reason }) => `${tokens} ${reason}`)).toEqual(Array(8).fill('1500 stop'));
    expect(state).toMatchObject({ promptTokens: 8 * 1500, generatedTokens: 8 * 1500, running: 0 });
    expect(state.kv.usedBlocks).toBe(0);
  });

  it('the one that starts over goes before those that came after it', () => {
    const bench = createBench({ config: { ...config, maxSequences: 6 } });
    bench.serve();
    const answers = Array.from({ length: 10 }, () =>
      bench.submit({ promptTokens: 1500, outputTokens: 1500, maxTokens: 2000 }),
    );
    bench.run(200);
    expect(bench.engine.state().preemptions).toBeGreaterThan(0);
    // The fifth and the sixth wait for the four before them, and the seventh waits behind them.
    expect(answers[6]?.firstSeconds).toBeGreaterThan(answers[3]?.endSeconds ?? NaN);
    expect(answers[6]?.endSeconds).toBeGreaterThan(answers[5]?.endSeconds ?? NaN);
  });

  it.each(['tgi', 'triton'] as const)('%s does not begin what it could not finish', (kind) => {
    const bench = createBench({ kind, config });
    bench.serve();
    const answers = Array.from({ length: 8 }, () =>
      bench.submit({ promptTokens: 1500, outputTokens: 1500, maxTokens: 2000 }),
    );
    bench.run(1);
    expect(bench.engine.state().waiting).toBeGreaterThan(0);
    bench.run(120);
    expect(bench.engine.state().preemptions).toBe(0);
    expect(answers.every(({ tokens }) => tokens === 1500)).toBe(true);
  });

  it('because something else holds them, requests wait until it lets go', () => {
    const bench = createBench();
    bench.serve();
    bench.engine.faults.kvHeldRatio = 1;
    const answer = bench.submit();
    bench.run(10);
    const { kv, waiting, running } = bench.engine.state();
    expect({ waiting, running }).toEqual({ waiting: 1, running: 0 });
    expect(kv.usedBlocks).toBe(kv.capacityBlocks);
    bench.engine.faults.kvHeldRatio = 0;
    bench.run(1);
    expect(answer).toMatchObject({ tokens: 10, reason: 'stop' });
  });
});

describe('LoRA', () => {
  const config = { loras: { names: ['law', 'tax', 'art'], max: 2 } };

  it('has places for so many at once, and lets others pass', () => {
    const bench = createBench({ config });
    bench.serve();
    for (const lora of ['tax', 'law', 'art', 'law']) bench.submit({ lora, outputTokens: 100 });
    bench.submit({ outputTokens: 100 });
    bench.run(0.1);
    expect(bench.engine.state().loras).toEqual({ running: ['law', 'tax'], waiting: ['art'], max: 2 });
    expect(bench.engine.state()).toMatchObject({ running: 4, waiting: 1 });
    bench.run(5);
    expect(bench.engine.state().requests.stop).toBe(5);
  });

  it('refuses one that it does not have', () => {
    const bench = createBench({ config });
    bench.serve();
    expect(bench.engine.submit(bench.request({ lora: 'war' }))).toMatchObject({
      accepted: false,
      status: 404,
    });
  });
});

describe('speculative decoding', () => {
  it.each([
    { acceptanceRatio: 0, tokensPerStep: 1 },
    { acceptanceRatio: 0.7, tokensPerStep: 2.53 }, // 1 + 0.7 + 0.7^2 + 0.7^3
    { acceptanceRatio: 1, tokensPerStep: 4 },
  ])('with drafts right in $acceptanceRatio gives $tokensPerStep tokens per step', (row) => {
    const bench = createBench({
      config: { speculative: { draftTokens: 3, acceptanceRatio: row.acceptanceRatio } },
    });
    bench.serve();
    const answer = bench.submit({ outputTokens: 4001, maxTokens: 5000 });
    bench.run(100);
    const state = bench.engine.state();
    expect(answer.tokens).toBe(4001);
    expect(4000 / (state.iterations - 1)).toBeCloseTo(row.tokensPerStep, 1);
    const { draftTokens = 0, acceptedTokens = 0 } = state.speculative ?? {};
    expect(acceptedTokens + state.iterations).toBe(4001);
    expect(draftTokens).toBeGreaterThanOrEqual(3 * (state.iterations - 4));
  });

  it('makes one stream faster', () => {
    const seconds = [undefined, { draftTokens: 3, acceptanceRatio: 0.7 }].map((speculative) => {
      const bench = createBench({ config: speculative === undefined ? {} : { speculative } });
      bench.serve();
      const answer = bench.submit({ outputTokens: 500 });
      bench.run(60);
      return answer.endSeconds ?? NaN;
    });
    expect((seconds[0] ?? NaN) / (seconds[1] ?? NaN)).toBeGreaterThan(1.8);
  });
});

describe('refusals at the door', () => {
  it.each([
    { kind: 'vllm', wish: { model: 'gpt-4' }, status: 404, message: 'The model `gpt-4` does not exist.' },
    {
      kind: 'vllm',
      wish: { promptTokens: 3097, maxTokens: 1000 },
      status: 400,
      message: 'context length is 4096',
    },
    { kind: 'sglang', wish: { promptTokens: 4096 }, status: 400, message: 'longer than the model' },
    { kind: 'tgi', wish: { promptTokens: 4096, maxTokens: 1 }, status: 422, message: 'must be <= 4096' },
    { kind: 'llamacpp', wish: { promptTokens: 2048 }, status: 400, message: 'request (2048 tokens) exceeds' },
    { kind: 'ollama', wish: { model: 'gpt-4' }, status: 404, message: "model 'gpt-4' not found" },
  ] as const)('$kind says $status: $message', ({ kind, wish, status, message }) => {
    const bench = createBench({ kind, config: { contextTokens: 4096, maxSequences: 2 } });
    bench.serve();
    const refused = bench.engine.submit(bench.request(wish));
    expect(refused).toMatchObject({ accepted: false, status });
    expect(refused.accepted ? '' : refused.message).toContain(message);
    expect(bench.engine.state()).toMatchObject({ rejected: 1, running: 0, waiting: 0 });
  });

  it.each([
    { kind: 'vllm', wish: { promptTokens: 3096, maxTokens: 1000 } },
    { kind: 'sglang', wish: { promptTokens: 4095 } },
    { kind: 'sglang', wish: { model: 'gpt-4' } },
    { kind: 'tgi', wish: { promptTokens: 4095, maxTokens: 1 } },
    { kind: 'llamacpp', wish: { promptTokens: 2047 } },
    { kind: 'llamacpp', wish: { model: 'gpt-4' } },
    { kind: 'ollama', wish: { promptTokens: 100_000 } },
  ] as const)('$kind takes $wish', ({ kind, wish }) => {
    const bench = createBench({ kind, config: { contextTokens: 4096, maxSequences: 2 } });
    bench.serve();
    expect(bench.engine.submit(bench.request(wish))).toEqual({ accepted: true });
  });

  it.each([
    { kind: 'vllm', status: 503 },
    { kind: 'tgi', status: 429 },
    { kind: 'ollama', status: 503 },
  ] as const)('a full queue of $kind is a $status', ({ kind, status }) => {
    const bench = createBench({ kind, config: { maxSequences: 1, maxWaiting: 2, contextTokens: 4096 } });
    bench.serve();
    bench.submit({ outputTokens: 500 });
    bench.run(10);
    bench.submit({ outputTokens: 500 });
    bench.run(0.01);
    for (let more = bench.engine.state().waiting; more < 2; more += 1) bench.submit();
    expect(bench.engine.submit(bench.request())).toMatchObject({ accepted: false, status });
  });

  it('an answer is cut where the context of a slot ends', () => {
    const bench = createBench({ kind: 'llamacpp', config: { contextTokens: 4096, maxSequences: 2 } });
    bench.serve();
    const answer = bench.submit({ promptTokens: 2000, outputTokens: 500 });
    bench.run(10);
    expect(answer).toMatchObject({ tokens: 48, reason: 'length' });
  });

  it('a model that cannot fit is refused when the engine is made', () => {
    const config = { models: [model('meta-llama/Llama-3.3-70B-Instruct')] };
    expect(() => createBench({ config })).toThrow(ModelTooLarge);
    expect(() => createBench({ config })).toThrow(/weights take 141\.1 GB.*share of 1 GPU\(s\) is 75\.0 GB/);
    const gpus = [1, 2, 3, 4].map(() => new FakeGpu());
    expect(() => createBench({ config, gpus })).not.toThrow();
  });
});

describe('clients that go away', () => {
  it.each([
    { what: 'while it waits', afterSeconds: 0.01, config: { maxSequences: 1 }, tokens: 0 },
    { what: 'while it is decoded', afterSeconds: 1, config: {}, tokens: 100 },
  ])('end their request $what', ({ afterSeconds, config, tokens }) => {
    const bench = createBench({ config });
    bench.serve();
    const other = bench.submit({ outputTokens: 900 });
    const leaving = listen();
    const request = bench.request({ outputTokens: 900 });
    bench.engine.submit(request, leaving);
    bench.run(afterSeconds);
    bench.engine.cancel(request.id);
    expect(leaving.reason).toBe('abort');
    expect(leaving.tokens).toBeGreaterThanOrEqual(tokens);
    const told = leaving.tokens;
    bench.run(20);
    expect(leaving.tokens).toBe(told);
    expect(other).toMatchObject({ tokens: 900, reason: 'stop' });
    expect(bench.engine.state()).toMatchObject({
      requests: { stop: 1, abort: 1 },
      generatedTokens: 900 + told,
    });
    expect(bench.engine.state().histograms.requestSeconds.count).toBe(1);
  });

  it.each([
    { patienceSeconds: 2, deadlineSeconds: 3, reason: 'abort', at: 2 },
    { patienceSeconds: 3, deadlineSeconds: 2, reason: 'error', at: 2 },
    { patienceSeconds: 300, deadlineSeconds: 300, reason: 'stop', at: undefined },
  ])('patience $patienceSeconds s, the engine $deadlineSeconds s: $reason', (row) => {
    const bench = createBench({ config: { deadlineSeconds: row.deadlineSeconds } });
    bench.serve();
    const answer = bench.submit({ outputTokens: 900, patienceSeconds: row.patienceSeconds });
    bench.run(400);
    expect(answer.reason).toBe(row.reason);
    if (row.at !== undefined) expect(answer.endSeconds).toBe(row.at);
  });

  it('or never were there are no error', () => {
    const bench = createBench();
    bench.serve();
    bench.engine.cancel('nobody');
    expect(bench.engine.state().requests.abort).toBe(0);
  });
});

it('takes as much of each GPU as it is told, under its own name', () => {
  const gpus = [new FakeGpu(), new FakeGpu()];
  const bench = createBench({ gpus });
  bench.serve();
  for (const gpu of gpus) {
    const [held] = gpu.allocations.values();
    expect(held).toMatchObject({
      pid: 4000,
      program: 'VLLM::EngineCore',
      command: ['vllm', 'serve', LLAMA_8B],
    });
    expect(held?.memoryBytes).toBe(Math.floor(gpu.board.memoryBytes * 0.9));
  }
});

it('says of its work on a GPU which process it was for', () => {
  const gpus = [new FakeGpu(), new FakeGpu()];
  const bench = createBench({ gpus });
  bench.serve();
  bench.submit();
  bench.run(10);
  for (const gpu of gpus) {
    const kernels = gpu.works.filter(({ flops }) => flops > 0);
    expect(new Set(kernels.map(({ pid }) => pid))).toEqual(new Set([4000]));
  }
});

it('plans nothing while it has nothing to do, and looking at it changes nothing', () => {
  const bench = createBench();
  bench.serve();
  bench.submit();
  bench.run(1);
  const planned = jest.spyOn(bench.world, 'at');
  const before = bench.engine.state();
  bench.run(3600);
  expect(bench.engine.state()).toEqual(before);
  expect(planned).not.toHaveBeenCalled();
});

it('may be called back from its listeners', () => {
  const bench = createBench();
  bench.serve();
  let rounds = 0;
  const again = (): void => {
    rounds += 1;
    if (rounds < 5) bench.engine.submit(bench.request(), listen(again));
  };
  again();
  const talkative = bench.request({ outputTokens: 500 });
  bench.engine.submit(talkative, { onTokens: () => bench.engine.cancel(talkative.id) });
  const fatal = bench.request({ outputTokens: 500 });
  bench.run(1);
  expect(bench.engine.state()).toMatchObject({ generatedTokens: 41, requests: { stop: 4, abort: 1 } });
  bench.engine.submit(fatal, { onTokens: () => bench.engine.crash() });
  const neighbor = bench.submit();
  bench.run(1);
  expect(neighbor).toMatchObject({ reason: 'error', tokens: 0 });
  expect(bench.engine.state().condition).toBe('down');
});
