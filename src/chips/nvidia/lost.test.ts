// What is said when a kernel has failed: the launches that may be to blame, and where they are defined.

import { expect, it } from "vitest";
import { LaunchLog, lostMessage } from "./lost.js";

const kernel = (name: string, line?: number) => ({
  name,
  ...(line ? { definition: () => `k.ts:${line}:1` } : {}),
});
const STATUS = "CUDA_ERROR_ILLEGAL_ADDRESS (an illegal memory access was encountered)";

it("knows which launches nobody has waited for", () => {
  const log = new LaunchLog();
  expect(log.running()).toEqual([]);
  const [a, b, c] = [kernel("a", 3), kernel("b"), kernel("c", 9)];
  for (const k of [a, b, b, c]) log.add(k);
  expect(log.running()).toEqual([a, b, c]);
  log.ended(2);
  expect(log.running()).toEqual([b, c]);
  // An older wait that ends later changes nothing.
  log.ended(1);
  expect(log.running()).toEqual([b, c]);
  log.ended(4);
  expect(log.running()).toEqual([]);
  for (let i = 0; i < 1000; i++) log.add(kernel(`k${i}`));
  expect(log.running().map((k) => k.name)).toEqual(Array.from({ length: 32 }, (_, i) => `k${968 + i}`));
});

it("names the kernel with its line, or all that it may be", () => {
  const one = lostMessage("NVIDIA H200", STATUS, [kernel("scatter", 12)], false);
  expect(one).toMatch(/^a kernel failed on NVIDIA H200: CUDA_ERROR_ILLEGAL_ADDRESS/);
  expect(one).toMatch(/\n {2}kernel scatter, defined at k\.ts:12:1\n/);
  expect(one).toMatch(/context is lost[\s\S]*Start the process anew/);
  const many = lostMessage("GPU", STATUS, [kernel("a", 3), kernel("b")], false);
  expect(many).toMatch(/kernel a, defined at k\.ts:3:1\n {4}kernel b\n {2}VEXIL_DEBUG=sync/);
  // Waiting after each launch, it is the last.
  expect(lostMessage("GPU", STATUS, [kernel("a"), kernel("b")], true)).toMatch(/\n {2}kernel b\n/);
  expect(lostMessage("GPU", STATUS, [], false)).toMatch(/which one is not known/);
  const odd = { name: "odd", definition: () => { throw new Error("no file"); } }; // biome-ignore format: one line
  expect(lostMessage("GPU", STATUS, [odd], false)).toMatch(/kernel odd\n/);
});
