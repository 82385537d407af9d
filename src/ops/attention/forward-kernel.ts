// The forward kernel of attention without the matrix of scores (after Dao et al., 2022): blocks of queries meet blocks
// of keys, a running maximum and sum make the softmax. How it is launched stands in `launch.ts`.
//
// Heads that share a key head form one group: its `G * queries` rows are walked together, row `r` being query
// `r % queries` of head `r / queries`. So keys and values are read once a group.
//
// The scores of a block stand as [keys, queries]: queries, turned over once, lie along the vector lanes. So keys are read as
// they stand, the softmax needs no sums across lanes, and the weights are the left side of the second product either way.

import { constexpr, dim, f32, i32, ptr, u32, u64 } from "../../compiler/lang/index.js";
import { kernel } from "../../runtime/index.js";
import { capped, inWindow, kept } from "./score-parts.js";

/**
 * Tensors have any strides (`…b` batch, `…h` head, `…t` token), elements of a row side by side.
 *
 * - VARLEN: sequences stand one after another in one batch; `startsQ` and `startsK` say where each begins.
 * - PAGE: keys and values are blocks of PAGE tokens, `table` names those of each sequence, `startsK` holds their lengths.
 * - SPLIT: each program of the third grid axis takes SPLIT keys; the results (`oc`, `lc` apart) are joined afterwards.
 * - SHARED: several heads share a key head (G is above 1).
 * - PROGRAMS: how many are to run side by side where they share registers; 0 leaves it to the compiler.
 * - HALF: products of halves on matrix units (IN is their dtype, else f32), the scores scaled after the product, exponentials to
 *   about 2^-22; the scale is positive.
 * - MASK: 1 hides keys where `mask` is 0, 2 adds `mask` to the scores.
 */
export const attentionForward = kernel(
  // biome-ignore format: one line per group
  { q: ptr, k: ptr, v: ptr, o: ptr, lse: ptr, mask: ptr, startsQ: ptr, startsK: ptr, table: ptr,
    qb: dim, qh: dim, qt: dim, kb: dim, kh: dim, kt: dim, vb: dim, vh: dim, vt: dim,
    ob: dim, oh: dim, ot: dim, oc: i32, lb: i32, lh: i32, lc: i32, mb: i32, mh: i32, mt: i32, mn: i32, tb: i32,
    KH: i32, G: i32, Sq: i32, Sk: i32, offset: i32, left: i32, right: i32, scale: f32, cap: f32,
    seed: u64, low: u32, high: u32, drop: u32, rest: f32,
    BM: constexpr, BN: constexpr, D: constexpr, BD: constexpr, DV: constexpr, BV: constexpr, LEFT: constexpr.bool, RIGHT: constexpr.bool,
    MASK: constexpr, DROP: constexpr.bool, CAP: constexpr.bool, VARLEN: constexpr.bool, PAGE: constexpr, SPLIT: constexpr,
    SHARED: constexpr.bool, IN: constexpr.dtype, HALF: constexpr.bool, PROGRAMS: constexpr, LOG2E: constexpr, inWindow, kept, capped },
  (
    // biome-ignore format: one line per group
    { q, k, v, o, lse, mask, startsQ, startsK, table,
      qb, qh, qt, kb, kh, kt, vb, vh, vt, ob, oh, ot, oc, lb, lh, lc, mb, mh, mt, mn, tb,
      KH, G, Sq, Sk, offset, left, right, scale, cap, seed, low, high, drop, rest,
      BM, BN, D, BD, DV, BV, LEFT, RIGHT, MASK, DROP, CAP, VARLEN, PAGE, SPLIT, SHARED, IN, HALF, PROGRAMS, LOG2E, inWindow, kept, capped },
    tl,
  ) => {
    const b = tl.floorDiv(tl.programId(1), KH);
    const head = tl.programId(1) % KH;
    const q0 = VARLEN ? tl.load(startsQ + b, true, 0, { early: true }) : 0;
    const queries = VARLEN ? tl.load(startsQ + b + 1, true, 0, { early: true }) - q0 : Sq;
    const k0 = VARLEN && PAGE === 0 ? tl.load(startsK + b, true, 0, { early: true }) : 0;
    const keys = VARLEN ? tl.load(startsK + b + (PAGE === 0 ? 1 : 0), true, 0, { early: true }) - k0 : Sk;
    // Query t stands at the place of key t + shift.
    const shift = VARLEN ? keys - queries : offset;
    // The longest rows first, where many programs take turns.
    const block = HALF && RIGHT ? tl.numPrograms(0) - 1 - tl.programId(0) : tl.programId(0);
    const first = block * BM;
    const last = tl.minimum(first + BM, G * queries) - 1;
    const most = tl.maximum(queries, 1);
    const oneHead = SHARED ? tl.floorDiv(first, most) === tl.floorDiv(last, most) : true;
    // The least and the greatest place of a query of this block.
    const least = (SHARED ? tl.where(oneHead, first % most, 0) : first) + shift;
    const greatest = (SHARED ? tl.where(oneHead, last % most, queries - 1) : last) + shift;
    let start = 0;
    let end = tl.where(first < G * queries, keys, 0);
    if (RIGHT) end = tl.minimum(end, greatest + right + 1);
    if (LEFT) start = tl.maximum(least - left, 0);
    if (SPLIT > 0) {
      start = tl.maximum(start, tl.programId(2) * SPLIT);
      end = tl.minimum(end, (tl.programId(2) + 1) * SPLIT);
    }
    start = tl.floorDiv(start, BN) * BN;

    const row = first + tl.arange(0, BM);
    const rows = row < G * queries;
    const g = head * G + (SHARED ? tl.floorDiv(row, most) : tl.zeros([BM], tl.i32));
    const t = SHARED ? row % most : row;
    const d = tl.row(tl.arange(0, BD));
    const e = tl.row(tl.arange(0, BV));
    const wide = D === BD ? tl.col(rows) : tl.col(rows) && d < D;
    const own = tl.load(q + b * qb + q0 * qt + tl.col(g * qh + t * qt) + d, wide, 0);
    const x = tl.trans(HALF ? own : tl.cast(own, tl.f32) * scale);
    // The factor from what `top` counts in to the exponents of 2.
    const RAW = HALF && !CAP && MASK !== 2;
    const unit = RAW ? scale * LOG2E : LOG2E;
    const theirKeys = k + (PAGE === 0 ? b * kb : 0) + head * kh + k0 * kt;
    const theirValues = v + (PAGE === 0 ? b * vb : 0) + head * vh + k0 * vt;
    let top = tl.full([BM], -Infinity);
    let sum = tl.zeros([BM]);
    let acc = tl.zeros([BM, BV]);
    // Few queries wait for memory alone: a turn's values come with its keys, and the next turn's pages are looked up meanwhile.
    const AHEAD = SPLIT > 0 && HALF;
    const ns = tl.maximum(tl.minimum(start + tl.arange(0, BN), end - 1), 0);
    let known =
      AHEAD && PAGE > 0 ? tl.load(table + b * tb + tl.floorDiv(ns, PAGE), true, 0, { early: true }) : 0;
    for (const from of tl.range(start, end, BN, { programs: PROGRAMS })) {
      const n = from + tl.arange(0, BN);
      const live = n < end;
      const whole = D === BD ? tl.col(live) : tl.col(live) && d < D;
      const page = PAGE === 0 ? n : AHEAD ? known : tl.load(table + b * tb + tl.floorDiv(n, PAGE), live, 0);
      if (AHEAD && PAGE > 0) known = tl.load(table + b * tb + tl.floorDiv(n + BN, PAGE), n + BN < end, 0);
      const inPage = PAGE === 0 ? n : n % PAGE;
      const atKey = PAGE === 0 ? n * kt : page * kb + inPage * kt;
      const atValue = PAGE === 0 ? n * vt : page * vb + inPage * vt;
      const y = tl.cast(tl.load(theirKeys + tl.col(atKey) + d, whole, 0), IN);
      const full = DV === BV ? tl.col(live) : tl.col(live) && e < DV;
      const early = AHEAD ? tl.load(theirValues + tl.col(atValue) + e, full, 0) : 0;
      let s = BM === 1 ? tl.trans(tl.dot(tl.trans(x), tl.trans(y))) : tl.dot(y, x);
      if (HALF && !RAW) s = s * scale;
      if (CAP) s = capped(s, cap);
      if (HALF && MASK === 0) {
        // Most blocks are seen as a whole.
        let all = from + BN <= end;
        if (RIGHT) all = all && from + BN - 1 - least <= right;
        if (LEFT) all = all && greatest - from <= left;
        if (!all)
          s = tl.where(
            inWindow(tl.col(live), tl.col(n) - tl.row(t + shift), left, right, LEFT, RIGHT),
            s,
            -Infinity,
          );
      } else {
        let seen = inWindow(tl.col(live), tl.col(n) - tl.row(t + shift), left, right, LEFT, RIGHT);
        if (MASK > 0) {
          const bias = tl.load(
            mask + b * mb + tl.row(g * mh + t * mt) + tl.col(n * mn),
            tl.col(live) && tl.row(rows),
            0,
          );
          if (MASK === 1) seen = seen && bias !== 0;
          else s = s + tl.cast(bias, tl.f32);
        }
        s = tl.where(seen, s, -Infinity);
      }
      const next = tl.maximum(top, HALF ? tl.max(s, 0, { propagateNan: true }) : tl.max(s, 0));
      // A query that has seen no key yet has no maximum to take away.
      const base = tl.where(next === -Infinity, 0, next);
      let p = HALF ? tl.exp2Approx(tl.fma(s, unit, tl.row(-base * unit))) : tl.exp(s - tl.row(base));
      const shrink = HALF ? tl.exp2Approx((top - base) * unit) : tl.exp(top - base);
      sum = sum * shrink + tl.sum(p, 0);
      if (DROP)
        p = tl.where(
          kept(seed, low, high, tl.row(g) + b * KH * G, tl.row(t), tl.col(n), keys, drop),
          p * rest,
          0,
        );
      const z = tl.cast(AHEAD ? early : tl.load(theirValues + tl.col(atValue) + e, full, 0), IN);
      acc = tl.dot(tl.cast(tl.trans(p), IN), z, acc * tl.col(shrink));
      top = next;
    }
    // A query that sees no key gets zeros.
    const total = tl.where(sum === 0, 1, sum);
    const c = SPLIT > 0 ? tl.programId(2) : 0;
    const results = DV === BV ? tl.col(rows) : tl.col(rows) && e < DV;
    const part = HALF ? acc * tl.col(1 / total) : acc / tl.col(total);
    tl.store(o + c * oc + b * ob + q0 * ot + tl.col(g * oh + t * ot) + e, part, results);
    tl.store(lse + c * lc + b * lb + q0 + g * lh + t, (RAW ? top * scale : top) + tl.log(total), rows);
  },
  "attention",
);
