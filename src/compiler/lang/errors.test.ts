// What the author of a kernel reads when it is wrong: one golden for each kind of mistake. The line numbers are
// those of this file, so they are taken out before the comparison.

import { describe, expect, it } from "vitest";
import { CompileError } from "../target.js";
import { KernelError } from "./errors.js";
import { bool, constexpr, f16, helper, i32, kernelSource, ptr } from "./index.js";
import type { Marker } from "./markers.js";
import type { Tl } from "./tl/index.js";
import { build, type Facts, kernel } from "./testing/build.js";
import type { KernelSource } from "../source.js";

function message(source: KernelSource, facts: Facts = { B: 64 }): string {
  let error: unknown;
  try {
    build(source, facts);
  } catch (e) {
    error = e;
  }
  expect(error).toBeInstanceOf(KernelError);
  expect(error).toBeInstanceOf(CompileError);
  const e = error as KernelError;
  return e.message
    .replaceAll(/\/\S*\/(errors\.test\.ts):\d+/g, "$1:LINE")
    .replaceAll(/^ +\d+ \| /gm, " LINE | ")
    .replaceAll(/^ +\| /gm, "      | ");
}

describe("messages", () => {
  it("type mismatch", () => {
    const k = kernel({ x: ptr, B: constexpr }, ({ x, B }, tl) => {
      const at = tl.arange(0, B);
      tl.store(x + at, at + 0.5);
    });
    expect(message(k)).toMatchInlineSnapshot(`
      "kernel k: the literal 0.5 is not an integer, but meets i32[64]
        at errors.test.ts:LINE:24
       LINE |       tl.store(x + at, at + 0.5);
            |                        ^^^^^^^
        Cast the integers first: tl.cast(value, tl.f32)."
    `);
  });
  it("masks are no numbers", () => {
    const k = kernel({ x: ptr, B: constexpr }, ({ x, B }, tl) => {
      const inside: unknown = tl.arange(0, B) < 3;
      tl.store(x, tl.sum((inside as number) * 2, 0));
    });
    expect(message(k)).toMatchInlineSnapshot(`
      "kernel k: the literal 2 is a number, but meets bool[64]
        at errors.test.ts:LINE:27
       LINE |       tl.store(x, tl.sum((inside as number) * 2, 0));
            |                           ^^^^^^^^^^
        Compare to get a boolean (value !== 0), or turn the booleans into numbers with tl.cast."
    `);
  });
  it("shape mismatch", () => {
    const k = kernel({ x: ptr, B: constexpr }, ({ x, B }, tl) => {
      const a = tl.load(x + tl.arange(0, B));
      const b = tl.load(x + tl.arange(0, 32));
      tl.store(x + tl.arange(0, B), a + b);
    });
    expect(message(k)).toMatchInlineSnapshot(`
      "kernel k: \`+\` cannot combine f32[64] and f32[32]: the shapes do not broadcast
        at errors.test.ts:LINE:37
       LINE |       tl.store(x + tl.arange(0, B), a + b);
            |                                     ^^^^^
        Dimensions must be equal or 1. tl.row(v) makes [1,N] of [N], tl.col(v) makes [N,1]."
    `);
  });
  it("shape of a stored value", () => {
    const k = kernel({ x: ptr, B: constexpr }, ({ x, B }, tl) => {
      tl.store(x, tl.load(x + tl.arange(0, B)));
    });
    expect(message(k)).toMatchInlineSnapshot(`
      "kernel k: the value of tl.store is f32[64], but the pointer is to one element of x
        at errors.test.ts:LINE:7
       LINE |       tl.store(x, tl.load(x + tl.arange(0, B)));
            |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        Value and pointer have one shape: add a tile of offsets to the pointer (x + tl.arange(0, BLOCK)), or reduce the value."
    `);
  });
  it("free variable", () => {
    const EPS = 1e-5;
    const k = kernel({ x: ptr }, ({ x }, tl) => {
      tl.store(x, tl.load(x) + EPS);
    });
    expect(message(k)).toMatchInlineSnapshot(`
      "kernel k: EPS is not known inside the kernel
        at errors.test.ts:LINE:32
       LINE |       tl.store(x, tl.load(x) + EPS);
            |                                ^^^
        A kernel only sees its own parameters. Declare it beside them: EPS: constant(value) for a value, EPS: helper((tl, …) => …) for a function."
    `);
  });
  it("Math", () => {
    const k = kernel({ x: ptr }, ({ x }, tl) => {
      tl.store(x, Math.exp(tl.load(x)));
    });
    expect(message(k)).toMatchInlineSnapshot(`
      "kernel k: Math is not known inside the kernel
        at errors.test.ts:LINE:19
       LINE |       tl.store(x, Math.exp(tl.load(x)));
            |                   ^^^^
        Use the functions of tl: tl.exp, tl.sqrt, tl.maximum, tl.floor, …"
    `);
  });
  it("unsupported syntax", () => {
    const k = kernel({ x: ptr, n: i32 }, ({ x, n }, tl) => {
      for (const i of tl.range(0, n)) {
        if (i === 3) break;
        tl.store(x + i, 0);
      }
    });
    expect(message(k)).toMatchInlineSnapshot(`
      "kernel k: break is not part of the kernel language
        at errors.test.ts:LINE:22
       LINE |         if (i === 3) break;
            |                      ^^^^^^
        Make what ends the loop part of its condition: while (i < n && !done) { … }."
    `);
  });
  it("return in a loop", () => {
    const k = kernel({ x: ptr, n: i32 }, ({ x, n }, tl) => {
      let i = n;
      while (i > 0) {
        if (tl.load(x + i) > 0) return;
        i--;
      }
    });
    expect(message(k)).toContain("a return inside a loop is not part of the kernel language");
  });
  it("integer division", () => {
    const k = kernel({ x: ptr, n: i32 }, ({ x, n }, tl) => {
      tl.store(x, n / 2);
    });
    expect(message(k)).toMatchInlineSnapshot(`
      "kernel k: \`/\` on two integers (i32 and the literal 2) could mean three things
        at errors.test.ts:LINE:19
       LINE |       tl.store(x, n / 2);
            |                   ^^^^^
        Say which: tl.floorDiv(a, b) rounds down, tl.cdiv(a, b) rounds up, tl.div(a, b) gives a float."
    `);
  });
  it("arange of another length than a power of two", () => {
    const k = kernel({ x: ptr, B: constexpr }, ({ x, B }, tl) => {
      tl.store(x + tl.arange(0, B), 0);
    });
    expect(message(k, { B: 100 })).toMatchInlineSnapshot(`
      "kernel k: the length of tl.arange must be a power of two, not 100
        at errors.test.ts:LINE:20
       LINE |       tl.store(x + tl.arange(0, B), 0);
            |                    ^^^^^^^^^^^^^^^
        Use 128 (tl.nextPowerOf2(100)) and mask what is too much: tl.load(pointer, at < 100, 0)."
    `);
  });
  it("a mask as condition of if", () => {
    const k = kernel({ x: ptr, n: i32 }, ({ x, n }, tl) => {
      const at = tl.arange(0, 8);
      if (at < n) tl.store(x + at, 0);
    });
    expect(message(k)).toMatchInlineSnapshot(`
      "kernel k: the condition of \`if\` is a mask (bool[8]): its elements may differ, but only one branch can run
        at errors.test.ts:LINE:11
       LINE |       if (at < n) tl.store(x + at, 0);
            |           ^^^^^^
        Choose element by element with tl.where(mask, a, b), or reduce the mask to one boolean with tl.any or tl.all."
    `);
  });
  it("wrong argument count", () => {
    const k = kernel({ x: ptr }, ({ x }, tl) => {
      tl.store(x, (tl.exp as (...a: number[]) => number)(1, 2));
    });
    expect(message(k)).toMatchInlineSnapshot(`
      "kernel k: tl.exp takes 1 argument, but 2 are given
        at errors.test.ts:LINE:20
       LINE |       tl.store(x, (tl.exp as (...a: number[]) => number)(1, 2));
            |                    ^^^^^^^^^^^^
        It is tl.exp(x)."
    `);
  });
  it("wrong argument count of a helper", () => {
    const twice = helper((_tl, v: number) => v * 2);
    const k = kernel({ x: ptr, twice }, ({ x, twice }, tl) => {
      tl.store(x, (twice as (...a: number[]) => number)());
    });
    expect(message(k)).toMatchInlineSnapshot(`
      "kernel k: twice takes 1 argument, but 0 are given
        at errors.test.ts:LINE:20
       LINE |       tl.store(x, (twice as (...a: number[]) => number)());
            |                    ^^^^^^^"
    `);
  });
  it("unknown function", () => {
    const k = kernel({ x: ptr }, ({ x }, tl) => {
      const t = tl as unknown as { program_id(axis: number): number };
      tl.store(x + t.program_id(0), 0);
    });
    expect(message(k)).toMatchInlineSnapshot(`
      "kernel k: tl has no function program_id
        at errors.test.ts:LINE:20
       LINE |       tl.store(x + t.program_id(0), 0);
            |                    ^^^^^^^^^^^^
        Did you mean tl.programId?"
    `);
  });
  it("pointer misuse", () => {
    const k = kernel({ x: ptr, y: ptr }, ({ x, y }, tl) => {
      tl.store(y, x * 2);
    });
    expect(message(k)).toMatchInlineSnapshot(`
      "kernel k: \`*\` does not work on pointer x (f32)
        at errors.test.ts:LINE:19
       LINE |       tl.store(y, x * 2);
            |                   ^^^^^
        A pointer takes offsets with + and -. To read the element, load it: tl.load(x)."
    `);
  });
  it("one variable for two pointers", () => {
    const k = kernel({ x: ptr, y: ptr, which: bool }, ({ x, y, which }, tl) => {
      const p = which ? x : y;
      tl.store(p, 0);
    });
    expect(message(k)).toMatchInlineSnapshot(`
      "kernel k: the result is pointer x (f32) on one path and pointer y (f32) on the other
        at errors.test.ts:LINE:17
       LINE |       const p = which ? x : y;
            |                 ^^^^^^^^^^^^^
        A pointer stays with one parameter. Load in each branch, or choose between loaded values."
    `);
  });
  it("constexpr misuse", () => {
    const k = kernel({ x: ptr, n: i32 }, ({ x, n }, tl) => {
      tl.store(x + tl.arange(0, n), 0);
    });
    expect(message(k)).toMatchInlineSnapshot(`
      "kernel k: the end of tl.arange must be known at compile time, but it is i32
        at errors.test.ts:LINE:20
       LINE |       tl.store(x + tl.arange(0, n), 0);
            |                    ^^^^^^^^^^^^^^^
        Make it a constexpr parameter, or compute it from constexpr parameters and literals."
    `);
  });
  it("loop-carried type change", () => {
    const k = kernel({ x: ptr, n: i32, h: f16 }, ({ x, n, h }, tl) => {
      let acc = h;
      for (let i = 0; i < n; i++) acc = acc + tl.load(x + i);
      tl.store(x, acc);
    });
    expect(message(k)).toMatchInlineSnapshot(`
      "kernel k: acc changes its type in the loop: it is f16 before it and f32 after a turn
        at errors.test.ts:LINE:7
       LINE |       for (let i = 0; i < n; i++) acc = acc + tl.load(x + i);
            |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        A variable that a loop carries keeps one type: start it with that type (tl.zeros(shape, dtype)), or cast its update with tl.cast."
    `);
  });
  it("a variable without a value on one path", () => {
    const k = kernel({ x: ptr, n: i32 }, ({ x, n }, tl) => {
      let v: number | undefined;
      if (n > 0) v = tl.load(x);
      tl.store(x, v!);
    });
    expect(message(k)).toMatchInlineSnapshot(`
      "kernel k: v has no value here: it is only assigned on one of the paths that lead here
        at errors.test.ts:LINE:19
       LINE |       tl.store(x, v!);
            |                   ^"
    `);
  });
  it("the chain of helpers", () => {
    const inner = helper((tl, v: number) => {
      return tl.sqrt(v);
    });
    const outer = helper({ inner }, (tl, v: number) => tl.inner(v) + 1);
    const k = kernel({ x: ptr, n: i32, outer }, ({ x, n, outer }, tl) => {
      tl.store(x, outer(n));
    });
    expect(message(k)).toMatchInlineSnapshot(`
      "kernel k: tl.sqrt takes floats, not i32
        at errors.test.ts:LINE:14, in inner
       LINE |       return tl.sqrt(v);
            |              ^^^^^^^^^^
        called from errors.test.ts:LINE:56, in outer: const outer = helper({ inner }, (tl, v: number) => tl.inner(v) + 1);
        called from errors.test.ts:LINE:19, in k: tl.store(x, outer(n));
        Cast first: tl.sqrt(tl.cast(x, tl.f32))."
    `);
  });
  it("recursion", () => {
    const k = kernel({ x: ptr, n: i32 }, ({ x, n }, tl) => {
      const f = (v: number): number => f(v - 1);
      tl.store(x, f(n));
    });
    expect(message(k)).toContain("the function f calls itself");
  });
  it("assigning a const", () => {
    const k = kernel({ x: ptr, n: i32 }, ({ x, n }, tl) => {
      const m = n;
      // @ts-expect-error: what the kernel's author does wrong
      // biome-ignore lint/correctness/noConstAssign: the same
      m += 1;
      tl.store(x, m);
    });
    expect(message(k)).toContain("m cannot be assigned: it is declared with const");
  });
  it("a parameter that is not declared", () => {
    const k = kernelSource(
      { input: ptr },
      (({ inptu }: Record<string, number>, tl: Tl) => tl.store(inptu!, 0)) as never,
      "k",
    );
    expect(message(k)).toContain("the kernel has no parameter inptu");
    expect(message(k)).toContain("Did you mean input?");
  });
});

describe("declarations", () => {
  it("refuse what is no marker", () => {
    const params = { x: 3 } as unknown as Record<string, Marker>;
    expect(() => kernelSource(params, () => {}, "k")).toThrow(
      /kernel k: the parameter x is declared as 3.*Declare it as ptr/,
    );
    const fn = { act: (v: number) => v } as unknown as Record<string, Marker>;
    expect(() => kernelSource(fn, () => {}, "k")).toThrow(/a plain function.*helper\(/);
  });
  it("refuse bodies that cannot be read", () => {
    expect(() => build(kernelSource({}, Math.max as never, "k"))).toThrow(/native or bound function/);
    expect(() => build(kernelSource({}, async () => {}, "k"))).toThrow(/async/);
    class Body {}
    expect(() => build(kernelSource({}, Body as never, "k"))).toThrow(/no plain function/);
  });
});
