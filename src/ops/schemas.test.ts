// The schemas of the whole table, which a program parses only as far as it uses operators.

import { expect, it } from "vitest";
import { operator, operators } from "../tensor/index.js";
import { SchemaError, schemaHead } from "../tensor/schema.js";
import "./index.js";

it("every schema is whole, and what is known before it is parsed agrees with it", () => {
  for (const info of operators().values()) {
    const { schema } = info;
    expect(schemaHead(schema.text), info.name).toEqual({
      name: info.name,
      base: schema.base,
      overload: schema.overload,
      takesSelf: info.selfAt >= 0,
    });
    expect(schema.name).toBe(info.name);
  }
  expect(operators().size).toBeGreaterThan(400);
});

it("an author's schema is parsed when it is declared", () => {
  const declare = (): unknown =>
    operator({ schema: "bad_type(Tensr self) -> Tensor", run: () => null, derivative: "none" });
  expect(declare).toThrow(SchemaError);
  expect(operators().has("bad_type")).toBe(false);
});
