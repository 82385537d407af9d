import { afterAll, describe, expect, it } from "vitest";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { Form } from "../../compiler/lower/simd/form.js";
import { OutOfMemoryError } from "../../runtime/driver.js";
import { memoryBytes } from "../../runtime/platform.js";
import { download, FormBuilder, loadForm, openDriver, upload, zeros } from "./testing.js";

const driver = openDriver(4);
afterAll(() => driver.close());

const THP = "/sys/kernel/mm/transparent_hugepage/enabled";
const largePages = existsSync(THP) && !readFileSync(THP, "utf8").includes("[never]");

/** Adds the program's id to one element per program, `turns` times over. */
function slowForm(): Form {
  const b = new FormBuilder();
  const out = b.buffer("out", "i32");
  const turns = b.scalar("turns", "i32", "i32");
  const pid = b.op("programId", "i32", 1, [], { index: 0 });
  const iv = b.reg("i32");
  const x = b.load(out, pid, "i32", 1, "i32");
  const body = b.collect(() => {
    const y = b.op("xor", "i32", 1, [b.op("mul", "i32", 1, [x, 3]), iv]);
    b.op("add", "i32", 1, [y, pid], { dst: x });
  });
  b.push({ s: "for", iv, lo: 0, hi: turns, step: 1, body });
  b.store(out, pid, x, "i32");
  return b.form("slow");
}
const slowValue = (start: number, pid: number, turns: number): number => {
  let x = start;
  for (let i = 0; i < turns; i++) x = ((Math.imul(x, 3) ^ i) + pid) | 0;
  return x;
};

describe("launches", () => {
  it("gives every kind of scalar to the kernel", async () => {
    const b = new FormBuilder();
    const [ints, longs, floats, doubles] = [
      b.buffer("i", "i32"),
      b.buffer("l", "i64"),
      b.buffer("f", "f32"),
      b.buffer("d", "f64"),
    ];
    b.store(ints, 0, b.scalar("a", "i32", "i32"), "i32");
    b.store(ints, 1, b.scalar("u8", "i32", "u8"), "i32");
    b.store(ints, 2, b.scalar("i16", "i32", "i16"), "i32");
    b.store(ints, 3, b.scalar("u32", "i32", "i32"), "i32");
    b.store(longs, 0, b.scalar("l", "i64", "i64"), "i64");
    b.store(longs, 1, b.scalar("u", "i64", "i64"), "i64");
    b.store(floats, 0, b.scalar("f", "f32", "f32"), "f32");
    b.store(doubles, 0, b.scalar("d", "f64", "f64"), "f64");
    const exe = loadForm(driver, b.form("scalars"));
    const out = [driver.alloc(16), driver.alloc(16), driver.alloc(4), driver.alloc(8)];
    driver.launch(
      exe,
      1,
      1,
      1,
      [...out, -7, 300, 40000, 4294967295, -(1n << 62n), (1n << 64n) - 1n, 0.1, 0.1],
      zeros(12),
    );
    expect([...new Int32Array(await download(driver, out[0]!))]).toEqual([-7, 44, -25536, -1]);
    expect([...new BigInt64Array(await download(driver, out[1]!))]).toEqual([-(1n << 62n), -1n]);
    expect(new Float32Array(await download(driver, out[2]!))[0]).toBe(Math.fround(0.1));
    expect(new Float64Array(await download(driver, out[3]!))[0]).toBe(0.1);
  });

  it("counts three axes, on one thread and on several", async () => {
    const b = new FormBuilder();
    const out = b.buffer("out", "i32");
    const [x, y, z] = [0, 1, 2].map((index) => b.op("programId", "i32", 1, [], { index }));
    const [nx, ny, nz] = [0, 1, 2].map((index) => b.op("numPrograms", "i32", 1, [], { index }));
    const row = b.op("add", "i32", 1, [b.op("mul", "i32", 1, [z!, ny!]), y!]);
    const at = b.op("add", "i32", 1, [b.op("mul", "i32", 1, [row, nx!]), x!]);
    const code = b.op("add", "i32", 1, [
      b.op("mul", "i32", 1, [z!, 1000000]),
      b.op("add", "i32", 1, [b.op("mul", "i32", 1, [y!, 1000]), x!]),
    ]);
    b.store(out, at, b.op("mul", "i32", 1, [code, nz!]), "i32");
    const exe = loadForm(driver, b.form("grid"));
    for (const [gx, gy, gz] of [
      [3, 1, 2],
      [1, 4, 1],
      [70, 50, 60],
      [5, 0, 3],
    ] as const) {
      const buffer = driver.alloc(Math.max(gx * gy * gz * 4, 4));
      driver.launch(exe, gx, gy, gz, [buffer], [0]);
      const got = new Int32Array(await download(driver, buffer));
      let wrong = 0;
      for (let i = 0; i < gx * gy * gz; i++) {
        const want = Math.floor(i / (gx * gy)) * 1000000 + (Math.floor(i / gx) % gy) * 1000 + (i % gx);
        if (got[i] !== Math.imul(want, gz)) wrong++;
      }
      expect(wrong).toBe(0);
      driver.free(buffer);
    }
  });

  it("honours element offsets and lets buffers alias", async () => {
    const b = new FormBuilder();
    const [x, y] = [b.buffer("x", "f64"), b.buffer("y", "f64")];
    b.store(y, 0, b.op("add", "f64", 2, [b.load(x, 0, "f64", 2, "f64"), 7]), "f64");
    b.store(y, 1, b.op("mul", "f64", 1, [b.load(x, 1, "f64", 1, "f64"), 10]), "f64");
    const exe = loadForm(driver, b.form("alias"));
    const buffer = upload(driver, Float64Array.of(1, 2, 3, 4, 5));
    driver.launch(exe, 1, 1, 1, [buffer, buffer], [1, 2]);
    expect([...new Float64Array(await download(driver, buffer))]).toEqual([1, 2, 9, 90, 5]);
  });

  it("runs control flow and the vector ops without a table entry", async () => {
    const b = new FormBuilder();
    const [out, frameOut] = [b.buffer("out", "i32"), b.buffer("f", "f32")];
    const n = b.scalar("n", "i32", "i32");
    const steps = b.op("copy", "i32", 1, [0]);
    const test = b.reg("mask");
    b.push({
      s: "while",
      cond: b.collect(() => void b.op("ne", "mask", 1, [n, 1], { dst: test })),
      test,
      body: b.collect(() => {
        const odd = b.op("eq", "mask", 1, [b.op("and", "i32", 1, [n, 1]), 1]);
        const up = b.collect(() => {
          b.op("add", "i32", 1, [b.op("mul", "i32", 1, [n, 3]), 1], { dst: n });
        });
        const down = b.collect(() => void b.op("shrU", "i32", 1, [n, 1], { dst: n }));
        // biome-ignore lint/suspicious/noThenProperty: a branch of the form, never awaited
        b.push({ s: "if", test: odd, then: up, else: down });
        b.op("add", "i32", 1, [steps, 1], { dst: steps });
      }),
    });
    b.store(out, 0, steps, "i32");
    const iota = b.op("iota", "i32", 8, []);
    const small = b.op("ltS", "mask", 8, [iota, 3]);
    b.store(out, 1, b.op("fromMask", "i32", 1, [b.op("any", "mask", 1, [small])]), "i32");
    b.store(out, 2, b.op("fromMask", "i32", 1, [b.op("all", "mask", 1, [small])]), "i32");
    b.store(
      out,
      3,
      b.op("fromMask", "i32", 1, [b.op("all", "mask", 1, [b.op("leS", "mask", 8, [iota, 7])])]),
      "i32",
    );
    b.store(
      out,
      4,
      b.op("fromMask", "i32", 1, [b.op("any", "mask", 1, [b.op("gtS", "mask", 8, [iota, 7])])]),
      "i32",
    );
    const spread = b.op("splat", "i32", 8, [steps]);
    b.store(
      out,
      5,
      b.op("extract", "i32", 1, [b.op("insert", "i32", 8, [spread, -4], { lane: 6 })], { lane: 6 }),
      "i32",
    );
    b.store(out, 6, b.op("extract", "i32", 1, [spread], { lane: 7 }), "i32");
    b.frameBytes = 4096;
    const iv = b.reg("i64");
    const body = b.collect(() => {
      const f = b.op("convertS", "f32", 1, [b.op("convertS", "i32", 1, [iv])]);
      b.push({ s: "store", value: f, type: f.type, mem: { frame: 64 }, kind: "f32", at: iv });
    });
    b.push({ s: "for", iv, lo: 0n, hi: 20n, step: 3n, body });
    const v = b.reg("f32", 4);
    b.push({ s: "load", dst: v, mem: { frame: 64 }, kind: "f32", at: 18 });
    b.store(frameOut, 0, b.op("extract", "f32", 1, [v], { lane: 0 }), "f32");
    const exe = loadForm(driver, b.form("control"));
    const buffers = [driver.alloc(28), driver.alloc(4)];
    driver.launch(exe, 1, 1, 1, [...buffers, 27], [0, 0, 0]);
    expect([...new Int32Array(await download(driver, buffers[0]!))]).toEqual([111, 1, 0, 1, 0, -4, 111]);
    expect(new Float32Array(await download(driver, buffers[1]!))[0]).toBe(18);
  });

  it("counts up to the largest i32 without wrapping", async () => {
    const b = new FormBuilder();
    const out = b.buffer("out", "i32");
    const iv = b.reg("i32");
    const n = b.op("copy", "i32", 1, [0]);
    const body = b.collect(() => void b.op("add", "i32", 1, [n, 1], { dst: n }));
    b.push({ s: "for", iv, lo: 2147483640, hi: 2147483647, step: 4, body });
    b.store(out, 0, n, "i32");
    const buffer = driver.alloc(4);
    driver.launch(loadForm(driver, b.form("edge")), 1, 1, 1, [buffer], [0]);
    expect(new Int32Array(await download(driver, buffer))[0]).toBe(2);
  });
});

describe("the thread pool", () => {
  it("runs every program once, for many grids in a row", async () => {
    const exe = loadForm(driver, slowForm());
    const size = 3000;
    const buffer = upload(driver, new Int32Array(size));
    const want = new Int32Array(size);
    for (let round = 0; round < 400; round++) {
      const n = 1 + ((round * 7919) % size);
      const turns = round % 5 ? 20 : 2000;
      driver.launch(exe, n, 1, 1, [buffer, turns], [0, 0]);
      if (turns < 100) for (let i = 0; i < n; i++) want[i] = slowValue(want[i]!, i, turns);
      else for (let i = 0; i < n; i++) want[i] = slowValue(want[i]!, i, turns);
    }
    expect(new Int32Array(await download(driver, buffer))).toEqual(want);
  });

  it("serves several drivers at once, and more threads than cores", async () => {
    const drivers = [1, 2, 16].map(openDriver);
    for (const d of drivers) {
      const exe = loadForm(d, slowForm());
      const buffer = upload(d, new Int32Array(500));
      for (let i = 0; i < 20; i++) d.launch(exe, 500, 1, 1, [buffer, 500], [0, 0]);
      const got = new Int32Array(await download(d, buffer));
      let x = 0;
      for (let i = 0; i < 20; i++) x = slowValue(x, 499, 500);
      expect(got[499]).toBe(x);
      d.close();
      d.close();
      expect(() => d.alloc(4)).toThrow("closed");
    }
  });

  // Otherwise Linux may wake a thread where the caller works, and the two take turns while another processor is idle.
  it.skipIf(process.platform !== "linux" || availableParallelism() < 2)(
    "keeps its threads off the caller's processor",
    () => {
      /** How many threads of this process may run on each set of processors. */
      const masks = (): Map<string, number> => {
        const found = new Map<string, number>();
        for (const id of readdirSync("/proc/self/task")) {
          const mask = /^Cpus_allowed_list:\t(.*)$/m.exec(
            readFileSync(`/proc/self/task/${id}/status`, "utf8"),
          )![1]!;
          found.set(mask, (found.get(mask) ?? 0) + 1);
        }
        return found;
      };
      const own = /^Cpus_allowed_list:\t(.*)$/m.exec(readFileSync("/proc/self/status", "utf8"))![1]!;
      const unlike = (): number =>
        [...masks()].reduce((n, [mask, count]) => n + (mask === own ? 0 : count), 0);
      const before = unlike();
      const d = openDriver(2);
      const exe = loadForm(d, slowForm());
      const out = upload(
        d,
        Int32Array.from({ length: 64 }, (_, i) => i),
      );
      for (let i = 0; i < 3; i++) d.launch(exe, 64, 1, 1, [out, 100_000], [0, 0]);
      expect(unlike()).toBe(before + 1);
      d.close();
      expect(unlike()).toBe(before);
    },
  );

  it("gives each thread scratch of its own", async () => {
    const b = new FormBuilder();
    b.frameBytes = 64 * 4;
    const out = b.buffer("out", "i32");
    const pid = b.op("programId", "i32", 1, [], { index: 0 });
    const iv = b.reg("i32");
    const slot = b.op("and", "i32", 1, [pid, 63]);
    const v = b.reg("i32");
    b.push({ s: "store", value: pid, type: pid.type, mem: { frame: 0 }, kind: "i32", at: slot });
    const body = b.collect(() => {
      b.push({ s: "load", dst: v, mem: { frame: 0 }, kind: "i32", at: slot });
      const more = b.op("add", "i32", 1, [v, iv]);
      b.push({ s: "store", value: more, type: more.type, mem: { frame: 0 }, kind: "i32", at: slot });
    });
    b.push({ s: "for", iv, lo: 0, hi: 1000, step: 1, body });
    b.push({ s: "load", dst: v, mem: { frame: 0 }, kind: "i32", at: slot });
    b.store(out, pid, v, "i32");
    const buffer = driver.alloc(4000 * 4);
    driver.launch(loadForm(driver, b.form("scratch")), 4000, 1, 1, [buffer], [0]);
    const got = new Int32Array(await download(driver, buffer));
    expect([...got].every((x, i) => x === i + 499500)).toBe(true);
  });
});

describe("memory", () => {
  it("is aligned, copies and reads back", async () => {
    const a = upload(
      driver,
      Uint8Array.from({ length: 100 }, (_, i) => i),
    );
    const b = driver.alloc(100);
    driver.write(b, 0, new Uint8Array(100));
    driver.copy(b, 10, a, 50, 20);
    driver.copy(a, 1, a, 0, 99);
    expect([...(await driver.read(b, 8, 6))]).toEqual([0, 0, 50, 51, 52, 53]);
    expect([...driver.readSync(a, 0, 4)]).toEqual([0, 0, 1, 2]);
    driver.write(a, 0, new Uint8Array([9, 8, 7]).subarray(1, 3));
    expect([...driver.readSync(a, 0, 2)]).toEqual([8, 7]);
    expect(() => driver.readSync(a, 90, 11)).toThrow("cannot read 11 bytes at 90 of a buffer of 100");
    await expect(driver.read(a, -1, 1)).rejects.toThrow("cannot read");
    driver.free(a);
    expect(() => driver.readSync(a, 0, 1)).toThrow("freed");
    expect(() => driver.free(a)).toThrow("freed");
  });

  it("names the bytes that are not there", () => {
    expect(() => driver.alloc(2 ** 50)).toThrow(OutOfMemoryError);
    expect(() => driver.alloc(2 ** 50)).toThrow(/1125899906842624 bytes \(1048576\.0 GiB\) wanted/);
    expect(() => driver.alloc(-1)).toThrow(RangeError);
    // Linux would give it out, and end the process when it is written to.
    const most = memoryBytes();
    expect(() => driver.alloc(most)).toThrow(OutOfMemoryError);
    const half = driver.alloc(most / 2);
    expect(() => driver.alloc(most / 2)).toThrow(/in use by it, of /);
    driver.free(half);
    driver.free(driver.alloc(most / 2));
  });

  it.runIf(largePages)("takes large buffers by large pages, up to their ends", () => {
    const MB = 2 ** 20;
    const b = driver.alloc(31 * MB + 1);
    const host = new Uint8Array(MB).fill(3);
    const before = process.resourceUsage().minorPageFault;
    for (let at = 0; at < 31 * MB; at += MB) driver.write(b, at, host);
    // By small pages it is 7936.
    expect(process.resourceUsage().minorPageFault - before).toBeLessThan(2000);
    driver.free(b);
  });

  it("refuses what belongs to another driver, and what is freed", () => {
    const other = openDriver(1);
    const exe = loadForm(driver, slowForm());
    const foreign = other.alloc(64);
    expect(() => driver.launch(exe, 1, 1, 1, [foreign, 1], [0, 0])).toThrow(
      "argument 0 of slow is not of this cpu chip",
    );
    expect(() => other.launch(exe, 1, 1, 1, [foreign, 1], [0, 0])).toThrow("kernel is not of this cpu chip");
    const gone = driver.alloc(64);
    driver.free(gone);
    expect(() => driver.launch(exe, 1, 1, 1, [gone, 1], [0, 0])).toThrow("argument 0 of slow is freed");
    other.close();
  });
});

describe("worker threads", () => {
  it("has drivers of its own in each, at once", async () => {
    const here = new URL("./testing.ts", import.meta.url).href;
    const code = `
      const { parentPort, workerData } = require("node:worker_threads");
      const here = ${JSON.stringify(here)};
      import("tsx/esm/api").then(({ tsImport }) => tsImport(here, here)).then(async ({ FormBuilder, loadForm, openDriver, upload, download }) => {
        const d = openDriver(2);
        const b = new FormBuilder();
        const out = b.buffer("out", "i32");
        const pid = b.op("programId", "i32", 1, [], { index: 0 });
        b.push({ s: "atomic", op: "add", dst: b.reg("i32"), mem: { param: out }, kind: "i32", at: 0, value: pid });
        const exe = loadForm(d, b.form("sum"));
        const buffer = upload(d, new Int32Array(1));
        for (let i = 0; i < 300; i++) d.launch(exe, 1000, 1, 1, [buffer], [0]);
        parentPort.postMessage(new Int32Array(await download(d, buffer))[0]);
        if (workerData) d.close();
      });`;
    const run = (close: boolean): Promise<unknown> =>
      new Promise((resolve, reject) => {
        const w = new Worker(code, { eval: true, workerData: close });
        w.once("message", resolve);
        w.once("error", reject);
      });
    const sum = (300 * (1000 * 999)) / 2;
    expect(await Promise.all([run(true), run(false), run(true)])).toEqual([sum, sum, sum]);
  });
});
