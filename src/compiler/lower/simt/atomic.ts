// Atomic operations on tiles of places: one thread does each, and hands the old value to those that hold it too.

import { DTYPES, type DType, isNarrowFloat, numel, type Op, type Value } from "../../ir/index.js";
import { CompileError } from "../../target.js";
import { elementwise } from "../simd/elementwise.js";
import { isReg } from "../simd/emit.js";
import { wrapSmall } from "../simd/integer.js";
import { dtypeOf, memKind, regKind } from "../simd/kinds.js";
import type { AtomicOp, MemKind, Operand, Place, Reg, Stmt } from "./form.js";
import { isReplicated, type Layout } from "./layout.js";
import { placeOf } from "./memory.js";
import { fromMemory, toMemory } from "./shared.js";
import { isOwner } from "./threads.js";
import { loadTile, packed, storeTile } from "./tiles.js";
import type { Unit } from "./unit.js";

type Order = "relaxed" | "acquire" | "release" | "acq_rel";
interface What {
  readonly op: AtomicOp;
  readonly dtype: DType;
  readonly order: Order;
  readonly used: boolean;
}

export function emitAtomic(unit: Unit, op: Op): void {
  const { e, plan } = unit;
  const cas = op.opcode === "atomicCas";
  const [buffer, offset, ...rest] = op.operands as [Value, Value, ...Value[]];
  const l = plan.memoryLayout(op);
  const dtype = dtypeOf(buffer);
  const used = op.result.uses.size > 0;
  const what: What = {
    op: cas ? "cas" : (op.attrs["kind"] as AtomicOp),
    dtype,
    order: (op.attrs["order"] as Order | undefined) ?? "acq_rel",
    used,
  };
  const offsets = unit.get(offset, l);
  const values = unit.get(rest[cas ? 1 : 0]!, l);
  const expected = cas ? unit.get(rest[0]!, l) : undefined;
  const masks = !cas && rest[1] ? unit.get(rest[1], l) : undefined;
  // What changes nothing is a reading: every thread may do it for itself.
  const reads = readsOnly(op);
  const owner = reads ? 1 : isOwner(e, l);
  const old = offsets.map((at, r): Operand => {
    const mask = e.op("and", "mask", 1, [masks?.[r] ?? 1, owner]);
    return one(unit, what, placeOf(unit, buffer, offset, at), values[r]!, expected?.[r], mask);
  });
  if (!used) return;
  unit.define(op.result, l, isReplicated(l) && !reads ? handOn(unit, dtype, l, old) : old);
}

/** An `or` with 0 that promises no order. */
function readsOnly(op: Op): boolean {
  const def = op.operands[2]?.def;
  const zero = def && "opcode" in def && def.opcode === "const" && Number(def.attrs["value"]) === 0;
  return zero === true && op.attrs["kind"] === "or" && op.attrs["order"] === "relaxed";
}

/** Gives every thread what its owner got. */
function handOn(unit: Unit, d: DType, l: Layout, old: readonly Operand[]): Operand[] {
  const { e, shared } = unit;
  if (unit.plan.threads === 1) return [...old];
  shared.scratch(numel(l.shape) * DTYPES[d].bytes);
  storeTile(e, d, old, l, packed(d));
  shared.barrier();
  shared.touch();
  return loadTile(e, d, l, packed(d));
}

function one(
  unit: Unit,
  w: What,
  place: Place,
  value: Operand,
  expected: Operand | undefined,
  mask: Operand,
): Operand {
  const { e, shape } = unit;
  const kind = memKind(w.dtype);
  const unsigned = DTYPES[w.dtype].kind === "uint";
  const zero = regKind(w.dtype) === "i64" ? 0n : 0;
  if (!isReg(mask) && !Number(mask)) return zero;
  const float = kind === "f32" || kind === "f64";
  const native =
    !isNarrowFloat(w.dtype) &&
    w.dtype !== "bool" &&
    (w.op === "cas" ? kind === "i32" : shape.atomics(w.op, kind));
  if (!native) return byExchange(unit, w, place, value, expected, mask);
  const dst = e.reg(regKind(w.dtype));
  e.assign(dst, zero);
  e.push({
    s: "atomic",
    op: w.op,
    ...(w.used ? { dst } : {}),
    kind,
    value,
    ...(expected === undefined ? {} : { expected }),
    ...(unsigned && !float ? { unsigned } : {}),
    ...(isReg(mask) ? { mask } : {}),
    order: w.order,
    ...place,
  });
  e.settle(dst);
  return dst;
}

/** What memory of a dtype is compared and exchanged as. */
const bitsKind = (d: DType): MemKind => {
  const { bytes } = DTYPES[d];
  return bytes === 8 ? "i64" : bytes === 4 ? "i32" : bytes === 2 ? "u16" : "u8";
};

/** A loop around compare-and-exchange. */
function byExchange(
  unit: Unit,
  w: What,
  place: Place,
  value: Operand,
  expected: Operand | undefined,
  mask: Operand,
): Operand {
  const { e, shape } = unit;
  const d = w.dtype;
  const kind = bitsKind(d);
  if (kind === "i64" && !shape.atomics("cas", "i64"))
    throw new CompileError(`${unit.func.name}: this chip has no atomics on ${d}, which are 64 bits wide`);
  const word = kind === "i64" ? "i64" : "i32";
  const toBits = (x: Operand): Operand => {
    const m = toMemory(e, d, x);
    if (d === "f32" || d === "f64") return e.op("bitcast", word, 1, [isReg(m) ? m : variable(m)]);
    return DTYPES[d].bytes < 4 ? e.op("and", "i32", 1, [m, kind === "u8" ? 0xff : 0xffff]) : m;
  };
  const variable = (x: Operand): Reg => {
    const r = e.reg(regKind(d));
    e.assign(r, x);
    return r;
  };
  const fromBits = (b: Operand): Operand => {
    if (d === "f32" || d === "f64") return e.op("bitcast", d, 1, [b]);
    if (d === "bool" || isNarrowFloat(d)) return fromMemory(e, d, b);
    return wrapSmall(e, d, b, 1);
  };
  const seen = e.reg(word);
  const result = e.reg(word);
  e.assign(result, word === "i64" ? 0n : 0);
  const swap = (from: Operand, to: Operand): void =>
    e.push({ s: "atomic", op: "cas", dst: seen, kind, value: to, expected: from, order: w.order, ...place });
  if (w.op === "cas") {
    e.when(mask, () => {
      swap(toBits(expected!), toBits(value));
      e.assign(result, seen);
    });
  } else
    e.when(mask, () => {
      // A guess to begin with; what stands there comes back with the first attempt.
      const guess = e.reg(word);
      e.push({ s: "load", dst: [guess], kind, ...place });
      const done = e.reg("mask");
      e.assign(done, 0);
      const [cond, body]: [Stmt[], Stmt[]] = [[], []];
      let test: Operand = 1;
      e.inside(cond as never[], () => {
        test = e.op("not", "mask", 1, [done]);
      });
      e.inside(body as never[], () => {
        const attrs = { nan: "propagate" };
        const now = fromBits(guess);
        const next =
          w.op === "xchg" ? value : elementwise(e, { opcode: w.op, attrs, dtype: d, to: d }, [now, value], 1);
        swap(guess, toBits(next));
        e.assign(done, e.op("eq", "mask", 1, [seen, guess]));
        e.assign(guess, seen);
      });
      e.push({ s: "while", cond, test, body });
      e.assign(result, guess);
    });
  e.settle(result);
  return fromBits(result);
}
