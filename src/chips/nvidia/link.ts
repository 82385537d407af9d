// PTX to machine code by the driver's own compiler, so that no CUDA toolkit is needed and the disk cache keeps what the
// GPU runs. Compiles; loading is driver.ts.

import { CompileError } from "../../compiler/target.js";
import type { CudaContext } from "./context.js";
import { CUDA_SUCCESS } from "./cuda.js";

/** CUjit_option numbers (cuda.h). */
const ERROR_LOG = 5;
const ERROR_LOG_BYTES = 6;
/** CUjitInputType: PTX text. */
const PTX = 1;
const LOG_BYTES = 8192;

/** Machine code (a cubin) for the context's GPU. Throws {@link CompileError} with the driver compiler's message. */
export function linkPtx(context: CudaContext, name: string, text: string): Uint8Array {
  const { api, cuda } = context;
  context.enter();
  const source = new TextEncoder().encode(`${text}\0`);
  // The log is written until cuLinkDestroy, by address: pinned memory has a known one.
  const log = context.out((o) => api.cuMemHostAlloc(o, LOG_BYTES, 0), "pin host memory");
  const bytes = new Uint8Array(cuda.view(log, LOG_BYTES));
  bytes[0] = 0;
  const options = new Int32Array([ERROR_LOG, ERROR_LOG_BYTES]);
  const values = new BigInt64Array([BigInt(log), BigInt(LOG_BYTES)]);
  const state = context.out((o) => api.cuLinkCreate_v2(2, options, values, o), "start the PTX compiler");
  try {
    const [image, size] = [new BigInt64Array(1), new BigInt64Array(1)];
    let status = api.cuLinkAddData_v2(state, PTX, source, source.length, name, 0, null, null);
    if (status === CUDA_SUCCESS) status = api.cuLinkComplete(state, image, size);
    if (status !== CUDA_SUCCESS) {
      const said = new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0))).trim();
      throw new CompileError(
        `${name}: the driver's PTX compiler refuses it: ${said || cuda.describe(status)}`,
      );
    }
    return new Uint8Array(cuda.view(Number(image[0]), Number(size[0]))).slice();
  } finally {
    api.cuLinkDestroy(state);
    api.cuMemFreeHost(log);
  }
}
