// What `lower/simt` must know of an NVIDIA GPU, from its device description.

import type { SimtShape } from "../../compiler/lower/simt/shape.js";
import type { CudaDevice } from "./device.js";
import { MATRICES } from "./matrix.js";

/** From this compute capability on a kernel may be launched while the one before it still runs. */
export const OVERLAPS = 90;

/** The facts that decide the code; part of the cache's key. */
export type ShapeFacts = Pick<CudaDevice, "capability" | "sharedPerBlockOptIn" | "registersPerBlock">;

export function shapeOf(device: ShapeFacts): SimtShape {
  const { capability } = device;
  return {
    subgroup: 32,
    maxThreads: 1024,
    preferredThreads: 128,
    sharedBytes: device.sharedPerBlockOptIn,
    registers: 255,
    groupRegisters: device.registersPerBlock,
    accessBytes: 16,
    lanes: 1,
    bankBytes: 128,
    f64: true,
    atomics(op, kind) {
      if (kind === "i32" || kind === "i64") return true;
      if (kind === "f32" || kind === "f64") return op === "add" || op === "xchg";
      return kind === "u16" && op === "cas";
    },
    matchLanes: true,
    asyncCopy: capability >= 80,
    halfPairs: capability >= 80,
    // Instructions of this one generation are in the text (print.ts).
    bulkCopy: capability === 90,
    bulkStreams: capability === 90,
    persistent: capability === 90,
    overlaps: capability >= OVERLAPS,
    loadMatrix: true,
    // A form names a shape by its place in the printer's table, so the table's order stays and newer shapes go.
    matrices: MATRICES.filter((m) => m.since <= capability && capability <= (m.until ?? capability)),
  };
}
