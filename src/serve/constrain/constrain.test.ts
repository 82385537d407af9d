import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { characters } from "./characters.js";
import { Grammar, type State } from "./grammar.js";
import { jsonGrammar, JsonSchemaError, TokenTable } from "./index.js";
import { patternPart } from "./regex.js";

const utf8 = new TextEncoder();

/** Whether a grammar takes the whole of a text. */
function fits(grammar: Grammar, text: string): boolean {
  let at: State | null | undefined = grammar.start;
  for (const byte of utf8.encode(text)) at = at?.step(byte);
  return at?.isComplete ?? false;
}

/** A text of a grammar, its bytes chosen by `draw(n)`, a number below n. It tends to its end. */
function walk(grammar: Grammar, draw: (n: number) => number): string {
  const out: number[] = [];
  let at = grammar.start;
  for (;;) {
    if (at.isComplete && (!at.isOpen || draw(3) === 0)) break;
    const next = Array.from({ length: 256 }, (_, b) => b).filter((b) => at.step(b));
    // Closing brackets and quotes first once the text is long.
    const closing = next.filter((b) => '"]}'.includes(String.fromCharCode(b)));
    const list = out.length > 60 && closing.length ? closing : next;
    const byte = list[draw(list.length)]!;
    out.push(byte);
    at = at.step(byte)!;
    if (out.length > 5000) throw new Error(`no end: ${new TextDecoder().decode(Uint8Array.from(out))}`);
  }
  return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(out));
}

describe("schemas", () => {
  const person = {
    type: "object",
    properties: {
      name: { type: "string", minLength: 1, maxLength: 5 },
      age: { type: "integer", minimum: 0, maximum: 130 },
      tags: { type: "array", items: { enum: ["a", "b"] }, maxItems: 2 },
    },
    required: ["name", "age"],
    additionalProperties: false,
  };
  const tree = {
    $ref: "#/$defs/node",
    $defs: {
      node: {
        type: "object",
        properties: {
          value: { type: "number" },
          children: { type: "array", items: { $ref: "#/$defs/node" } },
        },
        required: ["value"],
        additionalProperties: false,
      },
    },
  };

  it.each([
    [person, '{"name":"Ada","age":36}'],
    [person, '{"name": "Ada", "age": 0, "tags": ["a", "b"]}'],
    [person, '{\n  "name": "\\u00e9\\n",\n  "age": 130\n}'],
    [person, '{"name":"日本語","age":7,"tags":[]}'],
    [tree, '{"value":-1.5e3,"children":[{"value":0},{"value":1,"children":[]}]}'],
    [{ anyOf: [{ type: "null" }, { const: { a: [1, "x"] } }] }, '{"a":[1,"x"]}'],
    [{ type: ["string", "null"] }, "null"],
    [{ type: "string", pattern: "^[A-Z]{2}-\\d+$" }, '"AB-42"'],
    [{ type: "string", pattern: "b" }, '"abc"'],
    [{ type: "string", format: "date" }, '"2026-11-28"'],
    [{ type: "array", prefixItems: [{ type: "integer" }, { type: "boolean" }], items: false }, "[1, true]"],
    [{ type: "object" }, '{"any":{"thing":[1,null,"x"]}}'],
    [{}, '[{"a":1},2]'],
  ])("%j takes %s", (schema, text) => {
    expect(fits(jsonGrammar(schema), text)).toBe(true);
  });

  it.each([
    [person, '{"age":36,"name":"Ada"}'],
    [person, '{"name":"Ada"}'],
    [person, '{"name":"Ada","age":131}'],
    [person, '{"name":"Ada","age":-1}'],
    [person, '{"name":"","age":1}'],
    [person, '{"name":"Adaada","age":1}'],
    [person, '{"name":"Ada","age":1,"tags":["c"]}'],
    [person, '{"name":"Ada","age":1,"tags":["a","a","a"]}'],
    [person, '{"name":"Ada","age":1,"more":1}'],
    [person, '{"name":"Ada","age":1,}'],
    [tree, '{"children":[]}'],
    [tree, '{"value":01}'],
    [{ type: "string" }, '"a\nb"'],
    [{ type: "string", pattern: "^[A-Z]{2}-\\d+$" }, '"A-42"'],
    [{ type: "string", format: "date" }, '"2026-13-28"'],
    [{ type: "array", prefixItems: [{ type: "integer" }], items: false }, "[1,2]"],
    [{ type: "object" }, "[]"],
  ])("%j refuses %s", (schema, text) => {
    expect(fits(jsonGrammar(schema), text)).toBe(false);
  });

  it("every text of a schema fits it", () => {
    fc.assert(
      fc.property(fc.infiniteStream(fc.nat(2 ** 30)), (numbers) => {
        const draw = (n: number): number => numbers.next().value! % n;
        const p = JSON.parse(walk(jsonGrammar(person), draw)) as Record<string, unknown>;
        expect(Object.keys(p).filter((k) => !["name", "age", "tags"].includes(k))).toEqual([]);
        // A surrogate pair in an escape is two of JSON's own characters.
        const length = [...(p["name"] as string)].length;
        expect(length >= 1 && length <= 5).toBe(true);
        expect(Number.isInteger(p["age"]) && (p["age"] as number) >= 0 && (p["age"] as number) <= 130).toBe(
          true,
        );
        JSON.parse(walk(jsonGrammar({}), draw));
      }),
      { numRuns: 60 },
    );
  });

  it.each([
    [{ type: "number", minimum: 3 }, "minimum: not supported for number"],
    [{ type: "object", properties: { a: { type: "text" } } }, 'properties.a.type: "text" is no type of JSON'],
    [{ type: "string", pattern: "(?=a)" }, "look-around"],
    [{ type: "string", pattern: "(a" }, "a group without its end"],
    [{ type: "string", format: "hostname" }, '"hostname" is not supported; there are date'],
    [{ $ref: "#/$defs/missing" }, "$ref: there is no #/$defs/missing"],
    [{ allOf: [{}] }, "allOf: not supported"],
    [{ type: "object", required: ["a"], additionalProperties: false }, '"a" is not among the properties'],
    [{ type: "array", minItems: 3, maxItems: 2 }, "maxItems: 2 is below minItems, 3"],
    [{ type: "integer", minimum: 1.5 }, "minimum: must be a whole number, not 1.5"],
    ["text", "a schema is an object"],
  ])("%j is an error that says where", (schema, message) => {
    const make = () => jsonGrammar(typeof schema === "string" ? { items: schema, type: "array" } : schema);
    expect(make).toThrow(JsonSchemaError);
    expect(make).toThrow(message);
  });

  it("a schema that only refers to itself has no texts", () => {
    const { start } = jsonGrammar({ $ref: "#" });
    expect([start.isOpen, start.isComplete]).toEqual([false, false]);
  });
});

describe("integers between bounds", () => {
  it("are those and no others", () => {
    const bound = fc.option(fc.integer({ min: -1200, max: 1200 }), { nil: undefined });
    fc.assert(
      fc.property(bound, bound, fc.integer({ min: -1500, max: 1500 }), (a, b, n) => {
        const [low, high] = a !== undefined && b !== undefined && a > b ? [b, a] : [a, b];
        const grammar = jsonGrammar({ type: "integer", minimum: low, maximum: high });
        expect(fits(grammar, String(n))).toBe(n >= (low ?? n) && n <= (high ?? n));
        expect(fits(grammar, `0${n}`)).toBe(false);
      }),
    );
  });
});

describe("characters", () => {
  it("are those of the range, in UTF-8", () => {
    const point = fc.integer({ min: 0, max: 0x10ffff }).filter((c) => c < 0xd800 || c > 0xdfff);
    fc.assert(
      fc.property(point, point, point, (a, b, c) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)];
        const grammar = new Grammar(characters([[low, high]]));
        for (const p of [c, low, high])
          expect(fits(grammar, String.fromCodePoint(p))).toBe(p >= low && p <= high);
      }),
    );
  });
});

describe("patterns", () => {
  it.each([
    "^a+b*?c$",
    "^(ab|cd){2,3}$",
    "x",
    "^[^a-c\\d]$|^\\w\\s$",
    "^\\u0041.$",
    "a$|^b",
    "^(?:a|(?:bc)?)d$",
    "^[\\]\\-x]+$",
  ])("%s as JavaScript does", (pattern) => {
    const grammar = new Grammar(patternPart(pattern));
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'abcdxAB1 -]\n"é'), maxLength: 7 }), (s) => {
        expect(fits(grammar, JSON.stringify(s).slice(1, -1))).toBe(new RegExp(pattern).test(s));
      }),
      { numRuns: 300 },
    );
  });
});

describe("tokens", () => {
  const words = [
    "{",
    '"',
    '"a',
    '"a":',
    '{"',
    "a",
    "ab",
    "abc",
    ":",
    ": ",
    "1",
    "12",
    "}",
    "}}",
    "true",
    "é",
    "\u{1f600}",
    " ",
    "\n",
  ];
  const pieces = [
    undefined,
    ...words.map((w) => utf8.encode(w)),
    Uint8Array.of(0xc3),
    Uint8Array.of(0xa9),
    new Uint8Array(0),
  ];
  const table = new TokenTable(pieces);

  it("are allowed exactly where all their bytes are", () => {
    const grammar = jsonGrammar({ type: "object", properties: { a: { type: "integer" } } });
    fc.assert(
      fc.property(fc.array(fc.nat(pieces.length - 1), { maxLength: 8 }), (ids) => {
        let at: State | null | undefined = grammar.start;
        for (const id of ids) {
          const mask = table.allowed(at);
          for (const [other, piece] of pieces.entries()) {
            let s: State | null | undefined = piece?.length ? at : null;
            for (const byte of piece ?? []) s = s?.step(byte);
            expect(mask[other]).toBe(s ? 1 : 0);
          }
          at = table.advance(at, id);
          if (!at) return;
        }
      }),
    );
  });

  it("of a state are found once, however many there are", () => {
    const many = new TokenTable(Array.from({ length: 100_000 }, (_, i) => utf8.encode(`w${i.toString(36)}`)));
    const { start } = jsonGrammar({ type: "string" });
    const inside = start.step(0x22)!;
    expect(many.allowed(inside).reduce((n, x) => n + x, 0)).toBe(100_000);
    expect(many.allowed(inside)).toBe(many.allowed(inside));
  });
});
