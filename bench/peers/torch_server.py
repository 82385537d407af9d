"""PyTorch, asked line by line: `OP COUNT` times a tiny operator and answers seconds; `gpt2 SHAPE` makes a model and
answers its parameters; `gpt2_step` takes a training step and answers its loss."""
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(int(sys.argv[1]))
torch.set_grad_enabled(False)
x = torch.randn(16, 16)
y = torch.randn(16, 16)
OPS = {"add": lambda: torch.add(x, y), "relu": lambda: torch.relu(x), "mm": lambda: torch.mm(x, y)}


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, h):
        rows, tokens, width = h.shape
        q, k, v = (
            t.view(rows, tokens, self.heads, -1).transpose(1, 2) for t in self.qkv(self.norm1(h)).split(width, 2)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        h = h + self.out(mixed.transpose(1, 2).reshape(rows, tokens, width))
        return h + self.down(F.gelu(self.up(self.norm2(h)), approximate="tanh"))


class Gpt2(nn.Module):
    def __init__(self, vocab, width, layers, heads, positions):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocab, width), nn.Embedding(positions, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for p in self.parameters():
            if p.ndim > 1:
                nn.init.normal_(p, 0, 0.02)

    def forward(self, ids):
        h = self.tokens(ids) + self.places(torch.arange(ids.shape[1]))
        for block in self.blocks:
            h = block(h)
        return F.linear(self.norm(h), self.tokens.weight)


class Training:
    def __init__(self, vocab, width, layers, heads, positions, tokens):
        self.model = Gpt2(vocab, width, layers, heads, positions)
        # The implementation that takes all parameters at once is the fastest on the CPU.
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-5, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
        self.ids = torch.arange(tokens + 1) * 7919 % vocab

    @torch.enable_grad()
    def step(self):
        logits = self.model(self.ids[None, :-1])
        loss = F.cross_entropy(logits[0], self.ids[1:])
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()


training = None
print(torch.__version__, flush=True)
for line in sys.stdin:
    name, *words = line.split()
    if name == "gpt2":
        training = Training(*map(int, words))
        print(sum(p.numel() for p in training.model.parameters()), flush=True)
    elif name == "gpt2_step":
        print(training.step(), flush=True)
    else:
        op = OPS[name]
        start = time.perf_counter()
        for _ in range(int(words[0])):
            op()
        print(time.perf_counter() - start, flush=True)
