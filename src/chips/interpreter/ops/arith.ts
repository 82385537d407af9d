// Element-wise arithmetic, comparison and selection.

// biome-ignore-all lint/suspicious/noSelfCompare: `x !== x` finds NaN in numbers and holds for bigints

import { DTYPES, type DType, is64, isFloat, isSigned } from "../../../compiler/ir/index.js";
import { isNarrow } from "../elements.js";
import { type Emit, interpret, type Step, tileType } from "../emit.js";
import { makeRound } from "../narrow.js";
import { A, type Binary, specialize, type Ternary, type Unary } from "../loops.js";
import type { Op, Value } from "../../../compiler/ir/index.js";

const add: Binary = (o, a, b, n) => {
  for (let i = 0; i < n; i++) o[i] = a[i]! + b[i]!;
};
const sub: Binary = (o, a, b, n) => {
  for (let i = 0; i < n; i++) o[i] = a[i]! - b[i]!;
};
const mul: Binary = (o, a, b, n) => {
  for (let i = 0; i < n; i++) o[i] = a[i]! * b[i]!;
};
const imul: Binary = (o, a, b, n) => {
  for (let i = 0; i < n; i++) o[i] = Math.imul(a[i]!, b[i]!);
};
const div: Binary = (o, a, b, n) => {
  for (let i = 0; i < n; i++) o[i] = a[i]! / b[i]!;
};
const idiv: Binary = (o, a, b, n) => {
  for (let i = 0; i < n; i++) o[i] = b[i] === 0 ? 0 : Math.trunc(a[i]! / b[i]!);
};
const bdiv = (o: BigInt64Array, a: BigInt64Array, b: BigInt64Array, n: number): void => {
  const zero = BigInt(0);
  for (let i = 0; i < n; i++) o[i] = b[i] === zero ? zero : a[i]! / b[i]!;
};
const rem: Binary = (o, a, b, n) => {
  for (let i = 0; i < n; i++) o[i] = a[i]! % b[i]!;
};
const irem: Binary = (o, a, b, n) => {
  for (let i = 0; i < n; i++) o[i] = b[i] === 0 ? 0 : a[i]! % b[i]!;
};
const brem = (o: BigInt64Array, a: BigInt64Array, b: BigInt64Array, n: number): void => {
  const zero = BigInt(0);
  for (let i = 0; i < n; i++) o[i] = b[i] === zero ? zero : a[i]! % b[i]!;
};
// `a !== a` finds NaN. Integers take the same loops.
const maxPropagate: Binary = (o, a, b, n) => {
  for (let i = 0; i < n; i++) {
    const x = a[i]!;
    const y = b[i]!;
    o[i] = x > y || x !== x ? x : y;
  }
};
const minPropagate: Binary = (o, a, b, n) => {
  for (let i = 0; i < n; i++) {
    const x = a[i]!;
    const y = b[i]!;
    o[i] = x < y || x !== x ? x : y;
  }
};
const maxIgnore: Binary = (o, a, b, n) => {
  for (let i = 0; i < n; i++) {
    const x = a[i]!;
    const y = b[i]!;
    o[i] = x > y || y !== y ? x : y;
  }
};
const minIgnore: Binary = (o, a, b, n) => {
  for (let i = 0; i < n; i++) {
    const x = a[i]!;
    const y = b[i]!;
    o[i] = x < y || y !== y ? x : y;
  }
};
const and: Binary = (o, a, b, n) => {
  for (let i = 0; i < n; i++) o[i] = a[i]! & b[i]!;
};
const or: Binary = (o, a, b, n) => {
  for (let i = 0; i < n; i++) o[i] = a[i]! | b[i]!;
};
const xor: Binary = (o, a, b, n) => {
  for (let i = 0; i < n; i++) o[i] = a[i]! ^ b[i]!;
};

/** Shifts take their count modulo the width `w`; `low` has the bits of the width (narrow integers). */
type Shift = (o: A, a: A, b: A, n: number, w: number, low: number) => void;
const shl: Shift = (o, a, b, n, w) => {
  for (let i = 0; i < n; i++) o[i] = a[i]! << (b[i]! & (w - 1));
};
const shr: Shift = (o, a, b, n, w) => {
  for (let i = 0; i < n; i++) o[i] = a[i]! >> (b[i]! & (w - 1));
};
const ushr: Shift = (o, a, b, n, w, low) => {
  for (let i = 0; i < n; i++) o[i] = (a[i]! & low) >>> (b[i]! & (w - 1));
};
const bshl = (o: BigInt64Array, a: BigInt64Array, b: BigInt64Array, n: number): void => {
  const count = BigInt(63);
  for (let i = 0; i < n; i++) o[i] = a[i]! << (b[i]! & count);
};
const bshr = (o: BigInt64Array, a: BigInt64Array, b: BigInt64Array, n: number): void => {
  const count = BigInt(63);
  for (let i = 0; i < n; i++) o[i] = a[i]! >> (b[i]! & count);
};
const bushr = (o: BigInt64Array, a: BigInt64Array, b: BigInt64Array, n: number): void => {
  const count = BigInt(63);
  for (let i = 0; i < n; i++) o[i] = BigInt.asUintN(64, a[i]!) >> (b[i]! & count);
};

/** Narrow widths: the product is exact. */
const mulhiNarrow: Shift = (o, a, b, n, w) => {
  for (let i = 0; i < n; i++) o[i] = Math.floor((a[i]! * b[i]!) / 2 ** w);
};
/** 32 bits in 16-bit halves; `low` is 1 for signed operands. */
const mulhi32: Shift = (o, a, b, n, _w, signed) => {
  for (let i = 0; i < n; i++) {
    const x = a[i]!;
    const y = b[i]!;
    const xl = x & 0xffff;
    const xh = (x >>> 16) & 0xffff;
    const yl = y & 0xffff;
    const yh = (y >>> 16) & 0xffff;
    const mid = xh * yl + (((xl * yl) / 65536) >>> 0);
    const mid2 = xl * yh + (mid % 65536);
    let hi = xh * yh + Math.floor(mid / 65536) + Math.floor(mid2 / 65536);
    if (signed !== 0) {
      if (x < 0) hi -= y;
      if (y < 0) hi -= x;
    }
    o[i] = hi;
  }
};
const mulhi64 = (o: BigInt64Array, a: BigInt64Array, b: BigInt64Array, n: number): void => {
  const width = BigInt(64);
  for (let i = 0; i < n; i++) o[i] = (a[i]! * b[i]!) >> width;
};

const neg: Unary = (o, a, n) => {
  for (let i = 0; i < n; i++) o[i] = -a[i]!;
};
const not: Unary = (o, a, n) => {
  for (let i = 0; i < n; i++) o[i] = ~a[i]!;
};
const notBool: Unary = (o, a, n) => {
  for (let i = 0; i < n; i++) o[i] = a[i]! ^ 1;
};
const absFloat: Unary = (o, a, n) => {
  for (let i = 0; i < n; i++) o[i] = Math.abs(a[i]!);
};
const absInt: Unary = (o, a, n) => {
  for (let i = 0; i < n; i++) o[i] = a[i]! < 0 ? -a[i]! : a[i]!;
};
const fma: Ternary = (o, a, b, c, n) => {
  for (let i = 0; i < n; i++) o[i] = a[i]! * b[i]! + c[i]!;
};
const select: Ternary = (o, c, a, b, n) => {
  for (let i = 0; i < n; i++) o[i] = c[i] !== 0 ? a[i]! : b[i]!;
};

const compare: Record<string, Binary> = {
  eq: (o, a, b, n) => {
    for (let i = 0; i < n; i++) o[i] = a[i] === b[i] ? 1 : 0;
  },
  ne: (o, a, b, n) => {
    for (let i = 0; i < n; i++) o[i] = a[i] !== b[i] ? 1 : 0;
  },
  lt: (o, a, b, n) => {
    for (let i = 0; i < n; i++) o[i] = a[i]! < b[i]! ? 1 : 0;
  },
  le: (o, a, b, n) => {
    for (let i = 0; i < n; i++) o[i] = a[i]! <= b[i]! ? 1 : 0;
  },
  gt: (o, a, b, n) => {
    for (let i = 0; i < n; i++) o[i] = a[i]! > b[i]! ? 1 : 0;
  },
  ge: (o, a, b, n) => {
    for (let i = 0; i < n; i++) o[i] = a[i]! >= b[i]! ? 1 : 0;
  },
};

const big = (f: (o: BigInt64Array, a: BigInt64Array, b: BigInt64Array, n: number) => void): Shift =>
  f as unknown as Shift;

function binaryLoop(op: Op, d: DType): { loop: Shift; w: number; low: number } {
  const float = isFloat(d);
  const wide = is64(d) && !float;
  const w = DTYPES[d].bits;
  const pick = (onFloat: Binary, onInt: Binary, onBig: Shift): Shift =>
    (float ? onFloat : wide ? onBig : onInt) as Shift;
  const ignore = op.attrs["nan"] === "ignore";
  let low = 2 ** w - 1;
  let loop: Shift;
  switch (op.opcode) {
    case "add": loop = add as Shift; break;
    case "sub": loop = sub as Shift; break;
    case "mul": loop = pick(mul, imul, mul as Shift); break;
    case "div": loop = pick(div, idiv, big(bdiv)); break;
    case "rem": loop = pick(rem, irem, big(brem)); break;
    case "min": loop = (ignore ? minIgnore : minPropagate) as Shift; break;
    case "max": loop = (ignore ? maxIgnore : maxPropagate) as Shift; break;
    case "and": loop = and as Shift; break;
    case "or": loop = or as Shift; break;
    case "xor": loop = xor as Shift; break;
    case "shl": loop = wide ? big(bshl) : shl; break;
    case "shr": loop = wide ? big(bshr) : d === "u32" ? ushr : shr; break;
    case "ushr": loop = wide ? big(bushr) : ushr; break;
    case "mulhi":
      loop = wide ? big(mulhi64) : w === 32 ? mulhi32 : mulhiNarrow;
      if (w === 32) low = isSigned(d) ? 1 : 0;
      break;
    default: throw new Error(`no loop for ${op.opcode}`);
  } // biome-ignore format: a table
  return { loop: specialize(loop, d), w, low };
}

/** Adds the rounding that results of narrow floats need. */
export function rounded(result: Value, e: Emit, step: Step): Step {
  const d = tileType(result).dtype;
  if (!isNarrow(d)) return step;
  const round = makeRound(d, e.array(result));
  return () => {
    step();
    round();
  };
}

interpret(
  ["add", "sub", "mul", "div", "rem", "min", "max", "and", "or", "xor", "shl", "shr", "ushr", "mulhi"],
  (op, e) => {
    const { loop, w, low } = binaryLoop(op, tileType(op.result).dtype);
    const o = A(e.array(op.result));
    const a = A(e.array(op.operands[0]!));
    const b = A(e.array(op.operands[1]!));
    const n = o.length;
    return rounded(op.result, e, () => loop(o, a, b, n, w, low));
  },
);

interpret(["neg", "not", "abs"], (op, e) => {
  const d = tileType(op.result).dtype;
  const loop =
    op.opcode === "neg"
      ? neg
      : op.opcode === "not"
        ? d === "bool"
          ? notBool
          : not
        : isFloat(d)
          ? absFloat
          : absInt;
  const run = specialize(loop, d);
  const o = A(e.array(op.result));
  const a = A(e.array(op.operands[0]!));
  const n = o.length;
  return () => run(o, a, n);
});

interpret("fma", (op, e) => {
  const [a, b, c] = op.operands.map((v) => A(e.array(v))) as [A, A, A];
  const o = A(e.array(op.result));
  const n = o.length;
  const run = specialize(fma, tileType(op.result).dtype);
  return rounded(op.result, e, () => run(o, a, b, c, n));
});

interpret("cmp", (op, e) => {
  const loop = compare[op.attrs["pred"] as string];
  if (!loop) throw new Error(`no comparison is called ${op.attrs["pred"]}`);
  const run = specialize(loop, tileType(op.operands[0]!).dtype);
  const [a, b] = op.operands.map((v) => A(e.array(v))) as [A, A];
  const o = A(e.array(op.result));
  const n = o.length;
  return () => run(o, a, b, n);
});

interpret("select", (op, e) => {
  const [c, a, b] = op.operands.map((v) => A(e.array(v))) as [A, A, A];
  const o = A(e.array(op.result));
  const n = o.length;
  const run = specialize(select, tileType(op.result).dtype);
  return () => run(o, c, a, b, n);
});
