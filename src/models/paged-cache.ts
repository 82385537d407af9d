// Keys and values of many sequences in pages of one memory, and the step that runs tokens of several sequences at once.
// Which page belongs to whom is the scheduler's business (`serve/page-pool.ts`).

import { cacheWrite_, pagedAttention } from "../ops/index.js";
import { empty, keep, type Tensor, tensor } from "../tensor/index.js";

export interface PagedCacheShape {
  readonly layers: number;
  readonly kvHeads: number;
  /** Size of a head's key, and of its value. */
  readonly headDim: number;
  readonly valueDim: number;
  readonly device: string;
  readonly dtype: "f32" | "f16" | "bf16";
}

/** Memory for `pages` pages of `pageSize` tokens in every layer. */
export class PagedCache {
  readonly #keys: readonly Tensor[];
  readonly #values: readonly Tensor[];

  constructor(
    readonly shape: PagedCacheShape,
    readonly pages: number,
    readonly pageSize: number,
  ) {
    const { layers, kvHeads, headDim, valueDim, dtype, device } = shape;
    const room = (width: number): Tensor[] =>
      Array.from({ length: layers }, () => keep(empty([pages, pageSize, kvHeads, width], { dtype, device })));
    this.#keys = room(headDim);
    this.#values = room(valueDim);
  }

  /** Bytes that a token takes in all layers. */
  static bytesPerToken({ layers, kvHeads, headDim, valueDim, dtype }: PagedCacheShape): number {
    return layers * kvHeads * (headDim + valueDim) * (dtype === "f32" ? 4 : 2);
  }

  layer(i: number): { readonly keys: Tensor; readonly values: Tensor } {
    return { keys: this.#keys[i]!, values: this.#values[i]! };
  }

  dispose(): void {
    for (const t of [...this.#keys, ...this.#values]) t.dispose();
  }
}

/** What one sequence adds in a step. */
export interface StepPart {
  /** Its pages in order, with room for all its tokens. */
  readonly pages: readonly number[];
  /** Tokens that stand in the pages already. */
  readonly past: number;
  /** New tokens. */
  readonly tokens: readonly number[];
}

/**
 * New tokens of several sequences, one behind the other. Make one inside a scope: its tables live as long as that.
 *
 * @example
 * const step = new PagedStep(cache, [{ pages: [3, 0], past: 17, tokens: [5] }]);
 * const logits = model.forwardStep(step);   // [1, vocab]: the next token of each sequence
 */
export class PagedStep {
  /** `[1, tokens]` i64. */
  readonly ids: Tensor;
  /** Position of each token in its sequence, i64 `[tokens]`. */
  readonly positions: Tensor;
  /** Which tokens are the last of their sequences, i64 `[sequences]`. */
  readonly last: Tensor;
  readonly #slots: Tensor;
  readonly #table: Tensor;
  readonly #starts: Tensor;
  readonly #lengths: Tensor;
  readonly #maxQ: number;
  readonly #maxK: number;

  constructor(
    readonly cache: PagedCache,
    readonly parts: readonly StepPart[],
  ) {
    const { device } = cache.shape;
    const size = cache.pageSize;
    const ids: number[] = [];
    const positions: number[] = [];
    const slots: number[] = [];
    const starts = [0];
    for (const { pages, past, tokens } of parts) {
      for (const [i, id] of tokens.entries()) {
        const at = past + i;
        ids.push(id);
        positions.push(at);
        slots.push(pages[Math.floor(at / size)]! * size + (at % size));
      }
      starts.push(ids.length);
    }
    const lengths = parts.map((p) => p.past + p.tokens.length);
    const wide = (list: readonly number[], shape: number[]): Tensor =>
      tensor(BigInt64Array.from(list, BigInt), { shape, device });
    const narrow = (list: Iterable<number>, shape: number[]): Tensor =>
      tensor(Int32Array.from(list), { shape, device });
    this.ids = wide(ids, [1, ids.length]);
    this.positions = wide(positions, [ids.length]);
    this.last = wide(
      starts.slice(1).map((s) => s - 1),
      [parts.length],
    );
    this.#slots = wide(slots, [slots.length]);
    this.#starts = narrow(starts, [starts.length]);
    this.#lengths = narrow(lengths, [lengths.length]);
    this.#maxQ = Math.max(...parts.map((p) => p.tokens.length));
    this.#maxK = Math.max(...lengths);
    // A multiple of a few pages, so that growing sequences keep the shape.
    const columns = 8 * Math.ceil(Math.max(...parts.map((p) => p.pages.length)) / 8);
    const table = new Int32Array(parts.length * columns);
    for (const [i, p] of parts.entries()) table.set(p.pages, i * columns);
    this.#table = narrow(table, [parts.length, columns]);
  }

  /**
   * Writes the new keys and values of a layer and attends to all of each sequence's.
   * @param q, k, v `[1, heads, tokens, size]`
   * @returns `[1, heads, tokens, valueSize]`
   */
  attend(
    layer: number,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options: { readonly window?: readonly [number, number]; readonly scale?: number },
  ): Tensor {
    const { keys, values } = this.cache.layer(layer);
    /** `[tokens, heads, size]` */
    const packed = (t: Tensor): Tensor => t.squeeze(0).transpose(0, 1);
    cacheWrite_(keys, this.#slots, packed(k));
    cacheWrite_(values, this.#slots, packed(v));
    const y = pagedAttention(
      packed(q),
      keys,
      values,
      this.#table,
      this.#starts,
      this.#lengths,
      this.#maxQ,
      this.#maxK,
      { isCausal: true, ...options },
    );
    return y.transpose(0, 1).unsqueeze(0);
  }
}
