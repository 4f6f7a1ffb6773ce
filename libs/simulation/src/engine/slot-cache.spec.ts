import { SlotCache } from './slot-cache.ts';
import type { KvLease, KvWish } from './kv-cache.ts';

const wish = (tokens: number, prefix?: KvWish['prefix']): KvWish => ({
  tokens,
  chunkTokens: tokens,
  reservedTokens: 0,
  prefix,
});

function serve(cache: SlotCache, tokens: number, key: string): KvLease {
  const lease = cache.admit(wish(tokens, { key, tokens }));
  if (lease === undefined) throw new Error('no slot');
  lease.grow(tokens);
  lease.computed(tokens);
  lease.release();
  return lease;
}

it('seats one sequence per slot, and no more than there are slots', () => {
  const cache = new SlotCache(2, 1000, 1, true);
  const [first, second] = [cache.admit(wish(10)), cache.admit(wish(10))];
  expect([first?.slot, second?.slot]).toEqual([0, 1]);
  expect(cache.admit(wish(10))).toBeUndefined();
  first?.release();
  expect(cache.admit(wish(10))?.slot).toBe(0);
});

it('keeps the last prompt of a slot for one that begins like it', () => {
  const cache = new SlotCache(2, 1000, 1, true);
  serve(cache, 100, 'a');
  expect(serve(cache, 50, 'b')).toMatchObject({ slot: 1, cachedTokens: 0 });
  expect(serve(cache, 180, 'a')).toMatchObject({ slot: 0, cachedTokens: 100 });
  expect(serve(cache, 50, 'b')).toMatchObject({ slot: 1, cachedTokens: 49 });
});

it('gives a stranger the slot that was used the longest ago, whose tokens are lost', () => {
  const cache = new SlotCache(2, 1000, 1, true);
  serve(cache, 100, 'a');
  serve(cache, 100, 'b');
  expect(serve(cache, 100, 'c').slot).toBe(0);
  expect(serve(cache, 100, 'a').cachedTokens).toBe(0);
});

it('tells cells in use from cells that are kept, and is never fuller than a slot', () => {
  const cache = new SlotCache(2, 1000, 16, true);
  serve(cache, 100, 'a');
  expect(cache.usage()).toEqual({ capacityBlocks: 126, usedBlocks: 0, cachedBlocks: 7 });
  cache.admit(wish(100, { key: 'a', tokens: 100 }))?.grow(5000);
  expect(cache.usage()).toEqual({ capacityBlocks: 126, usedBlocks: 63, cachedBlocks: 0 });
});

it('has fewer slots while something else holds its memory', () => {
  const cache = new SlotCache(4, 1000, 1, true);
  cache.hold(0.5);
  expect([1, 2, 3].map(() => cache.admit(wish(10))?.slot)).toEqual([0, 1, undefined]);
  cache.hold(0);
  expect(cache.admit(wish(10))?.slot).toBe(2);
});
