// The driver: memory, launches on one and several threads, errors, and what happens around workers.

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import type { DeviceBuffer, Executable } from "../../runtime/driver.js";
import { OutOfMemoryError } from "../../runtime/driver.js";
import { compileForm } from "./artifact.js";
import { WasmDriver } from "./driver.js";
import { hasRelaxedSimd } from "./host.js";
import { WORKER_SOURCE } from "./worker.js";
import { FormBuilder } from "./testing/forms.js";

/** The sizes in KiB of the process' mappings for which large pages were asked; undefined where the system does not say. */
function wishedLarge(): number[] | undefined {
  const file = "/proc/self/smaps";
  if (!existsSync("/sys/kernel/mm/transparent_hugepage/enabled") || !existsSync(file)) return undefined;
  const mappings = readFileSync(file, "utf8").matchAll(/^Size:\s+(\d+) kB$[\s\S]*?^VmFlags: (.*)$/gm);
  return [...mappings].filter((m) => /\bhg\b/.test(m[2]!)).map((m) => Number(m[1]));
}

const drivers: WasmDriver[] = [];
function open(threads = 1, shared = true): WasmDriver {
  const d = new WasmDriver({ threads, shared });
  drivers.push(d);
  return d;
}
afterEach(() => {
  for (const d of drivers.splice(0)) d.close();
});

/** out[pid * n + i] = in[pid * n + i] * factor, through the frame, n a multiple of 4; with relaxed SIMD. */
function scaleForm(): FormBuilder {
  const b = new FormBuilder();
  b.frameBytes = 32;
  const [from, to] = [b.buffer("f32"), b.buffer("f32")];
  const n = b.op("i32", 1, "param", [], { index: b.scalar("i32", "i32") });
  const factor = b.op("f32", 1, "param", [], { index: b.scalar("f32", "f32") });
  const first = b.op("i32", 1, "mul", [b.op("i32", 1, "programId", [], { index: 0 }), n]);
  const factors = b.op("f32", 4, "splat", [factor]);
  b.loop(0, n, 4, (i) => {
    const at = b.op("i32", 1, "add", [first, i]);
    b.store(b.op("f32", 4, "fma", [b.load("f32", 4, from, "f32", at), factors, 0]), { frame: 4 }, "f32", 0);
    b.store(b.load("f32", 4, { frame: 4 }, "f32", 0), to, "f32", at);
  });
  return b;
}
const load = (d: WasmDriver, b: FormBuilder, name: string, shared = true): Executable =>
  d.load(compileForm(b.form(name), { relaxed: hasRelaxedSimd(), shared }));
const put = (d: WasmDriver, data: Float32Array | Int32Array): DeviceBuffer => {
  const buffer = d.alloc(data.byteLength);
  d.write(buffer, 0, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return buffer;
};
const floats = (d: WasmDriver, b: DeviceBuffer): Float32Array =>
  new Float32Array(d.readSync(b, 0, b.bytes).buffer);
const ints = (d: WasmDriver, b: DeviceBuffer): Int32Array => new Int32Array(d.readSync(b, 0, b.bytes).buffer);
const ramp = (n: number): Float32Array => Float32Array.from({ length: n }, (_, i) => i % 1000);
/** Whether a buffer holds `ramp(n)` times a factor; quicker than toEqual on long arrays. */
const isScaled = (d: WasmDriver, b: DeviceBuffer, n: number, factor: number): boolean => {
  const [got, want] = [floats(d, b), ramp(n)];
  return got.length === n && want.every((v, i) => got[i] === v * factor);
};
/** Makes the next launches parallel, however short. */
const costly = (exe: Executable): Executable => Object.assign(exe, { programTime: 1e9, measured: true });
/** Keeps this thread busy while helpers start. */
const busy = (ms: number): void => {
  for (const end = performance.now() + ms; performance.now() < end; );
};

describe("optimised code", () => {
  it.each([1, 3])(
    "replaces the first code once a kernel has worked for a while, on %i threads",
    (threads) => {
      const d = open(threads);
      const [programs, n] = [512, 64];
      const data = ramp(programs * n);
      const [x, y] = [put(d, data), d.alloc(data.byteLength)];
      const exe = load(d, scaleForm(), "scale") as Executable & {
        optimised: boolean;
        run: unknown;
        id: number;
      };
      const first = exe.run;
      const check = (factor: number): void => {
        d.launch(exe, programs, 1, 1, [x, y, n, factor], [0, 0, 0, 0]);
        expect(floats(d, y)).toEqual(data.map((v) => v * factor));
      };
      check(2);
      // How many launches that takes is the machine's to say: on a busy one, the first may have worked long enough.
      for (let launches = 1; !exe.optimised && launches < 100_000; launches++)
        d.launch(exe, programs, 1, 1, [x, y, n, 3], [0, 0, 0, 0]);
      expect(exe.optimised).toBe(true);
      expect(exe.run).not.toBe(first);
      check(5);
    },
  );
  it("is used at once by a launch that will take long", () => {
    const d = open();
    const data = ramp(64);
    const [x, y] = [put(d, data), d.alloc(data.byteLength)];
    const exe = costly(load(d, scaleForm(), "scale")) as Executable & { optimised: boolean };
    d.launch(exe, 1, 1, 1, [x, y, 64, 2], [0, 0, 0, 0]);
    expect(exe.optimised).toBe(true);
    expect(floats(d, y)).toEqual(data.map((v) => v * 2));
  });
});

describe("memory", () => {
  it("writes, reads, copies, checks ranges", async () => {
    const d = open();
    const a = put(d, new Int32Array([1, 2, 3, 4]));
    const b = put(d, new Int32Array([0, 0, 0, 0]));
    d.copy(b, 4, a, 8, 8);
    expect([...ints(d, b)]).toEqual([0, 3, 4, 0]);
    expect([...(await d.read(a, 4, 4))]).toEqual([2, 0, 0, 0]);
    d.copy(a, 4, a, 0, 12);
    expect([...ints(d, a)]).toEqual([1, 1, 2, 3]);
    expect(() => d.readSync(a, 8, 12)).toThrow(/bytes 8 to 20 lie outside a buffer of 16 bytes/);
    expect(() => d.write(a, -1, new Uint8Array(1))).toThrow(RangeError);
    d.free(a);
    expect(() => d.readSync(a, 0, 1)).toThrow("freed");
    expect(() => d.free(a)).toThrow("twice");
    await d.sync();
  });

  for (const shared of [true, false])
    it(`grows and keeps contents (${shared ? "shared" : "not shared"})`, () => {
      const d = open(1, shared);
      const exe = load(d, scaleForm(), "scale", shared);
      const first = put(d, ramp(1000));
      const held: DeviceBuffer[] = [];
      for (let i = 0; i < 6; i++) {
        held.push(d.alloc(9 << 20));
        const out = d.alloc(4000);
        d.launch(exe, 10, 1, 1, [first, out, 100, 2], [0, 0, 0, 0]);
        expect(floats(d, out)).toEqual(ramp(1000).map((v) => 2 * v));
      }
      expect(floats(d, first)).toEqual(ramp(1000));
    });

  it.runIf(wishedLarge())("asks for large pages where the memory is large", () => {
    const wished = (): number => wishedLarge()!.reduce((sum, kib) => sum + kib, 0);
    const before = wished();
    const d = open(1);
    d.free(d.alloc(30 << 20));
    expect(wished()).toBe(before);
    d.free(d.alloc(100 << 20));
    expect(wished() - before).toBeGreaterThanOrEqual(100 << 10);
  });

  it("reaches addresses above 2 GiB, and says what is missing at the limit", () => {
    const d = open(1);
    const exe = load(d, scaleForm(), "scale");
    const low = d.alloc(2 ** 31 + 2 ** 20);
    const high = put(d, ramp(64));
    const out = d.alloc(256);
    d.launch(exe, 2, 1, 1, [high, out, 32, 3], [0, 0, 0, 0]);
    expect(floats(d, out)).toEqual(ramp(64).map((v) => 3 * v));
    // An offset that lies above 2 GiB too.
    d.write(low, 2 ** 31, new Uint8Array(ramp(8).buffer));
    d.launch(exe, 1, 1, 1, [low, out, 8, 5], [2 ** 29, 1, 0, 0]);
    expect(floats(d, out).slice(1, 9)).toEqual(ramp(8).map((v) => 5 * v));
    expect(() => d.alloc(2 ** 31)).toThrow(OutOfMemoryError);
    expect(() => d.alloc(2 ** 31)).toThrow(/2147483648 bytes \(2048.0 MiB\).*in use/);
    d.free(low);
    expect(d.alloc(2 ** 31).bytes).toBe(2 ** 31);
    expect(() => d.alloc(-1)).toThrow(RangeError);
  });

  it("goes on for 64 KiB behind the last buffer, where kernels touch what they do not need", () => {
    const d = open(1);
    const b = new FormBuilder();
    const [from, to] = [b.buffer("f32"), b.buffer("f32")];
    b.emit({ s: "prefetch", mem: from, kind: "f32", at: 15 + 16384, exists: true });
    b.store(b.load("f32", 4, from, "f32", 0), to, "f32", 0);
    const exe = load(d, b, "touch");
    const out = d.alloc(64);
    const bytesOf = (x: WasmDriver): number =>
      (x as unknown as { memory: WebAssembly.Memory }).memory.buffer.byteLength;
    const now = bytesOf(d);
    // Fills the memory up to where it would grow: how far that is another driver finds out.
    const other = open(1);
    load(other, b, "touch");
    let blocks = 0;
    for (; bytesOf(other) === now; blocks++) other.alloc(4096);
    let last = out;
    for (let i = 0; i < blocks - 2; i++) last = d.alloc(4096);
    expect(bytesOf(d)).toBe(now);
    d.write(last, 4032, new Uint8Array(ramp(16).buffer));
    d.launch(exe, 1, 1, 1, [last, out], [1008, 0]);
    expect(floats(d, out).slice(0, 4)).toEqual(ramp(4));
  });

  it("holds what was written, in random order", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(50_000), fc.boolean()), { maxLength: 60 }), (steps) => {
        const d = new WasmDriver({ threads: 1, shared: true });
        const live: { b: DeviceBuffer; mark: number }[] = [];
        steps.forEach(([bytes, drop], i) => {
          const b = d.alloc(bytes);
          d.write(b, 0, new Uint8Array(bytes).fill(i));
          live.push({ b, mark: i });
          if (drop) d.free(live.splice((i * 7) % live.length, 1)[0]!.b);
        });
        for (const { b, mark } of live) expect(d.readSync(b, 0, b.bytes).every((v) => v === mark)).toBe(true);
        d.close();
      }),
      { numRuns: 30 },
    );
  });
});

describe("arguments", () => {
  it("narrows small integers and takes bigint", () => {
    const d = open();
    const b = new FormBuilder();
    const out = b.buffer("i64");
    (["i8", "u8", "i16", "u16", "i32"] as const).forEach((mem, i) => {
      const v = b.op("i32", 1, "param", [], { index: b.scalar("i32", mem) });
      b.store(b.op("i64", 1, "convertS", [v]), out, "i64", i);
    });
    b.store(b.op("i64", 1, "param", [], { index: b.scalar("i64", "i64") }), out, "i64", 5);
    const m = b.op("mask", 1, "param", [], { index: b.scalar("mask", "u8") });
    b.store(b.op("i64", 1, "fromMask", [m]), out, "i64", 6);
    const exe = load(d, b, "args");
    const result = d.alloc(56);
    d.launch(
      exe,
      1,
      1,
      1,
      [result, 200, -1, 40000, -1, 2 ** 31, 2n ** 63n + 5n, 7],
      [0, 0, 0, 0, 0, 0, 0, 0],
    );
    expect([...new BigInt64Array(d.readSync(result, 0, 56).buffer)]).toEqual([
      -56n,
      255n,
      -25536n,
      65535n,
      -(2n ** 31n),
      -(2n ** 63n) + 5n,
      1n,
    ]);
  });

  it("refuses freed buffers and grids that are too large; an empty grid does nothing", () => {
    const d = open();
    const exe = load(d, scaleForm(), "scale");
    const a = put(d, ramp(4));
    d.launch(exe, 0, 1, 1, [a, a, 4, 2], [0, 0, 0, 0]);
    expect(floats(d, a)).toEqual(ramp(4));
    expect(() => d.launch(exe, 2 ** 20, 2 ** 11, 1, [a, a, 4, 2], [0, 0, 0, 0])).toThrow(
      /scale: a grid of 2147483648/,
    );
    d.free(a);
    expect(() => d.launch(exe, 1, 1, 1, [a, a, 4, 2], [0, 0, 0, 0])).toThrow(
      /scale: the buffer of parameter 0/,
    );
  });
});

describe("threads", () => {
  /** counts[pid] += 1, then one atomic on a common cell, of each kind. */
  function countForm(): FormBuilder {
    const b = new FormBuilder();
    const counts = b.buffer("i32");
    const cells = [b.buffer("i32"), b.buffer("f32"), b.buffer("i64"), b.buffer("u8"), b.buffer("f64")];
    const pid = b.op("i32", 1, "programId", [], { index: 0 });
    b.store(b.op("i32", 1, "add", [b.load("i32", 1, counts, "i32", pid), 1]), counts, "i32", pid);
    (["i32", "f32", "i64", "u8", "f64"] as const).forEach((kind, i) => {
      const dst = b.reg(kind === "u8" ? "i32" : kind);
      const value = kind === "i64" ? 1n : 1;
      b.emit({ s: "atomic", op: "add", dst, mem: cells[i]!, kind, at: 0, value });
    });
    const dst = b.reg("i32");
    b.emit({ s: "atomic", op: "max", dst, mem: cells[0]!, kind: "i32", at: 1, value: pid });
    return b;
  }

  it("run every program once, with atomics among all threads", () => {
    const d = open(4);
    const exe = load(d, countForm(), "count");
    const n = 5000;
    const counts = put(d, new Int32Array(n));
    const cells = [8, 4, 8, 64, 8].map((bytes) => {
      const c = d.alloc(bytes);
      d.write(c, 0, new Uint8Array(bytes));
      return c;
    });
    const launches = 200;
    for (let i = 0; i < launches; i++) {
      d.launch(costly(exe), n, 1, 1, [counts, ...cells], [0, 0, 0, 0, 0, 0]);
      if (i === 0) busy(300); // helpers start
    }
    expect(ints(d, counts).every((v) => v === launches)).toBe(true);
    expect([...ints(d, cells[0]!)]).toEqual([launches * n, n - 1]);
    expect(floats(d, cells[1]!)[0]).toBe(launches * n);
    expect(new BigInt64Array(d.readSync(cells[2]!, 0, 8).buffer)[0]).toBe(BigInt(launches * n));
    expect(d.readSync(cells[3]!, 0, 1)[0]).toBe((launches * n) & 255);
    expect(new Float64Array(d.readSync(cells[4]!, 0, 8).buffer)[0]).toBe(launches * n);
  });

  it("really run on more than one thread, each with its own frame", () => {
    // Each program writes the address of its frame, which differs by thread: a frame cell keeps a count per thread.
    const b = new FormBuilder();
    b.frameBytes = 64;
    const out = b.buffer("i32");
    const pid = b.op("i32", 1, "programId", [], { index: 0 });
    b.loop(0, 20_000, 1, () => {
      b.store(b.op("i32", 1, "add", [b.load("i32", 1, { frame: 0 }, "i32", 0), 1]), { frame: 0 }, "i32", 0);
    });
    b.store(b.load("i32", 1, { frame: 0 }, "i32", 0), out, "i32", pid);
    const d = open(2);
    const exe = load(d, b, "frames");
    const n = 64;
    const result = d.alloc(4 * n);
    d.launch(costly(exe), 1, 1, 1, [result], [0]);
    let shared = false;
    for (let i = 0; i < 200 && !shared; i++) {
      const before = Math.max(...ints(d, result));
      d.launch(costly(exe), n, 1, 1, [result], [0]);
      busy(5);
      // One thread alone would have counted all programs of this launch in its frame.
      shared = i > 0 && Math.max(...ints(d, result)) - before < n * 20_000;
    }
    expect(shared).toBe(true);
  });

  it("keep right results while the memory grows between launches", () => {
    const d = open(3);
    const exe = load(d, scaleForm(), "scale");
    const n = 60_000;
    const input = put(d, ramp(n));
    for (let i = 1; i <= 30; i++) {
      const out = d.alloc(4 * n);
      d.alloc(3 << 20);
      d.launch(costly(exe), 60, 1, 1, [input, out, 1000, i], [0, 0, 0, 0]);
      if (i < 4) busy(100);
      expect(isScaled(d, out, n, i)).toBe(true);
    }
    // A kernel whose code lies above the memory that the helpers started with.
    const late = load(d, scaleForm(), "late");
    const out = d.alloc(4 * n);
    for (let i = 1; i < 20; i++) {
      d.launch(costly(late), 60, 1, 1, [input, out, 1000, i], [0, 0, 0, 0]);
      expect(isScaled(d, out, n, i)).toBe(true);
    }
  });

  it("a trap names the kernel, and the next launch works", () => {
    const b = new FormBuilder();
    const p = b.buffer("i32");
    const pid = b.op("i32", 1, "programId", [], { index: 0 });
    const bad = b.op("i32", 1, "param", [], { index: b.scalar("i32", "i32") });
    b.store(b.op("i32", 1, "divS", [100, b.op("i32", 1, "sub", [pid, bad])]), p, "i32", pid);
    const d = open(3);
    const exe = load(d, b, "divide");
    const out = d.alloc(4000);
    for (let i = 0; i < 100; i++) {
      const wrong = (): void => d.launch(costly(exe), 1000, 1, 1, [out, (i * 37) % 1000], [0, 0]);
      expect(wrong).toThrow(/kernel divide failed: divide by zero/);
      if (i === 0) busy(200);
      d.launch(costly(exe), 1000, 1, 1, [out, -1], [0, 0]);
      expect(ints(d, out)[99]).toBe(1);
    }
    expect(() => d.launch(Object.assign(exe, { programTime: 1 }), 10, 1, 1, [out, 3], [0, 0])).toThrow(
      "divide",
    );
  });

  it("a guess that is far too high starts no helpers and optimises nothing", () => {
    const d = open(2);
    const exe = Object.assign(load(d, scaleForm(), "scale"), {
      programTime: 1e9,
    }) as unknown as Executable & {
      programTime: number;
      optimised: boolean;
    };
    const data = ramp(64 * 4);
    const [x, y] = [put(d, data), d.alloc(data.byteLength)];
    d.launch(exe, 64, 1, 1, [x, y, 4, 2], [0, 0, 0, 0]);
    expect(floats(d, y)).toEqual(data.map((v) => v * 2));
    expect(exe.programTime).toBeLessThan(1e6);
    expect(exe.optimised).toBe(false);
    expect((d as unknown as { pool: { started: boolean } }).pool.started).toBe(false);
  });

  it("small launches stay on the caller's thread, long ones are measured", () => {
    const d = open(2);
    const exe = load(d, scaleForm(), "scale") as Executable & { programTime: number };
    const a = put(d, ramp(8));
    for (let i = 0; i < 50; i++) d.launch(exe, 1, 1, 1, [a, a, 4, 1], [0, 0, 0, 0]);
    expect((d as unknown as { pool: { started: boolean } }).pool.started).toBe(false);
    // Long on any machine: a million elements in each of four programs.
    const big = put(d, ramp(1 << 22));
    // The guess of what a program takes grows a few times with each launch, from what the small ones took.
    for (let i = 0; i < 12; i++) d.launch(exe, 4, 1, 1, [big, big, 1 << 20, 1], [0, 0, 0, 0]);
    expect(exe.programTime).toBeGreaterThan(5000);
    expect((d as unknown as { pool: { started: boolean } }).pool.started).toBe(true);
  });
});

describe("the process", () => {
  const here = fileURLToPath(new URL(".", import.meta.url));
  /** Bundles a script that uses the driver and runs it in a fresh Node. */
  function run(script: string): string {
    const folder = mkdtempSync(join(tmpdir(), "vexil-wasm-"));
    try {
      const file = join(folder, "main.ts");
      writeFileSync(
        file,
        `import { WasmDriver } from ${JSON.stringify(join(here, "driver.ts"))};
         import { compileForm } from ${JSON.stringify(join(here, "artifact.ts"))};
         import { FormBuilder } from ${JSON.stringify(join(here, "testing/builder.ts"))};
         import * as threads from "node:worker_threads";
         const d = new WasmDriver({ threads: 2, shared: true });
         const b = new FormBuilder();
         const p = b.buffer("i32");
         const pid = b.op("i32", 1, "programId", [], { index: 0 });
         b.store(b.op("i32", 1, "mul", [pid, 3]), p, "i32", pid);
         const exe = d.load(compileForm(b.form("triple"), { relaxed: false, shared: true }));
         const out = d.alloc(4000);
         const go = () => {
           for (let i = 0; i < 300; i++) {
             exe.programTime = 1e9;
             d.launch(exe, 1000, 1, 1, [out], [0]);
             if (i < 3) for (const end = performance.now() + 80; performance.now() < end; );
           }
           return new Int32Array(d.readSync(out, 0, 4000).buffer).reduce((a, v) => a + v, 0);
         };
         ${script}`,
      );
      const bundled = join(folder, "main.mjs");
      buildSync({
        entryPoints: [file],
        outfile: bundled,
        bundle: true,
        platform: "node",
        format: "esm",
        minify: true,
        logLevel: "silent",
      });
      const r = spawnSync(process.execPath, [bundled], { encoding: "utf8", timeout: 30_000 });
      if (r.status !== 0) throw new Error(`exit ${r.status} ${r.signal}: ${r.stderr}`);
      return r.stdout.trim();
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  it("ends by itself with helpers asleep, from a minified bundle", () => {
    expect(run("console.log(go()); setTimeout(() => console.log('end'), 50);")).toBe("1498500\nend");
  });

  it("ends after close()", () => {
    expect(run("console.log(go()); d.close(); console.log('closed');")).toBe("1498500\nclosed");
  });

  it("works in a worker thread, which can be terminated", () => {
    expect(
      run(`if (threads.isMainThread) {
             const w = new threads.Worker(new URL(import.meta.url));
             w.on("message", async (m) => { console.log(m); await w.terminate(); console.log("terminated"); });
           } else threads.parentPort.postMessage(go());`),
    ).toBe("1498500\nterminated");
  });

  it("keeps the helper's script small and free of template leftovers", () => {
    expect(WORKER_SOURCE).not.toMatch(/undefined|NaN|\$\{/);
    expect(WORKER_SOURCE.length).toBeLessThan(4000);
    expect(() => new Function(WORKER_SOURCE)).not.toThrow();
  });
});
