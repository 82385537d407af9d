// Loads, stores and atomics as WebAssembly instructions. The caller pushes addresses; see `print`.

import type { AtomicOp, MemKind, RegOp, RegType } from "../../compiler/lower/simd/form.js";
import { CompileError } from "../../compiler/target.js";
import type { Code, Push } from "./code.js";
import type { ValType } from "./encode.js";
import { type Arg, emitOp } from "./emit-ops.js";

/** Pushes the address' base and says which constant is still to be added to it. */
export type PushAddress = () => number;

export const MEM_BYTES: Readonly<Record<MemKind, number>> = {
  i8: 1,
  u8: 1,
  i16: 2,
  u16: 2,
  i32: 4,
  i64: 8,
  f32: 4,
  f64: 8,
};

const SCALAR_LOADS: Readonly<Record<MemKind, string>> = {
  i8: "i32.load8_s",
  u8: "i32.load8_u",
  i16: "i32.load16_s",
  u16: "i32.load16_u",
  i32: "i32.load",
  i64: "i64.load",
  f32: "f32.load",
  f64: "f64.load",
};

const memOf = (kind: MemKind): { bytes: number; sign: string; reg: string } => ({
  bytes: MEM_BYTES[kind],
  sign: kind[0] === "u" ? "u" : "s",
  reg: MEM_BYTES[kind] < 4 ? "i32" : kind,
});

function check(type: RegType, kind: MemKind): void {
  if (type.kind !== memOf(kind).reg)
    throw new CompileError(`wasm: ${kind} in memory does not fit a register of kind ${type.kind}`);
}

/** Leaves `type.lanes` consecutive elements on the stack. */
export function emitLoad(c: Code, type: RegType, kind: MemKind, address: PushAddress): void {
  check(type, kind);
  const offset = address();
  const { bytes, sign } = memOf(kind);
  if (type.lanes === 1) c.op(SCALAR_LOADS[kind], offset);
  else if (bytes * type.lanes === 16) c.op("v128.load", offset);
  else if (bytes >= 4) c.op("v128.load64_zero", offset);
  else if (bytes === 2 && type.lanes === 4) c.op(`v128.load16x4_${sign}`, offset);
  else {
    c.op(bytes * type.lanes === 4 ? "v128.load32_zero" : "v128.load16_splat", offset);
    if (bytes === 1) c.op(`i16x8.extend_low_i8x16_${sign}`);
    c.op(`i32x4.extend_low_i16x8_${sign}`);
  }
}

/** One element into all lanes. */
export function emitLoadSplat(c: Code, kind: "i32" | "i64" | "f32" | "f64", address: PushAddress): void {
  c.op(`v128.load${8 * MEM_BYTES[kind]}_splat`, address());
}

/** Stores `value`; `before` runs when the operands are on the stack. */
export function emitStore(
  c: Code,
  type: RegType,
  kind: MemKind,
  address: PushAddress,
  value: Push,
  before: () => void,
): void {
  check(type, kind);
  const offset = address();
  value();
  const { bytes, reg } = memOf(kind);
  if (type.lanes === 1) {
    before();
    c.op(bytes < 4 ? `i32.store${8 * bytes}` : `${reg}.store`, offset);
    return;
  }
  const total = bytes * type.lanes;
  if (bytes < 4) {
    // Gathers the low bytes of the lanes at the bottom.
    const pick = Array.from({ length: 16 }, (_, i) =>
      i < total ? 4 * Math.floor(i / bytes) + (i % bytes) : 0,
    );
    c.temp("v128", (t) => {
      c.op("local.tee", t);
      c.get(t);
      c.op("i8x16.shuffle", ...pick);
    });
  }
  before();
  if (total === 16) c.op("v128.store", offset);
  else c.op(`v128.store${8 * total}_lane`, offset, 0);
}

export interface Atomic {
  readonly op: AtomicOp;
  readonly kind: MemKind;
  readonly type: RegType;
  readonly unsigned: boolean;
  readonly address: PushAddress;
  readonly value: Push;
  readonly expected?: Push;
}

/** Leaves the old value on the stack. What the instruction set lacks is a loop around compare-and-exchange. */
export function emitAtomic(c: Code, a: Atomic): void {
  check(a.type, a.kind);
  const { bytes, sign, reg } = memOf(a.kind);
  const float = reg === "f32" || reg === "f64";
  /** The integer that the memory is exchanged as. */
  const word: ValType = bytes === 8 ? "i64" : "i32";
  const width = bytes === 1 ? "8" : bytes === 2 ? "16" : "";
  const rmw = (op: string): string => `${word}.atomic.rmw${width}.${op}${width ? "_u" : ""}`;
  const narrow = (): void => {
    if (!width) return;
    c.op("i32.const", bytes === 1 ? 0xff : 0xffff);
    c.op("i32.and");
  };
  /** Bits as loaded -> register value. */
  const fromBits = (): void => {
    if (float) c.op(`${reg}.reinterpret_${word}`);
    else if (width && sign === "s") c.op(`i32.extend${width}_s`);
  };
  const toBits = (): void => {
    if (float) c.op(`${word}.reinterpret_${reg}`);
    narrow();
  };

  if (a.op === "xchg" || a.op === "cas") {
    const offset = a.address();
    if (a.op === "cas") {
      a.expected!();
      toBits();
    }
    a.value();
    toBits();
    c.op(rmw(a.op === "cas" ? "cmpxchg" : "xchg"), offset);
    fromBits();
    return;
  }
  if (!float && a.op !== "max" && a.op !== "min") {
    const offset = a.address();
    a.value();
    c.op(rmw(a.op), offset);
    fromBits();
    return;
  }

  let offset = 0;
  const base: Push = () => {
    offset = a.address();
  };
  const integer = `${a.op}${a.unsigned ? "U" : "S"}` as RegOp;
  c.hold(base, "i32", (at) =>
    c.hold(a.value, float ? (reg as ValType) : word, (value) =>
      c.temp(word, (old) => {
        c.op("loop");
        at();
        at();
        c.op(`${word}.atomic.load${width ? `${width}_u` : ""}`, offset);
        c.op("local.tee", old);
        // The stack holds the address and the expected bits; now the new ones.
        const now: Arg = {
          type: a.type,
          push: () => {
            c.get(old);
            fromBits();
          },
        };
        emitOp(c, float ? (a.op as RegOp) : integer, a.type, [now, { type: a.type, push: value }], {
          relaxed: false,
        });
        toBits();
        c.op(rmw("cmpxchg"), offset);
        c.get(old);
        c.op(`${word}.ne`);
        c.op("br_if", 0);
        c.op("end");
        c.get(old);
        fromBits();
      }),
    ),
  );
}
