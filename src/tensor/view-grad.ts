// How gradients come back through views that show a part of their input: zeros with the part written into.
// Each is an operator, so that it can be differentiated again.

import { hasOperator, callOperator, operator, type Operator } from "./operator.js";
import type { DType } from "./dtype.js";

import { constantTensor } from "./fill.js";
import { emptyLike, tensor } from "./factory.js";
import { normalizeDim, numelOf } from "./layout.js";
import type { TensorMeta } from "./node.js";
import type { Tensor } from "./tensor.js";
import { diagonal, select, slice, unfold } from "./views.js";

type Shape = readonly number[];

/** Zeros that may be written. */
export function zerosFor(shape: Shape, like: { dtype: DType; device: string }): Tensor {
  if (hasOperator("zeros"))
    return callOperator("zeros", shape, { dtype: like.dtype, device: like.device }) as Tensor;
  const out = emptyLike({ shape, dtype: like.dtype, device: like.device });
  callOperator("copy_", out, constantTensor([], 0, like.dtype, like.device));
  return out;
}

/** Zeros with `grad` copied into the part that `view` shows. */
function filled(grad: Tensor, sizes: Shape, view: (whole: Tensor) => Tensor): Tensor {
  const whole = zerosFor(sizes, grad);
  callOperator("copy_", view(whole), grad);
  return whole;
}

/** The gradient of `select`: zeros of the input's shape with `grad` at the index. */
export const selectBackward: Operator<
  (grad: Tensor, inputSizes: Shape, dim: number, index: number) => Tensor
> = operator({
  schema: "select_backward(Tensor grad_output, int[] input_sizes, int dim, int index) -> Tensor",
  run: (grad: Tensor, sizes: Shape, dim: number, index: number) =>
    filled(grad, sizes, (w) => select(w, dim, index)),
  derivative: { backward: (ctx, g) => [select(g, ctx.args[2] as number, ctx.args[3] as number)] },
  stage: "stable",
});

/** The gradient of `slice`: zeros of the input's shape with `grad` in the slice. */
export const sliceBackward: Operator<
  (
    grad: Tensor,
    inputSizes: Shape,
    dim: number,
    start: number | null,
    end: number | null,
    step: number,
  ) => Tensor
> = operator({
  schema:
    "slice_backward(Tensor grad_output, int[] input_sizes, int dim, int? start, int? end, int step) -> Tensor",
  run: (grad: Tensor, sizes: Shape, dim: number, start: number | null, end: number | null, step: number) =>
    filled(grad, sizes, (w) => slice(w, dim, start, end, step)),
  derivative: {
    backward: (ctx, g) => {
      const [, , dim, start, end, step] = ctx.args as [
        unknown,
        Shape,
        number,
        number | null,
        number | null,
        number,
      ];
      return [slice(g, dim, start, end, step)];
    },
  },
  stage: "stable",
});

/** The gradient of `diagonal`: zeros of the input's shape with `grad` on the diagonal. */
export const diagonalBackward: Operator<
  (grad: Tensor, inputSizes: Shape, offset: number, dim1: number, dim2: number) => Tensor
> = operator({
  schema:
    "diagonal_backward(Tensor grad_output, int[] input_sizes, int offset, int dim1, int dim2) -> Tensor",
  run: (grad: Tensor, sizes: Shape, offset: number, dim1: number, dim2: number) =>
    filled(grad, sizes, (w) => diagonal(w, offset, dim1, dim2)),
  derivative: {
    backward: (ctx, g) => {
      const [, , offset, dim1, dim2] = ctx.args as [unknown, Shape, number, number, number];
      return [diagonal(g, offset, dim1, dim2)];
    },
  },
  stage: "stable",
});

/** The gradient of `unfold`: every window added to its place; windows may overlap. */
export const unfoldBackward: Operator<
  (grad: Tensor, inputSizes: Shape, dim: number, size: number, step: number) => Tensor
> = operator({
  schema: "unfold_backward(Tensor grad_in, int[] input_sizes, int dim, int size, int step) -> Tensor",
  run: (grad: Tensor, sizes: Shape, dim: number, size: number, step: number) => {
    const whole = zerosFor(sizes, grad);
    if (sizes.length === 0) {
      if (size > 0) callOperator("copy_", whole, select(grad, 0, 0));
      return whole;
    }
    const d = normalizeDim(dim, sizes.length);
    const windows = grad.shape[d]!;
    for (let j = 0; j < size; j++) {
      // Element j of all windows falls on distinct places, so each round only adds.
      const place = slice(whole, d, j, j + (windows - 1) * step + 1, step);
      callOperator("copy_", place, callOperator("add.Tensor", place, select(grad, -1, j)));
    }
    return whole;
  },
  derivative: {
    backward: (ctx, g) => {
      const [, , dim, size, step] = ctx.args as [unknown, Shape, number, number, number];
      return [unfold(g, dim, size, step)];
    },
  },
  stage: "stable",
});

/** The storage element, counted from the input's first, of every element of a strided layout. */
function places(shape: Shape, strides: Shape, offset: number): Float64Array {
  const out = new Float64Array(numelOf(shape));
  const index = new Array<number>(shape.length).fill(0);
  let place = offset;
  for (let at = 0; at < out.length; at++) {
    out[at] = place;
    for (let d = shape.length - 1; d >= 0; d--) {
      place += strides[d]!;
      if (++index[d]! < shape[d]!) break;
      place -= strides[d]! * shape[d]!;
      index[d] = 0;
    }
  }
  return out;
}

/**
 * The gradient of `asStrided`: what several elements of the view show of the same memory adds up, and what the
 * input shows several times is shared among its elements.
 */
export function asStridedBackward(grad: Tensor, input: TensorMeta, strides: Shape, offset: number): Tensor {
  const to = places(grad.shape, strides, offset);
  const from = places(input.shape, input.strides, 0);
  let low = 0;
  let high = -1;
  for (const p of to) [low, high] = [Math.min(low, p), Math.max(high, p)];
  for (const p of from) [low, high] = [Math.min(low, p), Math.max(high, p)];
  const i64 = (list: Float64Array): Tensor =>
    tensor(
      BigInt64Array.from(list, (p) => BigInt(p - low)),
      { device: grad.device },
    );
  const flat = callOperator("reshape", grad, [-1]) as Tensor;
  const memory = callOperator("index_add", zerosFor([high - low + 1], grad), 0, i64(to), flat) as Tensor;
  const seen = callOperator("index_select", memory, 0, i64(from)) as Tensor;
  const counts = new Map<number, number>();
  for (const p of from) counts.set(p, (counts.get(p) ?? 0) + 1);
  const shaped = callOperator("view", seen, input.shape) as Tensor;
  if (counts.size === from.length) return shaped;
  const share = tensor(
    Float64Array.from(from, (p) => 1 / counts.get(p)!),
    {
      shape: input.shape,
      dtype: grad.dtype,
      device: grad.device,
    },
  );
  return callOperator("mul.Tensor", shaped, share) as Tensor;
}
