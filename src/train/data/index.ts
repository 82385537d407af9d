// Training data: files to token sequences, sequences to padded batches in a seeded order. Makes no tensors.

import { readFileSync } from "node:fs";
import { type TextTokenizer, TokenizerError } from "../../models/tokenizer.js";

/** A data file that cannot be used; the message names the file and the line. */
export class DataError extends Error {
  override name = "DataError";
}

/** One training sequence. */
export interface Example {
  readonly tokens: readonly number[];
  /** Positions before this one are given, not learned (0: all are learned). */
  readonly learnFrom: number;
}

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
  return readLines(path).map((line, i) => {
    const where = `${path}:${i + 1}`;
    const { prompt, completion } = line as Partial<PromptLine>;
    if (typeof prompt !== "string" || typeof completion !== "string")
      throw new DataError(`${where}: evaluation needs "prompt" and "completion"`);
    const given = encode(tokenizer, prompt, where).length;
    if (given === 0) throw new DataError(`${where}: the prompt has no tokens`);
    const all = given + encode(tokenizer, completion, where, { specialTokens: false }).length;
    if (all > context)
      throw new DataError(`${where}: ${all} tokens; the model's max_position_embeddings is ${context}`);
    return { prompt, completion };
  });
}

/** Whether a file is a `.jsonl` of `{prompt, completion}` lines, going by its first. */
export function hasPrompts(path: string): boolean {
  if (!path.endsWith(".jsonl")) return false;
  const { prompt, completion } = readLines(path)[0] as Partial<PromptLine>;
  return typeof prompt === "string" && typeof completion === "string";
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (e) {
    throw new DataError(
      `${path}: ${(e as NodeJS.ErrnoException).code === "ENOENT" ? "there is no such file" : (e as Error).message}`,
    );
  }
}

function readLines(path: string): unknown[] {
  const lines = readText(path).split(/\r?\n/);
  while (lines.at(-1) === "") lines.pop();
  if (lines.length === 0) throw new DataError(`${path}: the file is empty`);
  return lines.map((line, i) => {
    try {
      const value: unknown = JSON.parse(line);
      if (typeof value === "object" && value !== null) return value;
    } catch (e) {
      throw new DataError(`${path}:${i + 1}: not JSON: ${(e as Error).message}`);
    }
    throw new DataError(`${path}:${i + 1}: not a JSON object`);
  });
}

/**
 * Reads a data file as token sequences of at most `length + 1` tokens (inputs and next tokens).
 * `.jsonl`: `{prompt, completion}` learns the completion and the end, `{text}` learns all. Anything else is
 * plain text, cut into pieces.
 * @throws DataError for a missing, damaged or empty file, or an example that is too long
 */
export function readExamples(path: string, tokenizer: TextTokenizer, length: number): Example[] {
  const end = tokenizer.eosIds.slice(0, 1);
  if (!path.endsWith(".jsonl")) return cut(encode(tokenizer, readText(path), path), length, path);
  return readLines(path).map((line, i) => {
    const { prompt, completion, text } = line as Record<string, unknown>;
    const where = `${path}:${i + 1}`;
    const example =
      typeof prompt === "string" && typeof completion === "string"
        ? pair(encode(tokenizer, prompt, where), [
            ...encode(tokenizer, completion, where, { specialTokens: false }),
            ...end,
          ])
        : typeof text === "string"
          ? pair([], [...encode(tokenizer, text, where), ...end])
          : undefined;
    if (!example) throw new DataError(`${path}:${i + 1}: needs "prompt" and "completion", or "text"`);
    if (example.tokens.length > length + 1)
      throw new DataError(
        `${path}:${i + 1}: ${example.tokens.length} tokens; sequence_length ${length} holds ${length + 1}`,
      );
    if (example.tokens.length < 2) throw new DataError(`${path}:${i + 1}: too short: fewer than two tokens`);
    return example;
  });
}

/** Tokens of a text of a data file. @throws DataError with the place, for a character without a token */
function encode(
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

const pair = (given: number[], learned: number[]): Example => ({
  tokens: [...given, ...learned],
  learnFrom: given.length,
});

function cut(tokens: number[], length: number, path: string): Example[] {
  const out: Example[] = [];
  // Pieces overlap by one token: the last of one is the first input of the next.
  for (let at = 0; at + 1 < tokens.length; at += length)
    out.push({ tokens: tokens.slice(at, at + length + 1), learnFrom: 0 });
  if (out.length === 0) throw new DataError(`${path}: the file has fewer than two tokens`);
  return out;
}

/** Token id of targets that do not count, as PyTorch's `ignore_index`. */
export const IGNORE = -100;

export interface Batch {
  readonly rows: number;
  readonly columns: number;
  /** Row-major `[rows, columns]`: inputs, and the next token at each place or {@link IGNORE}. */
  readonly inputs: BigInt64Array;
  readonly targets: BigInt64Array;
  /** Targets that count. */
  readonly learned: number;
}

/** Pads examples to one length. All batches of a run have one shape, so that nothing is compiled twice. */
export function makeBatch(examples: readonly Example[], columns: number, pad: number): Batch {
  const inputs = new BigInt64Array(examples.length * columns).fill(BigInt(pad));
  const targets = new BigInt64Array(examples.length * columns).fill(BigInt(IGNORE));
  let learned = 0;
  examples.forEach(({ tokens, learnFrom }, row) => {
    for (let i = 0; i + 1 < tokens.length; i++) {
      inputs[row * columns + i] = BigInt(tokens[i]!);
      if (i + 1 >= learnFrom) {
        targets[row * columns + i] = BigInt(tokens[i + 1]!);
        learned++;
      }
    }
  });
  return { rows: examples.length, columns, inputs, targets, learned };
}

/** A batch in parts of equally many rows. @throws RangeError where they do not fall into so many */
export function splitBatch(batch: Batch, parts: number): Batch[] {
  const rows = batch.rows / parts;
  if (!Number.isInteger(rows))
    throw new RangeError(`a batch of ${batch.rows} sequences does not fall into ${parts} equal parts`);
  return Array.from({ length: parts }, (_, i) => {
    const [from, to] = [i * rows * batch.columns, (i + 1) * rows * batch.columns];
    const targets = batch.targets.subarray(from, to);
    const learned = targets.reduce((n, t) => n + (t === BigInt(IGNORE) ? 0 : 1), 0);
    return { rows, columns: batch.columns, inputs: batch.inputs.subarray(from, to), targets, learned };
  });
}

/** A small seeded generator for host-side choices (splitmix32); tensors have their own. */
export function hostRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return ((z ^ (z >>> 16)) >>> 0) / 2 ** 32;
  };
}

/** Shuffles in place (Fisher-Yates). */
export function shuffle<T>(items: T[], random: () => number): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
  return items;
}

/**
 * The order of the data: which examples make step `s`'s batch. Every epoch is shuffled anew from the seed and
 * the epoch's number, so a step's batch is known without replaying the steps before it.
 */
export class DataOrder {
  #epoch = -1;
  #order: number[] = [];
  constructor(
    readonly examples: number,
    readonly batch: number,
    readonly seed: number,
  ) {}

  indices(step: number): number[] {
    const out: number[] = [];
    for (let k = step * this.batch; k < (step + 1) * this.batch; k++) {
      const epoch = Math.floor(k / this.examples);
      if (epoch !== this.#epoch) {
        this.#epoch = epoch;
        this.#order = shuffle(
          Array.from({ length: this.examples }, (_, i) => i),
          hostRandom(Math.imul(this.seed + 1, 0x9e3779b1) ^ Math.imul(epoch + 1, 0x85ebca77)),
        );
      }
      out.push(this.#order[k % this.examples]!);
    }
    return out;
  }
}
