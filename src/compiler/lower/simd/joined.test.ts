// Sums over joined dimensions and tables of four bits give what the interpreter gives, and are there where they should be.

import { describe, expect, it } from "vitest";
import { constexpr, i32, ptr } from "../../lang/index.js";
import { build, kernel } from "../../lang/testing/build.js";
import { optimize } from "../../passes/optimize.js";
import type { Func } from "../../ir/index.js";
import { nestedLists } from "../dead.js";
import type { Arg } from "../testing/compare.js";
import type { Form, Stmt } from "./form.js";
import { expectSame } from "./testing/compare.js";

/** `y[n] = sum over k of x[k] * (the low or high four bits of q[n, k], from -8 to 7) * s[n, k / GS]`. */
const nibbles = kernel(
  {
    x: ptr,
    q: ptr,
    s: ptr,
    y: ptr,
    K: i32,
    BN: constexpr,
    GB: constexpr,
    GS: constexpr,
    HIGH: constexpr.bool,
  },
  ({ x, q, s, y, K, BN, GB, GS, HIGH }, tl) => {
    const n = tl.arange(0, BN);
    const at = tl.expandDims(tl.col(tl.arange(0, GB)) * GS + tl.row(tl.arange(0, GS)), 0);
    const raw = tl.cast(tl.load(q + tl.expandDims(tl.col(n), 2) * K + at, at < K), "i32");
    const bits = HIGH ? raw >> 4 : raw & 15;
    const scale = tl.load(s + tl.expandDims(tl.col(n) * GB + tl.row(tl.arange(0, GB)), 2));
    const w = tl.cast((bits ^ 8) - 8, "f32") * scale;
    tl.store(y + n, tl.sum(tl.reshape(w * tl.load(x + at, at < K), [BN, GB * GS]), 1));
  },
);

/** The largest of joined dimensions, and a sum of two products. */
const others = kernel(
  { x: ptr, y: ptr, N: constexpr, A: constexpr, B: constexpr },
  ({ x, y, N, A, B }, tl) => {
    const inner = tl.expandDims(tl.col(tl.arange(0, A)) * B + tl.row(tl.arange(0, B)), 0);
    const v = tl.load(x + tl.expandDims(tl.col(tl.arange(0, N)), 2) * (A * B) + inner);
    const u = tl.load(x + inner);
    tl.store(y + tl.arange(0, N), tl.max(tl.reshape(v, [N, A * B]), 1));
    tl.store(y + N + tl.arange(0, N), tl.sum(tl.reshape(v * u + u * 3, [N, A * B]), 1));
  },
);

/** `y[n] = sum over k of x[k] * w[n, k] * s[n, k / GS]`, whose scales are early. */
const scaled = kernel(
  { x: ptr, w: ptr, s: ptr, y: ptr, BN: constexpr, GB: constexpr, GS: constexpr },
  ({ x, w, s, y, BN, GB, GS }, tl) => {
    const n = tl.col(tl.arange(0, BN));
    const at = tl.expandDims(tl.col(tl.arange(0, GB)) * GS + tl.row(tl.arange(0, GS)), 0);
    const each = tl.expandDims(n * GB + tl.row(tl.arange(0, GB)), 2);
    const scale = tl.load(s + each, true, 0, { early: true });
    const weight = tl.load(w + tl.expandDims(n, 2) * (GB * GS) + at) * scale;
    tl.store(y + tl.arange(0, BN), tl.sum(tl.reshape(weight * tl.load(x + at), [BN, GB * GS]), 1));
  },
);

const numbers = (n: number, seed: number): number[] =>
  Array.from({ length: n }, (_, i) => (((i + seed) * 7) % 13) - 6);

function all(form: Form): Stmt[] {
  const out: Stmt[] = [];
  const visit = (list: readonly Stmt[]): void => {
    for (const s of list) {
      out.push(s);
      for (const l of nestedLists(s)) visit(l);
    }
  };
  visit(form.body);
  return out;
}
const operations = (form: Form, op: string): number =>
  all(form).filter((s) => s.s === "op" && s.op === op).length;

const lowered = (...[source, facts]: Parameters<typeof build>): Func => {
  const func = build(source, facts);
  optimize(func, { verifyEach: true });
  return func;
};

describe("joined sums", () => {
  for (const HIGH of [false, true])
    for (const [BN, GB, GS, K] of [[8, 4, 32, 128], [4, 8, 16, 120], [1, 2, 64, 70]] as const) // biome-ignore format: a table
      it(`${HIGH ? "high" : "low"} four bits, ${BN} rows of ${GB} runs of ${GS}, ${K} elements`, () => {
        const func = lowered(nibbles, { q: "u8", BN, GB, GS, HIGH });
        const bytes = Array.from({ length: BN * K }, (_, i) => (i * 37 + 11) % 256);
        const args: Arg[] = [
          ["f32", numbers(K, 3)],
          ["u8", bytes],
          ["f32", numbers(BN * GB, 1)],
          ["f32", numbers(BN, 0)],
          K,
        ];
        const { forms } = expectSame(func, args);
        // Nothing is kept in the frame but the results, and each vector of weights is one look-up.
        expect(forms["avx2"]!.frameBytes).toBeLessThanOrEqual(256);
        expect(operations(forms["avx512"]!, "lookup")).toBeGreaterThanOrEqual(Math.min(BN, 8));
        expect(operations(forms["avx2"]!, "lookup")).toBe(0);
      });

  it("writes short runs out, and fetches what is early beside them", () => {
    const [BN, GB] = [4, 4];
    // Vectors of 16 lanes: 4 turns, 8, and 16, which stay a loop.
    for (const GS of [64, 128, 256]) {
      const { forms } = expectSame(lowered(scaled, { BN, GB, GS }), [
        ["f32", numbers(GB * GS, 3)],
        ["f32", numbers(BN * GB * GS, 5)],
        ["f32", numbers(BN * GB, 1)],
        ["f32", numbers(BN, 0)],
      ]);
      const form = forms["avx512"]!;
      const short = GS <= 128;
      const loop = all(form).find((s) => s.s === "for" && s.body.some((t) => t.s === "op" && t.op === "fma"));
      expect(loop?.s === "for" && (Number(loop.hi) - Number(loop.lo)) / Number(loop.step)).toBe(
        short ? GB : GS / 16,
      );
      expect(operations(form, "fma")).toBe(short ? (BN * GS) / 16 : BN);
      // Beside the rows of weights, a fetch for each column's scales.
      const fetches = all(form).filter((s) => s.s === "prefetch" && s.kind === "f32").length;
      if (short) expect(fetches).toBeGreaterThanOrEqual(2 * BN);
      else expect(fetches).toBe(BN);
    }
  });

  it("of other kinds, and of several products", () => {
    const [N, A, B] = [4, 4, 32];
    const func = lowered(others, { N, A, B });
    const { forms } = expectSame(func, [
      ["f32", numbers(N * A * B, 2)],
      ["f32", numbers(2 * N, 0)],
    ]);
    expect(operations(forms["avx2"]!, "fma") % 2).toBe(0);
    expect(operations(forms["avx512"]!, "half")).toBeGreaterThan(0);
  });
});
