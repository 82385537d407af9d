// Penalties on tokens that a text has already: what sampling applies to logits before it draws (`sampling.ts`).

import { constexpr, f32, i32, ptr } from "../compiler/lang/index.js";
import { kernel } from "../runtime/index.js";
import { emptyLike, isFloatDType, type Operator, operator, showShape, type Tensor } from "../tensor/index.js";
import { zeros } from "./creation.js";
import { rowMajor } from "./rows.js";

/** Counts tokens of each row: those of the output one by one, those of the prompt as a mark in a high bit. */
const count = kernel(
  { tokens: ptr, counts: ptr, length: i32, cols: i32, OUTPUT: constexpr.bool, BLOCK: constexpr },
  ({ tokens, counts, length, cols, OUTPUT, BLOCK }, tl) => {
    const row = tl.programId(0);
    for (let start = 0; start < length; start += BLOCK) {
      const at = start + tl.arange(0, BLOCK);
      const token = tl.cast(tl.load(tokens + row * length + at, at < length, -1), tl.i32);
      const real = token >= 0 && token < cols;
      const one = tl.full([BLOCK], OUTPUT ? 1 : 1073741824, tl.i32);
      if (OUTPUT) tl.atomicAdd(counts + row * cols + token, one, real);
      else tl.atomicOr(counts + row * cols + token, one, real);
    }
  },
  "count_tokens",
);

const apply = kernel(
  // biome-ignore format: one line per group
  { logits: ptr, counts: ptr, out: ptr, n: i32, repetition: f32, presence: f32, frequency: f32, BLOCK: constexpr },
  ({ logits, counts, out, n, repetition, presence, frequency, BLOCK }, tl) => {
    const at = tl.programId(0) * BLOCK + tl.arange(0, BLOCK);
    const x = tl.cast(tl.load(logits + at, at < n, 0), tl.f32);
    const c = tl.load(counts + at, at < n, 0);
    const times = c & 1073741823;
    const repeated = x > 0 ? x / repetition : x * repetition;
    const y = tl.where(c !== 0, repeated, x);
    const said = tl.where(times > 0, presence, 0) + tl.cast(times, tl.f32) * frequency;
    tl.store(out + at, y - said, at < n);
  },
  "penalize",
);

export interface PenaltyOptions {
  /** Divides positive and multiplies negative logits of tokens of prompt or output (Keskar et al., 2019). Default 1. */
  readonly repetition?: number;
  /** Taken from the logits of tokens of the output. Default 0. */
  readonly presence?: number;
  /** Taken from them for each time. Default 0. */
  readonly frequency?: number;
}

/**
 * Logits with penalties for tokens that were there before. `prompt [B, P]` and `output [B, L]` hold token ids (i64 or i32),
 * filled up with -1; either may have no columns.
 *
 * @param logits `[B, V]`, any float dtype, which the result has too
 * @throws RangeError for shapes that do not fit or a repetition penalty of 0 or less
 * @example sample(penalize(logits, prompt, output, { repetition: 1.1, frequency: 0.2 }), { temperature: 0.8 });
 */
export const penalize: Operator<
  (logits: Tensor, prompt: Tensor, output: Tensor, options?: PenaltyOptions) => Tensor
> = operator({
  schema:
    "vexil::penalize(Tensor logits, Tensor prompt, Tensor output, *, float repetition=1, float presence=0, float frequency=0) -> Tensor",
  method: false,
  run: (
    logits: Tensor,
    prompt: Tensor,
    output: Tensor,
    repetition: number,
    presence: number,
    frequency: number,
  ) => {
    if (logits.ndim !== 2 || !isFloatDType(logits.dtype))
      throw new RangeError(
        `penalize: logits are floats of shape [rows, vocabulary], not ${logits.dtype} ${showShape(logits.shape)}`,
      );
    const [rows, cols] = logits.shape as [number, number];
    for (const [what, t] of [
      ["prompt", prompt],
      ["output", output],
    ] as const)
      if (t.ndim !== 2 || t.shape[0] !== rows || (t.dtype !== "i64" && t.dtype !== "i32"))
        throw new RangeError(
          `penalize: the ${what} holds token ids (i64 or i32) of shape [${rows}, length], not ${t.dtype} ${showShape(t.shape)}`,
        );
    if (!(repetition > 0))
      throw new RangeError(`penalize: the repetition penalty is above 0, not ${repetition}`);
    const out = emptyLike(logits);
    if (logits.numel === 0) return out;
    const counts = zeros([rows, cols], { dtype: "i32", device: logits.device });
    for (const [t, OUTPUT] of [
      [prompt, false],
      [output, true],
    ] as const)
      if (t.shape[1]! > 0)
        count.launch([rows], { tokens: rowMajor(t), counts, length: t.shape[1]!, cols, OUTPUT, BLOCK: 256 });
    const BLOCK = 1024;
    apply.launch([Math.ceil(logits.numel / BLOCK)], {
      logits: rowMajor(logits), counts, out, n: logits.numel, repetition, presence, frequency, BLOCK,
    }); // biome-ignore format: one line per group
    return out;
  },
  derivative: "none",
  summary: "Repetition, presence and frequency penalties on logits",
});
