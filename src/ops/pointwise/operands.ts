// What pointwise launches ask of their operands: common shapes, overlap, parts.

import type { Scalar } from "../../tensor/dtype.js";
import { broadcastShapes, sameShape } from "../../tensor/layout.js";
import { Tensor } from "../../tensor/tensor.js";

/** A tensor or a plain number. */
export type Input = Tensor | Scalar;

/** Whether two tensors over the same memory have the same elements at the same places. */
export function sameElements(a: Tensor, b: Tensor): boolean {
  return (
    a.offset === b.offset &&
    a.dtype === b.dtype &&
    sameShape(a.shape, b.shape) &&
    a.strides.every((s, d) => s === b.strides[d] || a.shape[d] === 1)
  );
}

export function firstTensor(inputs: readonly Input[]): Tensor | undefined {
  for (let i = 0; i < inputs.length; i++) {
    const x = inputs[i];
    if (x instanceof Tensor) return x;
  }
  return undefined;
}

/** The shape that the inputs broadcast to; that of a 0-dim tensor for plain numbers. */
export function shapeOf(inputs: readonly Input[], name: string): readonly number[] {
  let shape: readonly number[] | undefined;
  for (let i = 0; i < inputs.length; i++) {
    const x = inputs[i];
    if (!(x instanceof Tensor)) continue;
    if (shape === undefined) shape = x.shape;
    else if (!sameShape(shape, x.shape)) {
      try {
        shape = broadcastShapes(shape, x.shape);
      } catch (error) {
        if (error instanceof Error) error.message = `${name}: ${error.message}`;
        throw error;
      }
    }
  }
  return shape ?? [];
}

/**
 * The elements `start` to `start + length` along dimension `dim` of a shape of `ndim` dimensions, of an operand that
 * broadcasts to it.
 */
export function partOf(x: Input, ndim: number, dim: number, start: number, length: number): Input {
  if (!(x instanceof Tensor)) return x;
  const own = dim - (ndim - x.ndim);
  if (own < 0 || x.shape[own] === 1) return x;
  const { storage, strides, dtype, counter } = x;
  const shape = x.shape.slice();
  shape[own] = length;
  return new Tensor({ storage, strides, dtype, counter, shape, offset: x.offset + start * strides[own]! });
}
