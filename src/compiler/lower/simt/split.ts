// A loop whose turns are shared: groups of subgroups take turns in rotation, each with sums of its own, and what they have is added
// up in shared memory behind the loop. For sums over K that few programs work on. The author asks for it (`split` of `tl.range`).

import { type Op, opDef, type TileType, type Value } from "../../ir/index.js";
import { branch } from "../simd/emit.js";
import { dtypeOf, regKind } from "../simd/kinds.js";
import { assignYield, carry, enter, publish } from "./control.js";
import type { Operand, Reg, Stmt } from "./form.js";
import { emitBlock } from "./lower.js";
import type { Unit } from "./unit.js";

const defOf = (v: Value): Op | undefined => (v.def && "opcode" in v.def ? v.def : undefined);

/** How many shares the author asks for, if the loop only adds to what it carries; else 1. */
export function sharesOf(loop: Op): number {
  const shares = loop.attrs["split"];
  if (typeof shares !== "number" || shares < 2 || !Number.isInteger(Math.log2(shares))) return 1;
  const body = loop.regions[0]!;
  const reads = body.ops.every((op) => {
    const { memory } = opDef(op.opcode);
    return (memory === undefined || memory === "read") && op.regions.length === 0;
  });
  const sums = body.args.slice(1).every((v, i) => isSum(v, body.terminator!.operands[i]!));
  return reads && sums ? shares : 1;
}

/** Whether `to` is `from` plus something that does not depend on it. */
function isSum(from: Value, to: Value): boolean {
  if (from.type.dtype !== "f32" || (from.type as TileType).shape.length === 0) return false;
  let now = from;
  while (now !== to) {
    if (now.uses.size !== 1) return false;
    const op = [...now.uses][0]!;
    const at = op.operands.indexOf(now);
    const adds =
      op.opcode === "add" ||
      ((op.opcode === "fma" || op.opcode === "dot") && at === 2 && op.operands.lastIndexOf(now) === 2);
    if (!adds || op.operands.filter((v) => v === now).length !== 1) return false;
    now = op.result;
  }
  return to.uses.size === 1;
}

/** @returns whether it could: no barrier may stand in the loop, whose turns the groups do not take together */
export function emitSplit(unit: Unit, op: Op, shares: number): boolean {
  const { e, shared, plan } = unit;
  const [lo, hi, step] = op.operands.slice(0, 3).map((v) => unit.scalar(v)) as [Operand, Operand, Operand];
  const kind = regKind(dtypeOf(op.operands[0]!));
  const each = plan.threads / shares;
  const tid = e.simt("threadId", "i32", []);
  const share = e.op("shrU", "i32", 1, [tid, Math.log2(each)]);
  const wide = kind === "i64" ? e.op("convertS", "i64", 1, [share]) : share;
  const regs = carry(unit, op.results, op.operands.slice(3));
  // What there was before belongs to the first.
  const isFirst = e.op("eq", "mask", 1, [share, 0]);
  op.operands.slice(3).forEach((v, i) => {
    const init = defOf(v);
    if (init?.opcode === "const" && Number(init.attrs["value"]) === 0) return;
    for (const r of regs[i]!) e.assign(r, e.op("select", r.type.kind, 1, [isFirst, r, 0]));
  });
  const count = kind === "i64" ? BigInt(shares) : shares;
  const first = e.op("add", kind, 1, [lo, e.op("mul", kind, 1, [step, wide])]);
  const stride = e.op("mul", kind, 1, [step, count]);
  const body = op.regions[0]!;
  const iv = e.value(kind);
  const list: Stmt[] = [];
  const turn = (to: Stmt[], at: Reg): void =>
    e.inside(to as never[], () => {
      for (const o of body.ops) for (const v of o.results) unit.forget(v);
      enter(unit, [body.args[0]!], [[at]]);
      enter(unit, body.args.slice(1), regs);
      emitBlock(unit, body);
      assignYield(unit, op, body.terminator!.operands, regs);
    });
  // What may be read while launches before this one still run is that of each share's first turn: it stands apart.
  const apart: Stmt[] = [];
  const peels = unit.shape.overlaps === true && body.ops.some((o) => o.attrs["early"] === true);
  shared.loop(op.regions, () => {
    if (peels) turn(apart, first as Reg);
    turn(list, iv);
  });
  let rest = first;
  if (peels) {
    e.push(branch(e.op("ltS", "mask", 1, [first, hi]) as Reg, apart as never, []) as Stmt);
    rest = e.op("add", kind, 1, [first, stride]);
  }
  e.push({ s: "for", iv, lo: rest, hi, step: stride, body: list });
  addUp(unit, regs.flat(), { share, tid, each, shares });
  publish(unit, op, regs);
  return ![...apart, ...list].some((s) => s.s === "barrier" && s.scope === "group");
}

interface Place {
  readonly share: Operand;
  readonly tid: Operand;
  readonly each: number;
  readonly shares: number;
}

/** Each register becomes the sum over the shares, in their order, in all of them. */
function addUp(
  unit: Unit,
  regs: readonly ReturnType<Unit["e"]["reg"]>[],
  { share, tid, each, shares }: Place,
): void {
  const { e, shared } = unit;
  const bytes = 4;
  const own = e.op("mul", "i32", 1, [e.op("and", "i32", 1, [tid, each - 1]), bytes]);
  const at = e.op("add", "i32", 1, [own, e.op("mul", "i32", 1, [share, regs.length * each * bytes])]);
  shared.scratch(shares * regs.length * each * bytes);
  regs.forEach((r, i) => {
    const type = { kind: "f32", lanes: 1 } as const;
    e.push({ s: "store", values: [r], type, kind: "f32", mem: { shared: 0 }, at, plus: i * each * bytes });
  });
  shared.barrier();
  shared.touch();
  regs.forEach((r, i) => {
    let sum: Operand = 0;
    for (let s = 0; s < shares; s++) {
      const part = e.value("f32");
      e.push({
        s: "load",
        dst: [part],
        kind: "f32",
        mem: { shared: 0 },
        at: own,
        plus: (s * regs.length + i) * each * bytes,
      });
      sum = s === 0 ? part : e.op("add", "f32", 1, [sum, part]);
    }
    e.assign(r, sum);
  });
}
