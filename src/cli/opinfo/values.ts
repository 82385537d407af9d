// The values of samples as arguments of our operators: tensors with their strides, lists, dtypes, slices.

import { allocate } from "../../runtime/storage.js";
import { loadedChip } from "../../runtime/registry.js";
import { ellipsis, itemSize, numelOf, parseDType, slice, Tensor } from "../../tensor/index.js";
import type { Json, SampleSet, StoredTensor } from "./read.js";

type Tagged = Readonly<Record<string, unknown>>;

const isTagged = (v: unknown): v is Tagged => typeof v === "object" && v !== null && !Array.isArray(v);

/** Reads values of one set onto one chip; notes the leaves that require gradients, in order. */
export class ValueReader {
  readonly leaves: Tensor[] = [];

  constructor(
    readonly set: SampleSet,
    readonly chip: string,
  ) {}

  /** A value as an argument. */
  read(v: Json): unknown {
    if (!isTagged(v)) return v;
    if ("tensor" in v) return this.tensor(v);
    const list = v["list"] ?? v["tuple"];
    if (Array.isArray(list)) return list.map((x: Json) => this.read(x));
    if ("dtype" in v) return parseDType(v["dtype"] as string) ?? v["dtype"];
    if ("float" in v) return floatOf(v["float"] as string);
    if ("slice" in v) {
      const [start, stop, step] = v["slice"] as (number | null)[];
      return slice(start ?? null, stop ?? null, step ?? 1);
    }
    if ("ellipsis" in v) return ellipsis;
    if ("device" in v) return this.chip;
    if ("layout" in v) return v["layout"];
    throw new Error(`a value of an unknown kind: ${JSON.stringify(v)}`);
  }

  private tensor(v: Tagged): Tensor {
    const stored = this.set.tensor(v["tensor"] as string);
    const strides = v["strides"] as number[] | undefined;
    const t = place(stored, strides ?? contiguous(stored.shape), this.chip);
    if (v["requires_grad"]) {
      t.requiresGrad = true;
      this.leaves.push(t);
    }
    return t;
  }
}

export const floatOf = (text: string): number =>
  text === "inf" ? Number.POSITIVE_INFINITY : text === "-inf" ? Number.NEGATIVE_INFINITY : Number.NaN;

function contiguous(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    strides[d] = step;
    step *= Math.max(1, shape[d]!);
  }
  return strides;
}

/** A tensor of row-major data laid out with the given strides. */
export function place(stored: StoredTensor, strides: readonly number[], chip: string): Tensor {
  const { shape, dtype, bytes } = stored;
  const size = itemSize(dtype);
  const numel = numelOf(shape);
  let span = numel === 0 ? 0 : 1;
  if (numel > 0) for (let d = 0; d < shape.length; d++) span += (shape[d]! - 1) * strides[d]!;
  const memory = new Uint8Array(span * size);
  const index = new Array<number>(shape.length).fill(0);
  let at = 0;
  for (let i = 0; i < numel; i++) {
    memory.set(bytes.subarray(i * size, (i + 1) * size), at * size);
    for (let d = shape.length - 1; d >= 0; d--) {
      at += strides[d]!;
      if (++index[d]! < shape[d]!) break;
      at -= strides[d]! * shape[d]!;
      index[d] = 0;
    }
  }
  const storage = allocate(loadedChip(chip), memory.length);
  if (memory.length > 0) storage.chip.driver.write(storage.buffer, 0, memory);
  return new Tensor({ storage, shape, strides, offset: 0, dtype });
}
