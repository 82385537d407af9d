// Atomics on every chip against plain JavaScript: kinds, dtypes, orderings and scopes, masks, many programs on one place.

import { afterAll, describe, expect, it } from "vitest";
import { type DType, isFloat, isInt, roundTo } from "../../src/compiler/ir/index.js";
import { binary } from "../../src/compiler/ir/ops/arith-fold.js";
import { constexpr, i32, ptr } from "../../src/compiler/lang/index.js";
import { kernel } from "../../src/runtime/index.js";
import { shorten } from "../chips.js";
import { chips, closeAll, type Data, numbers, room } from "./run.js";

afterAll(closeAll);

const DTYPES = [
  "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f8e4m3", "f8e5m2", "f16", "bf16", "f32", "f64",
] as const satisfies readonly DType[]; // biome-ignore format: one line reads better

/** Elements `k` and `k + 4` of the tile meet in place `k % 4` of each result; the last element is masked out. */
const all = kernel(
  { x: ptr, add: ptr, max: ptr, min: ptr, xchg: ptr, cas: ptr, old: ptr, N: constexpr },
  ({ x, add, max, min, xchg, cas, old, N }, tl) => {
    const k = tl.arange(0, N);
    const v = tl.load(x + k);
    const on = k < N - 1;
    const to = k % 4;
    tl.store(old + k, tl.atomicAdd(add + to, v, on, { order: "relaxed", scope: "cta" }));
    tl.store(old + N + k, tl.atomicMax(max + to, v, on, { order: "acquire" }));
    tl.store(old + 2 * N + k, tl.atomicMin(min + to, v, on, { order: "release", scope: "sys" }));
    tl.store(old + 3 * N + k, tl.atomicXchg(xchg + to, v, on, { order: "acq_rel", scope: "gpu" }));
    tl.store(old + 4 * N + k, tl.atomicCas(cas + to, tl.cast(3, tl.dtypeOf(x)), v));
  },
);
const bits = kernel({ x: ptr, and: ptr, or: ptr, xor: ptr, N: constexpr }, ({ x, and, or, xor, N }, tl) => {
  const k = tl.arange(0, N);
  const v = tl.load(x + k);
  tl.atomicAnd(and + (k % 4), v, k < N - 1);
  tl.atomicOr(or + (k % 4), v, k < N - 1);
  tl.atomicXor(xor + (k % 4), v, k < N - 1);
});
const counting = kernel({ x: ptr, y: ptr, n: i32, B: constexpr }, ({ x, y, n, B }, tl) => {
  const at = tl.programId(0) * B + tl.arange(0, B);
  const v = tl.load(x + at, at < n, 0);
  tl.atomicAdd(y, tl.sum(v, 0));
  tl.atomicAdd(y + 1 + (at % 2), v, at < n);
  // A lock of one: whoever finds 0 counts.
  tl.atomicMax(y + 3, tl.max(v, 0));
});

type V = number | bigint;

/** Chips whose programs go through a tile element after element; elsewhere elements that meet take their turns in any order. */
const IN_ORDER = new Set(["interpreter", "wasm", "cpu"]);

/** All orders of a list. */
const orders = (list: readonly number[]): number[][] =>
  list.length < 2
    ? [[...list]]
    : list.flatMap((k) => orders(list.filter((x) => x !== k)).map((rest) => [k, ...rest]));

describe.each(chips)("on $name", ({ name, run }) => {
  shorten(name, 3);
  it.each(DTYPES)("of %s", async (dtype) => {
    const N = 16;
    const value = (v: number): V =>
      roundTo(dtype, isFloat(dtype) ? v / 4 : dtype.endsWith("64") ? BigInt(Math.trunc(v)) : Math.trunc(v));
    const x = numbers(N, 9).map(value);
    // Elements that CAS finds, and that it does not.
    const start = [3, 1, 3, 0].map((v) => value(isFloat(dtype) ? v * 4 : v));
    const init: Data = [dtype, start];
    const got = await run(all, {
      x: [dtype, x], add: init, max: init, min: init, xchg: init, cas: init, old: room(5 * N, dtype), N,
    }); // biome-ignore format: short
    const zero = value(0);
    type Kind = "add" | "max" | "min" | "xchg" | "cas";
    /** What a place holds in the end, and what its elements find, if they come in this order. */
    const inTurn = (kind: Kind, place: number, order: readonly number[]): { end: V; old: Map<number, V> } => {
      let end = start[place]!;
      const old = new Map<number, V>();
      for (const k of order) {
        const v = x[k]!;
        const skipped = kind !== "cas" && k === N - 1;
        old.set(k, skipped ? zero : end);
        if (skipped) continue;
        if (kind === "xchg") end = v;
        else if (kind === "cas") {
          // biome-ignore lint/suspicious/noDoubleEquals: 3 and 3n
          if (end == 3) end = v;
        } else end = binary(kind, dtype, end, v)!;
      }
      return { end, old };
    };
    (["add", "max", "min", "xchg", "cas"] as const).forEach((kind, i) => {
      const found = got["old"]!.slice(i * N, (i + 1) * N);
      for (let place = 0; place < 4; place++) {
        const elements = x.flatMap((_, k) => (k % 4 === place ? [k] : []));
        const tried = (IN_ORDER.has(name) ? [elements] : orders(elements)).map((order) => {
          const { end, old } = inTurn(kind, place, order);
          return [end, ...elements.map((k) => old.get(k)!)];
        });
        const seen = [got[kind]![place]!, ...elements.map((k) => found[k]!)];
        // Compared as the likeliest, so that a failure shows what was expected.
        const match = tried.find((t) => t.every((v, k) => Object.is(v, seen[k]))) ?? tried[0];
        expect([kind, place, seen]).toEqual([kind, place, match]);
      }
    });
    if (!isInt(dtype)) return;
    const found = await run(bits, { x: [dtype, x], and: init, or: init, xor: init, N });
    for (const kind of ["and", "or", "xor"] as const) {
      const end = [...start];
      x.slice(0, -1).forEach((v, k) => {
        end[k % 4] = binary(kind, dtype, end[k % 4]!, v)!;
      });
      expect([kind, found[kind]]).toEqual([kind, end]);
    }
  });

  it.each(["i32", "u8", "f32", "f16", "i64"] as const)("many programs add to one %s", async (dtype) => {
    const [n, B, grid] = [1000, 32, 64];
    const ones = Array.from({ length: n }, (_, i) => (i % 4 === 0 ? 1 : 0));
    const typed = (v: number): V => (dtype === "i64" ? BigInt(v) : v);
    const got = await run(counting, { x: [dtype, ones.map(typed)], y: room(4, dtype), n, B }, [grid]);
    expect(got["y"]!.map(Number)).toEqual([250, 250, 0, 1]);
  });
});
