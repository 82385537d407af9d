// The gradient of every differentiable operator of the table against finite differences in f64: along one direction in
// the space of all inputs, from PyTorch's samples (`fixtures/opinfo`) or the operator's own.

import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import "../src/chips/index.js";
import "../src/ops/index.js";
import { type Case, type Json, readSampleSet, type SampleSet } from "../src/cli/opinfo/read.js";
import { ValueReader } from "../src/cli/opinfo/values.js";
import { loadChip, scope, setDefaultChip } from "../src/runtime/index.js";
import { ArgumentError } from "../src/tensor/bind.js";
import {
  bindByName,
  callOperator,
  grad,
  isFloatDType,
  type OpInfoEntry,
  type OperatorInfo,
  operators,
  Tensor,
  tensor,
} from "../src/tensor/index.js";

const CHIP = "wasm";
const set = readSampleSet(fileURLToPath(new URL("./fixtures/opinfo/sample", import.meta.url)));

/** The keys of the leaves that require gradients, in the order in which they are read. */
function leavesOf(v: unknown, into: string[] = []): string[] {
  if (Array.isArray(v)) for (const x of v) leavesOf(x, into);
  else if (typeof v === "object" && v !== null) {
    const { tensor: key, requires_grad: wants } = v as { tensor?: unknown; requires_grad?: unknown };
    if (typeof key === "string") {
      if (wants) into.push(key);
    } else for (const x of Object.values(v)) leavesOf(x, into);
  }
  return into;
}

/** The step of a leaf's element. */
const direction = (leaf: number, i: number): number => Math.cos(1.7 * i + leaf);

/** The set with its f32 tensors in f64, and the leaves moved by `step` along the direction. */
function moved(leaves: readonly string[], step: number): SampleSet {
  return {
    cases: [],
    tensor(key) {
      const stored = set.tensor(key);
      if (stored.dtype !== "f32") return stored;
      const values = Float64Array.from(new Float32Array(stored.bytes.slice().buffer));
      const leaf = leaves.indexOf(key);
      if (leaf >= 0) for (let i = 0; i < values.length; i++) values[i]! += step * direction(leaf, i);
      return { dtype: "f64", shape: stored.shape, bytes: new Uint8Array(values.buffer) };
    },
  };
}

interface Run {
  readonly outputs: Tensor[];
  readonly leaves: readonly Tensor[];
}

const tensorsOf = (v: unknown): Tensor[] =>
  v instanceof Tensor ? [v] : Array.isArray(v) ? v.flatMap(tensorsOf) : [];

/** Runs a case; undefined if it is for another operator of the name. */
async function run(
  info: OperatorInfo,
  entry: OpInfoEntry,
  c: Case,
  leaves: readonly string[],
  step: number,
): Promise<Run | undefined> {
  const reader = new ValueReader(moved(leaves, step), CHIP);
  const input = reader.read(c.input);
  const args = c.args.map((v: Json) => reader.read(v));
  const kwargs = Object.fromEntries(Object.entries(c.kwargs).map(([k, v]) => [k, reader.read(v)]));
  try {
    let result: unknown;
    if (entry.adapt) {
      const adapted = await entry.adapt(input, args, kwargs);
      if (adapted === undefined) return undefined;
      result = await callOperator(info.name, ...adapted);
    } else result = await bindByName(info, input, args, kwargs);
    const outputs = tensorsOf(result).filter((t) => isFloatDType(t.dtype) && t.requiresGrad);
    return { outputs, leaves: reader.leaves };
  } catch (error) {
    if (error instanceof ArgumentError) return undefined;
    throw error;
  }
}

const weight = (i: number): number => Math.cos(i);
async function total(outputs: readonly Tensor[]): Promise<number> {
  let sum = 0;
  for (const t of outputs)
    [...(await t.data())].forEach((v, i) => {
      sum += Number(v) * weight(i);
    });
  return sum;
}

/** The slope along the direction by the gradients. */
async function slope({ outputs, leaves }: Run): Promise<number> {
  const seeds = outputs.map((t) =>
    tensor(
      Float64Array.from({ length: t.numel }, (_, i) => weight(i)),
      { shape: t.shape, dtype: t.dtype, device: t.device },
    ),
  );
  const gradients = grad(outputs, [...leaves], seeds, { allowUnused: true });
  let sum = 0;
  for (const [leaf, g] of gradients.entries())
    if (g)
      [...(await g.data())].forEach((v, i) => {
        sum += Number(v) * direction(leaf, i);
      });
  return sum;
}

/** Operators that are tested as parts of others, or have no derivative to compare with. */
const inside = (info: OperatorInfo): boolean =>
  info.name.startsWith("vexil::") || info.writes.length > 0 || info.opinfo.length === 0;

const differentiable = [...operators().values()].filter(
  (info) =>
    (info.gradient === "declared" || info.gradient === "composite") && info.random !== true && !inside(info),
);
const bytesOf = (c: Case): number => {
  let n = 0;
  for (const key of leavesOf([c.input, c.args, c.kwargs])) n += set.tensor(key).bytes.length;
  return n;
};
const asksForDtype = (c: Case): boolean => JSON.stringify([c.args, c.kwargs]).includes('"dtype"');
const casesOf = (info: OperatorInfo): [OpInfoEntry, Case][] =>
  info.opinfo
    .flatMap((entry) =>
      set.cases.flatMap((c): [OpInfoEntry, Case][] =>
        c.op === entry.op &&
        c.variant === (entry.variant ?? "") &&
        c.dtype === "float32" &&
        c.grads &&
        !asksForDtype(c)
          ? [[entry, c]]
          : [],
      ),
    )
    .filter(([, c]) => leavesOf([c.input, c.args, c.kwargs]).length > 0)
    .sort(([, a], [, b]) => bytesOf(a) - bytesOf(b));

/** Where PyTorch's gradient is not the slope of the function, and why. */
const OTHER: Readonly<Record<string, string>> = {
  hinge_embedding_loss: "targets are labels: it jumps where they move",
  cosine_embedding_loss: "targets are labels: it jumps where they move",
  max_unpool2d: "of two elements at one place both get its gradient",
  max_unpool3d: "of two elements at one place both get its gradient",
  native_layer_norm: "the statistics carry no gradients",
};
const STEP = 1e-6;
const checked = differentiable.filter((info) => !(info.name in OTHER) && casesOf(info).length > 0);

describe("finite differences in f64", () => {
  it.each(checked.map((info) => [info.name, info] as const))("%s", async (_name, info) => {
    await loadChip(CHIP);
    await setDefaultChip(CHIP);
    let compared = 0;
    for (const [entry, c] of casesOf(info)) {
      await scope(async () => {
        const { random } = info;
        if (typeof random === "function") {
          const plain = new ValueReader(set, CHIP);
          const kwargs = Object.fromEntries(Object.entries(c.kwargs).map(([k, v]) => [k, plain.read(v)]));
          if (
            random(
              undefined,
              c.args.map((v) => plain.read(v)),
              kwargs,
            )
          )
            return;
        }
        const leaves = leavesOf([c.input, c.args, c.kwargs]);
        const here = await run(info, entry, c, leaves, 0);
        if (here === undefined || here.outputs.length === 0) return;
        // Of a result in fewer digits differences say nothing.
        if (here.outputs.some((t) => t.dtype !== "f64")) return;
        const found = await slope(here);
        const above = await run(info, entry, c, leaves, STEP);
        const below = await run(info, entry, c, leaves, -STEP);
        const size = Math.abs(await total(here.outputs));
        const wanted = ((await total(above!.outputs)) - (await total(below!.outputs))) / (2 * STEP);
        if (!Number.isFinite(wanted)) return;
        // A relative part, and what the rounding of the differences costs.
        const tolerance = 1e-5 * Math.abs(wanted) + 1e-7 + size * 1e-8;
        expect(Math.abs(found - wanted), `${c.op} #${c.sample}: ${found} instead of ${wanted}`).toBeLessThan(
          tolerance,
        );
        compared++;
      });
      if (compared >= 2) break;
    }
  });
});

it("finds samples for most differentiable operators", () => {
  expect(checked.length).toBeGreaterThan(differentiable.length * 0.75);
});
