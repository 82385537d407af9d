// Scalar functions, inlined at a builder.

import { describe, expect, it } from "vitest";
import { evaluate } from "../../chips/interpreter/testing/evaluate.js";
import { Builder, Func, scalar, tile } from "../ir/index.js";
import { scalarFunction } from "./scalar-function.js";
import type { Tl } from "./tl/index.js";

describe("scalarFunction", () => {
  it("computes on tiles and scalars", () => {
    const f = scalarFunction(
      (tl: Tl, x: number, y: number) => [tl.where(x > y, x - y, 0), tl.maximum(x, y), 3],
      "f",
    );
    expect(f.arity).toBe(2);
    const out = evaluate(
      [
        { dtype: "i32", values: [1, 5, 3, 9] },
        { dtype: "i32", values: [2, 3, 3, -4] },
      ],
      (b, v) => f.lower(b, v, []),
    );
    expect(out).toEqual([
      [0, 2, 0, 13],
      [2, 5, 3, 9],
      [3, 3, 3, 3],
    ]);
  });
  it("adds its text to the sources and locates its ops in it", () => {
    const func = new Func("host", [{ name: "x", type: tile("f32", [4]) }]);
    func.sources.push({ name: "host", text: "the host" });
    const b = new Builder(func.body);
    const f = scalarFunction((_tl: Tl, x: number) => x * x + 1, "square");
    const [r] = f.lower(b, [func.body.args[0]!], func.sources);
    expect(func.sources.map((s) => s.name)).toEqual(["host", "square"]);
    const op = func.body.ops.at(-1)!;
    expect(op.result).toBe(r);
    expect(func.sources[1]!.text.slice(op.loc!.start, op.loc!.end)).toBe("x * x + 1");
  });
  it("branches on scalars, and its key is its text", () => {
    const relu = (_tl: Tl, x: number) => (x > 0 ? x : 0.5);
    const f = scalarFunction(relu, "relu");
    const func = new Func("host", [{ name: "x", type: scalar("f16") }]);
    const [r] = f.lower(new Builder(func.body), [func.body.args[0]!], func.sources);
    expect(r!.type).toEqual(scalar("f16"));
    expect(f.contentKey).toBe(scalarFunction(relu, "relu").contentKey);
    expect(f.contentKey).not.toBe(scalarFunction((_tl: Tl, x: number) => (x > 0 ? x : 1), "relu").contentKey);
  });
  it("says what is wrong", () => {
    const func = new Func("host", [{ name: "x", type: scalar("f32") }]);
    const b = new Builder(func.body);
    const f = scalarFunction((tl: Tl, x: number) => tl.cast(x, tl.i32) / 2, "half");
    expect(() => f.lower(b, [func.body.args[0]!], [])).toThrow(/kernel half: `\/` on two integers/);
    expect(() => f.lower(b, [], [])).toThrow(/half takes 1 numbers, but 0 are given/);
  });
});
