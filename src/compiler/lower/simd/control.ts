// Structured control flow: loop-carried scalars are registers, loop-carried tiles are cells of the frame.

import type { Op, Value } from "../../ir/index.js";
import { branch, isReg } from "./emit.js";
import type { Operand, Reg, Stmt } from "./form.js";
import { dtypeOf, isScalarValue, regKind } from "./kinds.js";
import { BlockCode } from "./lower.js";

export function emitControl(code: BlockCode, op: Op): void {
  if (op.opcode === "for") emitFor(code, op);
  else if (op.opcode === "while") emitWhile(code, op);
  else emitIf(code, op);
}

/** Registers for the scalars that an op carries, started with their first values. */
function carry(
  code: BlockCode,
  op: Op,
  inits: readonly Value[],
  argLists: readonly (readonly Value[])[],
): (Reg | undefined)[] {
  const { unit } = code;
  const values = inits.map((v) => (isScalarValue(v) ? code.scalar(v) : undefined));
  return op.results.map((result, i) => {
    if (!isScalarValue(result)) {
      for (const args of argLists) unit.cells.set(args[i]!, unit.cells.get(result)!);
      return undefined;
    }
    const r = unit.e.reg(regKind(dtypeOf(result)));
    unit.e.assign(r, values[i]!);
    for (const args of argLists) unit.scalars.set(args[i]!, r);
    return r;
  });
}

/** Assigns what a block yields to the carried registers, all at once. */
function assignYield(code: BlockCode, regs: readonly (Reg | undefined)[]): void {
  const { e } = code.unit;
  const yielded = code.plan.block.terminator?.operands ?? [];
  const values = regs.map((r, i) => (r ? code.scalar(yielded[i]!) : undefined));
  const safe = values.map((x, i): Operand | undefined => {
    if (x === undefined || !isReg(x) || x === regs[i] || !regs.includes(x)) return x;
    const copy = e.reg(x.type.kind);
    e.assign(copy, x);
    return copy;
  });
  regs.forEach((r, i) => {
    if (r) e.assign(r, safe[i]!);
  });
}

function publish(code: BlockCode, op: Op, regs: readonly (Reg | undefined)[]): void {
  op.results.forEach((v, i) => {
    if (regs[i]) code.unit.scalars.set(v, regs[i]);
  });
}

function emitFor(code: BlockCode, op: Op): void {
  const { unit } = code;
  const { e, frame } = unit;
  const [lo, hi, step] = op.operands.slice(0, 3).map((v) => code.scalar(v)) as [Operand, Operand, Operand];
  const body = op.regions[0]!;
  const args = body.args.slice(1);
  const regs = carry(code, op, op.operands.slice(3), [args]);
  const iv = e.reg(regKind(dtypeOf(op.operands[0]!)));
  unit.scalars.set(body.args[0]!, iv);
  const list: Stmt[] = [];
  frame.region(() =>
    e.inside(list, () => {
      const inner = new BlockCode(unit, body, args);
      inner.emit();
      assignYield(inner, regs);
    }),
  );
  e.out.push({ s: "for", iv, lo, hi, step, body: list });
  publish(code, op, regs);
}

function emitWhile(code: BlockCode, op: Op): void {
  const { unit } = code;
  const { e, frame } = unit;
  const [before, body] = op.regions as [Op["regions"][number], Op["regions"][number]];
  const regs = carry(code, op, op.operands, [before.args, body.args]);
  const cond: Stmt[] = [];
  const list: Stmt[] = [];
  let test: Operand = 1;
  frame.region(() => {
    e.inside(cond, () => {
      const inner = new BlockCode(unit, before, []);
      inner.emit();
      test = inner.scalar(before.terminator!.operands[0]!);
    });
    e.inside(list, () => {
      const inner = new BlockCode(unit, body, body.args);
      inner.emit();
      assignYield(inner, regs);
    });
  });
  e.out.push({ s: "while", cond, test, body: list });
  publish(code, op, regs);
}

function emitIf(code: BlockCode, op: Op): void {
  const { unit } = code;
  const { e, frame } = unit;
  const test = code.scalar(op.operands[0]!);
  const regs = op.results.map((v) => (isScalarValue(v) ? e.reg(regKind(dtypeOf(v))) : undefined));
  const lists = op.regions.map((region) => {
    const list: Stmt[] = [];
    frame.region(() =>
      e.inside(list, () => {
        const inner = new BlockCode(unit, region, []);
        inner.emit();
        assignYield(inner, regs);
      }),
    );
    return list;
  });
  if (!isReg(test)) e.out.push(...lists[Number(test) ? 0 : 1]!);
  else e.out.push(branch(test, lists[0]!, lists[1] ?? []));
  publish(code, op, regs);
}
