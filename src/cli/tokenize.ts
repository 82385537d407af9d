// `vexil tokenize FILES OUT`: texts to a file of tokens that training reads piece by piece.

import { renameSync, rmSync } from "node:fs";
import * as z from "zod";
import { openTokenizer } from "../models/folder.js";
import { expandPath } from "../train/data/index.js";
import { fileDocuments } from "../train/data/documents.js";
import { TokenFileWriter } from "../train/data/token-file.js";
import type { CommandSpec } from "./command.js";
import { UsageError } from "./errors.js";

const flags = z.object({
  model: z.string().describe("the folder with tokenizer.json: a model's, or one of a tokenizer alone"),
});

export const spec: CommandSpec<typeof flags.shape> = {
  name: "tokenize",
  summary: "Make a file of tokens (.npy) of texts, for training.",
  positionals: [
    { name: "files", description: "a text or .jsonl file, or a quoted pattern such as 'docs/**/*.md'" },
    { name: "out", description: "the .npy file to write" },
  ],
  flags,
  async run([files, out], { model }) {
    if (!out!.endsWith(".npy")) throw new UsageError(`tokenize: ${out} must end with .npy`);
    const tokenizer = openTokenizer(model);
    const [end] = tokenizer.eosIds;
    const temporary = `${out}.tmp`;
    const writer = new TokenFileWriter(temporary, tokenizer.size);
    let documents = 0;
    try {
      for (const path of expandPath(files!))
        for (const { tokens } of fileDocuments(path, tokenizer)) {
          writer.write(tokens);
          if (end !== undefined && tokens.at(-1) !== end) writer.write([end]);
          documents++;
        }
      writer.close();
    } catch (e) {
      rmSync(temporary, { force: true });
      throw e;
    }
    renameSync(temporary, out!);
    console.error(
      `wrote ${out}: ${writer.count.toLocaleString("en")} tokens of ${documents.toLocaleString("en")} ${documents === 1 ? "document" : "documents"}`,
    );
  },
};
