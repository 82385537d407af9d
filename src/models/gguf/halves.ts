// Floats of 16 bits on the host, as numbers and back: what block formats keep their scales in.

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

const fromHalf = (h: number): number => {
  const e = (h >> 10) & 31;
  const m = h & 1023;
  const v =
    e === 0
      ? m * 2 ** -24
      : e === 31
        ? m
          ? Number.NaN
          : Number.POSITIVE_INFINITY
        : (1 + m / 1024) * 2 ** (e - 15);
  return h & 0x8000 ? -v : v;
};
/** Made when the first is asked for: most programs read no such file. */
let halves: Float32Array | undefined;

/** The value of 16 bits. */
export const half = (bits: number): number => {
  halves ??= Float32Array.from({ length: 65536 }, (_, h) => fromHalf(h));
  return halves[bits]!;
};

/** The nearest half, ties to even. */
export function toHalf(v: number): number {
  f32[0] = v;
  const x = u32[0]!;
  const sign = (x >>> 16) & 0x8000;
  const a = Math.abs(f32[0]!);
  if (Number.isNaN(a)) return sign | 0x7e00;
  if (a >= 65520) return sign | 0x7c00;
  if (a < 2 ** -14) return sign | roundEven(a * 2 ** 24);
  const e = ((x >>> 23) & 255) - 127;
  return sign | (((e + 15) << 10) + roundEven((a / 2 ** e - 1) * 1024));
}

/** The nearest bfloat16, ties to even. */
export function toBrain(v: number): number {
  f32[0] = v;
  const x = u32[0]!;
  if (Number.isNaN(v)) return (x >>> 16) | 64;
  return ((x + 0x7fff + ((x >>> 16) & 1)) >>> 16) & 0xffff;
}

export function roundEven(v: number): number {
  const r = Math.round(v);
  return r - v === 0.5 && r % 2 !== 0 ? r - 1 : r;
}
