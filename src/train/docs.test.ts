// The table of keys in docs/training.md is the schema's; `UPDATE_DOCS=1` writes it anew.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { describeKeys } from "./config.js";

it("docs/training.md lists every key", () => {
  const file = join(import.meta.dirname, "../../docs/training.md");
  const text = readFileSync(file, "utf8");
  const rows = describeKeys().map(
    (r) => `| \`${r.key}\` | ${r.description} | ${r.fallback === undefined ? "" : `\`${r.fallback}\``} |`,
  );
  const table = `<!-- keys -->\n| key | meaning | default |\n|---|---|---|\n${rows.join("\n")}\n<!-- /keys -->`;
  const wanted = text.replace(/<!-- keys -->[\s\S]*<!-- \/keys -->/, () => table);
  if (process.env["UPDATE_DOCS"]) writeFileSync(file, wanted);
  else expect(text).toBe(wanted);
});
