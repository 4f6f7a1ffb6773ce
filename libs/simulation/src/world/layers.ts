/**
 * What several incidents may set at once, by name: the last one that began is in force, and when it ends the one before
 * it is again.
 */
export class Layers {
  private readonly active = new Map<string, unknown[]>();

  /**
   * @param key what is set, such as `engine/chat/kvHeldRatio`
   * @param ordinary in force while nothing is set
   * @returns what takes the value back
   */
  set<Value>(key: string, value: Value, ordinary: Value, apply: (value: Value) => void): () => void {
    const layers = this.layersOf<Value>(key);
    const layer = { value };
    layers.push(layer);
    apply(value);
    return () => {
      const place = layers.indexOf(layer);
      if (place < 0) return;
      layers.splice(place, 1);
      apply((layers.at(-1) ?? { value: ordinary }).value);
    };
  }

  /** Whether something is set by that name. */
  isSet(key: string): boolean {
    return (this.active.get(key) ?? []).length > 0;
  }

  private layersOf<Value>(key: string): { readonly value: Value }[] {
    const layers = this.active.get(key) ?? [];
    this.active.set(key, layers);
    return layers as { readonly value: Value }[];
  }
}
