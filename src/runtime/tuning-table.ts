// Tuning tables: block sizes and other choices by kernel and circumstances, as people write them in YAML. A chip
// brings a table of its own; files of the user go before it. What is measured at run time stands in `tuner.ts`.

import { type Chip, chipKind } from "./driver.js";
import { env, needBuiltin } from "./platform.js";
import { settingsChanged } from "./recording.js";

/** A number, a text, or a range of numbers such as `2..16`, `..16`, `17..`. */
export type Condition = number | string | boolean;

export interface TuningRow {
  /** All must hold; left out, the row always applies. `machine` is looked for in the chip's description. */
  readonly when?: Readonly<Record<string, Condition>>;
  readonly use: Readonly<Record<string, number | string | boolean>>;
}

export interface TuningTable {
  readonly chip: string;
  /** Rows by kernel; the first that applies is used. */
  readonly kernels: Readonly<Record<string, readonly TuningRow[]>>;
}

type Facts = Readonly<Record<string, number | string | boolean>>;
type Use = TuningRow["use"];

interface Compiled {
  readonly tests: readonly ((facts: Facts) => boolean)[];
  readonly use: Use;
}

const RANGE = /^(\d*)\.\.(\d*)$/;

function testOf(name: string, c: Condition): (facts: Facts) => boolean {
  const range = typeof c === "string" ? RANGE.exec(c) : null;
  if (!range) return (facts) => facts[name] === c;
  const low = range[1] === "" ? -Infinity : Number(range[1]);
  const high = range[2] === "" ? Infinity : Number(range[2]);
  return (facts) => {
    const v = facts[name];
    return typeof v === "number" && v >= low && v <= high;
  };
}

const byChip = new WeakMap<Chip, Map<string, Compiled[]>>();

/** Makes these tables a chip's, the first ones before the others; tables of other chips are passed over. */
export function setTuning(chip: Chip, tables: readonly TuningTable[]): void {
  const kernels = new Map<string, Compiled[]>();
  for (const table of tables) {
    if (table.chip !== chipKind(chip.name)) continue;
    for (const [kernel, rows] of Object.entries(table.kernels)) {
      const list = kernels.get(kernel) ?? [];
      for (const { when = {}, use } of rows) {
        const { machine, ...others } = when;
        if (machine !== undefined && !chip.description.includes(String(machine))) continue;
        list.push({ tests: Object.entries(others).map(([n, c]) => testOf(n, c)), use });
      }
      kernels.set(kernel, list);
    }
  }
  byChip.set(chip, kernels);
  settingsChanged();
}

/**
 * What the chip's tables say of a kernel in these circumstances; `undefined` if nothing.
 *
 * @example tuningOf(chip, "matmul", { dtype: "f32", M: 1, N: 4096, K: 4096 })?.["BM"]
 */
export function tuningOf(chip: Chip, kernel: string, facts: Facts): Use | undefined {
  const rows = byChip.get(chip)?.get(kernel);
  if (rows === undefined) return undefined;
  next: for (let i = 0; i < rows.length; i++) {
    const { tests } = rows[i]!;
    for (let j = 0; j < tests.length; j++) if (!tests[j]!(facts)) continue next;
    return rows[i]!.use;
  }
  return undefined;
}

/** Checks what was read from `where`. Throws an error that names the place and what is wrong there. */
export function checkTable(value: unknown, where: string): TuningTable {
  const isMap = (v: unknown): v is Record<string, unknown> =>
    typeof v === "object" && v !== null && !Array.isArray(v);
  const wrong = (at: string, want: string): Error => {
    return new TypeError(`${where}: ${at} must be ${want}`);
  };
  const scalars = (v: unknown, at: string): void => {
    if (!isMap(v)) throw wrong(at, "a map of names to values");
    for (const [n, x] of Object.entries(v))
      if (!["number", "string", "boolean"].includes(typeof x))
        throw wrong(`${at}.${n}`, "a number, text, true or false");
  };
  if (!isMap(value)) throw wrong("the file", "a map with `chip` and `kernels`");
  for (const name of Object.keys(value))
    if (name !== "chip" && name !== "kernels")
      throw wrong("the file", `a map with \`chip\` and \`kernels\`, without \`${name}\``);
  if (typeof value["chip"] !== "string") throw wrong("chip", "the name of a chip");
  const kernels = value["kernels"];
  if (!isMap(kernels)) throw wrong("kernels", "a map of kernels to rows");
  for (const [kernel, rows] of Object.entries(kernels)) {
    if (!Array.isArray(rows)) throw wrong(`kernels.${kernel}`, "a list of rows");
    for (const [i, row] of rows.entries()) {
      const at = `kernels.${kernel}[${i}]`;
      if (!isMap(row)) throw wrong(at, "a map with `use`, and `when` if it does not always apply");
      for (const name of Object.keys(row))
        if (name !== "use" && name !== "when")
          throw wrong(at, `a map with \`when\` and \`use\`, without \`${name}\``);
      scalars(row["use"], `${at}.use`);
      if (row["when"] !== undefined) scalars(row["when"], `${at}.when`);
    }
  }
  return value as unknown as TuningTable;
}

/** Gives a chip its tables: files named by `VEXIL_TUNING` (separated as in PATH), then its own. */
export async function loadTuning(chip: Chip): Promise<void> {
  const tables: TuningTable[] = [];
  const files = env("VEXIL_TUNING");
  if (files) {
    const { parse } = await import("yaml");
    const fs = needBuiltin("node:fs", "VEXIL_TUNING");
    for (const file of files.split(needBuiltin("node:path", "VEXIL_TUNING").delimiter).filter(Boolean)) {
      let text: string;
      try {
        text = fs.readFileSync(file, "utf8");
      } catch (e) {
        throw new Error(`VEXIL_TUNING: ${(e as Error).message}`);
      }
      tables.push(checkTable(parse(text), file));
    }
  }
  if (chip.tuning) tables.push(chip.tuning);
  setTuning(chip, tables);
}
