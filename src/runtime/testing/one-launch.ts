// For tests: a process of its own that launches a few kernels and prints what it had to do for them.

import { compileStats } from "../compile.js";
import { kernelOf } from "../kernel.js";
import { notingChip, scaleSource, tensorLike } from "./fixtures.js";

const chip = notingChip("child");
const args = {
  x: tensorLike(chip, "f32", 64),
  out: tensorLike(chip, "f32", 64),
  stride: 1,
  by: 2,
  n: 64,
  ADD: 1,
};
const count = Number(process.argv[2]);
const source = scaleSource("child");
for (let i = 0; i < count; i++) kernelOf(source).launch([1], { ...args, BLOCK: 16, ADD: i });
console.log(JSON.stringify({ ...compileStats, launches: chip.driver.launches.map((l) => l.text.length) }));
