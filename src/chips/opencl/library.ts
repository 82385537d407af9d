// libOpenCL bound through koffi: the functions and constants that this chip uses. Handles and addresses are numbers:
// user addresses have at most 52 bits.

import { type Koffi, loadKoffi } from "../../runtime/koffi.js";
import { isNode } from "../../runtime/platform.js";

/** What is missing, and how to get it. */
export class NoOpenClError extends Error {
  override name = "NoOpenClError";
  constructor(
    message: string,
    readonly hint: string,
  ) {
    super(message);
  }
}

const NAMES: Readonly<Record<string, readonly string[]>> = {
  linux: ["libOpenCL.so.1", "libOpenCL.so"],
  darwin: ["/System/Library/Frameworks/OpenCL.framework/OpenCL"],
  win32: ["OpenCL.dll"],
  android: ["libOpenCL.so"],
};
const HINT: Readonly<Record<string, string>> = {
  linux:
    "Install your GPU's OpenCL driver, or `apt install pocl-opencl-icd ocl-icd-libopencl1` for one that runs on the CPU",
};

const H = "intptr_t";
const U = "uint32_t";
const WORDS = "void *";
const SIGNATURES = {
  clGetPlatformIDs: ["int", U, WORDS, WORDS],
  clGetPlatformInfo: ["int", H, U, "size_t", WORDS, WORDS],
  clGetDeviceIDs: ["int", H, "uint64_t", U, WORDS, WORDS],
  clGetDeviceInfo: ["int", H, U, "size_t", WORDS, WORDS],
  clCreateContext: [H, WORDS, U, WORDS, H, H, WORDS],
  clReleaseContext: ["int", H],
  clCreateCommandQueue: [H, H, H, "uint64_t", WORDS],
  clReleaseCommandQueue: ["int", H],
  clCreateBuffer: [H, H, "uint64_t", "size_t", H, WORDS],
  clReleaseMemObject: ["int", H],
  clEnqueueReadBuffer: ["int", H, H, U, "size_t", "size_t", WORDS, U, H, H],
  clEnqueueWriteBuffer: ["int", H, H, U, "size_t", "size_t", WORDS, U, H, H],
  clEnqueueCopyBuffer: ["int", H, H, H, "size_t", "size_t", "size_t", U, H, H],
  clCreateProgramWithSource: [H, H, U, WORDS, WORDS, WORDS],
  clCreateProgramWithBinary: [H, H, U, WORDS, WORDS, WORDS, WORDS, WORDS],
  clBuildProgram: ["int", H, U, WORDS, "str", H, H],
  clGetProgramBuildInfo: ["int", H, H, U, "size_t", WORDS, WORDS],
  clGetProgramInfo: ["int", H, U, "size_t", WORDS, WORDS],
  clReleaseProgram: ["int", H],
  clCreateKernel: [H, H, "str", WORDS],
  clReleaseKernel: ["int", H],
  clSetKernelArg: ["int", H, U, "size_t", H],
  clEnqueueNDRangeKernel: ["int", H, H, U, H, H, H, U, H, H],
  clFlush: ["int", H],
  clFinish: ["int", H],
} as const;

export type Cl = Readonly<Record<keyof typeof SIGNATURES, (...args: unknown[]) => number>> & {
  /** Memory at a fixed address, for arguments. */
  block(bytes: number): { buffer: ArrayBuffer; address: number };
  /** `clFinish` beside this thread. */
  finishAsync(queue: number): Promise<number>;
};

let loaded: Cl | undefined;

/** The library. Throws {@link NoOpenClError}. */
export function openCl(): Cl {
  loaded ??= load();
  return loaded;
}

function load(): Cl {
  if (!isNode) throw new NoOpenClError("there is no OpenCL outside Node", "");
  let koffi: Koffi;
  try {
    koffi = loadKoffi();
  } catch (e) {
    throw new NoOpenClError(`koffi does not load: ${(e as Error).message}`, "`npm install koffi`");
  }
  const names = NAMES[process.platform] ?? [];
  for (const name of names) {
    let library: ReturnType<Koffi["load"]>;
    try {
      library = koffi.load(name);
    } catch {
      continue;
    }
    const bound: Record<string, unknown> = {};
    for (const [fn, [result, ...args]] of Object.entries(SIGNATURES))
      bound[fn] = library.func(fn, result, args);
    const finish = library.func("clFinish", "int", [H]);
    bound["block"] = (bytes: number) => {
      const pointer = koffi.alloc("uint8_t", bytes);
      return { buffer: koffi.view(pointer, bytes), address: Number(koffi.address(pointer)), pointer };
    };
    bound["finishAsync"] = (queue: number) =>
      new Promise<number>((resolve, reject) => {
        finish.async(queue, (error: unknown, code: number) => (error ? reject(error) : resolve(code)));
      });
    return bound as unknown as Cl;
  }
  throw new NoOpenClError(
    `no OpenCL library (${names.join(", ") || "none is known for this system"})`,
    HINT[process.platform] ?? "Install your GPU's OpenCL driver",
  );
}

const ERRORS: Readonly<Record<number, string>> = {
  [-1]: "DEVICE_NOT_FOUND", [-2]: "DEVICE_NOT_AVAILABLE", [-3]: "COMPILER_NOT_AVAILABLE",
  [-4]: "MEM_OBJECT_ALLOCATION_FAILURE", [-5]: "OUT_OF_RESOURCES", [-6]: "OUT_OF_HOST_MEMORY",
  [-11]: "BUILD_PROGRAM_FAILURE", [-30]: "INVALID_VALUE", [-36]: "INVALID_COMMAND_QUEUE", [-38]: "INVALID_MEM_OBJECT",
  [-42]: "INVALID_BINARY", [-44]: "INVALID_PROGRAM", [-45]: "INVALID_PROGRAM_EXECUTABLE", [-46]: "INVALID_KERNEL_NAME",
  [-48]: "INVALID_KERNEL", [-49]: "INVALID_ARG_INDEX", [-50]: "INVALID_ARG_VALUE", [-51]: "INVALID_ARG_SIZE",
  [-52]: "INVALID_KERNEL_ARGS", [-54]: "INVALID_WORK_GROUP_SIZE", [-55]: "INVALID_WORK_ITEM_SIZE",
  [-61]: "INVALID_BUFFER_SIZE", [-63]: "INVALID_GLOBAL_WORK_SIZE",
}; // biome-ignore format: a table

export const errorName = (code: number): string => `CL_${ERRORS[code] ?? `ERROR ${code}`}`;
/** Codes that mean that memory ran out. */
export const isMemoryError = (code: number): boolean =>
  code === -4 || code === -5 || code === -6 || code === -61;

/** Throws for a code that is not success. */
export function check(code: number, what: string): void {
  if (code !== 0) throw new Error(`OpenCL: ${what}: ${errorName(code)}`);
}
