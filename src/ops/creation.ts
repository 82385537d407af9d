// Tensors of one value: zeros, ones, full, empty and their `_like` and `new_` forms. Sequences are `ranges.ts`,
// random numbers `random.ts`, host data `tensor/factory.ts`.

import {
  type DType,
  type Method,
  type Operator,
  operator,
  type Scalar,
  scalarDType,
  type Tensor,
} from "../tensor/index.js";
import { type CreationOptions, fillWith, make, type Options, OPTIONS } from "./options.js";

export type { CreationOptions } from "./options.js";

const LIKE = `${OPTIONS}, MemoryFormat? memory_format=None`;

/** All but the first. */
type Tail = Options extends [unknown, ...infer R] ? R : never;

type Make = (size: number | readonly number[], options?: CreationOptions) => Tensor;
type MakeFull = (size: number | readonly number[], fillValue: Scalar, options?: CreationOptions) => Tensor;
type Like = (self: Tensor, options?: CreationOptions) => Tensor;
type LikeFull = (self: Tensor, fillValue: Scalar, options?: CreationOptions) => Tensor;
type New = (self: Tensor, size: number | readonly number[], options?: CreationOptions) => Tensor;
type NewFull = (
  self: Tensor,
  size: number | readonly number[],
  fillValue: Scalar,
  options?: CreationOptions,
) => Tensor;

/**
 * A tensor of zeros. PyTorch: `torch.zeros`.
 * @example zeros([2, 3], { dtype: "f16" });
 */
export const zeros: Operator<Make> = operator({
  schema: `zeros(int[] size, *, ${OPTIONS}) -> Tensor`,
  run: (size: readonly number[], ...o: Options) => fillWith(make(size, o), 0),
  derivative: "none",
  opinfo: ["zeros"],
  stage: "stable",
});

/** A tensor of ones. PyTorch: `torch.ones`. */
export const ones: Operator<Make> = operator({
  schema: `ones(int[] size, *, ${OPTIONS}) -> Tensor`,
  run: (size: readonly number[], ...o: Options) => fillWith(make(size, o), 1),
  derivative: "none",
  opinfo: ["ones"],
  stage: "stable",
});

/**
 * A tensor that is one value everywhere. The value decides the dtype where none is given: booleans give bool, whole
 * numbers i64, others f32. PyTorch: `torch.full`.
 * @example full([2, 2], 0.5); // f32
 */
export const full: Operator<MakeFull> = operator({
  schema: `full(int[] size, Scalar fill_value, *, ${OPTIONS}) -> Tensor`,
  run: (size: readonly number[], value: Scalar, dtype: DType | null, ...rest: Tail) =>
    fillWith(make(size, [dtype ?? scalarDType(value), ...rest]), value),
  derivative: "none",
  opinfo: ["full"],
  stage: "stable",
});

/** Zeros of another tensor's shape, dtype and device. PyTorch: `torch.zeros_like`. */
export const zerosLike: Operator<Like> = operator({
  schema: `zeros_like(Tensor self, *, ${LIKE}) -> Tensor`,
  run: (self: Tensor, ...o: Options) => fillWith(make(self.shape, o, self), 0),
  derivative: "none",
  opinfo: ["zeros_like"],
  stage: "stable",
});

/** Ones of another tensor's shape, dtype and device. PyTorch: `torch.ones_like`. */
export const onesLike: Operator<Like> = operator({
  schema: `ones_like(Tensor self, *, ${LIKE}) -> Tensor`,
  run: (self: Tensor, ...o: Options) => fillWith(make(self.shape, o, self), 1),
  derivative: "none",
  opinfo: ["ones_like"],
  stage: "stable",
});

/** One value in another tensor's shape, dtype and device. PyTorch: `torch.full_like`. */
export const fullLike: Operator<LikeFull> = operator({
  schema: `full_like(Tensor self, Scalar fill_value, *, ${LIKE}) -> Tensor`,
  run: (self: Tensor, value: Scalar, ...o: Options) => fillWith(make(self.shape, o, self), value),
  derivative: "none",
  opinfo: ["full_like"],
  stage: "stable",
});

/** Unspecified contents in another tensor's shape, dtype and device. PyTorch: `torch.empty_like`. */
const emptyLikeOperator: Operator<Like> = operator({
  schema: `empty_like(Tensor self, *, ${LIKE}) -> Tensor`,
  run: (self: Tensor, ...o: Options) => make(self.shape, o, self),
  derivative: "none",
  opinfo: ["empty_like"],
  stage: "stable",
});

/** Zeros of a shape, with this tensor's dtype and device. PyTorch: `Tensor.new_zeros`. */
export const newZeros: Operator<New> = operator({
  schema: `new_zeros(Tensor self, int[] size, *, ${OPTIONS}) -> Tensor`,
  run: (self: Tensor, size: readonly number[], ...o: Options) => fillWith(make(size, o, self), 0),
  derivative: "none",
  opinfo: ["new_zeros"],
  stage: "stable",
});

/** Ones of a shape, with this tensor's dtype and device. PyTorch: `Tensor.new_ones`. */
export const newOnes: Operator<New> = operator({
  schema: `new_ones(Tensor self, int[] size, *, ${OPTIONS}) -> Tensor`,
  run: (self: Tensor, size: readonly number[], ...o: Options) => fillWith(make(size, o, self), 1),
  derivative: "none",
  opinfo: ["new_ones"],
  stage: "stable",
});

/** One value in a shape, with this tensor's dtype and device. PyTorch: `Tensor.new_full`. */
export const newFull: Operator<NewFull> = operator({
  schema: `new_full(Tensor self, int[] size, Scalar fill_value, *, ${OPTIONS}) -> Tensor`,
  run: (self: Tensor, size: readonly number[], value: Scalar, ...o: Options) =>
    fillWith(make(size, o, self), value),
  derivative: "none",
  opinfo: ["new_full"],
  stage: "stable",
});

/** Unspecified contents in a shape, with this tensor's dtype and device. PyTorch: `Tensor.new_empty`. */
export const newEmpty: Operator<New> = operator({
  schema: `new_empty(Tensor self, int[] size, *, ${OPTIONS}) -> Tensor`,
  run: (self: Tensor, size: readonly number[], ...o: Options) => make(size, o, self),
  derivative: "none",
  opinfo: ["new_empty"],
  stage: "stable",
});

/** `empty` of `tensor/factory.ts` as an operator of the table. */
operator({
  schema: `empty.memory_format(int[] size, *, ${LIKE}) -> Tensor`,
  run: (size: readonly number[], ...o: Options) => make(size, o),
  derivative: "none",
  opinfo: ["empty"],
  stage: "stable",
});

declare module "../tensor/tensor.js" {
  interface Tensor {
    /** Unspecified contents in this tensor's shape, dtype and device. */
    emptyLike: Method<typeof emptyLikeOperator>;
    zerosLike: Method<typeof zerosLike>;
    onesLike: Method<typeof onesLike>;
    fullLike: Method<typeof fullLike>;
    /** Zeros of another shape, with this tensor's dtype and device. */
    newZeros: Method<typeof newZeros>;
    newOnes: Method<typeof newOnes>;
    newFull: Method<typeof newFull>;
    newEmpty: Method<typeof newEmpty>;
  }
}
