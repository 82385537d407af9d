// Single elements of the order along a dimension: kthvalue, median, nanmedian, mode. Quantiles are `quantile.ts`.

import { constexpr, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import {
  callOperator,
  empty,
  type Method,
  normalizeDim,
  type Operator,
  operator,
  type Overloads,
  overloads,
  type Tensor,
} from "../tensor/index.js";
import { shared } from "./extreme.js";
import { around } from "./index-kernels.js";
import { reshaped, rowMajor } from "./rows.js";
import { backTo } from "./sort.js";
import { sortAlong, topkAlong } from "./sort-kernels.js";

declare module "../tensor/tensor.js" {
  interface Tensor {
    kthvalue: Method<typeof kthvalue>;
    median: Method<MedianFunction>;
    nanmedian: Method<MedianFunction>;
    mode: Method<typeof mode>;
  }
}

const chosenGradient = {
  save: (_args: readonly unknown[], outputs: readonly Tensor[]) => [outputs[1]!],
};

/** Gradients of one element of each line, which stands where the indices say. */
function chosen(
  grad: Tensor,
  index: Tensor,
  shape: readonly number[],
  dim: number,
  keepdim: boolean,
): Tensor {
  const d = normalizeDim(dim, shape.length);
  if (keepdim || shape.length === 0) return backTo(grad, index, shape, d);
  const wide = (t: Tensor) => callOperator("unsqueeze", t, d) as Tensor;
  return backTo(wide(grad), wide(index), shape, d);
}

/** A line's element is picked by its place in the order. */
function refuseEmpty(op: string, x: Tensor, dim: number): void {
  if (x.shape[dim] === 0)
    throw new RangeError(`${op}: dimension ${dim} of the tensor is empty: there is nothing to choose`);
}

/** Without `keepdim` a dimension of 1 disappears. */
const reduced = (t: Tensor, dim: number, keepdim: boolean): Tensor =>
  keepdim || t.ndim === 0
    ? reshaped(t, t.shape)
    : reshaped(
        t,
        t.shape.filter((_, i) => i !== dim),
      );

/**
 * The `k`-th smallest element along `dim` (default: the last; `k` counts from 1) and its i64 place; NaN counts as the
 * largest. PyTorch: `torch.kthvalue`.
 */
export const kthvalue: Operator<
  (
    self: Tensor,
    k: number,
    dim?: number,
    keepdim?: boolean,
    options?: { dim?: number; keepdim?: boolean },
  ) => [Tensor, Tensor]
> = operator({
  schema:
    "kthvalue(Tensor self, SymInt k, int dim=-1, bool keepdim=False) -> (Tensor values, Tensor indices)",
  run: (self: Tensor, k: number, dim: number, keepdim: boolean) => {
    const d = normalizeDim(dim, self.ndim);
    const n = self.shape[d] ?? 1;
    if (!(k >= 1 && k <= n))
      throw new RangeError(`kthvalue: k is ${k}, but dimension ${dim} has ${n} elements`);
    return topkAlong(self, d, false, k).map((t) => {
      const one = self.ndim === 0 ? t : (callOperator("narrow", t, d, k - 1, 1) as Tensor);
      return reduced(rowMajor(one), d, keepdim);
    });
  },
  derivative: {
    ...chosenGradient,
    backward: (ctx, grad) => [
      chosen(grad, ctx.saved[0]!, ctx.meta(0).shape, ctx.args[2] as number, ctx.args[3] as boolean),
    ],
  },
  opinfo: [{ op: "kthvalue", ties: (args, kwargs) => Number(args[1] ?? kwargs["dim"] ?? -1) }],
  stage: "stable",
  summary: "The k-th smallest element along a dimension, and where it stands",
});

/** Of each sorted line the lower of the middle elements; NaN if there is one, or of the elements that are none. */
const middle = kernel(
  // biome-ignore format: one line per group
  { sorted: ptr, order: ptr, values: ptr, indices: ptr, lines: i32, n: i32, inner: i32, BLOCK: constexpr, IGNORE: constexpr.bool },
  ({ sorted, order, values, indices, lines, n, inner, BLOCK, IGNORE }, tl) => {
    const line = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    const inside = line < lines;
    const outer = tl.floorDiv(line, inner);
    const base = outer * (n * inner) + (line - outer * inner);
    // The first NaN, by bisection: they stand at the end.
    let low = tl.zeros([BLOCK], tl.i32);
    let high = low + n;
    for (let left = n; left > 0; left >>= 1) {
      const mid = (low + high) >> 1;
      const v = tl.load(sorted + base + mid * inner, inside && low < high, 0);
      const number = !tl.isnan(v);
      const open = low < high;
      low = tl.where(open && number, mid + 1, low);
      high = tl.where(open && !number, mid, high);
    }
    const numbers = low;
    const at = IGNORE
      ? tl.where(numbers > 0, (numbers - 1) >> 1, 0)
      : tl.where(numbers < n, numbers, (n - 1) >> 1);
    tl.store(values + line, tl.load(sorted + base + at * inner, inside), inside);
    tl.store(indices + line, tl.load(order + base + at * inner, inside), inside);
  },
  "median",
);

function medianAlong(op: string, self: Tensor, dim: number, keepdim: boolean): [Tensor, Tensor] {
  const d = normalizeDim(dim, self.ndim);
  refuseEmpty(op, self, d);
  const { outer, length: n, inner } = around(self.shape, d);
  const shape = self.shape.map((m, i) => (i === d ? 1 : m));
  const values = empty(shape, { dtype: self.dtype, device: self.device });
  const indices = empty(shape, { dtype: "i64", device: self.device });
  const lines = outer * inner;
  if (lines > 0) {
    const [sorted, order] = sortAlong(self, d, false);
    const BLOCK = 64;
    middle.launch([Math.ceil(lines / BLOCK)], {
      sorted, order, values, indices, lines, n, inner, BLOCK, IGNORE: op === "nanmedian",
    }); // biome-ignore format: one line per group
    for (const t of [sorted, order]) t.dispose();
  }
  return [reduced(values, d, keepdim), reduced(indices, d, keepdim)];
}

type Kind = "median" | "nanmedian";
const medianAll = (kind: Kind) =>
  operator<(self: Tensor) => Tensor>({
    schema: `${kind}(Tensor self) -> Tensor`,
    run: (self: Tensor) => {
      if (self.numel > 0) return medianAlong(kind, self.reshape([-1]), 0, false)[0];
      return callOperator("full", [], Number.NaN, { dtype: self.dtype, device: self.device });
    },
    derivative: {
      save: (args, outputs) => [args[0] as Tensor, outputs[0]!],
      backward: (ctx, grad) => [shared(grad, ctx.saved[0]!, ctx.saved[1]!, null, false)],
    },
    opinfo: [kind],
    stage: "stable",
    summary: `The median of all elements${kind === "median" ? "" : " that are not NaN"}`,
  });
const medianDim = (kind: Kind) =>
  operator<
    (self: Tensor, dim: number, keepdim?: boolean, options?: { keepdim?: boolean }) => [Tensor, Tensor]
  >({
    schema: `${kind}.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)`,
    run: (self: Tensor, dim: number, keepdim: boolean) => medianAlong(kind, self, dim, keepdim),
    derivative: {
      ...chosenGradient,
      backward: (ctx, grad) => [
        chosen(grad, ctx.saved[0]!, ctx.meta(0).shape, ctx.args[1] as number, ctx.args[2] as boolean),
      ],
    },
    opinfo: [kind],
    stage: "stable",
    summary: `The medians along a dimension${kind === "median" ? "" : " of what is not NaN"}, and where they stand`,
  });

type MedianFunction = {
  (self: Tensor): Tensor;
  (self: Tensor, dim: number, keepdim?: boolean, options?: { keepdim?: boolean }): [Tensor, Tensor];
};
/**
 * The median of all elements, or along a dimension with its place: of an even number the lower one, NaN if there is
 * one. PyTorch: `torch.median`.
 */
export const median: Overloads<MedianFunction> = overloads<MedianFunction>(
  medianDim("median"),
  medianAll("median"),
);
/** As {@link median} of the elements that are not NaN. PyTorch: `torch.nanmedian`. */
export const nanmedian: Overloads<MedianFunction> = overloads<MedianFunction>(
  medianDim("nanmedian"),
  medianAll("nanmedian"),
);

/** The longest run of equal elements in each sorted line, the first of those; the last of its elements. */
const longestRun = kernel(
  { sorted: ptr, order: ptr, values: ptr, indices: ptr, n: i32, inner: i32 },
  ({ sorted, order, values, indices, n, inner }, tl) => {
    const line = tl.programId(0);
    const outer = tl.floorDiv(line, inner);
    const base = outer * (n * inner) + (line - outer * inner);
    let [run, most, at] = [tl.cast(0, tl.i32), tl.cast(0, tl.i32), tl.cast(0, tl.i32)];
    for (let i = 0; i < n; i++) {
      const v = tl.load(sorted + base + i * inner);
      const before = tl.load(sorted + base + tl.maximum(i - 1, 0) * inner);
      const same = v === before || (tl.isnan(v) && tl.isnan(before));
      run = same ? run + 1 : 1;
      if (run > most) {
        most = run;
        at = i;
      }
    }
    tl.store(values + line, tl.load(sorted + base + at * inner));
    tl.store(indices + line, tl.load(order + base + at * inner));
  },
  "mode",
);

/**
 * The most frequent element along `dim` (default: the last), the smallest of those, and the i64 place where it stands
 * last. PyTorch: `torch.mode`.
 */
export const mode: Operator<
  (
    self: Tensor,
    dim?: number,
    keepdim?: boolean,
    options?: { dim?: number; keepdim?: boolean },
  ) => [Tensor, Tensor]
> = operator({
  schema: "mode(Tensor self, int dim=-1, bool keepdim=False) -> (Tensor values, Tensor indices)",
  run: (self: Tensor, dim: number, keepdim: boolean) => {
    const d = normalizeDim(dim, self.ndim);
    refuseEmpty("mode", self, d);
    const { outer, length: n, inner } = around(self.shape, d);
    const shape = self.shape.map((m, i) => (i === d ? 1 : m));
    const values = empty(shape, { dtype: self.dtype, device: self.device });
    const indices = empty(shape, { dtype: "i64", device: self.device });
    if (outer * inner > 0) {
      const [sorted, order] = sortAlong(self, d, false);
      longestRun.launch([outer * inner], { sorted, order, values, indices, n, inner });
      for (const t of [sorted, order]) t.dispose();
    }
    return [reduced(values, d, keepdim), reduced(indices, d, keepdim)];
  },
  derivative: {
    ...chosenGradient,
    backward: (ctx, grad) => [
      chosen(grad, ctx.saved[0]!, ctx.meta(0).shape, ctx.args[1] as number, ctx.args[2] as boolean),
    ],
  },
  opinfo: [{ op: "mode", ties: (args, kwargs) => Number(args[0] ?? kwargs["dim"] ?? -1) }],
  stage: "stable",
  summary: "The most frequent element along a dimension, and where it stands",
});
