// Rotary position embeddings (Su et al., 2021), half-split or interleaved, forward and backward by one kernel.

import { constexpr, dim, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import { emptyLike, type Operator, operator, showShape, type Tensor } from "../tensor/index.js";
import { computeDtype, nextPowerOf2 } from "./rows.js";

/** One program takes `ROWS` consecutive positions of one head of one sequence. */
const rotate = kernel(
  // biome-ignore format: one line per group
  { x: ptr, y: ptr, cos: ptr, sin: ptr, sb: i32, sh: i32, st: i32, sd: dim, yb: i32, yh: i32, yt: i32, ct: i32, heads: i32, tokens: i32, half: i32,
    ROWS: constexpr, HALF: constexpr, BACK: constexpr.bool, PAIRS: constexpr.bool, T: constexpr.dtype },
  (
    { x, y, cos, sin, sb, sh, st, sd, yb, yh, yt, ct, heads, tokens, half, ROWS, HALF, BACK, PAIRS, T },
    tl,
  ) => {
    const z = tl.programId(1);
    const t = tl.col(tl.programId(0) * ROWS + tl.arange(0, ROWS));
    const d = tl.row(tl.arange(0, HALF));
    const inside = t < tokens && d < half;
    const from = x + tl.floorDiv(z, heads) * sb + (z % heads) * sh + t * st;
    const to = y + tl.floorDiv(z, heads) * yb + (z % heads) * yh + t * yt;
    const c = tl.cast(tl.load(cos + t * ct + d, inside, 0), T);
    const s = tl.cast(tl.load(sin + t * ct + d, inside, 0), T);
    const turn = BACK ? -s : s;
    const first = PAIRS ? 2 * d : d;
    const second = PAIRS ? 2 * d + 1 : d + half;
    const a = tl.cast(tl.load(from + first * sd, inside, 0), T);
    const b = tl.cast(tl.load(from + second * sd, inside, 0), T);
    tl.store(to + first, a * c - b * turn, inside);
    tl.store(to + second, b * c + a * turn, inside);
  },
  "rotary",
);

function turn(x: Tensor, cos: Tensor, sin: Tensor, back: boolean, interleaved: boolean): Tensor {
  const [batch, heads, tokens, size] = x.shape as [number, number, number, number];
  const half = size / 2;
  // Heads that stand side by side in memory stay so: what comes before and after reads them as rows.
  const inRows = x.strides[2]! > x.strides[1]! && heads > 1;
  const y = inRows ? emptyLike(x, { shape: [batch, tokens, heads, size] }).transpose(1, 2) : emptyLike(x);
  if (x.numel === 0) return y;
  const HALF = nextPowerOf2(half);
  const ROWS = Math.max(1, Math.min(nextPowerOf2(tokens), Math.floor(4096 / HALF)));
  rotate.launch([Math.ceil(tokens / ROWS), batch * heads], {
    x, y, cos, sin, sb: x.strides[0]!, sh: x.strides[1]!, st: x.strides[2]!, sd: x.strides[3]!,
    yb: y.strides[0]!, yh: y.strides[1]!, yt: y.strides[2]!, ct: cos.strides[0]!,
    heads, tokens, half, ROWS, HALF, BACK: back, PAIRS: interleaved, T: computeDtype(x.dtype),
  }); // biome-ignore format: one line per group
  return y;
}

/**
 * Turns each pair `(x[d], x[d + headDim/2])` by its position's angle; with `interleaved` the pairs are
 * `(x[2d], x[2d + 1])`.
 *
 * @param back turns the other way
 * @param self `[batch, heads, tokens, headDim]`, any strides
 * @param cos, sin `[tokens, headDim / 2]`, rows of consecutive elements
 * @returns `[batch, heads, tokens, headDim]`, the last dimension contiguous; row-major, or laid out as
 *   `[batch, tokens, heads, headDim]` if `self` is
 * @throws RangeError where the shapes do not fit
 */
export const rotary: Operator<
  (self: Tensor, cos: Tensor, sin: Tensor, back?: boolean, interleaved?: boolean) => Tensor
> = operator({
  schema:
    "vexil::rotary(Tensor self, Tensor cos, Tensor sin, bool back=False, bool interleaved=False) -> Tensor",
  replay: true,
  method: false,
  run: (self: Tensor, cos: Tensor, sin: Tensor, back: boolean, interleaved: boolean) => {
    const [, , tokens, size] = self.shape;
    for (const t of [cos, sin])
      if (
        self.ndim !== 4 ||
        t.ndim !== 2 ||
        t.shape[0] !== tokens ||
        t.shape[1]! * 2 !== size ||
        t.strides[1] !== 1 ||
        t.strides[0] !== cos.strides[0]
      )
        throw new RangeError(
          `rotary: needs [batch, heads, tokens, headDim] and tables [tokens, headDim / 2], not ${showShape(self.shape)} and ${showShape(t.shape)}`,
        );
    return turn(self, cos, sin, back, interleaved);
  },
  derivative: {
    save: (args) => [args[1], args[2]] as Tensor[],
    backward: (ctx, grad) => [
      rotary(grad, ctx.saved[0]!, ctx.saved[1]!, !ctx.args[3], ctx.args[4] as boolean),
      null,
      null,
    ],
  },
  stage: "beta",
  summary: "Rotary position embedding, half-split or interleaved pairs",
});
