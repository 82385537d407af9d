// Runs a function on the interpreter and its lowered form on the evaluator, for several kinds of chips.

import { prepare } from "../../../../chips/interpreter/program.js";
import { contents, memory } from "../../../../chips/interpreter/testing/evaluate.js";
import { DTYPES, type Func, isFloat } from "../../../ir/index.js";
import { type Arg, close } from "../../simd/testing/compare.js";
import type { FormArg } from "../../simd/testing/evaluate.js";
import type { Form } from "../form.js";
import { lowerSimt } from "../lower.js";
import type { SimtShape } from "../shape.js";
import { showForm } from "../show.js";
import { verifyForm } from "../verify.js";
import { evaluateForm } from "./evaluate.js";

const plain: SimtShape = {
  maxThreads: 256,
  preferredThreads: 32,
  sharedBytes: 1 << 17,
  registers: 255,
  accessBytes: 16,
  lanes: 1,
  bankBytes: 0,
  f64: true,
  atomics: (_op, kind) => kind === "i32" || kind === "i64",
  matrices: [],
};

export const SHAPES: Readonly<Record<string, SimtShape>> = {
  plain,
  subgroups: { ...plain, subgroup: 8, bankBytes: 128, atomics: (op, kind) => kind !== "f64" || op === "add" },
};

export interface Outcome {
  readonly expected: (number | bigint)[][];
  readonly got: Readonly<Record<string, (number | bigint)[][]>>;
  readonly forms: Readonly<Record<string, Form>>;
}

/** Runs both; buffers as they are afterwards. */
export function runBoth(
  func: Func,
  args: readonly Arg[],
  grid: readonly [number, number?, number?] = [1],
  shapes = SHAPES,
): Outcome {
  const fresh = (): (ArrayBuffer | number | bigint)[] =>
    args.map((a) => (typeof a === "object" ? memory(a[0], a[1]) : a));
  const read = (data: readonly (ArrayBuffer | number | bigint)[]): (number | bigint)[][] =>
    data.flatMap((d, i) => (typeof d === "object" ? [contents((args[i] as [never, []])[0], d)] : []));
  const reference = fresh();
  prepare(func).run(
    grid[0],
    grid[1] ?? 1,
    grid[2] ?? 1,
    reference.map((d) => (typeof d === "object" ? { data: d, offset: 0 } : d)),
  );
  const got: Record<string, (number | bigint)[][]> = {};
  const forms: Record<string, Form> = {};
  for (const [name, shape] of Object.entries(shapes)) {
    const form = lowerSimt(func, shape);
    forms[name] = form;
    verifyForm(form, shape);
    const data = fresh();
    try {
      evaluateForm(
        form,
        data.map((d): FormArg => (typeof d === "object" ? new Uint8Array(d) : d)),
        grid,
      );
    } catch (e) {
      throw new Error(`${name}: ${(e as Error).message}\n${showForm(form)}`);
    }
    got[name] = read(data);
  }
  return { expected: read(reference), got, forms };
}

/** Throws with the first difference and the form's text. */
export function expectSame(
  func: Func,
  args: readonly Arg[],
  grid?: readonly [number, number?, number?],
  tolerance = 1e-5,
  shapes = SHAPES,
): Outcome {
  const outcome = runBoth(func, args, grid, shapes);
  const dtypes = args.flatMap((a) => (typeof a === "object" ? [a[0]] : []));
  for (const [name, buffers] of Object.entries(outcome.got))
    buffers.forEach((b, i) => {
      b.forEach((x, k) => {
        const want = outcome.expected[i]![k]!;
        const d = dtypes[i]!;
        const bound = !isFloat(d) ? 0 : DTYPES[d].bits === 16 ? (d === "f16" ? 1e-3 : 8e-3) : tolerance;
        if (!close(x, want, bound))
          throw new Error(
            `${name}: buffer ${i} element ${k} is ${x}, not ${want}\n${showForm(outcome.forms[name]!)}`,
          );
      });
    });
  return outcome;
}
