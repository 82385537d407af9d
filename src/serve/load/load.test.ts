// `vexil bench serve`: its arithmetic, and the command against the real server, whose own metrics it must agree with.

import { readFileSync } from "node:fs";
import { createServer, request as httpRequest, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { built, Command, killLeftovers, QWEN3, temporaryFolder, vexil } from "../../../test/built.js";
import type { Engine } from "../api.js";
import type { RunningServer } from "../server.js";
import { baseUrl, type Result } from "./client.js";
import { estimate, numbers, prompts } from "./prompts.js";
import { gap } from "./run.js";
import { type Figures, percentile, spread, summarize } from "./summary.js";

describe("the arithmetic", () => {
  it("takes percentiles between neighbours", () => {
    const list = [1, 2, 3, 4];
    expect([0, 0.5, 1].map((p) => percentile(list, p))).toEqual([1, 2.5, 4]);
    expect(percentile([5], 0.99)).toBe(5);
    // Sorted as numbers, not as words.
    expect(spread([100, 9, 20])).toEqual({ mean: 43, median: 20, p99: 98.4 });
    expect(spread([])).toBeUndefined();
  });

  it("draws arrivals whose gaps are exponential", () => {
    const next = numbers(3);
    const gaps = Array.from({ length: 20_000 }, () => gap(4, next()));
    const mean = gaps.reduce((a, b) => a + b, 0) / gaps.length;
    expect(mean).toBeCloseTo(0.25, 2);
    // Of an exponential distribution the share above its mean is 1/e.
    expect(gaps.filter((g) => g > 0.25).length / gaps.length).toBeCloseTo(Math.exp(-1), 1);
  });

  it("counts goodput by every limit, and failures by kind", () => {
    const ok = (firstMs: number, spanMs: number): Result => ({
      outcome: "ok",
      inputTokens: 10,
      outputTokens: 11,
      firstMs,
      spanMs,
      totalMs: firstMs + spanMs,
      gapsMs: [spanMs / 2, spanMs / 2],
    });
    const failed: Result = { outcome: "failed", kind: "status 429", detail: "full" };
    const results = [ok(100, 500), ok(600, 500), ok(100, 2000), failed, failed];
    const f = summarize({ by: "rate", value: 2 }, results, 2, { ttft: 500, tpot: 100 }, true);
    expect(f).toMatchObject({
      ok: 3,
      failed: { "status 429": { count: 2, detail: "full" } },
      inputTokensPerSecond: 15,
      outputTokensPerSecond: 16.5,
      goodput: { requestsPerSecond: 0.5, share: 0.2 },
      tpot: { median: 50 },
      ttft: { median: 100 },
    });
  });

  it("makes prompts as long as asked, with beginnings in common", async () => {
    const take = async (o: object, n: number, count = estimate) => {
      const options = { inputTokens: 100, spread: 0, sharedTokens: 0, prefixes: 1, seed: 1, ...o };
      const source = prompts(options, count);
      const texts: string[] = [];
      for (let i = 0; i < n; i++) texts.push((await source.next()).value as string);
      return texts;
    };
    // A tokenizer that takes a token for each three letters of a word.
    const count = (t: string) => t.split(" ").reduce((n, w) => n + Math.ceil(w.length / 3), 0);
    const texts = await take({}, 20, count);
    for (const t of texts) expect([97, 98, 99, 100]).toContain(count(t));
    expect(new Set(texts).size).toBe(20);
    expect(await take({}, 20, count)).toEqual(texts);
    const spreaded = (await take({ spread: 0.5 }, 60, count)).map(count);
    expect(Math.min(...spreaded)).toBeLessThan(70);
    expect(Math.max(...spreaded)).toBeGreaterThan(130);
    const shared = await take({ sharedTokens: 60, prefixes: 2 }, 4);
    const common = (a: string, b: string) => [...a].findIndex((c, i) => c !== b[i]);
    expect(estimate(shared[0]!.slice(0, common(shared[0]!, shared[2]!)))).toBeGreaterThanOrEqual(58);
    expect(common(shared[0]!, shared[1]!)).toBeLessThan(40);
  });

  it("takes addresses as people write them", () => {
    for (const text of ["http://a:80/v1/", "http://a:80", "a:80/v1", "http://a:80/"])
      expect(baseUrl(text)).toMatch(/^http:\/\/a$/);
    expect(baseUrl("https://host/api/v1")).toBe("https://host/api");
    expect(() => baseUrl("http://")).toThrow(/"http:\/\/" is no address of a server/);
  });
});

describe("vexil bench serve", () => {
  const folder = temporaryFolder();
  let engine: Engine;
  let server: RunningServer;
  /** The same server without /tokenize: what an unknown one looks like. */
  let plain: Server;
  let plainUrl: string;

  beforeAll(async () => {
    const { listen, startEngine } = await built<typeof import("../index.js")>("serve/index.js");
    engine = await startEngine({ model: QWEN3, chip: "wasm" });
    server = await listen(engine, { port: 0, maxRequests: 12, apiKeys: ["secret"] });
    plain = createServer((req, res) => {
      if (req.url === "/tokenize") {
        res.writeHead(404).end();
        return;
      }
      const { method, headers } = req;
      const on = httpRequest(server.url + req.url, { method: method!, headers }, (answer) => {
        res.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(res);
      });
      res.on("close", () => on.destroy());
      on.on("error", () => res.destroy());
      req.pipe(on);
    });
    await new Promise<void>((r) => plain.listen(0, "127.0.0.1", r));
    plainUrl = `http://127.0.0.1:${(plain.address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    plain.close();
    await server.close(0);
    await engine.close();
    killLeftovers();
  });

  const env = { OPENAI_API_KEY: "secret" };
  const load = (file: string) =>
    JSON.parse(readFileSync(file, "utf8")) as { levels: Figures[]; prompts: string; model: string };
  const small = ["--input-tokens", "64", "--output-tokens", "8", "--requests", "6"];

  it("sweeps rates and concurrency, and the server's own counters agree", async () => {
    const file = join(folder, "a.json");
    const before = await engine.stats();
    const words = [
      "--rate",
      "20,40",
      "--concurrency",
      "1,3",
      "--slo",
      "ttft:60000,tpot:60000",
      "--warmup",
      "0",
    ];
    const r = await vexil(["bench", "serve", server.url, ...small, ...words, "--json", file], { env });
    expect(r.code, r.stderr).toBe(0);
    const { levels, prompts: how, model } = load(file);
    expect([model, how]).toEqual(["qwen3", "counted by the server"]);
    expect(levels.map((l) => [l.by, l.value, l.ok, l.sent])).toEqual([
      ["rate", 20, 6, 6],
      ["rate", 40, 6, 6],
      ["concurrency", 1, 6, 6],
      ["concurrency", 3, 6, 6],
    ]);
    for (const l of levels) {
      // Whole words come within a word of the length.
      expect(l.inputTokens! / 6).toBeGreaterThan(58);
      expect(l.inputTokens! / 6).toBeLessThanOrEqual(64);
      expect(l.outputTokens).toBe(48);
      expect(l.ttft!.median).toBeGreaterThan(0);
      expect(l.e2e!.median).toBeGreaterThanOrEqual(l.ttft!.median);
      expect(l.ttft!.p99).toBeGreaterThanOrEqual(l.ttft!.median);
      expect(l.goodput!.share).toBe(1);
    }
    const after = await engine.stats();
    const total = (pick: (f: Figures) => number) => levels.reduce((n, l) => n + pick(l), 0);
    expect(after.promptTokens - before.promptTokens).toBe(total((l) => l.inputTokens!));
    expect(after.completionTokens - before.completionTokens).toBe(total((l) => l.outputTokens));
    expect(r.stdout).toMatch(/20\/s +40\/s +1 at once +3 at once\nanswered +6 +6 +6 +6\n/);
    expect(r.stdout).toMatch(/TTFT ms +mean/);
    expect(r.stdout).toMatch(/within SLO +100 % +100 % +100 % +100 %/);
  });

  it("makes prompts that share a beginning, which the server then finds", async () => {
    const before = await engine.stats();
    const words = [...small, "--shared-prefix", "48", "--concurrency", "1", "--endpoint", "completions"];
    const { code, stderr } = await vexil(["bench", "serve", server.url, ...words], { env });
    expect(code, stderr).toBe(0);
    const after = await engine.stats();
    // All but the first find at least two pages of 16 tokens.
    expect(after.foundTokens - before.foundTokens).toBeGreaterThanOrEqual(6 * 32);
  });

  it("needs the standard endpoints only, and counts what was refused", async () => {
    const file = join(folder, "b.json");
    const words = [
      "--concurrency",
      "24",
      "--requests",
      "48",
      "--input-tokens",
      "40",
      "--output-tokens",
      "24",
    ];
    const r = await vexil(["bench", "serve", plainUrl, ...words, "--json", file], { env });
    expect(r.stderr).toContain("estimated at 4 characters a token: the server has no /tokenize");
    const [level] = load(file).levels as [Figures];
    expect(Object.keys(level.failed)).toEqual(["status 429"]);
    const refused = level.failed["status 429"]!.count;
    expect(refused).toBeGreaterThan(0);
    expect(level.ok).toBeGreaterThan(0);
    expect(refused + level.ok).toBe(48);
    expect(r.stdout).toContain("failed: status 429");
    expect(r.code).toBe(0);
  });

  it("prints what was measured when it is interrupted", async () => {
    const command = new Command(
      ["bench", "serve", server.url, "--concurrency", "1,2", "--requests", "100", "--input-tokens", "40", "--output-tokens", "4", "--warmup", "0", "--rate", "2"], // biome-ignore format: words
      { env },
    );
    await command.until(/counted by the server/);
    for (let i = 0; i < 400 && (await engine.stats()).running === 0; i++)
      await new Promise((r) => setTimeout(r, 25));
    await new Promise((r) => setTimeout(r, 300));
    command.kill("SIGINT");
    const { code, stdout } = await command.done;
    expect(code).toBe(130);
    expect(stdout).toMatch(/2\/s \*\nanswered +\d+\n/);
    expect(stdout).toContain("* interrupted");
  });

  it("says in one line what is wrong", async () => {
    const none = await vexil(["bench", "serve", "http://127.0.0.1:9"], { env });
    expect(none).toMatchObject({ code: 1, stdout: "" });
    expect(none.stderr).toMatch(
      /^vexil: http:\/\/127.0.0.1:9 does not answer \(\w+.*\): is the server running\?\n$/,
    );
    const keyless = await vexil(["bench", "serve", server.url], { env: { OPENAI_API_KEY: undefined } });
    expect(keyless.stderr).toContain("wants an API key: set the environment variable that --key-env names");
    const words = await vexil(["bench", "serve", server.url, "--rate", "1,x"], { env });
    expect(words.stderr).toContain('--rate: "x" is no rate above 0');
    const slo = await vexil(["bench", "serve", server.url, "--slo", "tftt:5"], { env });
    expect(slo.stderr).toContain('--slo: "tftt:5" is no limit');
  });
});
