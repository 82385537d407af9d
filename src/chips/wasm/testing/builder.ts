// Builds Forms in tests, without the compiler.

import type {
  Form,
  FormParam,
  Mem,
  MemKind,
  Operand,
  Reg,
  RegKind,
  RegOp,
  Stmt,
} from "../../../compiler/lower/simd/form.js";

/** Collects statements; nested lists with {@link FormBuilder.inside}. */
export class FormBuilder {
  private readonly regs: Reg[] = [];
  private readonly params: FormParam[] = [];
  private list: Stmt[] = [];
  readonly body = this.list;
  frameBytes = 0;

  reg(kind: RegKind, lanes = 1): Reg {
    const r: Reg = { id: this.regs.length, type: { kind, lanes } };
    this.regs.push(r);
    return r;
  }
  buffer(mem: MemKind): Mem {
    this.params.push({ kind: "buffer", name: `p${this.params.length}`, mem });
    return { param: this.params.length - 1 };
  }
  scalar(reg: RegKind, mem: MemKind): number {
    this.params.push({ kind: "scalar", name: `p${this.params.length}`, reg, mem });
    return this.params.length - 1;
  }
  emit(s: Stmt): void {
    this.list.push(s);
  }
  /** An operation into `dst`. */
  to(dst: Reg, op: RegOp, args: readonly Operand[], extra: { lane?: number; index?: number } = {}): Reg {
    this.list.push({ s: "op", op, dst, args, ...extra });
    return dst;
  }
  /** An operation into a new register. */
  op(
    kind: RegKind,
    lanes: number,
    op: RegOp,
    args: readonly Operand[],
    extra: { lane?: number; index?: number } = {},
  ): Reg {
    return this.to(this.reg(kind, lanes), op, args, extra);
  }
  load(kind: RegKind, lanes: number, mem: Mem, memKind: MemKind, at: Operand): Reg {
    const dst = this.reg(kind, lanes);
    this.list.push({ s: "load", dst, mem, kind: memKind, at });
    return dst;
  }
  store(value: Reg, mem: Mem, kind: MemKind, at: Operand): void {
    this.list.push({ s: "store", value, type: value.type, mem, kind, at });
  }
  inside(fn: () => void): Stmt[] {
    const outer = this.list;
    const inner: Stmt[] = [];
    this.list = inner;
    fn();
    this.list = outer;
    return inner;
  }
  loop(lo: Operand, hi: Operand, step: Operand, fn: (iv: Reg) => void): void {
    const iv = this.reg("i32");
    const body = this.inside(() => fn(iv));
    this.emit({ s: "for", iv, lo, hi, step, body });
  }
  when(test: Operand, yes: () => void, no: () => void = () => {}): void {
    const [a, b] = [this.inside(yes), this.inside(no)];
    // biome-ignore lint/suspicious/noThenProperty: the statement's shape is the Form's
    this.emit({ s: "if", test, then: a, else: b });
  }
  form(name = "test"): Form {
    return { name, params: this.params, frameBytes: this.frameBytes, regs: this.regs, body: this.body };
  }
}
