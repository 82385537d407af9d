// The HTTP side of the server: routes, checks, errors. It knows the engine by its contract only (`api.ts`).

import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { cors } from "hono/cors";
import { type Engine, RequestError } from "./api.js";
import { Gate, requireKey } from "./gate.js";
import { answer, type Asked, type Serving } from "./generating.js";
import { Metrics } from "./metrics.js";
import { isPage, servePage } from "./page.js";
import {
  chatMessages,
  chatRequest,
  chatSchema,
  completionRequest,
  completionSchema,
  embeddingInputs,
  embeddingSchema,
  errorBody,
  parseBody,
  tokenizeSchema,
} from "./openai.js";

export interface AppOptions {
  /** Largest request body in bytes. Default 4 MiB. */
  readonly maxBodyBytes?: number;
  /** Most requests that run or wait at once; more are refused with 429. Default 256. */
  readonly maxRequests?: number;
  /** Keys that clients must send; without any, nobody is asked. */
  readonly apiKeys?: readonly string[];
  /** Origins of pages that may use the API; `*` for all. Default: none but the server's own. */
  readonly corsOrigins?: readonly string[];
  /** Told about errors that are not the client's. */
  readonly onError?: (error: unknown) => void;
}

/** The server as a web-standard `fetch` handler, and the gate that its end closes. */
export interface App {
  readonly fetch: Hono["fetch"];
  readonly request: Hono["request"];
  readonly gate: Gate;
}

/** Seconds after which a refused client may try again. */
const RETRY_AFTER = "1";

export function createApp(engine: Engine, options: AppOptions = {}): App {
  const app = new Hono();
  const maxSize = options.maxBodyBytes ?? 4 * 1024 * 1024;
  const started = Math.floor(Date.now() / 1000);
  const { info } = engine;
  const gate = new Gate(options.maxRequests ?? 256);
  const metrics = new Metrics(engine);
  const serving: Serving = { engine, metrics, onError: options.onError ?? (() => {}) };

  if (options.corsOrigins?.length) app.use(cors({ origin: [...options.corsOrigins] }));
  app.use(
    bodyLimit({
      maxSize,
      onError: async (c) => {
        await readAway(c.req.raw.body);
        return c.json(errorBody(`the body is larger than ${maxSize} bytes`, "invalid_request_error"), 413);
      },
    }),
  );
  if (options.apiKeys?.length) {
    const checked = requireKey(options.apiKeys);
    app.use((c, next) => (c.req.path === "/health" || isPage(c.req.path) ? next() : checked(c, next)));
  }
  app.notFound((c) =>
    c.json(
      errorBody(`there is no ${c.req.method} ${c.req.path}`, "invalid_request_error", null, "not_found"),
      404,
    ),
  );
  app.onError((error, c) => {
    // Nobody is there to read the answer, and nothing went wrong here.
    if (c.req.raw.signal.aborted) return new Response(null, { status: 499 });
    if (error instanceof RequestError) {
      const { status } = error;
      const type =
        status === 503 ? "server_error" : status === 429 ? "rate_limit_error" : "invalid_request_error";
      if (status === 429 || status === 503) c.header("retry-after", RETRY_AFTER);
      if (status === 401) c.header("www-authenticate", "Bearer");
      return c.json(errorBody(error.message, type, error.param, error.code), status);
    }
    options.onError?.(error);
    return c.json(errorBody(`internal error: ${error.message}`, "server_error"), 500);
  });

  servePage(app);
  app.get("/health", (c) => c.json({ status: "ok", model: info.model, chip: info.chip }));
  app.get("/metrics", async (c) =>
    c.body(await metrics.text(), 200, { "content-type": metrics.contentType }),
  );

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

  function checkTemplate(): void {
    if (!info.hasChatTemplate)
      throw new RequestError(
        `"${info.model}" has no chat template; use /v1/completions`,
        null,
        "no_chat_template",
      );
  }

  /** Runs a handler inside the gate, until its answer has gone out. */
  async function inside(c: Context, run: () => Promise<Response>): Promise<Response> {
    const leave = gate.enter();
    try {
      const response = await run();
      if (!response.headers.get("content-type")?.startsWith("text/event-stream") || !response.body) {
        leave();
        return response;
      }
      c.req.raw.signal.addEventListener("abort", leave, { once: true });
      const passing = new TransformStream({ flush: leave });
      return new Response(response.body.pipeThrough(passing), response);
    } catch (e) {
      leave();
      throw e;
    }
  }

  type Body = Parameters<typeof shapeOf>[0];
  const shapeOf = (b: {
    n?: number | null | undefined;
    stream?: boolean | null | undefined;
    stream_options?: { include_usage?: boolean | null | undefined } | null | undefined;
  }): Pick<Asked, "n" | "stream" | "includeUsage"> => ({
    n: b.n ?? 1,
    stream: b.stream ?? false,
    includeUsage: b.stream_options?.include_usage ?? false,
  });
  const respond = (c: Context, body: Body, asked: Pick<Asked, "kind" | "request">) =>
    inside(c, () => answer(c, serving, { ...asked, ...shapeOf(body) }));

  app.post("/v1/completions", async (c) => {
    const body = parseBody(completionSchema, await readJsonBody(c));
    checkModel(body.model);
    return respond(c, body, { kind: "text", request: completionRequest(body) });
  });
  app.post("/v1/chat/completions", async (c) => {
    checkTemplate();
    const body = parseBody(chatSchema, await readJsonBody(c));
    checkModel(body.model);
    return respond(c, body, { kind: "chat", request: chatRequest(body) });
  });
  app.post("/v1/embeddings", async (c) => {
    const body = parseBody(embeddingSchema, await readJsonBody(c));
    checkModel(body.model);
    return inside(c, async () => {
      const made = await Promise.all(embeddingInputs(body).map((x) => engine.embed(x, c.req.raw.signal)));
      metrics.count("embeddings", "ok");
      const tokens = made.reduce((n, e) => n + e.tokens, 0);
      const shown = (v: readonly number[]) =>
        body.encoding_format === "base64" ? Buffer.from(Float32Array.from(v).buffer).toString("base64") : v;
      return c.json({
        object: "list",
        model: info.model,
        data: made.map((e, index) => ({ object: "embedding", index, embedding: shown(e.vector) })),
        usage: { prompt_tokens: tokens, total_tokens: tokens },
      });
    });
  });
  app.post("/tokenize", async (c) => {
    const body = parseBody(tokenizeSchema, await readJsonBody(c));
    checkModel(body.model);
    if (body.messages) checkTemplate();
    const tokens = await engine.tokenize(
      body.messages ? { messages: chatMessages(body.messages) } : { text: body.prompt! },
    );
    return c.json({ tokens, count: tokens.length, max_model_len: info.contextLength });
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
  return { fetch: app.fetch, request: app.request, gate };
}

/** Most bytes of a body too large that are still read. */
const MOST_READ_AWAY = 64 * 1024 * 1024;

/** Reads the rest of a body and drops it: a client that is still sending hears no answer if its connection is closed. */
async function readAway(body: ReadableStream<Uint8Array> | null): Promise<void> {
  if (!body || body.locked) return;
  const reader = body.getReader();
  try {
    for (let bytes = 0; bytes < MOST_READ_AWAY; ) {
      const { done, value } = await reader.read();
      if (done) return;
      bytes += value.length;
    }
  } catch {
    // The client has left.
  } finally {
    reader.releaseLock();
  }
}

async function readJsonBody(c: Context): Promise<unknown> {
  const text = await c.req.text();
  try {
    return JSON.parse(text);
  } catch (e) {
    throw new RequestError(`the body is not JSON: ${(e as Error).message}`);
  }
}
