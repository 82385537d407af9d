// Copies: clone, contiguous, copies between tensors, conversions of dtype, filling. Whole contiguous tensors of one
// dtype are copied by the driver; everything else is a pointwise kernel.

import type { DType } from "../compiler/ir/index.js";
import {
  emptyLike,
  operator,
  type Method,
  type Operator,
  parseDType,
  type Scalar,
  Tensor,
} from "../tensor/index.js";
import { readBytesSync } from "../tensor/read.js";
import { recorder } from "../runtime/recording.js";
import { pointwiseKernel } from "./pointwise.js";

/** The value as it is: what a copy computes. */
const same = pointwiseKernel((_tl, x) => x, { promote: "none", name: "copy" }).kernel;
/** A plain number in the dtype of the tensor that is filled. */
const constant = pointwiseKernel((_tl, x) => x, { name: "fill" }).kernel;

/** Writes `source` into `target`: casts, broadcasts, any strides, also between chips that can be read at once. */
function write(target: Tensor, source: Tensor): void {
  if (target.numel === 0) return;
  const copies =
    source.dtype === target.dtype &&
    source.numel === target.numel &&
    source.isContiguous &&
    target.isContiguous &&
    source.storage !== target.storage;
  // Neither is a launch.
  if (copies || source.chip !== target.chip) recorder?.refuse();
  if (source.chip !== target.chip) {
    const bytes = readBytesSync(source);
    const here = emptyLike(source, { device: target.device });
    here.chip.driver.write(here.buffer, 0, bytes);
    write(target, here);
    here.dispose();
    return;
  }
  if (copies) {
    const size = target.itemSize;
    target.chip.driver.copy(
      target.buffer,
      target.offset * size,
      source.buffer,
      source.offset * size,
      target.numel * size,
    );
    return;
  }
  same.into([source], [target], target.dtype);
}

/** A row-major copy in `dtype`. */
function copied(self: Tensor, dtype: DType): Tensor {
  const out = emptyLike(self, { dtype });
  write(out, self);
  return out;
}

const passOn = { backward: (_ctx: unknown, grad: Tensor) => [grad] };

/**
 * A row-major copy, in memory of its own. PyTorch: `Tensor.clone`.
 *
 * @example const before = x.clone();
 */
export const clone: Operator<(self: Tensor, options?: { memoryFormat?: string | null }) => Tensor> = operator(
  {
    schema: "clone(Tensor self, *, MemoryFormat? memory_format=None) -> Tensor",
    replay: true,
    run: (self: Tensor) => copied(self, self.dtype),
    derivative: passOn,
    opinfo: ["clone", "alias_copy"],
    stage: "stable",
  },
);

/** The tensor itself if it is row-major, else a copy that is. PyTorch: `Tensor.contiguous`. */
export const contiguous: Operator<(self: Tensor, options?: { memoryFormat?: string }) => Tensor> = operator({
  schema: "contiguous(Tensor(a) self, *, MemoryFormat memory_format=contiguous_format) -> Tensor(a)",
  run: (self: Tensor) => (self.isContiguous ? self : copied(self, self.dtype)),
  derivative: passOn,
  opinfo: ["contiguous"],
  stage: "stable",
});

/**
 * Writes `src`, which broadcasts to this tensor's shape, into this tensor, cast to its dtype. The two may overlap.
 * PyTorch: `Tensor.copy_`.
 */
export const copy_: Operator<(self: Tensor, src: Tensor, nonBlocking?: boolean) => Tensor> = operator({
  schema: "copy_(Tensor(a!) self, Tensor src, bool non_blocking=False) -> Tensor(a!)",
  run: (self: Tensor, src: Tensor) => {
    write(self, src);
    return self;
  },
  derivative: { backward: (_ctx, grad) => [null, grad] },
  stage: "stable",
});

const CONVERSIONS: Readonly<Record<string, DType>> = {
  bfloat16: "bf16",
  bool: "bool",
  byte: "u8",
  char: "i8",
  double: "f64",
  float: "f32",
  half: "f16",
  int: "i32",
  long: "i64",
  short: "i16",
};

/** What `to(dtype)`, `to(device, dtype)` and `to(other)` of a sample ask for. */
function targetOf(args: readonly unknown[], device: string): DType | undefined {
  for (const a of args) {
    if (a instanceof Tensor) return a.dtype;
    if (typeof a === "string" && a !== device) return parseDType(a);
  }
  return undefined;
}

/** A copy in another dtype: what `t.to(dtype)` is made of. PyTorch: `Tensor.to`. */
export const toCopy: Operator<(self: Tensor, options?: { dtype?: DType | null }) => Tensor> = operator({
  schema:
    "_to_copy(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None, " +
    "bool non_blocking=False, MemoryFormat? memory_format=None) -> Tensor",
  name: "toCopy",
  replay: true,
  run: (self: Tensor, dtype: DType | null) => copied(self, dtype ?? self.dtype),
  derivative: passOn,
  opinfo: [
    ...Object.entries(CONVERSIONS).map(([op, dtype]) => ({
      op,
      adapt: (input: unknown) => [input, { dtype }],
    })),
    {
      op: "to",
      adapt: (input: unknown, args: unknown[]) => {
        const dtype = targetOf(args, (input as Tensor).device);
        return [input, dtype === undefined ? {} : { dtype }];
      },
    },
  ],
  stage: "stable",
});

/** Writes one number everywhere. PyTorch: `Tensor.fill_`. */
export const fill_: Operator<(self: Tensor, value: Scalar) => Tensor> = operator({
  schema: "fill_.Scalar(Tensor(a!) self, Scalar value) -> Tensor(a!)",
  run: (self: Tensor, value: Scalar) => {
    constant.into([value], [self], self.dtype);
    return self;
  },
  derivative: { backward: () => [null] },
  stage: "stable",
});

/** Writes the value of a 0-dim tensor everywhere. PyTorch: `Tensor.fill_`. */
export const fillTensor_: Operator<(self: Tensor, value: Tensor) => Tensor> = operator({
  schema: "fill_.Tensor(Tensor(a!) self, Tensor value) -> Tensor(a!)",
  run: (self: Tensor, value: Tensor) => {
    if (value.ndim !== 0)
      throw new RangeError(`fill_ takes the value from a 0-dim tensor, not one of shape [${value.shape}]`);
    write(self, value);
    return self;
  },
  derivative: { backward: (_ctx, grad) => [null, grad] },
  stage: "stable",
});

/** A tensor of this one's shape and dtype that is `value` everywhere. PyTorch: `torch.fill`. */
export const fill: Operator<(self: Tensor, value: Scalar) => Tensor> = operator({
  schema: "fill.Scalar(Tensor self, Scalar value) -> Tensor",
  run: (self: Tensor, value: Scalar) => {
    const out = emptyLike(self);
    constant.into([value], [out], self.dtype);
    return out;
  },
  derivative: { backward: () => [null] },
  opinfo: ["fill"],
  stage: "stable",
});

/** Writes zeros. PyTorch: `Tensor.zero_`. */
export const zero_: Operator<(self: Tensor) => Tensor> = operator({
  schema: "zero_(Tensor(a!) self) -> Tensor(a!)",
  run: (self: Tensor) => {
    constant.into([0], [self], self.dtype);
    return self;
  },
  derivative: { backward: () => [null] },
  // The sample writes a copy of its input.
  opinfo: [{ op: "zero_", adapt: (input: unknown) => [clone(input as Tensor)] }],
  stage: "stable",
});

declare module "../tensor/tensor.js" {
  interface Tensor {
    /** A row-major copy, in memory of its own. */
    clone: Method<typeof clone>;
    /** This tensor if it is row-major, else a copy that is. */
    contiguous: Method<typeof contiguous>;
    /** Writes another tensor, broadcast and cast, into this one. */
    copy_: Method<typeof copy_>;
    /** Writes one value everywhere: a number, or a 0-dim tensor. */
    fill_(value: Scalar | Tensor): Tensor;
    fill: Method<typeof fill>;
    /** Writes zeros. */
    zero_: Method<typeof zero_>;
  }
}
