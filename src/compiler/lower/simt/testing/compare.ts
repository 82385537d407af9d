// Runs a function on the interpreter and its lowered form on the evaluator, for several kinds of chips.

import type { Func } from "../../../ir/index.js";
import { type Arg, expectSameOn, type Grid, type Outcome, type Variant } from "../../testing/compare.js";
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
  subgroups: {
    ...plain,
    subgroup: 8,
    bankBytes: 128,
    matchLanes: true,
    atomics: (op, kind) => kind !== "f64" || op === "add",
  },
};

/** Throws with the first difference and the form's text. */
export function expectSame(
  func: Func,
  args: readonly Arg[],
  grid: Grid = [1],
  tolerance = 1e-5,
  shapes = SHAPES,
): Outcome<Form> {
  const variants = Object.entries(shapes).map(([name, shape]) => [name, () => lowered(func, shape)] as const);
  return expectSameOn(func, args, grid, tolerance, Object.fromEntries(variants));
}

function lowered(func: Func, shape: SimtShape): Variant<Form> {
  const form = lowerSimt(func, shape);
  verifyForm(form, shape);
  return { form, text: () => showForm(form), run: (args, grid) => evaluateForm(form, args, grid) };
}
