// The interpreter as a debugger: runs one program of a launch on copies of its tensors, and notes what the author's
// variables hold, line by line.

import { DTYPES, type DType, type Func, type Op, type Value, walk } from "../../compiler/ir/index.js";
import { expandMath, widenOffsets } from "../../compiler/passes/index.js";
import { isKernelBuffer, type KernelBuffer } from "../../runtime/buffer.js";
import type { Kernel } from "../../runtime/kernel.js";
import type { DebugEntry, DebugOptions, DebugTrace, DebugValue } from "../debug.js";
import type { Elements } from "./elements.js";
import { tileType } from "./emit.js";
import { fault, KernelFault } from "./fault.js";
import { type Argument, prepare } from "./program.js";

/** Thrown to leave the program where it shall stop. */
const STOP = Symbol("stop");

export async function runDebugger<A extends object>(
  kernel: Kernel<A>,
  options: DebugOptions<A>,
): Promise<DebugTrace> {
  const { source } = kernel;
  const args = options.args as Record<string, unknown>;
  const { chip, spec } = kernel.specialize(options.args);
  // Not optimised: every line of the author's is still there.
  const func = source.build(spec);
  expandMath(func);
  if (spec.wideOffsets) widenOffsets(func);
  const grid = whole3(
    typeof options.grid === "function" ? options.grid(options.args) : options.grid,
    1,
    "grid",
  );
  const program = whole3(options.program ?? [0, 0, 0], 0, "program");
  if (program.some((p, i) => p < 0 || p >= grid[i]!))
    throw new RangeError(
      `kernel ${source.name}: the program (${program.join(", ")}) is not in the grid (${grid.join(", ")})`,
    );

  const values: Argument[] = [];
  for (const p of source.params) {
    if (p.kind === "constexpr") continue;
    const v = args[p.name];
    if (isKernelBuffer(v)) values.push(await copyOf(v, chip));
    else values.push(typeof v === "boolean" ? Number(v) : (v as number | bigint));
  }

  const entries: DebugEntry[] = [];
  const problems: KernelFault[] = [];
  const latest = new Map<string, DebugEntry>();
  const watched = options.watch && new Set<string | number>(options.watch);
  const written = new Map((options.unwritten ?? []).map((name) => [func.body.args[func.paramNames.indexOf(name)], new Set<number>()])); // biome-ignore format: one line
  const partial = partialOps(func);
  let stopped: DebugEntry | undefined;

  const note = (op: Op, read: (v: Value) => Elements): void => {
    const place = op.results.length === 1 && !partial.has(op) ? placeOf(func, op) : undefined;
    if (!place || op.result.type.kind !== "tile") return;
    const entry: DebugEntry = { ...place, dtype: op.result.type.dtype, shape: op.result.type.shape, value: valuesOf(op.result, read(op.result)) }; // biome-ignore format: one line
    latest.set(entry.name, entry);
    if (!watched || watched.has(entry.name) || watched.has(entry.line)) entries.push(entry);
    if (!options.breakWhen?.(entry, (name) => latest.get(name)?.value)) return;
    stopped = entry;
    throw STOP;
  };
  const ready = prepare(func, (op, emit) => {
    const seen = written.get(op.operands[0]!);
    if (seen) checkWritten(op, seen, (v) => emit.array(v), (what) => problems.push(fault(func, emit.state, op, what))); // biome-ignore format: one line
    note(op, (v) => emit.array(v));
  });
  try {
    ready.runOne(grid, program, values);
  } catch (e) {
    if (e instanceof KernelFault) problems.push(e);
    else if (e !== STOP) throw e;
  }
  return new Trace(source.name, program, grid, entries, problems, stopped);
}

class Trace implements DebugTrace {
  constructor(
    readonly kernel: string,
    readonly program: readonly number[],
    readonly grid: readonly number[],
    readonly entries: readonly DebugEntry[],
    readonly problems: readonly Error[],
    readonly stopped: DebugEntry | undefined,
  ) {}

  toString(): string {
    const lines = [
      `kernel ${this.kernel}, program (${this.program.join(", ")}) of (${this.grid.join(", ")})`,
    ];
    for (const e of this.entries) {
      const where = e.helper === undefined ? `line ${e.line}` : `${e.helper}, line ${e.line}`;
      lines.push(`  ${where}: ${e.name} = ${showValue(e)}${e === this.stopped ? "   <- stopped here" : ""}`);
    }
    if (this.stopped && !this.entries.includes(this.stopped))
      lines.push(`  stopped at line ${this.stopped.line}: ${this.stopped.name} = ${showValue(this.stopped)}`);
    for (const p of this.problems) lines.push(`  ${p.message.replaceAll("\n", "\n  ")}`);
    return lines.join("\n");
  }
}

const SHOWN = 16;

function showValue({ dtype, shape, value }: DebugEntry): string {
  const one = (v: number | bigint | boolean): string =>
    typeof v === "number" && !Number.isInteger(v) ? String(Number(v.toPrecision(6))) : String(v);
  if (!Array.isArray(value)) return `${one(value as number)} (${dtype})`;
  const more = value.length > SHOWN ? `, … ${value.length - SHOWN} more` : "";
  return `${dtype}[${shape.join(",")}] ${value.slice(0, SHOWN).map(one).join(", ")}${more}`;
}

function whole3(list: readonly number[], fill: number, what: string): [number, number, number] {
  const all = [list[0] ?? fill, list[1] ?? fill, list[2] ?? fill] as [number, number, number];
  if (list.length > 3 || all.some((n) => !Number.isInteger(n)))
    throw new RangeError(`${what} is a list of one to three whole numbers, not [${list.join(", ")}]`);
  return all;
}

/** A tensor's memory up to its end, so that what lies behind it is outside. */
async function copyOf(v: KernelBuffer, chip: KernelBuffer["chip"]): Promise<Argument> {
  const bytes = (v.offset + v.available) * DTYPES[v.dtype as DType].bytes;
  const copy = await chip.driver.read(v.buffer, 0, Math.min(bytes, v.buffer.bytes));
  return { data: copy.slice().buffer as ArrayBuffer, offset: v.offset };
}

function valuesOf(v: Value, array: Elements): DebugValue {
  const { dtype, shape } = tileType(v);
  const list = Array.from(array as Float64Array, (x) => (dtype === "bool" ? x !== 0 : x));
  return shape.length === 0 ? list[0]! : list;
}

/** Ops of an expression that are followed by others of the same one: `at < n` first makes a tile of `n`. */
function partialOps(func: Func): Set<Op> {
  const found = new Set<Op>();
  walk(func.body, (op) => {
    const next = op.parent?.ops[op.parent.ops.indexOf(op) + 1];
    const [a, b] = [op.loc, next?.loc];
    if (a && b && a.source === b.source && a.start === b.start && a.end === b.end) found.add(op);
  });
  return found;
}

const NAME = "[A-Za-z_$][\\w$]*";
const OPERATOR = "(?:[-+*/%&|^]|\\*\\*|<<|>>>?)?";
const ASSIGNED = new RegExp(`(?:^|[^\\w$.])(${NAME})\\s*${OPERATOR}=\\s*$`);
const ASSIGNMENT = new RegExp(`^(${NAME})\\s*${OPERATOR}=(?!=)`);

/** The variable that an op's result is assigned to, from the author's text around it. */
function placeOf(func: Func, op: Op): Pick<DebugEntry, "name" | "line" | "helper"> | undefined {
  const { loc } = op;
  const source = loc && func.sources[loc.source];
  if (!source) return undefined;
  const before = source.text.slice(0, loc.start);
  const own = source.text.slice(loc.start, loc.end);
  const name =
    ASSIGNMENT.exec(own)?.[1] ??
    (/^\s*(?:[;,}\n]|$)/.test(source.text.slice(loc.end)) ? ASSIGNED.exec(before)?.[1] : undefined);
  if (name === undefined) return undefined;
  const line = before.split("\n").length;
  return { name, line, helper: loc.source === 0 ? undefined : source.name };
}

/** Notes what is written of a tensor that began unwritten, and says where it is read before. */
function checkWritten(
  op: Op,
  written: Set<number>,
  read: (v: Value) => Elements,
  say: (what: string) => void,
): void {
  if (op.opcode !== "load" && op.opcode !== "store" && op.opcode !== "atomic" && op.opcode !== "atomicCas")
    return;
  const at = read(op.operands[1]!);
  const maskAt = op.opcode === "load" ? 2 : op.opcode === "atomicCas" ? 4 : 3;
  const mask = op.operands[maskAt] && read(op.operands[maskAt]!);
  for (let i = 0; i < at.length; i++) {
    if (mask && !mask[i]) continue;
    const k = Number(at[i]);
    if (op.opcode !== "store" && !written.has(k)) {
      const element = at.length > 1 ? ` (element ${i} of the tile)` : "";
      say(`reads offset ${k}, which nothing has written${element}`);
      break;
    }
    if (op.opcode !== "load") written.add(k);
  }
}
