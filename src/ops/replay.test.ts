// Operators that are replayed give the same bits as when they run anew, on every chip of this machine: other data, views
// that begin elsewhere, one tensor given twice.

import { beforeAll, describe, expect, it } from "vitest";
import "../chips/index.js";
import { shorten, testedChips } from "../../test/chips.js";
import { setDefaultChip } from "../runtime/index.js";
import { callOperator, operators, type Tensor, tensor, withInterceptor } from "../tensor/index.js";
import "./index.js";

let seed = 1;
function noise(shape: readonly number[]): Tensor {
  const count = shape.reduce((a, b) => a * b, 1);
  const values = Float32Array.from({ length: count }, () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
    return (seed >>> 8) / 2 ** 23 - 1;
  });
  return tensor(values, { shape });
}
const whole = (shape: readonly number[], below: number): Tensor =>
  (callOperator("_to_copy", noise(shape), { dtype: "i64" }) as Tensor).mul(0).add(below - 1);

/** Makes the arguments of a call anew: other numbers of the same layouts. */
const CALLS: readonly (readonly [name: string, make: () => unknown[]])[] = [
  ["add.Tensor", () => [noise([5, 7]), noise([7]), { alpha: 2 }]],
  ["mul.Tensor", () => [noise([40, 30]).t(), noise([30, 40])]],
  ["sub.Tensor", () => [noise([9]), 0.5]],
  ["exp", () => [noise([3, 100]).narrow(1, 4, 90)]],
  ["gelu", () => [noise([2, 2, 2, 2])]],
  ["where.self", () => [callOperator("gt.Tensor", noise([6]), 0), noise([6]), noise([1])]],
  ["mm", () => [noise([16, 20]), noise([20, 8])]],
  ["mm", () => [noise([20, 16]).t(), noise([8, 20]).t()]],
  ["bmm", () => [noise([2, 5, 6]), noise([2, 6, 7])]],
  ["vexil::linear_product", () => [noise([2, 3, 64]), noise([48, 64])]],
  ["sum.dim_IntList", () => [noise([6, 50]), [1], true]],
  ["sum.dim_IntList", () => [noise([3000])]],
  ["mean.dim", () => [noise([4, 5, 6]), [0, 2]]],
  ["amax", () => [noise([7, 9]), [0]]],
  ["argmax", () => [noise([7, 9]), 1]],
  ["max.dim", () => [noise([7, 9]), 1]],
  ["softmax.int", () => [noise([4, 33]), -1]],
  ["log_softmax.int", () => [noise([33, 4]), 0]],
  ["vexil::layer_norm_rows", () => [noise([6, 32]), [32], noise([32]), null, 1e-5]],
  ["rms_norm", () => [noise([6, 32]), [32], noise([32]), 1e-6]],
  ["gather", () => [noise([5, 6]), 1, whole([5, 2], 3)]],
  ["index_select", () => [noise([5, 6]), 0, whole([4], 2)]],
  ["cumsum", () => [noise([5, 60]), 1]],
  ["sort", () => [noise([3, 50]), 0, true]],
  ["sort", () => [noise([2, 2500]), 1, false]],
  ["topk", () => [noise([2, 5000]), 8]],
  ["tril", () => [noise([9, 9]), -1]],
  ["clone", () => [noise([9, 8]).t()]],
  ["_to_copy", () => [noise([9, 8]), { dtype: "f16" }]],
];

const list = (x: unknown): Tensor[] => (Array.isArray(x) ? x : [x]) as Tensor[];
const bytesOf = async (x: unknown): Promise<number[][]> =>
  Promise.all(list(x).map(async (t) => [...(await t.bytes())]));

for (const { name: chip, title, missing } of testedChips)
  describe.skipIf(missing !== undefined)(title, () => {
    beforeAll(() => setDefaultChip(chip));
    shorten(chip);

    it.each(CALLS)("%s", async (name, make) => {
      expect(operators().get(name)!.replays).not.toBeNull();
      for (let i = 0; i < 4; i++) {
        const args = make();
        const got = callOperator(name, ...args);
        const anew = withInterceptor(
          (_op, _args, next) => next(),
          () => callOperator(name, ...args),
        );
        const facts = (x: unknown) => list(x).map((t) => [t.shape, t.strides, t.dtype, t.ownsStorage]);
        expect(facts(got)).toEqual(facts(anew));
        expect(await bytesOf(got)).toEqual(await bytesOf(anew));
      }
    });

    it("takes one tensor twice, and parts of one memory", async () => {
      const x = noise([8, 8]);
      for (const [a, b] of [
        [noise([4, 8]), noise([4, 8])],
        [x.narrow(0, 0, 4), x.narrow(0, 4, 4)],
        [x.narrow(0, 2, 4), x.narrow(0, 2, 4)],
      ] as const) {
        const want = Array.from(await a.data(), Number);
        const other = Array.from(await b.data(), Number);
        expect(await a.add(b).data()).toEqual(Float32Array.from(want, (v, i) => v + other[i]!));
        expect(await a.add(a).data()).toEqual(Float32Array.from(want, (v) => v + v));
      }
    });
  });

it("is refused for operators that are made of others", () => {
  for (const op of operators().values()) if (op.replays !== null) expect(op.gradient).not.toBe("composite");
});
