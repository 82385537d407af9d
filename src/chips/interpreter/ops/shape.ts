// Ops that change a tile's shape. Elements stand in row-major order, so most of them only share the array.

import { numel } from "../../../compiler/ir/index.js";
import { interpret, sizeOf, tileType } from "../emit.js";
import { fault } from "../fault.js";
import { A, specialize } from "../loops.js";

interpret(["expandDims", "reshape", "hint"], (op, e) => {
  e.alias(op.result, e.array(op.operands[0]!));
  return undefined;
});

const pick = (o: A, a: A, index: Int32Array, n: number): void => {
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
  const run = specialize(pick, to.dtype);
  return () => run(out, a, index, n);
});

/** Returns the first position whose index is outside the source, or -1. */
const gather = (o: A, a: A, index: A, n: number, size: number): number => {
  for (let i = 0; i < n; i++) {
    const k = index[i]!;
    if (!(k >= 0 && k < size)) return i;
    o[i] = a[k]!;
  }
  return -1;
};

interpret("gather", (op, e) => {
  const a = A(e.array(op.operands[0]!));
  const index = A(e.array(op.operands[1]!));
  const out = A(e.array(op.result));
  const size = sizeOf(op.operands[0]!);
  const run = specialize(gather, tileType(op.result).dtype);
  return () => {
    const wrong = run(out, a, index, out.length, size);
    if (wrong >= 0)
      throw fault(e.func, e.state, op, `of element ${index[wrong]} of a tile of ${size} elements`);
  };
});
