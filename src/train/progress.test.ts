import { describe, expect, it } from "vitest";
import { duration, ProgressView } from "./progress.js";

const at = (step: number) => ({
  step,
  steps: 20,
  loss: 1.23456,
  learningRate: 1e-3,
  gradNorm: 1,
  tokensPerSecond: 12345,
  secondsLeft: 75,
});

describe("ProgressView", () => {
  it("writes plain lines into a pipe, not one for every step", () => {
    let text = "";
    const view = new ProgressView({ write: (t) => (text += t) }, 10);
    for (let i = 1; i <= 20; i++) view.show(at(i));
    expect(text.split("\n")).toEqual([
      "step 1/20  loss 1.2346  lr 1.0e-3  norm 1.00  12k tokens/s  75s left",
      "step 10/20  loss 1.2346  lr 1.0e-3  norm 1.00  12k tokens/s  75s left",
      "step 20/20  loss 1.2346  lr 1.0e-3  norm 1.00  12k tokens/s  done",
      "",
    ]);
  });

  it("rewrites one line in a terminal and fits its width", () => {
    let text = "";
    const view = new ProgressView({ write: (t) => (text += t), isTTY: true, columns: 80 }, 10);
    for (let i = 1; i <= 20; i++) view.show(at(i));
    expect(text.split("\n").length).toBe(2);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: terminal codes are what is tested
    for (const line of text.split(/\r\u001b\[2K/)) expect(line.trimEnd().length).toBeLessThan(80);
    text = "";
    const wide = new ProgressView({ write: (t) => (text += t), isTTY: true, columns: 120 }, 10);
    for (let i = 1; i <= 20; i++) wide.show(at(i));
    expect(text).toContain("[=====");
    text = "";
    new ProgressView({ write: (t) => (text += t), isTTY: true, columns: 30 }, 10).show(at(3));
    expect(text).toBe("\r\u001b[2Kstep 3/20  loss 1.2346  lr 1.");
  });

  it("shows durations", () => {
    expect([5, 99, 125, 3780].map(duration)).toEqual(["5s", "99s", "2m05s", "1h03m"]);
  });
});
