// The interpreter: runs the tile IR in JavaScript, op by op. It is the reference for what kernels mean, and
// reports every access outside a buffer with the author's line. It needs nothing and is not meant to be fast.

import type { Chip, ChipEntry } from "../../runtime/driver.js";
import { InterpreterDriver } from "./driver.js";
import { target } from "./target.js";

export { KernelFault } from "./fault.js";

/** A new interpreter with its own memory. */
export function createInterpreter(): Chip {
  return {
    name: "interpreter",
    target,
    driver: new InterpreterDriver(),
    capabilities: {
      syncRead: true,
      f64: true,
      i64: true,
      threads: 1,
      programsWait: true,
      elementsPerProgram: 4096,
      dotBlock: [32, 32, 32],
      maxBufferBytes: 2 ** 32,
      maxGrid: [2 ** 31 - 1, 2 ** 31 - 1, 2 ** 31 - 1],
      exactBuffers: true,
    },
    description: "runs kernels in JavaScript, checks every access",
  };
}

export const entry: ChipEntry = {
  name: "interpreter",
  summary: "the tile IR in JavaScript: the reference, and the debugger",
  probe: async () => ({ available: true, found: "JavaScript" }),
  open: async () => createInterpreter(),
};
