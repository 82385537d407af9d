// The CPU's target: tile IR through `lower/simd` to C to a shared library.

import type { Func } from "../../compiler/ir/index.js";
import type { VectorShape } from "../../compiler/lower/simd/form.js";
import type { Form } from "../../compiler/lower/simd/form.js";
import { dotsOf, tilesOf } from "./dots.js";
import { outerBlock } from "./products.js";
import { lowerSimd } from "../../compiler/lower/simd/index.js";
import { lowerReports, type ReportSite } from "../../compiler/passes/index.js";
import type { Artifact, Target } from "../../compiler/target.js";
import { type Compiler, compileLibrary, compileLibraryAsync, libraryFlags } from "./compiler.js";
import { libraryName } from "./files.js";
import type { KernelMeta } from "./driver.js";
import { PRINTER_VERSION, printC } from "./print.js";

export class CpuTarget implements Target {
  readonly name = "cpu";
  readonly fingerprint: string;
  readonly shape: VectorShape;

  constructor(private readonly compiler: Compiler) {
    const { path, prefix, version, features } = compiler;
    this.fingerprint = JSON.stringify([
      PRINTER_VERSION,
      path,
      prefix,
      version,
      libraryFlags(compiler, true),
      features,
      process.platform,
      process.arch,
    ]);
    const outerProducts = outerBlock(features);
    const dots = dotsOf(features);
    const tiles = tilesOf(features);
    this.shape = {
      bytes: features.vectorBytes,
      registers: features.vectorRegisters,
      address32: false,
      prefetch: true,
      // One permutation with AVX-512; narrower vectors would take two and a choice.
      ...(features.x86wide ? { lookup: 16 } : {}),
      // Single instructions with AVX2. Elsewhere the lowering's own loops are as good.
      maskedMemory: features.x86 && features.vectorBytes === 32,
      ...(outerProducts && { outerProducts }),
      ...(dots && { dots }),
      ...(tiles && { tiles }),
    };
  }

  compile(func: Func): Artifact {
    const { func: lowered, sites } = lowerReports(func);
    return this.compileForm(lowerSimd(lowered, this.shape), sites);
  }

  /** {@link compile} with the C compiler beside this process. */
  async compileAsync(func: Func): Promise<Artifact> {
    const { func: lowered, sites } = lowerReports(func);
    const form = lowerSimd(lowered, this.shape);
    const text = printC(form, this.compiler.features);
    return this.artifact(form, text, await compileLibraryAsync(this.compiler, form.name, text), sites);
  }

  /** {@link compile} from the lowered form on. Throws CompileError. */
  compileForm(form: Form, sites: readonly ReportSite[] = []): Artifact {
    const text = printC(form, this.compiler.features);
    return this.artifact(form, text, compileLibrary(this.compiler, form.name, text), sites);
  }

  private artifact(form: Form, text: string, bytes: Uint8Array, sites: readonly ReportSite[]): Artifact {
    const meta: KernelMeta = {
      name: form.name,
      frameBytes: form.frameBytes,
      library: libraryName(bytes),
      params: form.params.map((p) => (p.kind === "buffer" ? ["buffer", p.mem] : ["scalar", p.reg])),
      ...(sites.length ? { reports: sites } : {}),
    };
    return { bytes, meta: { ...meta }, text };
  }
}
