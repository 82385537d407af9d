// From a line or a file to a document: its tokens, and which of them are learned.

import { type ChatMessage, type TextTokenizer, TokenizerError } from "../../models/tokenizer.js";
import { renderChat } from "./chat.js";
import { DataError, type JsonLine, jsonLines, readText } from "./lines.js";

/** Tokens with, for each, 1 where it is learned and 0 where it is given. */
export interface Document {
  readonly tokens: readonly number[];
  readonly learned: readonly (0 | 1)[];
  /** Its file, with the line. */
  readonly where: string;
}

/** A piece of text, and whether its tokens are learned. */
export interface Part {
  readonly text: string;
  readonly learned: boolean;
}

/** Tokens of a text of a data file. @throws DataError with the place, for a character without a token */
export function encodeAt(
  tokenizer: TextTokenizer,
  text: string,
  where: string,
  options?: { specialTokens?: boolean },
): number[] {
  try {
    return tokenizer.encode(text, options);
  } catch (e) {
    throw e instanceof TokenizerError ? new DataError(`${where}: ${e.message}`) : e;
  }
}

function fill(
  parts: readonly (readonly [tokens: readonly number[], learned: boolean])[],
  where: string,
): Document {
  return {
    tokens: parts.flatMap(([tokens]) => tokens),
    learned: parts.flatMap(([tokens, learned]) => tokens.map(() => (learned ? 1 : 0))),
    where,
  };
}

const isMessage = (m: unknown): m is ChatMessage =>
  typeof m === "object" &&
  m !== null &&
  typeof (m as ChatMessage).role === "string" &&
  typeof (m as ChatMessage).content === "string";

/**
 * The document of a line: `{messages}` learns the assistant's turns, `{prompt, completion}` the completion and the end,
 * `{text}` all and the end.
 * @throws DataError naming the line
 */
export function lineDocument({ value, where }: JsonLine, tokenizer: TextTokenizer): Document {
  const end = tokenizer.eosIds.slice(0, 1);
  const { messages, tools, prompt, completion, text } = value;
  if (messages !== undefined) {
    if (!Array.isArray(messages) || messages.length === 0 || !messages.every(isMessage))
      throw new DataError(`${where}: "messages" must be a list of {role, content}`);
    if (!messages.some((m) => m.role === "assistant"))
      throw new DataError(`${where}: no message is the assistant's, so there is nothing to learn`);
    const parts = renderChat(
      tokenizer,
      messages,
      where,
      Array.isArray(tools) ? (tools as object[]) : undefined,
    );
    // The parts are read apart, as a prompt and its answer are when the model is used.
    return fill(
      parts.map((p) => [encodeAt(tokenizer, p.text, where, { specialTokens: false }), p.learned] as const),
      where,
    );
  }
  if (typeof prompt === "string" && typeof completion === "string")
    return fill(
      [
        [encodeAt(tokenizer, prompt, where), false],
        [[...encodeAt(tokenizer, completion, where, { specialTokens: false }), ...end], true],
      ],
      where,
    );
  if (typeof text === "string") return fill([[[...encodeAt(tokenizer, text, where), ...end], true]], where);
  throw new DataError(`${where}: needs "prompt" and "completion", "text", or "messages"`);
}

/** All documents of a file: the lines of a `.jsonl` file, or the whole of a text. @throws DataError */
export function* fileDocuments(path: string, tokenizer: TextTokenizer): Generator<Document> {
  if (path.endsWith(".jsonl")) for (const line of jsonLines(path)) yield lineDocument(line, tokenizer);
  else yield fill([[encodeAt(tokenizer, readText(path), path), true]], path);
}

/** The texts of a file that a tokenizer can be trained on. @throws DataError */
export function* fileTexts(path: string): Generator<string> {
  if (!path.endsWith(".jsonl")) {
    yield readText(path);
    return;
  }
  for (const { value } of jsonLines(path)) {
    for (const key of ["prompt", "completion", "text"]) if (typeof value[key] === "string") yield value[key];
    if (Array.isArray(value["messages"]))
      for (const m of value["messages"]) if (isMessage(m)) yield m.content;
  }
}
