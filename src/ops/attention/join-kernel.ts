// Joins the results of attention over parts of the keys: each part counts by its share of the softmax's sum.

import { constexpr, dim, i32, ptr } from "../../compiler/lang/index.js";
import { kernel } from "../../runtime/index.js";
import type { Tensor } from "../../tensor/index.js";
import { nextPowerOf2 } from "../rows.js";

const join = kernel(
  // biome-ignore format: one line per group
  { parts: ptr, logs: ptr, o: ptr, lse: ptr, C: i32, pc: dim, lc: i32,
    pb: dim, ph: dim, pt: dim, ob: dim, oh: dim, ot: dim, lb: i32, lh: i32, H: i32, S: i32,
    BM: constexpr, D: constexpr, BD: constexpr, LOGS: constexpr, AT_ONCE: constexpr },
  (
    { parts, logs, o, lse, C, pc, lc, pb, ph, pt, ob, oh, ot, lb, lh, H, S, BM, D, BD, LOGS, AT_ONCE },
    tl,
  ) => {
    const b = tl.floorDiv(tl.programId(1), H);
    const h = tl.programId(1) % H;
    const t = tl.programId(0) * BM + tl.arange(0, BM);
    const rows = t < S;
    const d = tl.row(tl.arange(0, BD));
    const wide = D === BD ? tl.col(rows) : tl.col(rows) && d < D;
    const at = b * lb + h * lh + t;
    const from = b * pb + h * ph + tl.col(t * pt) + d;
    let top = tl.full([BM], -Infinity);
    for (let c = 0; c < C; c += LOGS)
      for (const i of tl.staticRange(LOGS))
        top = tl.maximum(top, tl.load(logs + (c + i) * lc + at, rows && c + i < C, -Infinity));
    const base = tl.where(top === -Infinity, 0, top);
    let sum = tl.zeros([BM]);
    let acc = tl.zeros([BM, BD]);
    for (let c = 0; c < C; c += AT_ONCE)
      for (const i of tl.staticRange(AT_ONCE)) {
        const share = tl.exp(tl.load(logs + (c + i) * lc + at, rows && c + i < C, -Infinity) - base);
        sum = sum + share;
        acc = acc + tl.load(parts + (c + i) * pc + from, wide && c + i < C, 0) * tl.col(share);
      }
    const total = tl.where(sum === 0, 1, sum);
    tl.store(o + b * ob + h * oh + tl.col(t * ot) + d, acc / tl.col(total), wide);
    tl.store(lse + at, top + tl.log(total), rows);
  },
  "attention_join",
);

/**
 * The same for one token of one head, whose parts (up to `AT_ONCE`) are summed side by side. The order of a sum follows from AT_ONCE:
 * for callers that say how keys are cut, not where a result must not depend on who else is there.
 */
const joinAtOnce = kernel(
  // biome-ignore format: one line per group
  { parts: ptr, logs: ptr, o: ptr, lse: ptr, C: i32, pc: dim, lc: i32,
    pb: dim, ph: dim, pt: dim, ob: dim, oh: dim, ot: dim, lb: i32, lh: i32, H: i32,
    D: constexpr, BD: constexpr, AT_ONCE: constexpr, ONE: constexpr.bool },
  ({ parts, logs, o, lse, C, pc, lc, pb, ph, pt, ob, oh, ot, lb, lh, H, D, BD, AT_ONCE, ONE }, tl) => {
    const t = tl.programId(0);
    const b = tl.floorDiv(tl.programId(1), H);
    const h = tl.programId(1) % H;
    const d = tl.row(tl.arange(0, BD));
    const at = b * lb + h * lh + t;
    const from = b * pb + h * ph + t * pt;
    const c = tl.arange(0, AT_ONCE);
    const inside = (D === BD ? true : d < D) && tl.col(c < C);
    const first = tl.load(parts + tl.col(c * pc) + from + d, inside, 0);
    const firstLogs = tl.load(logs + c * lc + at, c < C, -Infinity);
    let top = tl.max(firstLogs, 0);
    if (!ONE)
      for (let k = AT_ONCE; k < C; k += AT_ONCE)
        top = tl.maximum(top, tl.max(tl.load(logs + (k + c) * lc + at, k + c < C, -Infinity), 0));
    const base = tl.where(top === -Infinity, 0, top);
    const share = tl.exp(firstLogs - base);
    let sum = tl.sum(share, 0);
    let acc = tl.sum(first * tl.col(share), 0);
    if (!ONE)
      for (let k = AT_ONCE; k < C; k += AT_ONCE) {
        const next = tl.exp(tl.load(logs + (k + c) * lc + at, k + c < C, -Infinity) - base);
        const there = (D === BD ? true : d < D) && tl.col(k + c < C);
        sum = sum + tl.sum(next, 0);
        acc = acc + tl.sum(tl.load(parts + tl.col((k + c) * pc) + from + d, there, 0) * tl.col(next), 0);
      }
    const e = tl.arange(0, BD);
    const total = tl.where(sum === 0, 1, sum);
    tl.store(o + b * ob + h * oh + t * ot + e, acc / total, e < D);
    tl.store(lse + at, top + tl.log(total));
  },
  "attention_join_at_once",
);

/** Parts whose loads are under way together: where a program has one row, and where it has several. The order of the sums is the same. */
const PARTS_AT_ONCE = { few: 32, many: 8 } as const;

/** Up to so many rows for each of the chip's threads, each is a program of its own. */
const FEW_ROWS = 16;

/**
 * @param parts `[parts, ...shape of o in order]` and `logs` `[parts, ...shape of lse]`, f32
 * @param atOnce parts may be summed in any order that follows from their number
 * @param packed `o` is `[tokens, heads, size]` and `lse` `[heads, tokens]`, else `[batch, heads, tokens, size]` and `[batch, heads, tokens]`
 */
export function joinParts(
  parts: Tensor,
  logs: Tensor,
  o: Tensor,
  lse: Tensor,
  packed: boolean,
  atOnce: boolean,
): void {
  const [p, s, l] = [parts.strides, o.strides, lse.strides];
  const [b, h, t] = packed ? [-1, 1, 0] : [0, 1, 2];
  const at = (list: readonly number[], i: number): number => (i < 0 ? 0 : list[i]!);
  const [H, S, D] = [o.shape[h]!, o.shape[t]!, o.shape.at(-1)!];
  const BD = Math.max(8, nextPowerOf2(D));
  const C = parts.shape[0]!;
  const common = {
    parts, logs, o, lse, C, pc: p[0]!, lc: logs.strides[0]!,
    pb: packed ? 0 : p[1]!, ph: p[h + 1]!, pt: p[t + 1]!, ob: at(s, b), oh: s[h]!, ot: s[t]!,
    lb: packed ? 0 : l[0]!, lh: packed ? l[0]! : l[1]!, H, D, BD,
  }; // biome-ignore format: one line per group
  const heads = (packed ? 1 : o.shape[0]!) * H;
  // Where a program is many threads, a turn of the loop is as long as memory takes to answer.
  const waits = (o.chip.capabilities.programThreads ?? 1) > 1;
  if (waits && atOnce) {
    const AT_ONCE = Math.min(PARTS_AT_ONCE.few, nextPowerOf2(C));
    joinAtOnce.launch([S, heads], { ...common, AT_ONCE, ONE: C <= AT_ONCE });
    return;
  }
  const few = S === 1 || (waits && S * heads <= FEW_ROWS * o.chip.capabilities.threads);
  const BM = few ? 1 : 8;
  const most = few ? PARTS_AT_ONCE.few : PARTS_AT_ONCE.many;
  const AT_ONCE = waits ? Math.min(most, nextPowerOf2(C)) : 1;
  const LOGS = waits ? Math.min(2 * most, nextPowerOf2(C)) : 1;
  join.launch([Math.ceil(S / BM), heads], { ...common, S, BM, LOGS, AT_ONCE });
}
