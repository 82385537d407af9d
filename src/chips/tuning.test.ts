import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { checkTable, loadChip, tuningOf } from "../runtime/index.js";
import "./index.js";

const folder = join(import.meta.dirname, "../../tuning");
const files = readdirSync(folder).filter((f) => f.endsWith(".yaml"));

test("there are tables", () => expect(files).toContain("cpu.yaml"));

test.each(files)("%s is what its chip carries, and covers every matrix product", async (file) => {
  const table = checkTable(parse(readFileSync(join(folder, file), "utf8")), file);
  const chip = await loadChip(file.replace(".yaml", ""));
  expect(chip.tuning).toEqual(table);
  const [BM, BN, BK] = chip.capabilities.dotBlock;
  expect(tuningOf(chip, "matmul", { dtype: "f32", M: 1, N: 1, K: 1 })).toEqual({ BM, BN, BK });
});
