// What a launch takes for a `ptr` parameter. Tensors implement it; the runtime knows no tensors.

import type { DType } from "../compiler/ir/index.js";
import type { Chip, DeviceBuffer } from "./driver.js";

/** Marks objects that launches accept as memory. */
export const KERNEL_BUFFER: unique symbol = Symbol.for("vexil.kernelBuffer") as never;

export interface KernelBuffer {
  readonly [KERNEL_BUFFER]: true;
  readonly chip: Chip;
  readonly buffer: DeviceBuffer;
  /** First element, in elements from the start of the buffer. */
  readonly offset: number;
  readonly dtype: DType;
  /** Elements from `offset` to the end of the buffer. */
  readonly available: number;
}

export const isKernelBuffer = (x: unknown): x is KernelBuffer =>
  typeof x === "object" && x !== null && (x as { [KERNEL_BUFFER]?: unknown })[KERNEL_BUFFER] === true;
