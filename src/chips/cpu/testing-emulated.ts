// Kernels for other processors, for the tests of this folder: compiled by a cross compiler, run by user-mode emulation. A
// small C program loads the library that the chip would load and calls it. Not part of the chip.

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Form } from "../../compiler/lower/simd/form.js";
import { type Compiler, compileLibrary, openCompiler } from "./compiler.js";
import { printC } from "./print.js";

/** `run library file`: the file holds the frame's bytes, the grid, the parameters, the buffers; these are written back. */
const RUNNER_C = `#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef long long i64;
static void *room(i64 bytes){return aligned_alloc(64,((bytes+64)/64+1)*64);}
int main(int argc,char **argv){
  if(argc!=3)return 2;
  void *library=dlopen(argv[1],RTLD_NOW);
  if(!library){fprintf(stderr,"%s\\n",dlerror());return 2;}
  void (*run)(const i64*,char*,i64,i64)=(void(*)(const i64*,char*,i64,i64))dlsym(library,"run");
  FILE *f=fopen(argv[2],"r+b");
  i64 head[5];
  if(!run||!f||fread(head,8,5,f)!=5)return 3;
  i64 n=head[4],*params=malloc(16*n+16),*args=malloc(8*n+64);
  if((i64)fread(params,16,n,f)!=n)return 3;
  memcpy(args,head+1,24);
  for(i64 i=0;i<n;i++){
    i64 value=params[2*i+1];
    args[3+i]=value;
    if(!params[2*i])continue;
    char *data=room(value);
    if((i64)fread(data,1,value,f)!=value)return 3;
    args[3+i]=(i64)data;
  }
  run(args,room(head[0]),0,head[1]*head[2]*head[3]);
  fseek(f,40+16*n,SEEK_SET);
  for(i64 i=0;i<n;i++)if(params[2*i])fwrite((char*)args[3+i],1,params[2*i+1],f);
  return fclose(f);
}
`;

export interface Emulated {
  readonly name: string;
  /** What is not installed; undefined where all is there. */
  readonly missing: string | undefined;
}

export interface Processor {
  readonly name: string;
  readonly triple: string;
  readonly emulator: string;
  /** The compiler, with the flags that choose vectors of 256 bits. */
  readonly compiler: string;
  /** What the emulator is told of the processor. */
  readonly cpu: string;
}

const [ARM, RISCV] = ["aarch64-linux-gnu", "riscv64-linux-gnu"];
const PROCESSORS: readonly Processor[] = [
  {
    name: "arm64",
    triple: ARM,
    emulator: "qemu-aarch64",
    compiler: `${ARM}-gcc -march=armv8.2-a+dotprod+bf16`,
    cpu: "max",
  },
  {
    name: "arm64-sve",
    triple: ARM,
    emulator: "qemu-aarch64",
    compiler: `${ARM}-gcc -march=armv8.2-a+sve+bf16 -msve-vector-bits=256`,
    cpu: "max,sve256=on,sve-default-vector-length=32",
  },
  { name: "riscv64", triple: RISCV, emulator: "qemu-riscv64", compiler: `${RISCV}-gcc`, cpu: "rv64" },
  {
    name: "riscv64-rvv",
    triple: RISCV,
    emulator: "qemu-riscv64",
    compiler: `clang-16 --target=${RISCV} -march=rv64gcv_zvl256b`,
    cpu: "rv64,v=true,vlen=256,vext_spec=v1.0",
  },
];

export const processorOf = (name: string): Processor => PROCESSORS.find((p) => p.name === name)!;

/** The cross compiler of a processor, as the chip describes its own. */
export function crossCompiler(name: string): Compiler {
  const before = process.env["VEXIL_CC"];
  process.env["VEXIL_CC"] = processorOf(name).compiler;
  try {
    return openCompiler();
  } finally {
    if (before === undefined) delete process.env["VEXIL_CC"];
    else process.env["VEXIL_CC"] = before;
  }
}

const has = (command: string): boolean => spawnSync(command, ["--version"]).status === 0;

/** The foreign processors, and what each needs. */
export const emulated: readonly Emulated[] = PROCESSORS.map(({ name, triple, compiler, emulator }) => {
  const command = compiler.split(" ")[0]!;
  const missing = [
    ...(has(command) ? [] : [command]),
    ...(existsSync(`/usr/${triple}/lib`) ? [] : [`the C library in /usr/${triple}`]),
    ...(has(emulator) ? [] : [emulator]),
  ];
  return { name, missing: missing.join(", ") || undefined };
});

/** Compiles a whole program for a foreign processor. */
export function crossProgram(c: Compiler, path: string, text: string): void {
  const args = [...c.prefix, "-O1", "-Wall", "-Werror", "-o", path, "-x", "c", "-", "-ldl"];
  const made = spawnSync(c.path, args, { input: text, encoding: "utf8" });
  if (made.status !== 0) throw new Error(`${path} does not compile: ${made.stderr}`);
}

/** A foreign processor; `close` removes its files. */
export class Emulator {
  private readonly folder = mkdtempSync(join(tmpdir(), "vexil-emulated-"));
  readonly compiler: Compiler;
  private readonly processor: Processor;

  constructor(name: string) {
    this.processor = processorOf(name);
    this.compiler = crossCompiler(name);
    crossProgram(this.compiler, join(this.folder, "run"), RUNNER_C);
  }

  /** Runs a kernel; the buffers among `args` get what it writes. */
  run(
    form: Form,
    args: readonly (Uint8Array | number | bigint)[],
    grid: readonly [number, number?, number?],
  ): void {
    const library = join(this.folder, "kernel.so");
    writeFileSync(library, compileLibrary(this.compiler, form.name, printC(form, this.compiler.features)));
    const head = new DataView(new ArrayBuffer(40 + 16 * args.length));
    const numbers = [form.frameBytes, grid[0], grid[1] ?? 1, grid[2] ?? 1, args.length];
    for (const [i, v] of numbers.entries()) head.setBigInt64(8 * i, BigInt(v), true);
    args.forEach((a, i) => {
      const at = 40 + 16 * i;
      head.setBigInt64(at, a instanceof Uint8Array ? 1n : 0n, true);
      const p = form.params[i]!;
      if (a instanceof Uint8Array) head.setBigInt64(at + 8, BigInt(a.length), true);
      else if (p.kind === "scalar" && p.reg === "f32") head.setFloat32(at + 8, Number(a), true);
      else if (p.kind === "scalar" && p.reg === "f64") head.setFloat64(at + 8, Number(a), true);
      else head.setBigInt64(at + 8, BigInt(a), true);
    });
    const buffers = args.filter((a) => a instanceof Uint8Array);
    const file = join(this.folder, "launch");
    writeFileSync(file, Buffer.concat([new Uint8Array(head.buffer), ...buffers]));
    const { emulator, triple, cpu } = this.processor;
    const done = spawnSync(emulator, ["-cpu", cpu, "-L", `/usr/${triple}`, join(this.folder, "run"), library, file], { encoding: "utf8" }); // biome-ignore format: one line
    if (done.status !== 0) throw new Error(`${form.name} on ${this.processor.name}: ${done.stderr || done.signal || done.status}`); // biome-ignore format: one line
    const after = readFileSync(file);
    let at = head.byteLength;
    for (const b of buffers) {
      b.set(after.subarray(at, at + b.length));
      at += b.length;
    }
  }

  close(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
