// Reading tensors back to the host. Any strides: the span of memory is read and gathered here, so that reading needs
// no kernel.

import type { Scalar } from "./dtype.js";
import { itemSize } from "./dtype.js";
import { decode, type TensorData } from "./host.js";
import { elementSpan, isContiguousLayout, showShape } from "./layout.js";
import type { Tensor } from "./tensor.js";

export type { TensorData };

/** Nested arrays of elements: bigint for i64, boolean for bool, else number. */
export type Nested = Scalar | Nested[];

/** The bytes of a tensor in row-major order, from the bytes of the span of memory that it stands on. */
function gather(t: Tensor, span: Uint8Array, low: number): Uint8Array {
  if (isContiguousLayout(t.shape, t.strides)) return span;
  const size = itemSize(t.dtype);
  const out = new Uint8Array(t.numel * size);
  const ndim = t.shape.length;
  const index = new Array<number>(ndim).fill(0);
  const last = ndim - 1;
  const width = t.shape[last]!;
  const step = t.strides[last]!;
  let row = -low;
  for (let at = 0; at < t.numel; at += width) {
    if (step === 1) out.set(span.subarray(row * size, (row + width) * size), at * size);
    else {
      for (let j = 0; j < width; j++) {
        const from = (row + j * step) * size;
        const to = (at + j) * size;
        for (let b = 0; b < size; b++) out[to + b] = span[from + b]!;
      }
    }
    for (let d = last - 1; d >= 0; d--) {
      row += t.strides[d]!;
      if (++index[d]! < t.shape[d]!) break;
      row -= t.strides[d]! * t.shape[d]!;
      index[d] = 0;
    }
  }
  return out;
}

export async function readBytes(t: Tensor): Promise<Uint8Array> {
  const span = elementSpan(t.shape, t.strides);
  const { buffer } = t;
  if (span === undefined) return new Uint8Array(0);
  const size = itemSize(t.dtype);
  const { low, high } = span;
  return gather(t, await t.chip.driver.read(buffer, (t.offset + low) * size, (high - low + 1) * size), low);
}

/** Throws if the chip cannot be read without waiting. */
export function readBytesSync(t: Tensor): Uint8Array {
  const span = elementSpan(t.shape, t.strides);
  const { buffer, chip } = t;
  if (!chip.capabilities.syncRead || chip.driver.readSync === undefined) {
    throw new Error(
      `the chip ${chip.name} cannot be read synchronously (it lacks syncRead): use await t.data() or await t.item()`,
    );
  }
  if (span === undefined) return new Uint8Array(0);
  const size = itemSize(t.dtype);
  const { low, high } = span;
  return gather(t, chip.driver.readSync(buffer, (t.offset + low) * size, (high - low + 1) * size), low);
}

export const readData = async (t: Tensor): Promise<TensorData> => decode(await readBytes(t), t.dtype);
export const readDataSync = (t: Tensor): TensorData => decode(readBytesSync(t), t.dtype);

const element = (t: Tensor, v: number | bigint): Scalar => (t.dtype === "bool" ? v !== 0 : v);

function checkSingle(t: Tensor): void {
  if (t.numel !== 1) {
    throw new Error(
      `item() needs a tensor of one element, not of shape ${showShape(t.shape)}: index it first, or use data()`,
    );
  }
}

export async function readItem(t: Tensor): Promise<Scalar> {
  checkSingle(t);
  return element(t, (await readData(t))[0]!);
}
export function readItemSync(t: Tensor): Scalar {
  checkSingle(t);
  return element(t, readDataSync(t)[0]!);
}

/** Row-major data as nested arrays. */
export async function readList(t: Tensor): Promise<Nested> {
  const data = await readData(t);
  let at = 0;
  const build = (dim: number): Nested => {
    if (dim === t.shape.length) return element(t, data[at++]!);
    return Array.from({ length: t.shape[dim]! }, () => build(dim + 1));
  };
  return build(0);
}
