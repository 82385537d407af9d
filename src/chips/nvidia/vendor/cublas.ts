// Matrix products through cuBLAS, if it is installed: opened when it is first asked for. Which product it gets is decided
// elsewhere (`runtime/vendor.ts`); this only finds the library, says what it can take, and calls it in the chip's stream.

import { blasLayout, blasTakes } from "../../../runtime/blas.js";
import type { DeviceBuffer, VendorMatmul, VendorMatrix } from "../../../runtime/driver.js";
import { type Koffi, loadKoffi, type NativeFunction } from "../../../runtime/koffi.js";
import { builtin, env } from "../../../runtime/platform.js";
import { allowsTf32 } from "../../../runtime/precision.js";

/** The versions whose calls are the ones below, newest first; both files of a version stand in one folder. */
const VERSIONS = ["13", "12"] as const;
const [PLAIN, TURNED] = [0, 1];
/** cublasMath_t: parts of sums are not kept in 16 bits. */
const WHOLE_SUMS = 16;
/** cublasGemmAlgo_t: the library chooses. */
const ITS_CHOICE = -1;

/** cudaDataType and cublasComputeType_t of a dtype, and its bytes. */
const DTYPES: Readonly<
  Record<string, { readonly data: number; readonly compute: number; readonly bytes: number }>
> = {
  f32: { data: 0, compute: 68, bytes: 4 },
  f64: { data: 1, compute: 70, bytes: 8 },
  f16: { data: 2, compute: 68, bytes: 2 },
  bf16: { data: 14, compute: 68, bytes: 2 },
};
/** CUBLAS_COMPUTE_32F_FAST_TF32. */
const COMPUTE_TF32 = 77;

/** What of the chip's driver the library needs. */
export interface CublasHost {
  /** The stream; the context is current in this thread once {@link enter} returns. */
  readonly stream: number;
  enter(): void;
  addressOf(buffer: DeviceBuffer, byteOffset: number): number;
}

/** Where the library may stand: `VEXIL_CUBLAS` alone if it is set, else the loader's own folders, then a toolkit's. */
export function cublasFiles(): string[] {
  const named = env("VEXIL_CUBLAS");
  if (named) return [named];
  if (process.platform === "win32") return VERSIONS.map((v) => `cublas64_${v}.dll`);
  const names = VERSIONS.map((v) => `libcublas.so.${v}`);
  const homes = [env("CUDA_HOME"), env("CUDA_PATH"), "/usr/local/cuda"].filter((h) => h !== undefined);
  return [...names, ...homes.flatMap((h) => names.map((n) => `${h}/lib64/${n}`))];
}

/** What to do where there is none. */
export const CUBLAS_HINT =
  "install NVIDIA's cuBLAS 12 or 13 (a CUDA toolkit, or the Python package nvidia-cublas), or set VEXIL_CUBLAS to the path of its libcublas.so";

/** Opens the library's file; undefined where no file loads. Throws when the one that `VEXIL_CUBLAS` names does not. */
function openFile(koffi: Koffi): ReturnType<Koffi["load"]> | undefined {
  const fs = builtin("node:fs");
  for (const file of cublasFiles()) {
    const isPath = file.includes("/");
    if (isPath && fs && !fs.existsSync(file)) {
      if (env("VEXIL_CUBLAS")) throw new Error(`VEXIL_CUBLAS is "${file}", and there is no such file`);
      continue;
    }
    try {
      // A folder that the loader does not search holds its other half, too.
      if (isPath) koffi.load(file.replace("libcublas.so", "libcublasLt.so"));
      return koffi.load(file);
    } catch (e) {
      if (env("VEXIL_CUBLAS"))
        throw new Error(`VEXIL_CUBLAS is "${file}", which does not load: ${(e as Error).message}`);
    }
  }
  return undefined;
}

/** Whether a library is there, without starting it. */
export const hasCublas = (): boolean => openFile(loadKoffi()) !== undefined;

/** The library on this machine; undefined if there is none. */
export function openCublas(host: CublasHost): VendorMatmul | undefined {
  const library = openFile(loadKoffi());
  if (!library) return undefined;
  const bind = (name: string, ...args: string[]): NativeFunction => library.func(name, "int", args);
  const status = bindText(library);
  const call = (fn: NativeFunction, name: string, ...args: unknown[]): void => {
    const code = fn(...args) as number;
    if (code !== 0) throw new Error(`cuBLAS: ${name}: ${status(code)}`);
  };
  const [size, matrix] = [["int", "int", "int"], ["intptr_t", "int", "int"]]; // biome-ignore format: one line
  const gemm = bind("cublasGemmEx", "intptr_t", "int", "int", ...size, "const void *", ...matrix, ...matrix, "const void *", ...matrix, "int", "int"); // biome-ignore format: one line
  const cell = new BigInt64Array(1);
  host.enter();
  call(bind("cublasCreate_v2", "void *"), "start", cell);
  const handle = cell[0]!;
  call(bind("cublasSetStream_v2", "intptr_t", "intptr_t"), "use the chip's stream", handle, host.stream);
  call(bind("cublasSetMathMode", "intptr_t", "int"), "keep sums whole", handle, WHOLE_SUMS);
  const version = new Int32Array(1);
  call(bind("cublasGetVersion_v2", "intptr_t", "void *"), "read its version", handle, version);
  const scalars = { f32: [1, 0].map((x) => new Float32Array([x])), f64: [1, 0].map((x) => new Float64Array([x])) }; // biome-ignore format: one line
  return {
    name: "cublas",
    description: `cuBLAS ${showVersion(version[0]!)}`,
    supports: (dtype, M, N, K, a, b, c) => dtype in DTYPES && blasTakes(M, N, K, a, b, c),
    run(dtype, M, N, K, a, b, c) {
      const { data, compute, bytes } = DTYPES[dtype]!;
      const at = (m: VendorMatrix): number => host.addressOf(m.buffer, m.offset * bytes);
      const [x, y, z] = [blasLayout(a, M, K)!, blasLayout(b, K, N)!, blasLayout(c, M, N)!];
      const [turnX, turnY] = [x, y].map((l) => (l.turned ? TURNED : PLAIN));
      const [one, zero] = dtype === "f64" ? scalars.f64 : scalars.f32;
      const how = dtype === "f32" && allowsTf32() ? COMPUTE_TF32 : compute;
      host.enter();
      // Its matrices stand by columns: the turned product of the turned operands is ours by rows.
      call(gemm, `${dtype} product of [${M},${K}] and [${K},${N}]`, handle, turnY, turnX, N, M, K, one, at(b), data, y.apart, at(a), data, x.apart, zero, at(c), data, z.apart, how, ITS_CHOICE); // biome-ignore format: one line
    },
  };
}

/** The library's own name for a status. */
function bindText(library: ReturnType<Koffi["load"]>): (code: number) => string {
  const name = library.func("cublasGetStatusName", "str", ["int"]);
  return (code) => String(name(code) ?? `status ${code}`);
}

/** 130200 is 13.2.0. */
const showVersion = (n: number): string => `${Math.floor(n / 10000)}.${Math.floor(n / 100) % 100}.${n % 100}`;
