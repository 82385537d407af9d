// The backward kernels of attention: the weights are computed again from the scores and the softmax's logarithms. How
// they are launched stands in `launch.ts`; the names of strides and flags are those of `forward-kernel.ts`.
//
// One pass over keys gives the gradients of keys and values, and of queries too where one program owns all queries of
// its heads (QUERIES): five products. Where there are too few heads for the threads, the gradients of the queries come
// from a pass of their own, with two products more.

import { constexpr, dim, f32, i32, ptr, u32, u64 } from "../../compiler/lang/index.js";
import { kernel } from "../../runtime/index.js";
import { capped, inWindow, kept } from "./score-parts.js";

/** `delta`: each query's sum of dO * O, over rows of one head each. */
export const attentionDelta = kernel(
  // biome-ignore format: one line per group
  { o: ptr, dy: ptr, delta: ptr, ob: dim, oh: dim, ot: dim, yb: dim, yh: dim, yt: dim, lb: i32, lh: i32, H: i32, S: i32,
    BM: constexpr, DV: constexpr, BV: constexpr },
  ({ o, dy, delta, ob, oh, ot, yb, yh, yt, lb, lh, H, S, BM, DV, BV }, tl) => {
    const b = tl.floorDiv(tl.programId(1), H);
    const h = tl.programId(1) % H;
    const t = tl.programId(0) * BM + tl.arange(0, BM);
    const e = tl.row(tl.arange(0, BV));
    const wide = DV === BV ? tl.col(t < S) : tl.col(t < S) && e < DV;
    const x = tl.cast(tl.load(o + b * ob + h * oh + tl.col(t * ot) + e, wide, 0), tl.f32);
    const y = tl.cast(tl.load(dy + b * yb + h * yh + tl.col(t * yt) + e, wide, 0), tl.f32);
    tl.store(delta + b * lb + h * lh + t, tl.sum(x * y, 1), t < S);
  },
  "attention_backward_delta",
);

/** Gradients of keys and values; with QUERIES those of the queries are added to `dq` (f32). */
export const attentionBackwardKeys = kernel(
  // biome-ignore format: one line per group
  { q: ptr, k: ptr, v: ptr, lse: ptr, delta: ptr, dy: ptr, dq: ptr, dk: ptr, dv: ptr, mask: ptr, startsQ: ptr, startsK: ptr,
    qb: dim, qh: dim, qt: dim, kb: dim, kh: dim, kt: dim, vb: dim, vh: dim, vt: dim, yb: dim, yh: dim, yt: dim,
    eb: dim, eh: dim, et: dim, ec: i32, fb: dim, fh: dim, ft: dim, wb: dim, wh: dim, wt: dim, lb: i32, lh: i32, mb: i32, mh: i32, mt: i32, mn: i32,
    KH: i32, G: i32, Sq: i32, Sk: i32, offset: i32, left: i32, right: i32, scale: f32, cap: f32, SPAN: i32,
    seed: u64, low: u32, high: u32, drop: u32, rest: f32,
    BM: constexpr, BN: constexpr, D: constexpr, BD: constexpr, DV: constexpr, BV: constexpr, LEFT: constexpr.bool, RIGHT: constexpr.bool,
    MASK: constexpr, DROP: constexpr.bool, CAP: constexpr.bool, VARLEN: constexpr.bool, QUERIES: constexpr.bool,
    IN: constexpr.dtype, HALF: constexpr.bool, LOG2E: constexpr, inWindow, kept, capped },
  (
    // biome-ignore format: one line per group
    { q, k, v, lse, delta, dy, dq, dk, dv, mask, startsQ, startsK,
      qb, qh, qt, kb, kh, kt, vb, vh, vt, yb, yh, yt, eb, eh, et, ec, fb, fh, ft, wb, wh, wt, lb, lh, mb, mh, mt, mn,
      KH, G, Sq, Sk, offset, left, right, scale, cap, SPAN, seed, low, high, drop, rest,
      BM, BN, D, BD, DV, BV, LEFT, RIGHT, MASK, DROP, CAP, VARLEN, QUERIES, IN, HALF, LOG2E, inWindow, kept, capped },
    tl,
  ) => {
    const b = tl.floorDiv(tl.programId(1), KH);
    const head = tl.programId(1) % KH;
    const q0 = VARLEN ? tl.load(startsQ + b) : 0;
    const queries = VARLEN ? tl.load(startsQ + b + 1) - q0 : Sq;
    const k0 = VARLEN ? tl.load(startsK + b) : 0;
    const keys = VARLEN ? tl.load(startsK + b + 1) - k0 : Sk;
    const shift = VARLEN ? keys - queries : offset;
    const d = tl.row(tl.arange(0, BD));
    const e = tl.row(tl.arange(0, BV));
    const stop = tl.minimum((tl.programId(0) + 1) * SPAN, keys);
    const RAW = HALF && !CAP && MASK !== 2;
    const unit = RAW ? scale * LOG2E : LOG2E;
    for (let from = tl.programId(0) * SPAN; from < stop; from += BN) {
      const n = from + tl.arange(0, BN);
      const live = n < keys;
      const whole = D === BD ? tl.col(live) : tl.col(live) && d < D;
      const y = tl.cast(tl.load(k + b * kb + head * kh + k0 * kt + tl.col(n * kt) + d, whole, 0), IN);
      const full = DV === BV ? tl.col(live) : tl.col(live) && e < DV;
      const z = tl.cast(tl.load(v + b * vb + head * vh + k0 * vt + tl.col(n * vt) + e, full, 0), IN);
      const turnedKeys = tl.trans(y);
      const turnedValues = tl.trans(z);
      const scaledKeys = y * scale;
      let low0 = 0;
      let end = queries;
      if (RIGHT) low0 = tl.floorDiv(tl.maximum(from - shift - right, 0), BM) * BM;
      if (LEFT) end = tl.minimum(queries, tl.minimum(from + BN, keys) - shift + left);
      let accK = tl.zeros([BN, BD]);
      let accV = tl.zeros([BN, BV]);
      for (let g = head * G; g < (head + 1) * G; g++) {
        for (let i = low0; i < end; i += BM) {
          const t = i + tl.arange(0, BM);
          const rows = t < end;
          const wide = D === BD ? tl.col(rows) : tl.col(rows) && d < D;
          const query = tl.load(q + b * qb + g * qh + q0 * qt + tl.col(t * qt) + d, wide, 0);
          const x = HALF ? query : tl.cast(query, tl.f32) * scale;
          const broad = DV === BV ? tl.col(rows) : tl.col(rows) && e < DV;
          const dout = tl.cast(tl.load(dy + b * yb + g * yh + q0 * yt + tl.col(t * yt) + e, broad, 0), IN);
          const at = b * lb + g * lh + q0 + t;
          const total = tl.load(lse + at, rows, Infinity);
          const own = tl.load(delta + at, rows, 0);
          let s = tl.dot(x, turnedKeys);
          if (HALF && !RAW) s = s * scale;
          if (CAP) s = capped(s, cap);
          const bend = s;
          const logs = tl.where(total === -Infinity, Infinity, total);
          let p = s;
          if (HALF && MASK === 0) {
            p = tl.exp2Approx(tl.fma(s, unit, tl.col(logs * -LOG2E)));
            // Most blocks are seen as a whole.
            let all = from + BN <= keys && i + BM <= end;
            if (RIGHT) all = all && from + BN - 1 - (i + shift) <= right;
            if (LEFT) all = all && i + BM - 1 + shift - from <= left;
            if (!all)
              p = tl.where(
                inWindow(
                  tl.col(rows) && tl.row(live),
                  tl.row(n) - tl.col(t + shift),
                  left,
                  right,
                  LEFT,
                  RIGHT,
                ),
                p,
                0,
              );
          } else {
            let seen = inWindow(
              tl.col(rows) && tl.row(live),
              tl.row(n) - tl.col(t + shift),
              left,
              right,
              LEFT,
              RIGHT,
            );
            if (MASK > 0) {
              const bias = tl.load(
                mask + b * mb + g * mh + tl.col(t * mt) + tl.row(n * mn),
                tl.col(rows) && tl.row(live),
                0,
              );
              if (MASK === 1) seen = seen && bias !== 0;
              else s = s + tl.cast(bias, tl.f32);
            }
            p = HALF
              ? tl.where(seen, tl.exp2Approx(tl.fma(s, unit, tl.col(logs * -LOG2E))), 0)
              : tl.where(seen, tl.exp(s - tl.col(logs)), 0);
          }
          let dp = tl.dot(dout, turnedValues);
          let weights = p;
          if (DROP) {
            const stays = kept(seed, low, high, b * KH * G + g, tl.col(t), tl.row(n), keys, drop);
            weights = tl.where(stays, p * rest, 0);
            dp = tl.where(stays, dp * rest, 0);
          }
          let ds = p * (dp - tl.col(own));
          if (CAP) ds = ds * (1 - (bend / cap) * (bend / cap));
          accV = tl.dot(tl.cast(tl.trans(weights), IN), dout, accV);
          accK = tl.dot(tl.cast(tl.trans(ds), IN), x, accK);
          if (QUERIES) {
            const to = dq + tl.programId(0) * ec + b * eb + g * eh + q0 * et + tl.col(t * et) + d;
            tl.store(to, tl.dot(ds, scaledKeys, tl.load(to, wide, 0)), wide);
          }
        }
      }
      tl.store(dk + b * fb + head * fh + k0 * ft + tl.col(n * ft) + d, HALF ? accK * scale : accK, whole);
      tl.store(dv + b * wb + head * wh + k0 * wt + tl.col(n * wt) + e, accV, full);
    }
  },
  "attention_backward_keys",
);

/** Gradients of the queries alone. */
export const attentionBackwardQueries = kernel(
  // biome-ignore format: one line per group
  { q: ptr, k: ptr, v: ptr, lse: ptr, delta: ptr, dy: ptr, dq: ptr, mask: ptr, startsQ: ptr, startsK: ptr,
    qb: dim, qh: dim, qt: dim, kb: dim, kh: dim, kt: dim, vb: dim, vh: dim, vt: dim, yb: dim, yh: dim, yt: dim,
    eb: dim, eh: dim, et: dim, lb: i32, lh: i32, mb: i32, mh: i32, mt: i32, mn: i32,
    KH: i32, G: i32, Sq: i32, Sk: i32, offset: i32, left: i32, right: i32, scale: f32, cap: f32,
    seed: u64, low: u32, high: u32, drop: u32, rest: f32,
    BM: constexpr, BN: constexpr, D: constexpr, BD: constexpr, DV: constexpr, BV: constexpr, LEFT: constexpr.bool, RIGHT: constexpr.bool,
    MASK: constexpr, DROP: constexpr.bool, CAP: constexpr.bool, VARLEN: constexpr.bool,
    IN: constexpr.dtype, HALF: constexpr.bool, LOG2E: constexpr, inWindow, kept, capped },
  (
    // biome-ignore format: one line per group
    { q, k, v, lse, delta, dy, dq, mask, startsQ, startsK,
      qb, qh, qt, kb, kh, kt, vb, vh, vt, yb, yh, yt, eb, eh, et, lb, lh, mb, mh, mt, mn,
      KH, G, Sq, Sk, offset, left, right, scale, cap, seed, low, high, drop, rest,
      BM, BN, D, BD, DV, BV, LEFT, RIGHT, MASK, DROP, CAP, VARLEN, IN, HALF, LOG2E, inWindow, kept, capped },
    tl,
  ) => {
    const h = tl.programId(1) % (KH * G);
    const b = tl.floorDiv(tl.programId(1), KH * G);
    const head = tl.floorDiv(h, G);
    const q0 = VARLEN ? tl.load(startsQ + b) : 0;
    const queries = VARLEN ? tl.load(startsQ + b + 1) - q0 : Sq;
    const k0 = VARLEN ? tl.load(startsK + b) : 0;
    const keys = VARLEN ? tl.load(startsK + b + 1) - k0 : Sk;
    const shift = VARLEN ? keys - queries : offset;
    const first = tl.programId(0) * BM;
    let start = 0;
    let end = tl.where(first < queries, keys, 0);
    if (RIGHT) end = tl.minimum(end, tl.minimum(first + BM, queries) + shift + right);
    if (LEFT) start = tl.floorDiv(tl.maximum(first + shift - left, 0), BN) * BN;
    const t = first + tl.arange(0, BM);
    const rows = t < queries;
    const d = tl.row(tl.arange(0, BD));
    const e = tl.row(tl.arange(0, BV));
    const wide = D === BD ? tl.col(rows) : tl.col(rows) && d < D;
    const query = tl.load(q + b * qb + h * qh + q0 * qt + tl.col(t * qt) + d, wide, 0);
    const x = HALF ? query : tl.cast(query, tl.f32) * scale;
    const RAW = HALF && !CAP && MASK !== 2;
    const unit = RAW ? scale * LOG2E : LOG2E;
    const broad = DV === BV ? tl.col(rows) : tl.col(rows) && e < DV;
    const dout = tl.cast(tl.load(dy + b * yb + h * yh + q0 * yt + tl.col(t * yt) + e, broad, 0), IN);
    const turned = tl.trans(x);
    const turnedGrad = tl.trans(dout);
    const at = b * lb + h * lh + q0 + t;
    const logs = tl.load(lse + at, rows, Infinity);
    const total = tl.where(logs === -Infinity, Infinity, logs);
    const own = tl.load(delta + at, rows, 0);
    let acc = tl.zeros([BM, BD]);
    for (let from = start; from < end; from += BN) {
      const n = from + tl.arange(0, BN);
      const live = n < end;
      const whole = D === BD ? tl.col(live) : tl.col(live) && d < D;
      const y = tl.cast(tl.load(k + b * kb + head * kh + k0 * kt + tl.col(n * kt) + d, whole, 0), IN);
      const full = DV === BV ? tl.col(live) : tl.col(live) && e < DV;
      const z = tl.cast(tl.load(v + b * vb + head * vh + k0 * vt + tl.col(n * vt) + e, full, 0), IN);
      let s = tl.dot(y, turned);
      if (HALF && !RAW) s = s * scale;
      if (CAP) s = capped(s, cap);
      const bend = s;
      let p = s;
      if (HALF && MASK === 0) {
        p = tl.exp2Approx(tl.fma(s, unit, tl.row(total * -LOG2E)));
        // Most blocks are seen as a whole.
        let all = from + BN <= end;
        if (RIGHT) all = all && from + BN - 1 - (first + shift) <= right;
        if (LEFT) all = all && first + BM - 1 + shift - from <= left;
        if (!all)
          p = tl.where(inWindow(tl.col(live), tl.col(n) - tl.row(t + shift), left, right, LEFT, RIGHT), p, 0);
      } else {
        let seen = inWindow(tl.col(live), tl.col(n) - tl.row(t + shift), left, right, LEFT, RIGHT);
        if (MASK > 0) {
          const bias = tl.load(
            mask + b * mb + h * mh + tl.row(t * mt) + tl.col(n * mn),
            tl.col(live) && tl.row(rows),
            0,
          );
          if (MASK === 1) seen = seen && bias !== 0;
          else s = s + tl.cast(bias, tl.f32);
        }
        p = HALF
          ? tl.where(seen, tl.exp2Approx(tl.fma(s, unit, tl.row(total * -LOG2E))), 0)
          : tl.where(seen, tl.exp(s - tl.row(total)), 0);
      }
      let dp = tl.dot(z, turnedGrad);
      if (DROP)
        dp = tl.where(kept(seed, low, high, b * KH * G + h, tl.row(t), tl.col(n), keys, drop), dp * rest, 0);
      let ds = p * (dp - tl.row(own));
      if (CAP) ds = ds * (1 - (bend / cap) * (bend / cap));
      acc = tl.dot(tl.cast(tl.trans(ds), IN), y, acc);
    }
    tl.store(dq + b * eb + h * eh + q0 * et + tl.col(t * et) + d, acc * scale, wide);
  },
  "attention_backward_queries",
);
