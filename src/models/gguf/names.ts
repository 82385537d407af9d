// What GGUF files call the parameters of a model, and the one thing they lay out otherwise: Llama's queries and keys.

import type { ModelConfig } from "../config.js";

const MODULES: Readonly<Record<string, string>> = {
  "model.embed_tokens": "token_embd",
  "model.embed_positions": "position_embd",
  "model.norm": "output_norm",
  lm_head: "output",
};
const IN_LAYER: Readonly<Record<string, string>> = {
  input_layernorm: "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.qkv_proj": "attn_qkv",
  "self_attn.o_proj": "attn_output",
  "self_attn.q_norm": "attn_q_norm",
  "self_attn.k_norm": "attn_k_norm",
  post_attention_layernorm: "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
  "mlp.gate": "ffn_gate_inp",
};
/** Parameters that are no module's weight or bias. */
const EXPERTS: Readonly<Record<string, string>> = {
  "mlp.experts.gate_proj": "ffn_gate_exps.weight",
  "mlp.experts.up_proj": "ffn_up_exps.weight",
  "mlp.experts.down_proj": "ffn_down_exps.weight",
};

/** The name in a GGUF file of a parameter, by the model's name; undefined where there is none. */
export function ggufName(name: string): string | undefined {
  const layer = /^model\.layers\.(\d+)\.(.*)$/.exec(name);
  const inner = layer ? layer[2]! : name;
  if (layer && EXPERTS[inner]) return `blk.${layer[1]}.${EXPERTS[inner]}`;
  const at = inner.lastIndexOf(".");
  const module = (layer ? IN_LAYER : MODULES)[inner.slice(0, at)];
  if (module === undefined) return undefined;
  return `${layer ? `blk.${layer[1]}.` : ""}${module}${inner.slice(at)}`;
}

/**
 * Heads of the rows of a parameter whose halves stand interleaved in files of the architecture "llama", which turns
 * neighbours together; undefined for all others.
 */
export function interleavedHeads(
  architecture: string,
  config: ModelConfig,
  name: string,
): number | undefined {
  const a = config.attention;
  if (architecture !== "llama" || a.kind !== "grouped") return undefined;
  if (/\.self_attn\.q_proj\.(weight|bias)$/.test(name)) return a.heads;
  if (/\.self_attn\.k_proj\.(weight|bias)$/.test(name)) return a.kvHeads;
  return undefined;
}

/** Rows (first dimension) of each head: halves to neighbours, or back. */
export function moveRows(from: Uint8Array, rows: number, heads: number, back: boolean): Uint8Array {
  const width = from.length / rows;
  const half = rows / heads / 2;
  const data = new Uint8Array(from.length);
  for (let h = 0; h < heads; h++)
    for (let i = 0; i < half; i++)
      for (let s = 0; s < 2; s++) {
        const apart = 2 * h * half + s * half + i;
        const beside = 2 * h * half + 2 * i + s;
        const [own, to] = back ? [beside, apart] : [apart, beside];
        data.set(from.subarray(own * width, (own + 1) * width), to * width);
      }
  return data;
}
