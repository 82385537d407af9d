// PTX to machine code by the driver's own compiler, so that no CUDA toolkit is needed. Compiles and loads modules; driver.ts runs them.
//
// The driver's linker gives the code back, so that the disk cache keeps what the GPU runs. But it compiles for a link with other units:
// `setmaxnreg` is ignored then, and products that run by themselves are waited for one by one in a kernel that calls a subroutine (a
// division does). Kernels with such instructions are loaded as text instead, and compiled as a whole; the driver keeps what comes of
// them in a cache of its own.

import { CompileError } from "../../compiler/target.js";
import type { CudaContext } from "./context.js";
import { CUDA_SUCCESS } from "./cuda.js";

/** CUjit_option numbers (cuda.h). */
const ERROR_LOG = 5;
const ERROR_LOG_BYTES = 6;
/** CUjitInputType: PTX text. */
const PTX = 1;
const LOG_BYTES = 8192;

/** Whether a kernel loses speed where it is compiled for a link. */
export const needsWhole = (text: string): boolean => /\b(wgmma|setmaxnreg)\./.test(text);

/** PTX as what is loaded. */
export const asImage = (text: string): Uint8Array => new TextEncoder().encode(`${text}\0`);

/** Gives the driver's compiler a place for what it refuses; `fail` throws a {@link CompileError} with that, if there is any. */
function withLog<T>(
  context: CudaContext,
  name: string,
  run: (options: Int32Array, values: BigInt64Array, fail: (status: number) => void) => T,
): T {
  const { api, cuda } = context;
  context.enter();
  // The log is written by address: pinned memory has a known one.
  const log = context.out((o) => api.cuMemHostAlloc(o, LOG_BYTES, 0), "pin host memory");
  try {
    const bytes = new Uint8Array(cuda.view(log, LOG_BYTES));
    bytes[0] = 0;
    const options = new Int32Array([ERROR_LOG, ERROR_LOG_BYTES]);
    return run(options, new BigInt64Array([BigInt(log), BigInt(LOG_BYTES)]), (status) => {
      const said = new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0))).trim();
      context.check(said ? CUDA_SUCCESS : status, `compile ${name}`);
      throw new CompileError(`${name}: the driver's PTX compiler refuses it: ${said}`);
    });
  } finally {
    api.cuMemFreeHost(log);
  }
}

/** Machine code (a cubin) for the context's GPU. Throws {@link CompileError} with the driver compiler's message. */
export function linkPtx(context: CudaContext, name: string, text: string): Uint8Array {
  const { api, cuda } = context;
  const source = asImage(text);
  return withLog(context, name, (options, values, fail) => {
    const state = context.out(
      (o) => api.cuLinkCreate_v2(options.length, options, values, o),
      "start the PTX compiler",
    );
    try {
      const [image, size] = [new BigInt64Array(1), new BigInt64Array(1)];
      let status = api.cuLinkAddData_v2(state, PTX, source, source.length, name, 0, null, null);
      if (status === CUDA_SUCCESS) status = api.cuLinkComplete(state, image, size);
      if (status !== CUDA_SUCCESS) fail(status);
      return new Uint8Array(cuda.view(Number(image[0]), Number(size[0]))).slice();
    } finally {
      api.cuLinkDestroy(state);
    }
  });
}

/** The first byte of machine code. */
const ELF = 0x7f;
const NONE = new Int32Array(0);
const NO_VALUES = new BigInt64Array(0);

/** A module of machine code, or of PTX ({@link asImage}). Throws {@link CompileError} with the driver compiler's message. */
export function loadModule(context: CudaContext, name: string, image: Uint8Array): number {
  const { api } = context;
  if (image[0] === ELF)
    return context.out((o) => api.cuModuleLoadDataEx(o, image, 0, NONE, NO_VALUES), `load ${name}`);
  return withLog(context, name, (options, values, fail) => {
    const module = new BigInt64Array(1);
    const status = api.cuModuleLoadDataEx(module, image, options.length, options, values);
    if (status !== CUDA_SUCCESS) fail(status);
    return Number(module[0]);
  });
}
