// Indexing with tensors, as NumPy does: `x[rows, cols]` and its assignment, flat indices, one-hot vectors. Numbers and
// slices are views and stand in `tensor/indexing.ts`, which hands what is left to `index.Tensor`.

import {
  broadcastShapes,
  callOperator,
  empty,
  isGradEnabled,
  isIntDType,
  type Method,
  type Operator,
  operator,
  showShape,
  SliceIndex,
  Tensor,
  tensor,
  viewStrides,
} from "../tensor/index.js";
import { clone } from "./cast.js";

import { indexSelect } from "./gather.js";
import { coordinates, resumed } from "./nonzero-kernels.js";
import { pointwiseKernel } from "./pointwise.js";
import { arange } from "./ranges.js";
import { indexAdd, indexCopy } from "./index-slices.js";
import { where } from "./ternary.js";

/** Stays below 0 whatever is added to it: an index out of range. */
const nested = pointwiseKernel(
  (tl, outer, index, length) => {
    const at = tl.where(index < 0, index + length, index);
    return tl.where(outer < 0 || at < 0 || at >= length, -9007199254740991, outer * length + at);
  },
  { name: "index_flatten" },
).kernel;

/** How tensors index another: which dimensions, and how to bring those together. */
interface Plan {
  /** The dimensions in the order [before, indexed, behind]. */
  readonly order: number[];
  /** How many stand before the indexed ones. */
  readonly before: number;
  /** The lengths of the indexed dimensions together. */
  readonly length: number;
  /** Where in those lengths, as a list. */
  readonly at: Tensor;
  /** The shape of the indices, broadcast. */
  readonly shape: readonly number[];
}

type Indices = readonly (Tensor | null)[];

/** Undefined if no dimension is indexed. */
function plan(self: Tensor, indices: Indices): Plan | undefined {
  if (indices.length > self.ndim)
    throw new RangeError(
      `index: ${indices.length} indices for a tensor of ${self.ndim} dimensions (shape ${showShape(self.shape)})`,
    );
  const dims: number[] = [];
  indices.forEach((t, d) => {
    if (t === null) return;
    if (!isIntDType(t.dtype) || t.dtype === "u8")
      throw new TypeError(`index: indices are i64, i32 or bool, not ${t.dtype}`);
    dims.push(d);
  });
  if (dims.length === 0) return undefined;
  const list = dims.map((d) => indices[d]!);
  let shape: readonly number[];
  try {
    shape = broadcastShapes(...list.map((t) => t.shape));
  } catch {
    throw new RangeError(
      `index: the indices ${list.map((t) => showShape(t.shape)).join(" and ")} do not broadcast`,
    );
  }
  // Indexed dimensions that are neighbours stay where they are, others come first.
  const together = dims.at(-1)! - dims[0]! === dims.length - 1;
  const others = Array.from({ length: self.ndim }, (_, d) => d).filter((d) => !dims.includes(d));
  const before = together ? dims[0]! : 0;
  const order = [...others.slice(0, before), ...dims, ...others.slice(before)];
  let at = list[0]!;
  let length = self.shape[dims[0]!]!;
  for (let k = 1; k < list.length; k++) {
    const n = self.shape[dims[k]!]!;
    const out = empty(broadcastShapes(at.shape, list[k]!.shape), { dtype: "i64", device: self.device });
    // The first index counts from the end where negative, too.
    const outer = k === 1 ? fromStart(at, length) : at;
    nested.into([outer, list[k]!, n], [out], "i64");
    at = out;
    length *= n;
  }
  if (at.numel !== shape.reduce((p, m) => p * m, 1)) at = at.expand(shape);
  return { order, before, length, at: at.reshape([-1]), shape };
}

function fromStart(index: Tensor, length: number): Tensor {
  const out = empty(index.shape, { dtype: "i64", device: index.device });
  nested.into([0, index, length], [out], "i64");
  return out;
}

/** Bool masks as the indices of their true elements, one for each of their dimensions. */
async function withoutMasks(self: Tensor, indices: Indices): Promise<Indices> {
  const out: (Tensor | null)[] = [];
  for (const t of indices) {
    if (t?.dtype !== "bool") {
      out.push(t);
      continue;
    }
    t.shape.forEach((n, k) => {
      if (n !== self.shape[out.length + k])
        throw new RangeError(
          `index: the mask ${showShape(t.shape)} does not fit the tensor ${showShape(self.shape)} from dimension ${out.length}`,
        );
    });
    const all = await coordinates(t);
    for (let d = 0; d < t.ndim; d++) out.push(all.select(1, d));
  }
  return out;
}

const hasMask = (indices: Indices): boolean => indices.some((t) => t?.dtype === "bool");

function read(self: Tensor, indices: Indices): Tensor {
  const p = plan(self, indices);
  if (p === undefined) return clone(self);
  const turned = self.permute(p.order);
  const head = turned.shape.slice(0, p.before);
  const tail = turned.shape.slice(p.before + indices.filter((t) => t !== null).length);
  const flat = turned.reshape([...head, p.length, ...tail]);
  return indexSelect(flat, p.before, p.at).reshape([...head, ...p.shape, ...tail]);
}

/**
 * `self[indices]` with a tensor of integers or nothing for each dimension. The indices broadcast against each other; the
 * result has their shape where the indexed dimensions stood if these are neighbours, else in front. Negative indices
 * count from the end. With a bool mask the result is a promise. PyTorch: `torch.ops.aten.index`.
 *
 * @example indexTensors(x, [rows, null, cols]); // x[rows, :, cols]
 */
export const indexTensors: Operator<(self: Tensor, indices: Indices) => Tensor | Promise<Tensor>> = operator({
  schema: "index.Tensor(Tensor self, Tensor?[] indices) -> Tensor",
  name: "indexTensors",
  run: (self: Tensor, indices: Indices) => {
    if (!hasMask(indices)) return read(self, indices);
    const recording = isGradEnabled();
    return withoutMasks(self, indices).then((list) => resumed(recording, () => read(self, list)));
  },
  derivative: "composite",
  opinfo: [{ op: "__getitem__", adapt: (input, [index]) => getItem(input as Tensor, index) }],
  stage: "stable",
});

/** Python's `x[index]` as a view and what gathers from it. */
function getItem(x: Tensor, index: unknown): unknown[] {
  const device = x.device;
  // A list of numbers is one index; a tuple, which comes as an array of mixed things, one for each dimension.
  const isList = (v: unknown): v is number[] => Array.isArray(v) && v.every((n) => typeof n === "number");
  const all = Array.isArray(index) && !(isList(index) && index.length > 0) ? index : [index];
  let view = x;
  let dim = 0;
  const gathers: (Tensor | null)[] = [];
  const rest = (at: number) => all.slice(at + 1).filter((i) => i !== null).length;
  all.forEach((i, at) => {
    if (i === null) view = view.unsqueeze(dim++);
    else if (typeof i === "number") view = view.select(dim, i);
    else if (i instanceof SliceIndex) view = view.slice(dim++, i.start, i.stop, i.step);
    else if (typeof i === "symbol") dim = view.ndim - rest(at);
    else {
      while (gathers.length < dim) gathers.push(null);
      gathers.push(i instanceof Tensor ? i : tensor(i as number[], { dtype: "i64", device }));
      dim += i instanceof Tensor && i.dtype === "bool" ? i.ndim : 1;
    }
  });
  return [view, gathers];
}

function write(self: Tensor, indices: Indices, values: Tensor, accumulate: boolean): Tensor {
  const p = plan(self, indices);
  if (values.dtype !== self.dtype)
    throw new TypeError(
      `index_put: the values have dtype ${values.dtype}, the tensor ${self.dtype}; convert one`,
    );
  if (p === undefined) {
    const all = values.expand(self.shape);
    return accumulate ? (callOperator("add.Tensor", self, all) as Tensor) : clone(all);
  }
  const turned = self.permute(p.order);
  const head = turned.shape.slice(0, p.before);
  const tail = turned.shape.slice(p.before + indices.filter((t) => t !== null).length);
  const flat = turned.reshape([...head, p.length, ...tail]);
  const source = values.expand([...head, ...p.shape, ...tail]).reshape([...head, p.at.numel, ...tail]);
  const out = accumulate ? indexAdd(flat, p.before, p.at, source) : indexCopy(flat, p.before, p.at, source);
  const back = p.order.map((_, d) => p.order.indexOf(d));
  return out.view(turned.shape).permute(back);
}

/**
 * A copy of `self` with `values` (which broadcast) at `self[indices]`, or added there. Of equal indices the last one
 * stays. With a bool mask a promise. PyTorch: `torch.index_put`.
 */
export const indexPut: Operator<
  (self: Tensor, indices: Indices, values: Tensor, accumulate?: boolean) => Tensor | Promise<Tensor>
> = operator({
  schema: "index_put(Tensor self, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor",
  run: (self: Tensor, indices: Indices, values: Tensor, accumulate: boolean) => {
    if (!hasMask(indices)) return write(self, indices, values, accumulate);
    const recording = isGradEnabled();
    return withoutMasks(self, indices).then((list) =>
      resumed(recording, () => write(self, list, values, accumulate)),
    );
  },
  derivative: "composite",
  opinfo: ["index_put"],
  stage: "stable",
});

/**
 * Writes `values` (which broadcast) at `self[indices]`, or adds them there. With a bool mask a promise. PyTorch:
 * `Tensor.index_put_`.
 */
export const indexPut_: Operator<
  (self: Tensor, indices: Indices, values: Tensor, accumulate?: boolean) => Tensor | Promise<Tensor>
> = operator({
  schema:
    "index_put_(Tensor(a!) self, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor(a!)",
  run: (self: Tensor, indices: Indices, values: Tensor, accumulate: boolean) => {
    if (!hasMask(indices)) return writeInto(self, indices, values, accumulate);
    const recording = isGradEnabled();
    return withoutMasks(self, indices).then((list) =>
      resumed(recording, () => writeInto(self, list, values, accumulate)),
    );
  },
  derivative: "composite",
  stage: "stable",
});

/** Straight into the memory where the indexed dimensions can be seen as one, else through a copy. */
function writeInto(self: Tensor, indices: Indices, values: Tensor, accumulate: boolean): Tensor {
  const p = plan(self, indices);
  if (p !== undefined && values.dtype === self.dtype) {
    const turned = self.permute(p.order);
    const head = turned.shape.slice(0, p.before);
    const tail = turned.shape.slice(p.before + indices.filter((t) => t !== null).length);
    const seen = [...head, p.length, ...tail];
    if (viewStrides(turned.shape, turned.strides, seen) !== undefined) {
      const source = values.expand([...head, ...p.shape, ...tail]).reshape([...head, p.at.numel, ...tail]);
      const flat = turned.view(seen);
      if (accumulate) flat.indexAdd_(p.before, p.at, source);
      else flat.indexCopy_(p.before, p.at, source);
      return self;
    }
  }
  return callOperator("copy_", self, write(self, indices, values, accumulate)) as Tensor;
}

/** Elements by their row-major position, in the shape of the index. PyTorch: `torch.take`. */
export const take: Operator<(self: Tensor, index: Tensor) => Tensor> = operator({
  schema: "take(Tensor self, Tensor index) -> Tensor",
  run: (self: Tensor, index: Tensor) =>
    indexSelect(self.reshape([-1]), 0, index.reshape([-1])).view(index.shape),
  derivative: "composite",
  opinfo: ["take"],
  stage: "stable",
});

/** A copy with elements replaced (or added to) by their row-major position. PyTorch: `torch.put`. */
export const put: Operator<(self: Tensor, index: Tensor, source: Tensor, accumulate?: boolean) => Tensor> =
  operator({
    schema: "put(Tensor self, Tensor index, Tensor source, bool accumulate=False) -> Tensor",
    run: (self: Tensor, index: Tensor, source: Tensor, accumulate: boolean) => {
      if (index.numel !== source.numel)
        throw new RangeError(`put: ${index.numel} indices for ${source.numel} elements`);
      const change = accumulate ? indexAdd : indexCopy;
      return change(self.reshape([-1]), 0, index.reshape([-1]), source.reshape([-1])).view(self.shape);
    },
    derivative: "composite",
    opinfo: ["put"],
    stage: "stable",
  });

/**
 * A copy of `self` in which the places under the mask take the elements of `source` one after the other. PyTorch:
 * `torch.masked_scatter`.
 */
export const maskedScatter: Operator<(self: Tensor, mask: Tensor, source: Tensor) => Tensor> = operator({
  schema: "masked_scatter(Tensor self, Tensor mask, Tensor source) -> Tensor",
  run: (self: Tensor, mask: Tensor, source: Tensor) => {
    if (mask.dtype !== "bool") throw new TypeError(`masked_scatter: the mask is bool, not ${mask.dtype}`);
    if (self.dtype !== source.dtype)
      throw new TypeError(`masked_scatter: the source has dtype ${source.dtype}, the tensor ${self.dtype}`);
    const shape = broadcastShapes(self.shape, mask.shape);
    const set = mask.expand(shape);
    const place = callOperator("sub.Tensor", callOperator("cumsum", set.reshape([-1]), 0), 1) as Tensor;
    const picked = indexSelect(source.reshape([-1]), 0, place).view(shape);
    return where(set, picked, self.expand(shape));
  },
  derivative: "composite",
  opinfo: ["masked_scatter"],
  stage: "stable",
});

const equal = pointwiseKernel((tl, x, c) => tl.cast(x === c, tl.i64), {
  name: "one_hot",
  outputs: ["i64"],
}).kernel;

function oneHotOf(self: Tensor, classes: number): Tensor {
  return equal.run1([self.unsqueeze(-1), arange(classes, { device: self.device })]);
}

/**
 * Vectors of 0 with a 1 at the index: `[...]` i64 gives `[..., numClasses]` i64. Without a number of classes it is the
 * largest index plus 1, which has to be read: then the result is a promise. PyTorch: `torch.nn.functional.one_hot`.
 */
export const oneHot: Operator<(self: Tensor, numClasses?: number) => Tensor | Promise<Tensor>> = operator({
  schema: "one_hot(Tensor self, int num_classes=-1) -> Tensor",
  run: (self: Tensor, classes: number) => {
    if (self.dtype !== "i64") throw new TypeError(`one_hot: the indices are i64, not ${self.dtype}`);
    if (classes >= 0) return oneHotOf(self, classes);
    if (self.numel === 0)
      throw new RangeError("one_hot: without indices, the number of classes must be given");
    return (callOperator("max", self) as Tensor).item().then((most) => oneHotOf(self, Number(most) + 1));
  },
  derivative: "none",
  opinfo: ["nn.functional.one_hot"],
  stage: "stable",
});

declare module "../tensor/tensor.js" {
  interface Tensor {
    indexPut: Method<typeof indexPut>;
    indexPut_: Method<typeof indexPut_>;
    /** Elements by their row-major position. */
    take: Method<typeof take>;
    put: Method<typeof put>;
    maskedScatter: Method<typeof maskedScatter>;
    /** Vectors of 0 with a 1 at the index. */
    oneHot: Method<typeof oneHot>;
  }
}
