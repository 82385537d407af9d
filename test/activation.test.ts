// Every operator of the table on operands past the sizes at which its fast paths set in (blocks of elements, turned tiles,
// split rows, packed products, sorts by digits), against itself on the plain path: row-major operands against the same
// values with gaps, turned or off their alignment; a few rows alone against the rows of the whole; f32 against f64.

import { describe, expect, it } from "vitest";
import "../src/chips/index.js";
import "../src/ops/index.js";
import { loadChip, scope, setDefaultChip } from "../src/runtime/index.js";
import {
  callOperator,
  type DType,
  type OperatorInfo,
  operators,
  Tensor,
  tensor,
} from "../src/tensor/index.js";

/** `VEXIL_CHIP` takes another. */
const CHIP = process.env["VEXIL_CHIP"] ?? "wasm";
/** Past 512 elements, 1,024 of a row and 64 rows, and no multiple of any block. */
const [ROWS, COLS] = [67, 1031];
/** The edge of matrices that are multiplied: more than a register block and a packed panel, and odd. */
const EDGE = 131;
const FEW = 3;
/** The most elements of a result that is looked at: pairs of all elements would be billions. */
const MOST = 2 ** 21;

/** The dtype and shape of each tensor argument, in order, and what they hold. */
interface Operand {
  readonly shape: readonly number[];
  readonly values: Float64Array;
  readonly dtype: DType;
}

/** Numbers between 0.05 and 0.95, no two of them equal. */
function values(n: number, seed: number): Float64Array {
  const step = 0.9 / n;
  // A stride without a common divisor with n visits every place once.
  let stride = Math.floor(n * 0.618) | 1;
  while (gcd(stride, n) !== 1) stride += 2;
  return Float64Array.from({ length: n }, (_, i) => 0.05 + step * ((i * stride + seed * 7919) % n));
}
const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

const real = (shape: readonly number[], i: number): Operand => ({
  shape,
  values: values(count(shape), i),
  dtype: "f32",
});
const index = (shape: readonly number[], i: number, below: number): Operand => ({
  shape,
  values: Float64Array.from({ length: count(shape) }, (_, k) => ((k + i) * 7919) % below),
  dtype: "i64",
});
const mask = (shape: readonly number[]): Operand => ({
  shape,
  values: Float64Array.from({ length: count(shape) }, (_, k) => Number((k * 7919) % 3 !== 0)),
  dtype: "bool",
});

const isIndex = (name: string): boolean => /^(index|indices|target|labels?|tokens?|experts)$/.test(name);
const isMask = (name: string): boolean => /^(mask|condition)$/.test(name);

/** What the tensor arguments may be, tried in turn: (the argument's name, its place among the tensors) to an operand. */
const KINDS: readonly ((name: string, i: number) => Operand)[] = [
  (name, i) =>
    isMask(name) ? mask([ROWS, COLS]) : isIndex(name) ? index([ROWS, COLS], i, 8) : real([ROWS, COLS], i),
  (name, i) => (isIndex(name) ? index([ROWS], i, 8) : real([ROWS, COLS], i)),
  (_, i) => real(i === 0 ? [ROWS, COLS] : [COLS], i),
  (_, i) => ({ ...index([ROWS, COLS], i, 90), dtype: "i32" }),
  () => mask([ROWS, COLS]),
  (_, i) => real([EDGE, EDGE], i),
  (_, i) => real(i === 0 ? [EDGE, EDGE] : [EDGE], i),
  (_, i) => real(i === 0 ? [EDGE] : [EDGE, EDGE], i),
  (_, i) => real([3, EDGE, EDGE], i),
  (_, i) => real(i === 0 ? [EDGE, EDGE] : [3, EDGE, EDGE], i),
  (_, i) => real([2, 3, EDGE, 16], i),
  // Few enough for all pairs of them.
  (_, i) => real([1111], i),
];

/** A tensor of an operand, laid out in some way. */
type Layout = "row-major" | "turned" | "gaps" | "unaligned";
function laid({ shape, values, dtype }: Operand, layout: Layout, wide: boolean): Tensor {
  const type = wide && dtype === "f32" ? "f64" : dtype;
  const plain = tensor(values, { shape, dtype: type });
  if (layout === "row-major" || shape.length === 0) return plain;
  if (layout === "turned" && shape.length > 1) return plain.transpose(-1, -2).contiguous().transpose(-1, -2);
  if (layout === "gaps") {
    const whole = callOperator("stack", [plain, plain], -1) as Tensor;
    return whole.select(-1, 1);
  }
  const whole = callOperator("cat", [plain.reshape([-1]).narrow(0, 0, 1), plain.reshape([-1])], 0) as Tensor;
  return whole.narrow(0, 1, plain.numel).view([...shape]);
}

interface Call {
  readonly operands: readonly Operand[];
  /** The arguments with the tensors made by `make`. */
  readonly args: (make: (o: Operand, i: number) => Tensor) => unknown[];
}

function plainValue(arg: OperatorInfo["schema"]["args"][number], round: number): unknown {
  if (arg.default !== undefined) return undefined;
  const { kind, list } = arg.type;
  if (kind === "int" && list)
    return /size|shape/.test(arg.name)
      ? [ROWS, COLS]
      : round === 0
        ? [1]
        : /^dims$/.test(arg.name)
          ? [1, 0]
          : [1, 1];
  if (kind === "int") return round === 0 || /dim|axis/.test(arg.name) ? 1 : 2;
  if (kind === "Scalar" || kind === "float") return 0.5;
  if (kind === "bool") return false;
  if (kind === "ScalarType") return "f32";
  if (kind === "str") return "mean";
  return null;
}

/** The place of a tensor argument among the operands; lists take two. */
class Slot {
  constructor(
    readonly at: number,
    readonly list: boolean,
  ) {}
}

/** Ways to call an operator, the likely first. */
function* calls(info: OperatorInfo): Generator<Call> {
  for (const round of [0, 1])
    for (const kind of KINDS) {
      const operands: Operand[] = [];
      const slots = info.schema.args.map((arg) => {
        if (arg.type.kind !== "Tensor" || arg.default !== undefined) return plainValue(arg, round);
        const own = arg.type.list ? 2 : 1;
        const at = operands.length;
        for (let k = 0; k < own; k++) operands.push(kind(arg.name, operands.length));
        return new Slot(at, arg.type.list);
      });
      yield {
        operands,
        args: (make) => {
          const made = operands.map(make);
          const named: Record<string, unknown> = {};
          const args: unknown[] = [];
          info.schema.args.forEach((arg, i) => {
            const slot = slots[i];
            const value =
              slot instanceof Slot ? (slot.list ? made.slice(slot.at, slot.at + 2) : made[slot.at]) : slot;
            if (!arg.keywordOnly) args.push(value);
            else if (value !== undefined) named[arg.property] = value;
          });
          while (args.length > 0 && args.at(-1) === undefined) args.pop();
          return Object.keys(named).length > 0 ? [...args, named] : args;
        },
      };
    }
}

const tensorsOf = (v: unknown): Tensor[] =>
  v instanceof Tensor ? [v] : Array.isArray(v) ? v.flatMap(tensorsOf) : [];

interface Result {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly values: number[];
}

async function run(
  info: OperatorInfo,
  call: Call,
  make: (o: Operand, i: number) => Tensor,
): Promise<Result[]> {
  return scope(async () => {
    const y = await callOperator(info.name, ...call.args(make));
    const results = tensorsOf(y);
    if (results.some((t) => t.numel > MOST)) throw new RangeError("a result is too large to look at");
    return Promise.all(
      results.map(async (t) => ({
        shape: [...t.shape],
        dtype: t.dtype,
        values: Array.from(await t.data(), Number),
      })),
    );
  });
}

/** The first call that the operator takes, with its result on row-major operands. */
async function first(info: OperatorInfo): Promise<{ call: Call; want: Result[] } | undefined> {
  for (const call of calls(info)) {
    if (call.operands.length === 0) return undefined;
    try {
      const want = await run(info, call, (o) => laid(o, "row-major", false));
      if (want.length > 0 && want.every((r) => r.values.length > 0)) return { call, want };
    } catch {
      // The operator wants something else.
    }
  }
  return undefined;
}

/** The worst difference, of the size of the numbers; NaN only fits NaN. */
function apart(got: readonly number[], want: readonly number[]): number {
  if (got.length !== want.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  for (let i = 0; i < got.length; i++) {
    const [a, b] = [got[i]!, want[i]!];
    if (Object.is(a, b) || a === b) continue;
    const d = Math.abs(a - b) / Math.max(1, Math.abs(b));
    worst = Math.max(worst, Number.isNaN(d) ? Number.POSITIVE_INFINITY : d);
  }
  return worst;
}

function expectNear(got: readonly Result[], want: readonly Result[], bound: number, what: string): void {
  expect(
    got.map((r) => r.shape),
    what,
  ).toEqual(want.map((r) => r.shape));
  got.forEach((r, i) => {
    expect(apart(r.values, want[i]!.values), `${what}, result ${i}`).toBeLessThanOrEqual(bound);
  });
}

/** Some of the rows that an operand or a result has. */
const rowsOf = <T extends Operand | Result>(o: T, rows: number, from: number, to: number): T => {
  const width = o.values.length / rows;
  return { ...o, shape: [to - from, ...o.shape.slice(1)], values: o.values.slice(from * width, to * width) };
};

/** Whether the rows of the result come from the same rows of the operands, as a small call shows. */
async function byRows(info: OperatorInfo, call: Call): Promise<boolean> {
  const rows = call.operands[0]!.shape[0]!;
  if (call.operands.some((o) => o.shape[0] !== rows || o.shape.length < 2)) return false;
  const some = (from: number, to: number) => (o: Operand) =>
    laid(rowsOf(o, rows, from, to), "row-major", false);
  try {
    const three = await run(info, call, some(0, 3));
    const two = await run(info, call, some(1, 3));
    return three.every((r, i) => {
      const t = two[i];
      if (!t || r.shape[0] !== 3 || t.shape[0] !== 2) return false;
      return apart(t.values, r.values.slice(r.values.length / 3)) < 1e-6;
    });
  } catch {
    return false;
  }
}

await loadChip(CHIP);
await setDefaultChip(CHIP);
/** `npm test` takes a part of the table; `VEXIL_TEST_ALL=1`, which `.ci/full` sets, all of it. */
const EVERY = process.env["VEXIL_TEST_ALL"] ? 1 : 10;
const list = [...operators().values()]
  .filter(
    (info) => info.stage === "stable" && info.writes.length === 0 && info.viewOf < 0 && info.random === false,
  )
  // These show what memory holds beside the operand; elements that are written twice have no one value.
  .filter((info) => !/^(as_strided_|new_empty|empty)/.test(info.name))
  .filter((_, i) => i % EVERY === 0);

describe("past the activation points", () => {
  let taken = 0;
  it.each(list.map((info) => [info.name, info] as const))("%s", async (_name, info) => {
    const found = await first(info);
    if (!found) return;
    taken++;
    const { call, want } = found;
    for (const layouts of [
      ["turned", "turned"],
      ["gaps", "row-major"],
      ["row-major", "gaps"],
      ["unaligned", "turned"],
    ] as const) {
      const got = await run(info, call, (o, i) => laid(o, layouts[i % 2]!, false));
      expectNear(got, want, 1e-5, `operands ${layouts.join(" and ")}`);
    }
    // Of `isin`, an operand is a set.
    if (info.schema.base !== "isin" && (await byRows(info, call))) {
      const rows = call.operands[0]!.shape[0]!;
      const to = Math.min(rows, 1 + FEW);
      const got = await run(info, call, (o) => laid(rowsOf(o, rows, 1, to), "row-major", false));
      const part = want.map((r) => rowsOf(r, rows, 1, to));
      expectNear(got, part, 1e-6, "a few rows alone");
    }
    if (call.operands.some((o) => o.dtype === "f32") && want.some((r) => r.dtype === "f32")) {
      const got = await run(info, call, (o) => laid(o, "row-major", true));
      expectNear(got, want, 1e-3, "in f64");
    }
  });
  it("takes most of the table", () => {
    expect(taken).toBeGreaterThan(0.6 * list.length);
  });
});
