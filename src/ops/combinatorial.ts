// What is made of all pairs or combinations: grids of coordinates, Cartesian products, Kronecker products, tensors side by
// side on a diagonal; and places in triangles and flat lists.

import {
  broadcastShapes,
  type DType,
  isIntDType,
  type Operator,
  operator,
  type OpInfoEntry,
  resultType,
  showShape,
  type Tensor,
  tensor,
} from "../tensor/index.js";
import { mul } from "./binary.js";
import { toCopy } from "./cast.js";
import { indexSelect } from "./gather.js";
import { cat, stack } from "./join.js";
import { constantPadNd } from "./pad.js";
import { pointwise } from "./pointwise.js";

/** Samples that pass tensors one by one. */
const listed = (op: string, variant?: string): OpInfoEntry => ({
  op,
  ...(variant === undefined ? {} : { variant }),
  adapt: (input, args, kwargs) => [[input, ...args], kwargs],
});

/** All tensors in their common shape, as views. PyTorch: `torch.broadcast_tensors`. */
export const broadcastTensors: Operator<(tensors: readonly Tensor[]) => Tensor[]> = operator({
  schema: "broadcast_tensors(Tensor[] tensors) -> Tensor[]",
  run: (tensors: readonly Tensor[]) => {
    const shape = tensors.reduce<readonly number[]>((s, t) => broadcastShapes(s, t.shape), []);
    return tensors.map((t) => t.expand([...shape]));
  },
  derivative: "composite",
  opinfo: [listed("broadcast_tensors")],
  stage: "stable",
  summary: "Tensors in their common shape",
});

/**
 * Lists as coordinates of a grid: result `i` varies along dimension `i` (with `"xy"` the first two change places).
 * PyTorch: `torch.meshgrid`.
 */
export const meshgrid: Operator<
  (tensors: readonly Tensor[], options?: { indexing?: "ij" | "xy" }) => Tensor[]
> = operator({
  schema: 'meshgrid.indexing(Tensor[] tensors, *, str indexing="ij") -> Tensor[]',
  run: (tensors: readonly Tensor[], indexing: string) => {
    if (indexing !== "ij" && indexing !== "xy")
      throw new RangeError(`meshgrid: indexing is "ij" or "xy", not "${indexing}"`);
    for (const t of tensors)
      if (t.ndim > 1) throw new RangeError(`meshgrid takes lists, not ${showShape(t.shape)}`);
    const swap = indexing === "xy" && tensors.length >= 2;
    const axis = (i: number): number => (swap && i < 2 ? 1 - i : i);
    const shape = tensors.map((_, d) => tensors[axis(d)]!.numel);
    return tensors.map((t, i) => t.reshape(shape.map((_, d) => (d === axis(i) ? t.numel : 1))).expand(shape));
  },
  derivative: "composite",
  opinfo: [{ op: "meshgrid", variant: "list_of_tensors" }, listed("meshgrid", "variadic_tensors")],
  stage: "stable",
  summary: "Lists as coordinates of a grid",
});

/** All ways to take one element of each list, as rows; one list stays as it is. PyTorch: `torch.cartesian_prod`. */
export const cartesianProd: Operator<(tensors: readonly Tensor[]) => Tensor> = operator({
  schema: "cartesian_prod(Tensor[] tensors) -> Tensor",
  run: (tensors: readonly Tensor[]) => {
    if (tensors.length === 1) return tensors[0]!.reshape([-1]);
    return stack(
      meshgrid(tensors).map((t) => t.reshape([-1])),
      1,
    );
  },
  derivative: "composite",
  opinfo: [listed("cartesian_prod")],
  stage: "stable",
  summary: "All ways to take one element of each list",
});

/** The places of all combinations of `r` of `n`, in order. */
function choose(n: number, r: number, repeat: boolean): number[] {
  const flat: number[] = [];
  const taken: number[] = [];
  const visit = (from: number): void => {
    if (taken.length === r) {
      flat.push(...taken);
      return;
    }
    for (let i = from; i < n; i++) {
      taken.push(i);
      visit(repeat ? i : i + 1);
      taken.pop();
    }
  };
  if (r > 0) visit(0);
  return flat;
}

/** All combinations of `r` elements of a list, as rows. PyTorch: `torch.combinations`. */
export const combinations: Operator<
  (self: Tensor, r?: number, withReplacement?: boolean, options?: { withReplacement?: boolean }) => Tensor
> = operator({
  schema: "combinations(Tensor self, int r=2, bool with_replacement=False) -> Tensor",
  run: (self: Tensor, r: number, repeat: boolean) => {
    if (self.ndim !== 1) throw new RangeError(`combinations takes a list, not ${showShape(self.shape)}`);
    if (r < 0) throw new RangeError(`combinations: r is 0 or more, not ${r}`);
    const flat = choose(self.shape[0]!, r, repeat);
    const index = tensor(flat, { shape: [flat.length], dtype: "i64", device: self.device });
    return r === 0 ? indexSelect(self, 0, index) : indexSelect(self, 0, index).view([flat.length / r, r]);
  },
  derivative: "composite",
  opinfo: ["combinations"],
  stage: "stable",
  summary: "All combinations of elements of a list",
});

/** Matrices along the diagonal of a matrix of zeros. PyTorch: `torch.block_diag`. */
export const blockDiag: Operator<(tensors: readonly Tensor[]) => Tensor> = operator({
  schema: "block_diag(Tensor[] tensors) -> Tensor",
  run: (tensors: readonly Tensor[]) => {
    const dtype = resultType(...tensors);
    const blocks = tensors.map((t) => {
      if (t.ndim > 2) throw new RangeError(`block_diag takes matrices, not ${showShape(t.shape)}`);
      const m = t.ndim === 2 ? t : t.reshape([1, t.numel]);
      return m.dtype === dtype ? m : toCopy(m, { dtype });
    });
    const width = blocks.reduce((n, t) => n + t.shape[1]!, 0);
    let before = 0;
    const rows = blocks.map((t) => {
      const behind = width - before - t.shape[1]!;
      const row = constantPadNd(t, [before, behind]);
      before += t.shape[1]!;
      return row;
    });
    return cat(rows, 0);
  },
  derivative: "composite",
  opinfo: [listed("block_diag")],
  stage: "stable",
  summary: "Matrices along a diagonal",
});

/** Each element of `self` times the whole of `other`, in its place. PyTorch: `torch.kron`. */
export const kron: Operator<(self: Tensor, other: Tensor) => Tensor> = operator({
  schema: "kron(Tensor self, Tensor other) -> Tensor",
  run: (self: Tensor, other: Tensor) => {
    const rank = Math.max(self.ndim, other.ndim);
    const padded = (t: Tensor): number[] => [...new Array<number>(rank - t.ndim).fill(1), ...t.shape];
    const [a, b] = [padded(self), padded(other)];
    const product = mul(self.reshape(a.flatMap((n) => [n, 1])), other.reshape(b.flatMap((n) => [1, n])));
    return product.reshape(a.map((n, d) => n * b[d]!));
  },
  derivative: "composite",
  opinfo: ["kron"],
  stage: "stable",
  summary: "Kronecker product",
});

type Triangle = (
  row: number,
  col: number,
  offset?: number,
  options?: { dtype?: DType | null; device?: string | null },
) => Tensor;
const OPTIONS = "ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None";

function triangleIndices(op: string, upper: boolean): Operator<Triangle> {
  return operator({
    schema: `${op}(int row, int col, int offset=0, *, ${OPTIONS}) -> Tensor`,
    run: (
      rows: number,
      cols: number,
      offset: number,
      dtype: DType | null,
      _layout: unknown,
      device: string | null,
    ) => {
      const out = dtype ?? "i64";
      if (!isIntDType(out)) throw new TypeError(`${op}: the result is of integers, not ${out}`);
      const [r, c]: [number[], number[]] = [[], []];
      for (let i = 0; i < rows; i++) {
        const from = upper ? Math.max(0, i + offset) : 0;
        const to = upper ? cols : Math.min(cols, i + offset + 1);
        for (let j = from; j < to; j++) {
          r.push(i);
          c.push(j);
        }
      }
      return tensor([...r, ...c], {
        shape: [2, r.length],
        dtype: out,
        ...(device === null ? {} : { device }),
      });
    },
    derivative: "none",
    opinfo: [op],
    stage: "stable",
    summary: `Places of the ${upper ? "upper" : "lower"} triangle of a matrix`,
  });
}
/** Row and column numbers of a matrix's lower triangle, up to the diagonal `offset`: `[2, n]`. PyTorch: `torch.tril_indices`. */
export const trilIndices: Operator<Triangle> = triangleIndices("tril_indices", false);
/** Row and column numbers of a matrix's upper triangle, from the diagonal `offset`: `[2, n]`. PyTorch: `torch.triu_indices`. */
export const triuIndices: Operator<Triangle> = triangleIndices("triu_indices", true);

const coordinate = pointwise((tl, index, stride, length) => tl.floorDiv(index, stride) % length, {
  name: "coordinate",
  promote: "none",
  outputs: ["i64"],
});
/** Places in a flat list of a tensor of this shape as one list of coordinates for each dimension. PyTorch: `torch.unravel_index`. */
export const unravelIndex: Operator<(indices: Tensor, shape: readonly number[]) => Tensor[]> = operator({
  schema: "unravel_index(Tensor indices, int[] shape) -> Tensor[]",
  run: (indices: Tensor, shape: readonly number[]) => {
    if (!isIntDType(indices.dtype))
      throw new TypeError(`unravel_index: needs integers, not ${indices.dtype}`);
    const wide = indices.dtype === "i64" ? indices : toCopy(indices, { dtype: "i64" });
    const LARGEST = 2n ** 63n - 1n;
    const within = (n: bigint): bigint => (n > LARGEST ? LARGEST : n < 1n ? 1n : n);
    return shape.map((n, d) => {
      const stride = shape.slice(d + 1).reduce((p, m) => p * BigInt(m), 1n);
      return coordinate(wide, within(stride), within(BigInt(n)));
    });
  },
  derivative: "none",
  opinfo: ["unravel_index"],
  stage: "stable",
  summary: "Flat places as coordinates",
});

/** Each tensor cut into `chunks` along `dim`, padded with zeros; the chunks of one number side by side. */
operator({
  schema: "_chunk_cat(Tensor[] tensors, int dim, int num_chunks) -> Tensor",
  run: (tensors: readonly Tensor[], dim: number, chunks: number) => {
    const parts = tensors.map((t) => {
      const d = dim < 0 ? dim + t.ndim : dim;
      const size = Math.ceil(t.shape[d]! / chunks);
      const short = size * chunks - t.shape[d]!;
      const pads = new Array<number>(2 * (t.ndim - d)).fill(0);
      pads[pads.length - 1] = short;
      const padded = short === 0 ? t : constantPadNd(t, pads);
      return padded.reshape([...t.shape.slice(0, d), chunks, -1]);
    });
    return cat(parts, -1);
  },
  derivative: "composite",
  opinfo: ["_chunk_cat"],
  stage: "stable",
  summary: "Chunks of several tensors side by side",
});
