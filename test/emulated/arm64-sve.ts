// The cpu chip's kernels for arm64 with SVE, vectors of 256 bits, as a chip of its own: named in VEXIL_TEST_MODULES, every suite
// runs on it.

import { emulatedEntry } from "../../src/chips/cpu/testing-emulated-chip.js";

export const entry = emulatedEntry("arm64-sve");
