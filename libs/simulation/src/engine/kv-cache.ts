/** What a sequence asks of the memory for keys and values before it may run. */
export interface KvWish {
  /** Tokens known so far: the prompt, and after a preemption what was generated. */
  readonly tokens: number;
  /** How many of the uncached ones the first step would compute at most. */
  readonly chunkTokens: number;
  /** Tokens for which room is taken at once, for engines that do so; 0 else. */
  readonly reservedTokens: number;
  readonly prefix: { readonly key: string; readonly tokens: number } | undefined;
}

/** Room that one sequence holds. */
export interface KvLease {
  /** Tokens at the start of the sequence that need not be computed. */
  readonly cachedTokens: number;
  /** The slot, for memory that is divided into slots. */
  readonly slot: number | undefined;
  /** Makes sure that there is room for so many tokens. @returns false, and nothing changes, when there is none */
  grow(tokens: number): boolean;
  /** Told that the first so many tokens of the prompt are in; those of a shared prefix can serve others from now on. */
  computed(tokens: number): void;
  release(): void;
}

export interface KvUsage {
  readonly capacityBlocks: number;
  readonly usedBlocks: number;
  readonly cachedBlocks: number;
}

/** Memory for keys and values, as a batch sees it. */
export interface KvMemory {
  /** @returns undefined, and nothing changes, while there is no room for the first chunk */
  admit(wish: KvWish): KvLease | undefined;
  /** Something else holds that share of it from now on; what sequences hold is not taken from them. */
  hold(ratio: number): void;
  usage(): KvUsage;
}

/** A block of a shared prefix. Idle ones (no references) are linked from the one that goes first to the one that goes last. */
interface CachedBlock {
  readonly key: string;
  references: number;
  earlier: CachedBlock | undefined;
  later: CachedBlock | undefined;
}

/**
 * Blocks of keys and values with a prefix cache, as vLLM's KVCacheManager keeps them. Only full blocks are shared. Blocks
 * of a prefix that nobody references stay until their room is wanted, least recently used first; those of one prefix go
 * from its end (they are released in reverse order, as in vLLM), so what is cached of a prefix is always its beginning.
 *
 * Blocks that are not shared are alike: they are counted, not listed. When two sequences compute the same block at the same
 * time, the second gives its copy back; vLLM would keep it until that sequence ends.
 */
export class BlockCache implements KvMemory {
  private readonly prefixes = new Map<string, CachedBlock[]>();
  private ownBlocks = 0;
  private sharedBlocks = 0;
  private idleBlocks = 0;
  private heldBlocks = 0;
  private first: CachedBlock | undefined;
  private last: CachedBlock | undefined;
  private readonly capacityBlocks: number;
  private readonly blockTokens: number;
  private readonly prefixCaching: boolean;

  constructor(capacityBlocks: number, blockTokens: number, prefixCaching: boolean) {
    this.capacityBlocks = capacityBlocks;
    this.blockTokens = blockTokens;
    this.prefixCaching = prefixCaching;
  }

  admit(wish: KvWish): KvLease | undefined {
    const cached = this.cachedStart(wish);
    const room = Math.max(
      Math.min(wish.tokens, cached.length * this.blockTokens + wish.chunkTokens),
      wish.reservedTokens,
    );
    const wanted = Math.ceil(room / this.blockTokens) - cached.length;
    // Idle blocks that the sequence will share are no longer there to be taken.
    const awakened = cached.reduce((count, block) => count + (block.references === 0 ? 1 : 0), 0);
    if (wanted + awakened > this.freeBlocks()) return undefined;
    for (const block of cached) this.reference(block);
    const lease = new BlockLease(
      this,
      cached,
      this.prefixCaching ? wish.prefix : undefined,
      this.blockTokens,
    );
    lease.grow(room);
    return lease;
  }

  hold(ratio: number): void {
    this.heldBlocks = Math.floor(this.capacityBlocks * Math.min(Math.max(ratio, 0), 1));
    this.evictBeyondCapacity();
  }

  usage(): KvUsage {
    const taken = this.ownBlocks + this.sharedBlocks;
    const held = Math.min(this.heldBlocks, this.capacityBlocks - taken);
    return { capacityBlocks: this.capacityBlocks, usedBlocks: taken + held, cachedBlocks: this.idleBlocks };
  }

  /** @returns false, and nothing changes, when so many are not free */
  take(blocks: number): boolean {
    if (blocks > this.freeBlocks()) return false;
    this.ownBlocks += blocks;
    this.evictBeyondCapacity();
    return true;
  }

  giveBack(blocks: number): void {
    this.ownBlocks -= blocks;
  }

  /** One of a sequence's own blocks holds the prefix's block of that place now. */
  share(key: string, place: number): CachedBlock {
    const known = this.prefixes.get(key)?.[place];
    this.ownBlocks -= 1;
    if (known !== undefined) {
      this.reference(known);
      return known;
    }
    const block: CachedBlock = { key, references: 1, earlier: undefined, later: undefined };
    const blocks = this.prefixes.get(key);
    if (blocks === undefined) this.prefixes.set(key, [block]);
    else blocks.push(block);
    this.sharedBlocks += 1;
    return block;
  }

  release(block: CachedBlock): void {
    block.references -= 1;
    if (block.references > 0) return;
    this.sharedBlocks -= 1;
    this.idleBlocks += 1;
    block.earlier = this.last;
    if (this.last === undefined) this.first = block;
    else this.last.later = block;
    this.last = block;
    this.evictBeyondCapacity();
  }

  private reference(block: CachedBlock): void {
    if (block.references === 0) {
      this.unlink(block);
      this.sharedBlocks += 1;
    }
    block.references += 1;
  }

  /** At least one token is left to compute, because the next one follows from it. */
  private cachedStart({ prefix, tokens }: KvWish): CachedBlock[] {
    if (!this.prefixCaching || prefix === undefined) return [];
    const most = Math.floor(Math.min(prefix.tokens, tokens - 1) / this.blockTokens);
    return this.prefixes.get(prefix.key)?.slice(0, Math.max(most, 0)) ?? [];
  }

  private freeBlocks(): number {
    return this.capacityBlocks - this.heldBlocks - this.ownBlocks - this.sharedBlocks;
  }

  private evictBeyondCapacity(): void {
    while (this.first !== undefined && this.idleBlocks > Math.max(this.freeBlocks(), 0)) {
      const { key } = this.first;
      this.unlink(this.first);
      const blocks = this.prefixes.get(key);
      blocks?.pop();
      if (blocks?.length === 0) this.prefixes.delete(key);
    }
  }

  private unlink(block: CachedBlock): void {
    if (block.earlier === undefined) this.first = block.later;
    else block.earlier.later = block.later;
    if (block.later === undefined) this.last = block.earlier;
    else block.later.earlier = block.earlier;
    block.earlier = undefined;
    block.later = undefined;
    this.idleBlocks -= 1;
  }
}

class BlockLease implements KvLease {
  readonly cachedTokens: number;
  readonly slot = undefined;
  private ownBlocks = 0;
  private readonly cache: BlockCache;
  private readonly shared: CachedBlock[];
  private readonly prefix: KvWish['prefix'];
  private readonly blockTokens: number;

  constructor(cache: BlockCache, shared: CachedBlock[], prefix: KvWish['prefix'], blockTokens: number) {
    this.cache = cache;
    this.shared = shared;
    this.prefix = prefix;
    this.blockTokens = blockTokens;
    this.cachedTokens = shared.length * blockTokens;
  }

  grow(tokens: number): boolean {
    const wanted = Math.ceil(tokens / this.blockTokens) - this.ownBlocks - this.shared.length;
    if (wanted <= 0) return true;
    if (!this.cache.take(wanted)) return false;
    this.ownBlocks += wanted;
    return true;
  }

  computed(tokens: number): void {
    if (this.prefix === undefined) return;
    const full = Math.floor(Math.min(tokens, this.prefix.tokens) / this.blockTokens);
    while (this.shared.length < full) {
      this.shared.push(this.cache.share(this.prefix.key, this.shared.length));
      this.ownBlocks -= 1;
    }
  }

  release(): void {
    this.cache.giveBack(this.ownBlocks);
    this.ownBlocks = 0;
    for (let block = this.shared.pop(); block !== undefined; block = this.shared.pop())
      this.cache.release(block);
  }
}
