// The contract between whoever asks for text (HTTP, command line, tests) and the engine that makes it.
// Plain data only, since it crosses a worker's border.

import type { ChatMessage } from "../models/tokenizer.js";

export type Prompt =
  | { readonly text: string }
  | { readonly tokens: readonly number[] }
  | { readonly messages: readonly ChatMessage[] };

export interface SamplingOptions {
  /** 0 is greedy: the most likely token each time. */
  readonly temperature: number;
  /** Keep the smallest set of tokens whose probabilities reach this sum; 1 keeps all. */
  readonly topP: number;
  /** Keep this many most likely tokens; 0 keeps all. */
  readonly topK: number;
  /** The same seed and request give the same text. */
  readonly seed?: number;
}

export interface GenerateRequest extends SamplingOptions {
  readonly prompt: Prompt;
  /** Most tokens to make; as many as the context holds if absent. */
  readonly maxTokens?: number;
  /** Texts that end the answer; they are not part of it. */
  readonly stop: readonly string[];
}

export type FinishReason = "stop" | "length";

export interface Usage {
  readonly promptTokens: number;
  readonly completionTokens: number;
}

export type GenerateEvent =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "end"; readonly reason: FinishReason; readonly usage: Usage };

export interface EngineInfo {
  /** The folder's name: how clients call the model. */
  readonly model: string;
  readonly chip: string;
  readonly contextLength: number;
  readonly parameters: number;
  readonly hasChatTemplate: boolean;
}

export interface Engine {
  readonly info: EngineInfo;
  /**
   * Makes text for one request. Ends with an `end` event; ending the iteration early, or aborting the
   * signal, cancels the request.
   * @throws RequestError for a request that cannot be served
   */
  generate(request: GenerateRequest, signal?: AbortSignal): AsyncIterable<GenerateEvent>;
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
    readonly status: 400 | 404 | 413 = 400,
  ) {
    super(message);
  }
}
