// Cross entropy of a linear layer over a large vocabulary, in chunks of rows: neither the logits of all rows nor their
// softmax ever exist. The backward pass computes each chunk's logits again (the idea is that of Liger Kernel, Hsu et al.,
// 2024, which computes gradients in the forward pass instead).

import { empty, type Operator, operator, showShape, type Tensor } from "../tensor/index.js";
import { scope } from "../runtime/index.js";
import { crossEntropyRows, crossEntropyRowsBackward } from "./cross-entropy-rows.js";
import { mm } from "./matmul.js";
import { zeros } from "./creation.js";
import { computeDtype } from "./rows.js";

/** Bytes of logits that may exist at once, unless `chunk` says how many rows. */
const CHUNK_BYTES = 64 * 2 ** 20;

const rowsOf = (hidden: Tensor, weight: Tensor, chunk: number): number =>
  chunk > 0 ? chunk : Math.max(1, Math.floor(CHUNK_BYTES / (weight.shape[0]! * hidden.itemSize)));

/** Runs `fn` for each chunk of rows in a scope of its own. */
function eachChunk(rows: number, chunk: number, fn: (start: number, length: number) => void): void {
  for (let start = 0; start < rows; start += chunk)
    scope(() => {
      fn(start, Math.min(chunk, rows - start));
    });
}

const linearCrossEntropyBackward: Operator<
  (
    grad: Tensor,
    hidden: Tensor,
    weight: Tensor,
    target: Tensor,
    lse: Tensor,
    ignoreIndex: number,
    chunk: number,
  ) => [Tensor, Tensor]
> = operator({
  schema:
    "vexil::linear_cross_entropy_backward(Tensor grad, Tensor hidden, Tensor weight, Tensor target, Tensor lse, int ignore_index, int chunk) -> (Tensor, Tensor)",
  method: false,
  run: (
    grad: Tensor,
    hidden: Tensor,
    weight: Tensor,
    target: Tensor,
    lse: Tensor,
    ignore: number,
    chunk: number,
  ) => {
    const [rows, K] = hidden.shape as [number, number];
    const dh = empty([rows, K], { dtype: hidden.dtype, device: hidden.device });
    // Many chunks add up: in f32 for the half types.
    const dw = zeros(weight.shape, { dtype: computeDtype(weight.dtype), device: weight.device });
    eachChunk(rows, rowsOf(hidden, weight, chunk), (start, length) => {
      const h = hidden.narrow(0, start, length);
      const logits = mm(h, weight.t());
      const d = crossEntropyRowsBackward(
        grad.narrow(0, start, length),
        logits,
        target.narrow(0, start, length),
        lse.narrow(0, start, length),
        ignore,
      );
      mm.out(dh.narrow(0, start, length), d, weight);
      dw.add_(mm(d.t(), h));
    });
    return [dh, dw];
  },
  summary: "Gradients of linear_cross_entropy",
});

/**
 * `crossEntropyRows(hidden @ weight^T, target)` in chunks of rows.
 *
 * @param hidden `[rows, n]`
 * @param weight `[classes, n]`, of the same dtype
 * @param target i64 `[rows]`
 * @param options `ignoreIndex`: rows with this target count as 0 (default -100); `chunk`: rows at a time (default: as many as
 *   64 MiB of logits)
 * @returns losses `[rows]` and log-sum-exps `[rows]` (no gradient), f32 (f64 for f64)
 * @throws RangeError where the shapes do not fit
 */
export const linearCrossEntropy: Operator<
  (
    hidden: Tensor,
    weight: Tensor,
    target: Tensor,
    options?: { readonly ignoreIndex?: number; readonly chunk?: number },
  ) => [Tensor, Tensor]
> = operator({
  schema:
    "vexil::linear_cross_entropy(Tensor hidden, Tensor weight, Tensor target, *, int ignore_index=-100, int chunk=0) -> (Tensor, Tensor)",
  method: false,
  run: (hidden: Tensor, weight: Tensor, target: Tensor, ignore: number, chunk: number) => {
    if (
      hidden.ndim !== 2 ||
      weight.ndim !== 2 ||
      weight.shape[1] !== hidden.shape[1] ||
      weight.dtype !== hidden.dtype ||
      target.ndim !== 1 ||
      target.shape[0] !== hidden.shape[0] ||
      target.dtype !== "i64" ||
      chunk < 0
    )
      throw new RangeError(
        `linear_cross_entropy: needs hidden [rows, n], weight [classes, n] of one dtype, i64 targets [rows] and a chunk of 0 or more, not ${hidden.dtype} ${showShape(hidden.shape)}, ${weight.dtype} ${showShape(weight.shape)}, ${target.dtype} ${showShape(target.shape)}, ${chunk}`,
      );
    const rows = hidden.shape[0]!;
    const T = computeDtype(hidden.dtype);
    const loss = empty([rows], { dtype: T, device: hidden.device });
    const lse = empty([rows], { dtype: T, device: hidden.device });
    eachChunk(rows, rowsOf(hidden, weight, chunk), (start, length) => {
      const logits = mm(hidden.narrow(0, start, length), weight.t());
      const [l, e] = crossEntropyRows(logits, target.narrow(0, start, length), ignore);
      loss.narrow(0, start, length).copy_(l);
      lse.narrow(0, start, length).copy_(e);
    });
    return [loss, lse];
  },
  derivative: {
    nullGrads: true,
    save: (args, outputs) => [args[0] as Tensor, args[1] as Tensor, args[2] as Tensor, outputs[1]!],
    backward: (ctx, grad) => {
      if (!grad) return [null, null, null];
      const [hidden, weight, target, lse] = ctx.saved as [Tensor, Tensor, Tensor, Tensor];
      const [dh, dw] = linearCrossEntropyBackward(
        grad,
        hidden,
        weight,
        target,
        lse,
        ctx.args[3] as number,
        ctx.args[4] as number,
      );
      return [dh, dw, null];
    },
  },
  summary: "Cross entropy of a linear layer, without keeping its logits",
});
