// Properties of every element-wise operator of the table: whatever the shapes, strides and broadcasting, each element is
// what the operator gives for row-major operands of the whole shape, for NaN, infinities and the ends of the dtype too.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import "../src/chips/index.js";
import "../src/ops/index.js";
import { loadChip, scope, setDefaultChip } from "../src/runtime/index.js";
import {
  broadcastShapes,
  callOperator,
  type OperatorInfo,
  operators,
  Tensor,
  tensor,
} from "../src/tensor/index.js";

const CHIP = "wasm";
const EXTREMES = [0, -0, 1, -1, 0.5, 1e-45, -1e-38, 3.4028234663852886e38, -3.4e38, Infinity, -Infinity, Number.NaN]; // biome-ignore format: a table

/** Operators of `count` tensors and nothing else that has to be given. */
const ofTensors = (count: number): OperatorInfo[] =>
  [...operators().values()].filter((info) => {
    const { args, returns } = info.schema;
    const tensors = args.filter((a) => a.type.kind === "Tensor" && !a.type.list && !a.type.optional);
    const rest = args.filter((a) => !tensors.includes(a));
    return (
      info.stage === "stable" &&
      info.writes.length === 0 &&
      info.viewOf < 0 &&
      info.random === false &&
      tensors.length === count &&
      rest.every((a) => a.default !== undefined) &&
      returns.length === 1
    );
  });

interface Operand {
  readonly shape: readonly number[];
  readonly order: readonly number[];
  readonly steps: readonly number[];
  readonly values: readonly number[];
}

/** A tensor of a shape whose dimensions lie in memory in some order, with gaps. */
function laid({ shape, order, steps, values }: Operand): Tensor {
  const stored = order.map((d) => shape[d]! * steps[d]!);
  const whole = tensor(
    Float32Array.from({ length: stored.reduce((n, m) => n * m, 1) }, (_, i) => values[i % values.length]!),
    { shape: stored, dtype: "f32" },
  );
  const back = order.map((_, d) => order.indexOf(d));
  let t = whole.permute(back);
  shape.forEach((_, d) => {
    t = t.slice(d, 0, null, steps[d]!);
  });
  return t;
}

const operand = (shape: readonly number[]): fc.Arbitrary<Operand> =>
  fc.record({
    shape: fc.constant(shape),
    order: fc.shuffledSubarray(
      shape.map((_, d) => d),
      { minLength: shape.length },
    ),
    steps: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: shape.length, maxLength: shape.length }),
    values: fc.array(fc.oneof(fc.constantFrom(...EXTREMES), fc.float({ min: -4, max: 4 })), {
      minLength: 7,
      maxLength: 7,
    }),
  });
const shapes = fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 4 });
/** A shape that broadcasts to another: leading dimensions may be missing, others be 1. */
const narrower = (shape: readonly number[]): fc.Arbitrary<number[]> =>
  fc
    .tuple(fc.integer({ min: 0, max: shape.length }), fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }))
    .map(([skip, ones]) => shape.slice(skip).map((n, i) => (ones[i] ? 1 : n)));

const bits = async (t: Tensor): Promise<string> =>
  [...(await t.data())].map((v) => (Object.is(v, -0) ? "-0" : String(v))).join();

async function agree(info: OperatorInfo, inputs: readonly Tensor[]): Promise<void> {
  const shape = inputs.reduce<readonly number[]>((s, t) => broadcastShapes(s, t.shape), []);
  const rest = info.schema.args.slice(inputs.length).map((a) => a.default ?? null);
  const got = callOperator(info.name, ...inputs, ...rest);
  const whole = inputs.map((t) => callOperator("clone", t.expand([...shape])) as Tensor);
  const want = callOperator(info.name, ...whole, ...rest);
  if (!(got instanceof Tensor) || !(want instanceof Tensor)) return;
  expect(got.shape).toEqual(shape);
  expect(await bits(got)).toBe(await bits(want));
}

/** Whether the operator works element by element on f32, as far as one call shows. */
async function isElementwise(info: OperatorInfo, count: number): Promise<boolean> {
  await loadChip(CHIP);
  await setDefaultChip(CHIP);
  const ones = Array.from({ length: count }, () =>
    tensor(Float32Array.from([0.25, 0.5, 0.25, 0.5, 0.25, 0.5]), { shape: [2, 3] }),
  );
  try {
    const y = callOperator(
      info.name,
      ...ones,
      ...info.schema.args.slice(count).map((a) => a.default ?? null),
    );
    if (y instanceof Promise) await y;
    if (!(y instanceof Tensor) || y.shape.join() !== "2,3") return false;
    // Lengths of 1 and tensors without dimensions are nothing special.
    for (const shape of [[], [1, 1]]) {
      const one = ones.map(() => tensor(Float32Array.of(0.5), { shape }));
      const z = callOperator(
        info.name,
        ...one,
        ...info.schema.args.slice(count).map((a) => a.default ?? null),
      );
      if (!(z instanceof Tensor) || z.shape.join() !== shape.join()) return false;
    }
    // Elements that are equal stay equal: nothing is sorted, summed up along a line or moved.
    const v = [...(await y.data())].map(String);
    return (
      v[0] === v[2] &&
      v[0] === v[4] &&
      v[1] === v[3] &&
      v[1] === v[5] &&
      !/sort|flip|roll|softm|^t$|cum/.test(info.name)
    );
  } catch {
    return false;
  }
}

for (const count of [1, 2]) {
  const list: OperatorInfo[] = [];
  for (const info of ofTensors(count)) if (await isElementwise(info, count)) list.push(info);
  describe(`element-wise operators of ${count} tensor${count === 1 ? "" : "s"}`, () => {
    it("are found in the table", () => {
      expect(list.length).toBeGreaterThan(count === 1 ? 60 : 30);
    });
    it.each(list.map((info) => [info.name, info] as const))("%s", async (_name, info) => {
      const inputs = shapes.chain(
        (shape): fc.Arbitrary<Operand[]> =>
          count === 1 ? fc.tuple(operand(shape)) : fc.tuple(operand(shape), narrower(shape).chain(operand)),
      );
      await fc.assert(
        fc.asyncProperty(inputs, async (operands) => {
          await scope(async () => agree(info, operands.map(laid)));
        }),
        { numRuns: 12, seed: 7 },
      );
    });
  });
}
