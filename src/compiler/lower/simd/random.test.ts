// Random programs: the lowered form leaves every buffer as the interpreter does.

import fc from "fast-check";
import { describe, it } from "vitest";
import { print, verify } from "../../ir/index.js";
import { optimize } from "../../passes/optimize.js";
import { expectSame } from "./testing/compare.js";
import { type Choose, randomProgram } from "./testing/programs.js";

/** Decisions from a seed; small seeds and a size, so that a failure is easy to repeat. */
function chooser(seed: number): Choose {
  let s = (seed * 2654435761 + 12345) >>> 0;
  return (n) => {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    return (s >>> 0) % n;
  };
}

function check(seed: number, size: number, optimized: boolean): void {
  const { func, args } = randomProgram(chooser(seed), size);
  verify(func);
  if (optimized) optimize(func);
  const text = print(func);
  try {
    expectSame(func, args, [1]);
  } catch (error) {
    throw new Error(
      `seed ${seed}, size ${size}\n${text}\n${(error as Error).message}\n${(error as Error).stack}`,
    );
  }
}

describe("random programs", () => {
  it("small ones", () => {
    fc.assert(
      fc.property(fc.nat(1 << 30), (seed) => check(seed, 4, false)),
      // The example: a branch uses a view that a later step keeps in the frame.
      { numRuns: 300, examples: [[213473151]] },
    );
  });
  it("larger ones, optimised", () => {
    fc.assert(
      fc.property(fc.nat(1 << 30), (seed) => check(seed, 14, true)),
      { numRuns: 150 },
    );
  });
});
