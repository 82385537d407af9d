import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { notingChip } from "./testing/fixtures.js";
import { checkTable, loadTuning, setTuning, tuningOf } from "./tuning-table.js";

afterEach(() => vi.unstubAllEnvs());

const table = (rows: object[], chip = "noting") => ({ chip, kernels: { matmul: rows as never } });

test("the first row that applies is used", () => {
  const chip = notingChip();
  setTuning(chip, [
    table([
      { when: { dtype: "f32", M: 1 }, use: { BM: 1 } },
      { when: { M: "2..16" }, use: { BM: 2 } },
      { when: { M: "..64", machine: "notes what" }, use: { BM: 3 } },
      { when: { M: "..99", machine: "another" }, use: { BM: 4 } },
      { when: { N: "100.." }, use: { BM: 5 } },
    ]),
    table([{ use: { BM: 9 } }], "other"),
    table([{ use: { BM: 6 } }]),
  ]);
  const at = (M: number, N = 1, dtype = "f32") => tuningOf(chip, "matmul", { M, N, dtype })?.["BM"];
  expect([at(1), at(1, 1, "f16"), at(2), at(16), at(17), at(64), at(65), at(65, 100)]).toEqual([
    1, 3, 2, 2, 3, 3, 6, 5,
  ]);
  expect(tuningOf(chip, "softmax", {})).toBeUndefined();
  expect(tuningOf(notingChip(), "matmul", { M: 1 })).toBeUndefined();
});

test("files of the user go before the chip's own, and wrong ones are named", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vexil-table-"));
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  try {
    const chip = { ...notingChip(), tuning: table([{ use: { BM: 7 } }]) };
    await loadTuning(chip);
    expect(tuningOf(chip, "matmul", { M: 1 })).toEqual({ BM: 7 });
    const one = file(
      "one.yaml",
      "chip: noting\nkernels:\n  matmul:\n    - when: { M: 2..4 }\n      use: { BM: 1 }\n",
    );
    const two = file("two.yaml", "chip: noting\nkernels: { matmul: [{ when: { M: 5 }, use: { BM: 2 } }] }\n");
    vi.stubEnv("VEXIL_TUNING", `${one}${delimiter}${two}`);
    await loadTuning(chip);
    expect([1, 3, 5].map((M) => tuningOf(chip, "matmul", { M })?.["BM"])).toEqual([7, 1, 2]);
    vi.stubEnv("VEXIL_TUNING", file("bad.yaml", "chip: noting\nkernels: { matmul: [{ if: 3, use: {} }] }\n"));
    await expect(loadTuning(chip)).rejects.toThrow(/bad\.yaml: kernels\.matmul\[0\] must be .*without `if`/);
    vi.stubEnv("VEXIL_TUNING", join(folder, "none.yaml"));
    await expect(loadTuning(chip)).rejects.toThrow(/^VEXIL_TUNING: ENOENT/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.each([
  [3, "the file must be a map"],
  [{ chip: "a", kernels: [] }, "kernels must be a map"],
  [{ kernels: {} }, "chip must be the name"],
  [{ chip: "a", kernels: { m: {} } }, "kernels.m must be a list"],
  [{ chip: "a", kernels: { m: [{}] } }, "kernels.m[0].use must be a map"],
  [{ chip: "a", kernels: { m: [{ use: { A: [1] } }] } }, "kernels.m[0].use.A must be a number"],
])("a table %j is refused", (value, message) => {
  expect(() => checkTable(value, "f.yaml")).toThrow(`f.yaml: ${message}`);
});
