// The parts of a `tokenizer.json` that are the same in every tokenizer made here: of characters, trained, from a GGUF file.
// The format is that of Hugging Face's tokenizers.

/** An entry of `added_tokens`: a token that no text is cut into. @param special left out of decoded text */
export const addedToken = (content: string, id: number, special = true) => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special,
});

/** Bytes written as characters. @param words whether text is cut into GPT-2's words too */
export const byteLevel = (words: boolean) => ({
  type: "ByteLevel",
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: words,
});

/** Tokens and the pairs that join, the first ones first. @param more fields other than the usual ones */
export const bpeModel = (
  vocab: Readonly<Record<string, number>>,
  merges: readonly (string | readonly string[])[],
  more: object = {},
) => ({
  type: "BPE",
  dropout: null,
  unk_token: null,
  continuing_subword_prefix: null,
  end_of_word_suffix: null,
  fuse_unk: false,
  byte_fallback: false,
  ignore_merges: false,
  vocab,
  merges,
  ...more,
});

/** Tokens by their numbers. */
export const numbered = (tokens: readonly string[]): Record<string, number> =>
  Object.fromEntries(tokens.map((t, i) => [t, i]));
