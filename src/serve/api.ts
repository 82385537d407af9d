// The contract between whoever asks for text (HTTP, command line, tests) and the engine that makes it.
// Plain data only, since it crosses a worker's border.

import type { ChatMessage } from "../models/tokenizer.js";

export type Prompt =
  | { readonly text: string }
  | { readonly tokens: readonly number[] }
  | { readonly messages: readonly ChatMessage[]; readonly tools?: readonly Tool[] };

/** A function that the model may call, as the OpenAI API and chat templates have it. */
export interface Tool {
  readonly type: "function";
  readonly function: {
    readonly name: string;
    readonly description?: string | undefined;
    /** A JSON schema of its arguments. */
    readonly parameters?: Readonly<Record<string, unknown>> | undefined;
  };
}

export interface SamplingOptions {
  /** 0 is greedy: the most likely token each time. */
  readonly temperature: number;
  /** Keep the smallest set of tokens whose probabilities reach this sum; 1 keeps all. */
  readonly topP: number;
  /** Keep this many most likely tokens; 0 keeps all. */
  readonly topK: number;
  /** Drop tokens whose probability is below this share of the likeliest one's. Default 0. */
  readonly minP?: number;
  /** Taken off the logit of each token that was made already. */
  readonly presencePenalty?: number;
  /** Taken off the logit of a token for each time it was made. */
  readonly frequencyPenalty?: number;
  /** Added to the logits of tokens, by their ids. */
  readonly logitBias?: Readonly<Record<string, number>>;
  /** The same seed and request give the same text. */
  readonly seed?: number;
}

export interface GenerateRequest extends SamplingOptions {
  readonly prompt: Prompt;
  /** Most tokens to make; as many as the context holds if absent. */
  readonly maxTokens?: number;
  /** Texts that end the answer; they are not part of it. */
  readonly stop: readonly string[];
  /** Report the log-probability of each token, and of this many of the likeliest at its place. */
  readonly logprobs?: number;
  /** Holds the answer to a JSON object, to a JSON schema, or to a call of one of some tools. */
  readonly form?: { readonly schema?: unknown; readonly tools?: readonly Tool[] };
}

/** A token of an answer with its log-probability, natural logarithm, before temperature and the other settings. */
export interface TokenLogprob {
  readonly text: string;
  readonly bytes: readonly number[];
  readonly logprob: number;
  readonly top: readonly {
    readonly text: string;
    readonly bytes: readonly number[];
    readonly logprob: number;
  }[];
}

export type FinishReason = "stop" | "length";

export interface Usage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Prompt tokens whose keys and values were in the cache. */
  readonly cachedTokens: number;
}

export type GenerateEvent =
  | { readonly type: "text"; readonly text: string; readonly logprobs?: readonly TokenLogprob[] }
  | { readonly type: "end"; readonly reason: FinishReason; readonly usage: Usage };

export interface EngineInfo {
  /** The folder's name: how clients call the model. */
  readonly model: string;
  readonly chip: string;
  readonly contextLength: number;
  readonly parameters: number;
  readonly hasChatTemplate: boolean;
  /** How the model writes calls of tools; undefined where its chat template knows none. */
  readonly toolForm: "tags" | undefined;
  /** Whether it continues texts; other models only make embeddings. */
  readonly generates: boolean;
  /** Length of an embedding. */
  readonly hiddenSize: number;
}

/** What an engine is doing. Counters only rise. */
export interface EngineStats {
  readonly running: number;
  readonly waiting: number;
  readonly pages: { readonly total: number; readonly free: number };
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Prompt tokens that were looked for in the cache, and those found there. */
  readonly lookedTokens: number;
  readonly foundTokens: number;
  readonly preemptions: number;
  /** The chip's memory in bytes: in use, and held by its pool. */
  readonly memory: { readonly allocated: number; readonly reserved: number };
}

export interface Embedding {
  /** Of length 1. */
  readonly vector: readonly number[];
  readonly tokens: number;
}

export interface Engine {
  readonly info: EngineInfo;
  /**
   * Makes text for one request. Ends with an `end` event; ending the iteration early, or aborting the
   * signal, cancels the request.
   * @throws RequestError for a request that cannot be served
   */
  generate(request: GenerateRequest, signal?: AbortSignal): AsyncIterable<GenerateEvent>;
  /** A vector for a text: the mean of its tokens' states, or the last one's where tokens see only what is before them. */
  embed(input: Prompt, signal?: AbortSignal): Promise<Embedding>;
  /** The token ids of a prompt. @throws RequestError as {@link generate} does */
  tokenize(prompt: Prompt): Promise<readonly number[]>;
  stats(): Promise<EngineStats>;
  close(): Promise<void>;
}

/** A request that cannot be served; what the client sent is at fault. */
export class RequestError extends Error {
  override name = "RequestError";
  constructor(
    message: string,
    /** The field at fault, as the client wrote it. */
    readonly param: string | null = null,
    readonly code: string | null = null,
    readonly status: 400 | 401 | 404 | 413 | 429 | 503 = 400,
  ) {
    super(message);
  }
}
