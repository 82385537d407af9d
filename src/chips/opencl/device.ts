// The OpenCL devices of this machine, and the choice among them.

import { env } from "../../runtime/platform.js";
import { type Cl, NoOpenClError, openCl } from "./library.js";

export interface Device {
  readonly id: number;
  readonly platform: number;
  readonly name: string;
  readonly vendor: string;
  readonly driver: string;
  readonly version: string;
  readonly isGpu: boolean;
  readonly extensions: ReadonlySet<string>;
  readonly maxThreads: number;
  readonly localBytes: number;
  readonly globalBytes: number;
  readonly maxAllocation: number;
  readonly units: number;
  /** f32 division and square root are rounded correctly when asked. */
  readonly exactDivision: boolean;
}

const INFO = {
  type: 0x1000,
  units: 0x1002,
  maxThreads: 0x1004,
  maxAllocation: 0x1010,
  singleConfig: 0x101b,
  globalBytes: 0x101f,
  localBytes: 0x1023,
  name: 0x102b,
  vendor: 0x102c,
  driver: 0x102d,
  version: 0x102f,
  extensions: 0x1030,
} as const;
const GPU_OR_ACCELERATOR = 4n | 8n;
const EXACT_DIVISION = 1n << 7n;

function handles(get: (count: number, list: unknown, found: unknown) => number): number[] {
  const found = new Uint32Array(1);
  if (get(0, null, found) !== 0 || found[0] === 0) return [];
  const list = new BigUint64Array(found[0]!);
  if (get(found[0]!, list, null) !== 0) return [];
  return [...list].map(Number);
}

function describe(cl: Cl, platform: number, id: number): Device {
  const text = (what: number): string => {
    const size = new BigUint64Array(1);
    if (cl.clGetDeviceInfo(id, what, 0, null, size) !== 0) return "";
    const bytes = new Uint8Array(Number(size[0]));
    if (cl.clGetDeviceInfo(id, what, bytes.length, bytes, null) !== 0) return "";
    return new TextDecoder().decode(bytes).replace(/\0.*$/s, "").trim();
  };
  const number = (what: number): bigint => {
    const value = new BigUint64Array(1);
    cl.clGetDeviceInfo(id, what, 8, value, null);
    return value[0]!;
  };
  const small = (what: number): number => {
    const value = new Uint32Array(1);
    cl.clGetDeviceInfo(id, what, 4, value, null);
    return value[0]!;
  };
  return {
    id,
    platform,
    name: text(INFO.name),
    vendor: text(INFO.vendor),
    driver: text(INFO.driver),
    version: text(INFO.version),
    isGpu: (number(INFO.type) & GPU_OR_ACCELERATOR) !== 0n,
    extensions: new Set(text(INFO.extensions).split(/\s+/)),
    maxThreads: Number(number(INFO.maxThreads)),
    localBytes: Number(number(INFO.localBytes)),
    globalBytes: Number(number(INFO.globalBytes)),
    maxAllocation: Number(number(INFO.maxAllocation)),
    units: small(INFO.units),
    exactDivision: (number(INFO.singleConfig) & EXACT_DIVISION) !== 0n,
  };
}

/** All devices, GPUs first. Throws {@link NoOpenClError} where there is no library. */
export function listDevices(): Device[] {
  const cl = openCl();
  const devices = handles((n, list, found) => cl.clGetPlatformIDs(n, list, found)).flatMap((p) =>
    handles((n, list, found) => cl.clGetDeviceIDs(p, 0xffffffff, n, list, found)).map((d) =>
      describe(cl, p, d),
    ),
  );
  return devices.sort((a, b) => Number(b.isGpu) - Number(a.isGpu));
}

/**
 * The device that `VEXIL_OPENCL_DEVICE` names (its number in the list, or a part of its name), else the first GPU, else
 * the first device. Throws {@link NoOpenClError}.
 */
export function chooseDevice(): Device {
  const devices = listDevices();
  const names = devices.map((d, i) => `${i}: ${d.name}`).join(", ");
  if (devices.length === 0)
    throw new NoOpenClError(
      "an OpenCL library, but no device",
      "Install your GPU's OpenCL driver, or PoCL (`apt install pocl-opencl-icd`) to run on the CPU",
    );
  const wanted = env("VEXIL_OPENCL_DEVICE");
  if (wanted === undefined || wanted === "") return devices[0]!;
  const found = /^\d+$/.test(wanted)
    ? devices[Number(wanted)]
    : devices.find((d) => `${d.name} ${d.vendor}`.toLowerCase().includes(wanted.toLowerCase()));
  if (!found) throw new NoOpenClError(`VEXIL_OPENCL_DEVICE is "${wanted}", but there are: ${names}`, "");
  return found;
}
