// Putting tensors together: cat, stack and their relatives.

import {
  atleast1d,
  atleast2d,
  atleast3d,
  empty,
  normalizeDim,
  type Operator,
  operator,
  resultType,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { alias } from "../tensor/tensor.js";
import { copy_ } from "./cast.js";

/** PyTorch passes over empty lists, whatever the others' shapes. */
const counts = (t: Tensor): boolean => t.ndim !== 1 || t.shape[0] !== 0;

/**
 * Tensors behind one another along a dimension; all other lengths agree. Dtypes are promoted. PyTorch: `torch.cat`.
 * @example cat([a, b], 1);
 */
export const cat: Operator<(tensors: readonly Tensor[], dim?: number) => Tensor> = operator({
  schema: "cat(Tensor[] tensors, int dim=0) -> Tensor",
  run: (tensors: readonly Tensor[], dim: number) => {
    const first = tensors[0];
    if (first === undefined) throw new RangeError("cat: there are no tensors to join");
    const parts = tensors.filter(counts);
    const model = parts[0] ?? first;
    if (model.ndim === 0) throw new RangeError("cat: a 0-dim tensor cannot be joined; use stack");
    const d = normalizeDim(dim, model.ndim);
    const shape = model.shape.slice();
    shape[d] = 0;
    for (const t of parts) {
      if (t.ndim !== model.ndim || t.shape.some((n, i) => i !== d && n !== model.shape[i]))
        throw new RangeError(
          `cat: ${showShape(t.shape)} and ${showShape(model.shape)} differ in more than dimension ${d}`,
        );
      shape[d]! += t.shape[d]!;
    }
    const out = empty(shape, { dtype: resultType(...tensors.map((t) => t.dtype)), device: first.device });
    let at = 0;
    for (const t of parts) {
      const n = t.shape[d]!;
      if (n > 0) copy_(alias(out, t.shape, out.strides, out.offset + at * out.strides[d]!), t);
      at += n;
    }
    return out;
  },
  derivative: {
    backward: (ctx, grad) => {
      const metas = ctx.args[0] as readonly { shape: readonly number[] }[];
      const d = normalizeDim(ctx.args[1] as number, grad!.ndim);
      let at = 0;
      return [
        metas.map((m) => {
          if (m.shape.length === 1 && m.shape[0] === 0 && grad!.ndim !== 1) return null;
          const n = m.shape[d]!;
          at += n;
          return grad!.narrow(d, at - n, n);
        }),
      ];
    },
  },
  opinfo: ["cat"],
  stage: "stable",
});

/** Tensors of one shape along a new dimension. PyTorch: `torch.stack`. */
export const stack: Operator<(tensors: readonly Tensor[], dim?: number) => Tensor> = operator({
  schema: "stack(Tensor[] tensors, int dim=0) -> Tensor",
  run: (tensors: readonly Tensor[], dim: number) => {
    for (const t of tensors)
      if (t.ndim !== tensors[0]!.ndim || t.shape.some((n, i) => n !== tensors[0]!.shape[i]))
        throw new RangeError(
          `stack: the shapes ${showShape(tensors[0]!.shape)} and ${showShape(t.shape)} differ`,
        );
    return cat(
      tensors.map((t) => t.unsqueeze(dim)),
      dim,
    );
  },
  derivative: "composite",
  opinfo: ["stack"],
  stage: "stable",
});

type Join = (tensors: readonly Tensor[]) => Tensor;

/** Tensors side by side: along dimension 1, or 0 for lists. PyTorch: `torch.hstack`. */
export const hstack: Operator<Join> = operator({
  schema: "hstack(Tensor[] tensors) -> Tensor",
  run: (tensors: readonly Tensor[]) => {
    const rows = tensors.map((t) => atleast1d(t));
    return cat(rows, rows[0]?.ndim === 1 ? 0 : 1);
  },
  derivative: "composite",
  opinfo: ["hstack"],
  stage: "stable",
});

/** Tensors below one another, lists as rows. PyTorch: `torch.vstack`. */
export const vstack: Operator<Join> = operator({
  schema: "vstack(Tensor[] tensors) -> Tensor",
  run: (tensors: readonly Tensor[]) =>
    cat(
      tensors.map((t) => atleast2d(t)),
      0,
    ),
  derivative: "composite",
  opinfo: ["vstack"],
  stage: "stable",
});

/** Tensors behind one another along dimension 2. PyTorch: `torch.dstack`. */
export const dstack: Operator<Join> = operator({
  schema: "dstack(Tensor[] tensors) -> Tensor",
  run: (tensors: readonly Tensor[]) =>
    cat(
      tensors.map((t) => atleast3d(t)),
      2,
    ),
  derivative: "composite",
  opinfo: ["dstack"],
  stage: "stable",
});

/** Lists and 0-dim tensors as columns, matrices as they are, side by side. PyTorch: `torch.column_stack`. */
export const columnStack: Operator<Join> = operator({
  schema: "column_stack(Tensor[] tensors) -> Tensor",
  run: (tensors: readonly Tensor[]) =>
    hstack(tensors.map((t) => (t.ndim <= 1 ? t.reshape([t.numel, 1]) : t))),
  derivative: "composite",
  opinfo: ["column_stack"],
  stage: "stable",
});
