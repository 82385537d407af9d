// Conversions between element types, by value (`cast`) and by bits (`bitcast`).

// biome-ignore-all lint/suspicious/noSelfCompare: `x !== x` finds NaN in numbers and holds for bigints

import { DTYPES, type DType, is64, isFloat } from "../../../compiler/ir/index.js";
import { bitsOf, copyElements, type Elements, isNarrow } from "../elements.js";
import { interpret, type Step, tileType } from "../emit.js";
import { bitArray, narrowBits, narrowValues } from "../narrow.js";
import { A, specialize, type Unary } from "../loops.js";
import { rounded } from "./arith.js";

/** Number to number where storing does the conversion: it wraps integers and rounds floats. */
const store: Unary = (o, a, n) => {
  for (let i = 0; i < n; i++) o[i] = a[i]!;
};
const toBool: Unary = (o, a, n) => {
  // Right for NaN (true) and for bigints (0n is falsy).
  for (let i = 0; i < n; i++) o[i] = a[i]! !== a[i]! || a[i] ? 1 : 0;
};
/** Truncates, saturates to `lo`..`hi`, NaN becomes 0; storing then wraps narrow integers. */
const floatToInt = (o: A, a: A, n: number, lo: number, hi: number): void => {
  for (let i = 0; i < n; i++) {
    const x = a[i]!;
    o[i] = x !== x ? 0 : x <= lo ? lo : x >= hi ? hi : Math.trunc(x);
  }
};
const floatToBig = (o: BigInt64Array, a: A, n: number, lo: bigint, hi: bigint): void => {
  const low = Number(lo);
  const high = Number(hi); // rounds up to 2^63 or 2^64, which is out of range as well
  for (let i = 0; i < n; i++) {
    const x = a[i]!;
    o[i] = x !== x ? BigInt(0) : x <= low ? lo : x >= high ? hi : BigInt(Math.trunc(x));
  }
};
const intToBig = (o: BigInt64Array, a: A, n: number): void => {
  for (let i = 0; i < n; i++) o[i] = BigInt(a[i]!);
};
const bigToInt = (o: A, a: BigInt64Array, n: number): void => {
  for (let i = 0; i < n; i++) o[i] = Number(BigInt.asUintN(32, a[i]!));
};
const bigToF64 = (o: A, a: BigInt64Array, n: number): void => {
  for (let i = 0; i < n; i++) o[i] = Number(a[i]!);
};
/** Rounds once: above 2^53 the low bits become one sticky bit before the rounding to f32. */
const bigToF32 = (o: A, a: BigInt64Array, n: number): void => {
  const shift = BigInt(16);
  const mask = BigInt(65535);
  const zero = BigInt(0);
  const one = BigInt(1);
  for (let i = 0; i < n; i++) {
    const v = a[i]!;
    const x = Number(v);
    if (Math.abs(x) < 9007199254740992) o[i] = x;
    else o[i] = Number((v >> shift) | ((v & mask) === zero ? zero : one)) * 65536;
  }
};

type Loop = (o: A, a: A, n: number) => void;
const isBig = (d: DType): boolean => is64(d) && !isFloat(d);

function castLoop(from: DType, to: DType): Loop {
  const key = `${from},${to}`;
  if (to === "bool") return specialize(toBool, key);
  if (isFloat(from) && !isFloat(to)) {
    if (isBig(to)) {
      const [lo, hi] = to === "i64" ? [-(2n ** 63n), 2n ** 63n - 1n] : [0n, 2n ** 64n - 1n];
      const run = specialize(floatToBig, key);
      return (o, a, n) => run(o as unknown as BigInt64Array, a, n, lo, hi);
    }
    const [lo, hi] = to === "u32" ? [0, 2 ** 32 - 1] : [-(2 ** 31), 2 ** 31 - 1];
    const run = specialize(floatToInt, key);
    return (o, a, n) => run(o, a, n, lo, hi);
  }
  if (isBig(from) && !isBig(to)) {
    const loop = to === "f64" ? bigToF64 : isFloat(to) ? bigToF32 : bigToInt;
    return specialize(loop, key) as unknown as Loop;
  }
  if (isBig(to) && !isBig(from)) return specialize(intToBig, key) as unknown as Loop;
  return specialize(store, key);
}

interpret("cast", (op, e) => {
  const from = tileType(op.operands[0]!).dtype;
  const to = tileType(op.result).dtype;
  if (from === to) {
    e.alias(op.result, e.array(op.operands[0]!));
    return undefined;
  }
  const loop = castLoop(from, to);
  const a = A(e.array(op.operands[0]!));
  const o = A(e.array(op.result));
  const n = o.length;
  return rounded(op.result, e, () => loop(o, a, n));
});

/** The bit patterns of a tile: a view where it is one, a conversion for narrow floats. */
function bits(d: DType, a: Elements): { array: Elements; refresh?: Step } {
  if (!isNarrow(d)) return { array: bitsOf(a) };
  const array = bitArray(d, a.length);
  return { array, refresh: () => narrowBits(d, array, a, a.length) };
}

interpret("bitcast", (op, e) => {
  const from = tileType(op.operands[0]!).dtype;
  const to = tileType(op.result).dtype;
  if (DTYPES[from].bits !== DTYPES[to].bits) throw new Error(`bitcast from ${from} to ${to}`);
  const source = bits(from, e.array(op.operands[0]!));
  const out = e.array(op.result);
  const n = out.length;
  if (isNarrow(to)) {
    const values = narrowValues(to);
    return () => {
      source.refresh?.();
      for (let i = 0; i < n; i++) out[i] = values[source.array[i] as number]!;
    };
  }
  const target = bitsOf(out);
  return () => {
    source.refresh?.();
    copyElements(target, source.array);
  };
});
