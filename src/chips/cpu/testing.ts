// For the tests of this folder: forms built by hand, and kernels run from them. Not part of the chip.

import type {
  Form,
  FormParam,
  MemKind,
  Operand,
  Reg,
  RegKind,
  RegOp,
  Stmt,
} from "../../compiler/lower/simd/form.js";
import type { DeviceBuffer, Driver, Executable } from "../../runtime/driver.js";
import { type Compiler, compileLibrary, openCompiler } from "./compiler.js";
import { CpuDriver, type KernelMeta } from "./driver.js";
import { loadNative } from "./native.js";
import { printC } from "./print.js";
import type { Features } from "./unit.js";

// The chip's own tests are about what users get.
delete process.env["VEXIL_OPTIMIZE"];

/** Builds a form statement by statement. */
export class FormBuilder {
  readonly params: FormParam[] = [];
  readonly regs: Reg[] = [];
  private blocks: Stmt[][] = [[]];
  frameBytes = 0;

  reg(kind: RegKind, lanes = 1): Reg {
    const reg: Reg = { id: this.regs.length, type: { kind, lanes } };
    this.regs.push(reg);
    return reg;
  }
  buffer(name: string, mem: MemKind): number {
    return this.params.push({ kind: "buffer", name, mem }) - 1;
  }
  scalar(name: string, reg: RegKind, mem: MemKind): Reg {
    const index = this.params.push({ kind: "scalar", name, reg, mem }) - 1;
    return this.op("param", reg, 1, [], { index });
  }
  push(stmt: Stmt): void {
    this.blocks.at(-1)!.push(stmt);
  }
  op(
    op: RegOp,
    kind: RegKind,
    lanes: number,
    args: readonly Operand[],
    extra: { lane?: number; index?: number; dst?: Reg } = {},
  ): Reg {
    const { dst = this.reg(kind, lanes), ...rest } = extra;
    this.push({ s: "op", op, dst, args, ...rest });
    return dst;
  }
  load(param: number, at: Operand, kind: RegKind, lanes: number, mem: MemKind): Reg {
    const dst = this.reg(kind, lanes);
    this.push({ s: "load", dst, mem: { param }, kind: mem, at });
    return dst;
  }
  store(param: number, at: Operand, value: Reg, mem: MemKind): void {
    this.push({ s: "store", value, type: value.type, mem: { param }, kind: mem, at });
  }
  /** The statements that `fn` adds, apart. */
  collect(fn: () => void): Stmt[] {
    this.blocks.push([]);
    fn();
    return this.blocks.pop()!;
  }
  form(name: string): Form {
    return { name, params: this.params, frameBytes: this.frameBytes, regs: this.regs, body: this.blocks[0]! };
  }
}

let compiler: Compiler | undefined;
export const testCompiler = (): Compiler => {
  compiler ??= openCompiler();
  return compiler;
};

export const openDriver = (threads: number): CpuDriver => new CpuDriver(loadNative(testCompiler()), threads);

/** Everything the compiler could complain about is an error; what generated text cannot avoid is not asked for. */
export const STRICT = ["-Wall", "-Wextra", "-Werror"];

/** Compiles and loads a form. */
export function loadForm(driver: Driver, form: Form, features?: Features, extra = STRICT): Executable {
  const c = testCompiler();
  const meta: KernelMeta = {
    name: form.name,
    frameBytes: form.frameBytes,
    params: form.params.map((p) => (p.kind === "buffer" ? ["buffer", p.mem] : ["scalar", p.reg])),
  };
  const text = printC(form, features ?? c.features);
  return driver.load({ bytes: compileLibrary(c, form.name, text, extra), meta: { ...meta } });
}

export const bytesView = (a: ArrayBufferView): Uint8Array =>
  new Uint8Array(a.buffer, a.byteOffset, a.byteLength);

export function upload(driver: Driver, data: ArrayBufferView): DeviceBuffer {
  const b = driver.alloc(data.byteLength);
  driver.write(b, 0, bytesView(data));
  return b;
}

export const download = async (driver: Driver, b: DeviceBuffer): Promise<ArrayBuffer> =>
  (await driver.read(b, 0, b.bytes)).buffer as ArrayBuffer;

export const zeros = (n: number): number[] => new Array<number>(n).fill(0);
