// Reductions and scans by functions of the author, on every chip against plain JavaScript.

import { afterAll, describe, expect, it } from "vitest";
import { constexpr, i32, ptr } from "../../src/compiler/lang/index.js";
import { kernel } from "../../src/runtime/index.js";
import { shorten } from "../chips.js";
import { chips, closeAll, numbers, room } from "./run.js";

afterAll(closeAll);

const SHAPES = [
  [1, 1, 1],
  [1, 16, 1],
  [4, 8, 2],
  [2, 64, 4],
  [8, 1, 4],
  [1, 4, 16],
  [3, 1, 1].map((x) => (x === 3 ? 4 : x)),
] as [number, number, number][];

/** The elements of each line along the middle axis. */
const lines = <T>(x: readonly T[], [o, n, i]: readonly number[]): T[][] =>
  Array.from({ length: o! * i! }, (_, k) =>
    Array.from({ length: n! }, (_, j) => x[Math.floor(k / i!) * n! * i! + j * i! + (k % i!)]!),
  );
/** Lines back in their places. */
const placed = <T>(rows: readonly (readonly T[])[], [o, n, i]: readonly number[]): T[] =>
  Array.from({ length: o! * n! * i! }, (_, k) => {
    const [a, b, c] = [Math.floor(k / (n! * i!)), Math.floor(k / i!) % n!, k % i!];
    return rows[a * i! + c]![b]!;
  });

const reductions = kernel(
  { x: ptr, y: ptr, best: ptr, at: ptr, largest: ptr, O: constexpr, N: constexpr, I: constexpr },
  ({ x, y, best, at, largest, O, N, I }, tl) => {
    const from = tl.reshape(tl.arange(0, O * N * I), [O, N, I]);
    const to = tl.reshape(tl.arange(0, O * I), [O, I]);
    const v = tl.load(x + from);
    tl.store(
      y + to,
      tl.reduce(v, 1, (a, b) => a + b - 1),
    );
    const index = tl.broadcastTo(tl.expandDims(tl.col(tl.arange(0, N)), 0), [O, N, I]);
    const [most, where] = tl.reduce([v, index], 1, (a: number, i: number, b: number, j: number) => {
      const left = a < b || (a === b && i > j);
      return [tl.where(left, a, b), tl.where(left, i, j)];
    });
    tl.store(best + to, most!);
    tl.store(at + to, where!);
    const kept = tl.reduce(v, 1, (a, b) => tl.maximum(a, b, { propagateNan: true }), { keepDims: true });
    tl.store(largest + tl.reshape(tl.arange(0, O * I), [O, 1, I]), kept);
  },
);

const scans = kernel(
  {
    x: ptr,
    w: ptr,
    sums: ptr,
    back: ptr,
    state: ptr,
    stateBack: ptr,
    O: constexpr,
    N: constexpr,
    I: constexpr,
  },
  ({ x, w, sums, back, state, stateBack, O, N, I }, tl) => {
    const at = tl.reshape(tl.arange(0, O * N * I), [O, N, I]);
    const v = tl.load(x + at);
    tl.store(
      sums + at,
      tl.associativeScan(v, 1, (a, b) => a + b),
    );
    tl.store(
      back + at,
      tl.associativeScan(v, 1, (a, b) => a + b, { reverse: true }),
    );
    // h = a h + b, which does not commute.
    const recurrence = (a: number, b: number, c: number, d: number) => [a * c, c * b + d];
    const [, h] = tl.associativeScan([tl.load(w + at), v], 1, recurrence);
    tl.store(state + at, h!);
    const [, g] = tl.associativeScan([tl.load(w + at), v], 1, recurrence, { reverse: true });
    tl.store(stateBack + at, g!);
  },
);

const inLoop = kernel({ x: ptr, y: ptr, n: i32, N: constexpr }, ({ x, y, n, N }, tl) => {
  const at = tl.arange(0, N);
  const order = tl.load(x + at);
  let v = tl.cast(at, tl.i32);
  // The order is a tile from outside the loop, the tile is carried through it.
  for (let k = 0; k < n; k++) {
    v = tl.gather(v, order, 0);
    v = tl.associativeScan(v, 0, (a, b) => tl.maximum(a, b)) + tl.flip(order, 0) * 0;
  }
  tl.store(y + at, v);
});

describe.each(chips)("on $name", ({ name, run }) => {
  shorten(name, 3);
  it.each(["f32", "f64", "i32", "i64"] as const)("reduce of %s", async (dtype) => {
    const big = dtype === "i64";
    for (const shape of SHAPES) {
      const [o, n, i] = shape;
      // Few different values, so that ties are common.
      const x = numbers(o * n * i, n).map((v) => (big ? BigInt(Math.trunc(v / 16)) : Math.trunc(v / 16) + 0));
      const got = await run(reductions, {
        x: [dtype, x],
        y: room(o * i, dtype),
        best: room(o * i, dtype),
        at: room(o * i, "i32"),
        largest: room(o * i, dtype),
        O: o,
        N: n,
        I: i,
      });
      const all = lines(x, shape);
      const sum = (l: (number | bigint)[]) => l.reduce((s, v) => Number(s) + Number(v), 0) as number;
      expect(got["y"]!.map(Number)).toEqual(all.map((l) => sum(l) - (n - 1)));
      const least = all.map((l) => [...l].sort((a, b) => Number(a) - Number(b))[0]!);
      expect(got["best"]).toEqual(least);
      expect(got["at"]).toEqual(all.map((l, k) => l.lastIndexOf(least[k]!)));
      expect(got["largest"]).toEqual(all.map((l) => [...l].sort((a, b) => Number(b) - Number(a))[0]));
    }
  });

  it("reduce carries NaN and infinities as its function does", async () => {
    const x = [1, Number.NaN, 3, 4, 5, Number.POSITIVE_INFINITY, 7, 8];
    const got = await run(reductions, {
      x: ["f32", x],
      y: room(2),
      best: room(2),
      at: room(2, "i32"),
      largest: room(2),
      O: 2,
      N: 4,
      I: 1,
    });
    expect(got["y"]).toEqual([Number.NaN, Number.POSITIVE_INFINITY]);
    expect(got["largest"]).toEqual([Number.NaN, Number.POSITIVE_INFINITY]);
  });

  it.each(["f32", "f64", "i32", "i64"] as const)("associativeScan of %s, both ways", async (dtype) => {
    const cast = (v: number) => (dtype === "i64" ? BigInt(v) : v);
    for (const shape of SHAPES) {
      const [o, n, i] = shape;
      const x = numbers(o * n * i, n).map((v) => Math.trunc(v / 16) + 0);
      // Powers of -1 and 0 keep all results exact in every dtype.
      const w = numbers(o * n * i, 9).map((v) => Math.sign(Math.trunc(v / 40)) + 0);
      const size = o * n * i;
      const got = await run(scans, {
        x: [dtype, x.map(cast)],
        w: [dtype, w.map(cast)],
        sums: room(size, dtype),
        back: room(size, dtype),
        state: room(size, dtype),
        stateBack: room(size, dtype),
        O: o,
        N: n,
        I: i,
      });
      const running = (l: number[]) => l.map((_, k) => l.slice(0, k + 1).reduce((s, v) => s + v, 0));
      const turn = <T>(l: T[]) => [...l].reverse();
      const recur = (a: number[], b: number[]) => {
        let h = 0;
        return b.map((v, k) => (h = (k === 0 ? 0 : a[k]! * h) + v));
      };
      const [xs, ws] = [lines(x, shape), lines(w, shape)];
      const expectAll = (name: string, rows: number[][]) =>
        expect(got[name]!.map((v) => Number(v) + 0)).toEqual(placed(rows, shape).map((v) => v + 0));
      expectAll("sums", xs.map(running));
      expectAll(
        "back",
        xs.map((l) => turn(running(turn(l)))),
      );
      expectAll(
        "state",
        xs.map((l, k) => recur(ws[k]!, l)),
      );
      expectAll(
        "stateBack",
        xs.map((l, k) => turn(recur(turn(ws[k]!), turn(l)))),
      );
    }
  });

  it("gather and scan of tiles that a loop carries, and of tiles around it", async () => {
    const order = [3, 0, 2, 1, 7, 7, 5, 4];
    for (const n of [0, 1, 2, 5]) {
      let v = order.map((_, k) => k);
      for (let t = 0; t < n; t++) {
        let most = Number.NEGATIVE_INFINITY;
        v = order.map((k) => v[k]!).map((k) => (most = Math.max(most, k)));
      }
      const got = await run(inLoop, { x: ["i32", order], y: room(8, "i32"), n, N: 8 });
      expect(got["y"]).toEqual(v);
    }
  });
});
