// Which NVIDIA GPUs there are and what one can do: read off the driver, so that nothing else asks for a model's name.

import { env } from "../../runtime/platform.js";
import { type Cuda, NoCudaError } from "./cuda.js";

/** Attribute numbers of CUdevice_attribute (cuda.h). */
const ATTRIBUTE = {
  maxThreadsPerBlock: 1,
  maxGridX: 5,
  maxGridY: 6,
  maxGridZ: 7,
  sharedPerBlock: 8,
  warpSize: 10,
  registersPerBlock: 12,
  multiprocessors: 16,
  l2Bytes: 38,
  sharedPerMultiprocessor: 81,
  major: 75,
  minor: 76,
  sharedPerBlockOptIn: 97,
  memoryPools: 115,
} as const;

/** One GPU. Sizes in bytes. */
export interface CudaDevice extends Readonly<Record<keyof typeof ATTRIBUTE, number>> {
  readonly ordinal: number;
  readonly handle: number;
  readonly name: string;
  readonly memoryBytes: number;
  /** Compute capability as PTX writes it: 90 for 9.0. */
  readonly capability: number;
}

/** The oldest compute capability whose instructions the printer uses. */
export const OLDEST = 75;

/** Describes GPU `ordinal`. */
export function readDevice(cuda: Cuda, ordinal: number): CudaDevice {
  const { api, check } = cuda;
  const int = new Int32Array(1);
  check(api.cuDeviceGet(int, ordinal), "cuDeviceGet");
  const handle = int[0]!;
  const name = new Uint8Array(128);
  check(api.cuDeviceGetName(name, name.length, handle), "cuDeviceGetName");
  const total = new BigInt64Array(1);
  check(api.cuDeviceTotalMem_v2(total, handle), "cuDeviceTotalMem");
  const values = {} as Record<keyof typeof ATTRIBUTE, number>;
  for (const [key, attribute] of Object.entries(ATTRIBUTE) as [keyof typeof ATTRIBUTE, number][]) {
    check(api.cuDeviceGetAttribute(int, attribute, handle), "cuDeviceGetAttribute");
    values[key] = int[0]!;
  }
  return {
    ...values,
    ordinal,
    handle,
    name: new TextDecoder().decode(name.subarray(0, name.indexOf(0))),
    memoryBytes: Number(total[0]),
    capability: values.major * 10 + values.minor,
  };
}

/** The number of GPUs that the driver shows (`CUDA_VISIBLE_DEVICES` counts). */
export function deviceCount(cuda: Cuda): number {
  const int = new Int32Array(1);
  cuda.check(cuda.api.cuDeviceGetCount(int), "cuDeviceGetCount");
  return int[0]!;
}

/** The number of the GPU to use when nobody names one: `VEXIL_NVIDIA_DEVICE`, else 0. Asks no driver. */
export const chosenOrdinal = (): number => Number(env("VEXIL_NVIDIA_DEVICE") ?? 0);

/**
 * The GPU to use: number `index`, else `VEXIL_NVIDIA_DEVICE`, else the first. Throws {@link NoCudaError} when it cannot be
 * used, and an error that says which there are for a number without a GPU.
 */
export function chooseDevice(cuda: Cuda, index?: number): CudaDevice {
  const count = deviceCount(cuda);
  if (count === 0) throw new NoCudaError("an NVIDIA driver, but no GPU", "Check that `nvidia-smi` lists one");
  const ordinal = index ?? chosenOrdinal();
  if (!Number.isInteger(ordinal) || ordinal < 0 || ordinal >= count) {
    const there = count === 1 ? "there is one GPU, number 0" : `there are GPUs 0 to ${count - 1}`;
    const what =
      index === undefined
        ? `VEXIL_NVIDIA_DEVICE is "${env("VEXIL_NVIDIA_DEVICE")}"`
        : `no GPU has the number ${index}`;
    throw new Error(`${what}; ${there}`);
  }
  const device = readDevice(cuda, ordinal);
  if (device.capability < OLDEST)
    throw new NoCudaError(
      `${device.name} has compute capability ${device.major}.${device.minor}`,
      "The nvidia chip needs 7.5 or newer; the opencl chip may serve this GPU",
    );
  return device;
}
