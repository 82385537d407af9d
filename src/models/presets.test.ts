// The shapes that are known by name, against the numbers of parameters of the weights that were released by these names.

import { expect, it } from "vitest";
import "../chips/index.js";
import { loadChip } from "../runtime/index.js";
import { newConfig, parameterShapes } from "./load.js";
import { PRESETS } from "./presets.js";

await loadChip("interpreter");

const RELEASED: Record<string, readonly [vocabulary: number, parameters: number]> = {
  "gpt2": [50257, 124_439_808],
  "gpt2-medium": [50257, 354_823_168],
  "llama-1b": [128256, 1_235_814_400],
  "qwen3-0.6b": [151936, 596_049_920],
  "qwen3-1.7b": [151936, 1_720_574_976],
  "qwen3-8b": [151936, 8_190_735_360],
}; // biome-ignore format: a table

const parameters = (preset: string, vocabulary: number): number => {
  const config = newConfig({ ...PRESETS[preset], vocab_size: vocabulary }, false);
  return [...parameterShapes(config, "interpreter").values()]
    .map((shape) => shape.reduce((a, b) => a * b, 1))
    .reduce((a, b) => a + b, 0);
};

it.each(Object.entries(RELEASED))(
  "%s has as many parameters as the released weights",
  (preset, [vocabulary, count]) => {
    expect(parameters(preset, vocabulary)).toBe(count);
  },
);

it.each(["llama-10m", "llama-100m"])("%s has about as many as its name says", (preset) => {
  const [, number] = /-(\d+)m$/.exec(preset)!;
  expect(parameters(preset, 8192) / (Number(number) * 1e6)).toBeGreaterThan(0.85);
  expect(parameters(preset, 8192) / (Number(number) * 1e6)).toBeLessThan(1.15);
});
