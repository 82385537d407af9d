// Arithmetic of two tensors, or of a tensor and a number: shapes broadcast, dtypes promote. The semantics are those
// of torch.* of the same name; comparisons and logic stand in `compare.ts`.

import {
  isIntDType,
  type Method,
  type Operator,
  type OpInfoEntry,
  resultType,
  type Scalar,
  type Tensor,
} from "../tensor/index.js";
import type { Argument, Choice } from "./pointwise/elementwise.js";
import { elementwise, type PointwiseFunction, pointwiseKernel, type PointwiseOptions } from "./pointwise.js";

export type Operand = Tensor | Scalar;
/** An operator of two tensors or numbers. */
export type Binary = Operator<(self: Operand, other: Operand) => Tensor>;
type WithAlpha = Operator<(self: Operand, other: Operand, options?: { alpha?: Scalar }) => Tensor>;

/** The call of a sample with its operands the other way round: `2 - x` is `x.__rsub__(2)`. */
export const reflected = (op: string): OpInfoEntry => ({
  op,
  adapt: (input: unknown, args: unknown[]) => [args[0], input],
});

interface BinaryOptions extends PointwiseOptions {
  readonly opinfo?: readonly (string | OpInfoEntry)[];
  readonly check?: (args: readonly Argument[]) => void;
}

/** Declares `name.Tensor(Tensor self, Tensor other) -> Tensor` and its in-place form. */
export function binary(schemaName: string, fn: PointwiseFunction, options: BinaryOptions = {}): Binary {
  const name = schemaName.split(".")[0]!;
  return elementwise({
    schema: `${schemaName}(Tensor self, Tensor other) -> Tensor`,
    fn: pointwiseKernel(fn, { ...options, name }),
    opinfo: options.opinfo ?? [name],
    inPlace: true,
    ...(options.promote === "bool" ? { derivative: "none" as const } : {}),
    ...(options.check === undefined ? {} : { check: options.check }),
  });
}

const typed = (args: readonly Argument[]): Exclude<Argument, string>[] =>
  args.slice(0, 2).filter((x): x is Exclude<Argument, string> => typeof x !== "string");

function refuseBool(name: string, instead: string): (args: readonly Argument[]) => void {
  return (args) => {
    if (resultType(...typed(args)) === "bool")
      throw new TypeError(`${name} does not take bool tensors; ${instead}`);
  };
}

// --- Sums ---

const plus = pointwiseKernel((tl, x, y) => (tl.dtypeOf(x) === tl.bool ? x || y : x + y), { name: "add" });
const plusTimes = pointwiseKernel(
  (tl, x, y, alpha) => (tl.dtypeOf(x) === tl.bool ? x || (y && alpha) : x + alpha * y),
  { name: "add_alpha", over: [0, 1] },
);
const minus = pointwiseKernel((_tl, x, y) => x - y, { name: "sub" });
const minusTimes = pointwiseKernel((_tl, x, y, alpha) => x - alpha * y, { name: "sub_alpha", over: [0, 1] });
const minusFrom = pointwiseKernel((_tl, x, y, alpha) => y - alpha * x, { name: "rsub", over: [0, 1] });

const PLAIN = [0, 1];
const SCALED = [0, 1, 2];
const isOne = (alpha: Argument | undefined): boolean => alpha === 1 || alpha === true || alpha === 1n;

function checkAlpha(name: string): (args: readonly Argument[]) => void {
  return (args) => {
    const alpha = args[2];
    if (typeof alpha !== "number" || Number.isInteger(alpha)) return;
    const dtype = resultType(...typed(args));
    if (dtype === "bool" || isIntDType(dtype))
      throw new TypeError(`${name}: alpha must be an integer for ${dtype} tensors, not ${alpha}`);
  };
}

/** self + alpha * other; on bools, logical or. */
export const add: WithAlpha = elementwise({
  schema: "add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
  fn: (args): Choice => (isOne(args[2]) ? { fn: plus, order: PLAIN } : { fn: plusTimes, order: SCALED }),
  check: checkAlpha("add"),
  opinfo: ["add", reflected("__radd__")],
  inPlace: true,
});

const refuseBoolSub = refuseBool("sub", "use logicalXor, or bitwiseNot for the complement");
const checkSub = (args: readonly Argument[]): void => {
  refuseBoolSub(args);
  checkAlpha("sub")(args);
};

/** self - alpha * other. Bools are refused, as in PyTorch. */
export const sub: WithAlpha = elementwise({
  schema: "sub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
  fn: (args): Choice => (isOne(args[2]) ? { fn: minus, order: PLAIN } : { fn: minusTimes, order: SCALED }),
  check: checkSub,
  opinfo: ["sub", reflected("__rsub__")],
  inPlace: true,
});

/** other - alpha * self. */
export const rsub: WithAlpha = elementwise({
  schema: "rsub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
  fn: (): Choice => ({ fn: minusFrom, order: SCALED }),
  check: checkSub,
  opinfo: ["rsub"],
});

/** self * other; on bools, logical and. */
export const mul: Binary = binary("mul.Tensor", (tl, x, y) => (tl.dtypeOf(x) === tl.bool ? x && y : x * y), {
  opinfo: ["mul", reflected("__rmul__")],
});

// --- Quotients ---

/** True division: integers give f32. */
export const div: Binary = binary("div.Tensor", (_tl, x, y) => x / y, {
  promote: "intToFloat",
  opinfo: [{ op: "div", variant: "no_rounding_mode" }, reflected("__rdiv__"), "true_divide"],
});

const divTrunc = pointwiseKernel(
  (tl, x, y) =>
    tl.dtypeOf(x) === tl.f32 || tl.dtypeOf(x) === tl.f64 ? tl.trunc(x / y) : tl.floorDiv(x - (x % y), y),
  { name: "div_trunc" },
);
// The quotient rounded down, exact also where x / y rounds up to an integer: from the remainder, as Python does.
const divFloor = pointwiseKernel(
  (tl, x, y) => {
    if (tl.dtypeOf(x) !== tl.f32 && tl.dtypeOf(x) !== tl.f64) return tl.floorDiv(x, y);
    const rest = x % y;
    const whole = (x - rest) / y;
    const lower = tl.where(rest !== 0 && y < 0 !== rest < 0, whole - 1, whole);
    const down = tl.floor(lower);
    const near = tl.where(lower - down > 0.5, down + 1, down);
    return tl.where(y === 0, x / y, tl.where(lower === 0, 0 * (x / y), near));
  },
  { name: "div_floor" },
);

/** Division, rounded as `roundingMode` says: `"trunc"` towards 0, `"floor"` down, `null` not at all. */
export const divMode: Operator<
  (self: Operand, other: Operand, options: { roundingMode: "trunc" | "floor" | null }) => Tensor
> = elementwise({
  schema: "div.Tensor_mode(Tensor self, Tensor other, *, str? rounding_mode) -> Tensor",
  fn: ([, , mode]): Choice => {
    if (mode === null) return { fn: trueDivision, order: PLAIN };
    if (mode !== "trunc" && mode !== "floor")
      throw new RangeError(`div: roundingMode is "trunc", "floor" or null, not ${JSON.stringify(mode)}`);
    return { fn: mode === "trunc" ? divTrunc : divFloor, order: PLAIN };
  },
  name: "div",
  opinfo: [
    { op: "div", variant: "trunc_rounding" },
    { op: "div", variant: "floor_rounding" },
  ],
  inPlace: true,
});
const trueDivision = pointwiseKernel((_tl, x, y) => x / y, { name: "div", promote: "intToFloat" });

/** The quotient rounded down; integers stay integers. */
export const floorDivide: Binary = elementwise({
  schema: "floor_divide(Tensor self, Tensor other) -> Tensor",
  fn: divFloor,
  opinfo: ["floor_divide"],
  inPlace: true,
});

/** The remainder with the sign of `other`, as Python's `%`. */
export const remainder: Binary = binary(
  "remainder.Tensor",
  (tl, x, y) => {
    const rest = x % y;
    return tl.where(rest !== 0 && y < 0 !== rest < 0, rest + y, rest);
  },
  { opinfo: ["remainder", reflected("__rmod__")] },
);

/** The remainder with the sign of `self`, as C's `fmod`. */
export const fmod: Binary = binary("fmod.Tensor", (_tl, x, y) => x % y);

// --- Powers ---

const power = pointwiseKernel(
  (tl, x, y) => {
    const dtype = tl.dtypeOf(x);
    if (dtype === tl.f32 || dtype === tl.f64) return tl.pow(x, y);
    // Integers: by repeated squaring, wrapping at the width. A negative exponent leaves only 1 and -1.
    let result = x * 0 + 1;
    let base = x;
    for (const bit of tl.staticRange(tl.bitsOf(dtype))) {
      result = tl.where(((y >> bit) & 1) !== 0, result * base, result);
      base = base * base;
    }
    const odd = (y & 1) !== 0;
    const one = x * 0 + 1;
    const inverse = tl.where(x === 1, one, tl.where(x + 1 === 0, tl.where(odd, -one, one), 0 * one));
    return tl.where(y < 0, inverse, result);
  },
  { name: "pow" },
);
const squared = pointwiseKernel((_tl, x) => x * x, { name: "pow_2" });
const cubed = pointwiseKernel((_tl, x) => x * x * x, { name: "pow_3" });
const rooted = pointwiseKernel((tl, x) => tl.sqrt(x), { name: "pow_half", promote: "intToFloat" });

/** self to the power of other. Common constant exponents are computed without logarithms. */
export const pow: Binary = elementwise({
  schema: "pow.Tensor_Tensor(Tensor self, Tensor exponent) -> Tensor",
  fn: ([x, y]): Choice => {
    if (typeof x === "object" && x !== null && x.dtype !== "bool") {
      if (y === 2) return { fn: squared, order: [0] };
      if (y === 3) return { fn: cubed, order: [0] };
      if (y === 0.5) return { fn: rooted, order: [0] };
    }
    return { fn: power, order: PLAIN };
  },
  check: ([x, y]) => {
    if (typeof y === "number" && y < 0 && Number.isInteger(y)) {
      const dtype = resultType(x as Scalar, y);
      if (isIntDType(dtype) || dtype === "bool")
        throw new RangeError(
          `pow: integers to the negative power ${y} are not integers; convert to a float first`,
        );
    }
  },
  opinfo: ["pow", reflected("__rpow__")],
  inPlace: true,
});

// --- Extremes ---

/** The larger one, NaN if either is NaN; where both are equal, each gets half of the gradient. */
export const maximum: Binary = binary("maximum", (tl, x, y) => tl.maximum(x, y, { propagateNan: true }), {
  grad: (tl, x, y, g) => [
    tl.where(x === y, g / 2, tl.where(x < y, 0, g)),
    tl.where(x === y, g / 2, tl.where(y < x, 0, g)),
  ],
  opinfo: ["maximum", { op: "max", variant: "binary" }],
});
/** The smaller one, NaN if either is NaN; where both are equal, each gets half of the gradient. */
export const minimum: Binary = binary("minimum", (tl, x, y) => tl.minimum(x, y, { propagateNan: true }), {
  grad: (tl, x, y, g) => [
    tl.where(x === y, g / 2, tl.where(x > y, 0, g)),
    tl.where(x === y, g / 2, tl.where(y > x, 0, g)),
  ],
  opinfo: ["minimum", { op: "min", variant: "binary" }],
});
/** The larger one; if one is NaN, the other. Where both are equal, `self` gets the gradient. */
export const fmax: Binary = binary("fmax", (tl, x, y) => tl.maximum(x, y), {
  grad: (tl, x, y, g) => [tl.where(x >= y || tl.isnan(y), g, 0), tl.where(x >= y || tl.isnan(y), 0, g)],
});
/** The smaller one; if one is NaN, the other. Where both are equal, `self` gets the gradient. */
export const fmin: Binary = binary("fmin", (tl, x, y) => tl.minimum(x, y), {
  grad: (tl, x, y, g) => [tl.where(x <= y || tl.isnan(y), g, 0), tl.where(x <= y || tl.isnan(y), 0, g)],
});

declare module "../tensor/tensor.js" {
  interface Tensor {
    add: Method<typeof add>;
    sub: Method<typeof sub>;
    rsub: Method<typeof rsub>;
    mul: Method<typeof mul>;
    /** True division; with `{ roundingMode }` rounded. */
    div(other: Operand, options?: { roundingMode: "trunc" | "floor" | null }): Tensor;
    floorDivide: Method<typeof floorDivide>;
    remainder: Method<typeof remainder>;
    fmod: Method<typeof fmod>;
    pow: Method<typeof pow>;
    maximum: Method<typeof maximum>;
    minimum: Method<typeof minimum>;
    fmax: Method<typeof fmax>;
    fmin: Method<typeof fmin>;
  }
}
