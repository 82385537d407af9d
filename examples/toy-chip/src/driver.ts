// The runtime's side of the chip: memory, loading code, launches. Launches run before the call returns, so there is
// nothing to wait for; a chip with a queue of its own would enqueue in `launch`, `write` and `copy`, and wait in `read` and `sync`.

import { REPORT_WORDS, type Artifact } from "vexil/compiler";
import { type DeviceBuffer, type Driver, type Executable, Reports } from "vexil/runtime";
import { allocate, ToyBuffer, type Views, viewsOf } from "./memory.js";
import { type Arguments, type Program, support } from "./support.js";
import type { KernelMeta } from "./target.js";

class Loaded implements Executable {
  constructor(
    readonly meta: KernelMeta,
    readonly program: Program,
    readonly frame: Views,
  ) {}
  get name(): string {
    return this.meta.name;
  }
}

export class ToyDriver implements Driver {
  private readonly reports = new Reports();
  private readonly reportMemory = new ToyBuffer(REPORT_WORDS * 4);

  alloc(bytes: number): DeviceBuffer {
    return new ToyBuffer(bytes);
  }

  free(buffer: DeviceBuffer): void {
    viewsOf(buffer);
    (buffer as ToyBuffer).views = undefined;
  }

  write(dst: DeviceBuffer, byteOffset: number, src: Uint8Array): void {
    viewsOf(dst).u8.set(src, byteOffset);
  }

  async read(src: DeviceBuffer, byteOffset: number, bytes: number): Promise<Uint8Array> {
    return this.readSync(src, byteOffset, bytes);
  }

  readSync(src: DeviceBuffer, byteOffset: number, bytes: number): Uint8Array {
    this.reports.check();
    return viewsOf(src).u8.slice(byteOffset, byteOffset + bytes);
  }

  copy(dst: DeviceBuffer, dstByte: number, src: DeviceBuffer, srcByte: number, bytes: number): void {
    viewsOf(dst).u8.set(viewsOf(src).u8.subarray(srcByte, srcByte + bytes), dstByte);
  }

  load(artifact: Artifact): Executable {
    const meta = artifact.meta as unknown as KernelMeta;
    const program = new Function("$", new TextDecoder().decode(artifact.bytes))(support) as Program;
    return new Loaded(meta, program, allocate(meta.frameBytes));
  }

  launch(
    exe: Executable,
    gridX: number,
    gridY: number,
    gridZ: number,
    values: readonly (DeviceBuffer | number | bigint)[],
    offsets: readonly number[],
  ): void {
    const { meta, program, frame } = exe as Loaded;
    const args: Arguments = values.map((v) => (typeof v === "object" ? viewsOf(v) : v));
    const starts = values.map((_, i) => offsets[i] ?? 0);
    if (meta.reports.length) {
      args.push(viewsOf(this.reportMemory));
      starts.push(0);
    }
    program(args, starts, frame, gridX, gridY, gridZ);
    if (meta.reports.length)
      this.reports.drain(meta.name, meta.reports, viewsOf(this.reportMemory).i32, [gridX, gridY, gridZ]);
  }

  async sync(): Promise<void> {
    this.reports.check();
  }

  close(): void {}
}
