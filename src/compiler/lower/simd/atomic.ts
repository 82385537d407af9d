// Atomics as part of a loop nest: one element at a time, in order, whatever the vector width.

import { type Attr, type DType, isNarrowFloat, isSigned, type Value } from "../../ir/index.js";
import { elementwise } from "./elementwise.js";
import type { Emitter } from "./emit.js";
import type { AtomicOp, Mem, Operand, Stmt } from "./form.js";
import { dtypeOf, isScalarValue, memKind, regKind, shapeOf } from "./kinds.js";
import { identityMap } from "./maps.js";
import { insert } from "./memory.js";
import { fromNarrowBits, toNarrowBits } from "./narrow.js";
import type { Nest } from "./nest.js";
import type { Root } from "./plan.js";
import type { Sink } from "./sinks.js";

export function atomicSink(nest: Nest, { op }: Extract<Root, { kind: "effect" }>): Sink {
  const { e, code } = nest;
  const cas = op.opcode === "atomicCas";
  const [buffer, offset, ...rest] = op.operands as [Value, Value, ...Value[]];
  const values = rest.slice(0, cas ? 2 : 1);
  const mask = rest[values.length];
  const shape = shapeOf(offset);
  const map = identityMap(shape);
  const d = dtypeOf(buffer);
  const kind = regKind(d);
  const name = cas ? "cas" : (op.attrs["kind"] as AtomicOp);
  return {
    reads: [offset, ...rest].map((value) => ({ value, map })),
    offset,
    ...(mask && op.result.uses.size === 0 ? { mask } : {}),
    turn: (ctx) => {
      const { lanes } = nest;
      const place = nest.placeOf(offset, map, ctx, lanes);
      const m = mask ? nest.vector(mask, map, ctx) : 1;
      const xs = values.map((v) => nest.vector(v, map, ctx));
      return () => {
        const old = e.reg(kind, lanes);
        e.assign(old, kind === "i64" ? 0n : 0);
        for (let k = 0; k < lanes; k++)
          e.when(e.extract(m, "mask", k), () => {
            const at =
              place.kind === "lanes"
                ? place.at(k)
                : e.op("add", indexKind(place.at), 1, [place.at, index(place.at, k)]);
            const args = xs.map((x) => e.extract(x, kind, k));
            insert(e, old, atomic(e, name, d, code.unit.bufferOf(buffer), at, args), k);
          });
        if (op.result.uses.size === 0) return;
        if (isScalarValue(op.result)) code.unit.scalars.set(op.result, old);
        else nest.writeCell(code.unit.cells.get(op.result)!, shape, map, ctx, old, lanes);
      };
    },
  };
}

/** One atomic on one element; `args` are the value, or what is expected and the value. Gives the old one. */
function atomic(
  e: Emitter,
  op: AtomicOp,
  d: DType,
  mem: Mem,
  at: Operand,
  args: readonly Operand[],
): Operand {
  if (isNarrowFloat(d)) return narrowAtomic(e, op, d, mem, at, args);
  const dst = e.reg(regKind(d));
  e.out.push({
    s: "atomic",
    op,
    dst,
    mem,
    kind: memKind(d),
    at,
    value: args.at(-1)!,
    ...(op === "cas" ? { expected: args[0]! } : {}),
    ...((op === "max" || op === "min") && !isSigned(d) ? { unsigned: true } : {}),
  });
  return dst;
}

/** Floats of 8 and 16 bits: their bits are exchanged, as often as another program came between reading and writing. */
function narrowAtomic(
  e: Emitter,
  op: AtomicOp,
  d: DType,
  mem: Mem,
  at: Operand,
  args: readonly Operand[],
): Operand {
  const kind = memKind(d);
  const bits = (x: Operand): Operand => toNarrowBits(e, d, x, 1);
  const swap = (name: "xchg" | "cas", value: Operand, expected?: Operand): Operand => {
    const dst = e.reg("i32");
    e.out.push({
      s: "atomic",
      op: name,
      dst,
      mem,
      kind,
      at,
      value,
      ...(expected === undefined ? {} : { expected }),
    });
    return dst;
  };
  if (op === "xchg") return fromNarrowBits(e, d, swap("xchg", bits(args[0]!)), 1);
  if (op === "cas") return fromNarrowBits(e, d, swap("cas", bits(args[1]!), bits(args[0]!)), 1);
  const seen = e.reg("i32");
  e.assign(seen, e.load("i32", 1, mem, kind, at));
  const cond: Stmt[] = [];
  const test = e.inside(cond, () => {
    const before = fromNarrowBits(e, d, seen, 1);
    const attrs: Record<string, Attr> = op === "max" || op === "min" ? { nan: "propagate" } : {};
    const after = elementwise(e, { opcode: op, attrs, dtype: d, to: d }, [before, args[0]!], 1);
    const found = swap("cas", bits(after), seen);
    const changed = e.op("ne", "mask", 1, [found, seen]);
    e.assign(seen, found);
    return changed;
  });
  e.out.push({ s: "while", cond, test, body: [] });
  return fromNarrowBits(e, d, seen, 1);
}

const indexKind = (at: Operand): "i32" | "i64" =>
  typeof at === "bigint" || (typeof at === "object" && at.type.kind === "i64") ? "i64" : "i32";
const index = (at: Operand, k: number): Operand => (indexKind(at) === "i64" ? BigInt(k) : k);
