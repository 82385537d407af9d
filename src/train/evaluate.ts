// Evaluation by exact answers: greedy continuations of prompts, compared with what they should be.

import { setImmediate as nextTurn } from "node:timers/promises";
import type { LanguageModel } from "../models/transformer.js";
import { take } from "../models/take.js";
import type { TextTokenizer } from "../models/tokenizer.js";
import { argmax } from "../ops/index.js";
import { scope } from "../runtime/index.js";
import { noGrad, tensor } from "../tensor/index.js";
import type { PromptLine } from "./data/index.js";

export interface ExactResult {
  readonly total: number;
  readonly right: number;
  /** The first few wrong answers. */
  readonly wrong: { readonly prompt: string; readonly expected: string; readonly answer: string }[];
}

/**
 * Greedy tokens after each prompt, for prompts of one length at once.
 * @param prompts equally long lists of token ids
 * @param ends ids that end an answer
 * @returns per prompt the tokens before the first end, at most `limit`
 */
export async function greedyBatch(
  model: LanguageModel,
  prompts: readonly (readonly number[])[],
  limit: number,
  ends: ReadonlySet<number>,
): Promise<number[][]> {
  const length = prompts[0]!.length;
  const cache = model.newCache(prompts.length, length + limit);
  const answers: number[][] = prompts.map(() => []);
  const open = prompts.map(() => true);
  try {
    let input: BigInt64Array = BigInt64Array.from(prompts.flat(), BigInt);
    let columns = length;
    for (let made = 0; made < limit && open.includes(true); made++) {
      const chosen = noGrad(() =>
        scope(() => {
          const ids = tensor(input, { shape: [prompts.length, columns], device: model.device });
          return argmax(model.forward(ids, { cache, lastOnly: true }).view([prompts.length, -1]), -1);
        }),
      );
      const tokens = (await take(chosen)) as BigInt64Array;
      tokens.forEach((t, i) => {
        if (ends.has(Number(t))) open[i] = false;
        if (open[i]) answers[i]!.push(Number(t));
      });
      input = tokens;
      columns = 1;
    }
    return answers;
  } finally {
    cache.dispose();
  }
}

/** The share of prompts whose greedy answer is exactly the completion; undefined when `signal` aborts it. */
export async function exactAnswers(
  model: LanguageModel,
  tokenizer: TextTokenizer,
  lines: readonly PromptLine[],
  options: { batch?: number; onProgress?: (done: number) => void; signal?: AbortSignal } = {},
): Promise<ExactResult | undefined> {
  const ends = new Set(tokenizer.eosIds);
  const encoded = lines.map((line) => ({ line, prompt: tokenizer.encode(line.prompt) }));
  // Prompts of one length share a batch: no padding, so an answer does not depend on its neighbours.
  const groups = groupByLength(encoded);
  const limit =
    1 + Math.max(...lines.map((l) => tokenizer.encode(l.completion, { specialTokens: false }).length));
  const wrong: ExactResult["wrong"] = [];
  let right = 0;
  let done = 0;
  for (const group of groups.values())
    for (let at = 0; at < group.length; at += options.batch ?? 256) {
      // Lets the message that asks to stop come in.
      await nextTurn();
      if (options.signal?.aborted) return undefined;
      const part = group.slice(at, at + (options.batch ?? 256));
      const answers = await greedyBatch(
        model,
        part.map((e) => e.prompt),
        limit,
        ends,
      );
      part.forEach(({ line }, i) => {
        const answer = tokenizer.decode(answers[i]!);
        if (answer === line.completion) right++;
        else if (wrong.length < 5) wrong.push({ prompt: line.prompt, expected: line.completion, answer });
      });
      done += part.length;
      options.onProgress?.(done);
    }
  return { total: lines.length, right, wrong };
}

function groupByLength<T extends { prompt: readonly number[] }>(items: readonly T[]): Map<number, T[]> {
  const groups = new Map<number, T[]>();
  for (const item of items) {
    const group = groups.get(item.prompt.length);
    if (group) group.push(item);
    else groups.set(item.prompt.length, [item]);
  }
  return groups;
}
