// Prints a lowered kernel as PTX text. A table over the form: statements here, register operations in ops.ts, memory in
// memory-ops.ts. Which instructions there are depends on the compute capability alone.

import type { Form, Stmt } from "../../compiler/lower/simt/form.js";
import { MATRICES } from "./matrix.js";
import { printArrive, printBarrier, printBulkCopy, printBulkWait, printExpect } from "./bulk-ops.js";
import {
  type Bases,
  printAtomic,
  printCopyAsync,
  printLoad,
  printLoadMatrix,
  printMatch,
  printShuffle,
  printStore,
} from "./memory-ops.js";
import { gridRegister, type Head, printOp } from "./ops.js";
import { OVERLAPS } from "./shape.js";
import { PtxUnit } from "./unit.js";

/** Raised when the printed text or the argument block changes meaning. */
export const PRINTER_VERSION = 10;

/** The name of every kernel's entry point. */
export const ENTRY = "kernel";

/**
 * PTX for one kernel. Its parameters take 8 bytes each, in the order of the ABI; a buffer is the address of its first
 * element. A form with several programs a workgroup has one more: the number of programs along axis 0. Block maps (128
 * bytes each) stand before everything else, the last one first.
 *
 * @param capability compute capability, 75 and up
 */
export function printPtx(form: Form, capability: number): string {
  return new Printer(form, capability).print();
}

/** The newest generation whose instructions are used; later GPUs run its code through the driver's compiler. */
const NEWEST = 90;

class Printer implements Head, Bases {
  private readonly u: PtxUnit;
  private readonly head: string[] = [];
  private readonly known = new Map<string, string>();
  private awaits = false;

  constructor(
    private readonly form: Form,
    capability: number,
  ) {
    this.u = new PtxUnit(capability);
  }

  get params(): Form["params"] {
    return this.form.params;
  }

  print(): string {
    const { form, u } = this;
    if (form.programsPerGroup > 1) this.leaveBeyondGrid();
    this.block(form.body);
    const target = u.capability === NEWEST ? "sm_90a" : `sm_${Math.min(u.capability, NEWEST)}`;
    const hidden = form.programsPerGroup > 1 ? 1 : 0;
    const params = Array.from({ length: form.params.length + hidden }, (_, i) => `\t.param .b64 p${i}`);
    form.maps?.forEach((_, i) => void params.unshift(`\t.param .align 64 .b8 map${i}[128]`));
    return [
      `.version ${u.capability >= NEWEST ? "8.0" : u.capability > 86 ? "7.8" : "7.4"}`,
      `.target ${target}`,
      ".address_size 64",
      ...(form.sharedBytes > 0 ? [".extern .shared .align 1024 .b8 group_memory[];"] : []),
      `.visible .entry ${ENTRY}(`,
      params.join(",\n"),
      ")",
      `.reqntid ${form.threads + (form.extraThreads ?? 0)}, 1, 1`,
      // Without it `setmaxnreg` has no effect.
      ...(form.sharing || form.extraThreads ? [`.minnctapersm ${form.sharing ?? 1}`] : []),
      "{",
      ...u.declarations(),
      // The launch before may still run: what it writes is not touched before it has ended. The one behind may get ready at once.
      ...(u.capability >= OVERLAPS ? ["\tgriddepcontrol.launch_dependents;"] : []),
      ...(u.capability >= OVERLAPS && !this.awaits ? ["\tgriddepcontrol.wait;"] : []),
      ...this.head,
      ...u.lines,
      "\tret;",
      "}",
      "",
    ].join("\n");
  }

  // What the head of the function computes, on demand -------------------------------------------------------

  /** A register that the head fills once. */
  private once(key: string, make: () => string): string {
    let name = this.known.get(key);
    if (name === undefined) {
      name = make();
      this.known.set(key, name);
    }
    return name;
  }

  scalar(index: number): string {
    return this.once(`scalar ${index}`, () => {
      const p = this.form.params[index]!;
      if (p.kind !== "scalar") throw new Error(`parameter ${index} of ${this.form.name} is a buffer`);
      const t = this.u.temp(p.reg === "mask" ? "i32" : p.reg);
      const type =
        p.reg === "i64" ? "b64" : p.reg === "f32" || p.reg === "f64" ? p.reg : (SMALL[p.mem] ?? "b32");
      this.head.push(`\tld.param.${type} ${t}, [p${index}];`);
      return t;
    });
  }

  buffer(index: number): string {
    return this.once(`buffer ${index}`, () => {
      const t = this.u.temp("i64");
      this.head.push(`\tld.param.b64 ${t}, [p${index}];`, `\tcvta.to.global.u64 ${t}, ${t};`);
      return t;
    });
  }

  shared(): string {
    return this.once("shared", () => {
      const t = this.u.temp("i32");
      this.head.push(`\tmov.u32 ${t}, group_memory;`);
      return t;
    });
  }

  map(index: number): string {
    return this.once(`map ${index}`, () => {
      const t = this.u.temp("i64");
      this.head.push(`\tmov.b64 ${t}, map${index};`, `\tcvta.param.u64 ${t}, ${t};`);
      return t;
    });
  }

  isExtra(): string {
    return this.once("extra", () => {
      const [t, p] = [this.u.temp("i32"), this.u.temp("mask")];
      this.head.push(`\tmov.u32 ${t}, %tid.x;`, `\tsetp.ge.u32 ${p}, ${t}, ${this.form.threads};`);
      return p;
    });
  }

  programId(axis: number): string {
    const per = this.form.programsPerGroup;
    if (axis > 0 || per === 1) return gridRegister("ctaid", axis);
    return this.once("program", () => {
      const t = this.u.temp("i32");
      const group = this.u.temp("i32");
      const threads = this.form.threads / per;
      this.head.push(
        `\tmov.u32 ${t}, %tid.x;`,
        `\tshr.u32 ${t}, ${t}, ${Math.log2(threads)};`,
        `\tmov.u32 ${group}, %ctaid.x;`,
        `\tmad.lo.u32 ${t}, ${group}, ${per}, ${t};`,
      );
      return t;
    });
  }

  numPrograms(axis: number): string {
    if (axis > 0 || this.form.programsPerGroup === 1) return gridRegister("nctaid", axis);
    return this.once("programs", () => {
      const t = this.u.temp("i32");
      this.head.push(`\tld.param.b32 ${t}, [p${this.form.params.length}];`);
      return t;
    });
  }

  /** The last workgroup may have threads of programs that are not in the grid. */
  private leaveBeyondGrid(): void {
    const p = this.u.temp("mask");
    this.u.emit(`setp.ge.s32 ${p}, ${this.programId(0)}, ${this.numPrograms(0)};`);
    this.u.emit(`@${p} ret;`);
  }

  // Statements ---------------------------------------------------------------------------------------------

  private block(body: readonly Stmt[]): void {
    for (const s of body) this.statement(s);
  }

  private statement(s: Stmt): void {
    const { u, form } = this;
    switch (s.s) {
      case "op":
        printOp(u, s, this);
        break;
      case "load":
        printLoad(u, this, s);
        break;
      case "store":
        printStore(u, this, s);
        break;
      case "atomic":
        printAtomic(u, this, s);
        break;
      case "await":
        this.awaits = true;
        // Before that, a launch begins when the one before has ended.
        if (u.capability >= OVERLAPS) u.emit("griddepcontrol.wait;");
        break;
      case "issue":
        // No load passes a barrier, even of a warp.
        u.emit("bar.warp.sync -1;");
        break;
      case "barrier":
        // A barrier also orders what its threads did in buffers, among themselves.
        if (s.scope === "subgroup") u.emit("bar.warp.sync -1;");
        else if (s.scope === "group" && form.extraThreads) u.emit(`bar.sync 1, ${form.threads};`);
        else u.emit("bar.sync 0;");
        break;
      case "shuffle":
        printShuffle(u, s);
        break;
      case "match":
        printMatch(u, s);
        break;
      case "copyAsync":
        printCopyAsync(u, this, s);
        break;
      case "bulkBarrier":
        printBarrier(u, this, s);
        break;
      case "bulkFence":
        u.emit("fence.proxy.async.shared::cta;");
        break;
      case "bulkArrive":
        printArrive(u, this, s);
        break;
      case "registers":
        u.emit(`setmaxnreg.${s.more ? "inc" : "dec"}.sync.aligned.u32 ${s.count};`);
        break;
      case "bulkExpect":
        printExpect(u, this, s);
        break;
      case "bulkCopy":
        printBulkCopy(u, this, s);
        break;
      case "bulkWait":
        printBulkWait(u, this, s);
        break;
      case "copyCommit":
        u.emit("cp.async.commit_group;");
        break;
      case "copyWait":
        u.emit(`cp.async.wait_group ${s.pending};`);
        break;
      case "matrix":
        MATRICES[s.matrix]!.print(u, s, this);
        break;
      case "matrixFence":
        // What copies and stores brought to shared memory, then the registers of the sums.
        if (!s.registers) u.emit("fence.proxy.async.shared::cta;");
        u.emit("wgmma.fence.sync.aligned;");
        break;
      case "matrixCommit":
        u.emit("wgmma.commit_group.sync.aligned;");
        break;
      case "matrixWait":
        u.emit(`wgmma.wait_group.sync.aligned ${s.pending};`);
        break;
      case "loadMatrix":
        printLoadMatrix(u, this, s);
        break;
      case "for":
        this.forLoop(s);
        break;
      case "while":
        this.whileLoop(s);
        break;
      case "if":
        this.conditional(s);
        break;
    }
  }

  private forLoop(s: Extract<Stmt, { s: "for" }>): void {
    const { u } = this;
    const kind = s.iv.type.kind;
    const type = kind === "i64" ? "s64" : "s32";
    // Bounds are read once; the body may assign their registers.
    const fixed = (o: typeof s.hi): string => {
      if (typeof o !== "object") return u.operand(o, kind);
      const t = u.temp(kind);
      u.emit(`mov.${type.replace("s", "b")} ${t}, ${u.reg(o)};`);
      return t;
    };
    const [hi, step] = [fixed(s.hi), fixed(s.step)];
    const iv = u.reg(s.iv);
    u.emit(`mov.${type.replace("s", "b")} ${iv}, ${u.operand(s.lo, kind)};`);
    const [top, end, done] = [u.newLabel("for"), u.newLabel("end"), u.temp("mask")];
    u.emit(`setp.ge.${type} ${done}, ${iv}, ${hi};`);
    u.emit(`@${done} bra ${end};`);
    u.label(top);
    if (s.unroll !== undefined && s.unroll <= 1) u.emit('.pragma "nounroll";');
    this.block(s.body);
    u.emit(`add.${type} ${iv}, ${iv}, ${step};`);
    u.emit(`setp.lt.${type} ${done}, ${iv}, ${hi};`);
    u.emit(`@${done} bra ${top};`);
    u.label(end);
  }

  private whileLoop(s: Extract<Stmt, { s: "while" }>): void {
    const { u } = this;
    const [top, end] = [u.newLabel("while"), u.newLabel("end")];
    u.label(top);
    this.block(s.cond);
    u.emit(`@!${u.operand(s.test, "mask")} bra ${end};`);
    this.block(s.body);
    u.emit(`bra ${top};`);
    u.label(end);
  }

  private conditional(s: Extract<Stmt, { s: "if" }>): void {
    const { u } = this;
    const end = u.newLabel("end");
    const otherwise = s.else.length ? u.newLabel("else") : end;
    u.emit(`@!${u.operand(s.test, "mask")} bra ${otherwise};`);
    this.block(s.then);
    if (s.else.length) {
      u.emit(`bra ${end};`);
      u.label(otherwise);
      this.block(s.else);
    }
    u.label(end);
  }
}

/** How scalars narrower than a register are read. */
const SMALL: Readonly<Record<string, string>> = { i8: "s8", u8: "u8", i16: "s16", u16: "u16" };
