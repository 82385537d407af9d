// `vexil export MODEL --gguf FILE`: writes a model as a file that llama.cpp and others run.

import { statSync } from "node:fs";
import { basename, resolve } from "node:path";
import { z } from "zod";
import "../chips/index.js";
import { writeGguf } from "../models/gguf/export.js";
import { WRITTEN_TYPES } from "../models/gguf/types.js";
import { openParameters, parameterShapes } from "../models/load.js";
import { openModel } from "../models/open.js";
import { autoload } from "../runtime/index.js";
import type { CommandSpec } from "./command.js";

const flags = z.object({
  gguf: z.string().describe("the file to write"),
  type: z
    .string()
    .transform((t) => t.toUpperCase())
    .pipe(z.enum(WRITTEN_TYPES))
    .default("F16")
    .describe(`how matrices are stored: ${WRITTEN_TYPES.join(", ")}`),
});

export const spec: CommandSpec<typeof flags.shape> = {
  name: "export",
  summary: "Write a model as a GGUF file.",
  positionals: [{ name: "model", description: "a Hugging Face model folder, or a GGUF file" }],
  flags,
  async run([path], { gguf, type }) {
    const device = (await autoload()).name;
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
