// Attention without the matrix of scores (after Dao et al., 2022): blocks of queries meet blocks of keys, a running
// maximum and sum make the softmax. Forward and backward kernels and their launches; PyTorch's operator, with masks
// and dropout, stands in `attention.ts`.
//
// Heads that share a key head form one group: its `G * Sq` query rows are walked together, row `r` being query
// `r % Sq` of head `r / Sq`. So keys and values are read once a group, and their gradients need no sum over heads.

import { constexpr, f32, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import { empty, emptyLike, type Operator, operator, type Tensor } from "../tensor/index.js";
import { nextPowerOf2 } from "./rows.js";

// All tensors are [batch, heads, tokens, size] with any strides (`…b`, `…h`, `…t`), elements of a row side by side.
// `lse` and `delta` are [batch, heads, tokens], row-major.

const forward = kernel(
  // biome-ignore format: one line per group
  { q: ptr, k: ptr, v: ptr, o: ptr, lse: ptr,
    qb: i32, qh: i32, qt: i32, kb: i32, kh: i32, kt: i32, vb: i32, vh: i32, vt: i32, ob: i32, oh: i32, ot: i32,
    KH: i32, G: i32, Sq: i32, Sk: i32, D: i32, scale: f32,
    BM: constexpr, BN: constexpr, BD: constexpr, CAUSAL: constexpr.bool },
  (
    {
      q,
      k,
      v,
      o,
      lse,
      qb,
      qh,
      qt,
      kb,
      kh,
      kt,
      vb,
      vh,
      vt,
      ob,
      oh,
      ot,
      KH,
      G,
      Sq,
      Sk,
      D,
      scale,
      BM,
      BN,
      BD,
      CAUSAL,
    },
    tl,
  ) => {
    const b = tl.floorDiv(tl.programId(1), KH);
    const head = tl.programId(1) % KH;
    const first = tl.programId(0) * BM;
    const row = first + tl.arange(0, BM);
    const g = head * G + tl.floorDiv(row, Sq);
    const t = row % Sq;
    const d = tl.row(tl.arange(0, BD));
    const rows = row < G * Sq;
    const wide = tl.col(rows) && d < D;
    const x = tl.cast(tl.load(q + b * qb + tl.col(g * qh + t * qt) + d, wide, 0), tl.f32) * scale;
    const last = tl.minimum(first + BM, G * Sq) - 1;
    let end = Sk;
    if (CAUSAL) {
      const one = tl.floorDiv(first, Sq) === tl.floorDiv(last, Sq);
      end = tl.minimum(Sk, tl.where(one, (last % Sq) + 1, Sq));
    }
    const keys = k + b * kb + head * kh;
    const values = v + b * vb + head * vh;
    let top = tl.full([BM], -Infinity);
    let sum = tl.zeros([BM]);
    let acc = tl.zeros([BM, BD]);
    for (let start = 0; start < end; start += BN) {
      const n = start + tl.arange(0, BN);
      const y = tl.cast(tl.load(keys + tl.col(n * kt) + d, tl.col(n) < end && d < D, 0), tl.f32);
      const s = tl.dot(x, tl.trans(y));
      const seen = CAUSAL ? tl.row(n) < end && tl.row(n) <= tl.col(t) : tl.row(n) < end;
      const scores = tl.where(seen, s, -Infinity);
      const next = tl.maximum(top, tl.max(scores, 1));
      const p = tl.exp(scores - tl.col(next));
      const shrink = tl.exp(top - next);
      sum = sum * shrink + tl.sum(p, 1);
      const z = tl.cast(tl.load(values + tl.col(n * vt) + d, tl.col(n) < end && d < D, 0), tl.f32);
      acc = tl.dot(p, z, acc * tl.col(shrink));
      top = next;
    }
    tl.store(o + b * ob + tl.col(g * oh + t * ot) + d, acc / tl.col(sum), wide);
    tl.store(lse + (b * KH * G + g) * Sq + t, top + tl.log(sum), rows);
  },
  "attention",
);

/** Gradients of the queries; also `delta`, each row's sum of dO * O, which the other kernel needs. */
const backwardQueries = kernel(
  // biome-ignore format: one line per group
  { q: ptr, k: ptr, v: ptr, o: ptr, lse: ptr, dy: ptr, dq: ptr, delta: ptr,
    qb: i32, qh: i32, qt: i32, kb: i32, kh: i32, kt: i32, vb: i32, vh: i32, vt: i32, ob: i32, oh: i32, ot: i32,
    yb: i32, yh: i32, yt: i32, eb: i32, eh: i32, et: i32,
    KH: i32, G: i32, Sq: i32, Sk: i32, D: i32, scale: f32,
    BM: constexpr, BN: constexpr, BD: constexpr, CAUSAL: constexpr.bool },
  (
    {
      q,
      k,
      v,
      o,
      lse,
      dy,
      dq,
      delta,
      qb,
      qh,
      qt,
      kb,
      kh,
      kt,
      vb,
      vh,
      vt,
      ob,
      oh,
      ot,
      yb,
      yh,
      yt,
      eb,
      eh,
      et,
      KH,
      G,
      Sq,
      Sk,
      D,
      scale,
      BM,
      BN,
      BD,
      CAUSAL,
    },
    tl,
  ) => {
    const b = tl.floorDiv(tl.programId(1), KH);
    const head = tl.programId(1) % KH;
    const first = tl.programId(0) * BM;
    const row = first + tl.arange(0, BM);
    const g = head * G + tl.floorDiv(row, Sq);
    const t = row % Sq;
    const d = tl.row(tl.arange(0, BD));
    const rows = row < G * Sq;
    const wide = tl.col(rows) && d < D;
    const x = tl.cast(tl.load(q + b * qb + tl.col(g * qh + t * qt) + d, wide, 0), tl.f32) * scale;
    const dout = tl.cast(tl.load(dy + b * yb + tl.col(g * yh + t * yt) + d, wide, 0), tl.f32);
    const out = tl.cast(tl.load(o + b * ob + tl.col(g * oh + t * ot) + d, wide, 0), tl.f32);
    const own = tl.sum(dout * out, 1);
    const at = (b * KH * G + g) * Sq + t;
    tl.store(delta + at, own, rows);
    const total = tl.load(lse + at, rows, Infinity);
    const last = tl.minimum(first + BM, G * Sq) - 1;
    let end = Sk;
    if (CAUSAL) {
      const one = tl.floorDiv(first, Sq) === tl.floorDiv(last, Sq);
      end = tl.minimum(Sk, tl.where(one, (last % Sq) + 1, Sq));
    }
    const keys = k + b * kb + head * kh;
    const values = v + b * vb + head * vh;
    let acc = tl.zeros([BM, BD]);
    for (let start = 0; start < end; start += BN) {
      const n = start + tl.arange(0, BN);
      const mask = tl.col(n) < end && d < D;
      const y = tl.cast(tl.load(keys + tl.col(n * kt) + d, mask, 0), tl.f32);
      const z = tl.cast(tl.load(values + tl.col(n * vt) + d, mask, 0), tl.f32);
      const s = tl.dot(x, tl.trans(y));
      const seen = CAUSAL ? tl.row(n) < end && tl.row(n) <= tl.col(t) : tl.row(n) < end;
      const p = tl.where(seen, tl.exp(s - tl.col(total)), 0);
      const ds = p * (tl.dot(dout, tl.trans(z)) - tl.col(own));
      acc = tl.dot(ds, y, acc);
    }
    tl.store(dq + b * eb + tl.col(g * eh + t * et) + d, acc * scale, wide);
  },
  "attention_backward_queries",
);

/** Gradients of keys and values. */
const backwardKeys = kernel(
  // biome-ignore format: one line per group
  { q: ptr, k: ptr, v: ptr, lse: ptr, dy: ptr, dk: ptr, dv: ptr, delta: ptr,
    qb: i32, qh: i32, qt: i32, kb: i32, kh: i32, kt: i32, vb: i32, vh: i32, vt: i32, yb: i32, yh: i32, yt: i32,
    eb: i32, eh: i32, et: i32,
    KH: i32, G: i32, Sq: i32, Sk: i32, D: i32, scale: f32,
    BM: constexpr, BN: constexpr, BD: constexpr, CAUSAL: constexpr.bool },
  (
    {
      q,
      k,
      v,
      lse,
      dy,
      dk,
      dv,
      delta,
      qb,
      qh,
      qt,
      kb,
      kh,
      kt,
      vb,
      vh,
      vt,
      yb,
      yh,
      yt,
      eb,
      eh,
      et,
      KH,
      G,
      Sq,
      Sk,
      D,
      scale,
      BM,
      BN,
      BD,
      CAUSAL,
    },
    tl,
  ) => {
    const b = tl.floorDiv(tl.programId(1), KH);
    const head = tl.programId(1) % KH;
    const n = tl.programId(0) * BN + tl.arange(0, BN);
    const d = tl.row(tl.arange(0, BD));
    const wide = tl.col(n) < Sk && d < D;
    const y = tl.cast(tl.load(k + b * kb + head * kh + tl.col(n * kt) + d, wide, 0), tl.f32);
    const z = tl.cast(tl.load(v + b * vb + head * vh + tl.col(n * vt) + d, wide, 0), tl.f32);
    let accK = tl.zeros([BN, BD]);
    let accV = tl.zeros([BN, BD]);
    for (let start = 0; start < G * Sq; start += BM) {
      const row = start + tl.arange(0, BM);
      const g = head * G + tl.floorDiv(row, Sq);
      const t = row % Sq;
      const rows = row < G * Sq;
      const mask = tl.col(rows) && d < D;
      const x = tl.cast(tl.load(q + b * qb + tl.col(g * qh + t * qt) + d, mask, 0), tl.f32) * scale;
      const dout = tl.cast(tl.load(dy + b * yb + tl.col(g * yh + t * yt) + d, mask, 0), tl.f32);
      const at = (b * KH * G + g) * Sq + t;
      const total = tl.load(lse + at, rows, 0);
      const own = tl.load(delta + at, rows, 0);
      const s = tl.dot(x, tl.trans(y));
      const inside = tl.col(rows) && tl.row(n) < Sk;
      const seen = CAUSAL ? inside && tl.row(n) <= tl.col(t) : inside;
      const p = tl.where(seen, tl.exp(s - tl.col(total)), 0);
      const ds = p * (tl.dot(dout, tl.trans(z)) - tl.col(own));
      accV = tl.dot(tl.trans(p), dout, accV);
      accK = tl.dot(tl.trans(ds), x, accK);
    }
    const at = b * eb + head * eh + tl.col(n * et) + d;
    tl.store(dk + at, accK, wide);
    tl.store(dv + at, accV, wide);
  },
  "attention_backward_keys",
);

/** `[batch, heads, tokens, size]` laid out as `[batch, tokens, heads, size]`: what a projection after it reads. */
function emptyHeads(like: Tensor): Tensor {
  const [B, H, S, D] = like.shape as [number, number, number, number];
  return emptyLike(like, { shape: [B, S, H, D] }).transpose(1, 2);
}

interface Sizes {
  readonly KH: number;
  readonly G: number;
  readonly Sq: number;
  readonly Sk: number;
  readonly D: number;
  readonly BM: number;
  readonly BN: number;
  readonly BD: number;
}

function sizesOf(q: Tensor, k: Tensor): Sizes {
  const [, H, Sq, D] = q.shape as [number, number, number, number];
  const [, KH, Sk] = k.shape as [number, number, number];
  const G = H / KH;
  const [mostM, mostN] = q.chip.capabilities.dotBlock;
  const floor = (n: number) => 2 ** Math.floor(Math.log2(n));
  return {
    KH,
    G,
    Sq,
    Sk,
    D,
    // Few blocks: what a block costs beside its arithmetic is more than padding costs. Two widths for the keys, so
    // that a cache that grows does not compile again and again.
    BM: Math.min(floor(mostM), nextPowerOf2(G * Sq)),
    BN: Math.min(floor(mostN), Sk <= 16 ? 16 : 64),
    BD: Math.max(8, nextPowerOf2(D)),
  };
}

const unitRows = (t: Tensor): Tensor =>
  t.strides[3] === 1 || t.shape[3] === 1 ? t : (t.contiguous() as Tensor);

const flashBackward: Operator<
  (
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    isCausal: boolean,
    scale: number,
  ) => [Tensor, Tensor, Tensor]
> = operator({
  schema:
    "vexil::flash_attention_backward(Tensor grad, Tensor query, Tensor key, Tensor value, Tensor out, Tensor lse, bool is_causal, float scale) -> (Tensor, Tensor, Tensor)",
  method: false,
  run: (
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    o: Tensor,
    lse: Tensor,
    CAUSAL: boolean,
    scale: number,
  ) => {
    const [q, k, v, dy] = [unitRows(query), unitRows(key), unitRows(value), unitRows(grad)];
    const dq = emptyHeads(q);
    const dk = emptyHeads(k);
    const dv = emptyHeads(k);
    const delta = emptyLike(lse);
    const { KH, G, Sq, Sk, D, BM, BN, BD } = sizesOf(q, k);
    const groups = q.shape[0]! * KH;
    const [qs, ks, vs, os, ys, es, fs] = [q, k, v, o, dy, dq, dk].map((t) => t.strides) as number[][];
    backwardQueries.launch([Math.ceil((G * Sq) / BM), groups], {
      q, k, v, o, lse, dy, dq, delta,
      qb: qs![0]!, qh: qs![1]!, qt: qs![2]!, kb: ks![0]!, kh: ks![1]!, kt: ks![2]!, vb: vs![0]!, vh: vs![1]!, vt: vs![2]!,
      ob: os![0]!, oh: os![1]!, ot: os![2]!, yb: ys![0]!, yh: ys![1]!, yt: ys![2]!, eb: es![0]!, eh: es![1]!, et: es![2]!,
      KH, G, Sq, Sk, D, scale, BM, BN, BD, CAUSAL,
    }); // biome-ignore format: one line per group
    backwardKeys.launch([Math.ceil(Sk / BN), groups], {
      q, k, v, lse, dy, dk, dv, delta,
      qb: qs![0]!, qh: qs![1]!, qt: qs![2]!, kb: ks![0]!, kh: ks![1]!, kt: ks![2]!, vb: vs![0]!, vh: vs![1]!, vt: vs![2]!,
      yb: ys![0]!, yh: ys![1]!, yt: ys![2]!, eb: fs![0]!, eh: fs![1]!, et: fs![2]!,
      KH, G, Sq, Sk, D, scale, BM, BN, BD, CAUSAL,
    }); // biome-ignore format: one line per group
    return [dq, dk, dv];
  },
  summary: "Gradients of flash_attention",
});

/** Whether {@link flashAttention} takes these: what it does not, the plain way of `attention.ts` does. */
export function flashFits(q: Tensor, k: Tensor, v: Tensor): boolean {
  if (q.ndim !== 4 || k.ndim !== 4 || v.ndim !== 4) return false;
  if (q.dtype !== k.dtype || q.dtype !== v.dtype) return false;
  if (q.dtype !== "f32" && q.dtype !== "f16" && q.dtype !== "bf16") return false;
  const [B, H, , D] = q.shape as [number, number, number, number];
  const [Bk, KH, Sk, Dk] = k.shape as [number, number, number, number];
  if (q.numel === 0 || k.numel === 0 || D !== Dk || D > 256 || B !== Bk || H % KH !== 0) return false;
  return v.shape[0] === B && v.shape[1] === KH && v.shape[2] === Sk && v.shape[3] === D;
}

/**
 * `softmax(q @ k.T * scale) @ v` with the fused kernels, computed in f32. With `isCausal`, query `i` sees the keys 0 to `i`.
 *
 * @param query `[batch, heads, queries, size]`, f32, f16 or bf16, any strides, size at most 256
 * @param key, value `[batch, keyHeads, keys, size]`; each key head serves `heads / keyHeads` neighbouring heads
 * @returns `[batch, heads, queries, size]`, and the logarithms of the softmax's sums (f32, no gradient)
 */
export const flashAttention: Operator<
  (query: Tensor, key: Tensor, value: Tensor, isCausal: boolean, scale: number) => [Tensor, Tensor]
> = operator({
  schema:
    "vexil::flash_attention(Tensor query, Tensor key, Tensor value, bool is_causal, float scale) -> (Tensor, Tensor)",
  method: false,
  run: (query: Tensor, key: Tensor, value: Tensor, CAUSAL: boolean, scale: number) => {
    const [q, k, v] = [unitRows(query), unitRows(key), unitRows(value)];
    const o = emptyHeads(q);
    const lse = empty(q.shape.slice(0, 3), { dtype: "f32", device: q.device });
    const { KH, G, Sq, Sk, D, BM, BN, BD } = sizesOf(q, k);
    const [qs, ks, vs, os] = [q.strides, k.strides, v.strides, o.strides];
    forward.launch([Math.ceil((G * Sq) / BM), q.shape[0]! * KH], {
      q, k, v, o, lse,
      qb: qs[0]!, qh: qs[1]!, qt: qs[2]!, kb: ks[0]!, kh: ks[1]!, kt: ks[2]!, vb: vs[0]!, vh: vs[1]!, vt: vs[2]!,
      ob: os[0]!, oh: os[1]!, ot: os[2]!, KH, G, Sq, Sk, D, scale, BM, BN, BD, CAUSAL,
    }); // biome-ignore format: one line per group
    return [o, lse];
  },
  derivative: {
    save: (args, outputs) => [...(args.slice(0, 3) as Tensor[]), outputs[0]!, outputs[1]!],
    backward: (ctx, grad) => {
      const [q, k, v, o, lse] = ctx.saved as [Tensor, Tensor, Tensor, Tensor, Tensor];
      return flashBackward(grad, q, k, v, o, lse, ctx.args[3] as boolean, ctx.args[4] as number);
    },
  },
  summary: "Attention by fused kernels",
});
