// The hash of bytes.

import fc from "fast-check";
import { expect, it } from "vitest";
import { hashHex, hashWords } from "./hash.js";

it("gives 32 digits, the same for the same bytes wherever they stand", () => {
  const bytes = Uint8Array.from({ length: 61 }, (_, i) => i * 7);
  const moved = new Uint8Array(80);
  moved.set(bytes, 3);
  expect(hashHex(bytes)).toMatch(/^[0-9a-f]{32}$/);
  expect(hashHex(moved.subarray(3, 64))).toBe(hashHex(bytes));
  expect(hashHex("kernel")).toBe(hashHex(new TextEncoder().encode("kernel")));
});

it("tells boundaries, lengths and zeros apart", () => {
  const all = [["ab", ""], ["a", "b"], ["", "ab"], ["ab"], ["ab\0"], ["ab\0\0"], [""], ["", ""], []];
  expect(new Set(all.map((parts) => hashHex(...parts))).size).toBe(all.length);
});

it("changes about half of its bits when one bit of the input changes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 100 }), fc.nat(), (bytes, where) => {
      const other = bytes.slice();
      const bit = where % (8 * bytes.length);
      other[bit >> 3]! ^= 1 << (bit & 7);
      const [x, y] = [hashWords(bytes), hashWords(other)];
      let differ = 0;
      x.forEach((w, i) => {
        for (let d = (w ^ y[i]!) >>> 0; d; d &= d - 1) differ++;
      });
      expect(differ).toBeGreaterThan(28);
      expect(differ).toBeLessThan(100);
    }),
  );
});

it("has no collisions among many similar texts", () => {
  const seen = new Set<string>();
  for (let i = 0; i < 50_000; i++) seen.add(hashHex(`["kernel",${i},"f32",[16,${i % 7}]]`));
  expect(seen.size).toBe(50_000);
});
