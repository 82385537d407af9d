// Views that come several at a time: split, chunk, unbind and their relatives.

import { normalizeDim, showShape } from "./layout.js";
import {
  callOperator,
  operator,
  overloads,
  type Method,
  type OpInfoEntry,
  type Operator,
} from "./operator.js";
import type { BackwardContext, InputGradients } from "./node.js";
import { Tensor } from "./tensor.js";
import { zerosFor } from "./view-grad.js";
import { narrow, select, unsqueeze } from "./views.js";

declare module "./tensor.js" {
  interface Tensor {
    split: Method<typeof split>;
    splitWithSizes: Method<typeof splitWithSizes>;
    chunk: Method<typeof chunk>;
    unbind: Method<typeof unbind>;
    tensorSplit: Method<typeof tensorSplit>;
    hsplit: Method<typeof hsplit>;
    vsplit: Method<typeof vsplit>;
    dsplit: Method<typeof dsplit>;
  }
}

type Sizes = readonly number[];

function pieces(self: Tensor, sizes: Sizes, dim: number): Tensor[] {
  let start = 0;
  return sizes.map((n) => {
    const piece = narrow(self, dim, start, n);
    start += n;
    return piece;
  });
}

/** The gradients of the pieces, zeros for those without one, joined again. */
function joined(ctx: BackwardContext, grads: readonly (Tensor | null)[], dim: number): InputGradients {
  const like = ctx.meta(0);
  const parts = grads.map((g, i) => g ?? zerosFor(ctx.outputs[i]!.shape, like));
  return [callOperator("cat", parts, normalizeDim(dim, like.shape.length)) as Tensor];
}

function evenSizes(n: number, size: number): number[] {
  if (size < 0 || (size === 0 && n > 0)) throw new RangeError(`split: pieces cannot have ${size} elements`);
  const count = size === 0 ? 1 : Math.max(1, Math.ceil(n / size));
  return Array.from({ length: count }, (_, i) => Math.min(size, n - i * size));
}

function checkedSizes(self: Tensor, sizes: Sizes, dim: number): Sizes {
  const n = self.size(dim);
  if (sizes.some((s) => s < 0) || sizes.reduce((a, b) => a + b, 0) !== n) {
    throw new RangeError(
      `split: the sizes ${showShape(sizes)} do not add up to ${n}, the length of dimension ${dim}`,
    );
  }
  return sizes;
}

const splitEvenly: Operator<(self: Tensor, splitSize: number, dim?: number) => Tensor[]> = operator({
  schema: "split.Tensor(Tensor(a) self, int split_size, int dim=0) -> Tensor(a)[]",
  run: (self: Tensor, splitSize: number, dim: number) =>
    pieces(self, evenSizes(self.size(dim), splitSize), dim),
  derivative: {
    nullGrads: true,
    backward: (ctx, ...grads) => joined(ctx, grads, ctx.args[2] as number),
  },
  opinfo: ["split", "unsafe_split"].map((op) => ({ op, adapt: splitForm(false) })),
  stage: "stable",
});

const splitUnevenly: Operator<(self: Tensor, splitSize: Sizes, dim?: number) => Tensor[]> = operator({
  schema: "split.sizes(Tensor(a) self, int[] split_size, int dim=0) -> Tensor(a)[]",
  run: (self: Tensor, sizes: Sizes, dim: number) => pieces(self, checkedSizes(self, sizes, dim), dim),
  derivative: {
    nullGrads: true,
    backward: (ctx, ...grads) => joined(ctx, grads, ctx.args[2] as number),
  },
  opinfo: [
    { op: "split", adapt: splitForm(true) },
    { op: "split", variant: "list_args", adapt: splitForm(true) },
  ],
  stage: "stable",
});

/** Samples of `split` for the form with a list of sizes or with one size; undefined for those of the other. */
function splitForm(list: boolean): NonNullable<OpInfoEntry["adapt"]> {
  return (input, args, kwargs) => {
    const size = args[0] ?? kwargs["split_size_or_sections"];
    return Array.isArray(size) === list ? [input, size, args[1] ?? kwargs["dim"] ?? 0] : undefined;
  };
}

/** Views of `splitSize` elements along a dimension, the last one perhaps shorter; or of the given sizes. */
export const split = overloads<(self: Tensor, splitSize: number | Sizes, dim?: number) => Tensor[]>(
  splitEvenly,
  splitUnevenly,
);

/** Views of the given sizes along a dimension; the sizes must add up to its length. */
export const splitWithSizes: Operator<(self: Tensor, splitSizes: Sizes, dim?: number) => Tensor[]> = operator(
  {
    schema: "split_with_sizes(Tensor(a) self, int[] split_sizes, int dim=0) -> Tensor(a)[]",
    run: (self: Tensor, sizes: Sizes, dim: number) => pieces(self, checkedSizes(self, sizes, dim), dim),
    derivative: {
      nullGrads: true,
      backward: (ctx, ...grads) => joined(ctx, grads, ctx.args[2] as number),
    },
    opinfo: ["split_with_sizes"],
    stage: "stable",
  },
);

/** At most `chunks` views of equal size along a dimension, the last one perhaps shorter. */
export const chunk: Operator<(self: Tensor, chunks: number, dim?: number) => Tensor[]> = operator({
  schema: "chunk(Tensor(a) self, int chunks, int dim=0) -> Tensor(a)[]",
  run: (self: Tensor, chunks: number, dim: number) => {
    if (chunks < 1) throw new RangeError(`chunk: the number of chunks must be 1 or more, not ${chunks}`);
    const n = self.size(dim);
    // An empty dimension still gives as many chunks as were asked for.
    return n === 0
      ? pieces(self, new Array<number>(chunks).fill(0), dim)
      : pieces(self, evenSizes(n, Math.ceil(n / chunks)), dim);
  },
  derivative: {
    nullGrads: true,
    backward: (ctx, ...grads) => joined(ctx, grads, ctx.args[2] as number),
  },
  opinfo: ["chunk", "unsafe_chunk"],
  stage: "stable",
});

/** The slices at every index of a dimension, which disappears. */
export const unbind: Operator<(self: Tensor, dim?: number) => Tensor[]> = operator({
  schema: "unbind.int(Tensor(a) self, int dim=0) -> Tensor(a)[]",
  run: (self: Tensor, dim: number) => {
    if (self.ndim === 0) throw new RangeError("unbind: a 0-dim tensor has no dimension to unbind");
    return Array.from({ length: self.size(dim) }, (_, i) => select(self, dim, i));
  },
  derivative: {
    nullGrads: true,
    backward: (ctx, ...grads) => {
      const like = ctx.meta(0);
      const dim = normalizeDim(ctx.args[1] as number, like.shape.length);
      const parts = grads.map((g: Tensor | null, i) =>
        unsqueeze(g ?? zerosFor(ctx.outputs[i]!.shape, like), dim),
      );
      return [callOperator("cat", parts, dim) as Tensor];
    },
  },
  opinfo: ["unbind"],
  stage: "stable",
});

function cut(self: Tensor, sections: number | Sizes, dim: number, name: string): Tensor[] {
  const d = normalizeDim(dim, self.ndim);
  const n = self.size(d);
  const bounds: number[] = [0];
  if (typeof sections === "number") {
    if (sections < 1)
      throw new RangeError(`${name}: the number of sections must be 1 or more, not ${sections}`);
    const base = Math.floor(n / sections);
    for (let i = 0; i < sections; i++) bounds.push(bounds[i]! + base + (i < n % sections ? 1 : 0));
  } else {
    for (const i of sections) bounds.push(Math.min(Math.max(i < 0 ? i + n : i, 0), n));
    bounds.push(n);
  }
  return bounds.slice(1).map((end, i) => narrow(self, d, bounds[i]!, Math.max(0, end - bounds[i]!)));
}

const isCount = (args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>, key: string): boolean =>
  typeof (args[0] ?? kwargs[key]) === "number";

const tensorSplitSections: Operator<(self: Tensor, sections: number, dim?: number) => Tensor[]> = operator({
  schema: "tensor_split.sections(Tensor(a) self, int sections, int dim=0) -> Tensor(a)[]",
  run: (self: Tensor, sections: number, dim: number) => cut(self, sections, dim, "tensorSplit"),
  derivative: "composite",
  opinfo: [
    {
      op: "tensor_split",
      adapt: async (input, args, kwargs) => {
        const given = args[0] ?? kwargs["sections"];
        const count = given instanceof Tensor && given.ndim === 0 ? await given.item() : given;
        if (Array.isArray(count) || count instanceof Tensor) return undefined;
        return [input, count, args[1] ?? kwargs["dim"] ?? 0];
      },
    },
  ],
  stage: "stable",
});

const tensorSplitIndices: Operator<(self: Tensor, indices: Sizes, dim?: number) => Tensor[]> = operator({
  schema: "tensor_split.indices(Tensor(a) self, int[] indices, int dim=0) -> Tensor(a)[]",
  run: (self: Tensor, indices: Sizes, dim: number) => cut(self, indices, dim, "tensorSplit"),
  derivative: "composite",
  opinfo: [
    {
      op: "tensor_split",
      adapt: async (input, args, kwargs) => {
        const given = args[0] ?? kwargs["indices"];
        const at = given instanceof Tensor && given.ndim > 0 ? await given.tolist() : given;
        return Array.isArray(at) ? [input, at, args[1] ?? kwargs["dim"] ?? 0] : undefined;
      },
    },
  ],
  stage: "stable",
});

/** Cuts a dimension into `sections` nearly equal views, or at the given indices. */
export const tensorSplit = overloads<
  (self: Tensor, sectionsOrIndices: number | Sizes, dim?: number) => Tensor[]
>(tensorSplitSections, tensorSplitIndices);

/** The forms of `hsplit`, `vsplit` and `dsplit`: by number of sections, which must divide evenly, or by indices. */
function directional(name: string, least: number, dimOf: (self: Tensor) => number) {
  const check = (self: Tensor): number => {
    if (self.ndim < least)
      throw new RangeError(`${name} needs at least ${least} dimensions, not ${self.ndim}`);
    return dimOf(self);
  };
  const sections: Operator<(self: Tensor, sections: number) => Tensor[]> = operator({
    schema: `${name}.int(Tensor(a) self, int sections) -> Tensor(a)[]`,
    run: (self: Tensor, count: number) => {
      const dim = check(self);
      if (count < 1 || self.size(dim) % count !== 0) {
        throw new RangeError(
          `${name}: ${count} sections do not divide the length ${self.size(dim)} of dimension ${dim}`,
        );
      }
      return cut(self, count, dim, name);
    },
    derivative: "composite",
    opinfo: [
      {
        op: name,
        adapt: (input, args, kwargs) =>
          isCount(args, kwargs, "sections") ? [input, args[0] ?? kwargs["sections"]] : undefined,
      },
    ],
    stage: "stable",
  });
  const indices: Operator<(self: Tensor, indices: Sizes) => Tensor[]> = operator({
    schema: `${name}.array(Tensor(a) self, int[] indices) -> Tensor(a)[]`,
    run: (self: Tensor, at: Sizes) => cut(self, at, check(self), name),
    derivative: "composite",
    opinfo: [
      {
        op: name,
        adapt: (input, args, kwargs) => {
          const at = args[0] ?? kwargs["indices"];
          return Array.isArray(at) ? [input, at] : undefined;
        },
      },
    ],
    stage: "stable",
  });
  return overloads<(self: Tensor, sectionsOrIndices: number | Sizes) => Tensor[]>(sections, indices);
}

/** {@link tensorSplit} along the second dimension, or the only one. */
export const hsplit = directional("hsplit", 1, (self) => (self.ndim === 1 ? 0 : 1));
/** {@link tensorSplit} along the first of at least two dimensions. */
export const vsplit = directional("vsplit", 2, () => 0);
/** {@link tensorSplit} along the third dimension. */
export const dsplit = directional("dsplit", 3, () => 2);
