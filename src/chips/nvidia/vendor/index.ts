// The vendor libraries that the chip may use. Each is looked for when it is first asked for.

import type { Vendor, VendorMatmul } from "../../../runtime/driver.js";
import { CUBLAS_HINT, type CublasHost, openCublas } from "./cublas.js";

export class NvidiaVendor implements Vendor {
  private found: { readonly matmul: VendorMatmul | undefined } | undefined;
  readonly missing = `cuBLAS is not there: ${CUBLAS_HINT}`;

  constructor(private readonly host: CublasHost) {}

  get matmul(): VendorMatmul | undefined {
    this.found ??= { matmul: openCublas(this.host) };
    return this.found.matmul;
  }
}
