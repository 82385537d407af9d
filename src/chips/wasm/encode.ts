// Writes WebAssembly modules: instruction lists to binary. Knows the binary format, nothing about kernels.

import { OPCODES } from "./opcodes.js";

export type ValType = "i32" | "i64" | "f32" | "f64" | "v128";

const VAL_TYPES: Readonly<Record<ValType, number>> = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
};

/** One instruction. `imm` holds what its {@link Opcode} asks for; memory accesses: [offset] or [offset, lane]. */
export interface Instr {
  readonly name: string;
  readonly imm: readonly (number | bigint)[];
}

export interface Func {
  readonly name: string;
  readonly params: readonly ValType[];
  readonly results: readonly ValType[];
  /** Beyond the parameters. */
  readonly locals: readonly ValType[];
  readonly code: readonly Instr[];
}

/** A module that imports `env.memory` and exports functions by index. */
export interface Module {
  readonly funcs: readonly Func[];
  readonly exports: readonly { readonly name: string; readonly func: number }[];
  /** Pages; `shared` as the memory itself was made. */
  readonly memory: { readonly min: number; readonly max: number; readonly shared: boolean };
}

/** A byte list that grows. */
class Bytes {
  private data = new Uint8Array(1024);
  private view = new DataView(this.data.buffer);
  length = 0;

  private reserve(n: number): void {
    if (this.length + n <= this.data.length) return;
    const bigger = new Uint8Array(Math.max(this.data.length * 2, this.length + n));
    bigger.set(this.data);
    this.data = bigger;
    this.view = new DataView(bigger.buffer);
  }
  byte(b: number): void {
    this.reserve(1);
    this.data[this.length++] = b;
  }
  bytes(b: ArrayLike<number>): void {
    this.reserve(b.length);
    this.data.set(b, this.length);
    this.length += b.length;
  }
  unsigned(v: number): void {
    let rest = v;
    while (rest >= 128) {
      this.byte((rest % 128) | 128);
      rest = Math.floor(rest / 128);
    }
    this.byte(rest);
  }
  signed32(v: number): void {
    let rest = v;
    for (;;) {
      const b = rest & 127;
      rest >>= 7;
      if ((rest === 0 && (b & 64) === 0) || (rest === -1 && (b & 64) !== 0)) {
        this.byte(b);
        return;
      }
      this.byte(b | 128);
    }
  }
  signed(v: bigint): void {
    let rest = v;
    for (;;) {
      const b = Number(rest & 127n);
      rest >>= 7n;
      if ((rest === 0n && (b & 64) === 0) || (rest === -1n && (b & 64) !== 0)) {
        this.byte(b);
        return;
      }
      this.byte(b | 128);
    }
  }
  f32(v: number): void {
    this.reserve(4);
    this.view.setFloat32(this.length, v, true);
    this.length += 4;
  }
  f64(v: number): void {
    this.reserve(8);
    this.view.setFloat64(this.length, v, true);
    this.length += 8;
  }
  string(s: string): void {
    const utf8 = new TextEncoder().encode(s);
    this.unsigned(utf8.length);
    this.bytes(utf8);
  }
  sized(part: Bytes): void {
    this.unsigned(part.length);
    this.bytes(part.done());
  }
  done(): Uint8Array {
    return this.data.slice(0, this.length);
  }
}

function writeInstr(out: Bytes, { name, imm }: Instr): void {
  const op = OPCODES.get(name);
  if (!op) throw new Error(`no WebAssembly instruction ${name}`);
  if (op.prefix) {
    out.byte(op.prefix);
    out.unsigned(op.code);
  } else out.byte(op.code);
  switch (op.imm) {
    case "none":
      break;
    case "index":
      out.unsigned(Number(imm[0]));
      break;
    case "lane":
      out.byte(Number(imm[0]));
      break;
    case "mem":
    case "memLane":
      out.unsigned(op.align);
      out.unsigned(Number(imm[0]));
      if (op.imm === "memLane") out.byte(Number(imm[1]));
      break;
    case "bytes16":
      out.bytes(imm as readonly number[]);
      break;
    case "i32":
      out.signed32(Number(imm[0]) | 0);
      break;
    case "i64":
      out.signed(BigInt.asIntN(64, BigInt(imm[0]!)));
      break;
    case "f32":
      out.f32(Number(imm[0]));
      break;
    case "f64":
      out.f64(Number(imm[0]));
      break;
    case "block":
      out.byte(0x40); // no parameters, no result
      break;
  }
}

function writeBody(f: Func): Bytes {
  const body = new Bytes();
  const runs: { type: ValType; count: number }[] = [];
  for (const type of f.locals) {
    const last = runs.at(-1);
    if (last?.type === type) last.count++;
    else runs.push({ type, count: 1 });
  }
  body.unsigned(runs.length);
  for (const r of runs) {
    body.unsigned(r.count);
    body.byte(VAL_TYPES[r.type]);
  }
  for (const i of f.code) writeInstr(body, i);
  body.byte(0x0b);
  return body;
}

/** The module's binary. Function names go into the name section, so that traps show them. */
export function encodeModule(m: Module): Uint8Array {
  const out = new Bytes();
  out.bytes([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
  const section = (id: number, fill: (b: Bytes) => void): void => {
    const b = new Bytes();
    fill(b);
    out.byte(id);
    out.sized(b);
  };
  section(1, (b) => {
    b.unsigned(m.funcs.length);
    for (const f of m.funcs) {
      b.byte(0x60);
      for (const types of [f.params, f.results]) {
        b.unsigned(types.length);
        for (const t of types) b.byte(VAL_TYPES[t]);
      }
    }
  });
  section(2, (b) => {
    b.unsigned(1);
    b.string("env");
    b.string("memory");
    b.byte(2);
    b.byte(m.memory.shared ? 3 : 1);
    b.unsigned(m.memory.min);
    b.unsigned(m.memory.max);
  });
  section(3, (b) => {
    b.unsigned(m.funcs.length);
    m.funcs.forEach((_, i) => {
      b.unsigned(i);
    });
  });
  section(7, (b) => {
    b.unsigned(m.exports.length);
    for (const e of m.exports) {
      b.string(e.name);
      b.byte(0);
      b.unsigned(e.func);
    }
  });
  section(10, (b) => {
    b.unsigned(m.funcs.length);
    for (const f of m.funcs) b.sized(writeBody(f));
  });
  section(0, (b) => {
    b.string("name");
    const names = new Bytes();
    names.unsigned(m.funcs.length);
    m.funcs.forEach((f, i) => {
      names.unsigned(i);
      names.string(f.name);
    });
    b.byte(1);
    b.sized(names);
  });
  return out.done();
}
