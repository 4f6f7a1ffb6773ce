import fc from 'fast-check';
import { BlockCache, type KvLease, type KvWish } from './kv-cache.ts';

const wish = (tokens: number, prefix?: KvWish['prefix'], chunkTokens = tokens): KvWish => ({
  tokens,
  chunkTokens,
  reservedTokens: 0,
  prefix,
});

function admitted(cache: BlockCache, wanted: KvWish): KvLease {
  const lease = cache.admit(wanted);
  if (lease === undefined) throw new Error('no room');
  return lease;
}

/** A whole request: computed, and gone. */
function serve(cache: BlockCache, tokens: number, prefix: KvWish['prefix']): number {
  const lease = admitted(cache, wish(tokens, prefix));
  lease.computed(tokens);
  lease.release();
  return lease.cachedTokens;
}

describe('blocks', () => {
  it.each([
    { tokens: 1, used: 1 },
    { tokens: 16, used: 1 },
    { tokens: 17, used: 2 },
    { tokens: 160, used: 10 },
  ])('$tokens tokens take $used of 16 tokens each', ({ tokens, used }) => {
    const cache = new BlockCache(10, 16, true);
    const lease = admitted(cache, wish(tokens));
    expect(cache.usage()).toEqual({ capacityBlocks: 10, usedBlocks: used, cachedBlocks: 0 });
    lease.release();
    expect(cache.usage().usedBlocks).toBe(0);
  });

  it('are refused beyond the capacity, and nothing changes', () => {
    const cache = new BlockCache(10, 16, true);
    expect(cache.admit(wish(161))).toBeUndefined();
    const lease = admitted(cache, wish(160));
    expect(lease.grow(160)).toBe(true);
    expect(lease.grow(161)).toBe(false);
    expect(cache.usage().usedBlocks).toBe(10);
  });

  it('are taken for the first chunk, or for all that is reserved', () => {
    const cache = new BlockCache(10, 16, true);
    admitted(cache, wish(100, undefined, 32));
    expect(cache.usage().usedBlocks).toBe(2);
    admitted(cache, { ...wish(32), reservedTokens: 128 });
    expect(cache.usage().usedBlocks).toBe(10);
  });
});

describe('prefix cache', () => {
  const prefix = { key: 'system', tokens: 40 };

  it('gives the full blocks of a prefix to the next with the same key, and to no other', () => {
    const cache = new BlockCache(20, 16, true);
    expect(serve(cache, 100, prefix)).toBe(0);
    expect(cache.usage()).toMatchObject({ usedBlocks: 0, cachedBlocks: 2 });
    expect(serve(cache, 100, { key: 'other', tokens: 40 })).toBe(0);
    expect(serve(cache, 100, prefix)).toBe(32);
  });

  it('keeps nothing when it is off', () => {
    const cache = new BlockCache(20, 16, false);
    serve(cache, 100, prefix);
    expect(cache.usage().cachedBlocks).toBe(0);
    expect(serve(cache, 100, prefix)).toBe(0);
  });

  it('leaves the last token of a prompt to be computed', () => {
    const cache = new BlockCache(20, 16, true);
    const whole = { key: 'whole', tokens: 32 };
    serve(cache, 32, whole);
    expect(serve(cache, 32, whole)).toBe(16);
    expect(serve(cache, 33, whole)).toBe(32);
  });

  it('serves what is computed so far while its first user still runs, and counts it once', () => {
    const cache = new BlockCache(20, 16, true);
    const first = admitted(cache, wish(100, prefix));
    first.computed(20);
    const second = admitted(cache, wish(100, prefix));
    expect(second.cachedTokens).toBe(16);
    expect(cache.usage().usedBlocks).toBe(7 + 6);
    first.release();
    expect(cache.usage()).toMatchObject({ usedBlocks: 7, cachedBlocks: 0 });
  });

  it('gives back the second copy of a block that two computed at once', () => {
    const cache = new BlockCache(20, 16, true);
    const [first, second] = [admitted(cache, wish(64, prefix)), admitted(cache, wish(64, prefix))];
    first.computed(64);
    second.computed(64);
    expect(cache.usage().usedBlocks).toBe(4 + 2);
    first.release();
    second.release();
    expect(cache.usage()).toMatchObject({ usedBlocks: 0, cachedBlocks: 2 });
  });

  it('drops the least recently used first, from the end of the prefix', () => {
    const cache = new BlockCache(4, 16, true);
    serve(cache, 33, { key: 'a', tokens: 32 });
    serve(cache, 33, { key: 'b', tokens: 32 });
    expect(serve(cache, 33, { key: 'b', tokens: 32 })).toBe(32);
    // Three blocks for it: one is free after a lost its own.
    admitted(cache, wish(40)).release();
    expect(serve(cache, 17, { key: 'a', tokens: 32 })).toBe(0);
    expect(serve(cache, 33, { key: 'b', tokens: 32 })).toBe(16);
  });
});

it('counts what a sequence would share as taken, when nobody else does yet', () => {
  const cache = new BlockCache(4, 16, true);
  serve(cache, 33, { key: 'a', tokens: 32 });
  admitted(cache, wish(16));
  expect(cache.admit(wish(64, { key: 'a', tokens: 32 }))).toBeUndefined();
  expect(cache.usage()).toEqual({ capacityBlocks: 4, usedBlocks: 1, cachedBlocks: 2 });
  expect(cache.admit(wish(48, { key: 'a', tokens: 32 }))?.cachedTokens).toBe(32);
  expect(cache.usage()).toEqual({ capacityBlocks: 4, usedBlocks: 4, cachedBlocks: 0 });
});

describe('what something else holds', () => {
  it('is used, cannot be taken, and drives out what is cached', () => {
    const cache = new BlockCache(10, 16, true);
    serve(cache, 160, { key: 'a', tokens: 160 });
    cache.hold(0.8);
    expect(cache.usage()).toEqual({ capacityBlocks: 10, usedBlocks: 8, cachedBlocks: 2 });
    expect(cache.admit(wish(33))).toBeUndefined();
    cache.hold(0);
    expect(cache.admit(wish(33))).toBeDefined();
  });

  it('takes nothing from those who run', () => {
    const cache = new BlockCache(10, 16, true);
    const lease = admitted(cache, wish(96, { key: 'a', tokens: 96 }));
    lease.computed(96);
    cache.hold(0.9);
    expect(cache.usage()).toEqual({ capacityBlocks: 10, usedBlocks: 10, cachedBlocks: 0 });
    expect([lease.grow(96), lease.grow(97)]).toEqual([true, false]);
    lease.release();
    expect(cache.usage()).toEqual({ capacityBlocks: 10, usedBlocks: 9, cachedBlocks: 1 });
  });
});

it('never counts more than there is, whatever comes and goes', () => {
  const action = fc.oneof(
    fc.record({
      do: fc.constant('admit' as const),
      tokens: fc.integer({ min: 1, max: 200 }),
      key: fc.integer({ min: 0, max: 3 }),
    }),
    fc.record({
      do: fc.constant('compute' as const),
      lease: fc.nat(9),
      tokens: fc.integer({ min: 1, max: 250 }),
    }),
    fc.record({ do: fc.constant('release' as const), lease: fc.nat(9) }),
    fc.record({
      do: fc.constant('hold' as const),
      ratio: fc.integer({ min: 0, max: 10 }).map((tenths) => tenths / 10),
    }),
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 80 }), (actions) => {
      const cache = new BlockCache(20, 16, true);
      const leases: KvLease[] = [];
      for (const step of actions) {
        if (step.do === 'admit') {
          const lease = cache.admit(wish(step.tokens, { key: `k${step.key}`, tokens: step.tokens }));
          if (lease !== undefined) leases.push(lease);
        } else if (step.do === 'compute') {
          const lease = leases[step.lease];
          if (lease?.grow(step.tokens) === true) lease.computed(step.tokens);
        } else if (step.do === 'release') {
          for (const lease of leases.splice(step.lease, 1)) lease.release();
        } else {
          cache.hold(step.ratio);
        }
        const { usedBlocks, cachedBlocks, capacityBlocks } = cache.usage();
        expect(usedBlocks + cachedBlocks).toBeLessThanOrEqual(capacityBlocks);
        expect(Math.min(usedBlocks, cachedBlocks)).toBeGreaterThanOrEqual(0);
      }
      cache.hold(0);
      for (const lease of leases) lease.release();
      expect(cache.usage().usedBlocks).toBe(0);
      expect(cache.admit(wish(20 * 16))).toBeDefined();
      expect(cache.usage()).toEqual({ capacityBlocks: 20, usedBlocks: 20, cachedBlocks: 0 });
    }),
    { seed: 4, numRuns: 300 },
  );
});
