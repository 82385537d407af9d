// The compiler side of the chip: optimised tile IR -> Form -> WebAssembly.

import type { Func } from "../../compiler/ir/index.js";
import { lowerSimd } from "../../compiler/lower/simd/index.js";
import { lowerReports } from "../../compiler/passes/index.js";
import type { Artifact, Target } from "../../compiler/target.js";
import { compileForm, type WasmFeatures } from "./artifact.js";

/** Rises with every change of the produced code. */
const PRINTER_VERSION = 17;

export class WasmTarget implements Target {
  readonly name = "wasm";
  readonly fingerprint: string;

  constructor(private readonly features: WasmFeatures) {
    const { relaxed, shared } = features;
    this.fingerprint = `wasm-${PRINTER_VERSION}${relaxed ? "-relaxed" : ""}${shared ? "-shared" : ""}`;
  }

  compile(func: Func): Artifact {
    const { func: lowered, sites } = lowerReports(func);
    return compileForm(
      lowerSimd(lowered, {
        bytes: 16,
        registers: 16,
        address32: true,
        unroll: true,
        reload: true,
        touch: true,
      }),
      this.features,
      sites,
    );
  }
}
