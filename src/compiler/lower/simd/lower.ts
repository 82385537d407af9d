// Lowers a function of the tile IR to the form: parameters, blocks, steps in order, scalars between them.

import { type Block, type Func, type Op, opDef, type Value, walk } from "../../ir/index.js";
import { cloneFunc } from "../../ir/clone.js";
import { dropHints } from "../../passes/drop-hints.js";
import { expandCountingSorts } from "../../passes/expand-counting-sorts.js";
import type { Streamed } from "./ahead.js";
import { widenAddresses } from "./addresses.js";
import { assignCells, type Move } from "./cells.js";
import { emitControl } from "./control.js";
import { removeDead } from "./dead.js";
import { settle } from "./demand.js";
import { emitDot } from "./dot.js";
import { emitPackedDot, widened } from "./dot-packed.js";
import { elementwise } from "./elementwise.js";
import { Emitter } from "./emit.js";
import type { Form, FormParam, Mem, Operand, RegKind, VectorShape } from "./form.js";
import { type Cell, Frame } from "./frame.js";
import { dtypeOf, frameKind, is64Kind, isScalarValue, literal, memKind, regKind } from "./kinds.js";
import { scalarizeInduction } from "./induction.js";
import { Ids } from "./maps.js";
import { loadMasked } from "./memory.js";
import { Nest } from "./nest.js";
import { BlockPlan } from "./plan.js";
import { emitScan } from "./scan.js";
import { emitSort } from "./sort.js";
import { Costs, defOf } from "./values.js";

/** What all blocks of a function share while they are lowered. */
export class Unit {
  readonly e: Emitter;
  readonly frame = new Frame();
  readonly ids = new Ids();
  readonly costs = new Costs();
  /** The scalars computed so far. */
  readonly scalars = new Map<Value, Operand>();
  /** The tiles in the frame. */
  readonly cells = new Map<Value, Cell>();
  /** Those that a later step of their block writes: until then regions compute them anew. */
  readonly unwritten = new Set<Value>();
  private readonly params: readonly Value[];

  constructor(
    func: Func,
    readonly shape: VectorShape,
  ) {
    this.e = new Emitter(shape.bytes, shape.maskedMemory, shape.prefetch);
    this.params = func.body.args;
  }

  bufferOf(v: Value): Mem {
    const param = this.params.indexOf(v);
    if (param < 0) throw new Error("lower/simd: a buffer that is no parameter");
    return { param };
  }
}

/** One block: its plan, and what emits its steps. */
export class BlockCode {
  readonly plan: BlockPlan;
  /** The cells that copies go to where it is not their target's. */
  readonly copies: ReadonlyMap<object, Cell>;
  /** Loads of nests so far that a later one may fetch for the next program. */
  readonly streamed: Streamed[] = [];
  private readonly moves: readonly Move[];
  private readonly waiting: { op: Op; ready: number }[];

  /** `carried`: the block's arguments that its yield replaces, by position; they have cells already. */
  constructor(
    readonly unit: Unit,
    block: Block,
    carried: readonly (Value | undefined)[],
  ) {
    this.plan = new BlockPlan(block, unit.ids, unit.costs);
    const homes = settle(this.plan, unit.shape.reload);
    for (const v of homes.keys()) unit.unwritten.add(v);
    const { moves, copies } = assignCells(this.plan, homes, unit.cells, unit.frame, carried, unit.shape);
    this.moves = moves;
    this.copies = copies;
    this.waiting = [...this.plan.scalars];
  }

  /** Emits everything up to the terminator. */
  emit(): void {
    const { unit } = this;
    for (const step of this.plan.steps) {
      unit.frame.tick();
      this.emitScalars(Math.ceil(step.at));
      if (step.space) new Nest(this, step).emit();
      else this.emitOp(step.op!);
      for (const root of step.roots) if (root.kind === "keep") unit.unwritten.delete(root.value);
    }
    unit.frame.tick();
    this.emitScalars(Number.POSITIVE_INFINITY);
    for (const m of this.moves) moveCell(unit, m);
    unit.frame.tick();
  }

  /** The register (or literal) of a scalar. */
  scalar(v: Value): Operand {
    const known = this.unit.scalars.get(v);
    if (known !== undefined) return known;
    const op = defOf(v);
    if (op?.opcode === "const") return literal(op.attrs["value"] as number | bigint, dtypeOf(v));
    throw new Error(`lower/simd: the scalar of ${op?.opcode ?? "an argument"} is not computed yet`);
  }

  private emitScalars(ready: number): void {
    const rest: { op: Op; ready: number }[] = [];
    for (const s of this.waiting) {
      if (s.ready > ready) rest.push(s);
      else this.emitScalar(s.op);
    }
    this.waiting.splice(0, this.waiting.length, ...rest);
  }

  private emitScalar(op: Op): void {
    const { e, scalars } = this.unit;
    const set = (x: Operand): void => void scalars.set(op.result, x);
    const arg = (i: number): Operand => this.scalar(op.operands[i]!);
    switch (op.opcode) {
      case "const":
        return;
      case "programId":
      case "numPrograms":
        set(e.op(op.opcode, "i32", 1, [], { index: op.attrs["axis"] as number }));
        return;
      case "load": {
        const [buffer, offset] = op.operands as [Value, Value];
        const d = dtypeOf(buffer);
        let at = this.scalar(offset);
        if (dtypeOf(offset) === "u32" && !this.unit.shape.address32) at = e.op("convertU", "i64", 1, [at]);
        const mask = op.operands.length > 2 ? arg(2) : 1;
        const other = op.operands.length > 3 ? arg(3) : regKind(d) === "i64" ? 0n : 0;
        set(loadMasked(e, d, this.unit.bufferOf(buffer), { kind: "run", at }, mask, other, 1));
        return;
      }
      case "splat":
      case "reshape":
      case "permute":
      case "broadcast":
        set(arg(0));
        return;
    }
    if (!opDef(op.opcode).elementwise) throw new Error(`lower/simd has no code for a scalar ${op.opcode}`);
    const dtype = dtypeOf(op.operands[op.opcode === "select" ? 1 : 0]!);
    const args = op.operands.map((_, i) => arg(i));
    set(elementwise(e, { opcode: op.opcode, attrs: op.attrs, dtype, to: dtypeOf(op.result) }, args, 1));
  }

  private emitOp(op: Op): void {
    const { e, frame, cells, shape } = this.unit;
    const cell = (v: Value): Cell => cells.get(v)!;
    if (op.opcode === "dot") {
      const [a, b] = op.operands as [Value, Value];
      const [left, right, sum] = [cell(a), cell(b), cell(op.result)];
      if (!emitPackedDot(e, frame, shape, op, left, right, sum))
        emitDot(e, frame, shape, op, widened(e, frame, left), widened(e, frame, right), sum);
    } else if (op.opcode === "scan") emitScan(e, frame, op, cell(op.operands[0]!), cell(op.result));
    else if (op.opcode === "sort") emitSort(e, frame, op, op.operands.map(cell), op.results.map(cell));
    else emitControl(this, op);
  }
}

/** Copies a whole cell. */
function moveCell({ e, frame }: Unit, { from, to }: Move): void {
  if (from === to) return;
  const isMask = from.kind === "mask";
  const kind: RegKind = isMask ? "i32" : from.kind;
  const full = e.vectorBytes / (is64Kind(kind) ? 8 : 4);
  const lanes = from.count % full === 0 ? full : 1;
  const mem = frameKind(from.kind);
  e.loop(0, from.count, lanes, (at) => {
    e.store(kind, lanes, frame.mem(to), mem, at, e.load(kind, lanes, frame.mem(from), mem, at));
  });
}

function paramOf(name: string, v: Value): FormParam {
  const d = v.type.dtype;
  const mem = memKind(d);
  if (v.type.kind === "buffer") return { kind: "buffer", name, mem };
  return { kind: "scalar", name, reg: d === "bool" ? "i32" : regKind(d), mem };
}

/**
 * Lowers an optimised function (no op of `EXPANDED_UNARY`, `EXPANDED_BINARY` is left) for a chip's vector unit.
 *
 * Of two accesses in one step, those to the same parameter are kept in order, whatever their offsets. Two parameters
 * may be the same buffer as long as the elements that one tile op reads through one and a later one writes through
 * the other are the same or disjoint, element by element: what in-place operators do.
 */
export function lowerSimd(original: Func, shape: VectorShape): Form {
  const func = cloneFunc(original);
  // What a chip reports it has turned into stores (`passes/reports`).
  walk(func.body, (op) => {
    if (op.opcode === "assert" || op.opcode === "print") op.erase();
  });
  dropHints(func);
  expandCountingSorts(func);
  scalarizeInduction(func);
  const unit = new Unit(func, shape);
  const { e } = unit;
  func.body.args.forEach((v, index) => {
    if (!isScalarValue(v)) return;
    const d = dtypeOf(v);
    const raw = e.op("param", d === "bool" ? "i32" : regKind(d), 1, [], { index });
    unit.scalars.set(v, d === "bool" ? e.op("ne", "mask", 1, [raw, 0]) : raw);
  });
  new BlockCode(unit, func.body, []).emit();
  const frameBytes = unit.frame.layout();
  const body = removeDead(shape.address32 ? e.out : widenAddresses(e, e.out));
  return {
    name: func.name,
    params: func.body.args.map((v, i) => paramOf(func.paramNames[i]!, v)),
    frameBytes,
    regs: e.regs,
    body,
  };
}
