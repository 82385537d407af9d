// The smaller functions of Triton's list on every chip against plain JavaScript.

import { afterAll, describe, expect, it } from "vitest";
import { i32, ptr } from "../../src/compiler/lang/index.js";
import { kernel } from "../../src/runtime/index.js";
import { chips, closeAll, numbers, room } from "./run.js";

afterAll(closeAll);

const divisions = kernel({ x: ptr, y: ptr, a: ptr, b: ptr, c: ptr, d: ptr }, ({ x, y, a, b, c, d }, tl) => {
  const at = tl.arange(0, 32);
  const v = tl.load(x + at);
  const w = tl.load(y + at);
  tl.store(a + at, tl.divRn(v, w));
  tl.store(b + at, tl.fdiv(v, w) + tl.zerosLike(v));
  tl.store(c + at, tl.sqrtRn(v));
  tl.store(d + at, tl.ravel(tl.trans(tl.view(v, [4, 8]))));
});
const order = kernel({ y: ptr, rows: i32, columns: i32, group: i32 }, ({ y, rows, columns, group }, tl) => {
  const [i, j] = [tl.programId(0), tl.programId(1)];
  const [row, column] = tl.swizzle2d(i, j, rows, columns, group);
  // In which turn, counted row by row, a place is taken.
  tl.store(y + row * columns + column, i * columns + j);
});

describe.each(chips)("on $name", ({ run }) => {
  it.each(["f32", "f64"] as const)("divRn, fdiv, sqrtRn, zerosLike, view of %s", async (dtype) => {
    const round = dtype === "f32" ? Math.fround : (v: number): number => v;
    const special = [0, -0, Number.NaN, Number.POSITIVE_INFINITY, 1e-40, 3e38];
    const x = [...special, ...numbers(26, 1)].map(round);
    const y = [...numbers(26, 2), ...special].map(round);
    const out = room(32, dtype);
    const got = await run(divisions, { x: [dtype, x], y: [dtype, y], a: out, b: out, c: out, d: out });
    const quotients = x.map((v, i) => round(v / y[i]!));
    expect(got["a"]).toEqual(quotients);
    expect(got["b"]).toEqual(quotients.map((v) => v + 0));
    expect(got["c"]).toEqual(x.map((v) => round(Math.sqrt(v))));
    expect(got["d"]).toEqual(Array.from({ length: 32 }, (_, k) => x[(k % 4) * 8 + Math.floor(k / 4)]));
  });

  it("swizzle2d goes down groups of rows", async () => {
    for (const [rows, columns, group] of [
      [4, 4, 2],
      [5, 3, 2],
      [1, 6, 8],
      [7, 2, 3],
    ] as const) {
      const got = await run(order, { y: room(rows * columns, "i32"), rows, columns, group }, [rows, columns]);
      const turns: number[] = [];
      let turn = 0;
      for (let first = 0; first < rows; first += group)
        for (let j = 0; j < columns; j++)
          for (let i = first; i < Math.min(rows, first + group); i++) turns[i * columns + j] = turn++;
      expect(got["y"]).toEqual(turns);
    }
  });
});
