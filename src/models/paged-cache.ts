// Keys and values of many sequences in pages of one memory, and the step that runs tokens of several sequences at once.
// Which page belongs to whom is the scheduler's business (`serve/page-pool.ts`).

import { cacheTurned_, cacheWrite_, pagedAttention } from "../ops/index.js";
import { empty, isGradEnabled, keep, type Tensor, tensor } from "../tensor/index.js";

export interface PagedCacheShape {
  readonly layers: number;
  readonly kvHeads: number;
  /** Size of a head's key, and of its value. */
  readonly headDim: number;
  readonly valueDim: number;
  /** Values are the first `valueDim` elements of keys, and stand nowhere else. */
  readonly shared?: boolean;
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
    const { layers, kvHeads, headDim, valueDim, shared, dtype, device } = shape;
    const room = (width: number): Tensor[] =>
      Array.from({ length: layers }, () => keep(empty([pages, pageSize, kvHeads, width], { dtype, device })));
    this.#keys = room(headDim);
    this.#values = shared ? this.#keys.map((k) => k.narrow(3, 0, valueDim)) : room(valueDim);
  }

  /** Bytes that a token takes in all layers. */
  static bytesPerToken({ layers, kvHeads, headDim, valueDim, shared, dtype }: PagedCacheShape): number {
    return layers * kvHeads * (headDim + (shared ? 0 : valueDim)) * (dtype === "f32" ? 4 : 2);
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

/** Tokens of several sequences that a model runs at once: a {@link PagedStep}, or the `StepBuffers` that a captured step reads. */
export interface StepInputs {
  /** `[1, tokens]` i64. */
  readonly ids: Tensor;
  /** Position of each token in its sequence, i64 `[tokens]`. */
  readonly positions: Tensor;
  /** Which tokens are the last of their sequences, i64 `[sequences]`. */
  readonly last: Tensor;
  /** Of each sequence, at most: tokens that stand in the pages already, and new ones. */
  readonly spans: readonly { readonly past: number; readonly count: number }[];
  /**
   * Writes the new keys and values of a layer and attends to all of each sequence's.
   * @param q, k, v `[1, heads, tokens, size]`
   * @returns `[1, heads, tokens, valueSize]`
   */
  attend(layer: number, q: Tensor, k: Tensor, v: Tensor, options: AttendOptions): Tensor;
  /**
   * The same from projections, which are normed and turned on the way; undefined where a chip does that better in steps.
   * @returns `[tokens, heads, size]`
   */
  attendProjected?(layer: number, p: Projected, options: AttendOptions): Tensor | undefined;
}

/** Queries, keys and values as projections give them, `[tokens, heads, size]`, and what becomes of them. */
export interface Projected {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly norms: { readonly query: Tensor; readonly key: Tensor; readonly eps: number } | undefined;
  readonly cos: Tensor;
  readonly sin: Tensor;
}

export interface AttendOptions {
  readonly window?: readonly [number, number];
  readonly scale?: number;
}

/** Where new tokens go and what they attend to: i64 `slots` `[tokens]`, the others as `pagedAttention` takes them. */
export interface PagedTables {
  readonly slots: Tensor;
  readonly table: Tensor;
  readonly starts: Tensor;
  readonly lengths: Tensor;
  readonly maxQ: number;
  readonly maxK: number;
  readonly part?: number;
}

/** {@link StepInputs.attend} with tables that stand on the chip. */
export function attendPaged(
  cache: PagedCache,
  t: PagedTables,
  layer: number,
  [q, k, v]: readonly [Tensor, Tensor, Tensor],
  options: AttendOptions,
): Tensor {
  const { keys, values } = cache.layer(layer);
  /** `[tokens, heads, size]` */
  const packed = (x: Tensor): Tensor => x.squeeze(0).transpose(0, 1);
  cacheWrite_(keys, t.slots, packed(k));
  if (!cache.shape.shared) cacheWrite_(values, t.slots, packed(v));
  const { table, starts, lengths, maxQ, maxK, part = 0 } = t;
  const all = { isCausal: true, part, ...options };
  const y = pagedAttention(packed(q), keys, values, table, starts, lengths, maxQ, maxK, all);
  return y.transpose(0, 1).unsqueeze(0);
}

/** {@link StepInputs.attendProjected} with tables that stand on the chip. */
export function attendProjected(
  cache: PagedCache,
  t: PagedTables,
  layer: number,
  p: Projected,
  options: AttendOptions,
): Tensor | undefined {
  const { keys, values } = cache.layer(layer);
  const { headDim, valueDim, shared, dtype } = cache.shape;
  // Where a launch costs nothing to speak of, each step by itself runs along longer vectors.
  const launches = (p.q.chip.capabilities.programThreads ?? 1) > 1;
  if (!launches || shared || headDim !== valueDim || p.q.dtype !== dtype || p.cos.shape[1]! * 2 !== headDim || isGradEnabled()) return undefined; // biome-ignore format: one condition
  const { query, key, eps } = p.norms ?? { query: null, key: null, eps: 0 };
  const q = cacheTurned_(p.q, p.k, p.v, query, key, p.cos, p.sin, t.slots, keys, values, eps);
  const { table, starts, lengths, maxQ, maxK, part = 0 } = t;
  return pagedAttention(q, keys, values, table, starts, lengths, maxQ, maxK, {
    isCausal: true,
    part,
    ...options,
  });
}

/**
 * New tokens of several sequences, one behind the other. Make one inside a scope: its tables live as long as that.
 *
 * @example
 * const step = new PagedStep(cache, [{ pages: [3, 0], past: 17, tokens: [5] }]);
 * const logits = model.forwardStep(step);   // [1, vocab]: the next token of each sequence
 */
export class PagedStep implements StepInputs {
  readonly ids: Tensor;
  readonly positions: Tensor;
  readonly last: Tensor;
  readonly spans: StepInputs["spans"];
  readonly #tables: PagedTables;

  constructor(
    readonly cache: PagedCache,
    parts: readonly StepPart[],
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
    this.spans = parts.map((p) => ({ past: p.past, count: p.tokens.length }));
    const lengths = this.spans.map((p) => p.past + p.count);
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
    // A multiple of a few pages, so that growing sequences keep the shape.
    const columns = 8 * Math.ceil(Math.max(...parts.map((p) => p.pages.length)) / 8);
    const table = new Int32Array(parts.length * columns);
    for (const [i, p] of parts.entries()) table.set(p.pages, i * columns);
    this.#tables = {
      slots: wide(slots, [slots.length]),
      table: narrow(table, [parts.length, columns]),
      starts: narrow(starts, [starts.length]),
      lengths: narrow(lengths, [lengths.length]),
      maxQ: Math.max(...this.spans.map((p) => p.count)),
      maxK: Math.max(...lengths),
    };
  }

  attend(layer: number, q: Tensor, k: Tensor, v: Tensor, options: AttendOptions): Tensor {
    return attendPaged(this.cache, this.#tables, layer, [q, k, v], options);
  }

  attendProjected(layer: number, p: Projected, options: AttendOptions): Tensor | undefined {
    return attendProjected(this.cache, this.#tables, layer, p, options);
  }
}
