// The allocator against a plain list of what is in use.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Allocator, type Block } from "./allocator.js";

describe("Allocator", () => {
  it("never overlaps, aligns, and joins all that was freed", () => {
    const step = fc.oneof(
      fc.record({ take: fc.oneof(fc.nat(300), fc.nat(20_000)) }),
      fc.record({ give: fc.nat(100) }),
      fc.record({ grow: fc.nat(4) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        let end = 65536 + 100_000;
        const a = new Allocator(65536, end);
        const live: { block: Block; bytes: number }[] = [];
        for (const s of steps) {
          if ("take" in s) {
            const block = a.allocate(s.take);
            if (!block) continue;
            expect(block.address % 64).toBe(0);
            expect(block.address).toBeGreaterThanOrEqual(65536);
            expect(block.address + Math.max(1, s.take)).toBeLessThanOrEqual(end);
            for (const o of live)
              expect(
                block.address >= o.block.address + Math.max(1, o.bytes) ||
                  o.block.address >= block.address + Math.max(1, s.take),
              ).toBe(true);
            live.push({ block, bytes: s.take });
          } else if ("give" in s) {
            if (live.length) a.free(live.splice(s.give % live.length, 1)[0]!.block);
          } else {
            end += s.grow * 65536;
            a.extend(end);
          }
          expect(a.used).toBe(live.reduce((n, o) => n + o.block.bytes, 0));
        }
        for (const o of live) a.free(o.block);
        expect(a.used).toBe(0);
        const all = Math.floor((end - 65536) / 64) * 64;
        expect(a.freeAtEnd).toBe(all);
        expect(a.allocate(all)?.address).toBe(65536);
        expect(a.allocate(1)).toBeUndefined();
      }),
      { numRuns: 200 },
    );
  });

  it("reuses a freed block of the same size, and refuses to free twice", () => {
    const a = new Allocator(64, 1 << 20);
    const first = a.allocate(1000)!;
    a.allocate(1000);
    a.free(first);
    expect(() => a.free(first)).toThrow("freed twice");
    expect(a.allocate(1000)!.address).toBe(first.address);
  });

  it("manages ranges up to 4 GiB", () => {
    const a = new Allocator(65536, 65535 * 65536);
    const big = a.allocate(3 * 2 ** 30)!;
    const rest = a.allocate(2 ** 30 - 4 * 65536)!;
    expect(rest.address).toBe(big.address + 3 * 2 ** 30);
  });
});
