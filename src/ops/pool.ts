// Pooling: means and largest elements of windows, fixed or adapted to an output size, over 1 to 3 dimensions of
// `[batch, channels, ...]` or `[channels, ...]`. The semantics are those of torch.nn.functional.* of the same name.

import { callOperator, type Operator, operator, showShape, type Tensor } from "../tensor/index.js";
import { gather } from "./gather.js";
import { launchMax, launchMean, launchMeanBack, type Windows } from "./pool-kernels.js";
import { scatterAdd } from "./scatter.js";
import { zeros } from "./creation.js";
import { halfEdges, timedImages } from "./images.js";

type List = readonly number[];
type Three = readonly [number, number, number];

/** A value for each of three dimensions, the leading ones as they are without pooling. */
const three = (list: List, rank: number, rest: number): Three => {
  const full = list.length === 1 ? new Array<number>(rank).fill(list[0]!) : list;
  return [...new Array<number>(3 - rank).fill(rest), ...full] as unknown as Three;
};

function checkInput(op: string, x: Tensor, rank: number): void {
  if (x.ndim !== rank + 1 && x.ndim !== rank + 2)
    throw new RangeError(
      `${op} takes [batch, channels, ...] with ${rank} more dimensions, not ${showShape(x.shape)}`,
    );
}

function fixed(
  op: string,
  x: Tensor,
  rank: number,
  size: List,
  stride: List,
  padding: List,
  dilation: List,
  ceil: boolean,
): Windows {
  checkInput(op, x, rank);
  const k = three(size, rank, 1);
  const s = stride.length === 0 ? k : three(stride, rank, 1);
  const p = three(padding, rank, 0);
  const d = three(dilation, rank, 1);
  const input = three(x.shape.slice(-rank), rank, 1);
  const output = input.map((n, i) => {
    if (k[i]! < 1 || s[i]! < 1)
      throw new RangeError(`${op}: sizes ${showShape(k)} and steps ${showShape(s)} are at least 1`);
    if (2 * p[i]! > k[i]!)
      throw new RangeError(`${op}: the padding ${p[i]} is more than half of the size ${k[i]}`);
    const free = n + 2 * p[i]! - d[i]! * (k[i]! - 1) - 1;
    let m = (ceil ? Math.ceil(free / s[i]!) : Math.floor(free / s[i]!)) + 1;
    // No window begins behind the input.
    if (ceil && (m - 1) * s[i]! >= n + p[i]!) m--;
    if (m < 1) throw new RangeError(`${op}: no window of ${showShape(size)} fits into ${showShape(x.shape)}`);
    return m;
  }) as unknown as Three;
  return { input, output, size: k, stride: s, padding: p, dilation: d, adaptive: false };
}

function adapted(op: string, x: Tensor, rank: number, size: readonly (number | null)[]): Windows {
  checkInput(op, x, rank);
  const wanted = size.length === 1 ? new Array<number | null>(rank).fill(size[0]!) : size;
  const input = three(x.shape.slice(-rank), rank, 1);
  const output = three(
    wanted.map((n, i) => n ?? x.shape[x.ndim - rank + i]!),
    rank,
    1,
  );
  const one: Three = [1, 1, 1];
  // Windows of one size, one beside the other: no place of theirs needs a division.
  if (input.every((n, i) => n > 0 && output[i]! > 0 && n % output[i]! === 0)) {
    const size = input.map((n, i) => n / output[i]!) as unknown as Three;
    return { input, output, size, stride: size, padding: [0, 0, 0], dilation: one, adaptive: false };
  }
  const longest = input.map((n, i) => Math.ceil(n / Math.max(1, output[i]!)) + 1) as unknown as Three;
  return { input, output, size: longest, stride: one, padding: [0, 0, 0], dilation: one, adaptive: true };
}

const planes = (x: Tensor, shape: List): Tensor =>
  x.reshape([
    x.numel /
      Math.max(
        1,
        shape.reduce((n, m) => n * m, 1),
      ),
    ...shape,
  ]);
const shapeOf = (x: Tensor, g: Windows, rank: number): number[] => [
  ...x.shape.slice(0, x.ndim - rank),
  ...g.output.slice(3 - rank),
];

// --- Means ---

/** Numbers that say how windows lie, in one list for the table. */
const packed = (g: Windows): number[] => [
  ...g.input, ...g.output, ...g.size, ...g.stride, ...g.padding, ...g.dilation, g.adaptive ? 1 : 0,
]; // biome-ignore format: one line
function unpacked(list: List): Windows {
  const at = (i: number): Three => list.slice(3 * i, 3 * i + 3) as unknown as Three;
  return {
    input: at(0),
    output: at(1),
    size: at(2),
    stride: at(3),
    padding: at(4),
    dilation: at(5),
    adaptive: list[18] === 1,
  };
}

type Planes = (x: Tensor, windows: List, divisor: number, padded: boolean) => Tensor;
const meanOfPlanes: Operator<Planes> = operator({
  schema: "vexil::mean_windows(Tensor x, int[] windows, int divisor, bool padded) -> Tensor",
  method: false,
  run: (x: Tensor, windows: List, divisor: number, padded: boolean) =>
    launchMean(x, unpacked(windows), divisor, padded),
  derivative: {
    backward: (ctx, grad) => [
      meanOfPlanesBack(grad!, ctx.args[1] as List, ctx.args[2] as number, ctx.args[3] as boolean),
    ],
  },
  summary: "Means of windows of planes",
});
const meanOfPlanesBack: Operator<Planes> = operator({
  schema: "vexil::mean_windows_backward(Tensor grad, int[] windows, int divisor, bool padded) -> Tensor",
  method: false,
  run: (grad: Tensor, windows: List, divisor: number, padded: boolean) =>
    launchMeanBack(grad, unpacked(windows), divisor, padded),
  derivative: {
    backward: (ctx, grad) => [
      meanOfPlanes(grad!, ctx.args[1] as List, ctx.args[2] as number, ctx.args[3] as boolean),
    ],
  },
  summary: "Gradient of the means of windows",
});

type AvgPool = (
  input: Tensor,
  kernelSize: List | number,
  stride?: List | number,
  padding?: List | number,
  ceilMode?: boolean,
  countIncludePad?: boolean,
  divisorOverride?: number | null,
) => Tensor;
function avgPool(rank: 1 | 2 | 3): Operator<AvgPool> {
  const op = `avg_pool${rank}d`;
  return operator({
    schema: `${op}(Tensor self, int[${rank}] kernel_size, int[${rank}] stride=[], int[${rank}] padding=0, bool ceil_mode=False, bool count_include_pad=True, int? divisor_override=None) -> Tensor`,
    method: false,
    run: (
      x: Tensor,
      size: List,
      stride: List,
      padding: List,
      ceil: boolean,
      padded: boolean,
      divisor: number | null,
    ) => {
      if (divisor === 0) throw new RangeError(`${op}: the divisor is not 0`);
      const g = fixed(op, x, rank, size, stride, padding, [1], ceil);
      return meanOfPlanes(planes(x, g.input), packed(g), divisor ?? 0, padded).view(shapeOf(x, g, rank));
    },
    derivative: "composite",
    opinfo: [`nn.functional.${op}`],
    benchmarks: () => [[timedImages(rank), new Array<number>(rank).fill(2)]],
    stage: "stable",
    summary: "Means of windows",
  });
}
/** Means of windows of `[batch, channels, length]`. PyTorch: `F.avg_pool1d`. */
export const avgPool1d: Operator<AvgPool> = avgPool(1);
/** Means of windows of `[batch, channels, height, width]`. PyTorch: `F.avg_pool2d`. */
export const avgPool2d: Operator<AvgPool> = avgPool(2);
/** Means of windows of `[batch, channels, depth, height, width]`. PyTorch: `F.avg_pool3d`. */
export const avgPool3d: Operator<AvgPool> = avgPool(3);

type Sizes = readonly (number | null)[];
const sizesOf = (size: unknown): Sizes => (Array.isArray(size) ? (size as Sizes) : [size as number | null]);
/** A size of -1 is the input's. */
const given = (size: List): Sizes => size.map((n) => (n < 0 ? null : n));
const adaptiveEntry = (op: string) => ({
  op: `nn.functional.${op}`,
  adapt: (input: unknown, args: unknown[], kwargs: Record<string, unknown>) => [
    input,
    sizesOf(args[0] ?? kwargs["output_size"]).map((n) => n ?? -1),
  ],
});

type AdaptivePool<R> = (input: Tensor, outputSize: List | number) => R;
function adaptiveAvgPool(rank: 1 | 2 | 3): Operator<AdaptivePool<Tensor>> {
  const op = `adaptive_avg_pool${rank}d`;
  return operator({
    schema: `${op}(Tensor self, int[${rank}] output_size) -> Tensor`,
    method: false,
    run: (x: Tensor, size: List) => {
      const g = adapted(op, x, rank, given(size));
      return meanOfPlanes(planes(x, g.input), packed(g), 0, false).view(shapeOf(x, g, rank));
    },
    derivative: "composite",
    opinfo: [adaptiveEntry(op)],
    benchmarks: () => [[timedImages(rank), halfEdges(rank)]],
    stage: "stable",
    summary: "Means of windows that give an output size",
  });
}
/** Means of windows that give `outputSize`; -1 leaves a length. PyTorch: `F.adaptive_avg_pool1d`. */
export const adaptiveAvgPool1d: Operator<AdaptivePool<Tensor>> = adaptiveAvgPool(1);
/** Means of windows that give `outputSize`; -1 leaves a length. PyTorch: `F.adaptive_avg_pool2d`. */
export const adaptiveAvgPool2d: Operator<AdaptivePool<Tensor>> = adaptiveAvgPool(2);
/** Means of windows that give `outputSize`; -1 leaves a length. PyTorch: `F.adaptive_avg_pool3d`. */
export const adaptiveAvgPool3d: Operator<AdaptivePool<Tensor>> = adaptiveAvgPool(3);

// --- Largest elements ---

const maxOfPlanes: Operator<(x: Tensor, windows: List) => [Tensor, Tensor]> = operator({
  schema: "vexil::max_windows(Tensor x, int[] windows) -> (Tensor, Tensor)",
  method: false,
  run: (x: Tensor, windows: List) => launchMax(x, unpacked(windows)),
  derivative: {
    save: (_args, outputs) => [outputs[1]!],
    backward: (ctx, grad) => {
      const { shape } = ctx.meta(0);
      const lines = shape[0]!;
      const flat = zeros([lines, shape.slice(1).reduce((n, m) => n * m, 1)], {
        dtype: grad!.dtype,
        device: grad!.device,
      });
      return [
        scatterAdd(flat, 1, ctx.saved[0]!.reshape([lines, -1]), grad!.reshape([lines, -1])).view([...shape]),
      ];
    },
  },
  summary: "Largest elements of windows of planes, and their places",
});

function largest(x: Tensor, g: Windows, rank: number): [Tensor, Tensor] {
  const [values, places] = maxOfPlanes(planes(x, g.input), packed(g));
  const shape = shapeOf(x, g, rank);
  return [values.view(shape), places.view(shape)];
}

type MaxPool = (
  input: Tensor,
  kernelSize: List | number,
  stride?: List | number,
  padding?: List | number,
  dilation?: List | number,
  ceilMode?: boolean,
) => [Tensor, Tensor];
const ARGS = ["kernel_size", "stride", "padding", "dilation", "ceil_mode"];
/** The positional arguments of a sample; undefined if it wants places where `places` is false, or the other way round. */
const maxEntry = (op: string, places: boolean) => ({
  op,
  adapt: (input: unknown, args: unknown[], kwargs: Record<string, unknown>) => {
    if ((kwargs["return_indices"] ?? false) !== places) return undefined;
    const list = ARGS.map((name, i) => args[i] ?? kwargs[name]);
    return [input, list[0], list[1] ?? [], list[2] ?? 0, list[3] ?? 1, list[4] ?? false];
  },
});
function maxPool(rank: 1 | 2 | 3): [Operator<MaxPool>, Operator<(...args: Parameters<MaxPool>) => Tensor>] {
  const op = `max_pool${rank}d`;
  const args = `(Tensor self, int[${rank}] kernel_size, int[${rank}] stride=[], int[${rank}] padding=0, int[${rank}] dilation=1, bool ceil_mode=False)`;
  const run = (x: Tensor, size: List, stride: List, padding: List, dilation: List, ceil: boolean) =>
    largest(x, fixed(op, x, rank, size, stride, padding, dilation, ceil), rank);
  const both: Operator<MaxPool> = operator({
    schema: `${op}_with_indices${args} -> (Tensor, Tensor)`,
    method: false,
    run,
    derivative: "composite",
    opinfo: [maxEntry(`nn.functional.${op}`, true)],
    benchmarks: () => [[timedImages(rank), new Array<number>(rank).fill(2)]],
    stage: "stable",
    summary: "Largest elements of windows, and their places",
  });
  const values: Operator<(...args: Parameters<MaxPool>) => Tensor> = operator({
    schema: `${op}${args} -> Tensor`,
    method: false,
    run: (...list: Parameters<typeof run>) => run(...list)[0],
    derivative: "composite",
    opinfo: [maxEntry(`nn.functional.${op}`, false)],
    benchmarks: () => [[timedImages(rank), new Array<number>(rank).fill(2)]],
    stage: "stable",
    summary: "Largest elements of windows",
  });
  return [both, values];
}
const [with1, max1] = maxPool(1);
const [with2, max2] = maxPool(2);
const [with3, max3] = maxPool(3);
/** Largest elements of windows of `[batch, channels, length]`, NaN above all. PyTorch: `F.max_pool1d`. */
export const maxPool1d: Operator<(...args: Parameters<MaxPool>) => Tensor> = max1;
/** Largest elements of windows of `[batch, channels, height, width]`. PyTorch: `F.max_pool2d`. */
export const maxPool2d: Operator<(...args: Parameters<MaxPool>) => Tensor> = max2;
/** Largest elements of windows of `[batch, channels, depth, height, width]`. PyTorch: `F.max_pool3d`. */
export const maxPool3d: Operator<(...args: Parameters<MaxPool>) => Tensor> = max3;
/** {@link maxPool1d} with the places in each line. */
export const maxPool1dWithIndices: Operator<MaxPool> = with1;
/** {@link maxPool2d} with the places in each plane. */
export const maxPool2dWithIndices: Operator<MaxPool> = with2;
/** {@link maxPool3d} with the places in each volume. */
export const maxPool3dWithIndices: Operator<MaxPool> = with3;

function adaptiveMaxPool(rank: 1 | 2 | 3): Operator<AdaptivePool<[Tensor, Tensor]>> {
  const op = `adaptive_max_pool${rank}d`;
  const run = (x: Tensor, size: List) => largest(x, adapted(op, x, rank, given(size)), rank);
  const plain = adaptiveEntry(op);
  const wants = (args: unknown[], kwargs: Record<string, unknown>) =>
    (args[1] ?? kwargs["return_indices"] ?? false) === true;
  operator({
    schema: `vexil::${op}_values(Tensor self, int[${rank}] output_size) -> Tensor`,
    method: false,
    run: (x: Tensor, size: List) => run(x, size)[0],
    derivative: "composite",
    opinfo: [{ ...plain, adapt: (x, args, k) => (wants(args, k) ? undefined : plain.adapt(x, args, k)) }],
    benchmarks: () => [[timedImages(rank), halfEdges(rank)]],
    stage: "stable",
    summary: "Largest elements of windows that give an output size",
  });
  return operator({
    schema: `${op}(Tensor self, int[${rank}] output_size) -> (Tensor, Tensor)`,
    method: false,
    run,
    derivative: "composite",
    opinfo: [{ ...plain, adapt: (x, args, k) => (wants(args, k) ? plain.adapt(x, args, k) : undefined) }],
    benchmarks: () => [[timedImages(rank), halfEdges(rank)]],
    stage: "stable",
    summary: "Largest elements of windows that give an output size, and their places",
  });
}
/** Largest elements of windows that give `outputSize`, and their places. PyTorch: `F.adaptive_max_pool1d`. */
export const adaptiveMaxPool1d: Operator<AdaptivePool<[Tensor, Tensor]>> = adaptiveMaxPool(1);
/** Largest elements of windows that give `outputSize`, and their places. PyTorch: `F.adaptive_max_pool2d`. */
export const adaptiveMaxPool2d: Operator<AdaptivePool<[Tensor, Tensor]>> = adaptiveMaxPool(2);
/** Largest elements of windows that give `outputSize`, and their places. PyTorch: `F.adaptive_max_pool3d`. */
export const adaptiveMaxPool3d: Operator<AdaptivePool<[Tensor, Tensor]>> = adaptiveMaxPool(3);

// --- Back to the places ---

type MaxUnpool = (input: Tensor, indices: Tensor, outputSize: List) => Tensor;
/** The output size that the pooling's arguments imply. */
const unpoolEntry = (rank: number, variant?: string) => ({
  op: `nn.functional.max_unpool${rank}d`,
  ...(variant === undefined ? {} : { variant }),
  adapt: (input: unknown, args: unknown[], k: Record<string, unknown>) => {
    const size = k["output_size"] as number[] | null | undefined;
    if (size) return [input, args[0], size.slice(-rank)];
    const list = (v: unknown, rest: number[]): number[] =>
      v == null ? rest : Array.isArray(v) ? v : new Array<number>(rank).fill(v as number);
    const kernel = list(k["kernel_size"], []);
    const stride = list(k["stride"], kernel);
    const padding = list(k["padding"], new Array<number>(rank).fill(0));
    const n = (input as Tensor).shape.slice(-rank);
    return [input, args[0], n.map((m, i) => (m - 1) * stride[i]! + kernel[i]! - 2 * padding[i]!)];
  },
});
function maxUnpool(rank: 1 | 2 | 3): Operator<MaxUnpool> {
  const op = `max_unpool${rank}d`;
  return operator({
    schema: `${op}(Tensor self, Tensor indices, int[${rank}] output_size) -> Tensor`,
    method: false,
    run: (x: Tensor, indices: Tensor, size: List) => {
      checkInput(op, x, rank);
      const lead = x.shape.slice(0, x.ndim - rank);
      const lines = lead.reduce((n, m) => n * m, 1);
      const flat = zeros([lines, size.reduce((n, m) => n * m, 1)], { dtype: x.dtype, device: x.device });
      return unpooled(flat, indices.reshape([lines, -1]), x.reshape([lines, -1])).view([...lead, ...size]);
    },
    derivative: "composite",
    opinfo: [unpoolEntry(rank), unpoolEntry(rank, "grad")],
    benchmarks: () => {
      const image = timedImages(rank);
      const pool = [maxPool1dWithIndices, maxPool2dWithIndices, maxPool3dWithIndices][rank - 1]!;
      const [values, places] = pool(image, new Array<number>(rank).fill(2));
      return [[values, places, image.shape.slice(2)]];
    },
    stage: "stable",
    summary: "Elements put back where a pooling found them",
  });
}
/** Writes each element at its place; each gets the gradient of the place, whoever was written last. */
const unpooled: Operator<(into: Tensor, places: Tensor, values: Tensor) => Tensor> = operator({
  schema: "vexil::unpool(Tensor into, Tensor places, Tensor values) -> Tensor",
  method: false,
  run: (into: Tensor, places: Tensor, values: Tensor) =>
    callOperator("scatter.src", into, 1, places, values) as Tensor,
  derivative: {
    save: (args) => [args[1] as Tensor],
    backward: (ctx, grad) => [null, null, gather(grad!, 1, ctx.saved[0]!)],
  },
  summary: "Elements written at places of lines",
});
/** Elements put back where {@link maxPool1dWithIndices} found them, zeros elsewhere. PyTorch: `F.max_unpool1d`. */
export const maxUnpool1d: Operator<MaxUnpool> = maxUnpool(1);
/** Elements put back where {@link maxPool2dWithIndices} found them, zeros elsewhere. PyTorch: `F.max_unpool2d`. */
export const maxUnpool2d: Operator<MaxUnpool> = maxUnpool(2);
/** Elements put back where {@link maxPool3dWithIndices} found them, zeros elsewhere. PyTorch: `F.max_unpool3d`. */
export const maxUnpool3d: Operator<MaxUnpool> = maxUnpool(3);
