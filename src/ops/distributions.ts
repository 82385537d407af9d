// Random numbers into given tensors, coin tosses, draws by weight. All take a generator and depend only on its seed and
// position. New tensors are `random.ts`, dropout is `dropout.ts`, the choice of tokens `sampling.ts`.

import type { Generator } from "../runtime/index.js";
import {
  empty,
  emptyLike,
  isFloatDType,
  type Method,
  type Operator,
  operator,
  scalarTensor,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { copy_ } from "./cast.js";
import {
  checkStd,
  drawIndices,
  fillBernoulli,
  fillExponential,
  fillNormal,
  fillUniform,
} from "./random-kernels.js";
import { rowMajor } from "./rows.js";

interface Source {
  readonly generator?: Generator | null;
}

/** Fills a tensor of any strides. */
function overwrite(self: Tensor, fill: (y: Tensor) => Tensor): Tensor {
  if (self.isContiguous) return fill(self);
  copy_(self, fill(emptyLike(self)));
  return self;
}
const overwritten = { backward: () => [null] };

function checkFloat(self: Tensor, what: string): void {
  if (!isFloatDType(self.dtype)) throw new TypeError(`${what} fills floats, not ${self.dtype}`);
}

/** Fills with evenly distributed numbers from `from` up to, not including, `to`. PyTorch: `Tensor.uniform_`. */
export const uniform_: Operator<(self: Tensor, from?: number, to?: number, options?: Source) => Tensor> =
  operator({
    schema: "uniform_(Tensor(a!) self, float from=0, float to=1, *, Generator? generator=None) -> Tensor(a!)",
    run: (self: Tensor, from: number, to: number, g: Generator | null) => {
      checkFloat(self, "uniform_");
      if (!(from <= to)) throw new RangeError(`uniform_: from ${from} to ${to} there is nothing`);
      return overwrite(self, (y) => fillUniform(y, from, to, g));
    },
    derivative: overwritten,
    opinfo: ["uniform"],
    stage: "stable",
  });

/** Fills with normally distributed numbers. PyTorch: `Tensor.normal_`. */
export const normal_: Operator<(self: Tensor, mean?: number, std?: number, options?: Source) => Tensor> =
  operator({
    schema: "normal_(Tensor(a!) self, float mean=0, float std=1, *, Generator? generator=None) -> Tensor(a!)",
    run: (self: Tensor, mean: number, std: number, g: Generator | null) => {
      checkFloat(self, "normal_");
      checkStd(std);
      return overwrite(self, (y) => fillNormal(y, mean, std, g));
    },
    derivative: overwritten,
    opinfo: [{ op: "normal", variant: "in_place" }],
    stage: "stable",
  });

/** Fills with exponentially distributed numbers of the mean 1 / lambd. PyTorch: `Tensor.exponential_`. */
export const exponential_: Operator<(self: Tensor, lambd?: number, options?: Source) => Tensor> = operator({
  schema: "exponential_(Tensor(a!) self, float lambd=1, *, Generator? generator=None) -> Tensor(a!)",
  run: (self: Tensor, lambd: number, g: Generator | null) => {
    checkFloat(self, "exponential_");
    if (!(lambd > 0)) throw new RangeError(`exponential_: the rate is above 0, not ${lambd}`);
    return overwrite(self, (y) => fillExponential(y, lambd, g));
  },
  derivative: overwritten,
  opinfo: ["exponential"],
  stage: "stable",
});

/** Ones with the probabilities that the tensor holds, else zeros, in its dtype. PyTorch: `torch.bernoulli`. */
export const bernoulli: Operator<(self: Tensor, options?: Source) => Tensor> = operator({
  schema: "bernoulli(Tensor self, *, Generator? generator=None) -> Tensor",
  run: (self: Tensor, g: Generator | null) => {
    if (!isFloatDType(self.dtype))
      throw new TypeError(`bernoulli: probabilities are floats, not ${self.dtype}`);
    return fillBernoulli(emptyLike(self), rowMajor(self), g);
  },
  derivative: { backward: () => [null] },
  opinfo: ["bernoulli"],
  stage: "stable",
});

/** Fills with ones with the probability `p`, else zeros. PyTorch: `Tensor.bernoulli_`. */
export const bernoulli_: Operator<(self: Tensor, p?: number, options?: Source) => Tensor> = operator({
  schema: "bernoulli_.float(Tensor(a!) self, float p=0.5, *, Generator? generator=None) -> Tensor(a!)",
  run: (self: Tensor, p: number, g: Generator | null) => {
    if (!(p >= 0 && p <= 1)) throw new RangeError(`bernoulli_: a probability is between 0 and 1, not ${p}`);
    return overwrite(self, (y) => fillBernoulli(y, scalarTensor(p, "f64", y.device), g));
  },
  derivative: overwritten,
  stage: "stable",
});

/**
 * Indices drawn in proportion to weights: `self [V]` or `[B, V]` of any float dtype give `[numSamples]` or
 * `[B, numSamples]` i64. Without replacement no index comes twice; those of weight 0 come last. PyTorch:
 * `torch.multinomial`.
 */
export const multinomial: Operator<
  (self: Tensor, numSamples: number, replacement?: boolean, options?: Source) => Tensor
> = operator({
  schema:
    "multinomial(Tensor self, int num_samples, bool replacement=False, *, Generator? generator=None) -> Tensor",
  run: (self: Tensor, draws: number, replacement: boolean, g: Generator | null) => {
    if (!isFloatDType(self.dtype) || self.ndim < 1 || self.ndim > 2)
      throw new RangeError(
        `multinomial: weights are floats of shape [V] or [B, V], not ${self.dtype} ${showShape(self.shape)}`,
      );
    const cols = self.shape.at(-1)!;
    if (draws < 1) throw new RangeError(`multinomial: the number of draws is 1 or more, not ${draws}`);
    if (cols === 0 || (!replacement && draws > cols))
      throw new RangeError(`multinomial: ${draws} indices cannot be drawn from ${cols} without replacement`);
    const rows = self.ndim === 1 ? 1 : self.shape[0]!;
    const out = empty([rows, draws], { dtype: "i64", device: self.device });
    if (rows > 0) drawIndices(rowMajor(self).view([rows, cols]), out, replacement, g);
    return self.ndim === 1 ? out.view([draws]) : out;
  },
  derivative: "none",
  opinfo: ["multinomial"],
  stage: "stable",
});

declare module "../tensor/tensor.js" {
  interface Tensor {
    /** Fills with evenly distributed numbers. */
    uniform_: Method<typeof uniform_>;
    /** Fills with normally distributed numbers. */
    normal_: Method<typeof normal_>;
    /** Fills with exponentially distributed numbers. */
    exponential_: Method<typeof exponential_>;
    /** Ones with the probabilities that the tensor holds. */
    bernoulli: Method<typeof bernoulli>;
    bernoulli_: Method<typeof bernoulli_>;
    /** Indices drawn in proportion to weights. */
    multinomial: Method<typeof multinomial>;
  }
}
