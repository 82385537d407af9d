// Launches the kernels of attention: block sizes, strides, and how the work is cut into programs. What callers see
// stands in `fused.ts`, `packed.ts` and `paged.ts`.

import { type Chip, tuningOf } from "../../runtime/index.js";
import { callOperator, empty, emptyLike, type Tensor } from "../../tensor/index.js";
import { nextPowerOf2 } from "../rows.js";
import { attentionBackwardKeys, attentionBackwardQueries, attentionDelta } from "./backward-kernel.js";
import { attentionForward } from "./forward-kernel.js";
import { joinParts } from "./join-kernel.js";

/** The strides of `[batch, heads, tokens, size]`, or of packed `[tokens, heads, size]` with none for the batch. */
export type Strides = readonly [batch: number, head: number, token: number];

/** One attention, whatever form its tensors have. */
export interface AttentionCall {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly qs: Strides;
  readonly ks: Strides;
  readonly vs: Strides;
  /** Sequences. */
  readonly batch: number;
  readonly heads: number;
  readonly keyHeads: number;
  /** Most queries and keys of a sequence. */
  readonly queries: number;
  readonly keys: number;
  readonly size: number;
  readonly valueSize: number;
  /** Query `t` stands at the place of key `t + offset`. */
  readonly offset: number;
  /** Keys before and after its own place that a query sees; negative: all. */
  readonly left: number;
  readonly right: number;
  readonly scale: number;
  /** Scores stay below it; 0: no cap. */
  readonly softcap: number;
  /** `[batch, heads, queries, keys]`, broadcast by strides of 0; bool or floats. */
  readonly mask?: Tensor | undefined;
  readonly dropout?: Dropout | undefined;
  /** Where packed sequences begin (and, for pages, how long they are). */
  readonly starts?: { readonly q: Tensor; readonly k: Tensor } | undefined;
  readonly pages?: { readonly table: Tensor; readonly size: number } | undefined;
  /** Keys that one program walks where keys are cut into parts, a power of two from 16; 0: as many as usual. */
  readonly part?: number;
}

/** A draw of dropout, so that the backward pass drops the same weights. */
export interface Dropout {
  readonly p: number;
  readonly seed: bigint;
  readonly offset: number;
}

/** Decoding walks this many keys in one program, whatever the batch, if nobody says otherwise: sums do not depend on who else is there. */
const SPLIT_KEYS = 512;
/** Up to this many rows of a group, keys are cut into parts. */
const SPLIT_ROWS = 16;

/**
 * Few rows on matrix units wait for memory: elements of the keys of one turn, and programs that share a processor's registers. Fewer
 * programs with longer turns have as much under way, but do not all wait, and all compute, at the same time.
 */
const [TURN, SIDE_BY_SIDE] = [64 * 128, 4];

interface Blocks {
  readonly BM: number;
  readonly BN: number;
}

const floorPowerOf2 = (x: number): number => 2 ** Math.floor(Math.log2(x));

/** The largest blocks: what the chip's tuning table says of `kernel`, else what suits its products. */
function blocksOf(chip: Chip, kernel: string, c: AttentionCall): Blocks {
  const use = tuningOf(chip, kernel, { dtype: c.q.dtype, D: c.size, causal: c.right === 0 });
  const [m, n] = chip.capabilities.dotBlock;
  const power = (given: unknown, otherwise: number): number => {
    const x = given ?? otherwise;
    if (typeof x === "number" && x >= 8 && Number.isInteger(Math.log2(x))) return x;
    throw new RangeError(
      `the tuning table of ${chip.name}: a block of ${kernel} is a power of two from 8, not ${x}`,
    );
  };
  return { BM: power(use?.["BM"], floorPowerOf2(m)), BN: power(use?.["BN"], floorPowerOf2(n)) };
}

/** Rows of a block: lanes lie along them, so there are 8 or more, or just one; matrix units take 16 at once. */
function rowsFor(rows: number, most: number, onUnits: boolean): number {
  if (onUnits) return Math.min(most, Math.max(16, nextPowerOf2(rows)));
  return rows === 1 ? 1 : Math.min(most, Math.max(8, nextPowerOf2(rows)));
}

/** Three widths for the keys, so that a cache that grows does not compile again and again. */
const keysFor = (keys: number, most: number): number =>
  keys <= 16 ? 16 : keys <= 64 ? Math.min(64, most) : most;

/**
 * `blocks`, halved until both operands of each product fit the memory that a program's threads share: queries and keys, or weights and
 * values. Blocks of 16 are not cut: a chip that has no room for them says so as it compiles.
 */
function fitting(blocks: Blocks, c: AttentionCall): Blocks {
  const bytes = c.q.chip.capabilities.sharedBytes ?? Infinity;
  const row = Math.max(8, nextPowerOf2(Math.max(c.size, c.valueSize)));
  const size = onMatrixUnits(c) ? 2 : 4;
  let { BM, BN } = blocks;
  const needed = (): number =>
    size * Math.max((BM + BN) * row, BM * BN + Math.max(BM, BN) * row) + SHARED_BESIDE;
  while (needed() > bytes && Math.max(BM, BN) > 16) {
    if (BN >= BM) BN /= 2;
    else BM /= 2;
  }
  return { BM, BN };
}
/** Shared bytes for what goes from thread to thread beside the products: the tops and sums of rows. */
const SHARED_BESIDE = 2048;

/** Whether the products run on matrix units that take the tensors' own dtype. */
const onMatrixUnits = (c: AttentionCall): boolean =>
  c.scale > 0 && (c.q.chip.capabilities.matrixDtypes?.includes(c.q.dtype) ?? false);

/**
 * What every kernel is told about the scores. Arguments are written out name by name where they are used: an object of so many members
 * that is spread into another one costs hundreds of microseconds, each time.
 */
function scoreArgs(c: AttentionCall) {
  const { mask, dropout } = c;
  const ms = mask ? mask.strides : [0, 0, 0, 0];
  const half = onMatrixUnits(c);
  return {
    mask: mask ?? c.q,
    mb: ms[0]!, mh: ms[1]!, mt: ms[2]!, mn: ms[3]!,
    startsQ: c.starts?.q ?? c.q, startsK: c.starts?.k ?? c.q,
    KH: c.keyHeads, G: c.heads / c.keyHeads, Sq: c.queries, Sk: c.keys, offset: c.offset,
    left: c.left, right: c.right, scale: c.scale, cap: c.softcap,
    seed: dropout?.seed ?? 0n,
    low: (dropout?.offset ?? 0) >>> 0, high: Math.floor((dropout?.offset ?? 0) / 2 ** 32),
    drop: Math.min(2 ** 32 - 1, Math.round((dropout?.p ?? 0) * 2 ** 32)), rest: 1 / (1 - (dropout?.p ?? 0)),
    LEFT: c.left >= 0, RIGHT: c.right >= 0, MASK: mask ? (mask.dtype === "bool" ? 1 : 2) : 0,
    DROP: dropout !== undefined, CAP: c.softcap > 0, VARLEN: c.starts !== undefined,
    HALF: half, IN: half ? c.q.dtype : "f32", LOG2E: Math.LOG2E,
    D: c.size, BD: Math.max(8, nextPowerOf2(c.size)), DV: c.valueSize, BV: Math.max(8, nextPowerOf2(c.valueSize)),
  }; // biome-ignore format: one line per group
}

/** Writes the results, and each query's logarithm of the sum of exponentials to `lse` (f32, tokens side by side). */
export function launchForward(
  c: AttentionCall,
  o: Tensor,
  os: Strides,
  lse: Tensor,
  ls: readonly [batch: number, head: number],
): void {
  const rows = (c.heads / c.keyHeads) * c.queries;
  if (rows === 0 || c.batch === 0 || c.keyHeads === 0) return;
  const most = blocksOf(o.chip, "attention", c);
  const part = c.part || SPLIT_KEYS;
  const rowsAtOnce = rowsFor(rows, most.BM, onMatrixUnits(c));
  // In pages stand sequences that share a step by chance: how a sum is cut must not follow from the longest of them.
  const few = rows <= SPLIT_ROWS;
  const waits = few && onMatrixUnits(c);
  const mostKeys = waits ? Math.min(most.BN, floorPowerOf2(TURN / Math.max(c.size, c.valueSize))) : most.BN;
  const keys = c.pages ? mostKeys : keysFor(c.keys, mostKeys);
  const { BM, BN } = fitting({ BM: rowsAtOnce, BN: Math.min(part, keys) }, c);
  const parts = few ? Math.max(1, Math.ceil(c.keys / part)) : 1;
  const grid = [Math.ceil(rows / BM), c.batch * c.keyHeads, parts];
  const a = scoreArgs(c);
  const launch = (to: Tensor, logs: Tensor, [ob, oh, ot]: Strides, oc: number, lc: number): void =>
    attentionForward.launch(grid, {
      mask: a.mask, mb: a.mb, mh: a.mh, mt: a.mt, mn: a.mn, startsQ: a.startsQ, startsK: a.startsK,
      KH: a.KH, G: a.G, Sq: a.Sq, Sk: a.Sk, offset: a.offset, left: a.left, right: a.right, scale: a.scale, cap: a.cap,
      seed: a.seed, low: a.low, high: a.high, drop: a.drop, rest: a.rest, LEFT: a.LEFT, RIGHT: a.RIGHT, MASK: a.MASK,
      DROP: a.DROP, CAP: a.CAP, VARLEN: a.VARLEN, HALF: a.HALF, IN: a.IN, LOG2E: a.LOG2E, D: a.D, BD: a.BD, DV: a.DV, BV: a.BV,
      q: c.q, k: c.k, v: c.v, table: c.pages?.table ?? c.q, tb: c.pages?.table.strides[0] ?? 0,
      qb: c.qs[0], qh: c.qs[1], qt: c.qs[2], kb: c.ks[0], kh: c.ks[1], kt: c.ks[2], vb: c.vs[0], vh: c.vs[1], vt: c.vs[2],
      lb: ls[0], lh: ls[1], BM, BN, PAGE: c.pages?.size ?? 0, SHARED: c.heads !== c.keyHeads,
      o: to, lse: logs, ob, oh, ot, oc, lc, SPLIT: parts === 1 ? 0 : part, PROGRAMS: waits ? SIDE_BY_SIDE : 0,
    }); // biome-ignore format: one line per group
  if (parts === 1) {
    launch(o, lse, os, 0, 0);
    return;
  }
  const some = empty([parts, ...o.shape], { dtype: "f32", device: o.device });
  const logs = empty([parts, ...lse.shape], { dtype: "f32", device: o.device });
  // The parts are laid out as `o` would be if its dimensions were in order.
  const packed = o.ndim === 3;
  const [, s1, s2, s3] = some.strides as number[];
  launch(some, logs, packed ? [0, s2!, s1!] : [s1!, s2!, s3!], some.strides[0]!, logs.strides[0]!);
  joinParts(some, logs, o, lse, packed, (c.part ?? 0) > 0);
  some.dispose();
  logs.dispose();
}

/** Copies of the queries' gradients that are made so that all threads have work; beyond, two passes are cheaper. */
const MOST_CHUNKS = 4;

/**
 * Gradients of `c.q`, `c.k` and `c.v` from that of the result `o`.
 *
 * @param mostChunks how many copies of the queries' gradients there may be; more than that takes a pass for them alone
 */
export function launchBackward(
  c: AttentionCall,
  grad: { readonly dy: Tensor; readonly strides: Strides },
  saved: {
    readonly o: Tensor;
    readonly os: Strides;
    readonly lse: Tensor;
    readonly ls: readonly [number, number];
  },
  out: {
    readonly dq: Tensor;
    readonly dqs: Strides;
    readonly dk: Tensor;
    readonly dks: Strides;
    readonly dv: Tensor;
    readonly dvs: Strides;
  },
  mostChunks: number = MOST_CHUNKS,
): void {
  const { chip } = c.q;
  const { o, os, lse, ls } = saved;
  const [yb, yh, yt] = grad.strides;
  const scores = scoreArgs(c);
  const { BV } = scores;
  const delta = emptyLike(lse);
  const packed = c.starts !== undefined;
  const tokens = packed ? o.shape[0]! : c.queries;
  const sequences = packed ? 1 : c.batch;
  const rows = Math.min(
    64,
    Math.max(8, floorPowerOf2((chip.capabilities.sharedBytes ?? Infinity) / (4 * BV))),
  );
  attentionDelta.launch([Math.ceil(tokens / rows), sequences * c.heads], {
    o, dy: grad.dy, delta, ob: os[0], oh: os[1], ot: os[2], yb, yh, yt, lb: ls[0], lh: ls[1], H: c.heads, S: tokens,
    BM: rows, DV: c.valueSize, BV,
  }); // biome-ignore format: one line per group
  const most = blocksOf(chip, "attention_backward", c);
  const queries = Math.min(most.BM, Math.max(8, nextPowerOf2(c.queries)));
  const { BM, BN } = fitting({ BM: queries, BN: keysFor(c.keys, most.BN) }, c);
  const blocks = Math.ceil(c.keys / BN);
  const groups = c.batch * c.keyHeads;
  const chunks = Math.min(blocks, Math.ceil(chip.capabilities.threads / groups));
  // Gradients of halves are not added up in memory.
  const onePass = chunks <= mostChunks && !scores.HALF;
  const f32 = c.q.dtype === "f32";
  const direct = onePass && chunks === 1 && f32;
  let part = out.dq;
  if (onePass && !direct) part = empty([chunks, ...out.dq.shape], { dtype: "f32", device: out.dq.device });
  if (onePass) callOperator("zero_", part);
  const es: Strides = !direct && onePass ? partStrides(part, packed) : out.dqs;
  const span = onePass ? Math.ceil(blocks / chunks) : 1;
  const [qs, ks, vs] = [c.qs, c.ks, c.vs];
  const a = scores;
  attentionBackwardKeys.launch([Math.ceil(blocks / span), groups], {
    mask: a.mask, mb: a.mb, mh: a.mh, mt: a.mt, mn: a.mn, startsQ: a.startsQ, startsK: a.startsK,
    KH: a.KH, G: a.G, Sq: a.Sq, Sk: a.Sk, offset: a.offset, left: a.left, right: a.right, scale: a.scale, cap: a.cap,
    seed: a.seed, low: a.low, high: a.high, drop: a.drop, rest: a.rest, LEFT: a.LEFT, RIGHT: a.RIGHT, MASK: a.MASK,
    DROP: a.DROP, CAP: a.CAP, VARLEN: a.VARLEN, HALF: a.HALF, IN: a.IN, LOG2E: a.LOG2E, D: a.D, BD: a.BD, DV: a.DV, BV: a.BV,
    q: c.q, k: c.k, v: c.v, lse, delta, dy: grad.dy, dq: part,
    qb: qs[0], qh: qs[1], qt: qs[2], kb: ks[0], kh: ks[1], kt: ks[2], vb: vs[0], vh: vs[1], vt: vs[2],
    yb, yh, yt, eb: es[0], eh: es[1], et: es[2], lb: ls[0], lh: ls[1], BM, BN,
    dk: out.dk, dv: out.dv, ec: direct || !onePass ? 0 : part.strides[0]!, SPAN: span * BN, QUERIES: onePass,
    fb: out.dks[0], fh: out.dks[1], ft: out.dks[2], wb: out.dvs[0], wh: out.dvs[1], wt: out.dvs[2],
  }); // biome-ignore format: one line per group
  if (!onePass) {
    // On matrix units the sides change places: the large block is the one whose sums stay.
    const [BQ, BK] = a.HALF ? [Math.min(BN, Math.max(8, nextPowerOf2(c.queries))), BM] : [BM, BN];
    attentionBackwardQueries.launch([Math.ceil(c.queries / BQ), c.batch * c.heads], {
      mask: a.mask, mb: a.mb, mh: a.mh, mt: a.mt, mn: a.mn, startsQ: a.startsQ, startsK: a.startsK,
      KH: a.KH, G: a.G, Sq: a.Sq, Sk: a.Sk, offset: a.offset, left: a.left, right: a.right, scale: a.scale, cap: a.cap,
      seed: a.seed, low: a.low, high: a.high, drop: a.drop, rest: a.rest, LEFT: a.LEFT, RIGHT: a.RIGHT, MASK: a.MASK,
      DROP: a.DROP, CAP: a.CAP, VARLEN: a.VARLEN, HALF: a.HALF, IN: a.IN, LOG2E: a.LOG2E, D: a.D, BD: a.BD, DV: a.DV, BV: a.BV,
      q: c.q, k: c.k, v: c.v, lse, delta, dy: grad.dy, dq: part,
      qb: qs[0], qh: qs[1], qt: qs[2], kb: ks[0], kh: ks[1], kt: ks[2], vb: vs[0], vh: vs[1], vt: vs[2],
      yb, yh, yt, eb: es[0], eh: es[1], et: es[2], lb: ls[0], lh: ls[1], BM: BQ, BN: BK,
    }); // biome-ignore format: one line per group
  }
  delta.dispose();
  if (!onePass || direct) return;
  const whole =
    chunks === 1 ? part.select(0, 0) : (callOperator("sum.dim_IntList", part, [0], false) as Tensor);
  callOperator("copy_", out.dq, whole);
  part.dispose();
  whole.dispose();
}

const partStrides = (t: Tensor, packed: boolean): Strides =>
  packed ? [0, t.strides[2]!, t.strides[1]!] : [t.strides[1]!, t.strides[2]!, t.strides[3]!];
