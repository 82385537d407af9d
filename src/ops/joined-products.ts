// Products of one input with several weights: what a layer of a language model does in one place, as one operator, so that a chip may do
// it in one launch (`joined-kernels.ts`). Elsewhere they are the products that they are made of. For inference: they have no derivative.

import { empty, type Operator, operator, showShape, type Tensor } from "../tensor/index.js";
import { siluMul } from "./activations.js";
import { launchGated, launchSideBySide, type Matrix, ROWS } from "./joined-kernels.js";
import { linear } from "./matmul.js";
import { checked, quantizedLinear } from "./quantized.js";
import { rowMajor } from "./rows.js";

/** Whether products of this input with several weights come in one launch. */
export const joinsProducts = (x: Tensor): boolean =>
  x.chip.capabilities.matrixDtypes?.includes(x.dtype) === true && x.numel <= ROWS * x.shape.at(-1)!;

const rowsOf = (x: Tensor): Tensor => rowMajor(x).view([x.numel / x.shape.at(-1)!, x.shape.at(-1)!]);

/** The weights as the kernels take them. Throws where one does not fit the input, as the single products do. */
function matrices(
  op: string,
  x: Tensor,
  weights: readonly Tensor[],
  scales: readonly Tensor[],
  groupSize: number,
): Matrix[] {
  const K = x.shape.at(-1)!;
  return weights.map((w, i) => {
    const s = scales[i];
    if (s) checked(op, w, K, s, null, groupSize);
    else if (w.ndim !== 2 || w.shape[1] !== K)
      throw new RangeError(`${op}: a weight must be [out, ${K}], not ${showShape(w.shape)}`);
    return s ? { w, scales: s } : { w };
  });
}

function product(x: Tensor, w: Tensor, scales: Tensor | undefined, groupSize: number): Tensor {
  return scales ? quantizedLinear(x, w, scales, null, null, { groupSize }) : linear(x, w);
}

/**
 * `input @ weight.T` for each of several weights `[out, in]`: `[..., in] -> [..., out]` each. Weights are floats as `linear` takes
 * them, or integers as `quantizedLinear` takes them with the scales of each.
 *
 * @example const [q, k, v] = linearEach(x, [wq, wk, wv]);
 */
export const linearEach: Operator<
  (input: Tensor, weights: readonly Tensor[], scales?: readonly Tensor[], groupSize?: number) => Tensor[]
> = operator({
  schema:
    "vexil::linear_each(Tensor input, Tensor[] weights, Tensor[] scales=[], int group_size=0) -> Tensor[]",
  method: false,
  run: (input: Tensor, weights: readonly Tensor[], scales: readonly Tensor[], groupSize: number) => {
    const lead = input.shape.slice(0, -1);
    const make = (): Tensor[] =>
      weights.map((w) => empty([...lead, w.shape[0]!], { dtype: input.dtype, device: input.device }));
    if (joinsProducts(input)) {
      const list = matrices("linear_each", input, weights, scales, groupSize);
      const ys = make();
      if (launchSideBySide(rowsOf(input), list, ys, groupSize)) return ys;
      for (const y of ys) y.dispose();
    }
    return weights.map((w, i) => product(input, w, scales[i], groupSize));
  },
  derivative: "none",
  stage: "beta",
  summary: "linear with several weights",
});

/**
 * `silu(input @ gate.T) * (input @ up.T)`, the first half of a gated MLP. Weights as in {@link linearEach}.
 *
 * @example linear(gatedLinear(x, gate, up), down)
 */
export const gatedLinear: Operator<
  (
    input: Tensor,
    gate: Tensor,
    up: Tensor,
    gateScales?: Tensor | null,
    upScales?: Tensor | null,
    groupSize?: number,
  ) => Tensor
> = operator({
  schema:
    "vexil::gated_linear(Tensor input, Tensor gate, Tensor up, Tensor? gate_scales=None, Tensor? up_scales=None, int group_size=0) -> Tensor",
  method: false,
  run: (
    input: Tensor,
    gate: Tensor,
    up: Tensor,
    gateScales: Tensor | null,
    upScales: Tensor | null,
    groupSize: number,
  ) => {
    // Of floats one product of as many columns is faster, and the gate behind it.
    if (!gateScales || !upScales) {
      const [g, u] = linearEach(input, [gate, up]) as [Tensor, Tensor];
      return siluMul(g, u);
    }
    if (joinsProducts(input)) {
      const weights = matrices("gated_linear", input, [gate, up], [gateScales, upScales], groupSize);
      const [g, u] = weights as [Matrix, Matrix];
      const y = empty([...input.shape.slice(0, -1), gate.shape[0]!], {
        dtype: input.dtype,
        device: input.device,
      });
      if (launchGated(rowsOf(input), g, u, y, groupSize)) return y;
      y.dispose();
    }
    const [g, u] = [product(input, gate, gateScales, groupSize), product(input, up, upScales, groupSize)];
    return siluMul(g, u);
  },
  derivative: "none",
  stage: "beta",
  summary: "The gated half of an MLP: silu of one product times another",
});
