// Requests of the OpenAI HTTP API that the server takes: checked, and turned into the engine's. Answers are in `replies.ts`.
// Reference: the OpenAI API reference, "Completions", "Chat completions" and "Embeddings".

import * as z from "zod";
import type { ChatMessage } from "../models/tokenizer.js";
import { type GenerateRequest, type Prompt, RequestError } from "./api.js";

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
  min_p: z.number().min(0).max(1).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  logit_bias: z
    .record(z.string().regex(/^\d+$/, "token ids are whole numbers"), z.number().min(-100).max(100))
    .nullish(),
  seed: z.number().int().nullish(),
  n: z.number().int().min(1).max(16).nullish(),
  stop: z
    .union([z.string().min(1), z.array(z.string().min(1)).max(16)], {
      error: "must be a text or at most 16 texts, none of them empty",
    })
    .nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  user: z.string().nullish(),
};

export const completionSchema = z.object({
  ...common,
  prompt: z.union([z.string(), z.array(z.number().int().min(0)).min(1), z.array(z.string()).length(1)], {
    error: "must be a text, a list of one text, or a list of token ids",
  }),
  max_tokens: z.number().int().min(1).nullish(),
  echo: neutral(false),
  suffix: neutral(),
  logprobs: z.number().int().min(0).max(20).nullish(),
  best_of: neutral(1),
});

const textPart = z.object({ type: z.literal("text"), text: z.string() });
const content = z.union([z.string(), z.array(textPart)], {
  error: 'must be a text or a list of {"type":"text","text":…} parts',
});
const called = z.object({
  id: z.string(),
  type: z.literal("function"),
  function: z.object({ name: z.string(), arguments: z.string() }),
});

export const messageSchema = z
  .object({
    role: z.enum(["system", "developer", "user", "assistant", "tool"]),
    content: content.nullish(),
    name: z.string().optional(),
    tool_calls: z.array(called).optional(),
    tool_call_id: z.string().optional(),
  })
  .refine((m) => m.content != null || (m.role === "assistant" && m.tool_calls?.length), {
    path: ["content"],
    message: 'must be a text or a list of {"type":"text","text":…} parts',
  });

const tool = z.object({
  type: z.literal("function"),
  function: z.object({
    name: z.string().regex(/^[\w-]{1,64}$/, "letters, digits, _ and -, at most 64"),
    description: z.string().optional(),
    parameters: z.record(z.string(), z.unknown()).optional(),
    strict: z.boolean().nullish(),
  }),
});

export const chatSchema = z.object({
  ...common,
  messages: z.array(messageSchema).min(1),
  max_tokens: z.number().int().min(1).nullish(),
  max_completion_tokens: z.number().int().min(1).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.number().int().min(0).max(20).nullish(),
  tools: z.array(tool).max(128).nullish(),
  tool_choice: z
    .union(
      [
        z.enum(["none", "auto", "required"]),
        z.object({ type: z.literal("function"), function: z.object({ name: z.string() }) }),
      ],
      { error: 'must be "none", "auto", "required" or {"type":"function","function":{"name":…}}' },
    )
    .nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  response_format: z
    .union(
      [
        z.object({ type: z.enum(["text", "json_object"]) }),
        z.object({
          type: z.literal("json_schema"),
          json_schema: z.object({ name: z.string(), schema: z.unknown(), strict: z.boolean().nullish() }),
        }),
      ],
      { error: 'must be of type "text", "json_object" or "json_schema" (with its json_schema)' },
    )
    .nullish(),
});

export const embeddingSchema = z.object({
  model: z.string().optional(),
  input: z.union(
    [
      z.string(),
      z.array(z.string()).min(1).max(2048),
      z.array(z.number().int().min(0)).min(1),
      z
        .array(z.array(z.number().int().min(0)).min(1))
        .min(1)
        .max(2048),
    ],
    { error: "must be a text, a list of token ids, or a list of either" },
  ),
  encoding_format: z.enum(["float", "base64"]).nullish(),
  dimensions: neutral(),
  user: z.string().nullish(),
});

export const tokenizeSchema = z
  .object({
    model: z.string().optional(),
    prompt: z.string().optional(),
    messages: z.array(messageSchema).min(1).optional(),
  })
  .refine((b) => (b.prompt === undefined) !== (b.messages === undefined), {
    message: "give prompt or messages",
    path: ["prompt"],
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

type Common = Pick<z.infer<typeof chatSchema>, keyof typeof common>;

const sampling = (b: Common) => ({
  temperature: b.temperature ?? 1,
  topP: b.top_p ?? 1,
  topK: b.top_k ?? 0,
  ...(b.min_p != null ? { minP: b.min_p } : {}),
  ...(b.presence_penalty ? { presencePenalty: b.presence_penalty } : {}),
  ...(b.frequency_penalty ? { frequencyPenalty: b.frequency_penalty } : {}),
  ...(b.logit_bias ? { logitBias: b.logit_bias } : {}),
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
  return {
    prompt,
    maxTokens: b.max_tokens ?? 16,
    ...sampling(b),
    ...(b.logprobs != null ? { logprobs: b.logprobs } : {}),
  };
}

/** Messages as chat templates take them. Arguments of calls are objects there, texts in the API. */
export function chatMessages(messages: readonly z.infer<typeof messageSchema>[]): ChatMessage[] {
  return messages.map((m, i) => ({
    role: m.role === "developer" ? "system" : m.role,
    content: typeof m.content === "string" ? m.content : (m.content ?? []).map((p) => p.text).join(""),
    ...(m.name === undefined ? {} : { name: m.name }),
    ...(m.tool_call_id === undefined ? {} : { tool_call_id: m.tool_call_id }),
    ...(m.tool_calls
      ? {
          tool_calls: m.tool_calls.map((c) => ({
            ...c,
            function: { name: c.function.name, arguments: parsed(c.function.arguments, i) },
          })),
        }
      : {}),
  }));
}

function parsed(text: string, message: number): unknown {
  try {
    return JSON.parse(text);
  } catch {
    const param = `messages.${message}.tool_calls`;
    throw new RequestError(`${param}: the arguments of a call are no JSON: ${text.slice(0, 80)}`, param);
  }
}

export function chatRequest(b: z.infer<typeof chatSchema>): GenerateRequest {
  const maxTokens = b.max_completion_tokens ?? b.max_tokens;
  if (b.top_logprobs != null && !b.logprobs)
    throw new RequestError("top_logprobs: needs logprobs: true", "top_logprobs");
  const tools = b.tool_choice === "none" ? [] : (b.tools ?? []);
  if (b.tool_choice != null && b.tool_choice !== "none" && b.tool_choice !== "auto" && tools.length === 0)
    throw new RequestError("tool_choice: there are no tools to choose from", "tool_choice");
  const form = formOf(b, tools);
  return {
    prompt: { messages: chatMessages(b.messages), ...(tools.length ? { tools } : {}) },
    ...(maxTokens != null ? { maxTokens } : {}),
    ...sampling(b),
    ...(b.logprobs ? { logprobs: b.top_logprobs ?? 0 } : {}),
    ...(form ? { form } : {}),
  };
}

/** What the answer is held to: a call that must be made, or a JSON text. */
function formOf(
  b: z.infer<typeof chatSchema>,
  tools: readonly z.infer<typeof tool>[],
): GenerateRequest["form"] {
  const choice = b.tool_choice;
  if (choice === "required") return { tools };
  if (typeof choice === "object" && choice !== null) {
    const { name } = choice.function;
    const one = tools.filter((t) => t.function.name === name);
    if (one.length === 0)
      throw new RequestError(`tool_choice: there is no tool "${name}" among the tools`, "tool_choice");
    return { tools: one };
  }
  const format = b.response_format;
  if (format?.type === "json_object") return {};
  return format?.type === "json_schema" ? { schema: format.json_schema.schema } : undefined;
}

/** The inputs of an embeddings request, one by one. */
export function embeddingInputs(b: z.infer<typeof embeddingSchema>): Prompt[] {
  const { input } = b;
  if (typeof input === "string") return [{ text: input }];
  if (typeof input[0] === "number") return [{ tokens: input as number[] }];
  return (input as (string | number[])[]).map((x) => (typeof x === "string" ? { text: x } : { tokens: x }));
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
