// `tl.deviceAssert` and `tl.devicePrint` on the chips that check: what is said, when, and that nothing crashes.

import { afterEach, describe, expect, test, vi } from "vitest";
import { constexpr, i32, ptr } from "../compiler/lang/index.js";
import { allocate } from "../runtime/storage.js";
import type { Chip } from "../runtime/driver.js";
import { kernel } from "../runtime/define.js";
import { KERNEL_BUFFER } from "../runtime/buffer.js";
import { loadChip } from "../runtime/index.js";
import "./index.js";

const names = ["interpreter", "wasm", "cpu"];
const chips: Chip[] = [];
for (const name of names)
  try {
    chips.push(await loadChip(name));
  } catch (e) {
    console.warn(`skipped: reports on ${name} (missing: ${(e as Error).message})`);
  }

const tensor = (chip: Chip, data: Float32Array | Int32Array | Float64Array, dtype: string) => {
  const storage = allocate(chip, data.byteLength);
  chip.driver.write(storage.buffer, 0, new Uint8Array(data.buffer));
  return {
    [KERNEL_BUFFER]: true,
    chip,
    buffer: storage.buffer,
    offset: 0,
    dtype,
    available: data.length,
  } as never;
};
const read = async (chip: Chip, t: { buffer: never }, bytes: number) =>
  new Float32Array((await chip.driver.read(t.buffer, 0, bytes)).buffer);

const check = kernel(
  { x: ptr, y: ptr, n: i32, BLOCK: constexpr },
  ({ x, y, n, BLOCK }, tl) => {
    const at = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    const v = tl.load(x + at, at < n, 0);
    tl.deviceAssert(v >= 0, "x holds no negatives");
    tl.store(y + at, tl.sqrt(v), at < n);
  },
  "check",
);

const show = kernel(
  { x: ptr, d: ptr, y: ptr, n: i32 },
  ({ x, d, y, n }, tl) => {
    const at = tl.arange(0, 4);
    const v = tl.load(x + at);
    const pid = tl.programId(1);
    for (let i = 0; i < n; i++) tl.devicePrint("turn", i, pid === 1);
    tl.devicePrint("v", v, v > 2, tl.cast(v, tl.f16), tl.cast(v, tl.i64) * 5000000000, tl.load(d));
    tl.store(y + at, v);
  },
  "show",
);

describe.each(chips.map((c) => [c.name, c] as const))("on %s", (_name, chip) => {
  afterEach(() => vi.restoreAllMocks());

  test("a claim that does not hold is an error that names kernel, program, element and line", async () => {
    const x = new Float32Array(64).fill(4);
    x[37] = -1;
    const [a, b] = [tensor(chip, x, "f32"), tensor(chip, new Float32Array(64), "f32")];
    const run = async (): Promise<void> => {
      check.launch([4], { x: a, y: b, n: 64, BLOCK: 16 });
      await chip.driver.sync();
    };
    await expect(run()).rejects.toThrow(
      /kernel check, program \(2, 0, 0\) of \(4, 1, 1\): assert does not hold at element 5: x holds no negatives[\s\S]*in check, line \d[\s\S]*tl\.deviceAssert\(v >= 0/,
    );
    // It is said once, and the chip goes on.
    await chip.driver.sync();
    const good = tensor(chip, new Float32Array(64).fill(9), "f32");
    check.launch([4], { x: good, y: b, n: 64, BLOCK: 16 });
    expect([...(await read(chip, b, 256))]).toEqual(new Array(64).fill(3));
  });

  test("an error waits for the next read", async () => {
    const [a, b] = [tensor(chip, new Float32Array([-1, 1]), "f32"), tensor(chip, new Float32Array(2), "f32")];
    const run = async (): Promise<unknown> => {
      check.launch([1], { x: a, y: b, n: 2, BLOCK: 16 });
      return await read(chip, b, 8);
    };
    await expect(run()).rejects.toThrow(/program \(0, 0, 0\).*element 0/);
  });

  test("scalars and tiles of every width are printed with the program's id", async () => {
    const lines: unknown[][] = [];
    vi.spyOn(console, "log").mockImplementation((...words) => void lines.push(words));
    const x = tensor(chip, new Float32Array([1, 2.5, -3, 1e6]), "f32");
    const d = tensor(chip, new Float64Array([Math.PI]), "f64");
    const y = tensor(chip, new Float32Array(4), "f32");
    show.launch([1, 2], { x, d, y, n: 2 });
    await chip.driver.sync();
    vi.restoreAllMocks();
    for (const [id, second] of [
      ["0, 0, 0", false],
      ["0, 1, 0", true],
    ] as const) {
      const own = lines.filter((l) => String(l[0]).includes(`(${id})`));
      expect(own.slice(0, 2)).toEqual([0, 1].map((i) => [`kernel show (${id}) turn`, i, second]));
      expect(own[2]![0]).toBe(`kernel show (${id}) v`);
      expect(own[2]![1]).toEqual([1, 2.5, -3, 1e6]);
      expect(own[2]![2]).toEqual([false, true, false, true]);
      // 1e6 is beyond f16.
      expect(own[2]![3]).toEqual([1, 2.5, -3, Infinity]);
      expect(own[2]![4]).toEqual([5000000000n, 10000000000n, -15000000000n, 5000000000000000n]);
      expect(own[2]![5]).toBe(Math.PI);
      expect(own).toHaveLength(3);
    }
  });
});

describe.each(chips.filter((c) => c.name !== "interpreter").map((c) => [c.name, c] as const))(
  "on %s",
  (_name, chip) => {
    test("reports beyond the room for them are dropped, and that is said", async () => {
      const many = kernel(
        { y: ptr },
        ({ y }, tl) => {
          const v = tl.arange(0, 1024);
          tl.devicePrint("v", v);
          tl.store(y + tl.programId(0), 1);
        },
        "many",
      );
      const lines: string[] = [];
      vi.spyOn(console, "log").mockImplementation((word) => void lines.push(String(word)));
      const y = tensor(chip, new Float32Array(500), "f32");
      for (let turn = 0; turn < 2; turn++) {
        lines.length = 0;
        many.launch([500], { y });
        expect(lines.filter((l) => / v$/.test(l)).length).toBe(63);
        expect(lines.at(-1)).toMatch(/kernel many: it reported more than there is room for/);
      }
      vi.restoreAllMocks();
      expect([...(await read(chip, y, 2000))]).toEqual(new Array(500).fill(1));
    });
  },
);
