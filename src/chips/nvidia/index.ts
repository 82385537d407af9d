// The `nvidia` chip: kernels as PTX, compiled and run by NVIDIA's driver. No CUDA toolkit, no Python.

import type { Capabilities, Chip, ChipEntry, Probe } from "../../runtime/driver.js";
import { CudaContext } from "./context.js";
import { type Cuda, NoCudaError, openCuda } from "./cuda.js";
import { type CudaDevice, chooseDevice, chosenOrdinal, deviceCount } from "./device.js";
import { CudaDriver } from "./driver.js";
import { NvidiaTarget } from "./target.js";
import { tuning } from "./tuning.js";
import { CUBLAS_HINT, hasCublas } from "./vendor/cublas.js";
import { NvidiaVendor } from "./vendor/index.js";

const SUMMARY = "NVIDIA GPUs from compute capability 7.5 on, through the driver alone";

function capabilities(device: CudaDevice): Capabilities {
  return {
    syncRead: true,
    f64: true,
    i64: true,
    threads: device.multiprocessors,
    programThreads: 1024,
    programsWait: true,
    elementsPerProgram: 1024,
    dotBlock: [128, 128, 32],
    sharedBytes: device.sharedPerBlockOptIn,
    matrixDtypes: device.capability >= 80 ? ["bf16", "f16"] : [],
    maxBufferBytes: device.memoryBytes,
    maxGrid: [device.maxGridX, device.maxGridY, device.maxGridZ],
    memoryBytes: device.memoryBytes,
  };
}

const describe = (d: CudaDevice): string =>
  `${d.name}, ${(d.memoryBytes / 2 ** 30).toFixed(0)} GiB, compute capability ${d.major}.${d.minor}`;

function choose(index?: number): { cuda: Cuda; device: CudaDevice } {
  const cuda = openCuda();
  return { cuda, device: chooseDevice(cuda, index) };
}

/** @param index the GPU's number; undefined: the one that is used when nobody names one */
function openGpu(index?: number): Chip {
  let chosen: ReturnType<typeof choose>;
  try {
    chosen = choose(index);
  } catch (e) {
    if (e instanceof NoCudaError)
      throw new Error(`the nvidia chip is not available: ${e.message}. ${e.hint}`);
    throw e;
  }
  const context = new CudaContext(chosen.cuda, chosen.device);
  const driver = new CudaDriver(context);
  return {
    name: index === undefined ? "nvidia" : `nvidia:${index}`,
    target: new NvidiaTarget(context),
    driver,
    vendor: new NvidiaVendor({
      stream: context.stream,
      enter: () => context.enter(),
      addressOf: (buffer, at) => driver.addressOfByte(buffer, at),
    }),
    capabilities: capabilities(chosen.device),
    tuning,
    description: describe(chosen.device),
  };
}

export const entry: ChipEntry = {
  name: "nvidia",
  summary: SUMMARY,

  probe(): Promise<Probe> {
    try {
      const { cuda, device } = choose();
      const others = deviceCount(cuda) - 1;
      const more =
        others > 0 ? ` (and ${others} more: nvidia:INDEX names one, VEXIL_NVIDIA_DEVICE chooses)` : "";
      return Promise.resolve({
        available: true,
        found: describe(device) + more,
        // Opening the library takes long: only who asks for this line does it.
        get vendor() {
          return [hasCublas() ? "matmul: cuBLAS" : `matmul: none (${CUBLAS_HINT})`];
        },
      });
    } catch (e) {
      if (!(e instanceof NoCudaError)) return Promise.reject(e);
      return Promise.resolve({ available: false, found: e.message, hint: e.hint });
    }
  },

  open: async () => openGpu(),

  openDevice: async (index) => (index === chosenOrdinal() ? undefined : openGpu(index)),
};
