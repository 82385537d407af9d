// Random numbers from counters, in the kernel language: the same on every chip for a seed and an offset.

import type { Tl } from "../tl/index.js";

/** The four words after ten rounds of Philox 4x32. */
export function philox(
  tl: Tl,
  seed: number,
  counter0: number,
  counter1: number,
  counter2: number,
  counter3: number,
): readonly [number, number, number, number] {
  const wide = tl.bitsOf(tl.dtypeOf(seed)) === 64;
  let k0 = tl.cast(seed, tl.u32);
  let k1 = wide ? tl.cast(seed >>> 32, tl.u32) : tl.cast(0, tl.u32);
  let c0 = tl.cast(counter0, tl.u32);
  let c1 = tl.cast(counter1, tl.u32);
  let c2 = tl.cast(counter2, tl.u32);
  let c3 = tl.cast(counter3, tl.u32);
  for (const round of tl.staticRange(10)) {
    if (round > 0) {
      k0 += 0x9e3779b9;
      k1 += 0xbb67ae85;
    }
    const high0 = tl.umulhi(c0, 0xd2511f53);
    const high1 = tl.umulhi(c2, 0xcd9e8d57);
    const low0 = c0 * 0xd2511f53;
    const low1 = c2 * 0xcd9e8d57;
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
  }
  return [c0, c1, c2, c3];
}

export function randint4x(tl: Tl, seed: number, offset: number): readonly [number, number, number, number] {
  const wide = tl.bitsOf(tl.dtypeOf(offset)) === 64;
  return tl.philox(seed, offset, wide ? offset >>> 32 : 0, 0, 0);
}

export function randint(tl: Tl, seed: number, offset: number): number {
  return tl.randint4x(seed, offset)[0];
}

export function uniform(tl: Tl, bits: number): number {
  return tl.cast(bits >>> 8, tl.f32) * 5.9604644775390625e-8;
}

export function rand(tl: Tl, seed: number, offset: number): number {
  return tl.uniform(tl.randint4x(seed, offset)[0]);
}

export function rand4x(tl: Tl, seed: number, offset: number): readonly [number, number, number, number] {
  const [a, b, c, d] = tl.randint4x(seed, offset);
  return [tl.uniform(a), tl.uniform(b), tl.uniform(c), tl.uniform(d)];
}

/** Box and Muller's transform of pairs of evenly distributed numbers. */
export function randn4x(tl: Tl, seed: number, offset: number): readonly [number, number, number, number] {
  const [a, b, c, d] = tl.rand4x(seed, offset);
  const near = tl.sqrt(-2 * tl.log(1 - a));
  const far = tl.sqrt(-2 * tl.log(1 - c));
  const turn = 6.283185307179586 * b;
  const other = 6.283185307179586 * d;
  return [near * tl.cos(turn), near * tl.sin(turn), far * tl.cos(other), far * tl.sin(other)];
}

export function randn(tl: Tl, seed: number, offset: number): number {
  const [a, b] = tl.rand4x(seed, offset);
  return tl.sqrt(-2 * tl.log(1 - a)) * tl.cos(6.283185307179586 * b);
}
