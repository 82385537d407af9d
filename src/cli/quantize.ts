// `vexil quantize MODEL OUT`: integers in place of a model's matrices, and what that costs on a text.

import { readFileSync } from "node:fs";
import { z } from "zod";
import "../chips/index.js";
import { loadModel } from "../models/load.js";
import { openModel } from "../models/open.js";
import { perplexity } from "../models/perplexity.js";
import { quantizeModel } from "../models/quantize.js";
import { autoload, loadChip } from "../runtime/index.js";
import type { CommandSpec } from "./command.js";
import { UsageError } from "./errors.js";

const flags = z.object({
  bits: z.number().int().default(8).describe("bits of an element: 8 or 4"),
  group: z.number().int().min(0).default(32).describe("channels that share a scale; 0: a whole row"),
  text: z.string().optional().describe("a text file: prints the perplexity on it before and after"),
  chip: z.string().optional().describe("the chip to compute on"),
});

export const spec: CommandSpec<typeof flags.shape> = {
  name: "quantize",
  summary: "Make 8- or 4-bit integers of a model's matrices.",
  positionals: [
    { name: "model", description: "a Hugging Face model folder" },
    { name: "out", description: "the folder to write" },
  ],
  flags,
  async run([path, out], { bits, group, text, chip }) {
    if (bits !== 8 && bits !== 4) throw new UsageError(`vexil quantize: --bits is 8 or 4, not ${bits}`);
    const device = (chip === undefined ? await autoload() : await loadChip(chip)).name;
    const measure = async (folder: string): Promise<string> => {
      if (text === undefined) return "";
      const { model, tokenizer } = loadModel(folder, { device });
      try {
        return (await perplexity(model, tokenizer.encode(readFileSync(text, "utf8")))).toFixed(4);
      } finally {
        model.dispose();
      }
    };
    const before = await measure(path!);
    const count = await quantizeModel(openModel(path!), out!, { bits, groupSize: group, device });
    console.error(`wrote ${out}: ${count} matrices of ${bits}-bit integers`);
    if (text !== undefined)
      console.log(
        JSON.stringify({ perplexity: { before: Number(before), after: Number(await measure(out!)) } }),
      );
  },
};
