// Prompts with the answers they should get, for evaluation.

import type { TextTokenizer } from "../../models/tokenizer.js";
import { encodeAt } from "./documents.js";
import { DataError, jsonLines } from "./lines.js";

/** One line of a `.jsonl` file. */
export interface PromptLine {
  readonly prompt: string;
  readonly completion: string;
}

/**
 * Reads the `{prompt, completion}` lines of a file, for evaluation by exact answers.
 * @param context the most tokens that a prompt and its completion may have together
 * @throws DataError for a missing or damaged file, a text without tokens, one that is too long
 */
export function readPrompts(path: string, tokenizer: TextTokenizer, context: number): PromptLine[] {
  return Array.from(jsonLines(path), ({ value, where }) => {
    const { prompt, completion } = value as Partial<PromptLine>;
    if (typeof prompt !== "string" || typeof completion !== "string")
      throw new DataError(`${where}: evaluation needs "prompt" and "completion"`);
    const given = encodeAt(tokenizer, prompt, where).length;
    if (given === 0) throw new DataError(`${where}: the prompt has no tokens`);
    const all = given + encodeAt(tokenizer, completion, where, { specialTokens: false }).length;
    if (all > context)
      throw new DataError(`${where}: ${all} tokens; the model's max_position_embeddings is ${context}`);
    return { prompt, completion };
  });
}

/** Whether a file is a `.jsonl` of `{prompt, completion}` lines, going by its first. */
export function hasPrompts(path: string): boolean {
  if (!path.endsWith(".jsonl")) return false;
  for (const { value } of jsonLines(path))
    return typeof value["prompt"] === "string" && typeof value["completion"] === "string";
  return false;
}
