// Functions of mathematics beyond the elementary ones, in the kernel language: the same on every chip. Coefficients are
// Chebyshev expansions, computed with 40 digits; the bounds are of f64, and in f32 a few roundings.

import type { Tl } from "../tl/index.js";

/** The sum of `coefficients[n - 1 - k] * T_k(t)` for t in [-1, 1], by Clenshaw's recurrence: the last one belongs to T_0. */
export function chebyshev(_tl: Tl, t: number, coefficients: readonly number[]): number {
  let b0 = 0 * t;
  let b1 = 0 * t;
  let b2 = 0 * t;
  for (const c of coefficients) {
    b2 = b1;
    b1 = b0;
    b0 = 2 * t * b1 - b2 + c;
  }
  return b0 - t * b1;
}

/** Half the angle twice (at 1 to the reciprocal, then by the tangent's formula), then a polynomial. Error below 1e-16 + 2 ULP. */
export function atan(tl: Tl, x: number): number {
  const a = tl.abs(x);
  const turned = a > 1;
  const v = tl.where(turned, 1 / a, a);
  const u = v / (1 + tl.sqrt(1 + v * v));
  const s = u * u;
  let p = 0 * s;
  if (tl.dtypeOf(x) === "f64") {
    for (const c of [
      -0.017829184144146384, 0.03798774160996723, -0.05036020352571326, 0.05847090096609891,
      -0.06662982166188505, 0.07692048125814824, -0.09090896974391927, 0.11111110751018727,
      -0.14285714279381564, 0.19999999999942342, -0.33333333333333126, 1.0,
    ])
      p = p * s + c;
  } else {
    for (const c of [-0.060332417, 0.105728145, -0.142399829, 0.199982108, -0.333333075, 0.999999999])
      p = p * s + c;
  }
  const angle = 2 * u * p;
  const full = tl.where(turned, 1.5707963267948966 - angle, angle);
  return tl.where(x === 0, x, tl.where(x < 0, -full, full));
}

/** The angle of the point (x, y), from -pi to pi. */
export function atan2(tl: Tl, y: number, x: number): number {
  const ax = tl.abs(x);
  const ay = tl.abs(y);
  const big = tl.maximum(ax, ay, { propagateNan: true });
  const small = tl.minimum(ax, ay, { propagateNan: true });
  const ratio = tl.where(big === 0, 0 * big, tl.where(small === Infinity, 1, small / big));
  const first = tl.atan(ratio);
  const steep = tl.where(ay > ax, 1.5707963267948966 - first, first);
  const wide = tl.where(tl.signbit(x), 2 * 1.5707963267948966 - steep, steep);
  return tl.where(tl.signbit(y), -wide, wide);
}

/** Whether the sign bit of a float is set: also of -0 and NaN. */
export function signbit(tl: Tl, x: number): boolean {
  return tl.bitsOf(tl.dtypeOf(x)) === 64
    ? tl.bitcast(x, tl.i64) < 0
    : tl.bitcast(tl.cast(x, tl.f32), tl.i32) < 0;
}

/** exp(x * x) * erfc(x) of an x that is not negative: Shepherd and Laframboise's form (1981), error below 2e-16. */
export function erfcxPositive(tl: Tl, x: number): number {
  const t = tl.where(x === Infinity, 1, (x - 3.75) / (x + 3.75));
  const c = tl.chebyshev(
    t,
    [
      5.068148904796111e-17, 7.418235256624044e-17, -1.2507950530688648e-15, -1.864562880419313e-15,
      3.3478119482868056e-14, 3.25254814814874e-14, -9.65469674843344e-13, 1.9455868545777347e-13,
      2.86879501093067e-11, -6.318088340886684e-11, -7.754400208831351e-10, 4.521959811218287e-9,
      1.076499946567091e-8, -2.1886401049234397e-7, 7.74038306619849e-7, 4.13902798607301e-6,
      -6.916973302501207e-5, 0.0004907758365258086, -0.002413163540417608, 0.009074997670705265,
      -0.026658668435305753, 0.05920993999819189, -0.08424913336651792, -0.004590054580646478,
      1.1775789345674017,
    ],
  );
  return c / (1 + 2 * x);
}

/** 1 - erf(x), exact also where it is small. */
export function erfc(tl: Tl, x: number): number {
  const a = tl.abs(x);
  const tail = tl.erfcxPositive(a) * tl.exp(-a * a);
  return tl.where(a < 0.5, 1 - tl.erf(x), tl.where(x < 0, 2 - tail, tail));
}

/** exp(x * x) * erfc(x). */
export function erfcx(tl: Tl, x: number): number {
  const y = tl.erfcxPositive(tl.abs(x));
  return tl.where(x < 0, 2 * tl.exp(x * x) - y, y);
}

/** The number whose erf is x, of x in [-1, 1]: an expansion and Newton's steps. */
export function erfinv(tl: Tl, x: number): number {
  const a = tl.abs(x);
  const y = tl.erfcinv(1 - a);
  // For small x from erf itself, since 1 - a has lost digits.
  const w = -tl.log((1 - a) * (1 + a));
  let z =
    a *
    tl.chebyshev(
      w * 0.32 - 1,
      [
        -5.244776785530681e-9, 1.4907998843194937e-9, 1.159027723297735e-7, -5.106997335480761e-7,
        -6.111918603258194e-7, 1.4752887929042498e-5, -4.9292864636180004e-5, -0.00014158343386374536,
        0.0019488711426908524, -0.0065808875424494635, -0.021235032142504585, 0.7315674456742257,
        1.6304220989459326,
      ],
    );
  z -= (tl.erf(z) - a) / (1.1283791670955126 * tl.exp(-z * z));
  if (tl.dtypeOf(x) === "f64") z -= (tl.erf(z) - a) / (1.1283791670955126 * tl.exp(-z * z));
  const result = tl.where(a < 0.5, z, y);
  return tl.where(x < 0, -result, result);
}

/** The number whose erfc is q, of q in [0, 2]. */
export function erfcinv(tl: Tl, q: number): number {
  const low = tl.where(q > 1, 2 - q, q);
  const w = -tl.log(low * (2 - low));
  const near =
    (1 - low) *
    tl.chebyshev(
      w * 0.32 - 1,
      [
        -5.244776785530681e-9, 1.4907998843194937e-9, 1.159027723297735e-7, -5.106997335480761e-7,
        -6.111918603258194e-7, 1.4752887929042498e-5, -4.9292864636180004e-5, -0.00014158343386374536,
        0.0019488711426908524, -0.0065808875424494635, -0.021235032142504585, 0.7315674456742257,
        1.6304220989459326,
      ],
    );
  const far = tl.chebyshev(
    (tl.sqrt(w) - 2.5) * 0.38095238095238093 - 1,
    [
      2.5791648403213882e-8, -7.593041994432395e-8, 1.6731811852639103e-7, -2.3169123702937255e-7,
      -1.8989538895985882e-7, 3.1013722772539165e-6, -1.6025490009740693e-5, 6.462960921701326e-5,
      -0.00022772125817265007, 0.0007047491549403595, -0.0017405736094824344, 0.001557859991796712,
      2.6477306549574604, 4.977105866852861,
    ],
  );
  let y = tl.where(w < 6.25, near, far);
  // Newton on erfc, by its scaled form: exp(-y * y) may be tiny.
  y += (tl.erfcx(y) - low * tl.exp(y * y)) * 0.886226925452758;
  if (tl.dtypeOf(q) === "f64") y += (tl.erfcx(y) - low * tl.exp(y * y)) * 0.886226925452758;
  const found = tl.where(low === 0, Infinity, y);
  return tl.where(q > 1, -found, found);
}

/** log|gamma(x)|: Stirling's series at 8 and above, the recurrence below, the reflection below 1/2. */
export function lgamma(tl: Tl, x: number): number {
  const reflected = x < 0.5;
  const y = tl.where(reflected, 1 - x, x);
  let product = tl.where(y < 8, y, 1);
  for (const k of tl.staticRange(1, 8)) product = tl.where(y < 8, product * (y + k), product);
  const z = tl.where(y < 8, y + 8, y);
  const r = 1 / z;
  const s = r * r;
  let series = -0.029550653594771242 * s + 0.00641025641025641;
  for (const c of [
    -0.0019175269175269176, 0.0008417508417508417, -0.0005952380952380953, 0.0007936507936507937,
    -0.002777777777777778, 0.08333333333333333,
  ])
    series = series * s + c;
  const log = (z - 0.5) * tl.log(z) - z + 0.9189385332046728 + series * r - tl.log(product);
  const phase = x - tl.round(x);
  const sine = tl.abs(tl.sin(2 * 1.5707963267948966 * phase));
  const below = 1.1447298858494002 - tl.log(sine) - log;
  return tl.where(tl.abs(x) === Infinity, Infinity, tl.where(reflected, below, log));
}

/** The derivative of log(gamma(x)). */
export function digamma(tl: Tl, x: number): number {
  const reflected = x < 0.5;
  const y = tl.where(reflected, 1 - x, x);
  let sum = 0 * y;
  for (const k of tl.staticRange(8)) sum += tl.where(y < 8, 1 / (y + k), 0);
  const z = tl.where(y < 8, y + 8, y);
  const r = 1 / z;
  const s = r * r;
  let series = -0.4432598039215686 * s + 0.08333333333333333;
  for (const c of [
    -0.021092796092796094, 0.007575757575757576, -0.004166666666666667, 0.003968253968253968,
    -0.008333333333333333, 0.08333333333333333,
  ])
    series = series * s + c;
  const psi = tl.log(z) - 0.5 * r - series * s - sum;
  const phase = x - tl.round(x);
  const below = psi - (2 * 1.5707963267948966) / tl.tan(2 * 1.5707963267948966 * phase);
  return tl.where(x < 0 && phase === 0, 0 / 0, tl.where(reflected, below, psi));
}

/**
 * Hurwitz' zeta function: the sum of (q + k)^-s over k = 0, 1, ..., for s above 1 (infinite at 1, NaN below). Of a
 * negative q with an s that is whole, down to -10; else NaN.
 */
export function zeta(tl: Tl, s: number, q: number): number {
  const whole = tl.floor(s) === s;
  let sum = 0 * q + 0 * s;
  for (const k of tl.range(0, 20)) {
    const term = q + tl.cast(k, tl.dtypeOf(q));
    sum += tl.pow(term, -s);
  }
  const a = q + 20;
  const r = 1 / (a * a);
  const last = tl.pow(a, -s);
  let factor = (s * last) / a;
  let tail = (last * a) / (s - 1) + 0.5 * last;
  let n = s;
  // Euler and Maclaurin's terms: B_2k / (2k)!.
  for (const c of [
    0.08333333333333333, -0.001388888888888889, 0.00003306878306878307, -8.267195767195768e-7,
    2.08767569878681e-8, -5.284190138687493e-10, 1.3382536530684679e-11, -3.3896802963225827e-13,
  ]) {
    tail += c * factor;
    factor = factor * (n + 1) * (n + 2) * r;
    n += 2;
  }
  const pole = q <= 0 && tl.floor(q) === q;
  const unknown = s < 1 || (q < 0 && (!whole || q < -10)) || tl.isnan(q) || tl.isnan(s);
  return tl.where(
    s === 1,
    Infinity,
    tl.where(s < 1, 0 / 0, tl.where(pole, Infinity, tl.where(unknown, 0 / 0, sum + tail))),
  );
}

/** exp(-|x|) times the modified Bessel function of the first kind, of order 0. */
export function i0e(tl: Tl, x: number): number {
  const a = tl.abs(x);
  const near = tl.chebyshev(
    tl.minimum(a, 8) / 4 - 1,
    [
      -4.4153416464793395e-18, 3.3307945188222384e-17, -2.431279846547955e-16, 1.715391285555133e-15,
      -1.1685332877993451e-14, 7.676185498604936e-14, -4.856446783111929e-13, 2.95505266312964e-12,
      -1.726826291441556e-11, 9.675809035373237e-11, -5.189795601635263e-10, 2.6598237246823866e-9,
      -1.300025009986248e-8, 6.046995022541919e-8, -2.670793853940612e-7, 1.1173875391201037e-6,
      -4.4167383584587505e-6, 1.6448448070728896e-5, -5.754195010082104e-5, 0.00018850288509584165,
      -0.0005763755745385824, 0.0016394756169413357, -0.004324309995050576, 0.010546460394594998,
      -0.02373741480589947, 0.04930528423967071, -0.09490109704804764, 0.17162090152220877,
      -0.3046826723431984, 0.33839763720473803,
    ],
  );
  const far = tl.chebyshev(
    16 / tl.maximum(a, 8) - 1,
    [
      -7.233180487874754e-18, -4.830504485944182e-18, 4.46562142029676e-17, 3.461222867697461e-17,
      -2.8276239805165836e-16, -3.425485619677219e-16, 1.7725601330565263e-15, 3.8116806693526224e-15,
      -9.554846698828307e-15, -4.150569347287222e-14, 1.54008621752141e-14, 3.8527783827421426e-13,
      7.180124451383666e-13, -1.7941785315068062e-12, -1.3215811840447713e-11, -3.1499165279632416e-11,
      1.1889147107846439e-11, 4.94060238822497e-10, 3.3962320257083865e-9, 2.266668990498178e-8,
      2.0489185894690638e-7, 2.8913705208347567e-6, 6.889758346916825e-5, 0.0033691164782556943,
      0.4022452055070544,
    ],
  );
  return tl.where(a <= 8, near, far / tl.sqrt(a)) + 0 * x;
}

/** exp(-|x|) times the modified Bessel function of the first kind, of order 1. */
export function i1e(tl: Tl, x: number): number {
  const a = tl.abs(x);
  const near = tl.chebyshev(
    tl.minimum(a, 8) / 4 - 1,
    [
      2.7779141127610464e-18, -2.111421214358166e-17, 1.5536319577362005e-16, -1.1055969477353862e-15,
      7.600684294735408e-15, -5.042185504727912e-14, 3.223793365945575e-13, -1.9839743977649436e-12,
      1.1736186298890901e-11, -6.663489723502027e-11, 3.625590281552117e-10, -1.8872497517228294e-9,
      9.381537386495773e-9, -4.445059128796328e-8, 2.0032947535521353e-7, -8.568720264695455e-7,
      3.4702513081376785e-6, -1.3273163656039436e-5, 4.781565107550054e-5, -0.00016176081582589674,
      0.0005122859561685758, -0.0015135724506312532, 0.004156422944312888, -0.010564084894626197,
      0.024726449030626516, -0.05294598120809499, 0.1026436586898471, -0.17641651835783406,
      0.12629359322181682,
    ],
  );
  const far = tl.chebyshev(
    16 / tl.maximum(a, 8) - 1,
    [
      7.517296310842105e-18, 4.414348323071708e-18, -4.6503053684893586e-17, -3.209525921993424e-17,
      2.96262899764595e-16, 3.3082023109209285e-16, -1.8803547755107825e-15, -3.8144030724370075e-15,
      1.0420276984128802e-14, 4.272440016711951e-14, -2.1015418427726643e-14, -4.0835511110921974e-13,
      -7.198551776245908e-13, 2.0356285441470896e-12, 1.4125807436613782e-11, 3.2526035830154884e-11,
      -1.8974958123505413e-11, -5.589743462196584e-10, -3.835380385964237e-9, -2.6314688468895196e-8,
      -2.512236237870209e-7, -3.882564808877691e-6, -0.00011058893876262371, -0.009761097491361469,
      0.38928811750914005,
    ],
  );
  return tl.where(a <= 8, near * x, tl.where(x < 0, -far, far) / tl.sqrt(a));
}

/** (e^x - e^-x) / 2, exact near 0 and as far as the result is finite. */
export function sinh(tl: Tl, x: number): number {
  const a = tl.abs(x);
  const t = tl.expm1(tl.minimum(a, 1));
  const h = tl.exp(0.5 * a);
  const y = tl.where(a < 1, 0.5 * (t + t / (t + 1)), 0.5 * h * h - 0.5 / (h * h));
  return tl.where(x < 0, -y, tl.where(x === 0, x, y));
}

/** (e^x + e^-x) / 2, as far as the result is finite. */
export function cosh(tl: Tl, x: number): number {
  const h = tl.exp(0.5 * tl.abs(x));
  return 0.5 * h * h + 0.5 / (h * h);
}
