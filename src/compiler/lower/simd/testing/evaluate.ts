// Runs a form in JavaScript, one program id at a time, over typed arrays: to test lowerings without a printer.
// It checks every access against the buffer's end. Slow; not a chip.

import { f16Bits, f16FromBits } from "../../../ir/rounding.js";
import type { Form, Mem, MemKind, Operand, Reg, RegKind, RegOp, RegType, Rows, Stmt } from "../form.js";

type Scalar = number | bigint;
type Val = Scalar | Scalar[];

/** A buffer, or a scalar argument. */
export type FormArg = ArrayBufferView | number | bigint;

const BYTES: Record<MemKind, number> = { i8: 1, u8: 1, i16: 2, u16: 2, i32: 4, f32: 4, i64: 8, f64: 8 };
const scratch = new DataView(new ArrayBuffer(8));

function readMem(view: DataView, kind: MemKind, at: number): Scalar {
  switch (kind) {
    case "i8":
      return view.getInt8(at);
    case "u8":
      return view.getUint8(at);
    case "i16":
      return view.getInt16(at, true);
    case "u16":
      return view.getUint16(at, true);
    case "i32":
      return view.getInt32(at, true);
    case "f32":
      return view.getFloat32(at, true);
    case "f64":
      return view.getFloat64(at, true);
    case "i64":
      return view.getBigInt64(at, true);
  }
}

function writeMem(view: DataView, kind: MemKind, at: number, x: Scalar): void {
  switch (kind) {
    case "i8":
    case "u8":
      view.setInt8(at, Number(x));
      return;
    case "i16":
    case "u16":
      view.setInt16(at, Number(x), true);
      return;
    case "i32":
      view.setInt32(at, Number(x), true);
      return;
    case "f32":
      view.setFloat32(at, Number(x), true);
      return;
    case "f64":
      view.setFloat64(at, Number(x), true);
      return;
    case "i64":
      view.setBigInt64(at, BigInt(x), true);
  }
}

/** A value brought into its kind. */
function norm(kind: RegKind, x: Scalar): Scalar {
  if (kind === "i32") return Number(BigInt.asIntN(32, BigInt(x)));
  if (kind === "i64") return BigInt.asIntN(64, BigInt(x));
  if (kind === "f32") return Math.fround(Number(x));
  if (kind === "mask") return Number(x) ? 1 : 0;
  return Number(x);
}

const nearest = (x: number): number => {
  if (!(Math.abs(x) < 2 ** 52)) return x;
  const big = 2 ** 52;
  return x < 0 || Object.is(x, -0) ? -(-x + big - big) : x + big - big;
};

function binary(op: RegOp, kind: RegKind, x: Scalar, y: Scalar): Scalar {
  if (kind === "f32" || kind === "f64") {
    const [a, b] = [Number(x), Number(y)];
    switch (op) {
      case "add":
        return a + b;
      case "sub":
        return a - b;
      case "mul":
        return a * b;
      case "div":
        return a / b;
      case "min":
        return Math.min(a, b);
      case "max":
        return Math.max(a, b);
      case "pmin":
        return b < a ? b : a;
      case "pmax":
        return a < b ? b : a;
    }
    throw new Error(`no ${op} of ${kind}`);
  }
  const bits = kind === "i64" ? 64 : 32;
  const [a, b] = [BigInt(x), BigInt(y)];
  const [ua, ub] = [BigInt.asUintN(bits, a), BigInt.asUintN(bits, b)];
  const count = BigInt.asUintN(kind === "i64" ? 6 : 5, b);
  if (/^(div|rem)/.test(op)) {
    if (b === 0n) throw new Error(`${op} by zero`);
    if (op.endsWith("S") && b === -1n && a === -(2n ** BigInt(bits - 1))) throw new Error(`${op} overflows`);
  }
  switch (op) {
    case "add":
      return a + b;
    case "sub":
      return a - b;
    case "mul":
      return a * b;
    case "divS":
      return a / b;
    case "divU":
      return ua / ub;
    case "remS":
      return a % b;
    case "remU":
      return ua % ub;
    case "minS":
      return a < b ? a : b;
    case "maxS":
      return a > b ? a : b;
    case "minU":
      return ua < ub ? a : b;
    case "maxU":
      return ua > ub ? a : b;
    case "and":
      return a & b;
    case "or":
      return a | b;
    case "xor":
      return a ^ b;
    case "shl":
      return a << count;
    case "shrS":
      return a >> count;
    case "shrU":
      return ua >> count;
  }
  throw new Error(`no ${op} of ${kind}`);
}

function compare(op: string, kind: RegKind, x: Scalar, y: Scalar): boolean {
  let [a, b] = [x, y];
  if (op.endsWith("U")) {
    const bits = kind === "i64" ? 64 : 32;
    [a, b] = [BigInt.asUintN(bits, BigInt(x)), BigInt.asUintN(bits, BigInt(y))];
  }
  switch (op.slice(0, 2)) {
    case "eq":
      return a === b;
    case "ne":
      return a !== b;
    case "lt":
      return a < b;
    case "le":
      return a <= b;
    case "gt":
      return a > b;
    default:
      return a >= b;
  }
}

const clamp = (x: number, lo: bigint, hi: bigint): bigint => {
  if (Number.isNaN(x)) return 0n;
  if (x <= Number(lo)) return lo;
  return x >= Number(hi) ? hi : BigInt(Math.trunc(x));
};

function convert(from: RegKind, to: RegKind, x: Scalar, unsigned: boolean): Scalar {
  const float = (k: RegKind): boolean => k === "f32" || k === "f64";
  const bits = (k: RegKind): number => (k === "i64" || k === "f64" ? 64 : 32);
  if (float(from) && float(to)) return x;
  if (float(from)) {
    const n = BigInt(bits(to));
    return unsigned
      ? clamp(Number(x), 0n, 2n ** n - 1n)
      : clamp(Number(x), -(2n ** (n - 1n)), 2n ** (n - 1n) - 1n);
  }
  const v = unsigned ? BigInt.asUintN(bits(from), BigInt(x)) : BigInt(x);
  if (!float(to)) return v;
  if (to === "f32" && (v > 2n ** 53n || v < -(2n ** 53n)))
    return Number((v >> 16n) | (v & 0xffffn ? 1n : 0n)) * 65536;
  return Number(v);
}

function bitcast(to: RegKind, x: Scalar): Scalar {
  const from: Record<string, MemKind> = { i32: "f32", f32: "i32", i64: "f64", f64: "i64" };
  writeMem(scratch, from[to]!, 0, x);
  return readMem(scratch, to as MemKind, 0);
}

/** The elements that stand in one lane of an operand of such an operation. */
function partsOf(op: string, x: number, second = false): number[] {
  scratch.setInt32(0, x, true);
  if (op === "dot2B")
    return [0, 1].map((i) => {
      const bits = scratch.getUint16(2 * i, true);
      const view = new DataView(new ArrayBuffer(4));
      view.setUint32(0, bits << 16);
      return view.getFloat32(0);
    });
  if (op === "dot2S") return [0, 1].map((i) => scratch.getInt16(2 * i, true));
  const unsigned = op === "dot4U" && !second;
  return [0, 1, 2, 3].map((i) => (unsigned ? scratch.getUint8(i) : scratch.getInt8(i)));
}

function lane(op: RegOp, kind: RegKind, to: RegType, a: readonly Scalar[]): Scalar {
  const [x, y, z] = a as [Scalar, Scalar, Scalar];
  const f = Number(x);
  if (/^(eq|ne|(lt|le|gt|ge)[SU])$/.test(op)) return compare(op, kind, x, y) ? 1 : 0;
  switch (op) {
    case "fma":
      return f * Number(y) + Number(z);
    case "sqrt":
      return Math.sqrt(f);
    case "floor":
      return Math.floor(f);
    case "ceil":
      return Math.ceil(f);
    case "trunc":
      return Math.trunc(f);
    case "nearest":
      return nearest(f);
    case "abs":
      return Math.abs(f);
    case "neg":
      return -f;
    case "not":
      return x ? 0 : 1;
    case "select":
      return x ? y : z;
    case "convertS":
      return convert(kind, to.kind, x, false);
    case "convertU":
      return convert(kind, to.kind, x, true);
    case "bitcast":
      return bitcast(to.kind, x);
    case "fromMask":
    case "copy":
      return x;
    case "f16ToF32":
      return f16FromBits(f & 0xffff);
    case "f32ToF16":
      return f16Bits(f);
    case "dot4S":
    case "dot4U":
    case "dot2S":
    case "dot2B":
      return partsOf(op, f).reduce((sum, p, i) => sum + p * partsOf(op, Number(y), true)[i]!, Number(z));
    default:
      if (kind === "mask") {
        if (op === "and") return f & Number(y);
        return op === "or" ? f | Number(y) : f ^ Number(y);
      }
      return binary(op, kind, x, y);
  }
}

/** One operation on scalars of kind `from` (of `select`: of its values) with a result of kind `to`. */
export const scalarOp = (op: RegOp, from: RegKind, to: RegKind, args: readonly Scalar[]): Scalar =>
  norm(to, lane(op, from, { kind: to, lanes: 1 }, args));

class Run {
  private readonly regs = new Map<number, Val>();
  constructor(
    private readonly form: Form,
    private readonly views: readonly (DataView | Scalar)[],
    private readonly frame: DataView,
    private readonly id: readonly number[],
    private readonly grid: readonly number[],
  ) {}

  private get(o: Operand): Val {
    if (typeof o !== "object") return o;
    const v = this.regs.get(o.id);
    if (v === undefined) throw new Error(`${this.form.name}: %${o.id} is read before it is assigned`);
    return v;
  }

  private set(r: Reg, v: Val): void {
    const { kind, lanes } = r.type;
    if (Array.isArray(v) !== lanes > 1) throw new Error(`${this.form.name}: %${r.id} has ${lanes} lanes`);
    this.regs.set(r.id, Array.isArray(v) ? v.map((x) => norm(kind, x)) : norm(kind, v));
  }

  private place(mem: Mem, kind: MemKind, at: Operand, k: number): [DataView, number] {
    const view = "param" in mem ? (this.views[mem.param] as DataView) : this.frame;
    const byte = ("param" in mem ? 0 : mem.frame) + (Number(this.get(at) as Scalar) + k) * BYTES[kind];
    if (byte < 0 || byte + BYTES[kind] > view.byteLength)
      throw new Error(`${this.form.name}: access at byte ${byte} of ${view.byteLength}`);
    return [view, byte];
  }

  list(stmts: readonly Stmt[]): void {
    for (const s of stmts) this.stmt(s);
  }

  private stmt(s: Stmt): void {
    switch (s.s) {
      case "op":
        this.set(s.dst, this.op(s));
        return;
      case "load": {
        const n = s.dst.type.lanes;
        const other = s.other === undefined ? 0 : this.get(s.other);
        const xs = Array.from({ length: n }, (_, k) =>
          this.isOn(s.mask, k) ? readMem(...this.from(s, k)) : Array.isArray(other) ? other[k]! : other,
        );
        this.set(s.dst, n > 1 ? xs : xs[0]!);
        return;
      }
      case "store": {
        const v = this.get(s.value);
        for (let k = 0; k < s.type.lanes; k++) {
          if (!this.isOn(s.mask, k)) continue;
          const [view, at] = this.place(s.mem, s.kind, s.at, k);
          writeMem(view, s.kind, at, Array.isArray(v) ? v[k]! : v);
        }
        return;
      }
      case "prefetch":
        return;
      case "tiles":
        for (let r = 0; r < s.rows; r++)
          for (let j = 0; j < s.columns; j++) {
            const kind = s.op === "dot2B" ? "f32" : "i32";
            const word = (
              x: Rows,
              row: number,
              k: number,
              as: "i32" | "f32",
            ): [DataView, MemKind, number] => {
              const [view, at] = this.place(x.mem, "i32", x.at, row * x.stride + k);
              return [view, as, at];
            };
            let sum = readMem(...word(s.sums, r, j, kind));
            for (let w = 0; w < s.words; w++) {
              const [x, y] = [readMem(...word(s.left, r, w, "i32")), readMem(...word(s.right, w, j, "i32"))];
              sum = scalarOp(s.op, "i32", kind, [x, y, sum]);
            }
            const [view, , at] = word(s.sums, r, j, kind);
            writeMem(view, kind, at, sum);
          }
        return;
      case "atomic": {
        const [view, at] = this.place(s.mem, s.kind, s.at, 0);
        const old = readMem(view, s.kind, at);
        this.set(s.dst, old);
        writeMem(view, s.kind, at, this.atomic(s, old));
        return;
      }
      case "for": {
        const hi = this.get(s.hi) as Scalar;
        const step = this.get(s.step) as Scalar;
        if (!(step > 0)) throw new Error(`${this.form.name}: a step of ${step}`);
        for (let i = this.get(s.lo) as Scalar; i < hi; i = ((i as number) + (step as number)) as Scalar) {
          this.set(s.iv, i);
          this.list(s.body);
        }
        return;
      }
      case "while":
        for (;;) {
          this.list(s.cond);
          if (!this.get(s.test)) return;
          this.list(s.body);
        }
      case "if":
        this.list(this.get(s.test) ? s.then : s.else);
    }
  }

  /** Whether lane `k` of a masked access is on. */
  private isOn(mask: Operand | undefined, k: number): boolean {
    if (mask === undefined) return true;
    const m = this.get(mask);
    return Boolean(Array.isArray(m) ? m[k] : m);
  }

  private from(s: Extract<Stmt, { s: "load" }>, k: number): [DataView, MemKind, number] {
    if (s.packed) {
      const each = 4 / BYTES[s.kind];
      const [view, at] = this.place(s.mem, s.kind, s.at, k * each);
      return [view, "i32", at];
    }
    const [view, at] = this.place(s.mem, s.kind, s.at, k);
    return [view, s.kind, at];
  }

  private atomic(s: Extract<Stmt, { s: "atomic" }>, old: Scalar): Scalar {
    const value = this.get(s.value) as Scalar;
    const { kind } = s.dst.type;
    const float = kind === "f32" || kind === "f64";
    switch (s.op) {
      case "xchg":
        return value;
      case "cas":
        return old === this.get(s.expected!) ? value : old;
      case "max":
      case "min":
        return binary((float ? s.op : `${s.op}${s.unsigned ? "U" : "S"}`) as RegOp, kind, old, value);
      default:
        return norm(kind, binary(s.op, kind, old, value));
    }
  }

  private op(s: Extract<Stmt, { s: "op" }>): Val {
    const { op, dst } = s;
    const n = dst.type.lanes;
    switch (op) {
      case "param":
        return this.views[s.index!] as Scalar;
      case "programId":
        return this.id[s.index!]!;
      case "numPrograms":
        return this.grid[s.index!]!;
      case "iota":
        return n > 1 ? Array.from({ length: n }, (_, k) => k) : 0;
      case "splat":
        return n > 1 ? new Array(n).fill(this.get(s.args[0]!)) : this.get(s.args[0]!);
    }
    const args = s.args.map((o) => this.get(o));
    if (op === "extract") return (args[0] as Scalar[])[s.lane!]!;
    if (op === "insert") {
      const base = args[0]!;
      const v = Array.isArray(base) ? [...base] : new Array<Scalar>(n).fill(base);
      v[s.lane!] = args[1] as Scalar;
      return v;
    }
    if (op === "shuffle") return s.pick!.map((k) => (args.flat() as Scalar[])[k]!);
    if (op === "half") return (args[0] as Scalar[]).slice(s.lane! * n, (s.lane! + 1) * n);
    if (op === "lookup") return (args[1] as number[]).map((i) => (args[0] as Scalar[])[i & (n - 1)]!);
    if (op === "pack") return n > 1 ? (args as Scalar[]) : args[0]!;
    if (op === "any" || op === "all") {
      const v = args[0]!;
      const list = Array.isArray(v) ? v : [v];
      return (op === "any" ? list.some(Boolean) : list.every(Boolean)) ? 1 : 0;
    }
    const reg = s.args.find((o, i) => typeof o === "object" && !(op === "select" && i === 0));
    const kind = typeof reg === "object" ? reg.type.kind : dst.type.kind;
    const at = (k: number): Scalar =>
      lane(
        op,
        op === "copy" ? dst.type.kind : kind,
        dst.type,
        args.map((v) => (Array.isArray(v) ? v[k]! : v)),
      );
    return n > 1 ? Array.from({ length: n }, (_, k) => at(k)) : at(0);
  }
}

/** Runs every program of the grid. `args` stand in ABI order; buffers are changed in place. */
export function evaluateForm(
  form: Form,
  args: readonly FormArg[],
  grid: readonly [number, number?, number?] = [1],
): void {
  const views = args.map((a) =>
    typeof a === "object" ? new DataView(a.buffer, a.byteOffset, a.byteLength) : a,
  );
  const frame = new DataView(new ArrayBuffer(form.frameBytes));
  const [nx, ny, nz] = [grid[0], grid[1] ?? 1, grid[2] ?? 1];
  for (let z = 0; z < nz; z++)
    for (let y = 0; y < ny; y++)
      for (let x = 0; x < nx; x++) {
        // Garbage from one program must not help the next.
        for (let i = 0; i < frame.byteLength; i++) frame.setUint8(i, 0xff);
        new Run(form, views, frame, [x, y, z], [nx, ny, nz]).list(form.body);
      }
}
