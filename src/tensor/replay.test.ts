// Calls that are written down and made again: which are, which are not, and that both do the same.

import { afterEach, describe, expect, it } from "vitest";
import { constexpr, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/define.js";
import { observe } from "../runtime/observe.js";
import { defaultChip } from "../runtime/registry.js";
import { setTuning } from "../runtime/tuning-table.js";
import { keep as keepStorage, memoryStats, scope } from "../runtime/index.js";
import {
  emptyLike,
  operator,
  type OperatorRecord,
  setDefaultDType,
  type Tensor,
  tensor,
  useOps,
} from "./index.js";
import "./testing/host-ops.js";

const plus = kernel(
  { x: ptr, y: ptr, out: ptr, n: i32, by: i32, BLOCK: constexpr },
  ({ x, y, out, n, by, BLOCK }, tl) => {
    const at = tl.arange(0, BLOCK);
    tl.store(out + at, tl.load(x + at, at < n) + by * tl.load(y + at, at < n), at < n);
  },
  "plus",
);

/** How often the operators below ran on the host. */
let runs = 0;
afterEach(() => {
  runs = 0;
});

function launch(x: Tensor, y: Tensor, out: Tensor, by: number): Tensor {
  plus.launch([1], { x, y, out, n: x.numel, by, BLOCK: 16 });
  return out;
}

type Plus = (self: Tensor, other: Tensor, by?: number, dims?: number[]) => Tensor;
const declare = (name: string, run: (x: Tensor, y: Tensor, by: number) => unknown) =>
  operator<Plus>({
    schema: `${name}(Tensor self, Tensor other, int by=1, int[] dims=[]) -> Tensor`,
    replay: true,
    derivative: "none",
    run: (...[x, y, by]: unknown[]) => {
      runs++;
      return run(x as Tensor, y as Tensor, by as number);
    },
  });

const simple = declare("replay_simple", (x, y, by) => launch(x, y, emptyLike(x), by));
const throughMemory = declare("replay_memory", (x, y, by) => {
  const between = launch(x, y, emptyLike(x), by);
  const out = launch(between, y, emptyLike(x), by);
  between.dispose();
  return out;
});
const writesHostData = declare("replay_host", (x, y) => launch(x, f(5, 5, 5), emptyLike(y), 1));
let kept: Tensor | undefined;
const keepsState = declare("replay_state", (x, y, by) => {
  if (kept === undefined) {
    kept = launch(x, x, emptyLike(x), 1);
    keepStorage(kept.storage);
  }
  return launch(kept, y, emptyLike(x), by);
});
const givesInput = declare("replay_input", (x) => x);

const f = (...data: number[]): Tensor => tensor(Float32Array.from(data));
const a = f(1, 2, 3);
const b = f(10, 20, 30);

describe("a call of a kind that was made before", () => {
  it("runs once on the host and computes anew", () => {
    expect([simple(a, b), simple(b, a), simple(a, b)].map((t) => [...t.dataSync()])).toEqual([
      [11, 22, 33],
      [11, 22, 33],
      [11, 22, 33],
    ]);
    expect(simple(f(5, 5, 5), f(1, 2, 3)).dataSync()).toEqual(Float32Array.of(6, 7, 8));
    expect(runs).toBe(1);
  });

  it("is of another kind with other shapes, strides, dtypes, numbers, lists", () => {
    const wide = f(1, 0, 2, 0, 3, 0).slice(0, 0, 6, 2);
    expect([simple(a, b, 2), simple(a, b, 3), simple(a, b, 2)].map((t) => t.dataSync()[0])).toEqual([
      21, 31, 21,
    ]);
    expect(runs).toBe(2);
    simple(f(1), f(2));
    simple(wide, b);
    simple(a.view(3, 1), b.view(3, 1));
    simple(a, b, 2, [1]);
    simple(a, b, 2, [2]);
    simple(tensor([1, 2, 3], { dtype: "f64" }), tensor([1, 2, 3], { dtype: "f64" }));
    expect(runs).toBe(8);
    simple(a, b, 2, [1]);
    expect(runs).toBe(8);
  });

  it("tells one tensor given twice from two", () => {
    const [c, d] = [f(1, 1), f(2, 2)];
    const got = [simple(c, c), simple(c, d), simple(d, d), simple(d, c)].map((t) => t.dataSync()[0]);
    expect(got).toEqual([2, 3, 4, 3]);
    expect(runs).toBe(2);
  });

  it("finds its elements in views that begin elsewhere", () => {
    const all = f(...Array.from({ length: 64 }, (_, i) => i));
    const y = f(100, 100, 100, 100);
    // Every fourth is aligned as the first is.
    const got = [0, 4, 8, 9, 13, 5].map((at) => simple(all.narrow(0, at, 4), y, 1).dataSync()[1]);
    expect(got).toEqual([101, 105, 109, 110, 114, 106]);
    expect(runs).toBe(2);
    // Two views of one memory are not written down, but served by what others left.
    expect(simple(all.narrow(0, 4, 4), all.narrow(0, 8, 4)).dataSync()[0]).toBe(12);
  });

  it("takes memory and gives it back as the operator does", () => {
    const before = memoryStats(defaultChip());
    for (let i = 0; i < 4; i++) {
      const t = throughMemory(a, b, 2);
      expect(t.dataSync()).toEqual(Float32Array.of(41, 82, 123));
      expect(memoryStats(defaultChip()).count).toBe(before.count + 1);
      t.dispose();
    }
    expect(runs).toBe(1);
    const inside: Tensor[] = [];
    const out = scope(() => {
      inside.push(throughMemory(a, b, 2));
      return throughMemory(a, b, 2);
    });
    expect([inside[0]!.storage.disposed, out.storage.disposed]).toEqual([true, false]);
    out.dispose();
    expect(memoryStats(defaultChip()).allocated).toBe(before.allocated);
  });

  it("says that memory was freed", () => {
    const c = f(1, 2, 3);
    simple(c, b);
    c.dispose();
    expect(() => simple(c, b)).toThrow(/kernel plus: x: the memory of this tensor/);
  });
});

describe("a call runs anew", () => {
  it.each([
    ["writes host data", writesHostData],
    ["keeps state", keepsState],
    ["gives an argument back", givesInput],
  ])("if the operator %s", (_what, op) => {
    const first = op(a, b);
    const second = op(a, b);
    expect([...second.dataSync()]).toEqual([...first.dataSync()]);
    op(a, b);
    expect(runs).toBe(3);
  });

  it("while launches or operators are watched", () => {
    simple(a, b, 7);
    let seen = 0;
    const stop = observe({
      launch: (_what, run) => {
        seen++;
        run();
      },
    });
    simple(a, b, 7);
    stop();
    const record: OperatorRecord[] = [];
    useOps({ record }, () => simple(a, b, 7));
    expect([runs, seen, record.length]).toEqual([3, 1, 1]);
  });

  it("once after a setting that decides on launches has changed", () => {
    simple(a, b, 8);
    setDefaultDType("f64");
    setDefaultDType("f32");
    simple(a, b, 8);
    setTuning(defaultChip(), []);
    simple(a, b, 8);
    simple(a, b, 8);
    expect(runs).toBe(3);
  });

  it("if nothing is written down because no call comes back", () => {
    for (let i = 0; i < 300; i++) simple(a, b, 100 + i);
    simple(a, b, 5000);
    simple(a, b, 5000);
    expect(simple(a, b, 5000).dataSync()[0]).toBe(50001);
    expect(runs).toBeGreaterThan(300);
  });
});
