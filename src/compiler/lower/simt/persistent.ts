// Persistent grids: a workgroup runs one program after another, so that threads which bring operands (produce.ts) go on to the next
// program while the others still store this one's result. Works on the tile IR before layouts are chosen.

import { Block, Builder, type Func, Op, replaceAllUses, scalar, Value, walk } from "../../ir/index.js";

/** Parameters behind the author's: the programs along the three axes of the launch. */
export const GRID_PARAMS = 3;

/** Puts the body of a function into a loop over the programs of its launch. Changes it in place. */
export function loopPrograms(func: Func): void {
  const { body } = func;
  const ids = new Map<number, Value[]>();
  const counts = new Map<number, Value[]>();
  walk(body, (op) => {
    const list = op.opcode === "programId" ? ids : op.opcode === "numPrograms" ? counts : undefined;
    const axis = op.attrs["axis"] as number;
    list?.set(axis, [...(list.get(axis) ?? []), op.result]);
  });
  const grid = ["x", "y", "z"].slice(0, GRID_PARAMS).map((name) => {
    const v = new Value(scalar("i32"));
    v.def = body;
    v.name = `grid_${name}`;
    body.args.push(v);
    func.paramNames.push(v.name);
    func.paramFacts?.push({ divisibility: 1 });
    return v;
  });
  const ops = body.ops.splice(0);
  const b = new Builder(body);
  const total = grid.reduce((n, count) => b.value("mul", [n, count]));
  const [first, step] = [b.value("programId", [], { axis: 0 }), b.value("numPrograms", [], { axis: 0 })];
  const turn = new Block([scalar("i32")]);
  b.inside(turn, () => {
    // Neither is negative, and unsigned numbers divide in fewer steps.
    let rest = b.cast(turn.args[0]!, "u32");
    const own = grid.map((count, axis) => {
      if (axis === GRID_PARAMS - 1) return b.cast(rest, "i32");
      const by = b.cast(count, "u32");
      const id = b.cast(b.value("rem", [rest, by]), "i32");
      rest = b.value("div", [rest, by]);
      return id;
    });
    for (const [found, values] of [[ids, own], [counts, grid]] as const) // biome-ignore format: one line
      for (const [axis, list] of found) for (const v of list) replaceAllUses(v, values[axis]!);
  });
  for (const op of ops) turn.push(op);
  for (const v of [...ids.values(), ...counts.values()].flat()) (v.def as Op).erase();
  turn.push(new Op("yield", [], []));
  b.create("for", [first, total, step], {}, [turn]);
}
