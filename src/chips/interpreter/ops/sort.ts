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
