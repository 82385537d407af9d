// Every operator of the table against PyTorch's own samples, on every chip. The samples are an extract of PyTorch
// 2.11's OpInfo database, made by scripts/make-fixtures.mjs; `npm run conformance` runs whole sets. The short run takes all of them on
// the interpreter, and some elsewhere.

import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import "../src/chips/index.js";
import "../src/ops/index.js";
import { checkSamples } from "../src/cli/conformance-opinfo.js";
import { EXCEPTIONS } from "../src/cli/opinfo/exceptions.js";
import { caseName, readSampleSet } from "../src/cli/opinfo/read.js";
import { operators } from "../src/tensor/index.js";
import { shorten, testedChips } from "./chips.js";

const set = readSampleSet(fileURLToPath(new URL("./fixtures/opinfo/sample", import.meta.url)));
const claimed = new Set(
  [...operators().values()].flatMap((op) =>
    op.opinfo.map((e) => (e.variant ? `${e.op}.${e.variant}` : e.op)),
  ),
);
const names = [...new Set(set.cases.map(caseName))].filter((name) => claimed.has(name)).sort();

for (const chip of testedChips)
  describe.skipIf(chip.missing !== undefined)(chip.title, () => {
    shorten(chip.name, 20, chip.name === "interpreter" ? 1 : 3);
    it.each(names)("%s", async (name) => {
      const cases = set.cases.filter((c) => caseName(c) === name);
      const report = await checkSamples(set, cases, { chip: chip.name });
      expect(report.failures).toEqual([]);
      expect(report.passed + report.declined).toBeGreaterThan(0);
    });
  });

it("needs few exceptions", () => {
  expect(EXCEPTIONS.length).toBeLessThanOrEqual(10);
});

it("has samples of most operators that name some", () => {
  expect(names.length).toBeGreaterThan(claimed.size * 0.8);
});
