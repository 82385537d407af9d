import { afterEach, expect, test } from "vitest";
import { parse } from "yaml";
import "../chips/index.js";
import { matmul } from "../ops/index.js";
import { checkTable, loadChip, setTuning, tuningOf } from "../runtime/index.js";
import { tensor } from "../tensor/index.js";
import { showTable, tuneMatmul } from "./tune-kernels.js";

const chip = await loadChip("wasm");
afterEach(() => setTuning(chip, []));

test("measures every class of rows, and what it writes can be read back", async () => {
  const lines: string[] = [];
  const rows = await tuneMatmul(chip, ["f32"], 16, 1, (l) => lines.push(l));
  expect(lines.length).toBe(3);
  expect(lines.every((l) => /^matmul f32 \d+x16x16: \[\d+,\d+,\d+\] [\d.]+ ms/.test(l))).toBe(true);
  const table = { chip: "wasm", kernels: { matmul: rows } };
  const text = showTable(table, chip, new Date(0));
  expect(text).toContain("measured on 1970-01-01");
  expect(checkTable(parse(text), "text")).toEqual(table);
});

test("a table changes the blocks of a product and not its values", async () => {
  const a = tensor(
    Array.from({ length: 40 * 30 }, (_, i) => (i % 7) - 3),
    { shape: [40, 30], dtype: "f32", device: "wasm" },
  );
  const b = tensor(
    Array.from({ length: 30 * 20 }, (_, i) => (i % 5) - 2),
    { shape: [30, 20], dtype: "f32", device: "wasm" },
  );
  const plain = await matmul(a, b).tolist();
  setTuning(chip, [
    { chip: "wasm", kernels: { matmul: [{ when: { M: "33.." }, use: { BM: 8, BN: 8, BK: 16 } }] } },
  ]);
  expect(tuningOf(chip, "matmul", { M: 40 })).toEqual({ BM: 8, BN: 8, BK: 16 });
  expect(await matmul(a, b).tolist()).toEqual(plain);
  setTuning(chip, [{ chip: "wasm", kernels: { matmul: [{ use: { BM: "many" } }] } }]);
  expect(() => matmul(a, b)).toThrow(
    /tuning table of wasm: BM of matmul must be a whole number from 1, not many/,
  );
});
