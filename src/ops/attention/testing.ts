// For tests of the fused attentions: the same by plain operators, with the matrix of scores, from a mask that says who
// sees whom.

import { callOperator, type Tensor, tensor } from "../../tensor/index.js";
import { noise } from "../testing/chips.js";

const call = (name: string, ...args: unknown[]): Tensor => callOperator(name, ...args) as Tensor;

const constant = (like: Tensor, value: number): Tensor =>
  tensor(value, { dtype: like.dtype, device: like.device });

/** `[batch, heads, tokens, size]`, its rows laid out as a projection leaves them. */
export const heads = (b: number, h: number, s: number, d: number, seed: number): Tensor =>
  noise([b, s, h, d], seed).transpose(1, 2);

/** Which of `keys` each of `queries` sees, the last query at the last key (or `offset` keys on). */
export function visible(
  queries: number,
  keys: number,
  [left, right]: readonly [number, number],
  offset = keys - queries,
): Tensor {
  const at = Uint8Array.from({ length: queries * keys }, (_, i) => {
    const gap = (i % keys) - Math.floor(i / keys) - offset;
    return (right < 0 || gap <= right) && (left < 0 || -gap <= left) ? 1 : 0;
  });
  return tensor(at, { shape: [queries, keys], dtype: "bool" });
}

/** Attention of `[batch, heads, …]` by plain operators; a query that sees nothing gets zeros. */
export function reference(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  o: { seen: Tensor; scale?: number; softcap?: number; bias?: Tensor; kept?: Tensor; dropout?: number },
): Tensor {
  const groups = q.shape[1]! / k.shape[1]!;
  const [B, KH, Sk] = k.shape as [number, number, number];
  const wide = (t: Tensor): Tensor => {
    const size = t.shape.at(-1)!;
    return t
      .unsqueeze(2)
      .expand([B, KH, groups, Sk, size])
      .reshape([B, KH * groups, Sk, size]) as Tensor;
  };
  const scale = o.scale ?? 1 / Math.sqrt(q.shape.at(-1)!);
  let s = call("mul.Tensor", call("matmul", q, wide(k).transpose(-2, -1)), scale);
  if (o.softcap) s = call("mul.Tensor", call("tanh", call("div.Tensor", s, o.softcap)), o.softcap);
  if (o.bias) s = call("add.Tensor", s, o.bias);
  const low = call("where.self", o.seen, s, constant(s, -1e30));
  const p = call("where.self", o.seen, call("softmax.int", low, -1), constant(s, 0));
  const drop = o.dropout ?? 0;
  const weights = o.kept
    ? call("where.self", o.kept, call("mul.Tensor", p, 1 / (1 - drop)), constant(s, 0))
    : p;
  return call("matmul", weights, wide(v));
}
