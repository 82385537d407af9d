// The numbers of a model in a GGUF file's metadata: to the fields of a config.json, and from a model's declaration.

import type { ModelConfig } from "../config.js";
import { frequencies } from "../rope-config.js";
import { GgufError, type GgufHeader, type Metadata, type Typed } from "./format.js";

/** Architectures of GGUF files that are read, and the family each becomes. */
const FAMILY_OF: Readonly<Record<string, string>> = {
  llama: "llama",
  qwen2: "qwen2",
  qwen3: "qwen3",
  qwen3moe: "qwen3_moe",
  gpt2: "gpt2",
};

/** The architecture that files of a family name, for those that can be written. */
export const ARCHITECTURE_OF: Readonly<Record<string, string>> = {
  llama: "llama",
  mistral: "llama",
  aquila: "llama",
  qwen2: "qwen2",
  qwen3: "qwen3",
  qwen3_moe: "qwen3moe",
  gpt2: "gpt2",
};

/** Reads keys with their types checked. */
export class Keys {
  constructor(
    readonly metadata: Metadata,
    readonly file: string,
  ) {}

  number(key: string): number | undefined {
    const v = this.metadata.get(key);
    if (v === undefined) return undefined;
    if (typeof v !== "number") throw new GgufError(`${this.file}: key "${key}" is no number`);
    return v;
  }

  need(key: string): number {
    const v = this.number(key);
    if (v === undefined) throw new GgufError(`${this.file}: key "${key}" is missing`);
    return v;
  }

  string(key: string): string | undefined {
    const v = this.metadata.get(key);
    if (v !== undefined && typeof v !== "string")
      throw new GgufError(`${this.file}: key "${key}" is no text`);
    return v;
  }

  boolean(key: string): boolean | undefined {
    const v = this.metadata.get(key);
    if (v !== undefined && typeof v !== "boolean")
      throw new GgufError(`${this.file}: key "${key}" is not true or false`);
    return v;
  }

  list<T extends "string" | "number">(
    key: string,
    of: T,
  ): (T extends "string" ? string : number)[] | undefined {
    const v = this.metadata.get(key);
    if (v === undefined) return undefined;
    if (!Array.isArray(v) || v.some((x) => typeof x !== of))
      throw new GgufError(`${this.file}: key "${key}" is no list of ${of}s`);
    return v as (T extends "string" ? string : number)[];
  }
}

/** The architecture that a file names. @throws GgufError for one that is not built */
export function architectureOf(header: GgufHeader, file: string): string {
  const name = new Keys(header.metadata, file).string("general.architecture");
  if (name === undefined || !FAMILY_OF[name])
    throw new GgufError(
      `${file}: the architecture ${JSON.stringify(name ?? null)} is not supported (supported: ${Object.keys(FAMILY_OF).join(", ")})`,
    );
  return name;
}

/**
 * The fields of a config.json that say the same as the file's metadata.
 * @param ropeFactors what each frequency is divided by, where the file has a tensor of that
 */
export function configOf(
  header: GgufHeader,
  file: string,
  ropeFactors: Float32Array | undefined,
): Record<string, unknown> {
  const keys = new Keys(header.metadata, file);
  const arch = architectureOf(header, file);
  const at = (key: string) => `${arch}.${key}`;
  const { tensors } = header;
  const embedding = tensors.get("token_embd.weight");
  if (!embedding) throw new GgufError(`${file}: tensor "token_embd.weight" is missing`);
  const common = {
    model_type: FAMILY_OF[arch],
    vocab_size: embedding.shape[0],
    eos_token_id: keys.number("tokenizer.ggml.eos_token_id"),
    tie_word_embeddings: !tensors.has("output.weight"),
  };
  if (arch === "gpt2")
    return {
      ...common,
      n_positions: keys.need(at("context_length")),
      n_embd: keys.need(at("embedding_length")),
      n_layer: keys.need(at("block_count")),
      n_head: keys.need(at("attention.head_count")),
      n_inner: keys.need(at("feed_forward_length")),
      layer_norm_epsilon: keys.need(at("attention.layer_norm_epsilon")),
    };
  const heads = keys.need(at("attention.head_count"));
  const hidden = keys.need(at("embedding_length"));
  const theta = keys.number(at("rope.freq_base")) ?? 10000;
  const headDim = keys.number(at("attention.key_length")) ?? hidden / heads;
  return {
    ...common,
    hidden_size: hidden,
    intermediate_size:
      keys.number(at("feed_forward_length")) || keys.number(at("expert_feed_forward_length")),
    num_hidden_layers: keys.need(at("block_count")),
    num_attention_heads: heads,
    num_key_value_heads: keys.number(at("attention.head_count_kv")) ?? heads,
    head_dim: headDim,
    max_position_embeddings: keys.need(at("context_length")),
    rms_norm_eps: keys.need(at("attention.layer_norm_rms_epsilon")),
    rope_parameters: {
      rope_theta: theta,
      ...(ropeFactors ? stretched(ropeFactors, headDim, theta, file) : scaling(keys, at)),
    },
    ...(arch === "llama"
      ? { attention_bias: tensors.has("blk.0.attn_q.bias"), mlp_bias: tensors.has("blk.0.ffn_up.bias") }
      : {}),
    ...(arch === "qwen3moe"
      ? {
          num_experts: keys.need(at("expert_count")),
          num_experts_per_tok: keys.need(at("expert_used_count")),
          moe_intermediate_size: keys.need(at("expert_feed_forward_length")),
          norm_topk_prob: true,
        }
      : {}),
  };
}

function scaling(keys: Keys, at: (key: string) => string): Record<string, unknown> {
  const type = keys.string(at("rope.scaling.type"));
  if (type === undefined || type === "none") return { rope_type: "default" };
  return {
    rope_type: type,
    factor: keys.number(at("rope.scaling.factor")),
    original_max_position_embeddings: keys.number(at("rope.scaling.original_context_length")),
  };
}

/** Llama 3's stretching, which files hold as its result: the parameters that give the same. */
function stretched(factors: Float32Array, dim: number, theta: number, file: string): Record<string, unknown> {
  const factor = Math.round(Math.max(...factors) * 1000) / 1000;
  const rope = { factor, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };
  const base = { dim, theta, maxPositions: 1 };
  const got = frequencies(
    { ...base, type: "llama3", factor, lowFactor: 1, highFactor: 4, original: 8192 },
    0,
  );
  const plain = frequencies({ ...base, type: "default" }, 0);
  if (factors.length !== got.length || got.some((f, i) => Math.abs(plain[i]! / f / factors[i]! - 1) > 1e-3))
    throw new GgufError(
      `${file}: tensor "rope_freqs.weight" is not the stretching of Llama 3, and no other is supported`,
    );
  return { rope_type: "llama3", ...rope };
}

/** A model's numbers as metadata, without the tokenizer's. @throws GgufError for families that GGUF has no name for here */
export function metadataOf(c: ModelConfig, name: string): Map<string, Typed> {
  const arch = ARCHITECTURE_OF[c.family];
  const a = c.attention;
  if (arch === undefined || a.kind !== "grouped")
    throw new GgufError(
      `models of the family "${c.family}" cannot be written as GGUF (${Object.keys(ARCHITECTURE_OF).join(", ")} can)`,
    );
  const [first] = c.mlps;
  const dense = c.mlps.find((m) => m.kind !== "experts");
  const experts = c.mlps.find((m) => m.kind === "experts");
  if (experts && (dense || !experts.router.normalize))
    throw new GgufError(
      "GGUF has no place for models with experts in some layers only, or weights that do not add up to one",
    );
  const out = new Map<string, Typed>([
    ["general.architecture", { string: arch }],
    ["general.name", { string: name }],
    ["general.quantization_version", { u32: 2 }],
  ]);
  const at = (key: string, value: Typed) => out.set(`${arch}.${key}`, value);
  at("context_length", { u32: c.maxPositions });
  at("embedding_length", { u32: c.hiddenSize });
  at("block_count", { u32: c.mlps.length });
  at("feed_forward_length", { u32: dense?.size ?? first!.size });
  at("attention.head_count", { u32: a.heads });
  at("attention.head_count_kv", { u32: a.kvHeads });
  if (c.norm.kind === "layer") at("attention.layer_norm_epsilon", { f32: c.norm.eps });
  else at("attention.layer_norm_rms_epsilon", { f32: c.norm.eps });
  if (c.family !== "gpt2") {
    at("vocab_size", { u32: c.vocabSize });
    at("attention.key_length", { u32: a.headDim });
    at("attention.value_length", { u32: a.headDim });
  }
  if (experts?.kind === "experts") {
    at("expert_count", { u32: experts.experts });
    at("expert_used_count", { u32: experts.perToken });
    at("expert_feed_forward_length", { u32: experts.size });
  }
  if (a.windows.some((w) => w !== undefined && w < c.maxPositions))
    throw new GgufError(
      "GGUF files for llama.cpp see the whole context: a model with a sliding window cannot be written",
    );
  const p = c.positions;
  if (p !== "learned") {
    at("rope.dimension_count", { u32: p.dim });
    at("rope.freq_base", { f32: p.theta });
    if (p.type === "linear" || p.type === "yarn") {
      at("rope.scaling.type", { string: p.type });
      at("rope.scaling.factor", { f32: p.factor });
      if (p.type === "yarn") at("rope.scaling.original_context_length", { u32: p.original });
    } else if (p.type === "dynamic") throw new GgufError('GGUF has no place for RoPE of type "dynamic"');
  }
  return out;
}

/** What each frequency is divided by, for RoPE that GGUF holds as a tensor of that; undefined for other kinds. */
export function ropeFactors(c: ModelConfig): Float32Array | undefined {
  const p = c.positions;
  if (p === "learned" || p.type !== "llama3") return undefined;
  const plain = frequencies({ ...p, type: "default" }, 0);
  return frequencies(p, 0).map((f, i) => plain[i]! / f);
}
