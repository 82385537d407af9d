# The same run in plain PyTorch: reads the first weights, the batches and the learning rates that curve.mjs wrote into a folder,
# trains, and writes the losses beside them. `python peer.py FOLDER cpu|cuda [threads]`. Needs torch and nothing else.
import json
import struct
import sys
import time

import torch
import torch.nn.functional as F

folder, device = sys.argv[1], sys.argv[2]
if len(sys.argv) > 3:
    torch.set_num_threads(int(sys.argv[3]))
torch.set_float32_matmul_precision("highest")
plan = json.load(open(f"{folder}/plan.json"))
c, rates = plan["config"], plan["learning_rates"]
rows, columns, layers = plan["rows"], plan["columns"], c["num_hidden_layers"]
heads, kv_heads, eps = c["num_attention_heads"], c["num_key_value_heads"], c["rms_norm_eps"]
size = c["hidden_size"] // heads


def weights(path):
    data = open(path, "rb").read()
    (n,) = struct.unpack("<Q", data[:8])
    out = {}
    for name, entry in json.loads(data[8 : 8 + n]).items():
        if name == "__metadata__":
            continue
        assert entry["dtype"] == "F32", name
        start, end = (8 + n + at for at in entry["data_offsets"])
        t = torch.frombuffer(bytearray(data[start:end]), dtype=torch.float32).reshape(entry["shape"])
        out[name] = t.to(device).requires_grad_()
    return out


w = weights(f"{folder}/initial/model.safetensors")
angles = torch.arange(columns)[:, None] * c["rope_theta"] ** (-torch.arange(0, size, 2) / size)[None, :]
cos, sin = (f(torch.cat([angles, angles], -1)).to(device) for f in (torch.cos, torch.sin))


def norm(x, weight):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def turned(x):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


def forward(ids):
    x = F.embedding(ids, w["model.embed_tokens.weight"])
    for i in range(layers):
        p = f"model.layers.{i}."

        def project(t, name, n):
            return F.linear(t, w[p + f"self_attn.{name}_proj.weight"]).view(rows, columns, n, size).transpose(1, 2)

        h = norm(x, w[p + "input_layernorm.weight"])
        q, k, v = project(h, "q", heads), project(h, "k", kv_heads), project(h, "v", kv_heads)
        y = F.scaled_dot_product_attention(turned(q), turned(k), v, is_causal=True, enable_gqa=True)
        x = x + F.linear(y.transpose(1, 2).reshape(rows, columns, -1), w[p + "self_attn.o_proj.weight"])
        h = norm(x, w[p + "post_attention_layernorm.weight"])
        gate, up = (F.linear(h, w[p + f"mlp.{n}_proj.weight"]) for n in ("gate", "up"))
        x = x + F.linear(F.silu(gate) * up, w[p + "mlp.down_proj.weight"])
    return F.linear(norm(x, w["model.norm.weight"]), w["model.embed_tokens.weight"])


matrices = [t for t in w.values() if t.ndim >= 2]
vectors = [t for t in w.values() if t.ndim < 2]
optimizer = torch.optim.AdamW(
    [{"params": matrices, "weight_decay": plan["weight_decay"]}, {"params": vectors, "weight_decay": 0.0}],
    lr=rates[0], betas=tuple(plan["betas"]), eps=plan["eps"],
)
batches = torch.frombuffer(bytearray(open(f"{folder}/batches.i32", "rb").read()), dtype=torch.int32)
batches = batches.reshape(len(rates), 2, rows, columns).long().to(device)
losses = []
start = time.perf_counter()
for step, rate in enumerate(rates):
    inputs, targets = batches[step]
    loss = F.cross_entropy(forward(inputs).flatten(0, 1), targets.flatten(), ignore_index=-100)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(w.values(), plan["clip_grad_norm"])
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()
    losses.append(loss.detach())
losses = torch.stack(losses).tolist()
seconds = time.perf_counter() - start
json.dump({"torch": torch.__version__, "losses": losses, "seconds": seconds}, open(f"{folder}/torch.json", "w"))
print(f"torch {torch.__version__} on {device}: {len(rates)} steps in {seconds:.0f} s, last loss {losses[-1]:.4f}")
