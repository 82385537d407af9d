// The layout of the frame: cells share bytes exactly when they do not live together.

import { describe, expect, it } from "vitest";
import { type Cell, Frame } from "./frame.js";

/** Touches cells step by step and returns where each stands. */
function place(steps: (frame: Frame, touch: (c: Cell) => void) => void): {
  at: (c: Cell) => number;
  bytes: number;
} {
  const frame = new Frame();
  const mems = new Map<Cell, { frame: number }>();
  steps(frame, (c) => mems.set(c, frame.mem(c) as { frame: number }));
  const bytes = frame.layout();
  return { at: (c) => mems.get(c)!.frame, bytes };
}

describe("Frame", () => {
  const cell = (n: number): Cell => new Frame().cell("f32", n);

  it("reuses the bytes of a dead cell", () => {
    const [a, b, c] = [cell(32), cell(32), cell(16)] as [Cell, Cell, Cell];
    const p = place((f, touch) => {
      for (const step of [[a], [a, b], [b, c]]) {
        f.tick();
        step.forEach(touch);
      }
    });
    expect(p.at(a)).toBe(0);
    expect(p.at(b)).toBe(128);
    expect(p.at(c)).toBe(0);
    expect(p.bytes).toBe(256);
  });

  it("keeps a cell that crosses a loop through all of it", () => {
    const [carried, inner, after] = [cell(16), cell(16), cell(16)] as [Cell, Cell, Cell];
    const p = place((f, touch) => {
      f.tick();
      touch(carried);
      f.region(() => {
        f.tick();
        touch(carried);
        f.tick();
        touch(inner);
      });
      f.tick();
      touch(after);
    });
    expect(p.at(inner)).not.toBe(p.at(carried));
    expect(p.at(after)).toBe(0);
  });

  it("aligns cells to 64 bytes", () => {
    const [a, b] = [cell(1), cell(1)] as [Cell, Cell];
    const p = place((f, touch) => {
      f.tick();
      touch(a);
      touch(b);
    });
    expect([p.at(a), p.at(b), p.bytes]).toEqual([0, 64, 128]);
  });
});
