// How positions become angles: the variants of rotary embeddings that `config.json` names, and their frequencies.
// Tensors are made in `rope.ts`.
//
// Sources: Su et al., 2021 (default); Chen et al., 2023 (linear); bloc97, "NTK-aware scaled RoPE", 2023 (dynamic);
// Peng et al., 2023 (yarn); Llama 3.1's model card (llama3).

import * as z from "zod";

interface Base {
  /** Elements of a head that are turned. */
  readonly dim: number;
  readonly theta: number;
  /** Most positions, after scaling. */
  readonly maxPositions: number;
}

export type RopeConfig = Base &
  (
    | { readonly type: "default" }
    | { readonly type: "linear"; readonly factor: number }
    | { readonly type: "dynamic"; readonly factor: number; readonly original: number }
    | {
        readonly type: "llama3";
        readonly factor: number;
        readonly original: number;
        readonly lowFactor: number;
        readonly highFactor: number;
      }
    | {
        readonly type: "yarn";
        readonly factor: number;
        readonly original: number;
        readonly betaFast: number;
        readonly betaSlow: number;
        readonly truncate: boolean;
        /** Sines and cosines are multiplied by it. */
        readonly attentionFactor: number;
        /** The scores of latent attention are multiplied by it. */
        readonly scoreFactor: number;
      }
  );

const positive = z.number().positive().nullish();
const parameters = z
  .object({
    rope_theta: positive,
    rope_type: z.string().nullish(),
    type: z.string().nullish(),
    factor: positive,
    original_max_position_embeddings: positive,
    low_freq_factor: positive,
    high_freq_factor: positive,
    attention_factor: z.number().min(0).nullish(),
    beta_fast: positive,
    beta_slow: positive,
    mscale: z.number().min(0).nullish(),
    mscale_all_dim: z.number().min(0).nullish(),
    truncate: z.boolean().nullish(),
  })
  .loose()
  .nullish();

/** RoPE as `transformers` writes it: version 5 under `rope_parameters`, earlier ones as `rope_theta` and `rope_scaling`. */
export const ropeFields = { rope_parameters: parameters, rope_theta: positive, rope_scaling: parameters };

export type RopeSource = z.infer<z.ZodObject<typeof ropeFields>> & {
  readonly max_position_embeddings: number;
  readonly original_max_position_embeddings?: number | null | undefined;
};

/** Growth of the scores' variance with the context that yarn makes up for. */
const growth = (factor: number, by: number): number => (factor <= 1 ? 1 : 0.1 * by * Math.log(factor) + 1);

/**
 * The variant that a config names.
 * @param dim elements of a head that are turned
 * @param fail throws with what is wrong
 */
export function ropeOf(c: RopeSource, dim: number, fail: (why: string) => never): RopeConfig {
  const p = { ...c.rope_scaling, ...c.rope_parameters };
  const type = p.rope_type ?? p.type ?? "default";
  const max = c.max_position_embeddings;
  const original = p.original_max_position_embeddings ?? c.original_max_position_embeddings ?? max;
  const factor = p.factor ?? undefined;
  const base = { dim, theta: p.rope_theta ?? c.rope_theta ?? 10000, maxPositions: max };
  const need = (value: number | null | undefined, name: string): number =>
    value ?? fail(`RoPE of type "${type}" needs "${name}"`);
  switch (type) {
    case "default":
      return { ...base, type };
    case "linear":
      return { ...base, type, factor: need(factor, "factor") };
    case "dynamic":
      // Here `max_position_embeddings` is what the model was trained with, and the factor stretches it.
      return {
        ...base,
        type,
        factor: need(factor, "factor"),
        original: max,
        maxPositions: Math.floor(max * factor!),
      };
    case "llama3": {
      const lowFactor = need(p.low_freq_factor, "low_freq_factor");
      const highFactor = need(p.high_freq_factor, "high_freq_factor");
      if (highFactor <= lowFactor)
        fail(`high_freq_factor ${highFactor} is not above low_freq_factor ${lowFactor}`);
      return { ...base, type, factor: need(factor, "factor"), original, lowFactor, highFactor };
    }
    case "yarn": {
      const by = factor ?? max / original;
      const { mscale, mscale_all_dim: all } = p;
      return {
        ...base,
        type,
        factor: by,
        original,
        betaFast: p.beta_fast ?? 32,
        betaSlow: p.beta_slow ?? 1,
        truncate: p.truncate ?? true,
        attentionFactor:
          p.attention_factor ?? (mscale && all ? growth(by, mscale) / growth(by, all) : growth(by, 1)),
        scoreFactor: all ? growth(by, all) ** 2 : 1,
        maxPositions: Math.max(max, Math.floor(original * by)),
      };
    }
    default:
      return fail(`RoPE of type "${type}" is not supported (default, linear, dynamic, llama3, yarn)`);
  }
}

/**
 * Angle per position of each pair of elements, `dim / 2` values.
 * @param length tokens of the sequence so far; only "dynamic" asks
 */
export function frequencies(c: RopeConfig, length: number): Float32Array {
  const half = Array.from({ length: c.dim / 2 }, (_, i) => (2 * i) / c.dim);
  const plain = (theta: number) => half.map((e) => 1 / theta ** e);
  switch (c.type) {
    case "default":
      return Float32Array.from(plain(c.theta));
    case "linear":
      return Float32Array.from(plain(c.theta), (f) => f / c.factor);
    case "dynamic": {
      const stretch = (c.factor * Math.max(length, c.original)) / c.original - (c.factor - 1);
      return Float32Array.from(plain(c.theta * stretch ** (c.dim / (c.dim - 2))));
    }
    case "llama3":
      return Float32Array.from(plain(c.theta), (f) => {
        // Turns within the original context decide: few are stretched, many are kept, between them it is mixed.
        const turns = (c.original * f) / (2 * Math.PI);
        const kept = Math.min(1, Math.max(0, (turns - c.lowFactor) / (c.highFactor - c.lowFactor)));
        return (1 - kept) * (f / c.factor) + kept * f;
      });
    case "yarn": {
      // The pair that makes so many turns within the original context.
      const pairOf = (turns: number) =>
        (c.dim * Math.log(c.original / (turns * 2 * Math.PI))) / (2 * Math.log(c.theta));
      const [first, last] = [pairOf(c.betaFast), pairOf(c.betaSlow)];
      const low = Math.max(c.truncate ? Math.floor(first) : first, 0);
      const high = Math.min(c.truncate ? Math.ceil(last) : last, c.dim - 1);
      const span = high === low ? 0.001 : high - low;
      return Float32Array.from(plain(c.theta), (f, i) => {
        const stretched = Math.min(1, Math.max(0, (i - low) / span));
        return stretched * (f / c.factor) + (1 - stretched) * f;
      });
    }
    default:
      return c satisfies never;
  }
}
