// A printed Form with what the driver must know of it: the chip's artifact.

import type { Form } from "../../compiler/lower/simd/form.js";
import type { ReportSite } from "../../compiler/passes/index.js";
import type { Artifact } from "../../compiler/target.js";
import type { KernelMeta, ScalarCode } from "./driver.js";
import { MEM_BYTES } from "./emit-memory.js";
import { printForm } from "./print.js";
import { estimateNanoseconds } from "./uses.js";

/** What the printer may use. */
export interface WasmFeatures {
  readonly relaxed: boolean;
  readonly shared: boolean;
}

/** A Form as an artifact. */
export function compileForm(
  form: Form,
  { relaxed, shared }: WasmFeatures,
  sites: readonly ReportSite[] = [],
): Artifact {
  const printed = printForm(form, { relaxed, memory: { min: 1, max: 65536, shared } });
  const meta: KernelMeta = {
    name: form.name,
    frameBytes: form.frameBytes,
    nanoseconds: Math.ceil(estimateNanoseconds(form.body)),
    params: form.params.map((p): number | ScalarCode => {
      if (p.kind === "buffer") return MEM_BYTES[p.mem];
      return p.reg === "i32" ? (p.mem as ScalarCode) : p.reg;
    }),
    ...(sites.length ? { reports: sites } : {}),
  };
  return {
    bytes: printed.bytes,
    meta: { ...meta },
    get text() {
      return printed.text;
    },
  };
}
