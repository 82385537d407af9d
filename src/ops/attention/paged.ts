// Attention to keys and values that stand in the pages of a cache: decoding and prompts in chunks, for many sequences at
// once. The kernels are those of `fused.ts`; there is no gradient.

import { type Operator, operator, showShape, type Tensor } from "../../tensor/index.js";
import {
  checkStarts,
  emptyHeads,
  emptyLogs,
  type FusedOptions,
  stridesOf,
  type Window,
  windowOf,
} from "./fused.js";
import { launchForward, type Strides } from "./launch.js";

/** A cache `[pages, page size, heads, size]` seen by sequence: its batch is the page. */
const pageStrides = (t: Tensor): Strides => [t.strides[0]!, t.strides[2]!, t.strides[1]!];

const DTYPES = new Set(["f32", "f16", "bf16"]);
const NAME = "paged_attention";

function check(q: Tensor, k: Tensor, v: Tensor, table: Tensor, startsQ: Tensor, lengths: Tensor): void {
  const fail = (why: string): never => {
    throw new RangeError(
      `${NAME} takes ${why} (query ${showShape(q.shape)}, key cache ${showShape(k.shape)}, value cache ${showShape(v.shape)}, block table ${showShape(table.shape)})`,
    );
  };
  if (q.ndim !== 3) fail("queries [tokens, heads, size]");
  if (k.ndim !== 4 || v.ndim !== 4) fail("caches [pages, page size, key heads, size]");
  if (q.dtype !== k.dtype || q.dtype !== v.dtype || !DTYPES.has(q.dtype))
    fail(`one dtype of f32, f16 and bf16, not ${q.dtype}, ${k.dtype} and ${v.dtype}`);
  if (q.shape[2] !== k.shape[3] || q.shape[2]! > 256 || v.shape[3]! > 256)
    fail("query and key rows of one size, at most 256");
  if (k.shape[2] === 0 || q.shape[1]! % k.shape[2]! !== 0 || v.shape[2] !== k.shape[2])
    fail("heads that share the key heads evenly");
  if (k.shape[0] !== v.shape[0] || k.shape[1] !== v.shape[1] || k.shape[1] === 0)
    fail("as many pages of one size for values as for keys");
  if (table.ndim !== 2 || table.dtype !== "i32" || table.strides[1] !== 1)
    fail(`a block table [sequences, pages of one] of i32, not ${table.dtype}`);
  checkStarts(NAME, "cu_seqlens_q", startsQ);
  checkStarts(NAME, "seqlens_k", lengths);
  if (startsQ.numel !== lengths.numel + 1 || table.shape[0] !== lengths.numel)
    fail(
      `a block table, cu_seqlens_q and seqlens_k of as many sequences, not ${table.shape[0]}, ${startsQ.numel - 1} and ${lengths.numel}`,
    );
  for (const [what, t] of [
    ["queries", q],
    ["keys", k],
    ["values", v],
  ] as const)
    if (t.strides.at(-1) !== 1 && t.shape.at(-1) !== 1) fail(`${what} whose rows stand side by side`);
}

/**
 * Attention of packed queries to keys and values in pages: one query a sequence decodes, many are a prompt or a chunk of
 * one, and both may stand in one call. The keys of a call's own tokens are in the cache already; the last query of a
 * sequence stands at the place of its last key.
 *
 * Few queries (16 rows of heads that share a key head, or less) walk parts of 512 keys side by side, whatever the batch, or of
 * `options.part` keys (a power of two from 16): shorter ones suit few sequences, and longer ones many.
 *
 * @param query `[tokens, heads, size]`, f32, f16 or bf16, sequences one behind the other
 * @param keyCache, valueCache `[pages, page size, keyHeads, size]`
 * @param blockTable i32 `[sequences, pages]`: the pages of each sequence, in order; entries behind its end are not read
 * @param cuSeqlensQ i32 `[sequences + 1]`: where each sequence's queries begin, and at last where all end
 * @param seqlensK i32 `[sequences]`: the keys of each
 * @param maxQ, maxK the most queries and keys of one sequence
 * @returns `[tokens, heads, valueSize]`
 * @throws RangeError for shapes that do not fit
 *
 * @example
 * keyCache.view([-1, keyHeads, size]).indexCopy_(0, slots, k); // slot = page * pageSize + place in the page
 * valueCache.view([-1, keyHeads, size]).indexCopy_(0, slots, v);
 * pagedAttention(q, keyCache, valueCache, table, starts, lengths, 1, 4096, { isCausal: true });
 *
 * After Kwon et al., 2023.
 */
export const pagedAttention: Operator<
  (
    query: Tensor,
    keyCache: Tensor,
    valueCache: Tensor,
    blockTable: Tensor,
    cuSeqlensQ: Tensor,
    seqlensK: Tensor,
    maxQ: number,
    maxK: number,
    options?: FusedOptions & { readonly part?: number },
  ) => Tensor
> = operator({
  schema:
    "vexil::paged_attention(Tensor query, Tensor key_cache, Tensor value_cache, Tensor block_table, Tensor cu_seqlens_q, Tensor seqlens_k, SymInt max_q, SymInt max_k, *, bool is_causal=False, int[2] window=[-1, -1], float softcap=0.0, float? scale=None, int part=0) -> Tensor",
  method: false,
  replay: true,
  run: (
    q: Tensor,
    k: Tensor,
    v: Tensor,
    table: Tensor,
    startsQ: Tensor,
    lengths: Tensor,
    maxQ: number,
    maxK: number,
    causal: boolean,
    window: Window,
    softcap: number,
    scale: number | null,
    part: number,
  ) => {
    if (part !== 0 && !(part >= 16 && Number.isInteger(Math.log2(part))))
      throw new RangeError(`${NAME} takes parts of a power of two of keys from 16, not ${part}`);
    check(q, k, v, table, startsQ, lengths);
    const [left, right] = windowOf(NAME, window, causal);
    const size = q.shape[2]!;
    const valueSize = v.shape[3]!;
    const o = emptyHeads(q, valueSize);
    const { lse, strides } = emptyLogs(q);
    launchForward(
      {
        q, k, v, qs: stridesOf(q), ks: pageStrides(k), vs: pageStrides(v), batch: lengths.numel, heads: q.shape[1]!,
        keyHeads: k.shape[2]!, queries: maxQ, keys: maxK, size, valueSize, offset: 0, left, right,
        scale: scale ?? 1 / Math.sqrt(size), softcap, starts: { q: startsQ, k: lengths },
        pages: { table, size: k.shape[1]! }, part,
      }, // biome-ignore format: one line per group
      o,
      stridesOf(o),
      lse,
      strides,
    );
    lse.dispose();
    return o;
  },
  derivative: "none",
  stage: "stable",
  summary: "Attention to a cache in pages",
});
