// Matrix products through a vendor's library against the operator's own kernel, and the policy that chooses.

import { afterEach, beforeAll, describe, expect, it } from "vitest";
import "../chips/index.js";
import {
  capture,
  type Chip,
  listChips,
  loadChip,
  setDefaultChip,
  setVendorPolicy,
} from "../runtime/index.js";
import { type OperatorRecord, type Tensor, tensor, useOps } from "../tensor/index.js";
import "./index.js";
import { bmm, mm } from "./matmul.js";
import { numbers } from "./testing/chips.js";

const probe = await listChips()
  .find((c) => c.name === "cpu")!
  .probe();
const has = probe.available && probe.vendor !== undefined;
const missing = probe.available ? "OpenBLAS" : `the cpu chip: ${probe.found}`;

const whole = (shape: number[], dtype: "f32" | "f64" = "f32"): Tensor =>
  tensor(
    Array.from({ length: shape.reduce((x, y) => x * y, 1) }, (_, i) => ((i * 7) % 17) - 8),
    { shape, dtype, device: "cpu" },
  );
const used = (fn: () => unknown): string[] => {
  const record: OperatorRecord[] = [];
  useOps({ record }, fn);
  return record.filter((r) => /^b?mm/.test(r.operator)).map((r) => r.implementation);
};

afterEach(() => setVendorPolicy(undefined));

it("knows its policies", () => {
  expect(() => setVendorPolicy("sometimes" as "on")).toThrow(/must be off, on, measured; not "sometimes"/);
});

describe.skipIf(!has)(has ? "the vendor's matmul" : `the vendor's matmul (missing: ${missing})`, () => {
  let chip: Chip;
  beforeAll(async () => {
    await setDefaultChip("cpu");
    chip = await loadChip("cpu");
  });

  const both = async (fn: () => Tensor): Promise<void> => {
    setVendorPolicy("off");
    expect(used(fn)).toEqual(["vexil"]);
    const own = fn();
    setVendorPolicy("on");
    expect(used(fn)).toEqual(["vendor"]);
    const theirs = fn();
    expect(theirs.shape).toEqual(own.shape);
    expect(await numbers(theirs)).toEqual(await numbers(own));
  };

  it.each(["f32", "f64"] as const)("computes what the kernel computes: %s, any layout", async (d) => {
    for (const [M, K, N] of [
      [1, 1, 1],
      [1, 7, 5],
      [6, 1, 4],
      [33, 40, 17],
    ] as const) {
      const [a, b] = [whole([M, K], d), whole([K, N], d)];
      const [at, bt] = [whole([K, M], d).t(), whole([N, K], d).t()];
      for (const [x, y] of [
        [a, b],
        [at, b],
        [a, bt],
        [at, bt],
      ] as const)
        await both(() => mm(x, y));
    }
  });

  it("computes on parts of larger matrices, and batches", async () => {
    const [a, b] = [whole([20, 30]).slice(1, 3, 28), whole([40, 50]).slice(0, 5, 30).slice(1, 2, 12)];
    await both(() => mm(a, b));
    await both(() => bmm(whole([3, 4, 5]), whole([3, 6, 5]).transpose(1, 2)));
    await both(() => bmm(whole([1, 4, 5]).expand([3, 4, 5]), whole([3, 5, 6])));
  });

  it("leaves to the kernel what the library cannot take", () => {
    setVendorPolicy("on");
    const wide = whole([8, 16]).slice(1, 0, 16, 2);
    expect(used(() => mm(wide, whole([8, 4])))).toEqual(["vexil"]);
    expect(used(() => mm(whole([4, 0]), whole([0, 4])))).toEqual(["vexil"]);
    expect(() => mm(whole([2, 3]), whole([2, 3]))).toThrow(/do not fit/);
  });

  it("stays out of captured graphs, which repeat launches alone", async () => {
    setVendorPolicy("on");
    const [a, b] = [whole([8, 8]), whole([8, 8])];
    const want = await numbers(mm(a, b));
    mm(a, b);
    const graph = capture(() => mm(a, b));
    graph.replay();
    expect(await numbers(graph.result)).toEqual(want);
    graph.dispose();
  });

  it("is used by measurement only where it won", () => {
    setVendorPolicy("measured");
    // Too small to be measured.
    expect(used(() => mm(whole([8, 8]), whole([8, 8])))).toEqual(["vexil"]);
    const first = used(() => mm(whole([256, 256]), whole([256, 256])));
    const again = used(() => mm(whole([256, 256]), whole([256, 256])));
    expect(again).toEqual(first);
    expect(chip.vendor!.matmul!.name).toBe("openblas");
  });
});
