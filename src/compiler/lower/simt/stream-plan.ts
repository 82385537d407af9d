// Finds the loops of several products (attention, forward and backward) that matrix units can work through without a copy in
// registers: operands out of memory stand in shared memory, brought there by asynchronous copies, and results of one product are the
// left operand of the next in registers. Emits nothing; stream.ts does. Loops of one product are pipeline-plan.ts.

import { type Block, DTYPES, type Func, type Op, opDef, type TileType, type Value, walk } from "../../ir/index.js"; // biome-ignore format: one line
import type { AxisInfo } from "../../passes/index.js";
import { dtypeOf } from "../simd/kinds.js";
import { bitsOf, type Layout } from "./layout.js";
import { ATOM, type Panels, panels } from "./panels.js";
import type { Streaming } from "./produce-plan.js";
import type { MatrixShape, SimtShape } from "./shape.js";

export const defOf = (v: Value): Op | undefined => (v.def && "opcode" in v.def ? v.def : undefined);
const shapeOf = (v: Value): readonly number[] => (v.type as TileType).shape;

/** An operand in shared memory: its panels, and which dimension of the loaded tile is summed over. */
export interface PanelOperand {
  readonly panels: Panels;
  readonly kDim: 0 | 1;
}

export interface StreamDot {
  readonly dot: Op;
  readonly index: number;
  readonly unit: MatrixShape;
  /** Absent: the left operand is computed, and stands in registers. */
  readonly a: PanelOperand | undefined;
  readonly b: PanelOperand;
  /** Neither the operands nor the sum come from the body. */
  readonly early: boolean;
  /** The variable of the loop (counted from its first) that is this product's result and nothing else; it may end in the next turn. */
  readonly carried: number | undefined;
}

/** Early products run one turn ahead where {@link Streaming.ahead} says so. */
export interface Stream extends Streaming {
  readonly dots: readonly StreamDot[];
  readonly threads: number;
  /** Registers that sums and left operands take where early products run ahead and others go on in the next turn. */
  readonly lateRegisters: number;
  /** Early products may take the registers of those of the turn before, just before the products that go on are started. */
  readonly chain: boolean;
}

/** Rows that a group of four subgroups owns. */
const GROUP_ROWS = 64;
const MOST_STAGES = 4;
const MOST_GROUPS = 2;
/** Registers that sums may take where early products run ahead; the rest is for addresses and weights. */
const MOST_SUMS = 200;
/** The same where they take turns in the registers, with the left operands of the others. */
const MOST_CHAINED = 208;
/** Shared memory left to reductions and conversions in the loop. */
const SPARE = 1024;

/** The load behind a tile that is only turned, or not at all. */
export function loadBehind(v: Value): { load: Op; turned: boolean } | undefined {
  let turned = false;
  for (let x = v; ; ) {
    const op = defOf(x);
    if (op?.opcode === "load") return { load: op, turned };
    if (op?.opcode !== "permute") return undefined;
    turned = !turned;
    x = op.operands[0]!;
  }
}

/** All loops of a function that can be streamed, by the loop; none where two of them would need shared memory at once. */
export function findStreams(
  func: Func,
  shape: SimtShape,
  facts: ReadonlyMap<Value, AxisInfo>,
): Map<Op, Stream> {
  const found = new Map<Op, Stream>();
  if (!shape.asyncCopy) return found;
  walk(func.body, (op) => {
    const s = op.opcode === "for" ? streamOf(op, func, shape, facts) : undefined;
    if (s) found.set(op, s);
  });
  return found.size === 1 ? found : new Map();
}

function streamOf(
  loop: Op,
  func: Func,
  shape: SimtShape,
  facts: ReadonlyMap<Value, AxisInfo>,
): Stream | undefined {
  const body = loop.regions[0]!;
  const dots = body.ops.filter((op) => op.opcode === "dot");
  if (dots.length < 2 || !isPlain(body)) return undefined;
  const [streamed, kept] = [new Map<Op, Panels>(), new Map<Op, Panels>()];
  let [stageBytes, keptBytes] = [0, 0];
  const operand = (v: Value, k: 0 | 1): PanelOperand | undefined => {
    const source = loadBehind(v);
    if (!source || !onlyDots(source.load.result, dots)) return undefined;
    const inside = source.load.parent === body;
    if (!inside && !readsBefore(source.load, loop)) return undefined;
    const list = inside ? streamed : kept;
    let p = list.get(source.load);
    if (!p) {
      const engine = shape.bulkCopy ? func : undefined;
      p = panels(source.load, inside ? stageBytes : keptBytes, facts, engine);
      if (!p) return undefined;
      list.set(source.load, p);
      if (inside) stageBytes += p.bytes;
      else keptBytes += p.bytes;
    }
    return { panels: p, kDim: source.turned ? (k === 0 ? 1 : 0) : k };
  };
  const out: StreamDot[] = [];
  let groups = 0;
  for (const dot of dots) {
    const [a, b, c] = dot.operands as [Value, Value, Value];
    const left = loadBehind(a) && operand(a, 1);
    const right = operand(b, 0);
    if (!right || (loadBehind(a) && !left)) return undefined;
    const index = shape.matrices.findIndex((u) => fits(u, dot, left !== undefined));
    if (index < 0) return undefined;
    const [rows] = shapeOf(dot.result) as [number];
    if (groups !== 0 && groups !== rows / GROUP_ROWS) return undefined;
    groups = rows / GROUP_ROWS;
    out.push({
      dot,
      index,
      unit: shape.matrices[index]!,
      a: left,
      b: right,
      early: left !== undefined && isZero(c),
      carried: left === undefined ? carriedBy(dot, body) : undefined,
    });
  }
  groups = Math.min(groups, MOST_GROUPS);
  const threads = groups * 4 * shape.subgroup!;
  const stages = Math.min(
    MOST_STAGES,
    Math.floor((shape.sharedBytes - ATOM - SPARE - keptBytes) / stageBytes),
  );
  if (stages < 2 || streamed.size === 0) return undefined;
  const each = (v: Value): number => shapeOf(v).reduce((n, d) => n * d, 1) / threads;
  const early = out.filter((d) => d.early).reduce((n, d) => n + each(d.dot.result), 0);
  const carried = loop.results.reduce((n, v) => n + (shapeOf(v).length === 2 ? each(v) : 1), 0);
  const packed = out.reduce((n, d) => n + (d.a ? 0 : each(d.dot.operands[0]!) / 2), 0);
  const ahead = stages >= 3 && early > 0 && carried + 2 * early <= MOST_SUMS;
  return {
    loop,
    dots: out,
    tiles: [...streamed.values()],
    kept: [...kept.values()],
    stages,
    stageBytes,
    keptBytes,
    ahead,
    threads,
    lateRegisters: carried + 2 * early + packed,
    chain: stages >= 3 && early > 0 && carried + early + packed <= MOST_CHAINED && isChain(out, body),
  };
}

/** All products are early or go on into the next turn, and nothing needs the early ones once the others begin. */
function isChain(dots: readonly StreamDot[], body: Block): boolean {
  const late = dots.filter((d) => d.carried !== undefined);
  if (late.length === 0 || dots.some((d) => !d.early && d.carried === undefined)) return false;
  const early = new Set(dots.filter((d) => d.early).map((d) => d.dot.result));
  const first = Math.min(...late.map((d) => body.ops.indexOf(d.dot)));
  const reads = (op: Op): boolean =>
    op.operands.some((v) => early.has(v)) || op.regions.some((r) => r.ops.some(reads));
  return !body.ops.slice(first).some(reads);
}

/** Which variable of the loop a product's result is. */
function carriedBy(dot: Op, body: Block): number | undefined {
  const { uses } = dot.result;
  const at = body.terminator!.operands.indexOf(dot.result);
  return uses.size === 1 && at >= 0 && at === body.terminator!.operands.lastIndexOf(dot.result)
    ? at
    : undefined;
}

const isZero = (v: Value): boolean => {
  const op = defOf(v);
  if (op?.opcode === "permute") return isZero(op.operands[0]!);
  return op?.opcode === "const" && Number(op.attrs["value"]) === 0;
};

/** Whether the sum of a dot begins at zero. */
export const beginsAtZero = (dot: Op): boolean => isZero(dot.operands[2]!);

/** The body reads memory only, in no loops of its own. */
function isPlain(body: Block): boolean {
  let plain = true;
  for (const op of body.ops) {
    const { memory } = opDef(op.opcode);
    if (memory !== undefined && memory !== "read") plain = false;
    if (op.regions.length > 0 && op.opcode !== "if") plain = false;
    for (const r of op.regions)
      walk(r, (inner) => {
        if (opDef(inner.opcode).memory !== undefined || inner.opcode === "dot" || inner.regions.length > 0)
          plain = false;
      });
  }
  return plain;
}

/** All uses of a tile, turned or not, are operands of the products. */
function onlyDots(v: Value, dots: readonly Op[]): boolean {
  for (const use of v.uses) {
    if (use.opcode === "permute" ? !onlyDots(use.result, dots) : !dots.includes(use)) return false;
    if (use.opcode === "dot" && use.operands[2] === v) return false;
  }
  return true;
}

/** A load before the loop can wait until the loop begins: nothing writes in between. */
function readsBefore(load: Op, loop: Op): boolean {
  let outer: Op = loop;
  while (outer.parent !== load.parent) {
    const up = outer.parent?.parent;
    if (!up || !("opcode" in up)) return false;
    outer = up;
  }
  const { ops } = load.parent!;
  let quiet = true;
  for (const op of ops.slice(ops.indexOf(load) + 1, ops.indexOf(outer) + 1)) {
    const check = (o: Op): void => {
      const { memory } = opDef(o.opcode);
      if (memory !== undefined && memory !== "read") quiet = false;
    };
    check(op);
    for (const r of op.regions) walk(r, check);
  }
  return quiet;
}

function fits(u: MatrixShape, dot: Op, shared: boolean): boolean {
  const [m, n] = shapeOf(dot.result) as [number, number];
  const k = shapeOf(dot.operands[0]!)[1]!;
  return (
    u.isAsync === true &&
    u.b.shared === true &&
    (shared ? u.a.shared === true : u.a.fragment !== undefined) &&
    dot.operands.slice(0, 2).every((v) => dtypeOf(v) === u.operands) &&
    dtypeOf(dot.result) === u.accumulator &&
    u.m === GROUP_ROWS &&
    m % u.m === 0 &&
    n % u.n === 0 &&
    k % u.k === 0 &&
    DTYPES[dtypeOf(dot.operands[0]!)].bytes === 2
  );
}

/** Rows over groups of four subgroups, as the sums of the units lie; left operands in registers lie so, too. */
export function rowsLayout(shape: readonly number[], threads: number): Layout {
  const [rows, cols] = shape as [number, number];
  const all = bitsOf(shape, 0);
  const has = (row: number): number => (row < rows ? row * cols : 0);
  const groups: number[] = [];
  for (let n = 128; n < threads; n *= 2) groups.push(has((n / 128) * GROUP_ROWS));
  const taken = new Set([1, 2, 4, 8, 16, 32].map((r) => r * cols).concat(groups));
  return {
    shape,
    registers: [
      1,
      8 * cols,
      ...bitsOf(shape, 1).filter((bit) => bit >= 8),
      ...all.filter((bit) => !taken.has(bit)),
    ],
    threads: [2, 4, has(1), has(2), has(4), has(16), has(32), ...groups],
  };
}
