// The kernels behind pooling: the largest element or the mean of windows over up to three dimensions of
// `[planes, depth, height, width]`. The operators stand in `pool.ts`.

import { constexpr, i32, ptr } from "../compiler/lang/index.js";
import { helper } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import { empty, isFloatDType, type Tensor } from "../tensor/index.js";
import { computeDtype, nextPowerOf2, rowMajor } from "./rows.js";

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

// A program has ROWS lines of outputs by COLS places along the width. What is asked of a line (where its windows lie in depth and
// height) is computed once for all of its places.

const windows = kernel(
  // biome-ignore format: one line per group
  { x: ptr, y: ptr, at: ptr, rows: i32, d: i32, h: i32, w: i32, od: i32, oh: i32, ow: i32, kd: i32, kh: i32, kw: i32,
    sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32, dd: i32, dh: i32, dw: i32, divisor: i32,
    ROWS: constexpr, COLS: constexpr, MAX: constexpr.bool, ADAPTIVE: constexpr.bool, PADDED: constexpr.bool, T: constexpr.dtype, begin, finish },
  // biome-ignore format: one line per group
  ({ x, y, at, rows, d, h, w, od, oh, ow, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, divisor,
     ROWS, COLS, MAX, ADAPTIVE, PADDED, T, begin, finish }, tl) => {
    const row = tl.programId(0) * ROWS + tl.arange(0, ROWS);
    const c = tl.programId(1) * COLS + tl.arange(0, COLS);
    const b = row % oh;
    const a = tl.floorDiv(row, oh) % od;
    const plane = tl.floorDiv(row, oh * od);
    const inside = tl.col(row < rows) && tl.row(c < ow);
    const [fd, fh, fw] = [begin(a, d, od, sd, pd, ADAPTIVE), begin(b, h, oh, sh, ph, ADAPTIVE), begin(c, w, ow, sw, pw, ADAPTIVE)];
    const [ed, eh, ew] = [
      finish(a, d, od, sd, pd, kd * dd, ADAPTIVE),
      finish(b, h, oh, sh, ph, kh * dh, ADAPTIVE),
      finish(c, w, ow, sw, pw, kw * dw, ADAPTIVE),
    ];
    let value = tl.zeros([ROWS, COLS], T);
    let place = tl.full([ROWS, COLS], -1, tl.i32);
    for (let p = 0; p < kd; p += 1)
      for (let q = 0; q < kh; q += 1) {
        const [id, ih] = [fd + p * dd, fh + q * dh];
        const line = row < rows && id >= 0 && id < d && id < ed && ih >= 0 && ih < h && ih < eh;
        const from = tl.col((id * h + ih) * w);
        const planes = tl.col(tl.cast(plane, tl.i64) * (d * h * w));
        for (let r = 0; r < kw; r += 1) {
          const iw = fw + r * dw;
          const known = tl.col(line) && tl.row(c < ow && iw >= 0 && iw < w && iw < ew);
          const flat = from + tl.row(iw);
          const v = tl.cast(tl.load(x + planes + flat, known, 0), T);
          if (MAX) {
            const taken = known && (place < 0 || v > value || tl.isnan(v));
            value = tl.where(taken, v, value);
            place = tl.where(taken, flat, place);
          } else value += v;
        }
      }
    const to = tl.col(tl.cast(row, tl.i64) * ow) + tl.row(c);
    if (MAX) tl.store(at + to, tl.cast(place, tl.i64), inside);
    else {
      // With the padding counted, windows end at the padding's end; else at the input's.
      const [ld, lh, lw] = [PADDED ? d + pd : d, PADDED ? h + ph : h, PADDED ? w + pw : w];
      const nd = tl.minimum(ed, ld) - (PADDED ? fd : tl.maximum(fd, 0));
      const nh = tl.minimum(eh, lh) - (PADDED ? fh : tl.maximum(fh, 0));
      const nw = tl.minimum(ew, lw) - (PADDED ? fw : tl.maximum(fw, 0));
      const lines = tl.col(divisor === 0 ? nd * nh : divisor + 0 * nd);
      const by = tl.cast(lines * tl.row(divisor === 0 ? nw : 1 + 0 * nw), T);
      value = T === "f32" || T === "f64" ? value / by : tl.floorDiv(value - (value % by), by);
    }
    tl.store(y + to, value, inside);
  },
  "pool",
);

const meanWindowsBack = kernel(
  // biome-ignore format: one line per group
  { g: ptr, dx: ptr, rows: i32, d: i32, h: i32, w: i32, od: i32, oh: i32, ow: i32, kd: i32, kh: i32, kw: i32,
    sd: i32, sh: i32, sw: i32, pd: i32, ph: i32, pw: i32, td: i32, th: i32, tw: i32, divisor: i32,
    ROWS: constexpr, COLS: constexpr, ADAPTIVE: constexpr.bool, PADDED: constexpr.bool, T: constexpr.dtype, begin, finish },
  // biome-ignore format: one line per group
  ({ g, dx, rows, d, h, w, od, oh, ow, kd, kh, kw, sd, sh, sw, pd, ph, pw, td, th, tw, divisor,
     ROWS, COLS, ADAPTIVE, PADDED, T, begin, finish }, tl) => {
    const row = tl.programId(0) * ROWS + tl.arange(0, ROWS);
    const iw = tl.programId(1) * COLS + tl.arange(0, COLS);
    const ih = row % h;
    const id = tl.floorDiv(row, h) % d;
    const plane = tl.cast(tl.floorDiv(row, h * d), tl.i64);
    const [ld, lh, lw] = [PADDED ? d + pd : d, PADDED ? h + ph : h, PADDED ? w + pw : w];
    // The first output whose window may reach the place.
    const a0 = ADAPTIVE ? tl.floorDiv(id * od, d) : tl.floorDiv(id + pd - kd, sd) + 1;
    const b0 = ADAPTIVE ? tl.floorDiv(ih * oh, h) : tl.floorDiv(ih + ph - kh, sh) + 1;
    const c0 = ADAPTIVE ? tl.floorDiv(iw * ow, w) : tl.floorDiv(iw + pw - kw, sw) + 1;
    let sum = tl.zeros([ROWS, COLS], T);
    for (let p = 0; p < td; p += 1)
      for (let q = 0; q < th; q += 1) {
        const [a, b] = [a0 + p, b0 + q];
        const [fd, fh] = [begin(a, d, od, sd, pd, ADAPTIVE), begin(b, h, oh, sh, ph, ADAPTIVE)];
        const [ed, eh] = [finish(a, d, od, sd, pd, kd, ADAPTIVE), finish(b, h, oh, sh, ph, kh, ADAPTIVE)];
        const line =
          row < rows && a >= 0 && a < od && fd <= id && id < ed && b >= 0 && b < oh && fh <= ih && ih < eh;
        const nd = tl.minimum(ed, ld) - (PADDED ? fd : tl.maximum(fd, 0));
        const nh = tl.minimum(eh, lh) - (PADDED ? fh : tl.maximum(fh, 0));
        const lines = tl.col(divisor === 0 ? nd * nh : divisor + 0 * nd);
        const from = tl.col(((plane * od + a) * oh + b) * ow);
        for (let r = 0; r < tw; r += 1) {
          const c = c0 + r;
          const [fw, ew] = [begin(c, w, ow, sw, pw, ADAPTIVE), finish(c, w, ow, sw, pw, kw, ADAPTIVE)];
          const known = tl.col(line) && tl.row(iw < w && c >= 0 && c < ow && fw <= iw && iw < ew);
          const nw = tl.minimum(ew, lw) - (PADDED ? fw : tl.maximum(fw, 0));
          const n = lines * tl.row(divisor === 0 ? nw : 1 + 0 * nw);
          const v = tl.cast(tl.load(g + from + tl.row(c), known, 0), T);
          sum += tl.where(known, v / tl.cast(tl.where(known, n, 1), T), 0);
        }
      }
    tl.store(dx + tl.col(tl.cast(row, tl.i64) * w) + tl.row(iw), sum, tl.col(row < rows) && tl.row(iw < w));
  },
  "avg_pool_backward",
);

/** A program's share of lines of `width` places: the grid, and its constants. */
function cut(
  lines: number,
  width: number,
): { grid: [number, number]; rows: number; ROWS: number; COLS: number } {
  const COLS = Math.min(ELEMENTS, nextPowerOf2(width));
  const ROWS = ELEMENTS / COLS;
  return { grid: [Math.ceil(lines / ROWS), Math.ceil(width / COLS)], rows: lines, ROWS, COLS };
}
const ELEMENTS = 256;

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

function launchWindows(
  x: Tensor,
  g: Windows,
  more: { MAX: boolean; divisor: number; PADDED: boolean },
): [y: Tensor, at: Tensor] {
  const shape = [x.shape[0]!, ...g.output];
  const y = empty(shape, { dtype: x.dtype, device: x.device });
  const at = more.MAX ? empty(shape, { dtype: "i64", device: x.device }) : y;
  const { grid, ...share } = cut(product(shape.slice(0, -1)), g.output[2]);
  if (y.numel > 0)
    windows.launch(grid, {
      x: rowMajor(x), y, at, ...shared(g), ...names("dd dh dw", g.dilation), ...share, ...more,
      ADAPTIVE: g.adaptive, T: sumDtype(x),
    } as never); // biome-ignore format: one line per group
  return [y, at];
}

/** The largest elements of `x [planes, d, h, w]` and their places in the plane (i64); NaN is the largest. */
export const launchMax = (x: Tensor, g: Windows): [Tensor, Tensor] =>
  launchWindows(x, g, { MAX: true, divisor: 0, PADDED: false });

/** The means; `divisor` replaces the number of elements, unless it is 0; `padded` counts the padding. */
export const launchMean = (x: Tensor, g: Windows, divisor: number, padded: boolean): Tensor =>
  launchWindows(x, g, { MAX: false, divisor, PADDED: padded })[0];

/** The gradient of {@link launchMean}'s input: `[planes, d, h, w]`. */
export function launchMeanBack(grad: Tensor, g: Windows, divisor: number, padded: boolean): Tensor {
  const shape = [grad.shape[0]!, ...g.input];
  const dx = empty(shape, { dtype: grad.dtype, device: grad.device });
  const reach = (d: 0 | 1 | 2): number =>
    g.adaptive ? Math.ceil(g.output[d] / g.input[d]) + 2 : Math.ceil(g.size[d] / g.stride[d]) + 1;
  if (dx.numel === 0) return dx;
  if (product(g.output) === 0) return grad.sum().mul(0).expand(dx.shape);
  const { grid, ...share } = cut(product(shape.slice(0, -1)), g.input[2]);
  meanWindowsBack.launch(grid, {
    g: rowMajor(grad), dx, ...shared(g), ...names("td th tw", [reach(0), reach(1), reach(2)]), ...share,
    divisor, ADAPTIVE: g.adaptive, PADDED: padded, T: computeDtype(grad.dtype),
  } as never); // biome-ignore format: one line per group
  return dx;
}
