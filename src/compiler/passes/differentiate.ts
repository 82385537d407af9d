// Reverse-mode derivatives of straight-line float arithmetic. It runs on the functions of `ir/ops` themselves,
// before `expand-math` takes them apart.

import type { Builder } from "../ir/builder.js";
import { isFloat } from "../ir/dtype.js";
import { Op, type Value } from "../ir/ir.js";
import { constantOf } from "../ir/ops/index.js";
import { sameType, showType, type TileType } from "../ir/type.js";

/** An op whose derivative is not known stands between inputs and outputs. The front end adds the author's line from `op.loc`. */
export class DifferentiateError extends Error {
  override name = "DifferentiateError";
  constructor(
    message: string,
    readonly op?: Op,
  ) {
    super(message);
  }
}

/**
 * Emits at `b` the gradients of `sum(outputs * outputGrads)` with respect to `wrt`, for the straight-line ops
 * between them (all in `b.block` or the blocks around it). `outputGrads` have the types of `outputs`, the
 * results those of `wrt`; `undefined` is a gradient of zero.
 *
 * The conventions are PyTorch's: `abs` has 0 at 0; `min` and `max` give each operand half where both are equal,
 * but where one operand is a constant (a clamp) the other gets all; where one is NaN both get it. Rounding has 0.
 * `pow` has 0 for the base where the exponent is 0, and 0 for the exponent where the base is 0 and the exponent
 * is not negative. Comparisons and integers end a path.
 *
 * @throws DifferentiateError for an op without derivative (memory, loops, reductions, bitcasts), and for types that do not fit
 */
export function differentiate(
  b: Builder,
  outputs: readonly Value[],
  outputGrads: readonly Value[],
  wrt: readonly Value[],
): (Value | undefined)[] {
  if (outputs.length !== outputGrads.length)
    throw new DifferentiateError(
      `${outputs.length} outputs need as many gradients, not ${outputGrads.length}`,
    );
  const grads = new Map<Value, Value>();
  const accumulate = (v: Value, g: Value) => {
    const before = grads.get(v);
    grads.set(v, before ? b.value("add", [before, g]) : g);
  };
  outputs.forEach((v, i) => {
    const g = outputGrads[i]!;
    if (!sameType(v.type, g.type))
      throw new DifferentiateError(
        `the gradient of an output of type ${showType(v.type)} is ${showType(g.type)}`,
      );
    if (isFloat(v.type.dtype)) accumulate(v, g);
  });
  const { order, active } = activeOps(outputs, wrt);
  const loc = b.loc;
  for (const op of order.reverse()) {
    const g = op.results.map((v) => grads.get(v)).find((v) => v !== undefined);
    if (!g) continue;
    b.loc = op.loc ?? loc;
    const rule = RULES[op.opcode];
    if (!rule)
      throw new DifferentiateError(
        `${op.opcode} has no derivative: write the gradient by hand, or keep it out of what is differentiated`,
        op,
      );
    rule({
      b,
      op,
      x: op.operands,
      y: op.results[0]!,
      g,
      needs: (i) => active.has(op.operands[i]!),
      give: (i, d) => accumulate(op.operands[i]!, d),
    });
  }
  b.loc = loc;
  return wrt.map((v) => grads.get(v));
}

/** The ops on a float path from `wrt` to `outputs`, operands before users, and the values on such paths. */
function activeOps(outputs: readonly Value[], wrt: readonly Value[]): { order: Op[]; active: Set<Value> } {
  const active = new Set<Value>(wrt);
  const seen = new Set<Value>();
  const order: Op[] = [];
  // An explicit stack: functions may be thousands of ops long.
  const stack: { v: Value; next: number }[] = outputs.map((v) => ({ v, next: 0 }));
  while (stack.length > 0) {
    const top = stack.at(-1)!;
    const def = top.v.def;
    if (top.next === 0 && (seen.has(top.v) || !(def instanceof Op))) {
      stack.pop();
      continue;
    }
    seen.add(top.v);
    const operands = operandsOf(def as Op);
    if (top.next < operands.length) {
      stack.push({ v: operands[top.next++]!, next: 0 });
      // Marks the visit even where the first operand was seen before.
      continue;
    }
    stack.pop();
    if (isFloat(top.v.type.dtype) && operands.some((v) => active.has(v) && isFloat(v.type.dtype))) {
      order.push(def as Op);
      active.add(top.v);
    }
  }
  return { order: [...new Set(order)], active };
}

/** For control flow: what flows through its regions too, so that it is seen (and refused) as active. */
function operandsOf(op: Op): readonly Value[] {
  if (op.regions.length === 0) return op.operands;
  const all = [...op.operands];
  const visit = (o: Op) => {
    for (const r of o.regions)
      for (const inner of r.ops) {
        all.push(...inner.operands);
        visit(inner);
      }
  };
  visit(op);
  return all;
}

interface Step {
  readonly b: Builder;
  readonly op: Op;
  /** Operands, the result and the result's gradient. */
  readonly x: readonly Value[];
  readonly y: Value;
  readonly g: Value;
  needs(i: number): boolean;
  give(i: number, gradient: Value): void;
}
type Rule = (s: Step) => void;

const num = (s: Step, v: number): Value => s.b.constant(v, s.y.type.dtype, (s.y.type as TileType).shape);
const mul = (s: Step, a: Value, c: Value): Value => s.b.value("mul", [a, c]);
const div = (s: Step, a: Value, c: Value): Value => s.b.value("div", [a, c]);
const add = (s: Step, a: Value, c: Value): Value => s.b.value("add", [a, c]);
const sub = (s: Step, a: Value, c: Value): Value => s.b.value("sub", [a, c]);
const neg = (s: Step, a: Value): Value => s.b.value("neg", [a]);
const fn = (s: Step, opcode: string, ...a: Value[]): Value => s.b.value(opcode, a);
const cmp = (s: Step, a: Value, pred: string, c: Value): Value => s.b.value("cmp", [a, c], { pred });
const select = (s: Step, c: Value, a: Value, d: Value): Value => s.b.value("select", [c, a, d]);

/** A rule of one operand: what the gradient becomes. */
const unary =
  (derive: (s: Step, x: Value) => Value): Rule =>
  (s) => {
    if (s.needs(0)) s.give(0, derive(s, s.x[0]!));
  };
const nothing: Rule = () => {};

/** `loses`: the comparison of an operand with the other one under which it is not the result. */
const extremum =
  (loses: string): Rule =>
  (s) => {
    for (const [i, j] of [
      [0, 1],
      [1, 0],
    ] as const) {
      if (!s.needs(i)) continue;
      const [mine, other] = [s.x[i]!, s.x[j]!];
      const tie = constantOf(other) === undefined ? mul(s, s.g, num(s, 0.5)) : s.g;
      const apart = select(s, cmp(s, mine, loses, other), num(s, 0), s.g);
      s.give(i, tie === s.g ? apart : select(s, cmp(s, mine, "eq", other), tie, apart));
    }
  };

const RULES: Readonly<Record<string, Rule>> = {
  add: (s) => {
    for (const i of [0, 1]) if (s.needs(i)) s.give(i, s.g);
  },
  sub: (s) => {
    if (s.needs(0)) s.give(0, s.g);
    if (s.needs(1)) s.give(1, neg(s, s.g));
  },
  mul: (s) => {
    if (s.needs(0)) s.give(0, mul(s, s.g, s.x[1]!));
    if (s.needs(1)) s.give(1, mul(s, s.g, s.x[0]!));
  },
  div: (s) => {
    const quotient = div(s, s.g, s.x[1]!);
    if (s.needs(0)) s.give(0, quotient);
    if (s.needs(1)) s.give(1, neg(s, mul(s, quotient, s.y)));
  },
  rem: (s) => {
    if (s.needs(0)) s.give(0, s.g);
    if (s.needs(1)) s.give(1, neg(s, mul(s, s.g, fn(s, "trunc", div(s, s.x[0]!, s.x[1]!)))));
  },
  fma: (s) => {
    if (s.needs(0)) s.give(0, mul(s, s.g, s.x[1]!));
    if (s.needs(1)) s.give(1, mul(s, s.g, s.x[0]!));
    if (s.needs(2)) s.give(2, s.g);
  },
  neg: unary((s) => neg(s, s.g)),
  abs: unary((s, x) => {
    const zero = num(s, 0);
    return select(s, cmp(s, x, "gt", zero), s.g, select(s, cmp(s, x, "lt", zero), neg(s, s.g), zero));
  }),
  min: extremum("gt"),
  max: extremum("lt"),
  select: (s) => {
    const zero = num(s, 0);
    if (s.needs(1)) s.give(1, select(s, s.x[0]!, s.g, zero));
    if (s.needs(2)) s.give(2, select(s, s.x[0]!, zero, s.g));
  },
  cast: unary((s, x) => s.b.cast(s.g, x.type.dtype)),
  sqrt: unary((s) => div(s, s.g, mul(s, s.y, num(s, 2)))),
  rsqrt: unary((s) => mul(s, mul(s, s.g, num(s, -0.5)), mul(s, s.y, mul(s, s.y, s.y)))),
  exp: unary((s) => mul(s, s.g, s.y)),
  exp2: unary((s) => mul(s, s.g, mul(s, s.y, num(s, Math.LN2)))),
  exp2Approx: unary((s) => mul(s, s.g, mul(s, s.y, num(s, Math.LN2)))),
  sigmoidApprox: unary((s) => mul(s, s.g, mul(s, s.y, sub(s, num(s, 1), s.y)))),
  expm1: unary((s) => mul(s, s.g, add(s, s.y, num(s, 1)))),
  log: unary((s, x) => div(s, s.g, x)),
  log2: unary((s, x) => div(s, s.g, mul(s, x, num(s, Math.LN2)))),
  log10: unary((s, x) => div(s, s.g, mul(s, x, num(s, Math.LN10)))),
  log1p: unary((s, x) => div(s, s.g, add(s, x, num(s, 1)))),
  sin: unary((s, x) => mul(s, s.g, fn(s, "cos", x))),
  cos: unary((s, x) => neg(s, mul(s, s.g, fn(s, "sin", x)))),
  tan: unary((s) => mul(s, s.g, add(s, mul(s, s.y, s.y), num(s, 1)))),
  tanh: unary((s) => mul(s, s.g, sub(s, num(s, 1), mul(s, s.y, s.y)))),
  erf: unary((s, x) =>
    mul(s, mul(s, s.g, num(s, 2 / Math.sqrt(Math.PI))), fn(s, "exp", neg(s, mul(s, x, x)))),
  ),
  pow: (s) => {
    const [base, exponent] = s.x as [Value, Value];
    const zero = num(s, 0);
    if (s.needs(0)) {
      const d = mul(s, s.g, mul(s, exponent, fn(s, "pow", base, sub(s, exponent, num(s, 1)))));
      s.give(0, select(s, cmp(s, exponent, "eq", zero), zero, d));
    }
    if (s.needs(1)) {
      const d = mul(s, s.g, mul(s, s.y, fn(s, "log", base)));
      const flat = s.b.value("and", [cmp(s, base, "eq", zero), cmp(s, exponent, "ge", zero)]);
      s.give(1, select(s, flat, zero, d));
    }
  },
  floor: nothing,
  ceil: nothing,
  trunc: nothing,
  round: nothing,
};
