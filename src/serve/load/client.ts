// One client of an OpenAI-compatible server: asks for one streamed answer and writes down when its pieces came. It needs
// only the standard endpoints, and knows nothing of the project's own server.

import { serverEvents } from "../sse.js";

/** The server cannot be measured at all: it is not there, or has no model. */
export class LoadTestError extends Error {
  override name = "LoadTestError";
}

export interface Target {
  /** Without `/v1`. */
  readonly url: string;
  readonly endpoint: "chat" | "completions";
  readonly model: string;
  readonly key: string | undefined;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly timeoutMs: number;
}

/** What one request gave. Times in milliseconds since it was sent. */
export interface Measured {
  readonly outcome: "ok";
  readonly inputTokens: number | undefined;
  readonly outputTokens: number;
  readonly firstMs: number;
  readonly totalMs: number;
  /** From the first piece of text to the last. */
  readonly spanMs: number;
  /** Between two pieces of text. */
  readonly gapsMs: readonly number[];
}
export interface Failed {
  readonly outcome: "failed" | "cancelled";
  /** `status 429`, `timeout`, `no connection`, `broken stream`, `no text`. */
  readonly kind: string;
  readonly detail: string;
}
export type Result = Measured | Failed;

/** `http://host:8000/v1/` and `host:8000` alike. @throws LoadTestError for what is no address */
export function baseUrl(text: string): string {
  const url = parse(text);
  if (!url || !/^https?:$/.test(url.protocol) || url.hostname === "")
    throw new LoadTestError(`"${text}" is no address of a server; one looks like http://127.0.0.1:8080`);
  return url.href
    .replace(/[?#].*$/, "")
    .replace(/\/+$/, "")
    .replace(/\/v1$/, "");
}
function parse(text: string): URL | undefined {
  try {
    return new URL(/^https?:\/\//.test(text) ? text : `http://${text}`);
  } catch {
    return undefined;
  }
}

export const headers = (key: string | undefined): Record<string, string> => ({
  "content-type": "application/json",
  ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
});

/** What a connection's error says under the hood. */
function causeOf(e: unknown): string {
  const cause = (e as Error).cause as { code?: string; message?: string } | undefined;
  return cause?.code ?? cause?.message ?? (e as Error).message;
}

/** The names of the server's models. @throws LoadTestError */
export async function listModels(url: string, key: string | undefined): Promise<string[]> {
  let response: Response;
  try {
    response = await fetch(`${url}/v1/models`, {
      headers: headers(key),
      signal: AbortSignal.timeout(10_000),
    });
  } catch (e) {
    throw new LoadTestError(`${url} does not answer (${causeOf(e)}): is the server running?`);
  }
  if (response.status === 401 || response.status === 403)
    throw new LoadTestError(`${url} wants an API key: set the environment variable that --key-env names`);
  const body = response.ok
    ? ((await response.json().catch(() => undefined)) as { data?: unknown })
    : undefined;
  const data = Array.isArray(body?.data) ? (body.data as { id?: unknown }[]) : [];
  const names = data.map((m) => m.id).filter((id) => typeof id === "string");
  if (names.length === 0)
    throw new LoadTestError(
      `${url}/v1/models names no model (status ${response.status}): give one with --model`,
    );
  return names;
}

/** A counter of tokens by the server's `/tokenize`; undefined when it has none. */
export async function tokenizer(
  target: Pick<Target, "url" | "endpoint" | "model" | "key">,
): Promise<((text: string) => Promise<number>) | undefined> {
  const { url, endpoint, model, key } = target;
  const count = async (text: string): Promise<number> => {
    const input = endpoint === "chat" ? { messages: [{ role: "user", content: text }] } : { prompt: text };
    const response = await fetch(`${url}/tokenize`, {
      method: "POST",
      headers: headers(key),
      body: JSON.stringify({ model, ...input }),
    });
    const body = (await response.json().catch(() => undefined)) as { count?: unknown } | undefined;
    if (!response.ok || typeof body?.count !== "number")
      throw new LoadTestError(`${url}/tokenize answered with status ${response.status}`);
    return body.count;
  };
  try {
    await count("a");
    return count;
  } catch {
    return undefined;
  }
}

interface Chunk {
  readonly error?: { readonly message?: string };
  readonly choices?: readonly {
    readonly text?: string;
    readonly delta?: { readonly content?: string | null; readonly reasoning_content?: string | null };
    readonly finish_reason?: string | null;
  }[];
  readonly usage?: { readonly prompt_tokens?: number; readonly completion_tokens?: number } | null;
}

/** Sends one request and reads its answer to the end. Never throws. */
export async function request(target: Target, prompt: string, signal: AbortSignal): Promise<Result> {
  const timeout = AbortSignal.timeout(target.timeoutMs);
  const started = performance.now();
  let first: number | undefined;
  let last = started;
  let pieces = 0;
  let ended = false;
  let usage: Chunk["usage"];
  const gaps: number[] = [];
  try {
    const isChat = target.endpoint === "chat";
    const response = await fetch(`${target.url}/v1/${isChat ? "chat/completions" : "completions"}`, {
      method: "POST",
      headers: headers(target.key),
      signal: AbortSignal.any([signal, timeout]),
      body: JSON.stringify({
        model: target.model,
        ...(isChat ? { messages: [{ role: "user", content: prompt }] } : { prompt }),
        max_tokens: target.maxTokens,
        temperature: target.temperature,
        stream: true,
        stream_options: { include_usage: true },
      }),
    });
    if (!response.ok) {
      const detail = (await response.text()).slice(0, 300);
      return { outcome: "failed", kind: `status ${response.status}`, detail };
    }
    for await (const { data } of serverEvents(response.body!)) {
      const now = performance.now();
      if (data === "[DONE]") break;
      const chunk = JSON.parse(data) as Chunk;
      if (chunk.error)
        return { outcome: "failed", kind: "broken stream", detail: chunk.error.message ?? "an error event" };
      usage = chunk.usage ?? usage;
      const choice = chunk.choices?.[0];
      if (choice?.finish_reason) ended = true;
      if ((choice?.text ?? choice?.delta?.content ?? choice?.delta?.reasoning_content ?? "") === "") continue;
      if (first !== undefined) gaps.push(now - last);
      first ??= now;
      last = now;
      pieces++;
    }
  } catch (e) {
    if (signal.aborted) return { outcome: "cancelled", kind: "cancelled", detail: "" };
    if (timeout.aborted)
      return { outcome: "failed", kind: "timeout", detail: `after ${target.timeoutMs} ms` };
    const kind = first === undefined ? "no connection" : "broken stream";
    return { outcome: "failed", kind, detail: causeOf(e) };
  }
  if (!ended) return { outcome: "failed", kind: "broken stream", detail: "it ended without a finish_reason" };
  if (first === undefined) return { outcome: "failed", kind: "no text", detail: "the answer was empty" };
  return {
    outcome: "ok",
    inputTokens: usage?.prompt_tokens,
    outputTokens: usage?.completion_tokens ?? pieces,
    firstMs: first - started,
    totalMs: last - started,
    spanMs: last - first,
    gapsMs: gaps,
  };
}
