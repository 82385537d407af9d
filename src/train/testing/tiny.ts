// A very small model that learns sums, for tests of runs: its data in a folder, its configuration, and how to run it.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { built } from "../../../test/built.js";
import type { TrainEvent } from "../events.js";

export const tiny = {
  model: {
    config: {
      model_type: "qwen3",
      vocab_size: 14,
      hidden_size: 16,
      intermediate_size: 32,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      num_key_value_heads: 1,
      head_dim: 8,
      max_position_embeddings: 16,
      tie_word_embeddings: true,
      initializer_range: 0.1,
      eos_token_id: 1,
    },
  },
  tokenizer: { characters: "0123456789+=" },
  data: { train: "sums.jsonl" },
  steps: 8,
  batch_size: 16,
  sequence_length: 8,
  learning_rate: 0.01,
  clip_grad_norm: 1,
  log_every: 1,
  seed: 3,
};

/** Writes `sums.jsonl` and `held.jsonl`. */
export function writeSums(folder: string): void {
  const lines = Array.from({ length: 64 }, (_, i) => {
    const [a, b] = [i % 8, Math.floor(i / 8)];
    return `${JSON.stringify({ prompt: `${a}+${b}=`, completion: `${a + b}` })}\n`;
  });
  writeFileSync(join(folder, "sums.jsonl"), lines.join(""));
  writeFileSync(
    join(folder, "held.jsonl"),
    '{"prompt":"1+1=","completion":"2"}\n{"prompt":"12+1=","completion":"13"}\n',
  );
}

/** Trains in this thread; gives all events. */
export async function trainHere(
  folder: string,
  name: string,
  more: object = {},
  options: { resume?: boolean; overwrite?: boolean; dryRun?: boolean; seen?: TrainEvent[] } = {},
): Promise<TrainEvent[]> {
  const { parseConfig, train } = await built<typeof import("../index.js")>("train/index.js");
  const config = parseConfig({ ...tiny, chip: "wasm", output: name, ...more }, name, folder);
  const { seen = [], ...rest } = options;
  await train({ config, ...rest }, (event) => seen.push(event), new AbortController().signal);
  return seen;
}

export const lossesOf = (events: readonly TrainEvent[]): number[] =>
  events.flatMap((e) => (e.type === "progress" ? [e.progress.loss] : []));
