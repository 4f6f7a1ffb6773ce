import type { KvLease, KvMemory, KvUsage, KvWish } from './kv-cache.ts';

interface Slot {
  readonly id: number;
  busy: boolean;
  /** The prefix whose first tokens are still in it. */
  key: string | undefined;
  keyTokens: number;
  /** Cells that are filled, of this sequence or the one before. */
  tokens: number;
  /** Order of use: the lowest was used the longest ago. */
  used: number;
}

/**
 * Memory divided into slots of the same size, as llama.cpp's server has it: one sequence per slot, and a slot keeps the
 * last sequence's tokens. A new one gets the free slot that shares the longest beginning with it, else the one that was
 * used the longest ago (`get_available_slot` of tools/server/server.cpp).
 */
export class SlotCache implements KvMemory {
  private readonly slots: readonly Slot[];
  private uses = 0;
  private usableSlots: number;
  private readonly slotTokens: number;
  private readonly blockTokens: number;
  private readonly prefixCaching: boolean;

  constructor(slots: number, slotTokens: number, blockTokens: number, prefixCaching: boolean) {
    this.slotTokens = slotTokens;
    this.blockTokens = blockTokens;
    this.prefixCaching = prefixCaching;
    this.slots = Array.from({ length: slots }, (_, id) => ({
      id,
      busy: false,
      key: undefined,
      keyTokens: 0,
      tokens: 0,
      used: 0,
    }));
    this.usableSlots = slots;
  }

  admit(wish: KvWish): KvLease | undefined {
    if (this.busySlots() >= this.usableSlots) return undefined;
    const slot = this.bestSlot(wish);
    if (slot === undefined) return undefined;
    const cachedTokens = this.sharedTokens(slot, wish);
    this.uses += 1;
    slot.busy = true;
    slot.used = this.uses;
    slot.key = wish.prefix?.key;
    slot.keyTokens = cachedTokens;
    slot.tokens = cachedTokens;
    return this.lease(slot, cachedTokens, wish.prefix?.tokens ?? 0);
  }

  hold(ratio: number): void {
    this.usableSlots = Math.ceil(this.slots.length * (1 - Math.min(Math.max(ratio, 0), 1)));
  }

  usage(): KvUsage {
    let [usedBlocks, cachedBlocks] = [0, 0];
    for (const slot of this.slots) {
      const blocks = Math.ceil(slot.tokens / this.blockTokens);
      if (slot.busy) usedBlocks += blocks;
      else cachedBlocks += blocks;
    }
    const capacityBlocks = this.slots.length * Math.ceil(this.slotTokens / this.blockTokens);
    return { capacityBlocks, usedBlocks, cachedBlocks };
  }

  private lease(slot: Slot, cachedTokens: number, prefixTokens: number): KvLease {
    return {
      cachedTokens,
      slot: slot.id,
      grow: (tokens) => {
        // Beyond its end a context is shifted, not grown.
        slot.tokens = Math.min(Math.max(slot.tokens, tokens), this.slotTokens);
        return true;
      },
      computed: (tokens) => {
        slot.keyTokens = Math.min(tokens, prefixTokens);
      },
      release: () => {
        slot.busy = false;
      },
    };
  }

  private bestSlot(wish: KvWish): Slot | undefined {
    let best: Slot | undefined;
    let bestTokens = 0;
    for (const slot of this.slots) {
      if (slot.busy) continue;
      const tokens = this.sharedTokens(slot, wish);
      if (best === undefined || tokens > bestTokens || (tokens === bestTokens && slot.used < best.used)) {
        best = slot;
        bestTokens = tokens;
      }
    }
    return best;
  }

  private sharedTokens(slot: Slot, { prefix, tokens }: KvWish): number {
    if (!this.prefixCaching || prefix === undefined || slot.key !== prefix.key) return 0;
    return Math.max(Math.min(slot.keyTokens, prefix.tokens, tokens - 1), 0);
  }

  private busySlots(): number {
    return this.slots.reduce((count, slot) => count + (slot.busy ? 1 : 0), 0);
  }
}
