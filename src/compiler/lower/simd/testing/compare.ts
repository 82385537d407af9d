// Runs a function on the interpreter and its lowered form on the evaluator, for every vector unit of interest.

import { prepare } from "../../../../chips/interpreter/program.js";
import { contents, memory } from "../../../../chips/interpreter/testing/evaluate.js";
import { DTYPES, type DType, type Func, isFloat } from "../../../ir/index.js";
import { nestedLists } from "../dead.js";
import type { Form, Stmt, VectorShape } from "../form.js";
import { lowerSimd } from "../lower.js";
import { showForm } from "../show.js";
import { verifyForm } from "../verify.js";
import { evaluateForm, type FormArg } from "./evaluate.js";

export const SHAPES: Readonly<Record<string, VectorShape>> = {
  wasm: { bytes: 16, registers: 16, address32: true },
  avx2: { bytes: 32, registers: 16, address32: false },
  masked: { bytes: 32, registers: 16, address32: false, maskedMemory: true, prefetch: true },
  products: { bytes: 32, registers: 16, address32: false, outerProducts: { rows: 6, vectors: 2 } },
};

/** What the elements of a buffer are, or a scalar. */
export type Arg = readonly [DType, readonly (number | bigint)[]] | number | bigint;

export interface Outcome {
  readonly expected: (number | bigint)[][];
  /** By vector unit. */
  readonly got: Readonly<Record<string, (number | bigint)[][]>>;
  readonly forms: Readonly<Record<string, Form>>;
}

/** Runs both; buffers as they are afterwards. */
export function runBoth(
  func: Func,
  args: readonly Arg[],
  grid: readonly [number, number?, number?] = [1],
): Outcome {
  const fresh = (): (ArrayBuffer | number | bigint)[] =>
    args.map((a) => (typeof a === "object" ? memory(a[0], a[1]) : a));
  const read = (data: readonly (ArrayBuffer | number | bigint)[]): (number | bigint)[][] =>
    data.flatMap((d, i) => (typeof d === "object" ? [contents((args[i] as [DType, []])[0], d)] : []));
  const plain = fresh();
  prepare(func).run(
    grid[0],
    grid[1] ?? 1,
    grid[2] ?? 1,
    plain.map((d) => (typeof d === "object" ? { data: d, offset: 0 } : d)),
  );
  const got: Record<string, (number | bigint)[][]> = {};
  const forms: Record<string, Form> = {};
  for (const [name, shape] of Object.entries(SHAPES)) {
    const form = lowerSimd(func, shape);
    forms[name] = form;
    verifyForm(form);
    checkLanes(form, shape);
    const data = fresh();
    evaluateForm(
      form,
      data.map((d): FormArg => (typeof d === "object" ? new Uint8Array(d) : d)),
      grid,
    );
    got[name] = read(data);
  }
  return { expected: read(plain), got, forms };
}

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

/** Whether two elements agree: exactly for integers and NaN, else within a relative bound. */
export function close(a: number | bigint, b: number | bigint, tolerance: number): boolean {
  if (typeof a === "bigint" || typeof b === "bigint") return a === b;
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) && Number.isNaN(b);
  if (a === b) return true;
  return Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(a), Math.abs(b));
}

/** Throws with the first difference and the form's text. */
export function expectSame(
  func: Func,
  args: readonly Arg[],
  grid?: readonly [number, number?, number?],
  tolerance = 1e-5,
): Outcome {
  const outcome = runBoth(func, args, grid);
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
