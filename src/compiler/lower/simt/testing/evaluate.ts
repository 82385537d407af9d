// Runs a form in JavaScript, the threads of a workgroup in turns from barrier to barrier: to test the lowering without a
// device. It checks what a device does not: bounds, alignment, and that no thread touches what another one wrote or read
// since the last barrier. Slow; not a chip.

import { nestedLists } from "../../dead.js";
import { f16Bits, f16FromBits, roundToBf16 } from "../../../ir/rounding.js";
import type { FormArg } from "../../simd/testing/evaluate.js";
import { scalarOp } from "../../simd/testing/evaluate.js";
import type { Form, MemKind, Operand, Place, Reg, RegKind, SharedMatrix, Stmt } from "../form.js";
import type { MatrixShape } from "../shape.js";
import { Engine } from "./evaluate-bulk.js";
import { fromTf32, matrixProduct, type Numbers } from "./evaluate-matrix.js";

const BYTES: Record<MemKind, number> = { i8: 1, u8: 1, i16: 2, u16: 2, i32: 4, f32: 4, i64: 8, f64: 8 };
const GET: Record<MemKind, string> = {
  i8: "getInt8", u8: "getUint8", i16: "getInt16", u16: "getUint16",
  i32: "getInt32", f32: "getFloat32", i64: "getBigInt64", f64: "getFloat64",
}; // biome-ignore format: a table

/** Memory that knows who touched which byte last. */
class Watched {
  readonly view: DataView;
  private readonly writer: Int32Array;
  private readonly written: Int32Array;
  private readonly reader: Int32Array;
  private readonly readAt: Int32Array;
  constructor(
    readonly name: string,
    bytes: ArrayBufferView,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const n = bytes.byteLength;
    this.writer = new Int32Array(n);
    this.written = new Int32Array(n);
    this.reader = new Int32Array(n);
    this.readAt = new Int32Array(n);
  }

  /** Throws where somebody touched these bytes since the last barrier. */
  claim(at: number, bytes: number, epoch: number): void {
    for (let b = at; b < at + bytes; b++)
      if (this.readAt[b] === epoch || this.written[b] === epoch)
        throw new Error(`a copy to byte ${b} of ${this.name}, which a thread touched without a barrier`);
  }

  touch(at: number, bytes: number, thread: number, epoch: number, how: "read" | "write" | "atomic"): void {
    if (!(at >= 0 && at + bytes <= this.view.byteLength))
      throw new Error(`${how} of ${bytes} bytes at ${at} of ${this.name}, which has ${this.view.byteLength}`);
    if (at % bytes !== 0) throw new Error(`${how} of ${bytes} bytes at ${at} of ${this.name} is not aligned`);
    if (how === "atomic") return;
    for (let b = at; b < at + bytes; b++) {
      if (this.written[b] === epoch && this.writer[b] !== thread)
        throw new Error(
          `thread ${thread} ${how}s byte ${b} of ${this.name}, which thread ${this.writer[b]} wrote without a barrier`,
        );
      if (how === "write") {
        if (this.readAt[b] === epoch && this.reader[b] !== thread)
          throw new Error(
            `thread ${thread} writes byte ${b} of ${this.name}, which another thread read without a barrier`,
          );
        this.written[b] = epoch;
        this.writer[b] = thread;
      } else {
        this.reader[b] = this.readAt[b] === epoch && this.reader[b] !== thread ? -1 : thread;
        this.readAt[b] = epoch;
      }
    }
  }
}

/** What the code of a thread calls. */
class Group {
  epoch = 1;
  readonly lanes: (number | bigint)[] = [];
  /** What each thread hands to a matrix unit, and what it gets back. */
  readonly fragments: { a?: Numbers; b?: Numbers; c: Numbers }[] = [];
  readonly products: Numbers[] = [];
  readonly engine: Engine;
  /** Asynchronous copies of each thread that have not arrived, in groups; the last one is open. */
  private readonly copies: (() => void)[][][] = [];
  constructor(
    readonly memories: readonly Watched[],
    readonly form: Form,
    private readonly matrices: readonly MatrixShape[],
    offsets: readonly number[],
  ) {
    const shared = memories.at(-1)!;
    this.engine = new Engine(form.maps ?? [], {
      read: (param, element) => {
        const { mem } = form.params[param]!;
        return Number(this.load(param, "u16", element * 2 + offsets[param]! * BYTES[mem], 1, -1)[0]);
      },
      claim: (at, bytes) => shared.claim(at, bytes, this.epoch),
      write: (at, half) => void shared.view.setUint16(at, half, true),
      order: () => void this.epoch++,
    });
  }

  /** The thread that only copies, if there is one; one stands for all. */
  extra: Generator | undefined;

  /** Lets the other threads go on until a turn of a barrier has ended. */
  await(at: number, parity: number): void {
    for (let idle = 0; !this.engine.passed(at, parity); ) {
      const { turns } = this.engine;
      if (this.extra?.next().done) this.extra = undefined;
      idle = this.engine.turns === turns ? idle + 1 : 0;
      if (idle > 4 || (!this.extra && !this.engine.passed(at, parity)))
        throw new Error(`nothing ends the turn of the barrier at ${at}`);
    }
  }

  copy(
    to: number,
    from: number,
    atTo: number,
    atFrom: number,
    bytes: number,
    live: unknown,
    t: number,
  ): void {
    const words = live ? this.load(from, "u8", atFrom, bytes, t) : Array(bytes).fill(0);
    // It may be written from now on, and is there after the wait.
    this.groupsOf(t)
      .at(-1)!
      .push(() => this.store(to, "u8", atTo, words as number[], t));
  }

  private groupsOf(t: number): (() => void)[][] {
    this.copies[t] ??= [[]];
    return this.copies[t];
  }

  commit(t: number): void {
    this.groupsOf(t).push([]);
  }

  arrive(t: number, pending: number): void {
    const groups = this.groupsOf(t);
    while (groups.length - 1 > pending) for (const run of groups.shift()!) run();
  }

  /** The product of the unit that thread `t` leads. */
  matrix(index: number, a: SharedAt | null, b: SharedAt | null, first: boolean, t: number): void {
    const unit = this.matrices[index]!;
    const threads = 32 * unit.subgroups;
    const reader = (x: SharedAt | null) => x && { ...x, byte: (at: number) => this.half(at, unit, t) };
    const parts = this.fragments.slice(t, t + threads);
    const out = matrixProduct(unit, parts, reader(a), reader(b), first);
    for (const [i, regs] of out.entries()) this.products[t + i] = regs;
  }

  private half(at: number, unit: MatrixShape, t: number): number {
    if (unit.operands === "tf32")
      return fromTf32(Number(this.load(this.memories.length - 1, "i32", at, 1, t)[0]));
    const bits = Number(this.load(this.memories.length - 1, "u16", at, 1, t)[0]);
    return unit.operands === "f16" ? f16FromBits(bits) : float(bits << 16);
  }

  /** The lanes of thread `t`'s subgroup that gave the same low bits. */
  match(t: number, bits: number, lanes: number): number {
    const [first, own] = [t - (t % lanes), Number(this.lanes[t])];
    let mask = 0;
    for (let l = 0; l < lanes; l++)
      if (((Number(this.lanes[first + l]) ^ own) & (2 ** bits - 1)) === 0) mask |= 1 << l;
    return mask;
  }

  /** What lane `t % 32` gets of 8x8 matrices whose rows stand where the lanes of the subgroup say. */
  loadMatrix(count: number, transpose: boolean, t: number): number[] {
    const [base, lane] = [t - (t % 32), t % 32];
    const element = (i: number, row: number, col: number): number =>
      Number(
        this.load(this.memories.length - 1, "u16", Number(this.lanes[base + 8 * i + row]) + 2 * col, 1, t)[0],
      );
    const [outer, inner] = [Math.floor(lane / 4), 2 * (lane % 4)];
    return Array.from({ length: count }, (_, i) => {
      const pair = [inner, inner + 1].map((k) => (transpose ? element(i, k, outer) : element(i, outer, k)));
      return pair[0]! | (pair[1]! << 16) | 0;
    });
  }

  load(m: number, kind: MemKind, at: number, n: number, thread: number): (number | bigint)[] {
    const memory = this.memories[m]!;
    memory.touch(at, BYTES[kind] * n, thread, this.epoch, "read");
    return Array.from({ length: n }, (_, i) =>
      (memory.view[GET[kind] as "getInt32"] as (at: number, little: boolean) => number).call(
        memory.view,
        at + i * BYTES[kind],
        true,
      ),
    );
  }

  store(m: number, kind: MemKind, at: number, xs: readonly (number | bigint)[], thread: number): void {
    const memory = this.memories[m]!;
    memory.touch(at, BYTES[kind] * xs.length, thread, this.epoch, "write");
    xs.forEach((x, i) => {
      this.put(memory, kind, at + i * BYTES[kind], x);
    });
  }

  private put(memory: Watched, kind: MemKind, at: number, x: number | bigint): void {
    const name = GET[kind].replace("get", "set") as "setInt32";
    (memory.view[name] as (at: number, x: unknown, little: boolean) => void).call(memory.view, at, x, true);
  }

  atomic(
    m: number,
    op: string,
    kind: MemKind,
    at: number,
    x: number | bigint,
    expected: number | bigint | undefined,
    unsigned: boolean,
  ): number | bigint {
    const memory = this.memories[m]!;
    memory.touch(at, BYTES[kind], -2, this.epoch, "atomic");
    const read = memory.view[GET[kind] as "getInt32"] as (at: number, little: boolean) => number | bigint;
    const old = read.call(memory.view, at, true);
    const reg: RegKind = kind === "i64" ? "i64" : kind === "f32" ? "f32" : kind === "f64" ? "f64" : "i32";
    const sign = reg === "f32" || reg === "f64" ? "" : unsigned ? "U" : "S";
    const name = op === "min" || op === "max" ? `${op}${sign}` : op;
    const next =
      op === "cas" ? (old === expected ? x : old) : op === "xchg" ? x : this.op(name, reg, reg, old, x);
    this.put(memory, kind, at, next);
    return old;
  }

  op(op: string, from: RegKind, to: RegKind, ...args: (number | bigint)[]): number | bigint {
    const x = Number(args[0]);
    switch (op) {
      case "packF16":
        return f16Bits(x) | (f16Bits(Number(args[1])) << 16) | 0;
      case "packBf16":
        return bf16Bits(x) | (bf16Bits(Number(args[1])) << 16) | 0;
      case "lowF16":
        return f16FromBits(x & 0xffff);
      case "highF16":
        return f16FromBits(x >>> 16);
      case "lowBf16":
        return float(x << 16);
      case "highBf16":
        return float(x & 0xffff0000);
      case "exp2Approx":
        return Math.fround(2 ** x);
      case "sigmoidApprox":
        return Math.fround(1 / (1 + Math.exp(-x)));
      case "popCount":
        return (x >>> 0).toString(2).replaceAll("0", "").length;
      case "subPairF16":
      case "subPairBf16": {
        const y = Number(args[1]);
        const [read, bits] = op === "subPairF16" ? [f16FromBits, f16Bits] : [(h: number) => float(h << 16), bf16Bits]; // biome-ignore format: one line
        return bits(read(x & 0xffff) - read(y & 0xffff)) | (bits(read(x >>> 16) - read(y >>> 16)) << 16) | 0;
      }
    }
    return scalarOp(op as never, from, to, args);
  }
}

/** A {@link SharedMatrix} whose first byte is known. */
export type SharedAt = Pick<SharedMatrix, "swizzle" | "strideBytes" | "leadingBytes" | "major"> & {
  readonly start: number;
};

const word = new DataView(new ArrayBuffer(4));
const float = (bits: number): number => {
  word.setInt32(0, bits);
  return word.getFloat32(0);
};
const bf16Bits = (x: number): number => {
  word.setFloat32(0, roundToBf16(x));
  return Number.isNaN(x) ? 0x7fc0 : word.getUint16(0);
};

const COMPARE: Readonly<Record<string, string>> = {
  eq: "===",
  ne: "!==",
  lt: "<",
  le: "<=",
  gt: ">",
  ge: ">=",
};

/** Frequent operations without a call. */
function inline(op: string, from: RegKind, to: RegKind, [a, b, c]: readonly string[]): string | undefined {
  if (op === "copy") return a;
  if (op === "select") return `(${a}?${b}:${c})`;
  const order = /^(eq|ne|lt|le|gt|ge)(S?)$/.exec(op);
  if (order) return `(${a}${COMPARE[order[1]!]}${b}?1:0)`;
  if (to === "mask" && from === "mask") {
    const sign = { and: "&", or: "|", xor: "^" }[op];
    return sign ? `(${a}${sign}${b})` : op === "not" ? `(${a}?0:1)` : undefined;
  }
  if (to === "i32" && from === "i32") {
    const sign = { add: "+", sub: "-", and: "&", or: "|", xor: "^", shl: "<<", shrS: ">>" }[op];
    if (sign) return `((${a})${sign}(${b})|0)`;
    if (op === "mul") return `Math.imul(${a},${b})`;
    return op === "shrU" ? `((${a})>>>(${b})|0)` : undefined;
  }
  if (to === "f32" && from === "f32") {
    const sign = { add: "+", sub: "-", mul: "*", div: "/" }[op];
    if (sign) return `Math.fround((${a})${sign}(${b}))`;
    return op === "fma" ? `Math.fround((${a})*(${b})+(${c}))` : undefined;
  }
  return undefined;
}

/** The JavaScript of one thread. */
function source(form: Form, matrices: readonly MatrixShape[]): string {
  const out: string[] = [];
  const name = (r: Reg): string => `r${r.id}`;
  const show = (o: Operand, kind?: RegKind): string =>
    typeof o === "object"
      ? name(o)
      : kind === "i64"
        ? `${BigInt.asIntN(64, BigInt(o))}n`
        : Object.is(o, -0)
          ? "-0"
          : typeof o === "bigint"
            ? `${o}n`
            : String(o);
  const place = (p: Place): { memory: number; at: string } => {
    if ("shared" in p.mem)
      return { memory: form.params.length, at: `${p.mem.shared + (p.plus ?? 0)}+Number(${show(p.at)})` };
    const param = form.params[p.mem.param]!;
    return {
      memory: p.mem.param,
      at: `(Number(${show(p.at)})+${p.plus ?? 0}+B[${p.mem.param}])*${BYTES[param.mem]}`,
    };
  };
  const guarded = (mask: Operand | undefined, code: string): string =>
    mask === undefined ? code : `if(${show(mask)}){${code}}`;
  const list = (stmts: readonly Stmt[]): void => {
    for (const s of stmts) statement(s);
  };
  const statement = (s: Stmt): void => {
    switch (s.s) {
      case "op": {
        const d = name(s.dst);
        if (s.op === "threadId") out.push(`${d}=T;`);
        else if (s.op === "isExtra") out.push(`${d}=T>=${form.threads}?1:0;`);
        else if (s.op === "programId") out.push(`${d}=P[${s.index}];`);
        else if (s.op === "numPrograms") out.push(`${d}=G[${s.index}];`);
        else if (s.op === "andXor") {
          const [x, y, z] = s.args.map((a) => show(a, "i32"));
          out.push(`${d}=(${x}&${y})^${z};`);
        } else if (s.op === "halvesOf") {
          const [x, y] = s.args.map((a) => show(a, "i32"));
          const [low, high] = [(s.index! & 1) * 16, (s.index! >> 1) * 16];
          out.push(`${d}=((${x}>>>${low})&65535)|((${y}>>>${high})<<16);`);
        } else if (s.op === "param") out.push(`${d}=A[${s.index}];`);
        else {
          const first = s.args[s.op === "select" ? 1 : 0];
          const second = s.args.find((a) => typeof a === "object") as Reg | undefined;
          const from =
            typeof first === "object"
              ? first.type.kind
              : s.op === "select"
                ? s.dst.type.kind
                : (second?.type.kind ?? s.dst.type.kind);
          const args = s.args.map((a, i) => show(a, s.op === "select" && i === 0 ? "mask" : from));
          const quick = inline(s.op, from, s.dst.type.kind, args);
          if (quick) {
            out.push(`${d}=${quick};`);
            return;
          }
          out.push(`${d}=H.op("${s.op}","${from}","${s.dst.type.kind}",${args.join(",")});`);
        }
        return;
      }
      case "load": {
        const { memory, at } = place(s);
        out.push(
          guarded(s.mask, `[${s.dst.map(name)}]=H.load(${memory},"${s.kind}",${at},${s.dst.length},T);`),
        );
        return;
      }
      case "store": {
        const { memory, at } = place(s);
        const xs = s.values.map((v) => show(v, s.type.kind));
        out.push(guarded(s.mask, `H.store(${memory},"${s.kind}",${at},[${xs}],T);`));
        return;
      }
      case "atomic": {
        const { memory, at } = place(s);
        const reg: RegKind = s.kind === "i64" ? "i64" : "i32";
        const call = `H.atomic(${memory},"${s.op}","${s.kind}",${at},${show(s.value, s.kind === "i64" ? reg : undefined)},${s.expected === undefined ? "undefined" : show(s.expected, s.kind === "i64" ? reg : undefined)},${s.unsigned === true})`;
        out.push(guarded(s.mask, `${s.dst ? `${name(s.dst)}=` : ""}${call};`));
        return;
      }
      case "barrier":
        out.push("yield;");
        return;
      case "shuffle": {
        const to = { xor: "T^", up: "T-", down: "T+", index: "" }[s.how];
        out.push(`H.lanes[T]=${show(s.value)};yield 1;${name(s.dst)}=H.lanes[${to}${show(s.by)}];yield 1;`);
        return;
      }
      case "match":
        out.push(
          `H.lanes[T]=${show(s.value)};yield 1;${name(s.dst)}=H.match(T,${s.bits},${s.lanes});yield 1;`,
        );
        return;
      case "copyAsync": {
        const [to, from] = [place(s.to), place(s.from)];
        const live = s.mask === undefined ? "1" : show(s.mask);
        out.push(`H.copy(${to.memory},${from.memory},${to.at},${from.at},${s.bytes},${live},T);`);
        return;
      }
      case "bulkBarrier":
        out.push(guarded(s.mask, `H.engine.make(${place(s.place).at},${s.count});`));
        return;
      case "bulkFence":
      case "registers":
        return;
      case "bulkArrive":
        // Whoever waits behind it waits for all.
        out.push(`${guarded(s.mask, `H.engine.arrive(${place(s.place).at},0);`)}yield 1;`);
        return;
      case "bulkExpect":
        out.push(guarded(s.mask, `H.engine.arrive(${place(s.place).at},${show(s.bytes)});`));
        return;
      case "bulkCopy":
        out.push(
          guarded(s.mask, `H.engine.copy(${s.empty ? `${show(s.empty.test)}?${s.empty.map}:${s.map}` : s.map},${place(s.to).at},[${s.from.map((o) => show(o))}],(p)=>Number(A[p]),${place(s.barrier).at});`), // biome-ignore format: one line
        );
        return;
      case "bulkWait": {
        const [at, parity] = [place(s.place).at, show(s.parity)];
        out.push(`if(T>=${form.threads})while(!H.engine.passed(${at},${parity}))yield 2;else H.await(${at},${parity});`); // biome-ignore format: one line
        return;
      }
      case "copyCommit":
        out.push("H.commit(T);");
        return;
      case "copyWait":
        out.push(`H.arrive(T,${s.pending});`);
        return;
      case "await":
      case "issue":
      case "matrixFence":
      case "matrixCommit":
      case "matrixWait":
        return;
      case "loadMatrix":
        out.push(
          `H.lanes[T]=${place(s.place).at};yield 1;[${s.dst.map(name)}]=H.loadMatrix(${s.dst.length},${s.transpose},T);yield 1;`,
        );
        return;
      case "matrix": {
        const regs = (x: readonly Operand[] | SharedMatrix): string =>
          Array.isArray(x) ? `[${x.map((o) => show(o))}]` : "undefined";
        const shared = (x: readonly Operand[] | SharedMatrix): string => {
          if (Array.isArray(x)) return "null";
          const m = x as SharedMatrix;
          return `{start:${place(m).at},swizzle:${m.swizzle},strideBytes:${m.strideBytes},leadingBytes:${m.leadingBytes},major:"${m.major}"}`;
        };
        const size = 32 * matrices[s.matrix]!.subgroups;
        const first = s.first === undefined ? "false" : `!!${show(s.first)}`;
        out.push(
          `H.fragments[T]={a:${regs(s.a)},b:${regs(s.b)},c:[${s.c.map((o) => show(o))}]};yield 1;` +
            `if(T%${size}===0)H.matrix(${s.matrix},${shared(s.a)},${shared(s.b)},${first},T);yield 1;[${s.d.map(name)}]=H.products[T];`,
        );
        return;
      }
      case "for": {
        const iv = name(s.iv);
        const k = s.iv.type.kind;
        out.push(`for(${iv}=${show(s.lo, k)};${iv}<${show(s.hi, k)};${iv}+=${show(s.step, k)}){`);
        list(s.body);
        out.push("}");
        return;
      }
      case "while":
        out.push("for(;;){");
        list(s.cond);
        out.push(`if(!${show(s.test)})break;`);
        list(s.body);
        out.push("}");
        return;
      case "if":
        out.push(`if(${show(s.test)}){`);
        list(s.then);
        out.push("}else{");
        list(s.else);
        out.push("}");
        return;
    }
  };
  list(form.body);
  const regs = form.regs.map(name);
  return `return function*(T,P,G,A,H,B){${regs.length ? `let ${regs};` : ""}${out.join("\n")}}`;
}

type Thread = (
  t: number,
  p: readonly number[],
  g: readonly number[],
  a: readonly unknown[],
  h: Group,
  b: readonly number[],
) => Generator;

const SUBGROUP = 32;

/** The most subgroups that work on one product. */
function largestUnit(body: readonly Stmt[], matrices: readonly MatrixShape[]): number {
  return body.reduce((most, s) => {
    if (s.s === "matrix") return Math.max(most, matrices[s.matrix]!.subgroups);
    return nestedLists(s).reduce((m, list) => Math.max(m, largestUnit(list, matrices)), most);
  }, 1);
}

/** Runs threads that work together up to a barrier of all, or to their end: tells whether to that. */
function runUnit(threads: readonly Generator[]): boolean {
  for (;;) {
    const states = threads.map((t) => t.next());
    const first = states[0]!;
    if (states.some((d) => d.done !== first.done || d.value !== first.value))
      throw new Error("only some threads reached a barrier");
    // A shuffle or a product orders no accesses to memory.
    if (first.done || first.value === undefined) return first.done === true;
  }
}

/** Workgroups of a persistent grid. */
const PERSISTENT = 2;

/** Runs every program of a grid. Buffers are changed in place; `offsets`: the element each starts at. */
export function evaluateForm(
  form: Form,
  args: readonly FormArg[],
  grid: readonly [number, number?, number?] = [1],
  offsets: readonly number[] = args.map(() => 0),
  matrices: readonly MatrixShape[] = [],
): void {
  if (form.persistent) {
    const programs = [grid[0], grid[1] ?? 1, grid[2] ?? 1];
    const started = Math.min(PERSISTENT, programs[0]! * programs[1]! * programs[2]!);
    const plain: Form = { ...form, persistent: false };
    evaluateForm(plain, [...args, ...programs], [started], [...offsets, 0, 0, 0], matrices);
    return;
  }
  const thread = new Function(source(form, matrices))() as Thread;
  const shared = new Watched("shared memory", new Uint8Array(form.sharedBytes));
  const memories = args.map((a, i) =>
    typeof a === "object" ? new Watched(form.params[i]!.name, a) : (undefined as unknown as Watched),
  );
  const group = new Group([...memories, shared], form, matrices, offsets);
  const [gx, gy, gz] = [grid[0], grid[1] ?? 1, grid[2] ?? 1];
  // Where barriers of the copy engine order units, none may run ahead.
  const alone = form.extraThreads ? form.threads : SUBGROUP * largestUnit(form.body, matrices);
  const size = Math.min(form.threads, alone);
  const units = Array.from({ length: form.threads / size }, (_, i) => i * size);
  for (let z = 0; z < gz; z++)
    for (let y = 0; y < gy; y++)
      for (let x = 0; x < gx; x++) {
        const threads = Array.from({ length: form.threads }, (_, t) =>
          thread(t, [x, y, z], [gx, gy, gz], args, group, offsets),
        );
        group.extra = form.extraThreads
          ? thread(form.threads, [x, y, z], [gx, gy, gz], args, group, offsets)
          : undefined;
        for (let running = true; running; ) {
          // Up to a barrier of all, units go on each for itself.
          const ends = units.map((from) => runUnit(threads.slice(from, from + size)));
          group.epoch++;
          if (ends.some((done) => done !== ends[0]!)) throw new Error("only some threads reached a barrier");
          running = !ends[0]!;
        }
        // Whatever it may wait for has happened.
        for (let n = 0; group.extra && !group.extra.next().done; n++)
          if (n > 4) throw new Error("the threads that copy do not end");
      }
}
