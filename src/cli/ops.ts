// `vexil ops`: the operator table with the dtypes and chips of each operator, as a list or as JSON.

import * as z from "zod";
import "../chips/index.js";
import "../ops/index.js";
import { operators, TENSOR_DTYPES } from "../tensor/index.js";
import type { CommandSpec } from "./command.js";
import { operatorRow } from "./docs/matrix.js";

const flags = z.object({
  json: z.boolean().default(false).describe("print JSON, with the reasons for what is missing"),
});

export const spec: CommandSpec<typeof flags.shape> = {
  name: "ops",
  summary: "List the operators: schema, derivative, stage, dtypes, chips.",
  flags,
  async run(_positionals, { json }) {
    const rows = [...operators().values()].map(operatorRow);
    if (json) {
      console.log(JSON.stringify(rows, null, 2));
      return;
    }
    for (const r of rows) {
      const taken =
        r.dtypes === null ? "not probed" : TENSOR_DTYPES.filter((d) => r.dtypes![d] === true).join(" ");
      console.log(
        `${r.schema}\n    gradient: ${r.gradient}, ${r.stage}; dtypes: ${taken}${r.summary ? `. ${r.summary}` : ""}`,
      );
    }
    console.log(
      `\n${rows.length} operators, on every chip in the dtypes that it has. --json says what is missing and why.`,
    );
  },
};
