// For tests: NVIDIA's own assembler as the judge of printed PTX, where it is installed, and chips that evaluate the form for one of
// NVIDIA's processors.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SimtShape } from "../../compiler/lower/simt/shape.js";
import { evaluatorChip } from "../../compiler/lower/simt/testing/chip.js";
import { registerChip } from "../../runtime/index.js";
import { shapeOf } from "./shape.js";

/** An H100 or H200, as far as layouts depend on it. */
export const HOPPER: SimtShape = shapeOf({
  capability: 90,
  sharedPerBlockOptIn: 232448,
  registersPerBlock: 65536,
});

/** Registers a chip that evaluates the form thread by thread; `options` are those of `evaluatorChip`. */
export function registerEvaluated(
  name: string,
  shape: SimtShape,
  options: Parameters<typeof evaluatorChip>[2],
): void {
  registerChip({
    name,
    summary: "the evaluator of the GPU form, with a processor's matrix units",
    probe: () => Promise.resolve({ available: true, found: name }),
    open: () => Promise.resolve(evaluatorChip(name, shape, options)),
  });
}

export const hasPtxas = spawnSync("ptxas", ["--version"]).status === 0;

/** Machine code for a capability; throws with ptxas's complaint and the offending line. */
export function assemble(text: string, capability: number): { bytes: Uint8Array; report: string } {
  const folder = mkdtempSync(join(tmpdir(), "vexil-ptx-"));
  try {
    const [source, out] = [join(folder, "k.ptx"), join(folder, "k.cubin")];
    writeFileSync(source, text);
    const arch = capability === 90 ? "sm_90a" : `sm_${capability}`;
    const run = spawnSync("ptxas", ["-v", `-arch=${arch}`, source, "-o", out], { encoding: "utf8" });
    if (run.status !== 0) {
      const at = Number(/line (\d+)/.exec(run.stderr)?.[1] ?? 0);
      throw new Error(`${run.stderr}\n${at}: ${text.split("\n")[at - 1] ?? ""}`);
    }
    return { bytes: readFileSync(out), report: run.stderr };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
