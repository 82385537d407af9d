// `debug`: one program of a launch under the interpreter, wherever its tensors are. What it finds out is
// `interpreter/debug.ts`, loaded when first used.

import type { DType } from "../compiler/ir/index.js";
import type { Grid } from "../runtime/launch.js";
import type { Kernel } from "../runtime/kernel.js";

/** A scalar, or a tile's elements, row-major. */
export type DebugValue = number | bigint | boolean | readonly (number | bigint | boolean)[];

/** A variable got a value. */
export interface DebugEntry {
  /** The author's variable. */
  readonly name: string;
  /** Line of the kernel's (or the helper's) text, from 1. */
  readonly line: number;
  /** The helper it stands in; undefined in the kernel itself. */
  readonly helper: string | undefined;
  readonly dtype: DType;
  /** Empty for a scalar. */
  readonly shape: readonly number[];
  readonly value: DebugValue;
}

export interface DebugOptions<A> {
  /** As for `launch`. */
  readonly grid: Grid<A>;
  readonly args: A;
  /** The program to run, as its ids along x, y and z. Default: the first. No other one runs. */
  readonly program?: readonly number[];
  /** Names of variables, or numbers of lines, to note. Default: every variable. */
  readonly watch?: readonly (string | number)[];
  /** Called for every variable that gets a value; true stops there. `get` gives what another variable holds. */
  readonly breakWhen?: (entry: DebugEntry, get: (name: string) => DebugValue | undefined) => boolean;
  /** Parameters whose memory counts as not written yet: reading it before writing it is a problem. */
  readonly unwritten?: readonly (keyof A & string)[];
}

/** What happened. `String(trace)` is a readable account. */
export interface DebugTrace {
  readonly kernel: string;
  readonly program: readonly number[];
  readonly grid: readonly number[];
  /** The watched variables in the order in which they got their values; in a loop once per turn. */
  readonly entries: readonly DebugEntry[];
  /** Accesses outside a tensor, reads of what was not written, claims that do not hold: with the author's line. */
  readonly problems: readonly Error[];
  /** Where `breakWhen` stopped it. */
  readonly stopped: DebugEntry | undefined;
  toString(): string;
}

/**
 * Runs one program of a launch in the interpreter, on copies of the tensors: nothing of the launch's memory changes.
 *
 * @throws LaunchError for wrong arguments, CompileError when the kernel does not compile, RangeError for a program
 * outside the grid. What the kernel itself does wrong is in `problems`.
 * @example
 * const trace = await debug(softmax, { grid: [rows], args, program: [3], watch: ["v", "e"] });
 * console.log(String(trace));
 */
export async function debug<A extends object>(
  kernel: Kernel<A>,
  options: DebugOptions<A>,
): Promise<DebugTrace> {
  const { runDebugger } = await import("./interpreter/debug.js");
  return runDebugger(kernel, options);
}
