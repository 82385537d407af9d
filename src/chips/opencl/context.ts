// One context and one in-order queue on a device, shared by the chip's target (which builds programs) and its driver.

import { CompileError } from "../../compiler/target.js";
import { env } from "../../runtime/platform.js";
import type { Device } from "./device.js";
import { check, type Cl, errorName, openCl } from "./library.js";

const BUILD_LOG = 0x1183;
const [BINARY_SIZES, BINARIES] = [0x1165, 0x1166];

export class ClContext {
  readonly cl: Cl;
  readonly context: number;
  readonly queue: number;
  private readonly code = new Int32Array(1);

  constructor(readonly device: Device) {
    this.cl = openCl();
    const ids = BigUint64Array.of(BigInt(device.id));
    this.context = this.cl.clCreateContext(null, 1, ids, 0, 0, this.code);
    check(this.code[0]!, "creating a context");
    this.queue = this.cl.clCreateCommandQueue(this.context, device.id, 0, this.code);
    check(this.code[0]!, "creating a queue");
  }

  /** Options of the OpenCL compiler: what the meaning of kernels needs, and what `VEXIL_OPENCL_OPTIONS` adds. */
  get options(): string {
    const exact = this.device.exactDivision ? "-cl-fp32-correctly-rounded-divide-sqrt" : "";
    return `${exact} ${env("VEXIL_OPENCL_OPTIONS") ?? ""}`.trim();
  }

  /**
   * Whether binaries are worth keeping. Drivers of CPUs make machine code when a kernel is launched and keep it themselves;
   * asked for a binary they compile every kernel once more, for any size of workgroup.
   */
  get keepsBinaries(): boolean {
    return this.device.isGpu;
  }

  /** A buffer, or the error code. */
  createBuffer(bytes: number): { handle: number; code: number } {
    const handle = this.cl.clCreateBuffer(this.context, 1, bytes, 0, this.code);
    return { handle, code: this.code[0]! };
  }

  /** Builds OpenCL C. Throws CompileError with the compiler's own words. */
  build(name: string, text: string): number {
    const bytes = new TextEncoder().encode(`${text}\0`);
    const { address, buffer } = this.cl.block(bytes.length);
    new Uint8Array(buffer).set(bytes);
    const program = this.cl.clCreateProgramWithSource(
      this.context,
      1,
      BigUint64Array.of(BigInt(address)),
      BigUint64Array.of(BigInt(bytes.length - 1)),
      this.code,
    );
    check(this.code[0]!, `creating the program of ${name}`);
    return this.compile(name, program);
  }

  /** A program from what {@link binary} gave. Throws CompileError. */
  fromBinary(name: string, bytes: Uint8Array): number {
    const { address, buffer } = this.cl.block(bytes.length);
    new Uint8Array(buffer).set(bytes);
    const status = new Int32Array(1);
    const program = this.cl.clCreateProgramWithBinary(
      this.context,
      1,
      BigUint64Array.of(BigInt(this.device.id)),
      BigUint64Array.of(BigInt(bytes.length)),
      BigUint64Array.of(BigInt(address)),
      status,
      this.code,
    );
    check(this.code[0]! || status[0]!, `loading the program of ${name}`);
    return this.compile(name, program);
  }

  private compile(name: string, program: number): number {
    const ids = BigUint64Array.of(BigInt(this.device.id));
    const code = this.cl.clBuildProgram(program, 1, ids, this.options, 0, 0);
    if (code === 0) return program;
    const size = new BigUint64Array(1);
    this.cl.clGetProgramBuildInfo(program, this.device.id, BUILD_LOG, 0, null, size);
    const log = new Uint8Array(Number(size[0]));
    this.cl.clGetProgramBuildInfo(program, this.device.id, BUILD_LOG, log.length, log, null);
    this.cl.clReleaseProgram(program);
    const words = new TextDecoder().decode(log).replace(/\0.*$/s, "").trim();
    throw new CompileError(`${name} does not compile on ${this.device.name} (${errorName(code)})\n${words}`);
  }

  /** Builds OpenCL C to what {@link fromBinary} takes. Throws CompileError. */
  compileToBinary(name: string, text: string): Uint8Array {
    const program = this.build(name, text);
    try {
      return this.binary(program);
    } finally {
      this.cl.clReleaseProgram(program);
    }
  }

  private binary(program: number): Uint8Array {
    const size = new BigUint64Array(1);
    check(this.cl.clGetProgramInfo(program, BINARY_SIZES, 8, size, null), "asking for the size of a program");
    const { address, buffer } = this.cl.block(Number(size[0]));
    const pointer = BigUint64Array.of(BigInt(address));
    check(this.cl.clGetProgramInfo(program, BINARIES, 8, pointer, null), "reading a program");
    return new Uint8Array(buffer).slice();
  }

  kernel(program: number, name: string): number {
    const kernel = this.cl.clCreateKernel(program, name, this.code);
    check(this.code[0]!, `creating the kernel ${name}`);
    return kernel;
  }

  close(): void {
    this.cl.clReleaseCommandQueue(this.queue);
    this.cl.clReleaseContext(this.context);
  }
}
