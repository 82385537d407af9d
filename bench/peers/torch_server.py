"""Times tiny operators of PyTorch: reads lines `op count`, answers seconds."""
import sys
import time

import torch

torch.set_num_threads(int(sys.argv[1]))
torch.set_grad_enabled(False)
x = torch.randn(16, 16)
y = torch.randn(16, 16)
OPS = {"add": lambda: torch.add(x, y), "relu": lambda: torch.relu(x), "mm": lambda: torch.mm(x, y)}
print(torch.__version__, flush=True)
for line in sys.stdin:
    name, count = line.split()
    op = OPS[name]
    start = time.perf_counter()
    for _ in range(int(count)):
        op()
    print(time.perf_counter() - start, flush=True)
