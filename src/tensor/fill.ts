// Constant tensors without a kernel: one element in memory, read everywhere with strides of 0.
// Writable constants (`zeros`, `full`) are operators of `ops/`.

import { defaultChip, loadedChip } from "../runtime/registry.js";
import { isCapturing } from "../runtime/pool.js";
import { recorder } from "../runtime/recording.js";
import { allocate } from "../runtime/storage.js";
import type { Chip } from "../runtime/driver.js";
import { callOperator } from "./operator.js";
import { itemSize, type DType, type Scalar } from "./dtype.js";
import { encode } from "./host.js";
import { Tensor } from "./tensor.js";

/** The opened chip of a name, or the default one. */
export const chipOf = (device?: string): Chip => (device === undefined ? defaultChip() : loadedChip(device));

/** A tensor of one repeated value; read only, as its elements share memory. */
export function constantTensor(
  shape: readonly number[],
  value: Scalar,
  dtype: DType,
  device?: string,
): Tensor {
  const chip = chipOf(device);
  // Host data cannot be part of a recording; a launch can.
  if (isCapturing(chip)) {
    const one = callOperator("full", [], value, { dtype, device: chip.name }) as Tensor;
    return new Tensor({ storage: one.storage, shape, strides: shape.map(() => 0), offset: 0, dtype });
  }
  const storage = allocate(chip, itemSize(dtype));
  recorder?.refuse();
  chip.driver.write(storage.buffer, 0, encode([value], dtype));
  return new Tensor({ storage, shape, strides: shape.map(() => 0), offset: 0, dtype });
}

/** Zeros (read only) of another tensor's shape, dtype and device. */
export const zerosLike = (t: { shape: readonly number[]; dtype: DType; device: string }): Tensor =>
  constantTensor(t.shape, 0, t.dtype, t.device);
