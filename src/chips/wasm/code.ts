// The instruction list of one function under construction, with its locals. Knows no Form.

import type { Instr, ValType } from "./encode.js";

/** Emits code that leaves one value on the stack. May be called once, unless it comes from {@link Code.hold}. */
export type Push = () => void;

export class Code {
  instrs: Instr[] = [];
  readonly locals: ValType[] = [];
  private readonly free = new Map<ValType, number[]>();

  constructor(private readonly paramCount: number) {}

  op(name: string, ...imm: (number | bigint)[]): void {
    this.instrs.push({ name, imm });
  }

  local(type: ValType): number {
    this.locals.push(type);
    return this.paramCount + this.locals.length - 1;
  }

  /** Gives `fn` a local for its duration. */
  temp<T>(type: ValType, fn: (local: number) => T): T {
    const local = this.free.get(type)?.pop() ?? this.local(type);
    const result = fn(local);
    const list = this.free.get(type);
    if (list) list.push(local);
    else this.free.set(type, [local]);
    return result;
  }

  get(local: number): void {
    this.op("local.get", local);
  }

  set(local: number): void {
    this.op("local.set", local);
  }

  /**
   * Makes a value that `fn` may push several times: where `push` is just a constant or a local, it is repeated,
   * else it is computed here, once, into a temporary.
   */
  hold(push: Push, type: ValType, fn: (again: Push) => void): void {
    const before = this.instrs.length;
    push();
    const only = this.instrs.at(-1)!;
    if (this.instrs.length === before + 1 && (only.name === "local.get" || only.name.endsWith(".const"))) {
      this.instrs.length = before;
      fn(() => this.op(only.name, ...only.imm));
      return;
    }
    this.temp(type, (local) => {
      this.set(local);
      fn(() => this.get(local));
    });
  }
}
