// The types of IR values: scalars, tiles of static shape, and buffers.

import { DTYPES, type DType, isDType } from "./dtype.js";

/** A scalar (shape `[]`) or a tile. Tile dimensions are powers of two, as in Triton. */
export interface TileType {
  readonly kind: "tile";
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/**
 * A buffer parameter. Pointers do not exist as values: a memory op takes a buffer and a tile of
 * element offsets, so the IR fits chips without raw pointers.
 */
export interface BufferType {
  readonly kind: "buffer";
  readonly dtype: DType;
}

export type Type = TileType | BufferType;

export const scalar = (dtype: DType): TileType => ({ kind: "tile", dtype, shape: [] });
export const tile = (dtype: DType, shape: readonly number[]): TileType => ({ kind: "tile", dtype, shape });
export const buffer = (dtype: DType): BufferType => ({ kind: "buffer", dtype });

export const isScalar = (t: Type): boolean => t.kind === "tile" && t.shape.length === 0;
export const numel = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);
export const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((d, i) => d === b[i]);
export const sameType = (a: Type, b: Type): boolean =>
  a.kind === b.kind &&
  a.dtype === b.dtype &&
  (a.kind === "buffer" || sameShape(a.shape, (b as TileType).shape));

/** `f32`, `f32[64,128]`, `buffer<f32>`: the text form, which {@link parseType} reads back. */
export function showType(t: Type): string {
  if (t.kind === "buffer") return `buffer<${t.dtype}>`;
  return t.shape.length === 0 ? t.dtype : `${t.dtype}[${t.shape.join(",")}]`;
}

/** Reads what {@link showType} printed; throws on anything else. */
export function parseType(text: string): Type {
  const b = /^buffer<(\w+)>$/.exec(text);
  if (b && isDType(b[1]!)) return buffer(b[1] as DType);
  const m = /^(\w+)(?:\[(\d+(?:,\d+)*)\])?$/.exec(text);
  if (!m || !isDType(m[1]!)) throw new Error(`not an IR type: ${text}`);
  return tile(m[1] as DType, m[2] ? m[2].split(",").map(Number) : []);
}

export const bytesOf = (t: TileType): number => numel(t.shape) * DTYPES[t.dtype].bytes;
