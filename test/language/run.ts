// Runs kernels of the language on every chip of this machine, on plain arrays of any dtype.

import type { DType, Func } from "../../src/compiler/ir/index.js";
import { verify } from "../../src/compiler/ir/index.js";
import { optimize } from "../../src/compiler/passes/index.js";
import type { ConstexprValue, KernelSource, ParamFacts } from "../../src/compiler/source.js";
import { contents, memory } from "../../src/chips/interpreter/testing/evaluate.js";
import type { Chip } from "../../src/runtime/index.js";
import { knownChips, testedChips } from "../chips.js";

// The language's kernels are compiled as for users.
delete process.env["VEXIL_OPTIMIZE"];

/** Elements of a buffer, after rounding to its dtype. */
export type Data = readonly [DType, readonly (number | bigint)[]];
export type Args = Readonly<Record<string, Data | ConstexprValue>>;
export type Run = (
  source: { readonly source: KernelSource },
  args: Args,
  grid?: readonly number[],
) => Promise<Record<string, (number | bigint)[]>>;

const opened = new Map<string, Promise<Chip>>();
export function open(name: string): Promise<Chip> {
  let chip = opened.get(name);
  if (!chip) {
    chip = knownChips
      .find((c) => c.name === name)!
      .load()
      .then((entry) => entry.open());
    opened.set(name, chip);
  }
  return chip;
}
export async function closeAll(): Promise<void> {
  for (const chip of opened.values()) (await chip).driver.close();
  opened.clear();
}

const isData = (v: Data | ConstexprValue | undefined): v is Data =>
  Array.isArray(v) && typeof v[0] === "string";

/** The optimised IR of a kernel for the arguments. */
export function lowered(source: KernelSource, args: Args): Func {
  const params = source.params.map((p): ParamFacts => {
    const v = args[p.name];
    if (p.kind === "ptr") return { kind: "ptr", dtype: (v as Data)[0], aligned: true };
    if (p.kind === "constexpr") return { kind: "constexpr", value: v as ConstexprValue };
    return p.kind === "dim" ? { kind: "dim", divisibleBy16: false, isOne: false } : { kind: "scalar" };
  });
  const func = source.build({ params, wideOffsets: false });
  verify(func);
  optimize(func, { verifyEach: true });
  return func;
}

/** What the buffers hold after a launch on a chip. */
export async function runOn(
  chipName: string,
  source: KernelSource,
  args: Args,
  grid: readonly number[] = [1],
): Promise<Record<string, (number | bigint)[]>> {
  const { target, driver } = await open(chipName);
  const exe = driver.load(target.compile(lowered(source, args)));
  const given = source.params.filter((p) => p.kind !== "constexpr");
  const values = given.map((p) => {
    const v = args[p.name];
    if (!isData(v)) return typeof v === "boolean" ? Number(v) : (v as number | bigint);
    const bytes = new Uint8Array(memory(...v));
    const buffer = driver.alloc(bytes.length);
    driver.write(buffer, 0, bytes);
    return buffer;
  });
  try {
    driver.launch(
      exe,
      grid[0] ?? 1,
      grid[1] ?? 1,
      grid[2] ?? 1,
      values,
      values.map(() => 0),
    );
    await driver.sync();
    const out: Record<string, (number | bigint)[]> = {};
    for (const [i, p] of given.entries()) {
      const v = values[i]!;
      if (typeof v !== "object") continue;
      const [dtype] = args[p.name] as Data;
      const bytes = await driver.read(v, 0, v.bytes);
      const used = memory(...(args[p.name] as Data)).byteLength;
      out[p.name] = contents(dtype, bytes.slice(0, used).buffer as ArrayBuffer);
    }
    return out;
  } finally {
    for (const v of values) if (typeof v === "object") driver.free(v);
  }
}

/** The chips of this machine, each with a function that runs kernels on it. */
export const chips = testedChips
  .filter((c) => c.missing === undefined)
  .map(({ name }) => ({
    name,
    run: ((kernel, args, grid) => runOn(name, kernel.source, args, grid)) as Run,
  }));

/** A buffer of zeros. */
export const room = (n: number, dtype: DType = "f32"): Data => [
  dtype,
  new Array<number | bigint>(n).fill(dtype === "i64" || dtype === "u64" ? 0n : 0),
];

/** The same numbers in every run. */
export function numbers(n: number, seed = 1): number[] {
  let s = seed >>> 0;
  return Array.from({ length: n }, () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return (s >>> 8) / 65536 - 128;
  });
}
