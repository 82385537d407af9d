import { describe, expect, test } from "vitest";
import { defaultGenerator, Generator, manualSeed, philox, philox4x32 } from "./generator.js";

const hex = (words: readonly number[]) => words.map((w) => w.toString(16).padStart(8, "0")).join(" ");

// The known answers that the authors of Random123 publish for philox4x32-10.
test("philox gives the published answers", () => {
  const f = 0xffffffff;
  expect(hex(philox4x32(0, 0, 0, 0, 0, 0))).toBe("6627e8d5 e169c58d bc57ac4c 9b00dbd8");
  expect(hex(philox4x32(f, f, f, f, f, f))).toBe("408f276d 41c83b0e a20bc7c6 6d5451fd");
  expect(hex(philox4x32(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0))).toBe(
    "d16cfe09 94fdcceb 5001e420 24126ea1",
  );
});

test("offsets above 32 bits reach the second word", () => {
  expect(philox(2 ** 32 + 5, 7, 1, 2)).toEqual(philox4x32(5, 1, 7, 0, 1, 2));
});

describe("generator", () => {
  test("takes consecutive counters", () => {
    const g = new Generator(0x1_0000_0002n);
    expect(g.take(10)).toEqual({ seed: 0x1_0000_0002n, seedLow: 2, seedHigh: 1, offset: 0 });
    expect(g.take(5).offset).toBe(10);
    expect(g.take(0).offset).toBe(15);
  });

  test("a state restores the stream", () => {
    const g = new Generator(7);
    g.take(3);
    const state = g.getState();
    const want = [g.random(), g.random()];
    g.manualSeed(1);
    g.setState(state);
    expect([g.random(), g.random()]).toEqual(want);
    const other = new Generator(7);
    other.take(3);
    expect([other.random(), other.random()]).toEqual(want);
  });

  test("negative and large seeds wrap to 64 bits; others are refused", () => {
    expect(new Generator(-1).initialSeed).toBe(2n ** 64n - 1n);
    expect(new Generator(2n ** 64n + 3n).initialSeed).toBe(3n);
    expect(() => new Generator(1.5)).toThrow("a seed is an integer");
    expect(() => new Generator(1).take(-1)).toThrow("whole number");
    expect(() => new Generator(1).setState({ seed: 1n, offset: 0.5 })).toThrow("whole number");
  });

  test("without a seed two generators differ", () => {
    expect(new Generator().initialSeed).not.toBe(new Generator().initialSeed);
  });

  test("the host's numbers are uniform", () => {
    const g = new Generator(123);
    const counts = new Array(10).fill(0);
    for (let i = 0; i < 10_000; i++) counts[Math.floor(g.random() * 10)]++;
    const chi = counts.reduce((s, c) => s + (c - 1000) ** 2 / 1000, 0);
    expect(chi).toBeLessThan(27.9); // p = 0.001 with 9 degrees of freedom
  });

  test("manualSeed seeds the default generator", () => {
    manualSeed(5);
    expect(defaultGenerator.getState()).toEqual({ seed: 5n, offset: 0 });
  });
});
