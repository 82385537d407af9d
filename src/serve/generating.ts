// The endpoints that generate text: one request, one or several answers, whole or streamed.

import type { Context } from "hono";
import { streamSSE } from "hono/streaming";
import {
  type Engine,
  type GenerateEvent,
  type GenerateRequest,
  RequestError,
  type TokenLogprob,
  type Usage,
} from "./api.js";
import { Mailbox } from "./mailbox.js";
import type { Metrics } from "./metrics.js";
import { errorBody } from "./openai.js";
import { type Ending, Replies, sumUsage, type WholeChoice } from "./replies.js";
import { type ToolCall, ToolCalls } from "./tool-calls.js";

/** What the endpoints share. */
export interface Serving {
  readonly engine: Engine;
  readonly metrics: Metrics;
  readonly onError: (error: unknown) => void;
}

export interface Asked {
  readonly kind: "text" | "chat";
  readonly request: GenerateRequest;
  /** Answers that are wanted. */
  readonly n: number;
  readonly stream: boolean;
  readonly includeUsage: boolean;
}

/** A part of one answer. */
type Piece =
  | { readonly type: "text"; readonly text: string; readonly logprobs?: readonly TokenLogprob[] | undefined }
  | { readonly type: "calls"; readonly calls: readonly ToolCall[]; readonly first: number }
  | { readonly type: "end"; readonly ending: Ending; readonly usage: Usage };

/** Events of an answer with the calls of tools taken out of the text. */
async function* pieces(events: AsyncIterable<GenerateEvent>, hasTools: boolean): AsyncGenerator<Piece> {
  const found = hasTools ? new ToolCalls() : undefined;
  for await (const event of events) {
    if (event.type === "text") {
      if (!found) {
        yield event;
        continue;
      }
      const first = found.count;
      const { text, calls } = found.push(event.text);
      if (text !== "") yield { type: "text", text, logprobs: event.logprobs };
      if (calls.length) yield { type: "calls", calls, first };
    } else {
      const rest = found?.end() ?? "";
      if (rest !== "") yield { type: "text", text: rest };
      yield { type: "end", ending: found?.count ? "tool_calls" : event.reason, usage: event.usage };
    }
  }
}

async function whole(
  parts: AsyncIterator<Piece>,
  first: IteratorResult<Piece>,
): Promise<WholeChoice & { readonly usage: Usage }> {
  let text = "";
  const logprobs: TokenLogprob[] = [];
  const calls: ToolCall[] = [];
  let hasLogprobs = false;
  let answer: (WholeChoice & { readonly usage: Usage }) | undefined;
  // Runs to the end even after the last piece, so that the engine can clear up.
  for (let next = first; !next.done; next = await parts.next()) {
    const p = next.value;
    if (p.type === "text") {
      text += p.text;
      hasLogprobs ||= p.logprobs !== undefined;
      logprobs.push(...(p.logprobs ?? []));
    } else if (p.type === "calls") calls.push(...p.calls);
    else
      answer = {
        text,
        calls,
        ending: p.ending,
        usage: p.usage,
        logprobs: hasLogprobs ? logprobs : undefined,
      };
  }
  if (!answer) throw new Error("the engine ended without an answer");
  return answer;
}

/** Answers one request. @throws RequestError before anything was sent */
export async function answer(c: Context, serving: Serving, asked: Asked): Promise<Response> {
  const { engine, metrics } = serving;
  const { kind, request, n } = asked;
  const hasTools = "tools" in request.prompt && request.prompt.tools !== undefined;
  if (hasTools && engine.info.toolForm === undefined)
    throw new RequestError(`the chat template of "${engine.info.model}" knows no tools`, "tools");
  const replies = new Replies(kind, engine.info.model);
  const { signal } = c.req.raw;
  const choices = Array.from({ length: n }, (_, i) => {
    // The first answer is the one that a request for a single answer gets.
    const seed = request.seed === undefined ? {} : { seed: request.seed + i };
    const events = metrics.timed(
      kind === "chat" ? "chat" : "completions",
      engine.generate({ ...request, ...seed }, signal),
    );
    return pieces(events, hasTools)[Symbol.asyncIterator]();
  });
  const leave = () => Promise.all(choices.map((x) => x.return?.(undefined)));
  let firsts: IteratorResult<Piece>[];
  try {
    // The first pieces are awaited before any header goes out, so that a bad request gets its own status.
    firsts = await Promise.all(choices.map((x) => x.next()));
  } catch (e) {
    await leave();
    throw e;
  }
  if (!asked.stream) {
    const done = await Promise.all(choices.map((x, i) => whole(x, firsts[i]!)));
    return c.json(replies.whole(done, sumUsage(done.map((d) => d.usage))));
  }
  return streamSSE(c, async (stream) => {
    const box = new Mailbox<() => Promise<void>>();
    stream.onAbort(() => void leave());
    const send = (data: object | string) =>
      stream.writeSSE({ data: typeof data === "string" ? data : JSON.stringify(data) });
    const usages: Usage[] = [];
    let open = n;
    /** Puts what is to be sent for one answer into the box, piece by piece. */
    const pump = async (i: number): Promise<void> => {
      const parts = choices[i]!;
      let length = 0;
      try {
        for (let next = firsts[i]!; !next.done; next = await parts.next()) {
          const p = next.value;
          if (p.type === "text") {
            const start = length;
            length += p.text.length;
            box.put(() => send(replies.piece(i, p.text, p.logprobs, start)));
          } else if (p.type === "calls") box.put(() => send(replies.calls(i, p.calls, p.first)));
          else {
            usages.push(p.usage);
            box.put(() => send(replies.closing(i, p.ending)));
          }
        }
        box.put(async () => {
          open--;
        });
      } catch (e) {
        box.put(e instanceof Error ? e : new Error(String(e)));
      }
    };
    try {
      for (let i = 0; i < n; i++) {
        const opening = replies.opening(i);
        if (opening) await send(opening);
      }
      for (let i = 0; i < n; i++) void pump(i);
      while (open > 0) await (await box.take())();
      if (asked.includeUsage) await send(replies.usage(sumUsage(usages)));
      await send("[DONE]");
    } catch (error) {
      if (stream.aborted || signal.aborted) return;
      serving.onError(error);
      await send(errorBody(`internal error: ${(error as Error).message}`, "server_error"));
    } finally {
      await leave();
    }
  });
}
