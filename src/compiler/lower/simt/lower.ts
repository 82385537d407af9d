// Lowers a function of the tile IR to the form: parameters, blocks, one op after the other.

import { cloneFunc } from "../../ir/clone.js";
import { type Block, DTYPES, type Func, type Op, opDef, type Value, walk } from "../../ir/index.js";
import { dropHints, expandCountingSorts, widenF8Dots } from "../../passes/index.js";
import { CompileError } from "../../target.js";
import { elementwise } from "../simd/elementwise.js";
import type { FormParam, Operand, Reg } from "../simd/form.js";
import { scalarizeInduction } from "../simd/induction.js";
import { dtypeOf, literal, memKind, regKind } from "../simd/kinds.js";
import { placeAwait } from "./await.js";
import { emitControl } from "./control.js";
import { removeDead } from "./dead.js";
import type { Form, Stmt } from "./form.js";
import { branch, isReg } from "../simd/emit.js";
import { type Layout, showLayout, single } from "./layout.js";
import { emitMemory } from "./memory.js";
import { orientDots } from "./orient.js";
import { peelEdges } from "./peel.js";
import { unpackWords } from "./pack.js";
import { loopPrograms } from "./persistent.js";
import { Plan, shapeOf, sizeOf } from "./plan.js";
import { pressureOf } from "./pressure.js";
import { isRearranging, operandLayout } from "./rearrange.js";
import { Producer } from "./produce.js";
import type { Production } from "./produce-plan.js";
import { emitReduce } from "./reduce.js";
import { emitScan } from "./scan.js";
import { sinkIntoBranches } from "./sink.js";
import { emitSort } from "./sort.js";
import { emitCountingSort } from "./counting-sort.js";
import { countsNatively } from "./counting-layout.js";
import { emitGather } from "./gather.js";
import { emitDot } from "./dot.js";
import type { SimtShape } from "./shape.js";
import { elementSums } from "./threads.js";
import { Unit } from "./unit.js";
import { widenBytes } from "./widen-bytes.js";

/** Emits the ops of a block up to its terminator. */
export function emitBlock(unit: Unit, block: Block): void {
  for (const op of block.ops) if (!opDef(op.opcode).terminator) emitOp(unit, op);
}

/** Emits one op. */
export function emitOp(unit: Unit, op: Op): void {
  const { plan } = unit;
  if (plan.isCheap(op)) {
    const [v] = op.results;
    if (!v) return;
    const home = plan.homeOf(v);
    if (home) {
      if (plan.layoutsOf(v).length) unit.define(v, home, cheap(unit, op, home));
    } else if (sizeOf(v) === 1) {
      if (plan.layoutsOf(v).length)
        unit.define(v, single(shapeOf(v), plan.threads), cheap(unit, op, plan.layoutsOf(v)[0]!));
    } else for (const l of plan.layoutsOf(v)) unit.add(v, l, cheap(unit, op, l));
    return;
  }
  switch (op.opcode) {
    case "load":
      // Its loop copies it into shared memory.
      if (plan.isStreamed(op)) return;
      emitMemory(unit, op);
      return;
    case "store":
    case "atomic":
    case "atomicCas":
      emitMemory(unit, op);
      return;
    case "reduce":
      emitReduce(unit, op);
      return;
    case "scan":
      emitScan(unit, op);
      return;
    case "sort":
      emitSort(unit, op);
      return;
    case "countingSort":
      emitCountingSort(unit, op);
      return;
    case "gather":
      emitGather(unit, op);
      return;
    case "dot":
      emitDot(unit, op);
      return;
    case "for":
    case "while":
    case "if":
      emitControl(unit, op);
      return;
  }
  throw new CompileError(`${unit.func.name}: lower/simt has no code for ${op.opcode}`);
}

/** The registers of an op that is computed where it is needed, in a layout. */
function cheap(unit: Unit, op: Op, l: Layout): readonly Operand[] {
  const { e } = unit;
  const count = 1 << l.registers.length;
  const d = dtypeOf(op.result);
  if (isRearranging(op)) {
    const { layout, registerOf } = operandLayout(op, l);
    const regs = unit.get(op.operands[0]!, layout);
    return Array.from({ length: count }, (_, r) => regs[registerOf[r]!]!);
  }
  switch (op.opcode) {
    case "const":
      return Array(count).fill(literal(op.attrs["value"] as number | bigint, d));
    case "arange":
      return elementSums(e, l, (bit) => bit).map((x) =>
        e.op("add", "i32", 1, [x, op.attrs["start"] as number]),
      );
    case "programId":
    case "numPrograms":
      return [e.op(op.opcode, "i32", 1, [], { index: op.attrs["axis"] as number })];
  }
  if (!opDef(op.opcode).elementwise)
    throw new CompileError(`${unit.func.name}: lower/simt has no code for ${op.opcode}`);
  const widened = op.opcode === "cast" ? widenBytes(unit, op, l) : undefined;
  if (widened) return widened;
  if (op.opcode === "exp2Approx" || op.opcode === "sigmoidApprox") {
    const approx = op.opcode;
    return unit.get(op.operands[0]!, l).map((x) => {
      const r = isReg(x) ? x : e.reg("f32");
      if (!isReg(x)) e.assign(r as Reg, x);
      return e.simt(approx, "f32", [r]);
    });
  }
  const halves = op.opcode === "cast" ? roundPairs(unit, op, l) : undefined;
  if (halves) return halves;
  const dtype = dtypeOf(op.operands[op.opcode === "select" ? 1 : 0]!);
  const what = { opcode: op.opcode, attrs: op.attrs, dtype, to: d };
  const args = op.operands.map((v) => unit.get(v, l));
  return Array.from({ length: count }, (_, r) =>
    elementwise(
      e,
      what,
      args.map((a) => a[r]!),
      1,
    ),
  );
}

/** Rounds f32 to halves, two at a time: neighbours are stored, and enter products, in pairs. */
function roundPairs(unit: Unit, op: Op, l: Layout): readonly Operand[] | undefined {
  const { e } = unit;
  const [from, to] = [dtypeOf(op.operands[0]!), dtypeOf(op.result)];
  if (from !== "f32" || (to !== "f16" && to !== "bf16")) return undefined;
  const xs = unit.get(op.operands[0]!, l);
  if (xs.length < 2 || !xs.every(isReg)) return undefined;
  const words: Operand[] = [];
  for (let r = 0; r < xs.length; r += 2)
    words.push(e.simt(to === "f16" ? "packF16" : "packBf16", "i32", [xs[r]!, xs[r + 1]!]));
  return unpackWords(e, to, words, xs.length);
}

function paramOf(name: string, v: Value): FormParam {
  const d = dtypeOf(v);
  const mem = memKind(d);
  if (v.type.kind === "buffer") return { kind: "buffer", name, mem };
  return { kind: "scalar", name, reg: d === "bool" ? "i32" : regKind(d), mem };
}

/** Threads that hand registers to others, or take them, together; what one that copies keeps; and the step in which they change. */
const [SHARING, FEW_REGISTERS, REGISTER_STEP] = [128, 24, 8];

/** The whole function, and beside it the threads that bring a loop's operands; how many these are. */
function emitApart(unit: Unit, p: Production, persistent: boolean): number {
  const { e, plan } = unit;
  const producer = new Producer(unit, p, plan.threads, unit.shape.subgroup!, persistent);
  producer.prologue();
  const shares = plan.threads > SHARING && unit.shape.groupRegisters !== undefined;
  const [copying, computing]: [Stmt[], Stmt[]] = [[], []];
  e.inside(copying as never[], () =>
    unit.apart(() => {
      if (shares) e.push({ s: "registers", count: FEW_REGISTERS, more: false });
      // One of its subgroups is enough.
      const last = plan.threads + unit.shape.subgroup!;
      e.when(e.op("ltS", "mask", 1, [e.simt("threadId", "i32", []), last]) as Reg, () => producer.produce());
    }),
  );
  unit.producer = producer;
  e.inside(computing as never[], () => {
    if (shares) {
      const each = ((unit.shape.groupRegisters ?? 0) / SHARING - FEW_REGISTERS) / (plan.threads / SHARING);
      e.push({ s: "registers", count: Math.floor(each / REGISTER_STEP) * REGISTER_STEP, more: true });
    }
    emitBlock(unit, unit.func.body);
  });
  e.push(branch(e.simt("isExtra", "mask", []) as Reg, copying as never, computing as never) as Stmt);
  return shares ? SHARING : unit.shape.subgroup!;
}

/** Changes whenever the form that is made of a function does. Part of the fingerprint of every chip that prints it. */
export const LOWERING_VERSION = 13;

/** A copy of a function as it is planned. */
function prepared(original: Func, shape: SimtShape): Func {
  const func = cloneFunc(original);
  walk(func.body, (op) => {
    if (op.opcode === "assert" || op.opcode === "print") op.erase();
  });
  scalarizeInduction(func);
  dropHints(func);
  expandCountingSorts(func, (op) => countsNatively(op, shape));
  widenF8Dots(func);
  peelEdges(func);
  orientDots(func, shape);
  sinkIntoBranches(func);
  return func;
}

/** Lowers an optimised function. Throws CompileError where a program does not fit the chip's shared memory. */
export function lowerSimt(original: Func, shape: SimtShape): Form {
  const func = prepared(original, shape);
  if (shape.persistent && hasDot(func)) {
    const form = emitPersistent(prepared(original, shape), shape);
    if (form) return form;
  }
  let splitting = true;
  const streamed = new Plan(func, shape);
  if (streamed.stream) {
    const form = emitFunc(func, streamed, shape);
    if (form && form.sharedBytes <= shape.sharedBytes) return form;
  }
  // More threads hold a tile in fewer registers each, but share the workgroup's: the form that fits, else the one nearest to it.
  let best: { form: Form; over: number } | undefined;
  for (let threads: number | undefined; ; ) {
    const plan = new Plan(func, shape, threads, false, splitting);
    const form = emitFunc(func, plan, shape);
    if (!form) {
      splitting = false;
      continue;
    }
    threads = plan.threads * 2;
    if (form.sharedBytes > shape.sharedBytes) {
      if (best) return best.form;
      throw new CompileError(
        `${func.name}: a program needs ${form.sharedBytes} bytes of shared memory, but this chip has ${shape.sharedBytes}; make its blocks smaller`,
      );
    }
    const over =
      form.registers / (plan.pipelines.size > 0 ? registersOf(shape, plan.threads) : shape.registers);
    if (over <= 1) return form;
    if (!best || over < best.over) best = { form, over };
    if (threads > Math.min(shape.maxThreads, plan.largest)) return best.form;
  }
}

function hasDot(func: Func): boolean {
  let found = false;
  walk(func.body, (op) => {
    found ||= op.opcode === "dot";
  });
  return found;
}

/**
 * The form whose workgroups take one program after another: for a loop of one product that has a producer, in workgroups of which
 * one fills a multiprocessor. Undefined for others. Changes the function.
 */
function emitPersistent(func: Func, shape: SimtShape): Form | undefined {
  loopPrograms(func);
  const plan = new Plan(func, shape, undefined, false, true, true);
  const { production, threads } = plan;
  if (plan.pipelines.size === 0 || !production || production.around.length !== 1) return undefined;
  if (threads + SHARING > shape.maxThreads) return undefined;
  const form = emitFunc(func, plan, shape, true);
  const room = shape.sharedBytes;
  const fits =
    form &&
    form.sharedBytes <= room &&
    form.sharedBytes > room / 2 &&
    form.registers <= registersOf(shape, threads);
  return fits ? { ...form, persistent: true } : undefined;
}

/** Registers of a thread where asynchronous products keep their sums, whatever the assembler would like. */
const registersOf = (shape: SimtShape, threads: number): number =>
  Math.min(shape.registers, (shape.groupRegisters ?? Infinity) / threads);

/** Threads of a multiprocessor that hide what memory takes, and the estimate of registers up to which the assembler can be held to them. */
const [HIDING, MOST_HELD] = [768, 120];

/**
 * Workgroups that are to share a multiprocessor. Loops of several products whose shares wait for memory are held to a few registers
 * less than the assembler would take, which lets one more workgroup in; one product has room, and gets slower.
 */
function sharingOf(plan: Plan, registers: number): number {
  const { direct } = plan;
  const waits = direct && direct.shares > 1 && direct.dots.size > direct.loops.size && registers <= MOST_HELD;
  return waits ? Math.max(1, Math.floor(HIDING / plan.threads)) : plan.sharing;
}

/** Workgroups that the author of a loop wants side by side on a multiprocessor. */
function programsOf(func: Func): number | undefined {
  let most = 0;
  walk(func.body, (op) => {
    const n = op.opcode === "for" ? op.attrs["programs"] : undefined;
    if (typeof n === "number") most = Math.max(most, n);
  });
  return most || undefined;
}

/** The form; undefined where turns of a loop cannot be shared out as planned. */
function emitFunc(func: Func, plan: Plan, shape: SimtShape, persistent = false): Form | undefined {
  const unit = new Unit(func, plan, shape);
  const { e } = unit;
  func.body.args.forEach((v, index) => {
    if (v.type.kind === "buffer") return;
    const d = dtypeOf(v);
    if (DTYPES[d].kind === "float" && d === "f64" && !shape.f64)
      throw new CompileError(`${func.name}: this chip has no f64, which ${func.paramNames[index]} is`);
    const raw = e.op("param", d === "bool" ? "i32" : regKind(d), 1, [], { index });
    const x = d === "bool" ? e.op("ne", "mask", 1, [raw, 0]) : raw;
    if (isReg(x)) e.settle(x);
    unit.define(v, single([], plan.threads), [x]);
  });
  const apart = plan.threads + SHARING <= shape.maxThreads ? plan.production : undefined;
  let extra = 0;
  if (apart) extra = emitApart(unit, apart, persistent);
  else emitBlock(unit, func.body);
  if (unit.splitFailed) return undefined;
  unit.shared.place();
  const live = removeDead(e.statements);
  const body = shape.overlaps && !extra ? placeAwait(live) : live;
  const sharedBytes = Math.ceil(unit.shared.bytes / 16) * 16;
  const registers = pressureOf(body);
  const sharing = programsOf(func) ?? sharingOf(plan, registers);
  return {
    name: func.name,
    params: func.body.args.map((v, i) => paramOf(func.paramNames[i]!, v)),
    threads: plan.threads,
    programsPerGroup: 1,
    sharedBytes,
    ...(sharing > 1 ? { sharing } : {}),
    regs: e.regs,
    body,
    ...(extra ? { extraThreads: extra } : {}),
    ...(unit.maps.length ? { maps: unit.maps } : {}),
    registers,
    layouts: plan.describe(showLayout),
  };
}
