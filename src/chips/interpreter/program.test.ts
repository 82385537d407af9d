import { describe, expect, test } from "vitest";
import { allOps, Block, buffer, Builder, type DType, Func, scalar, tile } from "../../compiler/ir/index.js";
import { makerOf } from "./emit.js";
import { KernelFault } from "./fault.js";
import { type Argument, prepare } from "./program.js";
import { contents, evaluate, memory } from "./testing/evaluate.js";

const count = (n: number) => Array.from({ length: n }, (_, i) => i);

test("there is a step for every op of the IR", () => {
  const ends = allOps().filter((d) => d.terminator);
  expect(ends.map((d) => d.opcode).sort()).toEqual(["condition", "yield"]);
  expect(allOps().filter((d) => !d.terminator && !makerOf(d.opcode))).toEqual([]);
});

test("constants and scalar arguments take the values of their dtype", () => {
  const func = new Func("round", [
    { name: "out", type: buffer("f32") },
    { name: "s", type: scalar("f16") },
    { name: "i", type: scalar("i64") },
  ]);
  const [out, s, i] = func.body.args as [never, never, never];
  const b = new Builder(func.body);
  const values = [s, i, b.constant(0.1, "bf16"), b.constant(300, "u8")];
  values.forEach((v, at) => {
    b.create("store", [out, b.constant(at, "i32"), b.cast(v, "f32")]);
  });
  const data = memory("f32", [0, 0, 0, 0]);
  prepare(func).run(1, 1, 1, [{ data, offset: 0 }, 0.1, 12]);
  expect(contents("f32", data)).toEqual([0.0999755859375, 12, 0.10009765625, 44]);
});

describe("shape, reduction and product", () => {
  test("broadcast, permute and reshape", () => {
    const [t, r] = evaluate([{ dtype: "f32", values: count(8), shape: [2, 4] }], (b, [x]) => [
      b.value("permute", [x!], { order: [1, 0] }),
      b.value(
        "broadcast",
        [b.value("expandDims", [b.value("reduce", [x!], { kind: "sum", axis: 1 })], { axis: 1 })],
        {
          shape: [2, 4],
        },
      ),
    ]);
    expect(t).toEqual([0, 4, 1, 5, 2, 6, 3, 7]);
    expect(r).toEqual([6, 6, 6, 6, 22, 22, 22, 22]);
  });

  test("reductions along each axis of a cube", () => {
    const values = [5, 1, 7, 3, 2, 9, 9, 4];
    const reduce = (kind: string, axis: number, dtype: DType = "f32") =>
      evaluate(
        [{ dtype, values: dtype === "i64" ? values.map(BigInt) : values, shape: [2, 2, 2] }],
        (b, [x]) => b.create("reduce", [x!], { kind, axis }).results,
      );
    expect(reduce("sum", 0)[0]).toEqual([7, 10, 16, 7]);
    expect(reduce("prod", 1, "i32")[0]).toEqual([35, 3, 18, 36]);
    expect(reduce("prod", 1, "i64")[0]).toEqual([35n, 3n, 18n, 36n]);
    expect(reduce("max", 2)[0]).toEqual([5, 7, 9, 9]);
    expect(reduce("argmax", 2)).toEqual([
      [5, 7, 9, 9],
      [0, 0, 1, 0],
    ]);
    expect(reduce("argmin", 0, "i64")).toEqual([
      [2n, 1n, 7n, 3n],
      [1, 0, 0, 0],
    ]);
    expect(reduce("xor", 0, "i32")[0]).toEqual([7, 8, 14, 7]);
  });

  test("the first of equals wins, and NaN as told", () => {
    const arg = (values: number[], attrs: object) =>
      evaluate(
        [{ dtype: "f32", values }],
        (b, [x]) => b.create("reduce", [x!], { kind: "argmax", axis: 0, ...attrs }).results,
      );
    expect(arg([1, 3, 3, 2], {})).toEqual([[3], [1]]);
    expect(arg([1, Number.NaN, 3, Number.NaN], {})).toEqual([[Number.NaN], [1]]);
    expect(arg([Number.NaN, 1, 3, Number.NaN], { nan: "ignore" })).toEqual([[3], [2]]);
  });

  test("an f32 sum is the exact sum, rounded", () => {
    const values = [1, ...new Array(1023).fill(2 ** -25)];
    expect(
      evaluate([{ dtype: "f32", values }], (b, [x]) => b.value("reduce", [x!], { kind: "sum", axis: 0 })),
    ).toEqual([[Math.fround(1 + 1023 * 2 ** -25)]]);
  });

  test("scans in both directions", () => {
    const scan = (kind: string, reverse: boolean, dtype: DType = "f32") =>
      evaluate([{ dtype, values: [1, 2, 3, 4, 5, 6, 7, 8], shape: [4, 2] }], (b, [x]) =>
        b.value("scan", [x!], { kind, axis: 0, reverse }),
      )[0];
    expect(scan("sum", false)).toEqual([1, 2, 4, 6, 9, 12, 16, 20]);
    expect(scan("sum", true)).toEqual([16, 20, 15, 18, 12, 14, 7, 8]);
    expect(scan("prod", false, "i8")).toEqual([1, 2, 3, 8, 15, 48, 105, -128]);
    expect(scan("max", false)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(scan("min", false)).toEqual([1, 2, 1, 2, 1, 2, 1, 2]);
  });

  test("dot accumulates in the wider dtype", () => {
    const dot = (dtype: DType, acc: DType) =>
      evaluate(
        [
          { dtype, values: [1, 2, 3, 4].map((v) => (dtype === "i64" ? BigInt(v) : v)), shape: [2, 2] },
          { dtype, values: [5, 6, 7, 8].map((v) => (dtype === "i64" ? BigInt(v) : v)), shape: [2, 2] },
        ],
        (b, [x, y]) => b.value("dot", [x!, y!, b.constant(100, acc, [2, 2])]),
      )[0];
    expect(dot("f32", "f32")).toEqual([119, 122, 143, 150]);
    expect(dot("f16", "f32")).toEqual([119, 122, 143, 150]);
    expect(dot("i8", "i32")).toEqual([119, 122, 143, 150]);
    expect(dot("i64", "i64")).toEqual([119n, 122n, 143n, 150n]);
  });
});

describe("control flow", () => {
  test("carried values that change places are copied at once", () => {
    // Fibonacci by (a, b) -> (b, a + b)
    const [r] = evaluate([{ dtype: "i32", values: [0, 1] }], (b, [x]) => {
      const a0 = b.value("reduce", [x!], { kind: "min", axis: 0 });
      const b0 = b.value("reduce", [x!], { kind: "max", axis: 0 });
      const body = new Block([scalar("i32"), scalar("i32"), scalar("i32")]);
      const inner = new Builder(body);
      inner.create("yield", [body.args[2]!, inner.value("add", [body.args[1]!, body.args[2]!])]);
      const loop = b.create("for", [...[0, 10, 1].map((v) => b.constant(v, "i32")), a0, b0], {}, [body]);
      return b.value("add", [
        b.value("splat", [loop.results[0]!], { shape: [1] }),
        b.constant(0, "i32", [1]),
      ]);
    });
    expect(r).toEqual([55]);
  });

  test("while and if", () => {
    // Collatz steps of 27
    const func = new Func("collatz", [
      { name: "out", type: buffer("i32") },
      { name: "n", type: scalar("i32") },
    ]);
    const [out, n] = func.body.args as [never, never];
    const b = new Builder(func.body);
    const types = [scalar("i32"), scalar("i32")];
    const test = new Block(types);
    const body = new Block(types);
    const t = new Builder(test);
    t.create("condition", [t.value("cmp", [test.args[0]!, t.constant(1, "i32")], { pred: "ne" })]);
    const d = new Builder(body);
    const even = new Block();
    const odd = new Block();
    const e = new Builder(even);
    e.create("yield", [e.value("div", [body.args[0]!, e.constant(2, "i32")])]);
    const o = new Builder(odd);
    o.create("yield", [
      o.value("add", [o.value("mul", [body.args[0]!, o.constant(3, "i32")]), o.constant(1, "i32")]),
    ]);
    const isEven = d.value(
      "cmp",
      [d.value("and", [body.args[0]!, d.constant(1, "i32")]), d.constant(0, "i32")],
      {
        pred: "eq",
      },
    );
    const next = d.value("if", [isEven], {}, [even, odd]);
    d.create("yield", [next, d.value("add", [body.args[1]!, d.constant(1, "i32")])]);
    const w = b.create("while", [n, b.constant(0, "i32")], {}, [test, body]);
    b.create("store", [out, b.constant(0, "i32"), w.results[1]!]);
    const program = prepare(func);
    const data = memory("i32", [0]);
    program.run(1, 1, 1, [{ data, offset: 0 }, 27]);
    expect(contents("i32", data)).toEqual([111]);
    program.run(1, 1, 1, [{ data, offset: 0 }, 1]);
    expect(contents("i32", data)).toEqual([0]);
  });

  test("a for that would pass the largest i32 ends", () => {
    const [r] = evaluate([{ dtype: "i32", values: [0] }], (b, [x]) => {
      const body = new Block([scalar("i32"), tile("i32", [1])]);
      const inner = new Builder(body);
      inner.create("yield", [inner.value("add", [body.args[1]!, inner.constant(1, "i32", [1])])]);
      const bounds = [2 ** 31 - 10, 2 ** 31 - 1, 4].map((v) => b.constant(v, "i32"));
      return b.create("for", [...bounds, x!], {}, [body]).results;
    });
    expect(r).toEqual([3]);
  });
});

describe("memory", () => {
  /** out[pid * 4 + i] = x[pid * 4 + i] where below n */
  function copyKernel(dtype: DType, offsets: DType = "i32"): Func {
    const func = new Func("copy", [
      { name: "x", type: buffer(dtype) },
      { name: "out", type: buffer(dtype) },
      { name: "n", type: scalar("i32") },
    ]);
    func.sources = [
      { name: "copy", text: "({ x, out, n }, tl) => {\n  tl.store(out + at, tl.load(x + at));\n}" },
    ];
    const [x, out, n] = func.body.args as [never, never, never];
    const b = new Builder(func.body);
    const first = b.value("mul", [b.value("programId", [], { axis: 0 }), b.constant(4, "i32")]);
    const at = b.value("add", [b.splat(first, [4]), b.value("arange", [], { start: 0, end: 4 })]);
    const mask = b.value("cmp", [at, b.splat(n, [4])], { pred: "lt" });
    b.loc = { source: 0, start: 46, end: 60 };
    const place = b.cast(at, offsets);
    const v = b.value("load", [x, place, mask, b.constant(9, dtype, [4])]);
    b.loc = undefined;
    b.create("store", [out, place, v]);
    return func;
  }

  const arg = (dtype: DType, values: number[], offset = 0): Argument => ({
    data: memory(dtype, values),
    offset,
  });

  test.each(["f16", "bf16", "f32", "bool", "u16", "f64"] as const)(
    "masked loads take other (%s)",
    (dtype) => {
      const x = arg(dtype, [1, 0, 1, 1, 1, 0]);
      const out = arg(dtype, new Array(8).fill(0));
      const other = dtype === "bool" ? 1 : 9;
      prepare(copyKernel(dtype)).run(2, 1, 1, [x, out, 6]);
      expect(contents(dtype, (out as { data: ArrayBuffer }).data)).toEqual([1, 0, 1, 1, 1, 0, other, other]);
    },
  );

  test("the buffer's element offset is the origin", () => {
    const x = arg("f32", [7, 7, 1, 2, 3, 4], 2);
    const out = arg("f32", new Array(5).fill(0), 1);
    prepare(copyKernel("f32", "i64")).run(1, 1, 1, [x, out, 4]);
    expect(contents("f32", (out as { data: ArrayBuffer }).data)).toEqual([0, 1, 2, 3, 4]);
  });

  test("an access outside names kernel, program, op, offset and line", () => {
    const run = () =>
      prepare(copyKernel("f32")).run(2, 1, 1, [
        arg("f32", [1, 2, 3, 4, 5, 6]),
        arg("f32", new Array(8).fill(0)),
        7,
      ]);
    expect(run).toThrow(KernelFault);
    expect(run).toThrowErrorMatchingInlineSnapshot(`
      [KernelFault: kernel copy, program (1, 0, 0) of (2, 1, 1): load at offset 6 is outside x: 6 elements of f32 (element 2 of a tile [4])
        in copy, line 2 of its text:
        2 |   tl.store(out + at, tl.load(x + at));
          |                      ^^^^^^^^^^^^^^]
    `);
  });

  test("atomics see each other and return the old values", () => {
    for (const dtype of ["i32", "f32", "f16"] as const) {
      const [old] = evaluate([{ dtype, values: [10] }], (b, [x]) => {
        const func = b.block.parent as Func;
        const at = b.constant(0, "i32", [4]);
        const one = b.constant(1, dtype, [4]);
        const mask = b.value(
          "cmp",
          [b.value("arange", [], { start: 0, end: 4 }), b.constant(2, "i32", [4])],
          {
            pred: "ne",
          },
        );
        expect(x!.type.dtype).toBe(dtype);
        return b.value("atomic", [func.body.args[0]!, at, one, mask], { kind: "add" });
      });
      expect(old).toEqual([10, 11, 0, 12]);
    }
  });

  test("compare and swap", () => {
    const [old, after] = evaluate([{ dtype: "i64", values: [1n, 2n] }], (b) => {
      const func = b.block.parent as Func;
      const at = b.value("arange", [], { start: 0, end: 2 });
      const old = b.value("atomicCas", [
        func.body.args[0]!,
        at,
        b.constant(1, "i64", [2]),
        b.constant(7, "i64", [2]),
      ]);
      return [old, b.value("load", [func.body.args[0]!, at])];
    });
    expect(old).toEqual([1n, 2n]);
    expect(after).toEqual([7n, 2n]);
  });
});
