// Shapes of models that are trained from random weights by name: the fields of their config.json, without the vocabulary, which is the
// tokenizer's. Weights of these models are not here.

const swiglu = { rms_norm_eps: 1e-5, hidden_act: "silu", initializer_range: 0.02 };
const qwen3 = { ...swiglu, model_type: "qwen3", num_key_value_heads: 8, head_dim: 128, rms_norm_eps: 1e-6, rope_theta: 1e6, max_position_embeddings: 40960 }; // biome-ignore format: a list
const gpt2 = { model_type: "gpt2", n_positions: 1024 };
const llama = { ...swiglu, model_type: "llama", rope_theta: 5e5, max_position_embeddings: 8192 };

/**
 * By name. GPT-2's are those of "Language Models are Unsupervised Multitask Learners" (Radford et al., 2019) as released; Llama's 1b is
 * that of Llama 3.2, without its scaled positions; Qwen3's those of its technical report (2025); `llama-10m` and `llama-100m` are small
 * ones of the same family, with 7 and 85 million parameters beside their embeddings.
 */
export const PRESETS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  "gpt2": { ...gpt2, n_embd: 768, n_layer: 12, n_head: 12 },
  "gpt2-medium": { ...gpt2, n_embd: 1024, n_layer: 24, n_head: 16 },
  "llama-10m": { ...llama, hidden_size: 288, intermediate_size: 768, num_hidden_layers: 7, num_attention_heads: 6, num_key_value_heads: 6, tie_word_embeddings: true },
  "llama-100m": { ...llama, hidden_size: 768, intermediate_size: 2048, num_hidden_layers: 12, num_attention_heads: 12, num_key_value_heads: 12, tie_word_embeddings: true },
  "llama-1b": { ...llama, hidden_size: 2048, intermediate_size: 8192, num_hidden_layers: 16, num_attention_heads: 32, num_key_value_heads: 8, tie_word_embeddings: true },
  "qwen3-0.6b": { ...qwen3, hidden_size: 1024, intermediate_size: 3072, num_hidden_layers: 28, num_attention_heads: 16, tie_word_embeddings: true },
  "qwen3-1.7b": { ...qwen3, hidden_size: 2048, intermediate_size: 6144, num_hidden_layers: 28, num_attention_heads: 16, tie_word_embeddings: true },
  "qwen3-8b": { ...qwen3, hidden_size: 4096, intermediate_size: 12288, num_hidden_layers: 36, num_attention_heads: 32, tie_word_embeddings: false },
}; // biome-ignore format: a table
