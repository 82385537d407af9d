// For tests: a chip whose code is the IR as text, so that it can be kept on disk; a source of IR; a stand-in for
// tensors.

import { Builder, buffer, type DType, DTYPES, Func, parse, print, scalar } from "../../compiler/ir/index.js";
import type { KernelSource } from "../../compiler/source.js";
import type { Artifact } from "../../compiler/target.js";
import { KERNEL_BUFFER, type KernelBuffer } from "../buffer.js";
import {
  type Capabilities,
  type Chip,
  type DeviceBuffer,
  type Driver,
  type Executable,
  OutOfMemoryError,
} from "../driver.js";
import { allocate, type Storage } from "../storage.js";

class Memory implements DeviceBuffer {
  readonly data: Uint8Array;
  freed = false;
  constructor(readonly bytes: number) {
    this.data = new Uint8Array(bytes);
  }
}

export interface Launched {
  readonly text: string;
  readonly grid: readonly number[];
  readonly values: readonly unknown[];
  readonly offsets: readonly number[];
}

/** Memory like any driver's; launches are only noted. */
export class NotingDriver implements Driver {
  held = 0;
  allocs = 0;
  loads = 0;
  readonly launches: Launched[] = [];
  /** Thrown by the next load. */
  failLoad: Error | undefined;
  constructor(public limit: number) {}
  alloc(bytes: number): DeviceBuffer {
    if (this.held + bytes > this.limit)
      throw new OutOfMemoryError(`${this.limit - this.held} bytes are left`);
    this.held += bytes;
    this.allocs++;
    return new Memory(bytes);
  }
  free(b: DeviceBuffer): void {
    const m = b as Memory;
    if (m.freed) throw new Error("freed twice");
    m.freed = true;
    this.held -= m.bytes;
  }
  write(dst: DeviceBuffer, at: number, src: Uint8Array): void {
    (dst as Memory).data.set(src, at);
  }
  async read(src: DeviceBuffer, at: number, bytes: number): Promise<Uint8Array> {
    return (src as Memory).data.slice(at, at + bytes);
  }
  copy(dst: DeviceBuffer, to: number, src: DeviceBuffer, at: number, bytes: number): void {
    (dst as Memory).data.set((src as Memory).data.subarray(at, at + bytes), to);
  }
  load(artifact: Artifact): Executable {
    this.loads++;
    if (this.failLoad) {
      const e = this.failLoad;
      this.failLoad = undefined;
      throw e;
    }
    return { name: parse(new TextDecoder().decode(artifact.bytes)).name, artifact } as Executable;
  }
  launch(
    exe: Executable,
    x: number,
    y: number,
    z: number,
    values: readonly unknown[],
    offsets: readonly number[],
  ): void {
    const { artifact } = exe as Executable & { artifact: Artifact };
    const text = new TextDecoder().decode(artifact.bytes);
    this.launches.push({ text, grid: [x, y, z], values: [...values], offsets: [...offsets] });
  }
  async sync(): Promise<void> {}
  close(): void {}
}

export interface NotingChip extends Chip {
  readonly driver: NotingDriver;
}

export function notingChip(
  name = "noting",
  more: Partial<Capabilities> & { limit?: number } = {},
): NotingChip {
  return {
    name,
    target: {
      name,
      fingerprint: `${name} 1`,
      compile: (func) => {
        const text = print(func);
        return {
          bytes: new TextEncoder().encode(text),
          meta: { params: func.paramNames },
          text: `code:\n${text}`,
        };
      },
    },
    driver: new NotingDriver(more.limit ?? 2 ** 40),
    capabilities: {
      syncRead: false,
      f64: true,
      i64: true,
      threads: 1,
      elementsPerProgram: 1024,
      dotBlock: [16, 16, 16],
      maxBufferBytes: 2 ** 40,
      maxGrid: [2 ** 31 - 1, 65535, 65535],
      ...more,
    },
    description: "notes what is launched",
  };
}

export interface Buffer extends KernelBuffer {
  readonly storage: Storage;
}

/** What a tensor is to a launch. */
export function tensorLike(chip: Chip, dtype: DType, count: number, offset = 0): Buffer {
  const storage = allocate(chip, (offset + count) * DTYPES[dtype].bytes);
  return {
    [KERNEL_BUFFER]: true,
    chip,
    storage,
    get buffer() {
      return storage.buffer;
    },
    offset,
    dtype,
    available: count,
  };
}

/** `out[i] = x[i] * by + ADD` for the `BLOCK` elements of each program; made without the kernel language. */
export function scaleSource(contentKey = "scale 1"): KernelSource & { builds: number } {
  const source = {
    name: "scale",
    builds: 0,
    contentKey,
    params: [
      { name: "x", kind: "ptr" },
      { name: "out", kind: "ptr" },
      { name: "stride", kind: "dim" },
      { name: "by", kind: "scalar", dtype: "f32" },
      { name: "n", kind: "scalar", dtype: "i32" },
      { name: "BLOCK", kind: "constexpr" },
      { name: "ADD", kind: "constexpr" },
    ],
    build(spec) {
      source.builds++;
      const [x, out, , , , block, add] = spec.params as never as [
        { dtype: DType },
        { dtype: DType },
        unknown,
        unknown,
        unknown,
        { value: number },
        { value: number },
      ];
      const func = new Func("scale", [
        { name: "x", type: buffer(x.dtype) },
        { name: "out", type: buffer(out.dtype) },
        { name: "stride", type: scalar("i32") },
        { name: "by", type: scalar("f32") },
        { name: "n", type: scalar("i32") },
      ]);
      const [px, pout, stride, by, n] = func.body.args as [never, never, never, never, never];
      const b = new Builder(func.body);
      const shape = [block.value];
      const first = b.value("mul", [b.value("programId", [], { axis: 0 }), b.constant(block.value, "i32")]);
      const i = b.value("add", [
        b.splat(first, shape),
        b.value("arange", [], { start: 0, end: block.value }),
      ]);
      const at = b.value("mul", [i, b.splat(stride, shape)]);
      const mask = b.value("cmp", [i, b.splat(n, shape)], { pred: "lt" });
      const v = b.cast(b.value("load", [px, at, mask]), "f32");
      const y = b.value("add", [
        b.value("mul", [v, b.splat(by, shape)]),
        b.constant(add.value, "f32", shape),
      ]);
      b.create("store", [pout, at, b.cast(y, out.dtype), mask]);
      return func;
    },
  } as KernelSource & { builds: number };
  return source;
}
