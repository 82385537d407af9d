// Operators against PyTorch's samples through the GPU lowering alone: the evaluator runs its form thread by thread, with
// and without subgroups, and fails where threads meet in memory without a barrier.

import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import "../src/chips/index.js";
import "../src/ops/index.js";
import { checkSamples } from "../src/cli/conformance-opinfo.js";
import { caseName, readSampleSet } from "../src/cli/opinfo/read.js";
import { evaluatorChip } from "../src/compiler/lower/simt/testing/chip.js";
import { SHAPES } from "../src/compiler/lower/simt/testing/compare.js";
import { registerChip } from "../src/runtime/index.js";

const set = readSampleSet(fileURLToPath(new URL("./fixtures/opinfo/sample", import.meta.url)));
/** One of each kind of kernel. */
const names = [
  "add",
  "argmax",
  "any",
  "cumsum",
  "flip",
  "gather",
  "index_add",
  "logsumexp",
  "matmul",
  "softmax",
  "var",
];

for (const [name, shape] of Object.entries(SHAPES)) {
  registerChip({
    name,
    summary: "the evaluator of the GPU form",
    probe: () => Promise.resolve({ available: true, found: name }),
    open: () => Promise.resolve(evaluatorChip(name, shape)),
  });
  describe(name, () => {
    it.each(names)("%s", async (op) => {
      const cases = set.cases.filter((c) => caseName(c) === op);
      const report = await checkSamples(set, cases, { chip: name });
      expect(report.failures).toEqual([]);
      expect(report.passed).toBeGreaterThan(0);
    });
  });
}
