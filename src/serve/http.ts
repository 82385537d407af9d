// The HTTP side of the server: routes, checks, streaming. It knows the engine by its contract only (`api.ts`).

import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { streamSSE } from "hono/streaming";
import type { z } from "zod";
import { type Engine, type GenerateRequest, RequestError } from "./api.js";
import {
  chatRequest,
  chatSchema,
  completionRequest,
  completionSchema,
  errorBody,
  parseBody,
  Replies,
} from "./openai.js";

export interface AppOptions {
  /** Largest request body in bytes. */
  readonly maxBodyBytes?: number;
  /** Told about errors that are not the client's. */
  readonly onError?: (error: unknown) => void;
}

/** The server as a web-standard `fetch` handler. */
export function createApp(engine: Engine, options: AppOptions = {}): Hono {
  const app = new Hono();
  const maxSize = options.maxBodyBytes ?? 4 * 1024 * 1024;
  const started = Math.floor(Date.now() / 1000);
  const { info } = engine;

  app.use(
    bodyLimit({
      maxSize,
      onError: (c) =>
        c.json(errorBody(`the body is larger than ${maxSize} bytes`, "invalid_request_error"), 413),
    }),
  );
  app.notFound((c) =>
    c.json(
      errorBody(`there is no ${c.req.method} ${c.req.path}`, "invalid_request_error", null, "not_found"),
      404,
    ),
  );
  app.onError((error, c) => {
    // Nobody is there to read the answer, and nothing went wrong here.
    if (c.req.raw.signal.aborted) return new Response(null, { status: 499 });
    if (error instanceof RequestError)
      return c.json(errorBody(error.message, "invalid_request_error", error.param, error.code), error.status);
    options.onError?.(error);
    return c.json(errorBody(`internal error: ${error.message}`, "server_error"), 500);
  });

  app.get("/health", (c) => c.json({ status: "ok", model: info.model, chip: info.chip }));

  const model = {
    id: info.model,
    object: "model",
    created: started,
    owned_by: "vexil",
    context_length: info.contextLength,
  };
  app.get("/v1/models", (c) => c.json({ object: "list", data: [model] }));
  app.get("/v1/models/:id{.+}", (c) => {
    checkModel(c.req.param("id"));
    return c.json(model);
  });

  function checkModel(name: string | undefined): void {
    if (name !== undefined && name !== info.model)
      throw new RequestError(
        `there is no model "${name}" here; the model is "${info.model}"`,
        "model",
        "model_not_found",
        404,
      );
  }

  async function endpoint<
    T extends {
      model?: string;
      stream?: boolean | null;
      stream_options?: { include_usage?: boolean | null } | null;
    },
  >(
    c: Context,
    kind: "text" | "chat",
    schema: z.ZodType<T>,
    toRequest: (body: T) => GenerateRequest,
  ): Promise<Response> {
    const body = parseBody(schema, await readJsonBody(c));
    checkModel(body.model);
    const replies = new Replies(kind, info.model);
    const events = engine.generate(toRequest(body), c.req.raw.signal)[Symbol.asyncIterator]();
    // The first event is awaited before any header goes out, so that a bad request gets its own status.
    let next = await events.next();
    if (!body.stream) {
      let text = "";
      let answer: object | undefined;
      // Runs to the end even after the `end` event, so that the engine can clear up.
      for (; !next.done; next = await events.next()) {
        if (next.value.type === "text") text += next.value.text;
        else answer = replies.whole(text, next.value.reason, next.value.usage);
      }
      if (!answer) throw new Error("the engine ended without an answer");
      return c.json(answer);
    }
    return streamSSE(c, async (stream) => {
      stream.onAbort(() => void events.return?.());
      const send = (data: object | string) =>
        stream.writeSSE({ data: typeof data === "string" ? data : JSON.stringify(data) });
      try {
        const opening = replies.opening();
        if (opening) await send(opening);
        for (; !next.done; next = await events.next()) {
          const event = next.value;
          if (event.type === "text") await send(replies.piece(event.text));
          else {
            await send(replies.closing(event.reason));
            if (body.stream_options?.include_usage) await send(replies.usage(event.usage));
            await send("[DONE]");
          }
        }
      } catch (error) {
        if (stream.aborted || c.req.raw.signal.aborted) return;
        options.onError?.(error);
        await send(errorBody(`internal error: ${(error as Error).message}`, "server_error"));
      } finally {
        await events.return?.();
      }
    });
  }

  app.post("/v1/completions", (c) => endpoint(c, "text", completionSchema, completionRequest));
  app.post("/v1/chat/completions", (c) => {
    if (!info.hasChatTemplate)
      throw new RequestError(
        `"${info.model}" has no chat template; use /v1/completions`,
        null,
        "no_chat_template",
      );
    return endpoint(c, "chat", chatSchema, chatRequest);
  });
  for (const { method, path } of [...app.routes])
    if (method === "GET" || method === "POST")
      app.all(path, (c) =>
        c.json(
          errorBody(
            `${c.req.path} takes ${method}, not ${c.req.method}`,
            "invalid_request_error",
            null,
            "method_not_allowed",
          ),
          405,
          { allow: method },
        ),
      );
  return app;
}

async function readJsonBody(c: Context): Promise<unknown> {
  const text = await c.req.text();
  try {
    return JSON.parse(text);
  } catch (e) {
    throw new RequestError(`the body is not JSON: ${(e as Error).message}`);
  }
}
