// The text form of the IR. `parse.ts` reads it back.
//
//   func @scale(%x: buffer<f32> {divisibility: 16}, %n: i32) {
//     %at: i32[64] = arange {start: 0, end: 64}()
//     %v: f32[64] = load(%x, %at)
//     %sum: f32 = for(%0, %n, %1, %init) (%i: i32, %acc: f32) {
//       yield(%next)
//     }
//   }

import type { Attr, Block, Func, Loc, Op, Value } from "./ir.js";
import { showType } from "./type.js";

export interface PrintOptions {
  /** Adds `loc(source:start-end)` to ops and the texts that these point into. Default: no. */
  readonly locations?: boolean;
}

/**
 * The readable text of a function; {@link parse} reads it back to the same function. Values keep the author's
 * names (made unique by a suffix), nameless ones are numbered.
 */
export function print(func: Func, options: PrintOptions = {}): string {
  const printer = new Printer(options.locations ?? false);
  return printer.func(func);
}

/** One op on a line (with its regions below it), for messages. Names are those of this op alone. */
export function printOp(op: Op): string {
  return new Printer(false).op(op, "").join("\n");
}

export function showNumber(x: number | bigint): string {
  if (typeof x === "bigint") return `${x}n`;
  if (Number.isNaN(x)) return "nan";
  if (!Number.isFinite(x)) return x < 0 ? "-inf" : "inf";
  return Object.is(x, -0) ? "-0" : String(x);
}

export function showAttr(a: Attr): string {
  if (typeof a === "string") return JSON.stringify(a);
  if (typeof a === "boolean") return String(a);
  if (typeof a === "number" || typeof a === "bigint") return showNumber(a);
  return `[${a.map(showNumber).join(", ")}]`;
}

function showLoc(loc: Loc): string {
  const places: string[] = [];
  for (let l: Loc | undefined = loc; l; l = l.caller) places.push(`${l.source}:${l.start}-${l.end}`);
  return `loc(${places.join(" from ")})`;
}

class Printer {
  private readonly names = new Map<Value, string>();
  private readonly taken = new Set<string>();
  private readonly suffixes = new Map<string, number>();
  private nameless = 0;
  constructor(private readonly locations: boolean) {}

  func(func: Func): string {
    const lines: string[] = [];
    if (this.locations)
      for (const s of func.sources) lines.push(`source ${JSON.stringify(s.name)} ${JSON.stringify(s.text)}`);
    const params = func.body.args.map((v, i) => {
      const name = this.name(v, func.paramNames[i]);
      const facts = func.paramFacts?.[i];
      return `${name}: ${showType(v.type)}${facts ? ` {divisibility: ${facts.divisibility}}` : ""}`;
    });
    lines.push(`func @${identifier(func.name)}(${params.join(", ")}) {`);
    for (const op of func.body.ops) lines.push(...this.op(op, "  "));
    lines.push("}");
    return lines.join("\n") + "\n";
  }

  op(op: Op, indent: string): string[] {
    const operands = op.operands.map((v) => this.name(v)).join(", ");
    const results = op.results.map((v) => `${this.name(v)}: ${showType(v.type)}`).join(", ");
    const attrs = Object.entries(op.attrs).map(([k, a]) => `${identifier(k)}: ${showAttr(a)}`);
    let head = `${indent}${results ? results + " = " : ""}${op.opcode}`;
    if (attrs.length > 0) head += ` {${attrs.join(", ")}}`;
    head += `(${operands})`;
    const lines: string[] = [];
    for (const region of op.regions) {
      lines.push(`${head}${this.args(region)} {`);
      for (const inner of region.ops) lines.push(...this.op(inner, indent + "  "));
      head = `${indent}}`;
    }
    lines.push(head + (this.locations && op.loc ? ` ${showLoc(op.loc)}` : ""));
    return lines;
  }

  private args(region: Block): string {
    if (region.args.length === 0) return "";
    return ` (${region.args.map((v) => `${this.name(v)}: ${showType(v.type)}`).join(", ")})`;
  }

  private name(v: Value, wanted = v.name): string {
    let name = this.names.get(v);
    if (name !== undefined) return name;
    if (wanted === undefined) name = `%${this.nameless++}`;
    else {
      name = `%${identifier(wanted)}`;
      let n = this.suffixes.get(wanted) ?? 0;
      while (this.taken.has(name)) name = `%${identifier(`${wanted}_${++n}`)}`;
      this.suffixes.set(wanted, n);
    }
    this.taken.add(name);
    this.names.set(v, name);
    return name;
  }
}

const identifier = (name: string): string => (/^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name));
