// `vexil export MODEL`: writes a model as a GGUF file, which llama.cpp and others run, or as a Hugging Face folder, with
// low-rank adapters merged into its weights.

import { statSync } from "node:fs";
import { basename, resolve } from "node:path";
import * as z from "zod";
import "../chips/index.js";
import { writeGguf } from "../models/gguf/export.js";
import { WRITTEN_TYPES } from "../models/gguf/types.js";
import { loadModel, openParameters, parameterShapes, saveModel } from "../models/load.js";
import { openModel } from "../models/open.js";
import { autoload } from "../runtime/index.js";
import type { CommandSpec } from "./command.js";
import { UsageError } from "./errors.js";

const flags = z.object({
  gguf: z.string().optional().describe("the GGUF file to write"),
  folder: z.string().optional().describe("the Hugging Face folder to write instead"),
  adapter: z
    .string()
    .optional()
    .describe("a folder of low-rank adapters (PEFT) to merge into the weights; with --folder"),
  type: z
    .string()
    .transform((t) => t.toUpperCase())
    .pipe(z.enum(WRITTEN_TYPES))
    .default("F16")
    .describe(`how matrices are stored: ${WRITTEN_TYPES.join(", ")}`),
});

export const spec: CommandSpec<typeof flags.shape> = {
  name: "export",
  summary: "Write a model as a GGUF file, or with adapters merged as a folder.",
  positionals: [{ name: "model", description: "a Hugging Face model folder, or a GGUF file" }],
  flags,
  async run([path], { gguf, folder: target, adapter, type }) {
    const usage = new UsageError("export: give either --gguf FILE or --folder FOLDER");
    if (gguf !== undefined && target !== undefined) throw usage;
    const device = (await autoload()).name;
    if (gguf === undefined) {
      if (target === undefined) throw usage;
      const { model, tokenizer } = loadModel(path!, { device, adapter });
      await saveModel(target, model, tokenizer);
      console.error(
        `wrote ${target}${adapter === undefined ? "" : ` with the adapters of ${adapter} merged`}`,
      );
      return;
    }
    if (adapter !== undefined)
      throw new UsageError("export: merge adapters with --folder first, then export that folder as GGUF");
    const folder = openModel(path!);
    const { config, files } = openParameters(folder);
    using open = files;
    const { tensors } = writeGguf(gguf, {
      name: basename(resolve(path!)),
      config,
      tokenizer: folder.tokenizer(),
      files: open,
      shapes: parameterShapes(config, device),
      type,
    });
    const counts = Object.entries(tensors).map(([t, n]) => `${n} ${t}`);
    console.error(
      `wrote ${gguf}: ${counts.join(", ")} tensors, ${statSync(gguf).size.toLocaleString("en")} bytes`,
    );
  },
};
