// Writes the page of operators: for each op of the tile IR and each dtype, the chips of this machine that compile it.

import {
  allOps,
  buffer,
  Builder,
  DTYPES,
  type DType,
  Func,
  tile,
  type Value,
} from "../../src/compiler/ir/index.js";
import { optimize } from "../../src/compiler/passes/index.js";
import { chips as tested, open } from "./run.js";
import { tritonTable } from "./triton-names.js";

/** The chips that need no device: other machines show the same page. */
const PAGE = ["cpu", "wasm", "interpreter"];
export const chips = tested.filter((c) => PAGE.includes(c.name));

const N = 16;
type Attrs = Record<string, string | number | boolean>;
interface Row {
  readonly name: string;
  readonly opcode: string;
  readonly attrs: Attrs;
  /** The operands' dtypes for an element dtype. */
  readonly operands: (d: DType) => DType[];
}

const same =
  (n: number) =>
  (d: DType): DType[] =>
    new Array<DType>(n).fill(d);
const SPECIAL: Readonly<Record<string, Attrs>> = {
  cmp: { pred: "lt" },
  min: { nan: "ignore" },
  max: { nan: "ignore" },
  cast: { dtype: "f32" },
};

function rows(): Row[] {
  const list: Row[] = [];
  for (const def of allOps()) {
    if (!def.elementwise || def.opcode === "bitcast") continue;
    const arity = typeof def.arity === "number" ? def.arity : 1;
    const operands = def.opcode === "select" ? (d: DType): DType[] => ["bool", d, d] : same(arity);
    list.push({ name: def.opcode, opcode: def.opcode, attrs: SPECIAL[def.opcode] ?? {}, operands });
  }
  for (const kind of ["sum", "prod", "max", "min", "argmax", "argmin"])
    list.push({
      name: `reduce ${kind}`,
      opcode: "reduce",
      attrs: { kind, axis: 0, nan: "ignore" },
      operands: same(1),
    });
  for (const kind of ["sum", "prod"])
    list.push({
      name: `scan ${kind}`,
      opcode: "scan",
      attrs: { kind, axis: 0, reverse: false },
      operands: same(1),
    });
  list.push({
    name: "sort",
    opcode: "sort",
    attrs: { axis: 0, descending: false, limit: N },
    operands: same(1),
  });
  list.push({ name: "gather", opcode: "gather", attrs: {}, operands: (d) => [d, "i32"] });
  return list;
}

/** A kernel with the ops on tiles of their operands' dtypes; undefined if the op does not take the dtype. */
function kernelOf(list: readonly Row[], d: DType): Func | undefined {
  const params = new Map<string, { name: string; type: ReturnType<typeof buffer> }>();
  const need = (name: string, dtype: DType): void => void params.set(name, { name, type: buffer(dtype) });
  const outs: DType[] = [];
  for (const row of list) {
    const def = allOps().find((o) => o.opcode === row.opcode)!;
    for (const [i, t] of row.operands(d).entries()) need(`${t}${i}`, t);
    try {
      const [t] = def.infer(
        row.operands(d).map((x) => tile(x, [N])),
        row.attrs,
        [],
      );
      outs.push(t!.dtype);
      need(`out_${t!.dtype}`, t!.dtype);
    } catch {
      return undefined;
    }
  }
  const func = new Func("ops", [...params.values()]);
  const names = [...params.keys()];
  const arg = (name: string): Value => func.body.args[names.indexOf(name)]!;
  const b = new Builder(func.body);
  list.forEach((row, k) => {
    const at = b.value("arange", [], { start: 0, end: N });
    const inputs = row.operands(d).map((t, i) => b.value("load", [arg(`${t}${i}`), at]));
    const r = b.create(row.opcode, inputs, row.attrs).results[0]!;
    const scalar = r.type.kind === "tile" && r.type.shape.length === 0;
    const to = scalar ? b.constant(k * N, "i32") : b.value("arange", [], { start: k * N, end: k * N + N });
    b.create("store", [arg(`out_${outs[k]}`), to, r]);
  });
  optimize(func);
  return func;
}

/** The page's text. */
export async function operatorsPage(): Promise<string> {
  const dtypes = Object.keys(DTYPES) as DType[];
  const all = rows();
  const cells = new Map<string, string[]>(all.map((r) => [r.name, []]));
  const declined: string[] = [];
  for (const d of dtypes) {
    const taken = all.filter((r) => kernelOf([r], d));
    const lacking = new Map<string, string[]>();
    for (const { name } of chips) {
      const { target } = await open(name);
      const compiles = (list: readonly Row[]): string | undefined => {
        try {
          target.compile(kernelOf(list, d)!);
          return undefined;
        } catch (e) {
          return e instanceof Error ? e.message.split("\n")[0]! : String(e);
        }
      };
      // One kernel with all of them; only if it fails, one by one.
      if (compiles(taken) === undefined) continue;
      for (const r of taken) {
        const why = compiles([r]);
        if (why === undefined) continue;
        lacking.set(r.name, [...(lacking.get(r.name) ?? []), name]);
        declined.push(`- ${r.name} of ${d} on \`${name}\`: ${why}`);
      }
    }
    for (const r of all) {
      const not = lacking.get(r.name);
      cells.get(r.name)!.push(!taken.includes(r) ? "" : not ? `not ${not.join(", ")}` : "yes");
    }
  }
  const line = (list: readonly string[]): string => `| ${list.join(" | ")} |`;
  return [
    "# Operators of the kernel language",
    "",
    "Generated from the tables of the compiler by `UPDATE_DOCS=1 npx vitest run test/language/operators.test.ts`; a test",
    `compares it. Chips: ${chips.map((c) => `\`${c.name}\``).join(", ")}. \`yes\`: every chip compiles the op for that dtype; empty: the op is not defined for it.`,
    "`load`, `store`, shapes and control flow take every dtype. `tl.sort` and `tl.topk` sort floats by `tl.sortKey`. `tl.reduce`, `tl.associativeScan`,",
    "`tl.histogram`, `tl.join`, `tl.cat`, `tl.flip` and descriptors are made of these ops and go wherever those go.",
    "`tl.deviceAssert` and `tl.devicePrint` act on `interpreter`, `wasm`, `cpu`, `opencl` and `nvidia`; the other chips leave them out.",
    "",
    line(["op", ...dtypes]),
    line(["op", ...dtypes].map(() => "---")),
    ...all.map((r) => line([r.name, ...cells.get(r.name)!])),
    "",
    "## Atomics",
    "",
    "`add`, `max`, `min`, `xchg` and compare-and-exchange work on every dtype but `bool` on each of these chips, `and`, `or` and `xor` on",
    "integers; floats of 8 and 16 bits by exchanging their bits until no other program came between. Tests: `test/language/atomics.test.ts`.",
    "",
    "## Matrix products",
    "",
    "`tl.dot`: two tiles of one number dtype, or of the two f8; sums in f32 (f64 for f64, i32 for integers up to 32 bits, i64). `tl.dotScaled`:",
    "e4m3, e5m2, e2m1, bf16 and fp16, scales per 32 (e8m0) or 16 (f8e4m3). Tests: `test/language/dot.test.ts`.",
    "",
    "## Triton's list",
    "",
    ...tritonTable(),
    "",
    "## Declined",
    "",
    ...(declined.length ? declined : ["Nothing."]),
    "",
  ].join("\n");
}
