// `vexil chips`: what was found on this machine, what is missing and how to get it.

import * as z from "zod";
import "../chips/index.js";
import { autoload, listChips } from "../runtime/index.js";
import type { CommandSpec } from "./command.js";

const flags = z.object({ json: z.boolean().default(false).describe("print JSON") });

export const spec: CommandSpec<typeof flags.shape> = {
  name: "chips",
  summary: "Show the chips found here, what is missing and how to get it.",
  flags,
  async run(_positionals, { json }) {
    const rows = await Promise.all(
      listChips().map(async (entry) => {
        const probe = await entry.probe();
        return { name: entry.name, summary: entry.summary, ...probe };
      }),
    );
    // Which one is used is the registry's own answer; with VEXIL_CHIP naming a wrong one, that is an error worth showing.
    const used = (await autoload()).name;
    if (json) {
      console.log(JSON.stringify({ default: used, chips: rows }, null, 2));
      return;
    }
    const width = Math.max(...rows.map((r) => r.name.length));
    for (const r of rows) {
      console.log(
        `${r.available ? "+" : "-"} ${r.name.padEnd(width)}  ${r.found}${r.name === used ? "  (default)" : ""}`,
      );
      console.log(`  ${"".padEnd(width)}  ${r.summary}`);
      for (const line of r.vendor ?? []) console.log(`  ${"".padEnd(width)}  vendor library for ${line}`);
      if (r.hint) console.log(`  ${"".padEnd(width)}  to get it: ${r.hint}`);
    }
    console.log("\nChoose one with VEXIL_CHIP=NAME, --chip NAME, or setDefaultChip(NAME).");
  },
};
