// Runs a function on the interpreter and on evaluators of what it was lowered to, and compares every buffer. Which lowerings
// and which chips stands in the `testing/compare.ts` of each lowering.

import { prepare } from "../../../chips/interpreter/program.js";
import { contents, memory } from "../../../chips/interpreter/testing/evaluate.js";
import { DTYPES, type DType, type Func, isFloat } from "../../ir/index.js";

/** What the elements of a buffer are, or a scalar. */
export type Arg = readonly [DType, readonly (number | bigint)[]] | number | bigint;
export type Grid = readonly [number, number?, number?];
/** An argument as evaluators take it: a buffer's bytes, or a scalar. */
export type FormArg = Uint8Array | number | bigint;

/** A function lowered for one chip. */
export interface Variant<F> {
  readonly form: F;
  /** The form's text, for messages. */
  readonly text: () => string;
  readonly run: (args: FormArg[], grid: Grid) => void;
}

export interface Outcome<F> {
  readonly expected: (number | bigint)[][];
  /** By chip. */
  readonly got: Readonly<Record<string, (number | bigint)[][]>>;
  readonly forms: Readonly<Record<string, F>>;
}

/** Runs all; buffers as they are afterwards. */
function runAll<F>(
  func: Func,
  args: readonly Arg[],
  grid: Grid,
  variants: Readonly<Record<string, () => Variant<F>>>,
): Outcome<F> & { texts: Record<string, () => string> } {
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
  const forms: Record<string, F> = {};
  const texts: Record<string, () => string> = {};
  for (const [name, lower] of Object.entries(variants)) {
    const { form, text, run } = lower();
    forms[name] = form;
    texts[name] = text;
    const data = fresh();
    try {
      run(
        data.map((d): FormArg => (typeof d === "object" ? new Uint8Array(d) : d)),
        grid,
      );
    } catch (e) {
      throw new Error(`${name}: ${(e as Error).message}\n${text()}`);
    }
    got[name] = read(data);
  }
  return { expected: read(plain), got, forms, texts };
}

/** Whether two elements agree: exactly for integers and NaN, else within a relative bound. */
export function close(a: number | bigint, b: number | bigint, tolerance: number): boolean {
  if (typeof a === "bigint" || typeof b === "bigint") return a === b;
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) && Number.isNaN(b);
  if (a === b) return true;
  return Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(a), Math.abs(b));
}

/** Throws with the first difference and the form's text. */
export function expectSameOn<F>(
  func: Func,
  args: readonly Arg[],
  grid: Grid,
  tolerance: number,
  variants: Readonly<Record<string, () => Variant<F>>>,
): Outcome<F> {
  const outcome = runAll(func, args, grid, variants);
  const dtypes = args.flatMap((a) => (typeof a === "object" ? [a[0]] : []));
  for (const [name, buffers] of Object.entries(outcome.got))
    buffers.forEach((b, i) => {
      b.forEach((x, k) => {
        const want = outcome.expected[i]![k]!;
        const d = dtypes[i]!;
        const bound = !isFloat(d) ? 0 : DTYPES[d].bits === 16 ? (d === "f16" ? 1e-3 : 8e-3) : tolerance;
        if (!close(x, want, bound))
          throw new Error(
            `${name}: buffer ${i} element ${k} is ${x}, not ${want}\n${outcome.texts[name]!()}`,
          );
      });
    });
  return outcome;
}
