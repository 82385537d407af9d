// Functions of floats. Those that `passes/expand-math` normally replaces use JavaScript's own functions here,
// in f64: unoptimised IR can be run, and the expansions have something to be compared with.

// biome-ignore-all lint/suspicious/noSelfCompare: `x !== x` finds NaN in numbers and holds for bigints

import type { Op } from "../../../compiler/ir/index.js";
import { type Emit, interpret, tileType } from "../emit.js";
import { A, type Binary, specialize, type Unary } from "../loops.js";
import { rounded } from "./arith.js";

const unary: Record<string, Unary> = {
  sqrt: (o, a, n) => {
    for (let i = 0; i < n; i++) o[i] = Math.sqrt(a[i]!);
  },
  floor: (o, a, n) => {
    for (let i = 0; i < n; i++) o[i] = Math.floor(a[i]!);
  },
  ceil: (o, a, n) => {
    for (let i = 0; i < n; i++) o[i] = Math.ceil(a[i]!);
  },
  trunc: (o, a, n) => {
    for (let i = 0; i < n; i++) o[i] = Math.trunc(a[i]!);
  },
  round: (o, a, n) => {
    for (let i = 0; i < n; i++) {
      const x = a[i]!;
      const f = Math.floor(x);
      const d = x - f;
      const r = d < 0.5 ? f : d > 0.5 ? f + 1 : f % 2 === 0 ? f : f + 1;
      o[i] = r === 0 ? x * 0 : r; // keeps the sign of zero
    }
  },
  rsqrt: (o, a, n) => {
    for (let i = 0; i < n; i++) o[i] = 1 / Math.sqrt(a[i]!);
  },
  exp: (o, a, n) => {
    for (let i = 0; i < n; i++) o[i] = Math.exp(a[i]!);
  },
  exp2: (o, a, n) => {
    for (let i = 0; i < n; i++) o[i] = 2 ** a[i]!;
  },
  // The reference has no reason to be less exact than it can.
  exp2Approx: (o, a, n) => {
    for (let i = 0; i < n; i++) o[i] = 2 ** a[i]!;
  },
  sigmoidApprox: (o, a, n) => {
    for (let i = 0; i < n; i++) o[i] = 1 / (1 + Math.exp(-a[i]!));
  },
  expm1: (o, a, n) => {
    for (let i = 0; i < n; i++) o[i] = Math.expm1(a[i]!);
  },
  log: (o, a, n) => {
    for (let i = 0; i < n; i++) o[i] = Math.log(a[i]!);
  },
  log2: (o, a, n) => {
    for (let i = 0; i < n; i++) o[i] = Math.log2(a[i]!);
  },
  log10: (o, a, n) => {
    for (let i = 0; i < n; i++) o[i] = Math.log10(a[i]!);
  },
  log1p: (o, a, n) => {
    for (let i = 0; i < n; i++) o[i] = Math.log1p(a[i]!);
  },
  sin: (o, a, n) => {
    for (let i = 0; i < n; i++) o[i] = Math.sin(a[i]!);
  },
  cos: (o, a, n) => {
    for (let i = 0; i < n; i++) o[i] = Math.cos(a[i]!);
  },
  tan: (o, a, n) => {
    for (let i = 0; i < n; i++) o[i] = Math.tan(a[i]!);
  },
  tanh: (o, a, n) => {
    for (let i = 0; i < n; i++) o[i] = Math.tanh(a[i]!);
  },
  erf: (o, a, n) => {
    for (let i = 0; i < n; i++) {
      const v = a[i]!;
      const x = Math.abs(v);
      let r: number;
      if (x < 2.5) {
        // erf x = 2/sqrt(pi) exp(-x^2) sum of x (2x^2)^k / (1*3*…*(2k+1)): no cancellation
        let term = x;
        let sum = x;
        for (let k = 1; term > sum * 1e-17; k++) {
          term *= (2 * x * x) / (2 * k + 1);
          sum += term;
        }
        r = 1.1283791670955126 * Math.exp(-x * x) * sum;
      } else if (x < 6) {
        // erfc x = exp(-x^2)/sqrt(pi) / (x + 1/2/(x + 1/(x + 3/2/(x + …)))), evaluated from its end
        let f = x;
        for (let k = 60; k >= 1; k--) f = x + k / 2 / f;
        r = 1 - Math.exp(-x * x) / (1.772453850905516 * f);
      } else r = x !== x ? x : 1;
      o[i] = v < 0 ? -r : r;
    }
  },
};

const pow: Binary = (o, a, b, n) => {
  for (let i = 0; i < n; i++) {
    const x = a[i]!;
    const y = b[i]!;
    // IEEE's pow(1, anything) and pow(-1, ±infinity) are 1; JavaScript's are NaN.
    o[i] = x === 1 || (x === -1 && Math.abs(y) === Number.POSITIVE_INFINITY) ? 1 : x ** y;
  }
};

interpret(Object.keys(unary), (op: Op, e: Emit) => {
  const run = specialize(unary[op.opcode]!, tileType(op.result).dtype);
  const a = A(e.array(op.operands[0]!));
  const o = A(e.array(op.result));
  const n = o.length;
  return rounded(op.result, e, () => run(o, a, n));
});

interpret("pow", (op, e) => {
  const [a, b] = op.operands.map((v) => A(e.array(v))) as [A, A];
  const o = A(e.array(op.result));
  const n = o.length;
  const run = specialize(pow, tileType(op.result).dtype);
  return rounded(op.result, e, () => run(o, a, b, n));
});
