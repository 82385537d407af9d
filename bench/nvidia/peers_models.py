"""PyTorch's side of models.mjs: the same shapes written in plain torch, python3 peers_models.py OUT SIZES.json PART. Decoding runs as a
CUDA graph, training eagerly with SDPA and fused AdamW, and once more under torch.compile."""

import json
import math
import os
import statistics
import sys
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

out, sizes, part = sys.argv[1:]
given = json.load(open(sizes))
size = given["sizes"][part]
raw = dict(given["shapes"][size["model"]])
if os.environ.get("LAYERS"):
    raw["num_hidden_layers"] = int(os.environ["LAYERS"])
steps = int(os.environ.get("STEPS", size.get("steps", 0)))
files = os.environ.get("FILES", "/tmp")
D = raw.get("head_dim") or raw["hidden_size"] // raw["num_attention_heads"]
H, KV, EPS = raw["num_attention_heads"], raw["num_key_value_heads"], raw["rms_norm_eps"]
torch.set_float32_matmul_precision("highest")


def tables(n, device):
    at = torch.arange(n, device=device, dtype=torch.float32)[:, None]
    angle = at / raw["rope_theta"] ** (torch.arange(0, D, 2, device=device, dtype=torch.float32) / D)
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    a, b = x.float().chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        hidden = raw["hidden_size"]
        lin = lambda i, o: nn.Linear(i, o, bias=False)  # noqa: E731
        self.q, self.k, self.v, self.o = lin(hidden, H * D), lin(hidden, KV * D), lin(hidden, KV * D), lin(H * D, hidden)
        self.gate, self.up, self.down = (lin(*s) for s in ((hidden, raw["intermediate_size"]),) * 2 + ((raw["intermediate_size"], hidden),))
        self.n1, self.n2 = nn.RMSNorm(hidden, EPS), nn.RMSNorm(hidden, EPS)
        if raw["model_type"] == "qwen3":
            self.qn, self.kn = nn.RMSNorm(D, EPS), nn.RMSNorm(D, EPS)

    def forward(self, x, cos, sin, cache=None, at=None):
        b, t, _ = x.shape
        y = self.n1(x)
        q, k, v = (m(y).view(b, t, -1, D) for m in (self.q, self.k, self.v))
        if raw["model_type"] == "qwen3":
            q, k = self.qn(q), self.kn(k)
        q, k = rotate(q.transpose(1, 2), cos, sin), rotate(k.transpose(1, 2), cos, sin)
        v = v.transpose(1, 2)
        if cache is not None:
            cache[0].index_copy_(2, at, k)
            cache[1].index_copy_(2, at, v)
            k, v = cache
        y = F.scaled_dot_product_attention(q, k, v, is_causal=cache is None, enable_gqa=H != KV)
        x = x + self.o(y.transpose(1, 2).reshape(b, t, -1))
        y = self.n2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(raw["vocab_size"], raw["hidden_size"])
        self.blocks = nn.ModuleList(Block() for _ in range(raw["num_hidden_layers"]))
        self.norm = nn.RMSNorm(raw["hidden_size"], EPS)
        self.head = nn.Linear(raw["hidden_size"], raw["vocab_size"], bias=False)
        if raw.get("tie_word_embeddings"):
            self.head.weight = self.embed.weight

    def forward(self, ids, cos, sin, caches=None, at=None, last=False):
        x = self.embed(ids)
        for i, block in enumerate(self.blocks):
            x = block(x, cos, sin, caches[i] if caches else None, at)
        return self.head(self.norm(x[:, -1:] if last else x))


def made(dtype):
    with torch.device("cuda"):
        torch.set_default_dtype(dtype)
        model = Model()
        torch.set_default_dtype(torch.float32)
    for p in model.parameters():
        if p.ndim > 1:
            nn.init.normal_(p, 0, 0.02)
    return model


rows = []


def say(name, side, samples):
    all_ = sorted(samples)
    rows.append({"name": name, "side": side, "ms": statistics.median(all_), "least": all_[0], "most": all_[-1]})
    print(name, side, f"{rows[-1]['ms']:.3f} ms", flush=True)
    json.dump(rows, open(f"{out}/peers-{part}.json", "w"))


def timed(run, n, samples=5):
    run()
    torch.cuda.synchronize()
    all_ = []
    for _ in range(samples):
        start = time.perf_counter()
        for _ in range(n):
            run()
        torch.cuda.synchronize()
        all_.append((time.perf_counter() - start) * 1e3 / n)
    return all_


@torch.no_grad()
def decoding():
    context = size["context"]
    model = made(torch.bfloat16)
    caches = [[torch.randn(1, KV, context, D, device="cuda", dtype=torch.bfloat16) for _ in range(2)] for _ in model.blocks]
    cos, sin = tables(context, "cuda")
    at = torch.tensor([context - 1], device="cuda")
    ids = torch.ones(1, 1, dtype=torch.long, device="cuda")
    run = lambda: ids.copy_(model(ids, cos[at], sin[at], caches, at).argmax(-1))  # noqa: E731
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    name = f"{size['model']} decode bf16 batch 1"
    for n in ("bf16", "int8", "int4"):
        say(name.replace("bf16", n), "torch" if n == "bf16" else "torch bf16", timed(graph.replay, 64))
    say(name, "torch eager", timed(run, 16))


@torch.no_grad()
def prefill():
    model = made(torch.bfloat16)
    cos, sin = tables(size["tokens"], "cuda")
    ids = torch.randint(0, raw["vocab_size"], (1, size["tokens"]), device="cuda")
    say(f"{size['model']} prefill bf16 {size['tokens']}", "torch", timed(lambda: model(ids, cos, sin, last=True), 3))


def training():
    name = f"{size['model']} training step bf16 {size['rows']}x{size['tokens']}"
    cos, sin = tables(size["tokens"], "cuda")
    shape = (size["rows"], size["tokens"])
    ids, targets = (torch.randint(0, raw["vocab_size"], shape, device="cuda") for _ in range(2))
    for side in ("torch", "torch.compile"):
        model = made(torch.bfloat16)
        net = torch.compile(model) if side == "torch.compile" else model
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

        def run():
            logits = net(ids, cos, sin)
            F.cross_entropy(logits.view(-1, raw["vocab_size"]), targets.view(-1)).backward()
            optimizer.step()
            optimizer.zero_grad()

        run()
        say(name, side, timed(run, 2, steps))
        print("peak GB", torch.cuda.max_memory_allocated() / 2**30)
        del model, net, optimizer
        torch.cuda.empty_cache()


ORDER = {"self_attn.q_proj": "q", "self_attn.k_proj": "k", "self_attn.v_proj": "v", "self_attn.o_proj": "o", "mlp.gate_proj": "gate", "mlp.up_proj": "up",
         "mlp.down_proj": "down", "input_layernorm": "n1", "post_attention_layernorm": "n2"}


def learning():
    told = json.load(open(f"{files}/learning.json"))
    size = told["size"]
    steps, batch, tokens, every = size["steps"], size["rows"], size["tokens"], size["every"]
    # Weights of bf16 with f32 copies that the updates go to, as on the other side.
    model = made(torch.bfloat16)
    mine = dict(model.named_parameters())
    for i, (name, shape) in enumerate(told["names"]):
        values = torch.from_numpy(np.fromfile(f"{files}/learning-{i}.f32", np.float32)).view(shape)
        name = name.replace("model.", "").replace("layers.", "blocks.").replace("embed_tokens", "embed")
        for long, short in ORDER.items():
            name = name.replace(long, short)
        mine[name].data.copy_(values)
    stream = torch.from_numpy(np.fromfile(f"{files}/learning-tokens.i32", np.int32))
    cos, sin = tables(tokens, "cuda")
    params = list(model.parameters())
    masters = [p.detach().float() for p in params]
    optimizer = torch.optim.AdamW(masters, lr=1.0, betas=tuple(size["betas"]), eps=size["eps"], weight_decay=size["decay"], fused=True)
    losses, ms, total = [], [], torch.zeros((), device="cuda")
    start = time.perf_counter()
    for i in range(steps):
        at = i * batch * tokens
        part = stream[at : at + batch * tokens + 1].long().cuda(non_blocking=True)
        warm = size["warm"]
        r = size["rate"]
        rate = r * (i + 1) / warm if i < warm else r * (0.1 + 0.45 * (1 + math.cos(math.pi * (i - warm) / max(1, steps - warm))))
        for group in optimizer.param_groups:
            group["lr"] = rate
        logits = model(part[:-1].view(batch, tokens), cos, sin)
        loss = F.cross_entropy(logits.view(-1, raw["vocab_size"]).float(), part[1:])
        loss.backward()
        for m, p in zip(masters, params):
            m.grad = p.grad.float()
            p.grad = None
        optimizer.step()
        with torch.no_grad():
            torch._foreach_copy_(params, masters)
        total += loss.detach()
        if (i + 1) % every == 0:
            losses.append(total.item() / every)
            total.zero_()
            ms.append((time.perf_counter() - start) * 1e3 / every)
            start = time.perf_counter()
            json.dump(losses, open(f"{files}/learning-torch.json", "w"))
    say(f"{size['model']} training step of {steps}", "torch", ms[1:])
    print("losses", " ".join(f"{x:.4f}" for x in losses))


globals()[part]()
