// Running products, extremes and logarithms of sums along a dimension. Running sums are `scan.ts`.

import type { DType } from "../compiler/ir/index.js";
import { constexpr, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import {
  callOperator,
  emptyLike,
  isFloatDType,
  type Method,
  normalizeDim,
  type Operator,
  operator,
  type Tensor,
} from "../tensor/index.js";

import { flip } from "./repeat.js";
import { around } from "./index-kernels.js";
import { pointwise } from "./pointwise.js";
import { computeDtype, rowMajor } from "./rows.js";
import { cumsum } from "./scan.js";
import { scatterAdd } from "./scatter.js";
import { zeros } from "./creation.js";

type Kind = "product" | "max" | "min" | "logsumexp";

/** Lines of `cols` elements that stand `inner` apart; with `INDEX` also the place of each extreme, of equals the last. */
const scanLines = kernel(
  // biome-ignore format: one line per group
  { x: ptr, y: ptr, at: ptr, lines: i32, cols: i32, inner: i32,
    LINES: constexpr, COLS: constexpr, KIND: constexpr.string, INDEX: constexpr.bool, T: constexpr.dtype },
  ({ x, y, at, lines, cols, inner, LINES, COLS, KIND, INDEX, T }, tl) => {
    const line = tl.programId(0) * LINES + tl.arange(0, LINES);
    const o = tl.floorDiv(line, inner);
    const base = tl.col(o * (cols * inner) + (line - o * inner));
    const own = tl.col(line < lines);
    const start = KIND === "product" ? 1 : KIND === "max" || KIND === "logsumexp" ? -Infinity : Infinity;
    let carry = INDEX ? tl.zeros([LINES], T) : tl.full([LINES], start, T);
    let place = tl.zeros([LINES], tl.i32);
    for (let first = 0; first < cols; first += COLS) {
      const c = tl.row(first + tl.arange(0, COLS));
      const inside = own && c < cols;
      const v = tl.cast(tl.load(x + base + c * inner, inside, 0), T);
      if (INDEX) {
        // `later` wins where it is not worse; NaN wins over numbers.
        const [values, places] = tl.associativeScan(
          [v, c + tl.zeros([LINES, COLS], tl.i32)],
          1,
          (a, i, b, j) => {
            const later = tl.isnan(b) || (!tl.isnan(a) && (KIND === "max" ? b >= a : b <= a));
            return [tl.where(later, b, a), tl.where(later, j, i)];
          },
        );
        const before = tl.col(carry);
        const later =
          tl.isnan(values) || (!tl.isnan(before) && (KIND === "max" ? values >= before : values <= before));
        const taken = later || first === 0;
        const best = tl.where(taken, values, before);
        const where = tl.where(taken, places, tl.col(place));
        tl.store(y + base + c * inner, best, inside);
        tl.store(at + base + c * inner, tl.cast(where, tl.i64), inside);
        const last = c === tl.minimum(first + COLS, cols) - 1;
        carry = tl.sum(tl.where(last, best, 0), 1);
        place = tl.sum(tl.where(last, where, 0), 1);
      } else {
        const filled = tl.where(inside, v, start);
        const run = tl.associativeScan(filled, 1, (a, b) => {
          if (KIND === "product") return a * b;
          const top = tl.maximum(a, b, { propagateNan: true });
          return tl.where(a === b, a + tl.log(2), top + tl.log1p(tl.exp(-tl.abs(a - b))));
        });
        const before = tl.col(carry);
        const top = tl.maximum(before, run, { propagateNan: true });
        const all =
          KIND === "product"
            ? before * run
            : tl.where(before === run, run + tl.log(2), top + tl.log1p(tl.exp(-tl.abs(before - run))));
        tl.store(y + base + c * inner, all, inside);
        const last = c === tl.minimum(first + COLS, cols) - 1;
        carry = tl.sum(tl.where(last, all, 0), 1);
      }
    }
  },
  "scan_lines",
);

/** Values along `dim`, and the places of extremes. */
function scanned(self: Tensor, dim: number, kind: Kind, dtype: DType): { values: Tensor; places: Tensor } {
  const x = rowMajor(self);
  const d = normalizeDim(dim, x.ndim);
  const values = emptyLike(x, { dtype });
  const INDEX = kind === "max" || kind === "min";
  const places = INDEX ? emptyLike(x, { dtype: "i64" }) : values;
  if (x.numel > 0) {
    const { outer, length, inner } = around(x.shape, d);
    const COLS = length <= 16 ? 16 : 64;
    const LINES = 16;
    const lines = outer * inner;
    const T = isFloatDType(dtype) ? computeDtype(dtype) : dtype === "i64" ? "i64" : "i32";
    scanLines.launch([Math.ceil(lines / LINES)], {
      x, y: values, at: places, lines, cols: length, inner, LINES, COLS, KIND: kind, INDEX, T,
    }); // biome-ignore format: one line
  }
  return { values, places };
}

const extreme = (kind: "max" | "min"): Operator<(self: Tensor, dim: number) => [Tensor, Tensor]> =>
  operator({
    schema: `cum${kind}(Tensor self, int dim) -> (Tensor values, Tensor indices)`,
    run: (self: Tensor, dim: number) => {
      const { values, places } = scanned(self, dim, kind, self.dtype);
      return [values, places];
    },
    derivative: {
      save: (_args, outputs) => [outputs[1]!],
      backward: (ctx, grad) => {
        const { shape } = ctx.meta(0);
        if (shape.length === 0) return [grad!];
        const none = zeros(shape, { dtype: grad!.dtype, device: grad!.device });
        return [scatterAdd(none, ctx.args[1] as number, ctx.saved[0]!, grad!)];
      },
    },
    opinfo: [`cum${kind}`],
    stage: "stable",
    summary: `${kind === "max" ? "Largest" : "Smallest"} elements so far along a dimension, and their places`,
  });
/** The largest elements so far along `dim` and their places, of equal ones the last; NaN stays. PyTorch: `torch.cummax`. */
export const cummax: Operator<(self: Tensor, dim: number) => [Tensor, Tensor]> = extreme("max");
/** The smallest elements so far along `dim` and their places, of equal ones the last; NaN stays. PyTorch: `torch.cummin`. */
export const cummin: Operator<(self: Tensor, dim: number) => [Tensor, Tensor]> = extreme("min");

const firstZero = pointwise((tl, x, count) => x === 0 && tl.cast(count, tl.i32) === 1, {
  name: "first_zero",
  promote: "none",
  outputs: ["bool"],
});
const isZero = pointwise((_tl, x) => x === 0, { name: "is_zero", promote: "bool" });
const withoutFirst = pointwise((tl, x, first) => tl.where(first !== 0, 1, x), {
  name: "without_first_zero",
  over: [0],
});
const product = pointwise((_tl, a, b) => a * b, { name: "product" });
const fromFirst = pointwise((tl, a, b, count) => tl.where(count === 0, 0, a * b), {
  name: "from_first_zero",
  over: [0, 1],
});
const chosen = pointwise(
  (tl, plain, own, x, first, count) => tl.where(first !== 0, own, tl.where(count === 0, plain / x, 0)),
  { name: "running_product_share", over: [0, 1, 2] },
);

/** The gradient of running products, also where elements are 0. */
function productBackward(grad: Tensor, x: Tensor, y: Tensor, dim: number): Tensor {
  const back = (t: Tensor): Tensor => flip(cumsum(flip(t, [dim]), dim), [dim]);
  const count = cumsum(isZero(x), dim);
  const first = firstZero(x, count);
  // From the first zero on: as if it were 1.
  const others = cumprod(withoutFirst(x, first), dim);
  return chosen(back(product(grad, y)), back(fromFirst(grad, others, count)), x, first, count);
}

/** Running products along `dim`. Integers and bools give i64. PyTorch: `torch.cumprod`. */
export const cumprod: Operator<(self: Tensor, dim: number, options?: { dtype?: DType | null }) => Tensor> =
  operator({
    schema: "cumprod(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor",
    run: (self: Tensor, dim: number, dtype: DType | null) => {
      const out = dtype ?? (isFloatDType(self.dtype) ? self.dtype : "i64");
      const x = self.dtype === out ? self : (callOperator("_to_copy", self, { dtype: out }) as Tensor);
      return scanned(x, dim, "product", out).values;
    },
    derivative: {
      save: (args, outputs) => [args[0] as Tensor, outputs[0]!],
      backward: (ctx, grad) => {
        const [x, y] = ctx.saved as [Tensor, Tensor];
        if (x.ndim === 0) return [grad!];
        return [productBackward(grad!, x, y, ctx.args[1] as number)];
      },
    },
    opinfo: ["cumprod"],
    stage: "stable",
    summary: "Running products along a dimension",
  });

/** `r[k] = g[k] + exp(y[k] - y[k + 1]) * r[k + 1]` along lines, from their end; y does not fall. */
const decaySums = kernel(
  // biome-ignore format: one line per group
  { g: ptr, x: ptr, y: ptr, dx: ptr, lines: i32, cols: i32, inner: i32, LINES: constexpr, COLS: constexpr, T: constexpr.dtype },
  ({ g, x, y, dx, lines, cols, inner, LINES, COLS, T }, tl) => {
    const line = tl.programId(0) * LINES + tl.arange(0, LINES);
    const o = tl.floorDiv(line, inner);
    const base = tl.col(o * (cols * inner) + (line - o * inner));
    const own = tl.col(line < lines);
    let carry = tl.zeros([LINES], T);
    for (let first = 0; first < cols; first += COLS) {
      const c = tl.row(first + tl.arange(0, COLS));
      const inside = own && c < cols;
      const at = base + (cols - 1 - c) * inner;
      const here = tl.cast(tl.load(y + at, inside, 0), T);
      const next = tl.cast(tl.load(y + at + inner, inside && c > 0, 0), T);
      const alike = here === next;
      const weight = tl.where(c > 0, tl.where(alike, 1, tl.exp(here - next)), 0);
      const v = tl.cast(tl.load(g + at, inside, 0), T);
      const [decay, sums] = tl.associativeScan([weight, v], 1, (a, b, e, f) => [a * e, e * b + f]);
      const all = sums + decay * tl.col(carry);
      const own1 = tl.cast(tl.load(x + at, inside, 0), T);
      tl.store(dx + at, tl.where(here === -Infinity, 0, all * tl.exp(own1 - here)), inside);
      carry = tl.sum(tl.where(c === tl.minimum(first + COLS, cols) - 1, all, 0), 1);
    }
  },
  "logcumsumexp_backward",
);
const logcumsumexpBackward: Operator<(grad: Tensor, self: Tensor, result: Tensor, dim: number) => Tensor> =
  operator({
    schema: "vexil::logcumsumexp_backward(Tensor grad, Tensor self, Tensor result, int dim) -> Tensor",
    method: false,
    run: (grad: Tensor, self: Tensor, result: Tensor, dim: number) => {
      const dx = emptyLike(self);
      if (self.numel === 0) return dx;
      const { outer, length, inner } = around(self.shape, normalizeDim(dim, self.ndim));
      const lines = outer * inner;
      decaySums.launch([Math.ceil(lines / 16)], {
        g: rowMajor(grad), x: rowMajor(self), y: rowMajor(result), dx, lines, cols: length, inner,
        LINES: 16, COLS: length <= 16 ? 16 : 64, T: computeDtype(self.dtype),
      }); // biome-ignore format: one line per group
      return dx;
    },
    summary: "Gradient of logcumsumexp",
  });
/** Logarithms of the running sums of exponentials along `dim`, without overflow. Floats. PyTorch: `torch.logcumsumexp`. */
export const logcumsumexp: Operator<(self: Tensor, dim: number) => Tensor> = operator({
  schema: "logcumsumexp(Tensor self, int dim) -> Tensor",
  run: (self: Tensor, dim: number) => {
    if (!isFloatDType(self.dtype)) throw new TypeError(`logcumsumexp: needs floats, not ${self.dtype}`);
    return scanned(self, dim, "logsumexp", self.dtype).values;
  },
  derivative: {
    save: (args, outputs) => [args[0] as Tensor, outputs[0]!],
    backward: (ctx, grad) => {
      const [x, y] = ctx.saved as [Tensor, Tensor];
      if (x.ndim === 0) return [grad!];
      return [logcumsumexpBackward(grad!, x, y, ctx.args[1] as number)];
    },
  },
  opinfo: ["logcumsumexp"],
  stage: "stable",
  summary: "Logarithms of running sums of exponentials",
});

declare module "../tensor/tensor.js" {
  interface Tensor {
    cummax: Method<typeof cummax>;
    cummin: Method<typeof cummin>;
    cumprod: Method<typeof cumprod>;
    logcumsumexp: Method<typeof logcumsumexp>;
  }
}
