// What depends on the data: where a tensor is not zero, the elements under a mask. The number of results has to be
// read from the chip, so these operators give promises.

import {
  broadcastShapes,
  isGradEnabled,
  type Method,
  type Operator,
  operator,
  type Tensor,
} from "../tensor/index.js";
import { indexSelect } from "./gather.js";
import { coordinates, flatNonzero, resumed } from "./nonzero-kernels.js";

/**
 * The indices of the elements that are not 0: `[count, ndim]` i64, in row-major order. PyTorch: `torch.nonzero`.
 * @example await nonzero(tensor([0, 3, 0, 5])); // [[1], [3]]
 */
export const nonzero: Operator<(self: Tensor) => Promise<Tensor>> = operator({
  schema: "nonzero(Tensor self) -> Tensor",
  run: (self: Tensor) => coordinates(self),
  derivative: "none",
  opinfo: [
    { op: "nonzero", adapt: (input, _args, kwargs) => (kwargs["as_tuple"] ? undefined : [input]) },
    "argwhere",
  ],
  stage: "stable",
});

/** As {@link nonzero}, as a list with one tensor `[count]` for each dimension. PyTorch: `torch.nonzero(as_tuple=True)`. */
export const nonzeroNumpy: Operator<(self: Tensor) => Promise<Tensor[]>> = operator({
  schema: "nonzero_numpy(Tensor self) -> Tensor[]",
  run: async (self: Tensor) => {
    const list = self.ndim === 0 ? self.reshape([1]) : self;
    const all = await coordinates(list);
    return list.shape.map((_, d) => all.select(1, d));
  },
  derivative: "none",
  opinfo: [{ op: "nonzero", adapt: (input, _args, kwargs) => (kwargs["as_tuple"] ? [input] : undefined) }],
  stage: "stable",
});

/**
 * The elements where a bool mask is true, as a list; tensor and mask broadcast. PyTorch: `torch.masked_select`.
 * @example await maskedSelect(x, gt(x, 0));
 */
export const maskedSelect: Operator<(self: Tensor, mask: Tensor) => Promise<Tensor>> = operator({
  schema: "masked_select(Tensor self, Tensor mask) -> Tensor",
  run: async (self: Tensor, mask: Tensor) => {
    if (mask.dtype !== "bool") throw new TypeError(`masked_select: the mask is bool, not ${mask.dtype}`);
    const recording = isGradEnabled();
    const shape = broadcastShapes(self.shape, mask.shape);
    const at = await flatNonzero(mask.expand(shape));
    return resumed(recording, () => indexSelect(self.expand(shape).reshape([-1]), 0, at));
  },
  derivative: "composite",
  opinfo: ["masked_select"],
  stage: "stable",
});

declare module "../tensor/tensor.js" {
  interface Tensor {
    /** The indices of the elements that are not 0. */
    nonzero: Method<typeof nonzero>;
    nonzeroNumpy: Method<typeof nonzeroNumpy>;
    /** The elements where a mask is true. */
    maskedSelect: Method<typeof maskedSelect>;
  }
}
