// The matrix product of tiles. Products are added in order of k.

import { interpret, tileType } from "../emit.js";
import { A, specialize } from "../loops.js";
import { isFloat, is64 } from "../../../compiler/ir/index.js";

type Dot = (o: A, a: A, b: A, c: A, m: number, n: number, k: number) => void;

/** Four rows of `b` at a time: the accumulator is read and rounded once for four products. */
const dot: Dot = (o, a, b, c, m, n, k) => {
  o.set(c);
  for (let i = 0; i < m; i++) {
    const row = i * n;
    let p = 0;
    for (; p + 4 <= k; p += 4) {
      const from = i * k + p;
      const x0 = a[from]!;
      const x1 = a[from + 1]!;
      const x2 = a[from + 2]!;
      const x3 = a[from + 3]!;
      let q = p * n;
      for (let j = row; j < row + n; j++, q++)
        o[j] = o[j]! + x0 * b[q]! + x1 * b[q + n]! + x2 * b[q + 2 * n]! + x3 * b[q + 3 * n]!;
    }
    for (; p < k; p++) {
      const x = a[i * k + p]!;
      for (let j = 0; j < n; j++) o[row + j] = o[row + j]! + x * b[p * n + j]!;
    }
  }
};
const idot: Dot = (o, a, b, c, m, n, k) => {
  o.set(c);
  for (let i = 0; i < m; i++) {
    const row = i * n;
    for (let p = 0; p < k; p++) {
      const x = a[i * k + p]!;
      const from = p * n;
      for (let j = 0; j < n; j++) o[row + j] = (o[row + j]! + Math.imul(x, b[from + j]!)) | 0;
    }
  }
};

interpret("dot", (op, e) => {
  const [ta, tb] = [tileType(op.operands[0]!), tileType(op.operands[1]!)];
  const [a, b, c] = op.operands.map((v) => A(e.array(v))) as [A, A, A];
  const o = A(e.array(op.result));
  const [m, k] = ta.shape as [number, number];
  const n = tb.shape[1]!;
  const run = specialize(isFloat(ta.dtype) || is64(ta.dtype) ? dot : idot, ta.dtype);
  return () => run(o, a, b, c, m, n, k);
});
