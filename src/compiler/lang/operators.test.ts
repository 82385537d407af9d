// Dtypes and shapes of the operators, and the folding of literals.

import { describe, expect, it } from "vitest";
import { DTYPES, type DType, isF8, showType, type TileType } from "../ir/index.js";
import { promote } from "./coerce.js";
import { constexpr, i32, ptr } from "./markers.js";
import { build, kernel, run } from "./testing/build.js";

describe("promotion of two typed values", () => {
  const t = (dtype: DType, shape: number[] = []): TileType => ({ kind: "tile", dtype, shape });
  it.each([
    ["i32", "f16", "f16"],
    ["i64", "bf16", "bf16"],
    ["bool", "u8", "u8"],
    ["f16", "bf16", "f32"],
    ["f16", "f32", "f32"],
    ["f32", "f64", "f64"],
    ["i8", "i16", "i16"],
    ["u8", "i16", "i16"],
    ["i16", "u16", "u16"],
    ["i32", "u32", "u32"],
    ["u32", "i64", "i64"],
    ["i64", "u64", "u64"],
  ] as [DType, DType, DType][])("%s and %s give %s", (a, b, want) => {
    for (const shape of [[], [4]]) {
      expect(promote(t(a, shape), t(b, shape))).toBe(want);
      expect(promote(t(b, shape), t(a, shape))).toBe(want);
    }
  });
  it("is symmetric, and gives one of both or a float that holds both", () => {
    const all = Object.keys(DTYPES) as DType[];
    for (const a of all)
      for (const b of all) {
        expect(promote(t(a), t(b))).toBe(promote(t(b), t(a)));
        const wider = isF8(a) && isF8(b) ? "f16" : "f32";
        expect([a, b, wider]).toContain(promote(t(a), t(b)));
      }
  });
  it("a scalar does not widen a tile of its kind, but 64-bit integers are not cut", () => {
    expect(promote(t("f32"), t("f16", [4]))).toBe("f16");
    expect(promote(t("i32"), t("u8", [4]))).toBe("u8");
    expect(promote(t("i64"), t("i32", [4]))).toBe("i64");
    expect(promote(t("f32"), t("i32", [4]))).toBe("f32");
    // A comparison has no dtype to keep.
    expect(promote(t("i32"), t("u8", [4]), true)).toBe("i32");
  });
});

describe("operators", () => {
  const typeOfStored = (source: ReturnType<typeof kernel>, facts = {}) => {
    const store = build(source, facts).body.ops.findLast((op) => op.opcode === "store")!;
    return showType(store.operands[2]!.type);
  };
  it("broadcast rows against columns, and scalars against tiles", () => {
    const k = kernel({ x: ptr, n: i32 }, ({ x, n }, tl) => {
      const row = tl.arange(0, 4);
      const at = tl.col(tl.arange(0, 8)) * 4 + row;
      tl.store(x + at, (row * n + tl.load(x)) ** 2);
    });
    expect(typeOfStored(k)).toBe("f32[8,4]");
  });
  it("offsets are i32, and i64 where the arithmetic is", () => {
    const k = kernel({ x: ptr, n: i32, WIDE: constexpr.bool }, ({ x, n, WIDE }, tl) => {
      const at = tl.arange(0, 4);
      const row = WIDE ? tl.cast(n, tl.i64) : n;
      tl.store(x + row * 1000 + at - 1, 0);
      tl.store(x + tl.cast(at, tl.u8), 0);
    });
    const offsets = (WIDE: boolean) =>
      build(k, { WIDE })
        .body.ops.filter((op) => op.opcode === "store")
        .map((op) => showType(op.operands[1]!.type));
    expect(offsets(false)).toEqual(["i32[4]", "i32[4]"]);
    expect(offsets(true)).toEqual(["i64[4]", "i32[4]"]);
  });
  it("literals fold in f64 and exactly in integers", () => {
    const k = kernel({ y: ptr, B: constexpr }, ({ y, B }, tl) => {
      tl.store(y, B / 8 + 0.25);
      tl.store(y + 1, tl.floorDiv(B, 3) + tl.cdiv(B, 3) + (B % 7) + (B >> 1));
      tl.store(y + 2, tl.sqrt(B * B) ** 2 - tl.exp(0));
      tl.store(y + 3, (B & 96) | 1 | (1 << 10));
      tl.store(y + 4, B > 3 && B !== 5 ? -1 / 0 : 0);
      tl.store(y + 5, tl.nextPowerOf2(B + 1));
    });
    const out = run(k, { y: ["f64", [0, 0, 0, 0, 0, 0]], B: 100 })["y"];
    expect(out).toEqual([12.75, 33 + 34 + 2 + 50, 9999, 96 | 1 | 1024, Number.NEGATIVE_INFINITY, 128]);
  });
  it("wide literals keep all their bits", () => {
    const k = kernel({ y: ptr }, ({ y }, tl) => {
      const seed = tl.load(y) ^ 0xffffffff;
      tl.store(y, seed);
      tl.store(y + 1, tl.load(y + 1) + (9007199254740993n as unknown as number));
      tl.store(y + 2, ~tl.load(y + 2) & -2);
    });
    expect(run(k, { y: ["i64", [5n, 1n, 4n]] })["y"]).toEqual([0xfffffffan, 9007199254740994n, -6n]);
  });
  it("refuse literals that do not fit", () => {
    const k = kernel({ y: ptr }, ({ y }, tl) => tl.store(y, tl.load(y) + 300));
    expect(() => build(k, { y: "u8" })).toThrow(/the literal 300 does not fit into u8/);
    expect(build(k, { y: "i16" }).body.ops.length).toBeGreaterThan(0);
  });
});
