# Coefficients of the polynomials in src/compiler/passes/math/coefficients.ts: a Remez exchange in 60 digits.
# On intervals that begin at 0 each coefficient in turn is rounded to the dtype and the rest fitted again.
# Needs Python 3 with mpmath: python3 scripts/minimax.py > src/compiler/passes/math/coefficients.ts
import struct, sys
from mpmath import mp, mpf, matrix, lu_solve, exp, expm1, log, log1p, sin, cos, tanh, erf, erfc, sqrt, pi, atanh, cos as mcos, nstr
mp.dps = 60

def rounded(x, dtype):
    d = float(x)
    return mpf(struct.unpack("f", struct.pack("f", d))[0]) if dtype == "f32" else mpf(d)

def fit(f, w, a, b, powers):
    n = len(powers)
    xs = [(a + b) / 2 - (b - a) / 2 * mcos(pi * (2 * i + 1) / (2 * (n + 1))) for i in range(n + 1)]
    best = None
    for _ in range(12):
        A = matrix(n + 1, n + 1); y = matrix(n + 1, 1)
        for i, x in enumerate(xs):
            for j, p in enumerate(powers): A[i, j] = x ** p * w(x)
            A[i, n] = (-1) ** i
            y[i] = f(x) * w(x)
        s = lu_solve(A, y); c = [s[j] for j in range(n)]
        err = lambda x: (sum(cj * x ** p for cj, p in zip(c, powers)) - f(x)) * w(x)
        M = max(150, 16 * n)
        grid = [(a + b) / 2 - (b - a) / 2 * mcos(pi * i / M) for i in range(M + 1)]
        vals = [err(x) for x in grid]
        runs = []; cur = [0]
        for i in range(1, M + 1):
            if (vals[i] > 0) == (vals[cur[-1]] > 0): cur.append(i)
            else: runs.append(cur); cur = [i]
        runs.append(cur)
        ext = [max(r, key=lambda i: abs(vals[i])) for r in runs]
        worst = max(abs(v) for v in vals)
        if best is None or worst < best[0]: best = (worst, c)
        while len(ext) > n + 1: ext.pop(0 if abs(vals[ext[0]]) < abs(vals[ext[-1]]) else -1)
        if len(ext) < n + 1: break
        if worst < 1.02 * min(abs(vals[i]) for i in ext): break
        xs = [grid[i] for i in ext]
    return best

def minimax(f, w, a, b, degree, dtype):
    a, b = mpf(a), mpf(b)
    fixed = []
    if a < 0:  # refitting needs 0 at the interval's end
        fixed = [rounded(c, dtype) for c in fit(f, w, a, b, list(range(degree + 1)))[1]]
        degree = -1
    for k in range(degree + 1):
        rest = lambda x: f(x) - sum(c * x ** i for i, c in enumerate(fixed))
        worst, c = fit(rest, w, a, b, list(range(k, degree + 1)))
        fixed.append(rounded(c[0], dtype))
    grid = [a + (b - a) * i / 997 for i in range(998)]
    worst = max(abs((sum(c * x ** i for i, c in enumerate(fixed)) - f(x)) * w(x)) for x in grid if x != 0)
    return fixed, worst

TINY = mpf(10) ** -25
def off(g):  # g is 0/0 at 0
    return lambda x: g(x if abs(x) > TINY else TINY)
LN2 = log(mpf(2)); H = LN2 / 2
out = []
def emit(name, doc, f, w, a, b, degree, dtype):
    c, e = minimax(f, w, a, b, degree, dtype)
    bits = -log(e) / LN2
    print(name, dtype, nstr(bits, 4), file=sys.stderr)
    out.append((name, dtype, doc, nstr(a, 6), nstr(b, 6), nstr(bits, 4), [repr(float(x)) for x in c]))

S = sqrt(mpf(2))
expq = off(lambda r: (expm1(r) - r) / r ** 2)
exp2q = off(lambda r: (expm1(r * LN2) - r * LN2) / r ** 2)
def both(name, doc, f, w, a, b, d32, d64):
    if d32 is not None: emit(name, doc, f, w, a, b, d32, "f32")
    if d64 is not None: emit(name, doc, f, w, a, b, d64, "f64")
both("EXP", "exp(r) = 1 + r + r^2 * p(r)", expq, lambda r: r ** 2 / exp(r), -LN2 * 1.001, LN2 * 1.001, 5, 12)
both("EXP2", "2^r = 1 + r * ln 2 + r^2 * p(r)", exp2q, lambda r: r ** 2 / exp(r * LN2), -1, mpf("1.0007"), 5, 12)
emit("EXP2_NEAR", "2^r = 1 + r * p(r)", off(lambda r: expm1(r * LN2) / r), lambda r: r / exp(r * LN2), mpf("-0.5"), mpf("0.5"), 5, "f32")
emit("EXP2_FUSED", "2^r = 1 + r * p(r)", off(lambda r: expm1(r * LN2) / r), lambda r: abs(r) / exp(r * LN2), mpf("-0.5"), mpf("0.5"), 4, "f32")
both("EXPM1", "expm1(r) = r + r^2 * p(r)", expq, off(lambda r: r ** 2 / expm1(r)), -H * 1.01, H * 1.01, 5, 10)
emit("LOG", "log1p(f) = f - f^2 / 2 + f^3 * p(f)", off(lambda f: (log1p(f) - f + f * f / 2) / f ** 3), off(lambda f: f ** 3 / log1p(f)), 1 / S - 1, S - 1, 7, "f32")
zmax = ((S - 1) / (S + 1)) ** 2 * mpf("1.001")
at = off(lambda z: (2 * atanh(sqrt(z)) / sqrt(z) - 2) / z)
emit("LOG", "log((1 + s) / (1 - s)) = 2 * s + s * z * p(z), z = s^2", at, lambda z: z / 2, 0, zmax, 6, "f64")
# the tail of the series after z / 3, for pow
emit("LOG_TAIL", "atanh(s) / s = 1 + z * (1 / 3 + z * p(z)), z = s^2", lambda z: (lambda q: (atanh(sqrt(q)) / sqrt(q) - 1 - q / 3) / q ** 2)(z if z > mpf(10) ** -12 else mpf(10) ** -12), lambda z: z ** 2, 0, zmax, 8, "f64")
emit("LOG2_SHORT", "log2((1 + s) / (1 - s)) = s * p(z), z = s^2; for f32", off(lambda z: 2 * atanh(sqrt(z)) / sqrt(z) / LN2), lambda z: mpf(1) / 2, 0, zmax, 4, "f64")
emit("EXP2_SHORT", "2^r = 1 + r * ln 2 + r^2 * p(r); for f32", exp2q, lambda r: r ** 2, mpf("-0.501"), mpf("0.5013"), 5, "f64")
Q = (pi / 4 * mpf("1.0001")) ** 2
sn = off(lambda z: (sin(sqrt(z)) / sqrt(z) - 1) / z); sw = off(lambda z: z * sqrt(z) / sin(sqrt(z)))
cn = lambda z: (lambda q: (cos(sqrt(q)) - 1 + q / 2) / q ** 2)(z if z > mpf(10) ** -12 else mpf(10) ** -12); cw = lambda z: z ** 2 / cos(sqrt(z))
emit("SIN", "sin(r) = r + r * z * p(z), z = r^2", sn, sw, 0, Q, 5, "f64")
emit("COS", "cos(r) = 1 - z / 2 + z^2 * p(z), z = r^2", cn, cw, 0, Q, 5, "f64")
emit("SIN_SHORT", "sin(r) = r + r * z * p(z), z = r^2; for f32", sn, sw, 0, Q, 3, "f64")
emit("COS_SHORT", "cos(r) = 1 - z / 2 + z^2 * p(z), z = r^2; for f32", cn, cw, 0, Q, 2, "f64")
emit("TANH", "tanh(x) = x + x * z * p(z), z = x^2", off(lambda z: (tanh(sqrt(z)) / sqrt(z) - 1) / z), off(lambda z: z * sqrt(z) / tanh(sqrt(z))), 0, mpf("0.625") ** 2, 4, "f32")
ew = off(lambda z: sqrt(z) / erf(sqrt(z)))
both("ERF", "erf(x) = x + x * p(x^2)", off(lambda z: erf(sqrt(z)) / sqrt(z) - 1), ew, 0, 1, 6, 13)
emit("ERFC_LOG2", "log2(erfc(x)) = p(x)", lambda x: log(erfc(x)) / LN2, lambda x: erfc(x) * LN2 / erf(x), 1, 4, 6, "f32")
C = mpf("2.5")
emit("ERFCX", "erfc(x) = exp(-x^2) * p((x - 2.5) / (x + 2.5))", lambda t: (lambda x: erfc(x) * exp(x * x))(C * (1 + t) / (1 - t)), lambda t: (lambda x: exp(-x * x) / erf(x))(C * (1 + t) / (1 - t)), (1 - C) / (1 + C), (6 - C) / (6 + C), 15, "f64")

print("// Coefficients of polynomials, lowest degree first: written by scripts/minimax.py (Remez exchange). Do not edit.")
print("// biome-ignore-all lint/suspicious/noApproximativeNumericConstant: coefficients that happen to be near a constant.")
print("\nexport const COEFFICIENTS = {")
for dtype in ("f32", "f64"):
    print(f"  {dtype}: {{")
    for name, dt, doc, a, b, bits, c in out:
        if dt != dtype: continue
        print(f"    /** `{doc}` on [{a}, {b}], to 2^-{bits} of the result. */")
        print(f"    {name}: [{', '.join(c)}],")
    print("  },")
print("} as const;")
