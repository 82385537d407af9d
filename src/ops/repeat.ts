// Repeating and turning over: repeat, tile, repeat_interleave, flip, rot90, roll.

import {
  callOperator,
  emptyLike,
  isGradEnabled,
  type Method,
  normalizeDim,
  normalizeDims,
  type Operator,
  operator,
  type Overloads,
  overloads,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { alias } from "../tensor/tensor.js";
import { clone, copy_ } from "./cast.js";
import { onesLike, zeros } from "./creation.js";
import { indexSelect } from "./gather.js";
import { cat } from "./join.js";
import { resumed } from "./nonzero-kernels.js";
import { indexAdd } from "./index-slices.js";

function repeated(self: Tensor, repeats: readonly number[]): Tensor {
  if (repeats.length < self.ndim)
    throw new RangeError(
      `repeat: ${repeats.length} repeats for a tensor of ${self.ndim} dimensions (shape ${showShape(self.shape)})`,
    );
  const lead = repeats.length - self.ndim;
  const shape = [...new Array<number>(lead).fill(1), ...self.shape];
  const out = shape.map((n, d) => n * repeats[d]!);
  if (repeats.every((r) => r === 1)) return clone(self).view(out);
  // Each dimension as [times, length], the first of which is repeated without memory.
  const pairs = shape.flatMap((n) => [1, n]);
  const wide = shape.flatMap((n, d) => [repeats[d]!, n]);
  const full = self.reshape(pairs).expand(wide);
  return clone(full).view(out);
}

/** The tensor side by side with itself, so many times in each dimension. PyTorch: `Tensor.repeat`. */
export const repeat: Operator<
  (self: Tensor, repeats: readonly number[] | number, ...more: number[]) => Tensor
> = operator({
  schema: "repeat(Tensor self, int[] repeats) -> Tensor",
  run: (self: Tensor, repeats: readonly number[]) => repeated(self, repeats),
  derivative: "composite",
  opinfo: ["repeat"],
  stage: "stable",
});

/** As {@link repeat}; missing leading numbers are 1. PyTorch: `torch.tile`. */
export const tile: Operator<(self: Tensor, dims: readonly number[] | number, ...more: number[]) => Tensor> =
  operator({
    schema: "tile(Tensor self, int[] dims) -> Tensor",
    run: (self: Tensor, dims: readonly number[]) =>
      repeated(self, [...new Array<number>(Math.max(0, self.ndim - dims.length)).fill(1), ...dims]),
    derivative: "composite",
    opinfo: ["tile"],
    stage: "stable",
  });

/** Each slice of a dimension so many times behind itself; without a dimension the tensor is a list. */
function interleaved(self: Tensor, repeats: number, dim: number | null): Tensor {
  if (repeats < 0) throw new RangeError(`repeat_interleave: repeats are 0 or more, not ${repeats}`);
  const t = dim === null || self.ndim === 0 ? self.reshape([-1]) : self;
  const d = normalizeDim(dim ?? 0, t.ndim);
  const wide = [...t.shape.slice(0, d + 1), repeats, ...t.shape.slice(d + 1)];
  const shape = t.shape.map((n, i) => (i === d ? n * repeats : n));
  return clone(t.unsqueeze(d + 1).expand(wide)).view(shape);
}

const repeatInterleaveInt: Operator<
  (self: Tensor, repeats: number, dim?: number | null, options?: { outputSize?: number | null }) => Tensor
> = operator({
  schema:
    "repeat_interleave.self_int(Tensor self, int repeats, int? dim=None, *, int? output_size=None) -> Tensor",
  run: (self: Tensor, repeats: number, dim: number | null) => interleaved(self, repeats, dim),
  derivative: "composite",
  opinfo: ["repeat_interleave"],
  stage: "stable",
});

const repeatInterleaveTensor: Operator<
  (
    self: Tensor,
    repeats: Tensor,
    dim?: number | null,
    options?: { outputSize?: number | null },
  ) => Promise<Tensor>
> = operator({
  schema:
    "repeat_interleave.self_Tensor(Tensor self, Tensor repeats, int? dim=None, *, int? output_size=None) -> Tensor",
  run: async (self: Tensor, repeats: Tensor, dim: number | null, outputSize: number | null) => {
    const recording = isGradEnabled();
    const t = dim === null || self.ndim === 0 ? self.reshape([-1]) : self;
    const d = normalizeDim(dim ?? 0, t.ndim);
    const n = t.shape[d]!;
    if (repeats.ndim > 1 || (repeats.numel !== n && repeats.numel !== 1))
      throw new RangeError(
        `repeat_interleave: repeats ${showShape(repeats.shape)} for dimension ${d} of length ${n}`,
      );
    if (n === 0) return clone(t);
    // Slice i of the result comes from the slice whose number is the count of running sums that are not above i.
    const ends = callOperator("cumsum", repeats.reshape([-1]).expand([n]), 0) as Tensor;
    const total = outputSize ?? Number(await ends.select(0, n - 1).item());
    return resumed(recording, () => {
      const { device } = self;
      const marks = indexAdd(zeros([total + 1], { dtype: "i64", device }), 0, ends, onesLike(ends));
      const from = callOperator("cumsum", marks, 0) as Tensor;
      return indexSelect(t, d, from.narrow(0, 0, total));
    });
  },
  derivative: "composite",
  opinfo: ["repeat_interleave"],
  stage: "stable",
});

interface RepeatInterleave {
  (self: Tensor, repeats: number, dim?: number | null): Tensor;
  (
    self: Tensor,
    repeats: Tensor,
    dim?: number | null,
    options?: { outputSize?: number | null },
  ): Promise<Tensor>;
}
/**
 * Each slice of a dimension so many times in a row; without a dimension the tensor is a list. With a tensor of numbers
 * the result is a promise. PyTorch: `torch.repeat_interleave`.
 */
export const repeatInterleave: Overloads<RepeatInterleave> = overloads<RepeatInterleave>(
  repeatInterleaveInt,
  repeatInterleaveTensor,
);

/** The tensor with dimensions reversed, as a copy. PyTorch: `torch.flip`. */
export const flip: Operator<(self: Tensor, dims: readonly number[] | number, ...more: number[]) => Tensor> =
  operator({
    schema: "flip(Tensor self, int[] dims) -> Tensor",
    run: (self: Tensor, dims: readonly number[]) => {
      const out = emptyLike(self);
      if (self.numel === 0) return out;
      const strides = self.strides.slice();
      let { offset } = self;
      for (const d of normalizeDims(dims, self.ndim, false)) {
        if (self.ndim === 0) continue;
        offset += (self.shape[d]! - 1) * strides[d]!;
        strides[d] = -strides[d]!;
      }
      copy_(out, alias(self, self.shape, strides, offset));
      return out;
    },
    derivative: { backward: (ctx, grad) => [flip(grad!, ctx.args[1] as number[])] },
    opinfo: ["flip"],
    stage: "stable",
  });

/** Rows reversed left to right. PyTorch: `torch.fliplr`. */
export const fliplr: Operator<(self: Tensor) => Tensor> = operator({
  schema: "fliplr(Tensor self) -> Tensor",
  run: (self: Tensor) => {
    if (self.ndim < 2)
      throw new RangeError(`fliplr needs 2 dimensions or more, not ${showShape(self.shape)}`);
    return flip(self, [1]);
  },
  derivative: "composite",
  opinfo: ["fliplr"],
  stage: "stable",
});

/** Columns reversed top to bottom. PyTorch: `torch.flipud`. */
export const flipud: Operator<(self: Tensor) => Tensor> = operator({
  schema: "flipud(Tensor self) -> Tensor",
  run: (self: Tensor) => {
    if (self.ndim < 1) throw new RangeError("flipud needs a dimension");
    return flip(self, [0]);
  },
  derivative: "composite",
  opinfo: ["flipud"],
  stage: "stable",
});

/** A quarter turn `k` times in the plane of two dimensions, from the first to the second. PyTorch: `torch.rot90`. */
export const rot90: Operator<(self: Tensor, k?: number, dims?: readonly number[]) => Tensor> = operator({
  schema: "rot90(Tensor self, int k=1, int[] dims=[0, 1]) -> Tensor",
  run: (self: Tensor, k: number, dims: readonly number[]) => {
    const [a, b] = normalizeDims(dims, self.ndim, false) as [number, number];
    if (dims.length !== 2)
      throw new RangeError(`rot90 turns in the plane of 2 dimensions, not ${dims.length}`);
    switch (((k % 4) + 4) % 4) {
      case 0:
        return clone(self);
      case 1:
        return clone(flip(self, [b]).transpose(a, b));
      case 2:
        return flip(self, [a, b]);
      default:
        return clone(flip(self, [a]).transpose(a, b));
    }
  },
  derivative: "composite",
  opinfo: ["rot90"],
  stage: "stable",
});

/**
 * The elements moved along dimensions; what leaves at the end enters at the beginning. Without dimensions the tensor is
 * rolled as a list. PyTorch: `torch.roll`.
 */
export const roll: Operator<
  (self: Tensor, shifts: readonly number[] | number, dims?: readonly number[] | number) => Tensor
> = operator({
  schema: "roll(Tensor self, int[1] shifts, int[1] dims=[]) -> Tensor",
  run: (self: Tensor, shifts: readonly number[], dims: readonly number[]): Tensor => {
    if (dims.length === 0) {
      if (shifts.length !== 1) throw new RangeError(`roll: ${shifts.length} shifts, but no dimensions`);
      return rolled(self.reshape([-1]), shifts[0]!, 0).view(self.shape);
    }
    if (shifts.length !== dims.length)
      throw new RangeError(`roll: ${shifts.length} shifts for ${dims.length} dimensions`);
    let out = self;
    dims.forEach((d, i) => {
      out = rolled(out, shifts[i]!, normalizeDim(d, self.ndim));
    });
    return out;
  },
  derivative: "composite",
  opinfo: ["roll"],
  stage: "stable",
});

function rolled(t: Tensor, shift: number, dim: number): Tensor {
  if (t.numel === 0 || t.ndim === 0) return clone(t);
  const n = t.shape[dim]!;
  const by = ((shift % n) + n) % n;
  if (by === 0) return clone(t);
  return cat([t.narrow(dim, n - by, by), t.narrow(dim, 0, n - by)], dim);
}

declare module "../tensor/tensor.js" {
  interface Tensor {
    /** The tensor side by side with itself. */
    repeat: Method<typeof repeat>;
    tile: Method<typeof tile>;
    /** Each slice of a dimension so many times in a row. */
    repeatInterleave(repeats: number, dim?: number | null): Tensor;
    repeatInterleave(
      repeats: Tensor,
      dim?: number | null,
      options?: { outputSize?: number | null },
    ): Promise<Tensor>;
    /** Dimensions reversed, as a copy. */
    flip: Method<typeof flip>;
    fliplr: Method<typeof fliplr>;
    flipud: Method<typeof flipud>;
    rot90: Method<typeof rot90>;
    roll: Method<typeof roll>;
  }
}
