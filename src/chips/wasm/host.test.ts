// What the host is said to offer.

import { availableParallelism } from "node:os";
import { afterEach, describe, expect, it } from "vitest";
import { canBlock, canShare, hasRelaxedSimd, hasSimd, hostThreads } from "./host.js";

const before = process.env["VEXIL_THREADS"];
afterEach(() => {
  if (before === undefined) delete process.env["VEXIL_THREADS"];
  else process.env["VEXIL_THREADS"] = before;
});

describe("host", () => {
  it("takes all threads, or what VEXIL_THREADS says", () => {
    delete process.env["VEXIL_THREADS"];
    expect(hostThreads()).toBe(availableParallelism());
    process.env["VEXIL_THREADS"] = "7";
    expect(hostThreads()).toBe(7);
    for (const nonsense of ["0", "-3", "many", "1.5", ""]) {
      process.env["VEXIL_THREADS"] = nonsense;
      expect(hostThreads()).toBe(availableParallelism());
    }
  });

  it("has SIMD, relaxed SIMD, shared memory and blocking waits in Node", () => {
    expect([hasSimd(), hasRelaxedSimd(), canShare(), canBlock()]).toEqual([true, true, true, true]);
  });
});
