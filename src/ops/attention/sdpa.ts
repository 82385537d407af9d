// PyTorch's scaled dot product attention: the fused kernels of `fused.ts` where they fit, else composed of matrix
// products, softmax and masks.

import type { DType } from "../../compiler/ir/index.js";
import {
  callOperator,
  isFloatDType,
  type Operator,
  operator,
  showShape,
  type Tensor,
} from "../../tensor/index.js";
import { runFused, whyNotFused } from "./fused.js";
import { amax } from "../extreme.js";
import { matmul } from "../matmul.js";
import { pointwise } from "../pointwise.js";
import { softmax } from "../softmax.js";

const masked = pointwise((tl, score, keep) => tl.where(keep !== 0, score, -Infinity), {
  name: "masked_score",
  over: [0],
});
const plus = pointwise((_tl, a, b) => a + b, { name: "add_mask" });
const times = pointwise((_tl, a, b) => a * b, { name: "scale_query" });
const orZero = pointwise((tl, p, top) => tl.where(top === -Infinity, 0, p), { name: "or_zero" });

const cast = (t: Tensor, dtype: DType): Tensor => callOperator("_to_copy", t, { dtype }) as Tensor;

/** Repeats each head of `[..., heads, tokens, size]` for the `groups` query heads that share it. */
function repeatHeads(t: Tensor, groups: number): Tensor {
  if (groups === 1) return t;
  const lead = t.shape.slice(0, -3);
  const [heads, tokens, size] = t.shape.slice(-3) as [number, number, number];
  return t
    .unsqueeze(-3)
    .expand([...lead, heads, groups, tokens, size])
    .reshape([...lead, heads * groups, tokens, size]);
}

/** Attention by plain operators: any dtype, rank and mask. What the fused kernels are tested against. */
export function plainAttention(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  o: { mask: Tensor | null; dropout: number; causal: boolean; scale: number; groups: number },
): Tensor {
  if (query.dtype === "f16" || query.dtype === "bf16") {
    // As in the fused kernels, scores and weights are not rounded on the way.
    const mask = o.mask && isFloatDType(o.mask.dtype) ? cast(o.mask, "f32") : o.mask;
    return cast(
      plainAttention(cast(query, "f32"), cast(key, "f32"), cast(value, "f32"), { ...o, mask }),
      query.dtype,
    );
  }
  const k = repeatHeads(key, o.groups);
  const v = repeatHeads(value, o.groups);
  const [queries, keys] = [query.shape.at(-2)!, key.shape.at(-2)!];
  let scores = matmul(times(query, o.scale), k.transpose(-2, -1));
  let { mask } = o;
  if (o.causal) {
    const ones = callOperator("ones", [queries, keys], { dtype: "bool", device: query.device }) as Tensor;
    mask = callOperator("tril", ones) as Tensor;
  }
  if (mask !== null) scores = mask.dtype === "bool" ? masked(scores, mask) : plus(scores, mask);
  let p = softmax(scores, -1);
  // A query that sees no key gets zeros.
  if (o.mask !== null && keys > 0) p = orZero(p, amax(scores.detach(), [-1], true));
  if (o.dropout > 0) p = callOperator("dropout", p, o.dropout, true) as Tensor;
  return matmul(p, v);
}

/** The same by the fused kernels; undefined where they do not fit. */
function fusedAttention(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  o: { mask: Tensor | null; dropout: number; causal: boolean; scale: number; groups: number },
): Tensor | undefined {
  const { ndim } = query;
  if (ndim < 2 || ndim > 4 || key.ndim !== ndim || value.ndim !== ndim) return undefined;
  const four = (t: Tensor): Tensor =>
    ndim === 4 ? t : ndim === 3 ? t.unsqueeze(0) : t.unsqueeze(0).unsqueeze(0);
  const [q, k, v] = [four(query), four(key), four(value)];
  if (whyNotFused(q, k, v) !== undefined || q.shape[1] !== k.shape[1]! * o.groups) return undefined;
  // The kernels give a mask no gradient, and a weight that is certainly dropped needs none of them.
  if (o.mask?.requiresGrad || o.dropout >= 1 || q.numel === 0 || k.numel === 0) return undefined;
  let { mask } = o;
  if (mask !== null) {
    if (mask.dtype !== "bool" && !isFloatDType(mask.dtype)) return undefined;
    mask = callOperator("expand", mask, [q.shape[0]!, q.shape[1]!, q.shape[2]!, k.shape[2]!]) as Tensor;
  }
  const y = runFused([q, k, v], {
    mask,
    dropout: o.dropout,
    scale: o.scale,
    window: [-1, o.causal ? 0 : -1],
    offset: 0,
  });
  return ndim === 4 ? y : ndim === 3 ? y.squeeze(0) : y.squeeze(0).squeeze(0);
}

/**
 * `softmax(query @ key.T * scale + mask) @ value` over the last two dimensions.
 *
 * Shapes: query `[..., heads, queries, size]`, key `[..., keyHeads, keys, size]`, value `[..., keyHeads, keys, valueSize]`,
 * result `[..., heads, queries, valueSize]`. `keyHeads` is `heads`, or divides it with `enableGqa`.
 *
 * @param options.attnMask broadcasts to `[..., queries, keys]`: bool (false hides a key) or floats that are added
 * @param options.dropoutP share of weights that are dropped, also outside training
 * @param options.isCausal query `i` sees the keys 0 to `i`; not together with a mask
 * @param options.scale default `1 / sqrt(size)`
 *
 * PyTorch: `F.scaled_dot_product_attention`.
 */
export const scaledDotProductAttention: Operator<
  (
    query: Tensor,
    key: Tensor,
    value: Tensor,
    options?: {
      attnMask?: Tensor | null;
      dropoutP?: number;
      isCausal?: boolean;
      scale?: number | null;
      enableGqa?: boolean;
    },
  ) => Tensor
> = operator({
  schema:
    "scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None, float dropout_p=0.0, bool is_causal=False, *, float? scale=None, bool enable_gqa=False) -> Tensor",
  method: false,
  run: (
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | null,
    dropout: number,
    causal: boolean,
    givenScale: number | null,
    enableGqa: boolean,
  ) => {
    if (query.ndim < 2 || key.ndim < 2 || value.ndim < 2)
      throw new RangeError(
        `scaled_dot_product_attention: needs two dimensions or more, not ${showShape(query.shape)}, ${showShape(key.shape)} and ${showShape(value.shape)}`,
      );
    if (mask !== null && causal)
      throw new RangeError("scaled_dot_product_attention: takes a mask or isCausal, not both");
    const scale = givenScale ?? 1 / Math.sqrt(query.shape.at(-1)!);
    const [heads, keyHeads] = [query.shape.at(-3), key.shape.at(-3)];
    const groups = enableGqa && heads !== undefined && keyHeads !== undefined ? heads / keyHeads : 1;
    if (!Number.isInteger(groups))
      throw new RangeError(
        `scaled_dot_product_attention: ${heads} heads do not share ${keyHeads} key heads evenly`,
      );
    const fused = fusedAttention(query, key, value, { mask, dropout, causal, scale, groups });
    if (fused !== undefined) return fused;
    return plainAttention(query, key, value, { mask, dropout, causal, scale, groups });
  },
  derivative: "composite",
  opinfo: ["nn.functional.scaled_dot_product_attention"],
  random: (_input, _args, kwargs) => Number(kwargs["dropout_p"] ?? 0) > 0,
  stage: "stable",
  summary: "Attention of queries to keys and values",
});
