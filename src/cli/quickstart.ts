// `vexil quickstart`: the whole way in a few minutes: a model is trained from scratch to add, judged on sums it
// never saw, saved as a Hugging Face folder, served, and asked through its own HTTP API.

import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import * as z from "zod";
import { listen, type RunningServer, startEngine } from "../serve/index.js";
import { type ExactResult, hostRandom, parseConfig, type PromptLine, shuffle } from "../train/index.js";
import type { CommandSpec } from "./command.js";
import { serveUntilStopped } from "./serve.js";
import { watchTraining } from "./train.js";

/** Share of held-out sums that must be answered exactly right. */
const REQUIRED = 0.95;
const HELD_OUT = 1000;

const flags = z.object({
  serve: z.boolean().default(false).describe("keep serving at the end"),
  port: z.number().int().min(0).max(65535).default(8080).describe("port for --serve"),
  output: z.string().default("runs/quickstart").describe("where data, checkpoints and the model go"),
  seed: z
    .number()
    .int()
    .min(0)
    .default(0)
    .describe("decides the first weights, the held-out sums and the order"),
  steps: z.number().int().positive().optional().describe("train for another number of steps"),
  chip: z.string().optional().describe("the chip to train and serve on"),
});

/** All sums of two numbers from 0 to 99, split by seed. */
export function sums(seed: number): { train: PromptLine[]; heldOut: PromptLine[] } {
  const all: PromptLine[] = [];
  for (let a = 0; a < 100; a++)
    for (let b = 0; b < 100; b++) all.push({ prompt: `${a}+${b}=`, completion: `${a + b}` });
  shuffle(all, hostRandom(seed));
  return { train: all.slice(HELD_OUT), heldOut: all.slice(0, HELD_OUT) };
}

/** The model and how it is trained; the figures were chosen by experiment (docs/training.md). */
export const recipe = (seed: number) => ({
  model: {
    config: {
      architectures: ["Qwen3ForCausalLM"],
      model_type: "qwen3",
      vocab_size: 14,
      hidden_size: 32,
      intermediate_size: 96,
      num_hidden_layers: 2,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      head_dim: 8,
      max_position_embeddings: 64,
      rms_norm_eps: 1e-6,
      rope_theta: 10000,
      tie_word_embeddings: true,
      attention_bias: false,
      hidden_act: "silu",
      initializer_range: 0.1,
      dtype: "float32",
      eos_token_id: 1,
    },
  },
  tokenizer: { characters: "0123456789+=" },
  data: { train: "sums.jsonl", evaluate: "sums.held-out.jsonl" },
  output: "adder",
  steps: 2000,
  batch_size: 128,
  sequence_length: 10,
  learning_rate: 0.012,
  warmup_steps: 40,
  betas: [0.9, 0.95],
  weight_decay: 0.1,
  clip_grad_norm: 1,
  log_every: 50,
  seed,
});

const jsonl = (lines: readonly object[]) => lines.map((l) => `${JSON.stringify(l)}\n`).join("");

export const spec: CommandSpec<typeof flags.shape> = {
  name: "quickstart",
  summary: "Train a small Qwen3 model from scratch to add, then serve it and ask it a sum it never saw.",
  flags,
  async run(_positionals, f) {
    const folder = resolve(f.output);
    const { train, heldOut } = sums(f.seed);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "sums.jsonl"), jsonl(train));
    writeFileSync(join(folder, "sums.held-out.jsonl"), jsonl(heldOut));
    const settings = {
      ...recipe(f.seed),
      ...(f.steps ? { steps: f.steps } : {}),
      ...(f.chip ? { chip: f.chip } : {}),
    };
    const config = parseConfig(settings, "quickstart", folder);

    console.log(
      `Training a Qwen3 model from scratch on ${train.length} sums; ${heldOut.length} are held out.`,
    );
    const started = performance.now();
    let result: ExactResult | undefined;
    let finished = false;
    // Run again, it starts anew.
    await watchTraining({ config, overwrite: true }, (event) => {
      if (event.type === "answered") result = event.result;
      if (event.type === "end") finished = event.reason === "finished";
    });
    if (!finished || !result) {
      process.exitCode = 130;
      return;
    }
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    const share = result.right / result.total;
    console.log(
      `\n${(100 * share).toFixed(1)} % of the held-out sums answered exactly right, after ${seconds} s.`,
    );
    for (const w of result.wrong) console.log(`  wrong: ${w.prompt}${w.answer} instead of ${w.expected}`);
    if (share < REQUIRED) {
      console.error(
        `That is less than ${100 * REQUIRED} %: the quickstart has failed. Try more steps (-- --steps ${config.steps * 2}) or another seed.`,
      );
      process.exitCode = 1;
      return;
    }
    console.log(`The model is in ${config.output}, as a Hugging Face folder.`);

    const question = heldOut[0]!;
    const chip = f.chip;
    if (f.serve) {
      await serveUntilStopped({ model: config.output, port: f.port, host: "127.0.0.1", chip }, (url, model) =>
        ask(url, model, question),
      );
      return;
    }
    const engine = await startEngine({ model: config.output, ...(chip ? { chip } : {}) });
    let server: RunningServer | undefined;
    try {
      server = await listen(engine, { port: 0 });
      await ask(server.url, engine.info.model, question);
      console.log(
        `\nTo keep it serving: npm run quickstart -- --serve, or: npx vexil serve ${config.output}`,
      );
    } finally {
      await server?.close();
      await engine.close();
    }
  },
};

/** Asks one sum over HTTP with streaming and prints what comes, with the same request as a `curl` line. */
async function ask(url: string, model: string, { prompt, completion }: PromptLine): Promise<void> {
  const body = { model, prompt, max_tokens: 8, temperature: 0, stream: true };
  console.log(`\nServing on ${url}. Asking "${prompt}" (held out, the answer is ${completion}):`);
  console.log(
    `  curl -N ${url}/v1/completions -H 'content-type: application/json' -d '${JSON.stringify(body)}'`,
  );
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok || !response.body)
    throw new Error(`the server answered ${response.status}: ${await response.text()}`);
  process.stdout.write(`  ${prompt}`);
  let rest = "";
  for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + part).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
      const chunk = JSON.parse(line.slice(6)) as {
        choices?: { text: string }[];
        error?: { message: string };
      };
      if (chunk.error) throw new Error(chunk.error.message);
      process.stdout.write(chunk.choices?.[0]?.text ?? "");
    }
  }
  process.stdout.write("\n");
}
