// What requests may ask for beyond a text: several answers, log-probabilities, JSON that fits a schema, calls of tools,
// embeddings, tokens; and who is let in. Through the npm client where it has it.

import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { QWEN3, temporaryFolder } from "../../test/built.js";
import { loadEngine } from "./engine.js";
import { createApp, type Engine, listen, type RunningServer } from "./index.js";

/** The fixture with a chat template that knows tools, as Qwen's do. */
function modelWithTools(): string {
  const folder = join(temporaryFolder(), "tooled");
  cpSync(QWEN3, folder, { recursive: true });
  const template = `{% if tools %}<|im_start|>system
You may call:{% for t in tools %} {{ t.function.name }}{% endfor %} as <tool_call></tool_call><|im_end|>
{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}{% if m.tool_calls %}{% for c in m.tool_calls %}<tool_call>{{ c.function.arguments | tojson }}</tool_call>{% endfor %}{% endif %}<|im_end|>
{% endfor %}<|im_start|>assistant
`;
  writeFileSync(join(folder, "chat_template.jinja"), template);
  return folder;
}

let engine: Engine;
let server: RunningServer;
let client: OpenAI;
beforeAll(async () => {
  engine = await loadEngine({ model: modelWithTools(), chip: "wasm", maxSequences: 8 });
  server = await listen(engine, { port: 0, apiKeys: ["one", "two"], corsOrigins: ["https://page.example"] });
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "two", maxRetries: 0 });
});
afterAll(async () => {
  await server.close(100);
  await engine.close();
});

const model = "tooled";
const messages = [{ role: "user" as const, content: "hello" }];
const weather = {
  type: "function" as const,
  function: {
    name: "weather",
    parameters: {
      type: "object",
      properties: { city: { enum: ["Rome", "Oslo"] }, days: { type: "integer", minimum: 1, maximum: 9 } },
      required: ["city", "days"],
      additionalProperties: false,
    },
  },
};

describe("several answers", () => {
  it("each with a seed of its own, the first as if alone; whole and streamed alike", async () => {
    const body = { model, prompt: "x", n: 3, seed: 5, temperature: 1, max_tokens: 6 };
    const { choices, usage } = await client.completions.create(body);
    expect(choices.map((c) => c.index)).toEqual([0, 1, 2]);
    expect(new Set(choices.map((c) => c.text)).size).toBe(3);
    expect(usage!.completion_tokens).toBe(18);
    const alone = await client.completions.create({ ...body, n: 1 });
    expect(alone.choices[0]!.text).toBe(choices[0]!.text);
    const texts = ["", "", ""];
    const ends: number[] = [];
    for await (const chunk of await client.completions.create({ ...body, stream: true })) {
      const [c] = chunk.choices;
      texts[c!.index] += c!.text;
      if (c!.finish_reason) ends.push(c!.index);
    }
    expect(texts).toEqual(choices.map((c) => c.text));
    expect(ends.sort()).toEqual([0, 1, 2]);
  });

  it("64 requests at once get what each gets alone", async () => {
    const bodies = Array.from({ length: 64 }, (_, i) => ({
      model,
      prompt: "abcdefgh".slice(0, 1 + (i % 8)),
      seed: i,
      temperature: i % 2,
      max_tokens: 1 + (i % 9),
    }));
    const ask = async (b: (typeof bodies)[number]) => (await client.completions.create(b)).choices[0]!.text;
    const together = await Promise.all(bodies.map(ask));
    const alone: string[] = [];
    for (const b of bodies) alone.push(await ask(b));
    expect(together).toEqual(alone);
  });
});

describe("log-probabilities", () => {
  it("of the tokens and of the likeliest at their places", async () => {
    const { choices } = await client.chat.completions.create({
      model, messages, temperature: 0, max_tokens: 4, logprobs: true, top_logprobs: 3,
    }); // biome-ignore format: a request
    const list = choices[0]!.logprobs!.content!;
    expect(list.map((t) => t.token).join("")).toBe(choices[0]!.message.content);
    for (const t of list) {
      expect(t.top_logprobs).toHaveLength(3);
      // Greedy: the token is the likeliest.
      expect(t.top_logprobs[0]!.token).toBe(t.token);
      expect(t.logprob).toBeCloseTo(t.top_logprobs[0]!.logprob, 5);
      expect(t.logprob).toBeLessThan(0);
      const order = t.top_logprobs.map((x) => x.logprob);
      expect(order).toEqual([...order].sort((a, b) => b - a));
    }
    const plain = await client.completions.create({
      model,
      prompt: "x",
      temperature: 0,
      max_tokens: 3,
      logprobs: 2,
    });
    const { tokens, token_logprobs: logprobs, text_offset: offsets } = plain.choices[0]!.logprobs!;
    expect(tokens!.join("")).toBe(plain.choices[0]!.text);
    expect(logprobs).toHaveLength(3);
    expect(offsets![1]).toBe(tokens![0]!.length);
  });

  it("a bias and penalties change what is chosen", async () => {
    const [first] = (await engine.tokenize({ text: "x" })) as [number];
    const biased = await client.completions.create({
      model, prompt: "a", temperature: 0, max_tokens: 3, logit_bias: { [first]: 100 },
    }); // biome-ignore format: a request
    expect(biased.choices[0]!.text).toBe("xxx");
    const body = { model, prompt: "a", temperature: 0, max_tokens: 8, logprobs: 0 };
    const tokens = async (more: object) =>
      (await client.completions.create({ ...body, ...more })).choices[0]!.logprobs!.tokens!;
    const plain = await tokens({});
    expect(new Set(plain).size).toBeLessThan(plain.length);
    const penalised = await tokens({ frequency_penalty: 2, presence_penalty: 2 });
    expect(new Set(penalised).size).toBe(8);
  });
});

describe("forms", () => {
  it("an answer fits its schema, whatever the model would say, and ends by itself", async () => {
    for (const seed of [1, 2, 3]) {
      const { choices } = await client.chat.completions.create({
        model, messages, seed, temperature: 1,
        response_format: { type: "json_schema", json_schema: { name: "w", schema: weather.function.parameters } },
      }); // biome-ignore format: a request
      expect(choices[0]!.finish_reason).toBe("stop");
      const got = JSON.parse(choices[0]!.message.content!) as { city: string; days: number };
      expect(["Rome", "Oslo"]).toContain(got.city);
      expect(got.days >= 1 && got.days <= 9).toBe(true);
    }
  });

  it("a call that must be made is made, whole and streamed", async () => {
    const body = {
      model,
      messages,
      seed: 3,
      temperature: 1,
      tools: [weather],
      tool_choice: "required" as const,
    };
    const { choices } = await client.chat.completions.create(body);
    expect(choices[0]!.finish_reason).toBe("tool_calls");
    expect(choices[0]!.message.content).toBeNull();
    const [call] = choices[0]!.message.tool_calls!;
    if (call!.type !== "function") throw new Error(call!.type);
    expect(call!.function.name).toBe("weather");
    expect(Object.keys(JSON.parse(call!.function.arguments) as object)).toEqual(["city", "days"]);
    const stream = client.chat.completions.stream(body);
    const final = await stream.finalChatCompletion();
    expect(final.choices[0]!.message.tool_calls![0]).toMatchObject({ function: call!.function });
    // The conversation goes on with the call and what it gave.
    const next = await client.chat.completions.create({
      model,
      max_tokens: 2,
      tools: [weather],
      tool_choice: "none",
      messages: [
        ...messages,
        choices[0]!.message,
        { role: "tool", tool_call_id: call!.id, content: "sunny" },
      ],
    });
    expect(next.choices[0]!.message.tool_calls).toBeUndefined();
  });
});

describe("embeddings and tokens", () => {
  it("a text's vector has length 1 and is its own, in both encodings", async () => {
    const floats = await client.embeddings.create({
      model,
      input: ["hello", "other"],
      encoding_format: "float",
    });
    const packed = await client.embeddings.create({ model, input: "hello" });
    const [a, b] = floats.data.map((d) => d.embedding) as [number[], number[]];
    expect(Math.hypot(...a)).toBeCloseTo(1, 5);
    expect(a).not.toEqual(b);
    expect(Math.max(...packed.data[0]!.embedding.map((v, i) => Math.abs(v - a[i]!)))).toBeLessThan(1e-6);
  });

  it("says which tokens a text or a conversation is", async () => {
    const tokens = async (body: object) =>
      (await (
        await fetch(`${server.url}/tokenize`, {
          method: "POST",
          headers: { authorization: "Bearer one" },
          body: JSON.stringify(body),
        })
      ).json()) as { tokens: number[]; count: number };
    const plain = await tokens({ prompt: "hello" });
    expect(plain.tokens).toEqual(await engine.tokenize({ text: "hello" }));
    expect((await tokens({ messages })).count).toBeGreaterThan(plain.count);
  });
});

describe("who is let in", () => {
  it("only with a key, but everybody may ask for its health", async () => {
    expect((await fetch(`${server.url}/health`)).status).toBe(200);
    const none = await fetch(`${server.url}/v1/models`);
    expect([none.status, none.headers.get("www-authenticate")]).toEqual([401, "Bearer"]);
    const other = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "three", maxRetries: 0 });
    await expect(other.models.list()).rejects.toMatchObject({ status: 401, code: "invalid_api_key" });
  });

  it("pages of the named origins, and of no others", async () => {
    const from = async (origin: string) =>
      (await fetch(`${server.url}/health`, { headers: { origin } })).headers.get(
        "access-control-allow-origin",
      );
    expect(await from("https://page.example")).toBe("https://page.example");
    expect(await from("https://other.example")).toBeNull();
  });

  it("no more than there is room for; nobody once the server ends", async () => {
    const app = createApp(engine, { maxRequests: 1 });
    const ask = (more: object = {}) =>
      app.request("/v1/completions", {
        method: "POST",
        body: JSON.stringify({ prompt: "a", temperature: 0, max_tokens: 4, ...more }),
      });
    const first = await ask({ stream: true, max_tokens: 20 });
    const second = await ask();
    expect([second.status, second.headers.get("retry-after")]).toEqual([429, "1"]);
    await first.text();
    expect((await ask()).status).toBe(200);
    app.gate.close();
    const late = await ask();
    expect([late.status, late.headers.get("retry-after")]).toEqual([503, "1"]);
  });

  it("headers of a sane size", async () => {
    const response = await fetch(`${server.url}/health`, { headers: { "x-long": "a".repeat(20_000) } });
    expect(response.status).toBe(431);
  });
});

describe("metrics", () => {
  it("count requests, tokens and hits of the cache, and time them", async () => {
    const text = await (
      await fetch(`${server.url}/metrics`, { headers: { authorization: "Bearer one" } })
    ).text();
    const value = (name: string) =>
      Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "m").exec(text)?.[1]);
    expect(value("vexil_time_to_first_token_seconds_count")).toBeGreaterThan(10);
    expect(value("vexil_inter_token_latency_seconds_count")).toBeGreaterThan(10);
    expect(value("vexil_completion_tokens_total")).toBeGreaterThan(50);
    expect(value("vexil_prefix_hit_tokens_total")).toBeGreaterThan(0);
    expect(value("vexil_requests_running")).toBe(0);
    expect(value("vexil_cache_usage_ratio")).toBe(0);
    expect(text).toContain('vexil_requests_total{endpoint="chat",outcome="ok"}');
  });
});
