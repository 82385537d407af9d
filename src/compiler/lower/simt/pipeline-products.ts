// The products of one stage of a pipelined loop (pipeline.ts): which places of the operands each group of subgroups multiplies.

import type { Mem, Operand, Reg } from "./form.js";
import { matrixAt, offsetOf } from "./panels.js";
import type { Pipeline } from "./pipeline-plan.js";
import { sides } from "./staged-products.js";
import type { PanelOperand } from "./stream-plan.js";
import { registerSums, threadSum } from "./threads.js";
import type { Unit } from "./unit.js";

/**
 * Starts the products of the stage that begins at a byte: all, or those of `one` step along the sum, with the left operand in the
 * registers that `from` gives for a row.
 */
export type Products = (
  stage: Operand,
  one?: { readonly k: number; from(row: number): readonly Operand[] },
) => void;

export const depthOf = (p: Pipeline): number =>
  (p.dot.operands[0]!.type as { shape: readonly number[] }).shape[1]!;

/** The unit's rows and columns of a bit of the result's element numbers. */
export function unitSides(
  unit: Unit,
  p: Pipeline,
): readonly [(bit: number) => number, (bit: number) => number] {
  const [rowOf, colOf] = sides(unit.plan.anchor(p.dot.result));
  return p.turned ? [colOf, rowOf] : [rowOf, colOf];
}

export function productsOf(unit: Unit, p: Pipeline, mem: Mem, sums: readonly Reg[]): Products {
  const { e, plan } = unit;
  const { unit: u, index } = p;
  const acc = plan.anchor(p.dot.result);
  const size = 2 ** u.c.registers.length;
  const [rowOf, colOf] = unitSides(unit, p);
  const rest = { ...acc, registers: acc.registers.slice(u.c.registers.length) };
  const [rows, cols] = [rowOf, colOf].map((of) => registerSums(rest, of)) as [number[], number[]];
  const groups = acc.threads.slice(u.c.threads.length);
  // Each group of subgroups has its own block of rows and columns.
  const groupAt = ({ panels, kDim }: PanelOperand, across: (n: number) => number): Operand => {
    const lanes: number[] = Array(u.c.threads.length).fill(0);
    return threadSum(e, [...lanes, ...groups.map((bit) => offsetOf(panels, kDim, 0, across(bit)))]);
  };
  return (stage, one) => {
    const atA = one ? 0 : e.op("add", "i32", 1, [groupAt(p.left, rowOf), stage]);
    const atB = e.op("add", "i32", 1, [groupAt(p.right, colOf), stage]);
    const steps = one ? [one.k] : Array.from({ length: depthOf(p) / u.k }, (_, i) => i * u.k);
    for (const k of steps)
      rows.forEach((row, i) => {
        const d = sums.slice(i * size, i * size + size);
        e.push({
          s: "matrix",
          matrix: index,
          d,
          a: one ? one.from(row) : matrixAt(p.left.panels, mem, atA, p.left.kDim, k, row),
          b: matrixAt(p.right.panels, mem, atB, p.right.kDim, k, cols[i]!),
          c: d,
          isAsync: true,
        });
      });
  };
}
