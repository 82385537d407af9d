// The list of built-in chips, the only place that names them. Each is loaded when it is first asked for anything.

import type { Chip, ChipEntry, Probe } from "../runtime/driver.js";
import { registerChip } from "../runtime/registry.js";

export interface BuiltinChip {
  readonly name: string;
  /** Capabilities that some of its devices lack; everything that needs one is declined there by that name. */
  readonly optional?: readonly ("f64" | "i64")[];
  /** It may have several devices, each with a name of its own: `NAME:INDEX`. */
  readonly devices?: true;
  load(): Promise<ChipEntry>;
}

/** The chips of this package, best first. */
export const builtinChips: readonly BuiltinChip[] = [
  { name: "cpu", load: async () => (await import("./cpu/index.js")).entry },
  { name: "wasm", load: async () => (await import("./wasm/index.js")).entry },
  { name: "interpreter", load: async () => (await import("./interpreter/index.js")).entry },
  { name: "opencl", optional: ["f64"], load: async () => (await import("./opencl/index.js")).entry },
  { name: "nvidia", devices: true, load: async () => (await import("./nvidia/index.js")).entry },
];

const SUMMARIES: Readonly<Record<string, string>> = {
  cpu: "native code by the system's C compiler, on all cores",
  wasm: "WebAssembly with SIMD and threads, in Node and in browsers",
  interpreter: "runs the compiler's intermediate form in JavaScript: the reference, and for debugging",
  opencl: "OpenCL C on any OpenCL device, through its driver",
  nvidia: "NVIDIA GPUs from compute capability 7.5 on, through the driver alone",
};

/** Registers the built-in chips with the runtime, in order of preference. */
export function registerBuiltinChips(): void {
  for (const { name, devices, load } of builtinChips)
    registerChip({
      name,
      summary: SUMMARIES[name]!,
      probe: async (): Promise<Probe> => (await load()).probe(),
      open: async (): Promise<Chip> => (await load()).open(),
      ...(devices ? { openDevice: async (index: number) => (await load()).openDevice!(index) } : {}),
    });
}

registerBuiltinChips();
