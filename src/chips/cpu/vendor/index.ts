// The vendor libraries that the chip may use. Each is looked for when it is first asked for.

import type { Vendor, VendorMatmul } from "../../../runtime/driver.js";
import type { CpuDriver } from "../driver.js";
import { openOpenBlas } from "./openblas.js";

export class CpuVendor implements Vendor {
  readonly missing = "OpenBLAS is not there: install it (on Debian and Ubuntu `apt install libopenblas0`)";
  private found: { readonly matmul: VendorMatmul | undefined } | undefined;

  constructor(private readonly driver: CpuDriver) {}

  get matmul(): VendorMatmul | undefined {
    const { driver } = this;
    this.found ??= { matmul: openOpenBlas(driver.threads, (b, at) => driver.address(b, at)) };
    return this.found.matmul;
  }
}
