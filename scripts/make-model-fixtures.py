# Makes test/fixtures/models/families: tiny random models, one folder each, with the logits that transformers computes.
# Usage: python scripts/make-model-fixtures.py   (torch and transformers 5; the weights are stored in bf16)
#
# Each folder has config.json, weights in safetensors, and reference.safetensors with "ids" [1, tokens] and "logits"
# [tokens, vocab] in f32; "ahead" for models with a layer that predicts one token further.

import json
import pathlib
import shutil

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3DecoderLayer, DeepseekV3RMSNorm

OUT = pathlib.Path(__file__).parent.parent / "test/fixtures/models/families"
SIZES = dict(
    vocab_size=40,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=32,
    initializer_range=0.3,
    bos_token_id=0,
    eos_token_id=1,
)
LATENT = dict(
    SIZES,
    num_key_value_heads=4,
    kv_lora_rank=8,
    qk_nope_head_dim=4,
    qk_rope_head_dim=4,
    v_head_dim=4,
    n_routed_experts=4,
    n_group=2,
    topk_group=1,
    num_experts_per_tok=2,
    moe_intermediate_size=8,
    n_shared_experts=1,
    first_k_dense_replace=1,
)
IDS = torch.tensor([[3, 14, 15, 9, 26, 5, 35, 8, 9, 7, 9, 32]])


def rope(kind, **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **more}}


YARN = rope("yarn", factor=4.0, original_max_position_embeddings=8)
CASES = {
    "mistral-window": (MistralForCausalLM, MistralConfig(**SIZES, sliding_window=4, head_dim=8)),
    "aquila": (LlamaForCausalLM, LlamaConfig(**SIZES)),
    "qwen2-window": (
        Qwen2ForCausalLM,
        Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=3, max_window_layers=1),
    ),
    "llama-linear": (LlamaForCausalLM, LlamaConfig(**SIZES, **rope("linear", factor=3.0))),
    # Twelve tokens are more than the eight it knows: the angles stretch.
    "llama-dynamic": (
        LlamaForCausalLM,
        LlamaConfig(**{**SIZES, "max_position_embeddings": 8}, **rope("dynamic", factor=2.0)),
    ),
    "llama-llama3": (
        LlamaForCausalLM,
        LlamaConfig(
            **SIZES,
            head_dim=12,
            tie_word_embeddings=True,
            **rope(
                "llama3",
                factor=8.0,
                low_freq_factor=1.0,
                high_freq_factor=4.0,
                original_max_position_embeddings=16,
            ),
        ),
    ),
    "llama-yarn": (LlamaForCausalLM, LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True, **YARN)),
    "deepseek-v3-yarn": (
        DeepseekV3ForCausalLM,
        DeepseekV3Config(
            **LATENT,
            q_lora_rank=None,
            num_nextn_predict_layers=1,
            **rope("yarn", factor=4.0, original_max_position_embeddings=8, mscale=1.0, mscale_all_dim=0.7),
        ),
    ),
}


def randomize(module):
    """Norms and biases too, so that a forgotten one shows."""
    with torch.no_grad():
        for name, p in [*module.named_parameters(), *module.named_buffers()]:
            if "inv_freq" in name:
                continue
            if "norm" in name:
                p.copy_(1 + 0.3 * torch.randn_like(p))
            elif p.ndim == 1:
                p.copy_(0.3 * torch.randn_like(p))
            p.copy_(p.bfloat16().float())


def predict_layer(model, config):
    """The layer behind the last, by the formula of DeepSeek-V3's report, section 2.2."""
    layer = DeepseekV3DecoderLayer(config, layer_idx=config.num_hidden_layers)
    h = config.hidden_size
    parts = torch.nn.ModuleDict(
        dict(
            enorm=DeepseekV3RMSNorm(h, config.rms_norm_eps),
            hnorm=DeepseekV3RMSNorm(h, config.rms_norm_eps),
            eh_proj=torch.nn.Linear(2 * h, h, bias=False),
            shared_head_norm=DeepseekV3RMSNorm(h, config.rms_norm_eps),
        )
    )
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(0.3 * torch.randn_like(p))
    randomize(layer)
    randomize(parts)
    hidden = model.model(IDS).last_hidden_state[:, :-1]
    embedded = model.model.embed_tokens(IDS[:, 1:])
    x = parts["eh_proj"](torch.cat([parts["enorm"](embedded), parts["hnorm"](hidden)], -1))
    n = x.shape[1]
    mask = torch.full((1, 1, n, n), float("-inf")).triu(1)
    where = model.model.rotary_emb(x, torch.arange(n)[None])
    out = layer(x, attention_mask=mask, position_embeddings=where, position_ids=torch.arange(n)[None])
    out = out[0] if isinstance(out, tuple) else out
    ahead = model.lm_head(parts["shared_head_norm"](out))
    at = f"model.layers.{config.num_hidden_layers}."
    tensors = {}
    for name, p in [*layer.named_parameters(), *layer.named_buffers()]:
        if name == "mlp.experts.gate_up_proj":
            for e in range(p.shape[0]):
                gate, up = p[e].chunk(2)
                tensors[f"{at}mlp.experts.{e}.gate_proj.weight"] = gate
                tensors[f"{at}mlp.experts.{e}.up_proj.weight"] = up
        elif name == "mlp.experts.down_proj":
            for e in range(p.shape[0]):
                tensors[f"{at}mlp.experts.{e}.down_proj.weight"] = p[e]
        else:
            tensors[at + name] = p
    for name, p in parts.named_parameters():
        tensors[at + name.replace("shared_head_norm", "shared_head.norm")] = p
    return ahead[0], {k: v.detach().bfloat16().contiguous() for k, v in tensors.items()}


shutil.rmtree(OUT, ignore_errors=True)
for number, (name, (kind, config)) in enumerate(CASES.items()):
    torch.manual_seed(number)
    config._attn_implementation = "eager"
    model = kind(config).eval()
    randomize(model)
    folder = OUT / name
    reference = {"ids": IDS}
    with torch.no_grad():
        reference["logits"] = model(IDS).logits[0].contiguous()
        more = {}
        if name.startswith("deepseek"):
            reference["ahead"], more = predict_layer(model, config)
            reference["ahead"] = reference["ahead"].detach().contiguous()
    model.bfloat16().save_pretrained(folder, max_shard_size="4KB" if name == "llama-yarn" else "1GB")
    if more:
        file = folder / "model.safetensors"
        save_file({**load_file(file), **more}, file, {"format": "pt"})
    save_file(reference, folder / "reference.safetensors")
    (folder / "generation_config.json").unlink(missing_ok=True)
    path = folder / "config.json"
    raw = json.loads(path.read_text())
    if name == "aquila":
        raw |= {"model_type": "aquila", "architectures": ["AquilaForCausalLM"]}
        # As its own files name them.
        del raw["rope_parameters"]
        raw |= {"rope_theta": 10000.0, "rope_scaling": None}
    path.write_text(json.dumps(raw, indent=2, sort_keys=True) + "\n")
