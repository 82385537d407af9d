// OpenBLAS through koffi: the peer for f32 matrix products on a CPU.

import koffi from "koffi";

const FILES = ["libopenblas.so.0", "libopenblas.so", "/opt/homebrew/opt/openblas/lib/libopenblas.dylib"];
export const install = "apt install libopenblas0-pthread (macOS: brew install openblas)";
const [ROW_MAJOR, PLAIN, TRANSPOSED] = [101, 111, 112];

/** @throws when it is not installed */
export function open(threads) {
  let lib;
  for (const file of FILES)
    try {
      lib = koffi.load(file);
      break;
    } catch {
      // The next name.
    }
  if (!lib) throw new Error(`OpenBLAS is not installed: ${install}`);
  const gemm = lib.func(
    "void cblas_sgemm(int, int, int, int, int, int, float, const void *, int, const void *, int, float, void *, int)",
  );
  const gemv = lib.func(
    "void cblas_sgemv(int, int, int, int, float, const void *, int, const void *, int, float, void *, int)",
  );
  lib.func("void openblas_set_num_threads(int)")(threads);
  const core = lib.func("const char *openblas_get_corename(void)")();
  return {
    name: "OpenBLAS",
    version: `${lib.func("const char *openblas_get_config(void)")()}, kernels for ${core}`,
    /** `c[M,N] = a[M,K] @ b[K,N]`, all contiguous Float32Arrays. */
    matmul: (a, b, c, M, N, K) => gemm(ROW_MAJOR, PLAIN, PLAIN, M, N, K, 1, a, K, b, N, 0, c, N),
    /** `c[N] = a[K] @ b[K,N]`. */
    rowTimesMatrix: (a, b, c, N, K) => gemv(ROW_MAJOR, TRANSPOSED, K, N, 1, b, N, a, 1, 0, c, 1),
  };
}
