// How the operands of a pointwise launch are walked together: dimensions ordered by the output, neighbours merged.
// It works in arrays that are reused from launch to launch, since every element-wise operator passes here.

/** What the walk needs of a tensor. */
export interface Strided {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** More dimensions than this after merging do not occur: shapes are bounded by it. */
export const MAX_RANK = 32;

/** The merged dimensions of one launch, outermost first. Valid until the next call of {@link Walk.plan}. */
export class Walk {
  rank = 0;
  readonly sizes: number[] = new Array<number>(MAX_RANK).fill(1);
  /** One list for each operand: its stride along each merged dimension. */
  readonly strides: number[][] = [];
  private readonly order: number[] = [];

  /**
   * Merges the dimensions of `shape`, in which every operand is read (broadcast where it is shorter or 1).
   * Dimensions are walked in the order of the strides of operand `lead`, the largest outermost.
   */
  plan(shape: readonly number[], operands: readonly Strided[], lead: number): void {
    const ndim = shape.length;
    if (ndim > MAX_RANK) throw new RangeError(`tensors have at most ${MAX_RANK} dimensions, not ${ndim}`);
    while (this.strides.length < operands.length) this.strides.push(new Array<number>(MAX_RANK).fill(0));
    const { order } = this;
    order.length = 0;
    for (let d = 0; d < ndim; d++) if (shape[d] !== 1) order.push(d);
    const first = operands[lead];
    if (first !== undefined) sortByStride(order, first, ndim);
    let rank = 0;
    for (const d of order) {
      const n = shape[d]!;
      if (rank > 0 && this.follows(operands, d, n, ndim, rank - 1)) {
        this.sizes[rank - 1]! *= n;
        this.set(operands, d, ndim, rank - 1);
      } else {
        this.sizes[rank] = n;
        this.set(operands, d, ndim, rank);
        rank++;
      }
    }
    this.rank = rank;
  }

  /** Sorts the dimensions before the last by the strides of an operand, where it steps along all of them. */
  follow(operand: number): void {
    const strides = this.strides[operand]!;
    const outer = this.rank - 1;
    for (let d = 0; d < outer; d++) if (strides[d] === 0) return;
    for (let d = 1; d < outer; d++)
      for (let at = d; at > 0 && Math.abs(strides[at - 1]!) < Math.abs(strides[at]!); at--)
        for (const list of [this.sizes, ...this.strides]) {
          const x = list[at]!;
          list[at] = list[at - 1]!;
          list[at - 1] = x;
        }
  }

  /** Moves a dimension to the last place but one; the others keep their order. */
  moveBeforeLast(dim: number): void {
    const to = this.rank - 2;
    for (const list of [this.sizes, ...this.strides]) {
      const x = list[dim]!;
      list.copyWithin(dim, dim + 1, to + 1);
      list[to] = x;
    }
  }

  /** Whether every operand steps evenly from dimension `d` into the merged dimension `at`. */
  private follows(operands: readonly Strided[], d: number, n: number, ndim: number, at: number): boolean {
    for (let k = 0; k < operands.length; k++)
      if (this.strides[k]![at] !== strideOf(operands[k]!, d, ndim) * n) return false;
    return true;
  }

  private set(operands: readonly Strided[], d: number, ndim: number, at: number): void {
    for (let k = 0; k < operands.length; k++) this.strides[k]![at] = strideOf(operands[k]!, d, ndim);
  }
}

/** The stride of an operand along dimension `d` of a shape of `ndim` dimensions that it broadcasts to. */
function strideOf(t: Strided, d: number, ndim: number): number {
  const own = d - (ndim - t.shape.length);
  return own < 0 || t.shape[own] === 1 ? 0 : t.strides[own]!;
}

/** A stable insertion sort: row-major operands are in order already. */
function sortByStride(order: number[], lead: Strided, ndim: number): void {
  for (let i = 1; i < order.length; i++) {
    const d = order[i]!;
    const s = Math.abs(strideOf(lead, d, ndim));
    let at = i;
    while (at > 0 && Math.abs(strideOf(lead, order[at - 1]!, ndim)) < s) {
      order[at] = order[at - 1]!;
      at--;
    }
    order[at] = d;
  }
}
