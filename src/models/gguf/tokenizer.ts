// A tokenizer in a GGUF file's metadata: to the content of tokenizer.json, and from it.
//
// Two kinds are read: byte-level BPE ("gpt2") and SentencePiece's BPE with scores ("llama"); the first is written too.

import type { TextTokenizer, TokenizerFiles } from "../tokenizer.js";
import { addedToken, bpeModel, byteLevel, numbered } from "../tokenizer-json.js";
import { GgufError, type Typed } from "./format.js";
import type { Keys } from "./metadata.js";

/** How a byte-level tokenizer cuts text before merging, by llama.cpp's names. */
const CUTS = {
  "gpt-2": undefined,
  qwen2:
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  "llama-bpe":
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
} as const;
type Cut = keyof typeof CUTS;

/** Other names for the same. */
const SAME: Readonly<Record<string, Cut>> = {
  "llama-v3": "llama-bpe",
  llama3: "llama-bpe",
  "deepseek-r1-qwen": "qwen2",
  gpt2: "gpt-2",
};

/** `tokenizer.ggml.token_type` */
const [NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE] = [1, 2, 3, 4, 5, 6];

const replace = (from: string, to: string) => ({ type: "Replace", pattern: { String: from }, content: to });

/** The files of a tokenizer, from metadata. @throws GgufError naming the key */
export function tokenizerFiles(keys: Keys): TokenizerFiles {
  const fail = (why: string): never => {
    throw new GgufError(`${keys.file}: ${why}`);
  };
  const kind = keys.string("tokenizer.ggml.model");
  if (kind !== "gpt2" && kind !== "llama")
    return fail(`the tokenizer ${JSON.stringify(kind ?? null)} is not supported (gpt2 and llama are)`);
  const tokens =
    keys.list("tokenizer.ggml.tokens", "string") ?? fail('key "tokenizer.ggml.tokens" is missing');
  const types = keys.list("tokenizer.ggml.token_type", "number") ?? [];
  const given = keys.string("tokenizer.ggml.pre") ?? "gpt-2";
  const pre = SAME[given] ?? given;
  if (kind === "gpt2" && !Object.hasOwn(CUTS, pre))
    return fail(`the pre-tokenizer "${given}" is not supported (${Object.keys(CUTS).join(", ")} are)`);
  const special = (name: string): string | undefined => {
    const id = keys.number(`tokenizer.ggml.${name}_token_id`);
    return id === undefined
      ? undefined
      : (tokens[id] ?? fail(`tokenizer.ggml.${name}_token_id is ${id} of ${tokens.length}`));
  };
  const bos = special("bos");
  const addBos = keys.boolean("tokenizer.ggml.add_bos_token") ?? (kind === "llama" || pre === "llama-bpe");
  const template = keys.string("tokenizer.chat_template");
  return {
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: tokens.flatMap((content, id) =>
        types[id] === CONTROL || types[id] === USER || types[id] === UNKNOWN
          ? [addedToken(content, id, types[id] !== USER)]
          : [],
      ),
      post_processor: addBos && bos !== undefined ? firstToken(bos, tokens.indexOf(bos)) : null,
      ...(kind === "gpt2"
        ? byteBpe(keys, tokens, pre as Cut, fail)
        : sentencePieces(keys, tokens, types, fail)),
    },
    config: {
      tokenizer_class: "PreTrainedTokenizerFast",
      bos_token: bos ?? null,
      eos_token: special("eos") ?? null,
      pad_token: special("padding") ?? null,
      unk_token: special("unknown") ?? null,
      clean_up_tokenization_spaces: false,
    },
    ...(template === undefined ? {} : { chatTemplate: template }),
  };
}

const firstToken = (token: string, id: number) => ({
  type: "TemplateProcessing",
  single: [{ SpecialToken: { id: token, type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
  pair: [
    { SpecialToken: { id: token, type_id: 0 } },
    { Sequence: { id: "A", type_id: 0 } },
    { SpecialToken: { id: token, type_id: 1 } },
    { Sequence: { id: "B", type_id: 1 } },
  ],
  special_tokens: { [token]: { id: token, ids: [id], tokens: [token] } },
});

function byteBpe(keys: Keys, tokens: readonly string[], pre: Cut, fail: (why: string) => never): object {
  const merges =
    keys.list("tokenizer.ggml.merges", "string") ?? fail('key "tokenizer.ggml.merges" is missing');
  const cut = CUTS[pre];
  return {
    normalizer: pre === "qwen2" ? { type: "NFC" } : null,
    pre_tokenizer:
      cut === undefined
        ? byteLevel(true)
        : {
            type: "Sequence",
            pretokenizers: [
              { type: "Split", pattern: { Regex: cut }, behavior: "Isolated", invert: false },
              byteLevel(false),
            ],
          },
    decoder: byteLevel(true),
    // A space within a token is written as another character, so the one between the two parts is the only one.
    model: bpeModel(
      numbered(tokens),
      merges.map((m) => m.split(" ")),
      { ignore_merges: pre === "llama-bpe" },
    ),
  };
}

/** Merges follow from the scores: of all ways to put a token together from two others, that of the best token first. */
function sentencePieces(
  keys: Keys,
  tokens: readonly string[],
  types: readonly number[],
  fail: (why: string) => never,
): object {
  const scores =
    keys.list("tokenizer.ggml.scores", "number") ?? fail('key "tokenizer.ggml.scores" is missing');
  const ids = new Map(tokens.map((t, i) => [t, i]));
  const merges: { parts: [string, string]; id: number }[] = [];
  tokens.forEach((token, id) => {
    if ((types[id] ?? NORMAL) !== NORMAL) return;
    for (let at = 1; at < token.length; at++) {
      const parts: [string, string] = [token.slice(0, at), token.slice(at)];
      if (parts.every((p) => ids.has(p))) merges.push({ parts, id });
    }
  });
  merges.sort((a, b) => (scores[b.id] ?? 0) - (scores[a.id] ?? 0) || a.id - b.id);
  const prefix = keys.boolean("tokenizer.ggml.add_space_prefix") ?? true;
  const unknown = tokens[keys.number("tokenizer.ggml.unknown_token_id") ?? 0];
  return {
    normalizer: {
      type: "Sequence",
      normalizers: [...(prefix ? [{ type: "Prepend", prepend: "▁" }] : []), replace(" ", "▁")],
    },
    pre_tokenizer: null,
    decoder: {
      type: "Sequence",
      decoders: [
        replace("▁", " "),
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...(prefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
      ],
    },
    model: bpeModel(
      numbered(tokens),
      merges.map((m) => m.parts),
      {
        unk_token: unknown ?? null,
        fuse_unk: true,
        byte_fallback: types.includes(BYTE),
      },
    ),
  };
}

interface TokenizerJson {
  readonly added_tokens?: readonly {
    readonly id: number;
    readonly content: string;
    readonly special?: boolean;
  }[];
  readonly pre_tokenizer?: {
    readonly type?: string;
    readonly use_regex?: boolean;
    readonly pretokenizers?: readonly {
      readonly type?: string;
      readonly pattern?: { readonly Regex?: string };
    }[];
  } | null;
  readonly decoder?: { readonly type?: string } | null;
  readonly model?: {
    readonly type?: string;
    readonly vocab?: Readonly<Record<string, number>>;
    readonly merges?: readonly (string | readonly string[])[];
  };
}

/**
 * A tokenizer as metadata.
 * @param vocabSize rows of the embedding; the file names a token for each
 * @throws GgufError for kinds that GGUF has no name for
 */
export function tokenizerMetadata(tokenizer: TextTokenizer, vocabSize: number): Map<string, Typed> {
  const { tokenizer: json, chatTemplate, config } = tokenizer.files;
  const { model, decoder, added_tokens: added = [], pre_tokenizer: cut } = json as TokenizerJson;
  if (model?.type !== "BPE" || decoder?.type !== "ByteLevel" || !model.vocab)
    throw new GgufError("only tokenizers of byte-level BPE can be written as GGUF");
  const regex = cut?.pretokenizers?.find((p) => p.type === "Split")?.pattern?.Regex;
  const pre = (Object.keys(CUTS) as Cut[]).find((name) => CUTS[name] === regex);
  if (pre === undefined || (regex === undefined && cut?.use_regex === false))
    throw new GgufError("the tokenizer cuts text in a way that GGUF has no name for here");
  const tokens = Array.from({ length: vocabSize }, (_, i) => `[PAD${i}]`);
  const types = new Array<number>(vocabSize).fill(UNUSED!);
  const put = (content: string, id: number, type: number) => {
    if (id >= vocabSize)
      throw new GgufError(
        `token ${JSON.stringify(content)} has the id ${id}, but the model has ${vocabSize} rows`,
      );
    tokens[id] = content;
    types[id] = type;
  };
  for (const [content, id] of Object.entries(model.vocab)) put(content, id, NORMAL!);
  for (const t of added) put(t.content, t.id, t.special === false ? USER! : CONTROL!);
  const out = new Map<string, Typed>([
    ["tokenizer.ggml.model", { string: "gpt2" }],
    ["tokenizer.ggml.pre", { string: pre }],
    ["tokenizer.ggml.tokens", { strings: tokens }],
    ["tokenizer.ggml.token_type", { i32s: types }],
    [
      "tokenizer.ggml.merges",
      { strings: (model.merges ?? []).map((m) => (typeof m === "string" ? m : m.join(" "))) },
    ],
  ]);
  const id = (name: string, key: string) => {
    const value = config?.[name] as string | { content?: string } | null | undefined;
    const content = typeof value === "string" ? value : value?.content;
    const found = content === undefined ? undefined : tokenizer.tokenId(content);
    if (found !== undefined) out.set(`tokenizer.ggml.${key}_token_id`, { u32: found });
    return found;
  };
  const bos = id("bos_token", "bos");
  id("eos_token", "eos");
  id("pad_token", "padding");
  out.set("tokenizer.ggml.add_bos_token", { bool: bos !== undefined && tokenizer.encode("")[0] === bos });
  const template = chatTemplate ?? config?.["chat_template"];
  if (typeof template === "string") out.set("tokenizer.chat_template", { string: template });
  return out;
}
