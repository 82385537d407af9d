import { execFile } from "node:child_process";
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { cacheKey, compileStats } from "./compile.js";
import { cacheName, readCached, writeCached } from "./disk-cache.js";
import { kernelOf } from "./kernel.js";
import { notingChip, scaleSource, tensorLike } from "./testing/fixtures.js";

const run = promisify(execFile);
const before = process.env["VEXIL_CACHE"];
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vexil-cache-"));
  process.env["VEXIL_CACHE"] = folder;
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
  if (before === undefined) delete process.env["VEXIL_CACHE"];
  else process.env["VEXIL_CACHE"] = before;
});

/** All but the mark of the last pruning. */
const files = () =>
  readdirSync(folder, { recursive: true, encoding: "utf8" }).filter(
    (f) => f !== "pruned" && statSync(join(folder, f)).isFile(),
  );

/** Launches once on a chip that has nothing in memory; says what that took. */
function launchOnce(): { built: number; compiled: number; fromDisk: number } {
  const start = { ...compileStats };
  const chip = notingChip("disk");
  const x = tensorLike(chip, "f32", 16);
  kernelOf(scaleSource("disk")).launch([1], { x, out: x, stride: 1, by: 2, n: 16, BLOCK: 16, ADD: 1 });
  return {
    built: compileStats.built - start.built,
    compiled: compileStats.compiled - start.compiled,
    fromDisk: compileStats.fromDisk - start.fromDisk,
  };
}
const COMPILED = { built: 1, compiled: 1, fromDisk: 0 };
const FROM_DISK = { built: 0, compiled: 0, fromDisk: 1 };

describe("disk cache", () => {
  test("the second start builds no IR and calls no compiler", () => {
    expect(launchOnce()).toEqual(COMPILED);
    expect(files().length).toBe(1);
    expect(launchOnce()).toEqual(FROM_DISK);
  });

  test("damaged entries are ignored and written again", () => {
    launchOnce();
    const file = join(folder, files()[0]!);
    const whole = readFileSync(file);
    for (let length = 0; length < whole.length; length += 37) {
      truncateSync(file, length);
      expect(launchOnce()).toEqual(COMPILED);
      expect(readFileSync(file).equals(whole)).toBe(true);
    }
    for (const at of [0, 9, 45, whole.length - 1]) {
      const bad = Buffer.from(whole);
      bad[at]! ^= 1;
      writeFileSync(file, bad);
      expect(launchOnce()).toEqual(COMPILED);
    }
    writeFileSync(file, Buffer.concat([whole, Buffer.from("more")]));
    expect(launchOnce()).toEqual(COMPILED);
    expect(launchOnce()).toEqual(FROM_DISK);
  });

  test("an entry that the driver refuses is compiled again", () => {
    launchOnce();
    const chip = notingChip("disk");
    chip.driver.failLoad = new Error("library of another system");
    const x = tensorLike(chip, "f32", 16);
    const compiled = compileStats.compiled;
    kernelOf(scaleSource("disk")).launch([1], { x, out: x, stride: 1, by: 2, n: 16, BLOCK: 16, ADD: 1 });
    expect(compileStats.compiled).toBe(compiled + 1);
    expect(chip.driver.launches.length).toBe(1);
  });

  test("VEXIL_CACHE=off writes and reads nothing", () => {
    launchOnce();
    process.env["VEXIL_CACHE"] = "off";
    expect(launchOnce()).toEqual(COMPILED);
  });

  test("entries keep code and meta; IR is not kept", () => {
    const name = cacheName("some key")!;
    expect(readCached(name)).toBe(undefined);
    const artifact = {
      bytes: Uint8Array.of(1, 2, 255),
      meta: { scratch: 64, names: ["ä"] },
      text: "not kept",
    };
    writeCached(name, artifact);
    expect(readCached(name)).toEqual({ bytes: artifact.bytes, meta: artifact.meta });
    const other = cacheName("other key")!;
    writeCached(other, { ...artifact, func: scaleSource().build as never });
    expect(readCached(other)).toBe(undefined);
  });

  test.skipIf(process.getuid?.() === 0)("a folder without write permission is no error", () => {
    chmodSync(folder, 0o500);
    expect(launchOnce()).toEqual(COMPILED);
    chmodSync(folder, 0o700);
  });

  test("a folder that cannot exist is no error", () => {
    const file = join(folder, "file");
    writeFileSync(file, "");
    process.env["VEXIL_CACHE"] = join(file, "below");
    expect(launchOnce()).toEqual(COMPILED);
  });

  test("processes share one folder, at once and one after another", async () => {
    const child = async () => {
      const script = join(import.meta.dirname, "testing", "one-launch.ts");
      const { stdout } = await run(process.execPath, ["--import", "tsx", script, "20"]);
      return JSON.parse(stdout) as { built: number; compiled: number; fromDisk: number; launches: number[] };
    };
    const first = await Promise.all([child(), child()]);
    for (const r of first) {
      expect(r.launches.length).toBe(20);
      expect(r.compiled + r.fromDisk).toBe(20);
    }
    expect(files().length).toBe(20);
    expect(files().filter((f) => f.endsWith(".tmp"))).toEqual([]);
    const later = await child();
    expect(later).toMatchObject({ built: 0, compiled: 0, fromDisk: 20 });
    expect(later.launches).toEqual(first[0]!.launches);
  });
});

test("the key changes with everything that decides the code", () => {
  const chip = notingChip("key");
  const spec = {
    wideOffsets: false,
    params: [
      { kind: "ptr", dtype: "f32", aligned: true },
      { kind: "dim", divisibleBy16: false, isOne: false },
      { kind: "scalar" },
      { kind: "constexpr", value: 1 },
    ],
  } as const;
  const source = scaleSource();
  const at = (i: number, p: object) => ({
    ...spec,
    params: spec.params.map((q, j) => (i === j ? p : q)) as never,
  });
  const keys = [
    cacheKey(source, spec, chip),
    cacheKey(scaleSource("other text"), spec, chip),
    cacheKey(source, { ...spec, wideOffsets: true }, chip),
    cacheKey(source, at(0, { kind: "ptr", dtype: "f16", aligned: true }), chip),
    cacheKey(source, at(0, { kind: "ptr", dtype: "f32", aligned: false }), chip),
    cacheKey(source, at(1, { kind: "dim", divisibleBy16: true, isOne: false }), chip),
    cacheKey(source, at(1, { kind: "dim", divisibleBy16: false, isOne: true }), chip),
    ...[1n, true, "1", 0, -0, Number.NaN, "NaN", Number.POSITIVE_INFINITY, [1], [1n], [-0], [0]].map(
      (value) => cacheKey(source, at(3, { kind: "constexpr", value }), chip),
    ),
    cacheKey(source, spec, { ...chip, target: { ...chip.target, fingerprint: "key 2" } }),
    cacheKey(source, spec, { ...chip, target: { ...chip.target, name: "other" } }),
  ];
  expect(new Set(keys).size).toBe(keys.length);
  expect(cacheKey(scaleSource(), spec, chip)).toBe(keys[0]);
  expect(source.builds).toBe(0);
});
