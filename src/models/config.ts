// What a language model is made of, in numbers and kinds: the declaration that every family's `config.json` is
// translated into, and the parts of their schemas that families share. How it computes stands in `transformer.ts`.

import * as z from "zod";
import { ropeOf, type RopeConfig, ropeFields, type RopeSource } from "./rope-config.js";

/** A `config.json` that is missing, damaged or of a family that is not built. */
export class ModelConfigError extends Error {
  override name = "ModelConfigError";
}

/** The activation between two linear layers, by the names of `transformers`. */
export const ACTIVATIONS = ["silu", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu"] as const;
export type Activation = (typeof ACTIVATIONS)[number];

/** Query heads that share key heads in groups (one group: plain multi-head attention). */
export interface GroupedAttentionConfig {
  readonly kind: "grouped";
  readonly heads: number;
  readonly kvHeads: number;
  /** Need not be `hiddenSize / heads`. */
  readonly headDim: number;
  readonly qkvBias: boolean;
  readonly outBias: boolean;
  /** RMS norms of each query and key head. */
  readonly qkNorm: boolean;
  /** Query, key and value projections stand in one matrix. */
  readonly joined: boolean;
  /** Per layer: how many tokens it sees, its own included; undefined: all. */
  readonly windows: readonly (number | undefined)[];
}

/** Keys and values made of a small common vector (multi-head latent attention, DeepSeek-V2, 2024). */
export interface LatentAttentionConfig {
  readonly kind: "latent";
  readonly heads: number;
  /** Size of the vector that queries are made of; undefined: of the hidden state itself. */
  readonly qRank: number | undefined;
  readonly kvRank: number;
  /** Parts of a head's query and key without and with position. */
  readonly plainDim: number;
  readonly ropeDim: number;
  readonly valueDim: number;
  readonly bias: boolean;
  /** Neighbouring elements are turned together, instead of an element of each half. */
  readonly interleaved: boolean;
}

export type MlpConfig =
  | {
      /** `down(act(gate(x)) * up(x))` for "gated", `down(act(up(x)))` for "plain". */
      readonly kind: "gated" | "plain";
      readonly size: number;
      readonly activation: Activation;
      readonly bias: boolean;
    }
  | ExpertsConfig;

/** A router chooses a few of many gated layers for each token. */
export interface ExpertsConfig {
  readonly kind: "experts";
  readonly experts: number;
  readonly perToken: number;
  readonly size: number;
  readonly activation: Activation;
  /** Size of a gated layer that every token passes; 0: none. */
  readonly sharedSize: number;
  readonly router: {
    readonly score: "softmax" | "sigmoid";
    /** A bias per expert that counts in the choice alone (Wang et al., 2024). */
    readonly choiceBias: boolean;
    /** Experts stand in this many groups, and only the best `groupsKept` are chosen from. */
    readonly groups: number;
    readonly groupsKept: number;
    /** Whether the chosen weights are scaled to add up to one. */
    readonly normalize: boolean;
    readonly scale: number;
  };
}

export interface ModelConfig {
  /** The `model_type` of its `config.json`. */
  readonly family: string;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  /** Most tokens of a sequence. */
  readonly maxPositions: number;
  /** Whether a token sees only those before it, and the next one can be predicted. */
  readonly causal: boolean;
  readonly norm: { readonly kind: "rms" | "layer"; readonly eps: number; readonly place: "pre" | "post" };
  /** Positions are turned into queries and keys, or added to the embeddings from a table. */
  readonly positions: RopeConfig | "learned";
  /** Rows of the table of segment embeddings (BERT); 0: none. */
  readonly tokenTypes: number;
  readonly attention: GroupedAttentionConfig | LatentAttentionConfig;
  /** One per layer. */
  readonly mlps: readonly MlpConfig[];
  readonly tieEmbeddings: boolean;
  /** Whether a last dense layer with tanh makes a vector of the first token's state (BERT). */
  readonly pooler: boolean;
  /** Layers behind the last that predict a further token each (DeepSeek-V3's MTP). */
  readonly predictLayers: number;
  readonly initializerRange: number;
  readonly eosIds: readonly number[];
  /** The parsed file, for writing it back. */
  readonly raw: Readonly<Record<string, unknown>>;
}

export const size = z.number().int().positive();
const eps = z.number().positive();

/** What all families say, under the same names. */
export const commonFields = {
  vocab_size: size,
  initializer_range: z.number().positive().default(0.02),
  eos_token_id: z.union([z.number().int(), z.array(z.number().int())]).nullish(),
};

/** What families made after Llama have in common. */
export const decoderFields = {
  ...commonFields,
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: size,
  num_attention_heads: size,
  num_key_value_heads: size.nullish(),
  head_dim: size.nullish(),
  hidden_act: z.enum(ACTIVATIONS).default("silu"),
  max_position_embeddings: size.default(2048),
  rms_norm_eps: eps.default(1e-6),
  tie_word_embeddings: z.boolean().default(false),
  ...ropeFields,
};

export type DecoderFields = z.infer<z.ZodObject<typeof decoderFields>>;

/** Says in one line what is wrong with which field. */
export function explainZod(error: z.ZodError): string {
  return error.issues
    .slice(0, 3)
    .map((i) => `${i.path.join(".") || "the file"}: ${i.message}`)
    .join("; ");
}

/** Checks a parsed `config.json` against a family's schema. @throws ModelConfigError naming file and fields */
export function parseFields<T>(schema: z.ZodType<T>, raw: unknown, file: string): T {
  const parsed = schema.safeParse(raw);
  if (!parsed.success) throw new ModelConfigError(`${file}: ${explainZod(parsed.error)}`);
  return parsed.data;
}

export const eosIds = (ids: number | readonly number[] | null | undefined): readonly number[] =>
  ids == null ? [] : [ids].flat();

/** What a family's declaration starts from, the parts that are the same in all after Llama filled in. */
export function decoder(
  c: DecoderFields,
  raw: unknown,
  file: string,
  ropeDim: number,
): Omit<ModelConfig, "attention" | "mlps"> {
  const rope = ropeOf(c as RopeSource, ropeDim, (why) => {
    throw new ModelConfigError(`${file}: ${why}`);
  });
  return {
    family: modelType(raw, file),
    vocabSize: c.vocab_size,
    hiddenSize: c.hidden_size,
    maxPositions: rope.maxPositions,
    causal: true,
    norm: { kind: "rms", eps: c.rms_norm_eps, place: "pre" },
    positions: rope,
    tokenTypes: 0,
    tieEmbeddings: c.tie_word_embeddings,
    pooler: false,
    predictLayers: 0,
    initializerRange: c.initializer_range,
    eosIds: eosIds(c.eos_token_id),
    raw: raw as Record<string, unknown>,
  };
}

/** Attention of heads in groups, as the fields that all families share say. */
export function grouped(
  c: DecoderFields,
  file: string,
  options: {
    readonly qkvBias?: boolean;
    readonly outBias?: boolean;
    readonly qkNorm?: boolean;
    readonly headDim?: number;
    readonly window?: (layer: number) => number | undefined;
  } = {},
): GroupedAttentionConfig {
  const heads = c.num_attention_heads;
  const kvHeads = c.num_key_value_heads ?? heads;
  if (heads % kvHeads !== 0)
    throw new ModelConfigError(`${file}: ${heads} heads are not a multiple of ${kvHeads} key-value heads`);
  const headDim = c.head_dim ?? options.headDim ?? c.hidden_size / heads;
  if (!Number.isInteger(headDim) || headDim % 2 !== 0)
    throw new ModelConfigError(`${file}: a head dimension of ${headDim} is not an even number`);
  return {
    kind: "grouped",
    heads,
    kvHeads,
    headDim,
    qkvBias: options.qkvBias ?? false,
    outBias: options.outBias ?? false,
    qkNorm: options.qkNorm ?? false,
    joined: false,
    windows: Array.from({ length: c.num_hidden_layers }, (_, i) => options.window?.(i)),
  };
}

/** The same gated layer in every block. */
export function gated(c: DecoderFields, bias = false): readonly MlpConfig[] {
  const mlp: MlpConfig = { kind: "gated", size: c.intermediate_size, activation: c.hidden_act, bias };
  return new Array<MlpConfig>(c.num_hidden_layers).fill(mlp);
}

/** The `model_type` of a parsed `config.json`. */
export function modelType(raw: unknown, file = "config.json"): string {
  const type = (raw as { model_type?: unknown } | null)?.model_type;
  if (typeof type !== "string")
    throw new ModelConfigError(`${file}: there is no "model_type"; is this a Hugging Face model folder?`);
  return type;
}
