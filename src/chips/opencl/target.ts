// OpenCL's target: tile IR through `lower/simt` to OpenCL C to the driver's own binary.

import type { Func } from "../../compiler/ir/index.js";
import { type Form, LOWERING_VERSION, lowerSimt, type SimtShape } from "../../compiler/lower/simt/index.js";
import { lowerReports, type ReportSite } from "../../compiler/passes/index.js";
import type { Artifact, Target } from "../../compiler/target.js";
import type { ClContext } from "./context.js";
import type { KernelMeta } from "./driver.js";
import { entryName, PRINTER_VERSION, printOpenCl } from "./print.js";

export class OpenClTarget implements Target {
  readonly name = "opencl";
  readonly fingerprint: string;

  constructor(
    private readonly context: ClContext,
    readonly shape: SimtShape,
  ) {
    const { name, vendor, driver, version } = context.device;
    this.fingerprint = JSON.stringify([
      LOWERING_VERSION,
      PRINTER_VERSION,
      name,
      vendor,
      driver,
      version,
      context.options,
      shape,
      process.platform,
      process.arch,
    ]);
  }

  compile(func: Func): Artifact {
    const { func: lowered, sites } = lowerReports(func);
    return this.compileForm(lowerSimt(lowered, this.shape), sites);
  }

  /** {@link compile} from the lowered form on. Throws CompileError. */
  compileForm(form: Form, sites: readonly ReportSite[] = []): Artifact {
    const { extensions } = this.context.device;
    const text = printOpenCl(form, {
      f64: this.shape.f64,
      int64Atomics:
        extensions.has("cl_khr_int64_base_atomics") && extensions.has("cl_khr_int64_extended_atomics"),
    });
    const isSource = !this.context.keepsBinaries;
    const bytes = isSource ? new TextEncoder().encode(text) : this.context.compileToBinary(form.name, text);
    const meta: KernelMeta = {
      name: form.name,
      isSource,
      entry: entryName(form.name),
      threads: form.threads,
      programsPerGroup: form.programsPerGroup,
      params: form.params.map((p) => (p.kind === "buffer" ? ["buffer", p.mem] : ["scalar", p.reg])),
      ...(sites.length ? { reports: sites } : {}),
    };
    const head = form.layouts.map((l) => `// ${l}\n`).join("");
    return { bytes, meta: { ...meta }, text: head + text };
  }
}
