// Triangles and diagonals of matrices, and the identity: tril, triu, eye, diag and its relatives.

import { constexpr, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import {
  diagonal,
  diagonalScatter,
  emptyLike,
  type Method,
  normalizeDim,
  type Operator,
  operator,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { clone } from "./cast.js";
import { zeros } from "./creation.js";
import { type CreationOptions, make, type Options, OPTIONS } from "./options.js";
import { randn } from "./random.js";
import { planRows, rowMajor } from "./rows.js";

/** Keeps elements of matrices on one side of a diagonal; the others become 0. */
const triangle = kernel(
  // biome-ignore format: one line per group
  { x: ptr, y: ptr, total: i32, rows: i32, cols: i32, diagonal: i32,
    ROWS: constexpr, COLS: constexpr, UPPER: constexpr.bool },
  ({ x, y, total, rows, cols, diagonal, ROWS, COLS, UPPER }, tl) => {
    const r = tl.programId(0) * ROWS + tl.arange(0, ROWS);
    const edge = tl.col(tl.rem(r, rows) + diagonal);
    const base = tl.col(r * cols);
    const row = tl.col(r < total);
    for (let start = 0; start < cols; start += COLS) {
      const c = tl.row(start + tl.arange(0, COLS));
      const inside = row && c < cols;
      const kept = UPPER ? c >= edge : c <= edge;
      tl.store(y + base + c, tl.load(x + base + c, inside && kept, 0), inside);
    }
  },
  "triangle",
);

/** Ones on the main diagonal. */
const identity = kernel(
  { y: ptr, rows: i32, cols: i32, ROWS: constexpr, COLS: constexpr },
  ({ y, rows, cols, ROWS, COLS }, tl) => {
    const r = tl.col(tl.programId(0) * ROWS + tl.arange(0, ROWS));
    for (let start = 0; start < cols; start += COLS) {
      const c = tl.row(start + tl.arange(0, COLS));
      tl.store(y + r * cols + c, tl.cast(c === r, tl.i32), r < rows && c < cols);
    }
  },
  "eye",
);

function cutOff(self: Tensor, diagonal: number, UPPER: boolean): Tensor {
  if (self.ndim < 2)
    throw new RangeError(`${UPPER ? "triu" : "tril"} needs matrices, not ${showShape(self.shape)}`);
  const out = emptyLike(self);
  if (self.numel === 0) return out;
  const [rows, cols] = self.shape.slice(-2) as [number, number];
  const total = self.numel / cols;
  const { ROWS, COLS, programs } = planRows(out, total, cols, 1024);
  const most = rows + cols;
  triangle.launch([programs], {
    x: rowMajor(self), y: out, total, rows, cols, diagonal: Math.max(-most, Math.min(most, diagonal)), ROWS, COLS, UPPER,
  }); // biome-ignore format: one line per group
  return out;
}

/** Matrices `[..., M, N]` with what is above a diagonal set to 0. PyTorch: `torch.tril`. */
export const tril: Operator<(self: Tensor, diagonal?: number) => Tensor> = operator({
  schema: "tril(Tensor self, int diagonal=0) -> Tensor",
  replay: true,
  run: (self: Tensor, diagonal: number) => cutOff(self, diagonal, false),
  derivative: { backward: (ctx, grad) => [tril(grad!, ctx.args[1] as number)] },
  opinfo: ["tril"],
  stage: "stable",
});

/** Matrices `[..., M, N]` with what is below a diagonal set to 0. PyTorch: `torch.triu`. */
export const triu: Operator<(self: Tensor, diagonal?: number) => Tensor> = operator({
  schema: "triu(Tensor self, int diagonal=0) -> Tensor",
  replay: true,
  run: (self: Tensor, diagonal: number) => cutOff(self, diagonal, true),
  derivative: { backward: (ctx, grad) => [triu(grad!, ctx.args[1] as number)] },
  opinfo: ["triu"],
  stage: "stable",
});

/** A matrix `[n, m]` (default: square) with ones on the main diagonal. PyTorch: `torch.eye`. */
export const eye: Operator<(n: number, m?: number | null, options?: CreationOptions) => Tensor> = operator({
  schema: `eye(int n, int? m=None, *, ${OPTIONS}) -> Tensor`,
  run: (n: number, m: number | null, ...o: Options) => {
    const y = make([n, m ?? n], o);
    if (y.numel === 0) return y;
    const [rows, cols] = y.shape as [number, number];
    const { ROWS, COLS, programs } = planRows(y, rows, cols, 1024);
    identity.launch([programs], { y, rows, cols, ROWS, COLS });
    return y;
  },
  derivative: "none",
  opinfo: ["eye"],
  stage: "stable",
});

/**
 * Matrices with the last dimension of a tensor on a diagonal, else 0: `[..., N]` gives `[..., N, N]`, more for other
 * diagonals. PyTorch: `torch.diag_embed`.
 */
export const diagEmbed: Operator<(self: Tensor, offset?: number, dim1?: number, dim2?: number) => Tensor> =
  operator({
    schema: "diag_embed(Tensor self, int offset=0, int dim1=-2, int dim2=-1) -> Tensor",
    run: (self: Tensor, offset: number, dim1: number, dim2: number) => {
      if (self.ndim === 0) throw new RangeError("diag_embed needs a dimension");
      const [a, b] = [normalizeDim(dim1, self.ndim + 1), normalizeDim(dim2, self.ndim + 1)];
      if (a === b) throw new RangeError(`diag_embed: dimensions ${dim1} and ${dim2} are the same`);
      const n = self.shape.at(-1)! + Math.abs(offset);
      const shape = self.shape.slice(0, -1);
      shape.splice(Math.min(a, b), 0, n);
      shape.splice(Math.max(a, b), 0, n);
      const empty = zeros(shape, { dtype: self.dtype, device: self.device });
      return diagonalScatter(empty, self, offset, a, b);
    },
    derivative: "composite",
    opinfo: ["diag_embed"],
    benchmarks: () => [[randn([256, 256])]],
    stage: "stable",
  });

/** The matrix with a list on a diagonal, or the diagonal of a matrix as a copy. PyTorch: `torch.diag`. */
export const diag: Operator<(self: Tensor, diagonal?: number) => Tensor> = operator({
  schema: "diag(Tensor self, int diagonal=0) -> Tensor",
  run: (self: Tensor, offset: number) => {
    if (self.ndim === 1) return diagEmbed(self, offset);
    if (self.ndim !== 2) throw new RangeError(`diag takes a list or a matrix, not ${showShape(self.shape)}`);
    return clone(diagonal(self, offset));
  },
  derivative: "composite",
  opinfo: ["diag"],
  stage: "stable",
});

/** The matrix with all elements of a tensor on a diagonal. PyTorch: `torch.diagflat`. */
export const diagflat: Operator<(self: Tensor, offset?: number) => Tensor> = operator({
  schema: "diagflat(Tensor self, int offset=0) -> Tensor",
  run: (self: Tensor, offset: number) => diagEmbed(self.reshape([-1]), offset),
  derivative: "composite",
  opinfo: ["diagflat"],
  stage: "stable",
});

declare module "../tensor/tensor.js" {
  interface Tensor {
    /** The lower triangle of matrices. */
    tril: Method<typeof tril>;
    /** The upper triangle of matrices. */
    triu: Method<typeof triu>;
    diagEmbed: Method<typeof diagEmbed>;
    diag: Method<typeof diag>;
    diagflat: Method<typeof diagflat>;
  }
}
