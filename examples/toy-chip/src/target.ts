// The compiler's side of the chip: optimised tile IR -> the form of `lower/simd` -> JavaScript.

import {
  type Artifact,
  type Func,
  lowerReports,
  lowerSimd,
  type ReportSite,
  type Target,
} from "vexil/compiler";
import { type Param, printJs } from "./print.js";

/** What the driver must know of a kernel, kept beside its code. */
export interface KernelMeta {
  readonly name: string;
  readonly frameBytes: number;
  readonly params: readonly Param[];
  /** What the kernel prints and asserts; then its last parameter is the memory for that. */
  readonly reports: readonly ReportSite[];
}

export class ToyTarget implements Target {
  readonly name = "toy";
  /** Part of every cache key: change it whenever the printed code changes. */
  readonly fingerprint = "toy-2";

  compile(func: Func): Artifact {
    const { func: lowered, sites } = lowerReports(func);
    // Vectors of 16 bytes; JavaScript has none, so the printer writes each lane out.
    const form = lowerSimd(lowered, { bytes: 16, registers: 16, address32: true });
    const text = printJs(form);
    const meta: KernelMeta = {
      name: form.name,
      frameBytes: form.frameBytes,
      params: form.params.map((p) => (p.kind === "buffer" ? { buffer: p.mem } : { scalar: p.reg })),
      reports: sites,
    };
    return { bytes: new TextEncoder().encode(text), meta: { ...meta }, text };
  }
}
