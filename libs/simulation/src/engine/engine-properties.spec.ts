import fc from 'fast-check';
import { createRandom, exponential, logNormal } from '../random.ts';
import type { EngineConfig } from './engine-config.ts';
import type { EngineKind } from './engine.ts';
import { createBench, listen, model, type Answer } from './test-engine.ts';

const KINDS: readonly EngineKind[] = ['vllm', 'sglang', 'tgi', 'triton', 'llamacpp', 'ollama'];

/** Settings so tight that all comes to pass: chunks, full batches, preemption, refusals. */
const anyConfig = fc.record({
  kind: fc.constantFrom(...KINDS),
  maxSequences: fc.integer({ min: 1, max: 12 }),
  tokensPerStep: fc.integer({ min: 8, max: 600 }),
  // Room for 1000 to 5000 tokens beside the weights of the 8B model.
  gpuMemoryRatio: fc.integer({ min: 2127, max: 2185 }).map((share) => share / 10_000),
  blockTokens: fc.constantFrom(1, 16, 64),
  prefixCaching: fc.boolean(),
  maxWaiting: fc.integer({ min: 0, max: 20 }),
  acceptanceRatio: fc.constantFrom(undefined, 0.6),
  loras: fc.boolean(),
});

const anyRequest = fc.record({
  afterSeconds: fc.constantFrom(0, 0, 0.02, 0.2),
  promptTokens: fc.integer({ min: 1, max: 1500 }),
  outputTokens: fc.integer({ min: 0, max: 300 }),
  maxTokens: fc.integer({ min: 1, max: 250 }),
  embedding: fc.nat(9).map((draw) => draw === 0),
  second: fc.boolean(),
  prefix: fc.option(
    fc.record({ key: fc.constantFrom('a', 'b', 'c'), percent: fc.integer({ min: 0, max: 100 }) }),
  ),
  lora: fc.constantFrom(undefined, 'x', 'y', 'z'),
  patienceSeconds: fc.constantFrom(undefined, undefined, undefined, undefined, 0.3, 3),
  cancelAfterSeconds: fc.constantFrom(undefined, undefined, undefined, undefined, 0, 1),
});

const anyFault = fc.record({
  atSeconds: fc.integer({ min: 0, max: 500 }).map((hundredths) => hundredths / 100),
  fault: fc.constantFrom('hung', 'free', 'held', 'released', 'slow', 'processor', 'crash'),
});

function configOf(drawn: typeof anyConfig extends fc.Arbitrary<infer T> ? T : never): Partial<EngineConfig> {
  const { acceptanceRatio, loras, kind, ...rest } = drawn;
  const slots = kind === 'ollama' || kind === 'llamacpp';
  return {
    ...rest,
    contextTokens: kind === 'llamacpp' ? 2048 * rest.maxSequences : 2048,
    ...(slots ? { models: [model('llama3.2:3b'), model('qwen2.5:0.5b')], keepAliveSeconds: 1 } : {}),
    ...(acceptanceRatio === undefined ? {} : { speculative: { draftTokens: 3, acceptanceRatio } }),
    ...(loras ? { loras: { names: ['x', 'y', 'z'], max: 2 } } : {}),
  };
}

it('keeps its books in every step, under any traffic and any fault', () => {
  const seen = { preemptions: 0, hits: 0, rejected: 0, aborts: 0, drafts: 0, crashes: 0 };
  fc.assert(
    fc.property(
      anyConfig,
      fc.noBias(fc.array(anyRequest, { minLength: 1, maxLength: 40, size: 'max' })),
      fc.array(anyFault, { maxLength: 3 }),
      (drawn, requests, faults) => {
        const bench = createBench({ kind: drawn.kind, config: configOf(drawn) });
        const { engine, world } = bench;
        bench.serve();
        const audit = (): void => {
          const broken = engine.audit();
          if (broken.length > 0) throw new Error(broken.join(', '));
        };
        for (const gpu of bench.gpus) gpu.onWork = audit;
        const answers: Answer[] = [];
        const promptTokens = new Map<Answer, number>();
        let seconds = 0;
        for (const wish of requests) {
          seconds += wish.afterSeconds;
          world.at(seconds, () => {
            const prefix = wish.prefix && {
              key: wish.prefix.key,
              tokens: Math.floor((wish.prefix.percent * wish.promptTokens) / 100),
            };
            const request = bench.request({
              promptTokens: wish.promptTokens,
              outputTokens: wish.outputTokens,
              maxTokens: wish.maxTokens,
              kind: wish.embedding ? 'embedding' : 'chat',
              ...(wish.second ? { model: bench.config.models.at(-1)?.name ?? '' } : {}),
              ...(prefix === null ? {} : { prefix }),
              ...(drawn.loras && wish.lora !== undefined ? { lora: wish.lora } : {}),
              ...(wish.patienceSeconds === undefined ? {} : { patienceSeconds: wish.patienceSeconds }),
            });
            const answer = listen(audit);
            if (!engine.submit(request, answer).accepted) return audit();
            answers.push(answer);
            promptTokens.set(answer, wish.promptTokens);
            if (wish.cancelAfterSeconds !== undefined) {
              world.at(world.now + wish.cancelAfterSeconds, () => engine.cancel(request.id));
            }
          });
        }
        let crashed = false;
        for (const { atSeconds, fault } of faults) {
          world.at(atSeconds, () => {
            if (fault === 'hung' || fault === 'free') engine.faults.hung = fault === 'hung';
            if (fault === 'held' || fault === 'released')
              engine.faults.kvHeldRatio = fault === 'held' ? 0.7 : 0;
            if (fault === 'slow') engine.faults.slowdown = 3;
            if (fault === 'processor') engine.faults.cpuFallback = !engine.faults.cpuFallback;
            if (fault === 'crash') {
              engine.crash();
              crashed = true;
            }
            audit();
          });
        }
        bench.run(10);
        audit();
        Object.assign(engine.faults, { hung: false, kvHeldRatio: 0, slowdown: 1, cpuFallback: false });
        bench.run(3600);
        audit();
        const state = engine.state();
        expect([state.running, state.waiting, state.kv.usedBlocks]).toEqual([0, 0, 0]);
        expect(answers.every(({ reason }) => reason !== undefined)).toBe(true);
        const total = (counts: readonly number[]): number => counts.reduce((sum, count) => sum + count, 0);
        expect(state.generatedTokens).toBe(total(answers.map(({ tokens }) => tokens)));
        expect(total(Object.values(state.requests))).toBe(answers.length);
        const prompted = answers.filter(({ reason }) => reason === 'stop' || reason === 'length');
        const least = total(prompted.map((answer) => promptTokens.get(answer) ?? 0));
        const most = total([...promptTokens.values()]);
        expect(state.promptTokens).toBeGreaterThanOrEqual(least);
        expect(state.promptTokens).toBeLessThanOrEqual(most);
        seen.preemptions += state.preemptions;
        seen.hits += state.prefixCache.hitTokens;
        seen.rejected += state.rejected;
        seen.aborts += state.requests.abort;
        seen.drafts += state.speculative?.acceptedTokens ?? 0;
        seen.crashes += crashed ? 1 : 0;
      },
    ),
    { seed: 4, numRuns: 80 },
  );
  // The property says nothing unless all of this came to pass.
  expect(Object.entries(seen).filter(([, count]) => count < 5)).toEqual([]);
});

/** Poisson arrivals of chats for so many seconds. */
function steadyRun(seed: string, rate: number, seconds: number, config: Partial<EngineConfig> = {}) {
  const bench = createBench({ seed, config });
  bench.serve();
  const random = createRandom(seed);
  const answers: Answer[] = [];
  const arrive = (): void => {
    const prompt = Math.ceil(logNormal(random, 400, 0.8));
    answers.push(
      bench.submit({
        promptTokens: Math.min(prompt, 8000),
        outputTokens: Math.ceil(logNormal(random, 150, 0.6)),
        prefix: { key: `tenant-${Math.floor(random.next() * 3)}`, tokens: Math.min(prompt, 200) },
      }),
    );
    const next = bench.world.now + exponential(random, 1 / rate);
    if (next < seconds) bench.world.at(next, arrive);
  };
  bench.world.at(0, arrive);
  return { ...bench, answers };
}

it("obeys Little's law", () => {
  const [rate, seconds] = [20, 200];
  const { engine, run, answers } = steadyRun('little', rate, seconds);
  let inSystem = 0;
  let samples = 0;
  while (samples < seconds * 5) {
    run(0.2);
    const { running, waiting } = engine.state();
    inSystem += running + waiting;
    samples += 1;
  }
  const times = answers.flatMap(({ endSeconds }) => (endSeconds === undefined ? [] : [endSeconds]));
  const { requestSeconds } = engine.state().histograms;
  const meanNumber = inSystem / samples;
  const throughput = times.length / seconds;
  const meanSeconds = requestSeconds.sum / requestSeconds.count;
  expect(meanNumber).toBeGreaterThan(5);
  expect(meanNumber / (throughput * meanSeconds)).toBeGreaterThan(0.97);
  expect(meanNumber / (throughput * meanSeconds)).toBeLessThan(1.03);
});

it('gives the same bytes for the same seed, and others for another', () => {
  const [first, second, third] = ['one', 'one', 'two'].map((seed) => {
    const bench = steadyRun(seed, 10, 20, { speculative: { draftTokens: 3, acceptanceRatio: 0.6 } });
    bench.run(20);
    return JSON.stringify([bench.engine.state(), bench.gpus[0]?.works]);
  });
  expect(first).toBe(second);
  expect(first).not.toBe(third);
});
