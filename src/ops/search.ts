// Finding places in order: searchsorted, bucketize, isin; and distinct elements: unique, unique_consecutive, bincount. What
// has a length that depends on data is a promise.

import type { DType } from "../compiler/ir/index.js";
import { constexpr, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import {
  callOperator,
  empty,
  isFloatDType,
  isIntDType,
  type Method,
  normalizeDim,
  type Operator,
  operator,
  type Scalar,
  scalarTensor,
  showShape,
  Tensor,
} from "../tensor/index.js";
import { toCopy } from "./cast.js";
import { ne } from "./compare.js";
import { onesLike, zeros } from "./creation.js";
import { gather, indexSelect } from "./gather.js";
import { indexAdd } from "./index-slices.js";
import { cat } from "./join.js";
import { maskedSelect } from "./nonzero.js";
import { pointwise } from "./pointwise.js";
import { any } from "./reduce.js";
import { nextPowerOf2, rowMajor } from "./rows.js";
import { cumsum } from "./scan.js";
import { scatter } from "./scatter.js";
import { sort } from "./sort.js";

/** Binary search of each value in its row of `n` sorted elements. */
const searchRows = kernel(
  // biome-ignore format: one line per group
  { seq: ptr, order: ptr, v: ptr, y: ptr, total: i32, n: i32, perRow: i32, STEPS: constexpr, BLOCK: constexpr,
    RIGHT: constexpr.bool, SORTER: constexpr.bool, ONE: constexpr.bool, T: constexpr.dtype },
  ({ seq, order, v, y, total, n, perRow, STEPS, BLOCK, RIGHT, SORTER, ONE, T }, tl) => {
    const i = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    const inside = i < total;
    const row = ONE ? 0 * i : tl.floorDiv(i, perRow) * n;
    const x = tl.cast(tl.load(v + i, inside, 0), T);
    let low = 0 * i;
    let high = low + n;
    for (const _ of tl.range(0, STEPS)) {
      const open = inside && low < high;
      const middle = tl.floorDiv(low + high, 2);
      const at = SORTER ? tl.cast(tl.load(order + row + middle, open, 0), tl.i32) : middle;
      const m = tl.cast(tl.load(seq + row + at, open, 0), T);
      const later = RIGHT ? !(m > x) : !(m >= x);
      low = tl.where(open && later, middle + 1, low);
      high = tl.where(open && !later, middle, high);
    }
    tl.store(y + i, low, inside);
  },
  "searchsorted",
);

function search(seq: Tensor, values: Tensor, RIGHT: boolean, sorter: Tensor | null, dtype: DType): Tensor {
  const [s, v] = [rowMajor(seq), rowMajor(values)];
  const y = empty(v.shape, { dtype, device: v.device });
  if (y.numel === 0) return y;
  const n = s.shape.at(-1)!;
  const float = isFloatDType(s.dtype) || isFloatDType(v.dtype);
  searchRows.launch([Math.ceil(v.numel / 256)], {
    seq: s, order: sorter ? rowMajor(sorter) : s, v, y, total: v.numel, n, perRow: v.shape.at(-1) ?? 1,
    STEPS: Math.log2(nextPowerOf2(n + 1)) + 1, BLOCK: 256, RIGHT, SORTER: sorter !== null, ONE: s.ndim === 1,
    T: s.dtype === "f64" || v.dtype === "f64" ? "f64" : float ? "f32" : "i64",
  }); // biome-ignore format: one line per group
  return y;
}

/** A number as a tensor that compares exactly with the sequence. */
const asTensor = (v: Tensor | Scalar, like: Tensor): Tensor =>
  v instanceof Tensor
    ? v
    : scalarTensor(
        v,
        isFloatDType(like.dtype) ? like.dtype : typeof v === "number" && !Number.isInteger(v) ? "f32" : "i64",
        like.device,
      );

type SearchOptions = {
  outInt32?: boolean;
  right?: boolean;
  side?: "left" | "right" | null;
  sorter?: Tensor | null;
};

/**
 * The place in each row of `sortedSequence` (or one list for all) before which a value keeps the order: before equal
 * elements, with `right` behind them. `sorter` gives the order of a sequence that is not sorted. PyTorch:
 * `torch.searchsorted`.
 */
export const searchsorted: Operator<
  (sortedSequence: Tensor, self: Tensor | Scalar, options?: SearchOptions) => Tensor
> = operator({
  schema:
    "searchsorted.Tensor(Tensor sorted_sequence, Tensor self, *, bool out_int32=False, bool right=False, str? side=None, Tensor? sorter=None) -> Tensor",
  scalars: true,
  method: false,
  run: (
    seq: Tensor,
    values: Tensor | Scalar,
    int32: boolean,
    right: boolean,
    side: string | null,
    sorter: Tensor | null,
  ) => {
    if (side !== null && side !== "left" && side !== "right")
      throw new RangeError(`searchsorted: side is "left" or "right", not "${side}"`);
    const v = asTensor(values, seq);
    const rows = seq.shape.slice(0, -1);
    if (seq.ndim === 0 || (seq.ndim > 1 && showShape(rows) !== showShape(v.shape.slice(0, -1))))
      throw new RangeError(
        `searchsorted: values ${showShape(v.shape)} do not have the rows of the sequence ${showShape(seq.shape)}`,
      );
    return search(seq, v, side === "right" || (side === null && right), sorter, int32 ? "i32" : "i64");
  },
  derivative: "none",
  opinfo: ["searchsorted"],
  stage: "stable",
  summary: "Places of values in sorted rows",
});

/** The number of the interval between `boundaries` (a sorted list) that holds each element. PyTorch: `torch.bucketize`. */
export const bucketize: Operator<
  (self: Tensor | Scalar, boundaries: Tensor, options?: { outInt32?: boolean; right?: boolean }) => Tensor
> = operator({
  schema:
    "bucketize.Tensor(Tensor self, Tensor boundaries, *, bool out_int32=False, bool right=False) -> Tensor",
  scalars: true,
  run: (values: Tensor | Scalar, boundaries: Tensor, int32: boolean, right: boolean) => {
    if (boundaries.ndim !== 1)
      throw new RangeError(`bucketize: boundaries are a list, not ${showShape(boundaries.shape)}`);
    return search(boundaries, asTensor(values, boundaries), right, null, int32 ? "i32" : "i64");
  },
  derivative: "none",
  opinfo: ["bucketize"],
  stage: "stable",
  summary: "Intervals that hold values",
});

const found = pointwise((_tl, a, b, wanted) => (a === b) === (wanted !== 0), {
  name: "is_in",
  over: [0, 1],
  outputs: ["bool"],
});
const within = pointwise((tl, at, last) => tl.minimum(at, last), {
  name: "within",
  promote: "none",
  outputs: ["i64"],
});
/** Whether each element is one of `testElements`; `invert`: none of them. PyTorch: `torch.isin`. */
export const isin: Operator<
  (
    elements: Tensor | Scalar,
    testElements: Tensor | Scalar,
    options?: { assumeUnique?: boolean; invert?: boolean },
  ) => Tensor
> = operator({
  schema:
    "isin.Tensor_Tensor(Tensor elements, Tensor test_elements, *, bool assume_unique=False, bool invert=False) -> Tensor",
  scalars: true,
  run: (elements: Tensor | Scalar, tests: Tensor | Scalar, _unique: boolean, invert: boolean) => {
    const like = (elements instanceof Tensor ? elements : tests) as Tensor;
    const [x, list] = [asTensor(elements, like), asTensor(tests, like).reshape([-1])];
    if (list.numel === 0)
      return callOperator("full", x.shape, invert, { dtype: "bool", device: x.device }) as Tensor;
    const [sorted] = sort(list);
    const at = within(search(sorted, x.reshape([-1]), false, null, "i64"), list.numel - 1);
    return found.kernel.run1([x, indexSelect(sorted, 0, at).view([...x.shape]), invert ? 0 : 1]);
  },
  derivative: "none",
  opinfo: ["isin"],
  stage: "stable",
  summary: "Whether elements are among others",
});

// --- Distinct elements ---

/** `[true, x[1] != x[0], …]` for slices of dimension 0. */
function starts(x: Tensor): Tensor {
  const n = x.shape[0]!;
  const first = callOperator("ones", [Math.min(n, 1)], { dtype: "bool", device: x.device }) as Tensor;
  if (n <= 1) return first;
  const differ = ne(x.narrow(0, 1, n - 1), x.narrow(0, 0, n - 1));
  return cat([first, x.ndim === 1 ? differ : any(differ.flatten(1), [1])]);
}
const before = pointwise((_tl, n) => n - 1, { name: "before", promote: "none", outputs: ["i64"] });

interface Distinct {
  readonly values: Tensor;
  readonly inverse: Tensor;
  readonly counts: Tensor;
}

/** The distinct slices of dimension 0 of `x`, whose equal ones are neighbours; `order` says where they stood before. */
async function distinct(x: Tensor, order: Tensor | null): Promise<Distinct> {
  const first = starts(x);
  const group = before(cumsum(first, 0));
  const ids = callOperator("arange", x.shape[0]!, { dtype: "i64", device: x.device }) as Tensor;
  const heads = await maskedSelect(ids, first);
  const none = zeros([heads.shape[0]!], { dtype: "i64", device: x.device });
  return {
    values: indexSelect(x, 0, heads),
    inverse:
      order === null
        ? group
        : scatter(zeros(group.shape, { dtype: "i64", device: x.device }), 0, order, group),
    counts: indexAdd(none, 0, group, onesLike(group)),
  };
}

/** Slices of dimension 0 in the order of their elements, the first one first: a stable sort from the last to the first. */
function sortSlices(x: Tensor): { sorted: Tensor; order: Tensor } {
  const flat = x.reshape([x.shape[0]!, x.shape.slice(1).reduce((n, m) => n * m, 1)]);
  let order = callOperator("arange", x.shape[0]!, { dtype: "i64", device: x.device }) as Tensor;
  for (let c = flat.shape[1]! - 1; c >= 0; c--) {
    const [, by] = sort(gather(flat.select(1, c), 0, order), 0);
    order = gather(order, 0, by);
  }
  return { sorted: indexSelect(x, 0, order), order };
}

type Unique = Tensor | [Tensor, Tensor] | [Tensor, Tensor, Tensor];
const results = (d: Distinct, values: Tensor, inverse: Tensor, wants: [boolean, boolean]): Unique => {
  const list = [values, ...(wants[0] ? [inverse] : []), ...(wants[1] ? [d.counts] : [])];
  return (list.length === 1 ? values : list) as Unique;
};

async function uniqueOf(
  self: Tensor,
  dim: number | null,
  wantInverse: boolean,
  wantCounts: boolean,
  consecutive: boolean,
): Promise<Unique> {
  const wants: [boolean, boolean] = [wantInverse, wantCounts];
  if (dim === null) {
    const flat = self.reshape([-1]);
    const [sorted, order] = consecutive ? [flat, null] : sort(flat, 0);
    const d = await distinct(sorted, order);
    return results(d, d.values, d.inverse.view([...self.shape]), wants);
  }
  const along = normalizeDim(dim, self.ndim);
  const front = self.ndim === 0 ? self.reshape([1]) : self.movedim(along, 0);
  const { sorted, order } = consecutive ? { sorted: front, order: null } : sortSlices(front);
  const d = await distinct(sorted, order);
  const values = self.ndim === 0 ? d.values : rowMajor(d.values.movedim(0, along));
  return results(d, values, d.inverse, wants);
}

type UniqueOptions = {
  sorted?: boolean;
  returnInverse?: boolean;
  returnCounts?: boolean;
  dim?: number | null;
};
/**
 * The distinct elements (or slices of `dim`) in order; with `returnInverse` also where each element went, with
 * `returnCounts` how often each came. PyTorch: `torch.unique`.
 */
export const unique: Operator<(self: Tensor, options?: UniqueOptions) => Promise<Unique>> = operator({
  schema:
    "unique(Tensor self, bool sorted=True, bool return_inverse=False, bool return_counts=False, int? dim=None) -> (Tensor, Tensor, Tensor)",
  run: (self: Tensor, _sorted: boolean, inverse: boolean, counts: boolean, dim: number | null) =>
    uniqueOf(self, dim, inverse, counts, false),
  derivative: "none",
  opinfo: ["unique"],
  stage: "stable",
  summary: "Distinct elements in order",
});
/** The first of each run of equal elements (or slices of `dim`); options as of {@link unique}. PyTorch: `torch.unique_consecutive`. */
export const uniqueConsecutive: Operator<
  (self: Tensor, options?: Omit<UniqueOptions, "sorted">) => Promise<Unique>
> = operator({
  schema:
    "unique_consecutive(Tensor self, bool return_inverse=False, bool return_counts=False, int? dim=None) -> (Tensor, Tensor, Tensor)",
  run: (self: Tensor, inverse: boolean, counts: boolean, dim: number | null) =>
    uniqueOf(self, dim, inverse, counts, true),
  derivative: "none",
  opinfo: ["unique_consecutive"],
  stage: "stable",
  summary: "The first of each run of equal elements",
});

/**
 * How often each number from 0 stands in a list, or the sum of the weights there; at least `minlength` numbers. PyTorch:
 * `torch.bincount`.
 */
export const bincount: Operator<
  (self: Tensor, weights?: Tensor | null, minlength?: number) => Promise<Tensor>
> = operator({
  schema: "bincount(Tensor self, Tensor? weights=None, int minlength=0) -> Tensor",
  run: async (self: Tensor, weights: Tensor | null, minlength: number) => {
    if (!isIntDType(self.dtype) || self.ndim !== 1)
      throw new TypeError(`bincount takes a list of integers, not ${self.dtype} of ${showShape(self.shape)}`);
    const ids = toCopy(self, { dtype: "i64" });
    const most = ids.numel === 0 ? -1 : Number(await (callOperator("max", ids) as Tensor).item());
    const values = weights ?? onesLike(ids);
    const dtype = weights ? (weights.dtype === "f32" ? "f32" : "f64") : "i64";
    const none = zeros([Math.max(minlength, most + 1)], { dtype, device: self.device });
    return indexAdd(none, 0, ids, values.dtype === dtype ? values : toCopy(values, { dtype }));
  },
  derivative: "none",
  opinfo: ["bincount"],
  stage: "stable",
  summary: "How often each number stands in a list",
});

declare module "../tensor/tensor.js" {
  interface Tensor {
    bucketize: Method<typeof bucketize>;
    unique: Method<typeof unique>;
    uniqueConsecutive: Method<typeof uniqueConsecutive>;
    bincount: Method<typeof bincount>;
  }
}
