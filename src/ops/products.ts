// Relatives of the matrix product that are made of it: outer, inner, addmv, addr, addbmm.

import { isNarrowFloat } from "../compiler/ir/dtype.js";
import { roundTo } from "../compiler/ir/rounding.js";
import {
  callOperator,
  isFloatDType,
  type Method,
  type Operator,
  operator,
  type Scalar,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { factor, mm, mv, plus, scaled } from "./matmul.js";

declare module "../tensor/tensor.js" {
  interface Tensor {
    outer: Method<typeof outer>;
    inner: Method<typeof inner>;
    addmv: Method<typeof addmv>;
    addr: Method<typeof addr>;
    addbmm: Method<typeof addbmm>;
  }
}

const times = (a: Tensor, b: Tensor): Tensor => callOperator("mul.Tensor", a, b) as Tensor;

// Where PyTorch rounds half types on the way, so do these, since sums that cancel show it.
const isNarrow = (t: Tensor): boolean => isNarrowFloat(t.dtype);
const wide = (t: Tensor): Tensor => callOperator("_to_copy", t, { dtype: "f32" }) as Tensor;
const narrow = (t: Tensor, like: Tensor): Tensor =>
  callOperator("_to_copy", t, { dtype: like.dtype }) as Tensor;
/** A factor rounded to the tensor's dtype. */
const inDtype = (by: Scalar, t: Tensor): Scalar =>
  isFloatDType(t.dtype) ? (roundTo(t.dtype, Number(by)) as number) : factor(by, t);

/** `[n] x [m] -> [n, m]`: all products. PyTorch: `torch.outer`. */
export const outer: Operator<(self: Tensor, vec2: Tensor) => Tensor> = operator({
  schema: "outer(Tensor self, Tensor vec2) -> Tensor",
  run: (self: Tensor, vec2: Tensor) => {
    if (self.ndim !== 1 || vec2.ndim !== 1)
      throw new RangeError(
        `outer: needs two vectors, not ${showShape(self.shape)} and ${showShape(vec2.shape)}`,
      );
    return times(self.unsqueeze(1), vec2.unsqueeze(0));
  },
  derivative: "composite",
  opinfo: ["outer"],
  stage: "stable",
  summary: "All products of the elements of two vectors",
});

/** `[..., k] . [*, k] -> [..., *]`: sums of products along the last dimensions; a scalar multiplies. PyTorch: `torch.inner`. */
export const inner: Operator<(self: Tensor, other: Tensor) => Tensor> = operator({
  schema: "inner(Tensor self, Tensor other) -> Tensor",
  run: (self: Tensor, other: Tensor) => {
    if (self.ndim === 0 || other.ndim === 0) return times(self, other);
    const k = self.shape.at(-1)!;
    if (other.shape.at(-1) !== k)
      throw new RangeError(
        `inner: the last dimensions of ${showShape(self.shape)} and ${showShape(other.shape)} differ`,
      );
    const [a, b] = [self.shape.slice(0, -1), other.shape.slice(0, -1)];
    const size = (s: readonly number[]) => s.reduce((n, d) => n * d, 1);
    return mm(self.reshape([size(a), k]), other.reshape([size(b), k]).t()).view([...a, ...b]);
  },
  derivative: "composite",
  opinfo: ["inner"],
  stage: "stable",
  summary: "Sums of products along the last dimensions",
});

type Factors = { beta?: Scalar; alpha?: Scalar };

/** `beta * self + alpha * (mat @ vec)`. PyTorch: `torch.addmv`. */
export const addmv: Operator<(self: Tensor, mat: Tensor, vec: Tensor, options?: Factors) => Tensor> =
  operator({
    schema: "addmv(Tensor self, Tensor mat, Tensor vec, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
    run: (self: Tensor, mat: Tensor, vec: Tensor, beta: Scalar, alpha: Scalar) =>
      plus(self, mv(mat, vec), beta, alpha),
    derivative: "composite",
    opinfo: ["addmv"],
    stage: "stable",
    summary: "Product of a matrix and a vector, added to another vector",
  });

/** `beta * self + alpha * outer(vec1, vec2)`. PyTorch: `torch.addr`. */
export const addr: Operator<(self: Tensor, vec1: Tensor, vec2: Tensor, options?: Factors) => Tensor> =
  operator({
    schema: "addr(Tensor self, Tensor vec1, Tensor vec2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
    run: (self: Tensor, vec1: Tensor, vec2: Tensor, beta: Scalar, alpha: Scalar) =>
      plus(self, outer(scaled(vec1, inDtype(alpha, vec1)), vec2), inDtype(beta, self), 1),
    derivative: "composite",
    opinfo: ["addr"],
    stage: "stable",
    summary: "Outer product of two vectors, added to a matrix",
  });

/** `beta * self + alpha * sum_i(batch1[i] @ batch2[i])`. PyTorch: `torch.addbmm`. */
export const addbmm: Operator<(self: Tensor, batch1: Tensor, batch2: Tensor, options?: Factors) => Tensor> =
  operator({
    schema: "addbmm(Tensor self, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
    run: (self: Tensor, batch1: Tensor, batch2: Tensor, beta: Scalar, alpha: Scalar) => {
      const [b, n, m] = batch1.shape as [number, number, number];
      if (batch1.ndim !== 3 || batch2.ndim !== 3 || batch2.shape[0] !== b || batch2.shape[1] !== m)
        throw new RangeError(
          `addbmm: shapes ${showShape(batch1.shape)} and ${showShape(batch2.shape)} do not fit`,
        );
      if (isNarrow(self) && b > 0) {
        let y = self;
        for (let i = 0; i < b; i++) {
          const product = mm(wide(batch1.select(0, i)), wide(batch2.select(0, i)));
          y = narrow(plus(wide(y), product, i === 0 ? beta : 1, alpha), self);
        }
        return y;
      }
      // The sum over the batch is part of one product: [n, b*m] @ [b*m, p].
      const left = batch1.permute([1, 0, 2]).reshape([n, b * m]);
      return plus(self, mm(left, batch2.reshape([b * m, batch2.shape[2]!])), beta, alpha);
    },
    derivative: "composite",
    opinfo: ["addbmm"],
    stage: "stable",
    summary: "Sum of the products of two batches of matrices, added to a matrix",
  });
