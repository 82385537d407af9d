// What the lowering makes of programs whose structure matters: groups, order of memory, carried tiles, dot layouts.

import { describe, expect, it } from "vitest";
import { constexpr, dim, i32, ptr } from "../../lang/index.js";
import { build, type Facts, kernel } from "../../lang/testing/build.js";
import { optimize } from "../../passes/optimize.js";
import { buffer, Builder, Block, type DType, Func, scalar, type Value } from "../../ir/index.js";
import type { KernelSource } from "../../source.js";
import type { Form, Stmt } from "./form.js";
import { nestedLists } from "../dead.js";
import { registerBlock, rowBlocks } from "./dot.js";
import { lowerSimd } from "./lower.js";
import { showForm } from "./show.js";
import type { Arg } from "../testing/compare.js";
import { expectSame, SHAPES } from "./testing/compare.js";

const lowered = (source: KernelSource, facts: Facts): Func => {
  const func = build(source, facts);
  optimize(func);
  return func;
};
const count = (n: number, f: (i: number) => number = (i) => ((i * 7) % 13) - 6): number[] =>
  Array.from({ length: n }, (_, i) => f(i));
const all = (form: Form): Stmt[] => {
  const out: Stmt[] = [];
  const visit = (list: readonly Stmt[]): void => {
    for (const s of list) {
      out.push(s);
      for (const l of nestedLists(s)) visit(l);
    }
  };
  visit(form.body);
  return out;
};
const avx2 = SHAPES["avx2"]!;

/** A function of f32 buffers, built by hand. */
function func(
  buffers: number,
  body: (b: Builder, ps: Value[], at: (d: number) => Value) => void,
  d: DType = "f32",
): Func {
  const f = new Func(
    "f",
    Array.from({ length: buffers }, (_, i) => ({ name: `p${i}`, type: buffer(d) })),
  );
  const b = new Builder(f.body);
  const arange = b.value("arange", [], { start: 0, end: 32 });
  body(b, [...f.body.args], (k) => b.value("add", [arange, b.constant(k, "i32", [32])]));
  return f;
}

describe("groups", () => {
  it("adds in one loop of whole vectors without masks, and a rest", () => {
    const add = kernel({ x: ptr, y: ptr, n: i32, B: constexpr }, ({ x, y, n, B }, tl) => {
      const at = tl.programId(0) * B + tl.arange(0, B);
      tl.store(y + at, tl.load(x + at, at < n) + 1, at < n);
    });
    const form = lowerSimd(lowered(add, { B: 1024 }), avx2);
    const loops = form.body.filter((s) => s.s === "for");
    expect(loops).toHaveLength(2);
    // The loop's variable in 64 bits and the index, then what is computed.
    expect(loops[0]!.body.map((s) => s.s)).toEqual(["op", "op", "load", "op", "store"]);
    expect(form.frameBytes).toBe(64);
  });

  it("keeps what several loops need, once", () => {
    const f = func(2, (b, [x, y], at) => {
      const v = b.value("load", [x!, at(0)]);
      const e = b.value("mul", [v, v]);
      const s = b.value("reduce", [e], { kind: "sum", axis: 0 });
      b.create("store", [y!, at(0), b.value("div", [e, b.splat(s, [32])])]);
    });
    const { forms } = expectSame(f, [
      ["f32", count(32)],
      ["f32", count(32)],
    ]);
    expect(forms["avx2"]!.frameBytes).toBe(128);
    expect(all(forms["avx2"]!).filter((s) => s.s === "load" && "param" in s.mem).length).toBe(4);
  });

  it("gives outer-axis values scalar code", () => {
    const k = kernel({ x: ptr, y: ptr, n: i32, R: constexpr, B: constexpr }, ({ x, y, n, R, B }, tl) => {
      const at = tl.col(tl.arange(0, R)) * n + tl.row(tl.arange(0, B));
      tl.store(y + at, tl.load(x + at) * 2);
    });
    const form = lowerSimd(lowered(k, { R: 4, B: 64 }), avx2);
    expect(
      all(form).some(
        (s) => s.s === "op" && s.op === "mul" && s.dst.type.lanes > 1 && s.dst.type.kind === "i32",
      ),
    ).toBe(false);
    expect(all(form).some((s) => s.s === "op" && s.op === "insert")).toBe(false);
  });

  it("vectorises a transposed copy along the contiguous loads", () => {
    const f = func(2, (b, [x, y]) => {
      const r = b.value("arange", [], { start: 0, end: 16 });
      const [row, col] = [0, 1].map((axis) =>
        b.value("broadcast", [b.value("expandDims", [r], { axis })], { shape: [16, 16] }),
      );
      const scaled = (v: Value): Value => b.value("mul", [v, b.constant(16, "i32", [16, 16])]);
      const v = b.value("load", [x!, b.value("add", [scaled(col!), row!])]);
      b.create("store", [y!, b.value("add", [scaled(row!), col!]), v]);
    });
    expectSame(f, [
      ["f32", count(256, (i) => i)],
      ["f32", count(256)],
    ]);
  });
});

describe("order of memory", () => {
  it("reads all of a tile before a shifted store into the same buffer", () => {
    for (const [from, to] of [
      [0, 1],
      [1, 0],
      [0, 8],
    ] as const)
      expectSame(
        func(1, (b, [x], at) => {
          b.create("store", [x!, at(to), b.value("load", [x!, at(from)])]);
        }),
        [["f32", count(48)]],
      );
  });

  it("keeps loads before and after stores apart, and overlapping stores in order", () => {
    expectSame(
      func(2, (b, [x, y], at) => {
        const before = b.value("load", [x!, at(0)]);
        b.create("store", [x!, at(2), before]);
        const after = b.value("load", [x!, at(1)]);
        b.create("store", [x!, at(1), b.value("add", [before, after])]);
        b.create("store", [y!, at(0), after]);
        b.create("store", [y!, at(4), before]);
      }),
      [
        ["f32", count(48)],
        ["f32", count(48)],
      ],
    );
  });

  it("rotates in place through two parameters that are one buffer", () => {
    const rotate = kernel({ x: ptr, y: ptr, H: constexpr }, ({ x, y, H }, tl) => {
      const at = tl.arange(0, H);
      const a = tl.load(x + at);
      const b = tl.load(x + at + H);
      tl.store(y + at, a * 2 - b);
      tl.store(y + at + H, b * 2 + a);
    });
    expectSame(lowered(rotate, { H: 16 }), [
      ["f32", count(32)],
      ["f32", count(32)],
    ]);
  });
});

describe("loops", () => {
  const carried = (turns: number, swap: boolean): Func =>
    func(2, (b, [x, y], at) => {
      const [u, v] = [b.value("load", [x!, at(0)]), b.value("load", [y!, at(0)])];
      const block = new Block([scalar("i32"), u.type, v.type]);
      b.inside(block, () => {
        const [, p, q] = block.args as [Value, Value, Value];
        const sum = b.value("add", [p, q]);
        b.create("yield", swap ? [q, p] : [sum, p]);
      });
      const bounds = [0, turns, 1].map((c) => b.constant(c, "i32"));
      const loop = b.create("for", [...bounds, u, v], {}, [block]);
      b.create("store", [x!, at(0), loop.results[0]!]);
      b.create("store", [y!, at(0), loop.results[1]!]);
    });

  it("assigns carried tiles all at once", () => {
    for (const turns of [0, 1, 3]) {
      expectSame(carried(turns, true), [
        ["f32", count(32)],
        ["f32", count(32, (i) => i)],
      ]);
      expectSame(carried(turns, false), [
        ["f32", count(32)],
        ["f32", count(32, (i) => i)],
      ]);
    }
  });

  it("walks pointers as scalars", () => {
    const k = kernel({ x: ptr, y: ptr, n: i32, B: constexpr }, ({ x, y, n, B }, tl) => {
      let p = x + tl.arange(0, B);
      let s = tl.zeros([B], "f32");
      for (let i = 0; i < n; i++) {
        s += tl.load(p);
        p += B;
      }
      tl.store(y + tl.arange(0, B), s);
    });
    const { forms } = expectSame(lowered(k, { B: 16 }), [["f32", count(80)], ["f32", count(16)], 5]);
    expect(all(forms["avx2"]!).some((s) => s.s === "op" && s.op === "extract")).toBe(false);
  });

  it("accumulates a dot in place", () => {
    const k = kernel({ a: ptr, b: ptr, c: ptr, n: i32, B: constexpr }, ({ a, b, c, n, B }, tl) => {
      const at = tl.col(tl.arange(0, B)) * B + tl.row(tl.arange(0, B));
      let acc = tl.zeros([B, B], "f32");
      for (let i = 0; i < n; i++) acc = tl.dot(tl.load(a + i * B * B + at), tl.load(b + at), acc);
      tl.store(c + at, acc);
    });
    const args: Arg[] = [["f32", count(768)], ["f32", count(256)], ["f32", count(256)], 3];
    const { forms } = expectSame(lowered(k, { B: 16 }), args);
    // The accumulator and the two packed sides: nothing is copied from turn to turn.
    expect(forms["avx2"]!.frameBytes).toBe(3 * 1024);
  });
});

describe("dot", () => {
  const product = kernel(
    {
      a: ptr,
      b: ptr,
      c: ptr,
      sam: dim,
      sak: dim,
      sbk: dim,
      sbn: dim,
      M: constexpr,
      N: constexpr,
      K: constexpr,
      ACC: constexpr.dtype,
    },
    ({ a, b, c, sam, sak, sbk, sbn, M, N, K, ACC }, tl) => {
      const [m, n, k] = [tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)];
      const x = tl.load(a + tl.col(m) * sam + tl.row(k) * sak);
      const y = tl.load(b + tl.col(k) * sbk + tl.row(n) * sbn);
      tl.store(c + tl.col(m) * N + tl.row(n), tl.dot(x, y, tl.zeros([M, N], ACC)));
    },
  );

  for (const [d, acc] of [
    ["f32", "f32"],
    ["f64", "f64"],
    ["bf16", "f32"],
    ["i8", "i32"],
    ["i64", "i64"],
  ] as [DType, DType][])
    for (const transposed of [false, true])
      it(`${d}${transposed ? ", both sides transposed" : ""}`, () => {
        for (const [M, N, K] of [
          [1, 8, 16],
          [1, 1, 1],
          [2, 16, 8],
          [4, 4, 4],
          [8, 32, 16],
          [16, 2, 2],
          [32, 64, 8],
        ] as const) {
          // `dim`s that are 1 are constants, as the launch would make them.
          const func = product.build({
            wideOffsets: false,
            params: product.params.map((p) => {
              if (p.kind === "ptr")
                return { kind: "ptr", dtype: p.name === "c" ? acc : d, aligned: false } as const;
              if (p.kind === "constexpr")
                return { kind: "constexpr", value: { M, N, K, ACC: acc }[p.name as "M"] } as const;
              const isOne = transposed
                ? p.name === "sam" || p.name === "sbk"
                : p.name === "sak" || p.name === "sbn";
              return { kind: "dim", divisibleBy16: false, isOne } as const;
            }),
          });
          optimize(func);
          const big = (xs: number[]): (number | bigint)[] => (d === "i64" ? xs.map(BigInt) : xs);
          const args: Arg[] = [
            [d, big(count(M * K))],
            [d, big(count(K * N))],
            [acc, big(count(M * N))],
          ];
          const strides = transposed ? [1, M, 1, K] : [K, 1, N, 1];
          expectSame(func, [...args, ...strides]);
        }
      });

  it("blocks C for the registers there are", () => {
    expect(registerBlock(16, 64, 8)).toEqual({ rows: 4, vectors: 2 });
    expect(registerBlock(16, 1, 8)).toEqual({ rows: 1, vectors: 8 });
    expect(registerBlock(16, 2, 2)).toEqual({ rows: 2, vectors: 2 });
    expect(registerBlock(16, 64, 1)).toEqual({ rows: 8, vectors: 1 });
    expect(registerBlock(32, 64, 8)).toEqual({ rows: 4, vectors: 4 });
  });
});

describe("rows of a product", () => {
  it("go in blocks of six and four, whatever their number", () => {
    for (let m = 1; m <= 512; m *= 2)
      for (const most of [1, 2, 4, 6, 8].filter((n) => n <= m)) {
        const blocks = rowBlocks(m, most);
        expect(blocks.reduce((n, [rows, count]) => n + rows * count, 0)).toBe(m);
        expect(blocks.every(([rows, count]) => rows <= most && rows > 0 && count > 0)).toBe(true);
      }
    expect(rowBlocks(64, 6)).toEqual([
      [6, 10],
      [4, 1],
    ]);
    expect(rowBlocks(128, 6)).toEqual([
      [6, 20],
      [4, 2],
    ]);
  });

  it("are handed to a chip with code of its own as one loop", () => {
    const k = kernel({ a: ptr, b: ptr, c: ptr, B: constexpr }, ({ a, b, c, B }, tl) => {
      const at = tl.col(tl.arange(0, B)) * B + tl.row(tl.arange(0, B));
      tl.store(c + at, tl.dot(tl.load(a + at), tl.load(b + at), tl.zeros([B, B], "f32")));
    });
    const loops = all(lowerSimd(lowered(k, { B: 32 }), SHAPES["products"]!)).flatMap((s) =>
      s.s === "for" && s.products ? [s.products] : [],
    );
    expect(loops.map((p) => [p.sums.length, p.sums[0]!.length, p.steps])).toEqual([
      [6, 2, 32],
      [4, 2, 32],
    ]);
    // The right side stands in panels of two vectors, the left one row by row.
    expect(loops.map((p) => [p.left.row, p.left.step, p.right.row, p.right.step])).toEqual([
      [32, 1, 8, 16],
      [32, 1, 8, 16],
    ]);
  });
});

describe("showForm", () => {
  it("prints a form", () => {
    const f = func(1, (b, [x], at) => {
      const place = at(0);
      b.create("store", [x!, place, b.value("neg", [b.value("load", [x!, place])])]);
    });
    expect(showForm(lowerSimd(f, avx2))).toMatchInlineSnapshot(`
      "form f(0:p0: buffer<f32>) frame 0
        for %0: i32 = 0 to 32 step 8
          %1: f32x8 = load.f32 p0[%0]
          %2: f32x8 = neg %1
          store.f32 p0[%0] = %2: f32x8
      "
    `);
  });
});
