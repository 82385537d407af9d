// Softmax, its logarithm and log-sum-exp, forward and backward. Rows up to a block's width are read once.

import type { DType } from "../compiler/ir/index.js";
import { constant, constexpr, dim, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import {
  callOperator,
  emptyLike,
  isFloatDType,
  type Method,
  normalizeDim,
  normalizeDims,
  type Operator,
  operator,
  type Tensor,
} from "../tensor/index.js";
import { pointwise } from "./pointwise.js";
import { reduceDims, reducedShape, unreduce } from "./reduce.js";
import { computeDtype, nextPowerOf2, rowMajor } from "./rows.js";
import { streams } from "./streaming.js";

declare module "../tensor/tensor.js" {
  interface Tensor {
    softmax: Method<typeof softmax>;
    logSoftmax: Method<typeof logSoftmax>;
    logsumexp: Method<typeof logsumexp>;
  }
}

// A row is the `cols` elements of one result; they stand `inner` apart (1: next to each other).

const forward = kernel(
  // biome-ignore format: one line per group
  { x: ptr, y: ptr, rows: i32, cols: dim, inner: dim,
    ROWS: constexpr, COLS: constexpr, UNIT: constexpr.bool, ONE: constexpr.bool, LOG: constexpr.bool,
    STREAM: constexpr.bool, IN_PLACE: constexpr.bool, T: constexpr.dtype, LOG2E: constant(Math.LOG2E) },
  ({ x, y, rows, cols, inner, ROWS, COLS, UNIT, ONE, LOG, STREAM, IN_PLACE, T, LOG2E }, tl) => {
    const row = tl.programId(0) * ROWS + tl.arange(0, ROWS);
    const inside = tl.col(row < rows);
    const base = tl.col(UNIT ? row * cols : tl.floorDiv(row, inner) * (inner * cols) + (row % inner));
    if (ONE) {
      const c = tl.row(tl.arange(0, COLS));
      const mask = inside && c < cols;
      const at = base + (UNIT ? c : c * inner);
      const v = tl.where(mask, tl.cast(tl.load(x + at, mask, 0), T), -Infinity);
      const shifted = v - tl.max(v, 1, { keepDims: true });
      // Outside of the mask this is e to the power of -Infinity: 0 (of a row that is -Infinity everywhere NaN, as all of it).
      const e = tl.exp2Approx(shifted * LOG2E);
      const sum = tl.sum(e, 1, { keepDims: true });
      // Where a tile would wait for the sum in memory, it waits where it will be stored.
      if (IN_PLACE) tl.store(y + at, e, mask);
      const waited = IN_PLACE ? tl.load(y + at, mask, 0) : e;
      tl.store(y + at, LOG ? shifted - tl.log(sum) : waited * (1 / sum), mask, {
        cache: STREAM ? "streaming" : "all",
      });
    } else {
      let top = tl.full([ROWS], -Infinity, T);
      for (let start = 0; start < cols; start += COLS) {
        const c = tl.row(start + tl.arange(0, COLS));
        const mask = inside && c < cols;
        const v = tl.cast(tl.load(x + base + (UNIT ? c : c * inner), mask, 0), T);
        top = tl.maximum(top, tl.max(tl.where(mask, v, -Infinity), 1));
      }
      let sum = tl.zeros([ROWS], T);
      for (let start = 0; start < cols; start += COLS) {
        const c = tl.row(start + tl.arange(0, COLS));
        const mask = inside && c < cols;
        const v = tl.cast(tl.load(x + base + (UNIT ? c : c * inner), mask, 0), T);
        sum += tl.sum(tl.where(mask, tl.exp2Approx((v - tl.col(top)) * LOG2E), 0), 1);
      }
      const log = tl.col(tl.log(sum));
      for (let start = 0; start < cols; start += COLS) {
        const c = tl.row(start + tl.arange(0, COLS));
        const mask = inside && c < cols;
        const at = base + (UNIT ? c : c * inner);
        const shifted = tl.cast(tl.load(x + at, mask, 0), T) - tl.col(top);
        tl.store(y + at, LOG ? shifted - log : tl.exp2Approx(shifted * LOG2E) / tl.col(sum), mask, {
          cache: STREAM ? "streaming" : "all",
        });
      }
    }
  },
  "softmax",
);

const backward = kernel(
  // biome-ignore format: one line per group
  { y: ptr, dy: ptr, dx: ptr, rows: i32, cols: dim, inner: dim,
    ROWS: constexpr, COLS: constexpr, UNIT: constexpr.bool, LOG: constexpr.bool, T: constexpr.dtype },
  ({ y, dy, dx, rows, cols, inner, ROWS, COLS, UNIT, LOG, T }, tl) => {
    const row = tl.programId(0) * ROWS + tl.arange(0, ROWS);
    const inside = tl.col(row < rows);
    const base = tl.col(UNIT ? row * cols : tl.floorDiv(row, inner) * (inner * cols) + (row % inner));
    let sum = tl.zeros([ROWS], T);
    for (let start = 0; start < cols; start += COLS) {
      const c = tl.row(start + tl.arange(0, COLS));
      const mask = inside && c < cols;
      const at = base + (UNIT ? c : c * inner);
      const d = tl.cast(tl.load(dy + at, mask, 0), T);
      sum += tl.sum(LOG ? d : d * tl.cast(tl.load(y + at, mask, 0), T), 1);
    }
    for (let start = 0; start < cols; start += COLS) {
      const c = tl.row(start + tl.arange(0, COLS));
      const mask = inside && c < cols;
      const at = base + (UNIT ? c : c * inner);
      const d = tl.cast(tl.load(dy + at, mask, 0), T);
      const v = tl.cast(tl.load(y + at, mask, 0), T);
      tl.store(dx + at, LOG ? d - tl.exp(v) * tl.col(sum) : v * (d - tl.col(sum)), mask);
    }
  },
  "softmax_backward",
);

/** How the rows along a dimension of a row-major tensor are cut. */
function plan(t: Tensor, dim: number) {
  const cols = t.shape[dim] ?? 1;
  const inner = t.shape.slice(dim + 1).reduce((n, d) => n * d, 1);
  const rows = t.numel / cols;
  const COLS = cols <= 16 ? 16 : cols <= 128 ? 128 : cols <= 1024 ? 1024 : 4096;
  const perThread = nextPowerOf2(Math.ceil(rows / (4 * t.chip.capabilities.threads)));
  const most = 4096 / COLS;
  // Two sizes only, so that few kernels are compiled.
  const ROWS = perThread >= most ? most : Math.min(most, 4);
  return { programs: Math.ceil(rows / ROWS), rows, cols, inner, ROWS, COLS, UNIT: inner === 1 };
}

function run(self: Tensor, dim: number, dtype: DType | null, LOG: boolean): Tensor {
  const out = dtype ?? self.dtype;
  if (!isFloatDType(out))
    throw new TypeError(
      `${LOG ? "log_softmax" : "softmax"}: the result must be a float, not ${out}: pass { dtype: "f32" }`,
    );
  const d = normalizeDim(dim, self.ndim);
  const x = rowMajor(self);
  const y = emptyLike(x, { dtype: out });
  if (x.numel === 0) return y;
  const { programs, rows, cols, inner, ROWS, COLS, UNIT } = plan(x, d);
  const T = computeDtype(out);
  const ONE = cols <= COLS;
  forward.launch([programs], {
    x,
    y,
    rows,
    cols,
    inner,
    ROWS,
    COLS,
    UNIT,
    ONE,
    LOG,
    STREAM: streams(y, [x]),
    IN_PLACE: ONE && !LOG && T === out && y.chip.capabilities.waitsInPlace === true,
    T,
  });
  return y;
}

function runBackward(grad: Tensor, output: Tensor, dim: number, LOG: boolean): Tensor {
  const y = rowMajor(output);
  const dx = emptyLike(y);
  if (y.numel === 0) return dx;
  const { programs, rows, cols, inner, ROWS, COLS, UNIT } = plan(y, normalizeDim(dim, y.ndim));
  const T = computeDtype(y.dtype);
  backward.launch([programs], { y, dy: rowMajor(grad), dx, rows, cols, inner, ROWS, COLS, UNIT, LOG, T });
  return dx;
}

const negative = pointwise((_tl, x) => -x, { name: "negative" });

const softmaxBackward: Operator<(grad: Tensor, output: Tensor, dim: number, log: boolean) => Tensor> =
  operator({
    schema: "vexil::softmax_backward(Tensor grad, Tensor output, int dim, bool log) -> Tensor",
    replay: true,
    method: false,
    run: runBackward,
    derivative: {
      save: (args) => [args[0] as Tensor, args[1] as Tensor],
      backward: (ctx, grad) => {
        const [g, y] = ctx.saved as [Tensor, Tensor];
        const v = grad!;
        const dim = ctx.args[2] as number;
        const sum = (t: Tensor): Tensor => callOperator("sum.dim_IntList", t, [dim], true) as Tensor;
        const mul = (a: Tensor, b: Tensor): Tensor => callOperator("mul.Tensor", a, b) as Tensor;
        const sub = (a: Tensor, b: Tensor): Tensor => callOperator("sub.Tensor", a, b) as Tensor;
        if (ctx.args[3]) {
          // g - exp(y) * sum(g)
          const share = mul(v, callOperator("exp", y) as Tensor);
          return [sub(v, sum(share)), negative(mul(share, sum(g)))];
        }
        // y * (g - sum(g * y))
        return [
          softmaxBackward(v, y, dim, false),
          sub(mul(v, sub(g, sum(mul(g, y)))), mul(g, sum(mul(v, y)))),
        ];
      },
    },
    summary: "Gradient of softmax and log_softmax",
  });

operator({
  schema:
    "_softmax_backward_data(Tensor grad_output, Tensor output, int dim, ScalarType input_dtype) -> Tensor",
  method: false,
  run: (grad: Tensor, output: Tensor, dim: number, dtype: DType) => {
    const dx = softmaxBackward(grad, output, dim, false);
    return dx.dtype === dtype ? dx : (callOperator("_to_copy", dx, { dtype }) as Tensor);
  },
  derivative: "composite",
  opinfo: ["_softmax_backward_data"],
  stage: "stable",
  summary: "Gradient of softmax from its result",
});

type Softmax = (self: Tensor, dim: number, dtype?: DType | null | { dtype?: DType | null }) => Tensor;

/** `exp(x) / sum(exp(x))` along `dim`; `dtype` converts first. Floats. PyTorch: `torch.softmax`. */
export const softmax: Operator<Softmax> = operator({
  schema: "softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
  replay: true,
  run: (self: Tensor, dim: number, dtype: DType | null) => run(self, dim, dtype, false),
  derivative: {
    save: (_args, outputs) => [outputs[0]!],
    backward: (ctx, grad) => [softmaxBackward(grad, ctx.saved[0]!, ctx.args[1] as number, false)],
  },
  opinfo: ["softmax", { op: "softmax", variant: "with_dtype" }],
  stage: "stable",
  summary: "Non-negative numbers along a dimension whose sum is 1",
});

/** `log(softmax(x))` along `dim`, without overflow; `dtype` converts first. Floats. PyTorch: `torch.log_softmax`. */
export const logSoftmax: Operator<Softmax> = operator({
  schema: "log_softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
  replay: true,
  run: (self: Tensor, dim: number, dtype: DType | null) => run(self, dim, dtype, true),
  derivative: {
    save: (_args, outputs) => [outputs[0]!],
    backward: (ctx, grad) => [softmaxBackward(grad, ctx.saved[0]!, ctx.args[1] as number, true)],
  },
  opinfo: ["log_softmax", { op: "log_softmax", variant: "with_dtype" }],
  stage: "stable",
  summary: "Logarithm of softmax",
});

/** `softmax(-x)`. PyTorch: `F.softmin`. */
export const softmin: Operator<Softmax> = operator({
  schema: "softmin(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
  method: false,
  run: (self: Tensor, dim: number, dtype: DType | null) => softmax(negative(self), dim, { dtype }),
  derivative: "composite",
  opinfo: ["nn.functional.softmin", { op: "nn.functional.softmin", variant: "with_dtype" }],
  stage: "stable",
  summary: "softmax of -x",
});

/** `exp(x - top)`, with 0 for an infinite `top`, from which nothing can be taken away. */
const expFrom = pointwise((tl, x, top) => tl.exp(x - tl.where(tl.abs(top) === Infinity, 0, top)), {
  name: "exp_from",
  promote: "intToFloat",
});
const logPlus = pointwise((tl, sum, top) => tl.log(sum) + tl.where(tl.abs(top) === Infinity, 0, top), {
  name: "log_plus",
});
const expShare = pointwise((tl, grad, x, out) => grad * tl.where(out === -Infinity, 0, tl.exp(x - out)), {
  name: "exp_share",
});

/** `log(sum(exp(x)))` over dimensions, without overflow; integers give f32. PyTorch: `torch.logsumexp`. */
export const logsumexp: Operator<
  (
    self: Tensor,
    dim: number | readonly number[],
    keepdim?: boolean,
    options?: { keepdim?: boolean },
  ) => Tensor
> = operator({
  schema: "logsumexp(Tensor self, int[1] dim, bool keepdim=False) -> Tensor",
  run: (self: Tensor, dim: readonly number[], keepdim: boolean) => {
    const x = isFloatDType(self.dtype) ? self : (callOperator("_to_copy", self, { dtype: "f32" }) as Tensor);
    const dims = normalizeDims(dim, x.ndim);
    const compute = computeDtype(x.dtype);
    const top = reduceDims(x, dims, true, { kind: "max", compute, out: x.dtype });
    const sum = reduceDims(expFrom(x, top), dims, true, { kind: "sum", compute, out: compute });
    return logPlus.kernel.run1([sum, top], x.dtype).view(reducedShape(x.shape, dims, keepdim));
  },
  derivative: {
    save: (args, outputs) => [args[0] as Tensor, outputs[0]!],
    backward: (ctx, grad) => {
      const [x, out] = ctx.saved as [Tensor, Tensor];
      const wide = (t: Tensor) =>
        unreduce(t, x.shape, ctx.args[1] as readonly number[], ctx.args[2] as boolean);
      return [expShare(wide(grad), x, wide(out))];
    },
  },
  opinfo: ["logsumexp"],
  stage: "stable",
  summary: "Logarithm of the sum of exponentials",
});
