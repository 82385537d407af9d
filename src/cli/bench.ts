// `vexil bench serve URL`: how fast a server answers under load. Works against any server that speaks OpenAI's API.

import { writeFileSync } from "node:fs";
import * as z from "zod";
import { baseUrl, listModels, type Target, tokenizer } from "../serve/load/client.js";
import { CHARACTERS_PER_TOKEN, estimate, prompts } from "../serve/load/prompts.js";
import { runLevel } from "../serve/load/run.js";
import { type Figures, type Level, type Slo, table } from "../serve/load/summary.js";
import type { CommandSpec } from "./command.js";
import { UsageError } from "./errors.js";
import { interruptible } from "./sampling.js";
import { version } from "./version.js";

const flags = z.object({
  rate: z
    .string()
    .optional()
    .describe("requests per second, with commas: one level each (arrivals at random)"),
  concurrency: z
    .string()
    .optional()
    .describe("requests at once, with commas: one level each (default without --rate: 1,4,16)"),
  requests: z.number().int().positive().default(64).describe("requests of each level"),
  endpoint: z.enum(["chat", "completions"]).default("chat").describe("chat or completions"),
  model: z.string().optional().describe("the model to ask for (default: the server's first)"),
  inputTokens: z.number().int().positive().default(128).describe("tokens of a prompt"),
  outputTokens: z.number().int().positive().default(64).describe("most tokens of an answer"),
  spread: z.number().min(0).max(1).default(0).describe("prompts' lengths vary by this share"),
  sharedPrefix: z.number().int().min(0).default(0).describe("tokens at the beginning that prompts share"),
  prefixes: z.number().int().positive().default(1).describe("how many different shared beginnings there are"),
  slo: z
    .string()
    .optional()
    .describe("limits in ms that make a good request: ttft:500,tpot:50 (also itl, e2e)"),
  temperature: z.number().min(0).max(2).default(0).describe("temperature of sampling"),
  seed: z.number().int().min(0).default(1).describe("the same seed gives the same prompts and arrivals"),
  warmup: z.number().int().min(0).default(1).describe("requests before the first level that do not count"),
  timeout: z.number().positive().default(300).describe("seconds after which a request has failed"),
  keyEnv: z.string().default("OPENAI_API_KEY").describe("environment variable that holds the API key"),
  json: z.string().optional().describe("file to write the figures to"),
});

/** `1,2,4` as numbers. @throws UsageError */
function levelsOf(text: string | undefined, by: Level["by"]): Level[] {
  if (text === undefined) return [];
  return text.split(",").map((part) => {
    const value = Number(part);
    const fits = part.trim() !== "" && value > 0 && Number.isFinite(value);
    if (!fits || (by === "concurrency" && !Number.isInteger(value)))
      throw new UsageError(
        `vexil bench: --${by}: "${part}" is no ${by === "rate" ? "rate above 0" : "whole number above 0"}`,
      );
    return { by, value };
  });
}

const LIMITS = ["ttft", "tpot", "itl", "e2e"] as const;

/** `ttft:500,tpot:50` as limits. @throws UsageError */
export function sloOf(text: string | undefined): Slo | undefined {
  if (text === undefined) return undefined;
  const slo: Slo = {};
  for (const part of text.split(",")) {
    const [name, value] = part.split(":").map((s) => s.trim());
    const limit = LIMITS.find((l) => l === name);
    const ms = Number(value);
    if (!limit || !value || !(ms > 0))
      throw new UsageError(
        `vexil bench: --slo: "${part}" is no limit; one looks like ttft:500 (${LIMITS.join(", ")})`,
      );
    slo[limit] = ms;
  }
  return slo;
}

const nameOf = (l: Level): string => (l.by === "rate" ? `${l.value} requests/s` : `${l.value} at once`);

/** Progress on stderr: one line that changes in a terminal, a line for each level in a pipe. */
function progress(): { show(text: string): void; done(text: string): void } {
  const isTerminal = process.stderr.isTTY === true;
  let shown = 0;
  return {
    show(text) {
      const now = performance.now();
      if (!isTerminal || now - shown < 100) return;
      shown = now;
      process.stderr.write(`\r\x1b[K${text}`);
    },
    done(text) {
      process.stderr.write(`${isTerminal ? "\r\x1b[K" : ""}${text}\n`);
    },
  };
}

export const spec: CommandSpec<typeof flags.shape> = {
  name: "bench",
  summary: "Measure a server under load: vexil bench serve URL. Ctrl-C prints what was measured so far.",
  positionals: [
    { name: "what", description: "what to measure: serve" },
    { name: "url", description: "address of any OpenAI-compatible server: http://127.0.0.1:8080" },
  ],
  flags,
  async run([what, address], f) {
    if (what !== "serve")
      throw new UsageError(`vexil bench: there is no "${what}" to measure; use: vexil bench serve URL`);
    const levels = [...levelsOf(f.rate, "rate"), ...levelsOf(f.concurrency, "concurrency")];
    if (levels.length === 0) levels.push(...levelsOf("1,4,16", "concurrency"));
    const slo = sloOf(f.slo);
    if (f.sharedPrefix >= f.inputTokens * (1 - f.spread) && f.sharedPrefix > 0)
      throw new UsageError("vexil bench: --shared-prefix: must be shorter than the shortest prompt");
    const url = baseUrl(address!);
    const key = process.env[f.keyEnv] || undefined;
    const model = f.model ?? (await listModels(url, key))[0]!;
    const target: Target = {
      url,
      endpoint: f.endpoint,
      model,
      key,
      maxTokens: f.outputTokens,
      temperature: f.temperature,
      timeoutMs: f.timeout * 1000,
    };
    const count = await tokenizer(target);
    const line = progress();
    line.done(
      `${url}, model ${model}, ${f.endpoint}: prompts of ${f.inputTokens} tokens ${
        count
          ? "(counted by the server)"
          : `(estimated at ${CHARACTERS_PER_TOKEN} characters a token: the server has no /tokenize)`
      }, answers of at most ${f.outputTokens}`,
    );
    const { signal, release } = interruptible();
    const done: Figures[] = [];
    try {
      const source = prompts(
        {
          inputTokens: f.inputTokens,
          spread: f.spread,
          sharedTokens: f.sharedPrefix,
          prefixes: f.prefixes,
          seed: f.seed,
        },
        count ?? estimate,
      );
      const take = async (n: number): Promise<string[]> => {
        const texts: string[] = [];
        while (texts.length < n && !signal.aborted) {
          texts.push((await source.next()).value as string);
          line.show(`making prompts: ${texts.length} of ${n}`);
        }
        return texts;
      };
      const warm = await take(f.warmup);
      if (warm.length)
        await runLevel(target, { by: "concurrency", value: 1 }, warm, {
          requests: warm.length,
          seed: 0,
          signal,
        });
      for (const level of levels) {
        // New prompts for each level: else the second would find the first one's in the server's cache.
        const texts = await take(f.requests);
        if (signal.aborted) break;
        const figures = await runLevel(target, level, texts, {
          requests: f.requests,
          seed: f.seed,
          slo,
          signal,
          onProgress: (sent, ended, failed) =>
            line.show(`${nameOf(level)}: ${sent} sent, ${ended} of ${f.requests} ended, ${failed} failed`),
        });
        done.push(figures);
        line.done(
          `${nameOf(level)}: ${figures.ok} answered, ${figures.sent - figures.ok} not, in ${figures.seconds.toFixed(1)} s`,
        );
        if (signal.aborted) break;
      }
    } finally {
      release();
    }
    if (done.length) console.log(table(done));
    if (f.json !== undefined) {
      const settings = { ...f, json: undefined };
      const written = {
        vexil: version,
        date: new Date().toISOString(),
        url,
        model,
        prompts: count ? "counted by the server" : `estimated at ${CHARACTERS_PER_TOKEN} characters a token`,
        settings,
        slo,
        levels: done,
      };
      writeFileSync(f.json, `${JSON.stringify(written, null, 2)}\n`);
      console.error(`written: ${f.json}`);
    }
    if (signal.aborted) process.exitCode = 130;
    else if (done.every((d) => d.ok === 0)) process.exitCode = 1;
  },
};
