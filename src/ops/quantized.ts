// Weights of 8- and 4-bit integers with a scale per group of input channels: making them, widening them, and the product
// that large language models spend their time in. The kernels stand in `quantized-kernel.ts`.
//
// Layout of a weight of `[N, K]`:
// - int8: `[N, K]` i8, from -127 to 127.
// - int4: `[N, half]` u8, from -7 to 7 in two's complement. The low four bits of byte j hold element j of the row, the high
//   four bits element half + j. `half` is the smallest whole number of groups that covers half of the row (`ceil(K / 2)`
//   with one scale per row), so that a run of bytes is two runs of elements, and no group spans both. Padding is 0.
// - scales: `[N, groups]`, f32, f16 or bf16, `groups = ceil(K / groupSize)`; a group size of 0 means the whole row.
// - zeros, if any: `[N, groups]`, the integer (or fraction) that stands for 0. Absent, 0 stands for itself.
// An element is `(q - zero) * scale`.

import {
  callOperator,
  empty,
  isFloatDType,
  type Operator,
  operator,
  showShape,
  type Tensor,
} from "../tensor/index.js";
import { launchBytes } from "./quantized-bytes.js";
import { narrow, rowsByIntegers, scalesOf, widen } from "./quantized-kernel.js";
import { launchIntegersOnUnits } from "./quantized-units.js";
import { rowMajor } from "./rows.js";

const BLOCK = 1024;
const [LEAST_GROUP, MOST_GROUP] = [16, 1024];
/** Rows and columns of one program of the product (half as many columns for a row or two), and summed elements of one turn. */
const ROWS = 32;
const COLUMNS = 8;
const SUMMED = 1024;
const LEAST_SUMMED = 256;
/** Of them those that are multiplied in one loop under one scale. */
const RUN = 128;
/** Rows from which on widening each weight once, into memory, pays. */
const SHARED_ROWS = 4;

/** Summed bytes of one turn: as many as cut a row without a rest, if that is not too few. */
function blockOf(half: number, run: number): number {
  for (let b = SUMMED; b >= Math.max(run, LEAST_SUMMED); b /= 2) if (half % b === 0) return b;
  return SUMMED;
}

interface Layout {
  readonly bits: 4 | 8;
  readonly N: number;
  readonly K: number;
  /** Elements of a group: K where there is one per row. */
  readonly size: number;
  readonly groups: number;
  /** Bytes of a row. */
  readonly half: number;
}

function layoutOf(op: string, bits: 4 | 8, N: number, K: number, groupSize: number): Layout {
  const isPower = Number.isInteger(Math.log2(groupSize));
  if (groupSize !== 0 && (!isPower || groupSize < LEAST_GROUP || groupSize > MOST_GROUP))
    throw new RangeError(
      `${op}: group_size must be 0 or a power of two from ${LEAST_GROUP} to ${MOST_GROUP}, not ${groupSize}`,
    );
  const size = groupSize === 0 ? Math.max(K, 1) : groupSize;
  const groups = Math.ceil(K / size);
  const half = bits === 8 ? K : groupSize === 0 ? Math.ceil(K / 2) : Math.ceil(groups / 2) * size;
  return { bits, N, K, size, groups, half };
}

/** The layout of given integers, checked against everything that comes with them. */
export function checked(
  op: string,
  q: Tensor,
  K: number,
  scales: Tensor,
  zeros: Tensor | null,
  groupSize: number,
): Layout {
  if (q.ndim !== 2 || (q.dtype !== "i8" && q.dtype !== "u8"))
    throw new TypeError(
      `${op}: the weight must be [N, K] i8 or packed [N, bytes] u8, not ${showShape(q.shape)} ${q.dtype}`,
    );
  const l = layoutOf(op, q.dtype === "i8" ? 8 : 4, q.shape[0]!, K, groupSize);
  if (q.shape[1] !== l.half)
    throw new RangeError(
      `${op}: a row of ${K} elements takes ${l.half} bytes at group_size ${groupSize}, not ${q.shape[1]}`,
    );
  for (const [name, t] of [
    ["scales", scales],
    ["zeros", zeros],
  ] as const) {
    if (!t) continue;
    if (t.ndim !== 2 || t.shape[0] !== l.N || t.shape[1] !== l.groups)
      throw new RangeError(`${op}: ${name} must be [${l.N}, ${l.groups}], not ${showShape(t.shape)}`);
    if (name === "scales" && !isFloatDType(t.dtype))
      throw new TypeError(`${op}: scales must be floats, not ${t.dtype}`);
  }
  return l;
}

function quantize(
  op: string,
  bits: 4 | 8,
  self: Tensor,
  groupSize: number,
  given: Tensor | null,
): [Tensor, Tensor] {
  if (self.ndim !== 2 || !isFloatDType(self.dtype))
    throw new TypeError(
      `${op}: the weight must be a matrix of floats, not ${showShape(self.shape)} ${self.dtype}`,
    );
  const [N, K] = self.shape as [number, number];
  const { size, groups, half } = layoutOf(op, bits, N, K, groupSize);
  const device = self.device;
  if (given && (given.dtype !== "f32" || given.shape[0] !== N || given.shape[1] !== groups))
    throw new RangeError(
      `${op}: scales must be [${N}, ${groups}] f32, not ${showShape(given.shape)} ${given.dtype}`,
    );
  const s = given ? rowMajor(given).clone() : empty([N, groups], { dtype: "f32", device });
  const q = empty([N, half], { dtype: bits === 8 ? "i8" : "u8", device });
  if (self.numel === 0) return [q, s];
  const x = rowMajor(self);
  if (!given)
    scalesOf.launch([N, groups], {
      x,
      s,
      K,
      groups,
      size,
      MOST: bits === 8 ? 127 : 7,
      BLOCK: Math.min(BLOCK, 2 ** Math.ceil(Math.log2(size))),
    });
  narrow.launch([N, Math.ceil(half / BLOCK)], { x, s, q, K, half, groups, size, BLOCK, BITS: bits });
  return [q, s];
}

type Quantize = (self: Tensor, groupSize?: number, scales?: Tensor | null) => [Tensor, Tensor];

/**
 * A matrix of floats as 8-bit integers and their scales, `[i8 [N, K], f32 [N, groups]]`: each group's largest magnitude
 * becomes 127, the others the nearest integer, ties to even. Given `scales`, f32 `[N, groups]`, stand instead of these.
 *
 * @example const [q, scales] = quantizeInt8(weight, 128); quantizedLinear(x, q, scales, { groupSize: 128 })
 */
export const quantizeInt8: Operator<Quantize> = operator({
  schema: "vexil::quantize_int8(Tensor self, int group_size=0, Tensor? scales=None) -> (Tensor, Tensor)",
  method: false,
  run: (self: Tensor, groupSize: number, scales: Tensor | null) =>
    quantize("quantize_int8", 8, self, groupSize, scales),
  stage: "beta",
  summary: "A matrix as 8-bit integers with a scale per group",
});

/** As {@link quantizeInt8} in 4 bits, from -7 to 7, two elements in a byte: `[u8 [N, half], f32 [N, groups]]`. */
export const quantizeInt4: Operator<Quantize> = operator({
  schema: "vexil::quantize_int4(Tensor self, int group_size=0, Tensor? scales=None) -> (Tensor, Tensor)",
  method: false,
  run: (self: Tensor, groupSize: number, scales: Tensor | null) =>
    quantize("quantize_int4", 4, self, groupSize, scales),
  stage: "beta",
  summary: "A matrix as 4-bit integers with a scale per group",
});

type Dequantize = (
  weight: Tensor,
  scales: Tensor,
  zeros: Tensor | null,
  inFeatures: number,
  options?: { groupSize?: number },
) => Tensor;

/** The f32 matrix `[N, inFeatures]` that integers stand for: `(q - zero) * scale`. */
export const dequantize: Operator<Dequantize> = operator({
  schema:
    "vexil::dequantize(Tensor weight, Tensor scales, Tensor? zeros, int in_features, *, int group_size=0) -> Tensor",
  method: false,
  run: (weight: Tensor, scales: Tensor, zeros: Tensor | null, K: number, groupSize: number) => {
    const l = checked("dequantize", weight, K, scales, zeros, groupSize);
    const y = empty([l.N, K], { dtype: "f32", device: weight.device });
    if (y.numel === 0) return y;
    const s = rowMajor(scales);
    const z = zeros ? rowMajor(zeros) : s;
    const { half, groups, size, bits } = l;
    const q = rowMajor(weight);
    widen.launch([l.N, Math.ceil(half / BLOCK)], {
      q,
      s,
      z,
      y,
      K,
      half,
      groups,
      size,
      BLOCK,
      BITS: bits,
      ZEROS: zeros !== null,
    });
    return y;
  },
  stage: "beta",
  summary: "The matrix of floats that grouped integers stand for",
});

type QuantizedLinear = (
  input: Tensor,
  weight: Tensor,
  scales: Tensor,
  zeros?: Tensor | null,
  bias?: Tensor | null,
  options?: { groupSize?: number; activationDtype?: "keep" | "int8" },
) => Tensor;

/**
 * `input @ dequantize(weight).T + bias` without the matrix of floats: `[..., K] -> [..., N]` in the input's dtype. Each weight
 * becomes the f32 number that `dequantize` gives, products are added in f32, and NaN and infinities come out as from `linear`.
 * With `activationDtype: "int8"` activations are rounded to 8-bit integers first, with a scale for each group of a row (the weights'
 * groups, of at most 128; 32 where they have one scale per row), and products of integers are summed: faster for many rows, and off by about half a percent of
 * a group's largest activation. llama.cpp computes its integer types so. The order of a sum depends on K and the chip, not on how many rows there
 * are: a row has the same bits whatever stands beside it. Matrix units, where a chip has them for the input's dtype, scale
 * the sum over a group instead of its weights.
 */
export const quantizedLinear: Operator<QuantizedLinear> = operator({
  schema:
    'vexil::quantized_linear(Tensor input, Tensor weight, Tensor scales, Tensor? zeros=None, Tensor? bias=None, *, int group_size=0, str activation_dtype="keep") -> Tensor',
  replay: true,
  method: false,
  run: (
    input: Tensor,
    weight: Tensor,
    scales: Tensor,
    zeros: Tensor | null,
    bias: Tensor | null,
    groupSize: number,
    activationDtype: string,
  ) => {
    const { dtype } = input;
    if (activationDtype !== "keep" && activationDtype !== "int8")
      throw new RangeError(
        `quantized_linear: activation_dtype must be "keep" or "int8", not ${JSON.stringify(activationDtype)}`,
      );
    if (input.ndim === 0 || (dtype !== "f32" && dtype !== "f16" && dtype !== "bf16"))
      throw new TypeError(
        `quantized_linear: the input must be f32, f16 or bf16 of [..., K], not ${showShape(input.shape)} ${dtype}`,
      );
    const K = input.shape.at(-1)!;
    const l = checked("quantized_linear", weight, K, scales, zeros, groupSize);
    const lead = input.shape.slice(0, -1);
    const M = lead.reduce((n, d) => n * d, 1);
    const y = empty([...lead, l.N], { dtype, device: input.device });
    if (y.numel === 0) return y;
    if (K === 0) throw new RangeError("quantized_linear: the input has no channels");
    const s = rowMajor(scales);
    const product = { x: rowMajor(input), q: rowMajor(weight), s, y, M, K, groupSize };
    const layout = { N: l.N, bits: l.bits, half: l.half, groups: l.groups };
    const launched =
      (activationDtype === "int8" &&
        launchBytes({ ...product, ...layout, zeros: zeros && rowMajor(zeros) })) ||
      (zeros === null && launchIntegersOnUnits({ ...product, ...layout }));
    if (launched) return bias ? (callOperator("add.Tensor", y, bias) as Tensor) : y;
    const GS = groupSize === 0 ? RUN : Math.min(l.size, RUN);
    const block = blockOf(l.half, GS);
    // Where threads share a sum its order follows from the tile's shape, so rows stay alone there.
    const { streamsSums } = y.chip.capabilities;
    const BM = streamsSums ? Math.min(ROWS, 2 ** Math.ceil(Math.log2(M))) : 1;
    // Threads that share a sum keep the one tile.
    const SHARED = BM >= SHARED_ROWS || !streamsSums;
    // What is fetched ahead, the columns of the next program, stays in the nearest cache until it is needed.
    const BN = SHARED ? COLUMNS : COLUMNS / 2;
    rowsByIntegers.launch([Math.ceil(l.N / BN), Math.ceil(M / BM)], {
      x: rowMajor(input),
      sx: K,
      q: rowMajor(weight),
      s,
      z: zeros ? rowMajor(zeros) : s,
      y,
      M,
      N: l.N,
      K,
      half: l.half,
      groups: l.groups,
      BM,
      BN,
      GB: block / GS,
      GS,
      GROUP: groupSize,
      BITS: l.bits,
      WHOLE: l.half % block === 0 && K * l.bits === l.half * 8,
      SHARED,
      ZEROS: zeros !== null,
      EARLY: !SHARED,
    });
    return bias ? (callOperator("add.Tensor", y, bias) as Tensor) : y;
  },
  stage: "beta",
  summary: "linear with weights of 8- or 4-bit integers",
});
