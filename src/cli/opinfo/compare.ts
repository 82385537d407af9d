// Whether a result is PyTorch's: shapes and dtypes equal, integers and bools exactly, floats within the tolerance of
// their dtype, NaN and infinities at the same places.

import { isFloatDType, sameShape, showShape, type Tensor } from "../../tensor/index.js";
import { decode } from "../../tensor/host.js";
import type { DType } from "../../compiler/ir/index.js";
import type { StoredTensor } from "./read.js";

export interface Tolerance {
  readonly atol: number;
  readonly rtol: number;
}

const RESULTS: Readonly<Partial<Record<DType, Tolerance>>> = {
  f64: { atol: 1e-7, rtol: 1e-7 },
  f32: { atol: 2e-5, rtol: 2e-5 },
  f16: { atol: 2e-3, rtol: 2e-3 },
  bf16: { atol: 1e-2, rtol: 1.6e-2 },
};
const GRADIENTS: Readonly<Partial<Record<DType, Tolerance>>> = {
  ...RESULTS,
  f32: { atol: 2e-4, rtol: 2e-4 },
};
const EXACT: Tolerance = { atol: 0, rtol: 0 };

export const toleranceOf = (dtype: DType, gradient: boolean): Tolerance =>
  (gradient ? GRADIENTS : RESULTS)[dtype] ?? EXACT;

/** What is wrong with `got`, or undefined. */
export async function compareTensor(
  got: Tensor,
  want: StoredTensor,
  tolerance: Tolerance,
  layoutOnly: boolean,
): Promise<string | undefined> {
  if (got.dtype !== want.dtype) return `dtype ${got.dtype} instead of ${want.dtype}`;
  if (!sameShape(got.shape, want.shape))
    return `shape ${showShape(got.shape)} instead of ${showShape(want.shape)}`;
  if (layoutOnly) return undefined;
  const bytes = await got.bytes();
  if (!isFloatDType(want.dtype)) {
    if (bytes.length === want.bytes.length && bytes.every((b, i) => b === want.bytes[i])) return undefined;
  }
  const [a, b] = [decode(bytes, got.dtype), decode(aligned(want.bytes), want.dtype)];
  let worst: string | undefined;
  let excess = 0;
  let wrong = 0;
  for (let i = 0; i < b.length; i++) {
    const over = difference(a[i]!, b[i]!, tolerance);
    if (over > 0) {
      wrong++;
      if (over > excess) {
        excess = over;
        worst = `element ${i} is ${a[i]} instead of ${b[i]}`;
      }
    }
  }
  return worst && `${worst} (${wrong} of ${b.length} wrong)`;
}

/** How far two values are apart beyond the tolerance; 0 if they agree. */
export function difference(a: number | bigint, b: number | bigint, { atol, rtol }: Tolerance): number {
  if (typeof a === "bigint" || typeof b === "bigint")
    return a === b ? 0 : Math.max(1, Math.abs(Number(a) - Number(b)));
  if (a === b) return 0;
  if (Number.isNaN(a) && Number.isNaN(b)) return 0;
  if (!Number.isFinite(a) || !Number.isFinite(b)) return Number.POSITIVE_INFINITY;
  return Math.max(0, Math.abs(a - b) - (atol + rtol * Math.abs(b)));
}

/** Bytes at an address that typed arrays of any element size can stand on. */
const aligned = (bytes: Uint8Array): Uint8Array => (bytes.byteOffset % 8 === 0 ? bytes : bytes.slice());

/** Whether a stored tensor holds only zeros. */
export function allZero(t: StoredTensor): boolean {
  for (const v of decode(aligned(t.bytes), t.dtype)) if (Number(v) !== 0) return false;
  return true;
}
