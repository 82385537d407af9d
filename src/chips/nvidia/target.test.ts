// What code in caches is known by.

import { expect, it } from "vitest";
import { fingerprintOf } from "./target.js";
import { HOPPER } from "./testing.js";

it("tells code for one shape from code for another", () => {
  const of = (shape: typeof HOPPER): string => fingerprintOf(shape, 90, 13000);
  expect(of({ ...HOPPER })).toBe(of(HOPPER));
  const others = [
    { ...HOPPER, persistent: false },
    { ...HOPPER, bulkStreams: false },
    { ...HOPPER, sharedBytes: 166912 },
    { ...HOPPER, matrices: HOPPER.matrices.slice(1) },
  ];
  expect(new Set([HOPPER, ...others].map(of)).size).toBe(5);
  expect(fingerprintOf(HOPPER, 90, 12090)).not.toBe(of(HOPPER));
});
