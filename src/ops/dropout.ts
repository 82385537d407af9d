// Dropout (Srivastava et al., 2014), of elements and of whole channels.

import type { Generator } from "../runtime/index.js";
import {
  callOperator,
  empty,
  emptyLike,
  isFloatDType,
  type Operator,
  operator,
  scalarTensor,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { pointwiseKernel } from "./pointwise.js";
import { dropInto, fillBernoulli } from "./random-kernels.js";
import { rowMajor } from "./rows.js";

interface DropoutOptions {
  readonly generator?: Generator | null;
}

const keep = pointwiseKernel((tl, g, mask, scale) => tl.where(mask !== 0, g * scale, 0), {
  over: [0],
  name: "dropout_backward",
}).kernel;

const dropoutBackward: Operator<(grad: Tensor, mask: Tensor, scale: number) => Tensor> = operator({
  schema: "native_dropout_backward(Tensor grad_output, Tensor mask, float scale) -> Tensor",
  method: false,
  run: (grad: Tensor, mask: Tensor, scale: number) => {
    const g = isFloatDType(grad.dtype) ? grad : (callOperator("_to_copy", grad, { dtype: "f32" }) as Tensor);
    return keep.run1([g, mask, scale]);
  },
  derivative: {
    save: (args) => [args[1] as Tensor],
    backward: (ctx, grad) => [dropoutBackward(grad!, ctx.saved[0]!, ctx.args[2] as number), null],
  },
  opinfo: ["native_dropout_backward"],
});

/** Elements zeroed with the probability `p`, the others scaled by 1 / (1 - p), and the mask of those. */
const nativeDropout: Operator<
  (input: Tensor, p: number, train: boolean, options?: DropoutOptions) => [Tensor, Tensor]
> = operator({
  schema:
    "native_dropout(Tensor input, float p, bool train, *, Generator? generator=None) -> (Tensor, Tensor)",
  method: false,
  run: (input: Tensor, p: number, _train: boolean, generator: Generator | null) => {
    const y = emptyLike(input);
    const mask = emptyLike(input, { dtype: "bool" });
    dropInto(rowMajor(input), y, mask, p, generator);
    return [y, mask];
  },
  derivative: {
    save: (_args, outputs) => [outputs[1]!],
    backward: (ctx, grad) => [dropoutBackward(grad!, ctx.saved[0]!, 1 / (1 - (ctx.args[1] as number)))],
  },
});

function checkProbability(p: number): void {
  if (!(p >= 0 && p <= 1)) throw new RangeError(`dropout: a probability is between 0 and 1, not ${p}`);
}

type Dropout = (input: Tensor, p?: number, training?: boolean, options?: DropoutOptions) => Tensor;

/** Only a true draw is random; `inplace` of the samples changes no value. */
const entry = (op: string) => ({
  op,
  adapt: (input: unknown, args: unknown[], { p, training }: Record<string, unknown>) => [
    input,
    args[0] ?? p ?? 0.5,
    args[1] ?? training ?? true,
  ],
});
const isRandom = (_input: unknown, args: unknown[], kwargs: Record<string, unknown>): boolean => {
  const p = args[0] ?? kwargs["p"] ?? 0.5;
  return (args[1] ?? kwargs["training"] ?? true) === true && p !== 0 && p !== 1;
};

/**
 * While training, each element is zeroed with the probability `p` (default 0.5) and the others scaled by 1 / (1 - p);
 * else the input itself. PyTorch: `torch.nn.functional.dropout`.
 *
 * @example dropout(x, 0.1, true, { generator });
 */
export const dropout: Operator<Dropout> = operator({
  schema: "dropout(Tensor input, float p=0.5, bool training=True, *, Generator? generator=None) -> Tensor",
  run: (input: Tensor, p: number, training: boolean, generator: Generator | null) => {
    checkProbability(p);
    if (!training || p === 0) return input;
    if (p === 1) return callOperator("mul.Tensor", input, 0) as Tensor;
    return nativeDropout(input, p, true, { generator })[0];
  },
  derivative: "composite",
  random: isRandom,
  opinfo: [entry("nn.functional.dropout")],
  stage: "stable",
});

/** Zeroes whole `[batch, channel]` planes. */
function dropChannels(input: Tensor, p: number, training: boolean, generator: Generator | null): Tensor {
  checkProbability(p);
  if (!training || p === 0) return input;
  if (p === 1) return callOperator("mul.Tensor", input, 0) as Tensor;
  if (input.ndim < 2)
    throw new RangeError(`dropout of channels takes [batch, channels, …], not ${showShape(input.shape)}`);
  const shape = input.shape.map((n, d) => (d < 2 ? n : 1));
  const { dtype, device } = input;
  const kept = fillBernoulli(empty(shape, { dtype, device }), scalarTensor(1 - p, "f32", device), generator);
  const scaled = callOperator("mul.Tensor", kept, 1 / (1 - p));
  return callOperator("mul.Tensor", input, scaled) as Tensor;
}

/** As {@link dropout}, of whole channels of `[batch, channels, height, width]`. PyTorch: `torch.nn.functional.dropout2d`. */
export const dropout2d: Operator<Dropout> = operator({
  schema:
    "vexil::dropout2d(Tensor input, float p=0.5, bool training=True, *, Generator? generator=None) -> Tensor",
  run: dropChannels as (...args: unknown[]) => Tensor,
  derivative: "composite",
  random: isRandom,
  opinfo: [entry("nn.functional.dropout2d")],
  stage: "stable",
});

/** As {@link dropout}, of whole channels of `[batch, channels, depth, height, width]`, or without batch. PyTorch: `torch.nn.functional.dropout3d`. */
export const dropout3d: Operator<Dropout> = operator({
  schema:
    "vexil::dropout3d(Tensor input, float p=0.5, bool training=True, *, Generator? generator=None) -> Tensor",
  run: (input: Tensor, p: number, training: boolean, generator: Generator | null) =>
    input.ndim === 4
      ? dropChannels(input.unsqueeze(0), p, training, generator).squeeze(0)
      : dropChannels(input, p, training, generator),
  derivative: "composite",
  random: isRandom,
  opinfo: [entry("nn.functional.dropout3d")],
  stage: "stable",
});
