// The `opencl` chip: kernels as OpenCL C on any OpenCL 1.2 device.

import type { SimtShape } from "../../compiler/lower/simt/index.js";
import type { Capabilities, Chip, ChipEntry, Probe } from "../../runtime/driver.js";
import { ClContext } from "./context.js";
import { chooseDevice, type Device } from "./device.js";
import { OpenClDriver } from "./driver.js";
import { NoOpenClError } from "./library.js";
import { OpenClTarget } from "./target.js";

const SUMMARY = "OpenCL C on any OpenCL device, through its driver";

/** What the lowering may use of a device. */
export function shapeOf(d: Device): SimtShape {
  const wide =
    d.extensions.has("cl_khr_int64_base_atomics") && d.extensions.has("cl_khr_int64_extended_atomics");
  return {
    maxThreads: 2 ** Math.floor(Math.log2(Math.min(d.maxThreads, 1024))),
    // On a CPU the threads of a workgroup become the lanes of its vector unit: one element each, side by side.
    preferredThreads: d.isGpu ? 128 : 256,
    sharedBytes: d.localBytes,
    registers: 255,
    accessBytes: d.isGpu ? 16 : 4,
    lanes: 1,
    bankBytes: d.isGpu ? 128 : 0,
    f64: d.extensions.has("cl_khr_fp64"),
    atomics: (_op, kind) => kind === "i32" || (kind === "i64" && wide),
    matrices: [],
  };
}

function capabilities(d: Device, shape: SimtShape): Capabilities {
  return {
    syncRead: true,
    f64: shape.f64,
    i64: true,
    threads: d.units,
    elementsPerProgram: 1024,
    dotBlock: [64, 64, 16],
    sharedBytes: shape.sharedBytes,
    maxBufferBytes: d.maxAllocation,
    memoryBytes: d.globalBytes,
    maxGrid: [2147483647, 65535, 65535],
  };
}

const describe = (d: Device): string => `${d.name}, ${d.version}, driver ${d.driver}`;

export const entry: ChipEntry = {
  name: "opencl",
  summary: SUMMARY,

  probe(): Promise<Probe> {
    try {
      const device = chooseDevice();
      return Promise.resolve({
        available: true,
        found: describe(device),
        ...(device.isGpu ? {} : { isSoftware: true }),
      });
    } catch (e) {
      if (!(e instanceof NoOpenClError)) return Promise.reject(e);
      return Promise.resolve({ available: false, found: e.message, ...(e.hint ? { hint: e.hint } : {}) });
    }
  },

  open(): Promise<Chip> {
    try {
      const device = chooseDevice();
      const context = new ClContext(device);
      const shape = shapeOf(device);
      return Promise.resolve({
        name: "opencl",
        target: new OpenClTarget(context, shape),
        driver: new OpenClDriver(context),
        capabilities: capabilities(device, shape),
        description: describe(device),
      });
    } catch (e) {
      if (!(e instanceof NoOpenClError)) return Promise.reject(e);
      return Promise.reject(
        new Error(`the opencl chip is not available: ${e.message}${e.hint ? `. ${e.hint}` : ""}`),
      );
    }
  },
};
