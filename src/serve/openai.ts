// The shapes of the OpenAI HTTP API that the server speaks: checked requests in, plain objects out.
// Reference: the OpenAI API reference, "Completions" and "Chat completions".

import { z } from "zod";
import { type FinishReason, type GenerateRequest, RequestError, type Usage } from "./api.js";

/** A field of the API that this server does not have: only its neutral value passes. */
const neutral = <T extends string | number | boolean>(...values: T[]) =>
  z
    .unknown()
    .refine((v) => v == null || values.includes(v as T), {
      message: `not supported here; leave it out${values.length ? ` (or ${values.map((v) => JSON.stringify(v)).join(" / ")})` : ""}`,
    })
    .optional();

const common = {
  model: z.string().optional(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  top_k: z.number().int().min(0).nullish(),
  seed: z.number().int().nullish(),
  stop: z
    .union([z.string().min(1), z.array(z.string().min(1)).max(16)], {
      error: "must be a text or at most 16 texts, none of them empty",
    })
    .nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  user: z.string().nullish(),
  n: neutral(1),
  presence_penalty: neutral(0),
  frequency_penalty: neutral(0),
  logit_bias: neutral(),
};

export const completionSchema = z.object({
  ...common,
  prompt: z.union([z.string(), z.array(z.number().int().min(0)).min(1), z.array(z.string()).length(1)], {
    error: "must be a text, a list of one text, or a list of token ids",
  }),
  max_tokens: z.number().int().min(1).nullish(),
  echo: neutral(false),
  suffix: neutral(),
  logprobs: neutral(),
  best_of: neutral(1),
});

const textPart = z.object({ type: z.literal("text"), text: z.string() });

export const chatSchema = z.object({
  ...common,
  messages: z
    .array(
      z.object({
        role: z.enum(["system", "developer", "user", "assistant", "tool"]),
        content: z.union([z.string(), z.array(textPart)], {
          error: 'must be a text or a list of {"type":"text","text":…} parts',
        }),
        name: z.string().optional(),
      }),
    )
    .min(1),
  max_tokens: z.number().int().min(1).nullish(),
  max_completion_tokens: z.number().int().min(1).nullish(),
  logprobs: neutral(false),
  top_logprobs: neutral(),
  tools: neutral(),
  tool_choice: neutral("none"),
  response_format: z
    .object({ type: z.literal("text", { error: 'only {"type":"text"} is supported here' }) })
    .nullish(),
});

/** Parses a request body against a schema. @throws RequestError naming the first field that is wrong */
export function parseBody<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  const param = issue.path.join(".") || null;
  throw new RequestError(
    param ? `${param}: ${issue.message}` : `the body must be a JSON object: ${issue.message}`,
    param,
  );
}

const sampling = (b: z.infer<typeof completionSchema> | z.infer<typeof chatSchema>) => ({
  temperature: b.temperature ?? 1,
  topP: b.top_p ?? 1,
  topK: b.top_k ?? 0,
  ...(b.seed != null ? { seed: b.seed } : {}),
  stop: b.stop == null ? [] : [b.stop].flat(),
});

export function completionRequest(b: z.infer<typeof completionSchema>): GenerateRequest {
  const p = b.prompt;
  const prompt =
    typeof p === "string"
      ? { text: p }
      : typeof p[0] === "string"
        ? { text: p[0] }
        : { tokens: p as number[] };
  // 16 is the API's own default for plain completions.
  return { prompt, maxTokens: b.max_tokens ?? 16, ...sampling(b) };
}

export function chatRequest(b: z.infer<typeof chatSchema>): GenerateRequest {
  const messages = b.messages.map((m) => ({
    role: m.role === "developer" ? "system" : m.role,
    content: typeof m.content === "string" ? m.content : m.content.map((p) => p.text).join(""),
  }));
  const maxTokens = b.max_completion_tokens ?? b.max_tokens;
  return { prompt: { messages }, ...(maxTokens != null ? { maxTokens } : {}), ...sampling(b) };
}

const usageOf = (u: Usage) => ({
  prompt_tokens: u.promptTokens,
  completion_tokens: u.completionTokens,
  total_tokens: u.promptTokens + u.completionTokens,
});

/** Builds the answers of one endpoint: whole or in chunks, all with one id and one time. */
export class Replies {
  readonly #head: { id: string; created: number; model: string };
  constructor(
    readonly kind: "text" | "chat",
    model: string,
  ) {
    const id = `${kind === "chat" ? "chatcmpl" : "cmpl"}-${crypto.randomUUID().replaceAll("-", "")}`;
    this.#head = { id, created: Math.floor(Date.now() / 1000), model };
  }

  whole(text: string, reason: FinishReason, usage: Usage): object {
    const choice =
      this.kind === "chat"
        ? {
            index: 0,
            message: { role: "assistant", content: text, refusal: null },
            logprobs: null,
            finish_reason: reason,
          }
        : { index: 0, text, logprobs: null, finish_reason: reason };
    const object = this.kind === "chat" ? "chat.completion" : "text_completion";
    return { ...this.#head, object, choices: [choice], usage: usageOf(usage) };
  }

  /** The first chunk of a chat stream names the role; a text stream has none. */
  opening(): object | undefined {
    return this.kind === "chat"
      ? this.#chunk({ delta: { role: "assistant", content: "" } }, null)
      : undefined;
  }

  piece(text: string): object {
    return this.#chunk(this.kind === "chat" ? { delta: { content: text } } : { text }, null);
  }

  closing(reason: FinishReason): object {
    return this.#chunk(this.kind === "chat" ? { delta: {} } : { text: "" }, reason);
  }

  usage(usage: Usage): object {
    return { ...this.#head, object: this.#chunkObject, choices: [], usage: usageOf(usage) };
  }

  get #chunkObject(): string {
    return this.kind === "chat" ? "chat.completion.chunk" : "text_completion";
  }

  #chunk(content: object, reason: FinishReason | null): object {
    return {
      ...this.#head,
      object: this.#chunkObject,
      choices: [{ index: 0, ...content, logprobs: null, finish_reason: reason }],
    };
  }
}

/** The API's form of an error. */
export const errorBody = (
  message: string,
  type: string,
  param: string | null = null,
  code: string | null = null,
) => ({
  error: { message, type, param, code },
});
