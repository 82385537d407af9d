import fc from "fast-check";
import { expect, it } from "vitest";
import { StopTexts } from "./stop.js";

it("cuts at the first stop text, whatever the pieces' borders", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "\n"), maxLength: 12 });
  fc.assert(
    fc.property(
      fc.array(letters),
      fc.array(
        letters.filter((s) => s !== ""),
        { maxLength: 3 },
      ),
      (pieces, stops) => {
        const s = new StopTexts(stops);
        const got = pieces.map((p) => s.push(p)).join("") + s.end("");
        const all = pieces.join("");
        const ends = stops.map((t) => all.indexOf(t)).filter((i) => i >= 0);
        // A stop is noticed as soon as it is complete: the one that completes first wins, and of those the earliest.
        if (ends.length === 0) expect(got).toBe(all);
        else {
          expect(all.startsWith(got)).toBe(true);
          expect(s.found).toBe(true);
          for (const t of stops) expect(got.includes(t)).toBe(false);
          expect(stops.some((t) => all.startsWith(t, got.length))).toBe(true);
        }
      },
    ),
  );
});
