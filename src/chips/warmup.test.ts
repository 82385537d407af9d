import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { constexpr, i32, ptr } from "../compiler/lang/index.js";
import { CompileError } from "../compiler/target.js";
import "./index.js";
import { compileStats } from "../runtime/compile.js";
import {
  allocate,
  autotune,
  kernel,
  KERNEL_BUFFER,
  listChips,
  loadChip,
  recordSignatures,
  warmup,
} from "../runtime/index.js";
import { compileLibraryAsync, openCompiler } from "./cpu/compiler.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "vexil-chips-warmup-"));
  vi.stubEnv("VEXIL_CACHE", folder);
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

const double = kernel(
  { x: ptr, y: ptr, n: i32, BLOCK: constexpr },
  ({ x, y, n, BLOCK }, tl) => {
    const at = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    tl.store(y + at, tl.load(x + at, at < n) * 2, at < n);
  },
  "double",
);

/** What a machine has not is named, not passed over in silence. */
const probes = await Promise.all(
  listChips().map(async (entry) => ({ name: entry.name, ...(await entry.probe()) })),
);
const title = (p: (typeof probes)[number]) => (p.available ? p.name : `${p.name} (missing: ${p.found})`);

for (const probe of probes)
  test.skipIf(!probe.available)(
    `${title(probe)}: signatures are compiled ahead, and a tuned kernel computes what the plain one does`,
    async () => {
      const chip = await loadChip(probe.name);
      const made = (values: readonly number[]) => {
        const storage = allocate(chip, values.length * 4);
        chip.driver.write(storage.buffer, 0, new Uint8Array(Float32Array.from(values).buffer));
        const { buffer } = storage;
        return {
          [KERNEL_BUFFER]: true as const,
          chip,
          buffer,
          offset: 0,
          dtype: "f32" as const,
          available: values.length,
        };
      };
      const values = Array.from({ length: 100 }, (_, i) => i);
      const x = made(values);
      const y = made(values.map(() => 0));
      const read = async () => [
        ...new Float32Array((await chip.driver.read(y.buffer, 0, 400)).buffer as ArrayBuffer, 0, 100),
      ];
      const [first] = recordSignatures(() => double.launch([7], { x, y, n: 100, BLOCK: 16 }));
      const list = [32, 64, 128].map((value) => ({
        ...first!,
        params: first!.params.map((p, i) => (i === 3 ? { value } : p)),
      }));
      expect(await warmup(list)).toMatchObject({ compiled: 3, ready: 0, failed: [], unknown: [] });
      const before = compileStats.compiled;
      for (const BLOCK of [32, 64, 128]) {
        chip.driver.write(y.buffer, 0, new Uint8Array(400));
        double.launch([Math.ceil(100 / BLOCK)], { x, y, n: 100, BLOCK });
        expect(await read()).toEqual(values.map((v) => 2 * v));
      }
      expect(compileStats.compiled).toBe(before);
      const tuned = autotune(double, { configs: [{ BLOCK: 32 }, { BLOCK: 64 }, { BLOCK: 128 }], key: ["n"] });
      chip.driver.write(y.buffer, 0, new Uint8Array(400));
      tuned.launch(({ n, BLOCK }: { n: number; BLOCK?: number }) => [Math.ceil(n / BLOCK!)], {
        x,
        y,
        n: 100,
      });
      expect(await read()).toEqual(values.map((v) => 2 * v));
      expect(tuned.explain({ x, y, n: 100 })).toMatch(/\/\/ tuned double on /);
    },
  );

const native = probes.find((p) => p.name === "cpu")!;
test.skipIf(!native.available)(
  `${title(native)}: the C compiler beside this process says what is wrong`,
  async () => {
    await expect(compileLibraryAsync(openCompiler(), "mine", "int f( {")).rejects.toThrow(CompileError);
    await expect(compileLibraryAsync(openCompiler(), "mine", "int f( {")).rejects.toThrow(/^mine: .*error/s);
  },
);
