// What kernels mean: statements and expressions, by the values that kernels leave in memory.

import { describe, expect, it } from "vitest";
import { bf16, bool, constexpr, dim, f32, helper, i32, i64, ptr, u32 } from "./markers.js";
import { type Data, kernel, run } from "./testing/build.js";

const zeros = (n: number, dtype: Data[0] = "i32"): Data => [
  dtype,
  new Array<number | bigint>(n).fill(dtype.endsWith("64") && dtype !== "f64" ? 0n : 0),
];

describe("control flow", () => {
  it("if, else if, else join what they assign", () => {
    const k = kernel({ y: ptr, n: i32 }, ({ y, n }, tl) => {
      let a = 1;
      let b = 10;
      if (n < 0) a = 2;
      else if (n === 0) {
        a = 3;
        b = a * 7;
      } else b = n;
      tl.store(y, a);
      tl.store(y + 1, b);
    });
    expect(run(k, { y: zeros(2), n: -5 })["y"]).toEqual([2, 10]);
    expect(run(k, { y: zeros(2), n: 0 })["y"]).toEqual([3, 21]);
    expect(run(k, { y: zeros(2), n: 9 })["y"]).toEqual([1, 9]);
  });

  it("returns early, also from nested blocks, with values in helpers", () => {
    const sign = helper((tl, v: number) => {
      if (v > 0) return 1;
      if (v < 0) return -1;
      tl.staticAssert(true);
      return 0;
    });
    const k = kernel({ y: ptr, n: i32, sign }, ({ y, n, sign }, tl) => {
      tl.store(y, sign(n));
      if (n > 100) {
        tl.store(y + 1, 1);
        if (n > 200) return;
        tl.store(y + 1, 2);
      } else if (n < -100) return;
      tl.store(y + 2, 3);
    });
    expect(run(k, { y: zeros(3), n: 0 })["y"]).toEqual([0, 0, 3]);
    expect(run(k, { y: zeros(3), n: 150 })["y"]).toEqual([1, 2, 3]);
    expect(run(k, { y: zeros(3), n: 300 })["y"]).toEqual([1, 1, 0]);
    expect(run(k, { y: zeros(3), n: -150 })["y"]).toEqual([-1, 0, 0]);
  });

  it("lazy && || ?: guard loads and stores; on masks they are element-wise", () => {
    const k = kernel({ x: ptr, y: ptr, n: i32 }, ({ x, y, n }, tl) => {
      const at = tl.arange(0, 4);
      const first = n > 0 ? tl.load(x) : -1;
      tl.store(y, first);
      n > 2 && tl.load(x + 2) > 0 ? tl.store(y + 1, 1) : tl.store(y + 1, 2);
      const m = (at > 0 && at < 3) || at === 3;
      tl.store(y + 2 + at, !m ? 7 : at, at < n);
    });
    // An empty buffer: any load would be outside of it.
    expect(run(k, { x: zeros(0), y: zeros(6), n: 0 })["y"]).toEqual([-1, 2, 0, 0, 0, 0]);
    expect(run(k, { x: ["i32", [4, 5, 6]], y: zeros(6), n: 3 })["y"]).toEqual([4, 1, 7, 1, 2, 0]);
  });

  it("for, for of range, while, do while, nested loops with carried tiles", () => {
    const k = kernel({ y: ptr, n: i32, B: constexpr }, ({ y, n, B }, tl) => {
      const at = tl.arange(0, B);
      let acc = 0;
      for (let i = 0; i < n; i++) {
        let inner = 0;
        for (const j of tl.range(0, i, 2)) inner += j;
        acc += at * inner;
      }
      tl.store(y + at, acc);
      let steps = 0;
      let v = n;
      while (v !== 1) {
        v = v % 2 === 0 ? tl.floorDiv(v, 2) : 3 * v + 1;
        steps++;
      }
      tl.store(y + B, steps);
      let d = 0;
      do d += 2;
      while (d < n);
      tl.store(y + B + 1, d);
      let down = 0;
      for (let i = n; i >= 0; i -= 3) down = down * 10 + i;
      tl.store(y + B + 2, down);
      let count = n;
      let turns = 0;
      while (count--) turns += 1;
      tl.store(y + B + 3, turns);
    });
    let acc = 0;
    for (let i = 0; i < 7; i++) for (let j = 0; j < i; j += 2) acc += j;
    const out = run(k, { y: zeros(6), n: 7, B: 2 })["y"];
    expect(out).toEqual([0, acc, 16, 8, 741, 7]);
  });

  it("constexpr conditions and static ranges fold; lists and destructuring are compile-time", () => {
    const k = kernel(
      { y: ptr, n: i32, FLAG: constexpr.bool, LIST: constexpr.list },
      ({ y, n, FLAG, LIST }, tl) => {
        let total = FLAG ? n : 0;
        for (const i of tl.staticRange(3)) total += LIST[i]! * (i + 1);
        for (const w of LIST) total += w;
        let [a, b] = [n, total];
        [a, b] = [b, a];
        const { length } = LIST;
        if (!FLAG) tl.store(y, n * 0.5);
        tl.store(y + 1, a);
        tl.store(y + 2, b);
        tl.store(y + 3, length);
      },
    );
    expect(run(k, { y: zeros(4), n: 4, FLAG: true, LIST: [1, 2, 3] })["y"]).toEqual([0, 24, 4, 3]);
    expect(() => run(k, { y: zeros(4), n: 4, FLAG: false, LIST: [1, 2, 3] })).toThrow(/tl\.cast/);
  });

  it("pointers move in loops and branches", () => {
    const k = kernel({ x: ptr, y: ptr, n: i32 }, ({ x, y, n }, tl) => {
      let p = x;
      if (n > 2) p = p + 1;
      let sum = 0;
      for (let i = 0; i < n; i++) {
        sum += tl.load(p);
        p += 2;
      }
      tl.store(y, sum);
      tl.store(y + 1, tl.load(p - 2));
    });
    const x: Data = ["f32", [1, 2, 4, 8, 16, 32, 64, 128]];
    expect(run(k, { x, y: zeros(2, "f32"), n: 2 })["y"]).toEqual([5, 4]);
    expect(run(k, { x, y: zeros(2, "f32"), n: 3 })["y"]).toEqual([42, 32]);
  });

  it("helpers use helpers and constants that they declare; functions inside a body see its variables", () => {
    const double = helper((_tl, v) => v + v);
    const quad = helper({ double }, (tl, v: number, times: number = 1) => tl.double(tl.double(v)) * times);
    const k = kernel({ y: ptr, n: i32, quad }, ({ y, n, quad }, tl) => {
      let calls = 0;
      const put = (at: number, v: number) => {
        calls++;
        tl.store(y + at, v);
        n += 0;
      };
      put(0, quad(n));
      put(1, quad(n, 10));
      for (let i = 0; i < n; i++) put(2, i);
      tl.store(y + 3, calls);
    });
    expect(run(k, { y: zeros(4), n: 3 })["y"]).toEqual([12, 120, 2, 5]);
  });
});

describe("types", () => {
  it("literals take the other operand's dtype; loop variables their update's", () => {
    const k = kernel({ x: ptr, y: ptr, n: i32 }, ({ x, y, n }, tl) => {
      let m = -Infinity;
      let s = 0;
      for (let i = 0; i < n; i++) {
        const v = tl.load(x + i);
        m = tl.maximum(m, v);
        s += v * 0.5;
      }
      tl.store(y, m);
      tl.store(y + 1, s);
    });
    // In f16, 2048 + 1 is 2048: the sum shows the dtype that the loop carries.
    expect(run(k, { x: ["f16", [4096, 2, 3]], y: zeros(2, "f32"), n: 3 })["y"]).toEqual([4096, 2050]);
    expect(run(k, { x: ["f64", [1e300, 2, 3]], y: zeros(2, "f64"), n: 3 })["y"]).toEqual([1e300, 5e299]);
  });

  it("integer division and shifts", () => {
    const k = kernel({ x: ptr, y: ptr, d: i32 }, ({ x, y, d }, tl) => {
      const at = tl.arange(0, 4);
      const v = tl.load(x + at);
      tl.store(y + at, tl.floorDiv(v, d));
      tl.store(y + 4 + at, tl.cdiv(v, d));
      tl.store(y + 8 + at, v % d);
      tl.store(y + 12 + at, v >> 1);
      tl.store(y + 16 + at, v >>> 28);
    });
    const v = [-7, -6, 6, 7];
    expect(run(k, { x: ["i32", v], y: zeros(20), d: 3 })["y"]).toEqual([
      ...v.map((a) => Math.floor(a / 3)),
      ...v.map((a) => Math.ceil(a / 3) + 0),
      ...v.map((a) => (a % 3) + 0),
      ...v.map((a) => a >> 1),
      ...v.map((a) => a >>> 28),
    ]);
    expect(run(k, { x: ["i32", v], y: zeros(20), d: -3 })["y"]!.slice(0, 8)).toEqual([
      ...v.map((a) => Math.floor(a / -3)),
      ...v.map((a) => Math.ceil(a / -3) + 0),
    ]);
    const division = kernel({ y: ptr, n: u32 }, ({ y, n }, tl) => {
      tl.store(y, tl.floorDiv(n, 2));
      tl.store(y + 1, tl.div(n, 2));
    });
    expect(run(division, { y: zeros(2, "f64"), n: 4294967295 })["y"]).toEqual([2147483647, 2147483648]);
  });

  it("all kinds of scalars, and 64-bit offsets and constants", () => {
    const k = kernel({ y: ptr, a: i64, b: bool, c: bf16, d: dim, e: f32 }, ({ y, a, b, c, d, e }, tl) => {
      tl.store(y + a, tl.cast(b, tl.i32) + d);
      tl.store(y + 1, b ? c + e : 0);
      tl.store(y + 2, a > 4294967296 ? 1 : 2);
    });
    expect(run(k, { y: zeros(3, "f32"), a: 0n, b: 1, c: 1.5, d: 4, e: 0.25 })["y"]).toEqual([5, 1.75, 2]);
  });

  it("reductions, scans, shapes and dot", () => {
    const k = kernel({ x: ptr, y: ptr }, ({ x, y }, tl) => {
      const i = tl.arange(0, 2);
      const j = tl.arange(0, 4);
      const v = tl.load(x + tl.col(i) * 4 + tl.row(j));
      tl.store(y + i, tl.sum(v, 1));
      tl.store(y + 2 + j, tl.max(v, 0));
      tl.store(y + 6, tl.sum(v));
      tl.store(y + 7 + i, tl.argmin(v, -1));
      tl.store(y + 9 + j, tl.cumsum(tl.load(x + j), 0, { reverse: true }));
      tl.store(y + 13 + tl.col(i) * 2 + tl.row(i), tl.dot(v, tl.trans(v)));
      tl.store(y + 17 + tl.arange(0, 8), tl.reshape(tl.trans(v), 8));
    });
    const x = [3, 1, 2, 5, 4, 8, 0, 7];
    expect(run(k, { x: ["f32", x], y: zeros(25, "f32") })["y"]).toEqual([
      11, 19, 4, 8, 2, 7, 30, 1, 2, 11, 8, 7, 5, 39, 55, 55, 129, 3, 4, 1, 8, 2, 0, 5, 7,
    ]);
  });

  it("NaN in max and maximum", () => {
    const k = kernel({ x: ptr, y: ptr }, ({ x, y }, tl) => {
      const v = tl.load(x + tl.arange(0, 4));
      tl.store(y, tl.max(v, 0));
      tl.store(y + 1, tl.max(v, 0, { propagateNan: true }));
      tl.store(y + 2 + tl.arange(0, 4), tl.maximum(v, 2));
      tl.store(y + 6 + tl.arange(0, 4), tl.clamp(v, 0, 2, { propagateNan: true }));
    });
    const out = run(k, { x: ["f32", [1, Number.NaN, 3, -1]], y: zeros(10, "f32") })["y"];
    expect(out).toEqual([3, Number.NaN, 2, 2, 3, 2, 1, Number.NaN, 2, 0]);
  });
});

describe("what minifiers and old compilers write", () => {
  it("var, sequences, assignments as values, conditions with effects", () => {
    const k = kernel({ y: ptr, n: i32 }, ({ y, n }, tl) => {
      // biome-ignore-start lint: what a minifier writes
      var a, b;
      (a = b = n), (a += 1), tl.store(y, a);
      for (var i = 0, s = 0; i < n; ) (s += i), i++;
      tl.store(y + 1, s), tl.store(y + 2, i);
      let c = n;
      while ((c -= 2) > 0) b += c;
      tl.store(y + 3, b);
      n > 3 || (b = 100), n > 3 && n < 9 && (b = 200), tl.store(y + 4, b);
      if (!0) {
        var late: number | undefined = 5;
      }
      tl.store(y + 5, void 0 === late ? -1 : late);
      let w = 0;
      (w ||= 7), (w &&= w + 1), tl.store(y + 6, w);
      // biome-ignore-end lint: what a minifier writes
    });
    const plain = (n: number) => {
      let b = n;
      for (let c = n - 2; c > 0; c -= 2) b += c;
      const last = n > 3 ? (n < 9 ? 200 : b) : 100;
      return [n + 1, (n * (n - 1)) / 2, n, b, last, 5, 8];
    };
    for (const n of [1, 6, 20]) expect(run(k, { y: zeros(7), n })["y"]).toEqual(plain(n));
  });

  it("nested loops find the types of literals through each other", () => {
    const k = kernel({ x: ptr, y: ptr, n: i32 }, ({ x, y, n }, tl) => {
      let best = -1;
      let where = 0;
      let total = 0;
      for (const i of tl.range(0, n)) {
        let run = 0;
        for (const j of tl.range(0, 4)) {
          run += tl.load(x + i * 4 + j);
          if (run > best) {
            best = run;
            where = i;
          }
        }
        total = total * 0.5 + run;
      }
      tl.store(y, best);
      tl.store(y + 1, where);
      tl.store(y + 2, total);
    });
    const x = [1, 2, -1, 0, 5, -3, 4, 4, 2, 2, 2, 2];
    expect(run(k, { x: ["f32", x], y: zeros(3, "f64"), n: 3 })["y"]).toEqual([10, 1, 13.5]);
  });

  it("lists of carried values, and values that only live in a turn", () => {
    const k = kernel({ y: ptr, n: i32 }, ({ y, n }, tl) => {
      let pair = [0, 1];
      let scratch: number | undefined;
      for (const i of tl.range(0, n)) {
        scratch = i * 0;
        pair = [pair[1]!, pair[0]! + pair[1]! + scratch];
      }
      tl.store(y, pair[0]!);
      tl.store(y + 1, pair[1]!);
    });
    expect(run(k, { y: zeros(2), n: 10 })["y"]).toEqual([55, 89]);
  });

  it("atomics return the old values", () => {
    const k = kernel({ x: ptr, y: ptr, n: i32 }, ({ x, y, n }, tl) => {
      const at = tl.arange(0, 4);
      tl.store(y + at, tl.atomicAdd(x + at * 0, at, at < n));
      tl.atomicMax(x + 1, 9);
      tl.atomicXor(x + 2, 5, n > 100);
      tl.store(y + 4, tl.atomicCas(x + 3, 4, 40));
      tl.store(y + 5, tl.atomicXchg(x + 3, 7));
    });
    const out = run(k, { x: ["i32", [10, 2, 3, 4]], y: zeros(6), n: 3 });
    expect(out["x"]).toEqual([13, 9, 3, 7]);
    expect(out["y"]).toEqual([10, 10, 11, 0, 4, 40]);
  });
});
