// Jamming: one turn of a nest of sums handles several neighbouring indices of its outer axes, so that what they share is
// loaded once and the accumulators of all of them stay in registers. It is the register block of a matrix product,
// found for any sum of products. The order in which one result is summed does not depend on it.

import type { Op } from "../../ir/index.js";
import { visitTree } from "./axis.js";
import type { AxisMap } from "./maps.js";
import type { Nest } from "./nest.js";
import { prefixTerms } from "./split.js";
import { defOf } from "./values.js";

/** Accumulators for a sum along the vectorised axis, enough to hide the latency of adding, by what registers there are. */
const sumsFor = (registers: number): number => (registers >= 32 ? 16 : 8);
/** Terms added to two rows of results in the frame between loading and storing them: the rows share what is loaded for a term. */
const TERMS = 4;
const ROWS = 2;

interface Load {
  readonly op: Op;
  readonly map: AxisMap;
}

export class Jam {
  /** For each axis the indices of one turn; divides its size. */
  readonly factors: readonly number[];
  /** Turns that are jammed into one. */
  readonly count: number;
  /** The jammed turn that code is emitted for. */
  turn = 0;
  /** Vector loads that the loops inside of the outermost one repeat: what they need next is worth fetching early. */
  readonly repeated: readonly Load[];
  private ahead = false;
  private readonly jammed: readonly number[];

  constructor(nest: Nest) {
    this.factors = factorsOf(nest);
    this.jammed = nest.outer.filter((a) => this.factors[a]! > 1);
    this.count = this.jammed.reduce((n, a) => n * this.factors[a]!, 1);
    this.repeated = this.jammed[0] === nest.outer[0] ? repeatedLoads(nest) : [];
  }

  /** Runs `fn` for each neighbour along the outermost axis, as of its next turn. */
  eachAhead(axis: number, fn: () => void): void {
    const stride = this.strideOf(axis);
    this.ahead = true;
    for (let i = 0; i < this.factors[axis]!; i++) {
      this.turn = i * stride;
      fn();
    }
    this.ahead = false;
    this.turn = 0;
  }

  /** How far the current turn is from the first one along the axis. */
  shift(axis: number): number {
    const stride = this.strideOf(axis);
    if (!stride) return 0;
    const factor = this.factors[axis]!;
    return (Math.floor(this.turn / stride) % factor) + (this.ahead && axis === this.jammed[0] ? factor : 0);
  }

  /** The turn like the current one, but the first one along the axis. */
  firstAlong(axis: number): number {
    return this.turn - this.shift(axis) * this.strideOf(axis);
  }

  /** Turns between neighbours along the axis; 0 if it is not jammed. */
  private strideOf(axis: number): number {
    const i = this.jammed.indexOf(axis);
    return i < 0 ? 0 : this.jammed.slice(i + 1).reduce((n, a) => n * this.factors[a]!, 1);
  }

  /** What tells values of different turns apart that depend on these axes (one bit each). */
  key(axes: number): string {
    let key = "";
    for (const a of this.jammed) if (axes & (1 << a)) key += `+${this.shift(a)}`;
    return key;
  }

  /** Back to the first turn, wherever code was broken off. */
  restart(): void {
    this.turn = 0;
    this.ahead = false;
  }

  /** Runs `fn` for each jammed turn. */
  each(fn: () => void): void {
    for (this.turn = 0; this.turn < this.count; this.turn++) fn();
    this.turn = 0;
  }
}

function factorsOf(nest: Nest): number[] {
  const factors = nest.space.map(() => 1);
  const { axis, outer, sinks } = nest;
  const reduced = sinks[0]?.reduces;
  if (axis < 0 || outer.length === 0 || !reduced?.length) return factors;
  if (!sinks.every((s) => s.jams && String(s.reduces) === String(reduced))) return factors;
  const free = outer.filter((a) => !reduced.includes(a) && sharesVectors(nest, a));
  const [only] = reduced as [number];
  const SUMS = sumsFor(nest.code.unit.shape.registers);
  if (reduced.includes(axis)) {
    // As square as can be, with more along the axis that lies further in: its neighbours are closer.
    const [inner, next] = free.reverse();
    if (inner !== undefined) factors[inner] = Math.min(next === undefined ? SUMS : 4, nest.space[inner]!);
    if (next !== undefined) factors[next] = Math.min(SUMS / factors[inner!]!, nest.space[next]!);
  } else if (reduced.length > 1) return factors;
  else if (free.length > 0) {
    factors[only] = TERMS;
    factors[free[0]!] = ROWS;
  } else {
    // One row: its terms are rows of a matrix that is read once. The more of them are read side by side, the more of the
    // matrix is on its way from memory at once; an element for each stands in half of the registers.
    factors[only] = Math.min(nest.code.unit.shape.registers / 2, nest.space[only]!);
  }
  const fixed = splitAxes(nest);
  return factors.map((f, a) => (fixed & (1 << a) || nest.space[a]! % f !== 0 ? 1 : f));
}

/** Whether some vector of the nest is the same for all indices of an outer axis. */
function sharesVectors(nest: Nest, axis: number): boolean {
  let found = false;
  for (const s of nest.sinks)
    visitTree(
      nest,
      (v, map) => {
        if (!nest.cellOf(v) && defOf(v)?.opcode !== "load") return;
        const axes = nest.affine.axes(v, map);
        found ||= (axes & (1 << nest.axis)) !== 0 && (axes & (1 << axis)) === 0;
      },
      s.reads,
    );
  return found;
}

/** The axes on which it depends where the inner loop is split: their turns cannot share it. */
function splitAxes(nest: Nest): number {
  let axes = 0;
  for (const { value, map, bound } of prefixTerms(nest).all) {
    if (bound) axes |= nest.affine.axes(bound.small, bound.map) | nest.affine.axes(bound.large, bound.map);
    else axes |= nest.affine.axes(value, map);
  }
  return axes;
}

/** The vector loads that depend on the outermost axis, but not on the next one. */
function repeatedLoads(nest: Nest): Load[] {
  const loads: Load[] = [];
  const [first, second] = nest.outer;
  if (first === undefined || second === undefined) return loads;
  // A second loop over what is combined is no repetition: each of its turns reads its own part.
  const repeats = nest.sinks.every((s) => s.reduces?.includes(second)) ? 0 : 1 << second;
  const wanted = (1 << nest.axis) | (1 << first);
  for (const s of nest.sinks)
    visitTree(
      nest,
      (v, map) => {
        const op = defOf(v);
        if (op?.opcode !== "load" || nest.cellOf(v)) return;
        const axes = nest.affine.axes(v, map);
        if ((axes & wanted) !== wanted || axes & repeats) return;
        if (nest.affine.stride(op.operands[1]!, map, nest.axis) === 1) loads.push({ op, map });
      },
      s.reads,
    );
  return loads;
}
