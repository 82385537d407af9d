// Trains a byte-level BPE tokenizer (Sennrich et al., 2016; Radford et al., 2019) on texts. It reads no files; the result is
// an ordinary tokenizer.json, which every library reads.

import { BYTE_CHARACTERS } from "../../models/alphabet.js";
import { addedToken, bpeModel, byteLevel, numbered } from "../../models/tokenizer-json.js";
import { TextTokenizer, TokenizerError } from "../../models/tokenizer.js";
import { Pairs } from "./pairs.js";

export interface BpeOptions {
  /** Tokens altogether: special ones, the 256 bytes, merges. */
  readonly vocabSize: number;
  /** Whole tokens that no text is cut into; the first ends texts. Default `<|endoftext|>`. */
  readonly specialTokens?: readonly string[];
  /** The Jinja text of a chat template that belongs to the tokenizer. */
  readonly chatTemplate?: string | undefined;
  /** Called now and then with how much is done. */
  readonly onProgress?: (what: "characters" | "tokens", done: number) => void;
}

/** What GPT-2 cuts text into before pairs are merged: contractions, words, numbers, signs, with a space before, and spaces. */
export const GPT2_WORDS = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

const PROGRESS_CHARACTERS = 4_000_000;
const PROGRESS_TOKENS = 1000;

/** The distinct words of texts and how often each occurs. */
function countWords(
  texts: Iterable<string>,
  { specialTokens = [], onProgress }: BpeOptions,
): Map<string, number> {
  const counts = new Map<string, number>();
  const special =
    specialTokens.length === 0
      ? undefined
      : new RegExp(specialTokens.map((t) => t.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")).join("|"));
  let [seen, told] = [0, 0];
  for (const text of texts) {
    for (const part of special ? text.split(special) : [text])
      for (const [word] of part.matchAll(GPT2_WORDS)) counts.set(word, (counts.get(word) ?? 0) + 1);
    seen += text.length;
    if (seen - told < PROGRESS_CHARACTERS) continue;
    told = seen;
    onProgress?.("characters", seen);
  }
  return counts;
}

/**
 * Trains a tokenizer: starts from the 256 bytes and joins the most frequent pair of neighbouring tokens until the
 * vocabulary is full, or no pair is left. Of equally frequent pairs the one made of older tokens comes first, as in Hugging
 * Face's trainer.
 *
 * @throws TokenizerError when the vocabulary has no room for the bytes and the special tokens
 * @example const tokenizer = trainBpe(["low lower lowest"], { vocabSize: 260 });
 */
export function trainBpe(texts: Iterable<string>, options: BpeOptions): TextTokenizer {
  const { vocabSize, onProgress } = options;
  const specialTokens = options.specialTokens ?? ["<|endoftext|>"];
  if (new Set(specialTokens).size !== specialTokens.length || specialTokens.includes(""))
    throw new TokenizerError("special_tokens: each is there once, and none is empty");
  if (!(vocabSize >= 256 + specialTokens.length))
    throw new TokenizerError(
      `a vocab_size of ${vocabSize} does not hold the 256 bytes and ${specialTokens.length} special tokens`,
    );
  const tokens = [...specialTokens, ...[...BYTE_CHARACTERS].sort((a, b) => (a < b ? -1 : 1))];
  const ids = new Map(tokens.map((t, i) => [t, i]));
  const byteIds = BYTE_CHARACTERS.map((c) => ids.get(c)!);
  const encoder = new TextEncoder();
  const words = countWords(texts, { ...options, specialTokens });
  const pairs = new Pairs(
    (function* () {
      for (const [word, count] of words)
        yield [Array.from(encoder.encode(word), (b) => byteIds[b]!), count] as const;
    })(),
  );
  const merges: string[] = [];
  while (tokens.length < vocabSize) {
    const pair = pairs.next();
    if (!pair) break;
    const [left, right] = pair;
    const token = tokens[left]! + tokens[right]!;
    // Two pairs may join to the same text.
    const id = ids.get(token) ?? tokens.push(token) - 1;
    ids.set(token, id);
    merges.push(`${tokens[left]} ${tokens[right]}`);
    pairs.merge(left, right, id);
    if (tokens.length % PROGRESS_TOKENS === 0) onProgress?.("tokens", tokens.length);
  }
  return new TextTokenizer(tokenizerFiles(tokens, merges, specialTokens, options.chatTemplate));
}

function tokenizerFiles(
  tokens: readonly string[],
  merges: readonly string[],
  specialTokens: readonly string[],
  chatTemplate: string | undefined,
): ConstructorParameters<typeof TextTokenizer>[0] {
  return {
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: specialTokens.map((t, id) => addedToken(t, id)),
      normalizer: null,
      pre_tokenizer: byteLevel(true),
      post_processor: null,
      decoder: byteLevel(true),
      model: bpeModel(numbered(tokens), merges),
    },
    config: {
      tokenizer_class: "PreTrainedTokenizerFast",
      bos_token: null,
      eos_token: specialTokens[0] ?? null,
      pad_token: specialTokens[0] ?? null,
      model_max_length: 1_000_000,
      clean_up_tokenization_spaces: false,
    },
    ...(chatTemplate === undefined ? {} : { chatTemplate }),
  };
}
