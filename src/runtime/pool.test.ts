import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { OutOfMemoryError } from "./driver.js";
import { Pool, sizeClass } from "./pool.js";
import { notingChip } from "./testing/fixtures.js";

test("size classes hold the request and waste at most an eighth", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 40 }), (bytes) => {
      const size = sizeClass(bytes);
      expect(size).toBeGreaterThanOrEqual(bytes);
      expect(sizeClass(size)).toBe(size);
      if (bytes > 4096) expect(size).toBeLessThanOrEqual(bytes * 1.126);
      expect(size % 64).toBe(0);
    }),
  );
});

describe("pool", () => {
  test("reuses what was given back", () => {
    const chip = notingChip();
    const pool = new Pool(chip);
    const a = pool.take(1000);
    pool.give(a);
    expect(pool.take(900)).toBe(a);
    expect(chip.driver.allocs).toBe(1);
    expect(pool.stats()).toEqual({ allocated: 1024, reserved: 1024, peak: 1024, count: 1 });
  });

  test("gives kept buffers back to the driver when it is out of memory, then tries again", () => {
    const chip = notingChip("small", { limit: 10_000 });
    const pool = new Pool(chip);
    pool.give(pool.take(4096));
    pool.give(pool.take(3000));
    const big = pool.take(8192);
    expect(big.bytes).toBe(8192);
    expect(chip.driver.held).toBe(8192);
    expect(() => pool.take(4096)).toThrowErrorMatchingInlineSnapshot(
      `[OutOfMemoryError: the chip small is out of memory: 4096 bytes were asked for, 8192 bytes are in use in 1 buffers (1808 bytes are left)]`,
    );
    pool.give(big);
    expect(pool.take(4096).bytes).toBe(4096);
  });

  test("refuses what no buffer can hold", () => {
    const pool = new Pool(notingChip("narrow", { maxBufferBytes: 1000 }));
    expect(() => pool.take(1001)).toThrow(OutOfMemoryError);
    expect(pool.take(1000).bytes).toBe(1000);
  });

  test("any order of taking and giving keeps the books and hands out no buffer twice", () => {
    const step = fc.oneof(
      fc.record({ take: fc.integer({ min: 1, max: 20_000 }) }),
      fc.record({ give: fc.nat() }),
      fc.constant({ release: true }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, exactBuffers) => {
        const limit = 60_000;
        const chip = notingChip("fuzz", { limit, exactBuffers });
        const pool = new Pool(chip);
        const held: ReturnType<Pool["take"]>[] = [];
        let peak = 0;
        for (const s of steps) {
          if ("take" in s) {
            const inUse = held.reduce((n, b) => n + b.bytes, 0);
            try {
              const b = pool.take(s.take);
              expect(b.bytes).toBeGreaterThanOrEqual(s.take);
              expect(held).not.toContain(b);
              held.push(b);
            } catch (e) {
              expect(e).toBeInstanceOf(OutOfMemoryError);
              // Only when it truly does not fit.
              expect(inUse + (exactBuffers ? s.take : sizeClass(s.take))).toBeGreaterThan(limit);
            }
          } else if ("give" in s) {
            if (held.length) pool.give(held.splice(s.give % held.length, 1)[0]!);
          } else pool.release();
          const allocated = held.reduce((n, b) => n + b.bytes, 0);
          peak = Math.max(peak, allocated);
          const stats = pool.stats();
          expect(stats).toEqual({ allocated, reserved: chip.driver.held, peak, count: held.length });
        }
        for (const b of held) pool.give(b);
        pool.release();
        expect(chip.driver.held).toBe(0);
      }),
      { numRuns: 200 },
    );
  });
});
