// Sequences: arange, linspace, logspace. Each element is computed from its index, so rounding does not add up.

import { constexpr, f64, i32, i64, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import {
  type DType,
  defaultDType,
  isFloatDType,
  type Operator,
  operator,
  type Overloads,
  overloads,
  type Scalar,
  Tensor,
} from "../tensor/index.js";
import { type CreationOptions, make, type Options, OPTIONS } from "./options.js";

const whole = kernel(
  { y: ptr, n: i32, start: i64, step: i64, BLOCK: constexpr },
  ({ y, n, start, step, BLOCK }, tl) => {
    const at = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    tl.store(y + at, start + tl.cast(at, tl.i64) * step, at < n);
  },
  "arange",
);

const real = kernel(
  { y: ptr, n: i32, start: f64, step: f64, BLOCK: constexpr, T: constexpr.dtype },
  ({ y, n, start, step, BLOCK, T }, tl) => {
    const at = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    tl.store(y + at, tl.cast(start, T) + tl.cast(at, T) * tl.cast(step, T), at < n);
  },
  "arange_float",
);

/** Writes `start + i * step` into a row-major tensor. */
function write(y: Tensor, start: Scalar, step: Scalar): Tensor {
  const n = y.numel;
  if (n === 0) return y;
  const { capabilities } = y.chip;
  const BLOCK = n <= 64 ? 64 : Math.min(capabilities.elementsPerProgram, 4096);
  const grid = [Math.ceil(n / BLOCK)];
  if (isFloatDType(y.dtype))
    real.launch(grid, {
      y,
      n,
      start: Number(start),
      step: Number(step),
      BLOCK,
      T: capabilities.f64 ? "f64" : "f32",
    });
  else whole.launch(grid, { y, n, start: integer(start), step: integer(step), BLOCK });
  return y;
}

const integer = (x: Scalar): bigint => (typeof x === "number" ? BigInt(Math.trunc(x)) : BigInt(x));
/** How many steps lie between two integers, rounded up. */
function steps(from: bigint, to: bigint, step: bigint): number {
  const [gap, by] = step > 0n ? [to - from, step] : [from - to, -step];
  return Number((gap + by - 1n) / by);
}
const isWhole = (x: Scalar): boolean => typeof x !== "number" || Number.isInteger(x);

function range(start: Scalar, end: Scalar, step: Scalar, options: Options): Tensor {
  const dtype: DType = options[0] ?? ([start, end, step].every(isWhole) ? "i64" : defaultDType());
  const [a, b, s] = [Number(start), Number(end), Number(step)];
  if (![a, b, s].every(Number.isFinite))
    throw new RangeError(`arange: from ${start} to ${end} in steps of ${step} is no finite range`);
  // As PyTorch: i64 ranges round their ends first, all others count in f64.
  const wide = dtype === "i64";
  if (wide ? integer(step) === 0n : s === 0) throw new RangeError("arange: the step is 0");
  if (s > 0 ? end < start : end > start)
    throw new RangeError(`arange: from ${start} to ${end} in steps of ${step} goes the wrong way`);
  const length = wide ? steps(integer(start), integer(end), integer(step)) : Math.ceil((b - a) / s);
  const out = make([length], [dtype, options[1], options[2], options[3], options[4]]);
  return write(out, start, step);
}

const arangeEnd: Operator<(end: Scalar, options?: CreationOptions) => Tensor> = operator({
  schema: `arange(Scalar end, *, ${OPTIONS}) -> Tensor`,
  run: (end: Scalar, ...o: Options) => range(0, end, 1, o),
  derivative: "none",
  opinfo: ["arange"],
  stage: "stable",
});

const arangeStep: Operator<(start: Scalar, end: Scalar, step?: Scalar, options?: CreationOptions) => Tensor> =
  operator({
    schema: `arange.start_step(Scalar start, Scalar end, Scalar step=1, *, ${OPTIONS}) -> Tensor`,
    run: (start: Scalar, end: Scalar, step: Scalar, ...o: Options) => range(start, end, step, o),
    derivative: "none",
    opinfo: ["arange"],
    stage: "stable",
  });

interface Arange {
  (end: Scalar, options?: CreationOptions): Tensor;
  (start: Scalar, end: Scalar, options?: CreationOptions): Tensor;
  (start: Scalar, end: Scalar, step: Scalar, options?: CreationOptions): Tensor;
}

/**
 * The numbers from `start` (default 0) up to, not including, `end`, every `step` (default 1). i64 where all three are
 * whole, else f32. PyTorch: `torch.arange`.
 *
 * @throws RangeError if the step is 0 or leads away from the end
 * @example
 * arange(4);                        // [0, 1, 2, 3]
 * arange(0, 8, 2, { dtype: "f32" }) // [0, 2, 4, 6]
 */
export const arange: Overloads<Arange> = overloads<Arange>(arangeEnd, arangeStep);

/** Counts up from the start in the first half, down from the end in the second, so that both ends are exact. */
const spaced = kernel(
  {
    y: ptr,
    n: i32,
    start: f64,
    end: f64,
    step: f64,
    base: f64,
    BLOCK: constexpr,
    T: constexpr.dtype,
    POWER: constexpr.bool,
  },
  ({ y, n, start, end, step, base, BLOCK, T, POWER }, tl) => {
    const at = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    const up = tl.cast(start, T) + tl.cast(at, T) * tl.cast(step, T);
    const down = tl.cast(end, T) - tl.cast(n - 1 - at, T) * tl.cast(step, T);
    const v = tl.where(at < n >> 1, up, down);
    tl.store(y + at, POWER ? tl.cast(base, T) ** v : v, at < n);
  },
  "linspace",
);

function space(start: Scalar, end: Scalar, steps: number, base: number | null, options: Options): Tensor {
  const what = base === null ? "linspace" : "logspace";
  if (steps < 0) throw new RangeError(`${what}: the number of steps is 0 or more, not ${steps}`);
  const y = make([steps], options);
  if (steps === 0) return y;
  const { capabilities } = y.chip;
  let [from, to] = [Number(start), Number(end)];
  // As PyTorch: integer sequences start from whole ends.
  if (!isFloatDType(y.dtype)) [from, to] = [Math.trunc(from), Math.trunc(to)];
  const BLOCK = steps <= 64 ? 64 : Math.min(capabilities.elementsPerProgram, 4096);
  spaced.launch([Math.ceil(steps / BLOCK)], {
    y, n: steps, start: from, end: steps === 1 ? from : to, step: steps === 1 ? 0 : (to - from) / (steps - 1),
    base: base ?? 0, BLOCK, T: capabilities.f64 ? "f64" : "f32", POWER: base !== null,
  }); // biome-ignore format: one line per group
  return y;
}

/** Tensors that stand for numbers are read: samples only, calls take numbers. */
async function plain(v: unknown): Promise<unknown> {
  return v instanceof Tensor ? await v.item() : v;
}
const readEnds = async (
  input: unknown,
  args: unknown[],
  kwargs: Record<string, unknown>,
): Promise<unknown[]> => [
  await plain(input),
  await plain(args[0] ?? kwargs["end"]),
  ...args.slice(1),
  Object.fromEntries(Object.entries(kwargs).filter(([k]) => k !== "end")),
];

/**
 * `steps` numbers at even distances from `start` to `end`, both included. f32 unless a dtype is given. PyTorch:
 * `torch.linspace`.
 */
export const linspace: Operator<
  (start: Scalar, end: Scalar, steps: number, options?: CreationOptions) => Tensor
> = operator({
  schema: `linspace(Scalar start, Scalar end, int steps, *, ${OPTIONS}) -> Tensor`,
  run: (start: Scalar, end: Scalar, steps: number, ...o: Options) => space(start, end, steps, null, o),
  derivative: "none",
  opinfo: ["linspace", { op: "linspace", variant: "tensor_overload", adapt: readEnds }],
  stage: "stable",
});

/** `base` to the powers of {@link linspace}. PyTorch: `torch.logspace`. */
export const logspace: Operator<
  (start: Scalar, end: Scalar, steps: number, base?: number, options?: CreationOptions) => Tensor
> = operator({
  schema: `logspace(Scalar start, Scalar end, int steps, float base=10.0, *, ${OPTIONS}) -> Tensor`,
  run: (start: Scalar, end: Scalar, steps: number, base: number, ...o: Options) =>
    space(start, end, steps, base, o),
  derivative: "none",
  opinfo: ["logspace", { op: "logspace", variant: "tensor_overload", adapt: readEnds }],
  stage: "stable",
});
