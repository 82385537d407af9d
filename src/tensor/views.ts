// Views: operators that only compute shapes, strides and offsets over the same memory.
// How their gradients come back is `view-grad.ts`; taking several at once `splits.ts`; `t.at(…)` is `indexing.ts`.

import { inferShape, normalizeDim, normalizeDims, showShape, viewStrides } from "./layout.js";
import type { BackwardContext, InputGradients } from "./node.js";
import { callOperator, operator, type Method, type Operator } from "./operator.js";
import { alias, Tensor } from "./tensor.js";
import {
  asStridedBackward,
  diagonalBackward,
  selectBackward,
  sliceBackward,
  unfoldBackward,
} from "./view-grad.js";

declare module "./tensor.js" {
  interface Tensor {
    view: Method<typeof view>;
    reshape: Method<typeof reshape>;
    viewAs: Method<typeof viewAs>;
    reshapeAs: Method<typeof reshapeAs>;
    flatten: Method<typeof flatten>;
    unflatten: Method<typeof unflatten>;
    ravel: Method<typeof ravel>;
    permute: Method<typeof permute>;
    transpose: Method<typeof transpose>;
    swapaxes: Method<typeof swapaxes>;
    swapdims: Method<typeof swapdims>;
    t: Method<typeof t>;
    movedim: Method<typeof movedim>;
    moveaxis: Method<typeof moveaxis>;
    expand: Method<typeof expand>;
    expandAs: Method<typeof expandAs>;
    broadcastTo: Method<typeof broadcastTo>;
    squeeze: Method<typeof squeeze>;
    unsqueeze: Method<typeof unsqueeze>;
    select: Method<typeof select>;
    narrow: Method<typeof narrow>;
    slice: Method<typeof slice>;
    asStrided: Method<typeof asStrided>;
    unfold: Method<typeof unfold>;
    diagonal: Method<typeof diagonal>;
  }
}

type Shape = readonly number[];

/** The gradient of anything that only regroups elements. */
const regroup = (ctx: BackwardContext, grad: Tensor): InputGradients => [reshape(grad, ctx.meta(0).shape)];

/**
 * The same elements in another shape, one length may be -1. Throws where the strides do not allow it without a copy.
 */
export const view: Operator<(self: Tensor, size: Shape | number, ...more: number[]) => Tensor> = operator({
  schema: "view(Tensor(a) self, int[] size) -> Tensor(a)",
  run: (self: Tensor, size: Shape) => {
    const shape = inferShape(size, self.numel);
    const strides = viewStrides(self.shape, self.strides, shape);
    if (strides === undefined) {
      throw new RangeError(
        `view of shape ${showShape(shape)} does not fit the strides ${showShape(self.strides)} of a tensor of shape ` +
          `${showShape(self.shape)}; use reshape, which copies if it must`,
      );
    }
    return alias(self, shape, strides, self.offset);
  },
  derivative: { backward: regroup },
  opinfo: ["view"],
  stage: "stable",
});

/** The same elements in another shape: a view where the strides allow it, else a copy. One length may be -1. */
export const reshape: Operator<(self: Tensor, shape: Shape | number, ...more: number[]) => Tensor> = operator(
  {
    schema: "reshape(Tensor(a) self, int[] shape) -> Tensor(a)",
    run: (self: Tensor, size: Shape) => {
      const shape = inferShape(size, self.numel);
      const fits = viewStrides(self.shape, self.strides, shape) !== undefined;
      return view(fits ? self : (callOperator("contiguous", self) as Tensor), shape);
    },
    derivative: "composite",
    opinfo: ["reshape"],
    stage: "stable",
  },
);

/** {@link view} in the shape of another tensor. */
export const viewAs: Operator<(self: Tensor, other: Tensor) => Tensor> = operator({
  schema: "view_as(Tensor(a) self, Tensor other) -> Tensor(a)",
  run: (self: Tensor, other: Tensor) => view(self, other.shape),
  derivative: "composite",
  opinfo: ["view_as"],
  stage: "stable",
});

/** {@link reshape} to the shape of another tensor. */
export const reshapeAs: Operator<(self: Tensor, other: Tensor) => Tensor> = operator({
  schema: "reshape_as(Tensor(a) self, Tensor other) -> Tensor(a)",
  run: (self: Tensor, other: Tensor) => reshape(self, other.shape),
  derivative: "composite",
  opinfo: ["reshape_as"],
  stage: "stable",
});

/** Joins dimensions `startDim` to `endDim` (inclusive) into one; a 0-dim tensor becomes one of length 1. */
export const flatten: Operator<(self: Tensor, startDim?: number, endDim?: number) => Tensor> = operator({
  schema: "flatten.using_ints(Tensor(a) self, int start_dim=0, int end_dim=-1) -> Tensor(a)",
  run: (self: Tensor, startDim: number, endDim: number) => {
    const start = normalizeDim(startDim, self.ndim);
    const end = normalizeDim(endDim, self.ndim);
    if (start > end) throw new RangeError(`flatten: startDim ${startDim} comes after endDim ${endDim}`);
    if (self.ndim === 0) return reshape(self, [1]);
    const joined = self.shape.slice(start, end + 1).reduce((a, b) => a * b, 1);
    return reshape(self, [...self.shape.slice(0, start), joined, ...self.shape.slice(end + 1)]);
  },
  derivative: "composite",
  opinfo: ["flatten"],
  stage: "stable",
});

/** All elements in one dimension. */
export const ravel: Operator<(self: Tensor) => Tensor> = operator({
  schema: "ravel(Tensor(a) self) -> Tensor(a)",
  run: (self: Tensor) => reshape(self, [-1]),
  derivative: "composite",
  opinfo: ["ravel"],
  stage: "stable",
});

/** Splits one dimension into several; one length may be -1. */
export const unflatten: Operator<(self: Tensor, dim: number, sizes: Shape) => Tensor> = operator({
  schema: "unflatten.int(Tensor(a) self, int dim, int[] sizes) -> Tensor(a)",
  run: (self: Tensor, dim: number, sizes: Shape) => {
    const d = normalizeDim(dim, self.ndim);
    if (sizes.length === 0) throw new RangeError("unflatten: sizes must not be empty");
    const inner = inferShape(sizes, self.size(d));
    return view(self, [...self.shape.slice(0, d), ...inner, ...self.shape.slice(d + 1)]);
  },
  derivative: "composite",
  opinfo: ["unflatten"],
  stage: "stable",
});

/** Reorders the dimensions: dimension i of the result is `dims[i]` of the input. */
export const permute: Operator<(self: Tensor, dims: Shape | number, ...more: number[]) => Tensor> = operator({
  schema: "permute(Tensor(a) self, int[] dims) -> Tensor(a)",
  run: (self: Tensor, dims: Shape) => {
    const order = normalizeDims(dims, self.ndim, false);
    if (order.length !== self.ndim) {
      throw new RangeError(
        `permute: ${showShape(dims)} names ${dims.length} dimensions of a tensor that has ${self.ndim}`,
      );
    }
    return alias(
      self,
      order.map((d) => self.shape[d]!),
      order.map((d) => self.strides[d]!),
      self.offset,
    );
  },
  derivative: {
    backward: (ctx, grad) => {
      const dims = ctx.args[1] as Shape;
      const back = new Array<number>(dims.length);
      dims.forEach((d, i) => {
        back[d < 0 ? d + dims.length : d] = i;
      });
      return [permute(grad, back)];
    },
  },
  opinfo: ["permute"],
  stage: "stable",
});

function swapped(self: Tensor, dim0: number, dim1: number): Tensor {
  const a = normalizeDim(dim0, self.ndim);
  const b = normalizeDim(dim1, self.ndim);
  const shape = self.shape.slice();
  const strides = self.strides.slice();
  if (self.ndim > 0) {
    [shape[a], shape[b]] = [shape[b]!, shape[a]!];
    [strides[a], strides[b]] = [strides[b]!, strides[a]!];
  }
  return alias(self, shape, strides, self.offset);
}

const swapBack = (ctx: BackwardContext, grad: Tensor): InputGradients => [
  transpose(grad, ctx.args[1] as number, ctx.args[2] as number),
];

/** Swaps two dimensions. */
export const transpose: Operator<(self: Tensor, dim0: number, dim1: number) => Tensor> = operator({
  schema: "transpose.int(Tensor(a) self, int dim0, int dim1) -> Tensor(a)",
  run: swapped as (...args: unknown[]) => Tensor,
  derivative: { backward: swapBack },
  opinfo: ["transpose"],
  stage: "stable",
});

/** {@link transpose} by NumPy's name. */
export const swapaxes: Operator<(self: Tensor, axis0: number, axis1: number) => Tensor> = operator({
  schema: "swapaxes(Tensor(a) self, int axis0, int axis1) -> Tensor(a)",
  run: swapped as (...args: unknown[]) => Tensor,
  derivative: { backward: swapBack },
  opinfo: ["swapaxes"],
  stage: "stable",
});

/** {@link transpose} by another name. */
export const swapdims: Operator<(self: Tensor, dim0: number, dim1: number) => Tensor> = operator({
  schema: "swapdims(Tensor(a) self, int dim0, int dim1) -> Tensor(a)",
  run: swapped as (...args: unknown[]) => Tensor,
  derivative: { backward: swapBack },
  opinfo: ["swapdims"],
  stage: "stable",
});

/** The transpose of a matrix; tensors of fewer dimensions as they are. */
export const t: Operator<(self: Tensor) => Tensor> = operator({
  schema: "t(Tensor(a) self) -> Tensor(a)",
  run: (self: Tensor) => {
    if (self.ndim > 2)
      throw new RangeError(`t() takes at most 2 dimensions, not ${self.ndim}; use transpose(dim0, dim1)`);
    return alias(self, self.shape.slice().reverse(), self.strides.slice().reverse(), self.offset);
  },
  derivative: { backward: (_ctx, grad) => [t(grad)] },
  opinfo: ["t"],
  stage: "stable",
});

/** All dimensions in reverse order. */
export const numpyT: Operator<(self: Tensor) => Tensor> = operator({
  schema: "numpy_T(Tensor(a) self) -> Tensor(a)",
  run: (self: Tensor) =>
    alias(self, self.shape.slice().reverse(), self.strides.slice().reverse(), self.offset),
  derivative: { backward: (_ctx, grad) => [numpyT(grad)] },
  opinfo: ["T", "H"],
  method: false,
  stage: "stable",
});

/** The last two dimensions swapped. */
export const matrixTranspose: Operator<(self: Tensor) => Tensor> = operator({
  schema: "mT(Tensor(a) self) -> Tensor(a)",
  name: "matrixTranspose",
  run: (self: Tensor) => {
    if (self.ndim < 2) throw new RangeError(`mT needs at least 2 dimensions, not ${self.ndim}`);
    return swapped(self, -2, -1);
  },
  derivative: { backward: (_ctx, grad) => [matrixTranspose(grad)] },
  opinfo: ["mT", "mH"],
  method: false,
  stage: "stable",
});

function moved(self: Tensor, source: Shape, destination: Shape): Tensor {
  if (source.length !== destination.length) {
    throw new RangeError(`movedim: ${source.length} sources for ${destination.length} destinations`);
  }
  const from = normalizeDims(source, self.ndim, false);
  const to = normalizeDims(destination, self.ndim, false);
  const order = new Array<number>(self.ndim).fill(-1);
  from.forEach((d, i) => {
    order[to[i]!] = d;
  });
  const rest = Array.from({ length: self.ndim }, (_, d) => d).filter((d) => !from.includes(d));
  return permute(
    self,
    order.map((d) => (d >= 0 ? d : rest.shift()!)),
  );
}

/** Moves dimensions to other positions; the others keep their order. */
export const movedim: Operator<
  (self: Tensor, source: Shape | number, destination: Shape | number) => Tensor
> = operator({
  schema: "movedim.intlist(Tensor(a) self, int[] source, int[] destination) -> Tensor(a)",
  run: moved as (...args: unknown[]) => Tensor,
  derivative: "composite",
  opinfo: ["movedim"],
  stage: "stable",
});

/** {@link movedim} by NumPy's name. */
export const moveaxis: Operator<
  (self: Tensor, source: Shape | number, destination: Shape | number) => Tensor
> = operator({
  schema: "moveaxis.intlist(Tensor(a) self, int[] source, int[] destination) -> Tensor(a)",
  run: moved as (...args: unknown[]) => Tensor,
  derivative: "composite",
  opinfo: ["moveaxis"],
  stage: "stable",
});

function expanded(self: Tensor, size: Shape): Tensor {
  const lead = size.length - self.ndim;
  const refuse = (): never => {
    throw new RangeError(`a tensor of shape ${showShape(self.shape)} does not expand to ${showShape(size)}`);
  };
  if (lead < 0) refuse();
  const strides = new Array<number>(size.length);
  const shape = size.map((n, i) => {
    const own = i < lead ? 1 : self.shape[i - lead]!;
    strides[i] = i < lead ? 0 : self.strides[i - lead]!;
    if (n === own || (n === -1 && i >= lead)) return own;
    if (own !== 1 || n < 0) refuse();
    strides[i] = 0;
    return n;
  });
  return alias(self, shape, strides, self.offset);
}

/** Repeats dimensions of length 1, and new leading ones, without copying; -1 leaves a length. */
export const expand: Operator<(self: Tensor, size: Shape | number, ...more: number[]) => Tensor> = operator({
  schema: "expand(Tensor(a) self, int[] size, *, bool implicit=False) -> Tensor(a)",
  run: expanded as (...args: unknown[]) => Tensor,
  // The engine sums what was repeated.
  derivative: { backward: (_ctx, grad) => [grad] },
  opinfo: ["expand"],
  stage: "stable",
});

/** {@link expand} to the shape of another tensor. */
export const expandAs: Operator<(self: Tensor, other: Tensor) => Tensor> = operator({
  schema: "expand_as(Tensor(a) self, Tensor other) -> Tensor(a)",
  run: (self: Tensor, other: Tensor) => expand(self, other.shape),
  derivative: "composite",
  opinfo: ["expand_as"],
  stage: "stable",
});

/** {@link expand} by another name. */
export const broadcastTo: Operator<(self: Tensor, size: Shape) => Tensor> = operator({
  schema: "broadcast_to(Tensor(a) self, int[] size) -> Tensor(a)",
  run: (self: Tensor, size: Shape) => expand(self, size),
  derivative: "composite",
  opinfo: ["broadcast_to"],
  stage: "stable",
});

/** Drops dimensions of length 1: all of them, or of the given ones those that have it. */
export const squeeze: Operator<(self: Tensor, dim?: Shape | number | null) => Tensor> = operator({
  schema: "squeeze.dims(Tensor(a) self, int[]? dim=None) -> Tensor(a)",
  run: (self: Tensor, dim: Shape | null) => {
    const drop = new Set(normalizeDims(dim, self.ndim, false));
    const stay = Array.from({ length: self.ndim }, (_, d) => d).filter(
      (d) => self.shape[d] !== 1 || !drop.has(d),
    );
    return alias(
      self,
      stay.map((d) => self.shape[d]!),
      stay.map((d) => self.strides[d]!),
      self.offset,
    );
  },
  derivative: { backward: regroup },
  opinfo: ["squeeze", { op: "squeeze", variant: "multiple" }],
  stage: "stable",
});

/** Inserts a dimension of length 1 before position `dim` (negative: counted from the end of the result). */
export const unsqueeze: Operator<(self: Tensor, dim: number) => Tensor> = operator({
  schema: "unsqueeze(Tensor(a) self, int dim) -> Tensor(a)",
  run: (self: Tensor, dim: number) => {
    const d = normalizeDim(dim, self.ndim + 1);
    const shape = self.shape.slice();
    const strides = self.strides.slice();
    strides.splice(d, 0, d < self.ndim ? shape[d]! * strides[d]! : 1);
    shape.splice(d, 0, 1);
    return alias(self, shape, strides, self.offset);
  },
  derivative: { backward: regroup },
  opinfo: ["unsqueeze"],
  stage: "stable",
});

/** The slice at one index of a dimension, which disappears. Negative indices count from the end. */
export const select: Operator<(self: Tensor, dim: number, index: number) => Tensor> = operator({
  schema: "select.int(Tensor(a) self, int dim, int index) -> Tensor(a)",
  run: (self: Tensor, dim: number, index: number) => {
    if (self.ndim === 0) throw new RangeError("select: a 0-dim tensor has no dimension to select from");
    const d = normalizeDim(dim, self.ndim);
    const n = self.shape[d]!;
    if (index < -n || index >= n) {
      throw new RangeError(`select: index ${index} is out of range for dimension ${d} of length ${n}`);
    }
    const shape = self.shape.slice();
    const strides = self.strides.slice();
    shape.splice(d, 1);
    const [step] = strides.splice(d, 1);
    return alias(self, shape, strides, self.offset + (index < 0 ? index + n : index) * step!);
  },
  derivative: {
    backward: (ctx, grad) => [
      selectBackward(grad, ctx.meta(0).shape, ctx.args[1] as number, ctx.args[2] as number),
    ],
  },
  opinfo: ["select"],
  stage: "stable",
});

function sliced(self: Tensor, d: number, start: number, length: number, step: number): Tensor {
  const shape = self.shape.slice();
  const strides = self.strides.slice();
  const offset = self.offset + start * strides[d]!;
  shape[d] = length;
  strides[d]! *= step;
  return alias(self, shape, strides, offset);
}

/** `length` elements of a dimension from `start` on (negative: from the end). */
export const narrow: Operator<(self: Tensor, dim: number, start: number, length: number) => Tensor> =
  operator({
    schema: "narrow(Tensor(a) self, int dim, int start, int length) -> Tensor(a)",
    run: (self: Tensor, dim: number, start: number, length: number) => {
      if (self.ndim === 0) throw new RangeError("narrow: a 0-dim tensor has no dimension to narrow");
      const d = normalizeDim(dim, self.ndim);
      const n = self.shape[d]!;
      const from = start < 0 ? start + n : start;
      if (from < 0 || length < 0 || from + length > n) {
        throw new RangeError(
          `narrow: ${length} elements from ${start} are not within dimension ${d} of length ${n}`,
        );
      }
      return sliced(self, d, from, length, 1);
    },
    derivative: {
      backward: (ctx, grad) => {
        const { shape } = ctx.meta(0);
        const [, dim, start, length] = ctx.args as [unknown, number, number, number];
        const n = shape[normalizeDim(dim, shape.length)]!;
        const from = start < 0 ? start + n : start;
        return [sliceBackward(grad, shape, dim, from, from + length, 1)];
      },
    },
    opinfo: [
      {
        op: "narrow",
        adapt: async (input, [dim, start, length]) => [
          input,
          dim,
          start instanceof Tensor ? Number(await start.item()) : start,
          length,
        ],
      },
    ],
    stage: "stable",
  });

/** Bounds of a slice as Python means them, clamped to 0..n. */
export function sliceBounds(n: number, start: number | null, end: number | null): [number, number] {
  const clamp = (v: number): number => Math.min(Math.max(v < 0 ? v + n : v, 0), n);
  const from = start === null ? 0 : clamp(start);
  return [from, Math.max(from, end === null ? n : clamp(end))];
}

/** Every `step`-th element of a dimension from `start` up to, not including, `end`; bounds are clamped as in Python. */
export const slice: Operator<
  (self: Tensor, dim?: number, start?: number | null, end?: number | null, step?: number) => Tensor
> = operator({
  schema: "slice.Tensor(Tensor(a) self, int dim=0, int? start=None, int? end=None, int step=1) -> Tensor(a)",
  run: (self: Tensor, dim: number, start: number | null, end: number | null, step: number) => {
    if (self.ndim === 0) throw new RangeError("slice: a 0-dim tensor has no dimension to slice");
    if (step < 1) throw new RangeError(`slice: the step must be 1 or more, not ${step}`);
    const d = normalizeDim(dim, self.ndim);
    const [from, to] = sliceBounds(self.shape[d]!, start, end);
    return sliced(self, d, from, Math.ceil((to - from) / step), step);
  },
  derivative: {
    backward: (ctx, grad) => {
      const [, dim, start, end, step] = ctx.args as [unknown, number, number | null, number | null, number];
      return [sliceBackward(grad, ctx.meta(0).shape, dim, start, end, step)];
    },
  },
  opinfo: ["slice"],
  stage: "stable",
});

/**
 * A view with any shape and strides (in elements) from any offset of the storage. Throws if it would reach outside.
 * Writing to one whose elements overlap is undefined.
 */
export const asStrided: Operator<
  (self: Tensor, size: Shape, stride: Shape, storageOffset?: number | null) => Tensor
> = operator({
  schema: "as_strided(Tensor(a) self, int[] size, int[] stride, int? storage_offset=None) -> Tensor(a)",
  run: (self: Tensor, size: Shape, stride: Shape, storageOffset: number | null) => {
    if (size.length !== stride.length) {
      throw new RangeError(`asStrided: ${size.length} lengths for ${stride.length} strides`);
    }
    const offset = storageOffset ?? self.offset;
    const empty = size.includes(0);
    const last = size.reduce((at, n, i) => at + (n - 1) * stride[i]!, offset);
    const room = Math.floor(self.storage.bytes / self.itemSize);
    if (stride.some((s) => s < 0) || offset < 0 || (!empty && last >= room)) {
      throw new RangeError(
        `asStrided: shape ${showShape(size)} with strides ${showShape(stride)} from ${offset} is not within the ${room} elements of the storage`,
      );
    }
    return alias(self, size.slice(), stride.slice(), offset);
  },
  derivative: {
    backward: (ctx, grad) => {
      const [, , stride, offset] = ctx.args as [unknown, Shape, Shape, number | null];
      const input = ctx.meta(0);
      return [asStridedBackward(grad, input, stride, (offset ?? input.offset) - input.offset)];
    },
  },
  opinfo: ["as_strided"],
  stage: "stable",
});

/** All windows of `size` elements along a dimension, `step` apart; the windows' elements become the last dimension. */
export const unfold: Operator<(self: Tensor, dimension: number, size: number, step: number) => Tensor> =
  operator({
    schema: "unfold(Tensor(a) self, int dimension, int size, int step) -> Tensor(a)",
    run: (self: Tensor, dimension: number, size: number, step: number) => {
      const d = normalizeDim(dimension, self.ndim);
      const n = self.ndim === 0 ? 1 : self.shape[d]!;
      const stride = self.ndim === 0 ? 1 : self.strides[d]!;
      if (size < 0 || size > n)
        throw new RangeError(`unfold: windows of ${size} do not fit dimension ${d} of length ${n}`);
      if (step < 1) throw new RangeError(`unfold: the step must be 1 or more, not ${step}`);
      const shape = self.shape.slice();
      const strides = self.strides.slice();
      if (self.ndim > 0) {
        shape[d] = Math.floor((n - size) / step) + 1;
        strides[d] = stride * step;
      }
      return alias(self, [...shape, size], [...strides, stride], self.offset);
    },
    derivative: {
      backward: (ctx, grad) => {
        const [, dimension, size, step] = ctx.args as [unknown, number, number, number];
        return [unfoldBackward(grad, ctx.meta(0).shape, dimension, size, step)];
      },
    },
    opinfo: ["unfold"],
    stage: "stable",
  });

/** The diagonal of two dimensions as the last one; `offset` counts to the right of the main one. */
export const diagonal: Operator<(self: Tensor, offset?: number, dim1?: number, dim2?: number) => Tensor> =
  operator({
    schema: "diagonal(Tensor(a) self, int offset=0, int dim1=0, int dim2=1) -> Tensor(a)",
    run: (self: Tensor, offset: number, dim1: number, dim2: number) => {
      const a = normalizeDim(dim1, self.ndim);
      const b = normalizeDim(dim2, self.ndim);
      if (a === b) throw new RangeError(`diagonal: dim1 and dim2 are both ${a}`);
      const rows = self.shape[a]!;
      const cols = self.shape[b]!;
      const length = Math.max(0, offset >= 0 ? Math.min(rows, cols - offset) : Math.min(rows + offset, cols));
      const shift = length === 0 ? 0 : offset >= 0 ? offset * self.strides[b]! : -offset * self.strides[a]!;
      const rest = Array.from({ length: self.ndim }, (_, d) => d).filter((d) => d !== a && d !== b);
      return alias(
        self,
        [...rest.map((d) => self.shape[d]!), length],
        [...rest.map((d) => self.strides[d]!), self.strides[a]! + self.strides[b]!],
        self.offset + shift,
      );
    },
    derivative: {
      backward: (ctx, grad) => {
        const [, offset, dim1, dim2] = ctx.args as [unknown, number, number, number];
        return [diagonalBackward(grad, ctx.meta(0).shape, offset, dim1, dim2)];
      },
    },
    opinfo: ["diagonal"],
    stage: "stable",
  });
