// Moves a tile from one layout to another: by renaming registers where every thread has what it needs, else through shared memory.

import { DTYPES, type DType, numel } from "../../ir/index.js";
import { regKind } from "../simd/kinds.js";
import type { Operand } from "./form.js";
import type { Layout } from "./layout.js";
import { packWords, unpackWords } from "./pack.js";
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
  return (
    rename(unit, d, regs, from, to) ??
    exchange(unit, d, regs, from, to) ??
    throughShared(unit, d, regs, from, to)
  );
}

/** Most bits that lanes exchange with registers: each takes a shuffle for two words. */
const MOST_EXCHANGED = 2;

/**
 * Where few bits of the lane's number change places with bits of the register's, lanes exchange halves of their registers. Undefined
 * where more is to be done, or elements do not fill words.
 */
function exchange(
  unit: Unit,
  d: DType,
  regs: readonly Operand[],
  from: Layout,
  to: Layout,
): readonly Operand[] | undefined {
  const steps = exchanged(unit, from, to);
  const pairs = d === "f16" || d === "bf16";
  if (!steps || (!pairs && d !== "f32" && d !== "i32" && d !== "u32")) return undefined;
  const { e } = unit;
  const bits = [...from.registers];
  let words = [...regs];
  if (pairs) {
    // Two neighbours stay together.
    if (bits[0] !== to.registers[0] || steps.some((s) => s.bit === bits[0])) return undefined;
    words = packWords(e, d, regs);
    bits.shift();
  }
  const kind = pairs || d !== "f32" ? "i32" : "f32";
  for (const { lane, bit } of steps) {
    const p = 1 << bits.indexOf(bit);
    const upper = e.op("ne", "mask", 1, [
      e.op("and", "i32", 1, [e.simt("threadId", "i32", []), 1 << lane]),
      0,
    ]);
    const pick = (a: Operand, b: Operand): Operand => e.op("select", kind, 1, [upper, a, b]);
    words.forEach((low, r) => {
      if (r & p) return;
      const high = words[r | p]!;
      const got = e.value(kind);
      e.push({ s: "shuffle", how: "xor", dst: got, value: pick(low, high), by: 1 << lane });
      [words[r], words[r | p]] = [pick(got, low), pick(high, got)];
    });
    bits[bits.indexOf(bit)] = from.threads[lane]!;
  }
  const order = pairs ? { ...to, registers: to.registers.slice(1) } : to;
  const sorted = registerSums(order, (bit) => 1 << bits.indexOf(bit)).map((r) => words[r]!);
  return pairs ? unpackWords(e, d, sorted, regs.length) : sorted;
}

/** The lanes that exchange, and the bits that registers hold now and lanes are to hold. */
function exchanged(unit: Unit, from: Layout, to: Layout): { lane: number; bit: number }[] | undefined {
  const { subgroup } = unit.shape;
  if (subgroup === undefined) return undefined;
  const steps: { lane: number; bit: number }[] = [];
  for (const [i, bit] of to.threads.entries()) {
    const own = from.threads[i]!;
    if (own === bit) continue;
    const swaps = own !== 0 && from.registers.includes(bit) && to.registers.includes(own);
    if (!swaps || 1 << i >= subgroup) return undefined;
    steps.push({ lane: i, bit });
  }
  const now = new Set(from.registers.map((b) => steps.find((s) => s.bit === b)?.lane ?? -1).map((lane, k) => (lane < 0 ? from.registers[k]! : from.threads[lane]!))); // biome-ignore format: one line
  const same = now.size === to.registers.length && to.registers.every((b) => now.has(b));
  return same && steps.length <= MOST_EXCHANGED ? steps : undefined;
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
