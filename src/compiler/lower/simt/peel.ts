// Programs whose blocks lie inside their arrays run code without masks; the others, at the edges, run the code as it
// was written. One branch for the whole program decides, on scalars. Works on the tile IR before layouts are chosen.

import {
  Block,
  Builder,
  cloneOp,
  type Func,
  Op,
  opDef,
  type TileType,
  type Value,
  walk,
} from "../../ir/index.js";

/** Larger kernels are left alone: the code stands twice. */
const MOST_OPS = 200;

/** A tile whose elements are at most the sum of scalars and a constant. */
interface Bound {
  readonly scalars: readonly Value[];
  readonly most: number;
}

/** Splits a function in two where that frees it from masks. Changes it in place. */
export function peelEdges(func: Func): void {
  let ops = 0;
  let heavy = false;
  walk(func.body, (op) => {
    ops++;
    heavy ||= op.opcode === "dot";
  });
  if (heavy || ops > MOST_OPS) return;
  const { head, rest, end } = partition(func.body);
  const inRest = new Set<Op>();
  for (const op of rest) {
    inRest.add(op);
    for (const region of op.regions) walk(region, (inner) => void inRest.add(inner));
  }
  const masks = head.filter((op) => isEdge(op) && reaches(op.result, inRest));
  if (masks.length === 0) return;
  func.body.ops.length = 0;
  for (const op of head) func.body.push(op);
  const b = new Builder(func.body);
  const inside = masks.map((op) => holdsEverywhere(b, op)).reduce((all, one) => b.value("and", [all, one]));
  const free = new Map<Value, Value>();
  const truths = masks.map((op) => b.constant(true, "bool", (op.result.type as TileType).shape));
  masks.forEach((op, i) => void free.set(op.result, truths[i]!));
  // What the head makes of the masks is made anew from what is now known.
  const derived = head.filter((op) => !masks.includes(op) && op.operands.some((v) => dependsOn(v, masks)));
  const blocks = [copy([...derived, ...rest], free), copy(rest, new Map())];
  func.body.push(new Op("if", [inside], [], {}, blocks));
  for (const op of end) func.body.push(op);
  for (const op of [...rest].reverse()) op.erase();
}

function copy(ops: readonly Op[], map: Map<Value, Value>): Block {
  const block = new Block();
  for (const op of ops) block.push(cloneOp(op, map));
  block.push(new Op("yield", [], []));
  return block;
}

/** The ops of a block that need no memory, in order, the others, and the terminator if there is one. */
function partition(body: Block): { head: Op[]; rest: Op[]; end: Op[] } {
  const early = new Set<Value>(body.args);
  const [head, rest]: [Op[], Op[]] = [[], []];
  const end = body.ops.filter((op) => opDef(op.opcode).terminator);
  for (const op of body.ops) {
    const def = opDef(op.opcode);
    if (def.terminator) continue;
    const free = def.pure && op.regions.length === 0 && op.operands.every((v) => early.has(v));
    (free ? head : rest).push(op);
    if (free) for (const v of op.results) early.add(v);
  }
  return { head, rest, end };
}

const isEdge = (op: Op): boolean =>
  op.opcode === "cmp" &&
  op.attrs["pred"] === "lt" &&
  (op.result.type as TileType).shape.length > 0 &&
  boundOf(op.operands[0]!) !== undefined &&
  scalarOf(op.operands[1]!) !== undefined;

const defOf = (v: Value): Op | undefined => (v.def && "opcode" in v.def ? v.def : undefined);

/** The scalar that a tile repeats. */
function scalarOf(v: Value): Value | undefined {
  if ((v.type as TileType).shape.length === 0) return v;
  const op = defOf(v);
  return op && ["splat", "broadcast", "expandDims", "reshape"].includes(op.opcode)
    ? scalarOf(op.operands[0]!)
    : undefined;
}

/** The most that an element of an i32 tile can be. */
function boundOf(v: Value): Bound | undefined {
  if (v.type.dtype !== "i32") return undefined;
  const scalar = scalarOf(v);
  if (scalar) return { scalars: [scalar], most: 0 };
  const op = defOf(v);
  switch (op?.opcode) {
    case "arange":
      return { scalars: [], most: (op.attrs["end"] as number) - 1 };
    case "const":
      return { scalars: [], most: Number(op.attrs["value"]) };
    case "expandDims":
    case "broadcast":
    case "reshape":
      return boundOf(op.operands[0]!);
    case "add": {
      const [a, b] = [boundOf(op.operands[0]!), boundOf(op.operands[1]!)];
      return a && b && { scalars: [...a.scalars, ...b.scalars], most: a.most + b.most };
    }
  }
  return undefined;
}

/** The scalar condition under which a comparison is true for all elements: in 64 bits, where nothing wraps. */
function holdsEverywhere(b: Builder, op: Op): Value {
  const bound = boundOf(op.operands[0]!)!;
  const limit = b.cast(scalarOf(op.operands[1]!)!, "i64");
  const most = bound.scalars.reduce(
    (sum, s) => b.value("add", [sum, b.cast(s, "i64")]),
    b.constant(bound.most, "i64"),
  );
  const inside = b.value("cmp", [most, limit], { pred: "lt" });
  if (bound.scalars.length < 2) return inside;
  // Several scalars may wrap around below, and then elements are not what their sum says.
  const lowest = b.constant(bound.most - 2 ** 31, "i64");
  return b.value("and", [inside, b.value("cmp", [most, lowest], { pred: "ge" })]);
}

function dependsOn(v: Value, masks: readonly Op[]): boolean {
  const op = defOf(v);
  return op !== undefined && (masks.includes(op) || op.operands.some((x) => dependsOn(x, masks)));
}

/** Whether a mask is used by what touches memory, itself or through other masks. */
function reaches(v: Value, rest: ReadonlySet<Op>): boolean {
  for (const use of v.uses) {
    if (rest.has(use)) return true;
    if (use.results.some((r) => r.type.dtype === "bool" && reaches(r, rest))) return true;
  }
  return false;
}
