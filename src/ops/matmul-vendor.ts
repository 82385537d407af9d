// Matrix products by a vendor's library, where the chip has one and the policy says so: further implementations of `mm`
// and `bmm`. `linear` keeps its own kernel, whose sums do not depend on how many rows come together.

import {
  allowsTf32,
  Generator,
  type Chip,
  isCapturing,
  sayMissing,
  type VendorMatmul,
  type VendorMatrix,
  vendorIsFaster,
  vendorPolicy,
} from "../runtime/index.js";
import { addImplementation, emptyLike, type Tensor } from "../tensor/index.js";
import { launchProduct, type Matrices, matricesOf } from "./matmul-kernel.js";
import { fillNormal } from "./random-kernels.js";

/** Products of fewer multiplications than this are not worth a measurement. */
const LEAST = 2 ** 21;
/** Shapes are measured by class: each size rounded up to a power of two, and no larger than what keeps all threads at work. */
const LARGEST = 1024;
const LARGEST_SHARED = 8192;

/** Where many threads share a program, small products leave most of them idle. */
const classOf = (chip: Chip, n: number): number =>
  Math.min(chip.capabilities.programThreads ? LARGEST_SHARED : LARGEST, 2 ** Math.ceil(Math.log2(n)));

const matrixOf = ({ tensor, batchStride, rowStride, colStride }: Matrices, z: number): VendorMatrix => ({
  buffer: tensor.buffer,
  offset: tensor.offset + z * batchStride,
  rowStride,
  columnStride: colStride,
});

/** All products of a batch, one after another. */
function multiply(library: VendorMatmul, a: Tensor, b: Tensor, c: Tensor): void {
  const [M, K, N] = [a.shape.at(-2)!, a.shape.at(-1)!, b.shape.at(-1)!];
  const [x, y, z] = [matricesOf(a), matricesOf(b), matricesOf(c)];
  const batch = c.ndim > 2 ? c.shape[0]! : 1;
  for (let i = 0; i < batch; i++)
    library.run(c.dtype, M, N, K, matrixOf(x, i), matrixOf(y, i), matrixOf(z, i));
}

/** The library that is to compute `a @ b`; undefined: the operator's own kernel. */
function libraryFor(a: unknown, b: unknown, ndim: number): VendorMatmul | undefined {
  const [x, y] = [a as Tensor, b as Tensor];
  const { chip } = x;
  const policy = vendorPolicy();
  if (policy === "off") return undefined;
  const library = chip.vendor?.matmul;
  // What does not fit together is refused by the operator itself.
  const fits =
    x.ndim === ndim &&
    y.ndim === ndim &&
    x.dtype === y.dtype &&
    y.chip === chip &&
    x.shape.at(-1) === y.shape.at(-2);
  if (!library && policy === "on") sayMissing(chip);
  if (!library || !fits || (ndim === 3 && x.shape[0] !== y.shape[0])) return undefined;
  const [M, K, N] = [x.shape.at(-2)!, x.shape.at(-1)!, y.shape.at(-1)!];
  if ((policy === "measured" && M * N * K < LEAST) || isCapturing(chip)) return undefined;
  const [left, right] = [matrixOf(matricesOf(x), 0), matrixOf(matricesOf(y), 0)];
  const result = { ...left, rowStride: N, columnStride: 1 };
  if (!library.supports(x.dtype, M, N, K, left, right, result)) return undefined;
  if (policy === "on") return library;
  const [m, n, k] = [classOf(chip, M), classOf(chip, N), classOf(chip, K)];
  const turned = [left, right].map((s) => s.columnStride !== 1);
  const faster = vendorIsFaster(chip, {
    key: `${x.dtype}${x.dtype === "f32" && allowsTf32() ? " tf32" : ""} ${m} ${n} ${k} ${turned.join(" ")}`,
    operator: "mm",
    library: `${library.name} ${library.description}`,
    prepare: () => rivals(library, x, [m, n, k], turned),
  });
  return faster ? library : undefined;
}

const noise = new Generator(1);

/** Both ways to compute a product of this class, on matrices of their own. */
function rivals(
  library: VendorMatmul,
  like: Tensor,
  [m, n, k]: readonly [number, number, number],
  turned: readonly boolean[],
): { own(): void; vendor(): void; dispose(): void } {
  const make = (rows: number, columns: number, turn: boolean): Tensor => {
    const t = emptyLike(like, { shape: turn ? [columns, rows] : [rows, columns] });
    // Not zeros: chips at their limit of power multiply those faster. And not the program's own random numbers.
    fillNormal(t, 0, 1, noise);
    return turn ? t.t() : t;
  };
  const [a, b, c] = [make(m, k, turned[0]!), make(k, n, turned[1]!), make(m, n, false)];
  return {
    own: () => launchProduct(matricesOf(a), matricesOf(b), matricesOf(c), { batch: 1, M: m, N: n, K: k }),
    vendor: () => multiply(library, a, b, c),
    dispose: () => {
      for (const t of [a, b, c]) t.dispose();
    },
  };
}

for (const [operator, ndim] of [
  ["mm", 2],
  ["bmm", 3],
] as const)
  addImplementation(operator, {
    name: "vendor",
    supports: ([a, b]) => libraryFor(a, b, ndim) !== undefined,
    run: (a, b) => {
      const [x, y] = [a as Tensor, b as Tensor];
      const shape = [...x.shape.slice(0, -1), y.shape.at(-1)!];
      const out = emptyLike(x, { shape });
      multiply(x.chip.vendor!.matmul!, x, y, out);
      return out;
    },
  });
