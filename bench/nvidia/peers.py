"""PyTorch's and Triton's side of the works in works.mjs, and the floors: python3 peers.py OUT WORKS.json PART..."""

import json
import statistics
import sys

import torch
import torch.nn.functional as F
import triton
import triton.language as tl

out, works, *parts = sys.argv[1:]
DTYPE = {"f32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
SAMPLES, LEAST_MS, WARM_MS = 7, 40, 400
torch.backends.cuda.matmul.allow_tf32 = False
given = json.load(open(works))
SIZES = given["sizes"]


def time(once):
    """Milliseconds of one run by events: median, least, most."""
    def sample(n):
        a, b = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        a.record()
        for _ in range(n):
            once()
        b.record()
        b.synchronize()
        return a.elapsed_time(b) / n

    sample(3)
    n = max(2, int(LEAST_MS / sample(3)) + 1)
    # As long as ours runs before its samples (measure.mjs): a cold GPU is faster for a tenth of a second.
    warm = 0
    while warm < WARM_MS:
        warm += n * sample(n)
    every = sorted(sample(n) for _ in range(SAMPLES))
    return statistics.median(every), every[0], every[-1]


@triton.jit
def triton_product(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr):
    pid = tl.program_id(0)
    rows, cols = tl.cdiv(M, BM), tl.cdiv(N, BN)
    first = pid // (GROUP * cols) * GROUP
    height = min(rows - first, GROUP)
    m = first + pid % (GROUP * cols) % height
    n = pid % (GROUP * cols) // height
    rm, rn, rk = m * BM + tl.arange(0, BM), n * BN + tl.arange(0, BN), tl.arange(0, BK)
    acc = tl.zeros((BM, BN), tl.float32)
    for k in range(0, K, BK):
        x = tl.load(a + rm[:, None] * K + (k + rk)[None, :])
        y = tl.load(b + (k + rk)[:, None] * N + rn[None, :])
        acc = tl.dot(x, y, acc)
    tl.store(c + rm[:, None] * N + rn[None, :], acc.to(c.dtype.element_ty))


@triton.jit
def triton_softmax(x, y, cols, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * cols + tl.arange(0, BLOCK)
    v = tl.load(x + at).to(tl.float32)
    e = tl.exp(v - tl.max(v, 0))
    tl.store(y + at, (e / tl.sum(e, 0)).to(y.dtype.element_ty))


def half(shape, dtype):
    return torch.randn(shape, device="cuda", dtype=torch.float32).to(DTYPE[dtype])


def tiny(w):
    s = torch.tensor([1.0, 2, 3, 4], device="cuda")
    if w["of"] == "eager":
        return {"torch": (lambda: s + s, 1)}
    x = s.clone()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(100):
            x = x + 1
    return {"torch": (graph.replay, 100)}


def memory(w):
    rows, cols = SIZES["ROWS"], SIZES["COLS"]
    of, d = w["of"], w["dtype"]
    x = half((rows, cols), d)
    y = half((rows, cols), d) if of == "add" or of.startswith("silu") else x
    weight = half((cols,), d)
    at = torch.randint(0, cols if of == "cross entropy" else rows, (rows,), device="cuda")
    once = {
        "add": lambda: x + y,
        "gelu": lambda: F.gelu(x),
        "silu and mul": lambda: F.silu(x) * y,
        "copy": lambda: x.clone(),
        "transpose copy": lambda: x.t().contiguous(),
        "softmax": lambda: torch.softmax(x, -1),
        "rms norm": lambda: F.rms_norm(x, (cols,), weight),
        "layer norm": lambda: F.layer_norm(x, (cols,), weight, weight),
        "cross entropy": lambda: F.cross_entropy(x, at),
        "sum of all": lambda: x.sum(),
        "sum of rows": lambda: x.sum(-1),
        "argmax": lambda: x.argmax(-1),
        "cumsum": lambda: x.cumsum(-1),
        "index select": lambda: x.index_select(0, at),
        "embedding": lambda: F.embedding(at, x),
    }[of]
    sides = {"torch": (once, 1)}
    if of == "softmax":
        z = torch.empty_like(x)
        sides["triton"] = (lambda: triton_softmax[(rows,)](x, z, cols, BLOCK=cols, num_warps=8), 1)
    return sides


def matmul(w):
    torch.backends.cuda.matmul.allow_tf32 = w["dtype"] == "tf32"
    a = half((w["m"], w["k"]), w["dtype"])
    b = half((w["n"], w["k"]), w["dtype"]).t() if w["m"] <= 16 else half((w["k"], w["n"]), w["dtype"])
    sides = {"torch": (lambda: a @ b, 1)}
    if w["m"] >= 4096 and w["dtype"] not in ("f32", "tf32"):
        c = torch.empty((w["m"], w["n"]), device="cuda", dtype=a.dtype)
        grid = (triton.cdiv(w["m"], 128) * triton.cdiv(w["n"], 256),)
        run = lambda: triton_product[grid](  # noqa: E731
            a, b, c, w["m"], w["n"], w["k"], BM=128, BN=256, BK=64, GROUP=8, num_warps=8, num_stages=3)
        sides["triton"] = (run, 1)
    return sides


def attention(w):
    make = lambda: half((w["B"], w["H"], w["S"], w["D"]), "bf16")  # noqa: E731
    q, k, v = make(), make(), make()
    if w["of"] == "forward":
        return {"torch": (lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True), 1)}
    for t in (q, k, v):
        t.requires_grad_(True)
    o = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    grad = make()
    return {"torch": (lambda: torch.autograd.grad(o, (q, k, v), grad, retain_graph=True), 1)}


def decode(w):
    # The nearest that torch has without a paged cache: the same keys and values side by side.
    shape = (w["batch"], 8, w["context"], SIZES["D"])
    k, v, q = half(shape, "bf16"), half(shape, "bf16"), half((w["batch"], 64, 1, SIZES["D"]), "bf16")
    return {"torch": (lambda: F.scaled_dot_product_attention(q, k, v, enable_gqa=True), 1)}


def sort(w):
    x = torch.randn(w["n"], device="cuda")
    return {"torch": ((lambda: torch.sort(x)) if w["of"] == "sort" else (lambda: torch.topk(x, 64)), 1)}


def quantized(w):
    x, weight = half((w["m"], 4096), "bf16"), half((14336, 4096), "bf16")
    return {"torch bf16": (lambda: F.linear(x, weight), 1)}


def floors():
    x = torch.randn(2**29, device="cuda")
    y = torch.empty_like(x)
    copy = 2 * 4 * 2**29 / time(lambda: y.copy_(x))[0] / 1e9
    rates = {}
    for d in ("bf16", "f32"):
        n = 8192 if d == "bf16" else 4096
        a, b = half((n, n), d), half((n, n), d)
        rates[d] = 2 * n**3 / time(lambda: a @ b)[0] / 1e9
    rates["f16"] = rates["bf16"]
    return {"copy": copy, "rates": rates, "gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "triton": triton.__version__}


rows = []
if "floors" in parts:
    found = floors()
    print(found)
    json.dump(found, open(f"{out}/floors.json", "w"))
for w in given["works"]:
    if w["part"] not in parts:
        continue
    try:
        for side, (once, per) in globals()[w["part"]](w).items():
            ms, least, most = (t / per for t in time(once))
            rows.append({"name": w["name"], "side": side, "ms": ms, "least": least, "most": most})
            print(w["name"], side, f"{ms:.4f} ms", flush=True)
    except Exception as e:  # a peer that cannot is a row that says so
        rows.append({"name": w["name"], "side": "torch", "error": str(e)[:300]})
        print(w["name"], "FAILED", str(e)[:300], flush=True)
    torch.cuda.empty_cache()
    json.dump(rows, open(f"{out}/peers-{'-'.join(parts)}.json", "w"))
