// ATen operator schemas as data: `add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor`.
// It parses and prints; what a value must look like to fit a type stands in `bind.ts`.

export type SchemaKind =
  | "Tensor"
  | "Scalar"
  | "int"
  | "bool"
  | "float"
  | "str"
  | "ScalarType"
  | "Generator"
  | "Device"
  | "Layout"
  | "MemoryFormat"
  | "Index";

export interface SchemaType {
  readonly kind: SchemaKind;
  /** `T[]` or `T[n]`. */
  readonly list: boolean;
  /** The n of `T[n]`: a single value stands for n equal ones. */
  readonly size?: number;
  /** `T?`, or `T[]?` for lists. */
  readonly optional: boolean;
  /** `T?[]`: elements may be absent. */
  readonly elementOptional: boolean;
  /** `Tensor(a)`: shares memory with whatever else carries the letter. */
  readonly alias?: string;
  /** `Tensor(a!)`: written in place. */
  readonly mutable: boolean;
}

export type SchemaDefault = number | boolean | string | null | readonly (number | boolean)[];

export interface SchemaArgument {
  /** As in the schema: `keepdim`, `start_dim`. */
  readonly name: string;
  /** As in TypeScript: `keepdim`, `startDim`. */
  readonly property: string;
  readonly type: SchemaType;
  /** Absent when the argument is required. */
  readonly default?: SchemaDefault;
  readonly keywordOnly: boolean;
}

export interface SchemaReturn {
  readonly name?: string;
  readonly type: SchemaType;
}

export interface Schema {
  /** `add.Tensor` */
  readonly name: string;
  /** `add` */
  readonly base: string;
  /** `Tensor`; empty when the operator has one form. */
  readonly overload: string;
  readonly args: readonly SchemaArgument[];
  readonly returns: readonly SchemaReturn[];
  readonly text: string;
}

export class SchemaError extends Error {
  override name = "SchemaError";
}

const KINDS: Readonly<Record<string, SchemaKind>> = {
  Tensor: "Tensor",
  Scalar: "Scalar",
  int: "int",
  SymInt: "int",
  bool: "bool",
  float: "float",
  str: "str",
  ScalarType: "ScalarType",
  Generator: "Generator",
  Device: "Device",
  Layout: "Layout",
  MemoryFormat: "MemoryFormat",
  Index: "Index",
};

/** Names that stand for a number in a default: the reductions of the losses. */
const NAMED_DEFAULTS: Readonly<Record<string, SchemaDefault>> = {
  None: null,
  True: true,
  False: false,
  Mean: 1,
  Sum: 2,
  inf: Infinity,
};

/** `start_dim` to `startDim`; underscores at either end stay (`add_`, `_softmax`). */
export function camelCase(name: string): string {
  if (!name.includes("_")) return name;
  return name.replace(/(?<=[A-Za-z0-9])_+([A-Za-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

class Reader {
  at = 0;
  constructor(readonly text: string) {}

  fail(what: string): never {
    throw new SchemaError(`${what} at column ${this.at + 1} of the schema \`${this.text}\``);
  }
  space(): void {
    while (this.text[this.at] === " " || this.text[this.at] === "\n") this.at++;
  }
  peek(token: string): boolean {
    this.space();
    return this.text.startsWith(token, this.at);
  }
  take(token: string): boolean {
    if (!this.peek(token)) return false;
    this.at += token.length;
    return true;
  }
  expect(token: string): void {
    if (!this.take(token)) this.fail(`expected \`${token}\``);
  }
  /** Takes what a sticky pattern matches here. */
  match(pattern: RegExp, what: string): string {
    this.space();
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (!found) this.fail(`expected ${what}`);
    this.at = pattern.lastIndex;
    return found[0];
  }
  get done(): boolean {
    this.space();
    return this.at === this.text.length;
  }
}

// Sticky: they match where the reader stands.
const IDENTIFIER = /[A-Za-z_][A-Za-z0-9_]*/y;
const ALIAS = /[a-z](\|[a-z])*/y;
const ALIAS_OR_ANY = /\*|[a-z](\|[a-z])*/y;
const LENGTH = /[0-9]+/y;
const STRING = /"[^"]*"|'[^']*'/y;
const NUMBER = /-?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?/y;

function parseType(r: Reader): SchemaType {
  const word = r.match(IDENTIFIER, "a type");
  const kind = Object.hasOwn(KINDS, word) ? KINDS[word] : undefined;
  if (!kind) {
    r.at -= word.length;
    r.fail(`unknown type \`${word}\``);
  }
  let alias: string | undefined;
  let mutable = false;
  if (kind === "Tensor" && r.take("(")) {
    alias = r.match(ALIAS, "an alias letter");
    mutable = r.take("!");
    if (r.take("->")) r.match(ALIAS_OR_ANY, "an alias letter or *");
    r.expect(")");
  }
  let optional = r.take("?");
  let elementOptional = false;
  let list = false;
  let size: number | undefined;
  if (r.take("[")) {
    list = true;
    elementOptional = optional;
    if (!r.peek("]")) size = Number(r.match(LENGTH, "a list length"));
    r.expect("]");
    optional = r.take("?");
  }
  return {
    kind,
    list,
    ...(size === undefined ? {} : { size }),
    optional,
    elementOptional,
    ...(alias === undefined ? {} : { alias }),
    mutable,
  };
}

function parseDefault(r: Reader): SchemaDefault {
  if (r.take("[")) {
    const items: (number | boolean)[] = [];
    while (!r.take("]")) {
      const item = parseDefault(r);
      if (typeof item !== "number" && typeof item !== "boolean") r.fail("expected a number or a boolean");
      items.push(item);
      if (!r.peek("]")) r.expect(",");
    }
    return items;
  }
  if (r.peek('"') || r.peek("'")) return r.match(STRING, "a string").slice(1, -1);
  if (r.peek("-") || /[0-9.]/.test(r.text[r.at] ?? "")) {
    return Number(r.match(NUMBER, "a number"));
  }
  const word = r.match(IDENTIFIER, "a default value");
  return Object.hasOwn(NAMED_DEFAULTS, word) ? NAMED_DEFAULTS[word]! : word;
}

function parseReturns(r: Reader): SchemaReturn[] {
  const one = (named: boolean): SchemaReturn => {
    const type = parseType(r);
    const name = named && !r.peek(",") && !r.peek(")") ? r.match(IDENTIFIER, "a result name") : undefined;
    return name === undefined ? { type } : { type, name };
  };
  if (!r.take("(")) return [one(false)];
  const returns: SchemaReturn[] = [];
  while (!r.take(")")) {
    returns.push(one(true));
    if (!r.peek(")")) r.expect(",");
  }
  return returns;
}

/**
 * Parses an operator schema in ATen's notation. Throws {@link SchemaError} that names the column.
 *
 * @example parseSchema("flatten(Tensor self, int start_dim=0, int end_dim=-1) -> Tensor").args[1].property // "startDim"
 */
export function parseSchema(text: string): Schema {
  let schema = schemas.get(text);
  if (schema === undefined) {
    schema = readSchema(text);
    schemas.set(text, schema);
  }
  return schema;
}

/** Parsed once per text: a definition is looked at in more than one place while the table is made. */
const schemas = new Map<string, Schema>();

type SchemaHead = Pick<Schema, "name" | "base" | "overload">;

function readHead(r: Reader): SchemaHead {
  const first = r.match(IDENTIFIER, "an operator name");
  // ATen's own operators go without a namespace; the others say whose they are.
  const namespace = r.take("::") ? `${first}::` : "";
  const base = namespace ? r.match(IDENTIFIER, "an operator name") : first;
  const overload = r.take(".") ? r.match(IDENTIFIER, "an overload name") : "";
  r.expect("(");
  return { name: namespace + (overload ? `${base}.${overload}` : base), base, overload };
}

/**
 * What the table of operators must know of a schema before anybody calls it, without parsing the rest: its names, and
 * whether it takes one Tensor called `self`. Throws {@link SchemaError} for texts that start otherwise.
 */
export function schemaHead(text: string): SchemaHead & { readonly takesSelf: boolean } {
  const head = readHead(new Reader(text));
  return { ...head, takesSelf: SELF.test(text.slice(0, text.lastIndexOf("->"))) };
}

const SELF = /\bTensor(\([^)]*\))?\??\s+self\b/;

function readSchema(text: string): Schema {
  const r = new Reader(text);
  const head = readHead(r);
  const args: SchemaArgument[] = [];
  const names = new Set<string>();
  let keywordOnly = false;
  while (!r.take(")")) {
    if (!keywordOnly && r.take("*")) {
      keywordOnly = true;
    } else {
      const type = parseType(r);
      const name = r.match(IDENTIFIER, "an argument name");
      if (names.has(name)) r.fail(`argument \`${name}\` stands twice`);
      names.add(name);
      const arg = { name, property: camelCase(name), type, keywordOnly };
      args.push(r.take("=") ? { ...arg, default: parseDefault(r) } : arg);
    }
    if (!r.peek(")")) r.expect(",");
  }
  r.expect("->");
  const returns = parseReturns(r);
  if (!r.done) r.fail("unexpected text");
  return { ...head, args, returns, text };
}

export function printType(type: SchemaType): string {
  const alias = type.alias ? `(${type.alias}${type.mutable ? "!" : ""})` : "";
  const brackets = type.list ? `[${type.size ?? ""}]` : "";
  return `${type.kind}${alias}${type.elementOptional ? "?" : ""}${brackets}${type.optional ? "?" : ""}`;
}

function printDefault(value: SchemaDefault): string {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (value === Infinity) return "inf";
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return `"${value}"`;
  return `[${value.map(printDefault).join(", ")}]`;
}

/** The schema's canonical text; parsing it gives the same schema. */
export function printSchema(schema: Schema): string {
  const args: string[] = [];
  let keywordOnly = false;
  for (const arg of schema.args) {
    if (arg.keywordOnly && !keywordOnly) args.push("*");
    keywordOnly ||= arg.keywordOnly;
    args.push(
      `${printType(arg.type)} ${arg.name}${arg.default === undefined ? "" : `=${printDefault(arg.default)}`}`,
    );
  }
  const returns = schema.returns.map((x) => printType(x.type) + (x.name ? ` ${x.name}` : ""));
  const result = returns.length === 1 && !schema.returns[0]!.name ? returns[0]! : `(${returns.join(", ")})`;
  return `${schema.name}(${args.join(", ")}) -> ${result}`;
}
