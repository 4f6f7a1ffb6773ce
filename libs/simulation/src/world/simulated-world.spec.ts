import { renderExposition } from '@llm-monitor/metrics-core';

import { BUILT_IN_SCENARIOS } from '../scenario/built-in/built-in.ts';
import { worldOf } from './test-world.ts';
import { truthFamilies } from './truth-families.ts';
import type { SimulatedWorld } from './simulated-world.ts';

function truth(world: SimulatedWorld): string {
  return renderExposition(truthFamilies(world), 'text');
}

function demo(): SimulatedWorld {
  return worldOf(BUILT_IN_SCENARIOS['demo'] ?? '');
}

describe.each(Object.keys(BUILT_IN_SCENARIOS).filter((name) => name !== 'rack'))(
  'the scenario %s',
  (name) => {
    const world = worldOf(BUILT_IN_SCENARIOS[name] ?? '');
    world.runUntil(600);

    it('serves its users with every engine', () => {
      for (const { now } of world.engines) {
        expect(now.state()).toMatchObject({ condition: 'serving' });
        expect(now.state().generatedTokens).toBeGreaterThan(0);
      }
    });

    it('keeps the books of every engine', () => {
      expect(world.engines.flatMap(({ now }) => now.audit())).toEqual([]);
    });

    it('has no GPU beyond what its board can', () => {
      for (const gpu of world.gpus) {
        const state = gpu.state();
        expect(state.utilizationRatio).toBeGreaterThanOrEqual(0);
        expect(state.utilizationRatio).toBeLessThanOrEqual(1);
        expect(state.memoryUsedBytes).toBeLessThanOrEqual(state.board.memoryBytes);
        expect(state.powerWatts).toBeLessThanOrEqual(state.powerLimitWatts * 1.1);
        expect(state.coreCelsius).toBeLessThan(state.board.thermal.slowdownCelsius + 5);
      }
    });
  },
);

describe('a world', () => {
  it('is the same for the same seed, whatever the steps in which time passes', () => {
    const [one, other] = [demo(), demo()];
    one.runUntil(120);
    for (let second = 1; second <= 120; second += 1) other.runUntil(second);
    expect(truth(one)).toBe(truth(other));
  });

  it('is another for another seed', () => {
    const other = worldOf((BUILT_IN_SCENARIOS['demo'] ?? '').replace(/^seed: .*$/m, 'seed: another'));
    const one = demo();
    one.runUntil(60);
    other.runUntil(60);
    expect(truth(one)).not.toBe(truth(other));
  });

  it('prints no series twice', () => {
    const world = demo();
    world.runUntil(30);
    const series = truth(world)
      .split('\n')
      .filter((line) => !line.startsWith('#'))
      .map((line) => line.replace(/ \S+$/, ''));
    expect(new Set(series).size).toBe(series.length);
  });
});
