import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { checkTable, listChips, loadChip, tuningOf } from "../runtime/index.js";
import "./index.js";

const folder = join(import.meta.dirname, "../../tuning");
const files = readdirSync(folder).filter((f) => f.endsWith(".yaml"));

test("there are tables", () => expect(files).toContain("cpu.yaml"));

for (const file of files) {
  const name = file.replace(".yaml", "");
  const probe = await listChips()
    .find((entry) => entry.name === name)!
    .probe();
  const title = probe.available ? file : `${file} (missing: ${probe.found})`;
  test.skipIf(!probe.available)(
    `${title} is what its chip carries, and covers every matrix product`,
    async () => {
      const table = checkTable(parse(readFileSync(join(folder, file), "utf8")), file);
      const chip = await loadChip(name);
      expect(chip.tuning).toEqual(table);
      const size = expect.any(Number);
      for (const dtype of ["f32", "bf16", "i64"])
        expect(tuningOf(chip, "matmul", { dtype, M: 1, N: 1, K: 1 })).toMatchObject({
          BM: size,
          BN: size,
          BK: size,
        });
    },
  );
}
