// `vexil conformance`: operators and models against reference results that are not ours. Ends with one JSON line.

import { basename } from "node:path";
import * as z from "zod";
import "../chips/index.js";
import "../ops/index.js";
import { autoload, loadChip } from "../runtime/index.js";
import type { CommandSpec } from "./command.js";
import { checkOpInfo, type OpInfoReport } from "./conformance-opinfo.js";
import { UsageError } from "./errors.js";

const flags = z.object({
  chip: z.string().optional().describe("the chip to check (default: the one in use)"),
  json: z.boolean().default(false).describe("print only the JSON line"),
  sample: z
    .number()
    .int()
    .positive()
    .optional()
    .describe("opinfo: at most N cases of each operator and dtype"),
  ops: z.string().optional().describe("opinfo: only these operators, separated by commas"),
  failuresOnly: z.boolean().default(false).describe("opinfo: do not list what passed"),
});

export const spec: CommandSpec<typeof flags.shape> = {
  name: "conformance",
  summary: "Check operators (opinfo PREFIX) or models (models FOLDER) against reference results.",
  positionals: [
    { name: "suite", description: "opinfo or models" },
    {
      name: "path",
      description: "opinfo: the samples' path without .jsonl; models: a folder of model folders",
    },
  ],
  flags,
  async run([suite, path], options) {
    const chip = (options.chip === undefined ? await autoload() : await loadChip(options.chip)).name;
    if (suite === "models") {
      await runModels(path!, chip);
      return;
    }
    if (suite !== "opinfo")
      throw new UsageError(`vexil conformance: the suite is opinfo or models, not "${suite}"`);
    const report = await checkOpInfo(path!, {
      chip,
      ...(options.sample === undefined ? {} : { sample: options.sample }),
      ...(options.ops === undefined ? {} : { ops: options.ops.split(",").map((x) => x.trim()) }),
      ...(options.json ? {} : { progress: showProgress() }),
    });
    if (!options.json) printReport(report, options.failuresOnly);
    const { cases, passed, failed, declined, unsupported, exceptions } = report;
    console.log(JSON.stringify({ suite, chip, cases, passed, failed, declined, unsupported, exceptions }));
    if (failed > 0) process.exitCode = 1;
  },
};

/** Every model folder with a reference, one after the other. */
async function runModels(root: string, chip: string): Promise<void> {
  const { checkModel, modelPasses, referenceFolders } = await import("./conformance-models.js");
  const models: Record<string, unknown> = {};
  for (const folder of referenceFolders(root)) {
    const result = await checkModel(folder, chip);
    models[basename(folder)] = result;
    if (!modelPasses(result)) process.exitCode = 1;
    process.stderr.write(`${basename(folder)}: ${JSON.stringify(result)}\n`);
  }
  console.log(JSON.stringify({ suite: "models", chip, models }));
}

/** A line that is rewritten on a terminal, and a line now and then in a pipe. */
function showProgress(): (done: number, total: number) => void {
  const live = process.stderr.isTTY;
  let last = 0;
  return (done, total) => {
    const now = Date.now();
    if (done < total && now - last < (live ? 100 : 5000)) return;
    last = now;
    process.stderr.write(
      live ? `\r${done} of ${total} cases${done === total ? "\n" : ""}` : `${done} of ${total} cases\n`,
    );
  };
}

function printReport(report: OpInfoReport, failuresOnly: boolean): void {
  if (!failuresOnly && report.supported.length > 0)
    console.log(`passed all their cases (${report.supported.length}): ${report.supported.join(", ")}\n`);
  const byOp = new Map<string, (typeof report.failures)[number][]>();
  for (const f of report.failures) {
    const list = byOp.get(f.op);
    if (list) list.push(f);
    else byOp.set(f.op, [f]);
  }
  for (const [op, list] of byOp) {
    console.log(`${op}: ${list.length} failed`);
    for (const f of list.slice(0, 4)) console.log(`    ${f.dtype} #${f.sample}: ${f.reason}`);
    if (list.length > 4) console.log(`    and ${list.length - 4} more`);
  }
  for (const [capability, count] of Object.entries(report.declinedBy))
    console.log(`declined for want of ${capability}: ${count}`);
}
