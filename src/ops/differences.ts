// Differences and areas along a dimension, sums to smaller shapes. The semantics are those of torch.* of the same name.

import {
  isFloatDType,
  type Method,
  normalizeDim,
  type Operator,
  operator,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { add, mul, sub } from "./binary.js";
import { clone, toCopy } from "./cast.js";
import { logicalXor } from "./compare.js";
import { cat } from "./join.js";
import { pointwise } from "./pointwise.js";
import { sum } from "./reduce.js";
import { cumsum } from "./scan.js";

/**
 * `n` times the difference of neighbours along `dim`; of bools whether they differ. `prepend` and `append` are joined to the
 * tensor first. PyTorch: `torch.diff`.
 */
export const diff: Operator<
  (
    self: Tensor,
    n?: number,
    dim?: number,
    prepend?: Tensor | null,
    append?: Tensor | null,
    options?: { prepend?: Tensor | null; append?: Tensor | null },
  ) => Tensor
> = operator({
  schema: "diff(Tensor self, int n=1, int dim=-1, Tensor? prepend=None, Tensor? append=None) -> Tensor",
  run: (self: Tensor, n: number, dim: number, prepend: Tensor | null, append: Tensor | null) => {
    if (self.ndim === 0) throw new RangeError("diff: a 0-dim tensor has no neighbours");
    if (n < 0) throw new RangeError(`diff: n is 0 or more, not ${n}`);
    const d = normalizeDim(dim, self.ndim);
    const parts = [prepend, self, append].filter((t) => t !== null);
    let x = parts.length > 1 ? cat(parts, d) : self;
    if (n === 0) return x === self ? clone(self) : x;
    for (let i = 0; i < n && x.shape[d]! > 0; i++) {
      const m = x.shape[d]! - 1;
      const [next, own] = [x.narrow(d, 1, m), x.narrow(d, 0, m)];
      x = self.dtype === "bool" ? logicalXor(next, own) : sub(next, own);
    }
    return x;
  },
  derivative: "composite",
  opinfo: ["diff"],
  stage: "stable",
  summary: "Differences of neighbours along a dimension",
});

const half = pointwise((_tl, x, width) => x * (width / 2), {
  name: "half",
  promote: "intToFloat",
  over: [0],
});

/** Twice the areas below the lines between neighbours, of width 1 without places; integers in their own dtype. */
function twiceAreas(op: string, y: Tensor, x: Tensor | null, dim: number): Tensor {
  const d = normalizeDim(dim, y.ndim);
  const n = Math.max(0, (y.shape[d] ?? 0) - 1);
  const both = add(y.narrow(d, 0, n), y.narrow(d, n === 0 ? 0 : 1, n));
  if (x === null) return both;
  // A list of places belongs to the dimension; other missing dimensions come first.
  const along = x.ndim === 1 && y.ndim > 1 ? x.view(y.shape.map((_, i) => (i === d ? x.numel : 1))) : x;
  const at = d - (y.ndim - along.ndim);
  if (at < 0 || along.shape[at] !== y.shape[d])
    throw new RangeError(
      `${op}: ${showShape(x.shape)} are no places of dimension ${d} of ${showShape(y.shape)}`,
    );
  return mul(both, sub(along.narrow(at, n === 0 ? 0 : 1, n), along.narrow(at, 0, n)));
}

type Trapezoid = (y: Tensor, x?: Tensor | null, options?: { dx?: number; dim?: number }) => Tensor;
const trapezoidal = (op: string, total: boolean): Operator<Trapezoid> =>
  operator({
    schema: `${op}.x(Tensor y, Tensor? x=None, *, Scalar dx=1, int dim=-1) -> Tensor`,
    run: (y: Tensor, x: Tensor | null, dx: number, dim: number) => {
      // PyTorch adds up single elements exactly, but pairs of them in their own dtype.
      const exact = total && x === null && !isFloatDType(y.dtype) ? toCopy(y, { dtype: "i64" }) : y;
      const areas = twiceAreas(op, exact, x, dim);
      return half(total ? sum(areas, [dim]) : cumsum(areas, dim), x === null ? dx : 1);
    },
    derivative: "composite",
    opinfo: [op],
    stage: "stable",
    summary: "Area below a line along a dimension, by trapezoids",
  });
/** The area below y along `dim`, by trapezoids of width `dx` or between places `x`. PyTorch: `torch.trapezoid`. */
export const trapezoid: Operator<Trapezoid> = trapezoidal("trapezoid", true);
/** {@link trapezoid} by its older name. PyTorch: `torch.trapz`. */
export const trapz: Operator<Trapezoid> = trapezoidal("trapz", true);
/** The running sums of the trapezoids of {@link trapezoid}. PyTorch: `torch.cumulative_trapezoid`. */
export const cumulativeTrapezoid: Operator<Trapezoid> = trapezoidal("cumulative_trapezoid", false);

/** The sum over whatever broadcasting a tensor of the shape `size` to this one would repeat. PyTorch: `Tensor.sum_to_size`. */
export const sumToSize: Operator<
  (self: Tensor, size: readonly number[] | number, ...more: number[]) => Tensor
> = operator({
  schema: "sum_to_size(Tensor self, int[] size) -> Tensor",
  run: (self: Tensor, size: readonly number[]) => {
    const lead = self.ndim - size.length;
    const refuse = lead < 0 || size.some((n, d) => n !== 1 && n !== self.shape[d + lead]);
    if (refuse)
      throw new RangeError(`sum_to_size: ${showShape(size)} does not broadcast to ${showShape(self.shape)}`);
    // As in PyTorch the sum of everything is of integers also where there is one element.
    if (size.length === 0) return sum(self);
    const dims = self.shape.flatMap((n, d) => (d < lead || (size[d - lead] === 1 && n !== 1) ? [d] : []));
    return dims.length === 0 ? self : sum(self, dims, true).view([...size]);
  },
  derivative: "composite",
  opinfo: ["sum_to_size"],
  stage: "stable",
  summary: "Sum to a shape that broadcasts to this one",
});

/** The sum of a matrix's diagonal. PyTorch: `torch.trace`. */
export const matrixTrace: Operator<(self: Tensor) => Tensor> = operator({
  schema: "trace(Tensor self) -> Tensor",
  run: (self: Tensor) => {
    if (self.ndim !== 2) throw new RangeError(`trace takes a matrix, not ${showShape(self.shape)}`);
    return sum(self.diagonal());
  },
  derivative: "composite",
  opinfo: ["trace"],
  stage: "stable",
  summary: "Sum of the diagonal",
});

declare module "../tensor/tensor.js" {
  interface Tensor {
    diff: Method<typeof diff>;
    sumToSize: Method<typeof sumToSize>;
    trace: Method<typeof matrixTrace>;
  }
}
