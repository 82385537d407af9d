// Which tokenizer a run has: the checkpoint's, one from a folder, one of single characters, or one trained on the data.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openTokenizer } from "../../models/folder.js";
import { openModel } from "../../models/open.js";
import { characterTokenizer, TextTokenizer } from "../../models/tokenizer.js";
import { ConfigError, type TrainConfig } from "../config.js";
import { sourceTexts } from "../data/index.js";
import { trainBpe } from "./bpe.js";

/**
 * The tokenizer that a configuration asks for.
 * @param checkpoint the folder that the run goes on from; a tokenizer that was trained stands there
 * @param note is told how training a tokenizer goes
 * @throws ConfigError, DataError, errors of model folders and tokenizers
 */
export function tokenizerFor(
  config: TrainConfig,
  checkpoint: string | undefined,
  note: (text: string) => void,
): TextTokenizer {
  const { characters, folder, train, chat_template: template } = config.tokenizer;
  const ways = Object.entries({ characters, folder, train }).filter(([, v]) => v !== undefined);
  if (ways.length > 1)
    throw new ConfigError(`tokenizer: give one of ${ways.map(([k]) => k).join(" and ")}, not both`);
  const chatTemplate = template === undefined ? undefined : readTemplate(template);
  const found =
    train !== undefined
      ? checkpoint !== undefined
        ? openTokenizer(checkpoint)
        : trained(config, train, note)
      : characters !== undefined
        ? characterTokenizer(characters)
        : existing(folder ?? config.model.folder);
  return chatTemplate === undefined ? found : new TextTokenizer({ ...found.files, chatTemplate });
}

function existing(folder: string | undefined): TextTokenizer {
  if (folder === undefined)
    throw new ConfigError(
      "tokenizer: give a folder, characters or train, since the model starts from nothing",
    );
  // A folder may hold a tokenizer alone.
  return existsSync(join(folder, "tokenizer.json")) ? openTokenizer(folder) : openModel(folder).tokenizer();
}

function readTemplate(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (e) {
    throw new ConfigError(`tokenizer.chat_template: ${(e as Error).message}`);
  }
}

function trained(
  config: TrainConfig,
  options: NonNullable<TrainConfig["tokenizer"]["train"]>,
  note: (text: string) => void,
): TextTokenizer {
  const { vocab_size: vocabSize, special_tokens: specialTokens } = options;
  const tokenizer = trainBpe(sourceTexts(config.data.train), {
    vocabSize,
    specialTokens,
    onProgress: (what, done) =>
      note(
        what === "tokens"
          ? `training the tokenizer: ${done.toLocaleString("en")} of ${vocabSize.toLocaleString("en")} tokens`
          : `training the tokenizer: ${done.toLocaleString("en")} characters read`,
      ),
  });
  if (tokenizer.size < vocabSize)
    note(
      `the tokenizer has ${tokenizer.size.toLocaleString("en")} tokens: the data hold no more pairs to join`,
    );
  return tokenizer;
}
