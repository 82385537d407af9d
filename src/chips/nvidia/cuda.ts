// The CUDA driver API as TypeScript functions, bound through koffi: no toolkit, only what an NVIDIA driver installs.
// Knows nothing of kernels or tensors. Handles and addresses are numbers (user addresses have at most 52 bits).

import { type Koffi, loadKoffi } from "../../runtime/koffi.js";
import { isNode } from "../../runtime/platform.js";

/** Status codes that callers tell apart (CUresult in cuda.h). */
export const CUDA_SUCCESS = 0;
export const CUDA_ERROR_OUT_OF_MEMORY = 2;
export const CUDA_ERROR_NO_DEVICE = 100;
export const CUDA_ERROR_NOT_READY = 600;

/** A failed call of the driver, with CUDA's name for the status. */
export class CudaError extends Error {
  override name = "CudaError";
  constructor(
    readonly code: number,
    readonly call: string,
    what: string,
  ) {
    super(`${call}: ${what}`);
  }
}

/** Where one native number comes back: a cell of a typed array that the call writes into. */
type Out = BigInt64Array | Int32Array;
type Handle = number | bigint;

/** The calls that the chip makes. Each returns a CUresult; `check` turns failures into errors. */
export interface CudaApi {
  cuInit(flags: number): number;
  cuDriverGetVersion(version: Int32Array): number;
  cuDeviceGetCount(count: Int32Array): number;
  cuDeviceGet(device: Int32Array, ordinal: number): number;
  cuDeviceGetName(name: Uint8Array, bytes: number, device: number): number;
  cuDeviceGetAttribute(value: Int32Array, attribute: number, device: number): number;
  cuDeviceTotalMem_v2(bytes: Out, device: number): number;
  cuDeviceCanAccessPeer(can: Int32Array, device: number, peer: number): number;
  cuDevicePrimaryCtxRetain(context: Out, device: number): number;
  cuDevicePrimaryCtxRelease_v2(device: number): number;
  cuCtxSetCurrent(context: Handle): number;
  cuCtxEnablePeerAccess(context: Handle, flags: number): number;
  cuStreamCreate(stream: Out, flags: number): number;
  cuStreamSynchronize(stream: Handle): number;
  cuStreamWaitEvent(stream: Handle, event: Handle, flags: number): number;
  cuStreamDestroy_v2(stream: Handle): number;
  cuStreamBeginCapture_v2(stream: Handle, mode: number): number;
  cuStreamEndCapture(stream: Handle, graph: Out): number;
  cuGraphInstantiateWithFlags(exec: Out, graph: Handle, flags: Handle): number;
  cuGraphLaunch(exec: Handle, stream: Handle): number;
  cuGraphExecDestroy(exec: Handle): number;
  cuGraphDestroy(graph: Handle): number;
  cuEventCreate(event: Out, flags: number): number;
  cuEventRecord(event: Handle, stream: Handle): number;
  cuEventQuery(event: Handle): number;
  cuEventSynchronize(event: Handle): number;
  cuEventElapsedTime_v2(milliseconds: Float32Array, start: Handle, end: Handle): number;
  cuEventDestroy_v2(event: Handle): number;
  cuMemGetInfo_v2(free: Out, total: Out): number;
  cuDeviceGetDefaultMemPool(pool: Out, device: number): number;
  cuMemPoolSetAttribute(pool: Handle, attribute: number, value: Out): number;
  cuMemPoolSetAccess(pool: Handle, what: Int32Array, count: Handle): number;
  cuMemPoolTrimTo(pool: Handle, keep: Handle): number;
  cuMemAllocAsync(address: Out, bytes: Handle, stream: Handle): number;
  cuMemFreeAsync(address: Handle, stream: Handle): number;
  cuMemAlloc_v2(address: Out, bytes: Handle): number;
  cuMemFree_v2(address: Handle): number;
  cuMemHostAlloc(address: Out, bytes: Handle, flags: number): number;
  cuMemFreeHost(address: Handle): number;
  cuMemcpyHtoDAsync_v2(to: Handle, from: Handle, bytes: Handle, stream: Handle): number;
  cuMemcpyDtoHAsync_v2(to: Handle, from: Handle, bytes: Handle, stream: Handle): number;
  cuMemcpyPeerAsync(
    to: Handle,
    toContext: Handle,
    from: Handle,
    fromContext: Handle,
    bytes: Handle,
    stream: Handle,
  ): number;
  cuMemcpyDtoDAsync_v2(to: Handle, from: Handle, bytes: Handle, stream: Handle): number;
  cuModuleLoadDataEx(
    module: Out,
    image: Uint8Array,
    count: number,
    options: Int32Array,
    values: BigInt64Array,
  ): number;
  cuModuleGetFunction(fn: Out, module: Handle, name: string): number;
  cuModuleUnload(module: Handle): number;
  cuFuncGetAttribute(value: Int32Array, attribute: number, fn: Handle): number;
  cuFuncSetAttribute(fn: Handle, attribute: number, value: number): number;
  cuMemcpyDtoH_v2(to: Uint8Array, from: Handle, bytes: Handle): number;
  cuMemsetD8Async(address: Handle, value: number, bytes: Handle, stream: Handle): number;
  cuLaunchKernelEx(config: Handle, fn: Handle, params: Handle, extra: Handle): number;
  cuLinkCreate_v2(count: number, options: Int32Array, values: BigInt64Array, state: Out): number;
  cuLinkAddData_v2(
    state: Handle,
    type: number,
    data: Uint8Array,
    bytes: Handle,
    name: string,
    count: number,
    options: null,
    values: null,
  ): number;
  cuLinkComplete(state: Handle, image: Out, bytes: Out): number;
  cuLinkDestroy(state: Handle): number;
  cuTensorMapEncodeTiled(
    map: Uint8Array,
    dtype: number,
    rank: number,
    address: Handle,
    sizes: BigInt64Array,
    strides: BigInt64Array,
    box: Int32Array,
    elementStrides: Int32Array,
    interleave: number,
    swizzle: number,
    promotion: number,
    fill: number,
  ): number;
}

const OUT = "void *";
const SIGNATURES: Readonly<Record<keyof CudaApi, readonly string[]>> = {
  cuInit: ["uint32_t"],
  cuDriverGetVersion: [OUT],
  cuDeviceGetCount: [OUT],
  cuDeviceGet: [OUT, "int"],
  cuDeviceGetName: [OUT, "int", "int"],
  cuDeviceGetAttribute: [OUT, "int", "int"],
  cuDeviceTotalMem_v2: [OUT, "int"],
  cuDeviceCanAccessPeer: [OUT, "int", "int"],
  cuDevicePrimaryCtxRetain: [OUT, "int"],
  cuDevicePrimaryCtxRelease_v2: ["int"],
  cuCtxSetCurrent: ["intptr_t"],
  cuCtxEnablePeerAccess: ["intptr_t", "uint32_t"],
  cuStreamCreate: [OUT, "uint32_t"],
  cuStreamSynchronize: ["intptr_t"],
  cuStreamWaitEvent: ["intptr_t", "intptr_t", "uint32_t"],
  cuStreamDestroy_v2: ["intptr_t"],
  cuStreamBeginCapture_v2: ["intptr_t", "int"],
  cuStreamEndCapture: ["intptr_t", OUT],
  cuGraphInstantiateWithFlags: [OUT, "intptr_t", "uint64_t"],
  cuGraphLaunch: ["intptr_t", "intptr_t"],
  cuGraphExecDestroy: ["intptr_t"],
  cuGraphDestroy: ["intptr_t"],
  cuEventCreate: [OUT, "uint32_t"],
  cuEventRecord: ["intptr_t", "intptr_t"],
  cuEventQuery: ["intptr_t"],
  cuEventSynchronize: ["intptr_t"],
  cuEventElapsedTime_v2: [OUT, "intptr_t", "intptr_t"],
  cuEventDestroy_v2: ["intptr_t"],
  cuMemGetInfo_v2: [OUT, OUT],
  cuDeviceGetDefaultMemPool: [OUT, "int"],
  cuMemPoolSetAttribute: ["intptr_t", "int", OUT],
  cuMemPoolSetAccess: ["intptr_t", "const void *", "uint64_t"],
  cuMemPoolTrimTo: ["intptr_t", "uint64_t"],
  cuMemAllocAsync: [OUT, "uint64_t", "intptr_t"],
  cuMemFreeAsync: ["uint64_t", "intptr_t"],
  cuMemAlloc_v2: [OUT, "uint64_t"],
  cuMemFree_v2: ["uint64_t"],
  cuMemHostAlloc: [OUT, "uint64_t", "uint32_t"],
  cuMemFreeHost: ["intptr_t"],
  cuMemcpyHtoDAsync_v2: ["uint64_t", "intptr_t", "uint64_t", "intptr_t"],
  cuMemcpyDtoHAsync_v2: ["intptr_t", "uint64_t", "uint64_t", "intptr_t"],
  cuMemcpyPeerAsync: ["uint64_t", "intptr_t", "uint64_t", "intptr_t", "uint64_t", "intptr_t"],
  cuMemcpyDtoDAsync_v2: ["uint64_t", "uint64_t", "uint64_t", "intptr_t"],
  cuModuleLoadDataEx: [OUT, "const void *", "uint32_t", OUT, OUT],
  cuModuleGetFunction: [OUT, "intptr_t", "str"],
  cuModuleUnload: ["intptr_t"],
  cuFuncGetAttribute: [OUT, "int", "intptr_t"],
  cuFuncSetAttribute: ["intptr_t", "int", "int"],
  cuMemcpyDtoH_v2: [OUT, "uint64_t", "uint64_t"],
  cuMemsetD8Async: ["uint64_t", "uint8_t", "uint64_t", "intptr_t"],
  cuLaunchKernelEx: ["intptr_t", "intptr_t", "intptr_t", "intptr_t"],
  cuLinkCreate_v2: ["uint32_t", OUT, OUT, OUT],
  cuLinkAddData_v2: [
    "intptr_t",
    "int",
    "const void *",
    "uint64_t",
    "str",
    "uint32_t",
    "const void *",
    "const void *",
  ],
  cuLinkComplete: ["intptr_t", OUT, OUT],
  cuLinkDestroy: ["intptr_t"],
  cuTensorMapEncodeTiled: [
    OUT,
    "int",
    "uint32_t",
    "uint64_t",
    "const void *",
    "const void *",
    "const void *",
    "const void *",
    "int",
    "int",
    "int",
    "int",
  ],
};

/** The bound library. */
export interface Cuda {
  /** Calls return a status that the caller must look at; most callers want {@link Cuda.check}. */
  readonly api: CudaApi;
  /** Throws {@link CudaError} for a status that is not success. */
  check(status: number, call: string): void;
  /** Native memory as an ArrayBuffer; invalid once it is freed. */
  view(address: number, bytes: number): ArrayBuffer;
  /** CUDA's name and sentence for a status: `CUDA_ERROR_ILLEGAL_ADDRESS (an illegal memory access was encountered)`. */
  describe(status: number): string;
}

/** The driver's library is not there or does not start. `hint` says how to get it. */
export class NoCudaError extends Error {
  override name = "NoCudaError";
  constructor(
    message: string,
    readonly hint: string,
  ) {
    super(message);
  }
}

const LIBRARY: Readonly<Record<string, string>> = { win32: "nvcuda.dll" };
const HINT = "Install NVIDIA's driver (no CUDA toolkit is needed)";
let opened: Cuda | undefined;

/** Loads NVIDIA's driver library, once. Throws {@link NoCudaError} with what is missing. */
export function openCuda(): Cuda {
  opened ??= bindCuda();
  return opened;
}

function bindCuda(): Cuda {
  if (!isNode) throw new NoCudaError("the nvidia chip needs Node", "Run it in Node 20.19 or newer");
  let koffi: Koffi;
  try {
    koffi = loadKoffi();
  } catch {
    throw new NoCudaError("the npm package koffi is not installed", "`npm install koffi`");
  }
  const file = LIBRARY[process.platform] ?? "libcuda.so.1";
  let library: ReturnType<Koffi["load"]>;
  try {
    library = koffi.load(file);
  } catch {
    throw new NoCudaError(`no NVIDIA driver (${file} does not load)`, HINT);
  }
  const api = bindAll(library);
  const name = library.func("cuGetErrorName", "int", ["int", "_Out_ const char **"]);
  const sentence = library.func("cuGetErrorString", "int", ["int", "_Out_ const char **"]);
  const text = (fn: typeof name, status: number): string => {
    const out: (string | null)[] = [null];
    return fn(status, out) === CUDA_SUCCESS ? (out[0] ?? "") : "";
  };
  const describe = (status: number): string =>
    `${text(name, status) || `status ${status}`} (${text(sentence, status) || "unknown"})`;
  const check = (status: number, call: string): void => {
    if (status !== CUDA_SUCCESS) throw new CudaError(status, call, describe(status));
  };
  const status = api.cuInit(0);
  if (status === CUDA_ERROR_NO_DEVICE)
    throw new NoCudaError("an NVIDIA driver, but no GPU", "Check that `nvidia-smi` lists one");
  if (status !== CUDA_SUCCESS)
    throw new NoCudaError(`NVIDIA's driver does not start: ${describe(status)}`, HINT);
  return { api, check, describe, view: (address, bytes) => koffi.view(BigInt(address), bytes) };
}

/** Older drivers lack the newest names; the plain one then does the same for what is used here. */
const OLDER: Partial<Record<keyof CudaApi, string>> = { cuEventElapsedTime_v2: "cuEventElapsedTime" };

/** A function that an old driver does not have fails when it is called, by its name, not when the library is bound. */
function bindAll(library: ReturnType<Koffi["load"]>): CudaApi {
  const api: Record<string, unknown> = {};
  for (const [name, args] of Object.entries(SIGNATURES) as [keyof CudaApi, readonly string[]][]) {
    let fn: unknown;
    for (const symbol of [name, OLDER[name]])
      if (symbol && !fn)
        try {
          fn = library.func(symbol, "int", args);
        } catch {
          // Tried under its older name, else reported at the call.
        }
    api[name] =
      fn ??
      (() => {
        throw new Error(`this NVIDIA driver is too old for the nvidia chip: it has no ${name}`);
      });
  }
  return api as unknown as CudaApi;
}
