// Answers of the OpenAI HTTP API, whole and in chunks, as plain objects.

import type { FinishReason, TokenLogprob, Usage } from "./api.js";
import type { ToolCall } from "./tool-calls.js";

/** Why a choice ended, as clients are told. */
export type Ending = FinishReason | "tool_calls";

/** One answer of a request that may ask for several. */
export interface WholeChoice {
  readonly text: string;
  readonly ending: Ending;
  readonly logprobs: readonly TokenLogprob[] | undefined;
  readonly calls: readonly ToolCall[];
}

const usageOf = (u: Usage) => ({
  prompt_tokens: u.promptTokens,
  completion_tokens: u.completionTokens,
  total_tokens: u.promptTokens + u.completionTokens,
  prompt_tokens_details: { cached_tokens: u.cachedTokens },
});

/** One prompt, however many answers. */
export function sumUsage(list: readonly Usage[]): Usage {
  return {
    promptTokens: list[0]?.promptTokens ?? 0,
    completionTokens: list.reduce((n, u) => n + u.completionTokens, 0),
    cachedTokens: list[0]?.cachedTokens ?? 0,
  };
}

const chatLogprobs = (list: readonly TokenLogprob[]) => ({
  content: list.map((t) => ({
    token: t.text,
    logprob: t.logprob,
    bytes: t.bytes,
    top_logprobs: t.top.map((x) => ({ token: x.text, logprob: x.logprob, bytes: x.bytes })),
  })),
  refusal: null,
});

/** @param start where the first token's text stands in the answer */
function textLogprobs(list: readonly TokenLogprob[], start: number) {
  let at = start;
  return {
    tokens: list.map((t) => t.text),
    token_logprobs: list.map((t) => t.logprob),
    top_logprobs: list.map((t) => Object.fromEntries(t.top.map((x) => [x.text, x.logprob]))),
    text_offset: list.map((t) => {
      const offset = at;
      at += t.text.length;
      return offset;
    }),
  };
}

const callsOf = (calls: readonly ToolCall[], first: number, isChunk: boolean) =>
  calls.map((c, i) => ({
    ...(isChunk ? { index: first + i } : {}),
    id: c.id,
    type: "function",
    function: { name: c.name, arguments: c.arguments },
  }));

/** Builds the answers to one request, all with one id and one time. */
export class Replies {
  readonly #head: { id: string; created: number; model: string };
  constructor(
    readonly kind: "text" | "chat",
    model: string,
  ) {
    const id = `${kind === "chat" ? "chatcmpl" : "cmpl"}-${crypto.randomUUID().replaceAll("-", "")}`;
    this.#head = { id, created: Math.floor(Date.now() / 1000), model };
  }

  whole(choices: readonly WholeChoice[], usage: Usage): object {
    const isChat = this.kind === "chat";
    return {
      ...this.#head,
      object: isChat ? "chat.completion" : "text_completion",
      choices: choices.map((c, index) => ({
        index,
        ...(isChat
          ? {
              message: {
                role: "assistant",
                content: c.calls.length && c.text === "" ? null : c.text,
                refusal: null,
                ...(c.calls.length ? { tool_calls: callsOf(c.calls, 0, false) } : {}),
              },
            }
          : { text: c.text }),
        logprobs: c.logprobs ? (isChat ? chatLogprobs(c.logprobs) : textLogprobs(c.logprobs, 0)) : null,
        finish_reason: c.ending,
      })),
      usage: usageOf(usage),
    };
  }

  /** The first chunk of a chat stream names the role; a text stream has none. */
  opening(index: number): object | undefined {
    return this.kind === "chat"
      ? this.#chunk(index, { delta: { role: "assistant", content: "" } }, null)
      : undefined;
  }

  /** @param start how long the choice's text was before */
  piece(index: number, text: string, logprobs: readonly TokenLogprob[] | undefined, start: number): object {
    const isChat = this.kind === "chat";
    const shown = logprobs && (isChat ? chatLogprobs(logprobs) : textLogprobs(logprobs, start));
    return this.#chunk(index, isChat ? { delta: { content: text } } : { text }, null, shown ?? null);
  }

  /** @param first the number of the first of these calls in its choice */
  calls(index: number, calls: readonly ToolCall[], first: number): object {
    return this.#chunk(index, { delta: { tool_calls: callsOf(calls, first, true) } }, null);
  }

  closing(index: number, ending: Ending): object {
    return this.#chunk(index, this.kind === "chat" ? { delta: {} } : { text: "" }, ending);
  }

  usage(usage: Usage): object {
    return { ...this.#head, object: this.#chunkObject, choices: [], usage: usageOf(usage) };
  }

  get #chunkObject(): string {
    return this.kind === "chat" ? "chat.completion.chunk" : "text_completion";
  }

  #chunk(index: number, content: object, ending: Ending | null, logprobs: object | null = null): object {
    return {
      ...this.#head,
      object: this.#chunkObject,
      choices: [{ index, ...content, logprobs, finish_reason: ending }],
    };
  }
}
