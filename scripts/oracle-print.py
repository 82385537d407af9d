"""Writes test/fixtures/print.json: tensors and how torch prints them. Needs torch; run by hand when the cases change."""
import base64, json, math, torch

OURS = {torch.bool: "bool", torch.uint8: "u8", torch.int8: "i8", torch.int16: "i16", torch.int32: "i32", torch.int64: "i64",
        torch.float8_e4m3fn: "f8e4m3", torch.float8_e5m2: "f8e5m2", torch.float16: "f16", torch.bfloat16: "bf16",
        torch.float32: "f32", torch.float64: "f64"}
inf, nan = math.inf, math.nan
cases = []

def add(t, arange=None):
    case = {"dtype": OURS[t.dtype], "shape": list(t.shape), "text": repr(t)}
    if arange: case["arange"] = arange
    else: case["bytes"] = base64.b64encode(t.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()).decode()
    if t.requires_grad: case["requiresGrad"] = True
    cases.append(case)

floats = [
    [1.5, -2.25, 100, 0.125], [1, 2, 30], [0, 0, 0], [-0.0, 0.0, 1], [1e-6, 12345.678], [1, 2000], [1, 1000], [1e8], [1e8, 5e8], [2e8],
    [nan, inf, -inf, 1.5], [nan], [inf, -inf], [nan, 1], [inf, 0], [-inf, 0.5, 0], [1e-5], [1e-4], [9.9e-5, 1], [0.03125, 0.09375, -0.03125],
    [0.00005], [123456789.0], [99999.5], [1e30], [-1e30, 1], [3.4e38, 1e-38], [0.1, 0.2, 0.3], [1 / 3], [2.5e-3, 2.5], [-1e-7, inf, nan],
    [999.99994, 0.99999], [0.99995, 0.99985], [1.00005, 1.00015], [1e-40], [16384.5, 20], [1.03125e-5, 1.0],
]
for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2):
    for v in floats: add(torch.tensor(v, dtype=torch.float64).to(dtype))
for v in (2.5, 3.0, 0.0, -0.0, 1e-9, 1e9, nan, inf, -inf, 12345.678):
    add(torch.tensor(v)); add(torch.tensor(v, dtype=torch.float64)); add(torch.tensor(v).half())
for dtype in (torch.int64, torch.int32, torch.int16, torch.int8):
    add(torch.tensor([1, -20, 3], dtype=dtype)); add(torch.tensor([[0, 100], [-100, 7]], dtype=dtype)); add(torch.tensor(-5, dtype=dtype))
add(torch.tensor([0, 255], dtype=torch.uint8)); add(torch.tensor([2**62, -2**63])); add(torch.tensor(7))
for v in ([True, False], [True], [[False, True], [True, True]], [False] * 30): add(torch.tensor(v))
add(torch.tensor(True))
for dtype in OURS:
    for shape in ((0,), (0, 3), (2, 0), (1, 0, 2)): add(torch.zeros(shape).to(dtype))
for shape in ((1,), (1, 1), (2, 3), (2, 2, 2), (2, 1, 2, 2), (1, 1, 1, 1, 3), (3, 17), (40,), (2, 25), (2, 3, 4, 5)):
    n = math.prod(shape)
    for scale, start in ((1, 0), (0.37, -3), (1e-7, 0), (1234.5, -9000)):
        add((torch.arange(n, dtype=torch.float64) * scale + start).float().reshape(shape))
    add(torch.arange(n).reshape(shape))
add(torch.arange(1000), [0, 1]); add(torch.arange(1000.).reshape(10, 100), [0, 1])
for shape in ((1001,), (1000, 2), (2, 501), (7, 8, 19), (3, 4, 5, 20), (11, 1, 101), (5, 5, 5, 9), (1, 2000), (2000, 1), (6, 6, 40)):
    n = math.prod(shape)
    for scale, start in ((1, 0), (0.25, -3), (1e-3, 0)):
        add((torch.arange(n, dtype=torch.float64) * scale + start).float().reshape(shape), [start, scale])
    add(torch.arange(n, dtype=torch.int32).reshape(shape), [0, 1])
    add((torch.arange(n) % 2 == 1).reshape(shape), [0, 1])
x = torch.tensor([1.5, 2], requires_grad=True)
add(x)
add(torch.full((5,), 123.456, requires_grad=True)); add(torch.full((7,), 123.456, requires_grad=True)); add(torch.full((2, 6), 12345.6, requires_grad=True))
for n in range(1, 12): add(torch.arange(n).to(torch.float16) * 100 + 0.5); add(torch.arange(n).double() * 1e5)
json.dump({"torch": torch.__version__.split("+")[0], "cases": cases}, open("test/fixtures/print.json", "w"), separators=(",", ":"))
print(len(cases))
