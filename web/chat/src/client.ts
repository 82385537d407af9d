// Talks with the server: which models it has, and one answer at a time, piece by piece. Every failure becomes one of a few
// kinds, with a sentence for the reader.

import { serverEvents } from "../../../src/serve/sse.js";
import { SAMPLING, type SamplingName, type Settings, type Turn } from "./state.js";

export type FailureKind = "gone" | "key" | "busy" | "refused" | "broken";

/** Why there is no answer, or no more of it. */
export class Failure extends Error {
  override name = "Failure";
  constructor(
    readonly kind: FailureKind,
    message: string,
    /** Seconds after which the server may be asked again. */
    readonly retryAfter?: number | undefined,
    readonly code?: string | undefined,
  ) {
    super(message);
  }
}

const GONE = "The server does not answer. Is it still running?";

async function ask(path: string, key: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, {
      ...init,
      headers: {
        ...(init.body === undefined ? {} : { "content-type": "application/json" }),
        ...(key === "" ? {} : { authorization: `Bearer ${key}` }),
      },
    });
  } catch (e) {
    if ((e as Error).name === "AbortError") throw e;
    throw new Failure("gone", GONE);
  }
  if (response.ok) return response;
  throw await failureOf(response, key);
}

async function failureOf(response: Response, key: string): Promise<Failure> {
  const body = (await response.json().catch(() => undefined)) as
    | { error?: { message?: string; code?: string } }
    | undefined;
  const said = body?.error?.message ?? `the server answered with status ${response.status}`;
  const code = body?.error?.code;
  const seconds = Number.parseInt(response.headers.get("retry-after") ?? "", 10);
  const after = Number.isFinite(seconds) ? Math.min(Math.max(seconds, 1), 600) : undefined;
  switch (response.status) {
    case 401:
      return new Failure(
        "key",
        key === "" ? "This server asks for an API key." : "The server does not know this API key.",
      );
    case 429:
      return new Failure("busy", "The server has all the requests it can take.", after ?? 1, code);
    case 503:
      return new Failure("busy", "The server is shutting down.", after ?? 1, code);
    default:
      return new Failure(response.status >= 500 ? "broken" : "refused", sentence(said), after, code);
  }
}

const sentence = (text: string): string =>
  text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

/** The names of the server's models. @throws Failure */
export async function listModels(key: string): Promise<string[]> {
  const body = (await (await ask("/v1/models", key)).json()) as { data?: { id?: unknown }[] };
  return (body.data ?? []).flatMap((m) => (typeof m.id === "string" ? [m.id] : []));
}

export type Piece =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "end"; readonly reason: string }
  | { readonly type: "usage"; readonly tokens: number };

export interface Question {
  readonly turns: readonly Turn[];
  readonly settings: Settings;
  readonly model: string | undefined;
  readonly key: string;
  /** Without a chat template the model continues the conversation's text. */
  readonly asText: boolean;
  readonly signal: AbortSignal;
}

interface Chunk {
  readonly choices?: readonly {
    readonly text?: string;
    readonly delta?: { readonly content?: string | null };
    readonly finish_reason?: string | null;
  }[];
  readonly usage?: { readonly completion_tokens?: number } | null;
  readonly error?: { readonly message?: string };
}

/** The pieces of an answer as they come. @throws Failure, or an AbortError when the signal says so */
export async function* answer(q: Question): AsyncGenerator<Piece> {
  const system = q.settings.system.trim();
  const messages = [
    ...(system === "" ? [] : [{ role: "system", content: system }]),
    ...q.turns.map(({ role, content }) => ({ role, content })),
  ];
  const sampling = (Object.keys(SAMPLING) as SamplingName[]).map((name) => [
    SAMPLING[name].field,
    q.settings.sampling[name],
  ]);
  const response = await ask(q.asText ? "/v1/completions" : "/v1/chat/completions", q.key, {
    method: "POST",
    signal: q.signal,
    body: JSON.stringify({
      model: q.model,
      ...(q.asText ? { prompt: messages.map((m) => m.content).join("\n") } : { messages }),
      ...Object.fromEntries(sampling),
      stream: true,
      stream_options: { include_usage: true },
    }),
  });
  let isWhole = false;
  try {
    for await (const { data } of serverEvents(response.body!)) {
      if (data === "[DONE]") {
        isWhole = true;
        break;
      }
      const chunk = JSON.parse(data) as Chunk;
      if (chunk.error) throw new Failure("broken", sentence(chunk.error.message ?? "the server failed"));
      const choice = chunk.choices?.[0];
      const text = choice?.delta?.content ?? choice?.text ?? "";
      if (text !== "") yield { type: "text", text };
      if (choice?.finish_reason) yield { type: "end", reason: choice.finish_reason };
      if (chunk.usage?.completion_tokens !== undefined)
        yield { type: "usage", tokens: chunk.usage.completion_tokens };
    }
  } catch (e) {
    if (e instanceof Failure || (e as Error).name === "AbortError") throw e;
    throw new Failure("gone", "The connection to the server was lost.");
  }
  if (!isWhole) throw new Failure("gone", "The connection to the server was lost.");
}
