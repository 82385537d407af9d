// Makers of tensors with given strides or of one number.

import {
  type DType,
  emptyStrided,
  type Operator,
  operator,
  type Scalar,
  scalarTensor,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { type CreationOptions, type Options, OPTIONS } from "./options.js";

type List = readonly number[];

const asLeaf = (t: Tensor, requiresGrad: boolean): Tensor => {
  if (requiresGrad) t.requiresGrad = true;
  return t;
};

/** A 0-dim tensor of a number; f32 unless asked otherwise. PyTorch: `torch.scalar_tensor`. */
operator({
  schema: `scalar_tensor(Scalar s, *, ${OPTIONS}) -> Tensor`,
  run: (
    s: Scalar,
    dtype: DType | null,
    _layout: unknown,
    device: string | null,
    _pin: unknown,
    grad: boolean,
  ) => asLeaf(scalarTensor(s, dtype ?? "f32", device ?? undefined), grad),
  derivative: "none",
  opinfo: ["scalar_tensor"],
  stage: "stable",
  summary: "A 0-dim tensor of a number",
});

function strided(
  op: string,
  size: List,
  stride: List,
  like: { dtype: DType; device: string } | null,
  o: Options,
): Tensor {
  if (size.length !== stride.length || stride.some((n) => n < 0))
    throw new RangeError(`${op}: strides ${showShape(stride)} do not fit the shape ${showShape(size)}`);
  const [dtype, , device, , grad] = o;
  const d = device ?? like?.device;
  return asLeaf(
    emptyStrided(size, stride, {
      dtype: dtype ?? like?.dtype ?? "f32",
      ...(d === undefined ? {} : { device: d }),
    }),
    grad,
  );
}

/** Unspecified contents with given strides (in elements). PyTorch: `torch.empty_strided`. */
operator({
  schema: `empty_strided(int[] size, int[] stride, *, ${OPTIONS}) -> Tensor`,
  run: (size: List, stride: List, ...o: Options) => strided("empty_strided", size, stride, null, o),
  derivative: "none",
  opinfo: ["empty_strided"],
  stage: "stable",
  summary: "Unspecified contents with given strides",
});

/** Unspecified contents with given strides, of this tensor's dtype and device. PyTorch: `Tensor.new_empty_strided`. */
export const newEmptyStrided: Operator<
  (self: Tensor, size: List, stride: List, options?: CreationOptions) => Tensor
> = operator({
  schema: `new_empty_strided(Tensor self, int[] size, int[] stride, *, ${OPTIONS}) -> Tensor`,
  run: (self: Tensor, size: List, stride: List, ...o: Options) =>
    strided("new_empty_strided", size, stride, self, o),
  derivative: "none",
  opinfo: ["new_empty_strided"],
  stage: "stable",
  summary: "Unspecified contents with given strides",
});

/** Unspecified contents whose dimensions lie in memory in the order `physicalLayout`, the outermost first. PyTorch: `torch.empty_permuted`. */
export const emptyPermuted: Operator<
  (size: List, physicalLayout: List, options?: CreationOptions) => Tensor
> = operator({
  schema: `empty_permuted(int[] size, int[] physical_layout, *, ${OPTIONS}) -> Tensor`,
  run: (size: List, layout: List, ...o: Options) => {
    if (
      size.length !== layout.length ||
      new Set(layout).size !== layout.length ||
      layout.some((d) => d < 0 || d >= size.length)
    )
      throw new RangeError(
        `empty_permuted: ${showShape(layout)} is no order of the dimensions of ${showShape(size)}`,
      );
    const stride = new Array<number>(size.length);
    let step = 1;
    for (let i = layout.length - 1; i >= 0; i--) {
      stride[layout[i]!] = step;
      step *= Math.max(1, size[layout[i]!]!);
    }
    return strided("empty_permuted", size, stride, null, o);
  },
  derivative: "none",
  opinfo: ["empty_permuted"],
  stage: "stable",
  summary: "Unspecified contents with dimensions in a given order in memory",
});
