// Moves a tile from one layout to another: by renaming registers where every thread has what it needs, else through shared memory.

import { DTYPES, type DType, numel } from "../../ir/index.js";
import { regKind } from "../simd/kinds.js";
import type { Operand } from "./form.js";
import type { Layout } from "./layout.js";
import { registerSums } from "./threads.js";
import { loadTile, packed, storeTile } from "./tiles.js";
import type { Unit } from "./unit.js";

export function convert(
  unit: Unit,
  d: DType,
  regs: readonly Operand[],
  from: Layout,
  to: Layout,
): readonly Operand[] {
  return rename(unit, d, regs, from, to) ?? throughShared(unit, d, regs, from, to);
}

/** Without moving anything between threads; undefined where that is not enough. */
function rename(
  { e }: Unit,
  d: DType,
  regs: readonly Operand[],
  from: Layout,
  to: Layout,
): readonly Operand[] | undefined {
  // A bit that all threads hold and each is to hold its own half of is a choice between registers.
  const choices: { thread: number; register: number }[] = [];
  for (let i = 0; i < to.threads.length; i++) {
    const [a, b] = [from.threads[i]!, to.threads[i]!];
    if (a === b) continue;
    const register = from.registers.indexOf(b);
    if (a !== 0 || register < 0) return undefined;
    choices.push({ thread: i, register });
  }
  const chosen = choices.map((c) => from.registers[c.register]!);
  if (to.registers.some((b) => !from.registers.includes(b) || chosen.includes(b))) return undefined;
  return registerSums(to, (bit) => 1 << from.registers.indexOf(bit)).map((r) => {
    // All registers that may be chosen from, halved by each choice.
    let rest: Operand[] = [r];
    for (const c of choices) rest = [...rest, ...rest.map((x) => (x as number) + (1 << c.register))];
    let values = rest.map((x) => regs[x as number]!);
    for (const c of choices) {
      const bit = e.op("and", "i32", 1, [e.simt("threadId", "i32", []), 1 << c.thread]);
      const high = e.op("ne", "mask", 1, [bit, 0]);
      const next: Operand[] = [];
      for (let k = 0; k < values.length; k += 2) next.push(choose(e, d, high, values[k + 1]!, values[k]!));
      values = next;
    }
    return values[0]!;
  });
}

function choose(e: Unit["e"], d: DType, mask: Operand, a: Operand, b: Operand): Operand {
  const kind = regKind(d);
  if (kind !== "mask") return e.op("select", kind, 1, [mask, a, b]);
  const left = e.op("and", "mask", 1, [mask, a]);
  return e.op("or", "mask", 1, [left, e.op("and", "mask", 1, [e.op("not", "mask", 1, [mask]), b])]);
}

function throughShared(
  unit: Unit,
  d: DType,
  regs: readonly Operand[],
  from: Layout,
  to: Layout,
): readonly Operand[] {
  const { e, shared } = unit;
  shared.scratch(numel(from.shape) * DTYPES[d].bytes);
  storeTile(e, d, regs, from, packed(d));
  shared.barrier();
  shared.touch();
  return loadTile(e, d, to, packed(d));
}
