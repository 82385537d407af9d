// The target of NVIDIA GPUs: tile IR through `lower/simt` to PTX to machine code.

import type { Func } from "../../compiler/ir/index.js";
import type { Form } from "../../compiler/lower/simt/form.js";
import { GRID_PARAMS, LOWERING_VERSION, lowerSimt, orderOf } from "../../compiler/lower/simt/index.js";
import type { SimtShape } from "../../compiler/lower/simt/shape.js";
import { lowerReports, type ReportSite } from "../../compiler/passes/index.js";
import type { Artifact, Target } from "../../compiler/target.js";
import type { CudaContext } from "./context.js";
import type { KernelMeta } from "./driver.js";
import { asImage, linkPtx, needsWhole } from "./link.js";
import { bytesOf } from "./memory-ops.js";
import { ENTRY, PRINTER_VERSION, printPtx } from "./print.js";
import { shapeOf } from "./shape.js";

/** What the printer has instructions for. */
export const NATIVE_MATH: readonly string[] = ["exp2Approx", "sigmoidApprox"];

/** What code depends on besides the kernel. All that the shape says is part of it: code for one must not be run as code for another. */
export function fingerprintOf(shape: SimtShape, capability: number, driver: number): string {
  const { matrices, ...rest } = shape;
  const units = matrices.map((m) => m.name);
  return JSON.stringify([LOWERING_VERSION, PRINTER_VERSION, capability, driver, rest, units]);
}

export class NvidiaTarget implements Target {
  readonly name = "nvidia";
  readonly nativeMath = NATIVE_MATH;
  readonly fingerprint: string;
  readonly shape: SimtShape;

  constructor(private readonly context: CudaContext) {
    const { device, api } = context;
    const version = new Int32Array(1);
    context.check(api.cuDriverGetVersion(version), "cuDriverGetVersion");
    this.shape = shapeOf(device);
    this.fingerprint = fingerprintOf(this.shape, device.capability, version[0]!);
  }

  compile(func: Func): Artifact {
    const { func: lowered, sites } = lowerReports(func);
    // Reports are behind the author's parameters, where the sizes of a persistent grid would be.
    const shape = sites.length ? { ...this.shape, persistent: false } : this.shape;
    return this.compileForm(lowerSimt(lowered, shape), sites);
  }

  /** {@link compile} from the lowered form on. Throws CompileError. */
  compileForm(form: Form, sites: readonly ReportSite[] = []): Artifact {
    const text = printPtx(form, this.context.device.capability);
    const meta: KernelMeta = { ...metaOf(form), ...(sites.length ? { reports: sites } : {}) };
    const bytes = needsWhole(text) ? asImage(text) : linkPtx(this.context, form.name, text);
    return { bytes, meta: { ...meta }, text };
  }
}

/** What a launch of a form needs to know. */
export function metaOf(form: Form): KernelMeta {
  const { early, written } = orderOf(form.body);
  return {
    name: form.name,
    entry: ENTRY,
    threads: form.threads + (form.extraThreads ?? 0),
    programsPerGroup: form.programsPerGroup,
    sharedBytes: form.sharedBytes,
    params: form.params
      .slice(0, form.persistent ? -GRID_PARAMS : undefined)
      .map((p) =>
        p.kind === "buffer" ? ["buffer", bytesOf(p.mem)] : ["scalar", p.reg === "mask" ? "i32" : p.reg],
      ),
    ...(form.maps ? { maps: form.maps } : {}),
    ...(form.persistent ? { persistent: true } : {}),
    ...(early.length ? { early } : {}),
    written,
  };
}
