// `assert` and `print` for chips that compile: both become ordinary stores into one more buffer, a parameter that only
// kernels with such ops have. A driver gives it memory, and reads after the launch what stands there.
//
// The buffer holds i32 words. Word 0 counts the words that records asked for; a record that no longer fits is dropped,
// but counted. A record is the site's number from 1 on, the program's id in three words, and the site's payload.

import { cloneFunc } from "../ir/clone.js";
import { Block, Builder, buffer, DTYPES, type DType, type Func, numel, type Op, type TileType, Value, walk } from "../ir/index.js"; // biome-ignore format: one line
import { excerpt } from "../excerpt.js";

/** Words of the buffer that a driver provides. */
export const REPORT_WORDS = 1 << 16;
/** Words of a record before its payload. */
export const REPORT_HEAD = 4;

/** One `assert` or `print` of a kernel: how its records are read. */
export interface ReportSite {
  readonly kind: "assert" | "print";
  /** The assert's message or the print's label. */
  readonly text: string;
  /** The author's line, for messages; may be empty. */
  readonly where: string;
  /** What a record holds: of an assert the number of the element; of a print its values. */
  readonly values: readonly { readonly dtype: DType; readonly shape: readonly number[] }[];
}

const LAST = 2 ** 31 - 1;

/**
 * The function with its reports as stores, and their sites by number. Without any it is the same function; else a copy
 * with one more parameter behind the others.
 */
export function lowerReports(original: Func): { func: Func; sites: readonly ReportSite[] } {
  let any = false;
  walk(original.body, (op) => {
    any ||= isReport(op);
  });
  if (!any) return { func: original, sites: [] };
  const func = cloneFunc(original);
  const words = new Value(buffer("i32"));
  words.def = func.body;
  words.name = "reports";
  func.body.args.push(words);
  func.paramNames.push("reports");
  func.paramFacts?.push({ divisibility: 16 });
  const sites: ReportSite[] = [];
  walk(func.body, (op) => {
    if (!isReport(op)) return;
    const fresh = new Block();
    const b = new Builder(fresh);
    b.loc = op.loc;
    sites.push(emitReport(b, op, words, sites.length, excerpt(func.sources, op.loc)));
    for (const made of [...fresh.ops]) op.parent!.insertBefore(op, made);
    op.erase();
  });
  return { func, sites };
}

const isReport = (op: Op): boolean => op.opcode === "assert" || op.opcode === "print";

function emitReport(b: Builder, op: Op, words: Value, number: number, where: string): ReportSite {
  const i32 = (x: number): Value => b.constant(x, "i32");
  const assert = op.opcode === "assert";
  let wanted: Value;
  const payload: { value: Value; size: number }[] = [];
  const values: { dtype: DType; shape: readonly number[] }[] = [];
  if (assert) {
    const condition = op.operands[0]!;
    const size = numel((condition.type as TileType).shape);
    const index =
      size === 1
        ? b.value("select", [scalarOf(b, condition), i32(LAST), i32(0)])
        : firstFalse(b, b.value("reshape", [condition], { shape: [size] }), size);
    wanted = b.value("cmp", [index, i32(LAST)], { pred: "ne" });
    payload.push({ value: index, size: 1 });
    values.push({ dtype: "i32", shape: (condition.type as TileType).shape });
  } else {
    wanted = b.constant(1, "bool");
    for (const v of op.operands) {
      const t = v.type as TileType;
      values.push({ dtype: t.dtype, shape: t.shape });
      for (const value of wordsOf(b, v)) payload.push({ value, size: numel(t.shape) });
    }
  }
  const length = REPORT_HEAD + payload.reduce((n, p) => n + p.size, 0);
  const at = b.value("atomic", [words, i32(0), i32(length), wanted], { kind: "add" });
  // Word 0 is the count; what was asked for may exceed the buffer, so it is compared without adding to it.
  const room = b.value("cmp", [at, i32(REPORT_WORDS - 1 - length)], { pred: "le" });
  const started = b.value("cmp", [at, i32(0)], { pred: "ge" });
  const fits = b.value("and", [wanted, b.value("and", [room, started])]);
  let next = 1;
  const put = (value: Value, size: number): void => {
    const from = b.value("add", [at, i32(next)]);
    next += size;
    if (size === 1) {
      b.create("store", [words, from, value, fits]);
      return;
    }
    const shape = [size];
    const places = b.value("add", [b.splat(from, shape), b.value("arange", [], { start: 0, end: size })]);
    b.create("store", [words, places, value, b.splat(fits, shape)]);
  };
  put(i32(number + 1), 1);
  for (const axis of [0, 1, 2]) put(b.value("programId", [], { axis }), 1);
  for (const { value, size } of payload) put(value, size);
  const text = String(op.attrs[assert ? "message" : "label"] ?? "");
  return { kind: assert ? "assert" : "print", text, where, values };
}

/** The only element as a scalar. */
const scalarOf = (b: Builder, v: Value): Value =>
  (v.type as TileType).shape.length === 0 ? v : b.value("reshape", [v], { shape: [] });

/** The number of the first element that is false, else {@link LAST}. */
function firstFalse(b: Builder, condition: Value, size: number): Value {
  const index = b.value("arange", [], { start: 0, end: size });
  const list = b.value("select", [condition, b.constant(LAST, "i32", [size]), index]);
  return b.value("reduce", [list], { kind: "min", axis: 0, nan: "ignore" });
}

/** A value as i32 words of its flat shape: one, or the low and the high half of 64 bits. */
function wordsOf(b: Builder, v: Value): Value[] {
  const t = v.type as TileType;
  const size = numel(t.shape);
  const flat = size === 1 ? scalarOf(b, v) : b.value("reshape", [v], { shape: [size] });
  const { kind, bits } = DTYPES[t.dtype];
  if (bits === 64) {
    const long = t.dtype === "i64" ? flat : b.value("bitcast", [flat], { dtype: "i64" });
    const high = b.value("shr", [long, b.constant(32n, "i64", size === 1 ? [] : [size])]);
    return [b.cast(long, "i32"), b.cast(high, "i32")];
  }
  if (kind === "float") return [b.value("bitcast", [b.cast(flat, "f32")], { dtype: "i32" })];
  return [b.cast(flat, "i32")];
}
