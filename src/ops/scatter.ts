// Writing elements at indices along a dimension: scatter and scatter_add. What meets at one element is combined in the
// order of the indices, so results do not vary from run to run. Whole slices are `index-slices.ts`.

import {
  callOperator,
  type Method,
  normalizeDim,
  type Operator,
  operator,
  type Overloads,
  overloads,
  sameShape,
  type Scalar,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { clone, copy_ } from "./cast.js";
import { gather } from "./gather.js";
import { around, checkIndex, eachElement, put, type PutMode, reached } from "./index-kernels.js";
import { changed, inPlace, oneOf, sameDtype, type Self } from "./index-writes.js";
import { rowMajor } from "./rows.js";

/** Puts elements of `source` where the indices say; `y` is row-major. */
export function scatterInto(
  y: Tensor,
  dim: number,
  index: Tensor,
  source: Tensor,
  mode: PutMode,
  what: string,
): void {
  if (index.numel === 0) return;
  checkIndex(index, what);
  const flat = y.ndim === 0 || index.ndim === 0;
  const [target, ids] = flat ? [y.view([-1]), index.reshape([-1])] : [y, index];
  const d = normalizeDim(dim, target.ndim);
  const part = reached(target, ids.shape, d, what);
  const whole = part === target;
  const home = whole ? part : clone(part);
  const a = around(home.shape, d);
  const n = ids.shape[d]!;
  let steps: [number, number, number] = [0, 0, 0];
  let src = source;
  if (source.numel > 1 || source.ndim > 0) {
    const given = flat ? source.reshape([-1]) : source;
    // As long as the index also along the dimension.
    const fitting = reached(given, ids.shape, d, what);
    if (fitting.shape[d]! < n)
      throw new RangeError(
        `${what}: the index ${showShape(index.shape)} is larger than the source ${showShape(source.shape)}`,
      );
    src = rowMajor(fitting.shape[d] === n ? fitting : fitting.narrow(d, 0, n));
    steps = [n * a.inner, a.inner, 1];
  }
  put(home, rowMajor(ids), src, a, n, eachElement(n, a.inner), steps, mode);
  if (!whole) copy_(part, home);
}

/** The gradient of a scattered source, which may be larger than what was read of it. */
function sourceGradient(
  ctx: { meta(i: number): { shape: readonly number[] } },
  grad: Tensor,
  dim: number,
  index: Tensor,
): Tensor {
  const g = gather(grad, dim, index);
  const { shape } = ctx.meta(3);
  if (sameShape(shape, g.shape)) return g;
  const padded = callOperator("zeros", shape, { dtype: g.dtype, device: g.device }) as Tensor;
  let part = padded;
  g.shape.forEach((n, d) => {
    part = part.narrow(d, 0, n);
  });
  copy_(part, g);
  return padded;
}

const scatterSrc: Operator<(self: Tensor, dim: number, index: Tensor, src: Tensor) => Tensor> = operator({
  schema: "scatter.src(Tensor self, int dim, Tensor index, Tensor src) -> Tensor",
  run: (self: Tensor, dim: number, index: Tensor, src: Tensor) => {
    sameDtype(self, src, "scatter");
    return changed(self, "set", (y) => scatterInto(y, dim, index, src, "set", "scatter"));
  },
  derivative: {
    save: (args) => [args[2] as Tensor],
    backward: (ctx, grad) => {
      const [dim, index] = [ctx.args[1] as number, ctx.saved[0]!];
      return [
        ctx.needs[0] ? scatterValue(grad!, dim, index, 0) : null,
        null,
        ctx.needs[2] ? sourceGradient(ctx, grad!, dim, index) : null,
      ];
    },
  },
  opinfo: ["scatter"],
  stage: "stable",
});

const scatterValue: Operator<(self: Tensor, dim: number, index: Tensor, value: Scalar) => Tensor> = operator({
  schema: "scatter.value(Tensor self, int dim, Tensor index, Scalar value) -> Tensor",
  run: (self: Tensor, dim: number, index: Tensor, value: Scalar) =>
    changed(self, "set", (y) => scatterInto(y, dim, index, oneOf(value, self), "set", "scatter")),
  derivative: {
    save: (args) => [args[2] as Tensor],
    backward: (ctx, grad) => [scatterValue(grad!, ctx.args[1] as number, ctx.saved[0]!, 0), null],
  },
  opinfo: ["scatter"],
  stage: "stable",
});

const modeOf = (reduce: string): PutMode => {
  if (reduce === "add" || reduce === "multiply") return reduce;
  throw new RangeError(`scatter: reduce is "add" or "multiply", not "${reduce}"`);
};

const scatterReduce: Operator<
  (self: Tensor, dim: number, index: Tensor, src: Tensor, options: { reduce: "add" | "multiply" }) => Tensor
> = operator({
  schema: "scatter.reduce(Tensor self, int dim, Tensor index, Tensor src, *, str reduce) -> Tensor",
  run: (self: Tensor, dim: number, index: Tensor, src: Tensor, reduce: string) => {
    sameDtype(self, src, "scatter");
    const mode = modeOf(reduce);
    return changed(self, mode, (y) => scatterInto(y, dim, index, src, mode, "scatter"));
  },
  opinfo: ["scatter"],
});

const scatterReduceValue: Operator<
  (self: Tensor, dim: number, index: Tensor, value: Scalar, options: { reduce: "add" | "multiply" }) => Tensor
> = operator({
  schema: "scatter.value_reduce(Tensor self, int dim, Tensor index, Scalar value, *, str reduce) -> Tensor",
  run: (self: Tensor, dim: number, index: Tensor, value: Scalar, reduce: string) => {
    const mode = modeOf(reduce);
    return changed(self, mode, (y) => scatterInto(y, dim, index, oneOf(value, self), mode, "scatter"));
  },
  opinfo: ["scatter"],
});

type Scatter = (
  self: Tensor,
  dim: number,
  index: Tensor,
  src: Tensor | Scalar,
  options?: { reduce: "add" | "multiply" },
) => Tensor;

/**
 * A copy of `self` with `out[index[i, j, k], j, k] = src[i, j, k]` for dim 0, and likewise for others; `src` may be a
 * number. Of equal indices the last one stays. With `reduce` values are added or multiplied instead. PyTorch:
 * `torch.scatter`.
 */
export const scatter: Overloads<Scatter> = overloads<Scatter>(
  scatterReduce,
  scatterReduceValue,
  scatterSrc,
  scatterValue,
);

/**
 * A copy of `self` with `out[index[i, j, k], j, k] += src[i, j, k]` for dim 0, and likewise for others. PyTorch:
 * `torch.scatter_add`.
 */
export const scatterAdd: Operator<(self: Tensor, dim: number, index: Tensor, src: Tensor) => Tensor> =
  operator({
    schema: "scatter_add(Tensor self, int dim, Tensor index, Tensor src) -> Tensor",
    run: (self: Tensor, dim: number, index: Tensor, src: Tensor) => {
      sameDtype(self, src, "scatter_add");
      return changed(self, "add", (y) => scatterInto(y, dim, index, src, "add", "scatter_add"));
    },
    derivative: {
      save: (args) => [args[2] as Tensor],
      backward: (ctx, grad) => [
        grad!,
        null,
        ctx.needs[2] ? sourceGradient(ctx, grad!, ctx.args[1] as number, ctx.saved[0]!) : null,
      ],
    },
    opinfo: ["scatter_add"],
    stage: "stable",
  });

inPlace("scatter_.src(Tensor(a!) self, int dim, Tensor index, Tensor src) -> Tensor(a!)", scatterSrc);
inPlace("scatter_.value(Tensor(a!) self, int dim, Tensor index, Scalar value) -> Tensor(a!)", scatterValue);
inPlace("scatter_add_(Tensor(a!) self, int dim, Tensor index, Tensor src) -> Tensor(a!)", scatterAdd);

declare module "../tensor/tensor.js" {
  interface Tensor {
    scatter: Self<Scatter>;
    scatterAdd: Method<typeof scatterAdd>;
    scatter_(dim: number, index: Tensor, src: Tensor | Scalar): Tensor;
    scatterAdd_: Method<typeof scatterAdd>;
  }
}
