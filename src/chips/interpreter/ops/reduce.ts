// Reductions and scans along one axis. Floats are accumulated in f64 and rounded once, or once per element
// in scans: the nearest to the exact result of all chips.

// biome-ignore-all lint/suspicious/noAssignInExpressions: an index that walks

// biome-ignore-all lint/suspicious/noSelfCompare: `x !== x` finds NaN in numbers and holds for bigints

import { type DType, is64, isFloat, numel } from "../../../compiler/ir/index.js";
import { elements } from "../elements.js";
import { interpret, tileType } from "../emit.js";
import { A, specialize } from "../loops.js";
import { rounded } from "./arith.js";

/** `outer` rows of `len` elements that stand `inner` apart; `from` and `step` give the direction of a scan. */
type Fold = (o: A, a: A, outer: number, len: number, inner: number) => void;

const sum: Fold = (o, a, outer, len, inner) => {
  for (let r = 0; r < outer; r++)
    for (let c = 0; c < inner; c++) {
      let k = r * len * inner + c;
      let s = a[k]!;
      for (let i = 1; i < len; i++) s += a[(k += inner)]!;
      o[r * inner + c] = s;
    }
};
const isum: Fold = (o, a, outer, len, inner) => {
  for (let r = 0; r < outer; r++)
    for (let c = 0; c < inner; c++) {
      let k = r * len * inner + c;
      let s = a[k]!;
      for (let i = 1; i < len; i++) s = (s + a[(k += inner)]!) | 0;
      o[r * inner + c] = s;
    }
};
const prod: Fold = (o, a, outer, len, inner) => {
  for (let r = 0; r < outer; r++)
    for (let c = 0; c < inner; c++) {
      let k = r * len * inner + c;
      let s = a[k]!;
      for (let i = 1; i < len; i++) s *= a[(k += inner)]!;
      o[r * inner + c] = s;
    }
};
const iprod: Fold = (o, a, outer, len, inner) => {
  for (let r = 0; r < outer; r++)
    for (let c = 0; c < inner; c++) {
      let k = r * len * inner + c;
      let s = a[k]!;
      for (let i = 1; i < len; i++) s = Math.imul(s, a[(k += inner)]!);
      o[r * inner + c] = s;
    }
};
const bprod = (o: BigInt64Array, a: BigInt64Array, outer: number, len: number, inner: number): void => {
  for (let r = 0; r < outer; r++)
    for (let c = 0; c < inner; c++) {
      let k = r * len * inner + c;
      let s = a[k]!;
      for (let i = 1; i < len; i++) s = BigInt.asUintN(64, s * a[(k += inner)]!);
      o[r * inner + c] = s;
    }
};
const and: Fold = (o, a, outer, len, inner) => {
  for (let r = 0; r < outer; r++)
    for (let c = 0; c < inner; c++) {
      let k = r * len * inner + c;
      let s = a[k]!;
      for (let i = 1; i < len; i++) s &= a[(k += inner)]!;
      o[r * inner + c] = s;
    }
};
const or: Fold = (o, a, outer, len, inner) => {
  for (let r = 0; r < outer; r++)
    for (let c = 0; c < inner; c++) {
      let k = r * len * inner + c;
      let s = a[k]!;
      for (let i = 1; i < len; i++) s |= a[(k += inner)]!;
      o[r * inner + c] = s;
    }
};
const xor: Fold = (o, a, outer, len, inner) => {
  for (let r = 0; r < outer; r++)
    for (let c = 0; c < inner; c++) {
      let k = r * len * inner + c;
      let s = a[k]!;
      for (let i = 1; i < len; i++) s ^= a[(k += inner)]!;
      o[r * inner + c] = s;
    }
};

/**
 * The place of the largest element along the axis (`sign` 1) or of the smallest (-1); the first of equals.
 * A NaN wins if `nanWins`, else it loses to every number.
 */
const best = (
  value: A,
  place: A,
  a: A,
  outer: number,
  len: number,
  inner: number,
  largest: boolean,
  nanWins: boolean,
): void => {
  for (let r = 0; r < outer; r++)
    for (let c = 0; c < inner; c++) {
      let k = r * len * inner + c;
      let v = a[k]!;
      let at = 0;
      for (let i = 1; i < len; i++) {
        const x = a[(k += inner)]!;
        if (x !== x) {
          if (nanWins && v === v) {
            v = x;
            at = i;
          }
        } else if (v !== v) {
          if (!nanWins) {
            v = x;
            at = i;
          }
        } else if (largest ? x > v : x < v) {
          v = x;
          at = i;
        }
      }
      value[r * inner + c] = v;
      place[r * inner + c] = at;
    }
};

const isBig = (d: DType): boolean => is64(d) && !isFloat(d);

function foldLoop(kind: string, d: DType): Fold | undefined {
  const float = isFloat(d);
  const loop =
    kind === "sum"
      ? float || isBig(d)
        ? sum
        : isum
      : kind === "prod"
        ? float
          ? prod
          : isBig(d)
            ? (bprod as unknown as Fold)
            : iprod
        : { and, or, xor }[kind];
  return loop && specialize(loop, d);
}

interpret("reduce", (op, e) => {
  const t = tileType(op.operands[0]!);
  const axis = op.attrs["axis"] as number;
  const kind = op.attrs["kind"] as string;
  const outer = numel(t.shape.slice(0, axis));
  const len = t.shape[axis]!;
  const inner = numel(t.shape.slice(axis + 1));
  const a = A(e.array(op.operands[0]!));
  const o = A(e.array(op.results[0]!));
  const fold = foldLoop(kind, t.dtype);
  if (fold) {
    const step = () => fold(o, a, outer, len, inner);
    return kind === "sum" || kind === "prod" ? rounded(op.results[0]!, e, step) : step;
  }
  const largest = kind === "max" || kind === "argmax";
  if (!largest && kind !== "min" && kind !== "argmin") throw new Error(`no reduction is called ${kind}`);
  const place = A(op.results[1] ? e.array(op.results[1]) : elements("i32", outer * inner));
  const nanWins = op.attrs["nan"] !== "ignore";
  const run = specialize(best, t.dtype);
  return () => run(o, place, a, outer, len, inner, largest, nanWins);
});

/** `flip` walks from the end of the axis. `Fold`s as above, inclusive, with a running value. */
type Scan = (o: A, a: A, outer: number, len: number, inner: number, flip: boolean) => void;
const scans: Record<string, Scan> = {
  sum: (o, a, outer, len, inner, flip) => {
    for (let r = 0; r < outer; r++)
      for (let c = 0; c < inner; c++) {
        const step = flip ? -inner : inner;
        let k = r * len * inner + c + (flip ? (len - 1) * inner : 0);
        let s = a[k]!;
        o[k] = s;
        for (let i = 1; i < len; i++) {
          k += step;
          s += a[k]!;
          o[k] = s;
        }
      }
  },
  // Integers restart from the wrapped element each time, so that products stay exact.
  prod: (o, a, outer, len, inner, flip) => {
    for (let r = 0; r < outer; r++)
      for (let c = 0; c < inner; c++) {
        const step = flip ? -inner : inner;
        let k = r * len * inner + c + (flip ? (len - 1) * inner : 0);
        let s = a[k]!;
        o[k] = s;
        for (let i = 1; i < len; i++) {
          k += step;
          s *= a[k]!;
          o[k] = s;
        }
      }
  },
  iprod: (o, a, outer, len, inner, flip) => {
    for (let r = 0; r < outer; r++)
      for (let c = 0; c < inner; c++) {
        const step = flip ? -inner : inner;
        let k = r * len * inner + c + (flip ? (len - 1) * inner : 0);
        let s = a[k]!;
        o[k] = s;
        for (let i = 1; i < len; i++) {
          k += step;
          s = Math.imul(s, a[k]!);
          o[k] = s;
        }
      }
  },
  max: (o, a, outer, len, inner, flip) => {
    for (let r = 0; r < outer; r++)
      for (let c = 0; c < inner; c++) {
        const step = flip ? -inner : inner;
        let k = r * len * inner + c + (flip ? (len - 1) * inner : 0);
        let s = a[k]!;
        o[k] = s;
        for (let i = 1; i < len; i++) {
          k += step;
          const x = a[k]!;
          if (x > s || x !== x) s = x;
          o[k] = s;
        }
      }
  },
  min: (o, a, outer, len, inner, flip) => {
    for (let r = 0; r < outer; r++)
      for (let c = 0; c < inner; c++) {
        const step = flip ? -inner : inner;
        let k = r * len * inner + c + (flip ? (len - 1) * inner : 0);
        let s = a[k]!;
        o[k] = s;
        for (let i = 1; i < len; i++) {
          k += step;
          const x = a[k]!;
          if (x < s || x !== x) s = x;
          o[k] = s;
        }
      }
  },
};

interpret("scan", (op, e) => {
  const t = tileType(op.operands[0]!);
  const axis = op.attrs["axis"] as number;
  const kind = op.attrs["kind"] as string;
  const integer = !isFloat(t.dtype) && !isBig(t.dtype);
  const loop = scans[kind === "prod" && integer ? "iprod" : kind];
  if (!loop) throw new Error(`no scan is called ${kind}`);
  const run = specialize(loop, t.dtype);
  const a = A(e.array(op.operands[0]!));
  const o = A(e.array(op.result));
  const outer = numel(t.shape.slice(0, axis));
  const len = t.shape[axis]!;
  const inner = numel(t.shape.slice(axis + 1));
  const flip = op.attrs["reverse"] === true;
  return rounded(op.result, e, () => run(o, a, outer, len, inner, flip));
});
