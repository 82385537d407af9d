// Element-wise functions of floats. The first group every chip computes exactly; the others are expanded
// into arithmetic by the `expand-math` pass, the same on every chip, each with a stated bound in ULP.

import { isFloat } from "../dtype.js";
import { roundHalfEven, roundTo } from "../rounding.js";
import { sameType, showType, type Type } from "../type.js";
import { asTile, defineOp, IrTypeError } from "./define.js";

const float = (opcode: string, arity: number, exact?: (x: number) => number) =>
  defineOp({
    opcode,
    pure: true,
    elementwise: true,
    arity,
    fold: exact && (([x], op) => roundTo(op.operands[0]!.type.dtype, exact(x as number))),
    infer: (o: readonly Type[]) => {
      const t = asTile(o, 0, opcode);
      if (o.length !== arity) throw new IrTypeError(`${opcode} takes ${arity} operands`);
      if (!isFloat(t.dtype)) throw new IrTypeError(`${opcode} takes floats, not ${t.dtype}`);
      for (const u of o)
        if (!sameType(u, t))
          throw new IrTypeError(`the operands of ${opcode} differ: ${showType(t)} and ${showType(u)}`);
      return [t];
    },
  });

/** Correctly rounded on every chip. `round`: half to even. */
export const EXACT_MATH = ["sqrt", "floor", "ceil", "trunc", "round"] as const;
/** Expanded by `passes/expand-math`. */
export const EXPANDED_UNARY = [
  "rsqrt", "exp", "exp2", "exp2Approx", "sigmoidApprox", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "tanh", "erf",
] as const; // biome-ignore format: one line reads better
export const EXPANDED_BINARY = ["pow"] as const;

const EXACT = {
  sqrt: Math.sqrt,
  floor: Math.floor,
  ceil: Math.ceil,
  trunc: Math.trunc,
  round: roundHalfEven,
};
for (const name of EXACT_MATH) float(name, 1, EXACT[name]);
for (const name of EXPANDED_UNARY) float(name, 1);
for (const name of EXPANDED_BINARY) float(name, 2);
