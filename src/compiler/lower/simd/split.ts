// Splits the inner loop where masks of the form `base + index < bound` end: the part before needs no masks.

import { DTYPES, type Value, isInt, isSigned } from "../../ir/index.js";
import { visitTree } from "./axis.js";
import type { Operand } from "./form.js";
import { dtypeOf, regKind, shapeOf } from "./kinds.js";
import { type AxisMap, identityMap, isView, mapKey, operandMap } from "./maps.js";
import type { Context, Nest } from "./nest.js";
import { defOf } from "./values.js";

/** A condition that holds for a prefix of the inner axis, or for all of it or none. */
export interface Term {
  readonly key: string;
  readonly value: Value;
  readonly map: AxisMap;
  /** `small < large` (or `<=`) where `small` grows by 1 along the axis; undefined: the same along the axis. */
  readonly bound?: {
    readonly small: Value;
    readonly large: Value;
    readonly map: AxisMap;
    readonly equal: boolean;
  };
}

export interface Terms {
  readonly all: Term[];
  /** For each sink that writes under a mask alone: the terms that must hold. Undefined if some sink writes anyway. */
  readonly writes: Term[][] | undefined;
  /** The masks that are nothing but a conjunction of terms, by key. */
  readonly masks: ReadonlyMap<string, readonly string[]>;
}

/** The index up to which all terms hold (a multiple of the block), and up to which anything is written. */
export interface Split {
  readonly main: Operand;
  readonly end: Operand;
  /** For each term the first index at which it does not hold. */
  readonly limits: ReadonlyMap<string, Operand>;
}

export function prefixTerms(nest: Nest): Terms {
  const found = new Map<string, Term>();
  const masks = new Map<string, readonly string[]>();
  const add = (mask: Value, map: AxisMap): Term[] => {
    const own = new Map<string, Term>();
    if (termsOf(nest, mask, map, own)) masks.set(mapKey(nest.code.unit.ids.of(mask), map), [...own.keys()]);
    for (const [key, t] of own) found.set(key, t);
    return [...own.values()];
  };
  let writes: Term[][] | undefined = [];
  for (const s of nest.sinks) {
    visitTree(
      nest,
      (v, map) => {
        const op = defOf(v);
        // What is the same along the axis is loaded outside of the loop that is split.
        if (op?.opcode === "load" && op.operands[2] && !nest.cellOf(v) && nest.dependsOnInner(v, map))
          add(op.operands[2], map);
      },
      s.reads,
    );
    const own = s.mask ? add(s.mask, identityMap(shapeOf(s.mask))) : [];
    if (own.length) writes?.push(own);
    else writes = undefined;
  }
  return { all: [...found.values()], writes, masks };
}

/** Adds the conditions whose conjunction the mask is, as far as they have the form; tells whether that is all of it. */
function termsOf(nest: Nest, v: Value, map: AxisMap, into: Map<string, Term>): boolean {
  const op = defOf(v);
  if (op?.opcode === "const") return Number(op.attrs["value"]) === 1;
  const key = mapKey(nest.code.unit.ids.of(v), map);
  if (!nest.dependsOnInner(v, map)) {
    into.set(key, { key, value: v, map });
    return true;
  }
  if (!op || nest.cellOf(v)) return false;
  if (isView(op)) return termsOf(nest, op.operands[0]!, operandMap(op, map), into);
  if (op.opcode === "and") return op.operands.map((x) => termsOf(nest, x, map, into)).every(Boolean);
  if (op.opcode !== "cmp") return false;
  const [a, b] = op.operands as [Value, Value];
  const d = dtypeOf(a);
  if (!isInt(d) || !isSigned(d) || DTYPES[d].bits < 32) return false;
  const pred = op.attrs["pred"] as string;
  const swap = pred === "gt" || pred === "ge";
  if (!swap && pred !== "lt" && pred !== "le") return false;
  const [small, large] = swap ? [b, a] : [a, b];
  const stride = (x: Value): number | undefined => nest.affine.stride(x, map, nest.axis);
  if (stride(small) !== 1 || stride(large) !== 0) return false;
  into.set(key, { key, value: v, map, bound: { small, large, map, equal: pred === "le" || pred === "ge" } });
  return true;
}

/** Emits where the loop splits, outside of it. */
export function splitOf(nest: Nest, terms: Terms, size: number, block: number): Split {
  const { e } = nest;
  const limits = new Map<string, Operand>();
  for (const t of terms.all) limits.set(t.key, limitOf(nest, t, size));
  const least = (list: readonly Term[]): Operand =>
    leastOf(
      nest,
      limits,
      list.map((t) => t.key),
      size,
    );
  const main = e.op("and", "i32", 1, [least(terms.all), -block]);
  if (!terms.writes) return { main, end: size, limits };
  const end = terms.writes.map(least).reduce((m, x) => e.op("maxS", "i32", 1, [m, x]));
  return { main, end, limits };
}

/** The index up to which all of the terms hold. */
export function leastOf(
  nest: Nest,
  limits: ReadonlyMap<string, Operand>,
  keys: readonly string[],
  size: number,
): Operand {
  return nest.memoized(
    nest.levels.at(-1)!,
    `least ${keys.join(" ")}`,
    () =>
      keys.reduce<Operand | undefined>(
        (m, key) => (m === undefined ? limits.get(key)! : nest.e.op("minS", "i32", 1, [m, limits.get(key)!])),
        undefined,
      ) ?? size,
  );
}

/** The first index at which the term does not hold, from 0 to `size`; emitted as far out as it can be. */
function limitOf(nest: Nest, t: Term, size: number): Operand {
  const { e } = nest;
  if (!t.bound) {
    const place = nest.levelOf(nest.affine.axes(t.value, t.map));
    const holds = nest.first(t.value, t.map, undefined);
    return nest.memoized(place, `limit ${t.key}`, () => e.op("select", "i32", 1, [holds, size, 0]));
  }
  const { small, large, map, equal } = t.bound;
  const place = nest.levelOf(nest.affine.axes(small, map) | nest.affine.axes(large, map));
  // In 64 bits, so that a bound near the end of the range does not wrap.
  const wide = (x: Operand): Operand =>
    regKind(dtypeOf(small)) === "i64" ? x : e.op("convertS", "i64", 1, [x]);
  const f = (op: "sub" | "add" | "minS" | "maxS", a: Operand, b: Operand): Operand =>
    e.op(op, "i64", 1, [a, b]);
  return nest.memoized(place, `limit ${t.key}`, () => {
    const origin: Context = nest.context(0);
    let n = f("sub", wide(nest.first(large, map, origin)), wide(nest.first(small, map, origin)));
    if (equal) n = f("add", n, 1n);
    n = f("maxS", f("minS", n, BigInt(size)), 0n);
    return e.op("convertS", "i32", 1, [n]);
  });
}
