// Sorting along a dimension: sort, argsort, msort. Equal elements always keep their order, which PyTorch promises for
// `stable` alone. Single elements of the order are `order-statistics.ts`.

import {
  type BackwardContext,
  callOperator,
  type InputGradients,
  type Method,
  normalizeDim,
  type OpInfoEntry,
  type Operator,
  operator,
  type Overloads,
  overloads,
  type Tensor,
} from "../tensor/index.js";
import { sortAlong } from "./sort-kernels.js";

declare module "../tensor/tensor.js" {
  interface Tensor {
    sort: Method<SortFunction>;
    argsort: Method<ArgsortFunction>;
    msort: Method<typeof msort>;
  }
}

/** The gradients of elements that stand along `dim` of a shape where the indices say. */
export function backTo(grad: Tensor, index: Tensor, shape: readonly number[], dim: number): Tensor {
  const home = callOperator("zeros", shape, { dtype: grad.dtype, device: grad.device }) as Tensor;
  return callOperator("scatter_add", home, dim, index, grad) as Tensor;
}

function run(self: Tensor, dim: number, descending: boolean): [Tensor, Tensor] {
  const d = normalizeDim(dim, self.ndim);
  return sortAlong(self, d, descending);
}

/** PyTorch promises the order of equal elements for `stable` alone. */
const sortSamples = (op: string): OpInfoEntry => ({
  op,
  ties: (args, kwargs) => (kwargs["stable"] === true ? undefined : Number(args[0] ?? kwargs["dim"] ?? -1)),
});

const gradient = {
  save: (_args: readonly unknown[], outputs: readonly Tensor[]) => [outputs[1]!],
  backward: (ctx: BackwardContext, grad: Tensor): InputGradients => {
    const { shape } = ctx.meta(0);
    const dim = ctx.args[ctx.args.length - 2] as number;
    return [backTo(grad, ctx.saved[0]!, shape, normalizeDim(dim, shape.length))];
  },
};

const sortPlain = operator<(self: Tensor, dim?: number, descending?: boolean) => [Tensor, Tensor]>({
  schema: "sort(Tensor self, int dim=-1, bool descending=False) -> (Tensor values, Tensor indices)",
  replay: true,
  run: (self: Tensor, dim: number, descending: boolean) => run(self, dim, descending),
  derivative: gradient,
  opinfo: [sortSamples("sort")],
  stage: "stable",
  summary: "The elements along a dimension in order, and where they stood",
});
const sortStable = operator<
  (self: Tensor, options: { stable: boolean | null; dim?: number; descending?: boolean }) => [Tensor, Tensor]
>({
  schema:
    "sort.stable(Tensor self, *, bool? stable, int dim=-1, bool descending=False) -> (Tensor values, Tensor indices)",
  replay: true,
  run: (self: Tensor, _stable: boolean | null, dim: number, descending: boolean) =>
    run(self, dim, descending),
  derivative: gradient,
  opinfo: [sortSamples("sort")],
  stage: "stable",
});

interface SortOptions {
  dim?: number;
  descending?: boolean;
  /** Equal elements keep their order; they always do. */
  stable?: boolean | null;
}
type SortFunction = (
  self: Tensor,
  dim?: number | SortOptions,
  descending?: boolean | SortOptions,
  options?: SortOptions,
) => [Tensor, Tensor];
type ArgsortFunction = (
  self: Tensor,
  dim?: number | SortOptions,
  descending?: boolean | SortOptions,
  options?: SortOptions,
) => Tensor;

/**
 * The elements along `dim` (default: the last) in ascending order, or descending, and the i64 places that they came
 * from. NaN counts as the largest; equal elements keep their order. PyTorch: `torch.sort`.
 * @example const [values, indices] = sort(x, { descending: true });
 */
export const sort: Overloads<SortFunction> = overloads<SortFunction>(sortPlain, sortStable);

const argsortPlain = operator<(self: Tensor, dim?: number, descending?: boolean) => Tensor>({
  schema: "argsort(Tensor self, int dim=-1, bool descending=False) -> Tensor",
  replay: true,
  run: (self: Tensor, dim: number, descending: boolean) => indicesOf(self, dim, descending),
  derivative: "none",
  opinfo: [sortSamples("argsort")],
  stage: "stable",
  summary: "Where the elements along a dimension stand, in their order",
});
const argsortStable = operator<
  (self: Tensor, options: { stable: boolean; dim?: number; descending?: boolean }) => Tensor
>({
  schema: "argsort.stable(Tensor self, *, bool stable, int dim=-1, bool descending=False) -> Tensor",
  replay: true,
  run: (self: Tensor, _stable: boolean, dim: number, descending: boolean) => indicesOf(self, dim, descending),
  derivative: "none",
  opinfo: [sortSamples("argsort")],
  stage: "stable",
});
function indicesOf(self: Tensor, dim: number, descending: boolean): Tensor {
  const [values, indices] = run(self, dim, descending);
  values.dispose();
  return indices;
}
/** The i64 places of the elements along `dim` in the order of {@link sort}. PyTorch: `torch.argsort`. */
export const argsort: ArgsortFunction = overloads<ArgsortFunction>(argsortPlain, argsortStable);

/** The elements along the first dimension in ascending order. PyTorch: `torch.msort`. */
export const msort: Operator<(self: Tensor) => Tensor> = operator({
  schema: "msort(Tensor self) -> Tensor",
  run: (self: Tensor) => sortPlain(self, 0)[0],
  derivative: "composite",
  opinfo: ["msort"],
  stage: "stable",
  summary: "The elements along the first dimension in order",
});
