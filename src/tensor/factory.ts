// Making tensors from host data, and empty ones. What fills them on the chip (`zeros`, `rand`, …) stands in `ops/`.

import { recorder } from "../runtime/recording.js";
import { storageOfFile } from "../runtime/file-storage.js";
import { allocate } from "../runtime/storage.js";
import { defaultDType, isFloatDType, itemSize, type DType, type Scalar } from "./dtype.js";
import { chipOf } from "./fill.js";
import { encode, typedArrayDType, type SourceArray } from "./host.js";
import { contiguousStrides, inferShape, numelOf, showShape } from "./layout.js";
import { Tensor } from "./tensor.js";

export interface TensorOptions {
  readonly dtype?: DType;
  /** The name of a loaded chip; the default chip if left out. */
  readonly device?: string;
  readonly requiresGrad?: boolean;
}

/** What `tensor` accepts: numbers nested in arrays of equal lengths, or a typed array. */
export type NestedData = Scalar | SourceArray | readonly NestedData[];

/**
 * A tensor with unspecified contents. `shape` counts elements per dimension; the default dtype is f32.
 *
 * @example const out = empty([2, 3], { dtype: "f16" });
 */
export function empty(shape: readonly number[], options: TensorOptions = {}): Tensor {
  const dtype = options.dtype ?? defaultDType();
  for (const n of shape) {
    if (!Number.isInteger(n) || n < 0)
      throw new RangeError(`a shape holds lengths of 0 or more, not ${showShape(shape)}`);
  }
  const numel = numelOf(shape);
  const chip = chipOf(options.device);
  const storage = allocate(chip, numel * itemSize(dtype));
  const t = new Tensor({
    storage,
    shape: shape.slice(),
    strides: contiguousStrides(shape),
    offset: 0,
    dtype,
  });
  if (options.requiresGrad) t.requiresGrad = true;
  return t;
}

/** As {@link empty}, with strides (in elements) instead of row-major order. */
export function emptyStrided(
  shape: readonly number[],
  strides: readonly number[],
  options: TensorOptions = {},
): Tensor {
  const dtype = options.dtype ?? defaultDType();
  let last = numelOf(shape) === 0 ? -1 : 0;
  if (last === 0) for (let i = 0; i < shape.length; i++) last += (shape[i]! - 1) * strides[i]!;
  const storage = allocate(chipOf(options.device), (last + 1) * itemSize(dtype));
  return new Tensor({ storage, shape: shape.slice(), strides: strides.slice(), offset: 0, dtype });
}

/**
 * Fresh row-major memory under another shape of as many elements: for an operator that has just made `t` and gives only the
 * result away. Unlike a view, the result owns the memory.
 */
export function reshaped(t: Tensor, shape: readonly number[]): Tensor {
  return new Tensor({
    storage: t.storage,
    shape,
    strides: contiguousStrides(shape),
    offset: t.offset,
    dtype: t.dtype,
  });
}

/** An empty row-major tensor of another's shape, dtype and device, each of which may be replaced. */
export function emptyLike(
  like: { readonly shape: readonly number[]; readonly dtype: DType; readonly device: string },
  options: TensorOptions & { readonly shape?: readonly number[] } = {},
): Tensor {
  return empty(options.shape ?? like.shape, {
    dtype: options.dtype ?? like.dtype,
    device: options.device ?? like.device,
    ...(options.requiresGrad ? { requiresGrad: true } : {}),
  });
}

/**
 * A tensor of host data. Without `dtype`: booleans give bool, whole numbers and bigints i64, other numbers the
 * default dtype (f32), mixtures the highest of them; a typed array its own element type.
 *
 * Throws if the nesting is ragged or does not fit `shape`.
 *
 * @example
 * tensor([[1, 2.5], [3, 4]]);                                  // f32 [2, 2]
 * tensor(new Float32Array(6), { shape: [2, 3], requiresGrad: true });
 */
export function tensor(
  data: NestedData,
  options: TensorOptions & { readonly shape?: readonly number[] } = {},
): Tensor {
  const own = typedArrayDType(data);
  let values: ArrayLike<Scalar> | SourceArray;
  let shape: readonly number[];
  let dtype = options.dtype;
  if (own !== undefined) {
    values = data as SourceArray;
    shape = [values.length];
    dtype ??= own;
  } else {
    const flat: Scalar[] = [];
    shape = flatten(data, flat);
    values = flat;
    dtype ??= inferDType(flat);
  }
  if (dtype === "u16" || dtype === "u32" || dtype === "u64") {
    throw new TypeError(`tensors have no dtype ${dtype}: pass { dtype: "i32" } or { dtype: "i64" }`);
  }
  if (options.shape !== undefined) shape = inferShape(options.shape, values.length);
  return upload(encode(values, dtype), shape, dtype, options);
}

function upload(bytes: Uint8Array, shape: readonly number[], dtype: DType, options: TensorOptions): Tensor {
  const t = empty(shape, { dtype, ...(options.device === undefined ? {} : { device: options.device }) });
  recorder?.refuse();
  if (bytes.length > 0) t.chip.driver.write(t.buffer, 0, bytes);
  if (options.requiresGrad) t.requiresGrad = true;
  return t;
}

/**
 * A tensor from bytes in the dtype's storage form, row-major, little-endian; the counterpart of `t.bytes()`.
 * Throws if their number does not fit the shape.
 */
export function fromBytes(
  bytes: Uint8Array,
  shape: readonly number[],
  dtype: DType,
  device?: string,
): Tensor {
  const wanted = numelOf(shape) * itemSize(dtype);
  if (bytes.byteLength !== wanted) {
    throw new RangeError(
      `a ${dtype} tensor of shape ${showShape(shape)} takes ${wanted} bytes, not ${bytes.byteLength}`,
    );
  }
  return upload(bytes, shape, dtype, device === undefined ? {} : { device });
}

/**
 * Writes bytes, as {@link fromBytes} takes them, into the memory of a row-major tensor, from a byte of it on.
 * @returns where the next ones go
 */
export function writeBytes(t: Tensor, at: number, bytes: Uint8Array): number {
  const size = t.numel * itemSize(t.dtype);
  if (!t.isContiguous || at < 0 || at + bytes.length > size)
    throw new RangeError(
      `${bytes.length} bytes do not fit byte ${at} of a ${t.dtype} tensor of shape ${showShape(t.shape)}, or it is not row-major`,
    );
  recorder?.refuse();
  if (bytes.length > 0) t.chip.driver.write(t.buffer, t.offset * itemSize(t.dtype) + at, bytes);
  return at + bytes.length;
}

/** Where the bytes of a tensor stand, row-major and little-endian. */
export interface FileRange {
  readonly path: string;
  /** In bytes. */
  readonly position: number;
}

/**
 * A tensor of the bytes of a file; as {@link fromBytes}. On chips that work in the host's memory large ones are the file's
 * own pages, read when they are first used: such a file must not be cut short while the tensor lives. Writing to the tensor
 * changes no file.
 * @param options.copy always copy
 * @throws FileBytesError where the file has no such bytes
 */
export function fromFile(
  file: FileRange,
  shape: readonly number[],
  dtype: DType,
  options: { readonly device?: string; readonly copy?: boolean } = {},
): Tensor {
  recorder?.refuse();
  const unit = itemSize(dtype);
  const chip = chipOf(options.device);
  const bytes = numelOf(shape) * unit;
  const { storage, begin } = storageOfFile(chip, file.path, file.position, bytes, unit, options.copy);
  return new Tensor({
    storage,
    shape: shape.slice(),
    strides: contiguousStrides(shape),
    offset: begin / unit,
    dtype,
  });
}

/** Appends the elements of nested data to `out` and gives its shape. */
function flatten(data: NestedData, out: Scalar[]): number[] {
  if (typeof data !== "object") {
    if (typeof data !== "number" && typeof data !== "bigint" && typeof data !== "boolean") {
      throw new TypeError(`a tensor is made of numbers, bigints and booleans, not ${typeof data}`);
    }
    out.push(data);
    return [];
  }
  if (!Array.isArray(data) && !ArrayBuffer.isView(data)) {
    throw new TypeError("a tensor is made of numbers nested in arrays, or of a typed array");
  }
  const items = data as ArrayLike<NestedData>;
  let inner: number[] | undefined;
  for (let i = 0; i < items.length; i++) {
    const shape = flatten(items[i]!, out);
    if (inner !== undefined && (inner.length !== shape.length || inner.some((n, d) => n !== shape[d]))) {
      throw new RangeError(
        `ragged data: element ${i} has shape ${showShape(shape)}, those before it ${showShape(inner)}`,
      );
    }
    inner = shape;
  }
  return [items.length, ...(inner ?? [])];
}

function inferDType(values: readonly Scalar[]): DType {
  if (values.length === 0) return defaultDType();
  let integers = false;
  let floats = false;
  for (const v of values) {
    if (typeof v === "bigint") integers = true;
    else if (typeof v === "number") {
      if (Number.isInteger(v)) integers = true;
      else floats = true;
    }
  }
  return floats ? defaultDType() : integers ? "i64" : "bool";
}

/** The 0-dim tensor of a plain number, for implementations that want a tensor. */
export function scalarTensor(value: Scalar, dtype: DType, device?: string): Tensor {
  return upload(encode([value], dtype), [], dtype, device === undefined ? {} : { device });
}

export { isFloatDType };
