# Makes test/fixtures/models/gguf: blocks of every type with the floats that llama.cpp's own Python package makes of them (and,
# where it can, blocks that it makes of floats); a tiny random Llama, quantized by llama.cpp itself, with the logits that
# transformers computes from the floats of its blocks, and the tokens that llama.cpp decodes.
# Usage: python scripts/make-gguf-fixtures.py   (torch, transformers 5, gguf; npm run build; see llama-cpp.mjs)

import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

ROOT = pathlib.Path(__file__).parent.parent
OUT = ROOT / "test/fixtures/models/gguf"
IDS = torch.tensor([[3, 14, 15, 9, 26, 5, 35, 8, 9, 7, 9, 32]])
TYPES = {"Q4_K_M": 15, "Q5_K_M": 17, "Q4_0": 2, "Q4_1": 3, "Q5_0": 8, "Q5_1": 9, "Q8_0": 7}
CONFIG = LlamaConfig(
    vocab_size=40,
    hidden_size=256,
    intermediate_size=32,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=16,
    max_position_embeddings=32,
    initializer_range=0.1,
    bos_token_id=0,
    eos_token_id=1,
)
NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "blk.0.attn_norm": "model.layers.0.input_layernorm",
    "blk.0.attn_q": "model.layers.0.self_attn.q_proj",
    "blk.0.attn_k": "model.layers.0.self_attn.k_proj",
    "blk.0.attn_v": "model.layers.0.self_attn.v_proj",
    "blk.0.attn_output": "model.layers.0.self_attn.o_proj",
    "blk.0.ffn_norm": "model.layers.0.post_attention_layernorm",
    "blk.0.ffn_gate": "model.layers.0.mlp.gate_proj",
    "blk.0.ffn_up": "model.layers.0.mlp.up_proj",
    "blk.0.ffn_down": "model.layers.0.mlp.down_proj",
}
HEADS = {"blk.0.attn_q": 2, "blk.0.attn_k": 1}


def tokenizer(folder):
    """40 letters of a byte-level BPE."""
    letters = [chr(33 + i) for i in range(38)]
    vocab = {"<s>": 0, "</s>": 1} | {c: i + 2 for i, c in enumerate(letters)}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    added = [{"id": i, "content": t, "special": True} for t, i in vocab.items() if i < 2]
    for t in added:
        t.update(single_word=False, lstrip=False, rstrip=False, normalized=False)
    model = {"type": "BPE", "vocab": vocab, "merges": []}
    text = {"version": "1.0", "added_tokens": added, "pre_tokenizer": level, "decoder": level, "model": model}
    text.update(normalizer=None, post_processor=None, truncation=None, padding=None)
    (folder / "tokenizer.json").write_text(json.dumps(text))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))


def weights(file):
    out = {}
    for t in gguf.GGUFReader(file).tensors:
        module, leaf = t.name.rsplit(".", 1)
        w = torch.from_numpy(gguf.quants.dequantize(t.data, t.tensor_type).copy()).float()
        w = w.reshape([int(n) for n in reversed(t.shape)])
        if module in HEADS:
            heads = HEADS[module]
            w = w.reshape(heads, w.shape[0] // heads // 2, 2, -1).transpose(1, 2).reshape(w.shape)
        out[f"{NAMES[module]}.{leaf}"] = w
    return out


def blocks():
    """Random bytes as blocks: any are valid but scales that are no finite numbers."""
    rng = np.random.default_rng(1)
    out = {}
    halves = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
    for name, at in halves.items():
        kind = gguf.GGMLQuantizationType[name]
        size, bytes_ = gguf.GGML_QUANT_SIZES[kind]
        count = 1024 // size
        data = rng.integers(0, 256, (count, bytes_), dtype=np.uint8)
        for h in at:
            scale = rng.normal(0, 0.1, count).astype(np.float16)
            scale[1] = 0
            data[:, h : h + 2] = scale.view(np.uint8).reshape(count, 2)
        out[f"{name}.bytes"] = torch.from_numpy(data.reshape(-1))
        out[f"{name}.floats"] = torch.from_numpy(gguf.quants.dequantize(data, kind).reshape(-1).copy())
        if name in ("Q8_0", "Q4_0"):
            x = rng.normal(0, 1, (count, size)).astype(np.float32)
            x[2] = 0
            x[3, :] = np.linspace(-1, 1, size) * 127.5
            out[f"{name}.from"] = torch.from_numpy(x.reshape(-1))
            out[f"{name}.to"] = torch.from_numpy(gguf.quants.quantize(x, kind).reshape(-1).copy())
    return out


shutil.rmtree(OUT, ignore_errors=True)
OUT.mkdir(parents=True)
save_file(blocks(), OUT / "blocks.safetensors")
torch.manual_seed(0)
model = LlamaForCausalLM(CONFIG).eval()
reference = {"ids": IDS}
greedy = {}
with tempfile.TemporaryDirectory() as name, torch.no_grad():
    folder = pathlib.Path(name)
    for p in model.parameters():
        p.copy_(1 + 0.3 * torch.randn_like(p) if p.ndim == 1 else p)
    model.save_pretrained(folder)
    tokenizer(folder)
    run = lambda *words: subprocess.run(["node", *map(str, words)], check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
    run("dist/node/cli/main.js", "export", folder, "--gguf", folder / "F32.gguf", "--type", "F32")
    for kind, number in TYPES.items():
        file = folder / f"{kind}.gguf"
        run("scripts/llama-cpp.mjs", "quantize", folder / "F32.gguf", file, number)
        model.load_state_dict(weights(file))
        reference[kind] = model(IDS).logits[0].contiguous()
        greedy[kind] = json.loads(run("scripts/llama-cpp.mjs", "greedy", file, 8, json.dumps(IDS.tolist())))[0]
        shutil.copy(file, OUT)
save_file(reference, OUT / "reference.safetensors")
(OUT / "greedy.json").write_text(json.dumps(greedy) + "\n")
