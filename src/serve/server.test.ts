// The server as clients see it: real HTTP on loopback, the real engine in its worker, the qwen3 fixture.

import { readFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { built, QWEN3 } from "../../test/built.js";
import type { Engine, GenerateEvent, GenerateRequest } from "./api.js";
import type { RunningServer } from "./server.js";

const { listen, startEngine } = await built<typeof import("./index.js")>("serve/index.js");

interface Case {
  readonly prompt: string;
  readonly input_ids: number[];
  readonly greedy: number[];
  readonly greedy_text: string;
}
const reference = JSON.parse(readFileSync(`${QWEN3}/reference.json`, "utf8")) as { cases: Case[] };
const [FIRST] = reference.cases as [Case];

/** Requests that the engine works on, and how many tokens it gave the last one that ended. */
const watched = { running: 0, pieces: 0 };
const errors: unknown[] = [];
let engine: Engine;
let server: RunningServer;
let client: OpenAI;

/** The engine with a view into what it works on. */
function watch(inner: Engine): Engine {
  return {
    info: inner.info,
    close: () => inner.close(),
    embed: (input, signal) => inner.embed(input, signal),
    tokenize: (prompt) => inner.tokenize(prompt),
    stats: () => inner.stats(),
    async *generate(request: GenerateRequest, signal?: AbortSignal): AsyncGenerator<GenerateEvent> {
      watched.running++;
      let pieces = 0;
      try {
        for await (const event of inner.generate(request, signal)) {
          pieces++;
          yield event;
        }
      } finally {
        watched.running--;
        watched.pieces = pieces;
      }
    },
  };
}

beforeAll(async () => {
  engine = await startEngine({ model: QWEN3, chip: "wasm" });
  server = await listen(watch(engine), {
    port: 0,
    maxBodyBytes: 64 * 1024,
    onError: (e) => errors.push(e),
  });
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(async () => {
  await server.close(100);
  await engine.close();
});

const post = (path: string, body: unknown, signal?: AbortSignal) =>
  fetch(server.url + path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: typeof body === "string" ? body : JSON.stringify(body),
    ...(signal ? { signal } : {}),
  });

type Completion = {
  id: string;
  choices: { text: string; finish_reason: string | null; message: { role: string; content: string } }[];
  usage: { prompt_tokens: number; completion_tokens: number; total_tokens: number };
};
async function complete(body: object): Promise<Completion> {
  const response = await post("/v1/completions", body);
  expect(response.status).toBe(200);
  return (await response.json()) as Completion;
}
const text = async (body: object) => (await complete(body)).choices[0]!.text;

const idle = async () => {
  for (let i = 0; i < 200 && watched.running > 0; i++) await new Promise((r) => setTimeout(r, 25));
  expect(watched.running).toBe(0);
};

describe("what it says of itself", () => {
  it("is healthy and names its model", async () => {
    expect(await (await fetch(`${server.url}/health`)).json()).toEqual({
      status: "ok",
      model: "qwen3",
      chip: "wasm",
    });
    const models = await client.models.list();
    expect(models.data.map((m) => m.id)).toEqual(["qwen3"]);
    expect(await client.models.retrieve("qwen3")).toMatchObject({ object: "model", context_length: 256 });
  });
});

describe("completions", () => {
  it.each(reference.cases)("continues $prompt as the reference does", async (c) => {
    const max_tokens = c.greedy.length;
    const whole = await complete({ model: "qwen3", prompt: c.prompt, temperature: 0, max_tokens });
    expect(whole).toMatchObject({
      object: "text_completion",
      model: "qwen3",
      choices: [{ index: 0, text: c.greedy_text, finish_reason: "length" }],
      usage: {
        prompt_tokens: c.input_ids.length,
        completion_tokens: max_tokens,
        total_tokens: c.input_ids.length + max_tokens,
      },
    });
    const streamed = await client.completions.create({
      model: "qwen3",
      prompt: c.input_ids,
      temperature: 0,
      max_tokens,
      stream: true,
      stream_options: { include_usage: true },
    });
    let joined = "";
    const reasons: string[] = [];
    let usage: unknown;
    for await (const chunk of streamed) {
      joined += chunk.choices[0]?.text ?? "";
      if (chunk.choices[0]?.finish_reason) reasons.push(chunk.choices[0].finish_reason);
      usage = chunk.usage ?? usage;
    }
    expect(joined).toBe(c.greedy_text);
    expect(reasons).toEqual(["length"]);
    // The second time the prompt's beginning is in the cache.
    expect(usage).toMatchObject({ ...whole.usage, prompt_tokens_details: expect.anything() });
  });

  it("streams server-sent events, one by one, and ends with [DONE]", async () => {
    const response = await post("/v1/completions", {
      prompt: "a",
      temperature: 0,
      max_tokens: 4,
      stream: true,
    });
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    const events = (await response.text()).split("\n\n").filter(Boolean);
    expect(events.at(-1)).toBe("data: [DONE]");
    const chunks = events.slice(0, -1).map((e) => JSON.parse(e.replace(/^data: /, "")) as Completion);
    expect(new Set(chunks.map((c) => c.id)).size).toBe(1);
    expect(chunks.map((c) => c.choices[0]!.text)).toEqual(["i", " int", " int", " int", ""]);
    expect(chunks.map((c) => c.choices[0]!.finish_reason)).toEqual([null, null, null, null, "length"]);
  });

  it("gives the same text for the same seed, others for others", async () => {
    const ask = (seed: number) =>
      text({ prompt: FIRST.prompt, temperature: 1.5, top_p: 0.95, seed, max_tokens: 12 });
    const [a, b, c] = [await ask(1), await ask(1), await ask(2)];
    expect(a).toBe(b);
    expect(c).not.toBe(a);
    expect(await text({ prompt: FIRST.prompt, temperature: 2, top_k: 1, max_tokens: 24 })).toBe(
      FIRST.greedy_text,
    );
  });

  it("answers several at once as it answers them alone", async () => {
    const requests = [
      ...reference.cases.map((c) => ({ prompt: c.prompt, temperature: 0, max_tokens: 24 })),
      { prompt: "def", temperature: 1, seed: 7, max_tokens: 30 },
      { prompt: "Returns a", temperature: 1, seed: 8, max_tokens: 9 },
    ];
    const together = await Promise.all(requests.map(text));
    for (const [i, r] of requests.entries()) expect(together[i]).toBe(await text(r));
  });

  it("ends at a stop text, which is not part of the answer", async () => {
    const stop = { prompt: "a", temperature: 0, max_tokens: 24 };
    // Greedy: "i int int int int int int int int intiii…"; the stop lies across tokens.
    const found = await complete({ ...stop, stop: ["none", "t i"] });
    expect(found.choices[0]).toMatchObject({ text: "i in", finish_reason: "stop" });
    expect(await text({ ...stop, stop: "intii" })).toBe("i int int int int int int int int ");
    const without = await complete({ ...stop, stop: "iin" });
    expect(without.choices[0]).toMatchObject({
      text: reference.cases[3]!.greedy_text,
      finish_reason: "length",
    });
  });

  it("makes 16 tokens unless told, and no more than the context holds", async () => {
    expect((await complete({ prompt: "a", temperature: 0 })).usage.completion_tokens).toBe(16);
    const tokens = Array.from({ length: 250 }, () => 67);
    const full = await complete({ prompt: tokens, temperature: 0, max_tokens: 1000 });
    expect(full.usage).toMatchObject({ prompt_tokens: 250, completion_tokens: 6, total_tokens: 256 });
    expect(full.choices[0]!.finish_reason).toBe("length");
  });
});

describe("chat completions", () => {
  const messages = [
    { role: "system" as const, content: "You are brief." },
    { role: "user" as const, content: "Hi there!" },
  ];

  it("uses the model's template, whole and streamed", async () => {
    const body = { model: "qwen3", messages, temperature: 0, max_completion_tokens: 10 };
    const whole = await client.chat.completions.create(body);
    expect(whole).toMatchObject({
      object: "chat.completion",
      choices: [{ message: { role: "assistant" }, finish_reason: "length" }],
      usage: { prompt_tokens: 33, completion_tokens: 10, total_tokens: 43 },
    });
    const ids = (
      JSON.parse(readFileSync(`${QWEN3}/reference.json`, "utf8")) as { chat: { input_ids: number[] } }
    ).chat.input_ids;
    const plain = await text({ prompt: ids, temperature: 0, max_tokens: 10 });
    expect(whole.choices[0]!.message.content).toBe(plain);

    const stream = client.chat.completions.stream({ ...body, stream_options: { include_usage: true } });
    const roles: string[] = [];
    stream.on("chunk", (c) => {
      if (c.choices[0]?.delta.role) roles.push(c.choices[0].delta.role);
    });
    expect(await stream.finalContent()).toBe(plain);
    expect(roles).toEqual(["assistant"]);
    expect((await stream.finalChatCompletion()).usage).toMatchObject({
      ...whole.usage,
      prompt_tokens_details: { cached_tokens: 32 },
    });
  });

  it("takes text parts and the developer role", async () => {
    const parts = [
      {
        role: "developer" as const,
        content: [
          { type: "text" as const, text: "You are" },
          { type: "text" as const, text: " brief." },
        ],
      },
      messages[1]!,
    ];
    const body = { model: "qwen3", temperature: 0, max_tokens: 5 };
    const a = await client.chat.completions.create({ ...body, messages: parts });
    const b = await client.chat.completions.create({ ...body, messages });
    expect(a.choices[0]!.message).toEqual(b.choices[0]!.message);
  });

  it("may use the whole context", async () => {
    const whole = await client.chat.completions.create({ model: "qwen3", messages, temperature: 0 });
    expect(whole.usage!.total_tokens).toBe(256);
  });
});

const TOOL = { type: "function", function: { name: "f" } };

describe("bad requests", () => {
  const user = [{ role: "user", content: "x" }];
  it.each<[string, string, string | object, number, RegExp, string | null]>([
    ["no JSON", "/v1/completions", "{nope", 400, /the body is not JSON/, null],
    ["nothing", "/v1/completions", "", 400, /the body is not JSON/, null],
    ["a list", "/v1/completions", "[1]", 400, /must be a JSON object/, null],
    ["null", "/v1/chat/completions", "null", 400, /must be a JSON object/, null],
    ["no prompt", "/v1/completions", {}, 400, /^prompt: must be a text/, "prompt"],
    ["a number as prompt", "/v1/completions", { prompt: 5 }, 400, /^prompt: must be a text/, "prompt"],
    ["two prompts", "/v1/completions", { prompt: ["a", "b"] }, 400, /a list of one text/, "prompt"],
    ["an empty prompt", "/v1/completions", { prompt: "" }, 400, /no tokens/, "prompt"],
    [
      "a token out of range",
      "/v1/completions",
      { prompt: [1, 640] },
      400,
      /token 640 is outside the vocabulary of 640/,
      "prompt",
    ],
    ["a fraction as token", "/v1/completions", { prompt: [1.5] }, 400, /^prompt: /, "prompt"],
    [
      "a hot temperature",
      "/v1/completions",
      { prompt: "a", temperature: 3 },
      400,
      /^temperature: /,
      "temperature",
    ],
    [
      "a text as temperature",
      "/v1/completions",
      { prompt: "a", temperature: "1" },
      400,
      /^temperature: /,
      "temperature",
    ],
    [
      "no tokens wanted",
      "/v1/completions",
      { prompt: "a", max_tokens: 0 },
      400,
      /^max_tokens: /,
      "max_tokens",
    ],
    ["an empty stop", "/v1/completions", { prompt: "a", stop: "" }, 400, /^stop: /, "stop"],
    ["a huge seed", "/v1/completions", { prompt: "a", seed: 1e30 }, 400, /^seed: /, "seed"],
    ["many answers", "/v1/completions", { prompt: "a", n: 17 }, 400, /^n: /, "n"],
    [
      "many log probabilities",
      "/v1/completions",
      { prompt: "a", logprobs: 21 },
      400,
      /^logprobs: /,
      "logprobs",
    ],
    [
      "a bias of no token",
      "/v1/completions",
      { prompt: "a", logit_bias: { 640: 1 } },
      400,
      /there is no token 640/,
      "logit_bias",
    ],
    [
      "tools that its template does not know",
      "/v1/chat/completions",
      { messages: user, tools: [TOOL] },
      400,
      /the chat template of "qwen3" knows no tools/,
      "tools",
    ],
    [
      "a call without tools",
      "/v1/chat/completions",
      { messages: user, tool_choice: "required" },
      400,
      /no tools to choose from/,
      "tool_choice",
    ],
    [
      "a schema that cannot be followed",
      "/v1/chat/completions",
      {
        messages: user,
        response_format: {
          type: "json_schema",
          json_schema: { name: "x", schema: { type: "number", minimum: 0 } },
        },
      },
      400,
      /schema: minimum: not supported for number/,
      "response_format",
    ],
    [
      "both kinds of text",
      "/tokenize",
      { prompt: "a", messages: user },
      400,
      /give prompt or messages/,
      "prompt",
    ],
    ["no input", "/v1/embeddings", { input: [] }, 400, /^input: must be a text/, "input"],
    ["no messages", "/v1/chat/completions", { messages: [] }, 400, /^messages: /, "messages"],
    [
      "an unknown role",
      "/v1/chat/completions",
      { messages: [{ role: "king", content: "" }] },
      400,
      /^messages\.0\.role: /,
      "messages.0.role",
    ],
    [
      "an image",
      "/v1/chat/completions",
      { messages: [{ role: "user", content: [{ type: "image_url" }] }] },
      400,
      /^messages\.0\.content: must be/,
      "messages.0.content",
    ],
    [
      "another model",
      "/v1/completions",
      { prompt: "a", model: "gpt" },
      404,
      /no model "gpt" here; the model is "qwen3"/,
      "model",
    ],
    ["an unknown route", "/v1/images", { input: "a" }, 404, /there is no POST \/v1\/images/, null],
  ])("refuses %s", async (_name, path, body, status, message, param) => {
    const response = await post(path, body);
    expect(response.status).toBe(status);
    const { error } = (await response.json()) as {
      error: { message: string; type: string; param: string | null };
    };
    expect(error.message).toMatch(message);
    expect(error).toMatchObject({ type: "invalid_request_error", param });
    expect(await text({ prompt: "a", temperature: 0, max_tokens: 2 })).toBe("i int");
  });

  it("refuses a prompt longer than the context, streamed or not, and the client knows the code", async () => {
    for (const stream of [false, true]) {
      const failed = client.completions.create({ model: "qwen3", prompt: "word ".repeat(300), stream });
      await expect(failed).rejects.toMatchObject({
        status: 400,
        code: "context_length_exceeded",
        param: "prompt",
      });
      await expect(failed).rejects.toThrow(/the context holds 256/);
    }
    const chat = client.chat.completions.create({
      model: "qwen3",
      messages: [{ role: "user", content: "word ".repeat(300) }],
    });
    await expect(chat).rejects.toMatchObject({
      status: 400,
      code: "context_length_exceeded",
      param: "messages",
    });
  });

  it("answers a client whose body nobody reads, however slowly it comes, and then its next request", async () => {
    const socket = connect(server.port, "127.0.0.1");
    let got = "";
    socket.setEncoding("utf8").on("data", (d) => {
      got += d;
    });
    const closed = new Promise<void>((resolve, reject) =>
      socket.once("close", () => resolve()).once("error", reject),
    );
    const head = "host: a\r\ncontent-length: 40000\r\n\r\n";
    socket.write(`POST /nothing HTTP/1.1\r\n${head}${" ".repeat(20_000)}`);
    await new Promise((r) => setTimeout(r, 1500));
    socket.write(" ".repeat(20_000));
    socket.write("GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    await closed;
    expect(got.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 404", "HTTP/1.1 200"]);
  });

  it("refuses a huge body, announced or not", async () => {
    const big = JSON.stringify({ prompt: "a".repeat(100_000) });
    const response = await post("/v1/completions", big);
    expect(response.status).toBe(413);
    expect(await response.text()).toContain("larger than 65536 bytes");
    const status = await new Promise<number>((resolve, reject) => {
      const r = httpRequest(`${server.url}/v1/completions`, { method: "POST" }, (res) => {
        res.resume();
        resolve(res.statusCode!);
      });
      r.on("error", reject);
      for (let i = 0; i < 10; i++) r.write(" ".repeat(10_000));
      r.end();
    });
    expect(status).toBe(413);
    expect(await text({ prompt: "a", temperature: 0, max_tokens: 2 })).toBe("i int");
  });

  it("says which method a route takes", async () => {
    const get = await fetch(`${server.url}/v1/completions`);
    expect(get.status).toBe(405);
    expect(get.headers.get("allow")).toBe("POST");
    expect(await get.json()).toMatchObject({ error: { message: "/v1/completions takes POST, not GET" } });
    expect((await fetch(`${server.url}/v1/models`, { method: "DELETE" })).status).toBe(405);
    await expect(client.models.retrieve("other")).rejects.toMatchObject({
      status: 404,
      code: "model_not_found",
    });
  });

  it("lives through bytes that are no HTTP", async () => {
    await new Promise<void>((resolve) => {
      const socket = connect(server.port, "127.0.0.1", () => socket.end("\u0000\u0001 nonsense\r\n\r\n"));
      socket.on("close", () => resolve());
      socket.on("error", () => {});
      socket.resume();
    });
    expect((await fetch(`${server.url}/health`)).status).toBe(200);
  });
});

describe("clients that leave", () => {
  const long = { prompt: "a", temperature: 0, max_tokens: 240 };

  it("frees the slot of a stream that is broken off", async () => {
    const stream = await client.completions.create({ model: "qwen3", ...long, stream: true });
    let seen = 0;
    for await (const _ of stream) if (++seen === 3) break;
    await idle();
    expect(watched.pieces).toBeLessThan(200);
  });

  it("frees the slot when the client aborts a stream", async () => {
    const abort = new AbortController();
    const stream = await client.chat.completions.create(
      { model: "qwen3", messages: [{ role: "user", content: "x" }], temperature: 0, stream: true },
      { signal: abort.signal },
    );
    await (async () => {
      for await (const _ of stream) abort.abort();
    })().catch(() => {});
    await idle();
    expect(watched.pieces).toBeLessThan(200);
  });

  it("frees the slot when the client of a whole answer goes away", async () => {
    const abort = new AbortController();
    const answer = post("/v1/completions", long, abort.signal);
    const left = expect(answer).rejects.toThrow();
    for (let i = 0; i < 200 && watched.running === 0; i++) await new Promise((r) => setTimeout(r, 5));
    abort.abort();
    await left;
    await idle();
    expect(watched.pieces).toBeLessThan(200);
  });

  it("reports none of that as an error of its own", async () => {
    expect(await text({ prompt: "a", temperature: 0, max_tokens: 2 })).toBe("i int");
    expect(errors).toEqual([]);
  });
});

describe("starting and stopping", () => {
  it("names a port that is in use", async () => {
    await expect(listen(engine, { port: server.port })).rejects.toThrow(
      `port ${server.port} on 127.0.0.1 is in use: stop what uses it, or choose another with --port`,
    );
    await expect(listen(engine, { port: 0, host: "203.0.113.1" })).rejects.toThrow(
      "203.0.113.1 is no address of this machine",
    );
  });

  it("cuts what still runs when its grace is over", async () => {
    const second = await listen(watch(engine), { port: 0 });
    const response = await fetch(`${second.url}/v1/completions`, {
      method: "POST",
      body: JSON.stringify({ ...{ prompt: "a", temperature: 0, max_tokens: 240 }, stream: true }),
    });
    const read = response.text().catch((e: Error) => e);
    await second.close(1);
    expect(await read).toBeInstanceOf(Error);
    await idle();
  });

  it("ends requests with a clear error when the engine ends", async () => {
    const other = await startEngine({ model: QWEN3, chip: "wasm" });
    const events = other.generate({ prompt: { text: "a" }, temperature: 0, topP: 1, topK: 0, stop: [] });
    const iterator = events[Symbol.asyncIterator]();
    await iterator.next();
    await other.close();
    await expect(
      (async () => {
        for (;;) if ((await iterator.next()).done) return;
      })(),
    ).rejects.toThrow();
    await expect(
      other
        .generate({ prompt: { text: "a" }, temperature: 0, topP: 1, topK: 0, stop: [] })
        [Symbol.asyncIterator]()
        .next(),
    ).rejects.toThrow("the engine has stopped");
  });
});
