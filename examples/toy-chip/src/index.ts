// The toy chip: runs kernels as JavaScript. Nobody needs it; it is here to be read by those who add a chip.
// `print.ts` is its code printer, `target.ts` and `driver.ts` the two interfaces, this file what it can do.

import type { Capabilities, Chip, ChipEntry } from "vexil/runtime";
import { ToyDriver } from "./driver.js";
import { ToyTarget } from "./target.js";

const capabilities: Capabilities = {
  syncRead: true,
  f64: true,
  i64: true,
  threads: 1,
  elementsPerProgram: 4096,
  dotBlock: [16, 16, 16],
  streamsSums: true,
  maxBufferBytes: 2 ** 31,
  maxGrid: [2 ** 31 - 1, 2 ** 31 - 1, 2 ** 31 - 1],
};

/** How the chip announces itself: pass it to `registerChip`. */
export const entry: ChipEntry = {
  name: "toy",
  summary: "kernels as JavaScript, to show how a chip is added",
  probe: async () => ({ available: true, found: "JavaScript" }),
  open: async (): Promise<Chip> => ({
    name: "toy",
    target: new ToyTarget(),
    driver: new ToyDriver(),
    capabilities,
    description: "prints JavaScript, one thread",
  }),
};
