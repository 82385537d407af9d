// The matrix product family of PyTorch: mm, bmm, mv, dot, matmul, linear, addmm and their relatives.
// The kernel stands in `matmul-kernel.ts`.

import {
  broadcastShapes,
  callOperator,
  type DType,
  emptyLike,
  isFloatDType,
  type Method,
  type Operator,
  operator,
  type Scalar,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { launchProduct, matricesOf } from "./matmul-kernel.js";

declare module "../tensor/tensor.js" {
  interface Tensor {
    mm: Method<typeof mm>;
    bmm: Method<typeof bmm>;
    mv: Method<typeof mv>;
    dot: Method<typeof dot>;
    matmul: Method<typeof matmul>;
    addmm: Method<typeof addmm>;
    baddbmm: Method<typeof baddbmm>;
  }
}

const isHalf = (d: DType): boolean => d === "f16" || d === "bf16";

/** `widens`: a half `b` may serve a wider `a`. */
function check(op: string, a: Tensor, b: Tensor, ok: boolean, widens = false): void {
  if (a.dtype !== b.dtype && !(widens && isHalf(b.dtype) && (a.dtype === "f32" || a.dtype === "f64")))
    throw new TypeError(`${op}: both must have one dtype, not ${a.dtype} and ${b.dtype}`);
  if (a.dtype === "bool") throw new TypeError(`${op}: bool is not supported`);
  if (!ok) throw new RangeError(`${op}: shapes ${showShape(a.shape)} and ${showShape(b.shape)} do not fit`);
}

/** `[n, m] @ [m, p] -> [n, p]`. PyTorch: `torch.mm`. */
export const mm: Operator<(self: Tensor, mat2: Tensor) => Tensor> = operator({
  schema: "mm(Tensor self, Tensor mat2) -> Tensor",
  replay: true,
  run: (self: Tensor, mat2: Tensor) => {
    check("mm", self, mat2, self.ndim === 2 && mat2.ndim === 2 && self.shape[1] === mat2.shape[0]);
    const [M, K] = self.shape as [number, number];
    const N = mat2.shape[1]!;
    const out = emptyLike(self, { shape: [M, N] });
    launchProduct(matricesOf(self), matricesOf(mat2), matricesOf(out), { batch: 1, M, N, K });
    return out;
  },
  derivative: {
    save: (args, _outputs, needs) => saveBoth(args, needs),
    backward: (ctx, grad) => {
      const [mat2, self] = restoreBoth(ctx.saved, ctx.needs);
      return [mat2 ? mm(grad, mat2.t()) : null, self ? mm(self.t(), grad) : null];
    },
  },
  opinfo: ["mm"],
  stage: "stable",
  summary: "Product of two matrices",
});

/** `[b, n, m] @ [b, m, p] -> [b, n, p]`. PyTorch: `torch.bmm`. */
export const bmm: Operator<(self: Tensor, mat2: Tensor) => Tensor> = operator({
  schema: "bmm(Tensor self, Tensor mat2) -> Tensor",
  replay: true,
  run: (self: Tensor, mat2: Tensor) => {
    const fits =
      self.ndim === 3 &&
      mat2.ndim === 3 &&
      self.shape[0] === mat2.shape[0] &&
      self.shape[2] === mat2.shape[1];
    check("bmm", self, mat2, fits);
    const [batch, M, K] = self.shape as [number, number, number];
    const N = mat2.shape[2]!;
    const out = emptyLike(self, { shape: [batch, M, N] });
    launchProduct(matricesOf(self), matricesOf(mat2), matricesOf(out), { batch, M, N, K });
    return out;
  },
  derivative: {
    save: (args, _outputs, needs) => saveBoth(args, needs),
    backward: (ctx, grad) => {
      const [mat2, self] = restoreBoth(ctx.saved, ctx.needs);
      return [mat2 ? bmm(grad, mat2.transpose(1, 2)) : null, self ? bmm(self.transpose(1, 2), grad) : null];
    },
  },
  opinfo: ["bmm"],
  stage: "stable",
  summary: "Products of two batches of matrices",
});

/** Saves what the other argument's gradient needs, and nothing else. */
function saveBoth(args: readonly unknown[], needs: readonly boolean[]): Tensor[] {
  const [self, mat2] = args as [Tensor, Tensor];
  return [...(needs[0] ? [mat2] : []), ...(needs[1] ? [self] : [])];
}

/** What {@link saveBoth} saved: `mat2` if self wants a gradient, `self` if mat2 does. */
function restoreBoth(
  saved: readonly Tensor[],
  needs: readonly boolean[],
): [Tensor | undefined, Tensor | undefined] {
  return [needs[0] ? saved[0] : undefined, needs[1] ? saved.at(-1) : undefined];
}

/** `[n, m] @ [m] -> [n]`. PyTorch: `torch.mv`. */
export const mv: Operator<(self: Tensor, vec: Tensor) => Tensor> = operator({
  schema: "mv(Tensor self, Tensor vec) -> Tensor",
  run: (self: Tensor, vec: Tensor) => {
    check("mv", self, vec, self.ndim === 2 && vec.ndim === 1 && self.shape[1] === vec.shape[0]);
    return mm(self, vec.unsqueeze(1)).squeeze(1);
  },
  derivative: "composite",
  opinfo: ["mv"],
  stage: "stable",
  summary: "Product of a matrix and a vector",
});

/** `[n] . [n] -> []`. PyTorch: `torch.dot`. */
export const dot: Operator<(self: Tensor, tensor: Tensor) => Tensor> = operator({
  schema: "dot(Tensor self, Tensor tensor) -> Tensor",
  run: (self: Tensor, other: Tensor) => {
    check("dot", self, other, self.ndim === 1 && other.ndim === 1 && self.shape[0] === other.shape[0]);
    return mm(self.unsqueeze(0), other.unsqueeze(1)).view([]);
  },
  derivative: "composite",
  opinfo: ["dot", "vdot"],
  stage: "stable",
  summary: "Inner product of two vectors",
});

/**
 * The product of tensors of any rank: vectors, matrices, batches that broadcast. PyTorch: `torch.matmul`.
 * `[..., n, m] @ [..., m, p] -> [..., n, p]`; a vector counts as a row on the left and a column on the right.
 */
export const matmul: Operator<(self: Tensor, other: Tensor) => Tensor> = operator({
  schema: "matmul(Tensor self, Tensor other) -> Tensor",
  run: (self: Tensor, other: Tensor) => {
    check("matmul", self, other, self.ndim > 0 && other.ndim > 0);
    if (self.ndim === 1 && other.ndim === 1) return dot(self, other);
    if (self.ndim === 1) return matmul(self.unsqueeze(0), other).squeeze(-2);
    if (other.ndim === 1) return matmul(self, other.unsqueeze(1)).squeeze(-1);
    check("matmul", self, other, self.shape.at(-1) === other.shape.at(-2));
    if (self.ndim === 2 && other.ndim === 2) return mm(self, other);
    const [M, K, N] = [self.shape.at(-2)!, self.shape.at(-1)!, other.shape.at(-1)!];
    // One matrix on the right serves all rows of the left at once.
    if (other.ndim === 2)
      return mm(self.reshape([rowsOf(self), K]), other).view([...self.shape.slice(0, -1), N]);
    const batch = broadcastShapes(self.shape.slice(0, -2), other.shape.slice(0, -2));
    const count = batch.reduce((n, d) => n * d, 1);
    const a = self.expand([...batch, M, K]).reshape([count, M, K]);
    const b = other.expand([...batch, K, N]).reshape([count, K, N]);
    return bmm(a, b).view([...batch, M, N]);
  },
  derivative: "composite",
  opinfo: ["matmul", { op: "__rmatmul__", adapt: (input, args) => [args[0], input] }],
  stage: "stable",
  summary: "Product of tensors of any rank",
});

const rowsOf = (t: Tensor): number => t.shape.slice(0, -1).reduce((n, d) => n * d, 1);

/** `input @ weight.T + bias`: `[..., in] -> [..., out]`; weight `[out, in]` or `[in]`. PyTorch: `F.linear`. */
const linearProduct: Operator<(input: Tensor, weight: Tensor) => Tensor> = operator({
  schema: "vexil::linear_product(Tensor input, Tensor weight) -> Tensor",
  replay: true,
  method: false,
  run: (input: Tensor, weight: Tensor) => {
    const K = input.shape.at(-1)!;
    const [N] = weight.shape as [number, number];
    const flat = input.ndim === 2 ? input : input.reshape([rowsOf(input), K]);
    const M = flat.shape[0]!;
    const out = emptyLike(input, { shape: [...input.shape.slice(0, -1), N] });
    const { rowStride, colStride } = matricesOf(weight);
    const right = { tensor: weight, batchStride: 0, rowStride: colStride, colStride: rowStride };
    const result = { tensor: out, batchStride: 0, rowStride: N, colStride: 1 };
    launchProduct(matricesOf(flat), right, result, { batch: 1, M, N, K });
    return out;
  },
  derivative: {
    save: (args, _outputs, needs) => saveBoth(args, needs),
    backward: (ctx, grad) => {
      const [weight, input] = restoreBoth(ctx.saved, ctx.needs);
      const flat = grad.reshape([-1, grad.shape.at(-1)!]);
      return [
        weight ? linearProduct(flat, weight.t()).view(ctx.meta(0).shape) : null,
        input ? mm(flat.t(), input.reshape([-1, input.shape.at(-1)!])) : null,
      ];
    },
  },
  summary: "linear without bias",
});

/**
 * `input @ weight.T + bias`: `[..., in] -> [..., out]`; weight `[out, in]` or `[in]`. PyTorch: `F.linear`. Unlike there, a
 * matrix of f16 or bf16 may serve an input of f32 or f64: it is widened on the way, and the result is the input's dtype.
 */
export const linear: Operator<(input: Tensor, weight: Tensor, bias?: Tensor | null) => Tensor> = operator({
  schema: "linear(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor",
  method: false,
  run: (input: Tensor, weight: Tensor, bias: Tensor | null) => {
    check(
      "linear",
      input,
      weight,
      weight.ndim <= 2 && weight.ndim > 0 && input.ndim > 0 && input.shape.at(-1) === weight.shape.at(-1),
      weight.ndim === 2,
    );
    const y = weight.ndim === 1 ? matmul(input, weight) : linearProduct(input, weight);
    return bias ? (callOperator("add.Tensor", y, bias) as Tensor) : y;
  },
  derivative: "composite",
  opinfo: ["nn.functional.linear"],
  stage: "stable",
  summary: "Affine map of the last dimension",
});

export const scaled = (t: Tensor, by: Scalar): Tensor =>
  by === 1 || by === true ? t : (callOperator("mul.Tensor", t, by) as Tensor);

/** The factor in the tensor's dtype: integers are multiplied by whole numbers, as in PyTorch. */
export function factor(by: Scalar, t: Tensor): Scalar {
  if (t.dtype === "bool") return Boolean(by);
  return typeof by === "number" && !isFloatDType(t.dtype) ? Math.trunc(by) : by;
}

/** `beta * self + alpha * product`; `beta` 0 ignores self, NaN included. */
export function plus(self: Tensor, product: Tensor, beta: Scalar, alpha: Scalar): Tensor {
  const p = scaled(product, factor(alpha, product));
  const b = factor(beta, product);
  if (Number(b) !== 0) return callOperator("add.Tensor", scaled(self, b), p) as Tensor;
  return p;
}

/** `beta * self + alpha * (mat1 @ mat2)`. PyTorch: `torch.addmm`. */
export const addmm: Operator<
  (self: Tensor, mat1: Tensor, mat2: Tensor, options?: { beta?: Scalar; alpha?: Scalar }) => Tensor
> = operator({
  schema: "addmm(Tensor self, Tensor mat1, Tensor mat2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
  run: (self: Tensor, mat1: Tensor, mat2: Tensor, beta: Scalar, alpha: Scalar) =>
    plus(self, mm(mat1, mat2), beta, alpha),
  derivative: "composite",
  opinfo: ["addmm", { op: "addmm", variant: "decomposed" }],
  stage: "stable",
  summary: "Product of two matrices, added to a third",
});

/** `beta * self + alpha * (batch1 @ batch2)`. PyTorch: `torch.baddbmm`. */
export const baddbmm: Operator<
  (self: Tensor, batch1: Tensor, batch2: Tensor, options?: { beta?: Scalar; alpha?: Scalar }) => Tensor
> = operator({
  schema: "baddbmm(Tensor self, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
  run: (self: Tensor, batch1: Tensor, batch2: Tensor, beta: Scalar, alpha: Scalar) =>
    plus(self, bmm(batch1, batch2), beta, alpha),
  derivative: "composite",
  opinfo: ["baddbmm"],
  stage: "stable",
  summary: "Products of two batches of matrices, added to a third",
});
