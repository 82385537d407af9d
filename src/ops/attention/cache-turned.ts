// What stands between the projections of a layer and attention over a cache in pages, in one launch: the norm of each head of queries and
// keys, their rotation by position, and keys and values into the cache. Each step rounds as the operators do that it stands for
// (`rmsNorm`, `rotary`, `cacheWrite_`).

import { constexpr, f64, helper, i32, i64, ptr } from "../../compiler/lang/index.js";
import { kernel } from "../../runtime/index.js";
import { empty, type Operator, operator, showShape, type Tensor } from "../../tensor/index.js";
import { nextPowerOf2 } from "../rows.js";

/** Both halves of heads that stand at `from`, normed by the weights where there are some, and turned. */
const turnedHalf = helper(
  (
    tl,
    from: number,
    wa: number,
    wb: number,
    c: number,
    s: number,
    inside: boolean,
    half: number,
    eps: number,
    NORM: boolean,
    IN: string,
  ) => {
    const a = tl.cast(tl.load(from, inside, 0), "f32");
    const b = tl.cast(tl.load(from + half, inside, 0), "f32");
    const squares = tl.sum(a * a, 1) + tl.sum(b * b, 1);
    const scale = tl.col(tl.rsqrt(squares / tl.cast(2 * half, "f32") + tl.cast(eps, "f32")));
    const x = NORM ? tl.cast(tl.cast(a * scale * wa, IN as never), "f32") : a;
    const y = NORM ? tl.cast(tl.cast(b * scale * wb, IN as never), "f32") : b;
    return [x * c - y * s, y * c + x * s] as [number, number];
  },
);

/** One program takes `TOKENS` tokens of one head: of queries, then of keys, then of values. */
const fill = kernel(
  // biome-ignore format: one line per group
  { q: ptr, k: ptr, v: ptr, wq: ptr, wk: ptr, cos: ptr, sin: ptr, slots: ptr, y: ptr, keys: ptr, values: ptr, tokens: i32, heads: i32,
    kvHeads: i32, half: i32, qRow: i32, kRow: i32, vRow: i32, turn: i32, room: i64, eps: f64,
    TOKENS: constexpr, HALF: constexpr, NORM: constexpr.bool, EXACT: constexpr.bool, IN: constexpr.dtype, turnedHalf },
  (
    // biome-ignore format: one line per group
    { q, k, v, wq, wk, cos, sin, slots, y, keys, values, tokens, heads, kvHeads, half, qRow, kRow, vRow, turn, room, eps,
      TOKENS, HALF, NORM, EXACT, IN, turnedHalf },
    tl,
  ) => {
    const t = tl.col(tl.programId(0) * TOKENS + tl.arange(0, TOKENS));
    const d = tl.row(tl.arange(0, HALF));
    const head = tl.programId(1);
    const inside = t < tokens && d < half;
    const size = 2 * half;
    // The weights of both norms are read early: no launch before this one writes them.
    const known = EXACT || d < half;
    const qa = NORM ? tl.cast(tl.load(wq + d, known, 0, { early: true }), "f32") : 1;
    const qb = NORM ? tl.cast(tl.load(wq + half + d, known, 0, { early: true }), "f32") : 1;
    const ka = NORM ? tl.cast(tl.load(wk + d, known, 0, { early: true }), "f32") : 1;
    const kb = NORM ? tl.cast(tl.load(wk + half + d, known, 0, { early: true }), "f32") : 1;
    if (head < heads + kvHeads) {
      const c = tl.cast(tl.load(cos + t * turn + d, inside, 0), "f32");
      const s = tl.cast(tl.load(sin + t * turn + d, inside, 0), "f32");
      if (head < heads) {
        const from = q + t * qRow + head * size + d;
        const [first, second] = turnedHalf(from, qa, qb, c, s, inside, half, eps, NORM, IN);
        const to = y + (t * heads + head) * size + d;
        tl.store(to, first, inside);
        tl.store(to + half, second, inside);
      } else {
        const own = head - heads;
        const from = k + t * kRow + own * size + d;
        const [first, second] = turnedHalf(from, ka, kb, c, s, inside, half, eps, NORM, IN);
        const slot = tl.load(slots + t, t < tokens, -1);
        const there = inside && slot >= 0 && slot < room;
        const to = keys + ((slot * kvHeads + own) * size + d);
        tl.store(to, first, there);
        tl.store(to + half, second, there);
      }
    } else {
      const own = head - heads - kvHeads;
      const from = v + t * vRow + own * size + d;
      const slot = tl.load(slots + t, t < tokens, -1);
      const there = inside && slot >= 0 && slot < room;
      const to = values + ((slot * kvHeads + own) * size + d);
      tl.store(to, tl.load(from, inside, 0), there);
      tl.store(to + half, tl.load(from + half, inside, 0), there);
    }
  },
  "cache_turned",
);

/** What {@link cacheTurned_} takes. */
type CacheTurned = (
  q: Tensor,
  k: Tensor,
  v: Tensor,
  queryNorm: Tensor | null,
  keyNorm: Tensor | null,
  cos: Tensor,
  sin: Tensor,
  slots: Tensor,
  keys: Tensor,
  values: Tensor,
  eps: number,
) => Tensor;

/**
 * Norms each head of `q` and `k` (RMS over a head, where both weights are given), turns them by position, and writes keys and values
 * into a cache in pages.
 *
 * @param q `[tokens, heads, size]`; k, v `[tokens, kvHeads, size]`; heads side by side
 * @param queryNorm, keyNorm `[size]`
 * @param cos, sin `[tokens, size / 2]`
 * @param slots, keys, values as `cacheWrite_` takes them
 * @returns the turned queries, `[tokens, heads, size]`
 * @throws RangeError for shapes that do not fit, TypeError for dtypes that differ
 */
export const cacheTurned_: Operator<CacheTurned> = operator({
  schema:
    "vexil::cache_turned_(Tensor q, Tensor k, Tensor v, Tensor? query_norm, Tensor? key_norm, Tensor cos, Tensor sin, Tensor slots, Tensor(a!) keys, Tensor(b!) values, float eps) -> Tensor",
  method: false,
  run: (...[q, k, v, wq, wk, cos, sin, slots, keys, values, eps]: Parameters<CacheTurned>) => {
    const [tokens, heads, size] = q.shape as [number, number, number];
    const kvHeads = k.shape[1]!;
    for (const t of [q, k, v])
      if (
        t.ndim !== 3 ||
        t.shape[0] !== tokens ||
        t.shape[2] !== size ||
        t.strides[2] !== 1 ||
        t.strides[1] !== size
      )
        throw new RangeError(
          `cache_turned_ takes [tokens, heads, size] with heads side by side, not ${showShape(t.shape)}`,
        );
    for (const t of [keys, values])
      if (t.ndim !== 4 || !t.isContiguous || t.shape[2] !== kvHeads || t.shape[3] !== size || v.shape[1] !== kvHeads)
        throw new RangeError(`cache_turned_ takes a row-major cache [pages, page size, ${kvHeads}, ${size}], not ${showShape(t.shape)}`); // biome-ignore format: one line
    for (const t of [cos, sin])
      if (
        t.ndim !== 2 ||
        t.shape[0] !== tokens ||
        t.shape[1]! * 2 !== size ||
        t.strides[1] !== 1 ||
        t.strides[0] !== cos.strides[0]
      )
        throw new RangeError(
          `cache_turned_ takes tables [${tokens}, ${size / 2}], not ${showShape(t.shape)}`,
        );
    const sized =
      (wq === null) === (wk === null) && [wq, wk].every((w) => !w || (w.isContiguous && w.numel === size));
    if (!sized) throw new RangeError(`cache_turned_ takes both norms, of ${size} elements, or none`);
    if (slots.dtype !== "i64" || slots.numel !== tokens || [k, v, keys, values].some((t) => t.dtype !== q.dtype))
      throw new TypeError(`cache_turned_ takes i64 slots [${tokens}] and one dtype, not ${slots.dtype} and ${[q, k, v, keys, values].map((t) => t.dtype)}`); // biome-ignore format: one line
    const y = empty([tokens, heads, size], { dtype: q.dtype, device: q.device });
    if (q.numel === 0) return y;
    const half = size / 2;
    const HALF = nextPowerOf2(half);
    const TOKENS = Math.max(1, Math.min(nextPowerOf2(tokens), Math.floor(1024 / HALF)));
    fill.launch([Math.ceil(tokens / TOKENS), heads + 2 * kvHeads], {
      q, k, v, wq: wq ?? cos, wk: wk ?? cos, cos, sin, slots, y, keys, values, tokens, heads, kvHeads, half,
      qRow: q.strides[0]!, kRow: k.strides[0]!, vRow: v.strides[0]!, turn: cos.strides[0]!,
      room: keys.shape[0]! * keys.shape[1]!, eps, TOKENS, HALF, NORM: wq !== null, EXACT: half === HALF, IN: q.dtype,
    }); // biome-ignore format: one line per group
    return y;
  },
  derivative: "none",
  summary: "Norm, rotation and cache of new tokens in one pass",
});
