// New random tensors: even, normal and whole numbers. All take a generator and depend only on its seed and position.
// Filling tensors in place and drawing by weight is `distributions.ts`.

import type { Generator } from "../runtime/index.js";
import {
  callOperator,
  emptyLike,
  isFloatDType,
  type Method,
  type Operator,
  operator,
  type Overloads,
  overloads,
  Tensor,
} from "../tensor/index.js";
import { type CreationOptions, make, type Options, OPTIONS } from "./options.js";
import { checkStd, fillIntegers, fillNormal, fillUniform } from "./random-kernels.js";

/** Where random numbers come from, beside what every maker of tensors takes. */
export interface RandomOptions extends CreationOptions {
  /** Default: the one that `manualSeed` seeds. */
  readonly generator?: Generator | null;
}
type Source = { readonly generator?: Generator | null };
type Size = number | readonly number[];

const RANDOM = `*, Generator? generator=None, ${OPTIONS}`;
type RandomArgs = [generator: Generator | null, ...options: Options];

/** An uninitialised tensor of a float dtype. */
function floats(what: string, shape: readonly number[], o: Options, like?: Tensor): Tensor {
  const t = make(shape, o, like);
  if (!isFloatDType(t.dtype)) throw new TypeError(`${what} makes floats, not ${t.dtype}`);
  return t;
}

/**
 * Evenly distributed numbers, at least 0 and below 1. PyTorch: `torch.rand`.
 * @example rand([2, 3], { generator: new Generator(42) });
 */
export const rand: Operator<(size: Size, options?: RandomOptions) => Tensor> = operator({
  schema: `rand(int[] size, ${RANDOM}) -> Tensor`,
  run: (size: readonly number[], ...[g, ...o]: RandomArgs) => fillUniform(floats("rand", size, o), 0, 1, g),
  derivative: "none",
  opinfo: ["rand"],
  stage: "stable",
});

/** Standard normally distributed numbers. PyTorch: `torch.randn`. */
export const randn: Operator<(size: Size, options?: RandomOptions) => Tensor> = operator({
  schema: `randn(int[] size, ${RANDOM}) -> Tensor`,
  run: (size: readonly number[], ...[g, ...o]: RandomArgs) => fillNormal(floats("randn", size, o), 0, 1, g),
  derivative: "none",
  opinfo: ["randn"],
  stage: "stable",
});

const LIKE = `${RANDOM}, MemoryFormat? memory_format=None`;

/** {@link rand} in another tensor's shape, dtype and device. PyTorch: `torch.rand_like`. */
export const randLike: Operator<(self: Tensor, options?: RandomOptions) => Tensor> = operator({
  schema: `rand_like(Tensor self, ${LIKE}) -> Tensor`,
  run: (self: Tensor, ...[g, ...o]: RandomArgs) =>
    fillUniform(floats("rand_like", self.shape, o, self), 0, 1, g),
  derivative: "none",
  opinfo: ["rand_like"],
  stage: "stable",
});

/** {@link randn} in another tensor's shape, dtype and device. PyTorch: `torch.randn_like`. */
export const randnLike: Operator<(self: Tensor, options?: RandomOptions) => Tensor> = operator({
  schema: `randn_like(Tensor self, ${LIKE}) -> Tensor`,
  run: (self: Tensor, ...[g, ...o]: RandomArgs) =>
    fillNormal(floats("randn_like", self.shape, o, self), 0, 1, g),
  derivative: "none",
  opinfo: ["randn_like"],
  stage: "stable",
});

function integers(y: Tensor, low: number, high: number, g: Generator | null): Tensor {
  if (!(low < high))
    throw new RangeError(`randint: from ${low} up to, not including, ${high} there is no integer`);
  return fillIntegers(y, BigInt(low), BigInt(high), g);
}

const randintHigh: Operator<(high: number, size: Size, options?: RandomOptions) => Tensor> = operator({
  schema: `randint(int high, int[] size, ${RANDOM}) -> Tensor`,
  run: (high: number, size: readonly number[], ...[g, dtype, ...o]: RandomArgs) =>
    integers(make(size, [dtype ?? "i64", ...o]), 0, high, g),
  derivative: "none",
  opinfo: ["randint"],
  stage: "stable",
});

const randintLow: Operator<(low: number, high: number, size: Size, options?: RandomOptions) => Tensor> =
  operator({
    schema: `randint.low(int low, int high, int[] size, ${RANDOM}) -> Tensor`,
    run: (low: number, high: number, size: readonly number[], ...[g, dtype, ...o]: RandomArgs) =>
      integers(make(size, [dtype ?? "i64", ...o]), low, high, g),
    derivative: "none",
    opinfo: ["randint"],
    stage: "stable",
  });

interface Randint {
  (high: number, size: readonly number[], options?: RandomOptions): Tensor;
  (low: number, high: number, size: readonly number[], options?: RandomOptions): Tensor;
}
/**
 * Random integers from `low` (default 0) up to, not including, `high`; i64 unless a dtype is given. PyTorch:
 * `torch.randint`.
 */
export const randint: Overloads<Randint> = overloads<Randint>(randintLow, randintHigh);

const randintLikeHigh: Operator<(self: Tensor, high: number, options?: RandomOptions) => Tensor> = operator({
  schema: `randint_like(Tensor self, int high, ${LIKE}) -> Tensor`,
  run: (self: Tensor, high: number, ...[g, ...o]: RandomArgs) =>
    integers(make(self.shape, o, self), 0, high, g),
  derivative: "none",
  opinfo: ["randint_like"],
  stage: "stable",
});

const randintLikeLow: Operator<(self: Tensor, low: number, high: number, options?: RandomOptions) => Tensor> =
  operator({
    schema: `randint_like.low_dtype(Tensor self, int low, int high, ${LIKE}) -> Tensor`,
    run: (self: Tensor, low: number, high: number, ...[g, ...o]: RandomArgs) =>
      integers(make(self.shape, o, self), low, high, g),
    derivative: "none",
    opinfo: ["randint_like"],
    stage: "stable",
  });

interface RandintLike {
  (self: Tensor, high: number, options?: RandomOptions): Tensor;
  (self: Tensor, low: number, high: number, options?: RandomOptions): Tensor;
}
/** {@link randint} in another tensor's shape, dtype and device. PyTorch: `torch.randint_like`. */
export const randintLike: Overloads<RandintLike> = overloads<RandintLike>(randintLikeLow, randintLikeHigh);

const normalSize: Operator<(mean: number, std: number, size: Size, options?: RandomOptions) => Tensor> =
  operator({
    schema: `normal.float_float(float mean, float std, int[] size, ${RANDOM}) -> Tensor`,
    run: (mean: number, std: number, size: readonly number[], ...[g, ...o]: RandomArgs) => {
      checkStd(std);
      return fillNormal(floats("normal", size, o), mean, std, g);
    },
    derivative: "none",
    opinfo: [{ op: "normal", variant: "number_mean" }],
    stage: "stable",
  });

/** Standard normal numbers in the shape of `mean` and `std`, stretched and moved to them. */
function normalAt(mean: Tensor | number, std: Tensor | number, g: Generator | null): Tensor {
  if (typeof std === "number") checkStd(std);
  const like = mean instanceof Tensor ? mean : (std as Tensor);
  const probe =
    mean instanceof Tensor && std instanceof Tensor
      ? (callOperator("add.Tensor", mean, std) as Tensor)
      : like;
  const z = fillNormal(emptyLike(probe), 0, 1, g);
  return callOperator("add.Tensor", callOperator("mul.Tensor", z, std), mean) as Tensor;
}

/** Moving the distribution moves no drawn number's gradient: PyTorch gives zeros. */
const noGradient = { backward: () => [null, null] };

const normalTensorFloat: Operator<(mean: Tensor, std?: number, options?: Source) => Tensor> = operator({
  schema: "normal.Tensor_float(Tensor mean, float std=1, *, Generator? generator=None) -> Tensor",
  run: normalAt as (...args: unknown[]) => Tensor,
  derivative: { backward: () => [null] },
  opinfo: ["normal"],
  stage: "stable",
});
const normalFloatTensor: Operator<(mean: number, std: Tensor, options?: Source) => Tensor> = operator({
  schema: "normal.float_Tensor(float mean, Tensor std, *, Generator? generator=None) -> Tensor",
  run: normalAt as (...args: unknown[]) => Tensor,
  derivative: { backward: () => [null] },
  opinfo: [{ op: "normal", variant: "number_mean" }],
  stage: "stable",
});
const normalTensorTensor: Operator<(mean: Tensor, std: Tensor, options?: Source) => Tensor> = operator({
  schema: "normal.Tensor_Tensor(Tensor mean, Tensor std, *, Generator? generator=None) -> Tensor",
  run: normalAt as (...args: unknown[]) => Tensor,
  derivative: noGradient,
  opinfo: ["normal"],
  stage: "stable",
});

interface Normal {
  (mean: number, std: number, size: Size, options?: RandomOptions): Tensor;
  (mean: Tensor, std?: number | Tensor, options?: Source): Tensor;
  (mean: number, std: Tensor, options?: Source): Tensor;
}
/**
 * Normally distributed numbers of a mean and a standard deviation, either of which may be a tensor with a value for each
 * element. PyTorch: `torch.normal`.
 * @example normal(0, 0.02, [256, 64], { generator: new Generator(1) });
 */
export const normal: Normal = overloads<Normal>(
  normalSize,
  normalTensorTensor,
  normalTensorFloat,
  normalFloatTensor,
);

declare module "../tensor/tensor.js" {
  interface Tensor {
    randLike: Method<typeof randLike>;
    randnLike: Method<typeof randnLike>;
    randintLike(high: number, options?: RandomOptions): Tensor;
    randintLike(low: number, high: number, options?: RandomOptions): Tensor;
  }
}
