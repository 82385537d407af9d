// Attention by the fused kernels, with its derivative: of tensors `[batch, heads, tokens, size]`, and of packed sequences
// `[tokens, heads, size]`. PyTorch's operator stands in `sdpa.ts`, caches in pages in `paged.ts`.

import { defaultGenerator, type Generator } from "../../runtime/index.js";
import {
  type BackwardContext,
  callOperator,
  empty,
  emptyLike,
  emptyStrided,
  type Operator,
  operator,
  showShape,
  type Tensor,
} from "../../tensor/index.js";
import { type AttentionCall, type Dropout, launchBackward, launchForward, type Strides } from "./launch.js";

/** Keys before and after its own place that a query sees; -1: all. */
export type Window = readonly [left: number, right: number];

/** Everything but the tensors, as the operators of this file carry it. */
interface Settings {
  readonly maxQ: number;
  readonly maxK: number;
  readonly window: Window;
  readonly offset: number;
  readonly scale: number;
  readonly softcap: number;
  readonly p: number;
  readonly seed: bigint;
  readonly draw: number;
}

const unitRows = (t: Tensor): Tensor =>
  t.strides.at(-1) === 1 || t.shape.at(-1) === 1 ? t : (t.contiguous() as Tensor);

/** The head's and the token's dimension of a tensor: packed sequences have no batch. */
export const stridesOf = (t: Tensor): Strides =>
  t.ndim === 3 ? [0, t.strides[1]!, t.strides[0]!] : [t.strides[0]!, t.strides[1]!, t.strides[2]!];

/** Like `like` with rows of `size`, `[batch, heads, tokens, size]` laid out by tokens: what a projection after it reads. */
export function emptyHeads(like: Tensor, size: number): Tensor {
  if (like.ndim === 3) return emptyLike(like, { shape: [like.shape[0]!, like.shape[1]!, size] });
  const [B, H, S] = like.shape as [number, number, number];
  // Not a transposed view: who disposes of the result frees its memory.
  const strides = [S * H * size, size, H * size, 1];
  return emptyStrided([B, H, S, size], strides, { dtype: like.dtype, device: like.device });
}

/** The logarithms of the softmax's sums: `[batch, heads, tokens]`, or `[heads, tokens]` of packed sequences. */
export function emptyLogs(q: Tensor): { lse: Tensor; strides: readonly [number, number] } {
  const shape = q.ndim === 3 ? [q.shape[1]!, q.shape[0]!] : q.shape.slice(0, 3);
  const lse = empty(shape, { dtype: "f32", device: q.device });
  return { lse, strides: logStrides(lse) };
}

const logStrides = (lse: Tensor): readonly [number, number] =>
  lse.ndim === 2 ? [0, lse.strides[0]!] : [lse.strides[0]!, lse.strides[1]!];

function callOf(
  [q, k, v]: readonly [Tensor, Tensor, Tensor],
  mask: Tensor | null,
  starts: readonly [Tensor | null, Tensor | null],
  s: Settings,
): AttentionCall {
  const [qs, ks, vs] = [stridesOf(q), stridesOf(k), stridesOf(v)];
  const packed = q.ndim === 3;
  const dropout: Dropout | undefined = s.p > 0 ? { p: s.p, seed: s.seed, offset: s.draw } : undefined;
  return {
    q, k, v, qs, ks, vs,
    batch: packed ? starts[0]!.numel - 1 : q.shape[0]!,
    heads: q.shape[1]!, keyHeads: k.shape[1]!, queries: s.maxQ, keys: s.maxK,
    size: q.shape.at(-1)!, valueSize: v.shape.at(-1)!, offset: s.offset, left: s.window[0], right: s.window[1],
    scale: s.scale, softcap: s.softcap, mask: mask ?? undefined, dropout,
    starts: packed ? { q: starts[0]!, k: starts[1]! } : undefined,
  }; // biome-ignore format: one line per group
}

/** The settings as they stand in a schema's arguments, and back. */
const settingsOf = (a: readonly unknown[]): Settings => {
  const [maxQ, maxK, window, offset, scale, softcap, p, seedLow, seedHigh, draw] = a as [
    number, number, Window, number, number, number, number, number, number, number,
  ]; // biome-ignore format: one line
  return {
    maxQ,
    maxK,
    window,
    offset,
    scale,
    softcap,
    p,
    seed: (BigInt(seedHigh) << 32n) | BigInt(seedLow),
    draw,
  };
};
const SETTINGS =
  "SymInt max_q, SymInt max_k, int[2] window, int offset, float scale, float softcap, float dropout_p, int seed_low, int seed_high, int draw";

const kernelsBackward: Operator<(...args: unknown[]) => [Tensor, Tensor, Tensor]> = operator({
  schema: `vexil::attention_kernels_backward(Tensor grad, Tensor query, Tensor key, Tensor value, Tensor out, Tensor lse, Tensor? mask, Tensor? starts_q, Tensor? starts_k, ${SETTINGS}) -> (Tensor, Tensor, Tensor)`,
  method: false,
  run: (
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    o: Tensor,
    lse: Tensor,
    mask: Tensor | null,
    startsQ: Tensor | null,
    startsK: Tensor | null,
    ...settings: unknown[]
  ) => {
    const [q, k, v, dy] = [unitRows(query), unitRows(key), unitRows(value), unitRows(grad)];
    const c = callOf([q, k, v], mask, [startsQ, startsK], settingsOf(settings));
    const [dq, dk, dv] = [emptyHeads(q, c.size), emptyHeads(k, c.size), emptyHeads(v, c.valueSize)];
    launchBackward(
      c,
      { dy, strides: stridesOf(dy) },
      { o, os: stridesOf(o), lse, ls: logStrides(lse) },
      { dq, dqs: stridesOf(dq), dk, dks: stridesOf(dk), dv, dvs: stridesOf(dv) },
    );
    return [dq, dk, dv];
  },
  summary: "Gradients of attention_kernels",
});

/** The fused kernels as one operator; the result and the logarithms of the softmax's sums (no gradient). */
const kernels: Operator<(...args: unknown[]) => [Tensor, Tensor]> = operator({
  schema: `vexil::attention_kernels(Tensor query, Tensor key, Tensor value, Tensor? mask, Tensor? starts_q, Tensor? starts_k, ${SETTINGS}) -> (Tensor, Tensor)`,
  method: false,
  run: (
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | null,
    startsQ: Tensor | null,
    startsK: Tensor | null,
    ...settings: unknown[]
  ) => {
    const [q, k, v] = [unitRows(query), unitRows(key), unitRows(value)];
    const c = callOf([q, k, v], mask, [startsQ, startsK], settingsOf(settings));
    const o = emptyHeads(q, c.valueSize);
    const { lse, strides } = emptyLogs(q);
    launchForward(c, o, stridesOf(o), lse, strides);
    return [o, lse];
  },
  derivative: {
    save: (args: readonly unknown[], outputs: readonly Tensor[]) => [
      ...(args.slice(0, 3) as Tensor[]),
      outputs[0]!,
      outputs[1]!,
      ...(args.slice(3, 6).filter((t) => t !== null) as Tensor[]),
    ],
    backward: (ctx: BackwardContext, grad: Tensor | null) => {
      const [q, k, v, o, lse, ...others] = ctx.saved as Tensor[];
      const given = ctx.args.slice(3, 6).map((t) => (t === null ? null : others.shift()!));
      const grads = kernelsBackward(grad!, q!, k!, v!, o!, lse!, ...given, ...ctx.args.slice(6));
      return [...grads, null, null, null];
    },
  },
  summary: "Attention by fused kernels",
});

const DTYPES = new Set(["f32", "f16", "bf16"]);
const MOST_SIZE = 256;

/** Why the fused kernels do not take these tensors; undefined if they do. */
export function whyNotFused(q: Tensor, k: Tensor, v: Tensor): string | undefined {
  if (q.dtype !== k.dtype || q.dtype !== v.dtype)
    return `one dtype, not ${q.dtype}, ${k.dtype} and ${v.dtype}`;
  if (!DTYPES.has(q.dtype)) return `f32, f16 or bf16, not ${q.dtype}`;
  if (q.ndim !== k.ndim || q.ndim !== v.ndim || (q.ndim !== 3 && q.ndim !== 4))
    return "query, key and value with the same three or four dimensions";
  const [tokens, heads] = q.ndim === 3 ? [0, 1] : [2, 1];
  const size = q.ndim - 1;
  if (q.shape[size] !== k.shape[size] || q.shape[size]! > MOST_SIZE || v.shape[size]! > MOST_SIZE)
    return `query and key with rows of one size, at most ${MOST_SIZE}`;
  if (k.shape[heads] === 0 || q.shape[heads]! % k.shape[heads]! !== 0 || v.shape[heads] !== k.shape[heads])
    return `heads that share the key heads evenly, not ${q.shape[heads]} on ${k.shape[heads]} and ${v.shape[heads]}`;
  if (k.shape[tokens] !== v.shape[tokens]) return "as many keys as values";
  if (q.ndim === 4 && (q.shape[0] !== k.shape[0] || q.shape[0] !== v.shape[0])) return "one batch size";
  return undefined;
}

export function checkFused(name: string, q: Tensor, k: Tensor, v: Tensor): void {
  const why = whyNotFused(q, k, v);
  if (why)
    throw new RangeError(
      `${name} takes ${why} (query ${showShape(q.shape)}, key ${showShape(k.shape)}, value ${showShape(v.shape)})`,
    );
}

/** What the fused attentions have in common. */
export interface FusedOptions {
  /** No key behind the query's own place is seen. Default false. */
  readonly isCausal?: boolean;
  /** Keys before and after its own place that a query sees; -1 (default): all. */
  readonly window?: Window;
  /** Scores become `softcap * tanh(score / softcap)`. Default 0: no cap. */
  readonly softcap?: number;
  /** Default `1 / sqrt(size)`. */
  readonly scale?: number | null;
}

export interface DropoutOptions {
  /** Share of the weights that are dropped. Default 0. */
  readonly dropoutP?: number;
  readonly generator?: Generator | null;
}

/** The window that a causal flag and a window make. */
export function windowOf(name: string, window: Window, causal: boolean): Window {
  const [left, right] = window;
  if (!Number.isInteger(left) || !Number.isInteger(right) || left < -1 || right < -1)
    throw new RangeError(`${name}: a window is two whole numbers from -1, not [${window.join(", ")}]`);
  return causal ? [left, 0] : window;
}

/** Runs the fused kernels on tensors that {@link whyNotFused} lets pass; masks are broadcast views. */
export function runFused(
  [q, k, v]: readonly [Tensor, Tensor, Tensor],
  o: {
    readonly window: Window;
    readonly offset: number;
    readonly scale: number | null;
    readonly softcap?: number;
    readonly mask?: Tensor | null;
    readonly dropout?: number;
    readonly generator?: Generator | null;
    readonly starts?: readonly [Tensor, Tensor];
    readonly most?: readonly [number, number];
  },
): Tensor {
  const p = o.dropout ?? 0;
  const [maxQ, maxK] = o.most ?? [q.shape[2]!, k.shape[2]!];
  const batch = o.starts ? o.starts[0].numel - 1 : q.shape[0]!;
  const draw =
    p > 0
      ? (o.generator ?? defaultGenerator).take(batch * q.shape[1]! * maxQ * maxK)
      : { seedLow: 0, seedHigh: 0, offset: 0 };
  const [y, lse] = kernels(
    q, k, v, o.mask ?? null, o.starts?.[0] ?? null, o.starts?.[1] ?? null, maxQ, maxK, o.window, o.offset,
    o.scale ?? 1 / Math.sqrt(q.shape.at(-1)!), o.softcap ?? 0, p, draw.seedLow, draw.seedHigh, draw.offset,
  ); // biome-ignore format: one line per group
  if (y.gradNode === null) lse.dispose(); // only gradients need it
  return y;
}

/**
 * `softmax(query @ key.T * scale) @ value` by the fused kernels, computed in f32. The last query stands at the place of
 * the last key, so that queries after a cache see what came before them; PyTorch's causal mask of
 * `scaledDotProductAttention` starts both at the front.
 *
 * @param query `[batch, heads, queries, size]`, f32, f16 or bf16, any strides, size at most 256
 * @param key, value `[batch, keyHeads, keys, size]`; each key head serves `heads / keyHeads` neighbouring heads. The rows of
 * values may have a size of their own
 * @param options.attnMask broadcasts to `[batch, heads, queries, keys]`: bool (false hides a key) or floats that are added
 * (without a gradient)
 * @returns `[batch, heads, queries, valueSize]`; a query that sees no key gets zeros
 * @throws RangeError for shapes that do not fit
 *
 * @example flashAttention(q, k, v, { isCausal: true, window: [127, 0] }); // the last 128 keys
 *
 * After Dao et al., 2022.
 */
export const flashAttention: Operator<
  (
    query: Tensor,
    key: Tensor,
    value: Tensor,
    options?: FusedOptions & DropoutOptions & { readonly attnMask?: Tensor | null },
  ) => Tensor
> = operator({
  schema:
    "vexil::flash_attention(Tensor query, Tensor key, Tensor value, *, Tensor? attn_mask=None, float dropout_p=0.0, bool is_causal=False, int[2] window=[-1, -1], float softcap=0.0, float? scale=None, Generator? generator=None) -> Tensor",
  method: false,
  run: (
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | null,
    dropout: number,
    causal: boolean,
    window: Window,
    softcap: number,
    scale: number | null,
    generator: Generator | null,
  ) => {
    const name = "flash_attention";
    checkFused(name, q, k, v);
    if (q.ndim !== 4)
      throw new RangeError(`${name} takes [batch, heads, tokens, size], not ${showShape(q.shape)}`);
    const full = [q.shape[0]!, q.shape[1]!, q.shape[2]!, k.shape[2]!];
    return runFused([q, k, v], {
      mask: mask && (callOperator("expand", mask, full) as Tensor),
      window: windowOf(name, window, causal),
      offset: k.shape[2]! - q.shape[2]!,
      scale,
      softcap,
      dropout,
      generator,
    });
  },
  derivative: "composite",
  random: (_input, _args, kwargs) => Number(kwargs["dropout_p"] ?? 0) > 0,
  stage: "stable",
  summary: "Attention by fused kernels: windows, masks, shared heads, dropout",
});

/**
 * Attention within each of several sequences that stand one behind the other, without padding between them.
 *
 * @param query `[tokens, heads, size]`, f32, f16 or bf16
 * @param key, value `[keyTokens, keyHeads, size]`
 * @param cuSeqlensQ, cuSeqlensK i32 `[sequences + 1]`: where each sequence begins, and at last where all end
 * @param maxQ, maxK the most queries and keys of one sequence
 * @returns `[tokens, heads, valueSize]`. The last query of a sequence stands at the place of its last key
 *
 * @example varlenAttention(q, k, v, starts, starts, 512, 512, { isCausal: true });
 */
export const varlenAttention: Operator<
  (
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cuSeqlensQ: Tensor,
    cuSeqlensK: Tensor,
    maxQ: number,
    maxK: number,
    options?: FusedOptions & DropoutOptions,
  ) => Tensor
> = operator({
  schema:
    "vexil::varlen_attention(Tensor query, Tensor key, Tensor value, Tensor cu_seqlens_q, Tensor cu_seqlens_k, SymInt max_q, SymInt max_k, *, float dropout_p=0.0, bool is_causal=False, int[2] window=[-1, -1], float softcap=0.0, float? scale=None, Generator? generator=None) -> Tensor",
  method: false,
  run: (
    q: Tensor,
    k: Tensor,
    v: Tensor,
    startsQ: Tensor,
    startsK: Tensor,
    maxQ: number,
    maxK: number,
    dropout: number,
    causal: boolean,
    window: Window,
    softcap: number,
    scale: number | null,
    generator: Generator | null,
  ) => {
    const name = "varlen_attention";
    checkFused(name, q, k, v);
    if (q.ndim !== 3) throw new RangeError(`${name} takes [tokens, heads, size], not ${showShape(q.shape)}`);
    checkStarts(name, "cu_seqlens_q", startsQ);
    checkStarts(name, "cu_seqlens_k", startsK);
    if (startsQ.numel !== startsK.numel)
      throw new RangeError(
        `${name}: cu_seqlens_q tells of ${startsQ.numel - 1} sequences, cu_seqlens_k of ${startsK.numel - 1}`,
      );
    return runFused([q, k, v], {
      window: windowOf(name, window, causal),
      offset: 0,
      scale,
      softcap,
      dropout,
      generator,
      starts: [startsQ, startsK],
      most: [maxQ, maxK],
    });
  },
  derivative: "composite",
  random: (_input, _args, kwargs) => Number(kwargs["dropout_p"] ?? 0) > 0,
  stage: "stable",
  summary: "Attention within packed sequences",
});

/** A list of i32 that kernels read. */
export function checkStarts(name: string, what: string, t: Tensor): void {
  if (t.dtype !== "i32" || t.ndim !== 1 || t.numel < 1 || !t.isContiguous)
    throw new RangeError(
      `${name}: ${what} is a list of i32 side by side, not ${t.dtype} ${showShape(t.shape)}`,
    );
}
