// The kernels behind pooling: the largest element or the mean of windows over up to three dimensions of
// `[planes, depth, height, width]`. The operators stand in `pool.ts`.

import { constexpr, i32, ptr } from "../compiler/lang/index.js";
import { helper } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import { empty, isFloatDType, type Tensor } from "../tensor/index.js";
import { computeDtype, rowMajor } from "./rows.js";

type Three = readonly [number, number, number];

/** How windows lie: output `o` of a dimension covers `o * stride - padding + t * dilation`, or a share of the input. */
export interface Windows {
  readonly input: Three;
  readonly output: Three;
  readonly size: Three;
  readonly stride: Three;
  readonly padding: Three;
  readonly dilation: Three;
  /** Output `o` covers the input from `floor(o * n / outputs)` to `ceil((o + 1) * n / outputs)`. */
  readonly adaptive: boolean;
}

/** The first place of a window. */
const begin = helper(
  (tl, o: number, n: number, out: number, stride: number, padding: number, adaptive: boolean) =>
    adaptive ? tl.floorDiv(o * n, out) : o * stride - padding,
);
/** One behind the last place of a window without dilation; `size` at most. */
const finish = helper(
  (
    tl,
    o: number,
    n: number,
    out: number,
    stride: number,
    padding: number,
    size: number,
    adaptive: boolean,
  ) => (adaptive ? tl.floorDiv((o + 1) * n + out - 1, out) : o * stride - padding + size),
);

const maxWindows = kernel(
  // biome-ignore format: one line per group
  { x: ptr, y: ptr, at: ptr, total: i32, d: i32, h: i32, w: i32, od: i32, oh: i32, ow: i32, kd: i32, kh: i32, kw: i32,
    sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32, dd: i32, dh: i32, dw: i32,
    BLOCK: constexpr, ADAPTIVE: constexpr.bool, T: constexpr.dtype, begin, finish },
  (
    {
      x,
      y,
      at,
      total,
      d,
      h,
      w,
      od,
      oh,
      ow,
      kd,
      kh,
      kw,
      sd,
      sh,
      sw,
      pd,
      ph,
      pw,
      dd,
      dh,
      dw,
      BLOCK,
      ADAPTIVE,
      T,
      begin,
      finish,
    },
    tl,
  ) => {
    const i = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    const inside = i < total;
    const c = i % ow;
    const b = tl.floorDiv(i, ow) % oh;
    const a = tl.floorDiv(i, ow * oh) % od;
    const plane = tl.floorDiv(i, ow * oh * od);
    const [fd, fh, fw] = [
      begin(a, d, od, sd, pd, ADAPTIVE),
      begin(b, h, oh, sh, ph, ADAPTIVE),
      begin(c, w, ow, sw, pw, ADAPTIVE),
    ];
    const [ed, eh, ew] = [
      finish(a, d, od, sd, pd, kd * dd, ADAPTIVE),
      finish(b, h, oh, sh, ph, kh * dh, ADAPTIVE),
      finish(c, w, ow, sw, pw, kw * dw, ADAPTIVE),
    ];
    let best = tl.zeros([BLOCK], T);
    let place = tl.full([BLOCK], -1, tl.i32);
    for (let p = 0; p < kd; p += 1)
      for (let q = 0; q < kh; q += 1)
        for (let r = 0; r < kw; r += 1) {
          const [id, ih, iw] = [fd + p * dd, fh + q * dh, fw + r * dw];
          const known =
            inside &&
            id >= 0 &&
            id < d &&
            id < ed &&
            ih >= 0 &&
            ih < h &&
            ih < eh &&
            iw >= 0 &&
            iw < w &&
            iw < ew;
          const flat = (id * h + ih) * w + iw;
          const v = tl.cast(tl.load(x + (plane * (d * h * w) + flat), known, 0), T);
          const taken = known && (place < 0 || v > best || tl.isnan(v));
          best = tl.where(taken, v, best);
          place = tl.where(taken, flat, place);
        }
    tl.store(y + i, best, inside);
    tl.store(at + i, tl.cast(place, tl.i64), inside);
  },
  "max_pool",
);

const meanWindows = kernel(
  // biome-ignore format: one line per group
  { x: ptr, y: ptr, total: i32, d: i32, h: i32, w: i32, od: i32, oh: i32, ow: i32, kd: i32, kh: i32, kw: i32,
    sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32, divisor: i32,
    BLOCK: constexpr, ADAPTIVE: constexpr.bool, PADDED: constexpr.bool, T: constexpr.dtype, begin, finish },
  (
    {
      x,
      y,
      total,
      d,
      h,
      w,
      od,
      oh,
      ow,
      kd,
      kh,
      kw,
      sd,
      sh,
      sw,
      pd,
      ph,
      pw,
      divisor,
      BLOCK,
      ADAPTIVE,
      PADDED,
      T,
      begin,
      finish,
    },
    tl,
  ) => {
    const i = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    const inside = i < total;
    const c = i % ow;
    const b = tl.floorDiv(i, ow) % oh;
    const a = tl.floorDiv(i, ow * oh) % od;
    const plane = tl.floorDiv(i, ow * oh * od);
    const [fd, fh, fw] = [
      begin(a, d, od, sd, pd, ADAPTIVE),
      begin(b, h, oh, sh, ph, ADAPTIVE),
      begin(c, w, ow, sw, pw, ADAPTIVE),
    ];
    const [ed, eh, ew] = [
      finish(a, d, od, sd, pd, kd, ADAPTIVE),
      finish(b, h, oh, sh, ph, kh, ADAPTIVE),
      finish(c, w, ow, sw, pw, kw, ADAPTIVE),
    ];
    let sum = tl.zeros([BLOCK], T);
    for (let p = 0; p < kd; p += 1)
      for (let q = 0; q < kh; q += 1)
        for (let r = 0; r < kw; r += 1) {
          const [id, ih, iw] = [fd + p, fh + q, fw + r];
          const known =
            inside &&
            id >= 0 &&
            id < d &&
            id < ed &&
            ih >= 0 &&
            ih < h &&
            ih < eh &&
            iw >= 0 &&
            iw < w &&
            iw < ew;
          sum += tl.cast(tl.load(x + (plane * (d * h * w) + (id * h + ih) * w + iw), known, 0), T);
        }
    // With the padding counted, windows end at the padding's end; else at the input's.
    const [ld, lh, lw] = [PADDED ? d + pd : d, PADDED ? h + ph : h, PADDED ? w + pw : w];
    const nd = tl.minimum(ed, ld) - (PADDED ? fd : tl.maximum(fd, 0));
    const nh = tl.minimum(eh, lh) - (PADDED ? fh : tl.maximum(fh, 0));
    const nw = tl.minimum(ew, lw) - (PADDED ? fw : tl.maximum(fw, 0));
    const n = divisor === 0 ? nd * nh * nw : divisor + 0 * nd;
    const by = tl.cast(n, T);
    const mean = T === "f32" || T === "f64" ? sum / by : tl.floorDiv(sum - (sum % by), by);
    tl.store(y + i, mean, inside);
  },
  "avg_pool",
);

const meanWindowsBack = kernel(
  // biome-ignore format: one line per group
  { g: ptr, dx: ptr, total: i32, d: i32, h: i32, w: i32, od: i32, oh: i32, ow: i32, kd: i32, kh: i32, kw: i32,
    sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32, td: i32, th: i32, tw: i32, divisor: i32,
    BLOCK: constexpr, ADAPTIVE: constexpr.bool, PADDED: constexpr.bool, T: constexpr.dtype, begin, finish },
  (
    {
      g,
      dx,
      total,
      d,
      h,
      w,
      od,
      oh,
      ow,
      kd,
      kh,
      kw,
      sd,
      sh,
      sw,
      pd,
      ph,
      pw,
      td,
      th,
      tw,
      divisor,
      BLOCK,
      ADAPTIVE,
      PADDED,
      T,
      begin,
      finish,
    },
    tl,
  ) => {
    const i = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    const inside = i < total;
    const iw = i % w;
    const ih = tl.floorDiv(i, w) % h;
    const id = tl.floorDiv(i, w * h) % d;
    const plane = tl.floorDiv(i, w * h * d);
    // The first output whose window may reach the place.
    const a0 = ADAPTIVE ? tl.floorDiv(id * od, d) : tl.floorDiv(id + pd - kd, sd) + 1;
    const b0 = ADAPTIVE ? tl.floorDiv(ih * oh, h) : tl.floorDiv(ih + ph - kh, sh) + 1;
    const c0 = ADAPTIVE ? tl.floorDiv(iw * ow, w) : tl.floorDiv(iw + pw - kw, sw) + 1;
    let sum = tl.zeros([BLOCK], T);
    for (let p = 0; p < td; p += 1)
      for (let q = 0; q < th; q += 1)
        for (let r = 0; r < tw; r += 1) {
          const [a, b, c] = [a0 + p, b0 + q, c0 + r];
          const [fd, fh, fw] = [
            begin(a, d, od, sd, pd, ADAPTIVE),
            begin(b, h, oh, sh, ph, ADAPTIVE),
            begin(c, w, ow, sw, pw, ADAPTIVE),
          ];
          const [ed, eh, ew] = [
            finish(a, d, od, sd, pd, kd, ADAPTIVE),
            finish(b, h, oh, sh, ph, kh, ADAPTIVE),
            finish(c, w, ow, sw, pw, kw, ADAPTIVE),
          ];
          const known =
            inside &&
            a >= 0 &&
            a < od &&
            fd <= id &&
            id < ed &&
            b >= 0 &&
            b < oh &&
            fh <= ih &&
            ih < eh &&
            c >= 0 &&
            c < ow &&
            fw <= iw &&
            iw < ew;
          const [ld, lh, lw] = [PADDED ? d + pd : d, PADDED ? h + ph : h, PADDED ? w + pw : w];
          const nd = tl.minimum(ed, ld) - (PADDED ? fd : tl.maximum(fd, 0));
          const nh = tl.minimum(eh, lh) - (PADDED ? fh : tl.maximum(fh, 0));
          const nw = tl.minimum(ew, lw) - (PADDED ? fw : tl.maximum(fw, 0));
          const n = divisor === 0 ? nd * nh * nw : divisor + 0 * nd;
          const v = tl.cast(tl.load(g + (((plane * od + a) * oh + b) * ow + c), known, 0), T);
          sum += tl.where(known, v / tl.cast(tl.where(known, n, 1), T), 0);
        }
    tl.store(dx + i, sum, inside);
  },
  "avg_pool_backward",
);

const BLOCK = 256;
const names = (keys: string, values: Three): Record<string, number> =>
  Object.fromEntries(keys.split(" ").map((k, i) => [k, values[i]!]));

function shared(g: Windows): Record<string, number> {
  return {
    ...names("d h w", g.input),
    ...names("od oh ow", g.output),
    ...names("kd kh kw", g.size),
    ...names("sd sh sw", g.stride),
    ...names("pd ph pw", g.padding),
  };
}

const product = (list: readonly number[]): number => list.reduce((n, m) => n * m, 1);
const sumDtype = (t: Tensor) =>
  isFloatDType(t.dtype) ? computeDtype(t.dtype) : t.dtype === "i64" ? "i64" : "i32";

/** The largest elements of `x [planes, d, h, w]` and their places in the plane (i64); NaN is the largest. */
export function launchMax(x: Tensor, g: Windows): [Tensor, Tensor] {
  const shape = [x.shape[0]!, ...g.output];
  const y = empty(shape, { dtype: x.dtype, device: x.device });
  const at = empty(shape, { dtype: "i64", device: x.device });
  if (y.numel > 0)
    maxWindows.launch([Math.ceil(y.numel / BLOCK)], {
      x: rowMajor(x), y, at, total: y.numel, ...shared(g), ...names("dd dh dw", g.dilation),
      BLOCK, ADAPTIVE: g.adaptive, T: sumDtype(x),
    } as never); // biome-ignore format: one line per group
  return [y, at];
}

/** The means; `divisor` replaces the number of elements, unless it is 0; `padded` counts the padding. */
export function launchMean(x: Tensor, g: Windows, divisor: number, padded: boolean): Tensor {
  const y = empty([x.shape[0]!, ...g.output], { dtype: x.dtype, device: x.device });
  if (y.numel > 0)
    meanWindows.launch([Math.ceil(y.numel / BLOCK)], {
      x: rowMajor(x), y, total: y.numel, ...shared(g), divisor, BLOCK, ADAPTIVE: g.adaptive, PADDED: padded, T: sumDtype(x),
    } as never); // biome-ignore format: one line per group
  return y;
}

/** The gradient of {@link launchMean}'s input: `[planes, d, h, w]`. */
export function launchMeanBack(grad: Tensor, g: Windows, divisor: number, padded: boolean): Tensor {
  const dx = empty([grad.shape[0]!, ...g.input], { dtype: grad.dtype, device: grad.device });
  const reach = (d: 0 | 1 | 2): number =>
    g.adaptive ? Math.ceil(g.output[d] / g.input[d]) + 2 : Math.ceil(g.size[d] / g.stride[d]) + 1;
  if (dx.numel === 0) return dx;
  if (product(g.output) === 0) return grad.sum().mul(0).expand(dx.shape);
  meanWindowsBack.launch([Math.ceil(dx.numel / BLOCK)], {
    g: rowMajor(grad), dx, total: dx.numel, ...shared(g), ...names("td th tw", [reach(0), reach(1), reach(2)]),
    divisor, BLOCK, ADAPTIVE: g.adaptive, PADDED: padded, T: computeDtype(grad.dtype),
  } as never); // biome-ignore format: one line per group
  return dx;
}
