// `config.json` of a model folder: which family it is, and its numbers, checked. One schema per family; what
// a family does with them stands in the family's own file.

import { z } from "zod";

/** A `config.json` that is missing, damaged or of a family that is not built. */
export class ModelConfigError extends Error {
  override name = "ModelConfigError";
}

const size = z.number().int().positive();

/**
 * RoPE as `transformers` writes it: version 5 under `rope_parameters`, earlier ones as `rope_theta` and
 * `rope_scaling`. Only the plain form is accepted; a scaled one is refused by name.
 */
const rope = {
  rope_parameters: z
    .object({ rope_theta: z.number().positive().optional(), rope_type: z.string().optional() })
    .loose()
    .nullish(),
  rope_theta: z.number().positive().optional(),
  rope_scaling: z.object({ rope_type: z.string().optional(), type: z.string().optional() }).loose().nullish(),
};

/** The fields of a Qwen3 `config.json` that decide the computation (`Qwen3Config` of transformers). */
export const qwen3Schema = z
  .object({
    model_type: z.literal("qwen3"),
    vocab_size: size,
    hidden_size: size,
    intermediate_size: size,
    num_hidden_layers: size,
    num_attention_heads: size,
    num_key_value_heads: size.optional(),
    head_dim: size.optional(),
    hidden_act: z.literal("silu").default("silu"),
    max_position_embeddings: size.default(32768),
    rms_norm_eps: z.number().positive().default(1e-6),
    tie_word_embeddings: z.boolean().default(false),
    attention_bias: z.literal(false).default(false),
    use_sliding_window: z.literal(false).default(false),
    initializer_range: z.number().positive().default(0.02),
    eos_token_id: z.union([z.number().int(), z.array(z.number().int())]).nullish(),
    dtype: z.string().optional(),
    torch_dtype: z.string().optional(),
    ...rope,
  })
  .loose();

export interface Qwen3Config {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly maxPositions: number;
  readonly normEps: number;
  readonly ropeTheta: number;
  readonly tieEmbeddings: boolean;
  readonly initializerRange: number;
  readonly eosIds: readonly number[];
  /** The parsed file, for writing it back. */
  readonly raw: Readonly<Record<string, unknown>>;
}

/** Says in one line what is wrong with which field. */
export function explainZod(error: z.ZodError): string {
  return error.issues
    .slice(0, 3)
    .map((i) => `${i.path.join(".") || "the file"}: ${i.message}`)
    .join("; ");
}

/**
 * Checks a parsed `config.json` of a Qwen3 model.
 * @param file its name, for error messages
 */
export function qwen3Config(raw: unknown, file = "config.json"): Qwen3Config {
  const parsed = qwen3Schema.safeParse(raw);
  if (!parsed.success) throw new ModelConfigError(`${file}: ${explainZod(parsed.error)}`);
  const c = parsed.data;
  const ropeType =
    c.rope_parameters?.rope_type ?? c.rope_scaling?.rope_type ?? c.rope_scaling?.type ?? "default";
  if (ropeType !== "default")
    throw new ModelConfigError(`${file}: RoPE of type "${ropeType}" is not supported (only "default")`);
  const kvHeads = c.num_key_value_heads ?? c.num_attention_heads;
  if (c.num_attention_heads % kvHeads !== 0)
    throw new ModelConfigError(
      `${file}: ${c.num_attention_heads} heads are not a multiple of ${kvHeads} key-value heads`,
    );
  const headDim = c.head_dim ?? c.hidden_size / c.num_attention_heads;
  if (!Number.isInteger(headDim) || headDim % 2 !== 0)
    throw new ModelConfigError(`${file}: a head dimension of ${headDim} is not an even number`);
  return {
    vocabSize: c.vocab_size,
    hiddenSize: c.hidden_size,
    intermediateSize: c.intermediate_size,
    layers: c.num_hidden_layers,
    heads: c.num_attention_heads,
    kvHeads,
    headDim,
    maxPositions: c.max_position_embeddings,
    normEps: c.rms_norm_eps,
    ropeTheta: c.rope_parameters?.rope_theta ?? c.rope_theta ?? 10000,
    tieEmbeddings: c.tie_word_embeddings,
    initializerRange: c.initializer_range,
    eosIds: c.eos_token_id == null ? [] : [c.eos_token_id].flat(),
    raw: raw as Record<string, unknown>,
  };
}

/** The `model_type` of a parsed `config.json`. */
export function modelType(raw: unknown, file = "config.json"): string {
  const type = (raw as { model_type?: unknown } | null)?.model_type;
  if (typeof type !== "string")
    throw new ModelConfigError(`${file}: there is no "model_type"; is this a Hugging Face model folder?`);
  return type;
}
