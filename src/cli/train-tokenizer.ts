// `vexil train-tokenizer FILES OUT`: a byte-level BPE tokenizer of texts, as a folder.

import { readFileSync } from "node:fs";
import * as z from "zod";
import { saveTokenizer } from "../models/folder.js";
import { sourceTexts } from "../train/data/index.js";
import { trainBpe } from "../train/tokenizer/bpe.js";
import type { CommandSpec } from "./command.js";

const flags = z.object({
  vocabSize: z
    .number()
    .int()
    .min(257)
    .default(4096)
    .describe("tokens altogether: special ones, 256 bytes, merges"),
  special: z
    .string()
    .default("<|endoftext|>")
    .describe("whole tokens that are never cut, with commas; the first ends texts"),
  chatTemplate: z.string().optional().describe("a .jinja file that renders conversations"),
});

export const spec: CommandSpec<typeof flags.shape> = {
  name: "train-tokenizer",
  summary: "Train a byte-level BPE tokenizer on texts.",
  positionals: [
    { name: "files", description: "a text or .jsonl file, or a quoted pattern such as 'docs/**/*.md'" },
    { name: "out", description: "the folder to write tokenizer.json into" },
  ],
  flags,
  async run([files, out], { vocabSize, special, chatTemplate }) {
    const tokenizer = trainBpe(sourceTexts(files!), {
      vocabSize,
      specialTokens: special.split(",").filter((t) => t !== ""),
      chatTemplate: chatTemplate === undefined ? undefined : readFileSync(chatTemplate, "utf8"),
      onProgress: (what, done) => console.error(`${done.toLocaleString("en")} ${what}`),
    });
    saveTokenizer(out!, tokenizer);
    console.error(`wrote ${out}: ${tokenizer.size.toLocaleString("en")} tokens`);
  },
};
