// From logits to tokens: the rows of a step, each by its own request's settings, so that a row's token does not depend on
// the others.

import { add, argmax, cat, logSoftmax, sample, topk } from "../ops/index.js";
import type { Generator } from "../runtime/index.js";
import { noGrad, type Tensor, tensor } from "../tensor/index.js";
import type { Vocabulary } from "./answer.js";
import type { SamplingOptions } from "./api.js";
import { type State, TokenTable } from "./constrain/index.js";
import { take } from "../models/take.js";
import { scope } from "../runtime/index.js";

/** The log-probability of a token, and those of the most likely ones, before any setting was applied. */
export interface RowLogprobs {
  readonly logprob: number;
  readonly top: readonly { readonly token: number; readonly logprob: number }[];
}

/** One row of a step. */
export interface Choice {
  /** Row of the logits. */
  readonly row: number;
  readonly sampling: SamplingOptions;
  readonly generator: Generator;
  /** Tokens that were made so far, for penalties. */
  readonly made: readonly number[];
  /** How many of the most likely tokens to report; undefined: none at all. */
  readonly logprobs?: number | undefined;
  /** What may follow, for answers held to a form. */
  readonly state?: State | undefined;
}

export interface Chosen {
  readonly token: number;
  readonly logprobs?: RowLogprobs;
}

export class Sampler {
  #tokenTable: TokenTable | undefined;

  /**
   * @param ends tokens that end an answer
   */
  constructor(
    private readonly vocabulary: Pick<Vocabulary, "bytes" | "vocabSize">,
    private readonly ends: ReadonlySet<number>,
    private readonly device: string,
  ) {}

  /** Made when an answer is first held to a form: a large vocabulary takes a while to put in order. */
  get #table(): TokenTable {
    this.#tokenTable ??= new TokenTable(this.vocabulary.bytes);
    return this.#tokenTable;
  }

  /** The state after a token; null when it is not allowed there. */
  advance(state: State, token: number): State | null {
    return this.#table.advance(state, token);
  }

  /** @param logits `[rows, vocab]` */
  async choose(logits: Tensor, choices: readonly Choice[]): Promise<Chosen[]> {
    const { tokens, reported } = noGrad(() =>
      scope(() => ({
        tokens: cat(
          choices.map((c) => this.#pick(logits.narrow(0, c.row, 1), c)),
          0,
        ),
        reported: choices.map((c) => (c.logprobs === undefined ? undefined : this.#report(logits, c))),
      })),
    );
    const ids = Array.from(await take(tokens), Number);
    const out: Chosen[] = [];
    for (const [i, c] of choices.entries()) {
      const token = ids[i]!;
      const report = reported[i];
      if (!report) out.push({ token });
      else out.push({ token, logprobs: await readReport(report, token, c.logprobs!) });
    }
    return out;
  }

  #pick(row: Tensor, { sampling, generator, made, state }: Choice): Tensor {
    const bias = this.#bias(sampling, made, state);
    const x = bias ? add(row, bias) : row;
    if (sampling.temperature === 0) return argmax(x, -1);
    const { temperature, topK, topP, minP } = sampling;
    return sample(x, { temperature, topK, topP, ...(minP === undefined ? {} : { minP }), generator });
  }

  /** What is added to the logits: penalties, biases, and minus infinity where the form forbids. */
  #bias(s: SamplingOptions, made: readonly number[], state: State | undefined): Tensor | undefined {
    const { presencePenalty = 0, frequencyPenalty = 0, logitBias } = s;
    const hasPenalty = (presencePenalty !== 0 || frequencyPenalty !== 0) && made.length > 0;
    if (!state && !logitBias && !hasPenalty) return undefined;
    const bias = new Float32Array(this.vocabulary.vocabSize);
    for (const [id, by] of Object.entries(logitBias ?? {})) bias[Number(id)]! += by;
    if (hasPenalty) {
      const seen = new Map<number, number>();
      for (const id of made) seen.set(id, (seen.get(id) ?? 0) + 1);
      for (const [id, n] of seen) bias[id]! -= presencePenalty + frequencyPenalty * n;
    }
    if (state) {
      const allowed = this.#table.allowed(state);
      for (let id = 0; id < bias.length; id++)
        if (!(allowed[id] || (state.isComplete && this.ends.has(id)))) bias[id] = -Infinity;
    }
    return tensor(bias, { shape: [1, bias.length], device: this.device });
  }

  #report(logits: Tensor, c: Choice): Report {
    const all = logSoftmax(logits.narrow(0, c.row, 1), -1, { dtype: "f32" });
    const [values, indices] = topk(all, Math.max(1, c.logprobs!), -1) as [Tensor, Tensor];
    return { all, values, indices };
  }
}

interface Report {
  readonly all: Tensor;
  readonly values: Tensor;
  readonly indices: Tensor;
}

async function readReport(r: Report, token: number, count: number): Promise<RowLogprobs> {
  const [all, values, indices] = [await take(r.all), await take(r.values), await take(r.indices)];
  return {
    logprob: Number(all[token]),
    top: Array.from({ length: count }, (_, i) => ({ token: Number(indices[i]), logprob: Number(values[i]) })),
  };
}
