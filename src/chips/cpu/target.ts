// The CPU's target: tile IR through `lower/simd` to C to a shared library.

import type { Func } from "../../compiler/ir/index.js";
import type { VectorShape } from "../../compiler/lower/simd/form.js";
import type { Form } from "../../compiler/lower/simd/form.js";
import { lowerSimd } from "../../compiler/lower/simd/index.js";
import type { Artifact, Target } from "../../compiler/target.js";
import { type Compiler, compileLibrary, compileLibraryAsync, libraryFlags } from "./compiler.js";
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
    this.shape = {
      bytes: features.vectorBytes,
      registers: features.vectorRegisters,
      address32: false,
      // Single instructions with AVX2. Elsewhere the lowering's own loops are as good.
      maskedMemory: features.x86 && features.vectorBytes === 32,
    };
  }

  compile(func: Func): Artifact {
    return this.compileForm(lowerSimd(func, this.shape));
  }

  /** {@link compile} with the C compiler beside this process. */
  async compileAsync(func: Func): Promise<Artifact> {
    const form = lowerSimd(func, this.shape);
    const text = printC(form, this.compiler.features);
    return this.artifact(form, text, await compileLibraryAsync(this.compiler, form.name, text));
  }

  /** {@link compile} from the lowered form on. Throws CompileError. */
  compileForm(form: Form): Artifact {
    const text = printC(form, this.compiler.features);
    return this.artifact(form, text, compileLibrary(this.compiler, form.name, text));
  }

  private artifact(form: Form, text: string, bytes: Uint8Array): Artifact {
    const meta: KernelMeta = {
      name: form.name,
      frameBytes: form.frameBytes,
      params: form.params.map((p) => (p.kind === "buffer" ? ["buffer", p.mem] : ["scalar", p.reg])),
    };
    return { bytes, meta: { ...meta }, text };
  }
}
