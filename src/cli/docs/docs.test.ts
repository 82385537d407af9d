// What is generated and committed is up to date: `npm run docs` writes it.

import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { beforeAll, expect, it } from "vitest";
import "../../chips/index.js";
import { setDefaultChip } from "../../runtime/index.js";
import { operators, TENSOR_DTYPES } from "../../tensor/index.js";
import { generated } from "./index.js";
import { operatorRow } from "./matrix.js";
import { probeAll } from "./support.js";
import { SUPPORT } from "./support-table.js";

beforeAll(() => setDefaultChip("interpreter"));

/** Layout is the formatter's. */
const words = (text: string): string => text.replace(/[\s,]+/g, " ");

it("knows every operator's dtypes", () => {
  expect(Object.keys(SUPPORT).sort(), "run `npm run docs`").toEqual([...operators().keys()].sort());
});

it.each([...generated().keys()].map((path) => [basename(path), path]))("%s is up to date", (_name, path) => {
  expect(words(readFileSync(path, "utf8")), "run `npm run docs`").toBe(words(generated().get(path)!));
});

it("finds the same dtypes again, for a part of the table", async () => {
  const prefix = new URL("../../../test/fixtures/opinfo/sample", import.meta.url).pathname;
  const some = new Set([...operators().keys()].filter((_, i) => i % 25 === 3));
  for (const [name, support] of await probeAll(prefix, (op) => some.has(op.name))) {
    const { dtypes } = operatorRow(operators().get(name)!);
    expect(
      [name, dtypes && TENSOR_DTYPES.map((d) => (dtypes[d] === true ? null : dtypes[d]))],
      "run `npm run docs -- --probe`",
    ).toEqual([name, support]);
  }
});

it("says what an operator takes, and why not", () => {
  const row = operatorRow(operators().get("addcdiv")!);
  expect(row.dtypes!.f32).toBe(true);
  expect(row.dtypes!.i32).toMatch(/does not divide integers/);
  expect(row.chips["opencl"]).toEqual({ f64: "declined where the device lacks f64" });
});
