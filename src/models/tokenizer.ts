// Text to token ids and back, and chat templates: a thin room around the Hugging Face libraries, with the
// checks and the streaming that serving needs. It reads no files (`folder.ts` does).

import { Template } from "@huggingface/jinja";
import { Tokenizer } from "@huggingface/tokenizers";
import { missingCharacters } from "./alphabet.js";
import { addedToken, bpeModel, byteLevel, numbered } from "./tokenizer-json.js";

/** A message of a conversation, as the OpenAI API and chat templates have it. */
export interface ChatMessage {
  readonly role: string;
  readonly content: string;
  readonly name?: string;
  readonly tool_calls?: readonly unknown[];
  readonly tool_call_id?: string;
}

export interface TokenizerFiles {
  /** Parsed `tokenizer.json`. */
  readonly tokenizer: unknown;
  /** Parsed `tokenizer_config.json`; may be absent. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** The text of `chat_template.jinja`; else the config's `chat_template` serves. */
  readonly chatTemplate?: string;
}

/** A tokenizer that cannot be used; the message names what is wrong. */
export class TokenizerError extends Error {
  override name = "TokenizerError";
}

/**
 * A model's tokenizer.
 *
 * @example
 * const ids = tokenizer.encode("7+85=");
 * const text = tokenizer.decode(ids);
 */
export class TextTokenizer {
  readonly #tokenizer: Tokenizer;
  readonly #template: Template | undefined;
  readonly #config: Readonly<Record<string, unknown>>;
  readonly #missing: ((text: string) => string | undefined) | undefined;
  /** The files it was made from, for saving it beside a model. */
  readonly files: TokenizerFiles;

  constructor(files: TokenizerFiles) {
    this.files = files;
    this.#config = files.config ?? {};
    const json = files.tokenizer;
    if (typeof json !== "object" || json === null || !("model" in json))
      throw new TokenizerError('tokenizer.json has no "model"');
    try {
      this.#tokenizer = new Tokenizer(json as never, { ...this.#config } as never);
    } catch (e) {
      throw new TokenizerError(`tokenizer.json cannot be used: ${(e as Error).message}`);
    }
    this.#missing = missingCharacters(json);
    const template = files.chatTemplate ?? this.#config["chat_template"];
    if (typeof template === "string") {
      try {
        this.#template = new Template(template);
      } catch (e) {
        throw new TokenizerError(`the chat template does not parse: ${(e as Error).message}`);
      }
    }
  }

  /**
   * Token ids of a text. `specialTokens`: let the post-processor add BOS and the like (default true).
   * @throws TokenizerError for a character that the tokenizer has no token for
   */
  encode(text: string, options: { specialTokens?: boolean } = {}): number[] {
    const unknown = this.#missing?.(text);
    if (unknown !== undefined)
      throw new TokenizerError(`the tokenizer has no token for ${JSON.stringify(unknown)}`);
    return this.#tokenizer.encode(text, { add_special_tokens: options.specialTokens ?? true }).ids;
  }

  /** The text of token ids; special tokens are left out unless `specialTokens` is true. */
  decode(ids: readonly number[], options: { specialTokens?: boolean } = {}): string {
    if (ids.length === 0) return "";
    return this.#tokenizer.decode([...ids], {
      skip_special_tokens: !(options.specialTokens ?? false),
      clean_up_tokenization_spaces: false,
    });
  }

  /** The id of one token, or undefined. */
  tokenId(token: string): number | undefined {
    return this.#tokenizer.token_to_id(token) ?? undefined;
  }

  /** One more than the largest token id: the rows that an embedding table needs. */
  get size(): number {
    const { model, added_tokens: added } = this.files.tokenizer as {
      model: { vocab?: Readonly<Record<string, number>> | readonly unknown[] };
      added_tokens?: readonly { id: number }[];
    };
    const vocab = model.vocab ?? {};
    let most = Array.isArray(vocab) ? vocab.length - 1 : -1;
    if (!Array.isArray(vocab)) for (const id of Object.values(vocab) as number[]) if (id > most) most = id;
    for (const { id } of added ?? []) if (id > most) most = id;
    return most + 1;
  }

  /** The ids that end an answer, as the tokenizer's config says (a model's generation config may add more). */
  get eosIds(): number[] {
    const eos = this.#config["eos_token"];
    const token = typeof eos === "string" ? eos : (eos as { content?: string } | null | undefined)?.content;
    const id = token === undefined ? undefined : this.tokenId(token);
    return id === undefined ? [] : [id];
  }

  /** The chat template's text, where there is one. */
  get templateText(): string | undefined {
    const text = this.files.chatTemplate ?? this.#config["chat_template"];
    return typeof text === "string" ? text : undefined;
  }

  get hasChatTemplate(): boolean {
    return this.#template !== undefined;
  }

  /**
   * The text of a conversation in the model's own form.
   * @throws TokenizerError where the model has no template, or the template refuses the messages
   */
  chat(
    messages: readonly ChatMessage[],
    options: { addGenerationPrompt?: boolean; tools?: readonly object[] | undefined } = {},
  ): string {
    if (!this.#template)
      throw new TokenizerError("the model has no chat template (chat_template.jinja); use plain completions");
    const special = (name: string) => {
      const v = this.#config[name];
      return typeof v === "string" ? v : ((v as { content?: string } | null | undefined)?.content ?? "");
    };
    try {
      return this.#template.render({
        messages: messages.map((m) => ({ ...m })),
        add_generation_prompt: options.addGenerationPrompt ?? true,
        ...(options.tools ? { tools: options.tools } : {}),
        bos_token: special("bos_token"),
        eos_token: special("eos_token"),
        pad_token: special("pad_token"),
        unk_token: special("unk_token"),
      });
    } catch (e) {
      throw new TokenizerError(`the chat template refused the messages: ${(e as Error).message}`);
    }
  }

  /** A decoder for tokens that arrive one by one. */
  stream(): TokenStream {
    return new TokenStream(this);
  }
}

/**
 * Turns a stream of tokens into a stream of text. A character whose bytes are spread over several tokens
 * comes out whole, when its last token arrives. The work per token is bounded by decoding a short window.
 */
export class TokenStream {
  readonly #tokenizer: TextTokenizer;
  #window: number[] = [];
  /** How much of the window's text has been given out. */
  #given = "";

  constructor(tokenizer: TextTokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** Text that this token completes; often empty within a character. */
  push(id: number): string {
    this.#window.push(id);
    const [text, open] = this.#sure();
    const out = text.slice(this.#given.length);
    this.#given = text;
    // A fresh window keeps one token of context, since decoders may treat the first token apart; within a
    // character it keeps the at most three tokens of that character too.
    if (this.#window.length >= 16) {
      this.#window = this.#window.slice(open ? -4 : -1);
      // Without an open character all of the fresh window's text has been given, even if it begins broken.
      this.#given = open ? this.#sure()[0] : this.#tokenizer.decode(this.#window);
    }
    return out;
  }

  /** The window's text without a last U+FFFD, which may be the beginning of a character. */
  #sure(): [text: string, open: boolean] {
    const text = this.#tokenizer.decode(this.#window);
    return text.endsWith("\ufffd") ? [text.slice(0, -1), true] : [text, false];
  }

  /** What is left when the stream ends: an unfinished character shows as U+FFFD. */
  end(): string {
    const text = this.#tokenizer.decode(this.#window);
    const out = text.slice(this.#given.length);
    this.#given = text;
    return out;
  }
}

/**
 * A tokenizer with one token per character, for small models on a closed alphabet. It loads in every library
 * that reads `tokenizer.json`. Ids: the special tokens first, then the characters in order.
 *
 * @param alphabet ASCII characters, each once
 */
export function characterTokenizer(
  alphabet: string,
  options: { pad?: string; eos?: string } = {},
): TextTokenizer {
  const pad = options.pad ?? "<pad>";
  const eos = options.eos ?? "<eos>";
  const chars = [...alphabet];
  if (new Set(chars).size !== chars.length || chars.some((c) => c < "!" || c > "~"))
    throw new TokenizerError("the alphabet must be printable ASCII characters, each once");
  return new TextTokenizer({
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: [addedToken(pad, 0), addedToken(eos, 1)],
      normalizer: null,
      pre_tokenizer: byteLevel(false),
      post_processor: null,
      decoder: byteLevel(false),
      model: bpeModel(numbered([pad, eos, ...chars]), []),
    },
    config: {
      tokenizer_class: "PreTrainedTokenizerFast",
      bos_token: null,
      eos_token: eos,
      pad_token: pad,
      model_max_length: 1_000_000,
      clean_up_tokenization_spaces: false,
    },
    // The conversation as it stands: what a model trained on bare text expects.
    chatTemplate: "{% for m in messages %}{{ m['content'] }}{% endfor %}",
  });
}
