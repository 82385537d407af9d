// `vexil ops`: the operator table, as a list or as JSON.

import { z } from "zod";
import "../ops/index.js";
import { operators } from "../tensor/index.js";
import type { CommandSpec } from "./command.js";

const flags = z.object({ json: z.boolean().default(false).describe("print JSON") });

export const spec: CommandSpec<typeof flags.shape> = {
  name: "ops",
  summary: "List the operators: schema, derivative, stage.",
  flags,
  async run(_positionals, { json }) {
    const rows = [...operators().values()].map((o) => ({
      name: o.name,
      schema: o.schema.text,
      gradient: o.gradient,
      stage: o.stage,
      opinfo: o.opinfo.map((e) => e.op),
      summary: o.summary,
    }));
    if (json) {
      console.log(JSON.stringify(rows, null, 2));
      return;
    }
    for (const r of rows)
      console.log(`${r.schema}\n    gradient: ${r.gradient}, ${r.stage}${r.summary ? `. ${r.summary}` : ""}`);
    console.log(`\n${rows.length} operators`);
  },
};
