// The chip's kernels on a foreign processor, as chips of their own for the suites: compiled by a cross compiler, run in one
// emulated process that holds the memory and does what it is told through two pipes. Not part of the chip.
//
// A test names them in VEXIL_TEST_MODULES (`test/emulated/`). Nothing is spawned until one is opened.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { REPORT_WORDS } from "../../compiler/passes/index.js";
import type { Artifact } from "../../compiler/target.js";
import { ArgumentBlock, scalarCode } from "../../runtime/argument-block.js";
import {
  type Chip,
  type ChipEntry,
  type DeviceBuffer,
  type Driver,
  type Executable,
  OutOfMemoryError,
} from "../../runtime/driver.js";
import { type OwnedBuffer, OwnedBuffers } from "../../runtime/owned-buffers.js";
import { Reports } from "../../runtime/reports.js";
import type { KernelMeta } from "./driver.js";
import type { Compiler } from "./compiler.js";
import { libraryFile } from "./files.js";
import { capabilities } from "./index.js";
import { CpuTarget } from "./target.js";
import { crossCompiler, crossProgram, emulated, type Processor, processorOf } from "./testing-emulated.js";
import { bytesOf } from "./unit.js";

const [ALLOC, FREE, WRITE, READ, COPY, LOAD, LAUNCH] = [1, 2, 3, 4, 5, 6, 7] as const;

/** Reads commands: whole numbers of 8 bytes, and bytes. Answers those that ask something. */
const HOST_C = `#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef long long i64;
static void get(void*p,i64 n){if(n&&(i64)fread(p,1,n,stdin)!=n)exit(0);}
static i64 word(void){i64 v;get(&v,8);return v;}
static void put(const void*p,i64 n){fwrite(p,1,n,stdout);}
static void answer(i64 v){put(&v,8);fflush(stdout);}
static void*room(i64 n){return aligned_alloc(64,((n+64)/64+1)*64);}
int main(void){
  static char path[4096];
  char*frame=0;
  i64 frame_bytes=0,args[512];
  for(;;)switch(word()){
    case ${ALLOC}:answer((i64)room(word()));break;
    case ${FREE}:free((void*)word());break;
    case ${WRITE}:{char*to=(char*)word();get(to,word());break;}
    case ${READ}:{char*from=(char*)word();put(from,word());fflush(stdout);break;}
    case ${COPY}:{char*to=(char*)word();char*from=(char*)word();memmove(to,from,word());break;}
    case ${LOAD}:{
      i64 n=word();
      get(path,n);
      path[n]=0;
      void*library=dlopen(path,RTLD_NOW);
      if(!library)fprintf(stderr,"%s\\n",dlerror());
      answer(library?(i64)dlsym(library,"run"):0);
      break;
    }
    case ${LAUNCH}:{
      void(*run)(const i64*,char*,i64,i64)=(void(*)(const i64*,char*,i64,i64))word();
      i64 bytes=word(),count=word();
      get(args,8*count);
      if(bytes>frame_bytes){free(frame);frame=room(bytes);frame_bytes=bytes;}
      run(args,frame,0,args[0]*args[1]*args[2]);
      answer(0);
      break;
    }
    default:return 3;
  }
}
`;

const MOST_PARAMS = 250;

/** The emulated process and the two pipes to it. Calls wait in place. */
class Host {
  private readonly folder = mkdtempSync(join(tmpdir(), "vexil-emulated-"));
  private readonly child: ChildProcess;
  private readonly to: number;
  private readonly from: number;
  private readonly words = new BigInt64Array(8);

  constructor(
    private readonly processor: Processor,
    compiler: Compiler,
  ) {
    const program = join(this.folder, "host");
    crossProgram(compiler, program, HOST_C);
    const [to, from] = ["to", "from"].map((name) => join(this.folder, name)) as [string, string];
    if (spawnSync("mkfifo", [to, from]).status !== 0) throw new Error("mkfifo does not make pipes");
    const { emulator, triple, cpu } = processor;
    // The shell opens the pipes first, so that a program that does not start closes them.
    const script = `exec "$0" -cpu "$1" -L "$2" "$3" <"$4" >"$5"`;
    this.child = spawn("sh", ["-c", script, emulator, cpu, `/usr/${triple}`, program, to, from], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    this.child.unref();
    this.to = openSync(to, "w");
    this.from = openSync(from, "r");
  }

  send(...numbers: number[]): void {
    const { words } = this;
    numbers.forEach((n, i) => {
      words[i] = BigInt(n);
    });
    this.sendBytes(new Uint8Array(words.buffer, 0, 8 * numbers.length));
  }

  sendBytes(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) at += writeSync(this.to, bytes, at);
  }

  receive(count: number): Uint8Array {
    const out = new Uint8Array(count);
    for (let at = 0; at < count; ) {
      const n = readSync(this.from, out, at, count - at, null);
      if (n === 0) throw new Error(`the emulated process of ${this.processor.name} has died`);
      at += n;
    }
    return out;
  }

  answer(): number {
    return Number(new BigInt64Array(this.receive(8).buffer)[0]);
  }

  close(): void {
    closeSync(this.to);
    closeSync(this.from);
    this.child.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

interface Loaded extends Executable {
  readonly meta: KernelMeta;
  readonly address: number;
}

class EmulatedDriver implements Driver {
  private readonly buffers: OwnedBuffers;
  private readonly memory = new ArrayBuffer(8 * (MOST_PARAMS + 4));
  private readonly block = new ArgumentBlock(this.memory);
  private readonly reports = new Reports();
  private reportsAt = 0;
  private closed = false;

  constructor(
    private readonly name: string,
    private readonly host: Host,
  ) {
    this.buffers = new OwnedBuffers(name);
  }

  private room(bytes: number): number {
    this.host.send(ALLOC, bytes);
    const address = this.host.answer();
    if (address === 0) throw new OutOfMemoryError(`out of memory on ${this.name}: ${bytes} bytes wanted`);
    return address;
  }

  alloc(bytes: number): DeviceBuffer {
    this.buffers.checkSize(bytes);
    return this.buffers.add(bytes, this.room(bytes));
  }

  free(buffer: DeviceBuffer): void {
    const b = this.buffers.own(buffer);
    this.host.send(FREE, b.handle);
    this.buffers.remove(b);
  }

  write(dst: DeviceBuffer, byteOffset: number, src: Uint8Array): void {
    const b = this.buffers.range(dst, byteOffset, src.length, "write");
    this.host.send(WRITE, b.handle + byteOffset, src.length);
    this.host.sendBytes(src);
  }

  readSync(src: DeviceBuffer, byteOffset: number, bytes: number): Uint8Array {
    this.reports.check();
    const b = this.buffers.range(src, byteOffset, bytes, "read");
    return this.fetch(b.handle + byteOffset, bytes);
  }

  private fetch(address: number, bytes: number): Uint8Array {
    this.host.send(READ, address, bytes);
    return this.host.receive(bytes);
  }

  async read(src: DeviceBuffer, byteOffset: number, bytes: number): Promise<Uint8Array> {
    return this.readSync(src, byteOffset, bytes);
  }

  copy(dst: DeviceBuffer, dstByte: number, src: DeviceBuffer, srcByte: number, bytes: number): void {
    const to: OwnedBuffer = this.buffers.range(dst, dstByte, bytes, "copy");
    const from = this.buffers.range(src, srcByte, bytes, "copy");
    this.host.send(COPY, to.handle + dstByte, from.handle + srcByte, bytes);
  }

  load(artifact: Artifact): Executable {
    const meta = artifact.meta as unknown as KernelMeta;
    if (meta.params.length > MOST_PARAMS) throw new Error(`${meta.name}: ${meta.params.length} parameters`);
    const path = new TextEncoder().encode(libraryFile(artifact.bytes));
    this.host.send(LOAD, path.length);
    this.host.sendBytes(path);
    const address = this.host.answer();
    if (address === 0) throw new Error(`${meta.name}: its library does not load on ${this.name}`);
    const loaded: Loaded = { name: meta.name, meta, address };
    return loaded;
  }

  launch(
    exe: Executable,
    gridX: number,
    gridY: number,
    gridZ: number,
    values: readonly (DeviceBuffer | number | bigint)[],
    offsets: readonly number[],
  ): void {
    const { meta, address, name } = exe as Loaded;
    const { block } = this;
    for (const [i, n] of [gridX, gridY, gridZ].entries()) block.putWhole(i, n);
    const count = meta.params.length - (meta.reports ? 1 : 0);
    for (let i = 0; i < count; i++) {
      const [what, kind] = meta.params[i]!;
      const v = values[i]!;
      if (what === "scalar") block.putScalar(3 + i, scalarCode(kind), v as number | bigint);
      else {
        const { handle } = this.buffers.own(v, `argument ${i} of ${name}`);
        block.putWhole(3 + i, handle + offsets[i]! * bytesOf(kind));
      }
    }
    if (meta.reports) {
      if (this.reportsAt === 0) {
        this.reportsAt = this.room(REPORT_WORDS * 4);
        this.host.send(WRITE, this.reportsAt, REPORT_WORDS * 4);
        this.host.sendBytes(new Uint8Array(REPORT_WORDS * 4));
      }
      block.putWhole(3 + count, this.reportsAt);
    }
    const words = 3 + meta.params.length;
    this.host.send(LAUNCH, address, meta.frameBytes, words);
    this.host.sendBytes(new Uint8Array(this.memory, 0, 8 * words));
    this.host.answer();
    if (meta.reports) {
      const told = new Int32Array(this.fetch(this.reportsAt, REPORT_WORDS * 4).buffer);
      this.reports.drain(name, meta.reports, told, [gridX, gridY, gridZ]);
      this.host.send(WRITE, this.reportsAt, REPORT_WORDS * 4);
      this.host.sendBytes(new Uint8Array(told.buffer));
    }
  }

  async sync(): Promise<void> {
    this.reports.check();
  }

  close(): void {
    if (!this.closed) this.host.close();
    this.closed = true;
  }
}

/** The chip's kernels on a foreign processor (`arm64`, `riscv64-rvv` ...), as a chip of that name. */
export function emulatedEntry(name: string): ChipEntry {
  const { missing } = emulated.find((e) => e.name === name)!;
  return {
    name,
    summary: `the cpu chip's kernels for ${name}, under emulation`,
    async probe() {
      if (missing !== undefined) return { available: false, found: `no ${missing}` };
      const c = crossCompiler(name);
      return { available: true, found: `${c.version}${c.units ? `, ${c.units}` : ", no vectors"}` };
    },
    async open(): Promise<Chip> {
      if (missing !== undefined) throw new Error(`${name} cannot be emulated: no ${missing}`);
      const compiler = crossCompiler(name);
      return {
        name,
        target: new CpuTarget(compiler),
        driver: new EmulatedDriver(name, new Host(processorOf(name), compiler)),
        capabilities: capabilities(1),
        description: `emulated, ${compiler.version}`,
      };
    },
  };
}
