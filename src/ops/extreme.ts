// Largest and smallest elements: amax, amin, max, min, aminmax, argmax, argmin. The kernels are `reduce-kernel.ts` and
// `extreme-kernel.ts`; element-wise maximum and minimum of two tensors are `binary.ts`.

import {
  callOperator,
  emptyLike,
  type Method,
  normalizeDim,
  normalizeDims,
  type Operator,
  operator,
  type Overloads,
  overloads,
  reshaped,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { launchPlace, launchSearch } from "./extreme-kernel.js";
import { pointwise } from "./pointwise.js";
import { reducedShape, reduceDims, sum, unreduce } from "./reduce.js";
import { orderDtype, walk } from "./reduce-kernel.js";
import { rowMajor } from "./rows.js";

declare module "../tensor/tensor.js" {
  interface Tensor {
    amax: Method<typeof amax>;
    amin: Method<typeof amin>;
    aminmax: Method<typeof aminmax>;
    max: Method<ExtremeFunction>;
    min: Method<ExtremeFunction>;
    argmax: Method<typeof argmax>;
    argmin: Method<typeof argmin>;
  }
}

type Kind = "max" | "min";

function refuseEmpty(op: string, x: Tensor, dims: readonly number[]): void {
  if (x.numel === 0 && dims.some((d) => x.shape[d] === 0))
    throw new RangeError(`${op}: there is no element to choose among in ${showShape(x.shape)}`);
}

function extreme(op: string, kind: Kind, x: Tensor, dims: readonly number[], keepdim: boolean): Tensor {
  refuseEmpty(op, x, dims);
  return reduceDims(x, dims, keepdim, { kind, compute: orderDtype(x.dtype), out: x.dtype });
}

const same = pointwise((tl, x, out) => x === out || (tl.isnan(x) && tl.isnan(out)), {
  name: "same_value",
  promote: "bool",
});
const share = pointwise(
  (tl, grad, own, count) => tl.where(own !== 0, grad / tl.cast(count, tl.dtypeOf(grad)), 0),
  {
    name: "share_gradient",
    over: [0],
  },
);

/** The gradient of an extreme, in equal shares to all elements that have its value. */
export function shared(
  grad: Tensor,
  x: Tensor,
  out: Tensor,
  dim: readonly number[] | null,
  keepdim: boolean,
): Tensor {
  const wide = (t: Tensor) => unreduce(t, x.shape, dim, keepdim);
  const own = same(x, wide(out));
  const count = sum(own, x.ndim === 0 ? null : normalizeDims(dim, x.ndim), true);
  return share(wide(grad), own, count.expand([...x.shape]));
}

const extremeDims = (kind: Kind) =>
  operator<
    (
      self: Tensor,
      dim?: number | readonly number[],
      keepdim?: boolean,
      options?: { keepdim?: boolean },
    ) => Tensor
  >({
    schema: `a${kind}(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor`,
    replay: true,
    run: (self: Tensor, dim: readonly number[], keepdim: boolean) =>
      extreme(`a${kind}`, kind, self, normalizeDims(dim, self.ndim), keepdim),
    derivative: {
      save: (args, outputs) => [args[0] as Tensor, outputs[0]!],
      backward: (ctx, grad) => [
        shared(grad, ctx.saved[0]!, ctx.saved[1]!, ctx.args[1] as readonly number[], ctx.args[2] as boolean),
      ],
    },
    opinfo: [`a${kind}`],
    stage: "stable",
    summary: `The ${kind === "max" ? "largest" : "smallest"} element over dimensions`,
  });

/** The largest element over dimensions (default: all); NaN if there is one. PyTorch: `torch.amax`. */
export const amax: Operator<
  (
    self: Tensor,
    dim?: number | readonly number[],
    keepdim?: boolean,
    options?: { keepdim?: boolean },
  ) => Tensor
> = extremeDims("max");
/** The smallest element over dimensions (default: all); NaN if there is one. PyTorch: `torch.amin`. */
export const amin: Operator<
  (
    self: Tensor,
    dim?: number | readonly number[],
    keepdim?: boolean,
    options?: { keepdim?: boolean },
  ) => Tensor
> = extremeDims("min");

const extremeAll = (kind: Kind) =>
  operator<(self: Tensor) => Tensor>({
    schema: `${kind}(Tensor self) -> Tensor`,
    replay: true,
    run: (self: Tensor) => extreme(kind, kind, self, normalizeDims(null, self.ndim), false),
    derivative: {
      save: (args, outputs) => [args[0] as Tensor, outputs[0]!],
      backward: (ctx, grad) => [shared(grad, ctx.saved[0]!, ctx.saved[1]!, null, false)],
    },
    opinfo: [{ op: kind, variant: "reduction_no_dim" }],
    stage: "stable",
    summary: `The ${kind === "max" ? "largest" : "smallest"} of all elements`,
  });

const placeGradient: Operator<
  (grad: Tensor, index: Tensor, shape: readonly number[], dim: number) => Tensor
> = operator({
  schema: "vexil::place_gradient(Tensor grad, Tensor index, int[] shape, int dim) -> Tensor",
  method: false,
  run: (grad: Tensor, index: Tensor, shape: readonly number[], dim: number) => {
    const dx = emptyLike(grad, { shape });
    launchPlace(rowMajor(grad), rowMajor(index), dx, dim);
    return dx;
  },
  summary: "Gradients at the places that were chosen along a dimension, zeros elsewhere",
});

function extremeAlong(op: string, kind: Kind, self: Tensor, dim: number, keepdim: boolean): [Tensor, Tensor] {
  const d = normalizeDim(dim, self.ndim);
  refuseEmpty(op, self, [d]);
  const dims = self.ndim === 0 ? [] : [d];
  const shape = reducedShape(self.shape, dims, keepdim);
  const [values, indices] = launchSearch(walk(self, dims, true), kind);
  return [reshaped(values, shape), reshaped(indices, shape)];
}

const extremeDim = (kind: Kind) =>
  operator<
    (self: Tensor, dim: number, keepdim?: boolean, options?: { keepdim?: boolean }) => [Tensor, Tensor]
  >({
    schema: `${kind}.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)`,
    replay: true,
    run: (self: Tensor, dim: number, keepdim: boolean) => extremeAlong(kind, kind, self, dim, keepdim),
    derivative: {
      save: (_args, outputs) => [outputs[1]!],
      backward: (ctx, grad) => {
        const { shape } = ctx.meta(0);
        return [placeGradient(grad, ctx.saved[0]!, shape, normalizeDim(ctx.args[1] as number, shape.length))];
      },
    },
    opinfo: [{ op: kind, variant: "reduction_with_dim" }],
    stage: "stable",
    summary: `The ${kind === "max" ? "largest" : "smallest"} elements along a dimension, and where they stand`,
  });

const extremeOther = (kind: Kind) =>
  operator<(self: Tensor, other: Tensor) => Tensor>({
    schema: `${kind}.other(Tensor self, Tensor other) -> Tensor`,
    run: (self: Tensor, other: Tensor) => callOperator(kind === "max" ? "maximum" : "minimum", self, other),
    derivative: "composite",
    stage: "stable",
    summary: `The ${kind === "max" ? "larger" : "smaller"} of two tensors, element by element`,
  });

type ExtremeFunction = {
  (self: Tensor): Tensor;
  (self: Tensor, dim: number, keepdim?: boolean, options?: { keepdim?: boolean }): [Tensor, Tensor];
  (self: Tensor, other: Tensor): Tensor;
};

/**
 * The largest of all elements; or along a dimension, with its index (of equal ones the first); or the larger of two
 * tensors, element by element. NaN counts as largest. PyTorch: `torch.max`.
 */
export const max: Overloads<ExtremeFunction> = overloads<ExtremeFunction>(
  extremeAll("max"),
  extremeDim("max"),
  extremeOther("max"),
);
/** As {@link max} with the smallest; NaN counts as smallest. PyTorch: `torch.min`. */
export const min: Overloads<ExtremeFunction> = overloads<ExtremeFunction>(
  extremeAll("min"),
  extremeDim("min"),
  extremeOther("min"),
);

/** The smallest and the largest element, of all or along one dimension. PyTorch: `torch.aminmax`. */
export const aminmax: Operator<
  (self: Tensor, options?: { dim?: number | null; keepdim?: boolean }) => [Tensor, Tensor]
> = operator({
  schema: "aminmax(Tensor self, *, int? dim=None, bool keepdim=False) -> (Tensor min, Tensor max)",
  run: (self: Tensor, dim: number | null, keepdim: boolean) => {
    const dims = dim === null ? [] : [dim];
    return [amin(self, dims, keepdim), amax(self, dims, keepdim)];
  },
  derivative: "composite",
  opinfo: ["aminmax"],
  stage: "stable",
  summary: "The smallest and the largest element",
});

const argOf = (kind: Kind) =>
  operator<(self: Tensor, dim?: number | null, keepdim?: boolean, options?: { keepdim?: boolean }) => Tensor>(
    {
      schema: `arg${kind}(Tensor self, int? dim=None, bool keepdim=False) -> Tensor`,
      replay: true,
      run: (self: Tensor, dim: number | null, keepdim: boolean) => {
        const op = `arg${kind}`;
        if (dim !== null) return extremeAlong(op, kind, self, dim, keepdim)[1];
        const dims = normalizeDims(null, self.ndim);
        refuseEmpty(op, self, dims);
        return reshaped(
          launchSearch(walk(self, dims, true), kind)[1],
          reducedShape(self.shape, dims, keepdim),
        );
      },
      derivative: "none",
      opinfo: [`arg${kind}`],
      stage: "stable",
      summary: `Where the ${kind === "max" ? "largest" : "smallest"} element stands`,
    },
  );

type ArgFunction = (
  self: Tensor,
  dim?: number | null,
  keepdim?: boolean,
  options?: { keepdim?: boolean },
) => Tensor;
/**
 * The i64 index of the largest element along `dim`, or in row-major order of all; of equal ones the first, NaN counts
 * as largest. PyTorch: `torch.argmax`.
 */
export const argmax: Operator<ArgFunction> = argOf("max");
/** As {@link argmax} with the smallest element; NaN counts as smallest. PyTorch: `torch.argmin`. */
export const argmin: Operator<ArgFunction> = argOf("min");
