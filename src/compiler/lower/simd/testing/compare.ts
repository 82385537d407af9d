// Runs a function on the interpreter and its lowered form on the evaluator, for every vector unit of interest.

import type { Func } from "../../../ir/index.js";
import { nestedLists } from "../../dead.js";
import { type Arg, expectSameOn, type Grid, type Outcome, type Variant } from "../../testing/compare.js";
import type { Form, Stmt, VectorShape } from "../form.js";
import { lowerSimd } from "../lower.js";
import { showForm } from "../show.js";
import { verifyForm } from "../verify.js";
import { evaluateForm } from "./evaluate.js";

export const SHAPES: Readonly<Record<string, VectorShape>> = {
  wasm: { bytes: 16, registers: 16, address32: true, unroll: true, reload: true, touch: true },
  avx2: { bytes: 32, registers: 16, address32: false },
  masked: { bytes: 32, registers: 16, address32: false, maskedMemory: true, prefetch: true },
  avx512: { bytes: 64, registers: 32, address32: false, prefetch: true, lookup: 16 },
  vnni: {
    bytes: 64,
    registers: 32,
    address32: false,
    outerProducts: { rows: 8, vectors: 2 },
    dots: { i8: "dot4U", bf16: "dot2B" },
  },
  tiles: {
    bytes: 64,
    registers: 32,
    address32: false,
    dots: { i8: "dot4U", bf16: "dot2B" },
    tiles: { i8: "dot4S", bf16: "dot2B" },
  },
  narrowDots: { bytes: 16, registers: 32, address32: false, dots: { i8: "dot4S", bf16: "dot2B" } },
  halfDots: { bytes: 32, registers: 16, address32: false, dots: { i8: "dot2S" } },
  wideProducts: { bytes: 64, registers: 32, address32: false, outerProducts: { rows: 8, vectors: 2 } },
  products: { bytes: 32, registers: 16, address32: false, outerProducts: { rows: 6, vectors: 2 } },
};

/** Lanes that the printers have: full vectors on wasm, any power of two up to a vector elsewhere. */
function checkLanes(form: Form, shape: VectorShape): void {
  const types = form.regs.map((r) => r.type);
  const stores = (list: readonly Stmt[]): void => {
    for (const s of list) {
      if (s.s === "store") types.push(s.type);
      for (const l of nestedLists(s)) stores(l);
    }
  };
  stores(form.body);
  for (const type of types) {
    if (type.lanes === 1) continue;
    const wide = type.kind === "i64" || type.kind === "f64";
    const least = wide ? 2 : shape.bytes === 16 ? 2 : 4;
    if (type.lanes < least || type.lanes * (wide ? 8 : 4) > shape.bytes)
      throw new Error(`${type.kind}x${type.lanes} in\n${showForm(form)}`);
  }
}

/** Throws with the first difference and the form's text. */
export function expectSame(
  func: Func,
  args: readonly Arg[],
  grid: Grid = [1],
  tolerance = 1e-5,
): Outcome<Form> {
  const variants = Object.entries(SHAPES).map(([name, shape]) => [name, () => lowered(func, shape)] as const);
  return expectSameOn(func, args, grid, tolerance, Object.fromEntries(variants));
}

function lowered(func: Func, shape: VectorShape): Variant<Form> {
  const form = lowerSimd(func, shape);
  verifyForm(form);
  checkLanes(form, shape);
  return { form, text: () => showForm(form), run: (args, grid) => evaluateForm(form, args, grid) };
}
