// The copying relatives of the views: `permute_copy` gives a tensor of its own, `select_scatter` a copy of the input
// with a view of it replaced. All are made of recorded operators, so their gradients follow.

import {
  callOperator,
  operator,
  operatorInfo,
  type Method,
  type OpInfoEntry,
  type Operator,
} from "./operator.js";
import type { Tensor } from "./tensor.js";
import "./splits.js";
import { asStrided, diagonal, reshape, select, slice, unsqueeze } from "./views.js";

declare module "./tensor.js" {
  interface Tensor {
    selectScatter: Method<typeof selectScatter>;
    sliceScatter: Method<typeof sliceScatter>;
    diagonalScatter: Method<typeof diagonalScatter>;
    atleast1d: Method<typeof atleast1d>;
    atleast2d: Method<typeof atleast2d>;
    atleast3d: Method<typeof atleast3d>;
  }
}

/** Operator of the view, schema of its copy. */
const COPIES: Readonly<Record<string, string>> = {
  view: "view_copy(Tensor self, int[] size) -> Tensor",
  permute: "permute_copy(Tensor self, int[] dims) -> Tensor",
  "transpose.int": "transpose_copy.int(Tensor self, int dim0, int dim1) -> Tensor",
  t: "t_copy(Tensor self) -> Tensor",
  expand: "expand_copy(Tensor self, int[] size, *, bool implicit=False) -> Tensor",
  "squeeze.dims": "squeeze_copy.dims(Tensor self, int[]? dim=None) -> Tensor",
  unsqueeze: "unsqueeze_copy(Tensor self, int dim) -> Tensor",
  narrow: "narrow_copy(Tensor self, int dim, int start, int length) -> Tensor",
  as_strided: "as_strided_copy(Tensor self, int[] size, int[] stride, int? storage_offset=None) -> Tensor",
  unfold: "unfold_copy(Tensor self, int dimension, int size, int step) -> Tensor",
  diagonal: "diagonal_copy(Tensor self, int offset=0, int dim1=0, int dim2=1) -> Tensor",
  split_with_sizes: "split_with_sizes_copy(Tensor self, int[] split_sizes, int dim=0) -> Tensor[]",
  "unbind.int": "unbind_copy.int(Tensor self, int dim=0) -> Tensor[]",
};

const copyOf = (t: Tensor): Tensor =>
  callOperator("clone", t, { memoryFormat: "contiguous_format" }) as Tensor;

for (const [name, schema] of Object.entries(COPIES)) {
  const view = operatorInfo(name);
  operator({
    schema,
    run: (...args: unknown[]) => {
      const positional = view.schema.args.filter((arg) => !arg.keywordOnly).length;
      const views = callOperator(name, ...args.slice(0, positional)) as Tensor | Tensor[];
      return Array.isArray(views) ? views.map(copyOf) : copyOf(views);
    },
    derivative: "composite",
    opinfo: [schema.slice(0, schema.search(/[.(]/))],
    stage: "stable",
  });
}

/** A copy of `self` in which `source` stands where `view` looks. */
function replaced(self: Tensor, source: Tensor, view: (whole: Tensor) => Tensor): Tensor {
  const whole = copyOf(self);
  const part = view(whole);
  if (part.shape.join() !== source.shape.join()) {
    throw new RangeError(
      `the source has shape [${source.shape.join(", ")}], the part to replace [${part.shape.join(", ")}]`,
    );
  }
  callOperator("copy_", part, source);
  return whole;
}

/** A copy of `self` with `src` at one index of a dimension. */
export const selectScatter: Operator<(self: Tensor, src: Tensor, dim: number, index: number) => Tensor> =
  operator({
    schema: "select_scatter(Tensor self, Tensor src, int dim, int index) -> Tensor",
    run: (self: Tensor, src: Tensor, dim: number, index: number) =>
      replaced(self, src, (w) => select(w, dim, index)),
    derivative: "composite",
    opinfo: ["select_scatter"],
    stage: "stable",
  });

/** A copy of `self` with `src` in a slice of a dimension. */
export const sliceScatter: Operator<
  (
    self: Tensor,
    src: Tensor,
    dim?: number,
    start?: number | null,
    end?: number | null,
    step?: number,
  ) => Tensor
> = operator({
  schema:
    "slice_scatter(Tensor self, Tensor src, int dim=0, int? start=None, int? end=None, int step=1) -> Tensor",
  run: (self: Tensor, src: Tensor, dim: number, start: number | null, end: number | null, step: number) =>
    replaced(self, src, (w) => slice(w, dim, start, end, step)),
  derivative: "composite",
  opinfo: ["slice_scatter"],
  stage: "stable",
});

/** A copy of `self` with `src` on a diagonal. */
export const diagonalScatter: Operator<
  (self: Tensor, src: Tensor, offset?: number, dim1?: number, dim2?: number) => Tensor
> = operator({
  schema: "diagonal_scatter(Tensor self, Tensor src, int offset=0, int dim1=0, int dim2=1) -> Tensor",
  run: (self: Tensor, src: Tensor, offset: number, dim1: number, dim2: number) =>
    replaced(self, src, (w) => diagonal(w, offset, dim1, dim2)),
  derivative: "composite",
  opinfo: ["diagonal_scatter"],
  stage: "stable",
});

/**
 * A copy of `self` with `src` at the elements of a strided layout, counted in the row-major copy.
 *
 * PyTorch's samples are left out: its gradient of `self` is the incoming one where `src` replaced elements and 0
 * elsewhere, which is the wrong way round: what was replaced has no part in the result.
 */
export const asStridedScatter: Operator<
  (
    self: Tensor,
    src: Tensor,
    size: readonly number[],
    stride: readonly number[],
    storageOffset?: number | null,
  ) => Tensor
> = operator({
  schema:
    "as_strided_scatter(Tensor self, Tensor src, int[] size, int[] stride, int? storage_offset=None) -> Tensor",
  run: (
    self: Tensor,
    src: Tensor,
    size: readonly number[],
    stride: readonly number[],
    offset: number | null,
  ) => replaced(self, src, (w) => asStrided(w, size, stride, offset ?? 0)),
  derivative: "composite",
  stage: "stable",
});

/** Samples of one tensor, or of a list of them. */
function atleastSamples(op: string, list: boolean): OpInfoEntry[] {
  return [{ op, adapt: (input, args) => (Array.isArray(input) === list ? [input, ...args] : undefined) }];
}

/** At least one dimension: a 0-dim tensor becomes one of length 1. */
export const atleast1d: Operator<(self: Tensor) => Tensor> = operator({
  schema: "atleast_1d(Tensor(a) self) -> Tensor(a)",
  opinfo: atleastSamples("atleast_1d", false),
  run: (self: Tensor) => (self.ndim === 0 ? reshape(self, [1]) : self),
  derivative: "composite",
  stage: "stable",
});

/** At least two dimensions: new ones of length 1 come first. */
export const atleast2d: Operator<(self: Tensor) => Tensor> = operator({
  schema: "atleast_2d(Tensor(a) self) -> Tensor(a)",
  opinfo: atleastSamples("atleast_2d", false),
  run: (self: Tensor) =>
    self.ndim === 0 ? reshape(self, [1, 1]) : self.ndim === 1 ? unsqueeze(self, 0) : self,
  derivative: "composite",
  stage: "stable",
});

/** At least three dimensions: a vector becomes [1, n, 1], a matrix [n, m, 1]. */
export const atleast3d: Operator<(self: Tensor) => Tensor> = operator({
  schema: "atleast_3d(Tensor(a) self) -> Tensor(a)",
  opinfo: atleastSamples("atleast_3d", false),
  run: (self: Tensor) =>
    self.ndim === 0
      ? reshape(self, [1, 1, 1])
      : self.ndim === 1
        ? unsqueeze(unsqueeze(self, 0), -1)
        : self.ndim === 2
          ? unsqueeze(self, -1)
          : self,
  derivative: "composite",
  stage: "stable",
});

for (const [op, each] of Object.entries({
  atleast_1d: atleast1d,
  atleast_2d: atleast2d,
  atleast_3d: atleast3d,
})) {
  operator({
    schema: `${op}.Sequence(Tensor[] tensors) -> Tensor[]`,
    run: (tensors: readonly Tensor[]) => tensors.map((t) => each(t)),
    derivative: "composite",
    opinfo: atleastSamples(op, true),
    stage: "stable",
  });
}
