// Reads the text form of the IR that `print.ts` writes. It checks the form only; whether the ops fit is `verify`'s part.

import { type Attr, Block, Func, type Loc, Op, type Value } from "./ir.js";
import { opDef } from "./ops/index.js";
import { parseType, type Type } from "./type.js";

/** The text is not IR. `line` counts from 1. */
export class IrParseError extends Error {
  override name = "IrParseError";
  constructor(
    reason: string,
    readonly line: number,
  ) {
    super(`line ${line}: ${reason}`);
  }
}

/** Regions nested deeper than this are refused, so that no text overflows the stack. */
const MAX_DEPTH = 200;

/**
 * The function that {@link print} wrote. Comments (`// …`) are skipped.
 *
 * @throws IrParseError that names the line, for anything else
 */
export function parse(text: string): Func {
  return new Parser(text).func();
}

class Parser {
  private at = 0;
  private depth = 0;
  /** The names in sight, innermost region last. */
  private readonly scopes: Map<string, Value>[] = [new Map()];
  constructor(private readonly text: string) {}

  func(): Func {
    const sources: Func["sources"] = [];
    while (this.accept("source")) sources.push({ name: this.string(), text: this.string() });
    this.expect("func");
    this.expect("@");
    const name = this.identifier();
    const params: { name: string; type: Type }[] = [];
    const facts: { divisibility: number }[] = [];
    this.list("(", ")", () => {
      const param = this.typedName();
      params.push({ name: param.name ?? param.key, type: param.type });
      if (this.peek("{")) {
        const divisibility = this.attrs()["divisibility"];
        if (typeof divisibility !== "number") this.fail("a parameter's facts are {divisibility: number}");
        facts.push({ divisibility });
      }
    });
    if (facts.length > 0 && facts.length !== params.length)
      this.fail("either all parameters or none have {divisibility}");
    const func = new Func(name, params);
    func.sources = sources;
    if (facts.length > 0) func.paramFacts = facts;
    func.body.args.forEach((v, i) => {
      this.define(params[i]!.name, v);
    });
    this.block(func.body);
    this.space();
    if (this.at < this.text.length) this.fail("text after the function's end");
    return func;
  }

  private block(block: Block): void {
    if (++this.depth > MAX_DEPTH) this.fail(`regions nested more than ${MAX_DEPTH} deep`);
    this.expect("{");
    while (!this.accept("}")) {
      if (this.at >= this.text.length) this.fail("the text ends inside a block");
      this.op(block);
    }
    this.depth--;
  }

  private op(block: Block): void {
    const results: { name: string | undefined; key: string; type: Type }[] = [];
    if (this.peek("%")) {
      do results.push(this.typedName());
      while (this.accept(","));
      this.expect("=");
    }
    const opcode = this.identifier();
    try {
      opDef(opcode);
    } catch (e) {
      this.fail((e as Error).message);
    }
    const attrs = this.peek("{") ? this.attrs() : {};
    const operands: Value[] = [];
    this.list("(", ")", () => operands.push(this.operand()));
    const regions: Block[] = [];
    while (this.peek("(") || this.peek("{")) {
      const args: { name: string | undefined; key: string; type: Type }[] = [];
      if (this.peek("(")) this.list("(", ")", () => args.push(this.typedName()));
      const region = new Block(args.map((a) => a.type));
      this.scopes.push(new Map());
      region.args.forEach((v, i) => {
        v.name = args[i]!.name;
        this.define(args[i]!.key, v);
      });
      this.block(region);
      this.scopes.pop();
      regions.push(region);
    }
    const loc = this.peek("loc") ? this.loc() : undefined;
    const op = new Op(
      opcode,
      operands,
      results.map((r) => r.type),
      attrs,
      regions,
      loc,
    );
    op.results.forEach((v, i) => {
      v.name = results[i]!.name;
      this.define(results[i]!.key, v);
    });
    block.push(op);
  }

  private loc(): Loc {
    this.expect("loc");
    this.expect("(");
    const places: { source: number; start: number; end: number }[] = [];
    do {
      const m = this.token(/(\d{1,15}):(\d{1,15})-(\d{1,15})/y, "source:start-end");
      places.push({ source: Number(m[1]), start: Number(m[2]), end: Number(m[3]) });
    } while (this.accept("from"));
    this.expect(")");
    return places.reduceRight<Loc | undefined>((caller, p) => (caller ? { ...p, caller } : p), undefined)!;
  }

  private attrs(): Record<string, Attr> {
    const attrs: Record<string, Attr> = {};
    this.list("{", "}", () => {
      const key = this.identifier();
      this.expect(":");
      if (Object.hasOwn(attrs, key) || key === "__proto__")
        this.fail(`attribute ${key} stands twice or has no valid name`);
      attrs[key] = this.attr();
    });
    return attrs;
  }

  private attr(): Attr {
    if (this.accept("true")) return true;
    if (this.accept("false")) return false;
    if (this.peek('"')) return this.string();
    if (!this.peek("[")) return this.number();
    const items: number[] = [];
    this.list("[", "]", () => {
      const n = this.number();
      if (typeof n === "bigint") this.fail("lists hold numbers, not bigints");
      items.push(n);
    });
    return items;
  }

  private number(): number | bigint {
    const m = this.token(
      /(-?\d{1,40})n(?![\w$])|-?(?:inf|nan|\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?![\w$])/y,
      "a number",
    );
    if (m[1] !== undefined) return BigInt(m[1]);
    if (m[0] === "nan" || m[0] === "-nan") return Number.NaN;
    if (m[0] === "inf") return Number.POSITIVE_INFINITY;
    return m[0] === "-inf" ? Number.NEGATIVE_INFINITY : Number(m[0]);
  }

  private string(): string {
    const m = this.token(/"[^"\\\n]*(?:\\.[^"\\\n]*)*"/y, "a quoted string");
    try {
      return JSON.parse(m[0]) as string;
    } catch {
      return this.fail(`not a string: ${m[0]}`);
    }
  }

  private identifier(): string {
    return this.peek('"') ? this.string() : this.token(/[A-Za-z_$][\w$]*/y, "a name")[0];
  }

  /** `%name`: numbered values are nameless. */
  private valueName(): { name: string | undefined; key: string } {
    this.expect("%");
    const m = this.peek('"') ? undefined : this.token(/\d+|[A-Za-z_$][\w$]*/y, "a value's name")[0];
    if (m === undefined) {
      const name = this.string();
      return { name, key: name };
    }
    return /^\d/.test(m) ? { name: undefined, key: `#${m}` } : { name: m, key: m };
  }

  private typedName(): { name: string | undefined; key: string; type: Type } {
    const name = this.valueName();
    this.expect(":");
    const m = this.token(/buffer<\w+>|\w+(?:\[[\d,]*\])?/y, "a type");
    try {
      return { ...name, type: parseType(m[0]) };
    } catch (e) {
      return this.fail((e as Error).message);
    }
  }

  private operand(): Value {
    const { key } = this.valueName();
    for (let i = this.scopes.length - 1; i >= 0; i--) {
      const v = this.scopes[i]!.get(key);
      if (v) return v;
    }
    return this.fail(`%${key.replace("#", "")} is used before its definition`);
  }

  private define(key: string, v: Value): void {
    if (this.scopes.some((s) => s.has(key))) this.fail(`%${key.replace("#", "")} is defined twice`);
    this.scopes.at(-1)!.set(key, v);
  }

  private list(open: string, close: string, item: () => void): void {
    this.expect(open);
    if (this.accept(close)) return;
    do item();
    while (this.accept(","));
    this.expect(close);
  }

  private space(): void {
    const re = /\s*(?:\/\/[^\n]*\s*)*/y;
    re.lastIndex = this.at;
    this.at += re.exec(this.text)![0].length;
  }

  private peek(word: string): boolean {
    this.space();
    if (!this.text.startsWith(word, this.at)) return false;
    // A keyword ends where the word ends.
    return !/\w$/.test(word) || !/[\w$]/.test(this.text[this.at + word.length] ?? "");
  }

  private accept(word: string): boolean {
    if (!this.peek(word)) return false;
    this.at += word.length;
    return true;
  }

  private expect(word: string): void {
    if (!this.accept(word)) this.fail(`${word} expected`);
  }

  private token(re: RegExp, what: string): RegExpExecArray {
    this.space();
    re.lastIndex = this.at;
    const m = re.exec(this.text);
    if (!m) return this.fail(`${what} expected`);
    this.at += m[0].length;
    return m;
  }

  private fail(reason: string): never {
    const found = /[^\n]{0,24}/y;
    found.lastIndex = this.at;
    const near = found.exec(this.text)?.[0].trim();
    const line = this.text.slice(0, this.at).split("\n").length;
    throw new IrParseError(near ? `${reason}, near: ${near}` : reason, line);
  }
}
