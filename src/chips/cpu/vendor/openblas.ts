// Matrix products through OpenBLAS, if the system has it: opened when it is first asked for. Which product it gets is
// decided elsewhere (`runtime/vendor.ts`); this only says what it can take and calls it.

import type { DeviceBuffer, VendorMatmul, VendorMatrix } from "../../../runtime/driver.js";
import { loadKoffi } from "../../../runtime/koffi.js";

const FILES = ["libopenblas.so.0", "libopenblas.so", "/opt/homebrew/opt/openblas/lib/libopenblas.dylib"];
/** The values of CBLAS's enumerations. */
const [ROW_MAJOR, PLAIN, TRANSPOSED] = [101, 111, 112];
const MOST = 2 ** 31 - 1;

type Gemm = (...args: readonly number[]) => void;

/** The address of an element. */
type AddressOf = (buffer: DeviceBuffer, byteOffset: number) => number;

/** How CBLAS is told of a matrix: transposed or not, and how far its rows (or columns) lie apart. */
function layout(
  m: VendorMatrix,
  rows: number,
  columns: number,
): readonly [transposed: number, apart: number] | undefined {
  const rowsApart = rows === 1 ? columns : m.rowStride;
  if ((m.columnStride === 1 || columns === 1) && rowsApart >= columns) return [PLAIN, rowsApart];
  const columnsApart = columns === 1 ? rows : m.columnStride;
  if ((m.rowStride === 1 || rows === 1) && columnsApart >= rows) return [TRANSPOSED, columnsApart];
  return undefined;
}

/** The library on this machine; undefined if there is none. */
export function openOpenBlas(threads: number, addressOf: AddressOf): VendorMatmul | undefined {
  const koffi = loadKoffi();
  let library: ReturnType<typeof koffi.load> | undefined;
  for (const file of FILES)
    try {
      library = koffi.load(file);
      break;
    } catch {
      // The next name.
    }
  if (!library) return undefined;
  const bind = <F>(name: string, result: string, ...args: string[]): F =>
    library.func(name, result, args) as F;
  const gemm = (name: string, real: string): Gemm => {
    const [matrix, size] = [
      ["intptr_t", "int"],
      ["int", "int", "int"],
    ];
    return bind(name, "void", "int", "int", "int", ...size, real, ...matrix, ...matrix, real, ...matrix);
  };
  const kernels: Readonly<Record<string, { readonly gemm: Gemm; readonly bytes: number }>> = {
    f32: { gemm: gemm("cblas_sgemm", "float"), bytes: 4 },
    f64: { gemm: gemm("cblas_dgemm", "double"), bytes: 8 },
  };
  const setThreads = bind<(n: number) => void>("openblas_set_num_threads", "void", "int");
  const version = bind<() => string>("openblas_get_config", "str")().trim();
  return {
    name: "openblas",
    description: `${version}, ${threads} thread${threads === 1 ? "" : "s"}`,
    supports(dtype, M, N, K, a, b, c) {
      return (
        dtype in kernels &&
        Math.min(M, N, K) > 0 &&
        Math.max(M, N, K, a.rowStride, a.columnStride, b.rowStride, b.columnStride, c.rowStride) <= MOST &&
        layout(a, M, K) !== undefined &&
        layout(b, K, N) !== undefined &&
        layout(c, M, N)?.[0] === PLAIN
      );
    },
    run(dtype, M, N, K, a, b, c) {
      const { gemm, bytes } = kernels[dtype]!;
      const at = (m: VendorMatrix): number => addressOf(m.buffer, m.offset * bytes);
      const [[ta, lda], [tb, ldb], [, ldc]] = [layout(a, M, K)!, layout(b, K, N)!, layout(c, M, N)!];
      setThreads(threads);
      gemm(ROW_MAJOR, ta, tb, M, N, K, 1, at(a), lda, at(b), ldb, 0, at(c), ldc);
    },
  };
}
