// JSON Schema as a grammar of the JSON texts that fit it. What restricts values and is not supported is an error that
// names the keyword: an answer that only looks constrained would be worse. Source: JSON Schema 2020-12.

import { anyJsonCharacter } from "./characters.js";
import { bytes, choice, optional, type Part, reference, repeat, sequence, text } from "./grammar.js";
import { integerBetween } from "./integers.js";
import { PatternError, patternPart } from "./regex.js";

/** A schema that cannot be followed. */
export class JsonSchemaError extends Error {
  override name = "JsonSchemaError";
  constructor(
    /** Where in the schema: `properties.age.minimum`; empty for the schema itself. */
    readonly path: string,
    readonly reason: string,
  ) {
    super(path ? `${path}: ${reason}` : reason);
  }
}

type Schema = Readonly<Record<string, unknown>>;

/** Keywords that say nothing about which values fit. */
const ANNOTATIONS = new Set(["$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"]); // biome-ignore format: a list
const OF_TYPE: Readonly<Record<string, readonly string[]>> = {
  object: ["properties", "required", "additionalProperties"],
  array: ["items", "prefixItems", "minItems", "maxItems"],
  string: ["minLength", "maxLength", "pattern", "format"],
  integer: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
  number: [],
  boolean: [],
  null: [],
};
const FORMATS: Readonly<Record<string, string>> = {
  date: "^\\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\\d|3[01])$",
  time: "^([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,9})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)$",
  "date-time":
    "^\\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\\d|3[01])T([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,9})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)$",
  uuid: "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
  email: "^[A-Za-z0-9._%+-]{1,64}@([A-Za-z0-9-]{1,63}\\.){1,8}[A-Za-z]{2,24}$",
  ipv4: "^((25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)\\.){3}(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)$",
};
/** Lists and texts with larger bounds would make automata of no use. */
const MOST = 10_000;

/** White space between the parts of a JSON text: none, one space, or a new line with an indent; never endless. */
const SPACE = optional(choice(text(" "), sequence(text("\n"), repeat(text(" "), 0, 20))));
const DIGITS = repeat(bytes([0x30, 0x39]), 1);
const INTEGER = sequence(
  optional(text("-")),
  choice(text("0"), sequence(bytes([0x31, 0x39]), repeat(bytes([0x30, 0x39]), 0))),
);
const NUMBER = sequence(
  INTEGER,
  optional(sequence(text("."), DIGITS)),
  optional(sequence(bytes([0x45, 0x45], [0x65, 0x65]), optional(bytes([0x2b, 0x2b], [0x2d, 0x2d])), DIGITS)),
);
const STRING = sequence(text('"'), repeat(anyJsonCharacter, 0), text('"'));
const listOf = (item: Part, min = 0, max = Number.POSITIVE_INFINITY): Part => {
  if (max === 0) return sequence(text("["), SPACE, text("]"));
  const items = sequence(
    item,
    SPACE,
    repeat(sequence(text(","), SPACE, item, SPACE), Math.max(min - 1, 0), max - 1),
  );
  return sequence(text("["), SPACE, min === 0 ? optional(items) : items, text("]"));
};
const ANY: Part = reference(() => ANY_VALUE);
const member = (key: Part, value: Part): Part => sequence(key, SPACE, text(":"), SPACE, value, SPACE);
const ANY_OBJECT = sequence(
  text("{"), SPACE, optional(sequence(member(STRING, ANY), repeat(sequence(text(","), SPACE, member(STRING, ANY)), 0))), text("}"),
); // biome-ignore format: as it is written
const ANY_VALUE: Part = choice(
  ANY_OBJECT,
  listOf(ANY),
  STRING,
  NUMBER,
  text("true"),
  text("false"),
  text("null"),
);

class Reader {
  readonly #references = new Map<string, Part>();
  constructor(private readonly root: Schema) {}

  part(schema: unknown, path: string): Part {
    if (schema === true) return ANY;
    if (schema === false) throw new JsonSchemaError(path, "false fits nothing");
    if (typeof schema !== "object" || schema === null || Array.isArray(schema))
      throw new JsonSchemaError(path, `a schema is an object or a boolean, not ${JSON.stringify(schema)}`);
    const s = schema as Schema;
    const keys = Object.keys(s).filter((k) => !ANNOTATIONS.has(k) && s[k] !== undefined);
    const alone = (key: string): void => {
      const other = keys.find((k) => k !== key && k !== "type");
      if (other) throw new JsonSchemaError(join(path, other), `not supported beside ${key}`);
    };
    if (keys.length === 0) return ANY;
    if (s["$ref"] !== undefined) {
      alone("$ref");
      return this.#reference(s["$ref"], join(path, "$ref"));
    }
    if (s["enum"] !== undefined) {
      alone("enum");
      if (!Array.isArray(s["enum"]) || s["enum"].length === 0)
        throw new JsonSchemaError(join(path, "enum"), "must be a list of at least one value");
      return choice(...s["enum"].map((v) => text(JSON.stringify(v))));
    }
    if ("const" in s) {
      alone("const");
      return text(JSON.stringify(s["const"]));
    }
    for (const key of ["anyOf", "oneOf"]) {
      const list = s[key];
      if (list === undefined) continue;
      alone(key);
      if (!Array.isArray(list) || list.length === 0)
        throw new JsonSchemaError(join(path, key), "must be a list of at least one schema");
      return choice(...list.map((x, i) => this.part(x, join(path, `${key}.${i}`))));
    }
    return this.#typed(s, keys, path);
  }

  #typed(s: Schema, keys: readonly string[], path: string): Part {
    let types: readonly unknown[] = [s["type"] ?? []].flat();
    // Without a type, keywords say which they are about.
    if (types.length === 0)
      types = Object.keys(OF_TYPE)
        .filter((t) => OF_TYPE[t]!.some((k) => keys.includes(k)))
        .slice(0, 1);
    if (types.length === 0) throw new JsonSchemaError(join(path, keys[0]!), "not supported");
    const unknown = types.find((t) => typeof t !== "string" || !Object.hasOwn(OF_TYPE, t));
    if (unknown !== undefined)
      throw new JsonSchemaError(join(path, "type"), `${JSON.stringify(unknown)} is no type of JSON`);
    const allowed = new Set(["type", ...types.flatMap((t) => OF_TYPE[t as string]!)]);
    const other = keys.find((k) => !allowed.has(k));
    if (other) throw new JsonSchemaError(join(path, other), `not supported for ${types.join(" or ")}`);
    return choice(...types.map((t) => this.#ofType(t as string, s, path)));
  }

  #ofType(type: string, s: Schema, path: string): Part {
    switch (type) {
      case "object":
        return this.#object(s, path);
      case "array":
        return this.#array(s, path);
      case "string":
        return this.#string(s, path);
      case "integer": {
        const low = bound(s, "minimum", path) ?? plus(bound(s, "exclusiveMinimum", path), 1);
        const high = bound(s, "maximum", path) ?? plus(bound(s, "exclusiveMaximum", path), -1);
        if (low === undefined && high === undefined) return INTEGER;
        if (low !== undefined && high !== undefined && low > high)
          throw new JsonSchemaError(path, `no integer is at least ${low} and at most ${high}`);
        return integerBetween(low, high);
      }
      case "number":
        return NUMBER;
      case "boolean":
        return choice(text("true"), text("false"));
      default:
        return text("null");
    }
  }

  /** Members stand in the order of `properties`; the optional ones may be left out. */
  #object(s: Schema, path: string): Part {
    const properties = (s["properties"] ?? {}) as Schema;
    if (typeof properties !== "object" || Array.isArray(properties))
      throw new JsonSchemaError(join(path, "properties"), "must be an object of schemas");
    const required = (s["required"] ?? []) as readonly string[];
    if (!Array.isArray(required))
      throw new JsonSchemaError(join(path, "required"), "must be a list of names");
    const names = Object.keys(properties);
    const more = s["additionalProperties"];
    const free = more === false ? undefined : this.part(more ?? true, join(path, "additionalProperties"));
    const stray = required.filter((r) => !names.includes(r));
    if (stray.length && !free)
      throw new JsonSchemaError(
        join(path, "required"),
        `${JSON.stringify(stray[0])} is not among the properties`,
      );
    const members = [
      ...names.map((name) => ({
        part: member(
          text(JSON.stringify(name)),
          this.part(properties[name], join(path, `properties.${name}`)),
        ),
        isRequired: required.includes(name),
      })),
      ...stray.map((name) => ({ part: member(text(JSON.stringify(name)), free!), isRequired: true })),
    ];
    const extra = free && member(STRING, free);
    // From the last member on: what may stand from member `i`, as the first of the object or behind a comma.
    const comma = sequence(text(","), SPACE);
    let first: Part = extra ? optional(sequence(extra, repeat(sequence(comma, extra), 0))) : sequence();
    let later: Part = extra ? repeat(sequence(comma, extra), 0) : sequence();
    for (const { part, isRequired } of members.reverse()) {
      const [restFirst, restLater] = [first, later];
      const present = sequence(part, restLater);
      first = isRequired ? present : choice(present, restFirst);
      later = isRequired ? sequence(comma, present) : choice(sequence(comma, present), restLater);
    }
    return sequence(text("{"), SPACE, first, text("}"));
  }

  #array(s: Schema, path: string): Part {
    const [min, max] = bounds(s, "minItems", "maxItems", path);
    const prefix = s["prefixItems"];
    const item =
      s["items"] === undefined
        ? ANY
        : s["items"] === false
          ? undefined
          : this.part(s["items"], join(path, "items"));
    if (prefix === undefined) return item ? listOf(item, min, max) : listOf(ANY, 0, 0);
    if (!Array.isArray(prefix) || prefix.length === 0)
      throw new JsonSchemaError(join(path, "prefixItems"), "must be a list of at least one schema");
    if (s["minItems"] !== undefined || s["maxItems"] !== undefined)
      throw new JsonSchemaError(
        join(path, "minItems" in s ? "minItems" : "maxItems"),
        "not supported beside prefixItems",
      );
    const comma = sequence(text(","), SPACE);
    const head = prefix.flatMap((p, i) => [
      ...(i ? [comma] : []),
      this.part(p, join(path, `prefixItems.${i}`)),
      SPACE,
    ]);
    const tail = item ? [repeat(sequence(comma, item, SPACE), 0)] : [];
    return sequence(text("["), SPACE, ...head, ...tail, text("]"));
  }

  #string(s: Schema, path: string): Part {
    const { pattern, format } = s;
    const hasLength = s["minLength"] !== undefined || s["maxLength"] !== undefined;
    if ((pattern !== undefined || format !== undefined) && hasLength)
      throw new JsonSchemaError(
        join(path, s["minLength"] === undefined ? "maxLength" : "minLength"),
        "not supported beside pattern or format",
      );
    if (pattern !== undefined && format !== undefined)
      throw new JsonSchemaError(join(path, "format"), "not supported beside pattern");
    if (format !== undefined && !Object.hasOwn(FORMATS, String(format)))
      throw new JsonSchemaError(
        join(path, "format"),
        `${JSON.stringify(format)} is not supported; there are ${Object.keys(FORMATS).join(", ")}`,
      );
    const expression = pattern ?? (format === undefined ? undefined : FORMATS[String(format)]);
    if (expression !== undefined) {
      if (typeof expression !== "string") throw new JsonSchemaError(join(path, "pattern"), "must be a text");
      try {
        return sequence(text('"'), patternPart(expression), text('"'));
      } catch (e) {
        if (e instanceof PatternError) throw new JsonSchemaError(join(path, "pattern"), e.message);
        throw e;
      }
    }
    const [min, max] = bounds(s, "minLength", "maxLength", path);
    return sequence(text('"'), repeat(anyJsonCharacter, min, max), text('"'));
  }

  /** A reference into the schema itself: `#`, `#/$defs/NAME`. */
  #reference(ref: unknown, path: string): Part {
    if (typeof ref !== "string" || !ref.startsWith("#"))
      throw new JsonSchemaError(path, `${JSON.stringify(ref)} is not inside this schema`);
    const known = this.#references.get(ref);
    if (known) return known;
    let target: unknown = this.root;
    for (const key of ref.slice(1).split("/").slice(1)) {
      const name = decodeURIComponent(key).replaceAll("~1", "/").replaceAll("~0", "~");
      target = typeof target === "object" && target !== null ? (target as Schema)[name] : undefined;
    }
    if (target === undefined) throw new JsonSchemaError(path, `there is no ${ref}`);
    // Entered before its content is read: it may contain itself.
    let content: Part | undefined;
    const part = reference(() => content!);
    this.#references.set(ref, part);
    content = this.part(target, ref.slice(2).replaceAll("/", "."));
    return part;
  }
}

const join = (path: string, key: string): string => (path ? `${path}.${key}` : key);
const plus = (n: number | undefined, d: number): number | undefined => (n === undefined ? undefined : n + d);

function bound(s: Schema, key: string, path: string): number | undefined {
  const v = s[key];
  if (v === undefined) return undefined;
  if (!Number.isSafeInteger(v))
    throw new JsonSchemaError(join(path, key), `must be a whole number, not ${JSON.stringify(v)}`);
  return v as number;
}

function bounds(s: Schema, low: string, high: string, path: string): [number, number] {
  for (const key of [low, high]) {
    const v = s[key];
    if (v !== undefined && !(Number.isInteger(v) && (v as number) >= 0 && (v as number) <= MOST))
      throw new JsonSchemaError(
        join(path, key),
        `must be a whole number from 0 to ${MOST}, not ${JSON.stringify(v)}`,
      );
  }
  const min = (s[low] as number | undefined) ?? 0;
  const max = (s[high] as number | undefined) ?? Number.POSITIVE_INFINITY;
  if (min > max) throw new JsonSchemaError(join(path, high), `${max} is below ${low}, ${min}`);
  return [min, max];
}

/**
 * The JSON texts that fit a schema. Members of an object stand in the order of `properties`.
 * @throws JsonSchemaError for keywords that are unknown or not supported, naming the place
 */
export function schemaPart(schema: unknown): Part {
  return new Reader((typeof schema === "object" && schema !== null ? schema : {}) as Schema).part(schema, "");
}

/** Any JSON object: OpenAI's `json_object`. */
export const anyObject = (): Part => ANY_OBJECT;
