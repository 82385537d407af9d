// Rows of a table by index, and the gradient of the table. `nn.Embedding` is made of it.

import { constexpr, dim, f64, i32, i64, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import {
  callOperator,
  empty,
  isFloatDType,
  isIntDType,
  noGrad,
  type Operator,
  operator,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { gradientByRuns, MOST_COUNTED } from "./embedding-runs.js";
import { computeDtype, nextPowerOf2, planRows, rowMajor } from "./rows.js";

const lookup = kernel(
  { w: ptr, ids: ptr, y: ptr, rows: i32, cols: dim, table: i64, ROWS: constexpr, COLS: constexpr },
  ({ w, ids, y, rows, cols, table, ROWS, COLS }, tl) => {
    const row = tl.programId(0) * ROWS + tl.arange(0, ROWS);
    const id = tl.cast(tl.load(ids + row, row < rows, 0), tl.i64);
    const from = tl.col(id * cols);
    const known = tl.col(id >= 0 && id < table);
    const to = tl.col(row * cols);
    const inside = tl.col(row < rows);
    for (let start = 0; start < cols; start += COLS) {
      const c = tl.row(start + tl.arange(0, COLS));
      tl.store(y + to + c, tl.load(w + from + c, inside && known && c < cols, 0), inside && c < cols);
    }
  },
  "embedding",
);

/** How often each row is looked up, in one program. */
const count = kernel(
  { ids: ptr, counts: ptr, n: i32, table: i32, BLOCK: constexpr },
  ({ ids, counts, n, table, BLOCK }, tl) => {
    for (let start = 0; start < table; start += BLOCK) {
      const at = start + tl.arange(0, BLOCK);
      tl.store(counts + at, tl.zeros([BLOCK], tl.i32), at < table);
    }
    for (let i = 0; i < n; i += 1) {
      const id = tl.cast(tl.load(ids + i), tl.i64);
      if (id >= 0 && id < table) tl.store(counts + id, tl.load(counts + id) + 1);
    }
  },
  "embedding_counts",
);

/**
 * The table's gradient, or with `ADD` what is there already plus that. A program owns a block of columns and adds the rows one
 * after the other, in the order of the indices: no two programs write one element, and the sums' order is fixed.
 */
const scatter = kernel(
  // biome-ignore format: one line per group
  { dy: ptr, ids: ptr, counts: ptr, dw: ptr, n: i32, cols: i32, table: i32, padding: i64,
    COLS: constexpr, T: constexpr.dtype, SCALED: constexpr.bool, ADD: constexpr.bool },
  ({ dy, ids, counts, dw, n, cols, table, padding, COLS, T, SCALED, ADD }, tl) => {
    const c = tl.programId(0) * COLS + tl.arange(0, COLS);
    const own = c < cols;
    if (!ADD) for (let r = 0; r < table; r += 1) tl.store(dw + r * cols + c, tl.zeros([COLS], T), own);
    for (let i = 0; i < n; i += 1) {
      const id = tl.cast(tl.load(ids + i), tl.i64);
      if (id >= 0 && id < table && id !== padding) {
        let g = tl.cast(tl.load(dy + i * cols + c, own, 0), T);
        if (SCALED) g = g / tl.cast(tl.load(counts + id), T);
        const at = dw + id * cols + c;
        tl.store(at, tl.load(at, own, 0) + g, own);
      }
    }
  },
  "embedding_backward",
);

/** Shrinks the rows that are looked up to a norm, one after the other: indices may repeat. In one program. */
const shrink = kernel(
  {
    w: ptr,
    ids: ptr,
    n: i32,
    cols: i32,
    table: i32,
    most: f64,
    power: f64,
    BLOCK: constexpr,
    T: constexpr.dtype,
  },
  ({ w, ids, n, cols, table, most, power, BLOCK, T }, tl) => {
    const p = tl.cast(power, T);
    const limit = tl.cast(most, T);
    for (let i = 0; i < n; i += 1) {
      const id = tl.cast(tl.load(ids + i), tl.i64);
      if (id >= 0 && id < table) {
        let sums = tl.zeros([BLOCK], T);
        let largest = tl.zeros([BLOCK], T);
        for (let start = 0; start < cols; start += BLOCK) {
          const c = start + tl.arange(0, BLOCK);
          const v = tl.abs(tl.cast(tl.load(w + id * cols + c, c < cols, 0), T));
          sums += tl.where(c < cols, power === 2 ? v * v : v ** p, 0);
          largest = tl.maximum(largest, v);
        }
        const total = tl.sum(sums, 0);
        const finite = power === 2 ? tl.sqrt(total) : total ** (1 / p);
        const norm = power === Infinity ? tl.max(largest, 0) : finite;
        if (norm > limit) {
          const scale = limit / (norm + 1e-7);
          for (let start = 0; start < cols; start += BLOCK) {
            const c = start + tl.arange(0, BLOCK);
            const at = w + id * cols + c;
            tl.store(at, tl.cast(tl.load(at, c < cols, 0), T) * scale, c < cols);
          }
        }
      }
    }
  },
  "embedding_renorm",
);

function check(weight: Tensor, indices: Tensor): void {
  if (weight.ndim !== 2)
    throw new RangeError(`embedding: the table is [rows, features], not ${showShape(weight.shape)}`);
  if (!isIntDType(indices.dtype))
    throw new TypeError(`embedding: the indices are i64 or i32, not ${indices.dtype}`);
}

/** How {@link scatter} runs. */
interface Scattered {
  readonly table: number;
  readonly cols: number;
  readonly padding: number;
  readonly scaled: boolean;
  readonly add: boolean;
}

function launchScatter(
  grad: Tensor,
  ids: Tensor,
  dw: Tensor,
  { table, cols, padding, scaled, add }: Scattered,
): void {
  const n = ids.numel;
  const counts = scaled ? empty([table], { dtype: "i32", device: grad.device }) : ids;
  if (scaled) count.launch([1], { ids, counts, n, table, BLOCK: 64 });
  const share =
    (add ? n : n + table) * cols < 131072 ? cols : Math.ceil(cols / grad.chip.capabilities.threads);
  const COLS = Math.min(1024, Math.max(16, nextPowerOf2(share)));
  scatter.launch([Math.ceil(cols / COLS)], {
    dy: rowMajor(grad), ids, counts, dw, n, cols, table, padding, COLS, T: dw.dtype as "f32" | "f64", SCALED: scaled, ADD: add,
  }); // biome-ignore format: one line per group
}

const embeddingBackward: Operator<
  (grad: Tensor, indices: Tensor, rows: number, paddingIdx: number, scaleGradByFreq: boolean) => Tensor
> = operator({
  schema:
    "embedding_dense_backward(Tensor grad_output, Tensor indices, SymInt num_weights, SymInt padding_idx, bool scale_grad_by_freq) -> Tensor",
  method: false,
  run: (grad: Tensor, indices: Tensor, table: number, padding: number, scaled: boolean) => {
    const { device } = grad;
    const cols = grad.shape.at(-1) ?? 0;
    const n = indices.numel;
    if (indices.dtype !== "i64" && indices.dtype !== "i32")
      throw new TypeError(`embedding_dense_backward: the indices are i64 or i32, not ${indices.dtype}`);
    if (grad.ndim === 0 || grad.numel !== n * cols)
      throw new RangeError(
        `embedding_dense_backward: the gradient ${showShape(grad.shape)} has not one row for each of the indices ${showShape(indices.shape)}`,
      );
    // Half floats are summed in f32; the engine rounds the sum once.
    const T = computeDtype(grad.dtype) as "f32" | "f64";
    const ids = rowMajor(indices);
    const { programThreads = 1 } = grad.chip.capabilities;
    if (programThreads > 1 && n <= MOST_COUNTED)
      return gradientByRuns(rowMajor(grad), ids, { table, cols, padding, scaled, dtype: T });
    const dw = empty([table, cols], { dtype: T, device });
    if (dw.numel === 0) return dw;
    launchScatter(grad, ids, dw, { table, cols, padding, scaled, add: false });
    return dw;
  },
  derivative: {
    save: (args) => [args[1] as Tensor],
    backward: (ctx, g) => {
      const padding = ctx.args[3] as number;
      if (ctx.args[4]) throw new Error("embedding: no second derivative with scaleGradByFreq");
      const rows = embedding(g!, ctx.saved[0]!);
      if (padding < 0) return [rows, null];
      const kept = (callOperator("ne.Scalar", ctx.saved[0]!, padding) as Tensor).unsqueeze(-1);
      return [callOperator("mul.Tensor", rows, kept) as Tensor, null];
    },
  },
  summary: "Gradient of an embedding's table",
});

/**
 * Rows of a table: `indices [...]` (i64 or i32) of `weight [rows, features]` give `[..., features]`. An index
 * outside the table gives a row of zeros. PyTorch: `torch.nn.functional.embedding`, with the table first.
 *
 * @param options.paddingIdx a row that receives no gradient (default: none)
 * @param options.scaleGradByFreq divide a row's gradient by how often it was looked up
 * @example embedding(weight, tensor([[1, 2], [0, 1]])); // [2, 2, features]
 */
export const embedding: Operator<
  (
    weight: Tensor,
    indices: Tensor,
    options?: { paddingIdx?: number; scaleGradByFreq?: boolean; sparse?: boolean },
  ) => Tensor
> = operator({
  schema:
    "embedding(Tensor weight, Tensor indices, SymInt padding_idx=-1, bool scale_grad_by_freq=False, bool sparse=False) -> Tensor",
  run: (weight: Tensor, indices: Tensor) => {
    check(weight, indices);
    const [table, cols] = weight.shape as [number, number];
    const out = empty([...indices.shape, cols], { dtype: weight.dtype, device: weight.device });
    if (out.numel === 0) return out;
    const rows = indices.numel;
    const { ROWS, COLS, programs } = planRows(out, rows, cols);
    lookup.launch([programs], {
      w: rowMajor(weight), ids: rowMajor(indices), y: out, rows, cols, table, ROWS, COLS,
    }); // biome-ignore format: one line per group
    return out;
  },
  derivative: {
    save: (args) => [args[1] as Tensor],
    backward: (ctx, grad) => [
      embeddingBackward(
        grad!,
        ctx.saved[0]!,
        ctx.meta(0).shape[0]!,
        ctx.args[2] as number,
        ctx.args[3] as boolean,
      ),
      null,
    ],
    // Where the table is the output's weights too, their gradient is there already, and has no zeros to write.
    addInto: (into, ctx, grad) => {
      const [ids] = ctx.saved as [Tensor];
      const scaled = ctx.args[3] as boolean;
      if ((into.chip.capabilities.programThreads ?? 1) > 1 || into.dtype !== computeDtype(grad.dtype))
        return false;
      const [table, cols] = into.shape as [number, number];
      launchScatter(grad, rowMajor(ids), into, {
        table,
        cols,
        padding: ctx.args[2] as number,
        scaled,
        add: true,
      });
      return true;
    },
  },
  opinfo: [
    {
      op: "nn.functional.embedding",
      adapt: (input, [indices], { max_norm, padding_idx, scale_grad_by_freq }) =>
        max_norm == null
          ? [
              input,
              indices,
              paddingOf(input as Tensor, padding_idx as number | null),
              scale_grad_by_freq ?? false,
            ]
          : undefined,
    },
  ],
  stage: "stable",
});

/** `-1` for none; negative indices count from the end. */
const paddingOf = (weight: Tensor, padding: number | null | undefined): number =>
  padding == null ? -1 : padding < 0 ? weight.shape[0]! + padding : padding;

/**
 * Scales the rows of a table that are looked up, in place, so that their norm is at most `maxNorm`. PyTorch:
 * `torch.embedding_renorm_`.
 */
export const embeddingRenorm_: Operator<
  (self: Tensor, indices: Tensor, maxNorm: number, normType?: number) => Tensor
> = operator({
  schema:
    "embedding_renorm_(Tensor(a!) self, Tensor indices, float max_norm, float norm_type=2) -> Tensor(a!)",
  method: false,
  run: (self: Tensor, indices: Tensor, most: number, power: number) => {
    check(self, indices);
    if (!self.isContiguous) throw new RangeError("embedding_renorm_: the table must be row-major");
    if (!isFloatDType(self.dtype))
      throw new TypeError(`embedding_renorm_: the table holds floats, not ${self.dtype}`);
    const [table, cols] = self.shape as [number, number];
    shrink.launch([1], {
      w: self, ids: rowMajor(indices), n: indices.numel, cols, table, most, power, BLOCK: 128, T: computeDtype(self.dtype),
    }); // biome-ignore format: one line per group
    return self;
  },
  summary: "Limits the norms of an embedding's rows",
});

/**
 * {@link embedding} after {@link embeddingRenorm_}: what `torch.nn.functional.embedding` does with `max_norm`. The table
 * is changed.
 */
export const embeddingMaxNorm: Operator<
  (
    weight: Tensor,
    indices: Tensor,
    maxNorm: number,
    normType?: number,
    options?: { paddingIdx?: number; scaleGradByFreq?: boolean },
  ) => Tensor
> = operator({
  schema:
    "vexil::embedding_max_norm(Tensor weight, Tensor indices, float max_norm, float norm_type=2, int padding_idx=-1, bool scale_grad_by_freq=False) -> Tensor",
  run: (
    weight: Tensor,
    indices: Tensor,
    maxNorm: number,
    normType: number,
    paddingIdx: number,
    scaleGradByFreq: boolean,
  ) => {
    noGrad(() => embeddingRenorm_(weight, indices, maxNorm, normType));
    return embedding(weight, indices, { paddingIdx, scaleGradByFreq });
  },
  derivative: "composite",
  opinfo: [
    {
      op: "nn.functional.embedding",
      adapt: (input, [indices], { max_norm, norm_type, padding_idx, scale_grad_by_freq }) =>
        max_norm == null
          ? undefined
          : [
              input,
              indices,
              max_norm,
              norm_type ?? 2,
              paddingOf(input as Tensor, padding_idx as number | null),
              scale_grad_by_freq ?? false,
            ],
    },
  ],
});
