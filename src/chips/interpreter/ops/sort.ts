// Sorting tiles along an axis: an order of places is found from the keys, then all operands follow it.

import { numel } from "../../../compiler/ir/index.js";
import type { Elements } from "../elements.js";
import { interpret, tileType } from "../emit.js";

interface Line {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
  readonly limit: number;
}

/** Calls `each` for every line along the axis, with where it starts in the operands and in the results. */
function lines({ outer, length, inner, limit }: Line, each: (from: number, to: number) => void): void {
  for (let o = 0; o < outer; o++)
    for (let j = 0; j < inner; j++) each(o * length * inner + j, o * limit * inner + j);
}

interpret("sort", (op, e) => {
  const { shape } = tileType(op.operands[0]!);
  const axis = op.attrs["axis"] as number;
  const line: Line = {
    outer: numel(shape.slice(0, axis)),
    length: shape[axis]!,
    inner: numel(shape.slice(axis + 1)),
    limit: op.attrs["limit"] as number,
  };
  const { length, inner, limit } = line;
  const keys = e.array(op.operands[0]!);
  const pairs = op.operands.map((v, i): [Elements, Elements] => [e.array(v), e.array(op.results[i]!)]);
  const sign = op.attrs["descending"] === true ? -1 : 1;
  const order = new Int32Array(length);
  return () =>
    lines(line, (from, to) => {
      for (let i = 0; i < length; i++) order[i] = i;
      order.sort((a, b) => {
        const [x, y] = [keys[from + a * inner]!, keys[from + b * inner]!];
        return x < y ? -sign : x > y ? sign : a - b;
      });
      for (const [source, result] of pairs)
        for (let i = 0; i < limit; i++) result[to + i * inner] = source[from + order[i]! * inner]!;
    });
});

interpret("countingSort", (op, e) => {
  const [counts, starts] = op.results.map((v) => e.array(v)) as [Elements, Elements];
  const keys = e.array(op.operands[0]!);
  const pairs = op.operands
    .slice(1)
    .map((v, i): [Elements, Elements] => [e.array(v), e.array(op.results[i + 2]!)]);
  const bins = op.attrs["bins"] as number;
  const next = new Int32Array(bins);
  return () => {
    next.fill(0);
    for (const k of keys) next[Number(k)]!++;
    for (let d = 0, sum = 0; d < bins; d++) {
      counts[d] = next[d]!;
      starts[d] = sum;
      sum += next[d]!;
    }
    next.set(starts as Int32Array);
    keys.forEach((k: number | bigint, i: number) => {
      const to = next[Number(k)]!++;
      for (const [source, result] of pairs) result[to] = source[i]!;
    });
  };
});
