// `pointwise`: a whole operator over tensors from a function of scalars. The engine stands in `pointwise/`; the
// operators of the table that are made of it stand in `unary.ts`, `binary.ts`, `compare.ts` and `ternary.ts`.

import { scalarFunction, type Tl } from "../compiler/lang/index.js";
import type { DType } from "../tensor/dtype.js";
import { isGradEnabled } from "../tensor/grad-mode.js";
import { Tensor } from "../tensor/tensor.js";
import { Differentiable } from "./pointwise/gradient.js";
import { type Input, PointwiseKernel } from "./pointwise/kernel.js";
import type { Promotion } from "./pointwise/promote.js";

export { Differentiable } from "./pointwise/gradient.js";
export { elementwise } from "./pointwise/elementwise.js";
export { type Input, PointwiseKernel } from "./pointwise/kernel.js";
export type { Promotion } from "./pointwise/promote.js";

type Result = number | boolean;
/** A function of the kernel language over scalars; it is read as text and never called. */
export type PointwiseFunction = (tl: Tl, ...inputs: number[]) => Result | readonly Result[];

export interface PointwiseOptions {
  /**
   * How the inputs find the dtype they are computed in. `default`: PyTorch's promotion. `intToFloat`: the same, but
   * integers and bools become f32. `bool`: as `default`, but the result is bool. `none`: every input keeps its dtype.
   * f16 and bf16 are computed in f32 and rounded once, at the end.
   */
  readonly promote?: Promotion | "bool";
  /** The inputs that take part in promotion; the others keep their dtype. Default: all. */
  readonly over?: readonly number[];
  /** The dtype of each result; `promoted` is the common one. Default: one, promoted (bool with `promote: "bool"`). */
  readonly outputs?: readonly (DType | "promoted")[];
  /**
   * The derivative as `(tl, ...inputs, ...gradOutputs) => [gradient of each input]`, where the generated one will
   * not do.
   */
  readonly grad?: (tl: Tl, ...inputs: number[]) => Result | readonly Result[];
  /** For errors and dumps; default: the function's. */
  readonly name?: string;
}

/** The inputs of a scalar function as tensors or numbers. */
type Inputs<F> = F extends (tl: Tl, ...inputs: infer A) => unknown ? { [K in keyof A]: Input } : never;
type Outputs<F> = F extends (...args: never[]) => readonly Result[] ? readonly Tensor[] : Tensor;

/** A pointwise operator. */
export interface Pointwise<A extends readonly Input[], R> {
  /** Broadcasts the inputs, promotes their dtypes, gives new tensors. Recorded for gradients. */
  (...inputs: A): R;
  /** Writes the first input, whose shape and dtype stay; not recorded. */
  inPlace(...inputs: A): Tensor;
  /** Writes given tensors, to whose shape the inputs broadcast; not recorded. */
  out(outputs: Tensor | readonly Tensor[], ...inputs: A): R;
  readonly kernel: PointwiseKernel;
}

/** The kernel and its derivative, for operators of the table. */
export function pointwiseKernel(fn: PointwiseFunction, options: PointwiseOptions = {}): Differentiable {
  const { promote = "default", grad } = options;
  const name = options.name ?? (fn.name || "pointwise");
  const kernel = new PointwiseKernel({
    fn: scalarFunction(fn, name),
    promote: promote === "bool" ? "default" : promote,
    over: options.over,
    outputs: options.outputs ?? [promote === "bool" ? "bool" : "promoted"],
  });
  return new Differentiable(kernel, grad && scalarFunction(grad, `${name}_grad`));
}

/**
 * A whole operator from a function of scalars: any rank, strides and broadcasting, mixed numbers and tensors, type
 * promotion, gradients. The function is written in the kernel language and may return several values as a list.
 *
 * Its derivative is found by differentiating the function.
 *
 * @throws KernelError at the function's line, at the first call, for what the language does not allow; RangeError
 * for shapes that do not broadcast
 * @example
 * const swish = pointwise((tl, x, y) => x * tl.sigmoid(y));
 * swish(tensor([1, 2, 3]), 0.5); // f32 [3]
 */
export function pointwise<F extends PointwiseFunction>(
  fn: F,
  options: PointwiseOptions = {},
): Pointwise<Inputs<F>, Outputs<F>> {
  const d = pointwiseKernel(fn, options);
  const { kernel } = d;
  const single = kernel.spec.outputs.length === 1;
  const give = (list: readonly Tensor[]) => (single ? list[0] : list) as Outputs<F>;
  const refuseRecording = (inputs: readonly Input[], what: string): void => {
    if (isGradEnabled() && inputs.some((x) => x instanceof Tensor && x.requiresGrad))
      throw new Error(`${kernel.name}.${what} is not recorded for gradients: put it in noGrad(() => …)`);
  };
  const call = (...inputs: Inputs<F>): Outputs<F> => give(d.call(inputs as readonly Input[]));
  Object.defineProperty(call, "name", { value: kernel.name });
  return Object.assign(call, {
    kernel,
    inPlace: (...inputs: Inputs<F>): Tensor => {
      const list = inputs as readonly Input[];
      const self = list[0];
      if (!(self instanceof Tensor))
        throw new TypeError(`${kernel.name}.inPlace writes its first input: a tensor`);
      refuseRecording(list, "inPlace");
      kernel.into(list, [self]);
      self.counter.value++;
      self.counter.writer = kernel.name;
      return self;
    },
    out: (outputs: Tensor | readonly Tensor[], ...inputs: Inputs<F>): Outputs<F> => {
      const list = outputs instanceof Tensor ? [outputs] : outputs;
      refuseRecording([...(inputs as readonly Input[]), ...list], "out");
      kernel.into(inputs as readonly Input[], list);
      for (const t of list) {
        t.counter.value++;
        t.counter.writer = kernel.name;
      }
      return give(list);
    },
  });
}
