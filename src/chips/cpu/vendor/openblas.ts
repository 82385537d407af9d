// Matrix products through OpenBLAS, if the system has it: opened when it is first asked for. Which product it gets is
// decided elsewhere (`runtime/vendor.ts`); this only says what it can take and calls it.

import { blasLayout, blasTakes } from "../../../runtime/blas.js";
import type { DeviceBuffer, VendorMatmul, VendorMatrix } from "../../../runtime/driver.js";
import { loadKoffi } from "../../../runtime/koffi.js";

const FILES = ["libopenblas.so.0", "libopenblas.so", "/opt/homebrew/opt/openblas/lib/libopenblas.dylib"];
/** The values of CBLAS's enumerations. */
const [ROW_MAJOR, PLAIN, TRANSPOSED] = [101, 111, 112];

type Gemm = (...args: readonly number[]) => void;

/** The address of an element. */
type AddressOf = (buffer: DeviceBuffer, byteOffset: number) => number;

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
      return dtype in kernels && blasTakes(M, N, K, a, b, c);
    },
    run(dtype, M, N, K, a, b, c) {
      const { gemm, bytes } = kernels[dtype]!;
      const at = (m: VendorMatrix): number => addressOf(m.buffer, m.offset * bytes);
      const [x, y, z] = [blasLayout(a, M, K)!, blasLayout(b, K, N)!, blasLayout(c, M, N)!];
      const [tx, ty] = [x, y].map((l) => (l.turned ? TRANSPOSED : PLAIN)) as [number, number];
      setThreads(threads);
      gemm(ROW_MAJOR, tx, ty, M, N, K, 1, at(a), x.apart, at(b), y.apart, 0, at(c), z.apart);
    },
  };
}
