// Arithmetic on shapes and strides: no tensors, no memory. Shapes and strides count elements.

/** Number of elements of a shape (1 for a scalar's). */
export function numelOf(shape: readonly number[]): number {
  let n = 1;
  for (let i = 0; i < shape.length; i++) n *= shape[i]!;
  return n;
}

/** Row-major strides; a dimension of length 0 counts as 1, as in PyTorch. */
export function contiguousStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= Math.max(shape[i]!, 1);
  }
  return strides;
}

/** Whether the strides are row-major; strides of dimensions of length 1 do not matter, nor any of an empty shape. */
export function isContiguousLayout(shape: readonly number[], strides: readonly number[]): boolean {
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    const n = shape[i]!;
    if (n === 0) return true;
    if (n !== 1) {
      if (strides[i] !== step) return numelOf(shape) === 0;
      step *= n;
    }
  }
  return true;
}

/** A strided tensor's lowest and highest element, relative to its offset; undefined when it has none. */
export function elementSpan(
  shape: readonly number[],
  strides: readonly number[],
): { low: number; high: number } | undefined {
  let low = 0;
  let high = 0;
  for (let i = 0; i < shape.length; i++) {
    const n = shape[i]!;
    if (n === 0) return undefined;
    const reach = (n - 1) * strides[i]!;
    if (reach < 0) low += reach;
    else high += reach;
  }
  return { low, high };
}

export const sameShape = (a: readonly number[], b: readonly number[]): boolean => {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
};

export const showShape = (shape: readonly number[]): string => `[${shape.join(", ")}]`;

/** A dimension index in 0..ndim-1 from one that may be negative. A 0-dim tensor accepts 0 and -1. */
export function normalizeDim(dim: number, ndim: number, what = "dimension"): number {
  const n = Math.max(ndim, 1);
  if (!Number.isInteger(dim) || dim < -n || dim >= n) {
    throw new RangeError(
      `${what} ${dim} is out of range for a tensor of ${ndim} dimensions (allowed: ${-n} to ${n - 1})`,
    );
  }
  return dim < 0 ? dim + n : dim;
}

/** Distinct, normalised dimensions; null or an empty list mean all of them. */
export function normalizeDims(
  dims: readonly number[] | null | undefined,
  ndim: number,
  emptyMeansAll = true,
): number[] {
  if (dims === null || dims === undefined || (dims.length === 0 && emptyMeansAll)) {
    return Array.from({ length: ndim }, (_, i) => i);
  }
  const out = dims.map((d) => normalizeDim(d, ndim));
  if (new Set(out).size !== out.length)
    throw new RangeError(`dimension list ${showShape(dims)} names one twice`);
  return out;
}

/** The shape that all shapes broadcast to: aligned at the end, lengths equal or 1. */
export function broadcastShapes(...shapes: readonly (readonly number[])[]): number[] {
  let ndim = 0;
  for (const s of shapes) ndim = Math.max(ndim, s.length);
  const out = new Array<number>(ndim).fill(1);
  for (const s of shapes) {
    const shift = ndim - s.length;
    for (let i = 0; i < s.length; i++) {
      const n = s[i]!;
      if (n === 1 || n === out[shift + i]) continue;
      if (out[shift + i] !== 1) {
        throw new RangeError(
          `shapes ${shapes.map(showShape).join(" and ")} do not broadcast: lengths ${out[shift + i]} and ${n} meet at dimension ${shift + i}`,
        );
      }
      out[shift + i] = n;
    }
  }
  return out;
}

/** Strides with which a tensor is read as `target`: 0 along the dimensions it is repeated in. */
export function broadcastStrides(
  shape: readonly number[],
  strides: readonly number[],
  target: readonly number[],
): number[] {
  const shift = target.length - shape.length;
  return target.map((n, i) => (i < shift || (shape[i - shift] === 1 && n !== 1) ? 0 : strides[i - shift]!));
}

/** Several operands walked together, with as few dimensions as their strides allow. */
export interface Collapsed {
  readonly shape: number[];
  /** One list of strides per operand. */
  readonly strides: number[][];
}

/**
 * Drops dimensions of length 1 and merges neighbours that every operand steps through evenly. All operands must
 * have strides for `shape` (see {@link broadcastStrides}). A scalar shape gives no dimensions.
 *
 * @example collapseDims([2, 3, 4], [[12, 4, 1], [0, 0, 0]]) // { shape: [24], strides: [[1], [0]] }
 */
export function collapseDims(shape: readonly number[], operands: readonly (readonly number[])[]): Collapsed {
  const outShape: number[] = [];
  const outStrides: number[][] = operands.map(() => []);
  for (let i = 0; i < shape.length; i++) {
    const n = shape[i]!;
    if (n === 1) continue;
    const last = outShape.length - 1;
    if (last >= 0 && operands.every((s, k) => outStrides[k]![last] === s[i]! * n)) {
      outShape[last]! *= n;
      operands.forEach((s, k) => {
        outStrides[k]![last] = s[i]!;
      });
    } else {
      outShape.push(n);
      operands.forEach((s, k) => {
        outStrides[k]!.push(s[i]!);
      });
    }
  }
  return { shape: outShape, strides: outStrides };
}

/** The shape with one -1 filled in from the number of elements. */
export function inferShape(shape: readonly number[], numel: number): number[] {
  let known = 1;
  let hole = -1;
  for (let i = 0; i < shape.length; i++) {
    const n = shape[i]!;
    if (n === -1) {
      if (hole >= 0) throw new RangeError(`shape ${showShape(shape)} has more than one -1`);
      hole = i;
    } else if (n < 0 || !Number.isInteger(n)) {
      throw new RangeError(`shape ${showShape(shape)} has the invalid length ${n}`);
    } else known *= n;
  }
  const fits = hole < 0 ? known === numel : known > 0 && numel % known === 0;
  if (!fits) {
    const why = hole >= 0 && known === 0 ? ": the -1 is ambiguous beside a length of 0" : "";
    throw new RangeError(`shape ${showShape(shape)} does not hold ${numel} elements${why}`);
  }
  const out = shape.slice();
  if (hole >= 0) out[hole] = numel / known;
  return out;
}

/**
 * Strides that show the same memory in a new shape of as many elements, or undefined if only a copy can: each run of
 * evenly spaced old elements must split into whole new dimensions.
 */
export function viewStrides(
  shape: readonly number[],
  strides: readonly number[],
  target: readonly number[],
): number[] | undefined {
  if (sameShape(shape, target)) return strides.slice();
  if (numelOf(shape) === 0) return contiguousStrides(target);
  const collapsed = collapseDims(shape, [strides]);
  const runs = collapsed.shape;
  const steps = collapsed.strides[0]!;
  const out = new Array<number>(target.length);
  let r = runs.length;
  let left = 1;
  let step = 1;
  for (let t = target.length - 1; t >= 0; t--) {
    const n = target[t]!;
    if (left === 1 && r > 0 && n !== 1) {
      r--;
      left = runs[r]!;
      step = steps[r]!;
    }
    if (left % n !== 0) return undefined;
    out[t] = step;
    step *= n;
    left /= n;
  }
  return out;
}
