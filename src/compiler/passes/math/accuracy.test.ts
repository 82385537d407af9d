import { describe, expect, it } from "vitest";
import {
  buffer,
  Builder,
  type DType,
  type Func,
  Func as FuncClass,
  parse,
  print,
  roundTo,
  tile,
  toBits,
  verify,
} from "../../ir/index.js";
import { expandMath } from "../expand-math.js";
import { evaluate } from "../testing/evaluate.js";

const LANES = 1024;

function kernel(opcode: string, dtype: DType, operands: number): Func {
  const func = new FuncClass("f", [
    { name: "out", type: buffer(dtype) },
    ...Array.from({ length: operands }, (_, i) => ({ name: `x${i}`, type: buffer(dtype) })),
  ]);
  const b = new Builder(func.body);
  const at = b.value("arange", [], { start: 0, end: LANES });
  const args = func.body.args.slice(1).map((x) => b.value("load", [x, at]));
  const r = b.value(opcode, args);
  expect(r.type).toEqual(tile(dtype, [LANES]));
  b.create("store", [func.body.args[0]!, at, r]);
  expandMath(func);
  verify(func);
  expect(print(parse(print(func)))).toBe(print(func));
  return func;
}

function run(func: Func, inputs: readonly number[][], fused: boolean): number[] {
  const out: number[] = [];
  for (let at = 0; at < inputs[0]!.length; at += LANES) {
    const parts = inputs.map((x) => {
      const part = x.slice(at, at + LANES);
      return part.concat(new Array<number>(LANES - part.length).fill(1));
    });
    const to = new Array<number>(LANES).fill(0);
    evaluate(func, [to, ...parts], { fused });
    out.push(...to);
  }
  return out.slice(0, inputs[0]!.length);
}

/** How many representable numbers apart; 0 for two NaNs. `exact` is better than the dtype for f32. */
function ulps(dtype: DType, got: number, exact: number): number {
  if (Number.isNaN(got) || Number.isNaN(exact))
    return Number.isNaN(got) === Number.isNaN(exact) ? 0 : Number.POSITIVE_INFINITY;
  if (dtype !== "f64" && Number.isFinite(got) && Math.abs(exact) < (dtype === "f32" ? 3.4e38 : 65504)) {
    // Measured against the unrounded value.
    const [bits, low] = dtype === "f32" ? [23, -126] : [10, -14];
    const e = Math.max(exact === 0 ? low : Math.floor(Math.log2(Math.abs(exact))), low);
    return Math.abs(got - exact) / 2 ** (e - bits);
  }
  const order = (x: number) => {
    const b = BigInt.asIntN(64, toBits("f64", x));
    return b < 0n ? -(b & 0x7fffffffffffffffn) : b;
  };
  const want = roundTo(dtype, exact) as number;
  if (dtype !== "f64") return got === want ? 0 : Number.POSITIVE_INFINITY;
  const d = order(got) - order(want);
  return Number(d < 0n ? -d : d);
}

let seed = 12345;
const random = () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed / 2 ** 32;
};
const uniform = (lo: number, hi: number, n: number) =>
  Array.from({ length: n }, () => lo + (hi - lo) * random());
/** Any sign and any exponent. */
const wild = (dtype: DType, n: number) =>
  Array.from({ length: n }, () => {
    const e =
      dtype === "f64"
        ? -1074 + 2098 * random()
        : dtype === "f32"
          ? -149 + 277 * random()
          : -24 + 40 * random();
    return (random() < 0.5 ? -1 : 1) * 2 ** e * (1 + random());
  });
const EDGES = [
  0, -0, 1, -1, 2, -2, 0.5, -0.5, 3, -3, Infinity, -Infinity, Number.NaN, 5e-324, -5e-324, 1.4e-45, -1.4e-45, 1e-40, -1e-40, 2 ** -126, 2 ** -1022,
  3.4028234663852886e38, -3.4028234663852886e38, 1.7976931348623157e308, 88.72283, 88.72284, -87.33655, -103.97, -104, 709.78, 709.79, -745.1, -745.2,
  127.99999, 128, -149, -149.5, -150, 1023.9, 1024, -1074, -1075, 0.34657, -0.34657, 0.34658, Math.SQRT1_2, Math.SQRT2, 0.99999994, 1.0000001,
  0.625, 0.62499, 9.01, 4, 3.99, 0.9999, 6, 0.55, Math.PI, Math.PI / 2, Math.PI / 4, -Math.PI / 4, 1e5, 99999.5, 13437.7, 1e-8, -1e-8, 1e-20,
]; // biome-ignore format: a table

const points = (dtype: DType, lo: number, hi: number) =>
  [
    ...EDGES,
    ...uniform(lo, hi, 3500),
    ...uniform(lo / 16, hi / 16, 1500),
    ...uniform(0.6, 1.6, 1500),
    ...wild(dtype, 1500),
  ].map((x) => roundTo(dtype, x) as number);

const worst = (
  dtype: DType,
  opcode: string,
  inputs: number[][],
  exact: (...x: number[]) => number,
  inRange: (...x: number[]) => boolean,
) => {
  const func = kernel(opcode, dtype, inputs.length);
  let max = { ulps: -1, x: [] as number[], got: 0, want: 0 };
  for (const fused of [false, true]) {
    const got = run(func, inputs, fused);
    got.forEach((g, i) => {
      const x = inputs.map((a) => a[i]!);
      if (!inRange(...x)) return;
      const want = exact(...x);
      const u = ulps(dtype, g, want);
      if (u > max.ulps) max = { ulps: u, x, got: g, want };
    });
  }
  if (process.env["SHOW_ULP"]) console.log(opcode, dtype, JSON.stringify(max));
  return max;
};

const always = () => true;
const upTo31 = (x: number) => !(Math.abs(x) > 2 ** 31) || !Number.isFinite(x);

/** erf by its Taylor series in fixed point with 300 bits. */
const erfCache = new Map<number, number>();
function erfExact(x: number): number {
  if (!(Math.abs(x) < 7) || x === 0) return Math.abs(x) >= 7 ? Math.sign(x) : x;
  if (Math.abs(x) < 1e-18) return x * (2 / Math.sqrt(Math.PI));
  let r = erfCache.get(x);
  if (r !== undefined) return r;
  const one = 1n << 300n;
  // Exact: the last bit of x is worth at least 2^-112.
  const fixed = BigInt(x * 2 ** 112) << 188n;
  const square = (fixed * fixed) / one;
  let power = fixed;
  let sum = fixed;
  for (let n = 1n; power !== 0n; n++) {
    power = -(power * square) / one / n;
    sum += power / (2n * n + 1n);
  }
  // 2 / sqrt(pi) to 40 digits.
  const scaled = (sum * 11283791670955125738961589031215451716881n) / 10n ** 40n;
  r = Number(scaled >> 180n) / 2 ** 120;
  erfCache.set(x, r);
  return r;
}

/** Opcode, range of most samples, bounds in f32 and f64. Math.* itself is off by up to an ULP in f64. */
const UNARY: [string, number, number, (x: number) => number, number, number, ((x: number) => boolean)?][] = [
  ["rsqrt", 0, 100, (x) => 1 / Math.sqrt(x), 1.5, 2],
  ["exp", -110, 95, Math.exp, 2, 2],
  ["exp2", -155, 135, (x) => 2 ** x, 2, 2],
  ["exp2Approx", -155, 135, (x) => 2 ** x, 2, 2, (x) => !(x < -126) && !(x >= 127.5 && x < 128)],
  ["expm1", -20, 95, Math.expm1, 3, 3],
  ["log", 0, 100, Math.log, 2, 2],
  ["log2", 0, 100, Math.log2, 3, 3],
  ["log10", 0, 100, Math.log10, 3, 3],
  ["log1p", -1, 100, Math.log1p, 3, 3],
  ["sin", -100, 100, Math.sin, 1, 2, upTo31],
  ["cos", -1e5, 1e5, Math.cos, 1, 2, upTo31],
  ["tan", -1e4, 1e4, Math.tan, 1, 3, upTo31],
  ["tanh", -10, 10, Math.tanh, 2, 4],
  ["erf", -5, 5, erfExact, 2, 4],
];

describe.each(UNARY)("%s", (opcode, lo, hi, exact, bound32, bound64, inRange = always) => {
  it(`is within ${bound32} ULP in f32`, () => {
    const max = worst("f32", opcode, [points("f32", lo, hi)], exact, inRange);
    expect(max.ulps, JSON.stringify(max)).toBeLessThanOrEqual(bound32);
  });
  it(`is within ${bound64} ULP in f64`, () => {
    const max = worst("f64", opcode, [points("f64", lo, hi)], exact, inRange);
    expect(max.ulps, JSON.stringify(max)).toBeLessThanOrEqual(bound64);
  });
  it("is computed in f32 for f16", () => {
    const max = worst("f16", opcode, [points("f16", lo, hi)], exact, inRange);
    expect(max.ulps, JSON.stringify(max)).toBeLessThanOrEqual(0.51);
  });
});

describe("exp2Approx of a tile less its maximum", () => {
  const text = (taken: string) => `func @f(%out: buffer<f32>, %x: buffer<f32>) {
    %at: i32[1024] = arange {start: 0, end: 1024}()
    %v: f32[1024] = load(%x, %at)
    %top: f32 = reduce {kind: "max", axis: 0, nan: "ignore"}(%v)
    %tops: f32[1024] = splat {shape: [1024]}(%top)
    %d: f32[1024] = sub(%v, ${taken})
    %y: f32[1024] = exp2Approx(%d)
    store(%out, %at, %y)
  }`;
  const opcodes = (func: Func) => func.body.ops.map((op) => op.opcode);
  it("is within 2 ULP without a bound above", () => {
    const func = parse(text("%tops"));
    expandMath(func);
    verify(func);
    expect(opcodes(func)).not.toContain("min");
    // The maximum of every part is 0, which is taken off exactly.
    const xs = points("f32", -155, 0).filter((x) => !(x > 0));
    for (let i = 0; i < xs.length; i += LANES) xs[i] = 0;
    for (const fused of [false, true]) {
      const padded = xs.slice(0, xs.length - (xs.length % LANES));
      run(func, [padded], fused).forEach((got, i) => {
        if (padded[i]! < -126) expect(got).toBeLessThanOrEqual(2 ** -126);
        else expect(ulps("f32", got, 2 ** padded[i]!), `${padded[i]} gives ${got}`).toBeLessThanOrEqual(2);
      });
    }
  });
  it("keeps the bound where the maximum is other elements'", () => {
    const func = parse(`func @f(%out: buffer<f32>, %x: buffer<f32>) {
    %at: i32[64] = arange {start: 0, end: 64}()
    %grid: i32[8,8] = reshape {shape: [8, 8]}(%at)
    %v: f32[8,8] = load(%x, %grid)
    %top: f32[8] = reduce {kind: "max", axis: 1, nan: "ignore"}(%v)
    %row: f32[1,8] = expandDims {axis: 0}(%top)
    %tops: f32[8,8] = broadcast {shape: [8, 8]}(%row)
    %d: f32[8,8] = sub(%v, %tops)
    %y: f32[8,8] = exp2Approx(%d)
    store(%out, %grid, %y)
  }`);
    expandMath(func);
    expect(opcodes(func)).toContain("min");
  });
  it("is nearer than the rounded product where there is a factor", () => {
    const func = parse(
      text("%tops")
        .replace("exp2Approx(%d)", "exp2Approx(%p)")
        .replace(
          "%y:",
          `%one: f32 = const {dtype: "f32", value: ${Math.fround(Math.LOG2E)}}()
    %c: f32[1024] = splat {shape: [1024]}(%one)
    %p: f32[1024] = mul(%d, %c)
    %y:`,
        ),
    );
    expandMath(func);
    verify(func);
    const xs = points("f32", -88, 0).filter((x) => !(x > 0));
    for (let i = 0; i < xs.length; i += LANES) xs[i] = 0;
    const padded = xs.slice(0, xs.length - (xs.length % LANES));
    run(func, [padded], true).forEach((got, i) => {
      const want = 2 ** (Math.fround(Math.LOG2E) * padded[i]!);
      if (want < 2 ** -126) expect(got).toBeLessThanOrEqual(2 ** -126);
      else expect(ulps("f32", got, want), `${padded[i]} gives ${got}`).toBeLessThanOrEqual(2.25);
    });
  });
  it("keeps the bound where the maximum is another tile's", () => {
    const func = parse(text("%v"));
    expandMath(func);
    expect(opcodes(func)).toContain("min");
  });
});

describe("signed zeros", () => {
  it.each(["expm1", "log1p", "sin", "tan", "tanh", "erf"])("%s keeps them", (opcode) => {
    for (const dtype of ["f32", "f64"] as const) {
      const got = run(kernel(opcode, dtype, 1), [[-0, 0]], false);
      expect(got).toEqual([-0, 0]);
    }
  });
});

describe("pow", () => {
  /** C's pow, which JavaScript's is but for 1 and -1. */
  const exact = (x: number, y: number) =>
    x === 1 || (x === -1 && !Number.isFinite(y) && !Number.isNaN(y)) ? 1 : x ** y;
  const pairs = (dtype: DType) => {
    const [xs, ys]: [number[], number[]] = [[], []];
    const put = (x: number, y: number) => {
      xs.push(roundTo(dtype, x) as number);
      ys.push(roundTo(dtype, y) as number);
    };
    const exponents = [
      0,
      -0,
      1,
      -1,
      2,
      3,
      -3,
      0.5,
      -0.5,
      1.5,
      Infinity,
      -Infinity,
      Number.NaN,
      1e30,
      -1e30,
      1e-30,
      2 ** 53,
      2 ** 53 - 1,
      2 ** 24 - 1,
      1e308,
    ];
    for (const x of EDGES) for (const y of exponents) put(x, y);
    for (let i = 0; i < 2000; i++) put(random() * 20, (random() - 0.5) * 60);
    for (let i = 0; i < 2000; i++)
      put(1 + (random() - 0.5) * 1e-3, (random() - 0.5) * (dtype === "f64" ? 1e6 : 1e5));
    for (let i = 0; i < 1000; i++) put((random() - 0.5) * 20, Math.round((random() - 0.5) * 40));
    const [a, b] = [wild(dtype, 800), wild(dtype, 800)];
    for (const [i, x] of a.entries()) {
      put(x, b[i]!);
      put(x, (random() - 0.5) * 4);
    }
    return [xs, ys];
  };
  it("is within 1 ULP in f32", () => {
    const max = worst("f32", "pow", pairs("f32"), exact, always);
    expect(max.ulps, JSON.stringify(max)).toBeLessThanOrEqual(1);
  });
  it("is within 2 ULP in f64", () => {
    const max = worst("f64", "pow", pairs("f64"), exact, always);
    expect(max.ulps, JSON.stringify(max)).toBeLessThanOrEqual(2);
  });
  it.each([0, 1, 2, 3, -1, 0.5])("has the special cases with the constant exponent %d", (y) => {
    for (const dtype of ["f32", "f64"] as const) {
      const text = `func @f(%out: buffer<${dtype}>, %x: buffer<${dtype}>) {
        %at: i32[1024] = arange {start: 0, end: 1024}()
        %v: ${dtype}[1024] = load(%x, %at)
        %y: ${dtype}[1024] = const {value: ${y}, dtype: "${dtype}", shape: [1024]}()
        %r: ${dtype}[1024] = pow(%v, %y)
        store(%out, %at, %r)
      }`;
      const func = parse(text);
      expandMath(func);
      const xs = points(dtype, -3, 3);
      run(func, [xs], false).forEach((g, i) => {
        const want = exact(xs[i]!, y);
        expect(ulps(dtype, g, want), `${xs[i]} gives ${g}, not ${want}`).toBeLessThanOrEqual(2);
        expect(Object.is(g, 0) && Object.is(want, -0)).toBe(false);
      });
    }
  });
});

it("f32 exp stays short: it is the hot loop of softmax", () => {
  const func = kernel("exp", "f32", 1);
  const real = func.body.ops.filter(
    (op) => !["const", "arange", "load", "store", "bitcast"].includes(op.opcode),
  );
  expect(real.length).toBeLessThanOrEqual(16);
});
