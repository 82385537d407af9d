// Register operations as WebAssembly instructions. Where an instruction of the fitting name exists it is used;
// the functions below stand for those that the instruction set lacks. Memory stands in `emit-memory`.
//
// Vectors are v128. Two lanes of a 32-bit kind lie in the low half. A mask of 4 lanes is i32x4, of 2 lanes i64x2,
// all ones or all zeros; a scalar mask is an i32 of 0 or 1.

import type { RegKind, RegOp, RegType } from "../../compiler/lower/simd/form.js";
import { CompileError } from "../../compiler/target.js";
import type { Code, Push } from "./code.js";
import type { ValType } from "./encode.js";
import { f16ToF32, f32ToF16 } from "./half.js";
import { OPCODES } from "./opcodes.js";

const SHAPES = { i32: "i32x4", i64: "i64x2", f32: "f32x4", f64: "f64x2" } as const;
/** Bytes that move the low words of two 64-bit lanes into the low half. */
const LOW_WORDS = [0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11];

export const isFloat = (k: RegKind): boolean => k === "f32" || k === "f64";
export const is64 = (k: RegKind): boolean => k === "i64" || k === "f64";
export const valType = (t: RegType): ValType => (t.lanes > 1 ? "v128" : t.kind === "mask" ? "i32" : t.kind);
const scalar = (t: RegType): RegType => ({ kind: t.kind, lanes: 1 });

/** The prefix of instruction names for a type: `i32`, `f64x2`; masks as the integers they are made of. */
function shape(t: RegType): string {
  if (t.lanes === 1) return t.kind === "mask" ? "i32" : t.kind;
  if (t.kind === "mask") return t.lanes === 2 ? "i64x2" : "i32x4";
  return SHAPES[t.kind];
}

/** An argument of an operation: how to push it, its type, and the number if it is a literal. */
export interface Arg {
  readonly push: Push;
  readonly type: RegType;
  readonly literal?: number | bigint;
  /** Known to have the same value in all lanes. */
  readonly uniform?: boolean;
}

export interface OpOptions {
  readonly lane?: number;
  readonly pick?: readonly number[];
  /** relaxed_madd may be used. */
  readonly relaxed: boolean;
}

/** What an operation that is made of others needs. */
export interface Tools {
  /** Another operation, not yet emitted. */
  op(op: RegOp, type: RegType, args: readonly Arg[]): Arg;
  literal(value: number | bigint, type: RegType): Arg;
  /** An argument that may be pushed several times, for the duration of `fn`. */
  held(a: Arg, fn: (a: Arg) => void): void;
}

const NAMES: Partial<Record<RegOp, string>> = {
  divS: "div_s",
  divU: "div_u",
  remS: "rem_s",
  remU: "rem_u",
  minS: "min_s",
  minU: "min_u",
  maxS: "max_s",
  maxU: "max_u",
  shrS: "shr_s",
  shrU: "shr_u",
  ltS: "lt_s",
  leS: "le_s",
  gtS: "gt_s",
  geS: "ge_s",
  ltU: "lt_u",
  leU: "le_u",
  gtU: "gt_u",
  geU: "ge_u",
};
const COMPARES = new Set<RegOp>(["eq", "ne", "ltS", "leS", "gtS", "geS", "ltU", "leU", "gtU", "geU"]);
const BITWISE = new Set<RegOp>(["and", "or", "xor"]);
const SHIFTS = new Set<RegOp>(["shl", "shrS", "shrU"]);

const isNumber = (a: Arg): boolean => a.literal !== undefined && !Number.isNaN(Number(a.literal));

/** Pushes a literal of a type. */
export function pushLiteral(c: Code, value: number | bigint, type: RegType): void {
  if (type.lanes === 1) {
    if (type.kind === "mask") c.op("i32.const", Number(value) ? 1 : 0);
    else if (type.kind === "i64") c.op("i64.const", BigInt.asIntN(64, BigInt(value)));
    else if (type.kind === "i32") c.op("i32.const", Number(BigInt.asIntN(32, BigInt(value))));
    else c.op(`${type.kind}.const`, Number(value));
    return;
  }
  const view = new DataView(new ArrayBuffer(16));
  for (let at = 0; at < 16; at += is64(type.kind) ? 8 : 4) {
    if (type.kind === "mask") view.setInt32(at, Number(value) ? -1 : 0, true);
    else if (type.kind === "i32") view.setInt32(at, Number(BigInt.asIntN(32, BigInt(value))), true);
    else if (type.kind === "i64") view.setBigInt64(at, BigInt.asIntN(64, BigInt(value)), true);
    else if (type.kind === "f32") view.setFloat32(at, Number(value), true);
    else view.setFloat64(at, Number(value), true);
  }
  c.op("v128.const", ...new Uint8Array(view.buffer));
}

const literal = (c: Code, value: number | bigint, type: RegType): Arg => ({
  push: () => pushLiteral(c, value, type),
  type,
  literal: value,
});

const held = (c: Code, a: Arg, fn: (a: Arg) => void): void =>
  c.hold(a.push, valType(a.type), (push) => fn({ ...a, push }));

/** Emits `op` on `args`; the result of type `dst` is left on the stack. */
export function emitOp(c: Code, op: RegOp, dst: RegType, args: readonly Arg[], o: OpOptions): void {
  const [a, b, x] = args as [Arg, Arg, Arg];
  const again: Tools["op"] = (p, type, list) => ({ push: () => emitOp(c, p, type, list, o), type });
  const tools: Tools = {
    op: again,
    literal: (value, type) => literal(c, value, type),
    held: (arg, fn) => held(c, arg, fn),
  };

  switch (op) {
    case "copy":
      a.push();
      return;
    case "iota":
      c.op("v128.const", ...[0, 1, 2, 3].flatMap((i) => (i < dst.lanes ? [i, 0, 0, 0] : [0, 0, 0, 0])));
      return;
    case "splat":
      if (a.literal !== undefined) pushLiteral(c, a.literal, dst);
      else if (dst.lanes === 1) a.push();
      else emitSplat(c, dst, a);
      return;
    case "extract":
      emitExtract(c, a, o.lane ?? 0);
      return;
    case "insert":
      a.push();
      emitReplace(c, dst, o.lane ?? 0, b);
      return;
    case "pack":
      emitSplat(c, dst, a);
      for (const [k, arg] of args.entries()) if (k > 0) emitReplace(c, dst, k, arg);
      return;
    case "shuffle": {
      const bytes = 16 / dst.lanes;
      if (bytes !== (is64(dst.kind) ? 8 : 4)) throw new CompileError("wasm: shuffle of half a vector");
      a.push();
      b.push();
      c.op(
        "i8x16.shuffle",
        ...(o.pick ?? []).flatMap((k) => Array.from({ length: bytes }, (_, i) => k * bytes + i)),
      );
      return;
    }
    case "select":
      emitSelect(c, dst, a, b, x);
      return;
    case "not":
      a.push();
      c.op(dst.lanes > 1 ? "v128.not" : "i32.eqz");
      return;
    case "any":
      a.push();
      if (a.type.lanes > 1) c.op("v128.any_true");
      return;
    case "all":
      a.push();
      if (a.type.lanes > 1) c.op(`${shape(a.type)}.all_true`);
      return;
    case "fromMask":
      emitFromMask(c, dst, a);
      return;
    case "bitcast":
      a.push();
      if (dst.lanes === 1 && a.type.kind !== dst.kind) c.op(`${dst.kind}.reinterpret_${a.type.kind}`);
      return;
    case "convertS":
    case "convertU":
      emitConvert(c, op, dst, a, o);
      return;
    case "f16ToF32":
      f16ToF32(dst, a, tools);
      return;
    case "f32ToF16":
      f32ToF16(dst, a, tools);
      return;
    case "min":
    case "max": {
      // With a literal: pmin and pmax are single instructions of the machine and give their first operand where it is NaN.
      const [x, plain] = isNumber(b) ? [a, b] : [b, a];
      if (dst.lanes === 1 || !isNumber(plain)) break;
      x.push();
      plain.push();
      c.op(`${shape(dst)}.p${op}`);
      return;
    }
    case "pmin":
    case "pmax":
      if (dst.lanes > 1) break;
      held(c, a, (p) =>
        held(c, b, (q) => {
          const take = again("ltS", { kind: "mask", lanes: 1 }, op === "pmin" ? [q, p] : [p, q]);
          emitSelect(c, dst, take, q, p);
        }),
      );
      return;
    case "abs":
    case "neg": {
      if (dst.lanes === 1 || !isFloat(dst.kind)) break;
      // V8 makes the mask of f32x4.abs and neg anew in each turn of a loop; as a literal it is made before the loop.
      const sign = is64(dst.kind) ? -(2n ** 63n) : -(2n ** 31n);
      a.push();
      pushLiteral(c, op === "neg" ? sign : ~sign, { kind: is64(dst.kind) ? "i64" : "i32", lanes: dst.lanes });
      c.op(op === "neg" ? "v128.xor" : "v128.and");
      return;
    }
    case "fma":
      if (o.relaxed && dst.lanes > 1) {
        a.push();
        b.push();
        x.push();
        c.op(`${shape(dst)}.relaxed_madd`);
      } else emitOp(c, "add", dst, [again("mul", dst, [a, b]), x], o);
      return;
  }

  if ((op === "min" || op === "max") && dst.lanes > 1) {
    const fixed = args.findIndex((y) => y.literal !== undefined && !Number.isNaN(Number(y.literal)));
    if (fixed >= 0) {
      // The pseudo-minimum is one instruction, and gives its first operand where that is NaN.
      args[1 - fixed]!.push();
      args[fixed]!.push();
      c.op(`${shape(dst)}.p${op}`);
      return;
    }
  }
  if (SHIFTS.has(op) && dst.lanes > 1) {
    emitVectorShift(c, op, dst, a, b, o);
    return;
  }
  const operand = a.type;
  let name = NAMES[op] ?? op;
  if (isFloat(operand.kind) && COMPARES.has(op)) name = name.replace("_s", "");
  const full = BITWISE.has(op) && dst.lanes > 1 ? `v128.${name}` : `${shape(operand)}.${name}`;
  if (OPCODES.has(full)) {
    for (const arg of args) arg.push();
    c.op(full);
    if (COMPARES.has(op) && operand.lanes === 2 && !is64(operand.kind) && operand.kind !== "mask")
      c.op("i64x2.extend_low_i32x4_s"); // masks of two lanes are 64 bits wide
    return;
  }

  switch (op) {
    case "neg":
      emitOp(c, "sub", dst, [literal(c, 0, dst), a], o);
      return;
    case "abs":
      held(c, a, (v) => {
        const negative = again("ltS", { kind: "mask", lanes: dst.lanes }, [v, literal(c, 0, dst)]);
        emitSelect(c, dst, negative, again("neg", dst, [v]), v);
      });
      return;
    case "minS":
    case "minU":
    case "maxS":
    case "maxU": {
      const less = op.endsWith("S") ? "ltS" : "ltU";
      held(c, a, (p) =>
        held(c, b, (q) => {
          const first = op.startsWith("min") ? [p, q] : [q, p];
          emitSelect(c, dst, again(less, { kind: "mask", lanes: dst.lanes }, first), p, q);
        }),
      );
      return;
    }
    case "ltU":
    case "leU":
    case "gtU":
    case "geU": {
      // Unsigned order is signed order with the top bits flipped.
      const top = literal(c, -(2n ** 63n), operand);
      const signed = op.replace("U", "S") as RegOp;
      emitOp(c, signed, dst, [again("xor", operand, [a, top]), again("xor", operand, [b, top])], o);
      return;
    }
    default:
      if (operand.lanes > 1 && OPCODES.has(`${operand.kind}.${name}`)) {
        emitByLane(c, op, dst, args, o);
        return;
      }
      throw new CompileError(`wasm: ${op} is not defined for ${operand.kind}`);
  }
}

function emitSplat(c: Code, dst: RegType, a: Arg): void {
  if (dst.kind !== "mask") {
    a.push();
    c.op(`${SHAPES[dst.kind]}.splat`);
    return;
  }
  c.op("i32.const", 0);
  a.push();
  c.op("i32.sub"); // 0 or -1
  c.op("i32x4.splat");
}

function emitExtract(c: Code, a: Arg, lane: number): void {
  a.push();
  if (a.type.kind === "mask") {
    c.op("i32x4.extract_lane", a.type.lanes === 2 ? 2 * lane : lane);
    c.op("i32.const", 1);
    c.op("i32.and");
  } else if (a.type.lanes > 1) c.op(`${shape(a.type)}.extract_lane`, lane);
}

/** The vector is on the stack. */
function emitReplace(c: Code, type: RegType, lane: number, value: Arg): void {
  if (type.kind === "mask") {
    c.op("i32.const", 0);
    value.push();
    c.op("i32.sub");
    if (type.lanes === 2) c.op("i64.extend_i32_s");
  } else value.push();
  c.op(`${shape(type)}.replace_lane`, lane);
}

function emitSelect(c: Code, dst: RegType, mask: Arg, yes: Arg, no: Arg): void {
  const pushMask = (): void => {
    mask.push();
    if (dst.lanes === 2 && !is64(dst.kind) && dst.kind !== "mask") narrowMask(c);
  };
  if (dst.lanes > 1 && isZero(no)) {
    yes.push();
    pushMask();
    c.op("v128.and");
  } else if (dst.lanes > 1 && isZero(yes)) {
    no.push();
    pushMask();
    c.op("v128.andnot");
  } else {
    yes.push();
    no.push();
    pushMask();
    c.op(dst.lanes > 1 ? "v128.bitselect" : "select");
  }
}

/** A literal of which all bits are 0. */
const isZero = ({ literal: v }: Arg): boolean => v === 0n || Object.is(v, 0);

/** A mask of two 64-bit lanes on the stack becomes one of two 32-bit lanes in the low half. */
function narrowMask(c: Code): void {
  c.temp("v128", (t) => {
    c.op("local.tee", t);
    c.get(t);
    c.op("i8x16.shuffle", ...LOW_WORDS);
  });
}

function emitFromMask(c: Code, dst: RegType, a: Arg): void {
  a.push();
  if (dst.lanes === 1) {
    if (is64(dst.kind)) c.op("i64.extend_i32_u");
    return;
  }
  if (dst.lanes === 2 && dst.kind === "i32") narrowMask(c);
  pushLiteral(c, 1, dst);
  c.op("v128.and");
}

/** Computes each lane with the scalar operation. */
function emitByLane(c: Code, op: RegOp, dst: RegType, args: readonly Arg[], o: OpOptions): void {
  const rest = [...args];
  const step = (i: number): void => {
    if (i < rest.length) {
      if (rest[i]!.literal !== undefined) step(i + 1);
      else
        held(c, rest[i]!, (again) => {
          rest[i] = again;
          step(i + 1);
        });
      return;
    }
    for (let lane = 0; lane < dst.lanes; lane++) {
      const one: Arg = {
        type: scalar(dst),
        push: () => {
          const lanes = rest.map((a): Arg => {
            if (a.literal !== undefined) return literal(c, a.literal, scalar(a.type));
            return { type: scalar(a.type), push: () => emitExtract(c, a, lane) };
          });
          emitOp(c, op, scalar(dst), lanes, o);
        },
      };
      if (lane === 0) emitSplat(c, dst, one);
      else emitReplace(c, dst, lane, one);
    }
  };
  step(0);
}

function emitVectorShift(c: Code, op: RegOp, dst: RegType, a: Arg, count: Arg, o: OpOptions): void {
  if (count.literal === undefined && !count.uniform) {
    emitByLane(c, op, dst, [a, count], o);
    return;
  }
  a.push();
  if (count.literal !== undefined) c.op("i32.const", Number(BigInt(count.literal) & 63n));
  else {
    count.push();
    c.op("i32x4.extract_lane", 0);
  }
  c.op(`${shape(dst)}.${NAMES[op] ?? op}`);
}

function emitConvert(c: Code, op: "convertS" | "convertU", dst: RegType, a: Arg, o: OpOptions): void {
  const from = a.type.kind;
  const to = dst.kind;
  const sign = op === "convertS" ? "s" : "u";
  if (from === to) {
    a.push();
    return;
  }
  if (from === "mask" || to === "mask") throw new CompileError(`wasm: ${op} from ${from} to ${to}`);
  if (dst.lanes === 1) {
    a.push();
    if (isFloat(to)) {
      if (isFloat(from)) c.op(to === "f64" ? "f64.promote_f32" : "f32.demote_f64");
      else c.op(`${to}.convert_${from}_${sign}`);
    } else if (isFloat(from)) c.op(`${to}.trunc_sat_${from}_${sign}`);
    else c.op(to === "i64" ? `i64.extend_i32_${sign}` : "i32.wrap_i64");
    return;
  }
  const names: Record<string, string> = {
    "i32 i64": `i64x2.extend_low_i32x4_${sign}`,
    "i32 f32": `f32x4.convert_i32x4_${sign}`,
    "i32 f64": `f64x2.convert_low_i32x4_${sign}`,
    "f32 i32": `i32x4.trunc_sat_f32x4_${sign}`,
    "f64 i32": `i32x4.trunc_sat_f64x2_${sign}_zero`,
    "f32 f64": "f64x2.promote_low_f32x4",
    "f64 f32": "f32x4.demote_f64x2_zero",
  };
  const name = names[`${from} ${to}`];
  if (name) {
    a.push();
    c.op(name);
  } else if (from === "i64" && to === "i32") {
    a.push();
    narrowMask(c); // the same shuffle: low words to the low half
  } else emitByLane(c, op, dst, [a], o);
}
