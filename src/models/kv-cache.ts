// The keys and values of tokens that a model has seen, so that the next token costs one token's work.

import { empty, keep, noGrad, type Tensor } from "../tensor/index.js";

/** Tokens that a fresh cache has room for; it doubles when they are full. */
const FIRST = 64;

/** A cache for one batch of sequences of equal length. Its memory grows with them, up to the capacity. */
export class KvCache {
  readonly #keys: (Tensor | undefined)[];
  readonly #values: (Tensor | undefined)[];
  /** Tokens in the cache. */
  length = 0;

  constructor(
    readonly options: {
      readonly layers: number;
      readonly batch: number;
      readonly kvHeads: number;
      /** Most tokens it holds. */
      readonly capacity: number;
      /** Size of a head's key, and of its value. */
      readonly headDim: number;
      readonly valueDim: number;
      /** Values are the first `valueDim` elements of keys, and stand nowhere else. */
      readonly shared?: boolean;
      readonly device: string;
      readonly dtype: "f32" | "f16" | "bf16";
    },
  ) {
    this.#keys = new Array<undefined>(options.layers).fill(undefined);
    this.#values = new Array<undefined>(options.layers).fill(undefined);
  }

  /**
   * Writes the keys and values `[batch, kvHeads, tokens, size]` of new tokens behind the others, and returns
   * views of all so far. The length moves on with {@link advance}, once all layers have written.
   * @throws RangeError when they do not fit the capacity
   */
  append(layer: number, k: Tensor, v: Tensor): [Tensor, Tensor] {
    const tokens = k.shape[2]!;
    const total = this.length + tokens;
    if (total > this.options.capacity)
      throw new RangeError(`the KV cache holds ${this.options.capacity} tokens; ${total} do not fit`);
    const write = (list: (Tensor | undefined)[], fresh: Tensor): Tensor => {
      const cache = this.#roomFor(list, layer, total, fresh.shape[3]!);
      cache.narrow(2, this.length, tokens).copy_(fresh);
      return cache.narrow(2, 0, total);
    };
    return noGrad(() => {
      const keys = write(this.#keys, k);
      return this.options.shared
        ? [keys, keys.narrow(3, 0, this.options.valueDim)]
        : [keys, write(this.#values, v)];
    });
  }

  /** A layer's tensor `[batch, kvHeads, room, width]` with room for `total` tokens and what it held. */
  #roomFor(list: (Tensor | undefined)[], layer: number, total: number, width: number): Tensor {
    const old = list[layer];
    const room = old?.shape[2] ?? 0;
    if (old && total <= room) return old;
    const { batch, kvHeads, capacity, device, dtype } = this.options;
    let size = Math.max(FIRST, 2 * room);
    while (size < total) size *= 2;
    // It outlives the scope of the call that made it.
    const grown = keep(empty([batch, kvHeads, Math.min(size, capacity), width], { dtype, device }));
    if (old) {
      grown.narrow(2, 0, this.length).copy_(old.narrow(2, 0, this.length));
      old.dispose();
    }
    list[layer] = grown;
    return grown;
  }

  advance(tokens: number): void {
    this.length += tokens;
  }

  dispose(): void {
    for (const list of [this.#keys, this.#values]) {
      for (const t of list) t?.dispose();
      list.fill(undefined);
    }
  }
}
