// The cpu chip's kernels for riscv64 with RVV, vectors of 256 bits, as a chip of its own: named in VEXIL_TEST_MODULES, every suite
// runs on it.

import { emulatedEntry } from "../../src/chips/cpu/testing-emulated-chip.js";

export const entry = emulatedEntry("riscv64-rvv");
