// For tests: builds a kernel for given facts, and runs it on the interpreter.

import { prepare } from "../../../chips/interpreter/program.js";
import { contents, memory } from "../../../chips/interpreter/testing/evaluate.js";
import { type DType, type Func, isDType, verify } from "../../ir/index.js";
import { optimize } from "../../passes/optimize.js";
import type { ConstexprValue, KernelSource, ParamFacts } from "../../source.js";
import { kernelSource } from "../kernel-source.js";
import type { KernelArgs, Marker } from "../markers.js";
import type { Tl } from "../tl/index.js";

/** As the runtime's `kernel`, without launch. */
export const kernel = <P extends Record<string, Marker>>(
  params: P,
  fn: (args: KernelArgs<P>, tl: Tl) => void,
): KernelSource => kernelSource(params, fn, "k");

/** Dtypes of pointers (default f32) and values of constexprs, by name. */
export type Facts = Readonly<Record<string, DType | ConstexprValue>>;

export function build(source: KernelSource, facts: Facts = {}): Func {
  const params = source.params.map((p): ParamFacts => {
    const f = facts[p.name];
    if (p.kind === "ptr")
      return { kind: "ptr", dtype: typeof f === "string" && isDType(f) ? f : "f32", aligned: false };
    if (p.kind === "constexpr") return { kind: "constexpr", value: f! };
    return p.kind === "dim" ? { kind: "dim", divisibleBy16: false, isOne: false } : { kind: "scalar" };
  });
  const func = source.build({ params, wideOffsets: false });
  verify(func);
  return func;
}

export type Data = readonly [DType, readonly (number | bigint)[]];

/**
 * Runs a kernel over a grid. Arguments are `[dtype, elements]` for pointers and values for everything else;
 * returns what the pointers hold afterwards.
 */
export function run(
  source: KernelSource,
  args: Readonly<Record<string, Data | ConstexprValue>>,
  grid: readonly number[] = [1],
): Record<string, (number | bigint)[]> {
  const facts = Object.fromEntries(
    source.params.map((p) => [
      p.name,
      p.kind === "ptr" ? (args[p.name] as Data)[0] : (args[p.name] as ConstexprValue),
    ]),
  );
  const func = build(source, facts);
  optimize(func, { verifyEach: true });
  const given = source.params.filter((p) => p.kind !== "constexpr");
  const values = given.map((p) =>
    p.kind === "ptr"
      ? { data: memory(...(args[p.name] as Data)), offset: 0 }
      : Number.isNaN(args[p.name])
        ? Number.NaN
        : (args[p.name] as number | bigint),
  );
  prepare(func).run(grid[0] ?? 1, grid[1] ?? 1, grid[2] ?? 1, values);
  const out: Record<string, (number | bigint)[]> = {};
  given.forEach((p, i) => {
    const v = values[i]!;
    if (typeof v === "object") out[p.name] = contents((args[p.name] as Data)[0], v.data);
  });
  return out;
}
