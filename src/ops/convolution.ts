// Convolution over 1 to 3 dimensions and its transpose, by windows and matrix products: the windows of the input are laid
// out as a matrix, which costs memory of the size of a window. The semantics are those of torch.nn.functional.* of the
// same name.

import { type Operator, operator, overloads, showShape, type Tensor } from "../tensor/index.js";
import { add } from "./binary.js";
import { bmm } from "./matmul.js";
import { timedImages } from "./images.js";
import { constantPadNd } from "./pad.js";
import { randn } from "./random.js";
import { flip } from "./repeat.js";

type List = readonly number[];

const product = (list: List): number => list.reduce((n, m) => n * m, 1);
const spread = (list: List, rank: number): List =>
  list.length === 1 ? new Array<number>(rank).fill(list[0]!) : list;

/** Windows of the last dimensions: `[..., *spatial]` gives `[..., *places, *kernel]`. */
function windows(x: Tensor, kernel: List, stride: List, dilation: List): Tensor {
  const rank = kernel.length;
  const first = x.ndim - rank;
  let y = x;
  for (let i = 0; i < rank; i++) {
    const reach = dilation[i]! * (kernel[i]! - 1) + 1;
    y = y.unfold(first + i, reach, stride[i]!);
    if (dilation[i]! > 1) y = y.slice(-1, 0, null, dilation[i]!);
  }
  return y;
}

/** The padding before and behind each dimension, for `constantPadNd`. */
const frame = (before: List, behind: List): number[] => {
  const pads: number[] = [];
  for (let i = before.length - 1; i >= 0; i--) pads.push(before[i]!, behind[i]!);
  return pads;
};

function checkShapes(
  op: string,
  input: Tensor,
  weight: Tensor,
  groups: number,
  rank: number,
  perGroup: number,
): void {
  if (weight.ndim !== rank + 2 || input.ndim !== rank + 2)
    throw new RangeError(
      `${op} takes [batch, channels, ...] and a weight of ${rank + 2} dimensions, not ${showShape(input.shape)} and ${showShape(weight.shape)}`,
    );
  if (groups < 1 || input.shape[1]! !== perGroup * groups)
    throw new RangeError(
      `${op}: ${input.shape[1]} channels do not fit the weight ${showShape(weight.shape)} in ${groups} groups`,
    );
}

const withBias = (y: Tensor, bias: Tensor | null, rank: number): Tensor =>
  bias ? add(y, bias.view([-1, ...new Array<number>(rank).fill(1)])) : y;

/** `x [batch, channels, ...]` with `weight [out, channels / groups, ...kernel]`. */
function convolve(x: Tensor, weight: Tensor, stride: List, dilation: List, groups: number): Tensor {
  const kernel = weight.shape.slice(2);
  const rank = kernel.length;
  const [N, C] = x.shape as [number, number];
  const O = weight.shape[0]!;
  const seen = windows(x, kernel, stride, dilation);
  const places = seen.shape.slice(2, 2 + rank);
  // [groups, channels / groups * kernel, batch * places]
  const split = seen.reshape([N, groups, C / groups, ...places, ...kernel]);
  const order = [1, 2, ...kernel.map((_, i) => 3 + rank + i), 0, ...places.map((_, i) => 3 + i)];
  const columns = split.permute(order).reshape([groups, (C / groups) * product(kernel), N * product(places)]);
  const rows = weight.reshape([groups, O / groups, (C / groups) * product(kernel)]);
  const y = bmm(rows, columns).view([O, N, ...places]);
  return y.transpose(0, 1).contiguous();
}

type Conv = (
  input: Tensor,
  weight: Tensor,
  bias?: Tensor | null,
  stride?: List | number,
  padding?: List | number | "same" | "valid",
  dilation?: List | number,
  groups?: number,
) => Tensor;

function conv(rank: 1 | 2 | 3): Conv {
  const op = `conv${rank}d`;
  const run = (
    input: Tensor,
    weight: Tensor,
    bias: Tensor | null,
    stride: List,
    before: List,
    behind: List,
    dilation: List,
    groups: number,
  ): Tensor => {
    const single = input.ndim === rank + 1;
    const x = single ? input.unsqueeze(0) : input;
    checkShapes(op, x, weight, groups, rank, weight.shape[1]!);
    const padded =
      before.some((n) => n !== 0) || behind.some((n) => n !== 0)
        ? constantPadNd(x, frame(before, behind))
        : x;
    const y = withBias(
      convolve(padded, weight, spread(stride, rank), spread(dilation, rank), groups),
      bias,
      rank,
    );
    return single ? y.squeeze(0) : y;
  };
  const sized = operator<Conv>({
    schema: `${op}(Tensor input, Tensor weight, Tensor? bias=None, int[${rank}] stride=1, int[${rank}] padding=0, int[${rank}] dilation=1, int groups=1) -> Tensor`,
    method: false,
    run: (
      x: Tensor,
      w: Tensor,
      b: Tensor | null,
      stride: List,
      padding: List,
      dilation: List,
      groups: number,
    ) => {
      const p = spread(padding, rank);
      return run(x, w, b, stride, p, p, dilation, groups);
    },
    derivative: "composite",
    opinfo: [`nn.functional.${op}`],
    benchmarks: () => [[timedImages(rank), randn([64, 64, ...new Array<number>(rank).fill(3)])]],
    stage: "stable",
    summary: "Convolution",
  });
  const named = operator<Conv>({
    schema: `${op}.padding(Tensor input, Tensor weight, Tensor? bias=None, int[${rank}] stride=1, str padding="valid", int[${rank}] dilation=1, int groups=1) -> Tensor`,
    method: false,
    run: (
      x: Tensor,
      w: Tensor,
      b: Tensor | null,
      stride: List,
      padding: string,
      dilation: List,
      groups: number,
    ) => {
      if (padding !== "same" && padding !== "valid")
        throw new RangeError(`${op}: the padding is numbers, "same" or "valid", not "${padding}"`);
      const d = spread(dilation, rank);
      const all = w.shape.slice(2).map((k, i) => (padding === "same" ? d[i]! * (k - 1) : 0));
      const before = all.map((n) => Math.floor(n / 2));
      return run(
        x,
        w,
        b,
        stride,
        before,
        all.map((n, i) => n - before[i]!),
        d,
        groups,
      );
    },
    derivative: "composite",
    opinfo: [`nn.functional.${op}`],
    stage: "stable",
    summary: "Convolution with named padding",
  });
  return overloads<Conv>(sized, named);
}
/**
 * Convolution of `[batch, channels, length]` with `weight [out, channels / groups, kernel]`. PyTorch: `F.conv1d`.
 */
export const conv1d: Conv = conv(1);
/** Convolution of `[batch, channels, height, width]`. PyTorch: `F.conv2d`. */
export const conv2d: Conv = conv(2);
/** Convolution of `[batch, channels, depth, height, width]`. PyTorch: `F.conv3d`. */
export const conv3d: Conv = conv(3);

/** `n - 1` zeros behind each element of a dimension but the last. */
function stuffed(x: Tensor, dim: number, n: number): Tensor {
  if (n === 1) return x;
  const length = x.shape[dim]!;
  const wide = constantPadNd(x.unsqueeze(dim + 1), [
    ...new Array<number>(2 * (x.ndim - dim - 1)).fill(0),
    0,
    n - 1,
  ]);
  return wide.flatten(dim, dim + 1).narrow(dim, 0, Math.max(0, (length - 1) * n + 1));
}

type ConvTranspose = (
  input: Tensor,
  weight: Tensor,
  bias?: Tensor | null,
  stride?: List | number,
  padding?: List | number,
  outputPadding?: List | number,
  groups?: number,
  dilation?: List | number,
) => Tensor;
function convTranspose(rank: 1 | 2 | 3): Operator<ConvTranspose> {
  const op = `conv_transpose${rank}d`;
  return operator({
    schema: `${op}(Tensor input, Tensor weight, Tensor? bias=None, int[${rank}] stride=1, int[${rank}] padding=0, int[${rank}] output_padding=0, int groups=1, int[${rank}] dilation=1) -> Tensor`,
    method: false,
    run: (
      input: Tensor,
      weight: Tensor,
      bias: Tensor | null,
      stride: List,
      padding: List,
      outputPadding: List,
      groups: number,
      dilation: List,
    ) => {
      const single = input.ndim === rank + 1;
      let x = single ? input.unsqueeze(0) : input;
      checkShapes(op, x, weight, groups, rank, weight.shape[0]! / groups);
      const [s, p, extra, d] = [stride, padding, outputPadding, dilation].map((list) =>
        spread(list, rank),
      ) as [List, List, List, List];
      const kernel = weight.shape.slice(2);
      for (let i = 0; i < rank; i++) x = stuffed(x, 2 + i, s[i]!);
      const before = kernel.map((k, i) => d[i]! * (k - 1) - p[i]!);
      x = constantPadNd(
        x,
        frame(
          before,
          before.map((n, i) => n + extra[i]!),
        ),
      );
      // [groups, in / groups, out / groups, ...] becomes [groups * out / groups, in / groups, ...], turned round.
      const [I, O] = weight.shape as [number, number];
      const turned = flip(
        weight,
        kernel.map((_, i) => 2 + i),
      );
      const w = turned
        .reshape([groups, I / groups, O, ...kernel])
        .transpose(1, 2)
        .reshape([groups * O, I / groups, ...kernel]);
      const y = withBias(convolve(x, w, new Array<number>(rank).fill(1), d, groups), bias, rank);
      return single ? y.squeeze(0) : y;
    },
    derivative: "composite",
    opinfo: [`nn.functional.${op}`],
    benchmarks: () => [[timedImages(rank), randn([64, 64, ...new Array<number>(rank).fill(3)])]],
    stage: "stable",
    summary: "Transposed convolution",
  });
}
/** The transpose of {@link conv1d}: `weight [in, out / groups, kernel]`. PyTorch: `F.conv_transpose1d`. */
export const convTranspose1d: Operator<ConvTranspose> = convTranspose(1);
/** The transpose of {@link conv2d}. PyTorch: `F.conv_transpose2d`. */
export const convTranspose2d: Operator<ConvTranspose> = convTranspose(2);

/** The windows of an image as columns: `[batch, channels * kernel, places]`. PyTorch: `F.unfold`. */
export const im2col: Operator<
  (
    self: Tensor,
    kernelSize: List | number,
    dilation?: List | number,
    padding?: List | number,
    stride?: List | number,
  ) => Tensor
> = operator({
  schema:
    "im2col(Tensor self, int[2] kernel_size, int[2] dilation=1, int[2] padding=0, int[2] stride=1) -> Tensor",
  method: false,
  run: (self: Tensor, kernel: List, dilation: List, padding: List, stride: List) => {
    const single = self.ndim === 3;
    if (self.ndim !== 4 && !single)
      throw new RangeError(`im2col takes [batch, channels, height, width], not ${showShape(self.shape)}`);
    const x = constantPadNd(single ? self.unsqueeze(0) : self, frame(padding, padding));
    const seen = windows(x, kernel, stride, dilation);
    const [N, C, H, W] = seen.shape as [number, number, number, number];
    const y = seen.permute([0, 1, 4, 5, 2, 3]).reshape([N, C * product(kernel), H * W]);
    return single ? y.squeeze(0) : y;
  },
  derivative: "composite",
  opinfo: ["nn.functional.unfold"],
  benchmarks: () => [[timedImages(2), [3, 3]]],
  stage: "stable",
  summary: "Windows of images as columns",
});
/** The transpose of {@link conv3d}. PyTorch: `F.conv_transpose3d`. */
export const convTranspose3d: Operator<ConvTranspose> = convTranspose(3);
