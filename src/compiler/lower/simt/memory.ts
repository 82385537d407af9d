// Loads and stores of tiles: the registers of a thread that follow one another in memory go in one access.

import { DTYPES, type DType, type Op, type Value } from "../../ir/index.js";
import { isReg } from "../simd/emit.js";
import { dtypeOf, literal, memKind, regKind } from "../simd/kinds.js";
import { emitAtomic } from "./atomic.js";
import type { CacheHint, MemKind, Operand, Place, Reg, RegKind } from "./form.js";
import { countOf, type Layout } from "./layout.js";
import { packWords, unpackWords } from "./pack.js";
import { sizeOf } from "./plan.js";
import { fromMemory, toMemory } from "./shared.js";
import { isOwner } from "./threads.js";
import type { Unit } from "./unit.js";

export function emitMemory(unit: Unit, op: Op): void {
  unit.shared.access(op);
  if (op.opcode === "load") emitLoad(unit, op);
  else if (op.opcode === "store") emitStore(unit, op);
  else emitAtomic(unit, op);
}

/** Neighbouring registers that one access takes. */
interface Group {
  readonly first: number;
  readonly count: number;
}

/** How the registers of a layout fall into accesses of a buffer. */
function groupsOf(unit: Unit, op: Op, l: Layout): Group[] {
  const [buffer, offset] = op.operands as [Value, Value];
  const { bytes } = DTYPES[buffer.type.dtype];
  let count = 1;
  if (sizeOf(offset) > 1) {
    const { plan } = unit;
    const dim = plan.fastestOf(op);
    const most = plan.vectorOf(buffer, offset, dim);
    const unitBit = l.shape.slice(dim + 1).reduce((n, d) => n * d, 1);
    while (count < most && l.registers[Math.log2(count)] === unitBit * count) count *= 2;
    // Elements under 4 bytes travel in whole words.
    if (count * bytes < 4) count = 1;
  }
  return Array.from({ length: countOf(l) / count }, (_, g) => ({ first: g * count, count }));
}

/** The place of an element from its offset. */
export function placeOf(unit: Unit, buffer: Value, offset: Value, x: Operand): Place {
  const { e } = unit;
  const mem = { param: unit.paramOf(buffer) };
  const { base, plus } = e.split(x);
  const wide = regKind(dtypeOf(offset)) === "i64";
  const unsigned = DTYPES[dtypeOf(offset)].kind === "uint";
  // Unsigned numbers of 32 bits do not fit an i32 that is read as signed.
  if (unsigned && !wide)
    return { mem, at: e.op("convertU", "i64", 1, [isReg(x) ? x : e.op("copy", "i32", 1, [x])]) };
  if (base === undefined) return { mem, at: wide ? 0n : 0, plus: Number(plus) };
  return Number.isSafeInteger(Number(plus)) && Number(plus) !== 0
    ? { mem, at: base, plus: Number(plus) }
    : { mem, at: x };
}

function hintOf(op: Op): { cache?: CacheHint; early?: boolean } {
  const { eviction, cache } = op.attrs;
  const early = op.attrs["early"] === true ? { early: true } : {};
  if (eviction === "first" || eviction === "last")
    return { cache: eviction === "first" ? "evictFirst" : "evictLast", ...early };
  return cache === "streaming" || cache === "global" ? { cache, ...early } : early;
}

/** The mask of a group; undefined for lists of masks that differ. */
export function maskOf(
  unit: Unit,
  masks: readonly Operand[] | undefined,
  g: Group,
): { all: Operand; equal: boolean } {
  if (!masks) return { all: 1, equal: true };
  const list = masks.slice(g.first, g.first + g.count);
  if (list.every((m) => m === list[0])) return { all: list[0]!, equal: true };
  return { all: list.reduce((a, b) => unit.e.op("and", "mask", 1, [a, b])), equal: false };
}

/** Masks with those that are known to be equal within a group made so. */
export function masksOf(
  unit: Unit,
  mask: Value | undefined,
  op: Op,
  l: Layout,
): readonly Operand[] | undefined {
  if (!mask) return undefined;
  const regs = unit.get(mask, l);
  if (sizeOf(mask) === 1) return regs;
  const dim = unit.plan.fastestOf(op);
  const constancy = unit.plan.facts.get(mask)?.constancy[dim] ?? 1;
  const unitBit = l.shape.slice(dim + 1).reduce((n, d) => n * d, 1);
  let same = 1;
  while (same < constancy && l.registers[Math.log2(same)] === unitBit * same) same *= 2;
  return regs.map((_, r) => regs[r - (r % same)]!);
}

const wordOf = (d: DType): RegKind => (d === "bool" || DTYPES[d].bytes < 4 ? "i32" : regKind(d));

function emitLoad(unit: Unit, op: Op): void {
  const { e, plan } = unit;
  const [buffer, offset, mask, other] = op.operands as [Value, Value, Value?, Value?];
  const l = plan.memoryLayout(op);
  const d = dtypeOf(buffer);
  const offsets = unit.get(offset, l);
  const masks = masksOf(unit, mask, op, l);
  const others = other ? unit.get(other, l) : undefined;
  const zero = literal(regKind(d) === "i64" ? 0n : 0, d);
  const out: Operand[] = [];
  const assignAll = (to: readonly Reg[], xs: readonly Operand[]): void => {
    for (const [k, r] of to.entries()) e.assign(r, xs[k]!);
  };
  const one = (r: number, m: Operand): void => {
    // Into a variable that holds the other value.
    const dst = e.reg(wordOf(d));
    e.assign(dst, toMemory(e, d, others?.[r] ?? zero));
    e.push({
      s: "load",
      dst: [dst],
      kind: memKind(d),
      ...placeOf(unit, buffer, offset, offsets[r]!),
      mask: m,
      ...hintOf(op),
    });
    e.settle(dst);
    out[r] = fromMemory(e, d, dst);
  };
  for (const g of groupsOf(unit, op, l)) {
    const { all, equal } = maskOf(unit, masks, g);
    const list = Array.from({ length: g.count }, (_, k) => g.first + k);
    if (!isReg(all) && !Number(all)) {
      for (const r of list) out[r] = others?.[r] ?? zero;
      continue;
    }
    const place = placeOf(unit, buffer, offset, offsets[g.first]!);
    if (!isReg(all)) {
      const { kind, words } = wordsOf(d, g.count);
      const dst = Array.from({ length: words }, () => e.value(wordOf(d)));
      e.push({ s: "load", dst, kind, ...place, ...hintOf(op) });
      out.push(...unpackWords(e, d, dst, g.count));
    } else if (g.count === 1) one(g.first, all);
    else {
      const { kind, words } = wordsOf(d, g.count);
      const first = packWords(
        e,
        d,
        list.map((r) => others?.[r] ?? zero),
      );
      const dst: Reg[] = Array.from({ length: words }, () => e.reg(wordOf(d)));
      assignAll(dst, first);
      e.push({ s: "load", dst, kind, ...place, mask: all, ...hintOf(op) });
      if (!equal) {
        // At an edge inside the group: one by one.
        const parts = list.map((r) => ({ r, m: masks![r]! }));
        const singles = e.reg("mask");
        e.assign(singles, e.op("not", "mask", 1, [all]));
        e.settle(singles);
        e.when(singles, () => {
          const loaded = parts.map(({ r, m }): Operand => {
            const x = e.reg(wordOf(d));
            e.assign(x, toMemory(e, d, others?.[r] ?? zero));
            e.push({
              s: "load",
              dst: [x],
              kind: memKind(d),
              ...placeOf(unit, buffer, offset, offsets[r]!),
              mask: m,
              ...hintOf(op),
            });
            e.settle(x);
            return x;
          });
          assignAll(
            dst,
            packWords(
              e,
              d,
              loaded.map((x) => fromMemory(e, d, x)),
            ),
          );
        });
      }
      for (const r of dst) e.settle(r);
      out.push(...unpackWords(e, d, dst, g.count));
    }
  }
  unit.define(op.result, l, out);
}

/** The memory kind and the number of registers of `count` neighbours. */
function wordsOf(d: DType, count: number): { kind: MemKind; words: number } {
  const { bytes } = DTYPES[d];
  return bytes < 4 && count > 1
    ? { kind: "i32", words: (count * bytes) / 4 }
    : { kind: memKind(d), words: count };
}

function emitStore(unit: Unit, op: Op): void {
  const { e, plan } = unit;
  const [buffer, offset, value, mask] = op.operands as [Value, Value, Value, Value?];
  const l = plan.memoryLayout(op);
  const d = dtypeOf(buffer);
  const offsets = unit.get(offset, l);
  const values = unit.get(value, l);
  const owner = isOwner(e, l);
  const own = (m: Operand): Operand => e.op("and", "mask", 1, [m, owner]);
  const masks = masksOf(unit, mask, op, l);
  const put = (r: number, count: number, m: Operand): void => {
    const { kind } = wordsOf(d, count);
    if (!isReg(m) && !Number(m)) return;
    e.push({
      s: "store",
      values: packWords(e, d, values.slice(r, r + count)),
      type: { kind: wordOf(d), lanes: 1 },
      kind,
      ...placeOf(unit, buffer, offset, offsets[r]!),
      ...(isReg(m) ? { mask: m } : {}),
      ...hintOf(op),
    });
  };
  for (const g of groupsOf(unit, op, l)) {
    const { all, equal } = maskOf(unit, masks, g);
    put(g.first, g.count, own(all));
    if (!equal)
      e.when(e.op("not", "mask", 1, [all]), () => {
        for (let r = g.first; r < g.first + g.count; r++) put(r, 1, own(masks![r]!));
      });
  }
}
