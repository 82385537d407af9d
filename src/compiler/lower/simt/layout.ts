// Layouts: which thread and which of its registers holds which element of a tile.
//
// A tile has a power of two of elements, and so has everything a layout talks about. Elements are numbered row-major, and a
// layout says for every bit of that number who supplies it: a bit of the register's number or a bit of the thread's number.
//
//     registers [1, 2]  threads [4, 8, 16, 32, 64, 0, 0]
//
// is a tile of 128 elements: four neighbours in each thread, the next 32 along the threads; two thread bits are 0, so every
// element is held four times. This covers blocked layouts (any size per thread, per subgroup, per workgroup, any order), slices
// that reductions leave behind (bits of the axis struck out), and the fragments of matrix units. Rearranging ops are exact:
// `reshape` changes nothing, `permute` renumbers the bits, `broadcast` inserts some.
//
// A conversion compares two layouts: equal thread bits rename registers, bits that differ within a subgroup are a shuffle,
// all else goes through shared memory.

import { numel } from "../../ir/index.js";

export interface Layout {
  readonly shape: readonly number[];
  /** For each bit of the register's number the bit (as a power of two) of the element's number. */
  readonly registers: readonly number[];
  /** The same for each bit of the thread's number; 0: threads that differ in it hold the same elements. */
  readonly threads: readonly number[];
}

/** How many elements each thread holds. */
export const countOf = (l: Layout): number => 1 << l.registers.length;

const sumOfBits = (bases: readonly number[], n: number): number =>
  bases.reduce((sum, basis, bit) => ((n >> bit) & 1 ? sum + basis : sum), 0);

/** The element's number that register `r` adds to what the thread holds first. */
export const registerOffset = (l: Layout, r: number): number => sumOfBits(l.registers, r);
/** The number of the first element of thread `t`. */
export const threadOffset = (l: Layout, t: number): number => sumOfBits(l.threads, t);

/** Some elements are held by several threads. */
export const isReplicated = (l: Layout): boolean => l.threads.includes(0);

export const sameLayout = (a: Layout, b: Layout): boolean =>
  a === b ||
  (sameList(a.registers, b.registers) && sameList(a.threads, b.threads) && sameList(a.shape, b.shape));
const sameList = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((x, i) => x === b[i]);

/** `f32[64,128]`-like text: dimension and bit of every register and thread bit. */
export function showLayout(l: Layout): string {
  const name = (basis: number): string => {
    if (basis === 0) return "-";
    let rest = basis;
    for (let d = l.shape.length - 1; d >= 0; d--) {
      if (rest < l.shape[d]!) return `${"ijklmn"[d] ?? `d${d}_`}${rest}`;
      rest /= l.shape[d]!;
    }
    return `?${basis}`;
  };
  return `[${l.shape}] registers [${l.registers.map(name)}] threads [${l.threads.map(name)}]`;
}

/** The bits of a shape's element numbers, dimension by dimension from the last in `order` (fastest first). */
export function bitsOf(shape: readonly number[], dim: number): number[] {
  const stride = numel(shape.slice(dim + 1));
  const bits: number[] = [];
  for (let n = 1; n < shape[dim]!; n *= 2) bits.push(n * stride);
  return bits;
}

/** Neighbours in registers first (`vector` of them along `order[0]`), then threads, then the rest in registers. */
export function blocked(
  shape: readonly number[],
  order: readonly number[],
  vector: number,
  threads: number,
): Layout {
  const bits = order.flatMap((d) => bitsOf(shape, d));
  const perThread = Math.max(0, bits.length - Math.log2(threads));
  const near = Math.min(Math.log2(vector), perThread, Math.log2(shape[order[0]!] ?? 1));
  const along = bits.slice(near, near + Math.log2(threads));
  return {
    shape,
    registers: [...bits.slice(0, near), ...bits.slice(near + along.length)],
    threads: [...along, ...Array(Math.log2(threads) - along.length).fill(0)],
  };
}

/** Every thread holds the only element. */
export const single = (shape: readonly number[], threads: number): Layout => ({
  shape,
  registers: [],
  threads: Array(Math.log2(threads)).fill(0),
});

/**
 * The layout that a rearranged tile has: `map` gives for each bit of the old tile's element numbers the bit of the new one's, or 0
 * where the new tile has no such bit. `from[r]` is the old register of the new register `r`.
 */
export function mapLayout(
  l: Layout,
  shape: readonly number[],
  map: (bit: number) => number,
): { layout: Layout; registerOf: readonly number[] } {
  const mapped = l.registers.map(map);
  const layout = {
    shape,
    registers: mapped.filter((b) => b !== 0),
    threads: l.threads.map((b) => (b === 0 ? 0 : map(b))),
  };
  // The position of each old register bit among the new ones.
  let next = 0;
  const position = mapped.map((b) => (b === 0 ? -1 : next++));
  const registerOf = Array.from({ length: 1 << l.registers.length }, (_, r) =>
    position.reduce((sum, p, bit) => (p >= 0 && (r >> bit) & 1 ? sum + (1 << p) : sum), 0),
  );
  return { layout, registerOf };
}

/** The coordinate of an element's number along a dimension, as a bit map: other dimensions' bits become 0. */
export function alongOf(shape: readonly number[], dim: number): (bit: number) => number {
  const stride = numel(shape.slice(dim + 1));
  return (bit) => (bit >= stride && bit < stride * shape[dim]! ? bit / stride : 0);
}

/** A bit of a tile's element numbers in the tile that lacks dimension `dim`; 0 for that dimension's own. */
export function withoutOf(shape: readonly number[], dim: number): (bit: number) => number {
  const stride = numel(shape.slice(dim + 1));
  return (bit) => (bit < stride ? bit : bit >= stride * shape[dim]! ? bit / shape[dim]! : 0);
}
