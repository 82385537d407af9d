// Fits the arguments of a call to a schema: checks types, fills in defaults, says clearly what is wrong.
// It turns any call form into one positional array; running the operator is `operator.ts`.

import { nearest } from "../compiler/nearest.js";
import { parseDType } from "./dtype.js";
import type { Schema, SchemaArgument, SchemaDefault, SchemaType } from "./schema.js";
import { printType } from "./schema.js";
import { Tensor } from "./tensor.js";

/** A call that does not fit an operator's schema. */
export class ArgumentError extends TypeError {
  override name = "ArgumentError";
}

/** Marks a value that does not fit. */
const WRONG = Symbol("wrong");
/** Thrown instead of an error where only the fact matters. */
const MISFIT = Symbol("misfit");

type Check = (value: unknown) => unknown;

const CHECKS: Readonly<Record<SchemaType["kind"], Check>> = {
  Tensor: (v) => (v instanceof Tensor ? v : WRONG),
  Scalar: (v) => (typeof v === "number" || typeof v === "boolean" || typeof v === "bigint" ? v : WRONG),
  int: (v) =>
    typeof v === "number" && Number.isInteger(v)
      ? v
      : typeof v === "bigint" && Number.isSafeInteger(Number(v))
        ? Number(v)
        : WRONG,
  bool: (v) => (typeof v === "boolean" ? v : WRONG),
  float: (v) => (typeof v === "number" ? v : WRONG),
  str: (v) => (typeof v === "string" ? v : WRONG),
  ScalarType: (v) => (typeof v === "string" ? (parseDType(v) ?? WRONG) : WRONG),
  Generator: (v) => (typeof v === "object" && v !== null && "take" in v ? v : WRONG),
  Device: (v) => (typeof v === "string" ? v : WRONG),
  Layout: (v) => (typeof v === "string" ? v : WRONG),
  MemoryFormat: (v) => (typeof v === "string" ? v : WRONG),
  Index: (v) => v,
};

function checkOf(type: SchemaType, scalars: boolean): Check {
  const plain = CHECKS[type.kind];
  const single: Check =
    type.kind === "Tensor" && scalars && !type.list
      ? (v) =>
          v instanceof Tensor || typeof v === "number" || typeof v === "boolean" || typeof v === "bigint"
            ? v
            : WRONG
      : plain;
  let check = single;
  if (type.list) {
    const size = type.size;
    check = (v) => {
      if (!Array.isArray(v)) {
        if (type.kind === "Tensor") return WRONG;
        const one = single(v);
        return one === WRONG ? WRONG : new Array(size ?? 1).fill(one);
      }
      for (let i = 0; i < v.length; i++) {
        const item: unknown = v[i];
        if (item === null || item === undefined) {
          if (!type.elementOptional) return WRONG;
        } else if (single(item) !== item) return single(item) === WRONG ? WRONG : v.map(single);
      }
      return size !== undefined && v.length === 1 && size > 1 ? new Array(size).fill(v[0]) : v;
    };
  }
  return type.optional ? (v) => (v === null ? null : check(v)) : check;
}

const materialise = (value: SchemaDefault, type: SchemaType): unknown => {
  if (value === null || !type.list || Array.isArray(value)) return value;
  return new Array(type.size ?? 1).fill(value);
};

const isOptions = (v: unknown): v is Record<string, unknown> => {
  if (typeof v !== "object" || v === null) return false;
  const proto = Object.getPrototypeOf(v) as unknown;
  return proto === Object.prototype || proto === null;
};

function show(v: unknown): string {
  if (v instanceof Tensor) return v.toString();
  if (Array.isArray(v)) return v.length > 6 ? `an array of ${v.length}` : `[${v.map(show).join(", ")}]`;
  if (typeof v === "string") return JSON.stringify(v);
  if (typeof v === "function") return `the function ${v.name || "(anonymous)"}`;
  if (isOptions(v)) return `{ ${Object.keys(v).join(", ")} }`;
  if (typeof v === "object" && v !== null) return `a ${v.constructor.name}`;
  return String(v);
}

function hint(type: SchemaType, value: unknown): string {
  if (
    type.kind === "Tensor" &&
    (typeof value === "number" || Array.isArray(value) || ArrayBuffer.isView(value))
  ) {
    return type.list ? ". Pass an array of tensors" : ". Make a tensor of it with tensor(…)";
  }
  if (type.kind === "Scalar" && value instanceof Tensor) return ". Read it first: await t.item()";
  if (type.kind === "ScalarType") return '. Dtypes are named "f32", "i64", "bool", …';
  if (value instanceof Promise) return ". Await it first";
  return "";
}

function describe(type: SchemaType): string {
  const single: Record<string, string> = {
    ScalarType: "dtype",
    Scalar: "number",
    str: "string",
    int: "integer",
    Generator: "Generator",
  };
  const word = single[type.kind] ?? type.kind;
  const many = type.size === undefined ? `a list of ${word}s` : `a list of ${type.size} ${word}s`;
  return (
    (type.list ? many : `a ${word}`.replace(/^a ([aeiou])/, "an $1")) + (type.optional ? " or null" : "")
  );
}

interface Slot {
  readonly arg: SchemaArgument;
  readonly check: Check;
  readonly required: boolean;
  readonly value: unknown;
}

/** Binds calls of one operator. */
export class Binder {
  readonly #slots: readonly Slot[];
  readonly #positional: number;
  readonly #byProperty = new Map<string, number>();
  readonly #bySchemaName = new Map<string, number>();
  /** The last positional argument is a list of integers: `permute(2, 0, 1)` means `permute([2, 0, 1])`. */
  readonly #gathers: boolean;
  #quiet = false;

  constructor(
    readonly schema: Schema,
    scalars: boolean,
  ) {
    this.#slots = schema.args.map((arg) => ({
      arg,
      check: checkOf(arg.type, scalars),
      required: arg.default === undefined,
      value: arg.default === undefined ? undefined : materialise(arg.default, arg.type),
    }));
    this.#positional = schema.args.filter((a) => !a.keywordOnly).length;
    schema.args.forEach((arg, i) => {
      this.#byProperty.set(arg.property, i);
      this.#bySchemaName.set(arg.name, i);
    });
    const last = schema.args[this.#positional - 1]?.type;
    this.#gathers = (last?.list ?? false) && last?.kind === "int" && last.size === undefined;
  }

  /**
   * The values in schema order of a call: positional ones, then at most one plain object with the rest by name.
   * `args` becomes the result's array. Throws {@link ArgumentError}.
   */
  bind(args: unknown[]): unknown[] {
    const slots = this.#slots;
    let given = args.length;
    let options: Record<string, unknown> | undefined;
    if (given > 0 && isOptions(args[given - 1])) {
      options = args[given - 1] as Record<string, unknown>;
      args.length = --given;
    }
    if (given > this.#positional) given = this.#gather(args);
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[i]!;
      const value = i < given ? args[i] : undefined;
      if (value !== undefined) {
        const fit = slot.check(value);
        if (fit === WRONG) this.#wrong(slot.arg, value);
        args[i] = fit;
      } else args[i] = slot.value;
    }
    if (options !== undefined) this.#fill(args, given, options, this.#byProperty);
    for (let i = 0; i < slots.length; i++) if (args[i] === undefined) this.#missing(i);
    return args;
  }

  /** As {@link bind}, but undefined if the call does not fit. */
  tryBind(args: unknown[]): unknown[] | undefined {
    this.#quiet = true;
    try {
      return this.bind(args);
    } catch (error) {
      if (error === MISFIT) return undefined;
      throw error;
    } finally {
      this.#quiet = false;
    }
  }

  /** As {@link bind} with Python's conventions: snake_case names apart. The first argument is `input`. */
  bindByName(input: unknown, args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>): unknown[] {
    const values = [input, ...args];
    if (values.length > this.#positional && !this.#gathers) this.#tooMany(values.length);
    const given = values.length > this.#positional ? this.#gather(values) : values.length;
    const bound = this.#slots.map((slot, i) => {
      const value = values[i];
      if (i >= given || value === undefined) return slot.value;
      const fit = slot.check(value);
      if (fit === WRONG) this.#wrong(slot.arg, value);
      return fit;
    });
    this.#fill(bound, given, kwargs, this.#bySchemaName);
    bound.forEach((v, i) => {
      if (v === undefined) this.#missing(i);
    });
    return bound;
  }

  #fill(
    out: unknown[],
    given: number,
    options: Readonly<Record<string, unknown>>,
    names: ReadonlyMap<string, number>,
  ): void {
    for (const key of Object.keys(options)) {
      const at = names.get(key) ?? this.#bySchemaName.get(key);
      if (at === undefined) {
        if (this.#quiet) throw MISFIT;
        const near = nearest(key, [...names.keys()]);
        throw new ArgumentError(
          `\`${this.schema.name}\` has no argument \`${key}\`${near ? `; did you mean \`${near}\`?` : `; it takes ${[...names.keys()].join(", ")}`}`,
        );
      }
      const value = options[key];
      if (value === undefined) continue;
      const slot = this.#slots[at]!;
      if (at < given && this.#quiet) throw MISFIT;
      if (at < given)
        throw new ArgumentError(
          `\`${this.schema.name}\` got argument \`${key}\` twice: by position and by name`,
        );
      const fit = slot.check(value);
      if (fit === WRONG) this.#wrong(slot.arg, value);
      out[at] = fit;
    }
  }

  #gather(args: unknown[]): number {
    const n = this.#positional;
    if (!this.#gathers) this.#tooMany(args.length);
    for (let i = n - 1; i < args.length; i++) if (typeof args[i] !== "number") this.#tooMany(args.length);
    args[n - 1] = args.slice(n - 1);
    args.length = n;
    return n;
  }

  #tooMany(count: number): never {
    if (this.#quiet) throw MISFIT;
    const keywords = this.#slots.filter((s) => s.arg.keywordOnly).map((s) => s.arg.property);
    const byName = keywords.length > 0 ? `; pass ${keywords.join(", ")} by name: { ${keywords[0]}: … }` : "";
    throw new ArgumentError(
      `\`${this.schema.name}\` takes at most ${this.#positional} positional arguments, not ${count}${byName}`,
    );
  }

  #missing(i: number): never {
    if (this.#quiet) throw MISFIT;
    const { arg } = this.#slots[i]!;
    throw new ArgumentError(
      `\`${this.schema.name}\` misses its argument \`${arg.property}\` (${describe(arg.type)})`,
    );
  }

  #wrong(arg: SchemaArgument, value: unknown): never {
    if (this.#quiet) throw MISFIT;
    throw new ArgumentError(
      `argument \`${arg.property}\` of \`${this.schema.name}\` must be ${describe(arg.type)} (${printType(arg.type)}), not ${show(value)}${hint(arg.type, value)}`,
    );
  }
}
