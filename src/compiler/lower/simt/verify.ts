// Checks what the printers rely on: kinds of operands, sizes of accesses, registers that are assigned before they are read.

import { nestedLists } from "../dead.js";
import { results } from "./dead.js";
import type { Form, MemKind, Operand, Place, RegKind, Stmt } from "./form.js";
import type { SimtShape } from "./shape.js";

/** A form that breaks a rule of `form.ts`: a fault of the lowering. */
export class FormError extends Error {
  override name = "FormError";
}

const BYTES: Record<MemKind, number> = { i8: 1, u8: 1, i16: 2, u16: 2, i32: 4, f32: 4, i64: 8, f64: 8 };
const REGISTER: Record<MemKind, RegKind> = {
  i8: "i32", u8: "i32", i16: "i32", u16: "i32", i32: "i32", f32: "f32", i64: "i64", f64: "f64",
}; // biome-ignore format: a table

/** Throws {@link FormError} with the statement that is wrong. */
export function verifyForm(form: Form, shape: SimtShape): void {
  const assigned = new Set<number>();
  const fail = (s: Stmt, why: string): never => {
    throw new FormError(`${form.name}: ${s.s}: ${why}`);
  };
  const kindOf = (o: Operand): RegKind | undefined => (typeof o === "object" ? o.type.kind : undefined);
  const read = (s: Stmt, o: Operand, kind?: RegKind): void => {
    if (typeof o !== "object") {
      if (kind === "i64" && typeof o !== "bigint") fail(s, `the literal ${o} is no i64`);
      if (kind !== undefined && kind !== "i64" && typeof o === "bigint")
        fail(s, `the literal ${o}n is no ${kind}`);
      return;
    }
    if (!assigned.has(o.id)) fail(s, `%${o.id} is read before it is assigned`);
    if (kind !== undefined && o.type.kind !== kind) fail(s, `%${o.id} is ${o.type.kind}, not ${kind}`);
  };
  const place = (s: Stmt, p: Place): void => {
    read(s, p.at);
    if (kindOf(p.at) === "mask" || kindOf(p.at) === "f32" || kindOf(p.at) === "f64")
      fail(s, "a place is an integer");
    if ("param" in p.mem && form.params[p.mem.param]?.kind !== "buffer")
      fail(s, `parameter ${p.mem.param} is no buffer`);
  };
  const access = (s: Stmt, kind: MemKind, n: number): void => {
    const bytes = BYTES[kind] * n;
    if (![1, 2, 4, 8, 16].includes(bytes) || (n > 1 && BYTES[kind] < 4)) fail(s, `${n} elements of ${kind}`);
    if (n > 1 && bytes > shape.accessBytes) fail(s, `${bytes} bytes in one access`);
  };
  const check = (s: Stmt): void => {
    const mask = "mask" in s ? s.mask : undefined;
    if (mask !== undefined) read(s, mask, "mask");
    switch (s.s) {
      case "op":
        s.args.forEach((a) => {
          read(s, a);
        });
        return;
      case "load":
        place(s, s);
        access(s, s.kind, s.dst.length);
        for (const r of s.dst)
          if (r.type.kind !== REGISTER[s.kind]) fail(s, `%${r.id} cannot hold ${s.kind}`);
        return;
      case "store":
        place(s, s);
        access(s, s.kind, s.values.length);
        if (s.type.kind !== REGISTER[s.kind]) fail(s, `${s.type.kind} is stored as ${s.kind}`);
        for (const v of s.values) read(s, v, s.type.kind);
        return;
      case "atomic": {
        place(s, s);
        read(s, s.value, REGISTER[s.kind]);
        if (s.expected !== undefined) read(s, s.expected, REGISTER[s.kind]);
        if (s.op === "cas" && !["i32", "i64", "u16", "u8"].includes(s.kind)) fail(s, `cas of ${s.kind}`);
        if (s.op !== "cas" && !shape.atomics(s.op, s.kind)) fail(s, `${s.op} of ${s.kind}`);
        return;
      }
      case "shuffle":
        if (!shape.subgroup) fail(s, "the chip has none");
        read(s, s.value, s.dst.type.kind);
        read(s, s.by, "i32");
        if (s.dst.type.kind !== "i32" && s.dst.type.kind !== "f32") fail(s, `of ${s.dst.type.kind}`);
        return;
      case "match":
        if (!shape.matchLanes || shape.subgroup !== s.lanes) fail(s, "the chip has none");
        read(s, s.value, "i32");
        return;
      case "bulkBarrier":
      case "bulkArrive":
      case "bulkExpect":
      case "bulkWait":
        if (!shape.bulkCopy) fail(s, "the chip has none");
        place(s, s.place);
        if (s.s === "bulkExpect") read(s, s.bytes, "i32");
        if (s.s === "bulkWait") read(s, s.parity, "i32");
        return;
      case "bulkCopy":
        if (!shape.bulkCopy || !form.maps?.[s.map]) fail(s, "the chip has none, or there is no such map");
        for (const p of [s.to, s.barrier]) place(s, p);
        for (const x of s.from) read(s, x, "i32");
        if (s.empty) {
          if (!form.maps?.[s.empty.map]?.empty) fail(s, "there is no such map for empty blocks");
          read(s, s.empty.test, "mask");
        }
        return;
      case "for":
        for (const o of [s.lo, s.hi, s.step]) read(s, o, s.iv.type.kind);
        return;
      case "if":
        read(s, s.test, "mask");
    }
  };
  const list = (stmts: readonly Stmt[]): void => {
    for (const s of stmts) {
      check(s);
      for (const r of results(s)) assigned.add(r.id);
      for (const inner of nestedLists(s)) list(inner);
      if (s.s === "while") read(s, s.test, "mask");
    }
  };
  list(form.body);
  if (form.sharedBytes > shape.sharedBytes)
    throw new FormError(`${form.name}: ${form.sharedBytes} bytes of shared memory`);
  if (form.threads > shape.maxThreads || !Number.isInteger(Math.log2(form.threads)))
    throw new FormError(`${form.name}: ${form.threads} threads`);
}
