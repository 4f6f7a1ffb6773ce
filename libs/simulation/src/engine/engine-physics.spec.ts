import { createRandom, exponential } from '../random.ts';
import { createBench, listen } from './test-engine.ts';

/** So many clients that each ask again as soon as they have their answer. @returns tokens per second of all */
function closedLoop(clients: number): number {
  const bench = createBench();
  bench.serve();
  const ask = (): void => {
    bench.engine.submit(bench.request({ promptTokens: 200, outputTokens: 200 }), listen(ask));
  };
  for (let client = 0; client < clients; client += 1) ask();
  bench.run(5);
  const before = bench.engine.state().generatedTokens;
  bench.run(10);
  return (bench.engine.state().generatedTokens - before) / 10;
}

/** Poisson arrivals. @returns mean seconds to the first token of those that got one */
function openLoop(requestsPerSecond: number): number {
  const bench = createBench({ config: { maxSequences: 64, prefixCaching: false } });
  bench.serve();
  const random = createRandom('open');
  const arrive = (): void => {
    bench.submit({ promptTokens: 500, outputTokens: 200 });
    bench.world.at(bench.world.now + exponential(random, 1 / requestsPerSecond), arrive);
  };
  arrive();
  bench.run(60);
  const { timeToFirstTokenSeconds } = bench.engine.state().histograms;
  return timeToFirstTokenSeconds.sum / timeToFirstTokenSeconds.count;
}

describe('an H100 with Llama 3.1 8B', () => {
  const throughput = new Map([1, 8, 64, 256, 512].map((clients) => [clients, closedLoop(clients)]));
  const at = (clients: number): number => throughput.get(clients) ?? NaN;

  it('gives one stream 100 to 200 tokens per second', () => {
    expect(at(1)).toBeGreaterThan(100);
    expect(at(1)).toBeLessThan(200);
  });

  it('gives more with more clients, less than in proportion, and no more once the batch is full', () => {
    expect(at(8) / at(1)).toBeGreaterThan(6);
    expect(at(64) / at(8)).toBeGreaterThan(3);
    expect(at(64) / at(8)).toBeLessThan(8);
    expect(at(256) / at(64)).toBeGreaterThan(1.2);
    expect(at(256) / at(64)).toBeLessThan(4);
    expect(at(512) / at(256)).toBeGreaterThan(0.95);
    expect(at(512) / at(256)).toBeLessThan(1.05);
  });
});

it('makes clients wait for the first token only beyond saturation', () => {
  const [calm, busy, beyond] = [5, 12, 40].map(openLoop);
  expect(calm).toBeLessThan(0.1);
  expect(busy).toBeLessThan(0.2);
  expect(beyond).toBeGreaterThan(2);
});

it('tells the GPU what it did: what it read and computed never exceeds its peaks', () => {
  const bench = createBench();
  bench.serve();
  for (let count = 0; count < 50; count += 1) bench.submit({ promptTokens: 1000, outputTokens: 50 });
  bench.run(5);
  const [gpu] = bench.gpus;
  const works = gpu?.works.filter(({ flops }) => flops > 0) ?? [];
  expect(works.length).toBeGreaterThan(50);
  let end = 0;
  for (const { fromSeconds, toSeconds, flops, memoryBytes } of works) {
    expect(fromSeconds).toBeGreaterThanOrEqual(end);
    expect(flops / (toSeconds - fromSeconds)).toBeLessThan(989e12);
    expect(memoryBytes / (toSeconds - fromSeconds)).toBeLessThan(3.35e12);
    end = toSeconds;
  }
});
