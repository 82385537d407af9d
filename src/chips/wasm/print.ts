// Prints a Form as a WebAssembly module: `program` is the Form, `run` loops over program ids.
// Single operations stand in `emit-ops` and `emit-memory`; here are statements, addresses and locals.
//
// ABI: `run(args, frame, first, last)` runs the programs with linear ids first <= id < last (x fastest).
// `args` points at 8-byte slots: the grid's x, y, z as i32, then each parameter: a buffer's byte address
// (its offset included), or a scalar in its own kind. `frame` points at the thread's scratch.

import type { Form, Operand, Reg, RegType, Stmt } from "../../compiler/lower/simd/form.js";
import { CompileError } from "../../compiler/target.js";
import { Code, type Push } from "./code.js";
import { type Func, type Module, encodeModule } from "./encode.js";
import {
  emitAtomic,
  emitLoad,
  emitLoadSplat,
  emitStore,
  MEM_BYTES,
  type PushAddress,
} from "./emit-memory.js";
import { type Arg, emitOp, is64, pushLiteral, valType } from "./emit-ops.js";
import { GRID_SLOTS, runLoop } from "./run-loop.js";
import { assigned, countUses, isReg, literalType, operandsOf, type RegUse } from "./uses.js";
import { showModule } from "./wat.js";

export interface PrintOptions {
  /** The module may use relaxed SIMD. */
  readonly relaxed: boolean;
  /** Limits of the imported memory in 64 KiB pages, and whether it is shared. */
  readonly memory: { readonly min: number; readonly max: number; readonly shared: boolean };
}

/** Bytes at the start of the memory that hold no buffer. Constant parts of addresses up to this go into instructions. */
export const LOW_BYTES = 65536;

const [ARGS, FRAME, PID] = [0, 1, 2] as const;
/** Nesting of an expression on the stack at which it is cut by a local. */
const MAX_DEPTH = 40;
const I32: RegType = { kind: "i32", lanes: 1 };

/** An expression not yet emitted: its register is used exactly once, further down the same list. */
interface Pending {
  readonly stmt: Stmt & { readonly s: "op" | "load" };
  /** Registers it reads, through nested expressions too. */
  readonly reads: Set<number>;
  readonly loads: boolean;
  readonly depth: number;
}

/** Where a loop's body may get exits that are never taken; see `exit`. */
interface Barrier {
  readonly iv: number;
  readonly after: ReadonlySet<Stmt>;
  count: number;
}

class Printer {
  private readonly c = new Code(5);
  private readonly uses: Map<number, RegUse>;
  private readonly locals = new Map<number, number>();
  private readonly pending = new Map<number, Pending>();
  /** Registers known to be another register plus a small constant, while neither is assigned. */
  private readonly sums = new Map<number, { base: Reg; plus: number }>();
  private readonly bases = new Map<number, number>();

  constructor(
    private readonly form: Form,
    private readonly relaxed: boolean,
  ) {
    this.uses = countUses(form);
  }

  print(): Func {
    const { c, form } = this;
    for (const r of form.regs)
      if (r.type.lanes > 1 && !(r.type.lanes === 2 || (r.type.lanes === 4 && !is64(r.type.kind))))
        throw new CompileError(`${form.name}: wasm has no vectors of ${r.type.lanes} x ${r.type.kind}`);
    this.loadBases(form.body);
    this.list(form.body);
    return {
      name: form.name,
      params: ["i32", "i32", "i32", "i32", "i32"],
      results: [],
      locals: c.locals,
      code: c.instrs,
    };
  }

  /** Reads the addresses of the used buffers into locals. */
  private loadBases(body: readonly Stmt[]): void {
    const visit = (list: readonly Stmt[]): void => {
      for (const s of list) {
        if ((s.s === "load" || s.s === "store") && s.mask !== undefined)
          throw new CompileError(`${this.form.name}: wasm has no masks on memory accesses`);
        if ((s.s === "load" || s.s === "store" || s.s === "atomic") && "param" in s.mem) {
          const index = s.mem.param;
          if (!this.bases.has(index)) {
            const local = this.c.local("i32");
            this.bases.set(index, local);
            this.c.get(ARGS);
            this.c.op("i32.load", 8 * (GRID_SLOTS + index));
            this.c.set(local);
          }
        }
        if (s.s === "for") visit(s.body);
        if (s.s === "while") visit([...s.cond, ...s.body]);
        if (s.s === "if") visit([...s.then, ...s.else]);
      }
    };
    visit(body);
  }

  private localOf(r: Reg): number {
    let local = this.locals.get(r.id);
    if (local === undefined) {
      local = this.c.local(valType(r.type));
      this.locals.set(r.id, local);
    }
    return local;
  }

  private push(o: Operand, type: RegType): void {
    if (!isReg(o)) {
      pushLiteral(this.c, o, type);
      return;
    }
    const p = this.pending.get(o.id);
    if (p) {
      this.pending.delete(o.id);
      this.value(p.stmt);
    } else this.c.get(this.localOf(o));
  }

  private arg(o: Operand, type: RegType): Arg {
    if (!isReg(o)) return { type, literal: o, push: () => pushLiteral(this.c, o, type) };
    const def = this.uses.get(o.id);
    const uniform = def?.defs === 1 && def.def?.s === "op" && def.def.op === "splat";
    return { type: o.type, uniform, push: () => this.push(o, o.type) };
  }

  /** Emits the value of an assignment onto the stack. */
  private value(s: Stmt & { s: "op" | "load" }): void {
    const { c } = this;
    if (s.s === "load") {
      emitLoad(c, s.dst.type, s.kind, this.address(s.mem, s.at, MEM_BYTES[s.kind]));
      return;
    }
    const { op, dst } = s;
    switch (op) {
      case "param": {
        const param = this.form.params[s.index ?? 0];
        if (param?.kind !== "scalar")
          throw new CompileError(`${this.form.name}: parameter ${s.index} is no scalar`);
        c.get(ARGS);
        c.op(`${valType(dst.type)}.load`, 8 * (GRID_SLOTS + (s.index ?? 0)));
        return;
      }
      case "programId":
        c.get(PID + (s.index ?? 0));
        return;
      case "numPrograms":
        c.get(ARGS);
        c.op("i32.load", 8 * (s.index ?? 0));
        return;
      case "splat": {
        // A loaded element goes into all lanes in one instruction.
        const from = s.args[0];
        const p = isReg(from) ? this.pending.get(from.id) : undefined;
        const kind = p?.stmt.s === "load" ? p.stmt.kind : undefined;
        if (p?.stmt.s === "load" && dst.type.lanes > 1 && kind && MEM_BYTES[kind] >= 4) {
          this.pending.delete((from as Reg).id);
          const k = kind as "i32" | "i64" | "f32" | "f64";
          emitLoadSplat(c, k, this.address(p.stmt.mem, p.stmt.at, MEM_BYTES[k]));
          return;
        }
      }
    }
    if (op === "fma" && this.relaxed && dst.type.lanes > 1 && this.negatedProduct(s)) return;
    const args = s.args.map((o, i) => this.arg(o, literalType(s, i)));
    emitOp(c, op, dst.type, args, {
      relaxed: this.relaxed,
      ...(s.lane === undefined ? {} : { lane: s.lane }),
      ...(s.pick === undefined ? {} : { pick: s.pick }),
    });
  }

  /** `z - x * y` where a factor is a negation that nobody else wants: one instruction. Emits it and says so. */
  private negatedProduct({ args, dst }: Stmt & { s: "op" }): boolean {
    const i = args.findIndex((o, k) => {
      const p = k < 2 && isReg(o) ? this.pending.get(o.id) : undefined;
      return p?.stmt.s === "op" && p.stmt.op === "neg";
    });
    if (i < 0) return false;
    const factor = args[i] as Reg;
    const [negated] = (this.pending.get(factor.id)!.stmt as Stmt & { s: "op" }).args;
    this.pending.delete(factor.id);
    for (const o of args.map((o, k) => (k === i ? negated! : o))) this.push(o, dst.type);
    this.c.op(`${dst.type.kind === "f64" ? "f64x2" : "f32x4"}.relaxed_nmadd`);
    return true;
  }

  /**
   * The address of element `at`. The constant part goes into the instruction, which does not wrap: it may be at
   * most {@link LOW_BYTES}, so that base + rest is not negative (no buffer starts below). Indices into a part of the
   * frame are not negative themselves.
   */
  private address(mem: { param: number } | { frame: number }, at: Operand, bytes: number): PushAddress {
    return () => {
      const { c } = this;
      let offset = 0;
      if ("param" in mem) c.get(this.bases.get(mem.param)!);
      else {
        c.get(FRAME);
        offset = mem.frame;
      }
      if (!isReg(at)) {
        const plus = Number(BigInt.asIntN(32, BigInt(at) * BigInt(bytes)));
        if (plus >= 0 && plus + offset <= LOW_BYTES) return offset + plus;
        c.op("i32.const", plus);
        c.op("i32.add");
        return offset;
      }
      let index: Reg = at;
      let folded = 0;
      for (;;) {
        const step = this.sumOf(index);
        if (!step || folded + step.plus * bytes > LOW_BYTES) break;
        this.pending.delete(index.id);
        folded += step.plus * bytes;
        index = step.base;
      }
      this.push(index, index.type);
      if (index.type.kind === "i64") c.op("i32.wrap_i64");
      if (bytes > 1) {
        c.op("i32.const", Math.log2(bytes));
        c.op("i32.shl");
      }
      c.op("i32.add");
      return offset + folded;
    };
  }

  private sumOf(r: Reg): { base: Reg; plus: number } | undefined {
    const p = this.pending.get(r.id);
    return p ? sum(p.stmt) : this.sums.get(r.id);
  }

  private list(stmts: readonly Stmt[], barrier?: Barrier): void {
    this.sums.clear();
    for (const s of stmts) {
      this.stmt(s, stmts);
      if (barrier?.after.has(s)) this.exit(barrier);
    }
    this.flush(() => true);
    this.sums.clear();
  }

  /**
   * V8 schedules what has no effect as late as it can: in a loop that is unrolled over accumulators, all loads come
   * first and their registers spill. Measured with a 4 x 8 product on Node 20: 49 GFLOP/s as a plain loop, 27 unrolled
   * four times, 12 unrolled sixteen times. An exit from the loop that is never taken, which the engine cannot know,
   * keeps the steps apart, for the accumulators must be there when it is passed; with it all three make 49.
   */
  private exit(barrier: Barrier): void {
    const { c } = this;
    c.get(barrier.iv);
    // The induction variable starts at 0 or more; each exit has its own number, lest they be taken for one.
    c.op("i32.const", -++barrier.count);
    c.op("i32.eq");
    c.op("br_if", 1);
  }

  /** The statements that end a step of an unrolled body: the last to assign an accumulator before one is assigned again. */
  private stepEnds(list: readonly Stmt[]): Set<Stmt> {
    const ends = new Set<Stmt>();
    const step = new Set<number>();
    let last: Stmt | undefined;
    for (const s of list) {
      if (s.s !== "op" || s.dst.type.lanes === 1 || this.uses.get(s.dst.id)!.defs === 1) continue;
      if (step.has(s.dst.id)) {
        ends.add(last!);
        step.clear();
      }
      step.add(s.dst.id);
      last = s;
    }
    return ends;
  }

  /** Emits pending expressions into their locals. */
  private flush(which: (p: Pending) => boolean): void {
    for (const [id, p] of [...this.pending]) {
      if (!this.pending.has(id) || !which(p)) continue;
      this.pending.delete(id);
      this.value(p.stmt);
      this.c.set(this.localOf(p.stmt.dst));
    }
  }

  private stmt(s: Stmt, list: readonly Stmt[]): void {
    const { c } = this;
    switch (s.s) {
      case "op":
      case "load": {
        if (this.defer(s, list)) return;
        const known = sum(s);
        // A pending base goes onto the stack and never has a local to add to.
        const usable = known && known.base.id !== s.dst.id && !this.pending.has(known.base.id);
        this.value(s);
        this.assign(s.dst);
        if (usable) this.sums.set(s.dst.id, known);
        return;
      }
      case "store": {
        const { value, type } = s;
        const address = this.address(s.mem, s.at, MEM_BYTES[s.kind]);
        const before = (): void => this.flush((p) => p.loads);
        emitStore(c, type, s.kind, address, () => this.push(value, type), before);
        return;
      }
      case "prefetch":
        // There is no such instruction, but a load whose result nobody wants does the same.
        if (!s.exists) return;
        c.op("i32.load8_u", this.address(s.mem, s.at, MEM_BYTES[s.kind])());
        c.op("drop");
        return;
      case "atomic": {
        const type = s.dst.type;
        this.flush((p) => p.loads);
        const of =
          (o: Operand): Push =>
          () =>
            this.push(o, type);
        emitAtomic(c, {
          op: s.op,
          kind: s.kind,
          type,
          unsigned: s.unsigned ?? false,
          address: this.address(s.mem, s.at, MEM_BYTES[s.kind]),
          value: of(s.value),
          ...(s.expected === undefined ? {} : { expected: of(s.expected) }),
        });
        this.assign(s.dst);
        return;
      }
      case "tiles":
        throw new Error("WebAssembly has no matrix unit");
      default:
        this.structured(s);
    }
  }

  /** Pops the stack into a register. Whoever still wants its old value is emitted first. */
  private assign(r: Reg): void {
    this.flush((p) => p.reads.has(r.id));
    this.forget(new Set([r.id]));
    this.c.set(this.localOf(r));
  }

  private forget(changed: ReadonlySet<number>): void {
    for (const [id, s] of this.sums) if (changed.has(id) || changed.has(s.base.id)) this.sums.delete(id);
  }

  /** Keeps an expression for its only use, if that stands in the same list. */
  private defer(s: Stmt & { s: "op" | "load" }, list: readonly Stmt[]): boolean {
    const u = this.uses.get(s.dst.id)!;
    if (u.defs !== 1 || u.uses !== 1 || u.defList !== list || u.useList !== list) return false;
    const reads = new Set<number>();
    let depth = 0;
    let loads = s.s === "load";
    for (const o of operandsOf(s).once) {
      if (!isReg(o)) continue;
      reads.add(o.id);
      const p = this.pending.get(o.id);
      if (!p) continue;
      for (const r of p.reads) reads.add(r);
      depth = Math.max(depth, p.depth + 1);
      loads ||= p.loads;
    }
    if (depth >= MAX_DEPTH || reads.has(s.dst.id)) return false;
    this.pending.set(s.dst.id, { stmt: s, reads, loads, depth });
    return true;
  }

  private structured(s: Stmt & { s: "for" | "while" | "if" }): void {
    const { c } = this;
    const changed = assigned(s);
    if (s.s === "for") {
      const type = s.iv.type;
      const less = `${type.kind}.lt_s`;
      this.flush((p) => !(isReg(s.lo) && p.stmt.dst.id === s.lo.id) || p.reads.has(s.iv.id));
      this.push(s.lo, type);
      this.flush(() => true);
      const iv = this.localOf(s.iv);
      c.op("local.tee", iv);
      this.push(s.hi, type);
      c.op(less);
      c.op("if");
      c.op("loop");
      const counts = type.kind === "i32" && !isReg(s.lo) && s.lo >= 0;
      this.list(s.body, counts ? { iv, after: this.stepEnds(s.body), count: 0 } : undefined);
      c.get(iv);
      this.push(s.step, type);
      c.op(`${type.kind}.add`);
      c.op("local.tee", iv);
      this.push(s.hi, type);
      c.op(less);
      c.op("br_if", 0);
      c.op("end");
      c.op("end");
    } else if (s.s === "while") {
      this.flush(() => true);
      c.op("block");
      c.op("loop");
      this.list(s.cond);
      this.push(s.test, { kind: "mask", lanes: 1 });
      c.op("i32.eqz");
      c.op("br_if", 1);
      this.list(s.body);
      c.op("br", 0);
      c.op("end");
      c.op("end");
    } else {
      this.flush((p) => !(isReg(s.test) && p.stmt.dst.id === s.test.id));
      this.push(s.test, { kind: "mask", lanes: 1 });
      this.flush(() => true);
      c.op("if");
      this.list(s.then);
      if (s.else.length) {
        c.op("else");
        this.list(s.else);
      }
      c.op("end");
    }
    this.forget(changed);
  }
}

/** `register + literal >= 0`, of i32 scalars. */
function sum(s: Stmt): { base: Reg; plus: number } | undefined {
  if (s.s !== "op" || s.op !== "add" || s.dst.type.kind !== I32.kind || s.dst.type.lanes !== 1)
    return undefined;
  const [a, b] = s.args;
  const [base, plus] = isReg(a) ? [a, b] : [b, a];
  if (!isReg(base) || isReg(plus) || plus === undefined || plus < 0) return undefined;
  return { base, plus: Number(plus) };
}

export interface Printed {
  readonly bytes: Uint8Array;
  /** The module in text form, made on demand. */
  readonly text: string;
}

/** Prints a Form. Throws {@link CompileError} for what WebAssembly cannot express. */
export function printForm(form: Form, options: PrintOptions): Printed {
  const program = new Printer(form, options.relaxed).print();
  const module: Module = {
    funcs: [program, runLoop(0)],
    exports: [{ name: "run", func: 1 }],
    memory: options.memory,
  };
  return {
    bytes: encodeModule(module),
    get text() {
      return showModule(module);
    },
  };
}
