// Random programs: the lowered form leaves every buffer as the interpreter does.

import fc from "fast-check";
import { describe, it } from "vitest";
import { checkRandom } from "../testing/random.js";
import { expectSame } from "./testing/compare.js";

describe("random programs", () => {
  it("small ones", () => {
    fc.assert(
      fc.property(fc.nat(1 << 30), (seed) => checkRandom(seed, 4, false, expectSame)),
      { numRuns: 40 },
    );
  });
  it("larger ones, optimised", () => {
    fc.assert(
      fc.property(fc.nat(1 << 30), (seed) => checkRandom(seed, 14, true, expectSame)),
      { numRuns: 30 },
    );
  });
  // A product of one column: a thread's next register holds another row, not a neighbouring column.
  it("a product of one column", () => checkRandom(2, 14, true, expectSame));
});
