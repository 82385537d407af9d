// How libraries with the interface of BLAS are told of a matrix. Knows no library.

import type { VendorMatrix } from "./driver.js";

/** The largest size or distance: their arguments are C's `int`. */
export const BLAS_MOST = 2 ** 31 - 1;

/** A row-major matrix as BLAS describes one: turned or not, and how far its rows (turned: its columns) lie apart. */
export interface BlasLayout {
  readonly turned: boolean;
  readonly apart: number;
}

/** Undefined where neither rows nor columns are contiguous, or one overlaps the next. */
export function blasLayout(m: VendorMatrix, rows: number, columns: number): BlasLayout | undefined {
  const rowsApart = rows === 1 ? columns : m.rowStride;
  if ((m.columnStride === 1 || columns === 1) && rowsApart >= columns)
    return { turned: false, apart: rowsApart };
  const columnsApart = columns === 1 ? rows : m.columnStride;
  if ((m.rowStride === 1 || rows === 1) && columnsApart >= rows) return { turned: true, apart: columnsApart };
  return undefined;
}

/** Whether a product `c[M,N] = a[M,K] @ b[K,N]` of such matrices can be said to BLAS; `c` must not be turned. */
export function blasTakes(
  M: number,
  N: number,
  K: number,
  a: VendorMatrix,
  b: VendorMatrix,
  c: VendorMatrix,
): boolean {
  return (
    Math.min(M, N, K) > 0 &&
    Math.max(M, N, K, a.rowStride, a.columnStride, b.rowStride, b.columnStride, c.rowStride) <= BLAS_MOST &&
    blasLayout(a, M, K) !== undefined &&
    blasLayout(b, K, N) !== undefined &&
    blasLayout(c, M, N)?.turned === false
  );
}
