import type { EngineRequest } from '../engine/engine.ts';
import type { SimulatedWorld } from './simulated-world.ts';
import { worldOf } from './test-world.ts';

const MODEL = 'meta-llama/Llama-3.1-8B-Instruct';

/** One H100 with a vLLM that serves, and no users. */
function h100(): SimulatedWorld {
  const world = worldOf(`
seed: physics
host:
  name: physics
  gpus: [{ board: h100-sxm, ambient: 26 }]
  driver: { nvidia: 570.133.20, cuda: 12.8 }
engines:
  - name: chat
    kind: vllm
    port: 8000
    model: ${MODEL}
    gpus: [0]
`);
  world.runUntil(120);
  return world;
}

type Wish = Pick<EngineRequest, 'promptTokens' | 'outputTokens'>;

const DECODE: Wish = { promptTokens: 100, outputTokens: 500 };
const PREFILL: Wish = { promptTokens: 4000, outputTokens: 1 };

/** So many clients that each ask again as soon as they have their answer. */
function keepBusy(world: SimulatedWorld, clients: number, wish: Wish): void {
  let requests = 0;
  const ask = (): void => {
    requests += 1;
    const request = { id: `request-${requests}`, model: MODEL, tenant: 'team', kind: 'completion' } as const;
    world.engine('chat').now.submit({ ...request, ...wish, maxTokens: wish.outputTokens }, { onEnd: ask });
  };
  for (let client = 0; client < clients; client += 1) ask();
}

/** Tokens per second, of prompts and answers together, when it has settled. */
function tokensPerSecond(world: SimulatedWorld, settleSeconds: number): number {
  const tokens = (): number => {
    const { promptTokens, generatedTokens } = world.engine('chat').now.state();
    return promptTokens + generatedTokens;
  };
  world.runUntil(world.now + settleSeconds);
  const before = tokens();
  world.runUntil(world.now + 10);
  return (tokens() - before) / 10;
}

describe('a power cap of 60 %', () => {
  const kept = (clients: number, wish: Wish): number => {
    const [capped = NaN, free = NaN] = [0.6, 1].map((share) => {
      const world = h100();
      world.gpu(0).setPowerLimit(share * 700);
      keepBusy(world, clients, wish);
      return tokensPerSecond(world, 10);
    });
    return capped / free;
  };
  const [decode, prefill] = [kept(32, DECODE), kept(8, PREFILL)];

  it('costs less than 40 % of decode speed', () => {
    expect(decode).toBeGreaterThan(0.6);
    expect(decode).toBeLessThanOrEqual(1);
  });

  it('costs prefill more, which is compute-bound', () => {
    expect(prefill).toBeLessThan(0.85);
    expect(prefill).toBeLessThan(decode);
  });
});

it.each([
  { rise: 20, throttles: false, from: 0.98, to: 1.02 },
  { rise: 45, throttles: true, from: 0.3, to: 0.97 },
])('air that is $rise C warmer leaves $from to $to of the tokens per second', (row) => {
  const world = h100();
  keepBusy(world, 256, DECODE);
  const cool = tokensPerSecond(world, 60);
  world.gpu(0).faults.ambientRiseCelsius = row.rise;
  const warm = tokensPerSecond(world, 200);
  expect(world.gpu(0).state().clockEvents.includes('sw_thermal_slowdown')).toBe(row.throttles);
  expect(warm / cool).toBeGreaterThan(row.from);
  expect(warm / cool).toBeLessThan(row.to);
});
