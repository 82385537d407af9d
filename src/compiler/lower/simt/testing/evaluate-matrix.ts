// Products of matrix units in JavaScript, from the fragments of a unit's threads and operands in shared memory, for evaluate.ts.

import { f16FromBits } from "../../../ir/rounding.js";
import type { SharedMatrix } from "../form.js";
import type { Fragment, MatrixShape } from "../shape.js";

export type Numbers = readonly (number | bigint)[];

/** An operand in shared memory: where it begins, and how to read the element at a byte. */
export interface SharedReader
  extends Pick<SharedMatrix, "swizzle" | "strideBytes" | "leadingBytes" | "major"> {
  readonly start: number;
  byte(at: number): number;
}

const sumOf = (bits: readonly number[], n: number): number =>
  bits.reduce((sum, bit, i) => ((n >> i) & 1 ? sum + bit : sum), 0);

const bits = new DataView(new ArrayBuffer(4));
const fromBf16 = (half: number): number => {
  bits.setUint32(0, half << 16);
  return bits.getFloat32(0);
};

/** The unit reads the upper 19 bits. */
export const fromTf32 = (word: number): number => {
  bits.setUint32(0, word & 0xffffe000);
  return bits.getFloat32(0);
};

/** A whole operand, row-major, from its fragments. */
function gather(
  f: Fragment,
  parts: readonly Numbers[],
  size: number,
  operands: MatrixShape["operands"] | undefined,
): number[] {
  const out = Array<number>(size).fill(0);
  parts.forEach((regs, t) => {
    const count = 1 << f.registers.length;
    for (let r = 0; r < count; r++) {
      const at = sumOf(f.threads, t) + sumOf(f.registers, r);
      if (operands === undefined || operands === "f64") out[at] = Number(regs[r]);
      else if (operands === "tf32") out[at] = fromTf32(Number(regs[r]));
      else if (operands === "i8" || operands === "u8") {
        const byte = (Number(regs[r >> 2]) >>> (8 * (r % 4))) & 0xff;
        out[at] = operands === "i8" ? (byte << 24) >> 24 : byte;
      } else {
        const half = (Number(regs[r >> 1]) >>> (r % 2 ? 16 : 0)) & 0xffff;
        out[at] = operands === "f16" ? f16FromBits(half) : fromBf16(half);
      }
    }
  });
  return out;
}

/** The element of an operand at a place along K and one across it. */
function sharedAt(x: SharedReader, k: number, other: number, size: number): number {
  const perRow = (x.swizzle || 16) / size;
  const [c, r] = x.major === "k" ? [k, other] : [other, k];
  const raw =
    x.start + Math.floor(r / 8) * x.strideBytes + (r % 8) * perRow * size + Math.floor(c / perRow) * x.leadingBytes + (c % perRow) * size; // biome-ignore format: one sum
  const mask = x.swizzle / 16 - 1;
  return x.byte(x.swizzle ? raw ^ (((raw >> 7) & mask) << 4) : raw);
}

/** What each thread's registers hold of `a * b + c`. */
export function matrixProduct(
  unit: MatrixShape,
  parts: readonly { readonly a?: Numbers; readonly b?: Numbers; readonly c: Numbers }[],
  a: SharedReader | null,
  b: SharedReader | null,
  first: boolean,
): Numbers[] {
  const { m, n, k } = unit;
  const { operands } = unit;
  const size = operands === "tf32" ? 4 : 2;
  const left = a ? undefined : gather(unit.a.fragment!, parts.map((p) => p.a!), m * k, operands); // biome-ignore format: one line
  const right = b ? undefined : gather(unit.b.fragment!, parts.map((p) => p.b!), k * n, operands); // biome-ignore format: one line
  const sums = gather(unit.c, parts.map((p) => p.c), m * n, undefined); // biome-ignore format: one line
  if (first) sums.fill(0);
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) {
      let sum = sums[i * n + j]!;
      for (let p = 0; p < k; p++) {
        const x = left ? left[i * k + p]! : sharedAt(a!, p, i, size);
        const y = right ? right[p * n + j]! : sharedAt(b!, p, j, size);
        sum += x * y;
      }
      sums[i * n + j] =
        unit.accumulator === "f32" ? Math.fround(sum) : unit.accumulator === "i32" ? sum | 0 : sum;
    }
  return parts.map(
    (_, t) =>
    Array.from({ length: 1 << unit.c.registers.length }, (_v, r) => sums[sumOf(unit.c.threads, t) + sumOf(unit.c.registers, r)]!), // biome-ignore format: one line
  );
}
