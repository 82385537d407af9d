// Ops that change a tile's shape. Elements stand in row-major order, so most of them only share the array.

import { numel } from "../../../compiler/ir/index.js";
import { interpret, tileType } from "../emit.js";
import { A, specialize } from "../loops.js";

interpret(["expandDims", "reshape"], (op, e) => {
  e.alias(op.result, e.array(op.operands[0]!));
  return undefined;
});

const gather = (o: A, a: A, index: Int32Array, n: number): void => {
  for (let i = 0; i < n; i++) o[i] = a[index[i]!]!;
};

/** For each element of a row-major tile of `shape`, the sum of its coordinates times `strides`. */
function indices(shape: readonly number[], strides: readonly number[]): Int32Array {
  const n = numel(shape);
  const out = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    let rest = i;
    let at = 0;
    for (let d = shape.length - 1; d >= 0; d--) {
      at += (rest % shape[d]!) * strides[d]!;
      rest = Math.floor(rest / shape[d]!);
    }
    out[i] = at;
  }
  return out;
}

const rowMajor = (shape: readonly number[]): number[] => shape.map((_, d) => numel(shape.slice(d + 1)));

interpret(["broadcast", "permute"], (op, e) => {
  const from = tileType(op.operands[0]!);
  const to = tileType(op.result);
  const strides = rowMajor(from.shape);
  const index = indices(
    to.shape,
    op.opcode === "permute"
      ? (op.attrs["order"] as readonly number[]).map((d) => strides[d]!)
      : strides.map((s, d) => (from.shape[d] === 1 ? 0 : s)),
  );
  const a = A(e.array(op.operands[0]!));
  const out = A(e.array(op.result));
  const n = out.length;
  const run = specialize(gather, to.dtype);
  return () => run(out, a, index, n);
});
