// What is fetched before it is needed, and scans of whole vectors: values against the interpreter's, hints where they belong.

import { describe, expect, it } from "vitest";
import { constexpr, ptr } from "../../lang/index.js";
import { build, type Facts, kernel } from "../../lang/testing/build.js";
import { optimize } from "../../passes/optimize.js";
import type { Func } from "../../ir/index.js";
import type { KernelSource } from "../../source.js";
import { nestedLists } from "../dead.js";
import type { Form, Stmt } from "./form.js";
import { showForm } from "./show.js";
import { expectSame } from "./testing/compare.js";

const lowered = (source: KernelSource, facts: Facts): Func => {
  const func = build(source, facts);
  optimize(func);
  return func;
};
const data = (n: number): number[] => Array.from({ length: n }, (_, i) => ((i * 7) % 13) - 6 + (i % 5) / 8);
/** Registers that multiply-adds add to. */
const sums = (form: Form): number => {
  const found = new Set<unknown>();
  const visit = (list: readonly Stmt[]): void => {
    for (const s of list) {
      if (s.s === "op" && s.op === "fma") found.add(s.dst);
      for (const l of nestedLists(s)) visit(l);
    }
  };
  visit(form.body);
  return found.size;
};
const fetches = (form: Form): number => showForm(form).split("prefetch.").length - 1;

const normalize = kernel({ x: ptr, y: ptr, B: constexpr }, ({ x, y, B }, tl) => {
  const at = tl.programId(0) * B + tl.arange(0, B);
  const v = tl.load(x + at);
  const e = tl.abs(v - tl.max(v, 0));
  tl.store(y + at, e / tl.sum(e, 0));
});

describe("fetching ahead", () => {
  it("brings the next program's row while this one's is computed with", () => {
    const B = 1024;
    const args = [
      ["f32", data(2 * B)],
      ["f32", data(2 * B)],
    ] as const;
    const { forms } = expectSame(lowered(normalize, { B }), args, [2]);
    expect(fetches(forms["avx512"]!)).toBeGreaterThan(0);
    expect(fetches(forms["wasm"]!)).toBeGreaterThan(0);
    expect(fetches(forms["avx2"]!)).toBe(0);
  });

  it("does not touch where the loop reads something else", () => {
    const scaled = kernel({ x: ptr, y: ptr, w: ptr, B: constexpr }, ({ x, y, w, B }, tl) => {
      const c = tl.arange(0, B);
      const at = tl.programId(0) * B + c;
      const v = tl.load(x + at);
      tl.store(y + at, (v - tl.max(v, 0)) * tl.load(w + c));
    });
    const B = 1024;
    const args = [
      ["f32", data(2 * B)],
      ["f32", data(2 * B)],
      ["f32", data(B)],
    ] as const;
    const { forms } = expectSame(lowered(scaled, { B }), args, [2]);
    expect(fetches(forms["wasm"]!)).toBe(0);
  });

  it("touches nothing around elements that a mask may keep from being read", () => {
    const masked = kernel({ x: ptr, y: ptr, B: constexpr }, ({ x, y, B }, tl) => {
      const at = tl.programId(0) * B + tl.arange(0, B);
      const v = tl.load(x + at, (at & 1) < 1, 0);
      tl.store(y + at, v - tl.max(v, 0));
    });
    const kept = kernel({ x: ptr, y: ptr, B: constexpr }, ({ x, y, B }, tl) => {
      const at = tl.programId(0) * B + tl.arange(0, B);
      const v = tl.exp(tl.load(x + at, tl.programId(0) < 1, 0));
      tl.store(y + at, v - tl.max(v, 0));
    });
    const B = 1024;
    const args = [
      ["f32", data(2 * B)],
      ["f32", data(2 * B)],
    ] as const;
    for (const source of [masked, kept]) {
      const { forms } = expectSame(lowered(source, { B }), args, [2]);
      expect(fetches(forms["wasm"]!)).toBe(0);
    }
  });

  it("fetches a sum's early loads line by line, and sums in one order", () => {
    const product = kernel({ x: ptr, w: ptr, y: ptr, B: constexpr, EARLY: constexpr.bool }, (o, tl) => {
      const { x, w, y, B, EARLY } = o;
      const at = tl.arange(0, B);
      const a = tl.load(x + at);
      const b = tl.cast(tl.load(w + tl.programId(0) * B + at, true, 0, { early: EARLY }), "f32");
      tl.store(y + tl.programId(0) + tl.arange(0, 1), tl.sum(a * b, 0));
    });
    const B = 256;
    const args = [
      ["f32", data(B)],
      ["bf16", data(2 * B)],
      ["f32", data(2)],
    ] as const;
    const early = expectSame(lowered(product, { w: "bf16", B, EARLY: true }), args, [2]).forms["avx512"]!;
    expect(fetches(early)).toBe(1);
    expect(sums(early)).toBe(1);
    const plain = expectSame(lowered(product, { w: "bf16", B, EARLY: false }), args, [2]).forms["avx512"]!;
    expect(fetches(plain)).toBe(0);
    expect(sums(plain)).toBeGreaterThan(1);
  });

  it("leaves short rows alone", () => {
    const args = [
      ["f32", data(256)],
      ["f32", data(256)],
    ] as const;
    const { forms } = expectSame(lowered(normalize, { B: 128 }), args, [2]);
    expect(fetches(forms["avx512"]!)).toBe(0);
  });

  it("touches a tile that is turned, where there is no hint for it", () => {
    const turned = kernel({ x: ptr, y: ptr, B: constexpr }, ({ x, y, B }, tl) => {
      const [r, c] = [tl.col(tl.arange(0, B)), tl.row(tl.arange(0, B))];
      tl.store(y + r * B + c, tl.load(x + c * B + r));
    });
    const args = [
      ["f32", data(1024)],
      ["f32", data(1024)],
    ] as const;
    const { forms } = expectSame(lowered(turned, { B: 32 }), args);
    // A line is 16 elements: two for each row.
    expect(fetches(forms["wasm"]!)).toBe(2);
    expect(fetches(forms["avx2"]!)).toBe(2);
  });

  it("fetches the rows of a large tile before they are copied into the frame", () => {
    const product = kernel(
      { x: ptr, w: ptr, y: ptr, K: constexpr, N: constexpr },
      ({ x, w, y, K, N }, tl) => {
        const [r, c] = [tl.col(tl.arange(0, 8)), tl.row(tl.arange(0, N))];
        const left = tl.load(x + r * K + tl.row(tl.arange(0, K)));
        const right = tl.load(w + tl.col(tl.arange(0, K)) * N + c);
        tl.store(y + r * N + c, tl.dot(left, right));
      },
    );
    const fetched = (K: number, N: number): number => {
      const args = [
        ["f32", data(8 * K)],
        ["f32", data(K * N)],
        ["f32", data(8 * N)],
      ] as const;
      return fetches(expectSame(lowered(product, { K, N }), args).forms["avx512"]!);
    };
    expect(fetched(128, 256)).toBeGreaterThan(0);
    // The first cache holds all of it.
    expect(fetched(64, 64)).toBe(0);
  });
});

describe("scans of vectors", () => {
  for (const [rows, cols] of [
    [4, 64],
    [3, 32],
  ] as const)
    it(`sums and extremes along ${rows} rows of ${cols}`, () => {
      const scans = kernel(
        { x: ptr, y: ptr, z: ptr, R: constexpr, C: constexpr },
        ({ x, y, z, R, C }, tl) => {
          const r = tl.col(tl.minimum(tl.arange(0, 4), R - 1));
          const at = r * C + tl.row(tl.arange(0, C));
          const v = tl.load(x + at);
          tl.store(y + at, tl.cumsum(v, 1));
          tl.store(
            z + at,
            tl.associativeScan(v, 1, (a: number, b: number) => tl.maximum(a, b)),
          );
        },
      );
      const n = rows * cols;
      const args = [
        ["f32", data(n)],
        ["f32", data(n)],
        ["f32", data(n)],
      ] as const;
      expectSame(lowered(scans, { R: rows, C: cols }), args);
    });
});
