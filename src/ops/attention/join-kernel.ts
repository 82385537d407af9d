// Joins the results of attention over parts of the keys: each part counts by its share of the softmax's sum.

import { constexpr, i32, ptr } from "../../compiler/lang/index.js";
import { kernel } from "../../runtime/index.js";
import type { Tensor } from "../../tensor/index.js";
import { nextPowerOf2 } from "../rows.js";

const join = kernel(
  // biome-ignore format: one line per group
  { parts: ptr, logs: ptr, o: ptr, lse: ptr, C: i32, pc: i32, lc: i32,
    pb: i32, ph: i32, pt: i32, ob: i32, oh: i32, ot: i32, lb: i32, lh: i32, H: i32, S: i32,
    BM: constexpr, D: constexpr, BD: constexpr, AT_ONCE: constexpr },
  ({ parts, logs, o, lse, C, pc, lc, pb, ph, pt, ob, oh, ot, lb, lh, H, S, BM, D, BD, AT_ONCE }, tl) => {
    const b = tl.floorDiv(tl.programId(1), H);
    const h = tl.programId(1) % H;
    const t = tl.programId(0) * BM + tl.arange(0, BM);
    const rows = t < S;
    const d = tl.row(tl.arange(0, BD));
    const wide = D === BD ? tl.col(rows) : tl.col(rows) && d < D;
    const at = b * lb + h * lh + t;
    const from = b * pb + h * ph + tl.col(t * pt) + d;
    let top = tl.full([BM], -Infinity);
    for (let c = 0; c < C; c += AT_ONCE)
      for (const i of tl.staticRange(AT_ONCE))
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

/** Parts whose loads are under way together. */
const PARTS_AT_ONCE = 8;

/**
 * @param parts `[parts, ...shape of o in order]` and `logs` `[parts, ...shape of lse]`, f32
 * @param packed `o` is `[tokens, heads, size]` and `lse` `[heads, tokens]`, else `[batch, heads, tokens, size]` and `[batch, heads, tokens]`
 */
export function joinParts(parts: Tensor, logs: Tensor, o: Tensor, lse: Tensor, packed: boolean): void {
  const [p, s, l] = [parts.strides, o.strides, lse.strides];
  const [b, h, t] = packed ? [-1, 1, 0] : [0, 1, 2];
  const at = (list: readonly number[], i: number): number => (i < 0 ? 0 : list[i]!);
  const [H, S, D] = [o.shape[h]!, o.shape[t]!, o.shape.at(-1)!];
  const BM = S === 1 ? 1 : 8;
  // Where a program is many threads, a turn of the loop is as long as memory takes to answer.
  const waits = (o.chip.capabilities.programThreads ?? 1) > 1;
  join.launch([Math.ceil(S / BM), (packed ? 1 : o.shape[0]!) * H], {
    parts, logs, o, lse, C: parts.shape[0]!, pc: p[0]!, lc: logs.strides[0]!,
    pb: packed ? 0 : p[1]!, ph: p[h + 1]!, pt: p[t + 1]!, ob: at(s, b), oh: s[h]!, ot: s[t]!,
    lb: packed ? 0 : l[0]!, lh: packed ? l[0]! : l[1]!, H, S, BM, D, BD: Math.max(8, nextPowerOf2(D)),
    AT_ONCE: waits ? Math.min(PARTS_AT_ONCE, nextPowerOf2(parts.shape[0]!)) : 1,
  }); // biome-ignore format: one line per group
}
